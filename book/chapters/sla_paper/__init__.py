"""The SLA paper (arXiv 2503.05248) reproduced: rules for the size of a batch, their stability, capacity."""
