"""Vidur's traces, https://github.com/microsoft/vidur: lengths, with arrivals or without."""

from __future__ import annotations

from simlib.requests.formats.layout import Format, Rows

LAYOUT = Rows("vidur", "arrived_at", "num_prefill_tokens", "num_decode_tokens", sure=False, may_lack_arrivals=True)
FORMAT = Format("vidur", "Vidur's traces", (("num_prefill_tokens", "num_decode_tokens"),), LAYOUT.read)
