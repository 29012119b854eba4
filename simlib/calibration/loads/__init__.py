"""One law from several benchmarks of an engine: its steps rebuilt by its limits, the law, and what it leaves open."""
