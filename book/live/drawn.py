"""The requests that the page draws, as kernels: the same as `workload.original`, `burstgpt_like` and `azure_like`."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from book.live.chance import (
    below,
    exponential,
    legacy_exponential,
    legacy_gamma,
    legacy_normal,
    legacy_uniform,
    normal,
    twister,
    uniform,
)

LONGEST, DAY_S, HOURS, MINUTE_S = 4096, 86_400.0, 24, 60.0
ORIGINAL, BURSTGPT, AZURE = range(3)
# Streams of a seed, by what they decide; the first six are BurstGPT's, the next two Azure's.
DAYS, WINDOWS, GAPS, PARTS, TOKENS, FAILURES, ARRIVALS, LENGTHS, PREDICTION = range(9)


class Drawn(NamedTuple):
    """A table's columns, to be filled; times in seconds, lengths in tokens."""

    arrival_s: np.ndarray
    prompt_tokens: np.ndarray
    output_tokens: np.ndarray


def whole(tokens: float, least: int, most: int) -> int:
    """Kernel: rounded as NumPy does, half to even, and kept within limits."""
    return int(min(max(np.rint(tokens), float(least)), float(most)))


def original(seed: int, rate_rps: float, drawn: Drawn) -> None:
    """Kernel: the original system's requests, without its predictions."""
    arrivals, prompts, outputs = twister(seed), twister(seed + 1), twister(seed + 2)
    now_s = 0.0
    for row in range(len(drawn.arrival_s)):
        now_s += (1.0 / rate_rps) * legacy_exponential(arrivals)
        drawn.arrival_s[row] = now_s
        which, where = legacy_uniform(prompts), legacy_uniform(prompts)
        low, width = (16.0, 112.0) if which < 0.6 else (128.0, 384.0) if which < 0.9 else (512.0, 1536.0)
        prompt = int(low + width * where)
        base, share = legacy_gamma(2.0, outputs), legacy_uniform(outputs)
        output = int(50.0 * base + 0.3 * (0.2 + (0.8 - 0.2) * share) * prompt)
        drawn.prompt_tokens[row], drawn.output_tokens[row] = prompt, min(max(output, 1), LONGEST)


def burstgpt(streams: np.ndarray, about: np.ndarray, rate_factor: float, drawn: Drawn) -> None:
    """Kernel: conversations as `burstgpt_like` draws them from a workday's midnight on.

    `about` has what `contents.burstgpt_about` says: coefficients, then the shares of the hours, then the mixture.
    """
    workday, weekend, day_log_sd, window_s, window_log_sd = about[0], about[1], about[2], about[3], about[4]
    parts, longest_prompt, longest_output = int(about[6]), int(about[7]), int(about[8])
    hours, mixture = about[9 : 9 + HOURS], about[9 + HOURS :]
    windows = int(DAY_S / window_s)
    a_hour, day, window = windows // HOURS, 0, windows
    clock, begun, events, level = 0.0, 0.0, 0.0, 0.0  # expected so far: up to a request, the window's two ends
    for row in range(len(drawn.arrival_s)):
        clock += exponential(streams[GAPS])
        while events <= clock:
            if window == windows:
                level = weekend if day % 7 in (3, 4) else workday
                level *= math.exp(day_log_sd * normal(streams[DAYS]) - day_log_sd**2 / 2.0)
                day, window = day + 1, 0
            factor = math.exp(window_log_sd * normal(streams[WINDOWS]) - window_log_sd**2 / 2.0)
            begun = events
            events += level * (hours[window // a_hour] / a_hour) * factor
            window += 1
        start_s = ((day - 1) * windows + window - 1) * window_s
        drawn.arrival_s[row] = (window_s / (events - begun) * (clock - begun) + start_s) / rate_factor
        choice, part = uniform(streams[PARTS]), 0
        while part < parts - 1 and mixture[part] <= choice:
            part += 1
        own = mixture[parts + 5 * part : parts + 5 * part + 5]  # means, then roots
        first, second = normal(streams[TOKENS]), normal(streams[TOKENS])
        prompt = whole(math.exp(own[0] + own[2] * first), 1, longest_prompt)
        output = whole(math.exp(own[1] + own[3] * first + own[4] * second), 1, longest_output)
        served = 1 if uniform(streams[FAILURES]) >= about[5] else 0
        drawn.prompt_tokens[row], drawn.output_tokens[row] = prompt * served, output * served


def between(value: float, xs: np.ndarray, ys: np.ndarray) -> float:
    """Kernel: `numpy.interp` of one value."""
    last = len(xs) - 1
    if value >= xs[last]:
        return ys[last]
    low, high = 0, last
    while high - low > 1:
        middle = (low + high) // 2
        if xs[middle] <= value:
            low = middle
        else:
            high = middle
    return (ys[low + 1] - ys[low]) / (xs[low + 1] - xs[low]) * (value - xs[low]) + ys[low]


def azure(streams: np.ndarray, about: np.ndarray, drawn: Drawn) -> None:
    """Kernel: requests as `azure_like` draws them; `about` is what `contents.azure_about` says."""
    minutes, places = int(about[0]), int(about[1])
    counts, shares = about[2 : 2 + minutes], about[2 + minutes : 2 + minutes + places]
    prompts = about[2 + minutes + places : 2 + minutes + 2 * places]
    outputs = about[2 + minutes + 2 * places : 2 + minutes + 3 * places]
    first = below(minutes, streams[ARRIVALS])
    edges = np.zeros(minutes + 1)
    for minute in range(minutes):
        edges[minute + 1] = edges[minute] + counts[(minute + first) % minutes]
    clock, rows, numbers = 0.0, len(drawn.arrival_s), np.arange(minutes + 1).astype(np.float64)
    for row in range(rows):
        clock += exponential(streams[ARRIVALS])
        rest = clock % edges[minutes]
        hours = np.rint((clock - rest) / edges[minutes])
        drawn.arrival_s[row] = MINUTE_S * (hours * minutes + between(rest, edges, numbers))
    for row in range(rows):
        drawn.prompt_tokens[row] = whole(between(uniform(streams[LENGTHS]), shares, prompts), 1, 1 << 40)
    for row in range(rows):
        drawn.output_tokens[row] = whole(between(uniform(streams[LENGTHS]), shares, outputs), 1, 1 << 40)


def predicted_as_original(seed: int, prompt_tokens: np.ndarray, predicted: np.ndarray) -> None:
    """Kernel: `predictors.original_predictions`."""
    source = twister(seed)
    for row in range(len(prompt_tokens)):
        factor = math.exp(0.0 + 0.1 * legacy_normal(source))
        tokens = int(1.5 * float(prompt_tokens[row]) ** 0.7 * factor)
        predicted[row] = min(max(tokens, 1), LONGEST)


def predicted_with_noise(sigma: float, stream: np.ndarray, output_tokens: np.ndarray, predicted: np.ndarray) -> None:
    """Kernel: `predictors.MultiplicativeNoise`."""
    for row in range(len(output_tokens)):
        predicted[row] = whole(math.exp(normal(stream) * sigma) * float(output_tokens[row]), 1, 10_000_000)
