"""book/chapters/trust."""
