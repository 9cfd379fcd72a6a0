"""Is the SD enough: pairs told apart, crossing points, ranks on other seeds."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lib import measures
from lib.analysis import granularity
from lib.measures import comparison
from lib.measures.summary import STUDIED
from lib.results.run_group import RunGroup


def make_group(predictions, *, task="films", names=None, probabilities=None, distances=None):
    """Runs of two classes on examples whose label is 0, with distances of one layer."""
    n = len(predictions)
    names = [f"seed{seed}" for seed in range(n)] if names is None else names
    scores = (predictions == 0).mean(axis=1)
    table = pd.DataFrame({"run": names, "task": task, "score": scores, "status": "ok"})
    if probabilities is None:
        probabilities = np.eye(2)[predictions] * 0.8 + 0.1
    if distances is None:
        distances = dict.fromkeys(
            ("svcca", "op", "cka"), measures.pairwise_disagreement(predictions)
        )
    return RunGroup(
        runs=table,
        example_ids=[str(number) for number in range(predictions.shape[1])],
        predictions=predictions,
        labels=np.zeros(predictions.shape[1], int),
        classes=("a", "b"),
        probabilities=probabilities,
        distances={(name, "first"): stack[None] for name, stack in distances.items()},
        layers={"first": np.array([1])},
    )


def world(rng, share, *, n_runs=10, n_examples=200, seed_sd=0.0, **how):
    """A ``share`` of the examples is answered by chance, which a seed moves by ``seed_sd``."""
    luck = 0.5 + seed_sd * rng.normal(size=(n_runs, 1))
    open_ = np.arange(n_examples) < round(share * n_examples)
    answers = (rng.random((n_runs, n_examples)) < luck) & open_
    return make_group(answers.astype(int), **how)


def test_two_settings_are_told_apart_as_by_the_jackknife_with_the_seeds_that_both_have():
    rng = np.random.default_rng(0)
    names = [f"seed{seed}" for seed in (3, 0, 5, 1, 9, 7, 2, 11, 4)]
    groups = [
        world(rng, 0.2),
        world(rng, 0.5, n_runs=9, names=names),
        world(rng, 0.4, task="news"),
        world(rng, 0.1, task="news"),
    ]
    table = granularity.told(groups)
    assert table[["task", "first", "second", "n"]].to_numpy().tolist() == [
        ["films", 0, 1, 8],
        ["news", 0, 1, 10],
    ]
    first, second = granularity.same_seeds(groups[:2])
    assert first.names == second.names and len(first) == 8
    for name in STUDIED:
        parts = (group.statistics("first")[name] for group in (first, second))
        expected = comparison.jackknife_difference(*parts, (8, 8), paired=True)
        assert table[name].iloc[0] == pytest.approx(expected.z)
        assert granularity.p_values(table, [name])[name][0] == pytest.approx(expected.p)


def test_seeds_are_taken_in_blocks_that_share_none():
    rng = np.random.default_rng(1)
    groups = [world(rng, share) for share in (0.2, 0.4, 0.6)]
    table = granularity.told(groups, ("sd", "jsd"), seeds=(3, 10, 0, 11, 2))
    assert table["n"].value_counts().to_dict() == {3: 9, 10: 3}
    blocks = table.query("n == 3 and first == 0 and second == 2")
    for z, start in zip(blocks["jsd"], (0, 3, 6), strict=True):
        pair = [groups[i].take(range(start, start + 3)).statistics("first")["jsd"] for i in (0, 2)]
        assert z == pytest.approx(comparison.jackknife_difference(*pair, (3, 3), paired=True).z)


def test_settings_that_are_alike_are_told_apart_as_seldom_as_promised():
    """Runs of two settings change places at random: whatever they are, nothing tells them apart."""
    rng, told = np.random.default_rng(2), []
    for _ in range(150):
        runs = [world(rng, 0.3, seed_sd=0.05).predictions for _ in range(2)]
        turned = np.where(rng.random((10, 1)) < 0.5, runs[0], runs[1])
        rest = runs[0] + runs[1] - turned
        table = granularity.told([make_group(turned), make_group(rest)], ("sd", "disagreement"))
        told.append([*(granularity.p_values(table, ["sd", "disagreement"]) < 0.05).iloc[0],
                     granularity.told_by_any(table, ["sd", "disagreement"]).iloc[0]])  # fmt: skip
    assert (np.mean(told, axis=0) <= 0.09).all()


def z_table(rows):
    return pd.DataFrame(rows, columns=["task", "first", "second", "n", "sd", "jsd"])


def test_one_of_several_measures_tells_by_holm():
    """z of 2.1 with ten seeds has p = .065, of 2.4 .040, of 2.8 .021: two measures need .025."""
    pairs = (2.1, 2.4), (2.4, 2.4), (0.1, -2.8), (np.nan, 2.4), (np.nan, np.nan)
    table = z_table([["a", 0, 1, 10, *both] for both in pairs])
    both = granularity.told_by_any(table, ["sd", "jsd"])
    assert both.tolist() == [False, False, True, True, False]
    assert granularity.told_by_any(table, ["jsd"]).tolist() == [True] * 4 + [False]
    p = granularity.p_values(table, ["jsd"])["jsd"].dropna()
    holm = [comparison.adjust(np.array([0.9, one])).min() < 0.05 for one in p]
    assert holm == [False, False, True, False]


def test_seeds_that_tell_as_many_by_hand():
    """Three settings, so three pairs. The SD with ten seeds tells one of three. JSD tells none with
    three seeds and two of three with five: one of three with four.
    """
    pairs = [(0, 1), (0, 2), (1, 2)]
    tables = {3: ([0, 0, 0], [0, 0, 0]), 5: ([0, 0, 0], [9, 9, 0]), 10: ([9, 0, 0], [9, 9, 9])}
    table = z_table([
        ["a", *pair, n, sd, jsd]
        for n, columns in tables.items()
        for pair, sd, jsd in zip(pairs, *columns, strict=True)
    ])  # fmt: skip
    assert granularity.seeds_alike(table, "jsd").value == pytest.approx(4)


def line_world(rng, *, slope, n_units=20):
    """Levels that are known, and heights whose mean over units is slope · (level − 1)."""
    x = np.linspace(0, 3, 8)
    common, own = rng.normal(size=(n_units, 1)), rng.normal(size=(n_units, 8))
    heights = slope * (x - 1) + common + own

    def points(weights):
        y = weights @ heights / weights.sum(axis=1, keepdims=True)
        return np.broadcast_to(x, y.shape), y, np.ones_like(y)

    return points


def test_the_interval_of_a_crossing_point_covers_it():
    rng = np.random.default_rng(3)
    found = [granularity.crossing(line_world(rng, slope=1.0), 20) for _ in range(200)]
    covered = np.mean([one.low <= 1 <= one.high for one in found])
    assert 0.91 <= covered <= 0.99
    assert np.median([one.value for one in found]) == pytest.approx(1, abs=0.05)
    assert np.mean([one.rise.low <= 3 <= one.rise.high for one in found]) >= 0.91


def test_a_line_that_does_not_cross_has_no_crossing_point_and_a_flat_one_no_narrow_one():
    rng = np.random.default_rng(4)

    def above(weights):
        x, y, share = line_world(np.random.default_rng(4), slope=1.0)(weights)
        return x, y + 9, share

    found = granularity.crossing(above, 20)
    assert np.isnan(found[:3]).all() and found.at_least.low > 0 and found[3:5] == (0, 3)
    flat = [granularity.crossing(line_world(rng, slope=0.0), 20) for _ in range(100)]
    assert np.mean([(one.low, one.high) == (0, 3) for one in flat]) > 0.7


def test_half_of_the_variance_is_noise_where_a_simulated_world_has_it():
    """Of N examples a share q is open, so answers differ on q/2 and chance makes a variance of
    q/(4N); seeds move the accuracy by q σ. They are alike at q = 1/(4 N σ²), here 0.25.
    """
    rng, covered = np.random.default_rng(5), []
    for _ in range(40):
        groups = [
            world(rng, q, n_runs=20, n_examples=400, seed_sd=0.05)
            for q in np.geomspace(0.1, 0.6, 8)
        ]
        found = granularity.crossing(granularity.half_noise(groups), 20)
        covered.append(found.low <= np.log(0.125) <= found.high)
    assert np.mean(covered) >= 0.85


def test_the_floor_is_that_of_the_seed_variance():
    rng = np.random.default_rng(6)
    groups = [world(rng, share, seed_sd=0.1) for share in (0.3, 0.6)]
    x, y, _ = granularity.half_noise(groups)(np.ones((1, 10)))
    for i, group in enumerate(groups):
        spread = measures.seed_variance(group.predictions == 0)
        sd = group.scores.std(ddof=1)
        assert y[0, i] == pytest.approx(np.log(sd**2 / 2 / spread.floor**2))
        apart = measures.instability(measures.pairwise_disagreement(group.predictions))
        assert x[0, i] == pytest.approx(np.log(apart.value))


def test_a_pair_counts_for_the_measure_that_alone_tells_it():
    rng = np.random.default_rng(7)
    groups = [world(rng, q) for q in (0.1, 0.3, 0.6)]
    x, y, weights = granularity.only_sd(groups, "disagreement", len)(np.ones((1, 3)))
    table = granularity.told(groups, ("sd", "disagreement"))
    told = (granularity.p_values(table, ["sd", "disagreement"]) < 0.05).to_numpy(int)
    assert y[0].tolist() == (told[:, 0] - told[:, 1]).tolist() and (y < 0).any()
    assert (x == 10).all() and weights.sum() == pytest.approx(1)


def test_halves_are_kendalls_tau_of_scipy_over_ways_to_halve_the_seeds(monkeypatch):
    monkeypatch.setattr(granularity, "N_SPLITS", 4)
    rng = np.random.default_rng(8)
    groups = [world(rng, share, n_runs=6, n_examples=4999) for share in (0.1, 0.3, 0.35, 0.4, 0.6)]
    found = granularity.halves(groups)(np.ones((1, 6)))
    assert found.shape == (1, 1, 7, 7)
    half = np.random.default_rng(0).permuted(np.tile(np.arange(6) < 3, (4, 1)), axis=1)
    for a, b in itertools.product(("sd", "jsd", "op"), repeat=2):
        taus = []
        for mask in half:
            for one, other in ((mask, ~mask), (~mask, mask)):
                values = [
                    [float(g.take(m).statistics("first")[name](np.ones((1, 3)))[0]) for g in groups]
                    for m, name in ((one, a), (other, b))
                ]
                taus.append(stats.kendalltau(*values).statistic)
        i, j = STUDIED.index(a), STUDIED.index(b)
        assert found[0, 0, i, j] == pytest.approx(np.nanmean(taus))


def test_halves_refuses_groups_of_other_seeds():
    rng = np.random.default_rng(9)
    groups = [world(rng, 0.3), world(rng, 0.3, n_runs=9)]
    with pytest.raises(ValueError, match="choose them with same_seeds"):
        granularity.halves(groups)
    granularity.halves(granularity.same_seeds(groups))


def ranked(rng, levels, *, task, turned=()):
    """Settings whose runs are as far apart as ``levels`` say, by CKA the other way round in tasks
    that are turned; SVCCA knows nothing.
    """
    groups = []
    for level, opposite in zip(levels, levels[::-1], strict=True):
        own = {}
        for name, size in {"op": level, "cka": opposite if task in turned else level,
                           "svcca": 1.0}.items():  # fmt: skip
            noise = rng.uniform(0.8, 1.2, (10, 10))
            own[name] = np.triu(size * noise, 1) + np.triu(size * noise, 1).T
        groups.append(make_group(rng.integers(0, 2, (10, 200)), task=task, distances=own))
    return groups


def test_a_ranking_is_lost_without_a_measure_unless_another_has_it_with_the_same_sign():
    rng, levels = np.random.default_rng(10), np.linspace(1, 3, 6)
    targets = {"op": ["svcca", "cka"], "cka": ["op"], "svcca": ["sd", "disagreement"]}
    alike = [g for task in "ab" for g in ranked(rng, levels, task=task)]
    table = granularity.losses(alike, targets)
    assert table.loc["op", ["own", "best"]].tolist() == pytest.approx([1, 1], abs=0.05)
    assert table.loc["op", "by"] == "cka" and table.loc["op", "low"] <= 0 <= table.loc["op", "high"]
    # What knows nothing does not foretell itself, so nothing is lost.
    assert abs(table.loc["svcca", "own"]) < 0.4
    mixed = [g for task in "ab" for g in ranked(rng, levels, task=task, turned="b")]
    table = granularity.losses(mixed, targets)
    # A sign that is taken from the other task is the wrong one here.
    assert table.loc["cka", "best"] == pytest.approx(-1, abs=0.05)
    assert table.loc["cka", "by"] == "−op, op" and table.loc["cka", "low"] > 1.5


def test_the_interval_of_a_loss_covers_that_of_endless_seeds():
    """SD and disagreement of the same worlds over and over: the mean loss is in most intervals."""
    rng, found = np.random.default_rng(11), []
    for _ in range(40):
        groups = [world(rng, q, n_runs=12, seed_sd=0.1) for q in (0.1, 0.2, 0.3, 0.45, 0.6)]
        found.append(granularity.losses(groups, {"sd": ("disagreement",)}).loc["sd"])
    table = pd.DataFrame(found)
    mean = table["loss"].mean()
    assert mean < 0  # answers foretell the SD better than it does itself
    assert ((table["low"] <= mean) & (mean <= table["high"])).mean() >= 0.85
