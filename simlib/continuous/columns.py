"""The columns of a GPU's rows of whole numbers and of times: ``numbers[gpu, at.SEATS]``, ``times[gpu, at.NOW]``."""

(
    DECODES, OFFSETS, STEP, SEATS, USED, PARTIAL, COMPUTED, NEWEST, RESUMED, DUE_SEATS, DUE_BLOCKS, DUE_TOKENS,
    LATER_SEATS, LATER_BLOCKS, LATER_TOKENS, REQUESTS, TOKENS, WAITING, EVENTS, REFUSED, FRESH, ACTIVE, SAMPLED,
    STORED, STEPS, SUM_DECODES, SUM_PREFILL, SUM_CONTEXT, PREEMPTIONS, RECOMPUTED, PEAK, ABANDONED, CAP, ROOM, TICK,
    FREED, HOLDING, DUE_FULL, LATER_FULL, HELD, HELD_CONTEXT, OLDEST, LATEST, SPARE, NEWS, LAST_NEWS, TO_PREFILL, ASKED,
    BEGUN, CUT, CANCELLED, PAUSES, ENDED, COPIES,
    LAST_EVENTS, LAST_PREEMPTIONS,
) = range(56)  # fmt: skip
NUMBERS = tuple(name.lower() for name in dict(globals()) if name.isupper())

NOW, PENDING, SINCE, BUSY, SEAT_TIME, SPREAD, SAMPLE, SAMPLE_GAP, IDLE, FIRST_END = range(10)
TIMES = (
    "now_s", "pending_s", "since_s", "busy_s", "seat_s", "spread_tokens", "sample_s", "sample_gap_s", "idle_s",
    "first_end_s",
)  # fmt: skip
