"""Leave-one-out gradient descent: the run on the whole set and the n runs without one example,
times learning rates, times starts, advance together as one array.

Arrays are ordered (problems, tracks, rows, …). A track is a learning rate, a start, or both; row 0
is the run on S and row 1 + i the run on S^i. No step loops over examples.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lib.theory import tuning
from lib.theory.assumptions import constant_of
from lib.theory.problems import Quadratics
from lib.theory.quadratic import Constants

Array = npt.NDArray[np.float64]


def shares(n: int, normalization: str, left_out: npt.ArrayLike | None = None) -> Array:
    """Weight of each example in each objective, (R + 1, n): row 0 is S, row 1 + r leaves out the
    examples ``left_out`` (R, K); by default each one in turn.

    Raises ``ValueError`` for an unknown normalisation.
    """
    left_out = np.arange(n)[:, None] if left_out is None else np.asarray(left_out, int)
    kept = np.ones((len(left_out) + 1, n))
    np.put_along_axis(kept[1:], left_out, 0.0, 1)
    return kept / (kept.sum(1, keepdims=True) if constant_of(normalization) == 2 else n)


class Difference(NamedTuple):
    """‖w(S) − w(S^i)‖ and ‖w(S)/‖w(S)‖ − w(S^i)/‖w(S^i)‖‖, each (..., n)."""

    parameter: Array
    direction: Array


def difference(weights: Array) -> Difference:
    """Of weights (..., n + 1, d), row 0 against the others. NaN directions where a weight is 0."""
    return Difference(
        *(
            np.linalg.norm(vectors[..., 1:, :] - vectors[..., :1, :], axis=-1)
            for vectors in (weights, tuning.unit_vectors(weights))
        )
    )


class HeadRuns(NamedTuple):
    """weights (times, problems, tracks, n + 1, d) and accumulated (times, problems, tracks, n + 1):
    A_t = η Σ_{s<t} Σ_i share_i · (−ℓ'(w_s·z_i)), the loss left along the way (H15)."""

    weights: Array
    accumulated: Array


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
    times : steps after which weights are kept, rising, from 0
    loss : ``logistic`` or ``exponential``
    start : w_0, broadcast to (problems, tracks, d); the same for S and all S^i
    regularization : λ; each example's loss has the term λ/2 ‖w‖²
    rows : ``all``, or ``whole`` for the run on S only
    workers : threads; as many as there are cores by default
    """
    z, rate, start = np.asarray(z, float), np.asarray(rate, float), np.asarray(start, float)
    problems, n, d = z.shape
    share = shares(n, normalization, None if rows == "all" else np.empty((0, 1)))
    tracks = np.broadcast_shapes(np.atleast_1d(rate).shape[-1:], start.shape[-2:-1], (1,))[0]
    shape = (problems, tracks, len(share))
    first = start if start.ndim < 2 else start[..., None, :]
    first = np.broadcast_to(first, (*shape, d)).reshape(problems, -1, d)
    rates = np.broadcast_to(np.broadcast_to(rate, shape[:2])[..., None], shape)
    weights, accumulated = tuning.descend(
        z,
        first,
        rates.reshape(problems, -1),
        np.tile(share, (tracks, 1)),
        steps=times,
        loss=loss,
        regularization=regularization,
        workers=workers,
    )
    return HeadRuns(weights.reshape(-1, *shape, d), accumulated.reshape(-1, *shape))


class QuadraticRuns(NamedTuple):
    """weights (times, problems, tracks, n + 1, d); lipschitz (times, problems, tracks): the largest
    gradient of any example at any iterate of any leave-one-out run before that time."""

    weights: Array
    lipschitz: Array


def quadratic_descent(
    problem: Quadratics, rate: npt.ArrayLike, times: Sequence[int], normalization: str = "N1"
) -> QuadraticRuns:
    """Gradient descent on quadratic problems; rate (problems, tracks) or (tracks,).

    ``times``: steps after which weights are kept, rising, from 0.
    """
    if list(times) != sorted(set(times)):
        raise ValueError(f"times = {times!r}: give rising step counts")
    hessians, centres, start = problem
    problems, n, d, _ = hessians.shape
    # Seen from the start, so that a far origin costs no digits.
    centres = centres - start[:, None]
    share = shares(n, normalization)
    rate = np.atleast_1d(np.asarray(rate, float))
    tracks = rate.shape[-1]
    step = np.broadcast_to(rate, (problems, tracks))[..., None, None]
    w = np.zeros((problems, tracks, n + 1, d))
    bottoms = np.einsum("pnij,pnj->pni", hessians, centres)
    mean = np.einsum("rn,pnij->prij", share, hessians)[:, None]
    pull = np.einsum("rn,pni->pri", share, bottoms)[:, None]
    # ‖H w − b‖² of every example is a quadratic form in w: one product for all runs and examples.
    forms = np.concatenate(
        [
            (hessians @ hessians).reshape(problems, n, d * d),
            -2 * np.einsum("pnij,pnj->pni", hessians, bottoms),
            (bottoms**2).sum(-1, keepdims=True),
        ],
        -1,
    ).swapaxes(-1, -2)
    largest = np.zeros((problems, tracks))
    weights, lipschitz = [], []
    for s in range(times[-1] + 1):
        if s in times:
            weights.append(w + start[:, None, None])
            lipschitz.append(np.sqrt(largest))
        left_out = w[:, :, 1:].reshape(problems, -1, d)
        squares = left_out[..., :, None] * left_out[..., None, :]
        ones = np.ones((*left_out.shape[:2], 1))
        terms = np.concatenate([squares.reshape(*left_out.shape[:2], d * d), left_out, ones], -1)
        norms = (terms @ forms).reshape(problems, tracks, -1)
        largest = np.maximum(largest, norms.max(-1))
        w -= step * ((mean @ w[..., None])[..., 0] - pull)
    return QuadraticRuns(np.stack(weights), np.stack(lipschitz))


def constants(problem: Quadratics, normalization: str = "N1") -> Constants:
    """The constants of quadratic problems, (problems, 1), or (problems, n) where they differ over
    i; of several minimisers, the one nearest to zero.
    """
    hessians, centres, start = problem
    share = shares(hessians.shape[1], normalization)
    mean = np.einsum("rn,pnij->prij", share, hessians)
    spectrum = np.linalg.eigvalsh(mean)
    pulled = np.einsum("rn,pnij,pnj->pri", share, hessians, centres)
    best = (np.linalg.pinv(mean, 1e-12, hermitian=True) @ pulled[..., None])[..., 0]
    held_out = np.einsum("pnij,pnj->pni", hessians, best[:, 1:] - centres)
    away = np.linalg.norm(start[:, None] - best, axis=-1)
    return Constants(
        curvature=spectrum[:, :1, 0],
        smoothness=spectrum[..., -1].max(-1, keepdims=True),
        curvature_without=spectrum[:, 1:, 0],
        sharpness=np.linalg.eigvalsh(hessians)[..., -1],
        sharpness_without=spectrum[:, 1:, -1],
        gradient=np.linalg.norm(held_out, axis=-1),
        distance=away[:, :1],
        distance_without=away[:, 1:],
        shift=np.linalg.norm(best[:, 1:] - best[:, :1], axis=-1),
    )
