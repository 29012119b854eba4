"""Can it be trusted: speed, coverage of the intervals, a replayed log of a real engine."""
