"""Continuous batching: batches that run to completion against an engine, and when binning pays in one."""
