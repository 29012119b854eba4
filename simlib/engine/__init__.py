"""Run-to-completion batches: shapes, the event loop, how kernels are compiled."""
