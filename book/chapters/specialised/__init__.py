"""Whether long requests should have GPUs of their own: places, paged memory, unequal contexts, deadlines."""
