"""Curvature of a loss: Hessian-vector products, and the ends of the spectrum by Lanczos' method.

A Hessian of a network is never formed: it is known only through its products with vectors. Lanczos'
method builds, from such products, a small tridiagonal matrix whose extreme eigenvalues approach
those of the Hessian from inside (Golub & Van Loan, Matrix Computations, §10.1), and it says how
near: ``‖H y − θ y‖`` of a Ritz pair (θ, y) is the product of the last off-diagonal entry with the
last component of the small eigenvector, and some eigenvalue of H lies that close to θ (§8.1). It
does not say that this is *the* extreme one; a random start vector makes missing it improbable.

Several Hessians are handled at once: vectors are (R, P), a row a problem.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

#: Products with R symmetric matrices: (R, P) → (R, P), row by row.
Products = Callable[[torch.Tensor], torch.Tensor]


class Extremes(NamedTuple):
    """The ends of R spectra, (R,) each: Ritz values, their residuals, and the steps taken.

    Within ``low ± low_error`` lies an eigenvalue, and within ``high ± high_error`` another. The
    true ends are outside of, or at, ``low`` and ``high``.
    """

    low: np.ndarray
    high: np.ndarray
    low_error: np.ndarray
    high_error: np.ndarray
    steps: int

    @property
    def norm(self) -> np.ndarray:
        """(R,) the spectral norm, max(|low|, |high|)."""
        return np.maximum(np.abs(self.low), np.abs(self.high))


def hessian_products(
    loss: Callable[[torch.Tensor], torch.Tensor], weights: torch.Tensor
) -> Products:
    """Products with the Hessians of R losses at R points, by differentiating the gradient again.

    Parameters
    ----------
    loss : weights (R, P) → (R,), where loss r depends on row r alone
    weights : (R, P)

    The graph of the gradient is built once and kept as long as the returned function is.
    """
    weights = weights.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(weights).sum(), weights, create_graph=True)

    def products(vectors: torch.Tensor) -> torch.Tensor:
        along = (gradient * vectors).sum()
        (found,) = torch.autograd.grad(along, weights, retain_graph=True)
        return found

    return products


def extremes(
    products: Products,
    shape: tuple[int, int],
    *,
    steps: int = 60,
    tolerance: float = 1e-3,
    ends: str = "both",
    seed: int = 0,
) -> Extremes:
    """Smallest and largest eigenvalue of R symmetric matrices by Lanczos' method.

    Full reorthogonalisation, twice in each step: without it rounding errors bring found
    eigenvalues back as copies. Memory: steps · R · P numbers of float64.

    Parameters
    ----------
    products : multiplies R matrices with R vectors, in float64
    shape : (R, P)
    steps : at most so many products
    tolerance : stop when the residuals of the wanted ends are at most this share of the norm
    ends : ``both``, ``low``, ``high`` or ``norm``: which ends have to be that good before it
        stops; ``norm`` is the one of larger magnitude, matrix by matrix

    Raises ``ValueError`` for a product that is not finite, and for unknown ``ends``.
    """
    if ends not in ("both", "low", "high", "norm"):
        raise ValueError(f"ends = {ends!r}: give both, low, high or norm")
    generator = torch.Generator().manual_seed(seed)
    vector = torch.randn(shape, generator=generator, dtype=torch.float64)
    basis = [vector / torch.linalg.vector_norm(vector, dim=1, keepdim=True)]
    diagonal: list[np.ndarray] = []
    beside: list[np.ndarray] = []
    for step in range(1, min(steps, shape[1]) + 1):
        new = products(basis[-1]).double()
        if not torch.isfinite(new).all():
            raise ValueError(f"product {step} is not finite")
        diagonal.append((new * basis[-1]).sum(1).numpy())
        new, length = _apart(new, basis)
        scale = np.maximum(
            np.abs(np.stack(diagonal)).max(0), np.stack([*beside, diagonal[-1]]).max(0)
        )
        # A row whose Krylov space is exhausted goes on from a random vector, uncoupled.
        over = length <= 1e-12 * torch.from_numpy(scale)
        beside.append(torch.where(over, 0.0, length).numpy())
        found = _ritz(np.stack(diagonal, 1), np.stack(beside, 1), step)
        if (_error(found, ends) <= tolerance * found.norm).all():
            break
        if over.any():
            other, reach = _apart(
                torch.randn(shape, generator=generator, dtype=torch.float64), basis
            )
            new = torch.where(over[:, None], other, new)
            length = torch.where(over, reach, length)
        basis.append(new / length[:, None])
    return found


def _error(found: Extremes, ends: str) -> np.ndarray:
    """(R,) the larger error of the wanted ends."""
    if ends == "norm":
        return np.where(-found.low > found.high, found.low_error, found.high_error)
    return np.max({"both": found[2:4], "low": found[2:3], "high": found[3:4]}[ends], 0)


def _apart(vectors: torch.Tensor, basis: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors (R, P) less their part in the span of the basis of each row, and their lengths."""
    known = torch.stack(basis, 1)
    for _ in range(2):
        inside = torch.einsum("rkp,rp->rk", known, vectors)
        vectors = vectors - torch.einsum("rkp,rk->rp", known, inside)
    return vectors, torch.linalg.vector_norm(vectors, dim=1)


def _ritz(diagonal: np.ndarray, beside: np.ndarray, steps: int) -> Extremes:
    """Ends of the tridiagonal matrices, with residuals; ``beside`` ends in the length left over."""
    small = diagonal[:, :, None] * np.eye(steps)
    inner = beside[:, : steps - 1]
    place = np.arange(steps - 1)
    small[:, place, place + 1] = small[:, place + 1, place] = inner
    values, vectors = np.linalg.eigh(small)
    residuals = beside[:, -1:] * np.abs(vectors[:, -1])
    return Extremes(values[:, 0], values[:, -1], residuals[:, 0], residuals[:, -1], steps)
