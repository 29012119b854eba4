"""Algorithms 1 and 2 in their four variants: one hand-worked example for each branch, and how they behave in a run."""

import math

import numpy as np
import pytest

import simlib
from simlib.engine.shapes import BATCH_COLUMNS
from simlib.policies.batch_size import BRANCHES, NOTES, SIZE_MEAN, VARIANTS, Memory, Rules, observe, target

# Powers of two, so that the capacities below are exact: 1024 tokens a GB.
KV_GB = 2.0**-10
ROOMY = Memory(total_gb=2.0**20, model_gb=0.0, margin_gb=0.0, kv_gb_per_token=KV_GB)


def capacity(tokens: float) -> Memory:
    """A memory of that many tokens, nothing set aside."""
    memory = Memory(total_gb=tokens * KV_GB, model_gb=0.0, margin_gb=0.0, kv_gb_per_token=KV_GB)
    assert memory.capacity_tokens == tokens
    return memory


class Controller:
    """One controller: what it answers, and what it is shown."""

    def __init__(self, variant: str, d_sla: float = 1.0, start_at: int | None = None, **numbers):
        rules = Rules(variant, **{"memory": ROOMY, **numbers})
        # Algorithm 1 starts from b_max; `start_at` gives it another b_{t-1}.
        self.row = (rules if start_at is None else Rules(variant, **{**numbers, "b_max": start_at})).controller()
        self.params = rules.params(d_sla)

    def show(self, service_s: float, size: int, prompts=None, outputs=None) -> "Controller":
        """A batch has finished; without lengths, each request has 100 + 100 tokens."""
        prompts = [100] * size if prompts is None else prompts
        outputs = [100] * size if outputs is None else outputs
        shape = dict.fromkeys(BATCH_COLUMNS, 0.0) | {
            "size": size,
            "sum_prompt_tokens": sum(prompts),
            "sum_output_tokens": sum(outputs),
            "square_tokens": sum(x * x for x in (*prompts, *outputs)),
            "kv_blocks": sum(math.ceil((p + o) / 16) for p, o in zip(prompts, outputs, strict=True)),
            "service_s": service_s,
        }
        observe(self.row, np.array(list(shape.values()), dtype=float), self.params)
        return self

    def ask(self) -> dict[str, float]:
        """The next batch's size and all that was noted."""
        note = np.zeros(len(NOTES))
        answer = target(self.row, self.params, note)
        noted = dict(zip(NOTES, note.tolist(), strict=True))
        assert answer == min(noted["b_mem"], noted["b_sla"])
        return noted | {"branch": BRANCHES[int(noted["branch"])]}

    def window(self) -> tuple[str, float, float, int]:
        """Branch, low end, high end and size of the SLA rule's next answer."""
        noted = self.ask()
        return noted["branch"], noted["b_low"], noted["b_high"], int(noted["b_sla"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_before_any_batch_the_window_is_whole_and_its_middle_the_answer(variant):
    controller = Controller(variant)
    assert controller.window() == ("no batch yet", 1, 128, 64)
    assert controller.window() == ("no batch yet", 1, 128, 64)


# The original's window: means start at 0 s and 1 request, each batch moves them by a fifth of the way.


def test_original_too_slow():
    # tau = 0.2 x 10 = 2 s > 1.05; m = 1 + 0.2 x 39 = 8.8: high = min(128, 8), low = max(1, floor(0.8 x 8.8) = 7).
    assert Controller("original").show(10.0, 40).window() == ("too slow", 7, 8, 7)


def test_original_fast_enough():
    # tau = 0.2 s < 0.95; m = 8.8: low = max(1, 8), high = min(128 + floor(0.2 x 8.8) = 129, 128).
    assert Controller("original").show(1.0, 40).window() == ("fast enough", 8, 128, 68)


def test_original_within_tolerance():
    # tau = 2 x 0.8^3 = 1.024 s; m = 40 - 39 x 0.8^4 = 24.0256; the window 7..8 gives w = max(1, floor(0.1)) = 1.
    controller = Controller("original").show(10.0, 40)
    assert controller.window()[1:3] == (7, 8)
    for _ in range(3):
        controller.show(0.0, 40)
    assert controller.window() == ("within tolerance", 23, 25, 24)


def test_original_within_tolerance_takes_a_tenth_of_a_wide_window():
    # tau = 0.2 x 5 = 1.0; m = 1 + 0.2 x 79 = 16.8; w = floor(0.1 x 127) = 12: 16 - 12 and 16 + 12.
    assert Controller("original").show(5.0, 80).window() == ("within tolerance", 4, 28, 16)
    # m = 8.8: low = 8 - 12 is at least 1.
    assert Controller("original").show(5.0, 40).window() == ("within tolerance", 1, 20, 10)


def test_original_moves_its_window_at_every_decision_though_nothing_new_was_seen():
    controller = Controller("original").show(10.0, 40)
    controller.ask()
    for _ in range(3):
        controller.show(0.0, 40)
    controller.ask()
    controller.show(0.0, 40)  # tau = 0.8192 s, m = 27.22: low = max(23, 27), high = 25 + floor(0.2 x 27.22) = 30
    assert controller.window() == ("fast enough", 27, 30, 28)
    assert controller.window() == ("fast enough", 27, 35, 31)
    assert controller.window() == ("fast enough", 27, 40, 33)


def test_original_lowers_the_low_end_to_the_high_end_when_they_cross():
    controller = Controller("original").show(1.0, 40)
    assert controller.window()[1:3] == (8, 128)
    # tau = 0.16 + 0.2 x 10 = 2.16; m = 8.8 x 0.8 + 0.2 = 7.24: high = 7, low = max(8, floor(5.79)) = 8 > 7.
    assert controller.show(10.0, 1).window() == ("too slow", 7, 7, 7)


def test_original_stands_still_at_a_mean_size_below_five():
    controller = Controller("original").show(10.0, 1)  # m = 1
    assert controller.window() == ("too slow", 1, 1, 1)
    for _ in range(30):
        controller.show(0.0, 4)  # m rises to 4, whose fifth is cut to 0
    assert controller.row[SIZE_MEAN] == pytest.approx(4, abs=0.01)
    assert controller.window() == ("fast enough", 1, 1, 1)
    assert controller.window() == ("fast enough", 1, 1, 1)


def test_original_memory_rule_uses_smoothed_means_and_cuts_to_an_integer():
    # 0.9 x 20,000 tokens / (300 + 200) = 36; then prompts 800, outputs 200: means 400 + 200, 30.
    controller = Controller("original", memory=capacity(20_000))
    assert controller.ask()["b_mem"] == 36
    assert controller.show(0.1, 2, [700, 900], [200, 200]).ask()["b_mem"] == 30
    # Prompts 1040: mean 400 + 0.2 x 640 = 528; 18,000 / 728 = 24.7.
    assert controller.show(0.1, 1, [1040], [200]).ask()["b_mem"] == 24


def test_original_memory_rule_binds_only_for_requests_of_14062_tokens():
    assert Controller("original", memory=Memory()).ask()["b_mem"] == 128
    # Prompt mean 300 + 0.2 x 73,000 = 14,900: 1.8 million / 15,100 = 119.2.
    assert Controller("original", memory=Memory()).show(0.1, 1, [73_300], [200]).ask()["b_mem"] == 119


def test_original_memory_rule_keeps_its_bounds():
    assert Controller("original", memory=capacity(400)).ask()["b_mem"] == 1
    assert Controller("original", memory=capacity(400), b_min=3).ask()["b_mem"] == 3
    assert Controller("original", memory=capacity(1e6), b_max=50).ask()["b_mem"] == 50


def test_original_answers_the_smaller_of_both():
    noted = Controller("original", memory=capacity(20_000)).ask()
    assert (noted["b_mem"], noted["b_sla"]) == (36, 64)  # ask() checks that the answer is 36
    noted = Controller("original", memory=capacity(20_000)).show(10.0, 40).ask()
    assert (noted["b_mem"], noted["b_sla"]) == (40, 7)  # prompts and outputs of 100: 18,000 / (260 + 180)


# Algorithm 2 (alpha 20, delta 5, epsilon 0.05 s): means over the last 16 batches.

NEWER = ("paper", "printed", "released")


@pytest.mark.parametrize("variant", NEWER)
def test_algorithm_2_too_slow(variant):
    # high = max(b, low + alpha) = max(40, 1 + 20); low = max(1 - 5, b_min); floor(41 / 2).
    assert Controller(variant).show(2.0, 40).window() == ("too slow", 1, 40, 20)
    # A mean size below low + alpha: the window keeps its least width.
    assert Controller(variant).show(2.0, 10).window() == ("too slow", 1, 21, 11)


@pytest.mark.parametrize("variant", NEWER)
def test_algorithm_2_too_slow_steps_down_by_delta(variant):
    controller = Controller(variant, average_batches=1).show(0.5, 40)
    assert controller.window() == ("fast enough", 40, 128, 84)
    # high = max(84, 40 + 20); low = 40 - 5; again: high = max(84, 35 + 20), low = 30.
    assert controller.show(2.0, 84).window() == ("too slow", 35, 84, 59)
    assert controller.window() == ("too slow", 30, 84, 57)


@pytest.mark.parametrize("variant", NEWER)
def test_algorithm_2_fast_enough(variant):
    # low = min(b, high - alpha) = min(40, 108); high = min(128 + 5, 128).
    assert Controller(variant).show(0.5, 40).window() == ("fast enough", 40, 128, 84)
    assert Controller(variant).show(0.5, 120).window() == ("fast enough", 108, 128, 118)


@pytest.mark.parametrize("variant", NEWER)
def test_algorithm_2_fast_enough_steps_up_by_delta(variant):
    controller = Controller(variant, average_batches=1).show(2.0, 40)
    assert controller.window() == ("too slow", 1, 40, 20)
    # low = min(20, 40 - 20); high = 40 + 5; again: low = min(20, 45 - 20), high = 50.
    assert controller.show(0.5, 20).window() == ("fast enough", 20, 45, 32)
    assert controller.window() == ("fast enough", 20, 50, 35)


@pytest.mark.parametrize("variant", NEWER)
def test_algorithm_2_within_tolerance(variant):
    # b +- floor(alpha / 2), within [b_min, b_max].
    assert Controller(variant).show(1.0, 40).window() == ("within tolerance", 30, 50, 40)
    assert Controller(variant).show(1.0, 125).window() == ("within tolerance", 115, 128, 121)
    assert Controller(variant).show(1.0, 6).window() == ("within tolerance", 1, 16, 8)
    assert Controller(variant, alpha=21).show(1.0, 40).window() == ("within tolerance", 30, 50, 40)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("service_s", "branch"),
    [(0.874, "fast enough"), (0.875, "within tolerance"), (1.125, "within tolerance"), (1.126, "too slow")],
)
def test_equality_with_the_tolerance_is_within_it(variant, service_s, branch):
    assert Controller(variant, epsilon_s=0.125, smoothing=1.0).show(service_s, 40).ask()["branch"] == branch


@pytest.mark.parametrize("variant", NEWER)
def test_the_means_are_plain_means_of_the_last_batches(variant):
    noted = Controller(variant).show(2.0, 40).show(0.0, 20).ask()
    assert (noted["service_mean_s"], noted["size_mean"], noted["branch"]) == (1.0, 30.0, "within tolerance")
    controller = Controller(variant, average_batches=2).show(9.0, 90).show(2.0, 40).show(1.0, 20)
    noted = controller.ask()
    assert (noted["service_mean_s"], noted["size_mean"]) == (1.5, 30.0)
    for _ in range(16):
        controller.show(0.5, 8)
    noted = controller.ask()
    assert (noted["service_mean_s"], noted["size_mean"]) == (0.5, 8.0)


def test_the_window_s_low_end_falls_below_b_min_as_printed_and_not_as_meant():
    # b = 2 < b_min = 4: low = min(2, 108) = 2.
    assert Controller("printed", b_min=4).show(0.5, 2).window() == ("fast enough", 2, 128, 65)
    for variant in ("paper", "released"):
        assert Controller(variant, b_min=4).show(0.5, 2).window() == ("fast enough", 4, 128, 66)


def test_a_range_narrower_than_alpha_leaves_the_printed_window_negative():
    # low = min(5, 10 - 20) = -10, high = 10: the middle is 0, and the answer still at least b_min.
    assert Controller("printed", b_max=10).show(0.5, 5).window() == ("fast enough", -10, 10, 1)
    for variant in ("paper", "released"):
        assert Controller(variant, b_max=10).show(0.5, 5).window() == ("fast enough", 1, 10, 5)


def test_the_window_s_high_end_exceeds_b_max_as_printed_and_not_as_meant():
    # Within tolerance at 125: 115..128; then too slow: high = max(125, 115 + 20) = 135, low = 110.
    for variant, high, size in (("printed", 135, 122), ("paper", 128, 119), ("released", 128, 119)):
        controller = Controller(variant, average_batches=1).show(1.0, 125)
        assert controller.window()[1:3] == (115, 128)
        assert controller.show(5.0, 125).window() == ("too slow", 110, high, size)


# Algorithm 1. The SLA paper's example: capacity 100,000, a request's mean 646 and standard deviation 400 tokens.

PROMPTS, OUTPUTS = [46, 846], [200, 200]  # mean 446 + 200, variance 400^2 + 0


def example(variant: str, **numbers) -> Controller:
    controller = Controller(variant, **{"memory": capacity(100_000), "b_max": 400, **numbers})
    return controller.show(0.1, 2, PROMPTS, OUTPUTS)


@pytest.mark.parametrize("variant", NEWER)
def test_before_the_first_batch_the_memory_rule_keeps_b_max(variant):
    assert Controller(variant, memory=capacity(100), b_max=37).ask()["b_mem"] == 37


@pytest.mark.parametrize("variant", NEWER)
def test_the_memory_rule_keeps_its_bounds(variant):
    crowded, idle = ({"prompts": [5000, 5000], "outputs": [0, 0]}, {"prompts": [1, 1], "outputs": [0, 0]})
    small = Controller(variant, memory=capacity(16), b_min=2, start_at=2).show(0.1, 2, **crowded)
    assert small.ask()["b_mem"] == 2
    assert Controller(variant, memory=capacity(1e6), b_max=9).show(0.1, 2, **idle).ask()["b_mem"] == 9


@pytest.mark.parametrize(("epsilon_m", "bound"), [(0.05, 142.6), (0.01, 137.9), (0.5, 154.8)])
def test_paper_memory_rule_is_equation_12_with_one_requests_moments(epsilon_m, bound):
    # With epsilon 0.5 theta is 0, and the rule is the mean-only 100,000 / 646.
    assert example("paper", epsilon_m=epsilon_m).ask()["b_mem"] == math.floor(bound)


def test_paper_memory_rule_fills_the_capacity_up_to_its_margin():
    theta, b = 1.6448536269514722, 142.6
    assert 646 * b + theta * 400 * math.sqrt(b) == pytest.approx(100_000, abs=40)  # 142.6 is rounded
    assert theta * 400 * math.sqrt(b) == pytest.approx(7858, abs=2)


def test_paper_memory_rule_needs_no_margin_for_equal_requests():
    # PanGu's rows of the paper: 128 + 128 tokens each, 25,600 / 256 = 100.
    controller = Controller("paper", memory=capacity(25_600)).show(0.1, 3, [128] * 3, [128] * 3)
    assert controller.ask()["b_mem"] == 100


def test_printed_memory_rule_grows_at_every_decision_whatever_the_memory():
    # b + theta sigma sqrt(b) / mean = b + 1.0185 sqrt(b), cut to an integer each time: 57.2, 64.7, 72.1, 80.6.
    controller = example("printed", start_at=50)
    assert [controller.ask()["b_mem"] for _ in range(4)] == [57, 64, 72, 80]
    grown = [controller.ask()["b_mem"] for _ in range(60)]
    assert grown == sorted(grown) and grown[-1] == 400
    assert example("printed", start_at=50, memory=capacity(16)).ask()["b_mem"] == 57


def test_printed_memory_rule_is_the_papers_sequence_when_it_is_not_cut():
    b, sequence = 50.0, []
    for _ in range(3):
        b += 1.6448536269514722 * 400 * math.sqrt(b) / 646
        sequence.append(round(b))
    assert sequence == [57, 65, 73]


def test_released_memory_rule_divides_the_blocks_by_those_in_use():
    # 1,000 blocks of 16 tokens, 95 % of them: 128 tokens are 8 blocks, 129 are 9.
    def bound(outputs: list[int], **numbers) -> float:
        controller = Controller("released", memory=capacity(16_000), b_max=200, **numbers)
        return controller.show(0.1, len(outputs), [100] * len(outputs), outputs).ask()["b_mem"]

    assert bound([28]) == 118  # 950 / 8 = 118.75
    assert bound([29]) == 105  # 950 / 9 = 105.6
    assert bound([28, 29]) == 111  # 950 / 8.5 = 111.8
    assert bound([28], memory_factor=0.5) == 62  # 500 / 8 = 62.5


@pytest.mark.parametrize("b_max", [7, 100, 127, 128])
def test_the_printed_rule_keeps_its_bound_where_no_memory_is_set_aside(b_max):
    """theta = 0 at epsilon_M = 0.5: what is planned for is b requests of mean length, whatever the lengths are."""
    controller, rng = Controller("printed", epsilon_m=0.5, b_max=b_max), np.random.default_rng(3)
    for _ in range(200):
        lengths = rng.integers(1, 51, (2, 5)).tolist()
        assert controller.show(0.1, 5, *lengths).ask()["b_mem"] == b_max


@pytest.mark.parametrize(
    ("variant", "waiting", "least"),
    [("original", 1, 1), ("paper", 128, 11), ("printed", 128, 11), ("released", 128, 11)],
    ids=VARIANTS,
)
def test_the_least_size_is_where_batches_that_stay_too_slow_lead(variant, waiting, least):
    controller, asked = Controller(variant, average_batches=1), []
    for _ in range(60):
        asked.append(controller.ask()["b_sla"])
        controller.show(100.0, min(int(asked[-1]), waiting))
    assert asked[-1] == min(asked) == least == Rules(variant).least
    assert Rules(variant, b_min=5, b_max=5).least == 0  # nothing to choose


@pytest.mark.parametrize("variant", VARIANTS)
def test_failed_requests_alone_are_no_evidence_of_need(variant):
    controller = Controller(variant, initial_prompt_tokens=1e-9, initial_output_tokens=1e-9, memory=capacity(16_000))
    for _ in range(20):
        controller.show(0.1, 2, [0, 0], [0, 0])
    assert controller.ask()["b_mem"] == 128


# In a run


def collapse_table() -> tuple[simlib.RequestTable, float]:
    """40 long requests, ordinary traffic, then 400 requests within 0.4 s; and when these begin."""
    burst_s = 165.0
    times = (np.arange(40) * 3.0, 130 + np.arange(60) * 0.5, burst_s + np.linspace(0, 0.4, 400))
    lengths = np.repeat([9000, 300], [40, 460])
    return simlib.RequestTable(np.concatenate(times), lengths * 2 // 3, lengths // 3), burst_s


def test_the_originals_window_cannot_recover_from_a_spell_of_long_requests():
    table, burst_s = collapse_table()
    dynamic = simlib.simulate(table, simlib.DynamicNoBins(1.0, "original"))
    static = simlib.simulate(table, simlib.StaticFIFO(8))
    clear_s = {run.policy: run.times.completion_s.max() - burst_s for run in (dynamic, static)}
    assert clear_s["dynamic_no_bins"] > 5 * clear_s["static_fifo"]  # about 28 s against 4 s
    assert set(dynamic.controller["size_mean"]) == {1.0}
    assert dynamic.batches["size"].max() == 1
    meant = simlib.simulate(table, simlib.DynamicNoBins(1.0, "paper"))
    assert meant.times.completion_s.max() - burst_s < clear_s["static_fifo"]


def step_s(size, max_prompt, sum_prompt, max_output, sum_output, max_total):
    """The SLA paper's Figure 3: 0.22 b + 30 ms."""
    return 0.00022 * size + 0.030


@pytest.mark.parametrize("variant", NEWER)
@pytest.mark.parametrize("average_batches", [1, 16])
@pytest.mark.parametrize(("epsilon_s", "alpha", "delta"), [(0.001, 16, 4), (0.0025, 32, 8)])
def test_algorithm_2_settles_where_the_deadline_puts_it(variant, average_batches, epsilon_s, alpha, delta):
    numbers = {"epsilon_s": epsilon_s, "alpha": alpha, "delta": delta, "average_batches": average_batches}
    table = simlib.RequestTable(np.zeros(20_000), np.full(20_000, 100), np.full(20_000, 50))
    run = simlib.simulate(table, simlib.DynamicNoBins(0.050, Rules(variant, b_max=256, **numbers)), step_s)
    settled = run.batches["size"].to_numpy()[100:-1]
    fixed_point, band = (0.050 - 0.030) / 0.00022, epsilon_s / 0.00022
    assert len(settled) > 90
    assert abs(settled - fixed_point).max() <= band + 1  # whole requests
    assert len(set(settled)) == 1


def test_algorithm_2_follows_the_papers_steps_from_64():
    rules = Rules("paper", epsilon_s=0.001, alpha=16, delta=4, b_max=256, average_batches=1)
    table = simlib.RequestTable(np.zeros(2000), np.full(2000, 100), np.full(2000, 50))
    sizes = simlib.simulate(table, simlib.DynamicNoBins(0.050, rules), step_s).batches["size"].tolist()
    assert sizes[:8] == [128, 64, 98, 79, 90, 90, 90, 90]  # from B_max = 256 its first answer is 128


def test_each_gpu_has_a_controller_of_its_own_but_for_the_original():
    # GPU 0 gets a long request, GPU 1 a short one; the third decision is GPU 1's.
    table = simlib.RequestTable([0, 0, 0.5, 9.0], [8999, 99, 99, 99], [1, 1, 1, 1])

    def means(variant):
        run = simlib.simulate(table, simlib.DynamicNoBins(1.0, Rules(variant, b_max=1)), "original-synthetic", gpus=2)
        return run.batches["gpu"].tolist(), run.controller["service_mean_s"].tolist()

    gpus, pooled = means("original")
    assert gpus == [0, 1, 1, 0]
    assert pooled == pytest.approx([0, 0, 0.2 * 0.03, (0.2 * 0.03 * 0.8 + 0.2 * 0.03) * 0.8 + 0.2 * 1.81])
    gpus, own = means("paper")
    assert gpus == [0, 1, 1, 0]
    assert own == pytest.approx([0, 0, 0.03, 1.81])
