"""Intervals for measures of instability: what S runs can support.

The S(S − 1)/2 pairs of S runs are not independent observations: each run is in S − 1 of them. So
runs are resampled, never pairs, and a run drawn twice is not compared with itself: such a pair has
distance zero by construction and would pull every measure down by about 1/S (the released
notebook of Du & Nguyen counts them).
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

N_RESAMPLES = 2000
#: Below this many runs a bootstrap over runs has too few distinct samples to give an interval.
MIN_RUNS = 3


class Interval(NamedTuple):
    """An estimate with its interval and the number of runs behind it."""

    value: float
    low: float
    high: float
    n_runs: int

    def text(self, digits: int = 3) -> str:
        """``0.103 [0.090, 0.116]``, or the value alone where there is no interval."""
        if np.isnan(self.low):
            return f"{self.value:.{digits}f}"
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def run_weights(n_runs: int, n_resamples: int = N_RESAMPLES, seed: int = 0) -> np.ndarray:
    """(B, S) how often each run is drawn in each of B resamples of S runs with replacement.

    Resamples made of a single run only, which hold no pair, are drawn again.
    """
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n_runs, np.full(n_runs, 1 / n_runs), size=n_resamples)
    while (alone := weights.max(1) == n_runs).any():
        weights[alone] = rng.multinomial(n_runs, np.full(n_runs, 1 / n_runs), size=alone.sum())
    return weights.astype(float)


def pair_means(distances: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(B, …) mean distance over the distinct pairs of each resample.

    Parameters
    ----------
    distances : (…, S, S) symmetric; the diagonal is ignored
    weights : (B, S) from ``run_weights``
    """
    distances = np.where(np.eye(distances.shape[-1], dtype=bool), 0.0, distances)
    total = np.einsum("bi,...ij,bj->b...", weights, distances, weights, optimize=True)
    pairs = weights.sum(1) ** 2 - (weights**2).sum(1)
    return total / pairs.reshape(-1, *[1] * (total.ndim - 1))


def percentile_interval(
    resampled: np.ndarray, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Low and high percentiles over the first axis."""
    tail = (1 - level) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=0)
    return low, high


def instability(distances: np.ndarray, *, level: float = 0.95) -> Interval:
    """Mean distance over the distinct pairs of runs, with an interval from resampling runs.

    Parameters
    ----------
    distances : (…, S, S), symmetric, from any pairwise measure (or agreement: the diagonal is
        ignored). Runs whose distances are NaN throughout are left out, and not counted, if this
        is one matrix.
    level : coverage aimed at by the percentile interval; with few runs it covers less

    Returns
    -------
    ``value, low, high`` (floats, or arrays of the leading shape) and ``n_runs``. Fewer than three
    runs: no interval (NaN).
    """
    distances = np.asarray(distances, float)
    if distances.ndim < 2 or distances.shape[-1] != distances.shape[-2] or distances.shape[-1] < 2:
        raise ValueError(f"distances has shape {distances.shape}; expected (…, S, S) with S ≥ 2")
    if not 0 < level < 1:
        raise ValueError(f"level = {level}; expected a share between 0 and 1, such as 0.95")
    swapped = np.swapaxes(distances, -1, -2)
    if not np.allclose(distances, swapped, rtol=1e-6, atol=1e-9, equal_nan=True):
        raise ValueError(f"distances of shape {distances.shape} is not symmetric")
    if distances.ndim == 2:
        off_diagonal = distances + np.diag(np.full(len(distances), np.nan))
        kept = ~np.isnan(off_diagonal).all(1)
        distances = distances[np.ix_(kept, kept)] if kept.sum() >= 2 else distances
    n_runs = distances.shape[-1]
    upper = np.triu_indices(n_runs, 1)
    value = distances[..., upper[0], upper[1]].mean(-1)
    low = high = np.full_like(value, np.nan)
    if n_runs >= MIN_RUNS:
        low, high = percentile_interval(pair_means(distances, run_weights(n_runs)), level)
    if distances.ndim == 2:
        value, low, high = float(value), float(low), float(high)
    return Interval(value, low, high, n_runs)


def sd_interval(scores: np.ndarray, *, level: float = 0.95, ddof: int = 1) -> Interval:
    """SD of S scores with the chi-square interval, which assumes normal scores.

    s·√((S − 1)/χ²) at both tails. Scores of groups with failed runs are far from normal; the
    number of failed runs belongs beside the interval.
    """
    scores = np.asarray(scores, float)
    if scores.ndim != 1 or len(scores) < 2:
        raise ValueError(f"scores has shape {scores.shape}; expected (S,) with S ≥ 2 runs")
    free = len(scores) - 1
    tail = (1 - level) / 2
    factors = np.sqrt(free / stats.chi2.ppf([1 - tail, tail], free))
    low, high = map(float, scores.std(ddof=1) * factors)
    return Interval(float(scores.std(ddof=ddof)), low, high, len(scores))


def mean_interval(values: np.ndarray, *, level: float = 0.95) -> Interval:
    """Mean over runs with a percentile interval from resampling runs."""
    values = np.asarray(values, float)
    low = high = float("nan")
    if len(values) >= MIN_RUNS:
        weights = run_weights(len(values))
        low, high = map(float, percentile_interval(weights @ values / len(values), level))
    return Interval(float(values.mean()), low, high, len(values))


def pair_correlation(a: np.ndarray, b: np.ndarray, *, level: float = 0.95) -> Interval:
    """Rank correlation of two measures over the pairs of S runs, resampling runs.

    Do pairs that are far apart by one measure tend to be far apart by the other? The ranks are
    those among all distinct pairs; a resample weighs a pair by how often both its runs are drawn
    (self-pairs never). Resamples in which a measure is constant are left out.

    Parameters
    ----------
    a, b : (S, S) symmetric distances of the same runs
    """
    upper = np.triu_indices(len(a), 1)
    ranks = np.stack([stats.rankdata(matrix[upper]) for matrix in (a, b)])
    runs = run_weights(len(a))
    pairs = np.vstack([np.ones((1, len(upper[0]))), runs[:, upper[0]] * runs[:, upper[1]]])
    pairs /= pairs.sum(1, keepdims=True)
    centred = ranks - (pairs @ ranks.T)[:, :, None]
    covariance = np.einsum("bp,bxp,byp->bxy", pairs, centred, centred)
    scale = np.sqrt(covariance[:, 0, 0] * covariance[:, 1, 1])
    defined = scale > 1e-12
    found = np.full(len(scale), np.nan)
    found[defined] = covariance[defined, 0, 1] / scale[defined]
    low, high = percentile_interval(found[1:][defined[1:]], level)
    return Interval(float(found[0]), float(low), float(high), len(a))
