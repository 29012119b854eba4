"""Bins and batch sizes of their own under a deadline: what they carry, and which are best."""
