"""Sweeps of the theory against plain loops; their draws and sweeps."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from lib import paths
from lib.results import tables
from lib.theory import descent, head, margin, problems, sweeps
from lib.theory.assumptions import Inapplicable
from lib.theory.problems import separable


def plain_descent(z, start, rate, steps, weights):
    """Gradient descent of one head as a textbook writes it: a step at a time, a row at a time."""
    w = np.array(start, float)
    for _ in range(steps):
        pulls = [weight / (1 + np.exp(row @ w)) for row, weight in zip(z, weights, strict=True)]
        w = w + rate * sum(pull * row for pull, row in zip(pulls, z, strict=True))
    return w


def unit(w):
    return w / np.linalg.norm(w)


@pytest.fixture(scope="module")
def small():
    """Three separable sets of six rows in three dimensions, with held-out rows."""
    return separable(np.random.default_rng(5), 3, 26, 3, 0.1)


# Tables.


def test_leave_one_out_rows_sum_up_runs_and_bounds(small):
    """The runs themselves are those of a plain loop (``test_bounds``)."""
    z = small[:, :6]
    given = {"loss": "logistic", "normalization": "N2"}
    table = sweeps.leave_one_out(z, shares=[0.5, 3.0], steps=[2, 9], **given)
    assert len(table) == 3 * 2 * 2 and table["H15b"].isna().all()  # H15b is for N1 only
    for _, row in table.iterrows():
        one, gamma = z[int(row["set"])], row["margin"]
        radius = max(np.linalg.norm(x) for x in one)
        rate = row["share"] * 8 / radius**2
        runs = descent.head_descent(
            one[None], rate, [row["steps"]], weights=descent.shares(6, "N2")
        )
        whole, *left = runs.weights[0, 0, 0]
        accumulated = runs.accumulated[0, 0, 0, 0]
        parameter = [np.linalg.norm(whole - w) for w in left]
        direction = [np.linalg.norm(unit(whole) - unit(w)) for w in left]
        measured = row[["parameter_mean", "parameter_max", "direction_mean", "direction_max"]]
        plain = [np.mean(parameter), max(parameter), np.mean(direction), max(direction)]
        assert measured.tolist() == pytest.approx(plain, rel=1e-9)
        norm = np.linalg.norm(whole)
        assert row[["accumulated", "norm"]].tolist() == pytest.approx([accumulated, norm])
        bounds = row[["H16", "H15", "T1c"]]
        if row["share"] > 1:  # beyond the step condition nothing is promised
            assert bounds.isna().all()
            continue
        by_hand = [8 / np.sqrt(27) / gamma, accumulated, rate * row["steps"]]
        assert bounds.tolist() == pytest.approx([radius * value / 6 for value in by_hand])


def test_margins_sum_up_heads_with_and_without_each_example(small):
    """The heads themselves are certified, and those of libsvm (``test_margin``)."""
    z = small[:, :6]
    labels = np.where(np.random.default_rng(2).random((3, 6)) < 0.5, -1.0, 1.0)
    labels[:, :2] = [-1, 1]
    table = sweeps.margins(z, labels)
    for one, signs, (_, row) in zip(z, labels, table.iterrows(), strict=True):
        whole = margin.max_margin(one)
        left = [margin.max_margin(np.delete(one, i, 0)).weights for i in range(6)]
        moved = [np.linalg.norm(whole.weights - w) for w in left]
        turned = [np.linalg.norm(unit(whole.weights) - unit(w)) for w in left]
        measured = row[["displacement_mean", "displacement_max", "rotation_mean", "rotation_max"]]
        plain = [np.mean(moved), max(moved), np.mean(turned), max(turned)]
        assert measured.tolist() == pytest.approx(plain, rel=1e-9)
        assert row["margin"] == whole.margin and row["support"] == (whole.dual > 0).sum()
        centres = [(one * signs[:, None])[signs == y].mean(0) for y in (1, -1)]
        assert row["centre_distance"] == pytest.approx(np.linalg.norm(centres[0] - centres[1]))
        assert 2 * row["margin"] <= row["centre_distance"]


def test_a_set_that_is_not_separable_has_no_margin_and_only_the_bounds_without_one():
    rng = np.random.default_rng(0)
    inside = rng.normal(size=(1, 40, 3))  # signs at random: no plane parts them
    outside = separable(rng, 1, 40, 3, 0.2)
    z = np.concatenate([inside, outside])
    margins = sweeps.margins(z)
    assert margins["separable"].tolist() == [False, True]
    assert margins.loc[0, ["margin", "support", "displacement_mean", "H8", "H9"]].isna().all()
    assert margins.loc[1, ["margin", "support", "displacement_mean", "H8", "H9"]].notna().all()
    left_out = sweeps.leave_one_out(
        z, loss="logistic", normalization="N1", shares=[1.0], steps=[50]
    )
    assert left_out["H15"].notna().all() and left_out["T1c"].notna().all()
    assert left_out["H16"].isna().tolist() == [True, False]
    soft = sweeps.soft_margins(z, [0.1])
    assert soft["S2"].notna().all()
    assert soft["S1"].isna().tolist() == [True, False]


def test_seeds_are_those_of_a_plain_loop(small):
    z, held = small[:1, :6], small[:1, 6:]
    arguments = {"loss": "logistic", "shares": [0.4], "steps": [3], "runs": 4, "spread": 0.7}
    table = sweeps.seeds(z, held, rng=np.random.default_rng(9), heads=[2], fresh=True, **arguments)
    (row,) = table.to_dict("records")
    beginnings = np.random.default_rng(9).normal(scale=0.7, size=(20, 3))

    def averaged(first, weights):
        pair = [plain_descent(z[0], w, row["rate"], 3, weights) for w in beginnings[first:][:2]]
        return (pair[0] + pair[1]) / 2

    runs = np.array([averaged(2 * k, [1 / 6] * 6) for k in range(4)])
    left = [averaged(8 + 2 * i, np.where(np.arange(6) == i, 0, 1 / 5)) for i in range(6)]
    pairs = [(a, b) for a in range(4) for b in range(a)]
    units = [unit(w) for w in runs]
    answers = runs @ held[0].T > 0
    middle = unit(runs.mean(0))
    expected = {
        "variance": np.trace(np.cov(runs.T)),
        "parameter": np.mean([np.linalg.norm(runs[a] - runs[b]) for a, b in pairs]),
        "direction": np.mean([np.linalg.norm(units[a] - units[b]) for a, b in pairs]),
        "deviation": np.mean([np.linalg.norm(u - middle) for u in units]),
        "accuracy_mean": answers.mean(),
        "accuracy_sd": answers.mean(1).std(ddof=1),
        "disagreement": np.mean([(answers[a] != answers[b]).mean() for a, b in pairs]),
        "fresh_direction": np.mean(
            [np.linalg.norm(unit(w) - units[i % 4]) for i, w in enumerate(left)]
        ),
        "H19": 3 * 0.7**2 / 2,
    }
    best = unit(margin.max_margin(z[0]).weights)
    expected["error"] = np.mean([np.linalg.norm(u - best) for u in units])
    # Of averaged heads: how far the heads of two runs began apart, on average.
    begun = beginnings[:8].reshape(4, 2, 3)
    apart = {(a, b): np.linalg.norm(begun[a] - begun[b], axis=-1).mean() for a, b in pairs}
    norms = np.linalg.norm(runs, axis=-1)
    limits = [2 * apart[a, b] / (norms[a] + norms[b]) for a, b in pairs]
    expected["H18′"] = np.mean(np.minimum(limits, 2))
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert row["parameter"] <= row["H17"] and np.isnan(row["H18"])


def test_the_mean_over_heads_is_their_sum_at_a_rate_that_is_divided(small):
    given = {"loss": "logistic", "steps": [5, 40], "runs": 3, "spread": 0.2, "heads": [1, 4]}
    sets, rng = (small[:, :6], small[:, 6:]), np.random.default_rng
    mean = sweeps.seeds(*sets, rng=rng(1), shares=[0.8], reductions=["mean"], **given)
    total = sweeps.seeds(*sets, rng=rng(1), shares=[0.2], reductions=["sum"], **given)
    mean, total = (table[table["heads"] == 4] for table in (mean, total))
    for name in ("rate", "variance", "parameter", "error", "H17"):
        assert mean[name].tolist() == pytest.approx(total[name].tolist())
    assert (mean["share"] == 0.8).all()
    with pytest.raises(ValueError, match="reductions: max"):
        sweeps.seeds(*sets, rng=rng(1), shares=[0.2], reductions=["max"], **given)


def test_the_bounds_of_one_head_are_means_over_pairs_of_starts(small):
    arguments = {"loss": "logistic", "steps": [2000], "runs": 3, "spread": 0.05}
    rng = np.random.default_rng(3)
    table = sweeps.seeds(small[:2, :6], small[:2, 6:], rng=rng, shares=[0.5, 0.9], **arguments)
    beginnings = np.random.default_rng(3).normal(scale=0.05, size=(2, 3, 3))
    for _, row in table.iterrows():
        own = beginnings[int(row["set"])]
        pairs = [(own[a], own[b]) for a in range(3) for b in range(a)]
        apart = np.mean([np.linalg.norm(a - b) for a, b in pairs])
        assert row["H17"] == row["start"] == pytest.approx(apart)
        if row["share"] > 0.5:  # H18 needs half of the rate that H17 needs
            assert np.isnan(row["H18"])
            continue
        each = [
            head.seed_direction(
                radius=row["radius"], margin=row["margin"], rate=row["rate"], steps=2000,
                start_norms=(np.linalg.norm(a), np.linalg.norm(b)),
                start_distance=np.linalg.norm(a - b),
            )
            for a, b in pairs
        ]  # fmt: skip
        assert row["H18"] == pytest.approx(np.mean(each)) and row["direction"] <= row["H18"] < 2


def test_removal_takes_rows_out_and_nothing_else(small):
    z, held = small[:1, :10], small[:1, 10:]
    arguments = {"loss": "logistic", "shares": [0.5], "steps": [4], "runs": 5, "spread": 0.3}
    table = sweeps.removal(z, held, rng=np.random.default_rng(4), removed=0.2, **arguments)
    rows = table.set_index("source")
    rng = np.random.default_rng(4)
    order = rng.permuted(np.tile(np.arange(10), (5, 1)), axis=1)
    first = rng.normal(scale=0.3, size=(5, 3))
    kept = [[0 if order[k, j] >= 8 else 1 / 8 for j in range(10)] for k in range(5)]
    rate = rows.loc["rows", "rate"]
    variants = {
        "rows": [(first[0], kept[k]) for k in range(5)],
        "seeds": [(first[k], [0.1] * 10) for k in range(5)],
        "both": [(first[k], kept[k]) for k in range(5)],
    }
    for source, made in variants.items():
        runs = np.array([plain_descent(z[0], w, rate, 4, c) for w, c in made])
        assert rows.loc[source, "variance"] == pytest.approx(np.trace(np.cov(runs.T)))
        right = (runs @ held[0].T > 0).mean(1)
        assert rows.loc[source, "accuracy_sd"] == pytest.approx(right.std(ddof=1))
    for removed in (0.0, 0.01, 1.0):
        with pytest.raises(ValueError, match="removed"):
            sweeps.removal(z, held, rng=rng, removed=removed, **arguments)


def test_a_bound_is_missing_exactly_where_it_does_not_apply():
    def bound(*, a, word):
        if a < 0:
            raise Inapplicable("a ≥ 0")
        return a + len(word)

    found = sweeps.bound_column(bound, a=[[1.0], [-1.0]], word=["ab", "a"])
    np.testing.assert_array_equal(found, [[3.0, 2.0], [np.nan, np.nan]])


# Draws and sweeps.


def test_draws_keep_their_ranges_and_number_sets_on():
    rng = np.random.default_rng(0)
    ranges = {"n": [5, 9], "features": [2, 4], "gap": [0.05, 0.2]}
    batches = problems.draw(rng, 40, **ranges, radius=1.0, held_out=3)
    assert {batch.z.shape[1] for batch in batches} == {5, 6, 7, 8, 9}
    assert {batch.z.shape[2] for batch in batches} == {2, 3, 4}
    assert all(0.05 <= batch.gap <= 0.2 and batch.held_out.shape[1] == 3 for batch in batches)
    table = problems.over(batches, lambda batch: sweeps.margins(batch.z, batch.labels))
    assert table["set"].tolist() == list(range(40))
    assert (table["margin"] >= table["gap"] * (1 - 1e-9)).all() and table["radius"].max() <= 1
    one = {"n": [5], "features": [2], "gap": [0.1]}
    (fixed,) = problems.draw(rng, 7, **one, radius=2.0, held_out=3)
    assert fixed.z.shape == (7, 5, 2) and set(np.unique(fixed.labels)) == {-1, 1}
    (pairs,) = problems.draw(rng, 20, **(one | {"n": [2]}), radius=1.0, held_out=3)
    assert (pairs.labels.sum(1) == 0).all()  # no set is of one class
    for wrong in ({"n": [9, 5]}, {"features": []}, {"gap": [0.1, 0.2, 0.3]}, {"n": [1]}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            problems.draw(rng, 2, **(ranges | wrong), radius=1.0, held_out=3)


def test_means_count_sets_not_rows():
    table = pd.DataFrame(
        {"job": "a", "set": [0, 0, 1, 1, 2, 2], "n": 5, "x": [0.0, 2, 4, 6, np.nan, np.nan]}
    )
    (row,) = sweeps.means(table, ["n"], ["x"]).to_dict("records")
    assert (row["value"], row["sets"], row["quantity"]) == (3.0, 2, "x")
    many = table.loc[[0] * 30].assign(set=range(30), x=np.arange(30.0))
    (row,) = sweeps.means(many, ["n"], ["x"]).to_dict("records")
    student = stats.t.interval(0.95, 29, 14.5, stats.sem(np.arange(30.0)))
    assert [row["low"], row["high"]] == pytest.approx(student, abs=0.3)


def test_tightness_counts_violations_and_vacuous_bounds():
    table = pd.DataFrame(
        {"job": "a", "set": [0, 0, 1, 2], "direction_mean": [0.1, 0.5, 0.9, 1.0],
         "H16": [0.2, 0.4, 3.0, np.nan], "parameter_mean": 1.0, "parameter_max": 1.0,
         "H15": 2.0, "H15b": np.nan, "T1c": 1.0}
    )  # fmt: skip
    found = sweeps.tightness(table, "leave_one_out").set_index("bound")
    assert found.loc["H16", ["compared", "sets", "violated", "vacuous"]].tolist() == [3, 2, 1, 1]
    assert found.loc["H16", "largest"] == pytest.approx(1.25)
    assert found.loc["T1c", "violated"] == 0 and found.loc["H15b", "compared"] == 0


def earlier_and_ours(table):
    """An earlier measurement of the recipe (data/published), a row a mean over 30 sets, beside
    ours: they agree if they differ by at most √2 times the half-width of ours.
    """
    rows = []
    for _, row in pd.read_csv(paths.PUBLISHED / "head_sweeps_earlier.csv").iterrows():
        part = table[table["job"].str.fullmatch(row["jobs"])]
        for name in ("n", "gap", "steps", "share"):
            part = part[np.isclose(part[name], row[name])]
        ours = sweeps.mean(part[row["quantity"]].to_numpy())
        side = ours.high if row["earlier"] > ours.value else ours.low
        near = abs(row["earlier"] - ours.value) <= np.sqrt(2) * abs(side - ours.value)
        rows.append({**row, **ours._asdict(), "agrees": near})
    return pd.DataFrame(rows)


def test_the_sweeps_agree_with_an_earlier_measurement_by_other_code():
    table = tables.read_stored("reference-theory", "leave_one_out")
    table["H16"] *= 3 * np.sqrt(3) / 4  # the earlier code had 4 for 2K in H16
    found = earlier_and_ours(table)
    # Chance alone parts two or three of 54, and they go together: five are of two jobs.
    assert len(found) == 54 and found["agrees"].sum() >= 49 and (found["n_runs"] == 30).all()
    table["H16"] *= 1.2
    far = earlier_and_ours(table).groupby("quantity")["agrees"].mean()
    assert far["H16"] < 0.2 and far["direction_mean"] > 0.8


def test_the_interval_of_a_rank_correlation_covers():
    rng = np.random.default_rng(4)
    truth = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's ρ of normal pairs of correlation 0.6
    pairs = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=(2000, 40))
    found = [sweeps.rank_correlation(*pair.T) for pair in pairs]
    assert 0.93 < np.mean([f.low < truth < f.high for f in found]) < 0.97
    assert sweeps.rank_correlation(np.arange(5), np.arange(5) ** 3)[:3] == pytest.approx((1, 1, 1))
    for wrong, message in (([1, 2, 3], "4 or more"), ([1, 2, 3, np.nan], "finite")):
        with pytest.raises(ValueError, match=message):
            sweeps.rank_correlation(wrong, wrong)


@given(vectors=st.lists(st.floats(-5, 5), min_size=6, max_size=6), moved=st.floats(0, 3))
def test_directions_of_observed_norms_hold_for_any_two_vectors(vectors, moved):
    """H18′ is H17 and an inequality on two vectors, which equal norms attain."""
    a, b = np.array(vectors[:3]), np.array(vectors[3:])
    assume(min(np.linalg.norm(a), np.linalg.norm(b)) > 1e-3)
    start = np.linalg.norm(a - b) + moved
    norms = np.linalg.norm(a), np.linalg.norm(b)
    bound = head.seed_direction_of_norms(norms=norms, start_distance=start)
    apart = np.linalg.norm(unit(a) - unit(b))
    assert apart <= bound * (1 + 1e-9) + 1e-12
    same = head.seed_direction_of_norms(norms=(2.0, 2.0), start_distance=2 * apart)
    assert same == pytest.approx(apart)


def test_observed_norms_bound_the_directions_of_seeds_and_more_closely_than_norms_known_before():
    seeds = tables.read_stored("reference-theory", "seeds")
    tight = sweeps.tightness(seeds, "seeds").set_index("bound")
    assert tight["violated"].eq(0).all() and tight.loc["H18′", "compared"] > 3000
    both = seeds[seeds["H18"].notna()]
    assert len(both) > 1000 and (both["H18′"] <= both["H18"] * (1 + 1e-9)).all()
    real = seeds[seeds["backbone"].notna() & seeds["heads"].eq(1)]
    assert (real.loc[real["H18"].notna(), "H18"] == 2).all()  # says nothing
    late = real[real["steps"].eq(3000) & real["share"].eq(0.5)]
    assert (late["direction"] / late["H18′"]).median() > 0.5
