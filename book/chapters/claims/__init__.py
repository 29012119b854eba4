"""book/chapters/claims."""
