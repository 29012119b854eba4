"""Where the rules for the size of a batch settle: closed forms for a step of a + beta b.

Stands beside the engine and imports nothing of it. Source: the SLA paper (arXiv 2503.05248), equations (6) and (12),
Algorithm 2; what it does not say (the floor that the rule falls to, contraction) is derived here.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from simlib.checks import InputError, check_integer, check_number


def sla_batch(a_s: float, beta_s: float, d_sla: float) -> float:
    """The batch whose decode step takes the deadline: (D - a) / beta.

    Raises
    ------
    InputError
        If an argument is out of range, or the deadline below the fastest step, a + beta.

    Examples
    --------
    >>> round(sla_batch(0.030, 0.00022, 0.050), 1)
    90.9
    """
    a_s, beta_s = check_number("a_s", a_s, 0.0), check_number("beta_s", beta_s, 0.0, open_low=True)
    if check_number("d_sla", d_sla) < a_s + beta_s:
        raise InputError(f"d_sla: {d_sla} (expected at least the fastest step, {a_s + beta_s:g} s)")
    return (d_sla - a_s) / beta_s


def capacity_rps(a_s: float, beta_s: float, mean_output_tokens: float, batch_size: float) -> float:
    """Requests per second that a full batch completes: b / ((a + beta b) E[output]), equation (6).

    Examples
    --------
    >>> round(capacity_rps(0.030, 0.00022, 447.5, 90.9), 3)
    4.063
    """
    step_s = check_number("a_s", a_s, 0.0) + check_number("beta_s", beta_s, 0.0) * check_number(
        "batch_size", batch_size
    )
    return batch_size / (step_s * check_number("mean_output_tokens", mean_output_tokens, 0.0, open_low=True))


def floor_batch(b_min: int, alpha: int) -> int:
    """Where Algorithm 2 comes to rest if no batch is fast enough: the middle of [b_min, b_min + alpha].

    Examples
    --------
    >>> floor_batch(b_min=1, alpha=20)
    11
    """
    return (2 * check_integer("b_min", b_min, 1) + check_integer("alpha", alpha, 1)) // 2


def memory_batch(kv_tokens: float, mean_tokens: float, std_tokens: float, epsilon_m: float) -> float:
    """The largest batch that exceeds the cache with a probability of epsilon_M, if its total is normal: equation (12).

    Mean and standard deviation are those of one request; the paper prints those of the sum.

    Examples
    --------
    >>> round(memory_batch(100_000, 646, 400, 0.05), 1)
    142.6
    """
    mean = check_number("mean_tokens", mean_tokens, 0.0, open_low=True)
    theta = NormalDist().inv_cdf(1 - check_number("epsilon_m", epsilon_m, 0.0, 0.5, open_low=True))
    spread = theta * check_number("std_tokens", std_tokens, 0.0)
    tokens = check_number("kv_tokens", kv_tokens, 0.0, open_low=True)
    return ((math.sqrt(spread**2 + 4 * mean * tokens) - spread) / (2 * mean)) ** 2


def printed_memory_batches(mean_tokens: float, std_tokens: float, epsilon_m: float, start: float, updates: int) -> list:
    """The sizes that Algorithm 1 takes with L0 as printed: b + theta sigma sqrt(b) / mean, whatever the cache holds.

    Examples
    --------
    >>> [int(b) for b in printed_memory_batches(646, 400, 0.05, start=50, updates=3)]
    [57, 64, 73]
    """
    theta = NormalDist().inv_cdf(1 - check_number("epsilon_m", epsilon_m, 0.0, 0.5, open_low=True))
    gain = theta * check_number("std_tokens", std_tokens, 0.0) / check_number("mean_tokens", mean_tokens, 1e-9)
    sizes = [check_number("start", start, 1.0)]
    for _ in range(check_integer("updates", updates, 0)):
        sizes.append(sizes[-1] + gain * math.sqrt(sizes[-1]))
    return sizes[1:]


def contraction(beta_s: float, slope_s: float) -> float:
    """Factor by which ``b = b_mean + (D - tau_mean) / slope`` shrinks the window's error: ``abs(1 - beta / slope)``.

    With tau = a + beta b and b* = (D - a) / beta, b - b* = (1 - beta / slope) (b_mean - b*). The mean is over sizes of
    the last window, so that the largest error of a window is at most this factor times that of the one before: the
    rule contracts for any slope above beta / 2, however long the window; noise of a mean, at most e, leaves
    e / (slope (1 - factor)).

    Examples
    --------
    >>> round(contraction(0.00022, 0.050 / 90.9), 2)
    0.6
    """
    slope_s = check_number("slope_s", slope_s, 0.0, open_low=True)
    return abs(1.0 - check_number("beta_s", beta_s, 0.0) / slope_s)
