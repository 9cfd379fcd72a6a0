"""Head tuning by gradient descent on a linear head, many runs at once as stacked arrays.

A run is a start, a rate, and how much each example counts: the leave-one-out runs of a set, random
heads, and sets of which some rows are removed are all the same call. No loop runs over examples.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
LOSSES = ("logistic", "exponential")
#: So many margins at once fit into a core's cache.
_BLOCK = 16_384


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

    There are two forms of the same iteration. One moves the margins w·z_i by the Gram matrix,
    which is the cheaper one for features that are wide for the number of examples.
    """
    steps = list(steps)
    if loss not in LOSSES:
        raise ValueError(f"loss = {loss!r}: give one of {', '.join(LOSSES)}")
    if not steps or steps != sorted(set(steps)) or steps[0] < 1:
        raise ValueError(f"steps = {steps}: give increasing numbers from 1")
    z, starts = np.asarray(z, float), np.asarray(starts, float)
    (sets, n, _), runs = z.shape, starts.shape[1]
    weights = np.empty((len(steps), *starts.shape))
    accumulated = np.empty(weights.shape[:-1])
    # Runs know nothing of each other, so they are cut into blocks that fit into the cache.
    width = min(runs, max(1, _BLOCK // n))
    depth = max(1, _BLOCK // (n * width))
    for first in range(0, sets, depth):
        for begin in range(0, runs, width):
            block = (slice(first, first + depth), slice(begin, begin + width))
            moves = rates[block][..., None] * importance[block[1]]
            _descend(
                z[block[0]], starts[block], moves, steps, loss,
                weights[:, *block], accumulated[:, *block],
            )  # fmt: skip
    return Tuned(weights, accumulated)


def _descend(
    z: Array, starts: Array, moves: Array, steps: list[int], loss: str, kept: Array, totals: Array
) -> None:
    """The runs of a block into ``kept`` and ``totals``; ``moves`` (sets, runs, n) = η c."""
    transposed = np.ascontiguousarray(z.swapaxes(-1, -2))
    wide = z.shape[1] < 2 * z.shape[2]
    pull = z @ transposed if wide else None
    weights, margins = starts.copy(), starts @ transposed
    added, gained = np.empty_like(margins), np.zeros_like(margins)
    place = 0
    for step in range(1, steps[-1] + 1):
        _slope(margins, loss, added)
        added *= moves
        gained += added  # how often each example was added: w = w_0 + Σ gained_i z_i
        if wide:
            margins += added @ pull
        else:
            weights += added @ z
            np.matmul(weights, transposed, out=margins)
        if step == steps[place]:
            kept[place] = starts + gained @ z if wide else weights
            totals[place] = gained.sum(-1)
            place += 1


def _slope(margins: Array, loss: str, out: Array) -> None:
    """−ℓ'(m) into ``out``: 1 / (1 + e^m) = ½ − ½ tanh(m/2) of the logistic loss, or e^−m."""
    if loss == "exponential":
        np.exp(np.negative(margins, out=out), out=out)
        return
    np.tanh(np.multiply(margins, 0.5, out=out), out=out)
    out *= -0.5
    out += 0.5


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
