"""Requests like Azure's: what the shipped numbers are, and that draws follow them."""

import numpy as np
import pandas as pd
import pytest

import simlib
from book.chapters.workloads import traffic
from simlib import datasets
from simlib.requests import azure, traces

TRACE = "azure-llm-2023/AzureLLMInferenceTrace_conv.csv.gz"


def test_the_shipped_numbers_are_those_of_the_trace(data_dir):
    table = traces.read(data_dir / TRACE).requests
    pd.testing.assert_frame_equal(azure.profile_of(table), pd.read_csv(datasets.shipped(azure.FILE)), check_dtype=False)


def test_draws_have_its_rate_lengths_and_swing():
    shipped = pd.read_csv(datasets.shipped(azure.FILE))
    table = azure.azure_like(40_000, 1)
    for part in azure.LENGTHS:
        rows = shipped[shipped["part"] == part].iloc[5:96:10]
        below = [(getattr(table, part) <= value).mean() for value in rows["value"]]
        above = [(getattr(table, part) >= value).mean() for value in rows["value"]]
        # Ties lie on both sides; 40,000 draws are within 0.012 of a share but once in a million.
        assert (np.array(below) > rows["place"] - 0.012).all() and (np.array(above) > 0.988 - rows["place"]).all()
    counts = shipped.loc[shipped["part"] == "requests", "value"]
    assert len(table) / table.arrival_s[-1] == pytest.approx(counts.mean() / 60, rel=0.03)
    assert 10 < traffic.dispersion_index(table.arrival_s, 60.0) < 30  # 20.6 in the trace


def test_replications_differ_and_repeat():
    first, again, other = azure.azure_like(500, 1), azure.azure_like(500, 1), azure.azure_like(500, 2)
    np.testing.assert_array_equal(first.arrival_s, again.arrival_s)
    assert (first.output_tokens != other.output_tokens).any()
    np.testing.assert_array_equal(azure.azure_like(100, 1).prompt_tokens, first.prompt_tokens[:100])


def test_bad_input_is_named():
    with pytest.raises(simlib.InputError, match="n: 0"):
        azure.azure_like(0)
    with pytest.raises(simlib.InputError, match="a minute at least"):
        azure.profile_of(simlib.RequestTable([0.0, 5.0], [1, 1], [1, 1]))
