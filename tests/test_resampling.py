"""Intervals: the vectorised resampling against the plain loop, and what is never counted."""

import numpy as np
import pytest
from scipy import stats

from lib import measures, resampling


def random_distances(n_runs, seed=0, layers=()):
    raw = np.random.default_rng(seed).random((*layers, n_runs, n_runs))
    symmetric = raw + np.swapaxes(raw, -1, -2)
    return symmetric * (1 - np.eye(n_runs))


def test_value_is_the_mean_over_distinct_pairs():
    distances = random_distances(6)
    pairs = [distances[i, j] for i in range(6) for j in range(i + 1, 6)]
    found = measures.instability(distances)
    assert found.value == pytest.approx(np.mean(pairs))
    assert found.low < found.value < found.high and found.n_runs == 6


def test_vectorised_resampling_equals_the_loop():
    distances = random_distances(5)
    weights = resampling.run_weights(5, 50)
    expected = []
    for weight in weights.astype(int):
        drawn = np.repeat(np.arange(5), weight)
        values = [distances[a, b] for a in drawn for b in drawn if a != b]
        expected.append(np.mean(values))
    np.testing.assert_allclose(resampling.pair_means(distances, weights), expected)


def test_self_pairs_are_never_counted():
    """Counting them, as the released notebook does, pulls the mean down by about 1/S."""
    distances = 1 - np.eye(8)
    weights = resampling.run_weights(8)
    assert np.allclose(resampling.pair_means(distances, weights), 1)
    counted = np.einsum("bi,ij,bj->b", weights, distances, weights) / (8 * 7)
    # S draws: a pair of positions holds the same run with probability 1/S.
    assert counted.mean() == pytest.approx(1 - 1 / 8, abs=0.01)


def test_agreement_with_a_diagonal_of_ones_gives_the_same_interval():
    distances = random_distances(5) / 2
    direct, flipped = measures.instability(distances), measures.instability(1 - distances)
    assert flipped.value == pytest.approx(1 - direct.value)
    assert flipped.low == pytest.approx(1 - direct.high)


def test_leading_axes_are_layers():
    stacked = random_distances(5, layers=(3,))
    together = measures.instability(stacked)
    for layer in range(3):
        alone = measures.instability(stacked[layer])
        assert together.value[layer] == pytest.approx(alone.value)
        assert together.low[layer] == pytest.approx(alone.low)


def test_too_few_runs_give_no_interval():
    found = measures.instability(random_distances(2))
    assert np.isfinite(found.value) and np.isnan([found.low, found.high]).all()


def test_a_run_without_distances_is_left_out_and_not_counted():
    distances = random_distances(5)
    distances[3, :] = distances[:, 3] = np.nan
    kept = np.delete(np.delete(distances, 3, 0), 3, 1)
    assert measures.instability(distances) == measures.instability(kept)


def test_level_widens_the_interval():
    distances = random_distances(8)
    narrow, wide = (measures.instability(distances, level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low and narrow.high < wide.high
    with pytest.raises(ValueError, match="level = 95"):
        measures.instability(distances, level=95)


def test_kappa_resampling_equals_the_loop():
    votes = np.random.default_rng(3).integers(0, 2, (6, 40))
    apart = [[np.mean(a != b) for b in votes] for a in votes]
    values = []
    for weight in resampling.run_weights(6).astype(int):
        drawn = np.repeat(np.arange(6), weight)
        pairs = [apart[a][b] for a in drawn for b in drawn if a != b]
        shares = np.array([(votes[drawn] == c).mean() for c in (0, 1)])
        values.append(np.mean(pairs) / (1 - (shares**2).sum()))
    found = measures.kappa_instability(votes)
    assert found.value == 1 - measures.fleiss_kappa(votes)
    assert (found.low, found.high) == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=1e-12)


def test_pair_correlation_equals_the_loop():
    a, b = random_distances(6, 1), random_distances(6, 2)
    upper = np.triu_indices(6, 1)
    found = resampling.pair_correlation(a, b)
    assert found.value == pytest.approx(stats.spearmanr(a[upper], b[upper]).statistic)
    ranks = [stats.rankdata(m[upper]) for m in (a, b)]
    values = []
    for weight in resampling.run_weights(6):
        times = (weight[upper[0]] * weight[upper[1]]).astype(int)
        repeated = [np.repeat(rank, times) for rank in ranks]
        if min(map(np.ptp, repeated)) > 0:
            values.append(np.corrcoef(repeated)[0, 1])
    expected = np.quantile(values, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)
    assert resampling.pair_correlation(a, a).value == pytest.approx(1)


def test_an_interval_says_itself():
    assert resampling.Interval(0.1234, 0.1, 0.2, 5).text() == "0.123 [0.100, 0.200]"
    assert resampling.Interval(0.1234, float("nan"), float("nan"), 2).text(2) == "0.12"


@pytest.mark.parametrize(("n", "low", "high"), [(3, 0.521, 6.285), (10, 0.688, 1.826)])
def test_sd_interval_has_the_tabulated_factors(n, low, high):
    scores = stats.norm.rvs(size=n, random_state=0)
    found = resampling.sd_interval(scores)
    assert found.low / found.value == pytest.approx(low, abs=5e-4)
    assert found.high / found.value == pytest.approx(high, abs=5e-4)


def test_sd_interval_covers_normal_scores():
    rng = np.random.default_rng(0)
    found = [resampling.sd_interval(rng.normal(size=5)) for _ in range(1000)]
    covered = np.mean([f.low <= 1 <= f.high for f in found])
    assert covered == pytest.approx(0.95, abs=0.021)
