"""Intervals for measures of instability: what S runs can support.

The S(S − 1)/2 pairs of S runs are not independent observations: each run is in S − 1 of them. So
runs are resampled, never pairs, and a run drawn twice is not compared with itself: such a pair has
distance zero by construction and would pull every measure down by about 1/S (the released
notebook of Du & Nguyen counts them).

A **statistic** is a function of run weights: it takes (B, S), how often each of S runs counts in
each of B resamples, and gives (B, …). The plain estimate, resamples, leave-one-out values and what
more runs would bring are all the same function at other weights.
"""

import itertools
import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse, stats

Statistic = Callable[[np.ndarray], np.ndarray]

N_RESAMPLES = 4000
N_PERMUTATIONS = 9999
#: Permutation tests go through all ways where there are so many or fewer.
ENUMERATED = 100_000
#: Fewer runs give no interval at all …
MIN_RUNS = 3
#: … and fewer than this are not resampled: intervals from the few distinct samples of three runs
#: cover half of the time (`benchmarks.coverage`). Leaving each out covers better, and is honestly
#: wide.
MIN_RESAMPLED = 5
#: Of more runs than this, products of matrices take most of the time.
MANY_RUNS = 100
METHODS = ("resampling", "percentile", "jackknife")


class Interval(NamedTuple):
    """An estimate with its interval and the number of runs behind it."""

    value: float
    low: float
    high: float
    n_runs: int

    def text(self, digits: int = 3, form: str = "f") -> str:
        """``0.103 [0.090, 0.116]``, or the value alone where there is no interval: so many decimals
        (``form="g"``, and where all are 0, minute or huge: significant digits), and more where the
        ends would look the same by more than rounding errors.
        """
        numbers = [0.0 if abs(x) < 1e-12 else x for x in self[: 1 if np.isnan(self.low) else 3]]
        size = max(map(abs, numbers))
        if form == "f" and (digits > 9 or not 1e-6 <= size < 1e9):
            return self.text(min(digits, 3), "g")
        shown = [f"{number:z.{digits}{form}}" for number in numbers]
        if shown[1:2] == shown[2:] and numbers[-1] - numbers[-2:][0] > 1e-9 * size:
            return self.text(digits + 1, form)
        return shown[0] + f" [{', '.join(shown[1:])}]" * (len(shown) > 1)


def as_array(values: Any, dtype: Any = None) -> np.ndarray:
    """``np.asarray``, and so of torch tensors and lists of them wherever they are: with a gradient,
    on another device, in bfloat16 (as float32).
    """
    if isinstance(values, list | tuple) and hasattr(next(iter(values), None), "detach"):
        values = [as_array(one) for one in values]
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if "bfloat16" in str(values.dtype) else values
    return np.asarray(values, dtype)


@lru_cache(maxsize=4)
def run_weights(
    n_runs: int, n_resamples: int = N_RESAMPLES, seed: int = 0, size: int | None = None
) -> np.ndarray:
    """(B, S) how often each run is drawn when ``size`` (default S) are drawn with replacement.

    Resamples made of a single run only, which hold no pair, are drawn again.
    """
    size = n_runs if size is None else size
    if n_runs < 2 or size < 2:
        raise ValueError(f"n_runs = {n_runs}, size = {size}; resampling needs at least 2 runs of 2")
    weights = _drawn_runs(n_runs, n_resamples, seed, size).astype(float)
    weights.flags.writeable = False  # the same array is handed out again
    return weights


@lru_cache(maxsize=64)
def _drawn_runs(n_runs: int, n_resamples: int, seed: int, size: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    chances = np.full(n_runs, 1 / n_runs)
    weights = rng.multinomial(size, chances, size=n_resamples)
    while (alone := weights.max(1) == size).any():
        weights[alone] = rng.multinomial(size, chances, size=alone.sum())
    return weights.astype(np.min_scalar_type(size))  # of many runs, a small part of the memory


def run_means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(B, …) mean over the runs of each resample of values (S, …)."""
    return np.tensordot(weights, np.asarray(values, float), 1) / weights.sum(1).reshape(
        -1, *[1] * (np.ndim(values) - 1)
    )


def pair_means(distances: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(B, …) mean distance over the distinct pairs of each resample: distances (…, S, S) symmetric,
    whose diagonal is ignored, and weights (B, S) from ``run_weights``.
    """
    distances = np.where(np.eye(distances.shape[-1], dtype=bool), 0.0, distances)
    if distances.ndim == 2 and len(distances) > MANY_RUNS:
        few = len(distances) > 10 * weights[0].sum()  # most are not drawn
        left = sparse.csr_array(weights) if few else weights.astype(distances.dtype)
        total = np.vecdot(left @ distances, weights)
    else:
        total = np.einsum("bi,...ij,bj->b...", weights, distances, weights, optimize=True)
    pairs = weights.sum(1) ** 2 - np.vecdot(weights, weights)
    return total / pairs.reshape(-1, *[1] * (total.ndim - 1))


def share_means(shares: np.ndarray, n: int, weights: np.ndarray) -> np.ndarray:
    """(B,) ``pair_means`` of shares of n examples (S, S).

    Of many runs, it comes from counts: float32 has all whole numbers below 2²⁴, in half the time.
    """
    if len(shares) <= MANY_RUNS or n * weights[0].sum() >= 2**24:
        return pair_means(shares, weights)
    return pair_means(np.rint(n * shares).astype(np.float32), weights) / n


def half_squares(scores: np.ndarray) -> np.ndarray:
    """(S, S) of (x_i − x_j)²/2, whose mean over distinct pairs is the variance (ddof 1)."""
    scores = as_array(scores, float)
    return (scores[:, None] - scores) ** 2 / 2


def weighted_sd(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(B,) ``root_pair_means`` of ``half_squares`` of scores (S,), from their moments."""
    scores = as_array(scores, float)
    scores = scores - scores.mean()
    total, squares = weights.sum(1), weights @ scores**2 * weights.sum(1)
    scatter = squares - (weights @ scores) ** 2
    scatter = np.where(scatter > 1e-13 * squares, scatter, 0)  # the rest is rounding
    return np.sqrt(scatter / (total**2 - np.vecdot(weights, weights)))


def root_pair_means(distances: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """√max(``pair_means``, 0): the SD from ``half_squares``, in the unit of the scores."""
    return np.sqrt(np.clip(pair_means(distances, weights), 0, None))


def percentile_interval(
    resampled: np.ndarray, level: float = 0.95, *, n_runs: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Low and high percentiles over the first axis; resamples where the value is NaN do not count.

    With ``n_runs`` the percentiles are moved outwards so that a mean of few runs gets the width
    that Student's t would give it, Φ(−t √(S/(S − 1))) instead of (1 − level)/2 (Hesterberg 2015,
    "expanded percentile"): the plain ones are too narrow by construction.
    """
    check_level(level)
    tail = (1 - level) / 2
    if n_runs is not None:
        quantile = stats.t.ppf(tail, n_runs - 1) * np.sqrt(n_runs / (n_runs - 1))
        tail = float(stats.norm.cdf(quantile))
    quantiles = np.nanquantile if np.isnan(resampled).any() else np.quantile
    low, high = quantiles(resampled, [tail, 1 - tail], axis=0)
    return low, high


def check_level(level: float) -> None:
    """Refuse a coverage that is not a share, such as 95."""
    if not 0 < level < 1:
        raise ValueError(f"level = {level}; expected a share between 0 and 1, such as 0.95")


def check_scores(scores: np.ndarray) -> np.ndarray:
    """Scores (S,) of S ≥ 2 runs as floats."""
    scores = as_array(scores, float)
    if scores.ndim != 1 or len(scores) < 2:
        raise ValueError(f"scores has shape {scores.shape}; expected (S,) with S ≥ 2 runs")
    return scores


def interval(
    statistic: Statistic,
    n_runs: int,
    *,
    level: float = 0.95,
    method: str = "resampling",
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Interval:
    """A statistic of S runs with an interval.

    Parameters
    ----------
    statistic : (B, S) weights → (B, …) values
    method : ``resampling``: expanded percentiles over resampled runs (jackknife below five);
        ``percentile``: the plain ones; ``jackknife``: value ± t · SE, the standard error from
        leaving each run out
    bounds : what the quantity can be; the interval ends there

    Fewer than three runs: no interval (NaN). Resamples in which the statistic is not defined (NaN)
    do not count.
    """
    check_level(level)
    if method not in METHODS:
        raise ValueError(f"method = {method!r} is unknown; valid: {', '.join(METHODS)}")
    if method == "resampling" and n_runs < MIN_RESAMPLED:
        method = "jackknife"
    value = statistic(np.ones((1, n_runs)))[0]
    low = high = np.full_like(value, np.nan)
    if n_runs >= MIN_RUNS and method == "jackknife":
        reach = stats.t.ppf((1 + level) / 2, n_runs - 1) * jackknife_error(statistic, n_runs)
        low, high = value - reach, value + reach
    elif n_runs >= MIN_RUNS and not np.isnan(value).all():
        resampled = statistic(run_weights(n_runs))
        expanded = n_runs if method == "resampling" else None
        low, high = percentile_interval(resampled, level, n_runs=expanded)
    low, high = np.clip(low, *bounds), np.clip(high, *bounds)
    if np.ndim(value) == 0:
        value, low, high = float(value), float(low), float(high)
    return Interval(value, low, high, n_runs)


def jackknife_error(statistic: Statistic, n_runs: int) -> np.ndarray:
    """Standard error of a statistic of S runs, from leaving each of them out."""
    left_out = statistic(1 - np.eye(n_runs))
    squares = ((left_out - left_out.mean(0)) ** 2).sum(0)
    return np.sqrt((n_runs - 1) / n_runs * squares)


def permutation_p(drawn: np.ndarray, observed: np.ndarray, *, complete: bool = False) -> np.ndarray:
    """p of a permutation test: the one convention of all of them. NaN where nothing is observed.

    Two-sided by the absolute value: how often is the statistic at least as far from 0 as observed?
    (To double the smaller tail makes p several times too small where the statistic is skewed.) What
    is never negative, such as a variance, is thereby tested on the one side that it has. Equal
    within rounding counts as reached.

    Parameters
    ----------
    drawn : (B, …) statistics of the permutations
    observed : (…)
    complete : these are all ways, the observed one among them: p = count/B. Otherwise they are
        drawn at random: p = (count + 1)/(B + 1), which is never 0.
    """
    drawn, observed = np.abs(drawn), np.abs(observed)
    slack = 1e-9 * np.maximum(observed, np.nan_to_num(drawn).max(0))
    count = (drawn >= observed - slack).sum(0)
    p = count / len(drawn) if complete else (count + 1) / (len(drawn) + 1)
    return np.where(np.isnan(observed), np.nan, p)


def orders(n: int) -> tuple[np.ndarray, bool]:
    """(B, n) permutations of n things, and whether they are all there are (``ENUMERATED``)."""
    if math.factorial(n) <= ENUMERATED:
        return np.array(list(itertools.permutations(range(n)))), True
    rng = np.random.default_rng(0)
    return rng.permuted(np.tile(np.arange(n), (N_PERMUTATIONS, 1)), axis=1), False


def instability(
    distances: np.ndarray, *, level: float = 0.95, method: str = "resampling"
) -> Interval:
    """Mean distance over the distinct pairs of runs, with an interval from resampling runs.

    Parameters
    ----------
    distances : (…, S, S), symmetric, from any pairwise measure (or agreement: the diagonal is
        ignored). Runs whose distances are NaN throughout are left out, and not counted.
    level : coverage aimed at; with few runs, or where runs fail or some seeds do far more than
        others, the interval covers less
    method : as in ``interval``

    Returns
    -------
    ``value, low, high`` (floats, or arrays of the leading shape) and ``n_runs`` (an array too where
    some runs are left out). Fewer than three runs: no interval (NaN); below five: a wide one by the
    jackknife. Where no distance is negative, the interval is not either.
    """
    distances = as_array(distances, float)
    if distances.ndim < 2 or distances.shape[-1] != distances.shape[-2] or distances.shape[-1] < 2:
        raise ValueError(f"distances has shape {distances.shape}; expected (…, S, S) with S ≥ 2")
    swapped = np.swapaxes(distances, -1, -2)
    if not np.allclose(distances, swapped, rtol=1e-6, atol=1e-9, equal_nan=True):
        raise ValueError(f"distances of shape {distances.shape} is not symmetric")
    if distances.ndim > 2 and np.isnan(distances).any():
        each = [instability(matrix, level=level, method=method) for matrix in distances]
        return Interval(*(np.array(column) for column in zip(*each, strict=True)))
    if distances.ndim == 2:
        off_diagonal = distances + np.diag(np.full(len(distances), np.nan))
        kept = ~np.isnan(off_diagonal).all(1)
        if kept.sum() < 2:
            return Interval(*(float("nan"),) * 3, int(kept.sum()))
        distances = distances[np.ix_(kept, kept)]
    statistic = partial(pair_means, distances)
    bounds = (0.0 if np.nanmin(distances) >= 0 else -np.inf, np.inf)
    return interval(statistic, distances.shape[-1], level=level, method=method, bounds=bounds)


def sd_interval(scores: np.ndarray, *, level: float = 0.95, method: str = "chi-square") -> Interval:
    """SD of S scores with an interval.

    ``chi-square`` assumes normal scores: s·√((S − 1)/χ²) at both tails. Scores of groups with
    failed runs are far from normal; the number of failed runs belongs beside the interval. Where
    the effects of seeds have heavy tails (Student's t of 3), more runs do not help: intervals of
    95 % cover 87, 81 and 71 % with 5, 10 and 20 (``data/benchmarks/coverage.csv``). The other
    methods are those of ``interval``; they assume nothing and cover less with few runs.
    """
    scores = check_scores(scores)
    if method != "chi-square":
        statistic, bounds = partial(root_pair_means, half_squares(scores)), (0.0, np.inf)
        return interval(statistic, len(scores), level=level, method=method, bounds=bounds)
    check_level(level)
    free, tail, sd = len(scores) - 1, (1 - level) / 2, float(scores.std(ddof=1))
    low, high = sd * np.sqrt(free / stats.chi2.ppf([1 - tail, tail], free))
    return Interval(sd, float(low), float(high), len(scores))


def mean_interval(
    values: np.ndarray, *, level: float = 0.95, method: str = "resampling"
) -> Interval:
    """Mean over runs with an interval from resampling runs."""
    values = as_array(values, float)
    return interval(partial(run_means, values), len(values), level=level, method=method)


def pair_weights(n_runs: int) -> np.ndarray:
    """(1 + B, P) shares of the P pairs of S runs: all alike, then as often as both are drawn."""
    upper = np.triu_indices(n_runs, 1)
    runs = np.vstack([np.ones((1, n_runs)), run_weights(n_runs)])
    pairs = runs[:, upper[0]] * runs[:, upper[1]]
    return pairs / pairs.sum(1, keepdims=True)


def rank_correlation(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(B, H) Spearman's ρ of a and b (H, P), ranks among all P, under weights (B, P) that add up to
    1; NaN where one is constant.
    """
    first, second = (stats.rankdata(one, axis=1).T / one.shape[1] - 0.5 for one in (a, b))
    means = weights @ first, weights @ second
    spread = [weights @ x**2 - m**2 for x, m in zip((first, second), means, strict=True)]
    scale = np.sqrt(np.clip(spread[0] * spread[1], 0, None))
    defined = scale > 1e-12
    covariance = weights @ (first * second) - means[0] * means[1]
    return np.divide(covariance, scale, out=np.full(scale.shape, np.nan), where=defined)


def pair_correlation(a: np.ndarray, b: np.ndarray, *, level: float = 0.95) -> Interval:
    """Rank correlation of two measures over the pairs of S runs, resampling runs.

    Do pairs that are far apart by one measure tend to be far apart by the other? The ranks are
    those among all distinct pairs; a resample weighs a pair by how often both its runs are drawn
    (self-pairs never). Resamples in which a measure is constant are left out, and so are runs
    without distances (NaN) in a or b, (S, S) and symmetric. Fewer than five runs: no interval.
    """
    a, b = as_array(a, float), as_array(b, float)
    if a.shape != b.shape or a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise ValueError(f"distances have shapes {a.shape} and {b.shape}; expected (S, S) twice")
    check_level(level)
    away = np.diag(np.full(len(a), np.nan))
    kept = ~(np.isnan(a + away).all(1) | np.isnan(b + away).all(1))
    a, b = a[np.ix_(kept, kept)], b[np.ix_(kept, kept)]
    if len(a) < MIN_RUNS:
        return Interval(*(float("nan"),) * 3, len(a))
    upper = np.triu_indices(len(a), 1)
    correlations = rank_correlation(a[upper][None], b[upper][None], pair_weights(len(a)))[:, 0]
    low = high = float("nan")
    if len(a) >= MIN_RESAMPLED:
        low, high = percentile_interval(correlations[1:], level, n_runs=len(a))
    return Interval(float(correlations[0]), float(low), float(high), len(a))
