"""book/chapters/sla_paper."""
