"""Random problems on which bounds are checked. Illustrative data, not measurements of any model."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Quadratics(NamedTuple):
    """Problems whose example j has the loss f_j(w) = ½ (w − a_j)ᵀ H_j (w − a_j), all convex.

    hessians (problems, n, d, d), centres (problems, n, d), start (problems, d): w_0.
    """

    hessians: Array
    centres: Array
    start: Array


def directions(rng: np.random.Generator, *shape: int) -> Array:
    """Uniform on the unit sphere; the last number is the dimension."""
    x = rng.normal(size=shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def separable(
    rng: np.random.Generator, sets: int, n: int, d: int, gap: float, radius: float = 1.0
) -> Array:
    """z (sets, n, d) with a margin of at least ``gap``: two classes told apart by a random plane.

    A plane through 0 at random; features uniform in the ball, drawn again while closer than ``gap``
    to the plane; z = feature × class. Raises ``ValueError`` unless 0 < gap < radius, and where
    hardly any of the ball is that far from a plane, as in many dimensions.
    """
    if not 0 < gap < radius:
        raise ValueError(f"gap = {gap} must be between 0 and the radius {radius}")
    plane = directions(rng, sets, 1, d)
    x = np.empty((sets, n, d))
    left = np.ones((sets, n), bool)
    for _ in range(1000):
        drawn = directions(rng, int(left.sum()), d)
        x[left] = drawn * radius * rng.random((len(drawn), 1)) ** (1 / d)
        left = np.abs((x * plane).sum(-1)) < gap
        if not left.any():
            break
    else:
        raise ValueError(f"gap = {gap} is too large for {d} dimensions: hardly any point is so far")
    return x * np.sign((x * plane).sum(-1, keepdims=True))


def quadratics(
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
