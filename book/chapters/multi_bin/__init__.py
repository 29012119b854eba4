"""The Multi-Bin paper (arXiv 2412.04504) reproduced: throughput, latency, errors of prediction, other times."""
