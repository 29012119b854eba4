"""What happened: runs, their metrics, their files."""
