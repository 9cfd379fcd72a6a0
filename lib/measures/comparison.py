"""Two settings, or many: is a difference in instability more than the seeds?"""

import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from lib.measures import sample_size
from lib.measures.intervals import (
    MIN_RESAMPLED,
    MIN_RUNS,
    N_PERMUTATIONS,
    Statistic,
    as_array,
    check_level,
    half_squares,
    jackknife_error,
    orders,
    percentile_interval,
    permutation_p,
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
    five runs none shows p below 0.03. Fewer than five runs in a group: ``jackknife_difference``.

    Simulated (``data/benchmarks/differences.csv``), it rejects 0 to 7 % at 5 % where there is no
    difference, whether runs fail or not. The price is power: with five runs each, of which none
    fails, 1.5 times the noise shows in disagreement 32 % of the time, by the jackknife 53 %.
    """
    by_jackknife = jackknife_difference(first, second, n_runs, paired=paired, level=level)
    sizes, fewest, value = tuple(n_runs), min(n_runs), by_jackknife.value
    if fewest < MIN_RESAMPLED or np.isnan(value):
        return Comparison(*by_jackknife[:5])
    draws = [run_weights(sizes[0]), run_weights(sizes[1], seed=0 if paired else 1)]
    resampled = second(draws[1]) - first(draws[0])
    low, high = percentile_interval(resampled, level, n_runs=fewest)
    resampled = resampled[~np.isnan(resampled)]
    side = (min((resampled <= 0).sum(), (resampled >= 0).sum()) + 1) / (len(resampled) + 1)
    # The expanded percentile, solved for the level.
    reach = stats.norm.ppf(min(side, 0.5)) / np.sqrt(fewest / (fewest - 1))
    p = float(2 * stats.t.cdf(reach, fewest - 1))
    return Comparison(value, float(low), float(high), p, sizes)


class Difference(NamedTuple):
    """A ``Comparison``, and what more or fewer runs would see; see ``jackknife_difference``."""

    value: float
    low: float
    high: float
    p: float
    n_runs: tuple[int, int]
    z: float
    detectable: float
    seeds_needed: float


def jackknife_difference(
    first: Statistic,
    second: Statistic,
    n_runs: tuple[int, int],
    *,
    paired: bool = False,
    level: float = 0.95,
) -> Difference:
    """Second minus first, with Student's t of the jackknife; parameters as for ``difference``.

    Each run is left out in turn, which gives a standard error for each group (``paired``: for the
    difference); the degrees of freedom are Welch's and Satterthwaite's. For means it is Welch's
    test, or the paired one. Fewer than three runs in a group, or an undefined value: NaN.

    ``z`` is the difference in standard errors; ``detectable`` the smallest that these runs show
    with 80 % power (two-sided, 5 %); ``seeds_needed`` how many runs of each setting would show the
    observed one, were it the true one: where z is near 0 it only says that it is not seen.

    Simulated (``data/benchmarks/differences.csv``), it rejects 1 to 6 % at 5 % where there is no
    difference and no run fails; where one in five collapses, 4 to 7 %, but 2 to 16 % for the SD.
    """
    if paired and n_runs[0] != n_runs[1]:
        raise ValueError(f"n_runs = {n_runs}; paired groups have the same runs")
    check_level(level)
    value = float((second(np.ones((1, n_runs[1]))) - first(np.ones((1, n_runs[0]))))[0])
    nothing = Difference(value, *[float("nan")] * 3, tuple(n_runs), *[float("nan")] * 3)
    if min(n_runs) < MIN_RUNS:
        return nothing
    parts = [lambda w: second(w) - first(w)] if paired else [first, second]
    sizes = np.array(n_runs[: len(parts)], float)
    squares = np.array([jackknife_error(*one) ** 2 for one in zip(parts, n_runs, strict=False)])
    total = squares.sum()
    if np.isnan(value + total):
        return nothing
    free = total**2 / (squares**2 / (sizes - 1)).sum() if total > 0 else min(sizes) - 1
    error, apart = np.sqrt(total), abs(value)
    reach = stats.t.ppf((1 + level) / 2, free) * error
    p = float(2 * stats.t.sf(apart / error, free)) if total > 0 else float(value == 0)
    z = float(value / error) if total > 0 else float("nan")
    detectable = float(sample_size.detectable_difference(error, free))
    needed = sample_size.seeds_to_tell(apart, squares * sizes)
    return Difference(value, value - reach, value + reach, p, tuple(n_runs), z, detectable, needed)


def discrimination(
    groups: Mapping[str, tuple[Mapping[str, Statistic], int]], *, paired: bool = False
) -> pd.DataFrame:
    """Which settings does each measure tell apart? ``jackknife_difference`` of every two settings
    by every measure (``measure, from, to``), with Holm's p over the pairs of a measure. ``groups``
    has, by setting, the statistics of its measures and its number of runs.
    """
    names = next(iter(groups.values()))[0]
    tables = {
        name: every_two(
            {group: (statistics[name], n) for group, (statistics, n) in groups.items()},
            lambda a, b: jackknife_difference(a[0], b[0], (a[1], b[1]), paired=paired),
        )
        for name in names
    }
    return pd.concat(tables, names=["measure"])


def paired_scores(
    first: np.ndarray, second: np.ndarray, *, level: float = 0.95
) -> tuple[Comparison, float]:
    """Mean difference of the scores of two settings with shared seeds, and their correlation.

    The interval is Student's t over the differences, p that of flipping their signs: all 2^S ways
    up to S = 13, else ``N_PERMUTATIONS`` at random. Sharing seeds makes the interval narrower if
    and only if the correlation over seeds, returned beside it, is positive.
    """
    first, second = (as_array(scores, float) for scores in (first, second))
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
    if complete := len(apart) <= 13:
        signs = np.array(list(itertools.product((1, -1), repeat=len(apart))))
    else:
        signs = np.random.default_rng(0).choice((1, -1), size=(N_PERMUTATIONS, len(apart)))
    p = float(permutation_p(signs @ apart, apart.sum(), complete=complete))
    constant = np.ptp(first) == 0 or np.ptp(second) == 0
    correlation = float("nan") if constant else float(np.corrcoef(first, second)[0, 1])
    mean = float(apart.mean())
    result = Comparison(mean, mean - reach, mean + reach, p, (len(apart),) * 2)
    return result, correlation


def spread_ratio(first: np.ndarray, second: np.ndarray, *, level: float = 0.95) -> Comparison:
    """SD of the second scores over that of the first, with the Brown-Forsythe p-value.

    The interval comes from resampling runs of the logarithm of the ratio. Brown-Forsythe is
    Levene's test with medians, which holds up where scores are not normal; ten runs against ten
    need a ratio of about two to be told apart, even if they are.
    """
    scores = [as_array(values, float) for values in (first, second)]

    def log_sd(kernel: np.ndarray, weights: np.ndarray) -> np.ndarray:
        spread = root_pair_means(kernel, weights)
        return np.log(np.where(spread > 0, spread, np.nan))

    sizes = len(scores[0]), len(scores[1])
    logs = [partial(log_sd, half_squares(values)) for values in scores]
    log_ratio = difference(*logs, sizes, level=level)
    value, low, high = map(float, np.exp(log_ratio[:3]))
    p = value if np.isnan(value) else float(stats.levene(*scores, center="median").pvalue)
    return Comparison(value, low, high, p, sizes)


class Correlation(NamedTuple):
    """A correlation with its interval and a two-sided p-value; see the functions."""

    value: float
    low: float
    high: float
    p: float


def correlation(
    x: np.ndarray, y: np.ndarray, *, ranks: bool = False, level: float = 0.95
) -> Correlation:
    """Pearson's r of two series over G independent groups, or with ``ranks`` Spearman's ρ.

    The interval is Fisher's (a little too narrow for ρ), p that of permuting the groups, exact up
    to G = 8. NaN where a series is constant.
    """
    if ranks:
        x, y = stats.rankdata(x), stats.rankdata(y)
    if min(np.ptp(x), np.ptp(y)) == 0:
        return Correlation(*[float("nan")] * 4)
    fitted = stats.pearsonr(x, y)
    low, high = fitted.confidence_interval(level)
    order, complete = orders(len(x))
    centred = y - np.mean(y)
    p = permutation_p(np.asarray(x)[order] @ centred, x @ centred, complete=complete)
    return Correlation(float(fitted.statistic), float(low), float(high), float(p))


def adjust(p: np.ndarray) -> np.ndarray:
    """p-values of many comparisons, adjusted by Holm's method (family-wise error).

    Shape as given; NaN stays and is not counted.
    """
    p = np.array(p, float)
    known = p[tested := ~np.isnan(p)]
    order = np.argsort(known)
    known[order] = np.maximum.accumulate(known[order] * np.arange(len(known), 0, -1))
    p[tested] = np.minimum(known, 1)
    return p


def stouffer(p: np.ndarray, signs: np.ndarray) -> tuple[float, float]:
    """Stouffer's z of G independent tests, and its two-sided p: do they point in one direction?

    ``p`` (G,) are two-sided, ``signs`` (G,) those of what was tested (differences, say). Two tests
    of p = 0.05 that agree give 0.006, two that disagree 1. NaN is left out; of nothing else: NaN.
    """
    z = np.sign(signs) * stats.norm.isf(np.asarray(p, float) / 2)
    z = z[~np.isnan(z)]
    total = float(z.sum() / np.sqrt(len(z))) if len(z) else float("nan")
    return total, float(2 * stats.norm.sf(abs(total)))


def every_two(groups: dict[str, Any], compare: Callable[[Any, Any], NamedTuple]) -> pd.DataFrame:
    """``compare`` of every two groups: a row each (``from``, ``to``), with Holm's adjusted p."""
    pairs = list(itertools.combinations(groups, 2))
    rows = [compare(groups[a], groups[b]) for a, b in pairs]
    index = pd.MultiIndex.from_tuples(pairs, names=["from", "to"]) if pairs else None
    names = rows[0]._fields if rows else Comparison._fields
    table = pd.DataFrame(rows, index=index, columns=names)
    return table.assign(adjusted_p=adjust(table["p"].to_numpy(float)))
