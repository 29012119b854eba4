"""Tables of traffic: no column is shown by its name in a file."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from book.chapters.workloads import tables

RESULTS = Path(__file__).resolve().parents[3] / "data" / "results"


@pytest.mark.parametrize("name", ["lengths", "late_alone", "bins"])
def test_columns_are_words_with_units(name):
    table = pd.read_csv(RESULTS / f"workloads_{name}.csv")
    shown = getattr(tables, f"show_{name}")(table)
    assert len(shown.data) == len(table) and "_" not in "".join(shown.data.columns)


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        ("dispersion_60s", "dispersion, 60 s"),
        ("output_p95_tokens", "output P95, tokens"),
        ("tokens_cv_600s", "tokens variation, 600 s"),
        ("thousand_rows_h", "thousand rows, h"),
    ],
)
def test_a_figure_is_named_in_words(figure, said):
    assert tables.figure_name(SimpleNamespace(figure=figure)) == said
