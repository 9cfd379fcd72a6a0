"""Validity: published values by other means, known answers, and what happens where nothing is."""

import itertools

import numpy as np
import pytest
from scipy import stats

from lib.analysis import validity
from lib.measures import intervals


def distances(rng, shape=(), n_runs=6, spread=1.0):
    """Random symmetric distances (…, S, S) with a zero diagonal."""
    made = 2 + spread * rng.random((*shape, n_runs, n_runs))
    made = (made + np.swapaxes(made, -1, -2)) / 2
    return made * (1 - np.eye(n_runs))


def curve(matrices):
    upper = np.triu_indices(matrices.shape[-1], 1)
    return matrices[:, upper[0], upper[1]].mean(1)


def test_layer_agreement_is_pearson_of_the_mean_curves():
    rng = np.random.default_rng(0)
    a, b = distances(rng, (7,)), distances(rng, (7,))
    found = validity.layer_agreement(a, b)
    assert found.value == pytest.approx(np.corrcoef(curve(a), curve(b))[0, 1], abs=1e-12)
    assert -1 <= found.low <= found.value <= found.high <= 1
    steps = validity.layer_agreement(a, b, steps=True).value
    expected = np.corrcoef(np.diff(curve(a)), np.diff(curve(b)))[0, 1]
    assert steps == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda of: validity.layer_agreement(of(), of()), r"a has shape \(6, 6\)"),
        (lambda of: validity.layer_agreement(of(3), of(4)), r"\(3, 6, 6\) and \(4, 6, 6\)"),
        (lambda of: validity.layer_agreement(of(3), of(3), steps=True), "at least 4 layers"),
        (lambda of: validity.separation(of(), np.arange(6) < 1), "at least two of each kind"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(lambda *shape: distances(np.random.default_rng(0), shape))


def test_depth_trend_is_spearmans():
    rng = np.random.default_rng(2)
    matrices = distances(rng, (9,))
    found = validity.depth_trend(matrices)
    expected = stats.spearmanr(curve(matrices), np.arange(9)).statistic
    assert found.value == pytest.approx(expected, abs=1e-12)
    rising = matrices + 5 * np.arange(9)[:, None, None] * (1 - np.eye(6))
    assert validity.depth_trend(rising)[:3] == pytest.approx((1, 1, 1))


def test_separation_by_hand():
    matrix = np.array(
        [[0, 5, 1, 1, 1], [5, 0, 1, 1, 1], [1, 1, 0, 2, 3], [1, 1, 2, 0, 4], [1, 1, 3, 4, 0.0]]
    )
    failed = np.array([True, True, False, False, False])
    found = validity.separation(matrix, failed)
    assert (found.failed, found.successful) == (5, 3)
    assert found.difference.value == 2


def test_separation_is_welchs_test_of_jackknifed_means():
    """By plain loops: leave each run out, and compare the means of what is left."""
    rng = np.random.default_rng(3)
    matrix, failed = distances(rng, n_runs=9), np.arange(9) < 4
    squares, means, sizes = [], [], []
    for kind in (np.flatnonzero(failed), np.flatnonzero(~failed)):
        left = [np.delete(kind, i) for i in range(len(kind))]
        values = [matrix[np.ix_(k, k)][np.triu_indices(len(k), 1)].mean() for k in left]
        squares.append((len(kind) - 1) ** 2 / len(kind) * np.var(values, ddof=1))
        means.append(matrix[np.ix_(kind, kind)][np.triu_indices(len(kind), 1)].mean())
        sizes.append(len(kind))
    free = sum(squares) ** 2 / sum(s**2 / (n - 1) for s, n in zip(squares, sizes, strict=True))
    t = (means[0] - means[1]) / np.sqrt(sum(squares))
    found = validity.separation(matrix, failed).difference
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), free))
    assert found.high - found.value == pytest.approx(
        stats.t.ppf(0.975, free) * np.sqrt(sum(squares))
    )
    two = validity.separation(matrix, np.arange(9) < 2)
    assert np.isfinite(two.difference.value) and np.isnan(two.difference.p)


@pytest.mark.parametrize("digits", [1, 16])
def test_two_settings_are_told_apart_by_all_ways_or_by_draws(monkeypatch, digits):
    """Of distances with one digit many ways give the same difference but for rounding."""
    rng = np.random.default_rng(7)
    matrix, second = distances(rng, n_runs=8).round(digits), np.arange(8) < 4
    found = validity.between_settings(matrix, second)
    gaps = []
    for rows in itertools.combinations(range(8), 4):
        kind = np.isin(np.arange(8), rows)
        within = [matrix[np.ix_(k, k)][np.triu_indices(4, 1)].mean() for k in (kind, ~kind)]
        gaps.append(matrix[np.ix_(kind, ~kind)].mean() - np.mean(within))
    exact = np.mean(np.array(gaps) >= found.between - found.within - 1e-12)
    assert found.p == pytest.approx(exact, abs=1e-12)
    monkeypatch.setattr(validity, "ENUMERATED", 69)  # of 70
    drawn = validity.between_settings(matrix, second).p
    assert drawn * 70 == pytest.approx(round(drawn * 70)) and drawn != found.p
    assert drawn == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 69) + 1 / 70)


def test_pair_agreement_is_the_pair_correlation_with_the_p_of_all_permutations():
    rng = np.random.default_rng(1)
    a = distances(rng, n_runs=6)
    b = a + 1.6 * distances(rng, n_runs=6)
    upper = np.triu_indices(6, 1)
    found = validity.pair_agreement(a, b)
    assert found[:3] == intervals.pair_correlation(a, b)[:3]
    assert validity.pair_agreement(a, np.exp(3 * b)) == found, "it knows only the order of pairs"
    every = []
    for order in itertools.permutations(range(6)):
        every.append(stats.spearmanr(a[upper], b[np.ix_(order, order)][upper]).statistic)
    exact = np.mean(np.abs(every) >= abs(every[0]) - 1e-12)
    assert found.p == pytest.approx(exact, abs=3 * np.sqrt(exact * (1 - exact) / 9999) + 2e-4)


def test_pair_agreement_with_too_few_runs_or_equal_distances_has_no_p():
    rng = np.random.default_rng(3)
    few = validity.pair_agreement(distances(rng, n_runs=4), distances(rng, n_runs=4))
    assert np.isnan(few.p) and np.isnan(few.low)
    equal = validity.pair_agreement(distances(rng, n_runs=6), 1 - np.eye(6))
    assert np.isnan(equal.p) and np.isnan(equal.value)


def test_agreements_of_all_groups_are_corrected_together():
    rng = np.random.default_rng(4)
    groups = {group: {measure: distances(rng) for measure in "abc"} for group in "xy"}
    table = validity.pair_agreements(groups)
    assert len(table) == 2 * 3
    for row in table.itertuples():
        found = validity.pair_agreement(groups[row.group][row.a], groups[row.group][row.b])
        assert (row.value, row.p) == (found.value, found.p)
    smallest = table["p"].idxmin()
    assert table.loc[smallest, "adjusted"] == pytest.approx(min(1, 6 * table.loc[smallest, "p"]))


def test_separations_are_those_of_each_layer():
    rng = np.random.default_rng(5)
    layers, failed = {measure: distances(rng, (4,)) for measure in ("op", "cka")}, np.arange(6) < 3
    table = validity.separations(layers, failed).set_index(["measure", "layers"])
    assert len(table) == 4 * 2
    found = validity.separation(layers["op"][-1], failed)
    row = table.loc["op", 4]
    assert (row["failed"], row["successful"]) == (found.failed, found.successful)
    assert row["value"] == found.failed - found.successful and row["p"] == found.difference.p


def test_an_sd_rises_by_chance_as_often_as_an_f_ratio_says():
    """Two doses, one of them twice the other: the ratio of two variances of n scores is 4 F."""
    spreads = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]])
    found = validity.rises_by_chance(spreads, 6)
    p = stats.f.cdf(4, 5, 5)
    assert found.mean() == pytest.approx(3 * p, abs=0.03)
    assert found.var() == pytest.approx(3 * p * (1 - p), rel=0.1)
    # With no difference four doses are in order one time in 24, and many scores leave no doubt.
    level = validity.rises_by_chance(np.ones((2, 4)), 6)
    assert level.mean() == pytest.approx(2 / 24, abs=0.01)
    assert (validity.rises_by_chance(spreads, 500) == 3).all()
    # What is true is pooled over models: one that is out of order is no evidence by itself.
    mixed = validity.rises_by_chance(np.array([[3.0, 1.0], [1.0, 4.0]]), 6)
    assert mixed.mean() == pytest.approx(2 * stats.f.cdf(17 / 10, 5, 5), abs=0.03)
