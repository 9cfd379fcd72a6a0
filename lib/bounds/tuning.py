"""Head tuning by gradient descent on a linear head, many runs at once as stacked arrays.

A run is a start, a rate, and how much each example counts: the leave-one-out runs of a set, random
heads, and sets of which some rows are removed are all the same call. No loop runs over examples.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lib.bounds.descent import LOSSES

Array = npt.NDArray[np.float64]


class Tuned(NamedTuple):
    """weights (T, sets, runs, d) after each number of steps; accumulated (T, sets, runs): A_t."""

    weights: Array
    accumulated: Array


def descend(
    z: Array, starts: Array, rates: Array, importance: Array, *, steps: Sequence[int], loss: str
) -> Tuned:
    """Full-batch gradient descent w ← w + η Σ_i c_i p_i z_i with p_i = −ℓ'(w·z_i).

    Parameters
    ----------
    z : (sets, n, d), z_i = y_i · features_i
    starts : (sets, runs, d); rates (η) : (sets, runs)
    importance : c, (runs, n); 1/n everywhere is the mean loss
    steps : numbers of steps after which the heads are kept, increasing, from 1

    Both forms below are the same iteration. The second moves the margins w·z_i by the Gram matrix,
    which is the cheaper one for features that are wide for the number of examples.
    """
    steps = list(steps)
    if loss not in LOSSES:
        raise ValueError(f"loss = {loss!r}: give one of {', '.join(LOSSES)}")
    if not steps or steps != sorted(set(steps)) or steps[0] < 1:
        raise ValueError(f"steps = {steps}: give increasing numbers from 1")
    z = np.asarray(z, float)
    wide = z.shape[1] < 2 * z.shape[2]
    transposed = np.ascontiguousarray(z.swapaxes(-1, -2))
    moves = rates[..., None] * importance
    margins = starts @ transposed
    pull = z @ transposed if wide else None
    gained = np.zeros_like(margins)  # how often each example was added: w = w_0 + Σ gained_i z_i
    kept, totals = [], []
    weights = np.array(starts, float)
    for step in range(1, steps[-1] + 1):
        added = moves * LOSSES[loss](margins)
        gained += added
        if wide:
            margins += added @ pull
        else:
            weights += added @ z
            np.matmul(weights, transposed, out=margins)
        if step == steps[len(kept)]:
            kept.append(starts + gained @ z if wide else weights.copy())
            totals.append(gained.sum(-1))
    return Tuned(np.stack(kept), np.stack(totals))


def smoothness(radius: npt.ArrayLike, loss: str) -> Array:
    """β of the mean loss along the way from 0: B²/4, and 2B² for the exponential loss."""
    return np.asarray(radius, float) ** 2 * (0.25 if loss == "logistic" else 2.0)


def directions(weights: Array) -> Array:
    """Weights divided by their norm; NaN where that is 0."""
    norm = np.linalg.norm(weights, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return weights / norm


def pair_distances(points: Array) -> Array:
    """(..., K (K − 1) / 2) Euclidean distances between all pairs of points (..., K, d)."""
    a, b = np.triu_indices(points.shape[-2], 1)
    return np.linalg.norm(points[..., a, :] - points[..., b, :], axis=-1)
