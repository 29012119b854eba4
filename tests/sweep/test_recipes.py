"""From names and values to records: what is built is what Python would have built; what cannot be is named."""

import pytest

import simlib
from simlib import datasets
from simlib.checks import InputError
from simlib.latency import presets
from simlib.requests import arrivals, lengths, predictors, workload
from simlib.sweep import recipes

LENGTHS = {"kind": "mixture", "weights": [9, 1], "parts": [{"kind": "fixed", "tokens": 10}, {"kind": "uniform"}]}
LENGTHS["parts"][1] |= {"low": 1, "high": 500}
MIXTURE = lengths.Mixture([lengths.Fixed(10), lengths.Uniform(1, 500)], [9, 1])


@pytest.mark.parametrize(
    ("section", "value", "made"),
    [
        ("policy", "static_fifo", simlib.StaticFIFO()),
        ("policy", {"kind": "multi_bin_fixed", "batch_size": 4, "k_bins": 2}, simlib.MultiBinFixed(4, 2)),
        (
            "policy",
            {"kind": "dynamic_no_bins", "variant": {"kind": "paper", "b_max": 9, "memory": {"total_gb": 24}}},
            simlib.DynamicNoBins(variant=simlib.Rules("paper", b_max=9, memory=simlib.Memory(total_gb=24))),
        ),
        ("latency", "original-calibrated", presets.PRESETS["original-calibrated"]),
        ("latency", "0.01,0.0002,0.3", simlib.Affine(0.01, 0.0002, 0.3)),
        ("latency", {"kind": "original-synthetic", "gamma": 0.5}, simlib.Affine(0.01, 0.0002, 0.5)),
        ("latency", {"alpha_s": 0.1, "beta_s_per_token": 0.001, "gamma": 0}, simlib.Affine(0.1, 0.001, 0)),
        ("sla", None, None),
        ("sla", "ttft<=1", simlib.SLA({"ttft": 1.0})),
        ("gpus", 3, 3),
    ],
)
def test_a_section_is_the_record_that_it_describes(section, value, made):
    assert recipes.SECTIONS[section](value) == made


def test_a_synthetic_workload_is_that_of_generate():
    parts = {"arrivals": {"kind": "gamma", "rate_rps": 20, "cv": 2}, "prompt": LENGTHS, "predictor": "oracle"}
    parts["output"] = {"kind": "log_normal", "median_tokens": 100, "sigma": 0.7}
    recipe = recipes.SECTIONS["workload"]({"kind": "synthetic", "requests": 50, "family": "chat", **parts})
    given = (arrivals.GammaArrivals(20, 2), MIXTURE, lengths.LogNormal(100, 0.7), predictors.Oracle())
    made, wanted = recipe.table(3), workload.generate(50, *given, family="chat", replication=3)
    for column in ("arrival_s", "prompt_tokens", "output_tokens", "predicted_output_tokens"):
        assert getattr(made, column).tobytes() == getattr(wanted, column).tobytes()


def test_replications_of_a_trace_differ_in_their_predictions_alone():
    recipe = recipes.SECTIONS["workload"]({"kind": "trace", "path": str(datasets.sample()), "rate_factor": 100.0})
    one, other = recipe.table(0), recipe.table(1)
    assert one.arrival_s.tobytes() == other.arrival_s.tobytes() and len(one) == 383  # 17 of the 400 failed
    assert (one.predicted_output_tokens != other.predicted_output_tokens).any()
    assert one.predicted_output_tokens.tolist() == recipe.table(0).predicted_output_tokens.tolist()


@pytest.mark.parametrize(
    "kind",
    [
        {"kind": "original", "requests": 400},
        {"kind": "synthetic", "requests": 400, "arrivals": "all_at_once", "prompt": LENGTHS, "output": LENGTHS},
        {"kind": "trace", "path": str(datasets.sample())},
    ],
    ids=lambda kind: kind["kind"],
)
def test_priorities_are_drawn_for_each_replication(kind):
    recipe = recipes.SECTIONS["workload"](kind | {"priorities": [1, 3]})
    one, other = recipe.table(0).priority, recipe.table(1).priority
    assert recipe.has_priorities and not recipes.SECTIONS["workload"](kind).has_priorities
    assert set(one.tolist()) == {0, 1} and one.mean() == pytest.approx(0.75, abs=0.1)  # 4.5 standard errors
    assert (one != other).any() and one.tolist() == recipe.table(0).priority.tolist()


def test_replications_of_the_original_are_its_seeds():
    recipe = recipes.SECTIONS["workload"]({"kind": "original", "requests": 20, "seed": 7})
    assert recipe.table(5).prompt_tokens.tolist() == workload.original(20, seed=12).prompt_tokens.tolist()


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        ("policy", "static", "policy.kind: 'static' .*did you mean 'static_fifo'"),
        ("policy", {"k_bins": 3}, "policy.kind: None"),
        ("policy", 3, "policy: 3 .*or its parameters"),
        ("policy", {"kind": "static_fifo", "d_sla": 1}, "policy, a parameter of static_fifo: 'd_sla'"),
        ("workload", {"kind": "synthetic"}, "workload.arrivals: missing .*arrivals, prompt, output"),
        ("workload", {"kind": "synthetic", "arrivals": "poisson"}, "workload.prompt: missing"),
        ("latency", {"kind": "affine", "alpha_s": 1}, "latency.beta_s_per_token: missing"),
        ("latency", "fast", "latency: 'fast'"),
        ("gpus", 0, "gpus: 0"),
        ("oversize", "ignore", "oversize: 'ignore'"),
    ],
)
def test_what_cannot_be_made_is_named(section, value, message):
    with pytest.raises(InputError, match=message):
        recipes.SECTIONS[section](value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"kind": "original", "requests": 0}, "requests: 0"),
        ({"kind": "original", "seed": 2**32 - 5}, "seed: "),
        ({"kind": "original", "arrivals": "steady"}, "arrivals: 'steady'"),
        ({"kind": "trace", "path": "no.csv"}, "no.csv"),
    ],
)
def test_a_workload_that_cannot_be_made_says_so_when_it_is_checked(value, message):
    with pytest.raises(InputError, match=message):
        recipes.SECTIONS["workload"](value).check(replications=20)
