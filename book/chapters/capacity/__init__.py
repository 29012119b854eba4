"""book/chapters/capacity."""
