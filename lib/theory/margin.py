"""Maximum-margin heads, exact to rounding, and soft-margin ones, with and without each example.

Sets are stacked: z (..., n, d) holds z_i = y_i · features_i; they are solved one after the other.
No bias; append a constant 1.
"""

import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

Array = npt.NDArray[np.float64]


class MaxMargin(NamedTuple):
    """The smallest w with w·z_i ≥ 1 for all i.

    weights (..., d), dual (..., n) with w = Σ α_i z_i, and margin (...,) = 1/‖w‖. NaN where a set
    is not separable (with a margin of more than 1e-7 of its radius).
    """

    weights: Array
    dual: Array
    margin: Array


def max_margin(z: npt.ArrayLike) -> MaxMargin:
    """The hard-margin head of each set, by non-negative least squares (Lawson & Hanson 1974, ch.
    23): z (..., n, d).

    Raises ``ArithmeticError`` where the least squares do not converge.
    """
    weights, dual = np.vectorize(_hard_margin, signature="(n,d)->(d),(n)")(np.asarray(z, float))
    return MaxMargin(weights, dual, 1 / np.linalg.norm(weights, axis=-1))


def max_margin_without(z: npt.ArrayLike, full: MaxMargin | None = None) -> MaxMargin:
    """The hard-margin heads of all leave-one-out sets: weights (..., n, d), dual (..., n, n).

    ``full`` : ``max_margin(z)``, where it is known. Without an example that is no support vector
    nothing changes: such sets are not solved again.
    """
    z = np.asarray(z, float)
    full = max_margin(z) if full is None else full
    weights, dual = (np.repeat(x[..., None, :], z.shape[-2], -2) for x in (full.weights, full.dual))
    for *index, i in np.argwhere(full.dual > 0):
        at = (*index, i)
        kept = np.arange(z.shape[-2]) != i
        weights[at], dual[at][kept] = _hard_margin(z[*index, kept])
        dual[at][i] = 0
    return MaxMargin(weights, dual, 1 / np.linalg.norm(weights, axis=-1))


def _hard_margin(z: Array) -> tuple[Array, Array]:
    """Weights (d,) and dual (n,) of one set, NaN if it is not separable.

    Least-distance programming: with E = [Zᵀ; 1ᵀ] and f the last unit vector, minimise ‖Eu − f‖ over
    u ≥ 0; then α = u / (1 − Σu), and the residual vanishes if and only if no w separates the set.
    """
    n, d = z.shape
    size = np.linalg.norm(z, axis=-1).max()
    try:
        system = np.vstack([z.T / size, np.ones(n)])
        u, residual = nnls(system, np.eye(d + 1)[-1], maxiter=30 * (n + d))
    except RuntimeError as error:
        raise ArithmeticError(f"{error}: leave out examples that are nearly the same") from error
    if residual <= 1e-7:
        return np.full(d, np.nan), np.full(n, np.nan)
    dual = u / (1 - u.sum()) / size**2
    # Again from the support vectors alone, whose margins are exactly 1: 1 − Σu has lost digits.
    support = z[u > 0]
    weights = np.linalg.lstsq(support, np.ones(len(support)), rcond=None)[0]
    exact = np.linalg.lstsq(support.T, weights, rcond=None)[0]
    if (exact < 0).any():
        return dual @ z, dual
    dual[u > 0] = exact
    return weights, dual


class SoftMargin(NamedTuple):
    """weights (..., d), dual (..., n), gap (...,): primal minus dual; ‖w − w*‖ ≤ √(2 gap / λ).

    The gap is at most 1e-8 of the summed importance and mostly 1e-15.
    """

    weights: Array
    dual: Array
    gap: Array


def soft_margin(
    z: npt.ArrayLike, regularization: npt.ArrayLike, importance: npt.ArrayLike | None = None
) -> SoftMargin:
    """Minimiser of (λ/2) ‖w‖² + Σ_i c_i max(0, 1 − w·z_i): liblinear, then to the last digit.

    Parameters
    ----------
    z : (..., n, d)
    regularization : λ > 0, broadcast to (...)
    importance : c (..., n) ≥ 0, broadcast; 1/n by default. Zero leaves an example out.

    Raises ``ArithmeticError`` where the gap stays too large.
    """
    z, lam = np.asarray(z, float), np.asarray(regularization, float)
    n = z.shape[-2]
    c = np.full(n, 1 / n) if importance is None else np.asarray(importance, float)
    if not (lam > 0).all() or not (c >= 0).all():
        raise ValueError("regularization must be positive and importance not negative")
    solve = np.vectorize(_soft_margin, signature="(n,d),(),(n)->(d),(n),()")
    weights, dual, gap = solve(z, lam, c)
    if (far := gap > 1e-8 * c.sum(-1)).any():
        raise ArithmeticError(f"{far.sum()} of {far.size} sets did not converge")
    return SoftMargin(weights, dual, np.maximum(gap, 0))


def _soft_margin(z: Array, lam: float, c: Array) -> tuple[Array, Array, float]:
    """Weights, dual and gap of one set: Newton steps on the dual, inside of its box, from where
    liblinear ends (Bertsekas, SIAM J. Control Optim. 20:221-246, 1982).
    """
    if not c.any():
        return np.zeros(z.shape[1]), c, 0.0
    machine = LinearSVC(loss="hinge", fit_intercept=False, C=1 / lam, tol=1e-9, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # A classifier wants two classes: −z with the other label is the same example.
        machine.fit(np.vstack([z, -z]), np.repeat([1, -1], len(z)), np.tile(c / 2, 2))
    slope = 1 - z @ machine.coef_[0]
    dual = c * np.where(np.abs(slope) < 1e-5, 0.5, slope > 0)
    kernel = z @ z.T / lam
    # Examples that are nearly the same make it singular; this slows such a step down, no more.
    kernel += 1e-12 * np.trace(kernel) * np.eye(len(z))
    best = np.zeros(0), dual, np.inf
    for _ in range(10 * len(z) + 50):
        weights = dual @ z / lam
        slope = 1 - z @ weights
        gap = (c - dual) @ np.maximum(slope, 0) + dual @ np.maximum(-slope, 0)
        if gap < best[2]:
            best = weights, dual, gap
        if gap <= 1e-15 * c.sum():
            break
        below, above = dual <= 0, dual >= c
        free = ~(below & (slope <= 0)) & ~(above & (slope >= 0))
        out = free
        while out.any():  # what would leave the box at once stays where it is
            move = np.zeros(len(z))
            move[free] = np.linalg.solve(kernel[np.ix_(free, free)], slope[free])
            out = (below & (move < 0)) | (above & (move > 0))
            free = free & ~out
        side = np.where(move < 0, 0.0, c)
        with np.errstate(divide="ignore", invalid="ignore"):
            room = np.where(move == 0, np.inf, (side - dual) / move)
        step = min(1.0, room.min())
        dual = np.where(room <= step, side, dual + step * move)
    return best
