"""Maximum-margin classifiers, exact to rounding, and soft-margin ones, of any number of sets.

Sets are stacked: z (..., n, d) holds z_i = y_i · features_i; they are solved one after the other.
No bias; append a constant 1.
"""

import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import SVC

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class MaxMargin(NamedTuple):
    """The smallest w with w·z_i ≥ 1 for all i.

    weights (..., d), dual (..., n) with w = Σ α_i z_i, margin (...,) = 1/‖w‖, and violation (...,):
    the largest 1 − w·z_i, of the size of rounding times B/γ. NaN where a set is not separable (with
    a margin of more than 1e-7 of its radius).
    """

    weights: Array
    dual: Array
    margin: Array
    violation: Array


def max_margin(z: Array, present: Mask | None = None) -> MaxMargin:
    """The hard-margin classifier of each set, by non-negative least squares (Lawson & Hanson).

    Least-distance programming: with E = [Zᵀ; 1ᵀ] and f the last unit vector, minimise ‖Eu − f‖ over
    u ≥ 0; then α = u / (1 − Σu), and the residual vanishes if and only if no w separates the set.

    Parameters
    ----------
    z : (..., n, d)
    present : (..., n), optional; examples that are there (all)

    Raises ``ArithmeticError`` where the least squares do not converge.
    """
    z = np.asarray(z, float)
    shape, (n, d) = z.shape[:-2], z.shape[-2:]
    flat = z.reshape(-1, n, d)
    here = np.broadcast_to(True if present is None else present, z.shape[:-1]).reshape(-1, n)
    weights, dual = np.full((len(flat), d), np.nan), np.full(here.shape, np.nan)
    for s, (one, rows) in enumerate(zip(flat, here, strict=True)):
        if (solution := _hard_margin(one[rows])) is not None:
            dual[s] = 0.0
            weights[s], dual[s, rows] = solution
    reached = np.where(here, np.einsum("snd,sd->sn", flat, weights), np.inf)
    return MaxMargin(
        weights.reshape(*shape, d),
        dual.reshape(*shape, n),
        1 / np.linalg.norm(weights, axis=-1).reshape(shape),
        (1 - reached.min(-1)).reshape(shape),
    )


def _hard_margin(z: Array) -> tuple[Array, Array] | None:
    """Weights (d,) and dual (n,) of one set, or None if it is not separable."""
    n, d = z.shape
    size = np.linalg.norm(z, axis=-1).max()
    last = np.append(np.zeros(d), 1.0)
    try:
        u, residual = nnls(np.vstack([z.T / size, np.ones(n)]), last, maxiter=30 * (n + d))
    except RuntimeError as error:
        raise ArithmeticError(f"{error}: leave out examples that are nearly the same") from error
    if residual <= 1e-7:
        return None
    dual = u / (1 - u.sum()) / size**2
    # Again from the support vectors alone, whose margins are exactly 1: 1 − Σu has lost digits.
    support = z[u > 0]
    weights = np.linalg.lstsq(support, np.ones(len(support)), rcond=None)[0]
    exact = np.linalg.lstsq(support.T, weights, rcond=None)[0]
    if (exact < 0).any():
        return dual @ z, dual
    dual[u > 0] = exact
    return weights, dual


def max_margin_without(z: Array, full: MaxMargin | None = None) -> MaxMargin:
    """The hard-margin classifiers of all leave-one-out sets: weights (..., n, d), dual (..., n, n).

    Only support vectors are left out for real: without any other example nothing changes.
    """
    z = np.asarray(z, float)
    full = max_margin(z) if full is None else full
    n = z.shape[-2]
    # Every leave-one-out set begins as the whole one, in arrays with an axis more.
    without = MaxMargin(
        np.repeat(full.weights[..., None, :], n, -2),
        np.repeat(full.dual[..., None, :], n, -2),
        np.repeat(full.margin[..., None], n, -1),
        np.repeat(full.violation[..., None], n, -1),
    )
    left_out = full.dual > 0
    present = np.arange(n) != np.nonzero(left_out)[-1][:, None]
    sets = np.broadcast_to(z[..., None, :, :], (*left_out.shape, *z.shape[-2:]))
    found = max_margin(sets[left_out], present)
    for values, new in zip(without, found, strict=True):
        values[left_out] = new
    return without


class SoftMargin(NamedTuple):
    """weights (..., d), dual (..., n), gap (...,): primal minus dual; ‖w − w*‖ ≤ √(2 gap / λ).

    The gap is at most 1e-8 of the summed importance and mostly 1e-15.
    """

    weights: Array
    dual: Array
    gap: Array


def soft_margin(
    z: Array, regularization: npt.ArrayLike, importance: Array | None = None
) -> SoftMargin:
    """Minimiser of (λ/2) ‖w‖² + Σ_i c_i max(0, 1 − w·z_i): libsvm, then to the last digit.

    Parameters
    ----------
    z : (..., n, d)
    regularization : λ > 0, broadcast to (...)
    importance : c (..., n) ≥ 0, broadcast; 1/n by default. Zero leaves an example out.

    Raises ``ArithmeticError`` where the gap stays too large.
    """
    z = np.asarray(z, float)
    n, d = z.shape[-2:]
    c = np.full(n, 1 / n) if importance is None else np.asarray(importance, float)
    lam = np.asarray(regularization, float)
    shape = np.broadcast_shapes(z.shape[:-2], c.shape[:-1], lam.shape)
    if not (lam > 0).all() or not (c >= 0).all():
        raise ValueError("regularization must be positive and importance not negative")
    dual, weights, gap = np.zeros((*shape, n)), np.zeros((*shape, d)), np.zeros(shape)
    z, c = np.broadcast_to(z, (*shape, n, d)), np.broadcast_to(c, (*shape, n))
    lam = np.broadcast_to(lam, shape)
    for index in np.ndindex(shape):
        rows = c[index] > 0
        if rows.any():
            one = z[index][rows], float(lam[index]), c[index][rows]
            dual[index][rows], weights[index], gap[index] = _polished(*one, _libsvm(*one))
    if (far := gap > 1e-8 * c.sum(-1)).any():
        raise ArithmeticError(f"{far.sum()} of {far.size} sets did not converge")
    return SoftMargin(weights, dual, np.maximum(gap, 0))


def _libsvm(z: Array, lam: float, c: Array) -> Array:
    """The dual (n,) in [0, c] to about six digits: libsvm keeps its kernel in single precision.

    Mirrored points, −z with the other label, make its intercept vanish and share an example's dual.
    """
    n = len(z)
    machine = SVC(kernel="linear", C=1 / (2 * lam), tol=1e-7, max_iter=100_000)
    with warnings.catch_warnings():
        # Copies that differ by rounding can keep it from ending; what is missing is added below.
        warnings.simplefilter("ignore", ConvergenceWarning)
        machine.fit(np.vstack([z, -z]), np.repeat([1, -1], n), sample_weight=np.tile(c, 2))
    both = np.zeros(2 * n)
    both[machine.support_] = np.abs(machine.dual_coef_[0]) * lam
    both = both[:n] + both[n:]
    return np.where(both > c * (1 - 1e-9), c, both)


def _polished(z: Array, lam: float, c: Array, dual: Array) -> tuple[Array, Array, float]:
    """Dual, weights and gap: Newton steps on what may move inside of the box, up to its sides.

    A projected Newton method (Bertsekas, SIAM J. Control Optim. 20:221-246, 1982), whose gap is
    that of the start or better.
    """
    kernel = z @ z.T / lam
    # Examples that are nearly the same make it singular; this slows such a step down, no more.
    kernel += 1e-12 * np.trace(kernel) * np.eye(len(z))
    best = (dual, dual @ z / lam, np.inf)
    for _ in range(10 * len(z) + 50):
        weights = dual @ z / lam
        slope = 1 - z @ weights
        gap = (c - dual) @ np.maximum(slope, 0) + dual @ np.maximum(-slope, 0)
        if gap < best[2]:
            best = dual, weights, gap
        if best[2] <= 1e-15 * c.sum():
            break
        below, above = dual <= 0, dual >= c
        free = ~(below & (slope <= 0)) & ~(above & (slope >= 0))
        move = np.zeros(len(z))
        while free.any():
            move[:] = 0
            move[free] = np.linalg.solve(kernel[np.ix_(free, free)], slope[free])
            out = (below & (move < 0)) | (above & (move > 0))
            if not out.any():
                break
            free &= ~out
        side = np.where(move < 0, 0.0, c)
        with np.errstate(divide="ignore", invalid="ignore"):
            room = np.where(move == 0, np.inf, (side - dual) / move)
        step = min(1.0, room.min())
        dual = np.where(room <= step, side, dual + step * move)
    return best
