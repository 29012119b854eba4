"""A workload from histograms has their shares, and nothing outside their cells."""

import json

import numpy as np
import pytest
from scipy import stats

from simlib.checks import InputError
from simlib.requests import histograms
from simlib.requests.histograms import from_histograms, read_histogram

PROMPT = ([1, 101, 501, 2001], [60, 0, 40])
OUTPUT = ([0, 10, 20], [1, 3])


def test_lengths_have_the_shares_of_the_histograms():
    table = from_histograms(20_000, *PROMPT, *OUTPUT, rate_rps=20.0, seed=1)
    assert not ((table.prompt_tokens >= 101) & (table.prompt_tokens < 501)).any()
    # Two binomial tests at 0.1 % each: a false alarm in 500 seeds, and the seed is fixed.
    assert stats.binomtest(int((table.prompt_tokens < 101).sum()), 20_000, 0.6).pvalue > 1e-3
    assert stats.binomtest(int((table.output_tokens < 10).sum()), 20_000, 0.25).pvalue > 1e-3


def test_lengths_are_uniform_within_a_cell_and_the_last_upper_edge_is_in():
    table = from_histograms(11_000, [5, 5.5, 8], [0, 1], [0, 10], [1], rate_rps=20.0, seed=2)
    values, counts = np.unique(table.prompt_tokens, return_counts=True)
    assert values.tolist() == [6, 7, 8]
    assert stats.chisquare(counts).pvalue > 1e-3  # false alarm 0.1 %, seed fixed
    values, counts = np.unique(table.output_tokens, return_counts=True)
    assert values.tolist() == list(range(11))
    assert stats.chisquare(counts).pvalue > 1e-3


def test_a_histogram_of_lengths_gives_their_mean_back():
    lengths = np.random.default_rng(3).integers(1, 2000, 5000)
    counts, edges = np.histogram(lengths, bins=np.arange(1, 2101, 100))
    table = from_histograms(20_000, edges, counts, edges, counts, rate_rps=20.0)
    # Six standard errors of the mean, and what one cell's width can shift it.
    assert abs(table.prompt_tokens.mean() - lengths.mean()) < 6 * lengths.std() / np.sqrt(20_000) + 5


def test_arrivals_are_poisson_at_the_rate():
    gaps = np.diff(from_histograms(20_000, *PROMPT, *OUTPUT, rate_rps=20.0, seed=4).arrival_s, prepend=0.0)
    assert stats.kstest(gaps, "expon", args=(0, 1 / 20.0)).pvalue > 1e-3  # false alarm 0.1 %, seed fixed


def test_the_same_seed_gives_the_same_requests_and_prompts_do_not_depend_on_outputs():
    first, again, other = (from_histograms(100, *PROMPT, *OUTPUT, rate_rps=20.0, seed=s) for s in (5, 5, 6))
    assert first.prompt_tokens.tolist() == again.prompt_tokens.tolist() != other.prompt_tokens.tolist()
    assert first.output_tokens.tolist() == again.output_tokens.tolist()
    longer = from_histograms(100, *PROMPT, [100, 200], [1], rate_rps=20.0, seed=5)
    assert longer.prompt_tokens.tolist() == first.prompt_tokens.tolist()


def test_histograms_are_asked_for_at_the_traces_too():
    assert histograms.from_histograms is from_histograms
    assert histograms.read_histogram is read_histogram


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n": 0}, "n: 0"),
        ({"rate_rps": 0.0}, "rate_rps: 0.0"),
        ({"seed": -1}, "seed: -1"),
        ({"prompt_edges": [1, 101, 501]}, r"prompt_edges: 3 of them \(expected 4"),
        ({"prompt_edges": [1, 101, 101, 200]}, "prompt_edges, edge 2: 101"),
        ({"prompt_edges": [1, 101, 50, 200]}, "prompt_edges, edge 2: 50"),
        ({"prompt_edges": [-1, 101, 501, 600]}, "prompt_edges, number 0: -1"),
        ({"prompt_edges": [1, "x", 501, 600]}, "prompt_edges, number 1: 'x'"),
        ({"prompt_edges": [1, 2, 3, float("inf")]}, "prompt_edges, number 3: inf"),
        ({"prompt_edges": [0.1, 0.9, 501, 600]}, "prompt_edges, cell 0: no whole number from 0.1 to 0.9"),
        ({"prompt_edges": "abcd"}, "prompt_edges: 'abcd'"),
        ({"prompt_edges": None}, "prompt_edges: None"),
        ({"output_counts": [1, -3]}, "output_counts, number 1: -3"),
        ({"output_counts": [1, float("nan")]}, "output_counts, number 1: nan"),
        ({"output_counts": [0, 0]}, "output_counts: all 0"),
        ({"output_counts": [], "output_edges": [1]}, "output_counts, cells: 0"),
        ({"output_counts": 7}, "output_counts: 7"),
    ],
)
def test_a_bad_argument_is_named(changed, message):
    good = dict(zip(("prompt_edges", "prompt_counts", "output_edges", "output_counts"), PROMPT + OUTPUT, strict=True))
    with pytest.raises(InputError, match=f"^{message}"):
        from_histograms(**{"n": 5, "rate_rps": 1.0, **good, **changed})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("h.json", json.dumps({"edges": [1, 101, 501], "counts": [9, 1], "unit": "tokens"})),
        ("h.csv", "edges,counts\n1,9\n101,1\n501,\n"),
        ("bom.csv", "\ufeffedges, counts\r\n1, 9\r\n101, 1\r\n501,\r\n"),
    ],
)
def test_a_histogram_is_read_from_json_and_csv(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    assert read_histogram(file) == ([1, 101, 501], [9, 1])
    assert len(from_histograms(7, *read_histogram(file), *read_histogram(str(file)), rate_rps=1.0)) == 7


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "h: the file is empty"),
        (b"{", "h, line 1, column 2: "),
        (b"[1, 2]", "h: no histogram"),
        (b'{"edges": [1, 2]}', "h: no histogram"),
        (b'{"edges": 1, "counts": 2}', "h: no histogram"),
        (b'{"edges": [1, "x"], "counts": [2]}', "h, edges, number 1: 'x'"),
        (b"edges,counts\n", "h: a header and no rows"),
        (b"low,high\n1,2\n", "h: no histogram"),
        (b"edges,counts\n1,2\n,3\n9,\n", "h, edges, number 1: nan"),
        (b"\xff\xfe\x00", "h: UTF-16 text"),
    ],
)
def test_a_file_that_is_no_histogram_is_named(tmp_path, content, message):
    file = tmp_path / "h"
    file.write_bytes(content)
    with pytest.raises(InputError, match=f"^{message}"):
        read_histogram(file)


@pytest.mark.parametrize("path", ["absent.json", ".", 3, None])
def test_a_path_that_is_no_file_is_named(path):
    with pytest.raises(InputError, match=r"no such file|is a folder|^path: "):
        read_histogram(path)
