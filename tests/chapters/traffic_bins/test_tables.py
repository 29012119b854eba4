"""Tables of bins for real lengths."""

import pandas as pd
from bin_tables import joint, rules

from book.chapters.traffic_bins import tables


def test_a_deadline_that_is_kept_at_no_rate_is_said():
    rows = {"source": "log_normal", "predictor": "oracle", "deadline_s": 0.3, "gpus": 8, "kind": "greedy"}
    rows |= {"choice": ["no_bins", "equal_mass", "joint"], "policy": ["one bin, 32", "64/2", "128/1"]}
    rows |= {"ratio": [None, 0.9, 2.0], "ratio_low": 0.8, "ratio_high": 2.2, "capacity_rps": 5.0, "ci_low": 4.0}
    table = pd.DataFrame(rows | {"ci_high": 6.0, "refused": ""})
    html = tables.show_capacities(table).to_html()
    assert "one bin, 32" in html and "2.00 (0.80 to 2.20)" in html and "late at any" not in html
    assert "none: late at any rate" in tables.show_capacities(table.assign(refused="late")).to_html()


def test_tables_show_bands_and_dashes():
    practice = tables.show_practice(joint()).to_html()
    assert "128 1" in practice and "3.00 (2.80 to 3.40)" in practice and "1.10 (0.90 to 1.20)" in practice
    assert "–" in practice  # nothing of rank 0.7 at 2.4 s
    assert "–" in tables.show_rules(rules(refused="few")).to_html()
    condition = pd.DataFrame({"law": ["uniform", "beta"], "batch_size": 8, "largest_gap": 0.1})
    html = tables.show_condition(condition.assign(special_case_gap=[1e-16, None])).to_html()
    assert "10.00 %" in html and "1e-16" in html
