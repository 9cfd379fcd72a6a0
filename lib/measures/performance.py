"""Instability of scores: how far S runs of one setting scatter, in the unit of the scores."""

from functools import partial
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from lib.measures.intervals import (
    MIN_RUNS,
    N_PERMUTATIONS,
    Interval,
    Statistic,
    as_array,
    check_level,
    check_scores,
    half_squares,
    interval,
    permutation_p,
    root_pair_means,
    weighted_sd,
)
from lib.measures.prediction import flip_rate_from_counts, pairwise_disagreement

#: Of more than 140 runs, ``seed_variance`` permutes less often, so that the time stays: so many
#: times the square of the runs, and at least so often.
MOST_DRAWS, FEW_PERMUTATIONS = 2e8, 199


class SeedVariance(NamedTuple):
    """SD of accuracy over seeds, and what of it the test set makes; see ``seed_variance``."""

    observed: Interval
    floor: float
    distribution: Interval
    p: float


def score_spread(scores: np.ndarray, ddof: int = 1) -> float:
    """Standard deviation of scores (S,), S ≥ 2, in the unit of the scores.

    ``ddof`` is 1 for the usual estimate; 0 for the published choice of Du & Nguyen (2023, released
    code: ``np.std``), smaller by √((S − 1)/S).
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
    return 2 * float(stats.norm.expect(lambda x: n * x * stats.norm.cdf(x) ** (n - 1)))


def interquartile_mean(scores: np.ndarray) -> float:
    """Mean of the middle half of the scores of runs, or of runs and tasks (IQM).

    Agarwal et al. (2021): the 25 % trimmed mean over all entries. One collapsed run of five does
    not move it; that is its merit, and why the failed runs must be counted beside it. Of fewer
    than four scores it is the mean.
    """
    return float(stats.trim_mean(as_array(scores, float), 0.25, axis=None))


def interquartile_mean_statistic(scores: np.ndarray) -> Statistic:
    """``interquartile_mean`` as a function of run weights (``lib.measures.intervals``).

    Of m runs drawn, the ⌊m/4⌋ lowest and highest do not count.
    """
    order = np.argsort(check_scores(scores))
    values = check_scores(scores)[order]
    steps = np.diff(values, append=0)

    def statistic(weights: np.ndarray) -> np.ndarray:
        upto = np.cumsum(weights[:, order], 1)
        drawn = weights.sum(1, keepdims=True)
        cut = np.floor(drawn / 4)
        kept = np.clip(upto, cut, drawn - cut, out=upto)  # of each run and all before it
        total = kept @ steps + cut[:, 0] * values[0]
        return -total / (drawn - 2 * cut)[:, 0]

    return statistic


def expected_maximum(scores: np.ndarray, n: int | np.ndarray) -> np.ndarray:
    """Expected best score of n runs drawn with replacement from those at hand, in the shape of n.

    Dodge et al. (2019), closed form: Σ v (P(V ≤ v)ⁿ − P(V < v)ⁿ) over the observed values v of
    ``scores`` (S,). n = 1 gives the mean; it never exceeds the observed maximum, so for n near S
    and above it is too small. What is reported as "best of n" is this, not a property of the
    method.
    """
    scores = np.sort(check_scores(scores))
    n = as_array(n)
    if (n < 1).any():
        raise ValueError(f"n = {n}; expected at least 1 run")
    steps = np.arange(len(scores) + 1) / len(scores)
    powers = steps ** n[..., None]
    return (np.diff(powers) * scores).sum(-1)


def failed_rate(failed: np.ndarray, *, level: float = 0.95) -> Interval:
    """Share of failed runs, ``failed`` (S,) of True and False (or 1 and 0), with the exact
    (Clopper-Pearson) interval. With 0 of 5 failed it still reaches 0.52.
    """
    failed = as_array(failed)
    if failed.ndim != 1 or not len(failed) or not np.isin(failed, (0, 1)).all():
        raise ValueError(f"failed is {failed!r}; expected (S,) of True and False, S ≥ 1")
    ends = stats.binomtest(int(failed.sum()), len(failed)).proportion_ci(level)
    return Interval(float(failed.mean()), float(ends.low), float(ends.high), len(failed))


def _variance_kernel(correct: np.ndarray) -> np.ndarray:
    """(S, S) whose mean over distinct pairs is Jordan's estimator (Eq. 3).

    The variance over runs is the mean over pairs of (a_i − a_j)²/2, and the mean variance of an
    example that of half the share of examples on which one of the two is right.
    """
    correct = as_array(correct, float)
    if correct.ndim != 2 or min(correct.shape) < 2:
        raise ValueError(f"correct has shape {correct.shape}; expected (S, N) with S ≥ 2, N ≥ 2")
    if not np.isin(correct, (0.0, 1.0)).all():
        raise ValueError(f"correct of shape {correct.shape} holds values other than 0 and 1")
    n = correct.shape[1]
    apart = half_squares(correct.mean(1)) - pairwise_disagreement(correct.astype(int)) / (2 * n)
    return n / (n - 1) * apart


def distribution_variance(correct: np.ndarray) -> float:
    """Variance of accuracy over seeds on the data distribution, without test-set noise.

    Jordan (2024), Eq. 3: N/(N − 1) · (s² − v/N), where s² is the variance (ddof 1) of the S
    accuracies on the N examples and v the mean over examples of the variance (ddof 1) of being
    right. Unbiased, so it can be negative; it is never clipped here. ``correct`` is (S, N) of 0
    and 1 (or bool), S ≥ 2, N ≥ 2.
    """
    matrix = _variance_kernel(correct)
    return float(matrix[np.triu_indices(len(matrix), 1)].mean())


def distribution_sd(correct: np.ndarray) -> float:
    """√max(``distribution_variance``, 0), in the unit of accuracy (a fraction)."""
    return float(np.sqrt(max(distribution_variance(correct), 0.0)))


def distribution_sd_statistic(correct: np.ndarray) -> Statistic:
    """``distribution_sd`` as a function of run weights."""
    return partial(root_pair_means, _variance_kernel(correct))


def seed_variance(
    correct: np.ndarray, *, level: float = 0.95, n_permutations: int = N_PERMUTATIONS
) -> SeedVariance:
    """SD of accuracy over seeds: observed, expected from a finite test set alone, and the rest.

    observed : SD (ddof 1) of the S accuracies, its interval by resampling runs
    floor : √((ACC − CCON)/N), the SD if a seed did nothing but flip each example's answer
        independently with the example's own probability
    distribution : ``distribution_sd``; variances, not SDs, add up
    p : of the variance of the accuracies, if within each example it is chance which runs are
        right. One-sided by nature: only a variance that is too large speaks for the seeds.

    The interval of ``distribution`` inverts that test. Accuracies drawn under it are shifted by
    normal seed effects of some SD; the interval holds the SDs under which the observed variance is
    in neither tail of (1 − level)/2. ``low`` is 0 where the test does not reject at that; ``high``
    is never 0, nor below what a group of the median variance without seed effects would get.
    Needs S ≥ 3, else NaN. Simulated (``data/benchmarks/coverage.csv``), from 5 to 20 runs intervals
    of 95 % cover 95 to 99 % with normal effects or none, 90 to 96 % with those of Student's t of 3,
    and 66 to 92 % where one run in five collapses.
    """
    _variance_kernel(correct)  # refuses what is not right or wrong
    correct = as_array(correct, int)
    return seed_variance_from_counts(
        correct.mean(1), correct.sum(0), level=level, n_permutations=n_permutations
    )


def seed_variance_from_counts(
    accuracies: np.ndarray,
    n_correct: np.ndarray,
    *,
    level: float = 0.95,
    n_permutations: int = N_PERMUTATIONS,
) -> SeedVariance:
    """``seed_variance`` from S accuracies and how many runs are right on each of N examples (N,):
    all of it follows from these.
    """
    check_level(level)
    accuracies, n_correct = check_scores(accuracies), as_array(n_correct)
    n, n_runs = n_correct.size, len(accuracies)
    floor = float(np.sqrt(flip_rate_from_counts(n_correct, n_runs).mean() / 2 / n))
    mean = float(np.mean(n_correct)) / n_runs
    if n < 2 or abs(accuracies.mean() - mean) > 0.5 / n:
        means = f"accuracies have mean {accuracies.mean():.5f}, n_correct of {n} examples gives"
        raise ValueError(f"{means} {mean:.5f}; expected those of the same runs and examples")
    observed = interval(partial(weighted_sd, accuracies), n_runs, level=level, bounds=(0, np.inf))
    variance = accuracies.var(ddof=1)
    # The time grows as the square of the runs.
    n_permutations = min(n_permutations, max(FEW_PERMUTATIONS, int(MOST_DRAWS / n_runs**2)))
    drawn = _permuted_accuracies(n_correct, n_runs, n_permutations)
    by_chance = drawn.var(1, ddof=1)
    p = float(permutation_p(by_chance, variance))
    low = high = float("nan")
    if n_runs >= MIN_RUNS:
        tail = (1 - level) / 2
        effects = np.random.default_rng(1).normal(size=drawn.shape)
        drawn -= drawn.mean(1, keepdims=True)
        mixed = 2 * (drawn * effects).sum(1) / (n_runs - 1)
        squares = effects.var(1, ddof=1)

        # One answer of one run is the least that the accuracies can differ by.
        most = max(variance, np.median(by_chance), 1 / (n_runs * n**2))
        beyond = 3 * np.sqrt(most * (n_runs - 1) / stats.chi2.ppf(tail, n_runs - 1))

        def sd_of(share: float, upto: float) -> float:
            """At which SD so many of the variances are smaller; scaled as the estimate is."""
            root = optimize.brentq(
                lambda sd: np.quantile(by_chance + sd * mixed + sd**2 * squares, share) - upto,
                *(0, beyond),
                xtol=1e-15,
            )
            return float(np.sqrt(n / (n - 1)) * root)

        high = sd_of(tail, most)
        low = sd_of(1 - tail, variance) if p <= tail else 0.0
    value = float(np.sqrt(max(n / (n - 1) * (variance - floor**2), 0)))
    return SeedVariance(observed, floor, Interval(value, low, high, n_runs), p)


def _permuted_accuracies(n_correct: np.ndarray, n_runs: int, n_permutations: int) -> np.ndarray:
    """(B, S) accuracies when the runs that are right are drawn anew in each example.

    Run by run: of the examples with r right answers left for t runs, a binomial number, of chance
    r/t, has one here. That is the permutation itself, whatever the number of examples.
    """
    rng = np.random.default_rng(0)
    counts = np.tile(np.bincount(n_correct, minlength=n_runs + 1), (n_permutations, 1))
    drawn, least, most = np.empty((n_permutations, n_runs)), n_correct.min(), n_correct.max()
    for run in range(n_runs):
        # None has more right answers left than there are runs, or fewer than it had less the runs.
        first, end = max(least - run, 1), min(most, n_runs - run) + 1
        some = counts[:, first:end]
        places = np.nonzero(some)
        right = np.zeros_like(some)
        right[places] = rng.binomial(some[places], (places[1] + first) / (n_runs - run))
        drawn[:, run] = right.sum(1)
        some -= right
        counts[:, first - 1 : end - 1] += right
    return drawn / len(n_correct)
