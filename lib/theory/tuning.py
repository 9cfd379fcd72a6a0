"""Head tuning by gradient descent on a linear head, many runs at once as stacked arrays.

A run is a start, a rate, and how much each example counts: the leave-one-out runs of a set, random
heads, and sets of which some rows are removed are all the same call. No loop runs over examples.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class _Loss(NamedTuple):
    """``pull(scale · m, moves)`` puts moves · (−ℓ'(m)) in the place of scaled margins m = w·z."""

    scale: float
    pull: Callable[[Array, Array], None]


def _logistic(margins: Array, moves: Array) -> None:
    """moves / (1 + e^m); e^m may overflow to infinity, where the quotient is 0 as it should be."""
    np.exp(margins, out=margins)
    margins += 1
    np.divide(moves, margins, out=margins)


def _exponential(margins: Array, moves: Array) -> None:
    """moves · e^(−m), of −m."""
    np.exp(margins, out=margins)
    margins *= moves


LOSSES = {"logistic": _Loss(1.0, _logistic), "exponential": _Loss(-1.0, _exponential)}
#: So many margins at once fit into a core's cache, and fewer are not worth a thread.
_BLOCK, _LEAST = 65_536, 8_192


class Tuned(NamedTuple):
    """weights (T, sets, runs, d) after each number of steps; accumulated (T, sets, runs): A_t."""

    weights: Array
    accumulated: Array


def descend(
    z: Array,
    starts: Array,
    rates: Array,
    importance: Array,
    *,
    steps: Sequence[int],
    loss: str,
    regularization: float = 0.0,
    workers: int | None = None,
) -> Tuned:
    """Full-batch gradient descent w ← w + η Σ_i c_i (p_i z_i − λw) with p_i = −ℓ'(w·z_i).

    Parameters
    ----------
    z : (sets, n, d), z_i = y_i · features_i
    starts : (sets, runs, d); rates (η) : (sets, runs)
    importance : c, (runs, n); 1/n everywhere is the mean loss
    steps : numbers of steps after which the heads are kept, increasing, from 0
    regularization : λ; each example's loss has the term λ/2 ‖w‖²
    workers : threads; as many as there are cores by default
    """
    steps = list(steps)
    if loss not in LOSSES:
        raise ValueError(f"loss = {loss!r}: give one of {', '.join(LOSSES)}")
    if not steps or steps != sorted(set(steps)) or steps[0] < 0:
        raise ValueError(f"steps = {steps}: give rising numbers from 0")
    z, starts = np.asarray(z, float), np.asarray(starts, float)
    (sets, n, _), runs = z.shape, starts.shape[1]
    weights = np.empty((len(steps), *starts.shape))
    accumulated = np.empty(weights.shape[:-1])
    # Runs know nothing of each other: they are cut into blocks, enough of them for all threads.
    workers = workers or os.cpu_count() or 1
    block = min(_BLOCK, max(_LEAST, -(-sets * runs * n // workers)))
    width = min(runs, max(1, -(-block // n)))
    depth = max(1, block // (n * width))

    def run(first: int, begin: int) -> None:
        part = (slice(first, first + depth), slice(begin, begin + width))
        moves = rates[part][..., None] * importance[part[1]]
        shrink = 1 - regularization * moves.sum(-1, keepdims=True)
        out = (weights[:, *part], accumulated[:, *part])
        with np.errstate(over="ignore"):
            _run_block(z[part[0]], starts[part], moves, shrink, steps, LOSSES[loss], out)

    corners = [(s, r) for s in range(0, sets, depth) for r in range(0, runs, width)]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(run, *zip(*corners, strict=True)))
    return Tuned(weights, accumulated)


def _run_block(
    z: Array,
    starts: Array,
    moves: Array,
    shrink: Array,
    steps: list[int],
    loss: _Loss,
    out: tuple[Array, Array],
) -> None:
    """The runs of a block into ``out``; ``moves`` (sets, runs, n) = ηc."""
    scaled = np.ascontiguousarray(z.swapaxes(-1, -2)) * loss.scale
    # A column of ones beside z sums η Σ c_i p_i along the way.
    wide = np.concatenate([z, np.ones((*z.shape[:2], 1))], -1)
    margins, added = np.empty(moves.shape), np.empty((*moves.shape[:2], wide.shape[-1]))
    # Weights and the sum of what was added, side by side: one addition a step for both.
    state = np.concatenate([starts, np.zeros((*starts.shape[:2], 1))], -1)
    weights, total = state[..., :-1], state[..., -1]
    free = bool((shrink == 1).all())
    row = 0
    for step in range(steps[-1]):
        if step == steps[row]:
            out[0][row], out[1][row] = weights, total
            row += 1
        np.matmul(weights, scaled, out=margins)
        loss.pull(margins, moves)
        np.matmul(margins, wide, out=added)
        if not free:
            weights *= shrink
        state += added
    out[0][row], out[1][row] = weights, total


def unit_vectors(weights: Array) -> Array:
    """Weights divided by their norm; NaN where that is 0."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return weights / np.linalg.norm(weights, axis=-1, keepdims=True)


def pair_distances(points: Array) -> Array:
    """(..., K (K − 1) / 2) Euclidean distances between all pairs of points (..., K, d)."""
    a, b = np.triu_indices(points.shape[-2], 1)
    return np.linalg.norm(points[..., a, :] - points[..., b, :], axis=-1)
