"""Tables of the levels, as they are shown."""

import pandas as pd

from book.chapters.levels import tables
from simlib import levels


def table(level=1, inside=True, trace="", source="synthetic") -> pd.DataFrame:
    rows = [
        {
            "level": level,
            "scheduler": scheduler,
            "requests": 1000,
            "trace": trace,
            "claimed_violation_share": 0.433,
            "claimed_latency_mean_s": 1.0,
            "seed42_violation_share": 0.433,
            "seed42_latency_mean_s": 1.0,
            "mean_violation_share": 0.3,
            "ci_low": 0.25,
            "ci_high": 0.35,
            "latency_mean_s": 0.8,
            "replications": 100,
            "claim_percentile": None if inside is None else 68.5,
            "claim_inside": inside,
            "requests_from": source,
        }
        for scheduler in levels.SCHEDULERS
    ]
    return pd.DataFrame(rows)


def test_displayed_tables_show_shares_in_per_cent():
    assert "43.3 %" in tables.show_level(table()).to_html()
    assert "–" in tables.show_level(table(inside=None)).to_html()


def test_requests_are_shown_with_where_they_are_from():
    shown = tables.show_level(table(2, True, "", "population")).to_html()
    assert "1000 of the population" in shown
