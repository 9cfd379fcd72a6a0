"""Two settings of runs: the same examples, the same seeds, and every difference with its error."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from support.settings_compared import CLASSES, GOLD, N, group, measured, scored

from lib import measures
from lib.measures import comparison
from lib.report import comparing, gate
from lib.report.measuring import measure_runs
from lib.report.opening import OutsideError
from lib.results.run_group import RunGroup

A, B = group(1), group(2, right=0.8)


def reordered(g, order, runs=None, codes=(2, 0, 1)):
    """The same runs, with examples, runs and numbers of classes in another order."""
    codes = np.array(codes)
    runs = np.arange(len(g)) if runs is None else np.array(runs)
    return RunGroup(
        g.runs.iloc[runs].reset_index(drop=True), [g.example_ids[i] for i in order],
        codes[g.predictions[runs][:, order]], codes[g.labels[order]],
        [g.classes[i] for i in np.argsort(codes)],
    )  # fmt: skip


def test_every_quantity_is_what_counting_over_pairs_of_runs_gives():
    table = comparing.compare(A, B).table
    a, b = (g.predictions == GOLD for g in (A, B))
    across = list(itertools.product(a, b))
    expected = {
        "mean": b.mean() - a.mean(),
        "better": np.mean([(y.mean() > x.mean()) + (y.mean() == x.mean()) / 2 for x, y in across]),
        "better_same_seed": np.mean([y.mean() > x.mean() for x, y in zip(a, b, strict=True)]),
        "gained": np.mean([(y & ~x).mean() for x, y in across]),
        "lost": np.mean([(x & ~y).mean() for x, y in across]),
        "sd": b.mean(1).std(ddof=1) / a.mean(1).std(ddof=1),
    }  # fmt: skip
    within = [np.mean([(y & ~x).mean() for x, y in itertools.permutations(own, 2)])
              for own in (a, b)]  # fmt: skip
    expected["gained_excess"] = expected["gained"] - np.mean(within)
    expected["lost_excess"] = expected["lost"] - np.mean(within)
    for name, value in expected.items():
        assert table.loc[name, "value"] == pytest.approx(value), name
    assert tuple(table.loc["lost", ["first", "second"]]) == pytest.approx(within)
    own = [
        measures.instability(measures.pairwise_disagreement(g.predictions)).value for g in (A, B)
    ]
    assert tuple(table.loc["disagreement", ["first", "second"]]) == pytest.approx(own)
    assert table.loc["disagreement", "value"] == pytest.approx(own[1] - own[0])
    flips = table.loc["gained", "value"] - table.loc["lost", "value"]
    assert flips == pytest.approx(table.loc["mean", "value"])


def test_the_mean_has_the_error_of_the_books():
    a, b = ((g.predictions == GOLD).mean(1) for g in (A, B))
    paired, apart = (comparing.compare(A, B, paired=p).table.loc["mean"] for p in (True, False))
    assert paired["p"] == pytest.approx(stats.ttest_rel(b, a).pvalue)
    welch = stats.ttest_ind(b, a, equal_var=False)
    ends = welch.confidence_interval()
    assert apart["p"] == pytest.approx(welch.pvalue)
    assert (apart["low"], apart["high"]) == pytest.approx((ends.low, ends.high))
    swaps, correlation = comparison.paired_scores(a, b)
    assert (paired["p_swaps"], paired["correlation"]) == pytest.approx((swaps.p, correlation))
    assert paired[["low", "high"]].to_list() == pytest.approx([swaps.low, swaps.high])


def test_of_unlike_sizes_degrees_of_freedom_are_at_most_those_of_equal_variances():
    many, few = np.array([0.1, 0.9, 0.4, 0.7, 0.2, 0.6, 0.5, 0.3]), np.array([0.90, 0.91, 0.92])
    welch = stats.ttest_ind(few, many, equal_var=False)
    most = (1 / 8 + 1 / 3) ** 2 / (1 / 64 / 7 + 1 / 9 / 2)
    found = comparing.compare(scored(many), scored(few)).table.loc["mean"]
    assert welch.df > 7 and most < 4
    assert found["p"] == pytest.approx(2 * stats.t.sf(welch.statistic, most))
    wild = stats.ttest_ind(9 * few, many / 100, equal_var=False)
    assert wild.df < most
    found = comparing.compare(scored(many / 100), scored(9 * few)).table.loc["mean"]
    assert found["p"] == pytest.approx(wild.pvalue)


def mended(k):
    """B is A in each run, but for the last k examples, which A never knows and B always."""
    first = A.predictions.copy()
    first[:, N - k :] = (GOLD[N - k :] + 1) % 3
    second = first.copy()
    second[:, N - k :] = GOLD[N - k :]
    return [measured(replace(A, predictions=own)) for own in (first, second)]


def test_pairs_whose_answers_differ_alike_leave_the_examples_alone():
    """Ten examples that A never knows and B always: no seed tells."""
    pair = mended(10)
    mean = comparing.mean_difference(comparing.align(*pair))
    each = np.repeat([0.0, 1.0], [50, 10])
    assert mean["variance_runs"] < 1e-30 and mean["p"] < 1e-9
    assert mean["variance_examples"] == pytest.approx(each.var(ddof=1) / N)
    assert mean["p_both"] == pytest.approx(stats.ttest_1samp(each, 0).pvalue)
    apart = comparing.mean_difference(comparing.align(*pair, paired=False))
    assert apart["variance_examples"] < mean["variance_examples"]


def test_without_seeds_examples_are_all_there_is_and_with_seeds_alone_they_are_nothing():
    once = [replace(g, predictions=np.repeat(g.predictions[:1], 5, 0)) for g in (A, B)]
    mean = comparing.mean_difference(comparing.align(*map(measured, once), paired=False))
    each = (once[1].predictions[0] == GOLD).astype(float) - (once[0].predictions[0] == GOLD)
    assert mean["variance_runs"] == 0
    assert mean["p_both"] == pytest.approx(stats.ttest_1samp(each, 0).pvalue)
    # One chance for all examples: that they are these and no others adds nothing on average.
    rng, share = np.random.default_rng(3), []
    for _ in range(300):
        pair = [replace(A, predictions=np.where(rng.random((5, N)) < 0.7, GOLD, (GOLD + 1) % 3))
                for _ in range(2)]  # fmt: skip
        mean = comparing.mean_difference(comparing.align(*map(measured, pair)))
        share.append(mean["variance_examples"] / mean["variance_runs"])
        assert mean["p_both"] > 0
    assert np.median(share) < 0.1


def test_where_examples_are_short_no_number_of_runs_is_said_to_do():
    """Three of sixty differ, in every run: seeds are sure, and other examples could undo it."""
    found = comparing.compare(*mended(3))
    mean, error = found.table.loc["mean"], stats.sem(np.repeat([0.0, 1.0], [N - 3, 3]))
    t = stats.t(N - 1)
    assert mean["p"] < 1e-9 and mean["p_both"] == pytest.approx(2 * t.sf(3 / N / error))
    assert mean["shown_from"] == pytest.approx(t.ppf(0.975) * error)
    assert mean["detectable"] == pytest.approx((t.ppf(0.975) + t.ppf(0.8)) * error)
    least = error * (stats.norm.ppf(0.975) + stats.norm.ppf(0.8))
    takes = f"more examples (any number of runs on these would show {least:.4f} at the least)"
    assert mean["seeds_needed"] == np.inf and least > 3 / N
    assert f"; to show one as it is here takes {takes}." in found.sentences[1]
    line = gate.judge(*mended(3)[::-1]).line
    reach = f"±{mean['shown_from']:.4f} with as many"
    assert line.endswith(f"choice of these examples; it takes {reach}, or {takes}")
    enough = comparing.compare(*mended(20)).sentences[1]
    assert enough.startswith("These runs on these examples") and enough.endswith("3 runs of each.")


def test_a_detectable_difference_is_shown_four_times_in_five_over_seeds_and_examples():
    """Runs scatter, and the change of an example is drawn: −.6, 0 or .6, on average ``true``."""
    rng = np.random.default_rng(5)

    def drawn(true):
        change = 0.6 * rng.choice([-1, 0, 1], N, p=[0.25 - true / 1.2, 0.5, 0.25 + true / 1.2])
        chance = 0.5 + np.array([-change / 2, change / 2])[:, None]
        chance = chance + rng.normal(0, 0.04, (2, 5, 1))
        right = rng.random((2, 5, N)) < chance
        pair = [replace(A, predictions=np.where(own, GOLD, (GOLD + 1) % 3)) for own in right]
        return comparing.mean_difference(comparing.align(*map(measured, pair), paired=False))

    true = np.mean([drawn(0)["detectable"] for _ in range(200)])
    by_seeds = np.mean([np.sqrt(drawn(0)["variance_runs"]) for _ in range(50)])
    assert true > 1.2 * by_seeds * (stats.t.ppf(0.975, 8) + stats.t.ppf(0.8, 8))
    shown = [max(mean["p"], mean["p_both"]) <= 0.05 for mean in (drawn(true) for _ in range(400))]
    assert 0.7 < np.mean(shown) < 0.88


def test_b_against_a_is_the_mirror_image():
    one, two = comparing.compare(A, B).table, comparing.compare(B, A).table
    same = ["mean", "disagreement"]
    assert one.loc[same, "value"].to_numpy() == pytest.approx(-two.loc[same, "value"].to_numpy())
    assert one.loc[same, "p"].to_numpy() == pytest.approx(two.loc[same, "p"].to_numpy())
    assert one.loc["gained", "value"] == pytest.approx(two.loc["lost", "value"])
    ends = one.loc["better", ["low", "high"]].to_numpy() + two.loc["better", ["high", "low"]]
    assert ends.to_numpy(float) == pytest.approx([1, 1])


def test_order_of_examples_runs_and_classes_changes_nothing():
    expected = comparing.compare(A, B)
    order = np.random.default_rng(5).permutation(N)
    other = reordered(B, order, runs=[3, 1, 4, 0, 2])
    table, sentences = comparing.compare(A, other)
    pd.testing.assert_frame_equal(table, expected.table)
    assert sentences == expected.sentences and "Paired by seed: 5 shared." in sentences


def test_other_examples_or_labels_are_refused_by_name_and_obeying_helps():
    fewer = replace(B, example_ids=[*B.example_ids[:50], *(f"new{i}" for i in range(10))])
    with pytest.raises(OutsideError, match=r"B lacks 10 of the 60 examples of A, first: q50"):
        comparing.align(A, fewer)
    short = RunGroup(B.runs, B.example_ids[:50], B.predictions[:, :50], GOLD[:50], CLASSES)
    with pytest.raises(OutsideError, match=r"A lacks 10 of the 60 examples of B, first: q50"):
        comparing.align(short, B)
    cut = RunGroup(A.runs, A.example_ids[:50], A.predictions[:, :50], GOLD[:50], CLASSES)
    assert comparing.compare(cut, short).table.loc["mean", "p"] > 0
    gold = GOLD.copy()
    gold[[7, 9]] = (gold[[7, 9]] + 1) % 3
    named = f"B: the label of example 'q7' is '{CLASSES[gold[7]]}', in A '{CLASSES[GOLD[7]]}'"
    with pytest.raises(OutsideError, match=named):
        comparing.align(A, reordered(replace(B, labels=gold), np.arange(N)[::-1]))
    with pytest.raises(OutsideError, match="scores of A are accuracy, of B none: give gold labels"):
        comparing.align(A, replace(B, labels=None))


def test_without_labels_answers_are_compared_by_id_and_never_by_position_alone():
    bare = [replace(g, labels=None) for g in (A, B)]
    table, sentences = comparing.compare(*bare)
    assert list(table.index) == ["disagreement"] and len(sentences) == 2
    numbered = [replace(g, example_ids=[str(i + 1) for i in range(N)]) for g in bare]
    with pytest.raises(OutsideError, match="neither ids nor gold labels"):
        comparing.compare(*numbered)
    labelled = [replace(g, labels=GOLD) for g in numbered]
    whole = comparing.compare(A, B).table
    pd.testing.assert_frame_equal(comparing.compare(*labelled).table, whole)


@pytest.mark.parametrize(
    ("first", "second", "order"),
    [
        (["seed0", "seed1", "seed2"], ["seed2", "seed0", "seed1"], [1, 2, 0]),
        (["42", "52", "62"], ["big_seed52_v2", "big_seed42_v2", "big_seed62_v2"], [1, 0, 2]),
        (["x", "y", "z"], ["z", "y", "x"], [2, 1, 0]),
        (["lr3-s1", "lr3-s2", "lr3-s10"], ["lr4-s10", "lr4-s1", "lr4-s2"], [1, 2, 0]),
        (["seed0", "seed1", "seed2"], ["seed1", "seed2", "seed3"], []),
        (["run1", "run2", "run3"], ["run1", "run2", "run3"], []),
        (["seed1", "seed2", "seed3"], ["run1", "run2", "run3"], []),
        (["a1", "b1", "c2"], ["d1", "e2", "f1"], []),
        (["a", "b", "c"], ["d", "e", "f"], []),
        (["seed0", "seed1"], ["seed0", "seed1"], []),
    ],
)
def test_seeds_are_shared_only_where_names_say_so(first, second, order):
    found, why = comparing.same_seeds(first, second)
    assert found == order
    assert why == ("" if order else "run names do not say the same seeds in both")


def test_seeds_of_one_setting_only_are_named_and_leaving_them_out_pairs_the_others():
    three, four = scored([0.7, 0.8, 0.75], ["100", "101", "99"]), ["s99", "s100", "s101", "s102"]
    more = scored([0.8, 0.9, 0.85, 0.7], four)
    for pair in ((three, more), (more, three)):
        (*_, note) = comparing.align(*pair).notes
        words = "s102 is in one setting only; --exclude it to pair the others."
        assert note == f"Not paired by seed: {words}"
    fewer = measured(more.group.take([0, 1, 2]))
    assert comparing.align(three, fewer).paired
    four = scored([0.7, 0.8, 0.75, 0.6], ["100", "101", "99", "98"])
    note = comparing.align(four, more).notes[-1]
    assert note.endswith("98, s102 are in one setting only; --exclude them to pair the others.")


def test_scores_alone_are_compared_and_what_they_lack_is_said():
    table, sentences = comparing.compare(scored([0.7, 0.8, 0.75]), scored([0.9, 0.85, 0.95]))
    assert list(table.index) == ["mean", "sd", "better", "better_same_seed"]
    assert any(s.startswith("Scores alone") for s in sentences) and "p_both" not in table
    two = comparing.compare(scored([0.7, 0.8]), scored([0.9, 0.85]))
    assert (
        list(two.table.index) == ["mean", "better"]
        and two.table.loc["mean", ["p", "low"]].isna().all()
    )
    assert "not shown" in " ".join(two.sentences)
    mixed = comparing.compare(measured(A), scored([0.9, 0.8, 0.7]), paired=False)
    assert "disagreement" not in mixed.table.index and "as asked" in " ".join(mixed.sentences)
    with pytest.raises(OutsideError, match="scores of A are accuracy, of B f1"):
        comparing.compare(scored([0.7, 0.8]), scored([0.7, 0.8], metric="f1"))
    with pytest.raises(OutsideError, match="B: run '1' has no accuracy"):
        comparing.compare(scored([0.7, 0.8, 0.9]), scored([0.7, np.nan, 0.9]))


def test_measured_runs_and_plain_ones_and_other_metrics_are_the_same_to_it():
    plain = comparing.compare(A, B, metric="macro-f1")
    made = comparing.compare(measure_runs(A, metric="macro-f1"), measure_runs(B, metric="macro-f1"))
    pd.testing.assert_frame_equal(plain.table, made.table)
    assert "p_both" not in plain.table, "what a macro-f1 owes to examples is no mean over them"


def test_runs_that_are_evaluated_again_tell_the_noise_of_evaluation():
    """Trained models vary by 1, evaluations of one by 0.5; three of each of ten."""
    rng = np.random.default_rng(2)
    names = [f"s{seed}-eval{again}" for seed in range(10) for again in range(3)]
    repeats = {name: name.split("-")[0] for name in names}
    noises, totals = [], []
    for _ in range(40):
        draws = [(rng.normal(size=(10, 1)) + rng.normal(0, 0.5, (10, 3))) for _ in range(2)]
        pair = [scored(draw.ravel(), names).group for draw in draws]
        pair = [measure_runs(one, repeats=repeats) for one in pair]
        mean = comparing.mean_difference(comparing.align(*pair))
        means = [draw.mean(1) for draw in draws]
        assert mean["p"] == pytest.approx(stats.ttest_rel(*means).pvalue), "a run a training seed"
        noises.append(mean["variance_repeats"])
        totals.append(mean["variance_runs"])
    assert np.mean(noises) == pytest.approx(2 * 0.25 / 30, rel=0.1)
    assert np.mean(totals) == pytest.approx(2 * (1 + 0.25 / 3) / 10, rel=0.2)
    repeats = {"seed1": "seed0", "seed3": "seed2"}
    by_answers = comparing.compare(*(measure_runs(one, repeats=repeats) for one in (A, B))).table
    assert by_answers.loc["gained", "value"] == pytest.approx(
        comparing.compare(A.take([0, 2, 4]), B.take([0, 2, 4])).table.loc["gained", "value"]
    )
    assert np.isnan(comparing.compare(A, B).table.loc["mean", "variance_repeats"])
    again = measure_runs(A, repeats=repeats)
    for pair, said in (((A, B), ""), ((again, again), ""), ((again, B), "B"), ((A, again), "A")):
        (*notes,) = (note for note in comparing.align(*pair).notes if "twice" in note)
        assert [note.split(" is ")[0] for note in notes] == [f"No run of {one}" for one in said]


def test_failed_runs_stay_in():
    collapsed = replace(B, predictions=np.where(np.arange(5)[:, None] == 2, 0, B.predictions))
    lower = comparing.compare(A, collapsed).table.loc["mean"]
    assert lower["second"] == pytest.approx((collapsed.predictions == GOLD).mean())
    assert lower["high"] - lower["low"] > 0.2


def test_what_is_said_follows_from_the_rows():
    table, sentences = comparing.compare(A, B, level=0.9)
    text = " ".join(sentences)
    mean = table.loc["mean"]
    assert f"A {mean['first']:.4f}, B {mean['second']:.4f}" in text
    assert ("not shown to be more than the seeds" in text) == (mean["p"] > 0.1)
    assert "over examples as well (the larger counts)" in text
    for pair, higher in (((A, B), "B"), ((B, A), "A")):
        said = comparing.compare(*pair, level=0.5).sentences[0]
        assert f": {higher} is higher, by more than the seeds" in said, said
    gained, lost = (f"{100 * table.loc[name, 'value']:.1f} [" for name in ("gained", "lost"))
    own = [f"{100 * table.loc['gained', name]:.1f} %" for name in ("second", "first")]
    assert f"A is wrong where B is right on {gained}" in text
    assert (
        "% of the examples (its negative flips, if A replaces B); another run of B would be on "
        f"{own[0]}, of A on {own[1]}." in text
    )
    assert f"A is right where B is wrong on {lost}" in text
    assert "negative flips" in table.loc["gained", "meaning"]
    assert "flips" not in table.loc["lost", "meaning"]
    assert "p: Levene's test with medians" in table.loc["sd", "meaning"]
    assert comparing.finding({"p": 0.04, "p_both": 0.03}, 0.05) == "more than the seeds"
    assert "choice of these examples" in comparing.finding({"p": 0.01, "p_both": 0.3}, 0.05)
    for bad in ({"p": 0.06}, {"p": float("nan")}):
        assert comparing.finding(bad, 0.05).startswith("not shown")
    same = comparing.compare(A, replace(A, runs=A.runs.assign(run=list("vwxyz"))))
    assert same.table.loc["mean", "value"] == 0 and same.table.loc["mean", "p"] == 1


def test_a_constant_gain_over_each_seed_is_shown_and_a_chance_has_a_width_at_its_ends():
    gain = comparing.compare(scored([0.7, 0.8, 0.6, 0.9]), scored([0.8, 0.9, 0.7, 1.0])).table
    assert gain.loc["mean", "p"] < 1e-9 and gain.loc["mean", "p_swaps"] == 2 / 16
    low, high = comparing.chance_of_better(np.zeros(5), np.ones(5), level=0.95), None
    assert low["value"] == low["high"] == 1 and 0.5 < low["low"] < 0.75
    high = comparing.chance_of_better(np.ones(5), np.zeros(5))
    assert high["low"] == high["value"] == 0 and high["high"] == pytest.approx(1 - low["low"])
    assert comparing.chance_of_better(np.ones(4), np.ones(4))["value"] == 0.5


def test_intervals_of_a_chance_and_of_flips_hold_the_truth():
    rng = np.random.default_rng(8)
    covered = {"better": [], "excess": [], "gained": []}
    truth = stats.norm.cdf(1 / np.sqrt(2))
    for _ in range(600):
        found = comparing.chance_of_better(rng.normal(size=5), rng.normal(1, 1, 5))
        covered["better"].append(found["low"] <= truth <= found["high"])
    hard = rng.uniform(0.3, 1, 100)
    gold = np.zeros(100, int)
    settings = np.clip(hard, 0, 1), np.clip(hard + rng.normal(0, 0.1, 100), 0, 1)
    for _ in range(250):
        pair = [RunGroup(pd.DataFrame({"run": range(5)}), [f"q{i}" for i in range(100)],
                         (rng.random((5, 100)) > chance).astype(int), gold, ["x", "y"])
                for chance in settings]  # fmt: skip
        own = comparing._of_answers(pair)
        a, b = settings
        true = {"gained": ((1 - a) * b).mean()}
        within = [(p * (1 - p)).mean() for p in settings]
        true["gained_excess"] = true["gained"] - np.mean(within)
        for name, value in true.items():
            found = comparing.contrast(own[name][0], (5, 5))
            covered[name.removeprefix("gained_")].append(found["low"] <= value <= found["high"])
    rates = {name: np.mean(hits) for name, hits in covered.items()}
    assert all(0.91 <= rate <= 0.995 for rate in rates.values()), rates


def test_all_settings_are_held_against_each_other_with_holm():
    groups = {"a": measured(A), "b": measured(B), "c": measured(group(4, right=0.9))}
    table, sentences = comparing.compare_all(groups, paired=False)
    means = table.loc["mean"]
    assert list(means.index) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert means["adjusted_p"].to_numpy() == pytest.approx(comparison.adjust(means["p"].to_numpy()))
    alone = comparing.compare(groups["a"], groups["c"], paired=False).table.loc["mean"]
    assert means.loc[("a", "c"), "p"] == pytest.approx(max(alone["p"], alone["p_both"]))
    assert len({*means["p"]} - {*means["p_both"]}) not in (0, 3), "now one is larger, now the other"
    assert len(sentences) == 3 and sentences[0].startswith("a → b: ")
    assert {"mean", "sd", "disagreement"} == set(table.index.get_level_values("quantity"))
