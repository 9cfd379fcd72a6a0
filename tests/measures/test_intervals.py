"""Intervals: the vectorised resampling against the plain loop, and what is never counted."""

import re
from decimal import Decimal
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lib import measures
from lib.measures import intervals


def random_distances(n_runs, seed=0, layers=()):
    raw = np.random.default_rng(seed).random((*layers, n_runs, n_runs))
    symmetric = raw + np.swapaxes(raw, -1, -2)
    return symmetric * (1 - np.eye(n_runs))


VALUES = np.random.default_rng(3).normal(size=(9, 2, 3))
DISTANCES = random_distances(9)
VOTES = np.random.default_rng(3).integers(0, 2, (9, 40))


def mean_of_pairs(matrix, rows):
    """Over the pairs of two different runs: those of a run with itself are never counted."""
    return np.mean([matrix[a, b] for a in rows for b in rows if a != b])


def one_minus_kappa(rows):
    """Chance agreement: of m votes a share of 1/m of the pairs are a run's with its own."""
    shares = np.stack([(c == VOTES).mean(1) for c in (0, 1)], 1)
    alike = shares @ shares.T
    own = np.mean([alike[a, a] for a in rows]) / len(rows)
    chance = (1 - 1 / len(rows)) * mean_of_pairs(alike, rows) + own
    return mean_of_pairs((VOTES[:, None] != VOTES).mean(-1), rows) / (1 - chance)


@pytest.mark.parametrize(
    ("statistic", "by_loop"),
    [
        (partial(intervals.run_means, VALUES), lambda rows: VALUES[rows].mean(0)),
        (partial(intervals.pair_means, DISTANCES), partial(mean_of_pairs, DISTANCES)),
        (measures.kappa_statistic(VOTES), one_minus_kappa),
        (
            measures.interquartile_mean_statistic(VALUES[:, 0, 0]),
            lambda rows: measures.interquartile_mean(VALUES[rows, 0, 0]),
        ),
    ],
    ids=["run means", "pair means", "kappa", "interquartile mean"],
)
def test_a_statistic_of_weights_equals_the_loop_over_the_runs_drawn(statistic, by_loop):
    weights = np.vstack([np.ones((1, 9)), 1 - np.eye(9), intervals.run_weights(9, 50)])
    drawn = [np.repeat(np.arange(9), weight) for weight in weights.astype(int)]
    np.testing.assert_allclose(statistic(weights), [by_loop(rows) for rows in drawn], atol=1e-12)


def test_level_widens_the_interval():
    distances = random_distances(8)
    narrow, wide = (measures.instability(distances, level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low and narrow.high < wide.high


def test_pair_correlation_equals_the_loop():
    a, b = random_distances(6, 1), random_distances(6, 2)
    upper = np.triu_indices(6, 1)
    found = intervals.pair_correlation(a, b)
    assert found.value == pytest.approx(stats.spearmanr(a[upper], b[upper]).statistic)
    ranks = [stats.rankdata(m[upper]) for m in (a, b)]
    values = []
    for weight in intervals.run_weights(6):
        times = (weight[upper[0]] * weight[upper[1]]).astype(int)
        repeated = [np.repeat(rank, times) for rank in ranks]
        if min(map(np.ptp, repeated)) > 0:
            values.append(np.corrcoef(repeated)[0, 1])
    expected = intervals.percentile_interval(np.array(values), n_runs=6)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)
    assert intervals.pair_correlation(a, a).value == pytest.approx(1)


@pytest.mark.parametrize(("n", "low", "high"), [(3, 0.521, 6.285), (10, 0.688, 1.826)])
def test_sd_interval_has_the_tabulated_factors(n, low, high):
    scores = stats.norm.rvs(size=n, random_state=0)
    found = intervals.sd_interval(scores)
    assert found.low / found.value == pytest.approx(low, abs=5e-4)
    assert found.high / found.value == pytest.approx(high, abs=5e-4)


def test_expanded_percentiles_have_students_width_for_normal_means():
    """The reason for them: the plain ones are too narrow by √((S − 1)/S) and by z against t."""
    widths = {"resampling": [], "percentile": []}
    exact = []
    for seed in range(60):
        scores = np.random.default_rng(seed).normal(size=8)
        exact.append(2 * stats.t.ppf(0.975, 7) * stats.sem(scores))
        for method in widths:
            found = intervals.mean_interval(scores, method=method)
            widths[method].append(found.high - found.low)
    assert np.median(np.divide(widths["resampling"], exact)) == pytest.approx(1, abs=0.08)
    assert np.median(np.divide(widths["percentile"], exact)) == pytest.approx(0.75, abs=0.06)


def test_few_runs_are_not_resampled_but_left_out_which_for_a_mean_is_students_interval():
    scores = np.array([0.7, 0.72, 0.77, 0.71])
    found = intervals.mean_interval(scores)
    assert found == intervals.mean_interval(scores, method="jackknife")
    expected = stats.t.interval(0.95, 3, scores.mean(), stats.sem(scores))
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)
    two = measures.instability(random_distances(2))
    assert np.isfinite(two.value) and np.isnan([two.low, two.high]).all()


def test_a_permutation_p_is_that_of_the_absolute_value_and_never_zero():
    drawn = np.array([-3.0, -1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 2.0, 4.0])
    assert intervals.permutation_p(drawn, -3.0) == 3 / 10
    assert intervals.permutation_p(drawn, -3.0, complete=True) == 2 / 9
    assert intervals.permutation_p(drawn, 9.0) == 1 / 10
    assert intervals.permutation_p(0.1 + 0.2 + np.zeros(9), 0.3) == 1, "equal but for rounding"
    assert intervals.permutation_p(1e-17 * drawn + 1, 1.0 + 1e-12) == 1
    of_two = intervals.permutation_p(np.column_stack([drawn, drawn]), np.array([2.0, np.nan]))
    assert of_two[0] == 4 / 10 and np.isnan(of_two[1])


def test_orders_are_all_of_them_or_draws(monkeypatch):
    every, complete = intervals.orders(4)
    assert complete and len({tuple(order) for order in every}) == len(every) == 24
    monkeypatch.setattr(intervals, "ENUMERATED", 20)
    drawn, complete = intervals.orders(4)
    assert not complete and {tuple(order) for order in drawn} == {tuple(order) for order in every}


def test_the_variance_is_a_mean_over_pairs():
    scores = np.random.default_rng(2).normal(size=9)
    found = intervals.sd_interval(scores, method="resampling")
    assert found.value == pytest.approx(scores.std(ddof=1)) and found.low < found.value < found.high


def test_weights_are_shared_and_cannot_be_changed():
    weights = intervals.run_weights(6)
    assert weights is intervals.run_weights(6) and (weights.sum(1) == 6).all()
    with pytest.raises(ValueError, match="read-only"):
        weights[0] = 0
    assert (intervals.run_weights(6, 10, size=40).sum(1) == 40).all()


@pytest.mark.parametrize("size", [None, 8])
def test_of_many_runs_too_a_statistic_is_that_of_pairs(size, monkeypatch):
    rng = np.random.default_rng(4)
    predictions, scores = rng.integers(0, 3, (150, 40)), rng.normal(size=150)
    weights = intervals.run_weights(150, 30, size=size)
    apart = measures.pairwise_disagreement(predictions)
    kappas = measures.kappa_statistic(predictions)(weights)
    shares = intervals.share_means(apart, 40, weights)
    monkeypatch.setattr(intervals, "MANY_RUNS", 1000)
    np.testing.assert_allclose(shares, intervals.pair_means(apart, weights), rtol=1e-12)
    np.testing.assert_allclose(kappas, measures.kappa_statistic(predictions)(weights), rtol=1e-12)
    by_pairs = intervals.root_pair_means(intervals.half_squares(scores), weights)
    np.testing.assert_allclose(intervals.weighted_sd(scores, weights), by_pairs, rtol=1e-12)
    alike = np.where(weights[0] > 0, 0.7, scores)
    assert intervals.weighted_sd(alike, weights)[0] == 0 < intervals.weighted_sd(alike, weights)[1]


def test_intervals_stay_where_the_quantity_can_be():
    distances = np.zeros((3, 3))
    distances[0, 1:] = distances[1:, 0] = 0.9
    found = measures.instability(distances)
    assert found.low == 0 and found.high > 0.9
    bounded = intervals.interval(lambda w: intervals.pair_means(distances, w), 3, bounds=(0, 1))
    assert (bounded.low, bounded.high) == (0, 1)


def test_leading_axes_are_layers_and_a_run_without_distances_is_left_out_where_it_has_none():
    stacked = random_distances(6, layers=(3,))
    whole = measures.instability(stacked)
    assert whole.n_runs == 6
    stacked[1, 2, :] = stacked[1, :, 2] = np.nan
    found = measures.instability(stacked)
    assert found.n_runs.tolist() == [6, 5, 6] and np.isfinite(found.low).all()
    kept = np.delete(np.delete(stacked[1], 2, 0), 2, 1)
    assert measures.instability(stacked[1]) == measures.instability(kept)
    for layer, row in enumerate(zip(*found, strict=True)):
        assert row == pytest.approx(measures.instability(stacked[layer]))
    assert found.high[2] == pytest.approx(whole.high[2])


def test_pair_correlation_of_few_runs_has_no_interval():
    a, b = random_distances(4, 1), random_distances(4, 2)
    found = intervals.pair_correlation(a, b)
    assert np.isfinite(found.value) and np.isnan(found.low)
    wide = np.pad(random_distances(6, 1), (0, 1), constant_values=np.nan)
    other = np.pad(random_distances(6, 2), (0, 1), constant_values=np.nan)
    expected = intervals.pair_correlation(random_distances(6, 1), random_distances(6, 2))
    assert intervals.pair_correlation(wide, other) == expected
    with pytest.raises(ValueError, match=r"shapes \(4, 4\) and \(7, 7\)"):
        intervals.pair_correlation(a, wide)


@pytest.mark.parametrize("level", [0, 1, 95, -1, float("nan")])
def test_a_level_that_is_none_is_refused(level):
    for call in (
        lambda: intervals.percentile_interval(np.arange(9.0), level),
        lambda: intervals.sd_interval([1, 2, 3], level=level),
        lambda: measures.instability(random_distances(5), level=level),
    ):
        with pytest.raises(ValueError, match="expected a share between 0 and 1"):
            call()


@pytest.mark.parametrize(
    ("numbers", "how", "shown"),
    [
        ((0.1034, 0.0901, 0.1158), {}, "0.103 [0.090, 0.116]"),
        ((0.1034, np.nan, np.nan), {}, "0.103"),
        ((0.0008, 0.0007, 0.0009), {"digits": 2}, "0.0008 [0.0007, 0.0009]"),
        ((0.8433, 0.8432, 0.8434), {}, "0.8433 [0.8432, 0.8434]"),
        ((0.5, 0.5, 0.5), {}, "0.500 [0.500, 0.500]"),
        ((1.07, 0.96, 1.19), {"digits": 2, "form": "g"}, "1.1 [0.96, 1.2]"),
        ((1.02, 1.01, 1.04), {"digits": 1, "form": "g"}, "1.02 [1.01, 1.04]"),
        ((0.00023, 0.00003, 0.002), {"digits": 2, "form": "g"}, "0.00023 [3e-05, 0.002]"),
        ((0, 0, 1e-17), {"digits": 1}, "0 [0, 0]"),
        ((-1e-20, np.nan, np.nan), {}, "0"),
        ((0, 0, 0.52), {"digits": 2}, "0.00 [0.00, 0.52]"),
        ((-0.001, -0.07, 0.08), {"digits": 2}, "0.00 [-0.07, 0.08]"),
        ((3e-10, 1e-10, 5e-10), {}, "3e-10 [1e-10, 5e-10]"),
        ((1e20, 9e19, 2e20), {}, "1e+20 [9e+19, 2e+20]"),
        ((0.5, 0.5 - 1e-16, 0.5 + 1e-16), {}, "0.500 [0.500, 0.500]"),
        ((1.0, -np.inf, np.inf), {}, "1 [-inf, inf]"),
    ],
)
def test_an_interval_is_never_printed_as_a_point_that_it_is_not(numbers, how, shown):
    assert intervals.Interval(*numbers, 5).text(**how) == shown


NUMBERS = st.one_of(
    st.floats(-1, 1), st.floats(-1e12, 1e12), st.sampled_from([0.0, -0.0, 1e-17, -1e-13, 1e-7, 0.5])
)


@given(NUMBERS, NUMBERS, NUMBERS, st.integers(0, 5), st.sampled_from("fg"), st.integers(0, 16))
def test_what_is_printed_says_what_the_numbers_are(low, value, high, digits, form, near):
    """Within its rounding, in few digits, no zero with a sign, and ends that differ do."""
    low, value, high = sorted((value + (low - value) / 10**near, value, high))
    text = intervals.Interval(value, low, high, 5).text(digits, form)
    shown = re.fullmatch(r"(\S+) \[(\S+), (\S+)\]", text).groups()
    size = max(map(abs, (low, value, high)))
    for word, number in zip(shown, (value, low, high), strict=True):
        unit = 10.0 ** Decimal(word).as_tuple().exponent
        assert abs(float(word) - number) <= unit / 2 * (1 + 1e-6) + 1e-12
        assert float(word) != 0 or not word.startswith("-")
        assert len(word) <= 20 and len(Decimal(word).as_tuple().digits) <= 18
    assert float(shown[1]) <= float(shown[0]) <= float(shown[2])
    if high - low > 1e-9 * size + 2e-12:
        assert shown[1] != shown[2]
    elif form == "f" and 1e-6 <= size < 1e9 and high - low < 1e-9 * size - 2e-12:
        assert all(len(word.partition(".")[2]) == digits for word in shown), "no digit more"
    if size < 1e-12:
        assert text == "0 [0, 0]"
