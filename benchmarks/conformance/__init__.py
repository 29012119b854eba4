"""Does the step engine do what vLLM's own scheduler does? Recorded anew, compared, and tried on wrong engines.

``make conformance``, or ``python -m benchmarks.conformance [--cases N] [--seed N]``.
"""
