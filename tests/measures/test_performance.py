"""Measures of scores: constants from tables, brute force, hand-computed cases."""

import itertools

import numpy as np
import pytest
from scipy import stats

from lib import measures
from lib.measures import intervals, performance, summary


@pytest.mark.parametrize(("n", "constant"), [(2, 1.128), (5, 2.326), (10, 3.078), (20, 3.735)])
def test_expected_range_has_the_tabulated_constant(n, constant):
    assert measures.expected_range(n) == pytest.approx(constant, abs=5e-4)


def test_score_range_by_hand():
    found, expected = measures.score_range([0.70, 0.72, 0.77])
    assert found == pytest.approx(0.07)
    assert expected == pytest.approx(1.6926 * measures.score_spread([0.70, 0.72, 0.77]), rel=1e-3)
    with pytest.raises(ValueError, match="at least 2 values"):
        measures.expected_range(1)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_expected_maximum_equals_all_draws(n):
    scores = np.array([0.5, 0.7, 0.7, 0.9])
    expected = np.mean([max(draw) for draw in itertools.product(scores, repeat=n)])
    assert measures.expected_maximum(scores, n) == pytest.approx(expected, abs=1e-14)
    assert measures.expected_maximum(scores, np.array([9, n]))[1] == pytest.approx(expected)
    with pytest.raises(ValueError, match="at least 1 run"):
        measures.expected_maximum(scores, 0)


def test_interquartile_mean_ignores_one_collapsed_run_of_five():
    assert measures.interquartile_mean([0.1, 0.7, 0.8, 0.9, 0.8]) == pytest.approx(2.3 / 3)
    assert measures.interquartile_mean(np.arange(8.0).reshape(2, 4)) == pytest.approx(3.5)


def test_failed_rate_of_none_is_not_zero_for_sure():
    found = measures.failed_rate([False] * 5)
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 5))
    assert measures.failed_rate([True, False, False, False]).value == 0.25
    with pytest.raises(ValueError, match="True and False"):
        measures.failed_rate(["ok", "failed"])


def answers(rng, n_runs, sd, n_examples=400):
    """Which answers are right: examples of any difficulty, runs that are better or worse on all."""
    chance = rng.uniform(0.15, 0.85, n_examples)
    return (rng.random((n_runs, n_examples)) < chance + sd * rng.normal(size=(n_runs, 1))).astype(
        int
    )


def test_answers_drawn_anew_are_those_of_all_permutations_within_examples():
    """Three runs and four examples: 3⁴ ways that count, of which the exact p is a share."""
    correct = np.array([[1, 1, 0, 1], [1, 0, 0, 1], [0, 0, 1, 1]])
    ways = [sorted(set(itertools.permutations(column))) for column in correct.T]
    every = np.array([np.mean(way, 0) for way in itertools.product(*ways)])
    drawn = performance._permuted_accuracies(correct.sum(0), len(correct), 9999)
    assert np.allclose(drawn.sum(1), correct.mean(1).sum()), "no right answer is lost"
    values, counts = np.unique(every.var(1, ddof=1).round(9), return_counts=True)
    for value, share in zip(values, counts / len(every), strict=True):
        here = np.isclose(drawn.var(1, ddof=1), value).mean()
        assert here == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / len(drawn)))
    exact = np.mean(every.var(1) >= correct.mean(1).var() - 1e-12)
    assert measures.seed_variance(correct).p == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize(("n_runs", "sd", "rejected"), [(5, 0, 0.05), (20, 0, 0.05), (20, 0.03, 1)])
def test_the_seed_test_has_its_size_and_power_and_its_interval_covers(n_runs, sd, rejected):
    rng = np.random.default_rng(n_runs)
    found = [
        measures.seed_variance(answers(rng, n_runs, sd), n_permutations=999) for _ in range(150)
    ]
    assert np.mean([one.p <= 0.05 for one in found]) == pytest.approx(rejected, abs=0.05)
    inside = [one.distribution.low <= sd <= one.distribution.high for one in found]
    assert np.mean(inside) >= 0.92
    assert all(one.distribution.high > 0 for one in found)
    assert all((one.distribution.low > 0) == (one.p <= 0.025) for one in found)


def test_with_endless_examples_the_interval_is_that_of_normal_scores():
    """Seeds that move accuracy by far more than single answers do: nothing is left but chi²."""
    rng = np.random.default_rng(2)
    right = (40_000 * (0.5 + 0.1 * rng.normal(size=10))).astype(int)
    correct = np.arange(40_000) < right[:, None]
    found = measures.seed_variance(correct).distribution
    expected = intervals.sd_interval(correct.mean(1))
    # Answers are one and the same threshold, so all of the variance of an example is the seed's.
    assert found[1:3] == pytest.approx(expected[1:3], rel=0.02)


def test_the_interval_is_scaled_as_the_estimate_is(monkeypatch):
    """Of five examples a fifth of the variance of accuracy is lost, without any chance."""
    monkeypatch.setattr(
        performance, "_permuted_accuracies", lambda _, n_runs, n: np.zeros((n, n_runs))
    )
    correct = np.random.default_rng(3).integers(0, 2, (9, 5))
    expected = np.sqrt(5 / 4) * np.array(intervals.sd_interval(correct.mean(1))[1:3])
    found = measures.seed_variance(correct, n_permutations=40_000).distribution
    assert found[1:3] == pytest.approx(expected, rel=0.02)


def test_the_interval_of_a_seed_variance_is_never_of_no_width():
    alike = measures.seed_variance(np.ones((5, 400), int))
    least = np.sqrt(4 / (5 * 400**2 * stats.chi2.ppf(0.025, 4)))
    assert alike.distribution[:2] == (0, 0) and alike.p == 1
    assert alike.distribution.high == pytest.approx(least, rel=0.05), "that of a single answer"
    calm = np.array([[1, 0], [0, 1]] * 3).repeat(50, axis=1)
    assert calm.mean(1).var() == 0 and measures.seed_variance(calm).distribution.high > 0.03
    assert np.isnan(measures.seed_variance(calm[:2]).distribution.high)


def test_scores_in_percent_are_not_cut_where_shares_end():
    scores = np.array([61.0, 75.0, 66.0, 70.0, 52.0, 64.0])
    for name in ("mean", "sd", "iqm"):
        statistic = summary.statistics_of(scores=scores)[name]
        percent = summary.interval_of(name, statistic, scores)
        share = summary.interval_of(
            name, summary.statistics_of(scores=scores / 100)[name], scores / 100
        )
        assert percent[:3] == pytest.approx(tuple(100 * end for end in share[:3]))
        assert percent.low < percent.value < percent.high
    high = np.array([0.97, 1.0, 1.0])
    assert summary.interval_of("mean", summary.statistics_of(scores=high)["mean"], high).high == 1


def test_permuted_accuracies_are_drawn_run_by_run():
    """The draws of the plain loop over all numbers of right answers, for those that occur alone."""
    n_runs, n_correct = 7, np.array([0, 2, 2, 3, 5, 5, 5, 6, 7, 4])
    rng, plain = np.random.default_rng(0), []
    counts = np.tile(np.bincount(n_correct, minlength=n_runs + 1), (50, 1))
    for run in range(n_runs):
        right = rng.binomial(counts, np.minimum(np.arange(n_runs + 1) / (n_runs - run), 1))
        plain.append(right.sum(1) / len(n_correct))
        counts -= right
        counts[:, :-1] += right[:, 1:]
    found = performance._permuted_accuracies(n_correct, n_runs, 50)
    np.testing.assert_array_equal(found, np.transpose(plain))
    assert (found.sum(1).round(9) == n_correct.mean()).all()
