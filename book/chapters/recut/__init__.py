"""Bins that are cut anew at every decision: against fixed bins, and against what no batching can beat."""
