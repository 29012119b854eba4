"""Continuous batching: the step engine."""
