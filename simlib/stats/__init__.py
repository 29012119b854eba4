"""Intervals, shares, steady states, replications."""
