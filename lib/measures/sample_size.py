"""Before training more: how many seeds an estimate needs."""

from bisect import bisect_left
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

from lib.measures.intervals import MIN_RUNS, Statistic, check_level, run_weights
from lib.measures.prediction import consistency, occurring_classes
from lib.measures.summary import MEASURES

#: Numbers of runs that are tried: from the fewest that resampling works with to the most promised.
SIZES = (*range(5, 21), *range(22, 50, 4), *range(50, 100, 10), *range(100, 301, 25))


def relative_width(
    statistic: Statistic, n_runs: int, *, level: float = 0.95
) -> Callable[[int], float]:
    """Half the width of the interval to expect from S' runs, as a share of the value: a function of
    S'.

    By simulation from the group at hand: S' runs are drawn from its S runs with replacement 1,000
    times; the SD of the statistic over the draws, times Student's t and √(S/(S − 1)) (the draws
    know only S runs), is half a width. It is an estimate from S runs like any other: from five it
    is a rough one, too small by a quarter for an SD in the middle of simulations, and what those
    runs never did (collapse, say) it cannot foresee.
    """
    value = float(statistic(np.ones((1, n_runs)))[0])
    scale = np.sqrt(n_runs / (n_runs - 1)) / abs(value) if value else float("nan")

    def width(size: int) -> float:
        if np.isnan(scale):
            return scale
        drawn = statistic(run_weights(n_runs, 1000, seed=1, size=size))
        drawn = drawn[~np.isnan(drawn)]
        reach = stats.t.ppf((1 + level) / 2, size - 1) * scale
        return float(reach * drawn.std()) if len(drawn) > 1 else float("nan")

    return width


def seeds_needed(
    statistic: Statistic, n_runs: int, *, width: float = 0.2, level: float = 0.95
) -> float:
    """Smallest number of runs whose interval is expected to be the value ± ``width`` of it.

    5 at least, inf if more than 300; NaN where the value is 0 or not defined, so that nothing is
    relative to it. ``statistic``: as in ``lib.measures.intervals``, with one value a resample. Of
    more than 300 runs, whose draws take long, sizes above one that is enough are taken to be.
    """
    needed, sizes = float("nan"), SIZES
    if n_runs < 3:
        return needed
    width_at = relative_width(statistic, n_runs, level=level)
    if n_runs > SIZES[-1]:
        sizes = SIZES[: 1 + bisect_left(SIZES, 1, key=lambda size: width_at(size) <= width)]
    for size in reversed(sizes):  # down to the first that is not enough
        reached = width_at(size)
        if reached > width:
            return float("inf") if np.isnan(needed) else needed
        needed = needed if np.isnan(reached) else float(size)
    return needed


def seeds_needed_for_sd(*, width: float = 0.2, level: float = 0.95) -> float:
    """The same for the SD of normal scores with its chi-square interval: 53 runs for ± 20 %.

    A group of a few runs cannot know the tails of its scores, on which the SD of an SD depends;
    where it already shows heavier ones than normal, ``seeds_needed`` is larger.
    """
    sizes = np.arange(SIZES[0], SIZES[-1] + 1.0)
    tails = np.array([[1 + level], [1 - level]]) / 2
    low, high = np.sqrt((sizes - 1) / stats.chi2.ppf(tails, sizes - 1))
    return float(np.min(sizes[(high - low) / 2 <= width], initial=np.inf))


def needed_for(
    name: str, statistic: Statistic, n_runs: int, *, width: float = 0.2, level: float = 0.95
) -> float:
    """``seeds_needed`` of a measure of ``lib.measures.summary``; for the SD, at least as many as
    normal scores take. NaN for a mean score, say, and for agreements: what matters there is no
    share of them.
    """
    if not MEASURES[name].relative:
        return float("nan")
    needed = seeds_needed(statistic, n_runs, width=width, level=level)
    if name == "sd":
        needed = float(np.fmax(needed, seeds_needed_for_sd(width=width, level=level)))
    return needed


#: What is called detectable, or needed: seen in so many cases by tests at two-sided 5 %.
POWER, EDGE = 0.8, 0.975


def detectable_difference(
    error: float, free: float, *, power: float = POWER, level: float = 0.95
) -> float:
    """Smallest difference that a two-sided t test at 1 − ``level`` shows with ``power``, from its
    standard error and degrees of freedom: error · (t_{(1+level)/2} + t_power). Arrays will do. With
    a power of 0.5 it is half the width of the interval.
    """
    return error * (stats.t.ppf((1 + level) / 2, free) + stats.t.ppf(power, free))


def seeds_to_tell(
    value: float,
    variances: np.ndarray,
    *,
    beyond: float = 0.0,
    power: float = POWER,
    level: float = 0.95,
) -> float:
    """Smallest number of runs of each setting that shows a difference of ``value`` with ``power``:
    3 at least, inf above 1,000. ``variances``: squared standard error of each setting (or of the
    paired difference, or of one mean) times its number of runs; ``beyond``: variance of the
    difference that more runs do not lessen, such as that of the choice of examples.
    """
    n, total = np.arange(MIN_RUNS, 1001), np.sum(variances)
    free = (n - 1) * (total**2 / np.sum(np.square(variances)) if total > 0 else 1.0)
    error = np.sqrt(total / n + beyond)
    seen = detectable_difference(error, free, power=power, level=level) < abs(value)
    return float(n[seen.argmax()]) if seen.any() else float("inf")


def detectable_seed_sd(n_runs: int, floor: float) -> float:
    """Smallest SD of accuracy over seeds that ``measures.seed_variance`` shows with ``POWER`` (p is
    one-sided), beside ``floor``, the SD that a finite test set makes; both normal.
    """
    return floor * float(np.sqrt(np.divide(*stats.chi2.ppf([0.95, 1 - POWER], n_runs - 1)) - 1))


def detectable_correlation(n_groups: int) -> float:
    """Smallest correlation over G groups shown with ``POWER``, by Fisher's z (a little too large
    below ten).
    """
    return float(np.tanh(stats.norm.ppf([EDGE, POWER]).sum() / np.sqrt(n_groups - 3)))


def detectable_concordance(n_tasks: int, n_seeds: int) -> tuple[float, float]:
    """Smallest share of the variance of scores within tasks that all tasks must have in common for
    Kendall's W to show it with ``POWER``, and the W to expect of it.

    By the F test of a table of normal scores: F_0.95/F_{1 − POWER} = 1 + m·share/(1 − share).
    Ranks lose a few per cent of power.
    """
    free = n_seeds - 1, (n_seeds - 1) * (n_tasks - 1)
    ratio = float(np.divide(*stats.f.ppf([0.95, 1 - POWER], *free))) - 1
    share = ratio / (n_tasks + ratio)
    return share, (1 + (n_tasks - 1) * share) / n_tasks


N_RESAMPLES = 1000
#: Resamples handled at once, which bounds the memory to this times N·C doubles.
CHUNK = 200


def half_widths(
    predictions: np.ndarray, labels: np.ndarray, *, level: float = 0.95
) -> pd.DataFrame:
    """Half the widths of intervals of accuracy and agreement, from resampling runs, examples, both.

    From predictions (S, N), S ≥ 3, and labels (N,), a row each of ``accuracy``, ``disagreement``
    and ``correct_agreement``; ``value, runs, examples, both``. Plain percentiles, so that the
    widths compare; what comes from runs is widened by √(S/(S − 1)), as S runs drawn from S scatter
    too little by that.
    """
    check_level(level)
    accuracy, con, ccon, *_ = consistency(predictions, labels)
    value = pd.Series({"accuracy": accuracy, "disagreement": 1 - con, "correct_agreement": ccon})
    n_runs, n_examples = np.shape(predictions)
    if n_runs < MIN_RUNS:
        raise ValueError(f"predictions has S = {n_runs} runs; expected S ≥ {MIN_RUNS} to resample")
    # Examples with the same answers and label count together, as often as there are.
    columns = np.vstack([predictions, labels])
    columns, counts = np.unique(columns, axis=1, return_counts=True)
    predictions, labels = columns[:-1], columns[-1]
    rng, drawn = np.random.default_rng(1), []
    all_runs, all_examples = np.ones((1, n_runs)), counts[None]
    for runs in np.split(run_weights(n_runs, N_RESAMPLES), N_RESAMPLES // CHUNK):
        examples = rng.multinomial(n_examples, counts / n_examples, size=CHUNK).astype(float)
        (by_examples,) = weighted_measures(predictions, labels, all_runs, examples)
        by_runs, by_both = weighted_measures(predictions, labels, runs, all_examples, examples)
        widened = value + np.sqrt(n_runs / (n_runs - 1)) * (by_runs - value)
        parts = {"runs": widened, "examples": by_examples, "both": by_both - by_runs + widened}
        drawn.append(pd.concat(parts, names=["source"]))
    sources = pd.concat(drawn).groupby("source", sort=False)
    low, high = (sources.quantile(share) for share in ((1 - level) / 2, (1 + level) / 2))
    return pd.concat([value.rename("value"), (high - low).T / 2], axis=1).rename_axis("measure")


def weighted_measures(
    predictions: np.ndarray, labels: np.ndarray, runs: np.ndarray, *examples: np.ndarray
) -> list[pd.DataFrame]:
    """Accuracy, disagreement and correct agreement (columns) of each of B weightings, which say how
    often each of runs (B, S) and examples (B, N) counts, with 1 for B where all are weighted alike:
    a table for each weighting of examples.
    """
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    correct = (predictions == labels).astype(float)
    total = runs.sum(1, keepdims=True)
    alone = (runs**2).sum(1, keepdims=True)
    pairs = total**2 - alone
    agreement = -alone
    for value in occurring_classes(predictions):
        agreement = agreement + (runs @ (predictions == value)) ** 2
    right = runs @ correct
    both_right = right**2 - runs**2 @ correct
    of_examples = {
        "accuracy": right / total,
        "disagreement": 1 - agreement / pairs,
        "correct_agreement": both_right / pairs,
    }
    shares = [each / each.sum(1, keepdims=True) for each in examples]
    return [
        pd.DataFrame({name: (values * share).sum(1) for name, values in of_examples.items()})
        for share in shares
    ]
