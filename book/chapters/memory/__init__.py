"""What a full memory costs: the service rate that memory allows, what else limits, and the cycle of evictions."""
