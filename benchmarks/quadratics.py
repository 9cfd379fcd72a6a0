"""Random quadratic problems, their constants, and leave-one-out gradient descent on them.

Arrays are ordered (steps, problems, rates, runs, …); run 0 is the one on S, run 1 + i on S^i.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lib.theory import descent
from lib.theory.problems import directions
from lib.theory.quadratic import Constants

Array = npt.NDArray[np.float64]


class Quadratics(NamedTuple):
    """Problems whose example j has the loss f_j(w) = ½ (w − a_j)ᵀ H_j (w − a_j), all convex.

    hessians (problems, n, d, d), centres (problems, n, d), start (problems, d): w_0.
    """

    hessians: Array
    centres: Array
    start: Array


def draw(
    rng: np.random.Generator,
    problems: int,
    n: int,
    d: int,
    smallest: float = 0.0,
    largest: float = 2.0,
    *,
    shared: bool = False,
    distance: float = 1.0,
) -> Quadratics:
    """Quadratic problems with Hessian eigenvalues drawn from [``smallest``, ``largest``].

    Each example has its own eigenvectors and eigenvalues. ``shared``: those of a problem have all
    the same eigenvectors, and ``smallest`` along the first, so that it is the curvature of their
    mean as well: badly conditioned problems. The start is ``distance`` away from the mean of the
    centres, in a random direction.
    """
    basis = np.linalg.qr(rng.normal(size=(problems, 1 if shared else n, d, d)))[0]
    values = rng.uniform(smallest, largest, (problems, n, d))
    if shared:
        values[..., 0] = smallest
    hessians = (basis * values[..., None, :]) @ basis.swapaxes(-1, -2)
    centres = rng.normal(size=(problems, n, d))
    start = centres.mean(1) + distance * directions(rng, problems, d)
    return Quadratics(hessians, centres, start)


class Runs(NamedTuple):
    """weights (steps, problems, rates, n + 1, d); lipschitz (steps, problems, rates): the largest
    gradient of any example at any iterate of any leave-one-out run before that step."""

    weights: Array
    lipschitz: Array


def descend(
    problem: Quadratics, rates: npt.ArrayLike, steps: Sequence[int], normalization: str = "N1"
) -> Runs:
    """Leave-one-out gradient descent; rates broadcast to (problems, rates); ``steps``: after which
    weights are kept, rising, from 0.
    """
    hessians, centres, start = problem
    share = descent.shares(hessians.shape[1], normalization)
    rates = np.broadcast_to(rates, (len(start), np.shape(np.atleast_1d(rates))[-1]))
    # Seen from the start, so that a far origin costs no digits.
    pulls = np.einsum("pnij,pnj->pni", hessians, centres - start[:, None])
    stacked = hessians.transpose(0, 3, 1, 2).reshape(len(start), start.shape[-1], -1)
    w = np.zeros((*rates.shape, len(share), start.shape[-1]))
    largest, weights, lipschitz = np.zeros(rates.shape), [], []
    for step in range(steps[-1] + 1):
        if step in steps:
            weights.append(w + start[:, None, None])
            lipschitz.append(largest)
        # Of every example in every run, in one product.
        gradients = (w @ stacked[:, None]).reshape(*w.shape[:3], *pulls.shape[1:])
        gradients -= pulls[:, None, None]
        norms = (gradients[:, :, 1:] ** 2).sum(-1).max((-1, -2))
        largest = np.maximum(largest, np.sqrt(norms))
        w = w - rates[..., None, None] * (share[:, None] @ gradients)[..., 0, :]
    return Runs(np.stack(weights), np.stack(lipschitz))


def constants(problem: Quadratics, normalization: str = "N1") -> Constants:
    """The constants of quadratic problems, (problems, 1), or (problems, n) where they differ over
    i; of several minimisers, the one nearest to zero.
    """
    hessians, centres, start = problem
    share = descent.shares(hessians.shape[1], normalization)
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
