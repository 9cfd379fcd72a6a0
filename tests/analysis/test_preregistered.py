"""The tests of the second campaign do what docs/preregistration.md says, on groups made by hand."""

import dataclasses
import itertools
from functools import partial

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.multitest import multipletests

from lib import measures
from lib.analysis import variance_components
from lib.analysis.claims import CLAIMS, preregistered
from lib.analysis.claims.agreement import COPIES, distinct
from lib.analysis.claims.claim import Estimate
from lib.analysis.claims.preregistered import (
    HYPOTHESES,
    Hypothesis,
    by_task,
    more_rows,
    more_steps,
    pooled,
    results,
)
from lib.analysis.claims.scores import groups as committed
from lib.measures import intervals
from lib.results.run_group import RunGroup

POOLINGS = preregistered.POOLINGS
SIZES = (128, 256, 512, 1024, 2048, 4096)
N = 1000  # examples


def made(counts, *, apart=1.0, probabilities=None, predictions=None, runs=None, **setting):
    """A group of S runs, of which run s answers 1 on ``counts[s]`` examples of its own.

    Two runs disagree on (counts[i] + counts[j]) / N, so the mean over pairs is twice the mean of
    the counts, whichever runs are left out. Distances of representations are, likewise, means of
    ``apart`` (S,), by pooling if it is a dict.
    """
    counts = np.asarray(counts, int)
    n_runs, end = len(counts), np.cumsum(counts)
    if predictions is None:
        predictions = np.zeros((n_runs, N), int)
        for row, (first, last) in enumerate(zip(end - counts, end, strict=True)):
            predictions[row, first:last] = 1
    if probabilities is None:
        probabilities = np.full((n_runs, N, 2), 0.5)
    scores = np.linspace(0.6, 0.7, n_runs)
    usual = {"backbone": "bert-tiny", "task": "a", "method": "standard", "optimizer": "adamw"}
    setting = usual | setting
    table = pd.DataFrame({"seed_label": [f"seed{s}" for s in range(n_runs)], "score": scores})
    table = table.assign(status="ok", metric="accuracy", majority=0.5, **setting)
    table = table.assign(**(runs or {}))
    each = apart if isinstance(apart, dict) else dict.fromkeys(POOLINGS, apart)
    stacks = {p: (np.add.outer(v, v) / 2)[None] for p, v in each.items() for v in [v + counts * 0]}
    return RunGroup(
        table, [f"e{i}" for i in range(predictions.shape[1])], predictions,
        np.zeros(predictions.shape[1], int), ["0", "1"], probabilities,
        distances={(m, p): stack for m in ("svcca", "op", "cka") for p, stack in stacks.items()},
        layers=dict.fromkeys(POOLINGS, np.array([1])),
    )  # fmt: skip


def asked(name, chosen, pooling=""):
    return HYPOTHESES[name].statistic(chosen, pooling)


def jackknife_t(statistic, n_runs):
    """Value, interval and p of Student's t by leaving out each run; a statistic of run numbers."""
    every = np.arange(n_runs)
    left = np.array([statistic(np.delete(every, run)) for run in every])
    error = np.sqrt((n_runs - 1) / n_runs * ((left - left.mean()) ** 2).sum())
    value, reach = statistic(every), stats.t.ppf(0.975, n_runs - 1) * error
    return value, value - reach, value + reach, 2 * stats.t.sf(abs(value) / error, n_runs - 1)


# --- A --------------------------------------------------------------------------------------------


def study_a(rng, *, n_runs=8, short=1.0, task="a", **more):
    """Arm *steps* with counts that halve from size to size, and arm *epochs* with ``short`` times
    as many, but not at the last size, where both are one.
    """
    arms = []
    for size in SIZES:
        counts = 6400 // size + rng.integers(0, 10, n_runs)
        arms.append(made(counts, n_train=size, steps=768, epochs=12288 // size, task=task))
        if size < SIZES[-1]:
            few = {"n_train": size, "steps": size * 3 // 16, "epochs": 3, "task": task}
            arms.append(made((short * counts).astype(int), **few))
    return arms


def test_a1_is_the_slope_of_the_arm_of_fixed_steps_with_the_interval_of_a_jackknife_over_seeds():
    chosen = study_a(np.random.default_rng(0))
    counts = np.stack([g.predictions.sum(1) for g in chosen if g.setting["steps"] == 768])

    def slope(runs):
        return np.polyfit(np.log2(SIZES), np.log2(counts[:, runs].mean(1)), 1)[0]

    found = asked("A1", chosen)
    assert found[:3] == pytest.approx(jackknife_t(slope, 8)[:3])
    assert found.p == pytest.approx(jackknife_t(slope, 8)[3], rel=1e-6)
    assert -0.9 < found.value < -0.5


def test_a1_uses_the_seeds_that_all_settings_of_a_task_have():
    chosen = study_a(np.random.default_rng(0))
    fewer = [chosen[0].take([0, 1, 2, 4, 5, 6, 7]), *chosen[1:]]
    same = [group.take([0, 1, 2, 4, 5, 6, 7]) for group in chosen]
    assert asked("A1", fewer)[:3] == pytest.approx(asked("A1", same)[:3])
    assert asked("A1", fewer).value != pytest.approx(asked("A1", chosen).value)


def test_a2_is_the_mean_log_ratio_of_the_arms_at_sizes_that_have_both():
    chosen = study_a(np.random.default_rng(0), short=2.0)
    assert asked("A2", chosen)[:3] == pytest.approx([-1] * 3)
    # The last size has one arm, and so has one whose other arm failed.
    last = made([300] * 8, n_train=4096, steps=768, epochs=3)
    assert asked("A2", [*chosen[1:-1], last]).value == pytest.approx(-1)


def test_a3_is_the_slope_of_the_distances_of_the_last_layer_by_pooling():
    rng, slopes = np.random.default_rng(0), {"first": 0.25, "mean": -0.5}
    chosen = [
        made([5] * 6, n_train=size, steps=768, epochs=3, apart={
            pooling: 0.1 * (size / 128) ** slope * np.ones(6) for pooling, slope in slopes.items()
        })
        for size in rng.permutation(SIZES)
    ]  # fmt: skip
    for pooling, slope in slopes.items():
        assert asked("A3", chosen, pooling).value == pytest.approx(slope)


def eleven(sure, apart):
    """The settings of a task. On one example all runs give a class 0.5 + ``sure``, on the other
    runs give it 0.5 + ``apart`` and 0.5 − ``apart`` in turn; functions of rows.
    """
    chosen = []
    arms = itertools.product(SIZES, (True, False))
    for rows, steps in dict.fromkeys((n, 768 if full else n * 3 // 16) for n, full in arms):
        one = np.stack([np.full(6, sure(rows)), apart(rows) * np.resize([1, -1], 6)], axis=1)
        both = np.stack([0.5 + one, 0.5 - one], axis=-1)
        answers = np.zeros((6, 2), int)
        chosen.append(
            made([0] * 6, predictions=answers, probabilities=both, n_train=rows, steps=steps)
        )
    return chosen


def test_a4_is_the_partial_rank_correlation_of_the_inverse_matrix():
    rng = np.random.default_rng(0)
    chosen = eleven(*[lambda rows: rng.uniform(0.1, 0.4)] * 2)
    ranks = pd.DataFrame({
        "jsd": [measures.pairwise_jsd(g.probabilities)[*np.triu_indices(6, 1)].mean()
                for g in chosen],
        "confidence": [g.probabilities.max(-1).mean() for g in chosen],
        "rows": [g.setting["n_train"] for g in chosen],
        "steps": [g.setting["steps"] for g in chosen],
    }).rank()  # fmt: skip
    inverse = np.linalg.inv(ranks.corr())
    found = asked("A4", chosen)
    assert found.value == pytest.approx(-inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1]))
    assert found.n == len(ranks) == 11
    # p is of permuting what rows and steps leave of the ranks, which are then held once more.
    held = sm.add_constant(ranks[["rows", "steps"]])
    jsd, confidence = (sm.OLS(ranks[name], held).fit().resid for name in ("jsd", "confidence"))
    drawn = [sm.OLS(rng.permutation(jsd), held).fit().resid for _ in range(1000)]
    reached = [abs(stats.pearsonr(one, confidence).statistic) >= abs(found.value) for one in drawn]
    assert found.p == pytest.approx(np.mean(reached), abs=0.03)


def test_a4_keeps_its_level(monkeypatch):
    """JSD and confidence that both follow the rows, and nothing else, have nothing in common."""
    monkeypatch.setattr(intervals, "N_PERMUTATIONS", 199)
    rng = np.random.default_rng(1)

    def follows(start, slope, noise, rows):
        return start + slope * np.log2(rows) + noise * rng.random()

    sure, apart = partial(follows, 0.1, 0.02, 0.05), partial(follows, 0.02, 0.002, 0.003)
    told = [asked("A4", eleven(sure, apart)).p < 0.05 for _ in range(80)]
    assert np.mean(told) <= 0.1


def test_what_the_sentence_on_growing_distances_says_of_fixed_steps_is_so():
    """It is typed in ``claims.toml``, since a claim has the numbers of its own analyses only."""
    chosen = committed("reference-size-and-length")
    says = CLAIMS["more-training-moves-representations-apart"].says
    assert "It is the steps that do it" in says["holds"]
    assert all(
        "JSD, CKA and OP fall with more rows" in says[told] for told in ("holds", "undecided")
    )
    for measure in ("jsd", "cka", "op"):
        for pooling in POOLINGS:
            rows = by_task(partial(more_rows, measure, "steps"))(chosen, pooling)
            steps = by_task(partial(more_steps, measure))(chosen, pooling)
            assert rows.value < 0 < steps.value, (measure, pooling)
            assert max(rows.p, steps.p) < 0.001, (measure, pooling)
    assert (
        "more rows make answers more alike as well"
        in (CLAIMS["more-training-makes-answers-alike"].says["holds"])
    )
    assert asked("A1", chosen).high < 0


# --- B --------------------------------------------------------------------------------------------


def exam(rng, ability, *, n=4000, n_runs=10, ease=0.8, **setting):
    """Runs whose chance to be right has an SD of ``ability`` over runs."""
    chance = ease + ability * rng.normal(size=(n_runs, 1))
    wrong = (rng.random((n_runs, n)) >= chance).astype(int)
    return made([0] * n_runs, predictions=wrong, **setting)


@pytest.fixture
def score_noise(monkeypatch):
    def put(chosen):
        monkeypatch.setattr(preregistered, "groups", lambda name: chosen)
        preregistered._spread_of.cache_clear()
        return chosen

    yield put
    preregistered._spread_of.cache_clear()


def test_b1_is_stouffers_test_of_the_permutation_tests_and_the_root_of_the_mean_variance(
    score_noise,
):
    rng = np.random.default_rng(0)
    chosen = score_noise([exam(rng, a, task=t) for t, a in [("a", 0.02), ("b", 0), ("c", 0.01)]])
    right = [g.predictions == g.labels for g in chosen]
    p = [measures.seed_variance(one).p for one in right]
    found = HYPOTHESES["B1"].estimate()
    assert found.p == pytest.approx(stats.combine_pvalues(p, method="stouffer").pvalue)
    variance = np.mean([measures.distribution_variance(one) for one in right])
    assert found.value == pytest.approx(100 * np.sqrt(variance), rel=1e-3)
    assert found.low < 100 * np.sqrt((0.02**2 + 0.01**2) / 3) < found.high


def test_b_is_repeated_without_failed_runs(score_noise):
    rng = np.random.default_rng(0)
    chosen = score_noise([exam(rng, 0.0, task=t) for t in "ab"])
    assert HYPOTHESES["B1"].estimate().p > 0.05
    for group in chosen:
        group.predictions[:4] = 1
        group.runs.loc[:3, "status"] = "failed"
    preregistered._spread_of.cache_clear()
    assert HYPOTHESES["B1"].estimate().p < 0.001
    assert HYPOTHESES["B1"].estimate(runs="ok").p > 0.05
    assert {"all", "ok"} == {one["runs"] for one in CLAIMS[HYPOTHESES["B1"].claim].specifications()}


@pytest.mark.parametrize(
    ("abilities", "expected"),
    [
        ((0, 0, 0, 0.05, 0.05), (3, 3, "holds")),
        ((0, 0, 0.05, 0.05, 0.05), (2, 2, "contradicted")),
    ],
)
def test_b2_counts_intervals_below_half_a_point(score_noise, abilities, expected):
    rng = np.random.default_rng(0)
    score_noise([
        exam(rng, a, task=t, n=20_000, ease=0.9) for t, a in zip("abcde", abilities, strict=True)
    ])  # fmt: skip
    found = HYPOTHESES["B2"].estimate()
    (verdict,) = results(["B2"])["verdict"]
    assert (found.value, found.high, verdict) == expected


def test_b2_is_undecided_where_intervals_hold_half_a_point(score_noise):
    rng = np.random.default_rng(0)
    score_noise([exam(rng, 0.004, task=t, n=500) for t in "abcde"])
    found = HYPOTHESES["B2"].estimate()
    assert found.value < 3 <= found.high
    assert results(["B2"])["verdict"].item() == "undecided"


# --- C --------------------------------------------------------------------------------------------


def half_failing(rng, gap, *, n_failed=22, n_ok=23, task="a", apart=0.5, backbone="bert-tiny"):
    """A setting whose failed runs are ``gap`` farther apart; every fourth good run is hardly good.

    A good run is right on all 1,000 examples or on 540, a failed one on 450.
    """
    failed = rng.permutation(np.repeat([True, False], [n_failed, n_ok]))
    hardly = ~failed & (np.cumsum(~failed) % 4 == 0)
    predictions = np.zeros((len(failed), N), int)
    predictions[failed, 450:] = 1
    predictions[hardly, 540:] = 1
    values = rng.normal(apart, 0.05, len(failed)) + gap * failed
    status = np.where(failed, "collapsed", "ok")
    shares = values, rng.normal(apart, 0.05, len(failed)) + gap * failed
    return made(
        np.zeros(len(failed)), predictions=predictions, runs={"status": status},
        apart=dict(zip(POOLINGS, shares, strict=True)), task=task, backbone=backbone,
    )  # fmt: skip


def welch(group, pooling, rows=slice(None)):
    """Distances of two runs are means of one number each, so their mean is that of the numbers, and
    Student's t of the jackknife is Welch's test.
    """
    stack = group.distances["cka", pooling][0]
    values = np.diag(stack)
    failed, fine = (values[group.failed == kind][rows] for kind in (True, False))
    return stats.ttest_ind(failed, fine, equal_var=False), failed.mean() - fine.mean()


def test_c1_is_the_mean_gap_of_the_first_twenty_of_each_kind_with_stouffers_p(monkeypatch):
    rng = np.random.default_rng(0)
    chosen = [half_failing(rng, gap, task=task) for gap, task in [(0.03, "a"), (0.01, "b")]]
    few = half_failing(rng, -1.0, n_failed=14, task="c")
    found = asked("C1", [*chosen, few], "mean")
    tests = [welch(group, "mean", slice(20)) for group in chosen]
    assert found.value == pytest.approx(np.mean([gap for _, gap in tests])) and found.n == 2
    one_sided = [test.pvalue / 2 if gap > 0 else 1 - test.pvalue / 2 for test, gap in tests]
    upper = stats.combine_pvalues(one_sided, method="stouffer").pvalue
    assert found.p == pytest.approx(2 * min(upper, 1 - upper), rel=1e-6)
    assert found.value != pytest.approx(np.mean([welch(group, "mean")[1] for group in chosen]))
    assert asked("C1", [few], "mean").n == 0
    assert np.isnan(asked("C1", [chosen[0], few], "mean").value)  # one of several is no mean


def test_c_asks_again_without_runs_and_settings_that_tell_little(monkeypatch):
    rng = np.random.default_rng(0)
    few, far = half_failing(rng, 0.1, n_ok=40), half_failing(rng, 0.0, task="b", apart=0.95)
    monkeypatch.setattr(preregistered, "groups", lambda name: [few, far])
    clear = few.take(few.failed | (few.predictions == few.labels).all(1))
    assert len(clear) == 22 + 30
    hypothesis = HYPOTHESES["C1"]
    clearly = hypothesis.estimate(pooling="first", runs=preregistered.CLEARLY, task="a")
    assert clearly == asked("C1", [clear], "first") != asked("C1", [few], "first")
    near = hypothesis.estimate(pooling="first", without=preregistered.NEAR_CHANCE)
    assert near == asked("C1", [few], "first") != hypothesis.estimate(pooling="first")


def test_c_keeps_two_encoders_of_a_task_apart(monkeypatch):
    rng = np.random.default_rng(0)
    both = [half_failing(rng, 0.1, backbone=name) for name in ("bert-tiny", "minilm-l6")]
    monkeypatch.setattr(preregistered, "groups", lambda name: both)
    without = HYPOTHESES["C1"].estimate(pooling="first", without="minilm-l6 a")
    assert without == asked("C1", both[:1], "first")


@pytest.mark.parametrize(
    ("gaps", "verdict"),
    [((0.1,) * 4, "holds"), ((0.3, 0, 0, 0), "undecided"), ((-0.1,) * 4, "contradicted"),
     ((0.1, 0.1, 0.1, -0.1), "undecided")],
)  # fmt: skip
def test_c1_holds_only_if_no_setting_alone_carries_it(monkeypatch, gaps, verdict):
    rng, tasks = np.random.default_rng(0), ("a", "b", "c", "d")
    chosen = [half_failing(rng, *one) for one in zip(gaps, strict=True)]
    for group, task in zip(chosen, tasks, strict=True):
        group.runs["task"] = task
    monkeypatch.setattr(preregistered, "groups", lambda name: chosen)
    one = HYPOTHESES["C1"]
    required = [
        {"pooling": pooling, **more}
        for pooling in POOLINGS
        for more in [{}, *({"without": task} for task in tasks)]
    ]
    monkeypatch.setitem(HYPOTHESES, "C1", dataclasses.replace(one, required=required))
    assert results(["C1"])["verdict"].item() == verdict


# --- E --------------------------------------------------------------------------------------------


def of_methods(counts, *, wider=1.0, task="a"):
    """Full fine-tuning, LoRA and the head, with counts of their own; scores of the last two spread
    ``wider`` times as far.
    """
    rng = np.random.default_rng(len(task))
    scores = 0.7 + 0.02 * rng.normal(size=12)
    spreads = [scores, *[0.7 + wider * (scores - 0.7)] * 2]
    return [
        made(count + rng.integers(0, 3, 12), method=name, task=task, runs={"score": own})
        for name, count, own in zip(("standard", "lora", "head"), counts, spreads, strict=True)
    ]


def test_e1_and_e2_are_paired_differences_of_log_disagreement():
    full, lora, head = of_methods((40, 30, 10))
    for name, (first, second) in {"E1": (full, lora), "E2": (lora, head)}.items():
        a, b = (group.predictions.sum(1) for group in (first, second))
        expected = jackknife_t(lambda runs, a=a, b=b: np.log(b[runs].mean() / a[runs].mean()), 12)
        assert asked(name, [full, lora, head])[:3] == pytest.approx(expected[:3])


@pytest.mark.parametrize(
    ("counts", "wider", "expected"),
    [
        ((40, 30, 10), 1.0, (2, 2, "holds")),
        ((40, 30, 10), 3.0, (0, 0, "contradicted")),
        ((30, 30, 10), 1.0, (1, 2, "undecided")),
        ((30, 30, 30), 1.0, (0, 2, "undecided")),
    ],
)
def test_e3_holds_if_disagreement_tells_both_and_the_sd_neither(
    monkeypatch, counts, wider, expected
):
    chosen = [g for task in ("a", "bb") for g in of_methods(counts, wider=wider, task=task)]
    monkeypatch.setattr(preregistered, "groups", lambda name: chosen)
    found = HYPOTHESES["E3"].estimate()
    (verdict,) = results(["E3"])["verdict"]
    assert (found.value, found.high, verdict) == expected


# --- F --------------------------------------------------------------------------------------------


def crossed(scores, failed, task="rotten-tomatoes"):
    """Runs of a grid, in no order."""
    init, order = (axis.ravel() for axis in np.indices(scores.shape))
    table = {"seed_init": init + 6, "seed_order": order + 6, "seed_dropout": 2}
    table |= {"score": scores.ravel(), "status": np.where(failed, "failed", "ok").ravel()}
    group = made([0] * scores.size, predictions=np.zeros((scores.size, 4), int), runs=table,
                 probabilities=np.zeros((scores.size, 4, 2)), task=task)  # fmt: skip
    return group.take(np.random.default_rng(0).permutation(scores.size))


def test_f1_is_the_difference_of_the_two_shares():
    rng = np.random.default_rng(0)
    scores = 0.05 * rng.normal(size=(1, 12)) + 0.01 * rng.normal(size=(6, 12))
    shares = variance_components.variance_components(scores)["share"]
    found = asked("F1", [crossed(scores, scores < 0)])
    assert found.value == pytest.approx(shares["order"] - shares["init"]) and found.p < 0.05
    # Without an order, its column is gone.
    one = crossed(scores, scores < 0)
    kept = one.take((one.runs["seed_order"] != 8).to_numpy())
    left = variance_components.variance_components(np.delete(scores, 2, axis=1))["share"]
    assert asked("F1", [kept]).value == pytest.approx(left["order"] - left["init"])


def test_f1_leaves_out_each_order_and_falls_if_one_carries_it(monkeypatch):
    rng = np.random.default_rng(0)
    noise = 0.01 * rng.normal(size=(6, 12))
    every = 0.05 * rng.normal(size=12) + noise
    single = noise - 0.1 * (np.arange(12) == 6)
    verdicts = []
    for scores in (every, single, every.mean(1, keepdims=True) * 30 + noise):
        others = [crossed(noise, noise > 1, task) for task in ("amazon", "nyt")]
        chosen = [crossed(scores, scores < -0.05), *others]
        monkeypatch.setattr(preregistered, "groups", lambda name, chosen=chosen: chosen)
        verdicts.append(results(["F1"])["verdict"].item())
        assert len(HYPOTHESES["F1"].required) == 13
    assert verdicts[:2] == ["holds", "undecided"] and verdicts[2] != "holds"


@pytest.mark.parametrize(("bad", "verdict"), [(0, "contradicted"), (1, "holds"), (4, "holds"),
                                              (5, "contradicted")])  # fmt: skip
def test_f2_counts_orders_in_which_half_of_the_runs_fail(monkeypatch, bad, verdict):
    failed = np.zeros((6, 12), bool)
    failed[:3, :bad] = True
    failed[:2, bad:] = True  # a third is not half
    chosen = [crossed(0.6 - 0.1 * failed, failed)]
    monkeypatch.setattr(preregistered, "groups", lambda name: chosen)
    assert asked("F2", chosen).value == bad
    assert results(["F2"])["verdict"].item() == verdict


def test_f3_is_stouffers_test_over_the_tasks_in_which_runs_fail():
    rng = np.random.default_rng(0)
    grids = [rng.random((6, 12)) < np.linspace(0, 0.6, 12), rng.random((6, 12)) < 0.2]
    p = [variance_components.seed_dependence(one)["order"] for one in grids]
    chosen = [crossed(0.6 - 0.1 * f, f, task) for f, task in zip(grids, "ab", strict=True)]
    none = crossed(np.full((6, 12), 0.6), np.zeros((6, 12), bool), "c")
    found = asked("F3", [*chosen, none])
    assert found.p == pytest.approx(stats.combine_pvalues(p, method="stouffer").pvalue)
    assert found.n == 2 and asked("F3", [none]).n == 0


@pytest.mark.parametrize("shape", [(6, 12), (4, 5, 2)])
def test_share_difference_agrees_with_the_components(shape):
    rng = np.random.default_rng(3)
    scores = rng.normal(size=shape) + 0.8 * rng.normal(size=(1, shape[1], *[1] * (len(shape) - 2)))
    shares = variance_components.variance_components(scores)
    found = variance_components.share_difference(scores)
    assert found.value == pytest.approx(shares.loc["order", "share"] - shares.loc["init", "share"])
    # The wider level holds 0 just where p is larger.
    for level in (1 - found.p - 0.002, 1 - found.p + 0.002):
        one = variance_components.share_difference(scores, level=level)
        assert (one.low * one.high <= 0) == (level > 1 - found.p)
    mirrored = variance_components.share_difference(np.swapaxes(scores, 0, 1))
    assert mirrored.value == pytest.approx(-found.value)
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low), abs=0.05)


# --- D and G --------------------------------------------------------------------------------------

METHODS = ("standard", *"bcdefghij")


def ranked_world(rng, *, alike):
    """Ten methods on three tasks, whose instability all measures see, each with noise of its own;
    the SD too if ``alike``.
    """
    chosen = []
    for task in "abc":
        levels = rng.normal(0, 0.5, (2, 10))
        for number, method in enumerate(METHODS):
            level, own = levels[0, number], levels[0 if alike else 1, number]
            answers, logits, apart = np.exp(level + rng.normal(0, 0.1, 3))
            rate = 0.08 * answers
            votes = (rng.random((10, 120)) < rate).astype(int)
            one = np.clip(0.5 + 0.1 * np.sqrt(logits) * rng.normal(size=(10, 120)), 0.01, 0.99)
            runs = {"score": 0.7 + 0.02 * np.exp(own) * rng.normal(size=10)}
            chosen.append(made(
                [0] * 10, predictions=votes, probabilities=np.stack([one, 1 - one], axis=-1),
                apart=0.1 * apart * rng.uniform(0.9, 1.1, 10), task=task, method=method, runs=runs,
            ))  # fmt: skip
    return chosen


def test_d1_is_the_weaker_of_two_mean_taus():
    chosen = ranked_world(np.random.default_rng(0), alike=True)
    assert {group.setting["method"] for group in chosen} == set(METHODS)
    means = {}
    for pair in (("jsd", "disagreement"), ("op", "cka")):
        taus = []
        for task in "abc":
            own = [g.pairs("mean") for g in chosen if g.setting["task"] == task]
            first, second = ([pairs[m][np.triu_indices(10, 1)].mean() for pairs in own]
                             for m in pair)  # fmt: skip
            taus.append(stats.kendalltau(first, second).statistic)
        means[pair] = np.mean(taus)
    found = asked("D1", chosen, "mean")
    assert found.value == pytest.approx(min(means.values()))
    assert found.n == 3 and found.p < 0.05


def copied(group, method, turned):
    """The runs of a group under another name, with some of their answers turned round."""
    answers = group.predictions.copy()
    answers[:, -turned:] = 1
    return made([0] * len(group), predictions=answers, method=method)


def test_methods_whose_runs_answer_as_if_they_were_one_count_once():
    standard = made([40] * 8)
    chosen = [copied(standard, "llrd", 20), standard, copied(standard, "lora", 40)]
    kept = distinct(chosen, below=COPIES)
    # At one seed they differ on 20 and 40 examples, at two seeds on 80 more.
    assert [group.setting["method"] for group in kept] == ["standard", "lora"]
    # Nor do failed runs, of other seeds in each method, make two of one.
    fewer = [group.take(np.arange(8) != i) for i, group in enumerate(chosen)]
    kept = [(g.setting["method"], len(g)) for g in distinct(fewer, below=COPIES)]
    assert kept == [("standard", 7), ("lora", 7)]


def test_d3_counts_methods_that_one_measure_tells_from_the_standard_one_and_another_does_not():
    rng, chosen = np.random.default_rng(0), []
    for task in "abc":
        for number, method in enumerate(METHODS):
            votes = (rng.random((8, N)) < (0.05 if number > 3 else 0.02)).astype(int)
            chosen.append(made([0] * 8, predictions=votes, task=task, method=method))
    # JSD and the SD are the same everywhere; disagreement tells six methods of nine apart.
    told = preregistered._told(distinct(chosen, below=COPIES), ("disagreement", "sd"))
    told = told.query("first == 0")
    assert (len(told), told["sd"].sum()) == (27, 0) and told["disagreement"].sum() >= 18
    found = asked("D3", chosen)
    assert found.value == -told["disagreement"].sum() and found.n == 27
    assert found.p == pytest.approx(0.5 ** (told["disagreement"].sum() - 1))


def test_d2_finds_an_sd_that_has_nothing_to_do_with_the_others_and_spares_one_that_has(monkeypatch):
    monkeypatch.setattr(intervals, "N_PERMUTATIONS", 199)
    rng, told = np.random.default_rng(0), {}
    for alike in (True, False):
        worlds = [asked("D2", ranked_world(rng, alike=alike), "first") for _ in range(5)]
        told[alike] = [one.p < 0.05 and one.value < 0 for one in worlds]
    assert sum(told[True]) <= 1 and sum(told[False]) >= 4


@pytest.mark.parametrize(
    ("called", "method"),
    [
        ("without-bias-correction-runs-differ-more", "no_bias_correction"),
        ("after-longer-training-runs-differ-more", "longer"),
    ],
)
def test_a_method_is_held_against_the_standard_one_task_by_task(monkeypatch, called, method):
    rng, chosen = np.random.default_rng(0), []
    for task, factor in (("a", 2), ("b", 3)):
        counts = rng.integers(18, 23, 8)
        chosen += [made(factor * counts, task=task, method=method), made(counts, task=task),
                   made(9 * counts, task=task, method="lora")]  # fmt: skip
    monkeypatch.setattr(preregistered, "groups", lambda name: chosen)
    found = CLAIMS[called].statistic(without="none", measure="disagreement")
    assert found[:4] == pytest.approx([np.log(6) / 2] * 3 + [2])
    found = CLAIMS[called].statistic(without="a", measure="disagreement")
    assert found.value == pytest.approx(np.log(3)) and found.n == 8
    flat = CLAIMS[called].statistic(without="none", measure="cka")
    assert flat.value == pytest.approx(0, abs=1e-9)


def schedules(larger):
    """Three optimisers × two schedules × two tasks; under a constant rate an optimiser's counts are
    ``larger`` times those under a linear one.
    """
    rng, chosen = np.random.default_rng(0), []
    for task in "ab":
        for name, factor in zip(preregistered.OPTIMIZERS, larger, strict=True):
            for schedule, times in (("linear", 1), ("constant", factor), ("cosine", 2)):
                counts = (times * rng.integers(18, 23, 8)).astype(int)
                chosen.append(made(counts, task=task, optimizer=name, schedule=schedule))
    return chosen


@pytest.mark.parametrize(
    ("larger", "verdict"),
    [((1.5, 1.5, 1.5), "holds"), ((2, 1, 1), "undecided"), ((0.5, 0.5, 0.5), "contradicted")],
)
def test_g1_holds_only_if_no_optimiser_alone_carries_it(monkeypatch, larger, verdict):
    chosen = schedules(larger)
    monkeypatch.setattr(preregistered, "groups", lambda name: chosen)
    one = HYPOTHESES["G1"]
    assert one.estimate().value == pytest.approx(np.log(larger).mean(), abs=0.05)
    monkeypatch.setattr(preregistered, "HYPOTHESES", {"G1": one})
    assert results()["verdict"].item() == verdict


# --- pooling and verdicts -------------------------------------------------------------------------


def test_tasks_are_pooled_by_stouffer_and_their_intervals_as_independent():
    values, p = np.array([0.3, 0.2, -0.1]), np.array([0.001, 0.2, 0.6])
    parts = [Estimate(v, v - 0.2, v + 0.2, 8, q, 0.3) for v, q in zip(values, p, strict=True)]
    found = pooled(parts)
    one_sided = np.where(values > 0, p / 2, 1 - p / 2)
    upper = stats.combine_pvalues(one_sided, method="stouffer").pvalue
    assert found.p == pytest.approx(2 * min(upper, 1 - upper))
    expected = (values.mean(), values.mean() - 0.2 / np.sqrt(3), values.mean() + 0.2 / np.sqrt(3))
    assert found[:3] == pytest.approx(expected) and found.n == 3
    assert found.smallest == pytest.approx(0.3 / np.sqrt(3)) and pooled(parts[:1]) == parts[0]
    # Two tasks that hardly show anything outweigh the mean, but not the evidence of the third.
    split = pooled([parts[0]._replace(p=1e-9), *[parts[2]._replace(value=-0.4, p=0.5)] * 2])
    assert split.value < 0 and split.p == 1


def toy_study(monkeypatch, tasks, *, names=("X",), **more):
    """Hypotheses, expected above 0, on tasks a, b, … whose signed p stand in a dict by pooling.

    A p of −0.01 is one of 0.01 with a value below 0.
    """
    poolings = [{"pooling": pooling} for pooling in tasks] if len(tasks) > 1 else [{}]
    signed = np.array(list(tasks.values()))
    names_of_tasks = ("first", "second", "third")[: signed.shape[1]]
    chosen = [made([1] * 3, task=task, number=i) for i, task in enumerate(names_of_tasks)]

    def statistic(part, pooling):
        p = signed[list(tasks).index(pooling) if pooling else 0, part[0].setting["number"]]
        z = np.sign(p) * stats.norm.isf(abs(p) / 2)
        return Estimate(z, z - 1, z + 1, 8, abs(p), 0.5)

    claim, fields = "more-rows-move-representations-apart", {"exact": False, "same_sign": ()} | more
    made_up = {
        name: Hypothesis(name, claim, "toy", by_task(statistic), poolings, **fields)
        for name in names
    }
    monkeypatch.setattr(preregistered, "groups", lambda name: chosen)
    monkeypatch.setattr(preregistered, "HYPOTHESES", made_up)
    return made_up


CLEAR = (0.001, 0.001, 0.001)


@pytest.mark.parametrize(
    ("tasks", "verdict"),
    [
        ({"": CLEAR}, "holds"),
        ({"": (0.001, 0.001, -0.2)}, "holds"),
        ({"": (0.0001, 0.0001, -0.04)}, "undecided"),  # one task rejects in the other direction
        ({"": (0.3, 0.2, -0.4)}, "undecided"),
        ({"": (-0.001, -0.001, 0.04)}, "contradicted"),
        ({"first": CLEAR, "mean": CLEAR}, "holds"),
        ({"first": CLEAR, "mean": (0.3, 0.2, -0.4)}, "mixed"),
        ({"first": CLEAR, "mean": (-0.001,) * 3}, "mixed"),
        ({"first": (0.3,) * 3, "mean": (-0.001,) * 3}, "mixed"),
        ({"first": (-0.001,) * 3, "mean": (-0.001,) * 3}, "contradicted"),
        ({"first": CLEAR, "mean": (0.0001, 0.0001, -0.04)}, "mixed"),
    ],
)
def test_verdicts_follow_the_rules_of_the_plan(monkeypatch, tasks, verdict):
    toy_study(monkeypatch, tasks)
    assert results()["verdict"].item() == verdict


def test_an_analysis_that_has_to_keep_its_sign_can_take_the_verdict(monkeypatch):
    tasks = {"": (0.00001, -0.6)}
    toy_study(monkeypatch, tasks)
    assert results()["verdict"].item() == "holds"
    toy_study(monkeypatch, tasks, same_sign=[{"without": "second"}])
    assert results()["verdict"].item() == "holds"
    toy_study(monkeypatch, tasks, same_sign=[{"without": "first"}])
    assert results()["verdict"].item() == "undecided"


def test_p_is_adjusted_over_the_hypotheses_of_a_study(monkeypatch):
    p, made_up = {"X": 0.012, "Y": 0.03, "Z": 0.04}, {}
    for name, own in p.items():
        made_up |= toy_study(monkeypatch, {"": (own,)}, names=(name,))
    monkeypatch.setattr(preregistered, "HYPOTHESES", made_up)
    table = results().set_index("hypothesis")
    assert table["p"].to_dict() == p
    expected = multipletests(list(p.values()), method="holm")[1]
    assert table["adjusted"].to_numpy() == pytest.approx(expected)
    assert list(table["verdict"]) == ["holds", "undecided", "undecided"]


def test_holm_is_over_the_largest_p_of_what_has_to_hold(monkeypatch):
    one = toy_study(monkeypatch, {"first": (0.01,), "mean": (0.03,)}, names=("X", "Y"))
    table = results()
    assert list(one) == list(table["hypothesis"]) and list(table["p"]) == [0.01, 0.01]
    assert list(table["adjusted"]) == pytest.approx([0.06, 0.06])
    assert list(table["verdict"]) == ["mixed", "mixed"]  # 0.02 by the first pooling


@pytest.mark.parametrize(("p", "verdict"), [(0.0, "holds"), (float("nan"), "undecided")])
def test_a_p_of_zero_stays_one_and_without_p_the_interval_decides(monkeypatch, p, verdict):
    toy = toy_study(monkeypatch, {"": (0.01,)}, names=("X", "Y"))
    for one in toy.values():
        object.__setattr__(one, "statistic", lambda *_: Estimate(1.0, -1.0, 3.0, 8, p))
    table = results()
    assert list(table["verdict"]) == [verdict] * 2
    assert table["adjusted"].to_numpy() == pytest.approx([p, p], nan_ok=True)
    assert (table["smallest"] > 0).all()


def test_only_the_studies_that_are_asked_for_are_read(monkeypatch):
    read = []
    chosen = [crossed(np.full((6, 12), 0.6), np.eye(6, 12, dtype=bool))]
    monkeypatch.setattr(preregistered, "groups", lambda name: read.append(name) or chosen)
    assert list(results(["F2", "F3"])["hypothesis"]) == ["F2", "F3"]
    assert set(read) == {"reference-orders"}
