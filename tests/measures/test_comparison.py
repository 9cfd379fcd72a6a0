"""Two settings against each other, examples against runs, and how many seeds."""

import itertools
from functools import partial

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from benchmarks import coverage
from lib import measures
from lib.analysis import seed_transfer
from lib.measures import comparison, intervals, sample_size, summary


def runs(n, seed=0, n_examples=200, **how):
    logits, labels = coverage.simulated_runs(n, n_examples, np.random.default_rng(seed), **how)
    return (logits > 0).astype(int), labels


def disagreement(predictions):
    return summary.statistics_of(predictions=predictions)["disagreement"]


def test_a_difference_is_found_and_none_is_not_invented():
    calm, wild = runs(10, noise=0.2)[0], runs(10, seed=1, noise=0.8)[0]
    found = comparison.difference(disagreement(calm), disagreement(wild), (10, 10))
    values = [measures.instability(measures.pairwise_disagreement(p)).value for p in (calm, wild)]
    assert found.value == pytest.approx(values[1] - values[0])
    assert 0 < found.low < found.value < found.high and found.p < 0.01
    same = comparison.difference(disagreement(calm), disagreement(calm), (10, 10))
    assert same.value == 0 and same.low < 0 < same.high and same.p > 0.5


def test_a_paired_difference_with_itself_is_exactly_nothing():
    calm = disagreement(runs(6)[0])
    found = comparison.difference(calm, calm, (6, 6), paired=True)
    assert found[:4] == (0, 0, 0, 1)
    with pytest.raises(ValueError, match="the same runs"):
        comparison.difference(calm, calm, (6, 5), paired=True)


def test_few_runs_of_two_groups_have_the_error_of_two_means():
    first, second = np.array([0.1, 0.5, 0.4]), np.array([0.9, 0.3, 0.2, 0.6])
    means = [partial(intervals.run_means, scores) for scores in (first, second)]
    found = comparison.difference(*means, (3, 4))
    welch = stats.ttest_ind(second, first, equal_var=False)
    assert found.p == pytest.approx(welch.pvalue)
    expected = welch.confidence_interval()
    assert found[1:3] == pytest.approx((expected.low, expected.high))
    assert comparison.jackknife_difference(*means, (3, 4))[:5] == found


def test_the_jackknife_of_paired_means_is_the_paired_t_test():
    rng = np.random.default_rng(4)
    seeds = rng.normal(size=7)
    scores = [seeds + 0.3 * rng.normal(size=7) + shift for shift in (0, 0.6)]
    means = [partial(intervals.run_means, one) for one in scores]
    found = comparison.jackknife_difference(*means, (7, 7), paired=True)
    assert found.p == pytest.approx(stats.ttest_rel(*scores).pvalue)
    assert found.p < 0.5 * comparison.jackknife_difference(*means, (7, 7)).p
    with pytest.raises(ValueError, match="the same runs"):
        comparison.jackknife_difference(*means, (7, 6), paired=True)


def test_discrimination_says_how_many_runs_show_a_difference():
    """Of means, for which power is in the books; and of every measure and every two settings."""
    rng = np.random.default_rng(5)
    scores = {"a": rng.normal(size=12), "b": rng.normal(2, 1.5, size=9), "c": rng.normal(size=8)}
    groups = {name: (summary.statistics_of(scores=one), len(one)) for name, one in scores.items()}
    table = comparison.discrimination(groups)
    assert len(table) == 3 * 3, "pairs, and mean, SD and mean of the middle half"
    row = table.loc["mean", "a", "b"]
    welch = stats.ttest_ind(scores["b"], scores["a"], equal_var=False)
    assert (row["z"], row["p"]) == pytest.approx((welch.statistic, welch.pvalue))
    variances = np.array([scores[name].var(ddof=1) for name in "ab"])

    def power(n, difference):
        free = (n - 1) * variances.sum() ** 2 / (variances**2).sum()
        edge, shift = stats.t.ppf(0.975, free), difference / np.sqrt(variances.sum() / n)
        return stats.nct.sf(edge, free, shift) + stats.nct.cdf(-edge, free, shift)

    needed = row["seeds_needed"]
    assert power(needed - 2, row["value"]) < 0.8 < power(needed + 2, row["value"])
    errors = variances / (12, 9)
    edge, shift = stats.t.ppf(0.975, welch.df), row["detectable"] / np.sqrt(errors.sum())
    assert stats.nct.sf(edge, welch.df, shift) == pytest.approx(0.8, abs=0.02)
    assert sample_size.seeds_to_tell(1e-6, variances) == np.inf
    assert sample_size.seeds_to_tell(0.0, np.zeros(2)) == np.inf


def test_a_correlation_has_one_p_on_both_sides_however_skewed_its_null():
    x, y = np.array([1.0, 2, 3, 4, 20]), np.array([2.0, 3, 1, 5, 30])
    found = comparison.correlation(x, y)
    expected = stats.pearsonr(x, y)
    ends = expected.confidence_interval()
    assert found[:3] == pytest.approx((expected.statistic, ends.low, ends.high))
    every = [stats.pearsonr(x, y[list(o)]).statistic for o in itertools.permutations(range(5))]
    assert found.p == np.mean(np.abs(every) >= abs(every[0]) - 1e-12)
    by_rank = comparison.correlation(np.exp(x), y, ranks=True)
    assert by_rank.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert np.isnan(comparison.correlation(np.ones(5), y)).all()


def test_stouffers_z_by_hand_and_by_scipy():
    assert comparison.stouffer([0.05, 0.05], [1, -3]) == pytest.approx((0, 1))
    p, signs = np.array([0.01, 0.2, 0.6, np.nan]), np.array([-0.3, -0.1, 0.2, 1])
    one_sided = np.where(signs > 0, p / 2, 1 - p / 2)[:3]
    expected = stats.combine_pvalues(one_sided, method="stouffer")
    z, both_sides = comparison.stouffer(p, signs)
    assert z == pytest.approx(expected.statistic)
    assert both_sides == pytest.approx(2 * (1 - expected.pvalue)), "the other tail, twice"
    assert np.isnan(comparison.stouffer([np.nan], [1])).all()


@pytest.mark.parametrize("n_runs", [12, 20])
def test_what_is_called_detectable_is_seen_four_times_in_five(n_runs):
    rng = np.random.default_rng(n_runs)
    sd = sample_size.detectable_seed_sd(n_runs, 1.0)
    seen = np.hypot(sd, 1) * rng.normal(size=(4000, n_runs))
    edge = np.quantile(rng.normal(size=(40_000, n_runs)).var(1, ddof=1), 0.95)
    assert (seen.var(1, ddof=1) > edge).mean() == pytest.approx(0.8, abs=0.03)
    r = sample_size.detectable_correlation(n_runs)
    x, noise = rng.normal(size=(2, 2000, n_runs))
    y = r * x + np.sqrt(1 - r**2) * noise
    p = [stats.pearsonr(*both).pvalue for both in zip(x, y, strict=True)]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.8, abs=0.05)


def test_the_detectable_concordance_is_seen_and_is_the_w_to_expect():
    rng = np.random.default_rng(6)
    share, w = sample_size.detectable_concordance(8, 20)
    common, own = rng.normal(size=(60, 1, 20)), rng.normal(size=(60, 8, 20))
    scores = np.sqrt(share) * common + np.sqrt(1 - share) * own
    found = [seed_transfer.kendalls_w(one) for one in scores]
    assert np.mean([one.p <= 0.05 for one in found]) == pytest.approx(0.77, abs=0.1)
    assert np.mean([one.w for one in found]) == pytest.approx(w, abs=0.03)
    assert sample_size.detectable_concordance(10, 200)[0] < share


def test_two_runs_tell_no_difference():
    """All resamples of two runs are the same: that is no certainty."""
    found = comparison.difference(disagreement(runs(2)[0]), disagreement(runs(6)[0]), (2, 6))
    assert np.isfinite(found.value) and np.isnan([found.low, found.high, found.p]).all()
    with pytest.raises(ValueError, match="at least 2 runs"):
        intervals.run_weights(1)


def test_an_undefined_value_has_no_p_and_is_not_counted():
    alike = {"a": np.zeros((6, 9), int), "b": runs(6)[0], "c": runs(6, seed=1)[0]}
    kappas = {name: measures.kappa_statistic(said) for name, said in alike.items()}
    table = comparison.every_two(kappas, lambda x, y: comparison.difference(x, y, (6, 6)))
    assert table["p"].isna().sum() == 2
    assert table["adjusted_p"].dropna().tolist() == table["p"].dropna().tolist()
    one_apart = measures.kappa_statistic(np.array([[1] * 9] * 5 + [[0] * 9]))
    lost = comparison.jackknife_difference(one_apart, kappas["b"], (6, 6))
    assert np.isfinite(lost.value) and np.isnan([*lost[1:4], *lost[5:]]).all()


def test_paired_scores():
    rng = np.random.default_rng(0)
    seeds = rng.normal(size=8)
    first, second = seeds + 0.1 * rng.normal(size=8), seeds + 0.5 + 0.1 * rng.normal(size=8)
    found, correlation = comparison.paired_scores(first, second)
    expected = stats.ttest_rel(second, first).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.p == pytest.approx(2 / 2**8) and correlation > 0.9
    many = comparison.paired_scores(np.zeros(20), 1 + 0.1 * rng.normal(size=20))[0]
    assert many.p == 1 / 10_000, "no draw of 9,999 flips all twenty signs"
    with pytest.raises(ValueError, match=r"shapes \(8,\) and \(7,\)"):
        comparison.paired_scores(first, second[:7])
    with pytest.raises(ValueError, match="not all finite"):
        comparison.paired_scores([1, np.nan, 2, 3], np.arange(4.0))


def test_spread_ratio_is_brown_forsythe_with_an_interval():
    rng = np.random.default_rng(1)
    narrow, wide = rng.normal(size=12), 4 * rng.normal(size=15)
    found = comparison.spread_ratio(narrow, wide)
    assert found.value == pytest.approx(wide.std(ddof=1) / narrow.std(ddof=1))
    assert found.p == stats.levene(narrow, wide, center="median").pvalue
    assert 1 < found.low < found.value < found.high and found.n_runs == (12, 15)


def test_adjusted_p_values_by_hand_and_by_statsmodels():
    p = np.array([[0.01, 0.04], [0.03, 0.005]])
    assert comparison.adjust(p).tolist() == [[0.03, 0.06], [0.06, 0.02]]
    assert comparison.adjust(np.array([0.9, np.nan, 0.2])).tolist() == pytest.approx(
        [0.9, np.nan, 0.4], nan_ok=True
    )
    p = np.random.default_rng(0).beta(0.3, 1, 50).round(2)  # with ties
    np.testing.assert_allclose(comparison.adjust(p), multipletests(p, method="holm")[1])


def test_weighted_measures_equal_repeating_runs_and_examples():
    predictions, labels = runs(5, n_examples=30)
    rng = np.random.default_rng(2)
    drawn = rng.multinomial(5, [0.2] * 5, size=8)
    examples = rng.multinomial(30, [1 / 30] * 30, size=8)
    weights = drawn.astype(float)
    (found,) = sample_size.weighted_measures(predictions, labels, weights, examples)
    for b in range(8):
        who, which = np.repeat(np.arange(5), drawn[b]), np.repeat(np.arange(30), examples[b])
        said, gold = predictions[np.ix_(who, which)], labels[which]
        pairs = [(i, j) for i in range(5) for j in range(i) if who[i] != who[j]]
        right = said == gold
        expected = {
            "accuracy": right.mean(),
            "disagreement": np.mean([(said[i] != said[j]).mean() for i, j in pairs]),
            "correct_agreement": np.mean([(right[i] & right[j]).mean() for i, j in pairs]),
        }
        for name, value in expected.items():
            assert found[name][b] == pytest.approx(value, abs=1e-12)


def test_three_widths_tell_runs_from_examples():
    """Few examples and runs that differ little: the examples make the interval. And the reverse."""
    calm = runs(10, n_examples=50, spread=0.01, noise=0.05)
    wild = runs(10, n_examples=2000, spread=2.0)
    few_examples, few_runs = (sample_size.half_widths(*x).loc["accuracy"] for x in (calm, wild))
    assert few_examples["examples"] > 3 * few_examples["runs"]
    assert few_runs["runs"] > 2 * few_runs["examples"]
    for found in (few_examples, few_runs):
        parts = np.hypot(found["runs"], found["examples"])
        assert found["both"] == pytest.approx(parts, rel=0.25)
    # Of four runs the width from runs is that of a normal mean with the SD of ddof 1.
    few = wild[0][:4], wild[1]
    found = sample_size.half_widths(*few).loc["accuracy"]
    scores = (few[0] == few[1]).mean(1)
    assert found["value"] == pytest.approx(scores.mean())
    assert found["runs"] == pytest.approx(1.96 * scores.std(ddof=1) / 2, rel=0.1)
    assert found["both"] == pytest.approx(np.hypot(found["runs"], found["examples"]), rel=0.1)
    with pytest.raises(ValueError, match="S = 2 runs"):
        sample_size.half_widths(wild[0][:2], wild[1])


@pytest.mark.parametrize("n_runs", [5, 40, 350])
def test_seeds_needed_for_a_mean_is_the_textbook_number(n_runs):
    """From few runs too, whose draws scatter less than the runs themselves."""
    scores = np.random.default_rng(3).normal(1, 0.5, size=n_runs)
    statistic = summary.statistics_of(scores=scores)["mean"]
    found = sample_size.relative_width(statistic, n_runs)
    for size in (5, 20, 100):
        reach = stats.t.ppf(0.975, size - 1) * scores.std(ddof=1) / np.sqrt(size)
        assert found(size) == pytest.approx(reach / scores.mean(), rel=0.06)
    needed = sample_size.seeds_needed(statistic, n_runs, width=0.2)
    before = max(size for size in sample_size.SIZES if size < needed)
    assert found(needed) <= 0.2 < found(before)
    assert sample_size.seeds_needed(statistic, n_runs, width=0.001) == np.inf


def test_nothing_is_said_about_relative_widths_of_agreements_and_where_nothing_is_relative():
    for nothing, n_runs in ((np.zeros((5, 30), int), 5), (runs(2)[0], 2)):
        assert np.isnan(sample_size.seeds_needed(disagreement(nothing), n_runs))
    statistic = disagreement(runs(6)[0])
    for name in ("mean", "con", "ccon"):
        assert np.isnan(sample_size.needed_for(name, statistic, 6))
    assert sample_size.needed_for("sd", statistic, 6) >= sample_size.seeds_needed_for_sd() == 53


def test_statistics_follow_from_what_is_given():
    predictions, labels = runs(4)
    assert list(summary.statistics_of(scores=np.arange(4.0))) == ["mean", "sd", "iqm"]
    both = summary.statistics_of(predictions=predictions, labels=labels)
    assert {"disagreement", "kappa", "con", "ccon", "distribution_sd"} == set(both)
    assert "wrong_differently" in summary.statistics_of(
        predictions=predictions % 3, labels=labels + 1
    )
    assert set(both) < set(summary.MEASURES)
    plain = intervals.interval(both["ccon"], 4).value
    assert plain == pytest.approx(measures.consistency(predictions, labels).ccon)
