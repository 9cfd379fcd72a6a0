"""Two settings, or many: is a difference in instability more than the seeds?"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from lib.measures.intervals import (
    MIN_RESAMPLED,
    MIN_RUNS,
    Statistic,
    check_level,
    half_squares,
    jackknife_error,
    percentile_interval,
    root_pair_means,
    run_weights,
)


class Comparison(NamedTuple):
    """A difference or ratio with its interval and a two-sided p-value; see the functions."""

    value: float
    low: float
    high: float
    p: float
    n_runs: tuple[int, int]


def difference(
    first: Statistic,
    second: Statistic,
    n_runs: tuple[int, int],
    *,
    paired: bool = False,
    level: float = 0.95,
) -> Comparison:
    """Second minus first of any statistic of run weights, by resampling runs.

    Parameters
    ----------
    first, second : statistics of the two groups (``lib.measures.intervals``)
    n_runs : number of runs of each
    paired : draw the same runs in both groups. Only where run s of one and run s of the other
        share what the seed decides (initialisation, data order), in the same order; it helps if
        the two then go together, and does no harm if not.

    Returns
    -------
    Interval by expanded percentiles; ``p`` is the level at which that interval would end at 0, so
    the two never contradict each other. With few runs neither can be small: of 4,000 resamples of
    five runs none shows p below 0.03. Fewer than five runs in a group: value ± t · SE by leaving
    each out; fewer than three, or an undefined value: NaN.
    """
    if paired and n_runs[0] != n_runs[1]:
        raise ValueError(f"n_runs = {n_runs}; paired groups have the same runs")
    check_level(level)
    sizes, fewest = tuple(n_runs), min(n_runs)
    ones = [np.ones((1, n)) for n in sizes]
    value = float((second(ones[1]) - first(ones[0]))[0])
    if fewest < MIN_RUNS or np.isnan(value):
        return Comparison(value, *(float("nan"),) * 3, sizes)
    if fewest < MIN_RESAMPLED:
        return _by_jackknife(first, second, sizes, value, paired, level)
    draws = [run_weights(sizes[0]), run_weights(sizes[1], seed=0 if paired else 1)]
    resampled = second(draws[1]) - first(draws[0])
    low, high = percentile_interval(resampled, level, n_runs=fewest)
    resampled = resampled[~np.isnan(resampled)]
    side = (min((resampled <= 0).sum(), (resampled >= 0).sum()) + 1) / (len(resampled) + 1)
    # The expanded percentile, solved for the level.
    reach = stats.norm.ppf(min(side, 0.5)) / np.sqrt(fewest / (fewest - 1))
    p = float(2 * stats.t.cdf(reach, fewest - 1))
    return Comparison(value, float(low), float(high), p, sizes)


def _by_jackknife(
    first: Statistic,
    second: Statistic,
    sizes: tuple[int, int],
    value: float,
    paired: bool,
    level: float,
) -> Comparison:
    if paired:
        error = float(jackknife_error(lambda w: second(w) - first(w), sizes[0]))
    else:
        parts = [jackknife_error(first, sizes[0]), jackknife_error(second, sizes[1])]
        error = float(np.hypot(*parts))
    free = min(sizes) - 1
    reach = stats.t.ppf((1 + level) / 2, free) * error
    p = float(2 * stats.t.sf(abs(value) / error, free)) if error > 0 else float(value == 0)
    return Comparison(value, value - reach, value + reach, p, sizes)


def paired_scores(
    first: np.ndarray, second: np.ndarray, *, level: float = 0.95
) -> tuple[Comparison, float]:
    """Mean difference of the scores of two settings with shared seeds, and their correlation.

    The interval is Student's t over the differences, p the exact sign-flip permutation test (all
    2^S flips up to S = 13, else 10,000 random ones; at least 2/2^S). Sharing seeds makes the
    interval narrower if and only if the correlation over seeds, returned beside it, is positive.
    """
    first, second = (np.asarray(scores, float) for scores in (first, second))
    if first.shape != second.shape or first.ndim != 1 or len(first) < MIN_RUNS:
        raise ValueError(
            f"scores have shapes {first.shape} and {second.shape}; expected (S,) twice, S ≥ 3, "
            "the same seeds in the same order"
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("scores are not all finite; leave a diverged run out of both settings")
    check_level(level)
    apart = second - first
    reach = float(stats.t.ppf((1 + level) / 2, len(apart) - 1) * stats.sem(apart))
    test = stats.permutation_test(
        (apart,), np.mean, permutation_type="samples", n_resamples=10_000, rng=0
    )
    constant = np.ptp(first) == 0 or np.ptp(second) == 0
    correlation = float("nan") if constant else float(np.corrcoef(first, second)[0, 1])
    mean = float(apart.mean())
    result = Comparison(mean, mean - reach, mean + reach, float(test.pvalue), (len(apart),) * 2)
    return result, correlation


def spread_ratio(first: np.ndarray, second: np.ndarray, *, level: float = 0.95) -> Comparison:
    """SD of the second scores over that of the first, with the Brown-Forsythe p-value.

    The interval comes from resampling runs of the logarithm of the ratio. Brown-Forsythe is
    Levene's test with medians, which holds up where scores are not normal; ten runs against ten
    need a ratio of about two to be told apart, even if they are.
    """
    scores = [np.asarray(values, float) for values in (first, second)]
    kernels = [half_squares(values) for values in scores]

    def log_sd(kernel: np.ndarray) -> Statistic:
        def statistic(weights: np.ndarray) -> np.ndarray:
            spread = root_pair_means(kernel, weights)
            return np.log(np.where(spread > 0, spread, np.nan))

        return statistic

    sizes = len(scores[0]), len(scores[1])
    log_ratio = difference(log_sd(kernels[0]), log_sd(kernels[1]), sizes, level=level)
    value, low, high = map(float, np.exp(log_ratio[:3]))
    if np.isnan(value):
        return Comparison(value, low, high, float("nan"), sizes)
    test = stats.levene(*scores, center="median")
    return Comparison(value, low, high, float(test.pvalue), sizes)


def adjust(p: np.ndarray, method: str = "holm") -> np.ndarray:
    """p-values of many comparisons, adjusted: ``holm`` (family-wise) or ``benjamini-hochberg``
    (false discovery rate). Shape as given; NaN stays and is not counted; statsmodels does the work.
    """
    from statsmodels.stats.multitest import multipletests

    names = {"holm": "holm", "benjamini-hochberg": "fdr_bh"}
    if method not in names:
        raise ValueError(f"method = {method!r} is unknown; valid: {', '.join(names)}")
    p = np.array(p, float)
    tested = ~np.isnan(p)
    if tested.any():
        p[tested] = multipletests(p[tested], method=names[method])[1]
    return p


def every_two(groups: dict[str, Any], compare: Callable[[Any, Any], Comparison]) -> pd.DataFrame:
    """``compare`` of every two groups: a row each (``from``, ``to``), with Holm's adjusted p."""
    pairs = list(itertools.combinations(groups, 2))
    rows = [compare(groups[a], groups[b]) for a, b in pairs]
    index = pd.MultiIndex.from_tuples(pairs, names=["from", "to"]) if pairs else None
    table = pd.DataFrame(rows, index=index, columns=Comparison._fields)
    return table.assign(adjusted_p=adjust(table["p"].to_numpy(float)))
