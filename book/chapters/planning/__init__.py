"""book/chapters/planning."""
