"""book/chapters/levels."""
