"""Random cases for a scheduler: request tables and settings, drawn so that every rule is met often."""

from __future__ import annotations

from typing import Any

import numpy as np

LAW = [0.01, 2e-4, 1e-4, 1e-7]
MODES = (
    "sync", "async", "sync_reuse", "async_reuse", "priority", "shared_prefix",
    "async_priority", "priority_reuse", "async_priority_reuse", "async_shared_prefix", "priority_shared_prefix",
)  # fmt: skip
KINDS = ("plain", "stop tokens", "long prompts", "watermark", "block sizes", "above the budget", "cancelled", "all")


def draw(count: int, seed: int, modes: tuple[str, ...] = MODES, kinds: tuple[str, ...] = KINDS) -> list[dict[str, Any]]:
    """So many cases, mode by mode and kind by kind in turn, as ``record.py`` reads them."""
    g = np.random.default_rng(seed)
    return [_case(g, modes[number % len(modes)], kinds[number // len(modes) % len(kinds)]) for number in range(count)]


def _case(g: np.random.Generator, mode: str, kind: str) -> dict[str, Any]:
    def on(name: str) -> bool:
        return kind == name or (kind == "all" and g.random() < 0.7)

    rows = int(g.integers(15, 50))
    prompt, output = g.integers(1, g.choice([60, 300, 600]), rows), g.integers(1, g.choice([20, 60, 150]), rows)
    block = int(g.choice([8, 32, 64, 128])) if on("block sizes") else 16
    budget = int(max(block, g.choice([64, 128, 512, 2048])))
    if on("above the budget"):
        budget = max(block, int(g.choice([64, 128])))
        prompt = np.where(g.random(rows) < 0.4, g.integers(budget, 8 * budget, rows), prompt)
    if "prefix" in mode and g.random() < 0.3:  # some are equal as a whole, and so is what is sampled after them
        prompt = g.choice(prompt[: g.choice([2, 5, rows])], rows)
    most = output + (g.random(rows) < 0.8) * g.integers(1, 60, rows) if on("stop tokens") else output
    needed = int((-(-(prompt + most) // block)).max())
    case = {
        "mode": mode,
        "kind": kind,
        "seed": int(g.integers(2**31)),
        "arrival_s": np.cumsum(g.exponential(1 / g.choice([4, 15, 60, 1e9]), rows)).round(9).tolist(),
        "prompt_tokens": prompt.tolist(),
        "output_tokens": output.tolist(),
        "max_num_seqs": int(g.choice([3, 8, 32])),
        "max_num_batched_tokens": budget,
        "num_blocks": int(needed * g.choice([1, 1.2, 1.6, 4])),
        "block_size": block,
        "law": LAW,
    }
    if "priority" in mode:
        case["priority"] = g.integers(0, g.choice([2, 5, 100]), rows).tolist()
    if "shared_prefix" in mode:
        case["group"] = g.integers(0, g.choice([1, 3, 6]), rows).tolist()
        case["shared_tokens"] = np.minimum(prompt, g.integers(0, 500, rows)).tolist()
    if (most > output).any():
        case["max_tokens"] = most.tolist()
    if on("long prompts"):
        case["long_prefill_token_threshold"] = int(g.integers(4, max(8, budget // 2)))
    if on("watermark"):
        case["watermark"] = float(g.choice([0.02, 0.05, 0.1, 0.3]))
    if on("cancelled"):
        after_s = g.exponential(g.choice([0.05, 0.5, 3.0]), rows)
        late = g.random(rows) < g.choice([0.3, 0.8])
        case["cancel_s"] = [
            round(at_s + after, 9) if gone else None
            for at_s, after, gone in zip(case["arrival_s"], after_s.tolist(), late.tolist(), strict=True)
        ]
    return case
