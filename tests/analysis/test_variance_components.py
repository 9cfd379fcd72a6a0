"""Sources of randomness: the statistics of a crossed design, and the designs in a table of runs."""

import itertools

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.formula.api import ols

from benchmarks import variance_coverage
from lib import measures
from lib.analysis import seed_transfer, variance_components
from lib.config import Setting, to_row
from lib.measures import intervals


def grid(*shape, seed=0):
    """Scores with effects of init, order and the rest."""
    rng = np.random.default_rng(seed)
    each, init, order = (rng.normal(size=size) for size in (shape, shape[:1], shape[1:2]))
    # From the last axis on, as numpy broadcasts.
    return (each.T + order.reshape(-1, 1) + 2 * init).T


def test_components_by_hand():
    """Rows 1 2 / 3 8: MS of rows 16, of columns 9, of the rest 4."""
    found = variance_components.variance_components(np.array([[1.0, 2], [3, 8]]))
    assert found["variance"].to_dict() == pytest.approx({"init": 6.0, "order": 2.5, "rest": 4.0})
    assert found["share"].to_numpy() == pytest.approx(np.array([6, 2.5, 4]) / 12.5)
    assert found["sd"].to_numpy() == pytest.approx(np.sqrt([6, 2.5, 4]))

    # A Latin square: rows and columns have the same means, so all variance is in the rest.
    found = variance_components.variance_components(np.array([[1.0, 2, 3], [2, 3, 1], [3, 1, 2]]))
    assert found["variance"].to_dict() == pytest.approx({"init": -0.5, "order": -0.5, "rest": 1.5})
    assert found["share"].to_dict() == pytest.approx({"init": -1, "order": -1, "rest": 3})
    assert found.loc["init", "variance_low"] < -0.5 and found.loc["init", "sd"] == 0


@pytest.mark.parametrize("shape", [(4, 6), (3, 4, 3)])
def test_mean_squares_are_those_of_statsmodels(shape):
    scores = grid(*shape)
    index = np.stack(np.unravel_index(np.arange(scores.size), shape), 1)
    frame = pd.DataFrame(index[:, :2], columns=["a", "b"]).assign(y=scores.ravel())
    formula = "y ~ C(a) * C(b)" if len(shape) == 3 else "y ~ C(a) + C(b)"
    anova = sm.stats.anova_lm(ols(formula, frame).fit())
    squares = (anova["sum_sq"] / anova["df"]).to_numpy()
    I, J, K = (*shape, 1)[:3]
    rest = squares[2]
    expected = [(squares[0] - rest) / (J * K), (squares[1] - rest) / (I * K), rest]
    if len(shape) == 3:
        expected[2:] = [(rest - squares[3]) / K, squares[3]]
    found = variance_components.variance_components(scores)["variance"]
    assert found.to_numpy() == pytest.approx(expected)


def test_the_generalised_interval_of_the_rest_is_the_chi_square_interval():
    scores = grid(5, 6)
    row = variance_components.variance_components(scores, level=0.9).loc["rest"]
    exact = row["variance"] * 20 / stats.chi2.ppf([0.95, 0.05], 20)
    assert [row["variance_low"], row["variance_high"]] == pytest.approx(exact, rel=0.03)


def test_the_generalised_interval_ends_at_0_where_the_f_test_is_undecided():
    """The share of draws with a component of init above 0 is 1 − p of the F test."""
    scores = np.random.default_rng(1).normal(size=(5, 5)) + 0.5 * np.arange(5)[:, None]
    squares, free, _ = variance_components._mean_squares(scores)
    p = stats.f.sf(squares[0] / squares[2], free[0], free[2])
    assert 0.02 < p < 0.4
    for level, above in ((1 - 2 * p - 0.02, True), (1 - 2 * p + 0.02, False)):
        row = variance_components.variance_components(scores, level=level).loc["init"]
        assert (row["variance_low"] > 0) is np.bool_(above)


def test_equal_scores_have_no_shares_and_two_seeds_no_jackknife():
    found = variance_components.variance_components(np.full((3, 4), 0.7))
    assert (found["variance"] == 0).all() and found["share"].isna().all()
    value, low, high = variance_coverage.jackknife(variance_components.components, grid(2, 4), 0.95)
    assert np.isnan([low, high]).all() and not np.isnan(value).any()


@pytest.mark.parametrize(
    ("scores", "how", "message"),
    [
        (np.zeros(5), {}, r"shape \(5,\); expected \(I, J\)"),
        (np.zeros((1, 5)), {}, "at least 2 of each"),
        (np.array([[1, 2], [np.nan, 3]]), {}, r"scores\[1, 0\] is nan: .*leave out its init seed"),
        (np.eye(3), {"level": 95}, "such as 0.95"),
    ],
)
def test_what_is_no_grid_is_refused(scores, how, message):
    with pytest.raises(ValueError, match=message):
        variance_components.variance_components(scores, **how)
    with pytest.raises(ValueError, match=message):
        variance_components.share_difference(scores, **how)


def test_dependence_by_hand():
    """All runs of init 0 failed, no other: 3 of the 3⁴ arrangements have them in one row."""
    failed = np.zeros((3, 4))
    failed[0] = 1
    found = variance_components.seed_dependence(failed)
    assert found["init"] == pytest.approx(3 / 81, abs=0.006)
    assert np.isnan(found["order"])  # no init seed met with different outcomes
    assert variance_components.seed_dependence(failed.T)["order"] == found["init"]


def test_concordance_by_hand():
    """Ranks 1 2 3, 1 3 2, 2 1 3: sums 4, 6, 8, so R = 8 and W = 12·8/(9·24) = 4/9."""
    found = seed_transfer.kendalls_w([[0.1, 0.2, 0.3], [0.5, 0.9, 0.7], [2, 1, 3]])
    assert found.w == pytest.approx(4 / 9)
    assert found.expected == pytest.approx(1 / 3) and found[3:] == (3, 3)
    every = itertools.product(itertools.permutations([1, 2, 3]), repeat=3)
    squares = [((np.sum(ranks, 0) - 6) ** 2).sum() for ranks in every]
    assert found.p == pytest.approx(np.mean(np.array(squares) >= 8), abs=0.02)


@pytest.mark.parametrize("ties", [False, True])
def test_concordance_is_friedmans_test(ties):
    scores = np.random.default_rng(0).normal(size=(5, 8)) + np.linspace(0, 1, 8)
    scores = scores.round(0) if ties else scores
    found = seed_transfer.kendalls_w(scores)
    statistic, p = stats.friedmanchisquare(*scores.T)
    assert 5 * 7 * found.w == pytest.approx(statistic)
    assert found.p == pytest.approx(p, abs=0.03)


def test_best_of_one_is_the_mean_and_its_interval_the_jackknife_of_rows_and_columns():
    scores = grid(4, 6)
    value, _, high = variance_coverage.best_of(scores, 1)
    assert value == pytest.approx(scores.mean())
    squares = scores.mean(1).var(ddof=1) / 4 + scores.mean(0).var(ddof=1) / 6
    assert high - value == pytest.approx(stats.t.ppf(0.975, 3) * np.sqrt(squares))
    sizes = np.array([1, 2, 10, 2000])
    value, low, _ = variance_coverage.best_of(scores, sizes)
    np.testing.assert_allclose(value, measures.expected_maximum(scores.ravel(), sizes))
    assert (low < value).all() and low.shape == (4,)
    assert np.isnan(variance_coverage.best_of(grid(2, 5), 3)[1])


def run_table(task="nyt", inits=(0, 1, 2), orders=(0, 5), dropouts=(0,), **columns):
    """Rows as ``lib.results.tables`` makes them: score 0.5 + init/10 + order/100 + dropout/1000."""
    streams = ["seed_init", "seed_order", "seed_dropout"]
    seeds = pd.DataFrame(itertools.product(inits, orders, dropouts), columns=streams)
    shared = {"group": task, "setting_id": task, "status": "ok", "metric": "accuracy"}
    table = seeds.assign(score=0.5 + seeds @ [0.1, 0.01, 0.001], majority=0.4, **shared)
    table = table.assign(**to_row(Setting(task=task).to_dict()), **columns)
    return table.sample(frac=1, random_state=0)


def test_a_crossed_group_becomes_a_grid_whatever_the_order_of_its_rows():
    found, notes = variance_components.crossed_groups(run_table())
    assert notes == [] and list(found) == ["nyt"]
    design = found["nyt"]
    np.testing.assert_allclose(design.scores, [[0.5, 0.55], [0.6, 0.65], [0.7, 0.75]])
    assert design.seeds("init") == (0, 1, 2) and design.seeds("order") == (0, 5)
    assert design.seeds("dropout") == (0,) and not design.failed.any()
    replicated = variance_components.crossed_groups(run_table(dropouts=(0, 1, 2)))[0]["nyt"]
    assert replicated.scores.shape == (3, 2, 3)
    np.testing.assert_allclose(replicated.scores[1, 1], [0.65, 0.651, 0.652])


def test_ordinary_groups_are_passed_over_and_incomplete_grids_named():
    ordinary = pd.concat(run_table(inits=(s,), orders=(s,), dropouts=(s,)) for s in range(5))
    assert variance_components.crossed_groups(ordinary) == ({}, [])
    assert variance_components.crossed_groups(run_table(orders=(0,))) == ({}, [])
    whole = run_table()
    for part in (whole.iloc[1:], pd.concat([whole, whole.iloc[:1]]), pd.concat([whole] * 2)):
        found, notes = variance_components.crossed_groups(part)
        assert found == {} and len(notes) == 1 and "nyt: " in notes[0]
    two = whole.assign(setting_id=np.where(whole["seed_init"] == 0, "a", "b"))
    assert variance_components.crossed_groups(two) == ({}, [])


@pytest.mark.parametrize(("metric", "worth"), [("accuracy", 0.4), ("mcc", 0.0)])
def test_a_diverged_run_counts_as_one_that_knows_nothing(metric, worth):
    table = run_table(metric=metric)
    lost = (table["seed_init"] == 1) & (table["seed_order"] == 5)
    table.loc[lost, ["score", "status"]] = [np.nan, "diverged"]
    design = variance_components.crossed_groups(table)[0]["nyt"]
    assert design.scores[1, 1] == worth
    assert design.failed.tolist() == [[False, False], [False, True], [False, False]]


def crossed_runs(*sizes):
    """A run for each cell of the grid, by its seeds."""
    seeds = itertools.product(*map(range, sizes))
    return pd.DataFrame(seeds, columns=[f"seed_{s}" for s in variance_components.STREAMS])


def test_a_share_without_a_seed_is_that_of_the_smaller_grid():
    """Order seed 5 makes all runs worse: with it the order is nearly all, without it nothing."""
    scores = 0.7 + 0.01 * grid(3, 3, 2)
    scores[:, 1] -= 0.5
    table = run_table(orders=(0, 5, 7), dropouts=(0, 1))
    table = table.sort_values(["seed_init", "seed_order", "seed_dropout"])
    table["score"] = scores.ravel()
    (design,) = variance_components.crossed_groups(table)[0].values()
    found = variance_components.shares_without_a_seed(design)["share"]
    whole = variance_components.variance_components(design.scores)["share"]
    assert whole["order"] > 0.9 and found["init", 0, "order"] > 0.9
    assert found["order", 5, "order"] < 0.5 < 0.9 < found["order", 7, "order"]
    by_hand = variance_components.variance_components(design.scores[:, [0, 2]])["share"]
    assert found["order", 5].to_dict() == by_hand.to_dict()
    (small,) = variance_components.crossed_groups(run_table())[0].values()
    found = variance_components.shares_without_a_seed(small)["share"]
    assert found["init"].notna().all() and found["order"].isna().all()


def test_means_by_stream_are_those_of_a_loop_over_pairs():
    runs = crossed_runs(3, 4, 2).drop(index=[1, 6, 20]).reset_index(drop=True)
    points = np.random.default_rng(0).normal(size=(len(runs), 2))
    distances = np.abs(points[:, None] - points).transpose(2, 0, 1)
    found = variance_components._means_by_stream(distances, runs)
    by_hand = {}
    for a, b in itertools.combinations(range(len(runs)), 2):
        apart = runs.loc[a] != runs.loc[b]
        key = tuple(s for s in variance_components.STREAMS if apart[f"seed_{s}"])
        by_hand.setdefault(key, []).append(distances[:, a, b])
    assert found.keys() == by_hand.keys() and len(found) == 7
    for streams, values in by_hand.items():
        np.testing.assert_allclose(found[streams][0], np.mean(values, axis=0))


def test_a_resample_of_seeds_counts_a_pair_by_its_seeds():
    """Init seeds drawn w times, order seeds v times: a pair that shares its order counts w·w'·v."""
    runs = crossed_runs(3, 3, 1)
    distances = np.random.default_rng(1).random((1, 9, 9))
    distances += distances.swapaxes(1, 2)
    found = variance_components._means_by_stream(distances, runs)
    weights = [intervals.run_weights(3, seed=number) for number in (0, 1)]
    row = np.flatnonzero((weights[0].max(1) == 2) & (weights[1].max(1) == 2))[0]
    inits, orders = weights[0][row], weights[1][row]
    total = drawn = 0.0
    for (i, j), (k, m) in itertools.product(itertools.product(range(3), repeat=2), repeat=2):
        if i != k and j == m:
            weight = inits[i] * inits[k] * orders[j]
            total, drawn = total + weight * distances[0, 3 * i + j, 3 * k + m], drawn + weight
    assert found["init",][row + 1, 0] == pytest.approx(total / drawn)
    assert set(found) == {("init",), ("order",), ("init", "order")}


def test_two_seeds_of_each_stream_have_values_and_no_intervals():
    runs = crossed_runs(2, 2, 1)
    table = variance_components.stream_table({"d": 1.0 - np.eye(4)}, runs)
    assert table["differing"].tolist() == ["order", "init", "init, order"]
    assert (table[["value", "share"]] == 1).all(axis=None)
    assert table[["low", "high", "share_low", "share_high"]].isna().all(axis=None)


def test_intervals_by_stream_hold_the_truth():
    """Runs are points, an effect of init + one of order + one of the cell; distances are squared,
    so that their expectations are sums of the variances of what differs."""
    rng, runs, of = np.random.default_rng(2), crossed_runs(6, 6, 2), {"init": 0.25, "order": 1.0}
    grids = {}
    for number in range(60):
        points = 0.7 * rng.normal(size=72)
        for stream, variance in of.items():
            points += np.sqrt(variance) * rng.normal(size=6)[runs[f"seed_{stream}"]]
        grids[number] = intervals.half_squares(points)
    table = variance_components.stream_table(grids, runs)
    truth = table["differing"].map(lambda d: sum(of.get(s, 0) for s in d.split(", ")) + 0.49)
    for name, holds in (("", truth), ("share_", truth / 1.74)):
        inside = (table[f"{name}low"] <= holds) & (holds <= table[f"{name}high"])
        rates = inside.groupby(table["differing"]).mean()
        assert rates.min() > 0.88, rates
    unbiased = table.groupby("differing")["value"].mean() / truth.groupby(table["differing"]).mean()
    assert unbiased.between(0.8, 1.25).all(), unbiased


def test_zeta_by_hand():
    scores = np.array([[0.5, 0.7, 0.9], [0.1, 0.1, 0.1]])  # whose computed SD is not 0
    expected = {
        "min-max": [[0, 0.5, 1], [0, 0, 0]],
        "z-score": [[-1, 0, 1], [0, 0, 0]],
        "ratio to the best": [[5 / 9, 7 / 9, 1], [1, 1, 1]],
        "ratio to the mean": [[5 / 7, 1, 9 / 7], [1, 1, 1]],
    }
    assert tuple(expected) == seed_transfer.ZETAS
    for form, values in expected.items():
        np.testing.assert_allclose(seed_transfer.zeta(scores, form), values, atol=1e-12)
    with pytest.raises(ValueError, match="did you mean min-max"):
        seed_transfer.zeta(scores, "minmax")
    with pytest.raises(ValueError, match=r"scores has shape \(3,\)"):
        seed_transfer.zeta(scores[0], "min-max")
