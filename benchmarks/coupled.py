"""Two runs of stochastic gradients on samples that differ in one example, with the same draws.

A run follows a sequence of drawn indices. ``all_paths`` follows every sequence there is, so that
expectations are exact; ``given_paths`` follows those it is given. Arrays are batched: any number
of problems, rates and replaced examples at once.

Shapes: … any batch; n examples; d features; J paths (sequences of indices); Z test points.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special


@dataclass(frozen=True)
class Loss:
    """f(w; (x, y)) = φ(w·x − y), with sup|φ'| and sup|φ''|."""

    value: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]
    steepest: float
    bend: float
    convex: bool = True


def _softplus(m: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(-np.abs(m))) + np.maximum(-m, 0)  # twice as fast as logaddexp


#: log(1 + e^{−m}); −m; the hinge with a parabola of width 1; (1 − cos m)/2, not convex, in [0, 1].
LOSSES = {
    "logistic": Loss(_softplus, lambda m: -special.expit(-m), 1.0, 0.25),
    "linear": Loss(lambda m: -m, lambda m: np.full_like(m, -1.0), 1.0, 0.0),
    "smooth hinge": Loss(
        lambda m: np.where(m < 0, 0.5 - m, np.clip(1 - m, 0, None) ** 2 / 2),
        lambda m: -np.clip(1 - m, 0, 1),
        1.0,
        1.0,
    ),
    "cosine": Loss(lambda m: (1 - np.cos(m)) / 2, lambda m: np.sin(m) / 2, 0.5, 0.5, False),
}


class Points(NamedTuple):
    """Features (…, n, d) and offsets (…, n)."""

    x: np.ndarray
    y: np.ndarray

    def along(self, *axes: int) -> "Points":
        """With new axes of length 1 at these places, counted in the batch."""
        x, y = self.x, self.y
        for axis in axes:
            x, y = np.expand_dims(x, axis), np.expand_dims(y, axis)
        return Points(x, y)


class Objective(NamedTuple):
    """A loss with (λ/2)‖w‖² and the radius R of the ball that steps are projected on.

    ``regularization`` and ``reach`` are numbers, or arrays that broadcast with the batch.
    """

    loss: Loss
    regularization: np.ndarray | float = 0.0
    reach: np.ndarray | float = np.inf

    def lipschitz(self, radius: np.ndarray | float) -> np.ndarray | float:
        """sup|φ'|·B + λR for ‖x‖ ≤ B = ``radius`` and ‖w‖ ≤ R."""
        inside = np.where(np.asarray(self.regularization) > 0, self.reach, 0.0)
        return self.loss.steepest * radius + self.regularization * inside

    def smoothness(self, radius: np.ndarray | float) -> np.ndarray | float:
        """sup|φ''|·B² + λ."""
        return self.loss.bend * np.square(radius) + self.regularization

    def values(self, weights: np.ndarray, points: Points) -> np.ndarray:
        """f(w; z), weights (…, J, d) and points (…, Z, d) → (…, J, Z)."""
        margins = weights @ np.swapaxes(points.x, -1, -2) - points.y[..., None, :]
        penalty = _over(self.regularization) / 2 * (weights**2).sum(-1)
        return self.loss.value(margins) + penalty[..., None]

    def step(self, weights: np.ndarray, points: Points, rate: np.ndarray) -> np.ndarray:
        """A gradient step of each of the points' losses, (…, J, d) and (…, Z, d) → (…, J, Z, d).

        ``rate`` broadcasts with the batch.
        """
        margins = weights @ np.swapaxes(points.x, -1, -2) - points.y[..., None, :]
        pushes = self.loss.slope(margins)[..., None] * points.x[..., None, :, :]
        kept = weights * (1 - _over(rate * self.regularization)[..., None])
        moved = kept[..., None, :] - _over(rate)[..., None, None] * pushes
        return self._projected(moved)

    def _projected(self, moved: np.ndarray) -> np.ndarray:
        if np.all(np.isinf(self.reach)):
            return moved
        reach = _over(self.reach)[..., None]
        norm = np.sqrt((moved**2).sum(-1))
        return moved * np.minimum(1, reach / np.maximum(norm, 1e-300))[..., None]


def _over(value: np.ndarray | float) -> np.ndarray:
    """A batch of numbers, with an axis for paths."""
    return np.asarray(value, float)[..., None]


def all_paths(
    objective: Objective, points: Points, rates: np.ndarray, start: np.ndarray
) -> Iterator[np.ndarray]:
    """Parameters after each step of every sequence of indices, all equally likely.

    Parameters
    ----------
    points : the sample, (…, n, d)
    rates : (…, T) the step sizes
    start : (…, d), broadcast with the batch

    Yields (…, n^t, d) for t = 1 … T. Runs on different samples with the same n follow the same
    sequences: path j is coupled with path j.
    """
    weights = start[..., None, :]
    for t in range(rates.shape[-1]):
        weights = objective.step(weights, points, rates[..., t])
        weights = weights.reshape(*weights.shape[:-3], -1, weights.shape[-1])
        yield weights


def given_paths(
    objective: Objective, points: Points, rates: np.ndarray, start: np.ndarray, drawn: np.ndarray
) -> Iterator[np.ndarray]:
    """Parameters after each step of the sequences ``drawn`` (J, T) of indices.

    ``points`` (…, n, d), ``rates`` (T,), ``start`` (d,), one regulariser and one ball; yields
    (…, J, d).
    """
    weights = np.broadcast_to(start, (*points.x.shape[:-2], len(drawn), len(start)))
    for rate, index in zip(rates, drawn.T, strict=True):
        # Each path has its own point: paths become part of the batch, with one point each.
        own = Points(points.x[..., index, None, :], points.y[..., index, None])
        weights = objective.step(weights[..., None, :], own, rate)[..., 0, 0, :]
        yield weights


def with_replaced(sample: Points, replacements: Points) -> Points:
    """The sample, then the samples with one example replaced: (…, n, d) → (…, 1 + n, n, d)."""
    n = sample.x.shape[-2]
    swapped = np.eye(n + 1, n, k=-1, dtype=bool)
    x = np.where(swapped[..., None], replacements.x[..., None, :, :], sample.x[..., None, :, :])
    return Points(x, np.where(swapped, replacements.y[..., None, :], sample.y[..., None, :]))


class Differences(NamedTuple):
    """Of S and each S^(i), (…, n): E‖w − w'‖, and the largest |E f(w; z) − E f(w'; z)| tried."""

    parameters: np.ndarray
    loss: np.ndarray


def differences(
    objective: Objective, weights: np.ndarray, tests: Points, radius: np.ndarray
) -> Differences:
    """How far the runs on S are from those on each S^(i), in the mean over paths.

    Parameters
    ----------
    weights : (…, 1 + n, J, d): the runs on S, then those on each S^(i), coupled path by path
    tests : test points (…, Z, d) shared by all i. Tried as well: the points of norm ``radius``
        (…,) along and against E w − E w', where a small difference shows most
    """
    whole, swapped = weights[..., :1, :, :], weights[..., 1:, :, :]
    apart = np.sqrt(((whole - swapped) ** 2).sum(-1)).mean(-1)
    tried = _adversarial(objective, whole.mean(-2), swapped.mean(-2), radius)
    common = [np.broadcast_to(a[..., None, :, :], (*apart.shape, *a.shape[-2:])) for a in (
        tests.x, tests.y[..., None])]  # fmt: skip
    points = Points(
        np.concatenate([common[0], tried.x], -2), np.concatenate([common[1][..., 0], tried.y], -1)
    )
    gap = objective.values(whole, points).mean(-2) - objective.values(swapped, points).mean(-2)
    return Differences(apart, np.abs(gap).max(-1))


def _adversarial(
    objective: Objective, whole: np.ndarray, swapped: np.ndarray, radius: np.ndarray
) -> Points:
    direction = whole - swapped
    length = np.sqrt((direction**2).sum(-1, keepdims=True))
    x = radius[..., None, None] * direction / np.maximum(length, 1e-300)
    x = np.stack([x, -x], -2)
    # The cosine loss is steepest a quarter of a turn from its minimum.
    middle = (x * ((whole + swapped) / 2)[..., None, :]).sum(-1)
    y = np.zeros_like(middle) if objective.loss.convex else middle - np.pi / 2
    return Points(x, y)
