"""Maximum-margin and soft-margin classifiers: certificates of optimality, peers, by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linprog
from sklearn.svm import SVC

from lib.theory import margin, problems


def drawn(seed, sets=6, n=12, d=4, gap=0.05):
    return problems.separable(np.random.default_rng(seed), sets, n, d, gap)


# Hard margin.


def test_two_points_by_hand():
    """ŵ of (2, 0) and (0, 1) solves two equations: w = (1/2, 1); the dual is w's coordinates."""
    found = margin.max_margin(np.array([[2.0, 0.0], [0.0, 1.0]]))
    assert found.weights == pytest.approx([0.5, 1.0], abs=1e-14)
    assert found.dual == pytest.approx([0.25, 1.0], abs=1e-14)
    assert found.margin == pytest.approx(1 / np.sqrt(1.25), abs=1e-14)


def violation(z, weights):
    """The largest 1 − w·z_i, of sets (..., n, d) and one head each."""
    return 1 - (z @ weights[..., None])[..., 0].min(-1)


def certified(z, found):
    """Feasible, w = Σ α_i z_i, α ≥ 0, and α_i > 0 only where the margin is 1: then w is optimal."""
    radius, size = np.linalg.norm(z, axis=-1).max(), np.linalg.norm(found.weights)
    rounding = 1e-13 * (radius * size) ** 2
    assert violation(z, found.weights) < 1e-12 + rounding
    assert (found.dual >= 0).all()
    assert found.dual @ z == pytest.approx(found.weights, rel=1e-9, abs=1e-12 * size)
    assert found.dual @ (z @ found.weights - 1) == pytest.approx(0, abs=1e-9 * size**2)
    assert found.dual.sum() == pytest.approx(1 / found.margin**2, rel=1e-9)
    assert found.margin * size == pytest.approx(1, rel=1e-14)


@given(hnp.arrays(float, (5, 3), elements=st.floats(-1, 1, width=32)), st.floats(0.01, 1))
@settings(max_examples=200, deadline=None)
def test_optimality_is_certified(raw, gap):
    z = raw.astype(float)
    z[:, 0] = gap + np.abs(z[:, 0])
    found = margin.max_margin(z)
    certified(z, found)
    assert found.margin >= gap * (1 - 1e-12 - 1e-15 * (z**2).sum(-1).max() / gap**2)


@pytest.mark.parametrize("n, d", [(2, 1), (5, 2), (30, 3), (40, 10), (12, 40)])
def test_every_set_is_certified_and_agrees_with_libsvm(n, d):
    z = drawn(n, n=n, d=d)
    for one, found in zip(z, zip(*margin.max_margin(z), strict=True), strict=True):
        found = margin.MaxMargin(*found)
        certified(one, found)
        # Mirrored points make libsvm's intercept vanish and count each dual twice.
        both, labels = np.vstack([one, -one]), np.repeat([1, -1], n)
        machine = SVC(kernel="linear", C=1e9, tol=1e-10).fit(both, labels)
        assert found.weights == pytest.approx(machine.coef_[0], rel=1e-4, abs=1e-4)
        assert set(machine.support_ % n) <= set(np.flatnonzero(found.dual > 0))


def test_sets_that_no_plane_separates_are_nan_and_leave_the_others_alone():
    z = drawn(0)
    z[2] = np.random.default_rng(1).normal(size=z[2].shape)
    feasible = linprog(np.zeros(4), A_ub=-z[2], b_ub=-np.ones(12), bounds=(None, None)).success
    assert not feasible
    found = margin.max_margin(z)
    assert np.flatnonzero(np.isnan(found.margin)).tolist() == [2]
    assert np.array_equal(found.weights[3], margin.max_margin(z[3]).weights)
    # A margin that is rounding beside the radius counts as none.
    narrow = margin.max_margin([[[1, 1e-9], [-1, 1e-9]], [[1, 1e-5], [-1, 1e-5]]]).margin
    assert np.isnan(narrow[0]) and narrow[1] == pytest.approx(1e-5)


@pytest.mark.parametrize("apart", [0, 1e-9, 1e-8, 1e-7, 1e-5])
def test_copies_that_are_nearly_the_same_do_no_harm(apart):
    """As repeated sentences make them, whose features differ by rounding."""
    rng = np.random.default_rng(0)
    for d in (5, 20) * 10:
        z = problems.separable(rng, 1, 20, d, 0.05)
        copies = z + apart * rng.normal(size=z.shape) if apart else z.astype(np.float32)
        both = np.concatenate([z, copies], 1)
        full, without = margin.max_margin(both), margin.max_margin_without(both)
        assert violation(both, full.weights) < 1e-8
        for i, weights in enumerate(without.weights[0]):
            assert violation(np.delete(both[0], i, 0), weights) < 1e-8
        assert full.margin == pytest.approx(margin.max_margin(z).margin, abs=5 * apart + 1e-7)
        assert (without.margin >= full.margin[:, None] * (1 - 1e-8)).all()
        strength = 10.0 ** rng.uniform(-4, 1)
        optimal(both[0], strength, np.full(40, 1 / 40), margin.soft_margin(both[0], strength))


def test_leaving_out_is_solving_again():
    z = drawn(5, sets=4, n=9, d=3)
    together = margin.max_margin_without(z)
    assert together.weights.shape == (4, 9, 3)
    for s in range(4):
        for i in range(9):
            alone = margin.max_margin(np.delete(z[s], i, 0))
            assert together.weights[s, i] == pytest.approx(alone.weights, rel=1e-9, abs=1e-10)
            assert together.dual[s, i, i] == 0
            assert together.margin[s, i] == pytest.approx(alone.margin, rel=1e-10)
        assert np.array_equal(margin.max_margin_without(z[s]).weights, together.weights[s])


# Soft margin.


def optimal(z, lam, c, found, gap=1e-9):
    """A dual inside of its box, w = Σ α_i z_i / λ, and hardly any gap: then w is optimal."""
    assert (found.dual >= 0).all() and (found.dual <= c).all()
    assert found.weights == pytest.approx(found.dual @ z / lam, rel=1e-12, abs=1e-14)
    hinge = np.maximum(0, 1 - z @ found.weights)
    true_gap = lam * found.weights @ found.weights + c @ hinge - found.dual.sum()
    assert true_gap == pytest.approx(found.gap, abs=1e-13) and found.gap < gap


@pytest.mark.parametrize("lam", [5e-4, 1e-3, 0.1, 10.0])
def test_soft_margins_are_optimal_and_zero_weights_leave_examples_out(lam):
    z = drawn(7, n=20)
    z[:, :5] *= -0.5  # not separable
    importance = np.full(20, 1 / 19)
    importance[4] = 0
    found, without = margin.soft_margin(z, lam), margin.soft_margin(z, lam, importance)
    alone = margin.soft_margin(np.delete(z, 4, 1), lam)
    assert without.weights == pytest.approx(alone.weights, rel=1e-9)
    assert (without.dual[:, 4] == 0).all()
    for s, one in enumerate(z):
        for c, some in ((np.full(20, 1 / 20), found), (importance, without)):
            optimal(one, lam, c, margin.SoftMargin(*(part[s] for part in some)), gap=1e-13)


def test_soft_margin_by_hand():
    """One example at (1, 0): w = min(1, 1/λ) along it; left out, w = 0."""
    z = np.array([[1.0, 0.0]])
    for lam, expected in ((0.5, 1.0), (4.0, 0.25)):
        assert margin.soft_margin(z, lam).weights == pytest.approx([expected, 0], abs=1e-12)
    assert (margin.soft_margin(z, 4.0, np.zeros(1)).weights == 0).all()


def test_bad_weights_are_refused():
    with pytest.raises(ValueError, match="must be positive"):
        margin.soft_margin(drawn(0), 0.0)
    with pytest.raises(ValueError, match="not negative"):
        margin.soft_margin(drawn(0), 1.0, -np.ones(12))


def test_separable_sets_have_the_gap_and_the_radius_that_were_asked_for():
    z = problems.separable(np.random.default_rng(0), 50, 30, 5, 0.2, radius=2.0)
    assert (np.linalg.norm(z, axis=-1) <= 2).all()
    assert (margin.max_margin(z).margin >= 0.2 * (1 - 1e-12)).all()
    # Uniform in the ball: half of the volume is inside radius · 2^(−1/d), away from the plane.
    assert 0.3 < (np.linalg.norm(z, axis=-1) < 2 * 0.5**0.2).mean() < 0.6
    with pytest.raises(ValueError, match="between 0 and the radius"):
        problems.separable(np.random.default_rng(0), 1, 3, 2, 1.0)
