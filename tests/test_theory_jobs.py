"""The theory jobs: sweeps against plain loops and peer solvers, their notebooks, their engine."""

import base64
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import copy_project, environment_of, run_python
from scipy import optimize, stats
from sklearn.svm import LinearSVC

from lib import paths
from lib.config import Setting, grids, job_kinds, parameters
from lib.config.job_kinds import Job, JobList
from lib.models import backbones, pretrained
from lib.results import tables
from lib.theory import descent, draws, head, starts, summaries, sweeps, tuning
from lib.theory.assumptions import Inapplicable
from lib.theory.problems import separable
from lib.training import model_features
from lib.training.inputs import prepare_inputs
from lib.workflow import jobs, promotion, status


def plain_descent(z, start, rate, steps, weights, loss="logistic"):
    """Gradient descent of one head as a textbook writes it: a step at a time, a row at a time."""
    w, accumulated = np.array(start, float), 0.0
    for _ in range(steps):
        gradient = np.zeros_like(w)
        for row, weight in zip(z, weights, strict=True):
            margin = row @ w
            pull = weight * (1 / (1 + np.exp(margin)) if loss == "logistic" else np.exp(-margin))
            gradient -= pull * row
            accumulated += rate * pull
        w = w - rate * gradient
    return w, accumulated


def unit(w):
    return w / np.linalg.norm(w)


@pytest.fixture(scope="module")
def small():
    """Three separable sets of six rows in three dimensions, with held-out rows."""
    return separable(np.random.default_rng(5), 3, 26, 3, 0.1)


# Descent.


@pytest.mark.parametrize("loss", ["logistic", "exponential"])
@pytest.mark.parametrize("shape", [(4, 9), (30, 3)], ids=["wide", "narrow"])
def test_descent_of_many_runs_is_that_of_each_alone(shape, loss):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(2, *shape)) / 3
    beginnings, rates = rng.normal(size=(2, 5, shape[1])), rng.random((2, 5))
    importance = rng.random((5, shape[0])) / shape[0]
    found = tuning.descend(z, beginnings, rates, importance, steps=[1, 4, 11], loss=loss)
    for s in range(2):
        for r in range(5):
            for t, steps in enumerate([1, 4, 11]):
                alone, total = plain_descent(
                    z[s], beginnings[s, r], rates[s, r], steps, importance[r], loss
                )
                np.testing.assert_allclose(found.weights[t, s, r], alone, rtol=1e-11, atol=1e-12)
                np.testing.assert_allclose(found.accumulated[t, s, r], total, rtol=1e-11)


@pytest.mark.parametrize("normalization", ["N1", "N2"])
@pytest.mark.parametrize("n", [5, 12])
def test_leave_one_out_runs_are_that_descent_with_its_shares(n, normalization):
    z = separable(np.random.default_rng(1), 3, n, 4, 0.1)
    shares = np.tile(descent.shares(n, normalization), (2, 1))
    rates = np.repeat([[1.0, 4.0]] * 3, n + 1, 1)
    ours = tuning.descend(
        z, np.zeros((3, 2 * n + 2, 4)), rates, shares, steps=[1, 60], loss="logistic"
    )
    other = descent.head_descent(z, [1.0, 4.0], [1, 60], normalization=normalization)
    np.testing.assert_allclose(ours.weights.reshape(other.weights.shape), other.weights, rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": [5, 1]}, "rising"),
        ({"steps": [0, 1]}, "from 1"),
        ({"loss": "hinge"}, "hinge"),
    ],
)
def test_descent_refuses_what_it_cannot_do(change, message):
    z = np.ones((1, 2, 2))
    arguments = {"steps": [1], "loss": "logistic"} | change
    with pytest.raises(ValueError, match=message):
        tuning.descend(z, np.zeros((1, 1, 2)), np.ones((1, 1)), np.ones((1, 2)), **arguments)


# Tables.


def test_leave_one_out_rows_are_those_of_a_plain_loop(small):
    z = small[:, :6]
    table = sweeps.leave_one_out(
        z, loss="logistic", normalization="N2", shares=[0.5, 3.0], steps=[2, 9]
    )
    assert len(table) == 3 * 2 * 2
    for _, row in table.iterrows():
        one = z[int(row["set"])]
        radius = max(np.linalg.norm(x) for x in one)
        rate = row["share"] * 8 / radius**2
        whole, accumulated = plain_descent(one, np.zeros(3), rate, row["steps"], [1 / 6] * 6)
        parameter, direction = [], []
        for i in range(6):
            weights = [0 if j == i else 1 / 6 for j in range(6)]
            left, _ = plain_descent(one, np.zeros(3), rate, row["steps"], weights)
            parameter.append(np.linalg.norm(whole - left))
            direction.append(np.linalg.norm(unit(whole) - unit(left)))
        measured = row[["parameter_mean", "parameter_max", "direction_mean", "direction_max"]]
        plain = [np.mean(parameter), max(parameter), np.mean(direction), max(direction)]
        assert measured.tolist() == pytest.approx(plain, rel=1e-9)
        assert row["accumulated"] == pytest.approx(accumulated)
        assert row["norm"] == pytest.approx(np.linalg.norm(whole))
        gamma = row["margin"]
        if row["share"] <= 1:
            assert row["H16"] == pytest.approx(2 * radius / (6 * gamma))
            assert row["H15"] == pytest.approx(radius * accumulated / 6)
            assert row["T1c"] == pytest.approx(rate * radius * row["steps"] / 6)
        else:  # beyond the step condition nothing is promised
            assert row[["H15", "H15b", "H16", "T1c"]].isna().all()
    assert table["H15b"].isna().all()  # N1 only


def test_margins_agree_with_a_general_solver(small):
    z = small[:, :6]
    labels = np.where(np.random.default_rng(2).random((3, 6)) < 0.5, -1.0, 1.0)
    labels[:, :2] = [-1, 1]
    table = sweeps.margins(z, labels)

    def hardest(rows):
        found = optimize.minimize(
            lambda w: w @ w / 2, np.full(3, 5.0), jac=lambda w: w, method="SLSQP",
            constraints={"type": "ineq", "fun": lambda w: rows @ w - 1, "jac": lambda w: rows},
            options={"ftol": 1e-14, "maxiter": 500},
        )  # fmt: skip
        assert found.success
        return found.x

    for s, one in enumerate(z):
        whole, row = hardest(one), table.iloc[s]
        left = [hardest(np.delete(one, i, 0)) for i in range(6)]
        assert row["margin"] == pytest.approx(1 / np.linalg.norm(whole), rel=1e-5)
        moved = [np.linalg.norm(whole - w) for w in left]
        turned = [np.linalg.norm(unit(whole) - unit(w)) for w in left]
        assert row["displacement_mean"] == pytest.approx(np.mean(moved), rel=1e-3, abs=1e-5)
        assert row["rotation_max"] == pytest.approx(max(turned), rel=1e-3, abs=1e-5)
        features = one * labels[s][:, None]
        centres = [features[labels[s] == y].mean(0) for y in (1, -1)]
        assert row["centre_distance"] == pytest.approx(np.linalg.norm(centres[0] - centres[1]))
        assert 2 * row["margin"] <= row["centre_distance"]
    assert table["support"].between(1, 6).all()


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
    assert soft["S1"].isna().tolist() == soft["S3"].isna().tolist() == [True, False]


def test_soft_margins_agree_with_liblinear(small, monkeypatch):
    z = small[:1, :20]
    lam = 0.05 * max(np.linalg.norm(row) for row in z[0]) ** 2
    table = sweeps.soft_margins(z, [0.05])
    assert table["regularization"].tolist() == pytest.approx([lam])

    def solve(rows):
        model = LinearSVC(
            C=1 / (lam * len(rows)), loss="hinge", fit_intercept=False, tol=1e-9, max_iter=10**6
        )
        y = np.where(np.arange(len(rows)) % 2, 1, -1)
        return model.fit(rows * y[:, None], y).coef_[0]

    whole = solve(z[0])
    moved = [np.linalg.norm(whole - solve(np.delete(z[0], i, 0))) for i in range(20)]
    assert table["norm"][0] == pytest.approx(np.linalg.norm(whole), rel=1e-4)
    assert table["parameter_mean"][0] == pytest.approx(np.mean(moved), rel=1e-2, abs=1e-4)
    assert table["parameter_max"][0] == pytest.approx(max(moved), rel=1e-2)
    monkeypatch.setattr(sweeps, "_AT_A_TIME", 100)
    pd.testing.assert_frame_equal(sweeps.soft_margins(z, [0.05]), table, rtol=1e-6)


def test_soft_margins_do_not_depend_on_the_unit_of_the_features(small):
    one, ten = (sweeps.soft_margins(scale * small[:, :8], [0.01]) for scale in (1, 10))
    for column in ("direction_mean", "direction_max"):
        np.testing.assert_allclose(ten[column], one[column], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(10 * ten["parameter_max"], one["parameter_max"], rtol=1e-4)
    for bound in ("S1", "S2", "S3"):
        np.testing.assert_allclose(10 * ten[bound], one[bound])


def test_seeds_are_those_of_a_plain_loop(small):
    z, held = small[:1, :6], small[:1, 6:]
    arguments = {"loss": "logistic", "shares": [0.4], "steps": [3], "runs": 4, "spread": 0.7}
    table = starts.seeds(z, held, rng=np.random.default_rng(9), heads=[2], fresh=True, **arguments)
    (row,) = table.to_dict("records")
    beginnings = np.random.default_rng(9).normal(scale=0.7, size=(20, 3))

    def averaged(first, weights):
        pair = [plain_descent(z[0], w, row["rate"], 3, weights)[0] for w in beginnings[first:][:2]]
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
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert row["parameter"] <= row["H17"] and np.isnan(row["H18"])


def test_the_bounds_of_one_head_are_means_over_pairs_of_starts(small):
    arguments = {"loss": "logistic", "steps": [2000], "runs": 3, "spread": 0.05}
    rng = np.random.default_rng(3)
    table = starts.seeds(small[:2, :6], small[:2, 6:], rng=rng, shares=[0.5, 0.9], **arguments)
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


def test_the_mean_over_heads_is_the_sum_at_a_smaller_rate(small):
    arguments = {"loss": "logistic", "steps": [5], "runs": 3, "spread": 1.0, "heads": [1, 4]}
    both = starts.seeds(
        small[:, :6], small[:, 6:], rng=np.random.default_rng(0), shares=[0.8],
        reductions=["sum", "mean"], **arguments,
    )  # fmt: skip
    assert both.groupby(["heads", "reduction"]).size().to_dict() == {
        (1, "sum"): 3, (4, "sum"): 3, (4, "mean"): 3,
    }  # fmt: skip
    rate = both.set_index(["set", "heads", "reduction"])["rate"]
    assert (rate[:, 4, "mean"] * 4).tolist() == pytest.approx(rate[:, 4, "sum"].tolist())
    with pytest.raises(ValueError, match="median"):
        starts.seeds(
            small[:, :6], small[:, 6:], rng=np.random.default_rng(0), shares=[1.0],
            reductions=["median"], **arguments,
        )  # fmt: skip


def test_averaging_heads_divides_the_variance_over_seeds():
    """Simulated: 400 runs, so that a ratio of variances is known to about a tenth."""
    z = separable(np.random.default_rng(0), 1, 240, 10, 0.1)
    table = starts.seeds(
        z[:, :40], z[:, 40:], rng=np.random.default_rng(1), loss="logistic", shares=[0.5],
        steps=[1, 50], runs=400, spread=1.0, heads=[1, 4],
    )  # fmt: skip
    variance = table.set_index(["steps", "heads"])["variance"]
    for steps in (1, 50):
        assert variance[steps, 1] / variance[steps, 4] == pytest.approx(4, rel=0.2)
    assert (variance < table.set_index(["steps", "heads"])["H19"]).all()


def test_removal_takes_rows_out_and_nothing_else(small):
    z, held = small[:1, :10], small[:1, 10:]
    arguments = {"loss": "logistic", "shares": [0.5], "steps": [4], "runs": 5, "spread": 0.3}
    table = starts.removal(z, held, rng=np.random.default_rng(4), removed=0.2, **arguments)
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
        runs = np.array([plain_descent(z[0], w, rate, 4, c)[0] for w, c in made])
        assert rows.loc[source, "variance"] == pytest.approx(np.trace(np.cov(runs.T)))
        right = (runs @ held[0].T > 0).mean(1)
        assert rows.loc[source, "accuracy_sd"] == pytest.approx(right.std(ddof=1))
    for removed in (0.0, 0.01, 1.0):
        with pytest.raises(ValueError, match="removed"):
            starts.removal(z, held, rng=rng, removed=removed, **arguments)


def test_a_bound_is_missing_exactly_where_it_does_not_apply():
    def bound(*, a, word):
        if a < 0:
            raise Inapplicable("a ≥ 0")
        return a + len(word)

    found = sweeps.bound_column(bound, where=[True, True, False], a=[1.0, -1.0, 1.0], word="ab")
    np.testing.assert_array_equal(found, [3.0, np.nan, np.nan])


# Draws and summaries.


def test_draws_keep_their_ranges_and_number_sets_on():
    rng = np.random.default_rng(0)
    ranges = {"n": [5, 9], "features": [2, 4], "gap": [0.05, 0.2]}
    batches = draws.draw(rng, 40, **ranges, radius=1.0, held_out=3)
    assert {batch.z.shape[1] for batch in batches} == {5, 6, 7, 8, 9}
    assert {batch.z.shape[2] for batch in batches} == {2, 3, 4}
    assert all(0.05 <= batch.gap <= 0.2 and batch.held_out.shape[1] == 3 for batch in batches)
    table = draws.over(batches, lambda batch: sweeps.margins(batch.z, batch.labels))
    assert table["set"].tolist() == list(range(40))
    assert (table["margin"] >= table["gap"] * (1 - 1e-9)).all() and table["radius"].max() <= 1
    (fixed,) = draws.draw(
        rng, 7, n=[5], features=[2], gap=[0.1], radius=2.0, held_out=3
    )  # one batch
    assert fixed.z.shape == (7, 5, 2) and set(np.unique(fixed.labels)) == {-1, 1}
    for wrong in ({"n": [9, 5]}, {"features": []}, {"gap": [0.1, 0.2, 0.3]}, {"n": [1]}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            draws.draw(rng, 2, **(ranges | wrong), radius=1.0, held_out=3)


def test_means_count_sets_not_rows():
    table = pd.DataFrame(
        {"job": "a", "set": [0, 0, 1, 1, 2, 2], "n": 5, "x": [0.0, 2, 4, 6, np.nan, np.nan]}
    )
    (row,) = summaries.means(table, ["n"], ["x"]).to_dict("records")
    assert (row["value"], row["sets"], row["quantity"]) == (3.0, 2, "x")
    many = table.loc[[0] * 30].assign(set=range(30), x=np.arange(30.0))
    (row,) = summaries.means(many, ["n"], ["x"]).to_dict("records")
    student = stats.t.interval(0.95, 29, 14.5, stats.sem(np.arange(30.0)))
    assert [row["low"], row["high"]] == pytest.approx(student, abs=0.3)


def test_tightness_counts_violations_and_vacuous_bounds():
    table = pd.DataFrame(
        {"job": "a", "set": [0, 0, 1, 2], "direction_mean": [0.1, 0.5, 0.9, 1.0],
         "H16": [0.2, 0.4, 3.0, np.nan], "parameter_mean": 1.0, "parameter_max": 1.0,
         "H15": 2.0, "H15b": np.nan, "T1c": 1.0}
    )  # fmt: skip
    found = summaries.tightness(table, "leave_one_out").set_index("bound")
    assert found.loc["H16", ["compared", "sets", "violated", "vacuous"]].tolist() == [3, 2, 1, 1]
    assert found.loc["H16", "largest"] == pytest.approx(1.25)
    assert found.loc["T1c", "violated"] == 0 and found.loc["H15b", "compared"] == 0


def test_rank_correlation_is_spearmans_with_an_interval_that_holds_it():
    rng = np.random.default_rng(0)
    a = rng.normal(size=200)
    b = a + rng.normal(size=200)
    found = summaries.rank_correlation(a, b)
    assert found.value == pytest.approx(stats.spearmanr(a, b).statistic)
    low, high = np.tanh(np.arctanh(found.value) + np.array([-1.96, 1.96]) * 1.03 / np.sqrt(197))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.04)
    with pytest.raises(ValueError, match="finite"):
        summaries.rank_correlation(a, np.full(200, np.nan))


def test_agreement_with_the_earlier_measurement_can_fail():
    earlier = summaries.earlier()
    rows = []
    for _, row in earlier[earlier["sweep"] == "n"].iterrows():
        values = row["earlier"] * (1 + 0.1 * np.linspace(-1, 1, 30))
        part = pd.DataFrame({"set": range(30), row["quantity"]: values})
        rows.append(part.assign(job=f"n{row['n']}", n=row["n"], gap=0.1, steps=1000, share=0.5))
    table = pd.concat(rows).groupby(["job", "set"], as_index=False).first()
    near = summaries.against_earlier(table).query("sweep == 'n'")
    assert near["agrees"].all() and (near["sets"] == 30).all() and len(near) == 15
    table["H16"] *= 1.2
    far = summaries.against_earlier(table).query("sweep == 'n'").set_index("quantity")
    assert not far.loc["H16", "agrees"].any() and far.loc["direction_mean", "agrees"].all()


# Features.


def test_signed_features_have_a_bias_a_sign_and_a_known_radius():
    rng = np.random.default_rng(0)
    made = model_features.Frozen(
        rng.normal(2, 3, (5, 4)), np.array([0, 1, 1, 0, 1]), rng.normal(2, 3, (6, 4)), np.ones(6)
    )
    z, held, labels = model_features.signed(made, "unit")
    assert z.shape == (1, 5, 5) and held.shape == (1, 6, 5)
    assert labels.tolist() == [[-1, 1, 1, -1, 1]] and z[0, :, -1].tolist() == labels[0].tolist()
    np.testing.assert_allclose(np.linalg.norm(z, axis=-1), np.sqrt(2))
    raw, _, _ = model_features.signed(made, "none")
    np.testing.assert_array_equal(raw[0, :, :-1], made.train * labels[0][:, None])
    centred, _, _ = model_features.signed(made, "centred-unit")
    shifted = made.train - made.evaluation.mean(0)
    np.testing.assert_allclose(centred[0, 1, :-1], shifted[1] / np.linalg.norm(shifted[1]))
    with pytest.raises(ValueError, match="centred-unit"):
        model_features.signed(made, "centred")


def test_frozen_features_are_the_encoders_own_nested_and_made_once(own_file, monkeypatch):
    setting = Setting(task=str(own_file), max_length=16, train_rows=20, eval_rows=10)
    made = model_features.frozen_features(setting, pooling="first")
    assert made.train.shape == (20, 128) and made.evaluation.shape == (10, 128)
    assert set(made.labels) == {0, 1} and made.train.dtype == np.float64
    located = pretrained.locate(setting.backbone)
    rows = prepare_inputs(setting).data.evaluation
    model, _ = backbones.load_classifier(located, 2, init_seed=1)
    with torch.no_grad():
        ids = torch.from_numpy(rows.take(np.array([3])).tokens.astype(np.int64))[None]
        states = backbones.encoder(model.eval())(ids).last_hidden_state[0].double().numpy()
    np.testing.assert_allclose(made.evaluation[3], states[0], atol=1e-5)
    mean = model_features.frozen_features(setting, pooling="mean").evaluation[3]
    np.testing.assert_allclose(mean, states.mean(0), atol=1e-5)
    fewer = model_features.frozen_features(
        Setting(task=str(own_file), max_length=16, train_rows=8, eval_rows=10), pooling="first"
    )
    np.testing.assert_allclose(fewer.train, made.train[:8], atol=1e-5)  # nested subsets
    monkeypatch.setattr(model_features, "_make", None)  # would raise: nothing is made twice
    again = model_features.frozen_features(setting, pooling="first")
    np.testing.assert_array_equal(again.train, made.train)
    with pytest.raises(ValueError, match="pooling"):
        model_features.frozen_features(setting, pooling="max")
    with pytest.raises(ValueError, match="no two classes"):
        model_features.frozen_features(Setting(task="stsb"), pooling="mean")


# Configuration, store, notebooks, engine.


def test_the_committed_plan_names_parameters_that_exist():
    [plan] = grids.load_plans("theory")
    assert {job.kind for job in plan.groups.values()} <= set(job_kinds.KINDS)
    for job in plan.groups.values():
        assert set(job.parameters) <= set(parameters.declared(job_kinds.KINDS[job.kind].notebook))
    jobs = {job.name for job in plan.groups.values()}
    for pattern in summaries.earlier()["jobs"].unique():
        assert any(re.fullmatch(pattern, name) for name in jobs), pattern


def test_the_reference_holds_every_job_and_violates_no_bound():
    [plan] = grids.load_plans("theory")
    for kind in ("synthetic", "heads"):
        jobs = [job.name for job in plan.groups.values() if job.kind == kind]
        for table in job_kinds.KINDS[kind].tables:
            found = tables.read_jobs("reference-theory", table, jobs)
            assert set(found["job"]) == set(jobs)
            if table in summaries.BOUNDED:
                bounds = summaries.tightness(found, table).set_index("bound")
                assert bounds["violated"].sum() == 0 and bounds["compared"].min() > 0
    margins = tables.read_jobs("reference-theory", "margins")
    assert (2 * margins["margin"] <= margins["centre_distance"]).loc[margins["separable"]].all()


def test_every_kind_declares_what_the_engine_sets_and_code_that_exists():
    for spec in job_kinds.KINDS.values():
        declared = parameters.declared(spec.notebook)
        assert declared["results"].kind is declared["job"].kind is str
        assert all((paths.ROOT / name).is_file() for name in spec.code)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("synthetic: {jobs: {a: {gapp: [0.1]}}}", "unknown parameter gapp: did you mean gap"),
        ("synthetic: {jobs: {a: {sets: 2.5}}}", "sets = 2.5 is float, expected int"),
        ("synthetic: {jobs: {a: {radius: 1e-1}}}", "write 1.0e-01"),
        ("synthetic: {jobs: {a: {job: b}}}", "unknown parameter job"),
        (
            "synthetic: {job: {a: {}}}",
            "synthetic: jobs is missing; unknown parameter job: did you mean jobs",
        ),
        ("sinthetic: {jobs: {a: {}}}", "did you mean synthetic"),
        ("synthetic: {jobs: {a/b: {}}}", "letters, digits"),
        ("synthetic: {jobs: {a: {}}}\nheads: {jobs: {a: {}}}", "two jobs are called a"),
        ("synthetic: {jobs: {}}", "no job"),
        ("[]", "expected the keys seeds and grid, or kinds of jobs, found []"),
    ],
)
def test_a_wrong_plan_is_refused(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        grids.load_plans(path)


def test_own_values_go_before_shared_ones(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("synthetic: {defaults: {sets: 3, seed: 1}, jobs: {a: {sets: 4}, b: }}")
    [plan] = grids.load_plans(path)
    assert [job.parameters for job in plan.groups.values()] == [
        {"sets": 4, "seed": 1},
        {"sets": 3, "seed": 1},
    ]
    assert plan.name == "mine"
    assert {job.kind for job in plan.groups.values()} == {"synthetic"}
    for name in ("nothing", "reference-mine"):
        (tmp_path / "reference-mine.yaml").write_text("synthetic: {jobs: {a: }}")
        with pytest.raises(ValueError, match="no configuration|kept for promoted"):
            grids.load_plans(tmp_path / f"{name}.yaml")


PLAN = """
synthetic:
  defaults: {n: [8], features: [3], sets: 2, steps: [1, 5], runs: 3, held_out: 10}
  jobs:
    one: {}
    two.2: {gap: [0.2]}
"""
FRAMES = {table: pd.DataFrame({"x": [1.0]}) for table in job_kinds.KINDS["synthetic"].tables}
VALUES = {
    name: known.default for name, known in parameters.declared("43_sweep_synthetic_sets").items()
}


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)
    monkeypatch.setattr(paths, "COMMITTED", tmp_path / "committed")
    return tmp_path


def test_jobs_are_promoted_one_by_one_and_those_that_left_the_plan_are_dropped(store):
    plan = JobList("mine", {name: Job(name, "synthetic", {}) for name in ("a", "b")})
    tables.save_tables("mine", "a", FRAMES, parameters=VALUES)
    with pytest.raises(FileNotFoundError, match="no results of b"):
        promotion.promote("mine", "b")
    tables.save_tables("mine", "b", FRAMES, parameters=VALUES)
    for name in ("a", "b"):
        promotion.promote("mine", name)
    assert not status.standing_of_jobs(plan)["missing"].any()
    assert promotion.prune(JobList("mine", {"a": plan.groups["a"]})) == ["b"]
    found = tables.read_jobs("reference-mine", "margins")
    assert found["job"].tolist() == ["a"] and found["x"].tolist() == [1.0]
    assert tables.read_jobs("mine", "seeds", ["b"])["job"].tolist() == ["b"]
    with pytest.raises(FileNotFoundError, match="no seeds of c"):
        tables.read_jobs("mine", "seeds", ["c"])
    with pytest.raises(FileNotFoundError, match="make run CONFIG=mine"):
        tables.read_jobs("mine", "unknown")
    with pytest.raises(ValueError, match="promoting"):
        tables.save_tables("reference-mine", "a", FRAMES)


@pytest.mark.parametrize(
    ("own", "recorded", "there"),
    [
        ({}, {}, True),
        ({"sets": 3}, {"sets": 3}, True),
        ({"sets": 3}, {}, False),
        ({}, {"sets": 3}, False),
        ({"gap": [0.1]}, {}, True),
        ({"gap": [0.2]}, {"gap": [0.1]}, False),
        ({}, {"job": "b", "results": "other"}, True),
    ],
)
def test_a_job_is_there_if_it_was_made_with_the_same_parameters(store, own, recorded, there):
    tables.save_tables("mine", "a", FRAMES, parameters=VALUES | recorded)
    job = Job("a", "synthetic", own)
    assert status.has_job("mine", job) is there
    promotion.promote("mine", "a")
    assert status.has_job("reference-mine", job) is there
    (store / "data/results/mine/a/seeds.parquet").unlink()
    assert not status.has_job("mine", job)


def test_a_parameter_that_is_newer_than_a_record_had_its_default(store):
    older = {name: value for name, value in VALUES.items() if name != "held_out"}
    tables.save_tables("mine", "a", FRAMES, parameters=older)
    assert status.has_job("mine", Job("a", "synthetic", {}))
    assert not status.has_job("mine", Job("a", "synthetic", {"held_out": 7}))


def test_records_without_parameters_count_in_the_reference_alone(store):
    tables.save_tables("mine", "a", FRAMES)
    promotion.promote("mine", "a")
    job = Job("a", "synthetic", {"sets": 7})
    assert status.has_job("reference-mine", job) and not status.has_job("mine", job)
    (store / "committed/reference-mine/a/made.json").unlink()
    assert status.has_job("reference-mine", job)


def test_a_campaign_plans_the_jobs_that_the_reference_lacks(store, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(PLAN)
    assert list(jobs.load(path).groups["mine"]) == ["one", "two.2"]
    given = grids.load_plans(path)[0].groups["one"].parameters
    tables.save_tables("mine", "one", FRAMES, parameters=VALUES | given)
    promotion.promote("mine", "one")
    plan = jobs.load(path, campaign=True)
    assert list(plan.groups["mine"]) == ["two.2"]
    assert plan.results_of("mine") == [tmp_path / "data/results/mine/two.2/made.json"]
    assert plan.promotions() == [tmp_path / "data/results/mine/promoted/two.2.txt"]
    path.write_text(PLAN.replace("sets: 2", "sets: 3"))
    record = tmp_path / "data/results/mine/one/made.json"
    assert len(jobs.load(path, campaign=True).groups["mine"]) == 2
    assert record.exists(), "planning with other values takes nothing away"
    record.with_name("seeds.parquet").unlink()
    jobs.load(path)
    assert not record.exists(), "a table is gone"


def test_every_committed_job_is_there():
    for name in ("theory", "validity"):
        plan = jobs.load(name, campaign=True)
        assert plan.groups == {name: {}} and plan.promotions() == []


def test_those_who_train_leave_jobs_out():
    assert {grid.name for grid in grids.load_grids("campaign")}.isdisjoint(("theory", "validity"))
    with pytest.raises(ValueError, match="theory holds jobs of notebooks and no grid: `make run`"):
        grids.load_grids("theory")


def execute(notebook, folder, **parameters):
    encoded = base64.b64encode(yaml.safe_dump(parameters).encode()).decode()
    return run_python(
        "-m", "papermill", "-k", "python3", "--no-progress-bar", "--parameters_base64", encoded,
        str(paths.ROOT / "notebooks" / notebook), str(folder / "out.ipynb"),
        COMPENDIUM_OUTPUT=str(folder),
    )  # fmt: skip


TINY = {"n": [8], "features": [3], "sets": 2, "steps": [1, 5], "runs": 3, "held_out": 10}


@pytest.mark.slow
def test_job_notebooks_run_with_tiny_parameters(tmp_path, own_file, monkeypatch):
    done = execute("43_sweep_synthetic_sets.ipynb", tmp_path, **TINY)
    assert done.returncode == 0, done.stderr[-2000:]
    done = execute(
        "44_tune_real_heads.ipynb", tmp_path, task=str(own_file), train_rows=12, eval_rows=10,
        max_length=16, steps=[1, 5], runs=3, removals=3, heads=[1, 2], regularizations=[0.1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)
    for kind in ("synthetic", "heads"):
        for table in job_kinds.KINDS[kind].tables:
            assert len(tables.read_jobs("by-hand", table, [kind])) > 0
    bounds = summaries.tightness(tables.read_jobs("by-hand", "leave_one_out"), "leave_one_out")
    assert bounds.set_index("bound").loc[["H15", "H16"], "compared"].min() > 0
    assert bounds["violated"].sum() == 0


@pytest.mark.slow
def test_job_notebooks_of_real_models_run_with_tiny_parameters(tmp_path, own_file, monkeypatch):
    done = execute(
        "45_retrain_without_examples.ipynb", tmp_path, task=str(own_file), examples=4, longest=20,
        steps=2, regularizations=[20.0], rates=[1.0, 3.0],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    done = execute(
        "46_look_into_stabilized_runs.ipynb", tmp_path, task=str(own_file), train_rows=40,
        eval_rows=20, epochs=1, margin_rows=20, runs=3, methods=["standard"],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    done = execute(
        "14_make_known_differences.ipynb", tmp_path, task=str(own_file), train_rows=40, epochs=1,
        runs=3, noisy_models=1, copies=3, doses=[0.0, 0.1], draws=1,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)
    for kind in ("full", "tuned", "known"):
        for table in job_kinds.KINDS[kind].tables:
            assert len(tables.read_jobs("by-hand", table, [kind])) > 0
    found = tables.read_jobs("by-hand", "full_tuning").groupby("rate_factor")["comparisons"].sum()
    assert (
        found[1.0] > found[3.0]
        and tables.read_jobs("by-hand", "full_tuning")["violations"].eq(0).all()
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("notebook", "parameters", "message"),
    [
        ("43_sweep_synthetic_sets.ipynb", {"gaps": [0.1]}, "unknown parameter gaps"),
        ("43_sweep_synthetic_sets.ipynb", {**TINY, "loss": "hinge"}, "loss = 'hinge'"),
        ("43_sweep_synthetic_sets.ipynb", {**TINY, "normalization": "N3"}, "'N3'"),
        ("43_sweep_synthetic_sets.ipynb", {"results": "reference-theory"}, "by promoting"),
        ("44_tune_real_heads.ipynb", {"train_rows": 2.5}, "expected int"),
        ("44_tune_real_heads.ipynb", {"backbone": "bert-tin"}, "did you mean bert-tiny"),
        ("44_tune_real_heads.ipynb", {"results": "reference"}, "by promoting"),
        ("45_retrain_without_examples.ipynb", {"results": "reference-theory"}, "by promoting"),
        ("46_look_into_stabilized_runs.ipynb", {"methods": ["mrm"]}, "did you mean mmr"),
        ("14_make_known_differences.ipynb", {"results": "reference-validity"}, "by promoting"),
    ],
)
def test_a_wrong_parameter_leaves_no_results(tmp_path, notebook, parameters, message):
    done = execute(notebook, tmp_path, **parameters)
    assert done.returncode != 0 and message in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_the_engine_runs_a_plan_once_and_only_what_changed_again(tmp_path):
    project = copy_project(tmp_path / "project")
    shutil.rmtree(project / "tests")
    plan = project / "config/tiny.yaml"
    plan.write_text(PLAN)
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/local"]
    command += ["--config", "grid=tiny"]

    def call(*arguments):
        done = subprocess.run(
            [*command, *arguments], cwd=project, env=environment_of(project),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def planned(*options):
        code, told = call(*options, "--dry-run")
        assert code == 0, told[-3000:]
        table = re.search(r"^job +count\n-+ +-+\n(.*?)^total ", told, re.M | re.S)
        rows = (line.split() for line in table[1].splitlines()) if table else []
        return {rule: int(count) for rule, count in rows if rule != "all"}

    committed = {path: path.read_bytes() for path in (project / "data/results").rglob("*.parquet")}
    code, told = call()
    assert code == 0, told[-3000:]
    made = pd.read_parquet(project / "data/results/tiny/two.2/margins.parquet")
    assert (made["margin"] >= 0.2).all() and made["gap"].tolist() == [0.2, 0.2]
    code, told = call()
    assert code == 0 and "Nothing to be done" in told and planned() == {}
    plan.write_text(PLAN.replace("gap: [0.2]", "gap: [0.3]"))
    assert planned() == {"run_job": 1}
    plan.write_text(PLAN.replace("jobs:", "jobs:\n    three: {n: [9]}"))
    assert planned() == {"run_job": 1}
    plan.write_text(PLAN)
    source = project / "lib/theory/sweeps.py"
    text = source.read_text()
    source.write_text(text.replace('"""A row a set:', '"""One row a set:', 1))
    assert planned() == {}
    source.write_text(text.replace("1 + 1e-12", "1 + 2e-12"))
    assert planned() == {"run_job": 2}
    source.write_text(text)
    (project / "data/results/tiny/one/seeds.parquet").unlink()
    assert planned() == {"run_job": 1}
    code, told = call("campaign=1")
    assert code == 0, told[-3000:]
    promoted = project / "data/results/reference-tiny"
    assert {path.parent.name for path in promoted.glob("*/made.json")} == {"one", "two.2"}
    shutil.rmtree(project / "data/results/tiny")
    assert planned("campaign=1") == {} and planned() == {"run_job": 2}
    plan.write_text(PLAN.replace("gap: [0.2]", "gap: [0.3]"))
    assert planned("campaign=1") == {"run_job": 1, "promote": 1}
    plan.write_text(PLAN.replace("two.2: {gap", "two.2: {gapp"))
    code, told = call()
    assert code != 0 and "did you mean gap" in told
    assert committed == {path: path.read_bytes() for path in committed}
