"""Cards of own measurements and of presets."""

import itertools

import numpy as np
import pandas as pd
import pytest

import simlib
from simlib import named
from simlib.calibration import cards
from simlib.latency import measurements, presets

TRUTH = presets.load("h100x8-splitwise-llama2-70b")
GRID = list(itertools.product((1, 4, 16), (64, 256, 1024), (16, 128)))


def measured(noise=0.02, seed=0) -> pd.DataFrame:
    frame = pd.DataFrame(GRID * 3, columns=["batch_size", "prompt_tokens", "output_tokens"])
    exact = TRUTH.batch_time_s(*(frame[name] for name in frame))
    return frame.assign(total_s=exact * np.exp(np.random.default_rng(seed).normal(0, noise, len(frame))))


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("# device: A GPU\n# versions: torch 9\n" + measured().to_csv(index=False))
    return file


def test_a_card_says_what_was_measured_and_how_well_it_fits(path):
    found = simlib.Calibration.of(path)
    card = found.card()
    assert found.best in ("phase4", "phase5")
    assert card.facts["device"] == "A GPU" and card.facts["versions"] == "torch 9"
    assert "batch_size 1 to 16, prompt_tokens 64 to 1024, output_tokens 16 to 128" in card.facts["measured range"]
    assert card.forms["form"].tolist() == ["affine", "power", "phase4", "phase5"]
    assert (card.coefficients["low"] <= card.coefficients["value"]).all()
    page = card._repr_html_()
    assert "A GPU" in page and "mine.csv" in page and "c1_s_per_token" in page
    assert page.count("<circle") == 3 * len(measured()) and "Points left out" in page


def test_a_measurement_file_is_a_latency_model(path):
    model = named.latency_of(path)
    assert model.batch_time_s(8, 512, 64) == pytest.approx(TRUTH.batch_time_s(8, 512, 64), rel=0.05)
    assert simlib.simulate(simlib.RequestTable([0], [512], [64]), "static_fifo", str(path)).served.service_s[0] > 0


def test_what_was_read_may_be_given_instead_of_the_file(path):
    one, other = cards.Calibration.of(path), cards.Calibration.of(measurements.read(path))
    assert one.fits[one.best].coefficients == other.fits[other.best].coefficients


def test_equal_lengths_say_so_on_the_card():
    equal = pd.DataFrame(
        [(b, n, n) for b in (1, 8, 32) for n in (128, 256, 512, 1024)],
        columns=["batch_size", "prompt_tokens", "output_tokens"],
    )
    equal["total_s"] = TRUTH.batch_time_s(*(equal[name] for name in equal))
    found = cards.Calibration.of(equal)
    assert "equal lengths only" in found.card("phase5").facts["assumption"]
    assert found.model("phase5", split=0.0).model.c1_s_per_token == 0


def test_a_grid_too_small_for_a_form_leaves_it_out_and_one_too_small_for_all_is_refused():
    few = pd.DataFrame(
        [(1, 64, 64), (8, 64, 64), (1, 256, 64), (8, 256, 64)], columns=["batch_size", "prompt_tokens", "output_tokens"]
    )
    found = cards.Calibration.of(few.assign(total_s=[1.0, 1.5, 2.0, 3.0]), folds=None)
    assert set(found.fits) == {"affine", "power"}
    with pytest.raises(simlib.InputError, match="batch_size: 1 throughout"):
        cards.Calibration.of(few[:1].assign(total_s=1.0))
    with pytest.raises(simlib.InputError, match="form"):
        found.card("phase5")


@pytest.mark.parametrize("name", ["original-synthetic", "a100-vllm-llama3-8b", "gh200-vllm-opt-6.7b"])
def test_every_preset_has_a_card(name):
    card = cards.preset(name)
    assert name in card._repr_html_()
    assert {"original-synthetic": "assumed", "gh200-vllm-opt-6.7b": "stopped early"}.get(name, "") in card.facts.get(
        "note", ""
    )


def test_every_card_of_measurements_has_its_own_residuals():
    table = presets.table().query("n_points > 0")
    for name, rows in table.groupby("name"):
        card = cards.preset(name)
        assert card._repr_html_().count("<circle") == 3 * len(card.residuals) >= 3 * rows["n_points"].iloc[-1]
        error = card.residuals["residual"].abs().mean()
        assert error == pytest.approx(rows["cv_mape"].iloc[-1], rel=1e-4)


def test_a_card_says_what_a_measured_engine_says_of_it():
    off, none = cards.preset("h100x4-trtllm-llama3-8b").facts, cards.preset("a100-vllm-llama3-8b").facts
    assert "+29 % against TensorRT-LLM 1.0.0rc3" in off["against a measured engine"]
    assert "off by more than 10 %" in off["against a measured engine"]
    assert "runs of TensorRT-LLM 1.0.0rc3 support 0.20 to 0.39" in off["assumption"]
    assert "against a measured engine" not in none and none["assumption"].endswith("no measured engine tells it")


def test_a_card_of_what_was_assumed_has_no_residuals():
    card = cards.preset("original-synthetic")
    assert "<svg" not in card._repr_html_()


def test_a_card_of_no_preset_is_refused():
    with pytest.raises(simlib.InputError, match="simlib presets"):
        cards.preset("h100")
