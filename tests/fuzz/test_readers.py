"""Whatever bytes a file holds: it is read right, or refused with one sentence that names it."""

import numpy as np
import pytest
from fuzz.grammar import PACKED, ROWS, WRITERS, examples, files
from hypothesis import given
from hypothesis import strategies as st

from simlib.checks import InputError
from simlib.requests import traces


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "trace"


@examples(300)
@given(st.sampled_from(list(WRITERS)), st.sampled_from(list(PACKED)), ROWS)
def test_what_was_written_is_read_back(file, name, packing, rows):
    file.write_bytes(PACKED[packing](WRITERS[name](rows).encode()))
    requests = traces.read(file).requests
    shift_s = 0.0 if name.startswith("plain") else rows[0].arrival_ms / 1000
    expected_s = np.array([row.arrival_ms for row in rows]) / 1000 - shift_s
    np.testing.assert_allclose(requests.arrival_s, expected_s, atol=1e-6)
    assert requests.prompt_tokens.tolist() == [row.prompt_tokens for row in rows]
    assert requests.output_tokens.tolist() == [row.output_tokens for row in rows]


def tried(file, content: bytes) -> None:
    """Read the bytes; anything but a table of sound numbers or one sentence is an error."""
    file.write_bytes(content)
    try:
        live = {"engine_block_tokens": 16} if len(content) % 2 else {}
        requests = traces.read(file, failed="keep", unsorted="sort", **live).requests
    except InputError as problem:
        assert "\n" not in str(problem)
        assert file.name in str(problem)
    else:
        assert np.isfinite(requests.arrival_s).all()
        assert (np.diff(requests.arrival_s) >= 0).all()
        assert (requests.prompt_tokens >= 0).all()
        assert (requests.output_tokens >= 0).all()


@examples(1100)
@given(files())
def test_damage_gives_a_sound_table_or_a_sentence(file, content):
    tried(file, content)
