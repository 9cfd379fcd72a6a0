"""Curvature of a loss: Hessian-vector products, and the ends of the spectrum from such products.

A Hessian of a network is never formed: it is known only through its products with vectors. Lanczos'
method (ARPACK's, in scipy) finds its extreme eigenvalues from them (Golub & Van Loan, Matrix
Computations, §10.1). How near a pair (θ, y) is, its residual ``‖H y − θ y‖`` says: some eigenvalue
of H lies that close to θ (§8.1). It does not say that this is *the* extreme one; a random start
vector makes missing it improbable.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh

#: The product with a symmetric matrix: (P,) → (P,).
Product = Callable[[torch.Tensor], torch.Tensor]


class Extremes(NamedTuple):
    """The ends of R spectra, (R,) each: eigenvalues found and their residuals.

    Within ``low ± low_error`` lies an eigenvalue, and within ``high ± high_error`` another. The
    true ends are outside of, or at, ``low`` and ``high``.
    """

    low: np.ndarray
    high: np.ndarray
    low_error: np.ndarray
    high_error: np.ndarray


def hessian_product(loss: Callable[[torch.Tensor], torch.Tensor], weights: torch.Tensor) -> Product:
    """The product with the Hessian of ``loss``, (P,) → a number, at ``weights`` (P,), by
    differentiating the gradient again.

    The graph of the gradient is built once and kept as long as the returned function is.
    """
    weights = weights.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(weights), weights, create_graph=True)

    def product(vector: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(gradient @ vector, weights, retain_graph=True)[0]

    return product


def extremes(
    products: Iterable[Product], size: int, *, tolerance: float = 1e-3, seed: int = 0
) -> Extremes:
    """Smallest and largest eigenvalue of R symmetric matrices, one matrix after the other.

    Parameters
    ----------
    products : each multiplies its matrix with a vector, in float64
    size : P
    tolerance : of the residuals, as a share of the distance between both ends, or of the norm

    Raises ``ValueError`` for a product that is not finite, and what ``scipy.sparse.linalg.eigsh``
    raises where it does not converge.
    """
    start = np.random.default_rng(seed).normal(size=size)
    pairs = [_ends(product, start, tolerance) for product in products]
    (low, low_error), (high, high_error) = np.transpose(pairs, (1, 2, 0))
    return Extremes(low, high, low_error, high_error)


def _ends(product: Product, start: np.ndarray, tolerance: float) -> list[tuple[float, float]]:
    """(eigenvalue, residual) of the lower and of the upper end."""

    def multiply(vector: np.ndarray) -> np.ndarray:
        multiplied = product(torch.from_numpy(vector.ravel())).numpy()
        if not np.isfinite(multiplied).all():
            raise ValueError("a product with the matrix is not finite")
        return multiplied

    # The end of larger magnitude, and the other one as the end of larger magnitude from there:
    # ARPACK's tolerance is a share of the eigenvalue, and an end may be close to 0.
    ends: list[tuple[float, float]] = []
    # Small, since a product of a network is dear and the tolerance is usually some per cent.
    basis = min(len(start), 8)
    for _ in range(2):
        shift = ends[0][0] if ends else 0.0
        shifted = LinearOperator(
            (len(start),) * 2, lambda v, by=shift: multiply(v) - by * v.ravel(), dtype=float
        )
        moved = shifted.matvec(start)
        if np.linalg.norm(moved) <= 1e-12 * abs(shift) * np.linalg.norm(start):
            ends.append((shift, 0.0))  # a multiple of the identity, whose ends are the same
            continue
        (value,), vector = eigsh(shifted, k=1, which="LM", tol=tolerance, v0=start, ncv=basis)
        residual = np.linalg.norm(shifted.matvec(vector[:, 0]) - value * vector[:, 0])
        ends.append((shift + value, float(residual)))
    return sorted(ends)
