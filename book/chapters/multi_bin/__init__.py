"""book/chapters/multi_bin."""
