"""The policies: which bin, how many, and what they promise about themselves."""

import dataclasses

import numpy as np
import pytest

import simlib
from simlib.engine import shapes
from simlib.named import POLICIES
from simlib.policies.plan import SELECTIONS
from simlib.requests.lengths import Uniform

PAIRS = simlib.Rules(b_min=2, b_max=2)  # both algorithms answer 2, whatever they see


def table(arrival_s, predicted) -> simlib.RequestTable:
    tens = np.full(len(arrival_s), 10)
    return simlib.RequestTable(arrival_s, tens, tens, predicted)


def order_of_service(requests, policy, service_s, gpus=1) -> list[list[int]]:
    """The members of each batch, in order of start."""
    run = simlib.simulate(requests, policy, simlib.GivenTimes(service_s), gpus)
    return [np.flatnonzero(run.served.batch_of == batch).tolist() for batch in range(len(run.served.size))]


def test_policies_are_found_by_their_names():
    assert list(POLICIES)[:4] == ["static_fifo", "dynamic_no_bins", "multi_bin_dynamic", "multi_bin_fixed"]
    assert list(POLICIES)[4:] == ["shortest_predicted_first", "early_rejection", "fair_share", "priority"]
    for name, policy in POLICIES.items():
        assert policy.name == policy().name == name
    assert POLICIES["static_fifo"]() == simlib.StaticFIFO(batch_size=8)
    assert POLICIES["multi_bin_dynamic"]() == simlib.MultiBinDynamic(4, 1.0, "round_robin", "equal_mass", "original")


def test_only_the_fixed_policy_waits():
    assert [name for name, policy in POLICIES.items() if not policy.work_conserving] == ["multi_bin_fixed"]


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
    requests = table([0, 1, 1], [5, 900, 5])  # the first in the table stands in the higher bin
    policy = simlib.MultiBinDynamic(2, bin_select="oldest_head", bounds=[10], variant=PAIRS)
    assert order_of_service(requests, policy, [5, 1, 1]) == [[0], [1], [2]]
    for backend in ("interpreted", "compiled"):
        run = simlib.simulate(requests, policy, simlib.StepLaw(1.0), 1, simlib.Continuous(max_seqs=1), backend=backend)
        assert np.argsort(run.times.start_s).tolist() == [0, 1, 2]


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


TWO, THREE = np.float32(2), np.float32(3)


@pytest.mark.parametrize(
    "policy",
    [
        simlib.StaticFIFO(THREE),
        simlib.DynamicNoBins(1.0, simlib.Rules("paper", b_min=TWO, b_max=THREE, average_batches=TWO, alpha=TWO)),
        simlib.MultiBinDynamic(TWO, batch_sizes=THREE),
        simlib.MultiBinFixed(THREE, TWO),
        simlib.MultiBinFixed([TWO, THREE], TWO),
        simlib.ShortestPredictedFirst(k_bins=TWO, batch_size=THREE),
        simlib.EarlyRejection(k_bins=TWO),
        simlib.FairShare(THREE),
        simlib.Custom("whole", lambda now_s, gpu, waiting, params, memory, note: (0, 3), k_bins=np.float32(1)),
    ],
    ids=lambda policy: policy.name,
)
def test_a_whole_number_is_an_integer_however_it_is_given(policy):
    requests = simlib.workload.original(60, seed=7).frame().assign(client="a")
    assert simlib.simulate(requests, policy).summary()["requests"] == 60


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
    assert shapes.Waiting._fields == (
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


# Batch sizes of each bin: bin 0 forms batches of three, bin 1 of one, bin 2 of two.


def test_each_bin_forms_batches_of_its_own_size():
    requests = table(range(9), [5, 15, 5, 25, 5, 5, 25, 25, 15])
    policy = simlib.MultiBinFixed([3, 1, 2], 3, bounds=[10, 20])
    # 1 at once; 0, 2 and 4 when 4 comes; 3 and 6; 8; then nobody comes, and 5 is older than 7.
    assert order_of_service(requests, policy, [0.1] * 9, gpus=9) == [[1], [0, 2, 4], [3, 6], [8], [5], [7]]


def test_batches_of_unequal_sizes_are_served_first_formed_first_served():
    requests = table([0, 1, 2, 3, 4, 5], [15, 5, 5, 15, 15, 5])
    # While 0 is served: 3 and then 4 form batches of one, 1, 2 and 5 a batch of three, the last to be full.
    assert order_of_service(requests, simlib.MultiBinFixed((3, 1), 2, [10]), [9] * 6) == [[0], [3], [4], [1, 2, 5]]


def test_one_size_is_the_same_as_that_size_for_each_bin():
    requests = simlib.workload.original(300, seed=5)
    for one, each in (
        (simlib.MultiBinFixed(6, 3), simlib.MultiBinFixed(np.array([6, 6, 6]), 3)),
        (simlib.MultiBinDynamic(3, 0.3, batch_sizes=6), simlib.MultiBinDynamic(3, 0.3, batch_sizes=[6, 6, 6])),
        (simlib.MultiBinDynamic(3, 0.3), simlib.MultiBinDynamic(3, 0.3, batch_sizes=[64, 128, 10**6])),
    ):
        first, second = (simlib.simulate(requests, policy, gpus=2).times.completion_s for policy in (one, each))
        assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("variant", ["original", "paper"])
@pytest.mark.parametrize("bin_select", SELECTIONS)
def test_a_dynamic_bin_never_exceeds_its_cap(variant, bin_select):
    requests = simlib.workload.original(500, seed=2, rate_rps=200.0)
    policy = simlib.MultiBinDynamic(3, 1.0, bin_select, "equal_width", variant, batch_sizes=[40, 3, 1])
    run = simlib.simulate(requests, policy)
    largest = run.batches.groupby("bin")["size"].max()
    assert largest.tolist() == [40, 3, 1]
    capped = run.batches["b_sla"].to_numpy() > run.batches["size"].to_numpy()
    assert capped[run.batches["bin"] == 2].all()  # the controller wanted more


@pytest.mark.parametrize(
    "policy",
    [
        simlib.MultiBinFixed([4, 2, 1], 3, "optimal"),
        simlib.MultiBinDynamic(3, 0.2, bounds="optimal", batch_sizes=[4, 2, 1]),
        simlib.MultiBinDynamic(3, 0.2, variant="paper", batch_sizes=2),
    ],
    ids=repr,
)
def test_batch_sizes_by_bin_run_alike_compiled_and_interpreted(policy):
    requests = simlib.workload.original(200, seed=9)
    ways = [simlib.simulate(requests, policy, gpus=3, backend=way) for way in ("compiled", "interpreted")]
    assert ways[0].times.completion_s.tobytes() == ways[1].times.completion_s.tobytes()
    assert np.array_equal(ways[0].served.batch_of, ways[1].served.batch_of)


def test_a_bin_that_never_fills_and_a_batch_of_more_than_all_requests_are_flushed():
    requests = table([0, 1, 2, 3], [5, 15, 5, 5])
    # Bin 1 gets one request and waits for three more until none will come, at 3 s.
    assert order_of_service(requests, simlib.MultiBinFixed([3, 4], 2, [10]), [1] * 4, gpus=2) == [[0, 2, 3], [1]]
    run = simlib.simulate(requests, simlib.MultiBinFixed(1000, 2, [10]), simlib.GivenTimes([1] * 4))
    assert run.served.start_s.tolist() == [3, 4] and run.served.size.tolist() == [3, 1]


@pytest.mark.parametrize("k_bins", [2, 4, 8])
def test_a_classifier_of_measured_errors_sends_its_confusion_matrix_into_the_bins(k_bins):
    # Bins of equal width of U(1, 800) are the classifier's; 20,000 requests, each true bin a multinomial sample.
    bounds = [1, *(800 * i // k_bins + 1 for i in range(1, k_bins)), 801]
    matrix = simlib.predictors.measured_confusion(k_bins)
    lengths = Uniform(1, 800).sample(20_000, np.random.default_rng(4))
    tens = np.full(20_000, 10)
    requests = simlib.RequestTable(np.arange(20_000) * 0.001, tens, lengths)
    requests = simlib.predictors.predict(requests, simlib.predictors.Confusion(matrix, bounds), family="confusion")
    run = simlib.simulate(requests, simlib.MultiBinFixed(16, k_bins, bounds[1:-1]), gpus=2)
    true_bin = np.searchsorted(bounds[1:-1], lengths, side="right")
    found = np.zeros((k_bins, k_bins))
    np.add.at(found, (true_bin, run.requests["bin"].to_numpy()), 1)
    rows = found.sum(axis=1, keepdims=True)
    expected = rows * matrix / matrix.sum(axis=1, keepdims=True)
    # Chi-square of k (k - 1) degrees of freedom; false alarm at 0.1 % for each k, fixed seed.
    from scipy.stats import chi2

    assert np.sum((found - expected) ** 2 / expected) < chi2.isf(0.001, k_bins * (k_bins - 1))


def test_symmetric_errors_of_one_half_in_two_bins_are_no_bins():
    # Figure 8: with p_e = 0.5 the bin says nothing, and the throughput of k = 2 is that without bins.
    matrix = simlib.predictors.symmetric_confusion(2, 0.5)
    lengths = Uniform(1, 1000).sample(40_000, np.random.default_rng(8))
    requests = simlib.RequestTable(np.zeros(40_000), np.zeros(40_000, int), lengths)
    requests = simlib.predictors.predict(requests, simlib.predictors.Confusion(matrix, (1, 501, 1001)), family="half")
    noisy = simlib.simulate(requests, simlib.MultiBinFixed(128, 2, [501]), simlib.GivenTimes(lengths))
    full = noisy.served.service_s[noisy.served.size == 128]
    expected = np.sum(1 - (np.arange(1000) / 1000) ** 128)  # E[max of 128] of 1..1000
    # False alarm at 0.1 %: 3.29 standard errors over the batches, fixed seed.
    assert abs(full.mean() - expected) < 3.29 * full.std() / np.sqrt(len(full))
