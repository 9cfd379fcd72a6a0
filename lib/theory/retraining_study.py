"""One case of retraining without examples: constants, runs at several rates, bounds beside them."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from lib.theory import full_tuning
from lib.theory.assumptions import Inapplicable, require
from lib.theory.curvature import Extremes
from lib.theory.full_tuning import Estimated
from lib.theory.network import Losses
from lib.theory.retraining import Descent, Minimizers, Retraining, descend, minimize


@dataclass(frozen=True)
class Case:
    """What one case varies.

    ``regularization`` is λ. ``start_factor`` s puts the start at o + s (w*_S − o), on the line from
    the origin o to the minimiser of all examples: 0 is the origin, 1 the minimiser itself.
    ``rates`` are factors of the largest learning rate that T1 allows, 2 / (β + μ): above 1 it says
    nothing.
    """

    regularization: float
    normalization: str = "N1"
    start_factor: float = 0.0
    rates: tuple[float, ...] = (1.0,)
    steps: int = 20


@dataclass(frozen=True)
class Origin:
    """Where the runs start, (P,), the regulariser's anchor, (P,), and the ends of the spectrum of
    the mean loss at the start (no regulariser).
    """

    weights: torch.Tensor
    anchor: torch.Tensor
    spectrum: Extremes


@dataclass(frozen=True)
class Found:
    """The comparison (``full_tuning.compare``), the constants as a row, and what they stem from."""

    rows: pd.DataFrame
    summary: pd.DataFrame
    constants: Estimated | None
    minimizers: Minimizers | None


def origin_of(losses: Losses, anchor: torch.Tensor, weights: torch.Tensor | None = None) -> Origin:
    """Start at ``weights`` (P,), by default at the anchor."""
    weights = anchor if weights is None else weights
    problem = Retraining(losses, np.zeros((1, 1), int), anchor, 0.0)
    return Origin(weights, anchor, full_tuning.spectrum(problem, weights[None], [0]))


def fit(
    losses: Losses, anchor: torch.Tensor, regularization: float, *, rate: float, steps: int
) -> torch.Tensor:
    """(P,) weights after many steps on all examples: a place near a minimum, if there is one."""
    problem = Retraining(losses, np.zeros((0, 1), int), anchor, regularization)
    return descend(problem, anchor.float(), rate=rate, steps=steps).weights[0].double()


def study(
    losses: Losses,
    case: Case,
    origin: Origin,
    left_out: np.ndarray,
    *,
    few: int = 2,
    search: int = 80,
    precision: torch.dtype = torch.float32,
    known: Found | None = None,
) -> Found:
    """Estimate the constants, run, compare.

    Parameters
    ----------
    left_out : (R, K) the examples that each run leaves out
    few : of so many objectives without examples the Hessian is looked at
    search : steps in which the minimisers have to be found
    precision : of the runs; curvature is always in float64
    known : a result of the same objectives, whose constants and minimisers are taken over; at a
        start that is moved the Hessian is looked at again, and the constants are widened
    """
    problem = Retraining(losses, left_out, origin.anchor, case.regularization, case.normalization)
    begin = origin.weights.to(precision)
    low, high = (case.regularization + end for end in full_tuning.bounded(origin.spectrum))
    constants, minimizers, failing = None, None, ""
    try:
        require(low > 0, "curvature > 0 at the start", curvature=low)
        if known is None:
            minimizers = minimize(
                problem, begin, curvature=low / 2, smoothness=2.5 * high, steps=search
            )
            constants = full_tuning.estimate(problem, begin, minimizers, origin.spectrum, few)
        else:
            minimizers = known.minimizers
            here = full_tuning.distances(begin, minimizers)
            constants = replace(known.constants, **here)
        if case.start_factor:
            begin = begin + case.start_factor * (minimizers.weights[0] - begin)
            constants = full_tuning.seen_from(problem, begin, minimizers, constants)
        low, high = constants.curvature, constants.smoothness
    except Inapplicable as error:
        failing = str(error)
    fields = {
        "n": losses.n,
        "removed": left_out.shape[1],
        "regularization": case.regularization,
        "normalization": case.normalization,
        "start_factor": case.start_factor,
    }
    frames, summary = [], []
    for factor in case.rates:
        rate = factor * 2 / (high + max(low, 0.0))
        runs = descend(problem, begin, rate=rate, steps=case.steps)
        rows = full_tuning.bounds(problem, runs, rate, constants, failing)
        told = fields | {"rate_factor": factor, "rate": rate}
        frames.append(full_tuning.compare(rows, **told))
        summary.append(told | _ends(runs) | {"curvature": low, "smoothness": high})
    table = pd.DataFrame(summary).assign(reason=failing, **_values(constants))
    return Found(pd.concat(frames, ignore_index=True), table, constants, minimizers)


def _ends(descent: Descent) -> dict[str, float]:
    return {
        "lipschitz": descent.lipschitz.max(),
        "loss_start": descent.losses[0, 0],
        "loss_end": descent.losses[-1, 0],
        "moved": descent.moved[-1, 0],
    }


def _values(constants: Estimated | None) -> dict[str, float]:
    """The constants of a case as columns, the largest where they differ; nothing without any."""
    if constants is None:
        return {}
    names = ["curvature_without", "sharpness_without", "sharpness", "at_minimum"]
    names += ["hessian_lipschitz", "gradient", "distance"]
    largest = {name: float(np.max(getattr(constants, name))) for name in names}
    return largest | {"apart": constants.shift.mean(), "residual": constants.residual}
