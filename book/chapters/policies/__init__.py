"""book/chapters/policies."""
