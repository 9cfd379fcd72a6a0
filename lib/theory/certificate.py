"""How far can one training example move *your* head, and can it turn a prediction?

A head on frozen features: W (Q, D), scores W x. Two classes have one score, that of class 1 (Q = 1,
logistic loss); C > 2 classes have Q = C (softmax cross-entropy). The head w_S minimises

    F(W) = (1/n) Σ_j loss(W, x_j, y_j) + λ/2 ‖W‖²,   λ > 0,

and w_{S∖i} minimises F_i, the same with the mean over the n − 1 other examples. None of these n
heads is trained. From ŵ, which is w_S up to rounding, one Newton step of F_i leads to

    w̃_i = ŵ + δ_i,   δ_i = (K − A_i ⊗ x_i x_iᵀ)⁻¹ v_i,   v_i = ∇loss_i(ŵ) + λŵ,
    K = Σ_j A_j ⊗ x_j x_jᵀ + (n − 1) λ I,

A_j the Hessian of loss j in its scores: one factorisation for all examples, and for each an update
of rank Q. The step alone is the example's *influence* (Koh & Liang 2017). One more pass over the
data makes it a proof. F_i is λ-strongly convex, so ‖w_{S∖i} − w̃_i‖ ≤ ‖∇F_i(w̃_i)‖ / λ = e_i, and

    ‖w_{S∖i} − w_S‖ ≤ ‖w̃_i − ŵ‖ + e_i + e,   e = ‖∇F(ŵ)‖ / λ.

That is true of any w̃_i. So where e_i is still large, as for a small λ, the same update takes the
next step, from w̃_i with −∇F_i(w̃_i), until e_i is small or ``PASSES`` are over.

A test example x keeps its class without example i if under w̃_i its class leads every other one by
more than √2 e_i ‖x‖ (one score: if that is more than e_i ‖x‖ from 0).

**Any k examples.** Without a set R of k examples let w̃_R = ŵ + D, D = Σ_R d_i with d_i = K⁻¹ v_i.
Of (n − k) ∇F_R(w̃_R) is left: for each i in R, −A_i D x_i x_iᵀ; for every other j a remainder of
Taylor's formula, at most c/2 ‖D x_j‖² ‖x_j‖; and −(k − 1) λD. Here c bounds the second derivative
of the probabilities in the scores along a unit vector u. It is a third derivative of log Σ exp, and
so, symmetric, at most the third central moment of u under the probabilities, which is r³/(6√3) at
most for a range of r: 1 of one score, √2 of more (two points have the most). As ‖D x_j‖ is at most
the sum of the k largest ‖d_i x_j‖, this is bounded for all R at once, and so are a test example's
scores.

All of this is derived here (grade D). Rounding is allowed for (``ROUNDINGS``), not bounded.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.special import expit, softmax

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int_]

#: Numbers in the largest array that is held while all heads are gone through.
BLOCK = 20_000_000
#: Passes over the data at most; none follows where e_i is so small a share of the way to w̃_i.
PASSES, SMALL = 5, 0.01
#: Removals of more examples than this are not looked at.
MOST = 100
#: A gradient is computed to within so many roundings of its largest term.
ROUNDINGS = 64 * np.finfo(float).eps


class Certificate(NamedTuple):
    """What is proved of a head, for N training and M test examples; see the module.

    weights : (D,) of two classes, else (C, D)
    bound : (N,) ‖w_S − w_{S∖i}‖ is at most this
    influence : (N,) ‖δ_i‖, what the first Newton step predicts
    local : (N,) the same bound before any step, ‖v_i‖ / ((n − 1) λ) and rounding
    stable : (M,) whether no removal of a single training example turns the prediction
    removals : (M,) of how many training examples no removal turns it, as far as is proved
    """

    weights: Array
    bound: Array
    influence: Array
    local: Array
    stable: npt.NDArray[np.bool_]
    removals: npt.NDArray[np.int_]


def certify(
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    strength: float,
    test_features: npt.ArrayLike | None = None,
) -> Certificate:
    """Certify a regularised logistic head against the removal of training examples.

    Takes of the order of N² C D operations: seconds for 2,000 × 384 and two classes.

    Parameters
    ----------
    features : (N, D); for a head with a bias append a column of ones, which is then regularised too
    labels : (N,) classes 0 to C − 1, each of them there
    strength : λ > 0. With λ = 0 there may be no head: on separable features weights grow for ever
    test_features : (M, D), of which ``stable`` and ``removals`` speak

    Raises
    ------
    ValueError
        For features that are not finite numbers (names the row), other labels, one class, λ ≤ 0.
    """
    x, y = _checked("features", features), _one_hot(labels)
    if len(x) != len(y):
        raise ValueError(f"features have {len(x)} rows and labels {len(y)}; expected as many")
    if not (np.isfinite(strength) and strength > 0):
        raise ValueError(
            f"strength = {strength!r}; expected λ > 0. Without it the head of separable features "
            "does not exist, and nothing bounds how far an example moves it"
        )
    test = _checked("test_features", np.empty((0, x.shape[1])) if test_features is None
                    else test_features)  # fmt: skip
    if test.shape[1] != x.shape[1]:
        raise ValueError(f"test_features have width {test.shape[1]}, and features {x.shape[1]}")
    head = _Head(x, y, strength)
    w, own = head.minimize()
    n, off = len(x), float(head.error(own, w))

    pulls = (_probabilities(x @ w.T) - y)[:, :, None] * x[:, None] + strength * w
    factor = head.curvature(w, (n - 1) * strength)
    update = head.update(w, factor)
    influence, bound = np.empty((2, n))

    # A move of W by 1 changes one score by ‖x‖ at most, and the difference of two by √2 ‖x‖.
    reach = np.linalg.norm(test, axis=1) * (1 if len(w) == 1 else np.sqrt(2))
    scores = _of_classes(test @ w.T)
    predicted = scores.argmax(1)
    stable = _lead(scores[:, None], predicted)[:, 0] > off * reach
    for rows in _blocks(n, scores.shape[1] * max(n, len(test))):
        heads = w + update(pulls[rows], rows)
        influence[rows] = np.linalg.norm(heads - w, axis=(1, 2))
        gradients, errors = head.without(heads, rows)
        for _ in range(PASSES - 1):
            todo = np.flatnonzero(errors > SMALL * np.linalg.norm(heads - w, axis=(1, 2)))
            if not len(todo):
                break
            further = heads[todo] - update((n - 1) * gradients[todo], rows[todo])
            there, left = head.without(further, rows[todo])
            better = left < errors[todo]
            todo = todo[better]
            heads[todo], gradients[todo] = further[better], there[better]
            errors[todo] = left[better]
        bound[rows] = np.linalg.norm(heads - w, axis=(1, 2)) + errors + off
        moved = _of_classes(np.einsum("md,bqd->mbq", test, heads, optimize=True))
        stable &= (_lead(moved, predicted) > errors * reach[:, None]).all(axis=1)

    local = off + (n * strength * off + np.linalg.norm(pulls, axis=(1, 2))) / ((n - 1) * strength)
    steps = _solve(factor, pulls)
    errors = head.errors_without_any(w, steps) + n / (n - 1 - np.arange(min(MOST, n - 1))) * off
    lost = errors * reach[:, None]
    removals = np.maximum(_withstood(test, scores, predicted, steps, lost), stable)
    weights = w[0] if len(w) == 1 else w
    return Certificate(weights, np.minimum(bound, local), influence, local, stable, removals)


class _Head:
    """The objective F of features x (n, D) and labels y (n, Q) as 0 and 1."""

    def __init__(self, x: Array, y: Array, strength: float) -> None:
        self.x, self.y, self.strength = x, y, strength
        self.radius = np.linalg.norm(x, axis=1).max()

    def gradient(self, w: Array) -> Array:
        return (_probabilities(self.x @ w.T) - self.y).T @ self.x / len(self.x) + self.strength * w

    def curvature(self, w: Array, ridge: float) -> Array:
        """Lower Cholesky factor of Σ_j A_j ⊗ x_j x_jᵀ + ridge · I, (QD, QD)."""
        roots, (q, d) = _roots(self.x @ w.T), w.shape
        weights = roots @ roots.swapaxes(1, 2)
        whole = np.empty((q, d, q, d))
        for a in range(q):
            for b in range(a + 1):
                whole[a, :, b] = whole[b, :, a] = (self.x.T * weights[:, a, b]) @ self.x
        whole = whole.reshape(q * d, q * d)
        whole[np.diag_indices(q * d)] += ridge
        return cholesky(whole, lower=True, overwrite_a=True)

    def minimize(self) -> tuple[Array, Array]:
        """ŵ and the gradient there, by Newton's method, with steps halved until it is shorter."""
        n, w = len(self.x), np.zeros((self.y.shape[1], self.x.shape[1]))
        for _ in range(50):
            gradient = self.gradient(w)
            length, share = np.linalg.norm(gradient), 1.0
            if length <= ROUNDINGS / 8 * self.radius:
                break
            step = cho_solve((self.curvature(w, n * self.strength), True), n * gradient.ravel())
            step = step.reshape(w.shape)
            while np.linalg.norm(self.gradient(w - share * step)) > (1 - share / 4) * length:
                share /= 2
                if share < 1e-3:
                    return w, gradient  # what is left is rounding
            w = w - share * step
        return w, self.gradient(w)

    def update(self, w: Array, factor: Array) -> Callable[[Array, Rows], Array]:
        """From vectors v (B, Q, D) and the rows i that they are of: (K − A_i ⊗ x_i x_iᵀ)⁻¹ v_i at
        w, by Woodbury's formula with A_i = B_i B_iᵀ.
        """
        (n, d), q = self.x.shape, len(w)
        roots, leverage = _roots(self.x @ w.T), np.empty((n, q, q))
        for rows in _blocks(n, q * q * d):
            one = [np.kron(unit[:, None], self.x[rows].T) for unit in np.eye(q)]
            half = np.stack([solve_triangular(factor, part, lower=True) for part in one])
            leverage[rows] = np.einsum("akn,bkn->nab", half, half, optimize=True)
        inner = np.eye(q) - roots.swapaxes(1, 2) @ leverage @ roots

        def updated(vectors: Array, rows: Rows) -> Array:
            x, root, plain = self.x[rows], roots[rows], _solve(factor, vectors)
            seen = root.swapaxes(1, 2) @ (plain @ x[:, :, None])
            return plain + _solve(factor, root @ np.linalg.solve(inner[rows], seen) * x[:, None])

        return updated

    def errors_without_any(self, w: Array, steps: Array) -> Array:
        """(k,) by how far w̃_R is at most from the minimiser without any R of 1, 2, … examples."""
        n, most = len(self.x), min(MOST, len(self.x) - 1)
        lengths, roots = np.linalg.norm(self.x, axis=1), _roots(self.x @ w.T)
        sharpness = np.linalg.norm(roots @ roots.swapaxes(1, 2), 2, axis=(1, 2))
        seen = np.empty((n, most))  # ‖D x_j‖ at most
        for rows in _blocks(n, steps.shape[1] * n):
            moved = np.einsum("jd,iqd->jiq", self.x[rows], steps, optimize=True)
            seen[rows] = _largest(np.linalg.norm(moved, axis=2), most)
        k = 1 + np.arange(most)
        removed = [
            _largest(sharpness * lengths * part, i)[-1] for i, part in zip(k, seen.T, strict=True)
        ]
        curved = (1 if len(w) == 1 else np.sqrt(8)) / (6 * np.sqrt(3))
        taylor = curved / 2 * (lengths @ seen**2)
        tilted = (k - 1) * self.strength * _largest(np.linalg.norm(steps, axis=(1, 2)), most)
        return (removed + taylor + tilted) / ((n - k) * self.strength)

    def without(self, heads: Array, rows: Rows) -> tuple[Array, Array]:
        """∇F_i (B, Q, D) at a head for each example i of ``rows``, and e_i (B,)."""
        b, q, d = heads.shape
        scores = (self.x @ heads.reshape(b * q, d).T).reshape(-1, b, q)
        wrong = _probabilities(scores) - self.y[:, None]
        wrong[rows, np.arange(b)] = 0
        summed = (wrong.reshape(-1, b * q).T @ self.x).reshape(b, q, d)
        gradients = summed / (len(self.x) - 1) + self.strength * heads
        return gradients, self.error(gradients, heads)

    def error(self, gradients: Array, heads: Array) -> Array:
        """How far heads (…, Q, D) are at most from the minimiser, by gradients (…, Q, D) there."""
        norms, lengths = (np.linalg.norm(part, axis=(-2, -1)) for part in (gradients, heads))
        rounding = ROUNDINGS * (self.radius + self.strength * lengths)
        return (norms + rounding) / self.strength


def _probabilities(scores: Array) -> Array:
    """(…, Q) of one score that of class 1; else of every class."""
    return expit(scores) if scores.shape[-1] == 1 else softmax(scores, axis=-1)


def _roots(scores: Array) -> Array:
    """(n, Q, Q) B_j with B_j B_jᵀ = A_j, the Hessian of a loss in its scores."""
    p = _probabilities(scores)
    if p.shape[1] == 1:
        return np.sqrt(p * (1 - p))[:, :, None]
    root = np.sqrt(p)
    return root[:, :, None] * np.eye(p.shape[1]) - p[:, :, None] * root[:, None]


def _of_classes(scores: Array) -> Array:
    """(…, C) the scores of all classes; beside one score, that of class 0 is 0."""
    return np.stack([0 * scores[..., 0], scores[..., 0]], -1) if scores.shape[-1] == 1 else scores


def _lead(scores: Array, predicted: Rows) -> Array:
    """(M, B) by how much the predicted class leads every other one in scores (M, B, C)."""
    own = np.take_along_axis(scores, predicted[:, None, None], axis=2)
    others = scores.copy()
    np.put_along_axis(others, predicted[:, None, None], -np.inf, axis=2)
    return own[:, :, 0] - others.max(2)


def _withstood(test: Array, scores: Array, predicted: Rows, steps: Array, errors: Array) -> Rows:
    """(M,) the largest k up to which no removal of k examples turns the predicted class; errors
    (M, k) in its lead.
    """
    found = np.zeros(len(test), int)
    for rows in _blocks(len(test), scores.shape[1] * len(steps)):
        own = predicted[rows][:, None]
        lead = np.take_along_axis(scores[rows], own, 1) - scores[rows]
        moved = _of_classes(np.einsum("md,iqd->miq", test[rows], steps, optimize=True))
        lost = moved - np.take_along_axis(moved, own[:, None], 2)
        worst = _largest(lost.swapaxes(1, 2), errors.shape[1])  # (m, C, k)
        free = lead[:, :, None] - worst - errors[rows][:, None]
        np.put_along_axis(free, own[:, :, None], np.inf, 1)
        found[rows] = np.cumprod((free > 0).all(1), axis=1).sum(1)
    return found


def _largest(values: Array, most: int) -> Array:
    """(…, k) sums of the 1, 2, …, k = ``most`` largest of (…, n); what is negative counts as 0."""
    top = -np.sort(np.minimum(-values, 0), axis=-1)[..., :most]
    return top.cumsum(-1)


def _solve(factor: Array, vectors: Array) -> Array:
    """K⁻¹ of each of (B, Q, D) vectors."""
    return cho_solve((factor, True), vectors.reshape(len(vectors), -1).T).T.reshape(vectors.shape)


def _blocks(n: int, width: int) -> list[Rows]:
    """The numbers of n rows in parts, where each row takes ``width`` numbers."""
    size = max(1, BLOCK // width)
    return np.split(np.arange(n), range(size, n, size))


def _checked(name: str, features: npt.ArrayLike) -> Array:
    x = np.asarray(features, float)
    if x.ndim != 2 or not x.shape[1]:
        raise ValueError(f"{name} have shape {x.shape}; expected (rows, width)")
    if (bad := ~np.isfinite(x).all(axis=1)).any():
        row = int(bad.argmax())
        raise ValueError(f"{name}: row {row} holds {x[row][~np.isfinite(x[row])][0]}, no number")
    return x


def _one_hot(labels: npt.ArrayLike) -> Array:
    """(N, Q): of two classes whether it is class 1, else a column a class."""
    y = np.asarray(labels)
    if y.ndim != 1 or y.dtype.kind not in "iub":
        raise ValueError(f"labels have shape {y.shape} and type {y.dtype}; expected (N,) integers")
    classes, coded = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"labels are all {classes.tolist()}; a head needs two classes")
    if classes.tolist() != list(range(len(classes))):
        raise ValueError(
            f"labels are {classes[:10].tolist()}; expected 0 to C − 1 with each class there "
            "(numpy.unique(labels, return_inverse=True)[1] makes them so)"
        )
    return coded[:, None].astype(float) if len(classes) == 2 else np.eye(len(classes))[coded]
