"""What a page says of traffic."""

import pandas as pd

from book.chapters.workloads import sentences, tables


def test_what_does_not_fit_is_named():
    rows = [("head", "dispersion_60s", 2.8, True), ("burst", "burst_output_median_tokens", 1.0, False)]
    found = pd.DataFrame(rows, columns=["source", "figure", "real", "fits"])
    found = found.assign(mean=1.0, low=0.5, high=3.0, replications=40)
    text = sentences.population_answer(found)
    assert text.startswith("1 of 2 figures") and "burst output median, tokens (densest burst)" in text
    assert "dispersion" not in text
    shown = tables.show_likeness(found).to_html()
    assert "dispersion, 60 s" in shown and "does not fit" in shown
