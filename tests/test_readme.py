"""What the README says is what the committed tables say."""

from pathlib import Path

import pandas as pd

from simlib import reading

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "data" / "results"


def test_table_and_sentences_are_those_of_the_committed_results():
    readme = (ROOT / "README.md").read_text()
    table, differences, rankings = (
        pd.read_csv(RESULTS / f"{name}.csv") for name in ("levels", "levels_differences", "cross_level")
    )
    assert reading.markdown_table(table) in readme
    assert reading.headline(table, differences) in readme
    assert reading.cross_level_answer(rankings, differences) in readme
    ratios = pd.read_csv(RESULTS / "deadline_capacity_ratios.csv")
    assert reading.deadline_capacity.headline(ratios) in readme


def test_every_path_that_it_names_is_there():
    import re

    readme = (ROOT / "README.md").read_text()
    named = re.findall(r"\]\((?!http)([^)]+)\)", readme) + re.findall(
        r"`((?:book|notebooks|simlib|data|tests|figures)/[^`]*)`", readme
    )
    assert len(named) > 8
    assert [path for path in named if not (ROOT / path).exists()] == []
