"""A real network fine-tuned with and without some of its examples, with the bounds beside.

The objective is ``F(w) = (weighted sum of the losses) + λ/2 ‖w − a‖²``, the L2-SP form: the
regulariser pulls towards an anchor a and stands outside of the sum, with its whole weight in every
run. Weights of the losses: 1/n each in the full run; without a set K of k examples, 1/(n − k) each
of the rest (N1) or 1/n (N2). Then the regulariser cancels from ``∇F_S − ∇F_{S∖K}``, which is

    (k/n) (mean_K ∇f − mean_rest ∇f)   (N1)        (k/n) mean_K ∇f   (N2),

so the Lipschitz constant of T1 is that of the losses alone, and T1 to T4 hold with k/n in place of
1/n (derived here, grade D, for a regulariser of whole weight; k = 1 is leave-one-out). In the terms
of T2 to T4 the held-out loss is ``f_i + λ/2 ‖w − a‖²`` under N1 and f_i under N2.

T1 to T5 (``lib.theory.quadratic``) assume curvature between μ and β wherever the runs go, which can
be estimated at some points only. So what is checked is a *local quadratic model* of the network: a
measured value above a bound would refute its constants and not the theorem. Where an estimate shows
that an assumption fails, there is no bound, and the reason is recorded. Row 0 of arrays is the full
run, rows 1 … R those without examples.

A Hessian is never formed: it is known only through its products with vectors. Lanczos' method
(ARPACK's, in scipy) finds its extreme eigenvalues from them (Golub & Van Loan, Matrix Computations,
§10.1). How near a pair (θ, y) is, its residual ``‖H y − θ y‖`` says: some eigenvalue of H lies that
close to θ (§8.1). It does not say that this is *the* extreme one; a random start vector makes
missing it improbable.
"""

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import stats
from scipy.sparse.linalg import LinearOperator, cg, eigsh
from torch.nn import functional
from torch.nn.utils import parameters_to_vector

from lib.data.examples import Encoded, Loader
from lib.models import backbones
from lib.theory import quadratic
from lib.theory.assumptions import Inapplicable, require
from lib.theory.descent import shares

#: A minimiser is taken as found where gradient norm / μ is at most this share of what is measured.
RESIDUAL = 0.02
#: Single precision moves a difference of weights by about this much.
ROUNDING = 2e-6


def _norms(vectors: torch.Tensor) -> np.ndarray:
    return torch.linalg.vector_norm(vectors, dim=-1).double().numpy()


class TextLosses:
    """Cross-entropy of a classifier on n short texts, dropout off, as a function of its weights.

    Embeddings of words and positions that do not occur in the texts are cut off: their gradient is
    zero whatever the weights, so they would never move. ``start`` (P,) holds the weights that are
    left, float64. Losses are computed in the precision of the weights given.

    Raises ``ValueError`` for other backbones than BERT's, and for tasks that are no classification.
    """

    def __init__(self, model: torch.nn.Module, data: Encoded) -> None:
        if model.config.model_type != "bert" or data.choices > 1 or data.labels.dtype.kind == "f":
            raise ValueError(
                f"{model.config.model_type} with labels {data.labels.dtype}, {data.choices} "
                "candidates; expected a BERT and class labels"
            )
        self.model = copy.deepcopy(model).eval()
        # The fused kernels of attention cannot be differentiated twice.
        self.model.set_attn_implementation("eager")
        self.n = len(data)
        self.inputs, self.labels = Loader(data, torch.device("cpu")).batch(np.arange(self.n))
        tokens = self.inputs["input_ids"]
        used, self.inputs["input_ids"] = torch.unique(tokens, return_inverse=True)
        embeddings = backbones.encoder(self.model).embeddings
        _keep(embeddings.word_embeddings, used)
        _keep(embeddings.position_embeddings, torch.arange(tokens.shape[1]))
        named = dict(self.model.named_parameters())
        self.shapes = {name: weight.shape for name, weight in named.items()}
        self.sizes = [weight.numel() for weight in named.values()]
        self.start = parameters_to_vector(named.values()).detach().double()

    def _one(
        self, weights: torch.Tensor, inputs: dict[str, torch.Tensor], labels: torch.Tensor
    ) -> torch.Tensor:
        parts = zip(self.shapes.items(), weights.split(self.sizes), strict=True)
        named = {name: part.view(shape) for (name, shape), part in parts}
        mask = backbones.additive_mask(self.model, inputs["attention_mask"]).to(weights.dtype)
        arguments = {**inputs, "attention_mask": mask}
        logits = torch.func.functional_call(self.model, named, kwargs=arguments).logits
        return functional.cross_entropy(logits, labels, reduction="none")

    def __call__(self, weights: torch.Tensor, rows: torch.Tensor | None = None) -> torch.Tensor:
        """Losses of R weight vectors (R, P): (R, n), or (R, K) of examples ``rows`` (R, K)."""
        inputs, labels, dim = self.inputs, self.labels, None
        if rows is not None:
            inputs = {name: value[rows] for name, value in inputs.items()}
            labels, dim = labels[rows], 0
        return torch.func.vmap(self._one, in_dims=(0, dim, dim))(weights, inputs, labels)


def _keep(embedding: torch.nn.Embedding, rows: torch.Tensor) -> None:
    """Cut an embedding down to some of its rows, in place."""
    embedding.weight = torch.nn.Parameter(embedding.weight.detach()[rows])
    embedding.num_embeddings = len(rows)


def short_rows(data: Encoded, n: int, *, longest: int, seed: int = 0) -> np.ndarray:
    """(n,) rows of at most ``longest`` tokens, classes in turn; a larger n adds to a smaller one.

    Raises ``ValueError`` where there are too few.
    """
    rng = np.random.default_rng(seed)
    short = rng.permutation(np.flatnonzero(data.lengths <= longest))
    classes = [short[data.labels[short] == label] for label in np.unique(data.labels)]
    each = -(-n // len(classes))
    if min(map(len, classes)) < each:
        sizes = [len(rows) for rows in classes]
        raise ValueError(f"n = {n}, but rows of at most {longest} tokens are {sizes} by class")
    return np.stack([rows[:each] for rows in classes], 1).ravel()[:n]


class Ends(NamedTuple):
    """Ends of a spectrum, each moved outwards by the residual of what was found: eigenvalues lie
    between ``low`` and ``low + 2 low_error``, and between ``high − 2 high_error`` and ``high``.
    """

    low: float
    high: float
    low_error: float
    high_error: float


def hessian(loss: Callable[[torch.Tensor], torch.Tensor], weights: torch.Tensor) -> LinearOperator:
    """Products with the Hessian (P, P) of ``loss``, (P,) → a number, at ``weights`` (P,), in
    float64, by differentiating the gradient again, whose graph lives as long as the operator.

    A product that is not finite raises ``ValueError``.
    """
    weights = weights.detach().double().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(weights), weights, create_graph=True)

    def multiply(vector: np.ndarray) -> np.ndarray:
        along = gradient @ torch.from_numpy(vector.ravel())
        product = torch.autograd.grad(along, weights, retain_graph=True)[0].numpy()
        if not np.isfinite(product).all():
            raise ValueError("a product with the Hessian is not finite")
        return product

    return LinearOperator((len(weights),) * 2, multiply, dtype=float)


def ends(matrix: LinearOperator, *, tolerance: float = 1e-3) -> Ends:
    """Smallest and largest eigenvalue of a symmetric matrix (P, P) that is known by its products.

    ``tolerance`` is that of the residuals, as a share of the distance between both ends, or of the
    norm. Raises what ``scipy.sparse.linalg.eigsh`` raises where it does not converge.
    """
    size = matrix.shape[0]
    start = np.random.default_rng(0).normal(size=size)
    # The end of larger magnitude, and the other one as the end of larger magnitude from there:
    # ARPACK's tolerance is a share of the eigenvalue, and an end may be close to 0.
    found, shift = [], 0.0
    for _ in range(2):
        moved = LinearOperator(
            matrix.shape, lambda v, by=shift: matrix @ v - by * v.ravel(), dtype=float
        )
        value, residual = 0.0, 0.0  # of a multiple of the identity, whose ends are the same
        if np.linalg.norm(moved @ start) > 1e-12 * abs(shift) * np.linalg.norm(start):
            # A small basis, as a product of a network is dear and some per cent usually suffice.
            basis = min(size, 8)
            (value,), vector = eigsh(moved, 1, which="LM", tol=tolerance, v0=start, ncv=basis)
            residual = float(np.linalg.norm(moved @ vector[:, 0] - value * vector[:, 0]))
        shift += float(value)
        found.append((shift, residual))
    (low, low_error), (high, high_error) = sorted(found)
    return Ends(low - low_error, high + high_error, low_error, high_error)


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
        return hessian(lambda point: self.losses(point[None])[0] @ share, weights)

    def ends(self, weights: torch.Tensor, run: int = 0) -> Ends:
        """Ends of the spectrum of a run's objective, with the λ of the regulariser, to 2 %."""
        found = ends(self.hessian(weights, run), tolerance=0.02)
        low, high = (self.regularization + end for end in found[:2])
        return found._replace(low=low, high=high)

    def change_of_hessian(self, here: torch.Tensor, there: torch.Tensor) -> float:
        """``‖∇²F_S(here) − ∇²F_S(there)‖ / ‖here − there‖``: a lower estimate of T5's M."""
        apart = _norms(here.double() - there.double())
        if apart <= ROUNDING:
            return 0.0
        found = ends(self.hessian(here) - self.hessian(there), tolerance=0.02)
        return float(np.abs(found[:2]).max() / apart)


class Descent(NamedTuple):
    """What gradient descent did, after t = 0 … T steps.

    ``losses`` (T + 1, R + 1), the losses' part. Of the full run (T + 1,): ``distance`` from the
    start, ``path``, the way that it went. ``apart`` (T + 1, R) ‖w_t − v_t‖ of full run and run
    without examples. ``lipschitz`` (T + 1, R) the larger norm of the two mean gradients of which
    their objectives differ, at the run without the examples, where T1's proof takes it (under N2
    there is only the first). ``weights`` (R + 1, P) are the last.
    """

    losses: np.ndarray
    distance: np.ndarray
    path: np.ndarray
    apart: np.ndarray
    lipschitz: np.ndarray
    weights: torch.Tensor

    def reach(self, loss: float) -> dict[str, float]:
        """Where the full run's loss first is ``loss``: ``steps``, ``distance``, ``path``, and
        ``moved``, the mean of ``apart``; on a line between two steps. NaN where it never is.
        """
        ways = {"distance": self.distance, "path": self.path, "moved": self.apart.mean(1)}
        ways["steps"] = np.arange(len(self.losses))
        below = np.flatnonzero(self.losses[:, 0] <= loss)
        if not len(below):
            return dict.fromkeys(ways, np.nan)
        two = slice(max(below[0] - 1, 0), below[0] + 1)
        falling = -self.losses[two, 0]
        return {name: float(np.interp(-loss, falling, way[two])) for name, way in ways.items()}


def descend(
    problem: Retraining, start: torch.Tensor, *, rate: float, steps: int, until: float = -np.inf
) -> Descent:
    """Gradient descent of all R + 1 runs together from ``start`` (P,), in its precision, for so
    many steps, or until the full run's loss is at most ``until``.
    """
    weights = start.expand(len(problem.left_out) + 1, -1)
    pages, path = [], 0.0
    for step in range(steps + 1):
        gradients, values = problem.gradients(weights)
        lipschitz = _norms(problem.held_out(weights[1:]))
        if problem.normalization == "N1":
            lipschitz = np.maximum(lipschitz, _norms(gradients[1:]))
        distance, apart = _norms(weights[0] - start), _norms(weights[1:] - weights[0])
        pages.append((values.double().numpy(), distance, path, apart, lipschitz))
        if step == steps or values[0] <= until:
            return Descent(*map(np.stack, zip(*pages, strict=True)), weights)
        moves = rate * (gradients + problem.pull(weights))
        weights, path = weights - moves, path + _norms(moves[0])


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
class Estimated(quadratic.Constants):
    """The constants of a network seen from a start; curvatures include the regulariser.

    ``curvature`` and ``curvature_without`` are the smallest eigenvalues found, of F_S and of the
    F_{S∖K} looked at; ``smoothness`` and ``sharpness_without`` the largest; each moved outwards by
    its error. Of what a run leaves out, with the regulariser's part under N1, ``sharpness`` (R,) is
    the norm of the Hessian at w*_S and ``gradient`` (R,) that of the gradient at the run's own
    minimiser. ``at_minimum`` is the smallest eigenvalue at w*_S, ``hessian_lipschitz`` T5's M,
    ``residual`` the largest norm of the gradient at a minimiser. NaN where no minimiser was sought.
    """

    at_minimum: float
    hessian_lipschitz: float
    residual: float

    def seen_from(
        self, start: torch.Tensor, at_start: Ends, problem: Retraining, minimizers: torch.Tensor
    ) -> "Estimated":
        """With the distances to the minimisers, and the Hessian of F_S at the ``start`` (P,)."""
        away, change = _norms(minimizers - start), problem.change_of_hessian(start, minimizers[0])
        return replace(
            self,
            curvature=min(self.curvature, at_start.low),
            smoothness=max(self.smoothness, at_start.high),
            hessian_lipschitz=max(self.hessian_lipschitz, change),
            distance=away[0],
            distance_without=away[1:],
        )


def estimate(
    problem: Retraining, minimizers: torch.Tensor, residual: np.ndarray, few: int = 2
) -> Estimated:
    """Constants from the Hessians at the minimiser of F_S, and at those of ``few`` objectives
    without examples, those farthest from it; seen from the minimiser. Arguments as of ``minimize``.
    """
    minimum, apart = minimizers[0], _norms(minimizers[1:] - minimizers[0])
    chosen = np.argsort(apart)[-few:] + 1
    at_end, without = problem.ends(minimum), [problem.ends(minimizers[r], r) for r in chosen]
    high_without = max(found.high for found in without)
    held_out = []
    for rows in torch.from_numpy(problem.left_out)[:, None]:
        matrix = hessian(lambda w, rows=rows: problem.losses(w[None], rows).sum(), minimum)
        held_out.append(ends(matrix, tolerance=0.05)[:2])
    k, own = problem.left_out.shape[1], float(problem.normalization == "N1")
    gradients = problem.held_out(minimizers[1:]) + own * problem.pull(minimizers[1:])
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
        hessian_lipschitz=problem.change_of_hessian(minimizers[chosen[-1]], minimum),
        residual=residual.max(),
    )


def compare(problem: Retraining, runs: Descent, rate: float, known: Estimated) -> pd.DataFrame:
    """A row a theorem and number of steps: measured beside the bound, or why there is none.

    Columns: ``theorem``; ``steps`` (−1: at the minimisers); ``measured_mean``, ``measured_max``
    over the R runs; ``bound_mean``, ``bound_max`` over them (NaN without a bound); ``ratio``, the
    largest measured / bound; ``order``, Spearman's rank correlation of measured and bound over the
    runs, where the bound differs between them; ``comparisons`` and ``violations``, counted over
    runs; ``reason``, empty where there is a bound.
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
    for theorem in ("T1", "T1c", "T2", "T2′", "T4", "T5", "T3") if k == 1 else ("T1", "T1c", "T3"):
        measured = known.shift[None] if theorem == "T3" else runs.apart[1:]
        limit, reason = np.full_like(measured, np.nan), ""
        try:
            limit[:] = _bound(theorem, known, path)
        except Inapplicable as error:
            reason = str(error)
        columns = {
            "theorem": theorem,
            "steps": -1 if theorem == "T3" else steps,
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


def _bound(theorem: str, known: Estimated, path: dict) -> np.ndarray:
    """(T, R) or what broadcasts to it; raises ``Inapplicable`` where an assumption fails."""
    require(known.curvature > 0, "curvature > 0 where one looks", curvature=known.curvature)
    if theorem not in ("T1", "T1c"):
        off = known.residual / known.curvature
        found = off <= RESIDUAL * known.shift.mean()
        require(found, "minimisers are found", residual_over_mu=off)
    if theorem != "T5":
        return quadratic.bound(theorem, known, **path)
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
    """Look for minimisers, in so many steps of ``search``; estimate the constants; run, compare.

    Runs start at o + s (w*_S − o), s of ``start_factors``, from the ``origin`` o (P,), in its
    precision, where ``problem.ends`` are ``at_origin``. ``rates`` are in units of the largest that
    T1 allows, 2 / (β + μ): above 1 it says nothing.

    Three tables: ``compare`` at every start and rate; a row for each of these, with the largest of
    every constant, the means of the third table and the rank correlation of its norms; and
    ``compare_influence``, empty where the curvature at the origin leaves no minimiser to look for.
    """
    low, high, *_ = at_origin
    known = Estimated(low, high, *[np.full(len(problem.left_out), np.nan)] * 10)
    removals, means, minimizers = pd.DataFrame(), {}, None
    if low > 0:
        how = {"curvature": low / 2, "smoothness": 2.5 * high, "steps": search}
        minimizers, residual = minimize(problem, origin, **how)
        known = estimate(problem, minimizers, residual)
        removals = compare_influence(minimizers, influence(problem, minimizers[0]))
        means = removals.mean(skipna=False).to_dict()
        means["influence_order"] = _order(removals["influence"], removals["apart"])
    bounds, constants = [], []
    for factor in start_factors:
        start, here = origin, known
        if minimizers is not None:
            start = origin + factor * (minimizers[0] - origin)
            at_start = problem.ends(start) if factor else at_origin
            here = known.seen_from(start, at_start, problem, minimizers)
        for share in rates:
            rate = share * 2 / (here.smoothness + max(here.curvature, 0.0))
            runs = descend(problem, start, rate=rate, steps=steps)
            case = {"start_factor": factor, "rate_factor": share, "rate": rate}
            bounds.append(compare(problem, runs, rate, here).assign(**case))
            case["reason"] = bounds[-1]["reason"].iloc[0] if here.curvature <= 0 else ""
            case |= {"lipschitz": runs.lipschitz.max(), "moved": runs.distance[-1]}
            case["loss_start"], case["loss_end"] = runs.losses[[0, -1], 0]
            case |= {name: np.max(value) for name, value in vars(here).items()} | means
            constants.append(case)
    return pd.concat(bounds, ignore_index=True), pd.DataFrame(constants), removals
