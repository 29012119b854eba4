"""Intervals, shares, steady states, replications, when to stop."""
