"""How long a batch or a step takes."""
