"""Bounds of full fine-tuning against measurements: given problems, all that a theorem allows.

Each function takes problems stacked along the first axis and yields ``Comparison``s: the name of an
inequality, what was measured, and its bound, as arrays that broadcast, problems first. NaN stands
where an assumption does not hold, so that nothing is compared.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from benchmarks import quadratics
from benchmarks.minimizers import logistic_minimizers
from benchmarks.quadratics import Quadratics
from lib.theory import descent, quadratic
from lib.theory.quadratic import Constants

Array = npt.NDArray[np.float64]

#: Learning rates as shares of the largest that a theorem allows, and steps.
FRACTIONS = (0.02, 0.1, 0.4, 1.0)
TIMES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)


class Comparison(NamedTuple):
    """``measured`` ≤ ``bound`` is what ``theorem`` says, problem by problem along axis 0."""

    theorem: str
    measured: Array
    bound: Array


def full_tuning(
    problem: Quadratics,
    normalization: str = "N1",
    fractions: Sequence[float] = FRACTIONS,
    times: Sequence[int] = TIMES,
) -> Iterator[Comparison]:
    """T1, T1c, T2, T2′, T3, T4 on quadratic problems; rates as shares of 2 / (β + μ)."""
    # Axes: problems, times, rates, examples.
    known = Constants(
        **{
            k: v[:, None, None]
            for k, v in vars(quadratics.constants(problem, normalization)).items()
        }
    )
    rate = 2 / (known.smoothness + known.curvature) * np.reshape(fractions, (-1, 1))
    runs = quadratics.descend(problem, rate[:, 0, :, 0], times, normalization)
    moved = np.moveaxis(descent.difference(runs.weights).parameter, 1, 0)
    # Where there is no curvature only T1c applies; harmless values stand in for the others.
    least = np.minimum(known.curvature, known.curvature_without.min(-1, keepdims=True))
    curved = least > 1e-9
    half = known.smoothness / 2
    stand_in = dataclasses.replace(
        known,
        curvature=np.where(curved, known.curvature, half),
        curvature_without=np.where(curved, known.curvature_without, half),
    )
    path = {
        "n": problem.centres.shape[1],
        "normalization": normalization,
        "lipschitz": np.moveaxis(runs.lipschitz, 1, 0)[..., None],
        "steps": np.reshape(times, (1, -1, 1, 1)),
    }
    slow = np.where(curved, rate, 1 / known.smoothness)
    for name in ("T1", "T2", "T2′", "T4"):
        bound = quadratic.bound(name, stand_in, rate=slow, **path)
        yield Comparison(name, moved, np.where(curved, bound, np.nan))
    yield Comparison("T1c", moved, quadratic.bound("T1c", known, rate=rate, **path))
    shift = np.where(curved, quadratic.bound("T3", stand_in, **path), np.nan)
    yield Comparison("T3", known.shift[:, 0, 0], shift[:, 0, 0])


def local_logistic(
    z: Array,
    regularization: float,
    offset: Array,
    normalization: str = "N1",
    fractions: Sequence[float] = FRACTIONS,
    times: Sequence[int] = TIMES,
) -> Iterator[Comparison]:
    """T5 where the loss is not quadratic: ℓ2-logistic, from w*_S + ``offset`` (problems, d).

    Also T1 with the global curvature λ of the same problems, as "T1 (logistic)".
    """
    n = z.shape[1]
    best, spectrum = logistic_minimizers(z, regularization, normalization)
    start = best[:, 0] + offset
    norms = np.linalg.norm(z, axis=-1)
    # The third derivative of the logistic loss is at most 1 / (6√3).
    rough = (norms**3).mean(-1) / (6 * np.sqrt(3))
    beta = (norms**2).max(-1) / 4 + regularization
    shift = np.linalg.norm(best[:, 1:] - best[:, :1], axis=-1)
    away = np.linalg.norm(start[:, None] - best, axis=-1)
    reach = np.maximum(away[:, 0], (away[:, 1:] + shift).max(-1))
    near = spectrum[:, 0, 0] - rough * reach > 0.01 * spectrum[:, 0, 0]
    mu = np.full(len(z), np.nan)
    mu[near] = quadratic.local_curvature(
        curvature=spectrum[near, 0, 0], hessian_lipschitz=rough[near], reach=reach[near]
    )
    rate = np.outer(2 / (2 * beta), fractions)
    runs = descent.head_descent(
        z, rate, range(times[-1] + 1), weights=descent.shares(n, normalization),
        starts=start[:, None, None], regularization=regularization,
    )  # fmt: skip
    pull = expit(-np.einsum("tprkd,pnd->tprkn", runs.weights, z))
    gradients = regularization * runs.weights[..., None, :] - pull[..., None] * z[:, None, None]
    sizes = np.linalg.norm(gradients[..., 1:, :, :], axis=-1).max((-1, -2))
    lipschitz = np.maximum.accumulate(sizes, 0)[np.array(times) - 1]
    moved = np.moveaxis(descent.difference(runs.weights[np.array(times)]).parameter, 1, 0)
    shared = {
        "n": n,
        "lipschitz": np.moveaxis(lipschitz, 1, 0)[..., None],
        "smoothness": beta[:, None, None, None],
        "rate": rate[:, None, :, None],
        "steps": np.reshape(times, (1, -1, 1, 1)),
        "normalization": normalization,
    }
    local = np.where(near, mu, regularization)[:, None, None, None]
    bound = quadratic.strongly_convex(**shared, curvature=local)
    yield Comparison("T5", moved, np.where(near[:, None, None, None], bound, np.nan))
    yield Comparison(
        "T1 (logistic)", moved, quadratic.strongly_convex(**shared, curvature=regularization)
    )
