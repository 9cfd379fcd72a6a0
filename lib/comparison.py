"""Two settings, or many: is a difference in instability more than the seeds?"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from lib.resampling import (
    Statistic,
    half_squares,
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
    first, second : statistics of the two groups (``lib.resampling``)
    n_runs : number of runs of each
    paired : draw the same runs in both groups. Only where run s of one and run s of the other
        share what the seed decides (initialisation, data order), in the same order; it helps if
        the two then go together, and does no harm if not.

    Returns
    -------
    ``p`` is twice the smaller share of resamples on either side of 0, at least 2/(B + 1): a
    rough guide below ten runs, no more.
    """
    if paired and n_runs[0] != n_runs[1]:
        raise ValueError(f"n_runs = {n_runs}; paired groups have the same runs")
    draws = [run_weights(n_runs[0]), run_weights(n_runs[1], seed=0 if paired else 1)]
    value = float((second(np.ones((1, n_runs[1]))) - first(np.ones((1, n_runs[0]))))[0])
    resampled = second(draws[1]) - first(draws[0])
    low, high = percentile_interval(resampled, level, n_runs=min(n_runs))
    resampled = resampled[~np.isnan(resampled)]
    side = min((resampled <= 0).sum(), (resampled >= 0).sum())
    p = min(1.0, 2 * (side + 1) / (len(resampled) + 1))
    return Comparison(value, float(low), float(high), float(p), tuple(n_runs))


def paired_scores(
    first: np.ndarray, second: np.ndarray, *, level: float = 0.95
) -> tuple[Comparison, float]:
    """Mean difference of the scores of two settings with shared seeds, and their correlation.

    The interval is Student's t over the differences, p the exact sign-flip permutation test (all
    2^S flips up to S = 13, else 10,000 random ones). Sharing seeds makes the interval narrower if
    and only if the correlation over seeds, returned beside it, is positive.
    """
    first, second = (np.asarray(scores, float) for scores in (first, second))
    if first.shape != second.shape or first.ndim != 1 or len(first) < 3:
        raise ValueError(
            f"scores have shapes {first.shape} and {second.shape}; expected (S,) twice, S ≥ 3, "
            "the same seeds in the same order"
        )
    apart = second - first
    reach = stats.t.ppf((1 + level) / 2, len(apart) - 1) * stats.sem(apart)
    test = stats.permutation_test(
        (apart,), np.mean, permutation_type="samples", n_resamples=10_000, rng=0
    )
    constant = np.ptp(first) == 0 or np.ptp(second) == 0
    correlation = float("nan") if constant else float(np.corrcoef(first, second)[0, 1])
    mean = float(apart.mean())
    found = Comparison(mean, mean - reach, mean + reach, float(test.pvalue), (len(apart),) * 2)
    return found, correlation


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
    found = difference(log_sd(kernels[0]), log_sd(kernels[1]), sizes, level=level)
    test = stats.levene(*scores, center="median")
    value, low, high = map(float, np.exp(found[:3]))
    return Comparison(value, low, high, float(test.pvalue), sizes)


def adjust(p: np.ndarray, method: str = "holm") -> np.ndarray:
    """p-values of many comparisons, adjusted: ``holm`` (family-wise) or ``benjamini-hochberg``
    (false discovery rate). Shape as given; statsmodels does the work.
    """
    from statsmodels.stats.multitest import multipletests

    names = {"holm": "holm", "benjamini-hochberg": "fdr_bh"}
    if method not in names:
        raise ValueError(f"method = {method!r} is unknown; valid: {', '.join(names)}")
    p = np.asarray(p, float)
    return multipletests(p.ravel(), method=names[method])[1].reshape(p.shape)


def every_two(groups: dict[str, Any], compare: Callable[[Any, Any], Comparison]) -> pd.DataFrame:
    """``compare`` of every two groups: a row each (``from``, ``to``), with Holm's adjusted p."""
    pairs = list(itertools.combinations(groups, 2))
    rows = [compare(groups[a], groups[b]) for a, b in pairs]
    index = pd.MultiIndex.from_tuples(pairs, names=["from", "to"]) if pairs else None
    table = pd.DataFrame(rows, index=index, columns=Comparison._fields)
    return table.assign(adjusted_p=adjust(table["p"].to_numpy(float)) if pairs else [])
