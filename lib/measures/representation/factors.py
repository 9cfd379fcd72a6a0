"""One factorisation of each run at a layer, from which every pair and every measure follows.

A representation X (N, D; centred, scaled to Frobenius norm 1) is only ever needed through its left
factor W with W W' = X X': X_i' X_j and W_i' W_j have the same singular values, whatever the widths.
W comes from the eigenvectors of the smaller Gram matrix, an order of magnitude cheaper than a
singular value decomposition, with columns in *descending* order: this grades W_i' W_j, and
``eigvalsh`` of the square of a graded matrix gives its singular values to machine precision where
the square of an ungraded one loses half of the digits. (Singular values below 1e-7 of the largest
are lost in the Gram matrix: where one run has hardly any others, OP is good to 1e-7.)
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

#: Share that SVCCA keeps: of the variance (textbook), of the sum of singular values (released).
SHARE = 0.99
#: A kept direction varying by less than this share of its length is the mean and nothing else.
ANNIHILATED = 1e-8


@dataclass(frozen=True)
class Backend:
    """Where the linear algebra happens: numpy, or torch on a device.

    ``put`` and ``host`` move arrays in and out, ``join`` sets columns side by side; ``batched``:
    a run is compared with all others in one call, as a GPU likes it, and not with a few at a time,
    whose matrices stay in a CPU's cache.
    """

    linalg: ModuleType
    put: Callable[[np.ndarray], Any]
    host: Callable[[Any], np.ndarray]
    join: Callable[..., Any]
    batched: bool


NUMPY = Backend(np.linalg, np.asarray, np.asarray, lambda *parts: np.hstack(parts), False)


def backend_for(device: str | None) -> Backend:
    """numpy, or torch on ``device`` (``"cuda"``, ``"cuda:1"``, ``"cpu"``)."""
    if device is None:
        return NUMPY
    import torch

    seen = torch.cuda.device_count()
    if device.startswith("cuda") and (torch.device(device).index or 0) >= seen:
        raise ValueError(f"device = {device!r}, but torch sees {seen} CUDA devices; None is numpy")
    return Backend(
        torch.linalg,
        lambda array: torch.as_tensor(array, device=device),
        lambda tensor: tensor.cpu().numpy(),
        lambda *parts: torch.hstack(parts),
        device.startswith("cuda"),
    )


@dataclass(frozen=True)
class Subspace:
    """A subspace of the centred vectors in R^N, as an orthonormal basis of it or of what is left.

    ``dimension`` is its own, ``kept`` the number of directions that the rule kept (one more if
    centring annihilated one of them).
    """

    basis: Any
    dimension: int
    kept: int


class _Lazy:
    """A property that is computed when first asked for.

    ``functools.cached_property`` of Python 3.11 has one lock for all instances, under which the
    workers would factorise one run after the other.
    """

    def __init__(self, make: Callable[[Any], Any]):
        self.make, self.__doc__ = make, make.__doc__

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        value = self.make(instance)
        instance.__dict__[self.make.__name__] = value
        return value


@dataclass(frozen=True)
class Factor:
    """One run at one layer, scaled to norm 1; everything dear is computed once, when asked for.

    centred : (N, D) array of the backend
    mean : (D,) column means, in the same scale
    """

    centred: Any
    mean: Any
    backend: Backend

    @_Lazy
    def gram(self) -> Any:
        """X X' (N, N)."""
        return self.centred @ self.centred.mT

    @_Lazy
    def _decomposed(self) -> tuple[Any, np.ndarray]:
        if self.is_wide:
            return _eigenvectors(self.gram, max(self.centred.shape), self.backend)
        small = self.centred.mT @ self.centred
        return _mapped(self.centred, small, self.backend)

    @_Lazy
    def _decomposed_uncentred(self) -> tuple[Any, np.ndarray]:
        """The same of X + mean; its Gram matrices follow from those of X."""
        if self.is_wide:
            along = self.centred @ self.mean
            uncentred = self.gram + along[:, None] + along + (self.mean**2).sum()
            return _eigenvectors(uncentred, max(self.centred.shape), self.backend)
        uncentred = self.centred + self.mean
        return _mapped(uncentred, uncentred.mT @ uncentred, self.backend)

    @property
    def is_wide(self) -> bool:
        """The N × N Gram matrix is factorised, all of whose N eigenvectors are then known.

        For N ≤ D it is the smaller one. Where it is hardly larger, what its other eigenvectors
        save (``complement``) is more than what it costs.
        """
        n, d = self.centred.shape
        return n <= 1.25 * d

    @property
    def left(self) -> Any:
        """W (N, r) with W W' = X X', columns in descending order of norm."""
        vectors, singular = self._decomposed
        return vectors[:, : len(singular)] * self.backend.put(singular)

    def kept_by_variance(self) -> tuple[int, float]:
        """Textbook rule: the fewest leading directions with 99 % of the variance, and the margin.

        The margin is how far the share of the last kept direction lies above 99 %: where it is
        tiny, another machine may keep one direction more or less.
        """
        variances = self._decomposed[1] ** 2
        share = np.cumsum(variances) / variances.sum()
        kept = int(np.searchsorted(share, SHARE)) + 1
        return kept, float(share[kept - 1] - SHARE)

    def by_variance(self, complement: bool) -> Subspace:
        """The directions of the textbook rule; they are centred already."""
        vectors, kept = self._decomposed[0], self.kept_by_variance()[0]
        if not complement:
            return Subspace(vectors[:, :kept], kept, kept)
        rest, _ = _split_mean(vectors[:, kept:], self.backend)
        return Subspace(rest, kept, kept)

    def kept_by_singular_sum(self) -> tuple[int, float]:
        """Released rule, on uncentred data: the directions within 99 % of Σσ, at least one.

        The margin is how far the share lies below 99 %.
        """
        singular = self._decomposed_uncentred[1]
        share = np.cumsum(singular) / singular.sum()
        kept = max(1, int((share <= SHARE).sum()))
        return kept, float(SHARE - share[kept - 1])

    def by_singular_sum(self, complement: bool) -> Subspace:
        """The directions of the released rule, centred after they were chosen."""
        vectors, kept = self._decomposed_uncentred[0], self.kept_by_singular_sum()[0]
        if complement:
            rest, mean_part = _split_mean(vectors[:, kept:], self.backend)
            return Subspace(rest, kept - (mean_part is None), kept)
        rest, mean_part = _split_mean(vectors[:, :kept], self.backend)
        if mean_part is None:
            return Subspace(rest, kept, kept)
        centred = mean_part - mean_part.mean()
        length = float(self.backend.linalg.norm(centred))
        if length <= ANNIHILATED:
            return Subspace(rest, kept - 1, kept)
        return Subspace(self.backend.join(centred[:, None] / length, rest), kept, kept)


def factorise(x: np.ndarray, backend: Backend = NUMPY) -> Factor | None:
    """Factor of one run and layer (N, D), in float64; None if there is no variation to speak of."""
    peaks = np.maximum(x.max(0).astype(float), -x.min(0).astype(float))
    largest = peaks.max()
    if not np.isfinite(largest) or largest == 0:
        return None
    centred = np.divide(x, largest, dtype=float)
    mean = centred.mean(0)
    centred -= mean
    norm = np.linalg.norm(centred)
    # What cannot be told from rounding in the precision of the input is no variation.
    precision = np.finfo(x.dtype).eps if np.issubdtype(x.dtype, np.floating) else 0.0
    rounding = float(precision) * np.linalg.norm(peaks / largest) * np.sqrt(len(x))
    if norm <= rounding:
        return None
    centred /= norm
    return Factor(backend.put(centred), backend.put(mean / norm), backend)


def _eigenvectors(gram: Any, size: int, backend: Backend) -> tuple[Any, np.ndarray]:
    """All eigenvectors (n, n) of a Gram matrix, descending, and the r singular values (r,)."""
    values, vectors = backend.linalg.eigh(gram)
    values = backend.host(values)[::-1]
    rank = int((values > values[0] * size * np.finfo(float).eps).sum())
    order = backend.put(np.arange(len(values))[::-1].copy())
    return vectors[:, order], np.sqrt(values[:rank])


def _mapped(x: Any, small: Any, backend: Backend) -> tuple[Any, np.ndarray]:
    """Left singular vectors (N, r) and values (r,) of x (N, D) from x'x."""
    vectors, singular = _eigenvectors(small, max(x.shape), backend)
    return x @ vectors[:, : len(singular)] / backend.put(singular), singular


def _split_mean(vectors: Any, backend: Backend) -> tuple[Any, Any | None]:
    """Orthonormal columns (N, c) rotated so that all but the first are exactly centred.

    A Householder reflection of the columns puts all that they share with the constant vector into
    the first: returned are the columns without and that one, or all and None if nothing is shared.
    """
    n, c = vectors.shape
    shared = backend.host(vectors.sum(0)) / np.sqrt(n)
    length = np.linalg.norm(shared)
    if c == 0 or length <= ANNIHILATED:
        return vectors, None
    mirror = shared / length
    mirror[0] += np.copysign(1.0, mirror[0])
    mirror = backend.put(mirror / np.linalg.norm(mirror))
    turned = vectors - 2 * (vectors @ mirror)[:, None] * mirror
    return turned[:, 1:], turned[:, 0]
