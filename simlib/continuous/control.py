"""How many sequences may run at once, decided while they run: Algorithms 1 and 2 under continuous batching.

The settings (`StepControl`), and the kernels that the step loop calls: `watch` sees each step, `finish` each request
that ends, and every so many decode steps `tick` sets the GPU's cap, ``min(b_mem, b_sla)``, or its budget of tokens.
The rules themselves are those of `batch_size`, fed with what an engine can see, and two more: `regression_rule` and
`aimd_rule`. Each GPU has a controller of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from simlib.checks import InputError, check_choice, check_integer, check_number, check_probability, keep
from simlib.continuous import columns as at
from simlib.continuous.state import Ask, State, StepRules, own
from simlib.engine.shapes import CHUNKS, CONTEXT, LONGEST, N_DECODES, PREFILL, SHAPE
from simlib.policies import batch_size as of
from simlib.policies.batch_size import Rules, memory_bound, sla_original, sla_paper

SLA_RULES = ("original", "paper", "printed", "regression", "aimd")
MEMORY_RULES = of.VARIANTS
FEEDBACK = ("decode", "step", "service", "latency")
STEERED = ("seats", "budget")
DECIDED = ("start_s", "cap", "b_mem", "b_sla", "b_low", "b_high", "tau_mean_s", "size_mean", "branch", "running")
LONGEST_WINDOW, DECISIONS = 4096, 4096


@dataclass(frozen=True, slots=True)
class StepControl:
    """A controller of `settings.Continuous`: the cap on running sequences, ``min(b_mem, b_sla)``.

    Parameters
    ----------
    target_s : float
        What it steers towards: the time of a decode step (between two tokens), seconds, > 0; with
        ``feedback="service"`` or ``"latency"`` that of a request.
    sla : {"paper", "printed", "original", "regression", "aimd"}, optional
        Algorithm 2 kept within its bounds; to the letter; the original system's rule; step times regressed on batch
        sizes; additive increase, multiplicative decrease. None: memory alone.
    memory : {"paper", "printed", "released", "original"}, optional
        Algorithm 1's variant; needs the engine's ``kv_tokens``. None: target alone.
    steers : {"seats", "budget"}
        What `sla` sets: the sequences that run at once, or the tokens of a step, decodes and prompts together (the
        chunk size); `memory` bounds the sequences either way.
    feedback : {"step", "decode", "service", "latency"}
        What is held against the target: recent steps that decode; those of them without a prompt; recent requests'
        time from admission to completion, or from arrival.
    interval_steps, window_steps, window_requests : int
        Decode steps from one decision to the next; decode steps, and finished requests, that recent means cover.
    b_min, b_max : int
        Bounds, 1 <= b_min <= b_max; by default up to the engine's ``max_seqs``, or its ``token_budget``.
    b_start : int, optional
        The first value; by default half of b_min + b_max, as Algorithm 2 begins.
    epsilon_s, epsilon_m, alpha, delta
        As in `batch_size.Rules`; `delta` is also the additive increase.
    backoff : float
        Factor of the multiplicative decrease, in (0, 1).
    confidence : float
        Of the regression: standard errors by which its mean and slope are raised, >= 0.
    exploration : float
        Of the regression: least standard deviation of the window's sizes, as a share of the cap; below it the cap is
        lowered by that share until it is not, so that a slope can be seen: the price of looking. In [0, 1].
    buffer_share, memory_factor
        As in `batch_size.Rules`.

    Examples
    --------
    >>> StepControl(target_s=0.05, memory="paper").sla
    'paper'
    """

    target_s: float = 0.05
    sla: str | None = "paper"
    memory: str | None = None
    steers: str = "seats"
    feedback: str = "step"
    interval_steps: int = 1
    window_steps: int = 16
    window_requests: int = 64
    b_min: int = 1
    b_max: int | None = None
    b_start: int | None = None
    epsilon_s: float = 0.001
    epsilon_m: float = 0.05
    alpha: int = 20
    delta: int = 5
    backoff: float = 0.75
    confidence: float = 2.0
    exploration: float = 0.02
    buffer_share: float = 0.1
    memory_factor: float = 0.95

    def __post_init__(self) -> None:
        check_number("target_s", self.target_s, 0.0, open_low=True)
        for name, known in (("sla", SLA_RULES), ("memory", MEMORY_RULES)):
            if getattr(self, name) is not None:
                check_choice(name, getattr(self, name), known)
        if self.sla is None and self.memory is None:
            raise InputError("sla, memory: None (expected a rule for at least one of them)")
        check_choice("steers", self.steers, STEERED)
        check_choice("feedback", self.feedback, FEEDBACK)
        if self.sla == "regression" and self.feedback in ("service", "latency"):
            raise InputError(
                f"feedback: {self.feedback!r} (expected 'step' or 'decode': the regression is of step times)"
            )
        most = {"interval_steps": of.MAX_BATCH, "window_steps": LONGEST_WINDOW, "window_requests": LONGEST_WINDOW}
        for name in (*most, "b_min"):
            keep(self, **{name: check_integer(name, getattr(self, name), 1, most.get(name, of.MAX_BATCH))})
        for name in ("b_max", "b_start"):
            if getattr(self, name) is not None:
                high = of.MAX_BATCH if name == "b_max" or self.b_max is None else self.b_max
                keep(self, **{name: check_integer(name, getattr(self, name), self.b_min, high)})
        checked = self._rules("paper", of.MAX_BATCH)
        keep(self, alpha=checked.alpha, delta=checked.delta)
        check_number("backoff", self.backoff, 0.0, 1.0, open_low=True, open_high=True)
        check_number("confidence", self.confidence, 0.0)
        check_probability("exploration", self.exploration)

    def _rules(self, variant: str, most: int) -> Rules:
        names = ("epsilon_s", "epsilon_m", "alpha", "delta", "buffer_share", "memory_factor")
        return Rules(variant, self.b_min, most, **{name: getattr(self, name) for name in names})

    def check(self, law: Any, max_seqs: int, token_budget: int, kv_tokens: int | None) -> None:
        """Raise `InputError` if an engine with these settings cannot be controlled so.

        A target below the fastest step, that of one sequence with one token of context, can never be met.
        """
        name, most = ("max_seqs", max_seqs) if self.steers == "seats" else ("token_budget", token_budget)
        for bound in ("b_min", "b_max", "b_start"):
            if getattr(self, bound) is not None and getattr(self, bound) > most:
                raise InputError(f"{bound}: {getattr(self, bound)} (expected at most {name}, {most})")
        if self.memory is not None and kv_tokens is None:
            raise InputError(f"memory: {self.memory!r} (expected the engine's kv_tokens, which it plans with)")
        shape = np.zeros(len(SHAPE))
        shape[[N_DECODES, CONTEXT, LONGEST]] = 1.0
        fastest_s = float(law.law(shape, law.params))
        if self.sla is not None and self.target_s < fastest_s:
            least = f"at least the fastest step, {fastest_s:.6g} s: it can never be met"
            raise InputError(f"target_s: {self.target_s} (expected {least})")

    def least(self, rules: StepRules) -> int:
        """The smallest b_sla that the rule asks for, however slow steps are."""
        most = rules.seats if self.steers == "seats" else rules.budget
        most = most if self.b_max is None else min(self.b_max, most)
        return of.least_of(str(self.sla), min(self.b_min, most), most, self.alpha)

    def arrays(self, rules: StepRules, gpus: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The loop's arrays: a controller a GPU, the two rules' numbers, room for decisions."""
        most = rules.seats if self.steers == "seats" else rules.budget
        most = most if self.b_max is None else min(self.b_max, most)
        least = min(self.b_min, most)  # an engine may have fewer seats than asked for: as many as there are requests
        start = (least + most) // 2 if self.b_start is None else min(self.b_start, most)
        bounds = (least, most) if self.steers == "seats" else (1, rules.seats)
        settings = np.zeros((2, SETTINGS))
        both = ((self.sla, SLA_RULES, (least, most)), (self.memory, MEMORY_RULES, bounds))
        for row, (rule, known, bound) in enumerate(both):
            variant = rule if rule in of.VARIANTS else "paper"
            settings[row, : of.PARAMS] = self._rules(variant, of.MAX_BATCH).params(self.target_s)
            settings[row, of.B_LEAST], settings[row, of.B_MOST] = bound
            settings[row, RULE] = -1 if rule is None else known.index(rule)
        tokens = float(rules.blocks << rules.bits)
        settings[:, of.CAPACITY], settings[:, of.PLANNED] = tokens, tokens * (1.0 - self.buffer_share)
        settings[:, of.PATCH_BLOCKS] = rules.blocks * self.memory_factor
        settings[0, RULE + 1 :] = (
            *(STEERED.index(self.steers), FEEDBACK.index(self.feedback), self.interval_steps),
            *(self.window_steps, self.window_requests, self.backoff, self.confidence, self.exploration),
        )
        control = np.zeros((gpus, FIRST_STEP + STEP_ROW * (self.window_steps + 1) + REQUEST_ROW * self.window_requests))
        control[:, of.LOW], control[:, of.HIGH] = least, most
        control[:, of.B_MEM], control[:, B_SLA], control[:, STRIDE] = bounds[1], start if self.sla else most, 1.0
        control[:, of.PROMPT_MEAN], control[:, of.OUTPUT_MEAN] = (
            Rules().initial_prompt_tokens,
            Rules().initial_output_tokens,
        )
        return control, settings, np.zeros((gpus, DECISIONS, len(DECIDED)))


# The rules' numbers: batching's, then these; the rule of the memory's row, all of them of the target's.
RULE = of.PARAMS
STEERS, SIGNAL, INTERVAL, WINDOW, REQUESTS_SEEN, BACKOFF, CONFIDENCE, EXPLORATION = range(RULE + 1, RULE + 9)
SETTINGS = RULE + 9
SLA_ORIGINAL, SLA_PAPER, SLA_PRINTED, SLA_REGRESSION, SLA_AIMD = range(len(SLA_RULES))
DECODE, _, SERVICE, LATENCY = range(len(FEEDBACK))
BUDGET = 1
# A controller's row: batching's means, then these, then a ring of stretches of steps (how many, sequences or tokens of
# each, time of the first, growth from one to the next), one more than the window has steps, and one of requests.
B_SLA, SPREAD, SLOPE, SLOPE_ERROR, MEAN_ERROR, WATCHED, FINISHED, NEWEST_SEEN, TICKS, STRIDE, KEPT = range(10, 21)
FIRST_STEP, STEP_ROW, REQUEST_ROW = 21, 4, 4


def watch(gpu: int, step_s: float, slope_s: float, steps: int, decodes: int, state: State) -> None:
    """Kernel: equal decode steps were composed; the step's shape is that of the first one."""
    row, settings, shape = state.control[gpu], state.control_rules[0], state.shape
    row[NEWEST_SEEN] = 0.0
    if decodes == 0 or (settings[SIGNAL] == DECODE and shape[CHUNKS] > 0.0):
        return
    slot = FIRST_STEP + STEP_ROW * (int(row[WATCHED]) % (int(settings[WINDOW]) + 1))
    row[slot], row[slot + 2], row[slot + 3] = steps, step_s, slope_s
    row[slot + 1] = decodes + shape[PREFILL] if settings[STEERS] == BUDGET else decodes
    row[WATCHED] += 1.0
    row[NEWEST_SEEN] = 1.0


def finish(request: int, gpu: int, complete_s: float, ask: Ask, state: State) -> None:
    """Kernel: a request's last step was composed, and ends then."""
    row, settings = state.control[gpu], state.control_rules[0]
    requests = int(settings[REQUESTS_SEEN])
    slot = FIRST_STEP + STEP_ROW * (int(settings[WINDOW]) + 1) + REQUEST_ROW * (int(row[FINISHED]) % requests)
    row[slot], row[slot + 1] = ask.prompt_tokens[request], ask.output_tokens[request]
    row[slot + 2] = complete_s - state.start_s[request]
    row[slot + 3] = complete_s - ask.arrival_s[request]
    row[FINISHED] += 1.0


def recent_steps(row: np.ndarray, settings: np.ndarray, skip: int) -> None:
    """Kernel: means over the window's steps, newest first, and the line of their times over their sizes.

    `skip` of the newest are composed and have not ended. Centred sums, so that little is lost to rounding.
    """
    window, slots = int(settings[WINDOW]), int(settings[WINDOW]) + 1
    stored = min(int(row[WATCHED]), slots)
    mean_s = mean_size = count = xx = xy = yy = 0.0
    for second in range(2):
        left, skipped, sum_s, sum_size = window, skip, 0.0, 0.0
        for back in range(stored):
            slot = FIRST_STEP + STEP_ROW * ((int(row[WATCHED]) - 1 - back) % slots)
            ended = int(row[slot]) - skipped
            skipped = 0
            steps = min(ended, left)
            if steps <= 0:
                continue
            first_s, slope_s, k = row[slot + 2] + row[slot + 3] * (ended - steps), row[slot + 3], float(steps)
            half = 0.5 * k * (k - 1.0)
            if second == 0:
                sum_s += k * first_s + slope_s * half
                sum_size += k * row[slot + 1]
            else:
                x, y = row[slot + 1] - mean_size, first_s - mean_s
                xx += k * x * x
                xy += x * (k * y + slope_s * half)
                yy += k * y * y + 2.0 * y * slope_s * half + slope_s * slope_s * half * (2.0 * k - 1.0) / 3.0
            left -= steps
        if second == 0:
            count = float(window - left)
            if count == 0.0:
                row[of.SEEN] = 0.0
                return
            mean_s, mean_size = sum_s / count, sum_size / count
    row[of.SEEN], row[of.TAU_MEAN], row[of.SIZE_MEAN], row[SPREAD] = count, mean_s, mean_size, math.sqrt(xx / count)
    row[SLOPE], row[SLOPE_ERROR], row[MEAN_ERROR] = 0.0, math.inf, 0.0
    if count > 2.0 and xx > 0.0:
        row[SLOPE] = xy / xx
        variance = max(0.0, yy - xy * xy / xx) / (count - 2.0)
        row[SLOPE_ERROR], row[MEAN_ERROR] = math.sqrt(variance / xx), math.sqrt(variance / count)


def recent_requests(row: np.ndarray, settings: np.ndarray) -> None:
    """Kernel: means over the window's requests; those of their times replace the steps', if they are fed back."""
    requests = int(settings[REQUESTS_SEEN])
    stored, prompt, output, squares, service_s, latency_s = min(int(row[FINISHED]), requests), 0.0, 0.0, 0.0, 0.0, 0.0
    first = FIRST_STEP + STEP_ROW * (int(settings[WINDOW]) + 1)
    for i in range(stored):
        slot = first + REQUEST_ROW * i
        prompt += row[slot]
        output += row[slot + 1]
        squares += row[slot] * row[slot] + row[slot + 1] * row[slot + 1]
        service_s += row[slot + 2]
        latency_s += row[slot + 3]
    if stored > 0:
        row[of.PROMPT_MEAN], row[of.OUTPUT_MEAN], row[of.SQUARE_MEAN] = (
            prompt / stored,
            output / stored,
            squares / stored,
        )
    if settings[SIGNAL] >= SERVICE:
        row[of.SEEN] = min(row[of.SEEN], float(stored))
        if stored > 0:
            row[of.TAU_MEAN] = (service_s if settings[SIGNAL] == SERVICE else latency_s) / stored


def regression_rule(row: np.ndarray, settings: np.ndarray) -> int:
    """Kernel: where the line of step time over size meets the target; returns the branch (`batch_size.BRANCHES`).

    ``b = b_mean + (D - tau_mean - z e_mean) / slope``, which is (D - a) / slope. The slope is the regression's, raised
    by z of its errors, and at most tau_mean / b_mean, that of a line through the origin: fixed times are not negative.
    Where that is all that is known, one more than ran is tried, or a cap of one would stay: 2 a > D is no rare step.
    """
    mean_s, size = row[of.TAU_MEAN], row[of.SIZE_MEAN]
    if size <= 0.0 or mean_s <= 0.0:
        return 0
    steepest = mean_s / size
    slope = steepest
    if row[SLOPE_ERROR] < math.inf:
        slope = min(max(row[SLOPE], 0.0) + settings[CONFIDENCE] * row[SLOPE_ERROR], steepest)
        slope = steepest if slope <= 0.0 else slope
    goal = size + (settings[of.DEADLINE] - mean_s - settings[CONFIDENCE] * row[MEAN_ERROR]) / slope
    if slope == steepest and goal > size:
        goal = max(goal, size + 1.0)
    elif row[SPREAD] < settings[EXPLORATION] * goal:
        goal -= settings[EXPLORATION] * goal
    goal = min(max(goal, settings[of.B_LEAST]), settings[of.B_MOST])
    row[B_SLA] = math.floor(goal + 1e-6)  # a whole number but for rounding is one
    row[of.LOW] = row[of.HIGH] = row[B_SLA]
    return 1 if mean_s > settings[of.DEADLINE] else 2


def aimd_rule(row: np.ndarray, settings: np.ndarray) -> int:
    """Kernel: add while fast enough, multiply when too slow; returns the branch (`batch_size.BRANCHES`)."""
    branch = 3
    if row[of.TAU_MEAN] > settings[of.DEADLINE] + settings[of.EPSILON]:
        row[B_SLA] = math.floor(settings[BACKOFF] * row[B_SLA])
        branch = 1
    elif row[of.TAU_MEAN] < settings[of.DEADLINE] - settings[of.EPSILON]:
        row[B_SLA] += settings[of.DELTA]
        branch = 2
    row[of.LOW] = row[of.HIGH] = row[B_SLA]
    return branch


def sla_bound(row: np.ndarray, settings: np.ndarray, decodes: int) -> int:
    """Kernel: bring b_sla up to date, within [b_min, b_max]; returns the branch."""
    if row[of.SEEN] == 0.0:
        return 0
    rule = settings[RULE]
    if rule == SLA_REGRESSION:
        branch = regression_rule(row, settings)
    elif rule == SLA_AIMD:
        branch = aimd_rule(row, settings)
    else:
        branch = sla_original(row, settings) if rule == SLA_ORIGINAL else sla_paper(row, settings)
        row[B_SLA] = math.floor((row[of.LOW] + row[of.HIGH]) / 2.0)
        if rule == SLA_PRINTED:  # elsewhere a cap below those that run bars admissions, and ends nobody
            row[B_SLA] = max(row[B_SLA], float(decodes))
    row[B_SLA] = min(max(row[B_SLA], settings[of.B_LEAST]), settings[of.B_MOST])
    return branch


def bound_by_memory(gpu: int, row: np.ndarray, settings: np.ndarray, state: State) -> None:
    """Kernel: bring b_mem up to date; only called while some decode and others wait."""
    n = state.numbers[gpu]
    rule = settings[RULE]
    row[of.SEEN] = row[FINISHED]
    if rule == of.RELEASED:  # what those that run hold now; what has finished does not matter
        row[of.SEEN], row[of.BLOCK_MEAN] = 1.0, max(n[at.USED] / n[at.SEATS], 1e-9)
        row[of.PROMPT_MEAN] = row[of.BLOCK_MEAN]
    if rule == of.ORIGINAL or row[of.SEEN] > 0.0:
        memory_bound(row, settings)
    if rule in (of.PRINTED, of.RELEASED):
        row[of.B_MEM] = min(
            max(row[of.B_MEM], float(n[at.DECODES] if rule == of.PRINTED else n[at.SEATS])), settings[of.B_MOST]
        )


def tick(gpu: int, state: State, rules: StepRules) -> None:
    """Kernel: decide the GPU's cap on sequences, or its budget of tokens, until the next tick."""
    n, t, row = state.numbers[gpu], state.times[gpu], state.control[gpu]
    sla, memory = state.control_rules[0], state.control_rules[1]
    n[at.TICK] = n[at.STEP] + int(sla[INTERVAL])
    waiting = n[at.RESUMED] >= 0 or n[at.PARTIAL] >= 0 or state.numbers[own(gpu, rules), at.WAITING] > 0
    branch = 0
    recent_steps(row, sla, 1 if rules.two and t[at.PENDING] > 0.0 and row[NEWEST_SEEN] > 0.0 else 0)
    recent_requests(row, sla)
    if sla[RULE] >= 0.0:
        branch = sla_bound(row, sla, n[at.DECODES])
    if memory[RULE] >= 0.0 and n[at.DECODES] > 0 and waiting:
        bound_by_memory(gpu, row, memory, state)
    if sla[STEERS] == BUDGET:
        n[at.CAP], n[at.ROOM] = int(row[of.B_MEM]), int(row[B_SLA])
    else:
        n[at.CAP] = int(min(row[of.B_MEM], row[B_SLA]))
    decide(n, t[at.NOW], row, branch, state.decisions[gpu])


def decide(n: np.ndarray, now_s: float, row: np.ndarray, branch: int, decisions: np.ndarray) -> None:
    """Kernel: keep a decision (`DECIDED`); once there is no room, every other one, from now on half as many."""
    ticks = int(row[TICKS])
    row[TICKS] += 1.0
    if ticks % int(row[STRIDE]) != 0:
        return
    kept = int(row[KEPT])
    if kept == len(decisions):
        kept //= 2
        for place in range(kept):
            for column in range(decisions.shape[1]):
                decisions[place, column] = decisions[2 * place, column]
        row[KEPT] = kept
        row[STRIDE] *= 2.0
        if ticks % int(row[STRIDE]) != 0:
            return
    kept_row = decisions[kept]
    kept_row[0], kept_row[1], kept_row[2], kept_row[3] = now_s, min(n[at.CAP], n[at.ROOM]), row[of.B_MEM], row[B_SLA]
    kept_row[4], kept_row[5], kept_row[6], kept_row[7] = row[of.LOW], row[of.HIGH], row[of.TAU_MEAN], row[of.SIZE_MEAN]
    kept_row[8], kept_row[9] = branch, n[at.SEATS]
    row[KEPT] += 1.0


for _called in (watch, finish, tick):  # so that a loop without a controller is compiled as if there were none
    _called.inlined = False
