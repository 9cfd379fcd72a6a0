"""Instability of scores: how far S runs of one setting scatter, in the unit of the scores."""

import numpy as np
from scipy import integrate, stats

from lib.measures.intervals import Interval, Statistic, check_scores


def score_spread(scores: np.ndarray, ddof: int = 1) -> float:
    """Standard deviation of S scores, in the unit of the scores.

    Parameters
    ----------
    scores : (S,) array, S ≥ 2
    ddof : 1 (default) for the usual estimate; 0 for the published choice of Du & Nguyen (2023,
        released code: ``np.std``), smaller by √((S − 1)/S)
    """
    return float(check_scores(scores).std(ddof=ddof))


def score_range(scores: np.ndarray) -> tuple[float, float]:
    """Largest minus smallest of S scores, and what S normal scores of that SD would give.

    The range grows with the number of runs, so it never compares groups of different size; the
    expectation (``expected_range``) says how much of it is the number of runs.
    """
    scores = check_scores(scores)
    return float(np.ptp(scores)), expected_range(len(scores)) * score_spread(scores)


def expected_range(n: int) -> float:
    """Expected range of n independent standard normal values: the constant d₂ (2.326 for n = 5)."""
    if n < 2:
        raise ValueError(f"n = {n}; a range needs at least 2 values")
    inside = integrate.quad(
        lambda x: 1 - stats.norm.cdf(x) ** n - stats.norm.sf(x) ** n, -np.inf, np.inf
    )
    return float(inside[0])


def interquartile_mean(scores: np.ndarray) -> float:
    """Mean of the middle half of the scores of runs, or of runs and tasks (IQM).

    Agarwal et al. (2021): the 25 % trimmed mean over all entries. One collapsed run of five does
    not move it; that is its merit, and why the failed runs must be counted beside it. Of fewer
    than four scores it is the mean.
    """
    return float(stats.trim_mean(np.asarray(scores, float), 0.25, axis=None))


def interquartile_mean_statistic(scores: np.ndarray) -> Statistic:
    """``interquartile_mean`` as a function of run weights (``lib.measures.intervals``).

    Of m runs drawn, the ⌊m/4⌋ lowest and highest do not count.
    """
    order = np.argsort(check_scores(scores))
    values = check_scores(scores)[order]

    def statistic(weights: np.ndarray) -> np.ndarray:
        upto = np.cumsum(weights[:, order], 1)
        drawn = upto[:, -1:]
        cut = np.floor(drawn / 4)
        before = np.clip(upto - weights[:, order], cut, drawn - cut)
        kept = np.clip(upto, cut, drawn - cut) - before
        return (kept * values).sum(1) / kept.sum(1)

    return statistic


def expected_maximum(scores: np.ndarray, n: int | np.ndarray) -> np.ndarray:
    """Expected best score of n runs drawn with replacement from those at hand.

    Dodge et al. (2019), closed form: Σ v (P(V ≤ v)ⁿ − P(V < v)ⁿ) over the observed values v.
    n = 1 gives the mean; it never exceeds the observed maximum, so for n near S and above it is
    too small. What is reported as "best of n" is this, not a property of the method.

    Parameters
    ----------
    scores : (S,) array
    n : number of runs, an integer or an array of them

    Returns
    -------
    array of the shape of n
    """
    scores = np.sort(check_scores(scores))
    n = np.asarray(n)
    if (n < 1).any():
        raise ValueError(f"n = {n}; expected at least 1 run")
    steps = np.arange(len(scores) + 1) / len(scores)
    powers = steps ** n[..., None]
    return (np.diff(powers) * scores).sum(-1)


def failed_rate(failed: np.ndarray, *, level: float = 0.95) -> Interval:
    """Share of failed runs, with the exact (Clopper-Pearson) interval.

    With 0 of 5 failed the interval still reaches 0.52.

    Parameters
    ----------
    failed : (S,) of True and False (or 1 and 0)
    """
    failed = np.asarray(failed)
    if failed.ndim != 1 or not len(failed) or not np.isin(failed, (0, 1)).all():
        raise ValueError(f"failed is {failed!r}; expected (S,) of True and False, S ≥ 1")
    ends = stats.binomtest(int(failed.sum()), len(failed)).proportion_ci(level)
    return Interval(float(failed.mean()), float(ends.low), float(ends.high), len(failed))
