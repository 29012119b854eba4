"""How much load each scheduler carries under a deadline, and which conditions decide it."""
