"""Separable sets at random. Simulated data, not measurements of any model."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from lib.theory.descent import Array


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
            return x * np.sign((x * plane).sum(-1, keepdims=True))
    raise ValueError(f"gap = {gap} is too large for {d} dimensions: hardly any point is so far")


class Batch(NamedTuple):
    """Sets of one shape: z (sets, n, d), held-out rows (sets, m, d) of the same distribution,
    labels (sets, n) of −1 and 1, and the gap that the sets were drawn with.
    """

    z: Array
    held_out: Array
    labels: Array
    gap: float


def draw(
    rng: np.random.Generator,
    sets: int,
    *,
    n: Sequence[int],
    features: Sequence[int],
    gap: Sequence[float],
    radius: float,
    held_out: int,
) -> list[Batch]:
    """``separable`` sets. ``n``, ``features`` and ``gap`` are one value for all sets, or the least
    and the most of a draw for each set: uniform, the gap uniform on the log scale.

    Where all are fixed, the sets are one batch. ``labels`` are a coin's: a plane through 0 does not
    tell (x, y) from (−x, −y), so any labels make the same problem.
    """
    for name, values in {"n": n, "features": features, "gap": gap}.items():
        if not 1 <= len(values) <= 2 or list(values) != sorted(values) or values[0] <= 0:
            raise ValueError(f"{name} = {list(values)}: give one value, or the least and the most")
    if n[0] < 2 or sets < 1 or held_out < 1:
        raise ValueError(f"n = {list(n)}, sets = {sets}, held_out = {held_out}: too few")
    fixed = len(n) == len(features) == len(gap) == 1
    batches = []
    for size in [sets] if fixed else [1] * sets:
        rows, width = (int(rng.integers(v[0], v[-1] + 1)) for v in (n, features))
        narrow = float(np.exp(rng.uniform(*np.log([gap[0], gap[-1]]))))
        z = separable(rng, size, rows + held_out, width, narrow, radius)
        labels = rng.choice([-1.0, 1.0], size=(size, rows))
        labels[:, :2] = [-1, 1]
        batches.append(Batch(z[:, :rows], z[:, rows:], labels, narrow))
    return batches


def over(batches: list[Batch], table_of: Callable[[Batch], pd.DataFrame]) -> pd.DataFrame:
    """The tables of all batches as one, sets numbered on, with columns ``features`` and ``gap``."""
    parts, before = [], 0
    for batch in batches:
        part = table_of(batch)
        part["set"] += before
        part.insert(2, "features", batch.z.shape[-1])
        part.insert(3, "gap", batch.gap)
        parts.append(part)
        before += len(batch.z)
    return pd.concat(parts, ignore_index=True)
