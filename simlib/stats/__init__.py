"""Intervals, shares, steady states, rankings, replications."""
