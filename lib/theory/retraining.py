"""Retraining without examples: gradient descent on all examples and without some, side by side.

The objective is ``F(w) = (weighted sum of the losses) + λ/2 ‖w − a‖²``, the L2-SP form: the
regulariser pulls towards an anchor a and stands outside of the sum, with its whole weight in every
run. Weights of the losses: 1/n each in the full run; without a set K of k examples, 1/(n − k) each
of the rest (N1) or 1/n (N2). Then the regulariser cancels from ``∇F_S − ∇F_{S∖K}``, which is

    (k/n) (mean_K ∇f − mean_rest ∇f)   (N1)        (k/n) mean_K ∇f   (N2),

so the Lipschitz constant of T1 is that of the losses alone, and T1 to T4 hold with k/n in place of
1/n (derived here, grade D, for a regulariser of whole weight; k = 1 is leave-one-out). In the terms
of T2 to T4 the held-out loss is ``f_i + λ/2 ‖w − a‖²`` under N1 and f_i under N2.

Row 0 of all arrays is the full run, rows 1 … R those without examples. All runs advance together.
"""

from dataclasses import dataclass

import numpy as np
import torch

from lib.theory.assumptions import require
from lib.theory.descent import shares
from lib.theory.network import Losses


@dataclass(frozen=True)
class Retraining:
    """The R + 1 objectives: all n losses, and without the examples ``left_out`` (R, K)."""

    losses: Losses
    left_out: np.ndarray
    anchor: torch.Tensor
    regularization: float
    normalization: str = "N1"

    @property
    def shares(self) -> torch.Tensor:
        """(R + 1, n) the weight of each loss in each objective."""
        return torch.from_numpy(shares(self.losses.n, self.normalization, self.left_out))

    def gradients(self, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradients (R + 1, P) of the losses' part of each objective, and its value (R + 1,)."""
        weights = weights.detach().requires_grad_()
        values = (self.losses(weights) * self.shares.to(weights.dtype)).sum(1)
        (gradient,) = torch.autograd.grad(values.sum(), weights)
        return gradient, values.detach()

    def pull(self, weights: torch.Tensor) -> torch.Tensor:
        """(…, P) gradient of the regulariser."""
        return self.regularization * (weights - self.anchor.to(weights.dtype))

    def held_out(self, weights: torch.Tensor) -> torch.Tensor:
        """(R, P) mean gradient of the losses that a run leaves out, at its own weights (R, P)."""
        if not len(weights):
            return weights  # nothing is left out
        weights = weights.detach().requires_grad_()
        values = self.losses(weights, torch.from_numpy(self.left_out)).mean(1)
        return torch.autograd.grad(values.sum(), weights)[0]


@dataclass(frozen=True)
class Descent:
    """What gradient descent did, after t = 0 … T steps.

    ``apart`` (T + 1, R) ‖w_t − v_t‖ of full run and run without examples; ``moved`` (T + 1, R + 1)
    from the start; ``losses`` (T + 1, R + 1), the losses' part; ``lipschitz`` (T + 1, R) the larger
    norm of the two mean gradients of which the runs' objectives differ, at the run without the
    examples, where T1's proof takes it (under N2 there is only the first). ``weights``
    (R + 1, P) are the last.
    """

    apart: np.ndarray
    moved: np.ndarray
    losses: np.ndarray
    lipschitz: np.ndarray
    weights: torch.Tensor


def descend(problem: Retraining, start: torch.Tensor, *, rate: float, steps: int) -> Descent:
    """Gradient descent of all R + 1 runs from the same ``start`` (P,), in its precision."""
    first = start.expand(len(problem.left_out) + 1, -1)
    weights = first.clone()
    pages: list[tuple[torch.Tensor, ...]] = []
    norm = torch.linalg.vector_norm
    for step in range(steps + 1):
        gradients, values = problem.gradients(weights)
        lipschitz = norm(problem.held_out(weights[1:]), dim=1)
        if problem.normalization == "N1":
            lipschitz = torch.maximum(lipschitz, norm(gradients[1:], dim=1))
        apart = norm(weights[1:] - weights[:1], dim=1)
        pages.append((apart, norm(weights - first, dim=1), values, lipschitz))
        if step < steps:
            weights = weights - rate * (gradients + problem.pull(weights))
    apart, moved, values, lipschitz = (
        torch.stack(column).double().numpy() for column in zip(*pages, strict=True)
    )
    return Descent(apart, moved, values, lipschitz, weights)


@dataclass(frozen=True)
class Minimizers:
    """Approximate minimisers (R + 1, P) of the objectives.

    ``residual`` (R + 1,) is the gradient norm there, ``held_out`` (R,) G* of T2 to T4:
    ``‖Σ ∇f‖`` of the examples left out, with the regulariser's part under N1.
    """

    weights: torch.Tensor
    residual: np.ndarray
    held_out: np.ndarray

    @property
    def apart(self) -> np.ndarray:
        """(R,) distance between the minimiser of all examples and those without some."""
        return torch.linalg.vector_norm(self.weights[1:] - self.weights[:1], dim=1).double().numpy()

    def distances(self, start: torch.Tensor) -> np.ndarray:
        """(R + 1,) from a start (P,) to each minimiser."""
        return torch.linalg.vector_norm(self.weights - start, dim=1).double().numpy()


def minimize(
    problem: Retraining,
    start: torch.Tensor,
    *,
    curvature: float,
    smoothness: float,
    tolerance: float = 3e-4,
    steps: int = 80,
) -> Minimizers:
    """Minimisers by Nesterov's accelerated descent for curvature μ and smoothness β.

    ``start`` is (P,) or (R + 1, P). It ends when every gradient norm is at most ``tolerance`` times
    the largest held-out gradient, or after ``steps``; whether that was enough, the residuals say.
    """
    require(0 < curvature <= smoothness, "0 < μ ≤ β", curvature=curvature, smoothness=smoothness)
    root = np.sqrt(curvature / smoothness)
    momentum = float((1 - root) / (1 + root))
    weights = ahead = start.expand(len(problem.left_out) + 1, -1).clone()
    scale = torch.linalg.vector_norm(problem.held_out(weights[1:]), dim=1).max()
    for _ in range(steps):
        gradient = problem.gradients(ahead)[0] + problem.pull(ahead)
        if torch.linalg.vector_norm(gradient, dim=1).max() <= tolerance * scale:
            break
        new = ahead - gradient / smoothness
        weights, ahead = new, new + momentum * (new - weights)
    gradient = problem.gradients(ahead)[0] + problem.pull(ahead)
    residual = torch.linalg.vector_norm(gradient, dim=1)
    held_out = problem.held_out(ahead[1:])
    if problem.normalization == "N1":
        held_out = held_out + problem.pull(ahead[1:])
    held_out = problem.left_out.shape[1] * torch.linalg.vector_norm(held_out, dim=1)
    return Minimizers(ahead, residual.double().numpy(), held_out.double().numpy())
