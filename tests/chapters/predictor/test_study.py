"""How good a predictor must be: scales and crossings by hand, and one small search."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from book.chapters.predictor import figures, study, tables
from book.kit import style
from simlib import InputError
from simlib.latency import presets
from simlib.requests import predictors, workload

RANKS, GAINS = (0.0, 0.5, 1.0), (0.8, 0.9, 1.1)


def roots(noise: float = 0.002) -> pd.DataFrame:
    """Replications that share their luck: what is carried differs by given factors, but for a little noise."""
    rng, rows = np.random.default_rng(5), []
    known = [(f"rank {rank:g}", rank, gain) for rank, gain in zip(RANKS, GAINS, strict=True)]
    for gpus in (1, 8):
        luck = gpus * np.exp(0.3 * rng.standard_normal(10))
        for predictor, rank, gain in [*known, ("noise 0.5", 0.75, 1.0)]:
            arms = {study.NONE: 1.0, study.SHORTEST: 0.5, "K = 2": gain}
            for arm, factor in arms.items():
                place = {"gpus": gpus, "deadline_s": 9.0, "predictor": predictor, "rank": rank, "found": rank}
                own = factor * luck * np.exp(noise * rng.standard_normal(10))
                frame = pd.DataFrame({"replication": range(10), "capacity_rps": own})
                rows.append(frame.assign(**place, arm=arm, policy=f"{arm}, 8", picked_rps=gpus * factor))
    return pd.concat(rows, ignore_index=True)


def test_ratios_are_paired_and_over_the_best_without():
    table = study.ratios_of(roots())
    assert len(table) == 2 * 4 and set(table["over"]) == {study.NONE}
    scores = study.scores(table)
    assert scores["ratio"].to_numpy() == pytest.approx([*GAINS, *GAINS], rel=0.01)
    assert (scores["ci_high"] / scores["ci_low"] < 1.02).all()  # far narrower than the luck that they share
    ahead = study.ratios_of(roots().assign(picked_rps=lambda rows: (rows["arm"] == study.SHORTEST).astype(float)))
    assert set(ahead["over"]) == {study.SHORTEST}
    assert study.scores(ahead)["ratio"].iloc[0] == pytest.approx(1.6, rel=0.01)


def test_the_break_even_lies_between_scores():
    table = study.break_even(study.ratios_of(roots()))
    assert table["rank"].to_numpy() == pytest.approx([0.75, 0.75], abs=0.01)
    assert (table["rank_low"] < table["rank"]).all() and (table["rank"] < table["rank_high"]).all()
    assert (table["found"] == table["rank"]).all()


def test_the_last_crossing_counts_and_what_never_crosses_is_missing():
    x = np.array([0.0, 0.5, 1.0])
    assert study.last_crossing(x, np.array([1.1, 0.9, 1.1])) == pytest.approx(0.75)
    assert study.last_crossing(x, np.array([1.1, 1.2, 1.3])) == 0.0
    assert np.isnan(study.last_crossing(x, np.array([0.9, 1.2, 0.9])))


def test_another_predictor_is_held_against_scores_of_its_quality():
    (row,) = study.carried_over(study.ratios_of(roots()))[:1].itertuples()
    assert (row.ratio, row.by_rank, row.by_found) == pytest.approx((1.0, 1.0, 1.0), abs=0.01)


def test_qualities_are_what_the_predictors_were_given():
    known = study.given((0.0, 0.8, 1.0))
    qualities = {name: study.Served(predictor).quality(20_000, 7) for name, predictor in known.items()}
    assert qualities["rank 1"] == {"rank": pytest.approx(1.0, abs=1e-3), "found": pytest.approx(1.0, abs=0.01)}
    assert qualities["rank 0"] == {"rank": pytest.approx(0.0, abs=0.03), "found": pytest.approx(0.1, abs=0.03)}
    assert qualities["rank 0.8"]["rank"] == pytest.approx(0.8, abs=0.02)
    classifier = known["BERT, 8 bins"]  # eight bins of equal mass, as those that were measured
    lengths = workload.original(20_000, 7).output_tokens
    shares = np.bincount(np.searchsorted(classifier.bounds[1:-1], lengths, side="right"), minlength=8) / len(lengths)
    assert shares == pytest.approx(np.full(8, 1 / 8), abs=0.02)


def test_no_arm_has_batches_beyond_what_was_measured():
    model = presets.load(study.PRESET)
    arms = study.predicting(study.Served(predictors.Oracle()), 22.4, 0.05, model, (2,))
    assert set(arms) == {study.SHORTEST, "K = 2"}
    (own,) = (policy for name, policy in arms["K = 2"].items() if name.startswith("own sizes"))
    assert max(own.batch_sizes) <= model.measured.batch_size[1]
    assert len(study.blind(22.4, model)) == 2 * len(study.SIZES)


@pytest.mark.filterwarnings("ignore")
def test_a_small_search_judges_every_arm_on_the_same_requests():
    asked = {"ranks": (1.0,), "gpus": (2,), "deadlines_s": (22.4,), "k_bins": (2,), "replications": 2}
    found = study.roots_of(600, **asked)
    assert len(found) == 2 * 3 * 4
    blind = found[found["arm"] == study.NONE].groupby("replication")["capacity_rps"]
    assert (blind.max() == blind.min()).all()  # whatever is predicted, it reads none of it
    for bad in ({"ranks": (2.0,)}, {"gpus": (0,)}, {"deadlines_s": (0.0,)}, {"k_bins": (1,)}):
        with pytest.raises(InputError, match=next(iter(bad))):
            study.roots_of(600, **asked | bad)


def test_tables_and_figures_show_what_was_found():
    ratios = study.ratios_of(roots())
    crossings, others = study.break_even(ratios), study.carried_over(ratios)
    style.style()
    assert [axis.get_title("left") for axis in figures.by_found(ratios).axes] == ["Deadline 9 s"]
    never = crossings.assign(rank=np.nan)
    assert any("at none" in text.get_text() for text in figures.break_even(never).axes[0].texts)
    assert "at none" in tables.show_break_even(never).to_html()
    assert "0.75 (" in tables.show_break_even(crossings).to_html()
    html = tables.show_ratios(ratios).to_html()
    assert "score, rank 0.5" in html and "[1.00" in html  # not established
    assert "errors of σ = 0.5" in tables.show_carried_over(others).to_html()
