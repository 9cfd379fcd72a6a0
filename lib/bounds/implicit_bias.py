"""Gradient descent on separable data turns to the maximum-margin direction: limits and rates.

Soudry, Hoffer, Nacson, Gunasekar & Srebro, "The implicit bias of gradient descent on separable
data" (JMLR 19(70):1–57, 2018), read at second hand (grade S). L(w) = Σ_n ℓ(w·z_n) is a **sum**
over separable z_n = y_n x_n, ℓ is β-smooth, positive, strictly decreasing to 0, and −ℓ' has a
tight exponential tail (logistic: β = 1/4). Any start, η < 2/(β σ_max²). Then
w(t) = ŵ log t + ρ(t) with the hard-margin vector ŵ (margin ≥ 1, smallest norm).

Only what has explicit constants is a bound. The ``…_rate`` functions return the shape of an O(·)
for t > e: they may be fitted or compared in slope, never exceeded or kept. ``exponential_…`` are
exact statements or limits.
"""

from typing import Any, NamedTuple

import numpy as np

from lib.bounds.assumptions import require
from lib.bounds.classical import Number, floats


def step_limit(*, smoothness: Number, singular: Number) -> Any:
    """2/(β σ_max²(X)): the rate below which gradient descent on the **summed** loss converges.

    Soudry et al., assumptions of Theorem 3. Grade S. On the mean loss the limit is n times this.
    """
    smoothness, singular = floats(smoothness, singular)
    require((smoothness > 0) & (singular > 0), "β > 0, σ_max > 0", smoothness=smoothness,
            singular=singular)  # fmt: skip
    return 2 / (smoothness * singular**2)


def check_step(*, rate: Number, smoothness: Number, singular: Number) -> None:
    """Raise ``Inapplicable`` unless 0 < η < 2/(β σ_max²)."""
    limit = step_limit(smoothness=smoothness, singular=singular)
    rate = np.asarray(rate, float)
    require((rate > 0) & (rate < limit), "0 < η < 2/(β σ_max²)", rate=rate, limit=limit)


def _late(steps: Number) -> Any:
    steps = np.asarray(steps, float)
    require(steps > np.e, "t > e, where log log t > 0", steps=steps)
    return np.log(steps)


def direction_rate(*, steps: Number, degenerate: bool = False) -> Any:
    """1/log t, the order of ‖w/‖w‖ − ŵ/‖ŵ‖‖ for almost every data set; no constant.

    ``degenerate`` data (support vectors with dual weight zero): log log t/log t. Soudry et al.,
    Theorem 5. Grade S.
    """
    late = _late(steps)
    return np.log(late) / late if degenerate else 1 / late


def cosine_rate(*, steps: Number, degenerate: bool = False) -> Any:
    """The square of ``direction_rate``, the order of 1 − cos(w, ŵ); no constant.

    Soudry et al., Theorem 5. Grade S.
    """
    return direction_rate(steps=steps, degenerate=degenerate) ** 2


def margin_gap_rate(*, steps: Number) -> Any:
    """1/log t, the order of 1/‖ŵ‖ − min_n w·z_n/‖w‖; no constant.

    Soudry et al., Theorem 5. Grade S.
    """
    return 1 / _late(steps)


def loss_rate(*, steps: Number) -> Any:
    """1/t, the order of the summed training loss; no constant.

    Soudry et al., Theorem 5. Grade S.
    """
    steps = np.asarray(steps, float)
    require(steps >= 1, "t ≥ 1", steps=steps)
    return 1 / steps


def validation_loss_rate(*, steps: Number) -> Any:
    """log t, at which the loss of a validation point with ŵ·z < 0 grows at least; no constant.

    Soudry et al., Theorem 5 and its corollary. Grade S.
    """
    return _late(steps)


def exponential_flow(*, time: Number, start: Number) -> Any:
    """w_1(t) = log(t + e^{w_1(0)}) of gradient flow on e^{−w_1}, the single point z = (1, 0).

    Other components stay where they start. Exact. Grade S, and D: it solves w' = e^{−w}.
    """
    time, start = floats(time, start)
    require((time >= 0) & np.isfinite(start), "t ≥ 0, a finite start", time=time, start=start)
    return np.log(time + np.exp(start))


class Residual(NamedTuple):
    """Limit of ρ(t), and the constants that follow: direction error · log t, loss · t."""

    residual: np.ndarray
    direction: float
    loss: float


def exponential_residual(*, support: np.ndarray, dual: np.ndarray, rate: float) -> Residual:
    """lim ρ(t) = w̃ with η e^{−z_n·w̃} = α_n at the support vectors, and the constants of two rates.

    support : (k, d) support vectors that span the data and are linearly independent
    dual : (k,) their dual weights α > 0, so that ŵ = Σ α_n z_n

    Soudry et al., Theorem 3 (limit, grade S). From it (grade D), as t → ∞: direction error · log t
    → ‖(I − uu^T)w̃‖/‖ŵ‖ with u = ŵ/‖ŵ‖, and t · summed loss → Σ α_n/η. Limits, not bounds.
    """
    require(np.asarray(dual) > 0, "every support vector has dual weight > 0", dual=dual)
    rank = np.linalg.matrix_rank(support)
    require(rank == len(support), "support vectors are independent", rank=rank, k=len(support))
    residual = np.linalg.lstsq(support, np.log(rate / dual), rcond=None)[0]
    weights = dual @ support
    norm = np.linalg.norm(weights)
    across = residual - weights * (residual @ weights) / norm**2
    return Residual(residual, float(np.linalg.norm(across) / norm), float(dual.sum() / rate))
