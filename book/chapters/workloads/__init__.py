"""What traffic looks like, and how like the real one a model's is."""
