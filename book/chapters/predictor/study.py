"""How well lengths must be predicted before bins carry more load within a deadline than the best without bins.

Reads `executions` for the measured law. A predictor's quality is what whoever has a log can compute: Spearman's
correlation of its predictions with the lengths that came, and how many of the longest it finds. What competes is picked
on requests of other seeds than those it is judged on: batch size and order of each, edges too of bins. Steady-state:
requests are scored by arrival, behind a warm-up and with arrivals going on (`capacity`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from book.chapters.continuous.executions import PRESET
from book.kit import arms
from book.kit.bins.phase_bins import joint_optimum
from simlib.checks import check_each, check_frame, check_integer, check_number
from simlib.latency import presets
from simlib.planning.carried import capacity
from simlib.policies.batch_size import Rules
from simlib.policies.dynamic import MultiBinDynamic
from simlib.requests import predictors, workload
from simlib.requests.table import RequestTable
from simlib.stats import intervals
from simlib.stats.estimates import as_row, ratio
from simlib.stats.replications import replicate

if TYPE_CHECKING:
    import pandas as pd


RANKS = (0.0, 0.25, 0.5, 0.65, 0.8, 0.9, 1.0)
GPUS, K_BINS = (1, 2, 8), (2, 4)
DEADLINES_S = (22.4, 35.3)  # of deadline_capacity and of which_scheduler
SIZES = (8, 10, 12, 16, 24, 32)  # batch sizes that are tried
PICKED, PICKED_SEED = 3, 10_000  # replications to pick on, and what is added to the seed: none of them is judged
KNOWN, KNOWN_SEED = 4000, 100_000  # requests that edges are cut for, none of which is served
NONE, SHORTEST = "none", "shortest_predicted_first"
CELL, PLACE, SCALES = ["gpus", "deadline_s", "predictor"], ["gpus", "deadline_s", "k_bins"], ("rank", "found")


@dataclass(frozen=True, slots=True)
class Served:
    """Requests of the original's recipe with a predictor's predictions: a function for `capacity.Search`.

    Examples
    --------
    >>> table = Served(predictors.Oracle())(5, 1)
    >>> bool((table.predicted_output_tokens == table.output_tokens).all())
    True
    """

    predictor: Any

    def __call__(self, requests: int, seed: int) -> RequestTable:
        """So many requests of a seed; all predictors face the same ones."""
        table = workload.original(requests, seed)
        return predictors.predict(table, self.predictor, family="predictor", replication=seed)

    def quality(self, requests: int, seed: int) -> dict[str, float]:
        """``rank``, Spearman's correlation of predicted and true lengths; ``found``, as `found_share` has it."""
        from scipy.stats import spearmanr

        table = self(requests, seed)
        both = table.predicted_output_tokens, table.output_tokens
        return {"rank": float(spearmanr(*both).statistic), "found": found_share(*both)}


def found_share(predicted: np.ndarray, lengths: np.ndarray, tail: float = 0.1) -> float:
    """Of the longest tenth of the requests the share that is in the longest tenth of the predictions.

    Examples
    --------
    >>> found_share(np.arange(20), np.arange(20)), found_share(-np.arange(20), np.arange(20))
    (1.0, 0.0)
    """
    last = max(1, round(tail * len(lengths)))
    longest, meant = (set(np.argsort(values, kind="stable")[-last:].tolist()) for values in (lengths, predicted))
    return len(longest & meant) / last


def given(ranks: Iterable[float] = RANKS, seed: int = 42) -> dict[str, Any]:
    """Predictors by name: scores of given rank correlations, and three that are not made to have one.

    The latter: the original system's, which knows the prompt only; the Multi-Bin paper's, a classifier of eight bins
    with the errors that were measured; and log-normal errors of sigma 0.5.
    """
    ranks = check_each("ranks", ranks, lambda rank: check_number("ranks", rank, 0.0, 1.0))
    lengths = workload.original(KNOWN, seed + KNOWN_SEED).output_tokens
    inner = np.quantile(lengths, np.arange(1, 8) / 8).astype(int)
    bounds = [1, *inner.tolist(), int(lengths.max()) + 1]
    return {f"rank {rank:g}": predictors.LatentScore(rank) for rank in ranks} | {
        "prompt only": predictors.OriginalFormula(),
        "BERT, 8 bins": predictors.Confusion(predictors.measured_confusion(8), bounds),
        "noise 0.5": predictors.MultiplicativeNoise(0.5),
    }


def blind(d_sla: float, model: Any) -> arms.Policies:
    """Static batches and dynamic batching, which predict nothing: what may be picked, by what a table calls it."""
    return arms.static(_sizes(model)) | arms.dynamic(d_sla, _sizes(model))


def predicting(
    served: Served, d_sla: float, late_share: float, model: Any, k_bins: Iterable[int] = K_BINS, seed: int = 42
) -> dict[str, arms.Policies]:
    """What may be picked with predictions, by arm and by what a table calls it.

    Shortest predicted first, with as many lines as there are bins; and for each K bins of equal mass, and those that
    are cut together with their batch sizes (`phase_bins.joint_optimum`), which take nothing of the deadline for
    waiting. Bins are served oldest head first.
    """
    known, most = served(KNOWN, seed + KNOWN_SEED), int(model.measured.batch_size[1])
    ageing_s, sizes = arms.ageing_s(known.output_tokens, d_sla), _sizes(model)
    found = {SHORTEST: arms.shortest(ageing_s, k_bins, sizes, "{} lines, {}")}
    for k in k_bins:
        own = joint_optimum(known, k, model, d_sla, quantile=1 - late_share, max_batch=most)
        caps, rules = own.batch_sizes.tolist(), Rules(b_max=most)
        joint = MultiBinDynamic(len(caps), d_sla, "oldest_head", own.edges.tolist(), rules, caps)
        same = arms.bins(d_sla, [k], sizes, "equal mass, {1}", "oldest_head")
        found[f"K = {k}"] = same | {"own sizes, " + "/".join(map(str, caps)): joint}
    return found


def _sizes(model: Any) -> list[int]:
    return [size for size in SIZES if size <= model.measured.batch_size[1]]


def roots_of(
    requests: int,
    *,
    ranks: Iterable[float] = RANKS,
    gpus: Iterable[int] = GPUS,
    deadlines_s: Iterable[float] = DEADLINES_S,
    k_bins: Iterable[int] = K_BINS,
    late_share: float = 0.05,
    seed: int = 42,
    replications: int = 20,
    workers: int = 1,
) -> pd.DataFrame:
    """The largest rate of what was picked of each arm, in each replication, on the same requests.

    Parameters
    ----------
    requests : int
        In a run; as many as `capacity.Search` asks for.
    ranks, gpus, deadlines_s, k_bins : iterable
        As for `given`; numbers of GPUs, end-to-end deadlines in seconds, numbers of bins.
    late_share : float
        Share of late requests that is allowed, in (0, 1).

    Returns
    -------
    pandas.DataFrame
        One row a replication and arm: ``gpus, deadline_s, predictor, rank, found, arm, policy, picked_rps, replication,
        capacity_rps``; `rank` and `found` as `Served.quality` measures them, `picked_rps` the geometric mean on the
        requests that were picked on.

    Raises
    ------
    InputError
        If an argument is bad, or a deadline is met at any rate, or missed at any.
    """
    import pandas as pd

    gpus = check_each("gpus", gpus, lambda count: check_integer("gpus", count, 1))
    deadlines_s = check_each("deadlines_s", deadlines_s, lambda d: check_number("deadlines_s", d, 0.0, open_low=True))
    k_bins = check_each("k_bins", k_bins, lambda k: check_integer("k_bins", k, 2))
    model, runs = presets.load(PRESET), {"workers": workers, "progress": False}
    predictors_of = {name: Served(predictor) for name, predictor in given(ranks, seed).items()}
    qualities = {name: served.quality(20 * KNOWN, seed) for name, served in predictors_of.items()}
    frames = []
    for d_sla in deadlines_s:
        tried = {name: predicting(served, d_sla, late_share, model, k_bins, seed)
                 for name, served in predictors_of.items()}  # fmt: skip
        for count in gpus:
            asked = (model, count, d_sla, late_share, requests)
            without = _judged(
                {NONE: blind(d_sla, model)}, (Served(predictors.Oracle()), *asked), replications, seed, runs
            )
            for name, served in predictors_of.items():
                found = _judged(tried[name], (served, *asked), replications, seed, runs)
                place = dict(zip(CELL, (count, d_sla, name), strict=True)) | qualities[name]
                frames.append(pd.DataFrame([place | row for row in (*without, *found)]))
    return pd.concat(frames, ignore_index=True)


def _judged(
    tried: Mapping[str, arms.Policies], asked: tuple, replications: int, seed: int, runs: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Of each arm what carries most in the mean on other requests, and its root in each replication."""
    rows = []
    for arm, policies in tried.items():
        policy, picked_rps = arms.picked(
            capacity.Search(policies, *asked), min(PICKED, replications), seed=seed + PICKED_SEED, **runs
        )
        roots = replicate(capacity.Search({arm: policies[policy]}, *asked), replications, seed=seed, **runs)[arm]
        row = {"arm": arm, "policy": policy, "picked_rps": picked_rps}
        rows += [row | {"replication": number, "capacity_rps": root} for number, root in enumerate(roots)]
    return rows


def ratios_of(roots: pd.DataFrame) -> pd.DataFrame:
    """Paired ratios of bins over the best without, one row a cell and K; ``p_holm`` over the whole table.

    The best without bins is what carried more of the requests that were picked on: what does without predictions
    (`NONE`) or shortest predicted first with the same ones. ``over, over_policy`` say which, ``over_rps`` what it
    carries.
    """
    import pandas as pd

    check_frame("roots", roots, (*CELL, "rank", "found", "arm", "policy", "picked_rps", "replication", "capacity_rps"))
    rows = []
    for key, cell in roots.groupby(CELL, sort=False):
        arms = {arm: own.set_index("replication") for arm, own in cell.groupby("arm", sort=False)}
        best = max((NONE, SHORTEST), key=lambda arm: arms[arm]["picked_rps"].iloc[0])
        for arm in arms.keys() - {NONE, SHORTEST}:
            pair = intervals.paired_difference(*(np.log(arms[which]["capacity_rps"]) for which in (arm, best)))
            rows.append(
                dict(zip(CELL, key, strict=True))
                | {"rank": cell["rank"].iloc[0], "found": cell["found"].iloc[0]}
                | {"k_bins": int(arm.removeprefix("K = "))}
                | {"policy": arms[arm]["policy"].iloc[0], "over": best, "over_policy": arms[best]["policy"].iloc[0]}
                | {"capacity_rps": arms[arm]["capacity_rps"].mean(), "over_rps": arms[best]["capacity_rps"].mean()}
                | as_row(ratio(pair), "ratio")
                | {"p_holm": pair.p_value, "replications": pair.replications}
            )
    table = pd.DataFrame(rows).sort_values([*CELL[:2], "k_bins", "rank"], ignore_index=True)
    return table.assign(p_holm=intervals.holm(table["p_holm"]))


def break_even(ratios: pd.DataFrame) -> pd.DataFrame:
    """From which quality of prediction on bins carry more, one row a number of GPUs, deadline and K.

    Returns
    -------
    pandas.DataFrame
        ``gpus, deadline_s, k_bins``; ``rank, rank_low, rank_high, found, found_low, found_high``: where the ratio
        crosses 1 for the last time, by straight lines between the scores of given rank; `_low` where the upper end of
        its interval does, `_high` the lower end. The least quality where it is above 1 from the start, missing where it
        is still below at the last.
    """
    import pandas as pd

    rows = []
    for key, cell in scores(ratios).groupby(PLACE, sort=False):
        crossings = {
            scale + end: last_crossing(cell[scale].to_numpy(), cell[which].to_numpy())
            for scale in SCALES
            for end, which in (("", "ratio"), ("_low", "ci_high"), ("_high", "ci_low"))
        }
        rows.append(dict(zip(PLACE, key, strict=True)) | crossings)
    return pd.DataFrame(rows)


def scores(ratios: pd.DataFrame) -> pd.DataFrame:
    """The rows of scores of given rank correlation."""
    return ratios[ratios["predictor"].str.startswith("rank ")]


def carried_over(ratios: pd.DataFrame) -> pd.DataFrame:
    """Whether a scale tells what another predictor is worth: its ratio beside that of scores of the same quality.

    Returns
    -------
    pandas.DataFrame
        ``gpus, deadline_s, k_bins, predictor, rank, found, ratio``; ``by_rank, by_found``: the ratio of scores with the
        same rank correlation, and of those that find as many of the longest, by straight lines between scores.
    """
    import pandas as pd

    others = ratios[~ratios["predictor"].str.startswith("rank ")]
    known = dict(list(scores(ratios).groupby(PLACE, sort=False)))
    rows = [
        {name: row[name] for name in (*PLACE, "predictor", *SCALES, "ratio")}
        | {f"by_{scale}": float(np.interp(row[scale], cell[scale], cell["ratio"])) for scale in SCALES}
        for _, row in others.iterrows()
        for cell in [known[tuple(row[PLACE])]]
    ]
    return pd.DataFrame(rows)


def last_crossing(x: np.ndarray, y: np.ndarray, level: float = 1.0) -> float:
    """Where y rises through a level for the last time, by straight lines; the first x if always above, NaN if never.

    Examples
    --------
    >>> round(last_crossing(np.array([0.0, 0.5, 1.0]), np.array([0.8, 0.9, 1.1])), 6)
    0.75
    """
    below = np.flatnonzero(y <= level)
    if not len(below):
        return float(x[0])
    last = below[-1]
    if last == len(x) - 1:
        return math.nan
    return float(np.interp(level, y[last : last + 2], x[last : last + 2]))
