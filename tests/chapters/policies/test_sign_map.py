"""The map: both arms on the same requests, differences in pairs, what the page shows of it."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from book.chapters.policies import figures, sign_map, sizes, study, tables
from simlib.checks import InputError


@pytest.fixture(scope="module")
def runs():
    few = {"deadlines_s": (22.4,), "loads": (0.5, 1.2), "gpus": (2,), "predictors": ("oracle",)}
    return sign_map.runs_of(**few, requests=60, replications=3)


def made(bins, rival, first):
    """Runs of one cell with these late shares."""
    rows = [
        {"gpus": 1, "predictor": "oracle", "deadline_s": 15.0, "load": 0.8, "rate_rps": 1.0, "replication": place}
        | {"bins": "2 bins, 8", "rival": "shortest of 2, 8", "first": "static, 8"}
        | {"bins_late": each[0], "rival_late": each[1], "first_late": each[2]}
        for place, each in enumerate(zip(bins, rival, first, strict=True))
    ]
    return pd.DataFrame(rows)


def test_a_difference_is_of_pairs_and_against_either_rival():
    row = sign_map.table_of(made([0.1, 0.2, 0.3], [0.2, 0.3, 0.4], [0.1, 0.2, 0.3])).iloc[0]
    assert (row["difference"], row["first_difference"]) == pytest.approx((-0.1, 0.0))
    assert row["p_holm"] < 1e-6 and row["first_p_holm"] == 1.0
    assert (row["rival"], row["replications"]) == ("shortest of 2, 8", 3)


def test_the_rival_is_the_best_without_bins_and_each_cell_has_all_replications(runs):
    assert set(runs.groupby(sign_map.CELL).size()) == {3}
    assert runs["bins"].str.contains("bins").all() and not runs["rival"].str.contains("bins").any()
    assert runs["first"].str.match("static|dynamic").all()
    full = runs[runs["load"] == 1.2]["rate_rps"].iloc[0] / 1.2
    known = study.requests_of("poisson", 120, 42 + sizes.FITTED, "oracle")
    assert full == pytest.approx(study.carried_rps(known, study.presets.load(study.executions.PRESET), 2))


def test_bins_of_their_own_sizes_are_left_out_where_the_deadline_cannot_be_kept():
    known = study.requests_of("poisson", 400, 1, "oracle")
    model = study.presets.load(study.executions.PRESET)
    plenty, none = (sign_map.bins_of(known, model, d_sla, {2, 4}) for d_sla in (22.4, 3.0))
    assert len(none) == 2 * len(sizes.CAPS) < len(plenty)
    assert any(" and " in name for name in plenty)


def test_the_page_shows_the_sign_and_never_a_minus_before_a_zero(runs):
    table = sign_map.table_of(runs)
    tile = pd.concat([sign_map.table_of(made([0.1, 0.2, 0.3], [0.2, 0.3, 0.4], [0.3, 0.4, 0.5]))])
    assert tables.tally(tile).tolist() == [1, 1, 0] and tables.tally(tile, "load > 1").tolist() == [0, 0, 0]
    assert tables.show_map(tile).data["against the best without"].tolist() == ["1 / 0"] * 3
    assert len(tables.show_cells(table).data) == 2
    figure = figures.where_bins_help(tile)
    assert [text.get_text() for text in figure.axes[0].texts] == ["−10", "1 GPU"]
    plt.close(figure)
    assert [tables.points(value) for value in (-0.0001, 0.0, -0.004, 0.031)] == ["0", "0", "−0.4", "+3"]
    assert np.isfinite(table["difference"]).all()


def test_the_boundary_reads_four_bins_on_two_gpus():
    row = {"deadline_s": 22.4, "predictor": "original", "ratio": 0.74, "ci_low": 0.7, "ci_high": 0.8}
    keys = {"scheduler": "multi_bin_dynamic", "k_bins": 4, "gpus": 2}
    rows = [row | keys | {"over": over} for over in ("dynamic", "best")] + [row | keys | {"over": "best", "gpus": 8}]
    shown = tables.show_boundary(pd.DataFrame(rows)).data
    assert shown.iloc[0].tolist() == ["22.4 s", "the original's formula", *["0.74 (0.70 to 0.80)"] * 2]


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: sign_map.runs_of(loads=[0.0]), "load: 0"),
        (lambda: sign_map.runs_of(predictors=["oracles"]), "did you mean 'oracle'"),
        (lambda: sign_map.runs_of(replications=1), "replications: 1"),
        (lambda: sign_map.table_of(pd.DataFrame({"load": [1]})), "missing column"),
    ],
)
def test_a_bad_setting_is_named(call, word):
    with pytest.raises(InputError, match=word):
        call()
