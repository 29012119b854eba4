"""The columns of a GPU's rows of whole numbers and of times: ``numbers[gpu, at.SEATS]``, ``times[gpu, at.NOW]``.

Each name is said once, in lower case; in capitals it is the place of its column.
"""

NUMBERS = (
    *("decodes", "offsets", "step", "seats", "used", "partial", "computed", "newest", "resumed"),
    *("due_seats", "due_blocks", "due_tokens", "later_seats", "later_blocks", "later_tokens"),
    *("requests", "tokens", "waiting", "events", "refused", "fresh", "active", "sampled", "stored"),
    *("steps", "sum_decodes", "sum_prefill", "sum_context", "preemptions", "recomputed", "peak", "abandoned"),
    *("cap", "room", "tick", "freed"),
)
TIMES = ("now_s", "pending_s", "since_s", "busy_s", "seat_s", "spread_tokens", "sample_s", "sample_gap_s")

NOW, PENDING, SINCE, BUSY, SEAT_TIME, SPREAD, SAMPLE, SAMPLE_GAP = range(len(TIMES))
globals().update({name.upper(): place for place, name in enumerate(NUMBERS)})
