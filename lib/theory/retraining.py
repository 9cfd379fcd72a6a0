"""Retraining a network without examples: runs, minimisers and influence, with the bounds beside.

The objective is ``F(w) = (weighted sum of the losses) + λ/2 ‖w − a‖²``, the L2-SP form: the
regulariser pulls towards an anchor a and stands outside of the sum, with its whole weight in every
run. Weights of the losses: 1/n each in the full run; without a set K of k examples, 1/(n − k) each
of the rest (N1) or 1/n (N2). Then the regulariser cancels from ``∇F_S − ∇F_{S∖K}``, which is

    (k/n) (mean_K ∇f − mean_rest ∇f)   (N1)        (k/n) mean_K ∇f   (N2),

so the Lipschitz constant of T1 is that of the losses alone, and T1 to T4 hold with k/n in place of
1/n (derived here, grade D, for a regulariser of whole weight; k = 1 is leave-one-out). In the terms
of T2 to T4 the held-out loss is ``f_i + λ/2 ‖w − a‖²`` under N1 and f_i under N2.

T1 to T5 (``lib.theory.quadratic``) assume curvature between μ and β wherever the runs go. Of a
network that can be estimated at some points only. So what is checked is whether the *local
quadratic model* describes the network: a measured value above a bound would refute the model's
constants and not the theorem. Where an estimate shows that an assumption fails, there is no bound,
and the reason is recorded. Row 0 of arrays is the full run, rows 1 … R those without examples.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import stats
from scipy.sparse.linalg import LinearOperator, cg

from lib.theory import network, quadratic
from lib.theory.assumptions import Inapplicable, require
from lib.theory.descent import shares
from lib.theory.network import Ends, TextLosses
from lib.theory.quadratic import Constants

#: A minimiser is taken as found where gradient norm / μ is at most this share of what is measured.
RESIDUAL = 0.02
#: Single precision moves a difference of weights by about this much.
ROUNDING = 2e-6


def _norms(vectors: torch.Tensor) -> np.ndarray:
    return torch.linalg.vector_norm(vectors, dim=-1).double().numpy()


@dataclass(frozen=True)
class Retraining:
    """The R + 1 objectives: all n losses, and without the examples ``left_out`` (R, K).

    ``losses`` may be whatever has ``n`` and, called as ``TextLosses`` is, differentiable values.
    """

    losses: TextLosses
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

    def hessian(self, weights: torch.Tensor, run: int = 0) -> LinearOperator:
        """Of the losses' part of a run's objective, at ``weights`` (P,)."""
        share = self.shares[run]
        return network.hessian(lambda point: self.losses(point[None])[0] @ share, weights)

    def ends(self, weights: torch.Tensor, run: int = 0) -> Ends:
        """Ends of the spectrum of a run's objective, with the λ of the regulariser, to 2 %."""
        found = network.ends(self.hessian(weights, run), tolerance=0.02)
        low, high = (self.regularization + end for end in found[:2])
        return found._replace(low=low, high=high)

    def change_of_hessian(self, here: torch.Tensor, there: torch.Tensor) -> float:
        """``‖∇²F_S(here) − ∇²F_S(there)‖ / ‖here − there‖``: a lower estimate of T5's M."""
        apart = _norms(here.double() - there.double())
        if apart <= ROUNDING:
            return 0.0
        found = network.ends(self.hessian(here) - self.hessian(there), tolerance=0.02)
        return float(np.abs(found[:2]).max() / apart)


class Descent(NamedTuple):
    """What gradient descent did, after t = 0 … T steps.

    ``apart`` (T + 1, R) ‖w_t − v_t‖ of full run and run without examples; ``losses``
    (T + 1, R + 1), the losses' part; ``lipschitz`` (T + 1, R) the larger norm of the two mean
    gradients of which the runs' objectives differ, at the run without the examples, where T1's
    proof takes it (under N2 there is only the first). ``weights`` (R + 1, P) are the last.
    """

    apart: np.ndarray
    losses: np.ndarray
    lipschitz: np.ndarray
    weights: torch.Tensor


def descend(problem: Retraining, start: torch.Tensor, *, rate: float, steps: int) -> Descent:
    """Gradient descent of all R + 1 runs together from ``start`` (P,), in its precision."""
    weights = start.expand(len(problem.left_out) + 1, -1)
    pages = []
    for step in range(steps + 1):
        gradients, values = problem.gradients(weights)
        lipschitz = _norms(problem.held_out(weights[1:]))
        if problem.normalization == "N1":
            lipschitz = np.maximum(lipschitz, _norms(gradients[1:]))
        pages.append((_norms(weights[1:] - weights[:1]), values.double().numpy(), lipschitz))
        if step < steps:
            weights = weights - rate * (gradients + problem.pull(weights))
    return Descent(*map(np.stack, zip(*pages, strict=True)), weights)


def minimize(
    problem: Retraining,
    start: torch.Tensor,
    *,
    curvature: float,
    smoothness: float,
    tolerance: float = 3e-4,
    steps: int = 80,
) -> tuple[torch.Tensor, np.ndarray]:
    """Approximate minimisers (R + 1, P) of the objectives, and the gradient norms (R + 1,) there.

    By Nesterov's accelerated descent from ``start`` (P,), for curvature μ > 0 and smoothness β. It
    ends when every gradient norm is at most ``tolerance`` times the largest held-out gradient, or
    after ``steps``; whether that was enough, the norms say.
    """
    root = (curvature / smoothness) ** 0.5
    weights = ahead = start.expand(len(problem.left_out) + 1, -1)
    scale = _norms(problem.held_out(weights[1:])).max()
    for step in itertools.count():
        gradient = problem.gradients(ahead)[0] + problem.pull(ahead)
        residual = _norms(gradient)
        if step == steps or residual.max() <= tolerance * scale:
            return ahead, residual
        new = ahead - gradient / smoothness
        weights, ahead = new, new + (1 - root) / (1 + root) * (new - weights)


def influence(
    problem: Retraining, minimum: torch.Tensor, *, tolerance: float = 1e-3, steps: int = 200
) -> np.ndarray:
    """(R, P) how leaving out examples changes the weights, predicted from ``minimum`` (P,) w*_S.

    One Newton step on the objective without the examples,

        −H⁻¹ (∇F_{S∖K}(w*_S) − ∇F_S(w*_S)),   H = ∇²F_{S∖K}(w*_S), with the λ of the regulariser,

    by conjugate gradients, to a residual of ``tolerance`` times the gradient; exact where losses
    are quadratic. ∇F_S, zero at a minimiser, is taken off so that after a search that ended early
    the effect of the removal alone is left. NaN where ``steps`` products do not suffice, or a
    direction without positive curvature is met.

    Source: influence functions, Koh & Liang (2017, §2.1: ``(1/n) H_S⁻¹ ∇f``; §3: by conjugate
    gradients on Hessian products). They keep the Hessian H_S of all examples, which for few
    examples is another matrix.
    """
    point = minimum.double()
    gradients = problem.gradients(point.expand(len(problem.left_out) + 1, -1))[0].numpy()
    changes = gradients[:1] - gradients[1:]
    for run, right in enumerate(changes, 1):
        hessian, curvatures = problem.hessian(point, run), []

        def multiply(vector: np.ndarray, hessian=hessian, seen=curvatures) -> np.ndarray:
            product = hessian @ vector + problem.regularization * vector
            seen.append(vector @ product)
            return product

        whole = LinearOperator(hessian.shape, multiply, dtype=float)
        step, unsolved = cg(whole, right, rtol=tolerance, maxiter=steps)
        changes[run - 1] = np.nan if unsolved or min(curvatures) <= 0 else step
    return changes


def compare_influence(minimizers: torch.Tensor, predicted: np.ndarray) -> pd.DataFrame:
    """A row a run without examples: ``apart``, the norm of its change between the ``minimizers``
    (R + 1, P); ``influence``, the norm of the change ``predicted`` (R, P); ``influence_ratio`` of
    the second to the first; ``influence_cosine`` of the angle between both changes.
    """
    changes = (minimizers[1:] - minimizers[0]).double().numpy()
    true, norms = np.linalg.norm(changes, axis=1), np.linalg.norm(predicted, axis=1)
    table = pd.DataFrame({"apart": true, "influence": norms, "influence_ratio": norms / true})
    return table.assign(influence_cosine=(changes * predicted).sum(1) / (true * norms))


@dataclass(frozen=True)
class Estimated(Constants):
    """The constants of a network seen from a start; curvatures include the regulariser.

    ``curvature`` and ``curvature_without`` are the smallest eigenvalues found, of F_S and of the
    F_{S∖K} looked at; ``smoothness`` and ``sharpness_without`` the largest; each moved outwards by
    its error. Of what a run leaves out, with the regulariser's part under N1, ``sharpness`` (R,) is
    the norm of the Hessian at w*_S and ``gradient`` (R,) that of the gradient at the run's own
    minimiser. ``at_minimum`` is the smallest eigenvalue at w*_S, ``hessian_lipschitz`` T5's M,
    ``residual`` the largest norm of the gradient at a minimiser.
    """

    at_minimum: float
    hessian_lipschitz: float
    residual: float


def estimate(
    problem: Retraining, points: torch.Tensor, residual: np.ndarray, few: int = 2
) -> Estimated:
    """Constants from the Hessians at the minimiser of F_S, for now also the start, and at the
    minimisers of ``few`` objectives without examples, those farthest from it; as of ``minimize``.
    """
    apart = _norms(points[1:] - points[0])
    chosen = np.argsort(apart)[-few:] + 1
    at_end, without = problem.ends(points[0]), [problem.ends(points[run], run) for run in chosen]
    high_without = max(found.high for found in without)
    held_out = []
    for rows in torch.from_numpy(problem.left_out)[:, None]:
        matrix = network.hessian(
            lambda w, rows=rows: problem.losses(w[None], rows).sum(), points[0]
        )
        held_out.append(network.ends(matrix, tolerance=0.05)[:2])
    k, own = problem.left_out.shape[1], float(problem.normalization == "N1")
    gradients = problem.held_out(points[1:]) + own * problem.pull(points[1:])
    return Estimated(
        curvature=at_end.low,
        smoothness=max(at_end.high, high_without),
        curvature_without=min(found.low for found in without),
        sharpness_without=high_without,
        sharpness=np.abs(np.array(held_out) + own * k * problem.regularization).max(1),
        gradient=k * _norms(gradients),
        distance=0.0,
        distance_without=apart,
        shift=apart,
        at_minimum=at_end.low,
        hessian_lipschitz=problem.change_of_hessian(points[chosen[-1]], points[0]),
        residual=residual.max(),
    )


def widened(
    known: Estimated, problem: Retraining, minimum: torch.Tensor, point: torch.Tensor, at: Ends
) -> Estimated:
    """The constants, widened by what the Hessian of F_S is at another ``point`` (P,)."""
    return replace(
        known,
        curvature=min(known.curvature, at.low),
        smoothness=max(known.smoothness, at.high),
        hessian_lipschitz=max(known.hessian_lipschitz, problem.change_of_hessian(point, minimum)),
    )


def compare(
    problem: Retraining, runs: Descent, rate: float, known: Estimated | Inapplicable
) -> pd.DataFrame:
    """A row a theorem and number of steps: measured beside the bound, or why there is none.

    ``known`` are the constants, or why there are none. Columns: ``theorem``; ``steps`` (−1: at the
    minimisers); ``measured_mean``, ``measured_max`` over the R runs; ``bound_mean``, ``bound_max``
    over them (NaN without a bound); ``ratio``, the largest measured / bound; ``order``, Spearman's
    rank correlation of measured and bound over the runs, where the bound differs between them;
    ``comparisons`` and ``violations``, counted over runs; ``reason``, empty where there is a bound.
    """
    steps, k, frames = np.arange(1, len(runs.apart)), problem.left_out.shape[1], []
    path = {
        "n": problem.losses.n,
        "rate": rate,
        "normalization": problem.normalization,
        "steps": steps[:, None],
        # The largest gradient at the iterates that the recursion of T1 looks at.
        "lipschitz": k * runs.lipschitz.max(),
    }
    along = ("T1", "T1c", "T2", "T2'", "T4", "T5") if k == 1 else ("T1", "T1c")
    for theorem in (*along, "T3"):
        measured, reason = runs.apart[1:], ""
        if theorem == "T3":
            shift = getattr(known, "shift", np.full(len(problem.left_out), np.nan))
            measured, steps = shift[None], np.array([-1])
        limit = np.full_like(measured, np.nan)
        try:
            limit[:] = _bound(theorem, known, path)
        except Inapplicable as error:
            reason = str(error)
        columns = {
            "theorem": theorem,
            "steps": steps,
            "measured_mean": measured.mean(1),
            "measured_max": measured.max(1),
            "bound_mean": limit.mean(1),
            "bound_max": limit.max(1),
            "ratio": (measured / limit).max(1),
            "order": [_order(*pair) for pair in zip(measured, limit, strict=True)],
            "comparisons": measured.shape[1] * (not reason),
            "violations": (measured > limit * (1 + 1e-6) + ROUNDING).sum(1),
            "reason": reason,
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def _bound(theorem: str, known: Estimated | Inapplicable, path: dict) -> np.ndarray:
    """(T, R) or what broadcasts to it; raises ``Inapplicable`` where an assumption fails."""
    if isinstance(known, Inapplicable):
        raise known
    require(theorem == "T1" or known.curvature >= 0, "curvature ≥ 0", curvature=known.curvature)
    if theorem not in ("T1", "T1c"):
        off = known.residual / known.curvature
        found = off <= RESIDUAL * known.shift.mean()
        require(found, "minimisers are found", residual_over_mu=off)
    if theorem != "T5":
        return quadratic.bound(theorem.replace("'", "′"), known, **path)
    reach = max(known.distance, (known.distance_without + known.shift).max())
    local = quadratic.local_curvature(
        curvature=known.at_minimum, hessian_lipschitz=known.hessian_lipschitz, reach=reach
    )
    return quadratic.bound("T1", known, **path, curvature=local)


def _order(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's ρ, NaN where there is none."""
    differ = len(other) > 2 and np.ptp(other) > 0 and np.ptp(one) > 0
    return float(stats.spearmanr(one, other).statistic) if differ else np.nan


def study(
    problem: Retraining,
    origin: torch.Tensor,
    at_origin: Ends,
    *,
    start_factors: Sequence[float] = (0.0,),
    rates: Sequence[float] = (1.0,),
    steps: int = 20,
    search: int = 80,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Look for minimisers, estimate the constants, run in the precision of ``origin``, compare.

    Three tables: ``compare`` at every start and rate; a row for each of these, with the largest of
    every constant, the means of the third table and the rank correlation of its norms; and
    ``compare_influence``, empty where no minimiser was looked for.

    Parameters
    ----------
    origin, at_origin : weights o (P,), and ``problem.ends`` there
    start_factors : s starts the runs at o + s (w*_S − o), on the line from the origin to the
        minimiser of all examples; what the Hessian is there widens the constants
    rates : as factors of the largest learning rate that T1 allows, 2 / (β + μ): above 1 it says
        nothing
    search : steps in which the minimisers have to be found
    """
    low, high, *_ = at_origin
    known: Estimated | Inapplicable
    try:
        require(low > 0, "curvature > 0 at the start", curvature=low)
        how = {"curvature": low / 2, "smoothness": 2.5 * high, "steps": search}
        minimizers, residual = minimize(problem, origin, **how)
        minimum, known = minimizers[0], estimate(problem, minimizers, residual)
        known = widened(known, problem, minimum, origin, at_origin)
        removals = compare_influence(minimizers, influence(problem, minimum))
        order = _order(removals["influence"], removals["apart"])
        means = removals.mean(skipna=False).to_dict() | {"influence_order": order}
    except Inapplicable as error:
        known, removals, means = error, pd.DataFrame(), {}
    case = {
        "n": problem.losses.n,
        "removed": problem.left_out.shape[1],
        "regularization": problem.regularization,
        "normalization": problem.normalization,
    }
    bounds, constants = [], []
    for factor in start_factors:
        start, values = origin, {"curvature": low, "smoothness": high, "reason": str(known)}
        if isinstance(known, Estimated):
            if factor:
                start = origin + factor * (minimum - origin)
                known = widened(known, problem, minimum, start, problem.ends(start))
            away = _norms(minimizers - start)
            known = replace(known, distance=away[0], distance_without=away[1:])
            values = {name: np.max(value) for name, value in vars(known).items()}
            values |= means | {"reason": ""}
        for share in rates:
            rate = share * 2 / (values["smoothness"] + max(values["curvature"], 0.0))
            runs = descend(problem, start, rate=rate, steps=steps)
            told = case | {"start_factor": factor, "rate_factor": share, "rate": rate}
            bounds.append(compare(problem, runs, rate, known).assign(**told))
            told["lipschitz"] = runs.lipschitz.max()
            told["loss_start"], told["loss_end"] = runs.losses[[0, -1], 0]
            told["moved"] = float(_norms(runs.weights[0] - start))
            constants.append(told | values)
    return pd.concat(bounds, ignore_index=True), pd.DataFrame(constants), removals
