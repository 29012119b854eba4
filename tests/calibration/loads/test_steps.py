"""Steps of an engine whose limits are known, by hand."""

import numpy as np
import pandas as pd
import pytest

from simlib.calibration.loads import steps
from simlib.continuous.settings import Continuous


def requests(*rows):
    return pd.DataFrame(rows, columns=["start_s", "prompt_tokens", "ttft_s", "itl_s"])


def test_tokens_that_came_together_are_of_one_step():
    # Ends at 0.1, 0.2, 0.3, 0.4; the second request's first token comes with the third one, the first's last as well.
    end_s, decodes, first_of = steps.ends(requests((0.0, 9, 0.1, [0.1, 0.1, 0.1001]), (0.15, 9, 0.151, [0.1])))
    assert end_s == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=2e-3)
    assert decodes.tolist() == [0, 1, 1, 2]
    assert first_of.tolist() == [0, 2]


def test_a_prompt_is_cut_by_what_decodes_leave_and_the_next_one_takes_the_rest():
    # A budget of 101 leaves 100 beside one that decodes: 250 tokens from the step that begins at 0.3 on are 100, 100
    # and 50, and the 40 of the next, which came in time, stand beside these 50.
    long = (0.0, 9, 0.1, [0.1] * 8)
    times_s, tokens = steps.chunks(
        requests(long, (0.25, 250, 0.35, []), (0.35, 40, 0.25, [])), Continuous(token_budget=101)
    )
    assert times_s == pytest.approx([0.1, 0.4, 0.5, 0.6, 0.6])
    assert tokens.tolist() == [9, 100, 100, 50, 40]


def test_with_two_steps_in_flight_a_step_was_composed_a_step_before():
    # It came at 0.25. Of one in flight, the step that ends at 0.4 had been composed at 0.3, and it would have been done
    # at 0.6; of two, the first one composed after it came ends at 0.5.
    long = (0.0, 9, 0.1, [0.1] * 8)
    for in_flight, expected in ((1, [50, 100, 100]), (2, [100, 100, 50])):
        engine = Continuous(token_budget=101, steps_in_flight=in_flight)
        times_s, tokens = steps.chunks(requests(long, (0.25, 250, 0.45, [])), engine)
        assert (times_s[1:].round(9).tolist(), tokens[1:].tolist()) == ([0.5, 0.6, 0.7], expected)


def test_a_prompt_that_would_have_been_done_too_soon_began_as_late_as_it_could():
    # It came at 0.05, and a seat was free at 0.5 only.
    times_s, tokens = steps.chunks(
        requests((0.0, 9, 0.1, [0.1] * 8), (0.05, 150, 0.65, [])), Continuous(token_budget=101)
    )
    assert times_s[1:] == pytest.approx([0.6, 0.7])
    assert tokens[1:].tolist() == [50, 100]


def test_cached_tokens_are_in_no_chunk():
    frame = requests((0.0, 9, 0.1, [0.1] * 8), (0.25, 250, 0.15, [])).assign(cached_prompt_tokens=[0, 200])
    assert steps.chunks(frame, Continuous(token_budget=101))[1].tolist() == [9, 50]


def test_alone_a_prompt_has_as_many_steps_as_chunks():
    rows = steps.rebuilt(requests((0.0, 250, 0.4, [0.1])), Continuous(token_budget=100))
    assert rows["steps"].tolist() == [3, 1]
    assert rows["alone"].tolist() == [True, False]


def test_no_token_is_lost_or_made():
    """Of random requests with any limits, chunks add up to prompts."""
    rng = np.random.default_rng(0)
    for budget in (16, 100, 5000):
        rows = [
            (s, int(p), t, rng.exponential(0.1, 5))
            for s, p, t in zip(np.sort(rng.random(40)), rng.integers(1, 300, 40), rng.random(40), strict=True)
        ]
        _, tokens = steps.chunks(requests(*rows), Continuous(max_seqs=1, token_budget=budget))
        assert tokens.sum() == sum(row[1] for row in rows)
