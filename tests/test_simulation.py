"""One call: what it takes, what it returns, and what it says before and while it runs."""

import dataclasses
import warnings

import numpy as np
import pandas as pd
import pytest

import simlib
from simlib import InputError
from simlib.named import policy_of

SMALL = simlib.Rules(memory=simlib.Memory(kv_gb_per_token=1 / 128))  # 1152 tokens


def table(requests: int = 30) -> simlib.RequestTable:
    return simlib.workload.original(requests, seed=5)


def test_the_same_requests_in_any_form_give_the_same_run():
    requests = table()
    frame = requests.frame()
    runs = [
        simlib.simulate(form, "multi_bin_dynamic", gpus=2)
        for form in (requests, frame, frame.to_dict("list"), frame.set_axis(range(7, 37)), frame.assign(note="x"))
    ]
    for run in runs[1:]:
        assert np.array_equal(run.times.completion_s, runs[0].times.completion_s)


def test_names_stand_for_policies_and_presets_with_their_defaults():
    by_name = simlib.simulate(table(), "multi_bin_dynamic", "original-calibrated")
    by_object = simlib.simulate(table(), simlib.MultiBinDynamic(), simlib.Affine(0.015, 0.0003, 0.4))
    assert np.array_equal(by_name.times.completion_s, by_object.times.completion_s)
    assert by_name.policy == "multi_bin_dynamic"
    default = simlib.simulate(table(), "static_fifo")
    named = simlib.simulate(table(), simlib.StaticFIFO(8), "original-synthetic", 1, "run_to_completion")
    assert np.array_equal(default.times.completion_s, named.times.completion_s)


def test_the_deadline_is_the_policys_unless_another_is_given():
    def share(policy, **options):
        return simlib.simulate(table(), policy, **options).summary()["sla_violation_share"]

    assert share(simlib.StaticFIFO()) == share(simlib.StaticFIFO(), sla=1.0)
    assert share(simlib.DynamicNoBins(d_sla=0.02)) == 1.0
    assert share(simlib.DynamicNoBins(d_sla=0.02), sla=100.0) == 0.0
    assert share(simlib.DynamicNoBins(d_sla=100.0), sla="latency<=0.001") == 1.0


@pytest.mark.parametrize("execution", ["run_to_completion", "continuous"])
def test_a_deadline_that_nobody_gave_is_said_to_be_assumed(execution):
    def deadline(policy, sla=None):
        return simlib.simulate(table(), policy, simlib.Phases(0.01, 1e-5, 0.001, 1e-6), 1, execution, sla).sla

    assert deadline("static_fifo") == simlib.SLA({"latency": 1.0}, assumed=True)
    assert deadline("static_fifo", 1.0) == simlib.SLA({"latency": 1.0})
    assert deadline(simlib.MultiBinDynamic(2, d_sla=0.3)) == simlib.SLA({"latency": 0.3})


@pytest.mark.parametrize("name", ["static_fifo", "multi_bin_fixed", "shortest_predicted_first", "fair_share"])
def test_a_policy_without_a_controller_has_no_deadline(name):
    assert not hasattr(policy_of(name), "d_sla")


@pytest.mark.parametrize("gpus", [1, 3, 64, 100])
def test_any_number_of_gpus(gpus):
    requests = simlib.RequestTable(np.zeros(200), np.full(200, 10), np.full(200, 10))
    run = simlib.simulate(requests, simlib.StaticFIFO(1), simlib.GivenTimes(np.ones(200)), gpus)
    assert run.summary()["makespan_s"] == -(-200 // gpus)
    assert set(run.served.gpu) == set(range(gpus))


def test_a_run_says_how_it_was_executed():
    for backend in ("compiled", "stepped", "interpreted"):
        assert simlib.simulate(table(), "static_fifo", backend=backend).backend == backend
    assert simlib.simulate(table(), "static_fifo").backend == "compiled"


def test_time_has_no_scale():
    requests, service_s = table(), np.linspace(0.01, 0.3, 30)
    run = simlib.simulate(requests, simlib.StaticFIFO(3), simlib.GivenTimes(service_s), 2)
    slower = simlib.simulate(requests.at_rate(0.25), simlib.StaticFIFO(3), simlib.GivenTimes(4 * service_s), 2)
    assert np.array_equal(slower.times.completion_s, 4 * run.times.completion_s)


LEVEL_POLICIES = ("static_fifo", "dynamic_no_bins", "multi_bin_dynamic")


@pytest.mark.parametrize(
    ("latency", "published"),
    [
        ("original-synthetic", [(43.3, 1.006, 46.41), (1.5, 0.502, 50.77), (0.7, 0.369, 50.24)]),
        ("original-calibrated", [(96.5, 7.691, 29.24), (61.7, 1.040, 49.64), (22.4, 0.704, 49.07)]),
    ],
    ids=["level 1", "level 3"],
)
def test_the_published_tables_at_seed_42(latency, published):
    for policy, row in zip(LEVEL_POLICIES, published, strict=True):
        summary = simlib.simulate(simlib.workload.original(1000, seed=42), policy, latency, gpus=2).summary()
        found = (summary["sla_violation_share"] * 100, summary["latency_mean_s"], summary["throughput_rps"])
        assert (round(found[0], 1), round(found[1], 3), round(found[2], 2)) == row


def test_arrivals_in_milliseconds_are_suspected_of_it():
    """Mean gaps of 20 s may be a thin trace's or 50 requests a second's: the run is right for seconds, and says so."""
    table = simlib.workload.original(50)
    with pytest.warns(UserWarning, match=r"arrival_s: mean gap 17.1 s, nothing waits .*milliseconds"):
        simlib.simulate(table.at_rate(1e-3).frame(), "static_fifo")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simlib.simulate(table.frame(), "static_fifo")
        simlib.simulate(table.at_rate(1e-3), "static_fifo")  # made here, in seconds


# Requests that no engine would serve


@pytest.mark.parametrize("execution", ["run_to_completion", "continuous"])
def test_where_every_request_has_failed_none_was_served(execution):
    requests = simlib.RequestTable([0, 1, 2], [10, 10, 10], [0, 0, 0])
    with pytest.raises(InputError, match=r"output_tokens: 0 in all 3 rows, .*no request was served"):
        simlib.simulate(requests, "static_fifo", simlib.Phases(0.01, 0.0, 1e-3, 0.0), 1, execution)


def test_a_request_without_a_prompt_is_named_unless_it_has_failed():
    frame = pd.DataFrame({"arrival_s": [0.0, 1.0, 2.0], "prompt_tokens": [0, 5, 0], "output_tokens": [0, 5, 5]})
    with pytest.warns(UserWarning, match="prompt_tokens, row 2: 0 .1 of 3 requests have no prompt") as caught:
        simlib.simulate(frame, "static_fifo")
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simlib.simulate(frame[:2], "static_fifo")


# Controllers that cannot do what they are asked for


def steady(rate_rps: float, requests: int = 400) -> simlib.RequestTable:
    """Equal requests at equal distances; predicted by turns as short and as long."""
    lengths, predicted = np.full(requests, 50), np.where(np.arange(requests) % 2, 40, 80)
    return simlib.RequestTable(np.arange(requests) / rate_rps, lengths, lengths, predicted)


POLICIES = {
    "original": simlib.DynamicNoBins(0.02),
    "paper": simlib.DynamicNoBins(0.02, simlib.Rules("paper", alpha=1)),
    "bins": simlib.MultiBinDynamic(2, 0.02, bounds=[60.0]),
}


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_a_controller_whose_target_no_batch_meets_has_collapsed_where_requests_wait(policy):
    """A batch of one takes 0.1 s, and so does one of two; 12 requests a second come, or 5."""
    model = simlib.Affine(0.1, 0.0, 0.0)
    message = rf"policy {policy.name}: its controller has collapsed, .*least size, 1, .*d_sla = 0.02 s cannot be met"
    with pytest.warns(UserWarning, match=message) as caught:
        run = simlib.simulate(steady(12.0), policy, model)
    assert caught[0].filename == __file__
    assert run.summary()["collapsed_share"] > 0.8 and run.summary()["batch_size_mean"] < 1.1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calm = simlib.simulate(steady(5.0), policy, model)  # batches of one, too, but nobody waits
        met = simlib.simulate(steady(12.0), dataclasses.replace(policy, d_sla=0.2), model)
        other = simlib.simulate(steady(12.0), "static_fifo", model)
    assert [run.summary()["collapsed_share"] for run in (calm, met, other)] == [0.0] * 3


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_a_few_requests_that_waited_do_not_make_a_collapse(policy):
    model, burst = simlib.Affine(0.1, 0.0, 0.0), np.r_[np.full(9, 5.0), 6.0 + np.arange(80) / 5.0]
    few = simlib.RequestTable(np.r_[np.arange(20) / 5.0, burst], *[np.full(109, 50)] * 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 0.0 < simlib.simulate(few, policy, model).summary()["collapsed_share"] < 0.1


@pytest.mark.parametrize("sla", ["original", "paper", "aimd"])
def test_a_controller_of_steps_collapses_too(sla):
    """A step of one sequence takes 11 ms and 20 µs for each of its 50 to 99 tokens: 12 ms are missed from the first."""
    control = simlib.StepControl(0.012, sla, epsilon_s=1e-5, alpha=1, b_start=2)
    engine = simlib.Continuous(max_seqs=32, control=control)
    law = simlib.StepLaw(0.01, 0.001, 0.0, 2e-5)
    with pytest.warns(UserWarning, match="execution continuous: its controller has collapsed, steps .* 1, .*0.012 s"):
        run = simlib.simulate(steady(100.0), "fcfs", law, 2, engine)
    assert run.summary()["collapsed_share"] > 0.5 and run.batch_size_mean < 1.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert simlib.simulate(steady(0.5), "fcfs", law, 2, engine).summary()["collapsed_share"] < 0.1
        assert simlib.simulate(steady(100.0), "fcfs", law, 2, "continuous").summary()["collapsed_share"] == 0.0


# Requests that cannot fit


def oversize_table() -> simlib.RequestTable:
    return simlib.RequestTable([0, 1, 2, 3], [10, 1000, 10, 2000], [10, 153, 10, 10], [10, 10, 10, 10])


@pytest.mark.parametrize("policy", [simlib.DynamicNoBins, simlib.MultiBinDynamic])
def test_a_request_larger_than_the_memory_is_named_before_the_run(policy):
    with pytest.raises(InputError) as caught:
        simlib.simulate(oversize_table(), policy(variant=SMALL))
    assert str(caught.value).startswith("prompt_tokens + output_tokens, row 1: 1153 (expected at most 1152")
    assert 'oversize="reject"' in str(caught.value)


def test_a_request_larger_than_the_cache_is_said_in_tokens_and_in_blocks():
    """1000 tokens make 62 blocks of 16, for 992 tokens, and the last token of a request is never stored."""
    engine, law = simlib.Continuous(kv_tokens=1000), simlib.StepLaw(0.01)
    for output_tokens in (92, 93):  # up to 993 tokens in all
        assert simlib.simulate(simlib.RequestTable([0], [900], [output_tokens]), "fcfs", law, 1, engine).rejected == 0
    message = r"row 0: 994 tokens, 63 blocks of 16 \(expected at most 993 tokens, 62 blocks, of kv_tokens = 1000"
    with pytest.raises(InputError, match=message):
        simlib.simulate(simlib.RequestTable([0], [900], [94]), "fcfs", law, 1, engine)


def test_the_blocks_that_others_hold_for_a_request_count_for_it():
    """Of 40 cached tokens two blocks of 16 are shared: 4 blocks of its own are left for the rest but the last."""
    engine = simlib.Continuous(kv_tokens=64, share_cached=True)
    tables = [simlib.RequestTable([0], [90], [n], cached_prompt_tokens=[40]) for n in (7, 8)]
    assert simlib.simulate(tables[0], "fcfs", simlib.StepLaw(0.01), 1, engine).rejected == 0
    with pytest.raises(InputError, match=r"98 tokens, 5 blocks of 16 \(expected at most 97 tokens, 4 blocks"):
        simlib.simulate(tables[1], "fcfs", simlib.StepLaw(0.01), 1, engine)


@pytest.mark.parametrize("policy", [simlib.DynamicNoBins, simlib.MultiBinDynamic])
@pytest.mark.filterwarnings("ignore:predicted_output_tokens. tied")
def test_rejected_requests_are_counted_and_block_nobody(policy):
    run = simlib.simulate(oversize_table(), policy(variant=SMALL), oversize="reject")
    assert run.rejected == 2
    assert np.isnan(run.times.completion_s).tolist() == [False, True, False, True]
    assert run.times.start_s[[0, 2]].tolist() == [0, 2]
    assert run.summary()["requests"] == 4
    assert run.summary()["sla_violation_share"] == 0.5


def test_a_request_as_large_as_the_memory_fits():
    run = simlib.simulate(simlib.RequestTable([0], [1000], [152]), simlib.DynamicNoBins(variant=SMALL))
    assert run.rejected == 0


def test_static_batches_ignore_memory():
    assert simlib.simulate(oversize_table(), simlib.StaticFIFO()).rejected == 0


def test_a_table_of_which_nothing_fits_is_rejected_as_a_whole():
    requests = simlib.RequestTable([0, 1], [2000, 3000], [1, 1])
    run = simlib.simulate(requests, simlib.DynamicNoBins(variant=SMALL), oversize="reject")
    assert run.rejected == 2
    assert len(run.batches) == 0
    assert run.requests["batch"].tolist() == [-1, -1]
    assert run.summary()["sla_violation_share"] == 1.0


# Bins


@pytest.mark.parametrize("policy", ["multi_bin_dynamic", "multi_bin_fixed"])
def test_binning_without_predictions_is_refused(policy):
    requests = table().with_predictions(None)
    with pytest.raises(InputError, match=f"predicted_output_tokens: missing column .*{policy}"):
        simlib.simulate(requests, policy)
    for plain in ("static_fifo", "dynamic_no_bins"):
        assert simlib.simulate(requests, plain).rejected == 0


@pytest.mark.parametrize(
    ("predicted", "k_bins", "distinct"),
    [([5] * 20, 2, 1), ([5] * 20, 4, 1), ([5] * 15 + [9] * 5, 2, 1), ([5] * 15 + [9] * 5, 4, 2)],
)
@pytest.mark.parametrize("policy", [simlib.MultiBinDynamic, simlib.MultiBinFixed])
def test_tied_lengths_say_how_many_bins_there_are(policy, predicted, k_bins, distinct):
    requests = table(20).with_predictions(predicted)
    with pytest.warns(UserWarning, match=f"predicted_output_tokens.*{distinct} distinct bins? of {k_bins}") as caught:
        run = simlib.simulate(requests, policy(k_bins=k_bins))
    assert run.requests["bin"].nunique() == distinct
    assert caught[0].filename == __file__  # the user's line, not the library's


def test_distinct_lengths_give_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for policy in ("multi_bin_dynamic", "multi_bin_fixed"):
            simlib.simulate(table(200), policy)


# Malformed tables reach the caller as one sentence


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.drop(columns="output_tokens"), "output_tokens: missing column"),
        (lambda f: f.assign(output_tokens=-1), "output_tokens, row 0: -1"),
        (lambda f: f.assign(prompt_tokens=0.5), "prompt_tokens, row 0: 0.5"),
        (lambda f: f.assign(prompt_tokens="many"), "prompt_tokens, row 0: many"),
        (lambda f: f.assign(arrival_s=f["arrival_s"] * np.nan), "arrival_s, row 0: nan"),
        (lambda f: f.iloc[::-1], "arrival_s, row 1"),
        (lambda f: f.iloc[:0], "arrival_s: the table has no rows"),
        (lambda f: f.assign(arrival_s=pd.Timestamp("2024-01-01")), "this is a date"),
        (lambda f: f.assign(arrival_s=f["arrival_s"] + 1.7e12), "milliseconds since 1970"),
        (lambda f: f.assign(arrival_s=f["arrival_s"] * 1e5), "look like milliseconds"),
        (lambda f: f.rename(columns={"arrival_s": "arrival_ms"}), "divided by 1000"),
    ],
)
@pytest.mark.parametrize("policy", ["static_fifo", "multi_bin_fixed"])
def test_a_malformed_table_is_refused(policy, change, says):
    with pytest.raises(InputError, match=says):
        simlib.simulate(change(table().frame()), policy)


@pytest.mark.parametrize("policy", ["static_fifo", "dynamic_no_bins", "multi_bin_dynamic", "multi_bin_fixed"])
@pytest.mark.filterwarnings("ignore:predicted_output_tokens. tied")
def test_one_row_and_one_instant_are_served(policy):
    one = simlib.simulate(table(1), policy)
    assert one.times.start_s.tolist() == table(1).arrival_s.tolist()
    instant = table(40).frame().assign(arrival_s=3.0)
    run = simlib.simulate(instant, policy, gpus=3)
    assert run.times.start_s.min() == 3.0
    assert (run.times.completion_s > 3.0).all()


# Order of checking


def test_nothing_runs_before_everything_is_checked():
    asked = []

    def asks(now_s, gpu, waiting, params, memory, note):
        asked.append(now_s)
        return 0, 1

    policy = simlib.Custom("asks", asks)
    wrong = ({"gpus": 0}, {"sla": -1}, {"backend": "x"}, {"oversize": "x"}, {"execution": "x"}, {"latency": "x"})
    for options in wrong:
        with pytest.raises(InputError, match=next(iter(options))):
            simlib.simulate(table(), policy, **options)
    assert asked == []


def test_an_execution_model_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match=r"execution: 'disaggregated' \(expected"):
        simlib.simulate(table(), "static_fifo", execution="disaggregated")


def test_a_policys_own_class_is_no_policy():
    with pytest.raises(InputError, match="policy"):
        simlib.simulate(table(), simlib.StaticFIFO)
    with pytest.raises(InputError, match="did you mean 'static_fifo'"):
        simlib.simulate(table(), "static_fifos")
