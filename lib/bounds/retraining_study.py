"""One case of retraining without examples: constants, runs at several rates, bounds beside them."""

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch

from lib.bounds import full_tuning
from lib.bounds.assumptions import Inapplicable, require
from lib.bounds.curvature import Extremes
from lib.bounds.network import Losses
from lib.bounds.retraining import Minimizers, Retraining, descend, minimize


@dataclass(frozen=True)
class Case:
    """What one case varies.

    ``start`` names where the runs start; ``regularization`` is λ, ``removed`` how many examples
    each run leaves out; ``start_factor`` s puts the start at a + s (w*_S − a), on the line from
    the anchor a to the minimiser: 0 is the anchor, 1 the minimiser itself. ``rates`` are factors
    of the largest learning rate that T1 allows, 2 / (β + μ): above 1 it says nothing.
    """

    start: str
    regularization: float
    normalization: str = "N1"
    removed: int = 1
    start_factor: float = 0.0
    rates: tuple[float, ...] = (1.0,)
    steps: int = 30


@dataclass(frozen=True)
class Found:
    """The comparison (``full_tuning.compare``), the constants as a row, and the minimisers."""

    rows: pd.DataFrame
    constants: dict[str, object]
    minimizers: Minimizers | None


def study(
    losses: Losses,
    case: Case,
    anchor: torch.Tensor,
    left_out: np.ndarray,
    at_anchor: Extremes,
    *,
    few: int = 4,
    precision: torch.dtype = torch.float32,
    known: Found | None = None,
) -> Found:
    """Estimate the constants, run, compare.

    Parameters
    ----------
    anchor : (P,) of the regulariser
    left_out : (R, K) the examples that each run leaves out
    at_anchor : ends of the spectrum of the mean loss at the anchor (``full_tuning.spectrum``)
    few : of so many objectives without examples the Hessian is looked at
    precision : of the runs; curvature is always in float64
    known : an earlier result of the same objectives, whose minimisers are taken over
    """
    problem = Retraining(losses, left_out, anchor, case.regularization, case.normalization)
    begin = anchor.to(precision)
    low, high = full_tuning.bounded(at_anchor)
    low, high = case.regularization + low, case.regularization + high
    try:
        require(low > 0, "curvature > 0 at the start", curvature=low)
        minimizers = known.minimizers if known else None
        if minimizers is None:
            minimizers = minimize(problem, begin, curvature=low / 2, smoothness=1.5 * high)
        begin = begin + case.start_factor * (minimizers.weights[0] - begin)
        constants = full_tuning.estimate(problem, begin, minimizers, at_anchor, few)
        failing, low, high = "", constants.curvature, constants.smoothness
    except Inapplicable as error:
        constants, minimizers, failing = None, None, str(error)
    fields = {"n": losses.n} | {k: v for k, v in asdict(case).items() if k not in ("rates", "steps")}
    frames, ends = [], {}
    for factor in case.rates:
        rate = factor * 2 / (high + max(low, 0.0))
        made = descend(problem, begin, rate=rate, steps=case.steps)
        rows = full_tuning.bounds(problem, made, rate, begin, constants, minimizers, failing)
        frames.append(full_tuning.compare(rows, **fields, rate_factor=factor, rate=rate))
        if factor <= 1 or not ends:
            ends = {
                "lipschitz": made.lipschitz.max(),
                "loss_start": made.losses[0, 0],
                "loss_end": made.losses[-1, 0],
                "moved": made.moved[-1, 0],
            }
    values = {"curvature": low, "smoothness": high, **ends, "reason": failing}
    if constants is not None:
        values |= {k: v for k, v in asdict(constants).items() if k != "sharpness"}
        values |= {
            "sharpness": constants.sharpness.max(),
            "gradient": minimizers.held_out.max(),
            "distance": minimizers.distances(begin)[0],
            "apart": minimizers.apart.mean(),
            "residual": minimizers.residual.max(),
        }
    return Found(pd.concat(frames, ignore_index=True), fields | values, minimizers)
