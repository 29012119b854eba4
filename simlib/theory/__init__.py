"""Closed forms and exact chains to check the engines against, and what the papers' theorems say.

Stands beside the flow and imports nothing of the engines, so that a mean that both agree on was computed in two ways:
`queues` (M/M/1 to batches of exponential time), `batches` (batches of any time), `bins` (the Multi-Bin paper's
theorems), `maxima` (any service times, bins and errors), `steps` (the fewest steps of an engine). An argument out of
its range, or a load without a steady state, is an `InputError`.
"""
