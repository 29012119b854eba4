"""Which bins suit real lengths: rules of cutting, judged on lengths unseen, with predictors that err.

A batch takes as long as its longest answer (the Multi-Bin paper's model); what changes with a law of service and a
deadline is in `deadline`. Rows are cut in two halves: bins are chosen on one and judged on the other, both ways; a band
is the bootstrap's, over other rows to judge on. Nothing is simulated here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from book.chapters.traffic_bins import large_batches
from simlib import datasets
from simlib.checks import InputError, check_choice, check_integer
from simlib.policies import bins, optimal_bins
from simlib.requests import burstgpt, predictors, traces
from simlib.requests.lengths import LogNormal
from simlib.requests.streams import stream

if TYPE_CHECKING:
    import pandas as pd


AZURE = "azure-llm-2023/AzureLLMInferenceTrace_conv.csv.gz"
SOURCES = ("log_normal", "burstgpt_sample", "burstgpt_like", "azure_2023")
RULES = ("equal_mass", "lemma_a1", "optimal")
PREDICTORS: Mapping[str, Any] = {
    "oracle": predictors.Oracle(),
    "noise 0.5": predictors.MultiplicativeNoise(0.5),
    "rank 0.7": predictors.LatentScore(0.7),
    "rank 0.4": predictors.LatentScore(0.4),
}
RESAMPLES = 200
TRIAL = LogNormal(median_tokens=150, sigma=1.0)


class Rows(NamedTuple):
    """Requests without their arrivals: known prompts and true answers, shape (n,), tokens."""

    prompt_tokens: np.ndarray
    output_tokens: np.ndarray


def lengths_of(source: str, rows: int, seed: int = 42) -> Rows:
    """Lengths of a kind of traffic.

    Parameters
    ----------
    source : {"log_normal", "burstgpt_sample", "burstgpt_like", "azure_2023"}
        The trial's law (median 150 tokens, sigma 1, no prompts); the real BurstGPT rows that the repository ships; as
        many draws from their population as wanted (conversations, `burstgpt`); Azure's hour of conversations.
    rows : int
        At most so many requests; failed ones are left out.
    seed : int
        Of what is drawn. Of a trace the rows come at random, so that halves of it are alike.

    Raises
    ------
    InputError
        If an argument is bad, or the trace is not there; the message says what gets it.

    Examples
    --------
    >>> len(lengths_of("burstgpt_sample", 1000).output_tokens)
    383
    """
    check_choice("source", source, SOURCES)
    rows, seed = check_integer("rows", rows, 2), check_integer("seed", seed, 0, 2**31)
    rng = stream(f"traffic bins {source}", seed, "lengths")
    if source == "log_normal":
        return Rows(np.zeros(rows, int), TRIAL.sample(rows, rng))
    if source == "burstgpt_like":
        table = burstgpt.Population.read().sample(rows, seed, traffic="conversations")
    else:
        table = traces.read(datasets.sample() if source == "burstgpt_sample" else datasets.locate(AZURE)).requests
    kept = rng.permutation(np.flatnonzero(table.output_tokens > 0))[:rows]
    return Rows(table.prompt_tokens[kept], table.output_tokens[kept])


def predicted_tokens(rows: Rows, predictor: str, seed: int = 42) -> np.ndarray:
    """Predicted answers of a predictor by its name in `PREDICTORS`, tokens."""
    check_choice("predictor", predictor, PREDICTORS)
    return PREDICTORS[predictor].predict(*rows, stream("traffic bins", seed, "prediction"))


def gathered(
    function: Callable[..., pd.DataFrame],
    table: str,
    sources: Mapping[str, int],
    names: Iterable[str] = tuple(PREDICTORS),
    *,
    seed: int = 42,
    workers: int = 1,
) -> tuple[pd.DataFrame, list[str]]:
    """What `rules` or `deadline.by_deadline` gives for each kind of traffic and each predictor, in one table.

    Parameters
    ----------
    function : callable
        Given `Rows`, a predictor's name and ``seed``.
    table : str
        Name of the committed table, whose rows stand in for a trace that is not there.
    sources : mapping of str to int
        Kinds of traffic and how many rows of each.
    names : iterable of str
        Predictors.
    seed, workers : int
        Threads.

    Returns
    -------
    table : pandas.DataFrame
        With a column ``source`` before the others.
    absent : list of str
        The kinds whose rows are the committed ones: not re-executed, data absent.
    """
    import pandas as pd
    from joblib import Parallel, delayed

    known: dict[str, Rows] = {}
    absent = []
    for source, count in sources.items():
        try:
            known[source] = lengths_of(source, count, seed)
        except InputError:
            if source != "azure_2023":
                raise
            absent.append(source)
    tasks = [(source, name) for source in known for name in names]
    run = delayed(lambda source, name: function(known[source], name, seed=seed).assign(source=source))
    frames = Parallel(n_jobs=workers, backend="threading")(run(*task) for task in tasks)
    if absent:
        kept = pd.read_csv(datasets.committed(table), dtype={"refused": str}, keep_default_na=True)
        frames.append(kept[kept["source"].isin(absent)].assign(refused=lambda rows: rows["refused"].fillna("")))
    found = pd.concat(frames, ignore_index=True)
    return found[["source", *found.columns.drop("source")]], absent


class Half(NamedTuple):
    """Rows to choose bins on and rows to judge them on; the latter ascending by true length, with resamples.

    ``counts[r]`` says how often each of them occurs in resample r; in resample 0 once each.
    """

    fitted: np.ndarray
    fitted_predicted: np.ndarray
    unseen: np.ndarray
    unseen_predicted: np.ndarray
    counts: np.ndarray


def halves(lengths: np.ndarray, predicted: np.ndarray, seed: int = 42, resamples: int = RESAMPLES) -> list[Half]:
    """Both ways of choosing on one random half and judging on the other."""
    rng = stream("traffic bins halves", seed, "lengths")
    shuffled, middle = rng.permutation(len(lengths)), len(lengths) // 2
    parts = [shuffled[:middle], shuffled[middle:]]
    found = []
    for fitted, unseen in (parts, parts[::-1]):
        unseen = unseen[np.argsort(lengths[unseen], kind="stable")]
        n = len(unseen)
        counts = np.vstack([np.ones(n, int), rng.multinomial(n, np.full(n, 1 / n), resamples)])
        found.append(Half(lengths[fitted], predicted[fitted], lengths[unseen], predicted[unseen], counts))
    return found


def expected_of_longest(values: np.ndarray, counts: np.ndarray, size: int, replace: bool = False) -> np.ndarray:
    """E[v(L)] of the longest L of `size` members, for each resample.

    Parameters
    ----------
    values : ndarray of float, shape (m,)
        v of the rows, ascending with their lengths.
    counts : ndarray of int, shape (resamples, m)
        How often each row occurs. Members are drawn without replacement, which is the estimate without bias, and with
        it where the rows are fewer than a batch.
    size : int
    replace : bool
        With it always.

    Examples
    --------
    >>> expected_of_longest(np.array([1.0, 2.0, 4.0]), np.array([[1, 1, 1], [0, 0, 1]]), 2)  # (2 + 4 + 4) / 3
    array([3.33333333, 4.        ])
    """
    from scipy.special import gammaln

    if not len(values):
        return np.zeros(len(counts))
    up_to = counts.cumsum(axis=1)
    total = np.where(replace, np.minimum(up_to[:, -1], size - 1), up_to[:, -1])
    number = np.arange(total.max() + 1)
    log_ways = np.where(number < size, -np.inf, gammaln(number + 1) - gammaln(np.maximum(number - size, 0) + 1))
    many, total = total >= size, up_to[:, -1]
    steps = np.flatnonzero(np.diff(values))  # rows behind which a longer one comes
    up_to = up_to[:, steps]
    at_most = np.empty(up_to.shape)
    at_most[many] = np.exp(log_ways[up_to[many]] - log_ways[total[many], None])
    at_most[~many] = (up_to[~many] / np.maximum(total[~many, None], 1)) ** size
    return values[-1] - at_most @ np.diff(values)[steps]


def rules(
    rows: Rows,
    predictor: str = "oracle",
    *,
    k_values: Iterable[int] = (2, 4, 8),
    batch_sizes: Iterable[int] = (8, 32, 128),
    seed: int = 42,
) -> pd.DataFrame:
    """Expected length of a batch under each rule, on the rows that it was cut on and on rows unseen.

    Parameters
    ----------
    rows : Rows
    predictor : str
        A name in `PREDICTORS`; rules see predictions, batches last as long as the truth.
    k_values, batch_sizes : iterable of int
        Numbers of bins K > 1, and batch sizes B.
    seed : int

    Returns
    -------
    pandas.DataFrame
        ``predictor, k_bins, batch_size, rule, rows, in_sample_tokens, held_out_tokens, ci_low, ci_high``: mean length
        of a batch; ``gain, gain_low, gain_high``: throughput over that of one bin, and ``over_equal_mass``,
        ``over_low``, ``over_high``: over that of equal-mass bins, on the same resamples; ``refused``: why there is
        nothing. Bands at 95 %.

    Notes
    -----
    Throughput is B over equation (2) of the Multi-Bin paper, E[t] = sum_i p_i E[max of B | bin i], p_i the share of
    requests in predicted bin i. Three batches of rows a bin are asked for, as in `optimal_bins.optimal`. Where few long
    rows decide, bands cover less than they say.
    """
    import pandas as pd

    predicted = predicted_tokens(rows, predictor, seed)
    parts, found = halves(rows.output_tokens.astype(float), predicted, seed), []
    n = len(predicted)
    for size in [check_integer("batch_sizes", size, 1, 1024) for size in batch_sizes]:
        alone = sum(judged_tokens(half, np.zeros(0), size) for half in parts) / 2 if n >= 2 * size else None
        for k_bins in [check_integer("k_values", k, 2, 64) for k in k_values]:
            place = {"predictor": predictor, "k_bins": k_bins, "batch_size": size}
            wanted = optimal_bins.BATCHES_A_BIN * size * k_bins
            same = None
            for rule in RULES:
                row = place | {"rule": rule, "rows": n}
                if n < wanted:
                    found.append(row | {"refused": f"{n} rows, {wanted} wanted"})
                    continue
                try:
                    inside = _in_sample(rows.output_tokens, predicted, rule, k_bins, size)
                    judged = (
                        sum(judged_tokens(h, _edges(h.fitted_predicted, rule, k_bins, size, 2), size) for h in parts)
                        / 2
                    )
                except InputError as problem:
                    found.append(row | {"refused": str(problem)})
                    continue
                same = judged if rule == "equal_mass" else same
                row |= {"in_sample_tokens": inside} | band(judged, "held_out_tokens", "ci_low", "ci_high")
                row |= band(alone / judged, "gain", "gain_low", "gain_high")
                row |= band(same / judged, "over_equal_mass", "over_low", "over_high")
                found.append(row | {"refused": ""})
    return pd.DataFrame(found)


def _edges(predicted: np.ndarray, rule: str, k_bins: int, size: int, halved: int = 1) -> np.ndarray:
    """Edges on predictions; on a half, half as many rows a bin are asked for."""
    if rule != "optimal":
        return bins.edges(rule, predicted, k_bins, size)
    values, counts = optimal_bins.distinct(predicted)
    sizes = np.full(k_bins, float(size))
    return optimal_bins.best_cut(values, counts, sizes, optimal_bins.BATCHES_A_BIN / halved)[0]


def _in_sample(lengths: np.ndarray, predicted: np.ndarray, rule: str, k_bins: int, size: int) -> float:
    order = np.argsort(lengths, kind="stable")
    whole = Half(lengths, predicted, lengths[order].astype(float), predicted[order], np.ones((1, len(order)), int))
    return float(judged_tokens(whole, _edges(predicted, rule, k_bins, size), size)[0])


def judged_tokens(half: Half, edges: np.ndarray, size: int) -> np.ndarray:
    """E[t] of each resample of the unseen rows, tokens."""
    bin_of = np.searchsorted(edges, half.unseen_predicted, side="right")
    total = 0.0
    for i in np.unique(bin_of):
        mine = bin_of == i
        share = half.counts[:, mine].sum(axis=1) / half.counts.sum(axis=1)
        total = total + share * expected_of_longest(half.unseen[mine], half.counts[:, mine], size)
    return total


def band(values: np.ndarray, name: str, low: str, high: str) -> dict[str, float]:
    """The estimate, resample 0, and the resamples' central 95 % around it: their mean need not be the estimate."""
    around = np.quantile(values[1:] - values[1:].mean(), [0.025, 0.975]) + values[0]
    return {name: float(values[0]), low: float(around[0]), high: float(around[1])}


def condition(batch_sizes: Iterable[int] = (8, 32, 128, 512), points: int = 4000) -> pd.DataFrame:
    """The large-batch condition p_i = f(l_i) (l_{i+1} - l_i) against the exact programme, as batches grow; 4 bins.

    Parameters
    ----------
    batch_sizes : iterable of int
    points : int
        Quantiles that stand for each law in the programme.

    Returns
    -------
    pandas.DataFrame
        ``law, batch_size, largest_gap, special_case_gap``: the largest relative distance between an edge of the
        condition and the programme's; and from Lemma 4.1 or A.1, where the law is theirs. Deterministic.

    Examples
    --------
    >>> found = condition([8, 128], points=1000)
    >>> bool((found["special_case_gap"].dropna() < 1e-6).all())
    True
    """
    import pandas as pd
    from scipy import stats

    laws = {"uniform": stats.uniform(1, 19), "exponential": stats.expon(scale=10)}
    laws |= {"beta": stats.beta(2, 3, 0, 500), "log-normal": stats.lognorm(1.0, scale=150)}
    found = []
    for law, size in _pairs(laws, batch_sizes):
        bounded = np.isfinite(laws[law].support()[1])
        edges = large_batches.large_batch_edges(laws[law], 4, None if bounded else size)
        special = {"uniform": np.linspace(1, 20, 5)[1:-1], "exponential": bins.lemma_a1(10.0, 4, size)}.get(law)
        values = laws[law].ppf((np.arange(points) + 0.5) / points)
        best, _ = optimal_bins.best_cut(values, np.ones(points), np.full(4, float(size)), 0.0)
        gap = np.nan if special is None else np.abs(special / edges - 1).max()
        found.append(
            {"law": law, "batch_size": size}
            | {"largest_gap": float(np.abs(best / edges - 1).max()), "special_case_gap": float(gap)}
        )
    return pd.DataFrame(found)


def _pairs(laws: Mapping[str, Any], batch_sizes: Iterable[int]) -> Iterator[tuple[str, int]]:
    sizes = [check_integer("batch_sizes", size, 2, 1024) for size in batch_sizes]
    return ((law, size) for law in laws for size in sizes)
