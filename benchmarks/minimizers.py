"""Minimisers of the regularised logistic loss, every leave-one-out problem at once."""

import numpy as np
from scipy import special

from lib.theory import descent

#: A dozen steps are usual. Far from the minimum the margins change by 1.5 a step, so that margins
#: of hundreds take hundreds; more than this is a fault.
MOST_STEPS = 1000


def minimize_logistic(
    z: np.ndarray,
    *,
    weights: np.ndarray,
    regularization: np.ndarray | float,
    start: np.ndarray | float = 0.0,
    tolerance: float = 1e-12,
) -> np.ndarray:
    """argmin_w Σ_j ω_j log(1 + e^{−w·z_j}) + (λ/2)‖w‖² by Newton's method, batched.

    Parameters
    ----------
    z : (…, n, d) features times labels; ``weights`` ω (…, n); ``regularization`` λ (…)
    start : (…, d) where to begin
    tolerance : largest norm of the gradient that is accepted, times max(1, Σω·max‖z‖)

    Returns
    -------
    (…, d). Raises ``ArithmeticError`` where the gradient does not get that small.
    """
    regularization = np.asarray(regularization, float)
    if not np.all(regularization > 0):
        raise ValueError(f"regularization = {regularization}; expected > 0")
    batch = np.broadcast_shapes(
        z.shape[:-2], weights.shape[:-1], regularization.shape, np.shape(start)[:-1]
    )
    w = np.broadcast_to(start, (*batch, z.shape[-1])).astype(float)
    ridge, eye = regularization[..., None], np.eye(z.shape[-1])
    scale = np.maximum(1, weights.sum(-1) * np.sqrt((z**2).sum(-1)).max(-1))
    for _ in range(MOST_STEPS):
        margins = (z @ w[..., None])[..., 0]
        missing = special.expit(-margins)
        gradient = ridge * w - ((weights * missing)[..., None, :] @ z)[..., 0, :]
        norm = np.sqrt((gradient**2).sum(-1))
        if np.all(norm <= tolerance * scale):
            return w
        bend = weights * missing * (1 - missing)
        hessian = np.swapaxes(z, -1, -2) @ (bend[..., None] * z) + ridge[..., None] * eye
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        # |φ'''| ≤ φ'' for the logistic loss: a step that changes no margin by more than 1 and a
        # half decreases the objective, and a longer one is cut (damped Newton).
        change = np.abs((z @ step[..., None])[..., 0]).max(-1)
        w = w - step / np.maximum(1, change / 1.5)[..., None]
    raise ArithmeticError(f"Newton's method stopped with a gradient of norm {norm.max():.3g}")


def leave_one_out_logistic(
    z: np.ndarray, *, regularization: np.ndarray | float, normalization: str
) -> tuple[np.ndarray, np.ndarray]:
    """The minimiser on all examples (…, d), and without each of them (…, n, d).

    z (…, n, d); the objective is the mean logistic loss + (λ/2)‖w‖², λ (…) kept when an example
    is left out.
    """
    n = z.shape[-2]
    full = minimize_logistic(z, weights=np.full(n, 1 / n), regularization=regularization)
    without = minimize_logistic(
        z[..., None, :, :],
        weights=descent.shares(n, normalization)[1:],
        regularization=np.asarray(regularization, float)[..., None],
        start=full[..., None, :],
    )
    return full, without


def logistic_minimizers(
    z: np.ndarray, regularization: float, normalization: str = "N1"
) -> tuple[np.ndarray, np.ndarray]:
    """Minimisers of the ℓ2-logistic objective, whole and leave-one-out, and their curvatures.

    Each example's loss is ln(1 + e^(−w·z)) + λ/2 ‖w‖², so that under N2 the regulariser shrinks
    with the set. Returns (weights (problems, n + 1, d), Hessian eigenvalues (problems, n + 1, d),
    ascending).
    """
    z = np.asarray(z, float)
    share = descent.shares(z.shape[1], normalization)
    strength = regularization * share.sum(-1)
    w = minimize_logistic(z[:, None], weights=share, regularization=strength)
    p = special.expit(-(w @ z.swapaxes(-1, -2)))
    hessian = np.einsum("prn,pni,pnj->prij", share * p * (1 - p), z, z)
    hessian = hessian + strength[:, None, None] * np.eye(z.shape[-1])
    return w, np.linalg.eigvalsh(hessian)
