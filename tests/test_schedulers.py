"""The policies: which bin, how many, and what they promise about themselves."""

import dataclasses

import numpy as np
import pytest

import simlib
from simlib import schedulers
from simlib.schedulers import POLICIES, SELECTIONS

PAIRS = simlib.Rules(b_min=2, b_max=2)  # both algorithms answer 2, whatever they see


def table(arrival_s, predicted) -> simlib.RequestTable:
    tens = np.full(len(arrival_s), 10)
    return simlib.RequestTable(arrival_s, tens, tens, predicted)


def order_of_service(requests, policy, service_s, gpus=1) -> list[list[int]]:
    """The members of each batch, in order of start."""
    run = simlib.simulate(requests, policy, simlib.GivenTimes(service_s), gpus)
    return [np.flatnonzero(run.served.batch_of == batch).tolist() for batch in range(len(run.served.size))]


def test_policies_are_found_by_their_names():
    assert list(POLICIES) == ["static_fifo", "dynamic_no_bins", "multi_bin_dynamic", "multi_bin_fixed"]
    for name, policy in POLICIES.items():
        assert policy.name == policy().name == name
    assert POLICIES["static_fifo"]() == simlib.StaticFIFO(batch_size=8)
    assert POLICIES["multi_bin_dynamic"]() == simlib.MultiBinDynamic(4, 1.0, "round_robin", "equal_mass", "original")


def test_only_the_fixed_policy_waits():
    assert [policy.work_conserving for policy in POLICIES.values()] == [True, True, True, False]


# While the first request is served, three bins fill: bin 0 holds 1, bin 1 holds 2 and 3, bin 2 holds 4, 5 and 6.


@pytest.mark.parametrize(
    ("bin_select", "batches"),
    [
        # Behind bin 0, which was served first: 1, 2, then 0; then 1 is empty, so 2.
        ("round_robin", [[0], [2, 3], [4, 5], [1], [6]]),
        # Three wait in bin 2; then two in bin 1; then one in bin 0 and one in bin 2: the lower index.
        ("longest_queue", [[0], [4, 5], [2, 3], [1], [6]]),
        ("oldest_head", [[0], [1], [2, 3], [4, 5], [6]]),
    ],
)
def test_the_next_bin(bin_select, batches):
    requests = table([0, 1, 2, 3, 4, 5, 6], [5, 5, 15, 15, 25, 25, 25])
    policy = simlib.MultiBinDynamic(3, bin_select=bin_select, bounds=[10, 20], variant=PAIRS)
    assert order_of_service(requests, policy, [10, 1, 1, 1, 1, 1, 1]) == batches


def test_round_robin_is_one_pointer_for_all_gpus():
    requests = table([0, 0, 0, 0, 0, 0], [5, 15, 5, 15, 5, 15])
    policy = simlib.MultiBinDynamic(2, bounds=[10], variant=PAIRS)
    run = simlib.simulate(requests, policy, simlib.GivenTimes([1] * 6), gpus=3)
    assert run.batches["bin"].tolist() == [0, 1, 0, 1]
    assert run.batches["gpu"].tolist() == [0, 1, 2, 0]


def test_the_longest_queue_is_counted_in_requests_not_in_tokens():
    requests = table([0, 1, 1, 1], [5, 5, 5, 900])
    policy = simlib.MultiBinDynamic(2, bin_select="longest_queue", bounds=[10], variant=PAIRS)
    assert order_of_service(requests, policy, [5, 1, 1, 1]) == [[0], [1, 2], [3]]


def test_oldest_heads_that_arrived_together_go_in_table_order():
    requests = table([0, 1, 1], [5, 900, 5])
    policy = simlib.MultiBinDynamic(2, bin_select="oldest_head", bounds=[10], variant=PAIRS)
    assert order_of_service(requests, policy, [5, 1, 1]) == [[0], [1], [2]]


def test_the_original_looks_at_its_first_candidates_only():
    requests = table([0] + [1] * 200, [5] * 201)
    sizes = [len(batch) for batch in order_of_service(requests, simlib.DynamicNoBins(), [2.0] + [0.1] * 200)]
    assert max(sizes) == 64
    rules = simlib.Rules(candidates=10)
    sizes = [len(batch) for batch in order_of_service(requests, simlib.DynamicNoBins(1.0, rules), [2.0] + [0.1] * 200)]
    assert sizes == [1] + [10] * 20


def test_one_bin_is_no_bins():
    requests = simlib.workload.original(400, seed=7)
    for variant in ("original", "paper"):
        for bin_select in SELECTIONS:
            binned = simlib.simulate(requests, simlib.MultiBinDynamic(1, 0.4, bin_select, variant=variant), gpus=2)
            plain = simlib.simulate(requests, simlib.DynamicNoBins(0.4, variant), gpus=2)
            assert np.array_equal(binned.times.completion_s, plain.times.completion_s)


def test_without_bins_the_bin_is_minus_one():
    requests = table([0, 1], [5, 900])
    for policy in (simlib.StaticFIFO(), simlib.DynamicNoBins()):
        run = simlib.simulate(requests, policy)
        assert run.requests["bin"].tolist() == [-1, -1]
        assert run.batches["bin"].tolist() == [-1, -1]


@pytest.mark.parametrize("latency", ["original-synthetic", "original-calibrated"])
def test_dynamic_batching_equals_a_static_batch_of_64_on_the_originals_workload(latency):
    # Reference behaviour, section 7: the gain is the larger cap, not the feedback.
    requests = simlib.workload.original(1000, seed=3)
    dynamic = simlib.simulate(requests, simlib.DynamicNoBins(), latency, gpus=2)
    static = simlib.simulate(requests, simlib.StaticFIFO(64), latency, gpus=2)
    assert np.array_equal(dynamic.times.completion_s, static.times.completion_s)
    assert len(static.served.size) < 500


def test_a_plan_starts_afresh():
    policy, requests = simlib.DynamicNoBins(0.3, "paper"), simlib.workload.original(300, seed=1)
    first, second = policy.plan(requests, 2), policy.plan(requests, 2)
    assert first.memory is not second.memory
    untouched = second.memory.copy()
    simlib.simulate(requests, policy, gpus=2)
    assert np.array_equal(policy.plan(requests, 2).memory, untouched)


def test_settings_do_not_change():
    for policy in (simlib.StaticFIFO(), simlib.DynamicNoBins(), simlib.MultiBinDynamic(), simlib.MultiBinFixed()):
        for field in dataclasses.fields(policy):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(policy, field.name, 3)


def test_a_custom_policy_bins_as_a_built_in_does():
    def first_queue(now_s, gpu, waiting, params, memory, note):
        best = 0
        while waiting.tail[best] == waiting.head[best]:
            best += 1
        return best, 2

    requests = table([0, 0, 0, 0], [900, 5, 900, 5])
    policy = simlib.Custom("first", first_queue, k_bins=2)
    assert order_of_service(requests, policy, [1] * 4) == [[1, 3], [0, 2]]
    assert policy.needs_predictions and not simlib.Custom("first", first_queue).needs_predictions


def test_a_custom_policys_memory_is_copied_for_each_run():
    memory = np.zeros((1, 1))

    def counts(now_s, gpu, waiting, params, memory, note):
        memory[0, 0] += 1.0
        note[0] = memory[0, 0]
        return 0, 1

    policy = simlib.Custom("counts", counts, memory=memory, notes=("decisions",))
    for _ in range(2):
        run = simlib.simulate(table([0, 0], [5, 5]), policy)
        assert run.controller["decisions"].tolist() == [1, 2]
    assert memory[0, 0] == 0


def test_a_custom_policy_holds_to_its_memory():
    def everyone(now_s, gpu, waiting, params, memory, note):
        return 0, 100

    policy = simlib.Custom("everyone", everyone, capacity_tokens=50)
    assert order_of_service(table([0] * 5, [5] * 5), policy, [1] * 5) == [[0, 1], [2, 3], [4]]  # 20 tokens each


def test_a_policy_may_know_that_no_more_will_come():
    def all_at_the_end(now_s, gpu, waiting, params, memory, note):
        return 0, 100 if waiting.tail[0] == waiting.end[0] else 0

    policy = simlib.Custom("patient", all_at_the_end)
    run = simlib.simulate(table([0, 1, 7], [5] * 3), policy, simlib.GivenTimes([1] * 3))
    assert run.served.start_s.tolist() == [7]
    assert run.served.size.tolist() == [3]


def test_a_policy_sees_columns_but_not_the_true_output_lengths():
    assert schedulers.Waiting._fields == (
        "head",
        "tail",
        "end",
        "order",
        "arrival_s",
        "prompt_tokens",
        "predicted_output_tokens",
    )

    def shortest_prompt_decides(now_s, gpu, waiting, params, memory, note):
        request = waiting.order[waiting.head[0]]
        note[0], note[1] = waiting.prompt_tokens[request], waiting.arrival_s[request]
        note[2] = waiting.predicted_output_tokens[request]
        return 0, 1

    requests = simlib.RequestTable([0.5, 2.5], [11, 12], [1, 1], [21, 22])
    run = simlib.simulate(requests, simlib.Custom("looks", shortest_prompt_decides, notes=("p", "a", "l")))
    assert run.controller[["p", "a", "l"]].to_numpy().tolist() == [[11, 0.5, 21], [12, 2.5, 22]]


def test_the_papers_worked_example():
    """Multi-Bin paper, Figure 1b: times 1, 5, 2, 6 s and batches of two take 11 s in order, 8 s in two bins."""
    requests, times = table([0, 0, 0, 0], [1, 5, 2, 6]), simlib.GivenTimes([1, 5, 2, 6])
    in_order = simlib.simulate(requests, simlib.MultiBinFixed(2, 1), times)
    in_bins = simlib.simulate(requests, simlib.MultiBinFixed(2, 2, bounds=[3.5]), times)
    assert in_order.summary()["makespan_s"] == 11
    assert in_bins.summary()["makespan_s"] == 8
    assert in_order.served.service_s.tolist() == [5, 6]
    assert in_bins.served.service_s.tolist() == [2, 6]
    assert simlib.simulate(requests, simlib.StaticFIFO(2), times).summary()["makespan_s"] == 11
