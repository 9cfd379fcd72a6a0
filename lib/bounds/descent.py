"""Leave-one-out gradient descent: the run on the whole set and the n runs without one example,
times learning rates, times starts, advance together as one array.

Arrays are ordered (problems, tracks, rows, …). A track is a learning rate, a start, or both; row 0
is the run on S and row 1 + i the run on S^i. No step loops over examples.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from lib.bounds.assumptions import constant_of
from lib.bounds.problems import Quadratics

Array = npt.NDArray[np.float64]


def shares(n: int, normalization: str, *, rows: str = "all") -> Array:
    """Weight of each example in each objective, (n + 1, n): row 0 is S, row 1 + i is S^i.

    ``rows="whole"`` gives row 0 only. Raises ``ValueError`` for an unknown normalisation.
    """
    left = n - 1 if constant_of(normalization) == 2 else n
    without = (1 - np.eye(n)) / left
    return np.concatenate([np.full((1, n), 1 / n), without])[: 1 if rows == "whole" else None]


class Difference(NamedTuple):
    """‖w(S) − w(S^i)‖ and ‖w(S)/‖w(S)‖ − w(S^i)/‖w(S^i)‖‖, each (..., n)."""

    parameter: Array
    direction: Array


def difference(weights: Array) -> Difference:
    """Of weights (..., n + 1, d), row 0 against the others. NaN directions where a weight is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = weights / np.linalg.norm(weights, axis=-1, keepdims=True)
    return Difference(
        np.linalg.norm(weights[..., 1:, :] - weights[..., :1, :], axis=-1),
        np.linalg.norm(unit[..., 1:, :] - unit[..., :1, :], axis=-1),
    )


class HeadRuns(NamedTuple):
    """weights (times, problems, tracks, n + 1, d) and accumulated (times, problems, tracks, n + 1):
    A_t = η Σ_{s<t} Σ_i share_i · (−ℓ'(w_s·z_i)), the loss left along the way (H15)."""

    weights: Array
    accumulated: Array


class _Loss(NamedTuple):
    """−ℓ'(m) = offset + factor · function(scale · m): the cheapest way that numpy has."""

    scale: float
    function: Callable[..., Array]
    offset: float
    factor: float


#: 1 / (1 + e^m) = ½ − ½ tanh(m / 2), and e^(−m), of the margin m = w·z.
LOSSES = {
    "logistic": _Loss(0.5, np.tanh, 0.5, -0.5),
    "exponential": _Loss(-1.0, np.exp, 0.0, 1.0),
}
#: So many margins at once are worth a thread of their own, and still fit into its cache.
_BLOCK = 16_384


def head_descent(
    z: Array,
    rate: npt.ArrayLike,
    times: Sequence[int],
    *,
    loss: str = "logistic",
    normalization: str = "N1",
    start: npt.ArrayLike = 0.0,
    regularization: float = 0.0,
    rows: str = "all",
    workers: int | None = None,
) -> HeadRuns:
    """Gradient descent of linear heads on z (problems, n, d), all leave-one-out runs together.

    Parameters
    ----------
    rate : η, broadcast to (problems, tracks); a number makes one track
    times : steps after which weights are kept, in rising order
    loss : ``logistic`` or ``exponential``
    start : w_0, broadcast to (problems, tracks, d); the same for S and all S^i
    regularization : λ; each example's loss has the term λ/2 ‖w‖²
    rows : ``all``, or ``whole`` for the run on S only
    workers : threads; as many as there are cores by default
    """
    z, rate, start = np.asarray(z, float), np.asarray(rate, float), np.asarray(start, float)
    if loss not in LOSSES:
        raise ValueError(f"loss = {loss!r}: give one of {list(LOSSES)}")
    if list(times) != sorted(set(times)) or times[0] < 0:
        raise ValueError(f"times = {times!r}: give rising step counts")
    problems, n, d = z.shape
    left = np.full(n + 1, n - 1.0 if constant_of(normalization) == 2 else n)
    left[0] = n
    count = 1 if rows == "whole" else n + 1
    tracks = np.broadcast_shapes(np.atleast_1d(rate).shape[-1:], start.shape[-2:-1], (1,))[0]
    step = np.broadcast_to(rate, (problems, tracks))[..., None, None]
    first = start if start.ndim < 2 else start[..., None, :]
    first = np.broadcast_to(first, (problems, tracks, 1, d))
    weights = np.empty((len(times), problems, tracks, count, d))
    accumulated = np.empty(weights.shape[:-1])
    pieces = -(-problems * tracks * count * n // _BLOCK)
    # Runs know nothing of each other: cut them by problem, or a single problem by rows.
    if problems > 1:
        blocks = [(p, np.arange(count)) for p in np.array_split(np.arange(problems), pieces)]
    else:
        blocks = [(np.arange(1), r) for r in np.array_split(np.arange(count), min(pieces, count))]

    def run(block: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]) -> None:
        p, r = (slice(index[0], index[-1] + 1) for index in block if len(index))
        out = (weights[:, p, :, r], accumulated[:, p, :, r])
        _descend(z[p], step[p], first[p], block[1], left, times, LOSSES[loss], regularization, out)

    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        list(pool.map(run, [block for block in blocks if len(block[0]) and len(block[1])]))
    return HeadRuns(weights, accumulated)


def _descend(
    z: Array,
    step: Array,
    start: Array,
    rows: npt.NDArray[np.intp],
    left: Array,
    times: Sequence[int],
    loss: _Loss,
    regularization: float,
    out: tuple[Array, Array],
) -> None:
    """The runs of some rows from the first step to the last, into ``out``."""
    problems, n, d = z.shape
    tracks = step.shape[1]
    w = np.repeat(start, len(rows), 2)
    total = np.zeros(w.shape[:-1])
    scaled = np.ascontiguousarray(z.swapaxes(-1, -2)) * loss.scale
    # A column of ones beside z sums −ℓ' along the way.
    wide = np.concatenate([z, np.ones((problems, n, 1))], -1)
    offset = loss.offset * wide.sum(1)[:, None]
    margins = np.empty((problems, tracks * len(rows), n))
    without = np.flatnonzero(rows)
    example = rows[without] - 1
    examples = wide[:, None, example]
    share = np.ones(len(rows)) / left[rows]
    size = np.where(rows == 0, n, n - 1) * share
    held = 1 - step * regularization * size[:, None]
    share = (step * share[:, None]).reshape(problems, tracks, len(rows), 1)
    per_row = margins.reshape(problems, tracks, len(rows), n)
    kept = 0
    for s in range(times[-1] + 1):
        if s == times[kept]:
            out[0][kept], out[1][kept] = w, total
            kept += 1
        np.matmul(w.reshape(problems, -1, d), scaled, out=margins)
        loss.function(margins, out=margins)
        pull = ((margins @ wide) * loss.factor + offset).reshape(problems, tracks, len(rows), d + 1)
        own = loss.offset + loss.factor * per_row[:, :, without, example]
        pull[:, :, without] -= own[..., None] * examples
        pull *= share
        if regularization:
            w *= held
        w += pull[..., :d]
        total += pull[..., d]


class QuadraticRuns(NamedTuple):
    """weights (times, problems, tracks, n + 1, d); lipschitz (times, problems, tracks): the largest
    gradient of any example at any iterate of any leave-one-out run before that time."""

    weights: Array
    lipschitz: Array


def quadratic_descent(
    problem: Quadratics, rate: npt.ArrayLike, times: Sequence[int], normalization: str = "N1"
) -> QuadraticRuns:
    """Gradient descent on quadratic problems; rate (problems, tracks) or (tracks,)."""
    hessians, centres, start = problem
    problems, n, d, _ = hessians.shape
    share = shares(n, normalization)
    rate = np.atleast_1d(np.asarray(rate, float))
    tracks = rate.shape[-1]
    step = np.broadcast_to(rate, (problems, tracks))[..., None, None]
    w = np.broadcast_to(start[:, None, None], (problems, tracks, n + 1, d)).copy()
    side_by_side = hessians.transpose(0, 3, 1, 2).reshape(problems, d, n * d)
    pulled = np.einsum("pnij,pnj->pni", hessians, centres)[:, None, None]
    largest = np.zeros((problems, tracks))
    weights, lipschitz = [], []
    for s in range(times[-1] + 1):
        if s in times:
            weights.append(w.copy())
            lipschitz.append(largest.copy())
        each = w.reshape(problems, -1, d) @ side_by_side
        each = each.reshape(problems, tracks, n + 1, n, d) - pulled
        norms = np.sqrt((each[:, :, 1:] ** 2).sum(-1))
        largest = np.maximum(largest, norms.max((-1, -2)))
        w -= step * np.einsum("rn,ptrnd->ptrd", share, each)
    return QuadraticRuns(np.stack(weights), np.stack(lipschitz))


class Constants(NamedTuple):
    """What the bounds need to know about a quadratic problem, (problems,) or (problems, n) over i.

    curvature μ, smoothness β (of all objectives), curvature_without μ_i, sharpness b_i of example
    i, sharpness_without b_o of F_{S^i}, gradient G_i*, distance ‖w_0 − w*_S‖, distance_without
    ‖w_0 − w*_i‖, and shift ‖w*_S − w*_i‖.
    """

    curvature: Array
    smoothness: Array
    curvature_without: Array
    sharpness: Array
    sharpness_without: Array
    gradient: Array
    distance: Array
    distance_without: Array
    shift: Array


def constants(problem: Quadratics, normalization: str = "N1") -> Constants:
    """The constants of quadratic problems; of several minimisers, the one nearest to zero."""
    hessians, centres, start = problem
    n = hessians.shape[1]
    share = shares(n, normalization)
    mean = np.einsum("rn,pnij->prij", share, hessians)
    spectrum = np.linalg.eigvalsh(mean)
    pulled = np.einsum("rn,pnij,pnj->pri", share, hessians, centres)
    best = (np.linalg.pinv(mean, 1e-12, hermitian=True) @ pulled[..., None])[..., 0]
    held_out = np.einsum("pnij,pnj->pni", hessians, best[:, 1:] - centres)
    away = np.linalg.norm(start[:, None] - best, axis=-1)
    return Constants(
        curvature=spectrum[:, 0, 0],
        smoothness=spectrum[..., -1].max(-1),
        curvature_without=spectrum[:, 1:, 0],
        sharpness=np.linalg.eigvalsh(hessians)[..., -1],
        sharpness_without=spectrum[:, 1:, -1],
        gradient=np.linalg.norm(held_out, axis=-1),
        distance=away[:, 0],
        distance_without=away[:, 1:],
        shift=np.linalg.norm(best[:, 1:] - best[:, :1], axis=-1),
    )


def logistic_minimizers(
    z: Array, regularization: npt.ArrayLike, normalization: str = "N1"
) -> tuple[Array, Array]:
    """Minimisers of the ℓ2-logistic objective, whole and leave-one-out, by Newton's method.

    Each example's loss is ln(1 + e^(−w·z)) + λ/2 ‖w‖², so that under N2 the regulariser shrinks
    with the set. Returns (weights (problems, n + 1, d), Hessian eigenvalues (problems, n + 1, d),
    ascending). Raises ``ArithmeticError`` where 50 steps do not reach a gradient of 1e-12.
    """
    z = np.asarray(z, float)
    problems, n, d = z.shape
    share = shares(n, normalization)
    lam = np.broadcast_to(np.asarray(regularization, float), (problems,))[:, None, None]
    mass = share.sum(-1)[:, None]
    w = np.zeros((problems, n + 1, d))
    for _ in range(50):
        p = expit(-(w @ z.swapaxes(-1, -2)))
        gradient = lam * mass * w - (share * p) @ z
        hessian = np.einsum("prn,pni,pnj->prij", share * p * (1 - p), z, z)
        hessian = hessian + (lam * mass)[..., None] * np.eye(d)
        if np.abs(gradient).max() < 1e-12:
            return w, np.linalg.eigvalsh(hessian)
        move = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        # Away from the solution a full Newton step can overshoot; one length unit is safe.
        w = w - move / np.maximum(1, np.linalg.norm(move, axis=-1, keepdims=True) / 2)
    raise ArithmeticError("Newton's method did not converge: is the regularisation very small?")
