"""All stability bounds of one small problem beside each other, each with what it bounds.

ℓ2-logistic classification of a separable simulated set. Every bound is about an algorithm of its
own (descent, minimiser, stochastic steps, maximum margin), so a row measures that algorithm:
bounds of different rows are about different numbers, and the smallest is not the best.
"""

import numpy as np
import pandas as pd

from benchmarks.coupled import LOSSES, Objective, Points, given_paths, with_replaced
from benchmarks.minimizers import leave_one_out_logistic
from lib.theory import classical, descent, head, margin, quadratic

COLUMNS = ["quantity", "formula", "bound", "bounds", "measured max", "measured mean", "ratio"]


def side_by_side(
    z: np.ndarray,
    rng: np.random.Generator,
    *,
    regularization: float = 0.1,
    steps: int = 200,
    runs: int = 200,
) -> pd.DataFrame:
    """A row a bound: formula, value, what of it is bounded over i, and the measured values.

    Parameters
    ----------
    z : (n, d) features times labels, separable, ‖z_i‖ ≤ 1 = B
    rng : draws the indices of the stochastic runs
    regularization : λ of (λ/2)‖w‖², kept when an example is left out
    steps : of descent with η = 1/β, β = 1/4 + λ, and of the stochastic runs with the same rate
    runs : coupled stochastic runs a replaced example, whose mean is shown

    Returns
    -------
    columns ``COLUMNS``. ``bounds`` says whether the bound is on every i (``max``) or on the mean
    over i; ``ratio`` is measured over bound, of that one. Raises ``ValueError`` for other z,
    ``Inapplicable`` where the set is not separable.
    """
    z = np.asarray(z, float)
    if z.ndim != 2 or np.linalg.norm(z, axis=1).max() > 1 + 1e-12:
        raise ValueError(f"z has shape {z.shape}; expected (n, d) with rows of norm ≤ 1")
    rows = [
        *_descent(z, regularization, steps),
        *_minimisers(z, regularization),
        _stochastic(z, rng, regularization, steps, runs),
        *_directions(z, regularization, steps),
    ]
    return pd.DataFrame(rows, columns=COLUMNS).set_index("quantity")


def _row(
    quantity: str, formula: str, bound: float, bounds: str, measured: np.ndarray
) -> tuple[str, str, float, str, float, float, float]:
    largest, mean = float(measured.max()), float(measured.mean())
    ratio = (largest if bounds == "max" else mean) / float(bound)
    return quantity, formula, float(bound), bounds, largest, mean, ratio


def _descent(z: np.ndarray, regularization: float, steps: int) -> list[tuple]:
    beta = 0.25 + regularization
    runs = descent.head_descent(z[None], 1 / beta, [steps], regularization=regularization)
    moved = descent.difference(runs.weights[0, 0, 0]).parameter
    # The regulariser is the same in both objectives: the gradients differ by those of the loss.
    known = dict(n=len(z), lipschitz=1.0, smoothness=beta, rate=1 / beta, steps=steps)
    curved = quadratic.strongly_convex(curvature=regularization, **known)
    return [
        _row("descent, T1", "2B/(λn) · (1 − (1 − ηλ)^t)", curved, "max", moved),
        _row("descent, T1c", "2ηBt/n", quadratic.convex(**known), "max", moved),
    ]


def _minimisers(z: np.ndarray, regularization: float) -> list[tuple]:
    n, moved = len(z), {}
    for normalization in ("N1", "N2"):
        full, without = leave_one_out_logistic(
            z, regularization=regularization, normalization=normalization
        )
        moved[normalization] = np.linalg.norm(full - without, axis=-1)
        if normalization == "N1":
            steepest = 1 + regularization * np.linalg.norm(without, axis=-1).max()
    gradient = quadratic.minimizers(n=n, gradient=steepest, curvature=regularization)
    kept = classical.regularized_norm(n=n, radius=1.0, regularization=regularization / 2)
    return [
        _row("minimiser, T3", "(B + λ‖w_{S^i}‖)/(λn)", gradient, "max", moved["N1"]),
        _row("minimiser, 1/n kept, Bousquet–Elisseeff 22", "κ/(2λ'n), λ' = λ/2", kept, "max",
             moved["N2"]),
    ]  # fmt: skip


def _stochastic(
    z: np.ndarray, rng: np.random.Generator, regularization: float, steps: int, runs: int
) -> tuple:
    # The minimiser of every objective here is in this ball, since F(0) = log 2.
    reach = np.sqrt(2 * np.log(2) / regularization)
    objective = Objective(LOSSES["logistic"], regularization, reach)
    n = len(z)
    samples = with_replaced(Points(z, np.zeros(n)), Points(-z, np.zeros(n)))
    beta = 0.25 + regularization
    drawn = rng.integers(n, size=(runs, steps))
    *_, last = given_paths(
        objective, samples, np.full(steps, 1 / beta), np.zeros(z.shape[1]), drawn
    )
    apart = np.linalg.norm(last[1:] - last[0], axis=-1).mean(-1)
    bound = classical.sgd_strongly_convex_parameters(
        n=n, lipschitz=objective.lipschitz(1.0), smoothness=beta, curvature=regularization,
        rate=1 / beta,
    )  # fmt: skip
    return _row("stochastic, label i flipped, Hardt 3.9", "2(B + λR)/(λn)", bound, "max", apart)


def _directions(z: np.ndarray, regularization: float, steps: int) -> list[tuple]:
    whole = margin.max_margin(z)
    without = margin.max_margin_without(z, whole)
    known = dict(n=len(z), radius=1.0, margin=whole.margin)
    both = np.concatenate([whole.weights[None], without.weights])
    limit = descent.difference(both).direction
    free = descent.head_descent(z[None], 4.0, [steps])
    turned = descent.difference(free.weights[0, 0, 0]).direction
    held = descent.head_descent(
        z[None], 1 / (0.25 + regularization), [steps], regularization=regularization
    )
    curved = descent.difference(held.weights[0, 0, 0]).direction
    return [
        _row("maximum margin, direction, H9", "√2 B/(nγ)", head.mean_rotation(**known), "mean",
             limit),
        _row("descent without λ, direction, H16", "4B/(nγ)",
             head.mean_direction_difference(**known), "mean", turned),
        _row("descent, direction", "no bound here", np.nan, "mean", curved),
    ]  # fmt: skip
