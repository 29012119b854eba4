"""How like the real traffic a model's is: what does not fit is named, and drawn apart."""

import matplotlib
import pandas as pd
from drawn import texts

from book.chapters.workloads import figures, tables

matplotlib.use("Agg")


def test_what_does_not_fit_is_named():
    rows = [("head", "dispersion_60s", 2.8, True), ("burst", "burst_output_median_tokens", 1.0, False)]
    found = pd.DataFrame(rows, columns=["source", "figure", "real", "fits"])
    found = found.assign(mean=1.0, low=0.5, high=3.0, replications=40)
    shown = tables.show_likeness(found).to_html()
    assert "dispersion, 60 s" in shown and "does not fit" in shown


def test_likeness_marks_what_fits_apart_from_what_does_not():
    table = pd.DataFrame({"source": "head", "figure": ["a", "b"], "real": [2.0, 9.0], "mean": 2.0, "low": 1.0})
    figure = figures.likeness(table.assign(high=3.0, replications=40, fits=[True, False]))
    inside, outside = figure.axes[0].collections[-2:]
    assert inside.get_offsets().data.tolist() == [[0.5, 1.0]] and outside.get_offsets().data.tolist() == [[1.75, 0.0]]
    assert "does not fit" in texts(figure)
