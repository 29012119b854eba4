"""book/chapters/glance."""
