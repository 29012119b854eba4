"""What verbs do with benchmarks of an engine whose limits the user knows."""
