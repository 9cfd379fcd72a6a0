"""Consistency: the released procedures by loops, their published numbers, and corrected ones."""

import itertools
import random

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lib import measures, paths
from lib.analysis import consistency
from lib.results import run_group

MEASURES = ("sd", "kappa", "disagreement", "jsd", "cka", "op")


def test_released_bootstrap_by_loops():
    """nb 10: draw seeds with replacement, sort, mean over pairs of positions, SD with ddof 0."""
    rng, draw = np.random.default_rng(0), random.Random(0)
    predictions, points = rng.integers(0, 2, (10, 40)), rng.normal(size=(10, 4))
    scores = predictions.mean(1)
    pairs = {
        "disagreement": measures.pairwise_disagreement(predictions),
        "op": np.linalg.norm(points[:, None] - points, axis=-1),
    }
    found = consistency.published_statistics(scores, pairs, 40)
    drawn = [sorted(draw.choices(range(10), k=10)) for _ in range(5)]
    weights = np.stack([np.bincount(rows, minlength=10) for rows in drawn]).astype(float)
    for row, rows in enumerate(drawn):
        drawn_pairs = list(itertools.combinations(rows, 2))
        assert found["sd"](weights)[row] == pytest.approx(np.std(scores[rows]))
        for name, matrix in pairs.items():
            expected = np.mean([0.0 if a == b else matrix[a, b] for a, b in drawn_pairs])
            assert found[name](weights)[row] == pytest.approx(expected)
        kappa = measures.fleiss_kappa(predictions[rows], as_published=True)
        assert found["kappa"](weights)[row] == pytest.approx(1 - kappa)
    table = consistency.bootstrap_correlations(found, 10)
    assert np.allclose(np.diag(table), 1) and (table["sd"].drop("sd").abs() < 0.99).all()
    assert np.allclose(table["kappa"], table["disagreement"])


def test_kendall_is_scipys_with_ties_too():
    rng = np.random.default_rng(4)
    a, b = rng.integers(0, 4, (2, 30, 6)).astype(float)
    expected = [stats.kendalltau(x, y).statistic for x, y in zip(a, b, strict=True)]
    assert np.allclose(consistency.kendall(a, b), expected, equal_nan=True)
    assert np.isnan(consistency.kendall(np.ones(5), np.arange(5.0)))


def test_mean_rank_agreement_by_hand():
    """Two tables of three methods: τ of a and b is 1 and 1/3, so 2/3 in the mean. Of the 36 ways to
    pair two orders of three, the sum of two τ (1, 1/3, 1/3, −1/3, −1/3, −1) is at least 4/3 away
    from 0 in 2 · (1 + 2 · 2) = 10.
    """
    tables = [
        pd.DataFrame({"a": [1.0, 2, 3], "b": [10.0, 20, 30]}),
        pd.DataFrame({"a": [1.0, 2, 3], "b": [20.0, 10, 30]}),
    ]
    found = consistency.mean_rank_agreement(tables)
    pair, every = found.itertuples(index=False)
    assert (pair.a, pair.b, every.a) == ("a", "b", "all")
    assert pair.tau == every.tau == pytest.approx(2 / 3)
    assert pair.p == every.p == pytest.approx(10 / 36, abs=0.018)


def test_a_group_that_is_another_again_is_told_from_a_method_that_shares_seeds():
    """Seeds disagree on two in ten. A copy changes one answer in a hundred; a run of it another
    time altogether; a method keeps half of what the seed decides; a stranger nothing."""
    rng = np.random.default_rng(0)
    fixed, hard = rng.integers(0, 2, 400), rng.random(400) < 0.4

    def seeds():
        return np.where(hard, rng.integers(0, 2, (10, 400)), fixed)

    standard, stranger = seeds(), seeds()
    copy = np.where(rng.random((10, 400)) < 0.01, 1 - standard, standard)
    copy[3] = seeds()[3]
    method = np.where(rng.random((10, 400)) < 0.5, standard, seeds())
    groups = {"standard": standard, "copy": copy, "method": method, "stranger": stranger}
    share = {n: consistency.same_seed_share(standard, one) for n, one in groups.items()}
    assert share["standard"] == 0 and share["copy"] == pytest.approx(0.05, abs=0.03)
    assert share["method"] == pytest.approx(0.5, abs=0.1)
    assert share["stranger"] == pytest.approx(1, abs=0.1)
    assert consistency.same_runs(groups) == {"copy": "standard"}
    turned = dict(reversed(groups.items()))
    assert consistency.same_runs(turned) == {"standard": "copy"}
    # Seeds in another order are other seeds.
    assert consistency.same_runs({"a": standard, "b": standard[::-1]}) == {}
    three = {"a": standard, "b": copy, "c": standard}
    assert consistency.same_runs(three) == {"b": "a", "c": "a"}


def test_same_seed_share_by_hand():
    """Same seeds differ on 1/4 and 1/2, other seeds on 1/2 and 3/4: 0.375 of 0.625."""
    first, second = [[0, 0, 0, 0], [1, 1, 1, 1]], [[0, 0, 0, 1], [1, 1, 0, 0]]
    assert consistency.same_seed_share(first, second) == pytest.approx(0.6)


def test_groups_that_answer_alike_whatever_the_seed_are_not_called_copies():
    same = np.zeros((5, 30), int)
    assert np.isnan(consistency.same_seed_share(same, same))
    assert consistency.same_runs({"a": same, "b": same}) == {}
    with pytest.raises(ValueError, match=r"\(5, 30\) and \(4, 30\)"):
        consistency.same_seed_share(same, same[1:])


def test_the_committed_methods_hold_three_copies_of_the_standard_runs():
    groups, found = {}, {}
    for results in ("reference-standard", "reference-methods"):
        for one in run_group.read(results).values():
            key = one.setting["task"], one.setting["method"]
            groups[key] = one.take(np.argsort(one.runs["seed"])[:10])
    for task in ("cola", "mrpc", "rte"):
        found |= consistency.same_runs(
            {k: g.predictions for k, g in groups.items() if k[0] == task}
        )
    assert found == {(t, "wd_pre"): (t, "standard") for t in ("cola", "mrpc", "rte")}
    at_rate = {0.0003: {}, 0.003: {}}
    for one in run_group.read("reference-stabilizers").values():
        ordered = one.take(np.argsort(one.runs["seed"]))
        at_rate[one.setting["learning_rate"]][one.setting["method"]] = ordered.predictions
    assert [len(methods) for methods in at_rate.values()] == [11, 11]
    assert not any(consistency.same_runs(methods) for methods in at_rate.values())


def test_rank_support_counts_ranks():
    resampled = np.array([[1.0, 2, 3], [1, 3, 2], [1, 2, 3], [3, 1, 2]])
    support = consistency.rank_support(resampled)
    assert support.tolist() == [[0.75, 0, 0.25], [0.25, 0.5, 0.25], [0, 0.5, 0.5]]


@pytest.fixture(scope="module")
def released():
    """Correlations of the released bootstrap (run A), as tables, and the SD of each group."""
    table = pd.read_csv(paths.PUBLISHED / "paper1_bootstrap_corr.csv")
    table = table[(table["run"] == "A") & (table["task"] != "sst2")]
    columns = ["kappa_pwd" if m in ("kappa", "disagreement") else m for m in MEASURES]

    def correlations(row):
        def r(a, b):
            return 1.0 if a == b else row.get(f"r_{a}~{b}", row.get(f"r_{b}~{a}"))

        return pd.DataFrame([[r(a, b) for b in columns] for a in columns], MEASURES, MEASURES)

    return {
        model: (part["sd_10seeds_ddof0"].to_numpy(), [correlations(r) for _, r in part.iterrows()])
        for model, part in table.groupby("model")
    }


@pytest.mark.parametrize(
    ("model", "published", "expected"),
    [
        ("bert", 0.7337610331, [0.70, 0.76, 0.76, 0.66, 0.77, 0.73]),
        ("roberta", 0.6534165572, [0.68, 0.71, 0.71, 0.55, 0.66, 0.63]),
    ],
)
def test_published_correlation_of_level_and_agreement(released, model, published, expected):
    """nb 11, from correlations that are printed with two digits; pooled, and of each measure."""
    sd, levels = released[model][0], consistency.agreement_levels(released[model][1])
    r, p = consistency.level_against_agreement_published(sd, levels)
    assert r == pytest.approx(published, abs=0.003)
    assert p < 1e-10
    found = consistency.level_against_agreement(sd, levels)
    assert found["r"][:6].to_numpy() == pytest.approx(expected, abs=0.015)
    assert (found["groups"] == 15).all() and found["measure"].iloc[-1] == "all"


def test_permuting_groups_counts_what_enumeration_counts():
    rng = np.random.default_rng(8)
    sd = rng.random(6)
    levels = pd.DataFrame({"a": sd + 0.3 * rng.random(6), "b": rng.random(6)})
    found = consistency.level_against_agreement(sd, levels).set_index("measure")
    orders = list(itertools.permutations(range(6)))
    for name in ("a", "b"):
        r = np.corrcoef(sd, levels[name])[0, 1]
        drawn = [abs(np.corrcoef(sd[list(order)], levels[name])[0, 1]) for order in orders]
        exact = np.mean(np.array(drawn) >= abs(r) - 1e-12)
        assert found.loc[name, "r"] == pytest.approx(r)
        assert found.loc[name, "p"] == pytest.approx(exact, abs=0.02)


def test_an_association_within_tasks_is_found_though_tasks_differ_the_other_way():
    """Simpson's paradox: in each task more SD goes with more agreement, between them with less."""
    task = np.repeat([0, 1], 5)
    inside = np.tile(np.arange(5.0), 2)
    levels = pd.DataFrame({"a": inside - 20 * task})
    found = consistency.level_against_agreement(inside + 20 * task, levels, strata=task).iloc[0]
    assert found["r"] < -0.9 and found["within"] == pytest.approx(1) and found["p"] < 0.01
    alone = consistency.level_against_agreement(inside + 20 * task, levels).iloc[0]
    assert alone["within"] == pytest.approx(alone["r"])


def test_groups_of_the_same_seeds_are_resampled_together():
    values = np.arange(8.0)
    one = {"a": lambda w: w @ values / w.sum(1), "b": lambda w: w @ values**2 / w.sum(1)}
    _, together = consistency.resampled_values([one, one], [8, 8], paired=True)
    assert (together["a"][:, 0] == together["a"][:, 1]).all()
    _, apart = consistency.resampled_values([one, one], [8, 8])
    assert (apart["a"][:, 0] != apart["a"][:, 1]).mean() > 0.5
    with pytest.raises(ValueError, match="paired groups have the same seeds"):
        consistency.resampled_values([one, one], [8, 7], paired=True)
