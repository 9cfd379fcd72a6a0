"""The certificate of a head, against heads that are trained without each example by other code."""

import itertools

import numpy as np
import pytest
from scipy import optimize, stats
from scipy.special import log_softmax

from lib.theory import certificate
from lib.theory.certificate import certify


def problem(n, d, classes, *, seed=0, length=1.0, noise=0.5):
    """Features of one length, and labels that a random head and noise give; each class is there."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n + 60, d))
    x *= length / np.linalg.norm(x, axis=1, keepdims=True)
    scores = x @ rng.normal(size=(d, classes)) + noise * rng.normal(size=(len(x), classes))
    labels = scores.argmax(1)
    labels[:classes] = range(classes)
    return x[:n], labels[:n], x[n:]


def trained(x, labels, strength, classes, start=None):
    """The minimiser by L-BFGS, and a root of the gradient from there by MINPACK."""
    n, d = x.shape
    shape = (d,) if classes == 2 else (classes, d)

    def objective(flat):
        w = flat.reshape(shape)
        if classes == 2:
            sign = np.where(labels == 1, 1.0, -1.0)
            margins = sign * (x @ w)
            losses = np.logaddexp(0, -margins)
            slope = (-sign / (1 + np.exp(margins))) @ x / n
        else:
            logs = log_softmax(x @ w.T, axis=1)
            losses = -logs[np.arange(n), labels]
            slope = (np.exp(logs) - np.eye(classes)[labels]).T @ x / n
        value = losses.mean() + strength / 2 * flat @ flat
        return value, (slope + strength * w).ravel()

    start = np.zeros(shape) if start is None else start
    found = optimize.minimize(
        objective, start.ravel(), jac=True, method="L-BFGS-B",
        options={"maxiter": 20_000, "maxfun": 40_000, "ftol": 0, "gtol": 1e-13, "maxcor": 60},
    )  # fmt: skip
    root = optimize.root(lambda flat: objective(flat)[1], found.x, tol=1e-14)
    assert np.linalg.norm(root.fun) < 1e-12
    return root.x.reshape(shape)


def predictions(w, x):
    return (x @ w > 0).astype(int) if w.ndim == 1 else (x @ w.T).argmax(1)


def left_out(x, labels, strength, classes, whole):
    """The heads without each example."""
    rows = [np.arange(len(x)) != i for i in range(len(x))]
    return [trained(x[kept], labels[kept], strength, classes, whole) for kept in rows]


@pytest.mark.parametrize("strength", [1.0, 1e-2, 1e-4])
@pytest.mark.parametrize(("n", "d", "classes"), [(40, 5, 2), (20, 30, 2), (30, 4, 3), (16, 20, 4)])
def test_no_head_without_an_example_is_farther_than_its_bound(n, d, classes, strength):
    x, labels, test = problem(n, d, classes, seed=n)
    proved = certify(x, labels, strength=strength, test_features=test)
    whole = trained(x, labels, strength, classes)
    assert proved.weights == pytest.approx(whole, abs=1e-11 / strength)
    heads = left_out(x, labels, strength, classes, whole)
    true = np.array([np.linalg.norm(head - proved.weights) for head in heads])
    resolution = 1e-12 / strength  # to which the oracle's heads are known
    assert (true <= proved.bound + resolution).all()
    ratios = true / proved.bound
    assert ratios.min() > 0.95 if strength >= 1e-2 else np.median(ratios) > 0.8
    assert stats.spearmanr(proved.influence, true).statistic > 0.9
    own = predictions(proved.weights, test)
    keeps = np.all([predictions(head, test) == own for head in heads], axis=0)
    assert keeps[proved.stable].all(), "certified, and turned by a removal"
    assert strength < 1e-2 or proved.stable.sum() >= 0.9 * keeps.sum()


@pytest.mark.parametrize("classes", [2, 3])
def test_no_removal_of_several_examples_turns_what_is_certified(classes):
    x, labels, test = problem(10, 2, classes, seed=5, noise=0)
    proved = certify(x, labels, strength=1.0, test_features=test)
    assert (proved.removals >= proved.stable).all() and proved.removals.max() >= 2
    own = predictions(proved.weights, test)
    for k in range(1, proved.removals.max() + 1):
        certified = proved.removals >= k
        for gone in itertools.combinations(range(len(x)), k):
            kept = np.delete(np.arange(len(x)), gone)
            head = trained(x[kept], labels[kept], 1.0, classes, proved.weights)
            assert (predictions(head, test) == own)[certified].all(), (k, gone)


def remaining(x, labels, classes, strength):
    """(bound, largest error) at the predicted heads without all sets of two and of three."""
    coded = np.eye(classes)[labels][:, -1:] if classes == 2 else np.eye(classes)[labels]
    head, n = certificate._Head(x, coded, strength), len(x)
    w, _ = head.minimize()
    p = certificate._probabilities(x @ w.T)
    factor = head.curvature(w, (n - 1) * strength)
    steps = certificate._solve(factor, (p - coded)[:, :, None] * x[:, None] + strength * w)
    bound = head.errors_without_any(w, steps)
    for k in (2, 3):
        norms = []
        for gone in itertools.combinations(range(n), k):
            there, kept = w + steps[list(gone)].sum(0), np.delete(np.arange(n), gone)
            wrong = certificate._probabilities(x[kept] @ there.T) - coded[kept]
            gradient = wrong.T @ x[kept] / (n - k) + strength * there
            norms.append(np.linalg.norm(gradient) / strength)
        yield bound[k - 1], max(norms)


@pytest.mark.parametrize("strength", [10.0, 0.1])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_error_without_several_examples_is_no_smaller_than_the_gradient_says(classes, strength):
    x, labels, _ = problem(12, 3, classes, seed=11)
    for bound, largest in remaining(x, labels, classes, strength):
        assert 0.1 * bound < largest <= bound


def test_so_it_is_where_the_remainders_of_all_examples_point_one_way():
    """Rows of zeros but for one class of copies: what is removed curves little, and many remain."""
    x = np.r_[np.ones((24, 1)), 0.05 * np.ones((3, 1))]
    labels = np.r_[np.arange(24) % 6 == 0, [False] * 3].astype(int)
    for bound, largest in remaining(x, labels, 2, 1e-3):
        assert 0.1 * bound < largest <= bound


@pytest.mark.parametrize("classes", [2, 3])
def test_no_attack_turns_what_is_certified(classes):
    """For each test example, the rows whose removal pushes it most, by single retrained heads."""
    x, labels, test = problem(60, 3, classes, seed=8, noise=0.1)
    strength, k = 0.1, 3
    proved = certify(x, labels, strength=strength, test_features=test)
    whole, own = proved.weights, predictions(proved.weights, test)
    pushed = []
    for head in left_out(x, labels, strength, classes, whole):
        change = test @ (head - whole).T
        if classes == 2:
            pushed.append(change * np.where(own == 1, -1, 1))
        else:
            pushed.append(change.max(1) - change[np.arange(len(test)), own])
    turned = []
    for row, gone in zip(
        range(len(test)), np.argsort(-np.array(pushed), axis=0)[:k].T, strict=True
    ):
        kept = np.delete(np.arange(len(x)), gone)
        head = trained(x[kept], labels[kept], strength, classes, whole)
        turned.append(predictions(head, test[[row]])[0] != own[row])
    assert not (np.array(turned) & (proved.removals >= k)).any()
    assert sum(turned) > 0 and (proved.removals >= k).mean() > 0.2


def test_influence_is_the_newton_step_of_the_objective_without_the_example():
    """By plain loops with the whole Hessian of each objective."""
    x, labels, _ = problem(15, 3, 3, seed=2)
    strength, proved = 0.05, certify(*problem(15, 3, 3, seed=2)[:2], strength=0.05)
    for i in range(15):
        kept = np.arange(15) != i
        p = np.exp(log_softmax(x[kept] @ proved.weights.T, axis=1))
        slope = (p - np.eye(3)[labels[kept]]).T @ x[kept] / 14 + strength * proved.weights
        hessian = strength * np.eye(9)
        for row, q in zip(x[kept], p, strict=True):
            hessian += np.kron(np.diag(q) - np.outer(q, q), np.outer(row, row)) / 14
        step = np.linalg.solve(hessian, slope.ravel())
        assert proved.influence[i] == pytest.approx(np.linalg.norm(step), rel=1e-9)


def test_blocks_order_and_copies_change_nothing(monkeypatch):
    x, labels, test = problem(24, 4, 3, seed=7)
    whole = certify(x, labels, strength=1e-2, test_features=test)
    monkeypatch.setattr(certificate, "BLOCK", 100)
    for one, other in zip(
        certify(x, labels, strength=1e-2, test_features=test), whole, strict=True
    ):
        assert one == pytest.approx(other, rel=1e-9)
    order = np.random.default_rng(0).permutation(24)
    turned = certify(x[order], labels[order], strength=1e-2)
    assert turned.bound == pytest.approx(whole.bound[order], rel=1e-9)
    twice = certify(np.vstack([x, x]), np.tile(labels, 2), strength=1e-2, test_features=test)
    assert twice.weights == pytest.approx(whole.weights, rel=1e-6)
    assert twice.bound[:24] == pytest.approx(twice.bound[24:], rel=1e-9)
    assert twice.bound.max() < whole.bound.max(), "half the weight"


def test_an_example_that_says_nothing_moves_nothing():
    """A row of zeros has no gradient; without it only the weight of the others changes."""
    x, labels, _ = problem(20, 3, 2, seed=3)
    x[4] = 0
    proved = certify(x, labels, strength=0.1, test_features=np.zeros((1, 3)))
    kept = np.arange(20) != 4
    true = np.linalg.norm(trained(x[kept], labels[kept], 0.1, 2) - proved.weights)
    assert true <= proved.bound[4] and proved.bound[4] == pytest.approx(true, rel=0.02)
    assert not proved.stable[0] and proved.removals[0] == 0, "0 is on the border"


GOOD = np.array([[1.0, 0], [0, 1], [1, 1]]), np.array([0, 1, 1])


@pytest.mark.parametrize(
    ("features", "labels", "more", "message"),
    [
        (GOOD[0][0], GOOD[1], {}, r"features have shape \(2,\)"),
        (np.where(GOOD[0] == 0, np.nan, 1), GOOD[1], {}, "row 0 holds nan"),
        (*GOOD, {"test_features": [[1, np.inf]]}, "test_features: row 0 holds inf"),
        (*GOOD, {"test_features": np.ones((2, 3))}, "width 3, and features 2"),
        (GOOD[0], [0, 1], {}, "3 rows and labels 2"),
        (GOOD[0], [0.0, 1.0, 1.0], {}, "expected .* integers"),
        (GOOD[0], [1, 1, 1], {}, r"all \[1\]"),
        (GOOD[0], [-1, 1, 1], {}, "return_inverse"),
        (*GOOD, {"strength": 0.0}, "does not exist"),
        (*GOOD, {"strength": np.nan}, "λ > 0"),
    ],
)
def test_bad_input_is_named(features, labels, more, message):
    with pytest.raises(ValueError, match=message):
        certify(features, labels, **{"strength": 0.1, **more})


def test_the_remedy_for_other_labels_works():
    x, labels = GOOD[0], np.array([-1, 1, 1])
    coded = np.unique(labels, return_inverse=True)[1]
    assert certify(x, coded, strength=0.1).bound.shape == (3,)


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_no_step_in_the_scores_bends_probabilities_more_than_the_constant(classes):
    """The largest found by search comes to it, and halved it fails."""
    rng = np.random.default_rng(classes)
    bound = np.sqrt(8) / (6 * np.sqrt(3))

    def bent(flat):
        scores, along = flat.reshape(2, -1)
        along = along / np.linalg.norm(along)
        p = np.exp(scores - scores.max())
        p /= p.sum()
        mean = p @ along
        away = along - mean
        return -np.linalg.norm(p * (away**2 - p @ away**2))  # D²p[u, u] of softmax

    found = max(-optimize.minimize(bent, rng.normal(size=2 * classes)).fun for _ in range(20))
    assert bound / 2 < 0.999 * bound < found <= bound * (1 + 1e-9)
