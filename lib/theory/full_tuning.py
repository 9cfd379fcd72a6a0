"""The bounds of full fine-tuning on a real network, with constants estimated from the network.

T1 to T5 (``lib.theory.quadratic``) assume curvature between μ and β wherever the runs go. Of a
network that can be estimated at some points only. So what is checked here is whether the *local
quadratic model* describes the network: it is no theorem about it, and a measured value above a
bound would refute the model's constants and not the theorem. Where an estimate shows that an
assumption fails, there is no bound; the reason is recorded instead.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from scipy import stats

from lib.theory import curvature, quadratic
from lib.theory.assumptions import Inapplicable, require
from lib.theory.curvature import Extremes, Product
from lib.theory.quadratic import Constants
from lib.theory.retraining import Descent, Minimizers, Retraining

#: A minimiser is taken as found where gradient norm / μ is at most this share of what is measured.
RESIDUAL = 0.02
#: Single precision moves a difference of weights by about this much.
ROUNDING = 2e-6


def spectrum(problem: Retraining, weights: torch.Tensor, runs: np.ndarray | list[int]) -> Extremes:
    """Ends of the spectra of the losses' part (no regulariser) of objectives ``runs`` (B,).

    ``weights`` is (B, P), a point for each of them. To 2 %.
    """
    products = (
        _product(problem, point, problem.shares[run])
        for point, run in zip(weights, runs, strict=True)
    )
    return curvature.extremes(products, weights.shape[1], tolerance=0.02)


def _product(problem: Retraining, weights: torch.Tensor, shares: torch.Tensor) -> Product:
    """Products with the Hessian of the losses weighted by ``shares`` (n,), at ``weights`` (P,)."""
    return curvature.hessian_product(
        lambda point: problem.losses(point[None])[0] @ shares, weights.double()
    )


def held_out_spectrum(problem: Retraining, weights: torch.Tensor) -> Extremes:
    """Spectra of the sums of the losses left out, (R,), all at one point (P,), to 5 %."""

    def product(rows: torch.Tensor) -> Product:
        return curvature.hessian_product(
            lambda point: problem.losses(point[None], rows[None]).sum(), weights.double()
        )

    products = map(product, torch.from_numpy(problem.left_out))
    return curvature.extremes(products, len(weights), tolerance=0.05)


def change_of_hessian(problem: Retraining, here: torch.Tensor, there: torch.Tensor) -> float:
    """``‖∇²F_S(here) − ∇²F_S(there)‖ / ‖here − there‖``: a lower estimate of T5's M."""
    one, other = (_product(problem, point, problem.shares[0]) for point in (here, there))
    spectrum = curvature.extremes([lambda v: one(v) - other(v)], len(here), tolerance=0.02)
    ends = np.abs([spectrum.low - spectrum.low_error, spectrum.high + spectrum.high_error])
    return float(ends.max() / torch.linalg.vector_norm(here.double() - there.double()))


@dataclass(frozen=True)
class Estimated(Constants):
    """The constants of a network seen from a start; curvatures include the regulariser.

    ``curvature`` and ``curvature_without`` are the smallest eigenvalues found, of F_S and of the
    F_{S∖K} looked at; ``smoothness`` and ``sharpness_without`` the largest; each moved outwards by
    its error. ``sharpness`` (R,) is the norm of the Hessian of what is left out, ``at_minimum`` the
    smallest eigenvalue at w*_S, ``hessian_lipschitz`` T5's M, ``residual`` the largest norm of the
    gradient at a minimiser.
    """

    at_minimum: float
    hessian_lipschitz: float
    residual: float


def bounded(found: Extremes) -> tuple[float, float]:
    """The ends of several spectra together, moved outwards by their errors."""
    return float((found.low - found.low_error).min()), float((found.high + found.high_error).max())


def estimate(
    problem: Retraining, start: torch.Tensor, minimizers: Minimizers, at_start: Extremes, few: int
) -> Estimated:
    """Constants from the Hessians at the start (``at_start``, of F_S), at the minimiser of F_S, and
    at the minimisers of ``few`` objectives without examples, those farthest from it.
    """
    points = minimizers.weights
    chosen = np.argsort(minimizers.apart)[-few:] + 1
    at_end = spectrum(problem, points[:1], [0])
    without = spectrum(problem, points[chosen], chosen)
    held_out = held_out_spectrum(problem, points[0])
    ends = [bounded(at_start), bounded(at_end)]
    low, high = min(e[0] for e in ends), max(e[1] for e in ends)
    low_without, high_without = bounded(without)
    far = [point for point in (start, points[chosen[-1]]) if not torch.equal(point, points[0])]
    moving = max(change_of_hessian(problem, point.double(), points[0].double()) for point in far)
    whole = problem.regularization
    own = problem.left_out.shape[1] * whole if problem.normalization == "N1" else 0.0
    sharp = np.maximum(
        np.abs(held_out.low - held_out.low_error + own),
        np.abs(held_out.high + held_out.high_error + own),
    )
    return Estimated(
        curvature=whole + low,
        smoothness=whole + max(high, high_without),
        curvature_without=whole + low_without,
        sharpness_without=whole + high_without,
        sharpness=sharp,
        gradient=minimizers.held_out,
        shift=minimizers.apart,
        at_minimum=whole + ends[1][0],
        hessian_lipschitz=moving,
        residual=float(minimizers.residual.max()),
        **distances(start, minimizers),
    )


def distances(start: torch.Tensor, minimizers: Minimizers) -> dict[str, np.ndarray]:
    """The constants that say where a start (P,) is."""
    distances = minimizers.distances(start)
    return {"distance": distances[0], "distance_without": distances[1:]}


def seen_from(
    problem: Retraining, start: torch.Tensor, minimizers: Minimizers, known: Estimated
) -> Estimated:
    """The constants at another start (P,), widened by what the Hessian of F_S is there."""
    low, high = bounded(spectrum(problem, start.double()[None], [0]))
    end = minimizers.weights[0].double()
    far = not torch.allclose(start.double(), end, atol=1e-6)
    moving = change_of_hessian(problem, start.double(), end) if far else 0.0
    return replace(
        known,
        curvature=min(known.curvature, problem.regularization + low),
        smoothness=max(known.smoothness, problem.regularization + high),
        hessian_lipschitz=max(known.hessian_lipschitz, moving),
        **distances(start, minimizers),
    )


def bounds(
    problem: Retraining, descent: Descent, rate: float, known: Estimated | None, failing: str = ""
) -> Iterator[tuple[str, np.ndarray, np.ndarray | None, np.ndarray, str]]:
    """Theorem, measured (T, R), bound (T, R) or None, steps (T,), reason why there is no bound.

    ``failing`` says why there are no constants, where there are none.
    """
    steps = np.arange(1, len(descent.apart))
    removed = problem.left_out.shape[1]
    path = {
        "n": problem.losses.n,
        "rate": rate,
        "normalization": problem.normalization,
        "steps": steps[:, None],
        # The largest gradient at the iterates that the recursion of T1 looks at.
        "lipschitz": removed * descent.lipschitz.max(),
    }

    def make(theorem: str) -> np.ndarray:
        if theorem == "T1c":
            require(known.curvature >= 0, "curvature ≥ 0", curvature=known.curvature)
        elif theorem != "T1":
            require(known.curvature > 0, "curvature > 0", curvature=known.curvature)
            off = known.residual / known.curvature
            found = off <= RESIDUAL * known.shift.mean()
            require(found, "minimisers are found", residual_over_mu=off)
        if theorem != "T5":
            return quadratic.bound(theorem.replace("'", "′"), known, **path)
        reach = max(known.distance, (known.distance_without + known.shift).max())
        local = quadratic.local_curvature(
            curvature=known.at_minimum, hessian_lipschitz=known.hessian_lipschitz, reach=reach
        )
        return quadratic.bound("T1", replace(known, curvature=local), **path)

    along = ("T1", "T1c", "T2", "T2'", "T4", "T5") if removed == 1 else ("T1", "T1c")
    for theorem in (*along, "T3"):
        found, reason = None, failing
        if not failing:
            try:
                found = make(theorem)
            except Inapplicable as error:
                reason = str(error)
        if theorem == "T3":
            shift = known.shift if known else np.full(descent.apart.shape[1], np.nan)
            yield theorem, shift[None], found, np.array([-1]), reason
        else:
            yield theorem, descent.apart[1:], found, steps, reason


def _order(measured: np.ndarray, bound: np.ndarray) -> float:
    differ = len(bound) > 2 and np.ptp(bound) > 0 and np.ptp(measured) > 0
    return float(stats.spearmanr(measured, bound).statistic) if differ else np.nan


def compare(rows: Iterator[tuple], **fields: object) -> pd.DataFrame:
    """A row a theorem and number of steps: measured beside the bound, or why there is none.

    Columns: ``fields``; ``theorem``; ``steps`` (−1: at the minimisers); ``measured_mean``,
    ``measured_max`` over the R runs; ``bound_mean``, ``bound_max`` over them (NaN without a bound);
    ``ratio``, the largest measured / bound; ``order``, Spearman's rank correlation of measured and
    bound over the runs, where the bound differs between them; ``comparisons`` and ``violations``,
    counted over runs; ``reason``, empty where there is a bound.
    """
    table = []
    for theorem, measured, bound, steps, reason in rows:
        stated = bound is not None
        limit = np.broadcast_to(bound if stated else np.nan, measured.shape)
        for at, apart, most in zip(steps, measured, limit, strict=True):
            above = apart > most * (1 + 1e-6) + ROUNDING
            table.append(
                {
                    **fields,
                    "theorem": theorem,
                    "steps": int(at),
                    "measured_mean": apart.mean(),
                    "measured_max": apart.max(),
                    "bound_mean": most.mean(),
                    "bound_max": most.max(),
                    "ratio": (apart / most).max() if stated else np.nan,
                    "order": _order(apart, most),
                    "comparisons": len(apart) * stated,
                    "violations": int(above.sum()) * stated,
                    "reason": reason,
                }
            )
    return pd.DataFrame(table)
