"""Clients that wait for their answer before they ask again: tables of them, and what must hold of every run."""

import numpy as np
from hypothesis import strategies as st

import simlib


def clients(think_s: np.ndarray, **columns) -> simlib.RequestTable:
    """A row a client, a column a turn: how long each one thinks before it asks; other columns of the same shape."""
    count, turns = think_s.shape
    earliest_s = think_s.cumsum(axis=1).ravel()
    order = np.argsort(earliest_s, kind="stable")
    place = np.argsort(order)
    first = np.arange(count * turns) % turns == 0
    previous = np.where(first, -1, np.roll(place, 1))
    columns = {name: np.asarray(values).ravel()[order] for name, values in columns.items()}
    columns |= {"previous": previous[order], "think_s": np.where(first, 0.0, think_s.ravel())[order]}
    labels = {"client": np.repeat(np.arange(count), turns)[order]}
    return simlib.RequestTable(earliest_s[order], **columns, labels=labels)


@st.composite
def forests(draw: st.DrawFn, max_requests: int = 24, exact: bool = False) -> simlib.RequestTable:
    """Chains, fan-outs and lone requests; `exact`: all times are eighths of a second, so that nothing is rounded."""
    rows = draw(st.integers(2, max_requests))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    previous = np.array([rng.integers(-1, row) if row and rng.random() < 0.8 else -1 for row in range(rows)])
    think_s = np.where(
        rng.random(rows) < 0.3, 0.0, rng.integers(0, 24, rows) / 8 if exact else rng.exponential(1, rows)
    )
    think_s = np.where(previous < 0, 0.0, think_s)
    opening_s = np.cumsum(rng.integers(0, 9, rows) / 8 if exact else rng.exponential(0.3, rows))
    return simlib.RequestTable(
        opening_s,
        rng.integers(1, 40, rows),
        rng.integers(1, 30, rows),
        predicted_output_tokens=rng.integers(1, 30, rows),
        priority=rng.integers(0, 3, rows),
        prefix_group=rng.integers(0, 3, rows),
        prefix_tokens=np.zeros(rows, int),
        previous=previous,
        think_s=think_s,
        labels={"client": rng.integers(0, 3, rows).astype(str)},
    )


def opened(run: simlib.Run) -> simlib.RequestTable:
    """The requests of a run, arriving openly when they arrived there."""
    names = ("arrival_s", "prompt_tokens", "output_tokens", "predicted_output_tokens", "priority")
    columns = {name: getattr(run.table, name) for name in (*names, "prefix_group", "prefix_tokens")}
    return simlib.RequestTable(**columns, labels=run.table.labels)


def check(table: simlib.RequestTable, run: simlib.Run) -> None:
    """Each request arrives when it is due, to the last bit; the run's rows are in order of arrival, and tell theirs."""
    rows, came = run.given_row, run.table
    assert sorted(rows) == list(range(len(table)))
    assert (np.diff(came.arrival_s) >= 0).all()
    assert ((np.diff(rows) > 0) | (np.diff(came.arrival_s) > 0)).all()  # of one instant: as they were given
    waits, answer_s = came.previous >= 0, run.times.completion_s.copy()
    turned_away = np.isnan(answer_s)
    known = waits & ~turned_away[came.previous]
    due_s = answer_s[came.previous] + came.think_s
    assert (came.arrival_s[known] == due_s[known]).all()
    assert (came.arrival_s[waits] >= came.arrival_s[came.previous][waits] + came.think_s[waits]).all()
    assert (came.arrival_s[~waits] == table.arrival_s[rows][~waits]).all()
    assert (table.previous[rows] == np.append(rows, -1)[came.previous]).all()
    for name in ("prompt_tokens", "output_tokens", "think_s"):
        assert (getattr(came, name) == getattr(table, name)[rows]).all()
    assert run.requests.index.tolist() == list(range(len(table)))
    assert (run.requests["previous"] == table.previous).all()
    assert (run.requests["output_tokens"] == table.output_tokens).all()
