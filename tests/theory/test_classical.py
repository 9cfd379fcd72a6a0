"""Classical stability bounds: formulas, exact experiments, tightness."""

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from benchmarks import classical_bounds as classical
from benchmarks.bounds_examples import examples, side_by_side
from benchmarks.classical_worst import worst_cases
from benchmarks.coupled import LOSSES, Objective, Points, all_paths, given_paths
from benchmarks.minimizers import leave_one_out_logistic, logistic_minimizers, minimize_logistic
from lib import paths
from lib.theory import margin, problems
from lib.theory.assumptions import Inapplicable

# The formulas.


def test_bounds_of_the_spot_checks_by_hand():
    def convex(steps, rate):
        return classical.sgd_convex_loss(
            n=100, lipschitz=1, smoothness=0.25, rates=np.full(steps, rate)
        )

    assert [convex(1000, 0.05), convex(1000, 0.5), convex(200, 0.5)] == pytest.approx([1, 10, 2])
    known = dict(n=100, lipschitz=1.4, smoothness=0.45, curvature=0.2)
    curved = classical.sgd_strongly_convex_loss(rate=1 / 0.45, **known)
    assert curved == pytest.approx(2 * 1.96 / 20) and round(float(curved), 3) == 0.196
    highest = np.log1p(np.exp(2)) + 0.4
    decaying = classical.sgd_decaying_loss(highest=highest, **known)
    assert round(float(decaying), 3) == 0.253

    nonconvex = classical.sgd_nonconvex_loss(
        n=100, lipschitz=0.5, smoothness=0.5, steps=3000, scale=np.array([0.5, 1, 4])
    )
    assert nonconvex == pytest.approx([0.0826, 0.275, 3.97], rel=2e-3)


# The experiments themselves.


def run_slowly(objective, x, y, rates, start, drawn):
    """One run written out, as an oracle, without batches; slopes have a test of their own."""
    w = np.array(start, float)
    for rate, i in zip(rates, drawn, strict=True):
        slope = objective.loss.slope(w @ x[i] - y[i])
        w = w - rate * (slope * x[i] + objective.regularization * w)
        norm = np.linalg.norm(w)
        w = w if norm <= objective.reach else w * objective.reach / norm
    return w


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("regularization", "reach"), [(0.0, np.inf), (0.3, 0.7)])
def test_all_paths_are_all_paths(loss, regularization, reach):
    rng = np.random.default_rng(3)
    n, steps = 3, 4
    x, y, start = rng.normal(size=(n, 2)), rng.normal(size=n), 0.4 * rng.normal(size=2)
    rates = rng.uniform(0.1, 1, steps)
    objective = Objective(LOSSES[loss], regularization, reach)
    drawn = np.array(list(itertools.product(range(n), repeat=steps)))
    slow = [run_slowly(objective, x, y, rates, start, d) for d in drawn]
    *_, tree = all_paths(objective, Points(x, y), rates, start)
    *_, given_ = given_paths(objective, Points(x, y), rates, start, drawn)
    np.testing.assert_allclose(tree, slow, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(given_, slow, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_have_the_slopes_and_constants_they_say(loss):
    m = np.linspace(-9, 9, 4001)
    found, step = LOSSES[loss], m[1] - m[0]
    middle = (m[1:] + m[:-1]) / 2
    np.testing.assert_allclose(np.diff(found.value(m)) / step, found.slope(middle), atol=2e-3)
    slopes = found.slope(m)
    assert np.abs(slopes).max() <= found.steepest + 1e-12
    assert np.abs(np.diff(slopes)).max() / step <= found.bend + 1e-12
    assert found.convex == bool(np.all(np.diff(slopes) >= -1e-12))
    assert found.value(m).min() >= 0 or loss == "linear"


# Bounds on experiments.


def test_every_inequality_has_a_case_in_which_half_the_bound_fails():
    """None is violated on random problems either (``test_bounds``)."""
    committed = pd.read_csv(paths.DATA / "benchmarks" / "bounds_verified.csv")["theorem"]
    cases = {name: (measured, bound) for name, measured, bound in worst_cases()}
    assert set(cases) == set(committed[~committed.str.match(r"[THS]\d")]) and len(cases) == 14
    for name, (measured, bound) in cases.items():
        assert measured <= bound * (1 + 1e-9) + 1e-12, name
        assert measured > bound / 2, name
    # Each draw of the example that differs adds its most, and nothing is forgotten.
    measured, bound = cases["Hardt 3.8, parameters"]
    assert measured == pytest.approx(bound, rel=1e-12)


# Minimisers.


@pytest.mark.parametrize(("normalization", "out"), [("N1", None), ("N1", 0), ("N2", 17)])
def test_minimisers_are_those_of_scikit_learn(normalization, out):
    rng = np.random.default_rng(7)
    x, labels, strength = rng.normal(size=(40, 4)), rng.choice([-1, 1], 40), 0.03
    z = x * labels[:, None]
    full, without = leave_one_out_logistic(z, regularization=strength, normalization=normalization)
    rows = np.arange(40) != out
    size = rows.sum() if normalization == "N1" else 40
    peer = LogisticRegression(C=1 / (size * strength), fit_intercept=False, tol=1e-12)
    peer.set_params(max_iter=1000).fit(x[rows], labels[rows])
    np.testing.assert_allclose(full if out is None else without[out], peer.coef_[0], atol=1e-6)
    if normalization == "N1":  # a regulariser that shrinks with the set leaves N2 the same minima
        for name in ("N1", "N2"):
            each, _ = logistic_minimizers(z[None], strength, name)
            np.testing.assert_allclose(each[0], [full, *without], atol=1e-9)


def test_minimisers_refuse_what_has_no_minimum():
    with pytest.raises(ValueError, match="regularization"):
        minimize_logistic(np.ones((2, 3, 1)), weights=np.ones(3), regularization=0.0)
    with pytest.raises(ValueError, match="normalization = 'N3'"):
        leave_one_out_logistic(np.ones((3, 1)), regularization=1.0, normalization="N3")


# The tables of the notebooks.


def test_the_committed_examples_come_out_the_same_and_no_bound_is_violated():
    tables = examples()
    for name, table in tables.items():
        committed = pd.read_csv(paths.DATA / "benchmarks" / f"bounds_{name}.csv")
        pd.testing.assert_frame_equal(table, committed, rtol=1e-6)
    local = tables["local"]
    assert (local["moved"] < local["T1"]).all() and not (local["moved"] >= local["T5"]).any()
    assert local["T5"].notna().tolist() == [True] * 5 + [False] * 2


def test_every_bound_of_the_table_holds_and_every_formula_is_the_printed_one():
    z = problems.separable(np.random.default_rng(0), 1, 60, 8, 0.1)[0]
    table = side_by_side(z, np.random.default_rng(1), runs=50)
    bounded = table.dropna()
    assert len(table) == 8 and len(bounded) == 7 and bounded["ratio"].between(1e-9, 1).all()
    eta, gamma = 1 / 0.35, float(margin.max_margin(z).margin)
    _, without = leave_one_out_logistic(z, regularization=0.1, normalization="N1")
    by_hand = [
        2 / (0.1 * 60) * (1 - (1 - 0.1 * eta) ** 200),
        2 * eta * 200 / 60,
        (1 + 0.1 * np.linalg.norm(without, axis=1).max()) / (0.1 * 60),
        1 / (2 * 0.05 * 60),
        2 * (1 + 0.1 * np.sqrt(20 * np.log(2))) / (0.1 * 60),
        np.sqrt(2) / (60 * gamma),
        16 / np.sqrt(27) / (60 * gamma),
    ]
    np.testing.assert_allclose(bounded["bound"], by_hand, rtol=1e-12)
    # 200 steps are enough: descent has arrived at the minimiser.
    measured = table["measured max"]
    assert measured["descent, T1"] == pytest.approx(measured["minimiser, T3"], abs=1e-6)
    with pytest.raises(ValueError, match=r"\(n, d\)"):
        side_by_side(np.full((4, 2), 1.0), np.random.default_rng(0))
    with pytest.raises(Inapplicable, match="margin"):
        side_by_side(np.array([[0.5, 0], [-0.5, 0], [0, 0.5]]), np.random.default_rng(0), runs=5)
