"""book/chapters/workloads."""
