"""Independent runs of one function: a seed each, on threads if wanted, gathered in order.

Knows nothing of what the function simulates; `intervals` reads what it gathers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from simlib.checks import InputError, check_integer, check_number, check_type
from simlib.lazy import pd


def replicate(
    function: Callable[[int], Mapping[str, float]],
    replications: int,
    *,
    seed: int,
    workers: int = 1,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Call a function once for each replication and gather the numbers that it returns.

    Parameters
    ----------
    function : callable
        Given ``seed + r`` in replication r, returns finite numbers by name, the same names each time. What it returns
        may depend on that seed only. Policies that one call compares share its requests: common random numbers.
    replications, seed : int
        How many, R >= 1; seed of replication 0, >= 0. The last has seed + R - 1 < 2**32.
    workers : int
        Threads. Threads, as the engine's kernels release the interpreter's lock, start at once, share what is compiled
        and take functions from notebook cells; a function that is plain Python gains nothing from them.
    progress : bool, optional
        Whether to show a bar on standard error; by default where that is a terminal, after the first second.

    Returns
    -------
    pandas.DataFrame
        One row a replication (index ``replication``, from 0), one column of floats a name; whatever `workers` is, the
        same to the last bit.

    Raises
    ------
    InputError
        If an argument is bad, or a replication returns something else; the replication is named.
    RuntimeError
        If the function fails; names the first replication that did, its cause is the function's own error. An
        `InputError` of the function stays one.

    Examples
    --------
    >>> replicate(lambda seed: {"twice": 2 * seed}, 3, seed=42)["twice"].tolist()
    [84.0, 86.0, 88.0]
    """
    check_type("function", function, Callable, "a function of a seed")
    replications = check_integer("replications", replications, 1, 2**32)
    seed = check_integer("seed", seed, 0, 2**32 - replications)
    workers = check_integer("workers", workers, 1, 1024)
    check_type("progress", progress, bool | None, "True, False or None")
    from tqdm import tqdm

    delay_s, hidden = (1.0, None) if progress is None else (0.0, not progress)
    outcomes = _outcomes(lambda replication: function(seed + replication), replications, workers)
    bar = tqdm(outcomes, "replications", replications, leave=False, unit="run", disable=hidden, delay=delay_s)
    rows: list[dict[str, float]] = []
    for replication, outcome in enumerate(bar):
        place = f"replication {replication} (seed {seed + replication})"
        if isinstance(outcome, Exception):
            bar.close()
            if isinstance(outcome, InputError):
                raise InputError(f"{place}: {outcome}") from outcome
            raise RuntimeError(f"{place}: {type(outcome).__name__}: {outcome}") from outcome
        rows.append(_row(place, outcome, rows))
    return pd.DataFrame(rows, index=pd.RangeIndex(replications, name="replication"))


def _outcomes(function: Callable[[int], Any], replications: int, workers: int) -> Iterator[Any]:
    """What the function returned or raised, in order of replication."""

    def outcome(replication: int) -> Any:
        # Returned, not raised, so that the first replication to fail is named, not the fastest.
        try:
            return function(replication)
        except Exception as error:
            return error

    yield outcome(0)  # alone, so that what compiles on first use compiles once
    if workers == 1:
        yield from map(outcome, range(1, replications))
    else:
        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(outcome, range(1, replications))


def _row(place: str, outcome: Any, rows: list[dict[str, float]]) -> dict[str, float]:
    """Check what one replication returned, against the names of the first."""
    if not isinstance(outcome, Mapping) or not outcome:
        raise InputError(f"{place}: returned {outcome!r:.80} (expected numbers by name)")
    if rows and set(outcome) != set(rows[0]):
        raise InputError(f"{place}: returned {', '.join(map(str, outcome))} (expected {', '.join(map(str, rows[0]))})")
    return {name: check_number(f"{place}, {name}", value) for name, value in outcome.items()}
