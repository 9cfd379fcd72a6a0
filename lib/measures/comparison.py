"""Two settings, or many: is a difference in instability more than the seeds?"""

import itertools
from collections.abc import Callable, Mapping
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
    five runs none shows p below 0.03. That costs power where no run fails (``jackknife_difference``
    has more of it), and is the price of holding the level where some do
    (``data/benchmarks/differences.csv``). Fewer than five runs in a group: by leaving each out;
    fewer than three, or an undefined value: NaN.
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
        return jackknife_difference(first, second, sizes, paired=paired, level=level)
    draws = [run_weights(sizes[0]), run_weights(sizes[1], seed=0 if paired else 1)]
    resampled = second(draws[1]) - first(draws[0])
    low, high = percentile_interval(resampled, level, n_runs=fewest)
    resampled = resampled[~np.isnan(resampled)]
    side = (min((resampled <= 0).sum(), (resampled >= 0).sum()) + 1) / (len(resampled) + 1)
    # The expanded percentile, solved for the level.
    reach = stats.norm.ppf(min(side, 0.5)) / np.sqrt(fewest / (fewest - 1))
    p = float(2 * stats.t.cdf(reach, fewest - 1))
    return Comparison(value, float(low), float(high), p, sizes)


def _jackknife(
    first: Statistic, second: Statistic, n_runs: tuple[int, int], paired: bool
) -> tuple[float, np.ndarray, np.ndarray]:
    """Second minus first; squared standard errors and sizes, of both groups or of their pairs."""
    if paired and n_runs[0] != n_runs[1]:
        raise ValueError(f"n_runs = {n_runs}; paired groups have the same runs")
    value = float((second(np.ones((1, n_runs[1]))) - first(np.ones((1, n_runs[0]))))[0])
    if min(n_runs) < MIN_RUNS:
        errors, sizes = [np.nan], n_runs[:1]
    elif paired:
        errors, sizes = [jackknife_error(lambda w: second(w) - first(w), n_runs[0])], n_runs[:1]
    else:
        errors = [jackknife_error(one, n) for one, n in zip((first, second), n_runs, strict=True)]
        sizes = n_runs
    return value, np.array(errors, float) ** 2, np.array(sizes, float)


def _welch(squares: np.ndarray, sizes: np.ndarray) -> tuple[float, float]:
    """Standard error of a difference, and its degrees of freedom (Welch and Satterthwaite)."""
    total = squares.sum()
    free = total**2 / (squares**2 / (sizes - 1)).sum() if total > 0 else sizes.min() - 1
    return float(np.sqrt(total)), float(free)


def jackknife_difference(
    first: Statistic,
    second: Statistic,
    n_runs: tuple[int, int],
    *,
    paired: bool = False,
    level: float = 0.95,
) -> Comparison:
    """Second minus first of any statistic of run weights, with Student's t of the jackknife.

    Each run is left out in turn, which gives the standard error of each group; the degrees of
    freedom are Welch's and Satterthwaite's, or S − 1 if ``paired`` (see ``difference``). For means
    it is Welch's test, or the paired one. Fewer than three runs in a group, or an undefined value:
    NaN.
    """
    check_level(level)
    value, squares, sizes = _jackknife(first, second, n_runs, paired)
    error, free = _welch(squares, sizes)
    reach = stats.t.ppf((1 + level) / 2, free) * error
    p = float(2 * stats.t.sf(abs(value) / error, free)) if error != 0 else float(value == 0)
    return Comparison(value, value - reach, value + reach, p, tuple(n_runs))


def discrimination(
    groups: Mapping[str, Mapping[str, Statistic]],
    n_runs: Mapping[str, int],
    *,
    paired: bool = False,
    level: float = 0.95,
    power: float = 0.8,
) -> pd.DataFrame:
    """Does a measure tell settings apart? A row every measure and every two settings.

    ``measure, from, to, value, low, high, p`` of ``jackknife_difference``; ``z``, the difference in
    standard errors; ``detectable``, the smallest difference that these runs show with the given
    power; ``seeds_needed``, how many runs of each setting would show the observed one, were it the
    true one (inf above 1,000). That number is as uncertain as z: where z is near 0 it says nothing
    but that the settings are not told apart. With five to ten runs of which some fail, p of the SD
    is too small (``data/benchmarks/differences.csv``).

    Parameters
    ----------
    groups : by setting, the statistics of its measures, the same in all
    n_runs : by setting
    """
    rows = []
    for a, b in itertools.combinations(groups, 2):
        sizes = n_runs[a], n_runs[b]
        for measure, first in groups[a].items():
            parts = first, groups[b][measure]
            found = jackknife_difference(*parts, sizes, paired=paired, level=level)
            value, squares, counts = _jackknife(*parts, sizes, paired)
            error, free = _welch(squares, counts)
            z = value / error if error > 0 else float("nan")
            reach = sample_size.detectable_difference(error, free, level=level, power=power)
            needed = sample_size.seeds_to_tell(value, squares * counts, level=level, power=power)
            rows.append((measure, a, b, *found[:4], z, reach, needed))
    names = ["measure", "from", "to", "value", "low", "high", "p", "z", "detectable"]
    return pd.DataFrame(rows, columns=[*names, "seeds_needed"])


def paired_scores(
    first: np.ndarray, second: np.ndarray, *, level: float = 0.95
) -> tuple[Comparison, float]:
    """Mean difference of the scores of two settings with shared seeds, and their correlation.

    The interval is Student's t over the differences, p that of flipping their signs: all 2^S ways
    up to S = 13, else ``N_PERMUTATIONS`` at random. Sharing seeds makes the interval narrower if
    and only if the correlation over seeds, returned beside it, is positive.
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

    The interval is Fisher's (for ρ with the variance of Fieller et al. 1957, 1.06/(G − 3)), p that
    of permuting the groups: exact up to G = 8. NaN where a series is constant.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 4:
        raise ValueError(f"x and y have shapes {x.shape} and {y.shape}; expected (G,) twice, G ≥ 4")
    if ranks:
        x, y = stats.rankdata(x), stats.rankdata(y)
    if min(np.ptp(x), np.ptp(y)) == 0:
        return Correlation(*[float("nan")] * 4)
    x, y = ((z - z.mean()) / np.linalg.norm(z - z.mean()) for z in (x, y))
    r = float(np.clip(x @ y, -1, 1))
    order, complete = orders(len(x))
    p = float(permutation_p(x[order] @ y, r, complete=complete))
    error = np.sqrt((1.06 if ranks else 1) / (len(x) - 3))
    reach = stats.norm.ppf((1 + level) / 2) * error
    with np.errstate(divide="ignore"):
        low, high = np.tanh(np.arctanh(r) + reach * np.array([-1, 1]))
    return Correlation(r, float(low), float(high), p)


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


def stouffer(p: np.ndarray, signs: np.ndarray) -> tuple[float, float]:
    """Stouffer's z of G independent tests, and its two-sided p: do they point in one direction?

    Each two-sided p becomes the z of its side, and the sum of these is divided by √G. Two tests of
    p = 0.05 that agree give 0.006, two that disagree 1. NaN is left out.

    Parameters
    ----------
    p : (G,) two-sided
    signs : (G,) of what was tested; a difference or a correlation will do
    """
    p, signs = np.asarray(p, float), np.sign(np.asarray(signs, float))
    z = (signs * stats.norm.isf(p / 2))[~np.isnan(p * signs)]
    if not len(z):
        return float("nan"), float("nan")
    total = float(z.sum() / np.sqrt(len(z)))
    return total, float(2 * stats.norm.sf(abs(total)))


def every_two(groups: dict[str, Any], compare: Callable[[Any, Any], Comparison]) -> pd.DataFrame:
    """``compare`` of every two groups: a row each (``from``, ``to``), with Holm's adjusted p."""
    pairs = list(itertools.combinations(groups, 2))
    rows = [compare(groups[a], groups[b]) for a, b in pairs]
    index = pd.MultiIndex.from_tuples(pairs, names=["from", "to"]) if pairs else None
    table = pd.DataFrame(rows, index=index, columns=Comparison._fields)
    return table.assign(adjusted_p=adjust(table["p"].to_numpy(float)))
