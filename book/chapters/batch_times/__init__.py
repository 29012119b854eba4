"""book/chapters/batch_times."""
