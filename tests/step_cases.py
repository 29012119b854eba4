"""Small tables and engines to try continuous batching on."""

import numpy as np
from hypothesis import strategies as st

import simlib
from simlib.continuous.settings import PREFILL, Continuous

ROUTING = ("shared", "round_robin", "least_tokens", "least_requests")  # by class: test_length_classes
LAWS = [
    simlib.StepLaw(0.0078, 0.0001, 73e-6, 58e-9),
    simlib.StepLaw(0.01),
    simlib.StepLaw(0.001, 0.0003, 1e-4, 1e-5, 1e-6),
]


def longest_tokens(prompts, outputs, block):
    """Tokens of the blocks that the longest request needs."""
    return int((-(-(prompts + np.maximum(outputs - 1, 0)) // block)).max()) * block


@st.composite
def cases(draw):
    """A small table, an engine that can hold its longest request, a law, 1 to 3 GPUs."""
    rows = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    gaps = rng.exponential(draw(st.sampled_from([0.002, 0.05, 0.5])), rows) * (rng.random(rows) < 0.8)
    prompts, outputs = (rng.integers(0, draw(st.integers(1, most)) + 1, rows) for most in (80, 120))
    outputs[-1] += not outputs.any()  # or all have failed
    cached = rng.integers(0, prompts + 1) if draw(st.booleans()) else None
    table = simlib.RequestTable(np.cumsum(gaps), prompts, outputs, cached_prompt_tokens=cached)
    block = draw(st.sampled_from([1, 4, 16]))
    longest = longest_tokens(prompts, outputs, block)
    engine = Continuous(
        max_seqs=draw(st.sampled_from([1, 3, 8, 256])),
        kv_tokens=draw(st.sampled_from([None, max(block, longest), max(block, 2 * longest), max(block, 5 * longest)])),
        block_tokens=block,
        token_budget=draw(st.sampled_from([16, 40, 2048])),
        prefill=draw(st.sampled_from(PREFILL)),
        steps_in_flight=draw(st.integers(1, 2)),
        reserve=draw(st.sampled_from([False, False, True])),
        watermark=draw(st.sampled_from([0.0, 0.1])),
        whole_prompt=draw(st.booleans()),
        routing=draw(st.sampled_from(ROUTING)),
        timeout_s=draw(st.sampled_from([None, None, 0.05, 1.0])),
        share_cached=draw(st.booleans()),
    )
    return table, engine, draw(st.sampled_from(LAWS)), draw(st.integers(1, 3))
