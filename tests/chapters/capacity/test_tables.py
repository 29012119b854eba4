"""What a page says of capacities, and where its figure marks them."""

import matplotlib
import pandas as pd
from drawn import texts
from matplotlib.collections import LineCollection

from book.chapters.capacity import figures, tables

matplotlib.use("Agg")


def capacities(verdict="stable"):
    rows = [
        ("static_fifo", 43.21, 42.9, 43.6),
        ("dynamic_no_bins", 149.1, 146.6, 151.7),
        ("multi_bin_dynamic", 197.1, 192.5, 201.7),
    ]
    table = pd.DataFrame(rows, columns=["policy", "capacity_rps", "ci_low", "ci_high"]).assign(level=1, verdict=verdict)
    table = table.assign(requests=20_000, warmup_requests=[805.0, 40.0, 140.0], at_most=["12", "48", "64"])
    return table.assign(doubled_ratio=0.992, doubled_ci_low=0.982, doubled_ci_high=1.002)


def test_a_capacity_and_a_ratio_are_shown_with_their_intervals():
    pair = {"level": 1, "policy": "multi_bin_dynamic", "over": "dynamic_no_bins", "ratio": 1.32, "ci_low": 1.295}
    pair |= {"ci_high": 1.345, "correlation": 0.5, "method": "paired", "p_holm": 0.001}
    assert "1.320 (1.295 to 1.345)" in tables.show_ratios(pd.DataFrame([pair])).to_html()
    assert "0.992 (0.982 to 1.002)" in tables.show_capacities(capacities()).to_html()


def test_capacities_are_marked_where_the_allowed_share_is():
    rows = [
        ("static_fifo", 143.2, 142.9, 143.6, "96", True),
        ("dynamic_no_bins", 120.0, 119.0, 121.0, "64", False),
        ("dynamic_uncapped", 110.0, 109.0, 111.0, "128", False),
        ("multi_bin_dynamic", 197.1, 192.5, 201.7, "64", False),
    ]
    columns = ["policy", "capacity_rps", "ci_low", "ci_high", "at_most", "best"]
    table = pd.DataFrame(rows, columns=columns).assign(level=1)
    line = {"level": 1, "rate_rps": [20.0, 60.0, 250.0], "late_share": [0.0, 0.3, 1.0], "ci_low": 0.0, "ci_high": 1.0}
    curves = pd.concat([pd.DataFrame(line).assign(policy=policy) for policy in table["policy"]])
    figure = figures.capacities(curves, table, 0.05)
    (axis,) = figure.axes
    spans = [part.get_segments()[0].tolist() for part in axis.collections if isinstance(part, LineCollection)]
    assert spans == [[[low, 0.05], [high, 0.05]] for low, high in ((109.0, 111.0), (142.9, 143.6), (192.5, 201.7))]
    for named in ("dynamic batching, no cap: 110/s", "static batches of 96: 143/s", "bins: 197/s"):
        assert named in texts(figure)
