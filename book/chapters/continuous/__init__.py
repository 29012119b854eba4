"""book/chapters/continuous."""
