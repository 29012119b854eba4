"""Speed and coverage, measured: ``make bench``, or ``python -m benchmarks [NAME …]``."""
