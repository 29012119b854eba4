"""Predictions of every quality: what a mistaken one knows, what rules do with it, the ratios, table and figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from book.chapters.prompts import figures, quality, study, tables
from book.kit import style
from simlib import InputError


def test_a_mistaken_predictor_keeps_the_spread_of_what_it_says():
    """Seed 1, 40,000 prompts: correlations and standard deviations to 0.02."""
    drawn = study.prompts(40_000, 1)
    for right in (1.0, 0.5, 0.0, -1.0):
        told = quality.mistaken(drawn, right, 1)
        assert np.corrcoef(told.log_median, drawn.log_median)[0, 1] == pytest.approx(right, abs=0.02)
        assert told.log_median.std() == pytest.approx(drawn.log_median.std(), abs=0.02)
        assert (told.log_sd == drawn.log_sd).mean() == pytest.approx((1 + right) / 2, abs=0.02)
        assert (told.output_tokens == drawn.output_tokens).all()
    with pytest.raises(InputError, match="right: 2"):
        quality.mistaken(drawn, 2.0, 1)


def test_who_knows_the_length_renews_nothing_and_who_predicts_nothing_does_not_look_at_it():
    drawn = study.prompts(50, 3)
    known, told = (
        next(iter(quality.RULES[quality.RENEWED].orders(drawn, lengths, (None,))))
        for lengths in (drawn.output_tokens, None)
    )
    assert known.left_tokens[:, 0].tolist() == drawn.output_tokens.tolist() and told.left_tokens.shape[1] > 10
    without = next(iter(quality.RULES[quality.WITHOUT].orders(drawn, None, (None,))))
    assert (without.left_tokens == without.left_tokens[0]).all() and not without.counts_down


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return quality.runs_of(150, seed=7, replications=3)


def test_every_rule_is_held_against_first_come_on_the_same_requests(runs):
    ratios = study.ratios_of(runs, cell=quality.CELL, metrics=quality.ALL_METRICS)
    cell = "execution == 'engine' and load == 1.1 and spread == 0.6 and told == 'nothing'"
    here = runs.query(f"{cell} and not tuning").set_index(["says", "weight_s", "replication"])["first_s"]
    row = ratios.query(f"{cell} and says == 'renewed' and weight_s == inf and metric == 'first_s'").iloc[0]
    logs = np.log(here["renewed", np.inf]) - np.log(here["first come", 0.0])
    assert row["ratio"] == pytest.approx(np.exp(logs.mean())) and row["replications"] == 3
    level = ratios.query(
        "says == 'no prediction' and spread == 0.6 and load == 1.1 and metric == 'mean_s' and weight_s == inf"
    )
    assert len(level) == len(quality.TOLD) + 1 and level["ratio"].max() == level["ratio"].min()
    assert not (ratios["metric"] == "first_s")[ratios["execution"] == "batches"].any()
    chosen = quality.chosen_of(ratios, study.picked(runs))
    assert not chosen.duplicated([*quality.CELL, "says", "metric"]).any()
    assert set(chosen["says"]) == {*quality.RULES, *quality.SAID}
    memory = quality.memory_of(runs).set_index(["load", "spread", "says", "weight_s"])
    assert memory.loc[(1.1, 0.6, "said once", np.inf), "lost"] == 0 < memory.loc[(1.1, 0.6, "renewed", np.inf), "lost"]
    style.style()
    figure = figures.by_quality(chosen, quality.ranks_of(2000))
    assert len(figure.axes) == 4
    assert "again, with care" in tables.show_renewed(chosen, quality.memory_of(runs)).to_html()
    assert "∞" in tables.show_robust(ratios).to_html()


def test_ranks_fall_with_what_is_told_right():
    ranks = quality.ranks_of(4000).set_index("told")["rank"]
    assert ranks.is_monotonic_decreasing and ranks[quality.KNOWN] == 1 and ranks[quality.OPPOSITE] < -0.7
