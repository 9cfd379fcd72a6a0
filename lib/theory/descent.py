"""Gradient descent of linear heads, all runs together as stacked arrays: with and without each
example, from several starts, at several rates. No step loops over examples.

Of leave-one-out runs, run 0 is the one on S and run 1 + i the one on S^i.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lib.theory.assumptions import constant_of

Array = npt.NDArray[np.float64]
#: −ℓ'(m) of margins m = w·z, by loss ℓ.
SLOPES = {"logistic": lambda m: 1 / (1 + np.exp(m)), "exponential": lambda m: np.exp(-m)}


def shares(n: int, normalization: str, left_out: npt.ArrayLike | None = None) -> Array:
    """Weight of each example in each objective, (R + 1, n): row 0 is S, row 1 + r leaves out the
    examples ``left_out`` (R, K); by default each one in turn.

    Raises ``ValueError`` for an unknown normalisation.
    """
    left_out = np.arange(n)[:, None] if left_out is None else np.asarray(left_out, int)
    kept = np.ones((len(left_out) + 1, n))
    np.put_along_axis(kept[1:], left_out, 0.0, 1)
    return kept / (kept.sum(1, keepdims=True) if constant_of(normalization) == 2 else n)


class HeadRuns(NamedTuple):
    """weights (steps, sets, rates, runs, d) and accumulated (steps, sets, rates, runs):
    A_t = η Σ_{s<t} Σ_i c_i · (−ℓ'(w_s·z_i)), the loss left along the way (H15)."""

    weights: Array
    accumulated: Array


def head_descent(
    z: Array,
    rates: npt.ArrayLike,
    steps: Sequence[int],
    *,
    weights: Array | None = None,
    starts: npt.ArrayLike = 0.0,
    loss: str = "logistic",
    regularization: float = 0.0,
) -> HeadRuns:
    """Full-batch gradient descent of linear heads, w ← w + η Σ_i c_i (−ℓ'(w·z_i) z_i − λw).

    Parameters
    ----------
    z : (sets, n, d), z_i = y_i · features_i
    rates : η, broadcast to (sets, rates)
    steps : numbers of steps after which heads are kept, rising, from 0
    weights : c (runs, n), the weight of each example in each run; by default the leave-one-out runs
        of N1, ``shares(n, "N1")``
    starts : w_0, broadcast to (sets, rates, runs, d)
    loss : ``logistic`` or ``exponential``
    regularization : λ; each example's loss has the term λ/2 ‖w‖²
    """
    z, kept = np.asarray(z, float), list(steps)
    if kept != sorted(set(kept)) or not kept or kept[0] < 0:
        raise ValueError(f"steps = {kept}: give rising numbers from 0")
    if loss not in SLOPES:
        raise ValueError(f"loss = {loss!r}: give one of {', '.join(SLOPES)}")
    sets, n, d = z.shape
    weights = shares(n, "N1") if weights is None else np.asarray(weights, float)
    rates = np.broadcast_to(rates, (sets, np.shape(np.atleast_1d(rates))[-1]))
    shape = (*rates.shape, len(weights))
    # Rates and runs as one axis: fewer, larger products.
    moves = (rates[..., None, None] * weights).reshape(sets, -1, n)
    w = np.broadcast_to(starts, (*shape, d)).reshape(sets, -1, d)
    total, shrink = np.zeros(w.shape[:-1]), 1 - regularization * moves.sum(-1, keepdims=True)
    transposed, heads, left = np.ascontiguousarray(z.swapaxes(-1, -2)), [], []
    with np.errstate(over="ignore"):
        for step in range(kept[-1] + 1):
            if step in kept:
                heads.append(w.reshape(*shape, d))
                left.append(total.reshape(shape))
            pulls = moves * SLOPES[loss](w @ transposed)
            total = total + pulls.sum(-1)
            w = shrink * w + pulls @ z
    return HeadRuns(np.stack(heads), np.stack(left))


def unit_vectors(weights: Array) -> Array:
    """Weights divided by their norm; NaN where that is 0."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return weights / np.linalg.norm(weights, axis=-1, keepdims=True)


class Difference(NamedTuple):
    """‖w(S) − w(S^i)‖ and ‖w(S)/‖w(S)‖ − w(S^i)/‖w(S^i)‖‖, each (..., n)."""

    parameter: Array
    direction: Array


def difference(weights: Array) -> Difference:
    """Of weights (..., n + 1, d), run 0 against the others. NaN directions where a weight is 0."""
    return Difference(
        *(
            np.linalg.norm(vectors[..., 1:, :] - vectors[..., :1, :], axis=-1)
            for vectors in (weights, unit_vectors(weights))
        )
    )
