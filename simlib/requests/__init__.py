"""What comes: request tables, made or read."""
