"""book/chapters/controller."""
