"""Random numbers of the page's kernels, run as they stand, beside NumPy's."""

import numpy as np
import pytest

from book.live import chance
from book.live.contents import words_of
from simlib.requests.streams import stream

DRAWS = 3000


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [(chance.uniform, "random"), (chance.exponential, "standard_exponential"), (chance.normal, "standard_normal")],
)
def test_a_stream_gives_numpys_numbers(mine, theirs):
    source = stream("page", 3, "lengths")
    words = np.array(words_of(source), np.uint64)
    with np.errstate(over="ignore"):
        found = [mine(words) for _ in range(DRAWS)]
    np.testing.assert_allclose(found, getattr(source, theirs)(DRAWS), rtol=1e-15)


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (chance.legacy_uniform, lambda legacy: legacy.random_sample(DRAWS)),
        (chance.legacy_exponential, lambda legacy: legacy.standard_exponential(DRAWS)),
        (chance.legacy_normal, lambda legacy: legacy.standard_normal(DRAWS)),
        (lambda source: chance.legacy_gamma(2.0, source), lambda legacy: legacy.standard_gamma(2.0, DRAWS)),
    ],
)
def test_the_twister_gives_numpys_numbers(mine, theirs):
    source = chance.twister(4711)
    found = [mine(source) for _ in range(DRAWS)]
    np.testing.assert_allclose(found, theirs(np.random.RandomState(4711)), rtol=1e-14)


def test_an_integer_below_a_limit_is_the_first_that_numpy_draws():
    for replication in range(50):
        source = stream("page", replication, "arrivals")
        with np.errstate(over="ignore"):
            assert chance.below(60, np.array(words_of(source), np.uint64)) == source.integers(60)
