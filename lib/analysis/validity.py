"""Is a measure valid? Whether measures of one thing agree, and whether they show what is known.

The two questions of Du & Nguyen (2023): *convergent* validity, agreement between measures of one
concept; *concurrent* validity, agreement with differences that are known otherwise. Each procedure
of their released notebook is here as published, beside one whose intervals resample runs.

Arrays: S runs, L layers; distances are (L, S, S), symmetric, of one measure.
"""

import itertools
from collections.abc import Hashable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from lib.measures import intervals
from lib.measures.comparison import Comparison, Correlation, adjust, jackknife_difference
from lib.measures.intervals import (
    ENUMERATED,
    N_PERMUTATIONS,
    Interval,
    pair_means,
    permutation_p,
)
from lib.measures.summary import STUDIED


def _check_layers(name: str, distances: np.ndarray) -> np.ndarray:
    distances = np.asarray(distances, float)
    if distances.ndim != 3 or distances.shape[1] != distances.shape[2]:
        raise ValueError(f"{name} has shape {distances.shape}; expected (L, S, S)")
    return distances


def _rowwise_pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(B,) Pearson's r of each row of a with that of b, both (B, L); NaN where one is constant."""
    a, b = (rows - rows.mean(1, keepdims=True) for rows in (a, b))
    scale = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return np.divide((a * b).sum(1), scale, out=np.full(len(a), np.nan), where=scale > 1e-12)


def layer_agreement(
    a: np.ndarray, b: np.ndarray, *, steps: bool = False, level: float = 0.95
) -> Interval:
    """Pearson's r over layers of two measures, each the mean distance of a layer's pairs.

    The value is the published one (Du & Nguyen, nb 6); the interval resamples runs, for layers are
    no sample of anything. ``steps``: of the changes from layer to layer instead, which a growth
    with depth that both measures share does not raise.

    Parameters
    ----------
    a, b : (L, S, S) of the same runs and layers, L ≥ 3 (``steps``: 4)
    """
    a, b = _check_layers("a", a), _check_layers("b", b)
    if a.shape != b.shape or len(a) < 3 + steps:
        raise ValueError(
            f"distances have shapes {a.shape} and {b.shape}; expected the same, of at least "
            f"{3 + steps} layers"
        )

    def statistic(weights: np.ndarray) -> np.ndarray:
        curves = [pair_means(distances, weights) for distances in (a, b)]
        if steps:
            curves = [np.diff(curve, axis=1) for curve in curves]
        return _rowwise_pearson(*curves)

    return intervals.interval(statistic, a.shape[1], level=level, bounds=(-1.0, 1.0))


def pair_agreement(a: np.ndarray, b: np.ndarray, *, level: float = 0.95) -> Correlation:
    """Do two measures find the same pairs of runs far apart? Spearman's ρ over pairs.

    Unlike a correlation over layers it does not come of a common trend. The interval resamples
    runs (``intervals.pair_correlation``). ``p`` is that of the permutation test of Mantel (1967,
    *Cancer Research* 27, 209): which run of one matrix is which of the other is permuted, since
    pairs that share a run are not independent and cannot be.

    Parameters
    ----------
    a, b : (S, S) distances of the same runs, S ≥ 5
    """
    upper = np.triu_indices(len(a), 1)
    first, second = (stats.rankdata(np.asarray(one, float)[upper]) for one in (a, b))
    if min(np.ptp(first), np.ptp(second)) == 0:
        return Correlation(*[float("nan")] * 4)
    agreement = intervals.pair_correlation(a, b, level=level)
    if len(a) < intervals.MIN_RESAMPLED:
        return Correlation(*agreement[:3], float("nan"))
    square = np.zeros((len(a), len(a)))
    square[upper] = second - second.mean()
    square += square.T
    order, complete = intervals.orders(len(a))
    first = first - first.mean()
    drawn = square[order[:, upper[0]], order[:, upper[1]]] @ first
    p = permutation_p(drawn, square[upper] @ first, complete=complete)
    return Correlation(*agreement[:3], float(p))


def pair_agreements(
    groups: Mapping[Hashable, Mapping[str, np.ndarray]], *, level: float = 0.95
) -> pd.DataFrame:
    """``pair_agreement`` of every two measures of every group: a row each.

    ``group, a, b, value, low, high, p``, and ``adjusted``, Holm's p over the whole table.

    Parameters
    ----------
    groups : by any name, distances (S, S) by measure
    """
    rows = [
        (group, a, b, *pair_agreement(pairs[a], pairs[b], level=level))
        for group, pairs in groups.items()
        for a, b in itertools.combinations(pairs, 2)
    ]
    table = pd.DataFrame(rows, columns=["group", "a", "b", *Correlation._fields])
    return table.assign(adjusted=adjust(table["p"].to_numpy()))


def depth_trend(distances: np.ndarray, *, level: float = 0.95) -> Interval:
    """Spearman's rank correlation of a measure with the layer's number; intervals resample runs.

    1: every layer is less stable than the one below it (Du & Nguyen's first experiment, for which
    their notebook computes no number).
    """
    distances = _check_layers("distances", distances)
    depth = np.arange(len(distances), dtype=float)

    def statistic(weights: np.ndarray) -> np.ndarray:
        ranks = stats.rankdata(pair_means(distances, weights), axis=1)
        return _rowwise_pearson(ranks, np.broadcast_to(depth, ranks.shape))

    return intervals.interval(statistic, distances.shape[1], level=level, bounds=(-1.0, 1.0))


class Separation(NamedTuple):
    """Two kinds of runs by one measure: mean distance among each, and failed minus successful."""

    failed: float
    successful: float
    difference: Comparison


def separation(distances: np.ndarray, failed: np.ndarray, *, level: float = 0.95) -> Separation:
    """Are failed runs farther apart than successful ones, or closer together?

    Du & Nguyen compare the two means by eye (nb 9). Here each run of a kind is left out in turn
    (``comparison.jackknife_difference``). Pairs of a failed and a successful run are in neither
    mean, as published.

    Simulated (``data/benchmarks/differences.csv``), with two clusters far apart, of equal spread,
    it rejects 2 to 6 % at 5 %. Permuting which runs failed asks whether the two kinds are one, and
    rejects 0 to 3 %, or 13 to 34 % if a few runs lie far out and the kinds are of equal size, and
    never with 5 runs against 13. If one cluster is 1.5 times as wide, in 3 and in 20 dimensions,
    the jackknife sees that 12 and 81 % of the time with 5 against 13, 80 and 100 % with 20 each,
    and with runs that lie far out 4 and 7 %, 31 and 42 %.

    Parameters
    ----------
    distances : (S, S) of one measure
    failed : (S,) booleans; at least two runs of each kind, and three for an interval
    """
    distances, failed = np.asarray(distances, float), np.asarray(failed, bool)
    if failed.shape != (len(distances),) or min(failed.sum(), (~failed).sum()) < 2:
        raise ValueError(
            f"failed has shape {failed.shape} and {failed.sum()} failed runs; expected "
            f"({len(distances)},) with at least two of each kind"
        )
    rows = [np.flatnonzero(failed), np.flatnonzero(~failed)]
    parts = [partial(pair_means, distances[np.ix_(part, part)]) for part in rows]
    sizes = len(rows[1]), len(rows[0])
    gap = jackknife_difference(parts[1], parts[0], sizes, level=level)
    means = [float(part(np.ones((1, len(row))))[0]) for part, row in zip(parts, rows, strict=True)]
    return Separation(*means, gap)


def separations(
    layers: Mapping[str, np.ndarray], failed: np.ndarray, *, level: float = 0.95
) -> pd.DataFrame:
    """``separation`` by every measure in every layer: a row each.

    ``measure, layers, failed, successful, value, low, high, p``: the two mean distances, and failed
    minus successful with its interval.

    Parameters
    ----------
    layers : by measure, distances (L, S, S)
    failed : (S,) booleans
    """
    rows = []
    for measure, stack in layers.items():
        for number, distances in enumerate(stack, start=1):
            kinds = separation(distances, failed, level=level)
            rows.append((measure, number, kinds.failed, kinds.successful, *kinds.difference[:4]))
    columns = ["measure", "layers", "failed", "successful", "value", "low", "high", "p"]
    return pd.DataFrame(rows, columns=columns)


class Between(NamedTuple):
    """Mean distance within two settings and between them, and p of their being one."""

    within: float
    between: float
    p: float


def between_settings(distances: np.ndarray, second: np.ndarray) -> Between:
    """Are runs of two settings farther from each other than runs of one?

    ``p`` is one-sided, of permuting which run is of which setting: pairs share runs, so the runs
    are what can be exchanged. All ways are gone through where there are ``ENUMERATED`` or fewer,
    else so many at random. The settings must not share seeds: two runs of one seed may be closer
    than two of one setting.

    Parameters
    ----------
    distances : (S, S) of all runs
    second : (S,) booleans, the runs of the second setting; at least two of each
    """
    second, distances = np.asarray(second, bool), np.asarray(distances, float)
    if second.shape != (len(distances),) or min(second.sum(), (~second).sum()) < 2:
        raise ValueError(
            f"second has shape {second.shape} and {second.sum()} runs; expected "
            f"({len(distances)},) with at least two of each setting"
        )
    apart = np.where(np.eye(len(distances), dtype=bool), 0.0, distances)
    kinds = np.flatnonzero(~second), np.flatnonzero(second)

    def mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return apart[a[..., :, None], b[..., None, :]].mean((-1, -2))

    def means(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = [mean(kind, kind) * kind.shape[-1] / (kind.shape[-1] - 1) for kind in (a, b)]
        return sum(own) / 2, mean(a, b)

    def gap(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return np.subtract(*means(a, b)[::-1]).round(12)  # equal within rounding counts as reached

    how = {"n_resamples": ENUMERATED, "batch": 10_000, "alternative": "greater", "rng": 0}
    p = stats.permutation_test(kinds, gap, vectorized=True, **how).pvalue
    return Between(*map(float, (*means(*kinds), p)))


def rises_by_chance(spreads: np.ndarray, n_runs: int, *, seed: int = 0) -> np.ndarray:
    """(9,999,) in how many of M models a *valid* SD rises at every dose, by its sampling error.

    Scores are normal, drawn anew at each dose (of one noise at all doses, an SD rises more often),
    and the true SD of a dose is the root mean square over models.

    Parameters
    ----------
    spreads : (M, K) SD at each dose, of n_runs scores each
    """
    chi = np.random.default_rng(seed).chisquare(n_runs - 1, (N_PERMUTATIONS, *np.shape(spreads)))
    return (np.diff(np.square(spreads).mean(0) * chi, axis=2) > 0).all(2).sum(1)


def top_layer(table: pd.DataFrame) -> pd.DataFrame:
    """Of a table of ``lib.analysis.perturbations``, the rows of studied measures at the last layer
    of each job, and those of measures without layers, whose layer is negative.
    """
    top = table["layer"] == table.groupby("job")["layer"].transform("max")
    return table[(top | (table["layer"] < 0)) & table["measure"].isin(STUDIED)]
