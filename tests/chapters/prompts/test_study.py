"""What a predictor should say: laws by hand, the same order where all are equally sure, ratios in pairs."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from book.chapters.prompts import claims, figures, quality, study, tables
from book.kit import style
from book.kit.tables import show_ledger
from simlib import InputError


def test_prompts_have_the_spread_that_is_asked_for():
    """Seed 1, 40,000 draws: standard deviations to 2 %, ten standard errors."""
    for spread in (0.0, 0.6, 1.0):
        drawn = study.prompts(40_000, 1, spread)
        assert np.sqrt(np.mean(drawn.log_sd**2)) == pytest.approx(spread, rel=0.02)
        assert np.std(drawn.log_median) == pytest.approx(math.sqrt(1 - spread**2), rel=0.02, abs=1e-12)
    same = study.prompts(500, 1, 0.0)
    assert (same.output_tokens == same.seen_tokens).all()
    with pytest.raises(InputError, match=r"spread: 1\.5"):
        study.prompts(10, 1, 1.5)


def test_what_is_said_of_a_law_is_what_its_answers_have():
    """One prompt of log-sd 0.5, half a million answers: quantile, mean and tail to 1 %."""
    law = study.Prompts(np.ones(1), np.array([math.log(100)]), np.array([0.5]), np.ones(1), np.ones(1))
    answers = np.exp(np.log(100) + 0.5 * np.random.default_rng(3).standard_normal(500_000))
    nine = np.quantile(answers, 0.9)
    assert study.mean_tokens(law)[0] == pytest.approx(answers.mean(), rel=0.01)
    assert study.quantile_tokens(law)[0] == pytest.approx(nine, rel=0.01)
    assert study.tail_tokens(law)[0] == pytest.approx(answers[answers > nine].mean(), rel=0.01)


def test_of_a_log_t_law_mean_and_tail_are_those_of_answers_that_end():
    """One prompt, half a million answers, cut at the most tokens; 400 quantiles are right to 2 %."""
    law = study.Prompts(np.ones(1), np.array([math.log(100)]), np.array([0.5]), np.ones(1), np.ones(1), 3.0)
    answers = np.exp(np.log(100) + 0.5 * np.random.default_rng(3).standard_t(3.0, 500_000))
    answers, nine = np.minimum(answers, 4000), np.quantile(answers, 0.9)
    assert study.mean_tokens(law)[0] == pytest.approx(answers.mean(), rel=0.02)
    assert study.quantile_tokens(law)[0] == pytest.approx(nine, rel=0.02)
    assert study.tail_tokens(law)[0] == pytest.approx(answers[answers > nine].mean(), rel=0.02)
    normal, heavy = (np.log(study.prompts(20_000, 1, 0.9, freedom=each).output_tokens) for each in (math.inf, 3.0))
    assert np.quantile(heavy, 0.99) > np.quantile(normal, 0.99)


@pytest.mark.parametrize("execution", study.SERVERS)
def test_equally_unsure_prompts_are_served_alike_whatever_is_said(execution):
    server, drawn = study.SERVERS[execution], study.prompts(300, 5, 0.6, sure=1.0)
    # Without ageing only the order counts; what is said is larger by a factor, so that rounding parts no fewer prompts.
    said = [server.serve(drawn, 2.0, 100 * study.SAYS[says](drawn), None) for says in ("median", "mean", "quantile")]
    assert said[0] == said[1] == said[2]


def test_weight_0_is_first_come_first_served():
    server, drawn = study.SERVERS["engine"], study.prompts(200, 2)
    known, unknown = (server.serve(drawn, 20.0, study.SAYS[says](drawn), 0.0) for says in ("the length", "one answer"))
    assert known == unknown


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return study.runs_of(200, (0.0, 0.6), seed=7, replications=4)


def test_ratios_are_paired_over_what_is_judged_and_a_weight_is_picked_on_what_is_not(runs):
    ratios, picked = study.ratios_of(runs), study.picked(runs)
    cell = "execution == 'batches' and load == 0.9 and spread == 0.6"
    here = runs.query(f"{cell} and not tuning").set_index(["says", "weight_s", "replication"])["p99_s"]
    row = ratios.query(f"{cell} and says == 'median' and weight_s == 0.02 and metric == 'p99_s'").iloc[0]
    logs = np.log(here["median", 0.02]) - np.log(here["first come", 0.0])
    assert row["ratio"] == pytest.approx(math.exp(logs.mean())) and row["replications"] == 4
    tuned = runs.query(f"{cell} and tuning and says == 'mean'").groupby("weight_s")["mean_s"]
    best = tuned.apply(lambda own: np.log(own).mean()).idxmin()
    assert picked.query(f"{cell} and says == 'mean'")["weight_s"].iloc[0] == best
    assert len(picked) == 2 * 3 * len(study.SAYS)
    over = study.ratios_of(runs, "median")
    assert set(over["says"]).isdisjoint({"median", study.FIRST})


def test_figures_tables_and_ledger_are_made_of_them(runs):
    style.style()
    ratios, picked = study.ratios_of(runs), study.picked(runs)
    chosen = tables.chosen_of(ratios, picked)
    assert len(chosen) == len(picked) * len(study.METRICS)
    assert len(figures.by_spread(chosen).axes) == 4
    assert "long third" in tables.show_gains(chosen).to_html()
    ranks = study.quality(2000, (0.0, 0.6))
    assert (ranks.query("spread == 0")["rank"] > 0.999).all() and "0.6" in tables.show_ranks(ranks).to_html()
    heavy = study.heavy_runs_of(150, seed=7, replications=3)
    assert "mean and tail" in tables.show_heavy(tables.chosen_of(study.ratios_of(heavy), study.picked(heavy))).to_html()
    worth = quality.runs_of(150, seed=7, replications=3)
    ledger = claims.table_of(runs, picked, heavy, study.picked(heavy), worth)
    assert len(ledger) == 18 and (ledger["verdict"] == "not testable here").sum() == 1
    assert "preempts" in show_ledger(ledger).to_html()
