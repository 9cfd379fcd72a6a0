"""Before training more: how many seeds an estimate needs."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import stats

from lib.resampling import Statistic, run_weights
from lib.summary import MEASURES

#: Numbers of runs that are tried: from the fewest that resampling works with to the most promised.
SIZES = (*range(5, 21), *range(22, 50, 4), *range(50, 100, 10), *range(100, 301, 25))


def relative_width(
    statistic: Statistic, n_runs: int, sizes: Iterable[int] = SIZES, *, level: float = 0.95
) -> pd.Series:
    """Half the width of the interval to expect from S' runs, as a share of the value, by size.

    By simulation from the group at hand: S' runs are drawn from its S runs with replacement 1,000
    times; the SD of the statistic over the draws, times Student's t and √(S/(S − 1)) (the draws
    know only S runs), is half a width. It is an estimate from S runs like any other: from five it
    is a rough one, too small by a quarter for an SD in the middle of simulations, and what those
    runs never did (collapse, say) it cannot foresee.
    """
    value = float(statistic(np.ones((1, n_runs)))[0])
    scale = np.sqrt(n_runs / (n_runs - 1))
    widths = {}
    for size in sizes:
        drawn = statistic(run_weights(n_runs, 1000, seed=1, size=size))
        drawn = drawn[~np.isnan(drawn)]
        known = bool(value) and not np.isnan(value) and len(drawn) > 1
        reach = stats.t.ppf((1 + level) / 2, size - 1) * drawn.std() * scale if known else 0.0
        widths[size] = reach / abs(value) if known else float("nan")
    return pd.Series(widths, name="relative_width")


def seeds_needed(
    statistic: Statistic, n_runs: int, *, width: float = 0.2, level: float = 0.95
) -> float:
    """Smallest number of runs whose interval is expected to be the value ± ``width`` of it.

    5 at least, inf if more than 300; NaN where the value is 0 or not defined, so that nothing is
    relative to it.

    Parameters
    ----------
    statistic : (B, S) run weights → (B,) values, see ``lib.resampling``
    """
    if n_runs < 3:
        return float("nan")
    found = relative_width(statistic, n_runs, level=level)
    if found.isna().all():
        return float("nan")
    enough = found[::-1].cummax()[::-1] <= width
    return float(enough.idxmax()) if enough.any() else float("inf")


def seeds_needed_for_sd(*, width: float = 0.2, level: float = 0.95) -> float:
    """The same for the SD of normal scores with its chi-square interval: 53 runs for ± 20 %.

    A group of a few runs cannot know the tails of its scores, on which the SD of an SD depends;
    where it already shows heavier ones than normal, ``seeds_needed`` is larger.
    """
    for size in range(SIZES[0], SIZES[-1] + 1):
        free = size - 1
        low, high = np.sqrt(free / stats.chi2.ppf([(1 + level) / 2, (1 - level) / 2], free))
        if (high - low) / 2 <= width:
            return float(size)
    return float("inf")


def needed_for(
    name: str, statistic: Statistic, n_runs: int, *, width: float = 0.2, level: float = 0.95
) -> float:
    """``seeds_needed`` of a measure of ``lib.summary``; for the SD, at least as many as normal
    scores take. NaN for a mean score, say, and for agreements: what matters there is no share of
    them.
    """
    if not MEASURES[name].relative:
        return float("nan")
    needed = seeds_needed(statistic, n_runs, width=width, level=level)
    if name != "sd":
        return needed
    normal = seeds_needed_for_sd(width=width, level=level)
    return normal if np.isnan(needed) else max(needed, normal)
