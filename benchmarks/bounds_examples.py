"""Single problems that the notebooks show: a table each, of bounds beside what they bound.

``side_by_side``: ℓ2-logistic classification of a separable simulated set. Every bound is about an
algorithm of its own (descent, minimiser, stochastic steps, maximum margin), so a row measures that
algorithm: bounds of different rows are about different numbers, and the smallest is not the best.

``local``: T5 and T1 where the loss is not quadratic, from starts at several distances.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import classical_bounds as classical
from benchmarks import quadratics
from benchmarks.coupled import LOSSES, Objective, Points, given_paths, with_replaced
from benchmarks.minimizers import leave_one_out_logistic
from benchmarks.quadratic_checks import local_logistic
from lib import paths
from lib.theory import descent, head, margin, problems, quadratic

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
        _row("descent without λ, direction, H16", "16B/(3√3 nγ)",
             head.mean_direction_difference(**known), "mean", turned),
        _row("descent, direction", "no bound here", np.nan, "mean", curved),
    ]  # fmt: skip


def local(z: np.ndarray, away: np.ndarray, starts: list[float]) -> pd.DataFrame:
    """``start``, ``moved`` after 40 steps at the largest rate, and its bounds T5 and T1.

    Means over i, N1, λ = 0.005; z (1, n, d), and starts at these distances from the minimiser in
    the direction ``away`` (1, d). T5 is NaN where the start is too far away.
    """
    rows = []
    for start in starts:
        found = {
            c.theorem: c
            for c in local_logistic(z, 0.005, start * away, fractions=[1.0], times=[1, 4, 40])
        }
        t1, t5 = found["T1 (logistic)"], found["T5"].bound[0, -1]
        known = np.isfinite(t5).any()
        rows.append(
            {
                "start": start,
                "moved": np.nanmean(t1.measured[0, -1]),
                "T5": np.nanmean(t5) if known else np.nan,
                "T1": np.nanmean(t1.bound[0, -1]),
            }
        )
    return pd.DataFrame(rows)


def examples() -> dict[str, pd.DataFrame]:
    """The tables by name; simulated problems of fixed seeds."""
    # Notebooks 71 and 70 draw another problem first: with it these are the problems they are about.
    rng = np.random.default_rng(17)
    problems.separable(rng, 1, 12, 2, 0.15)
    beside = side_by_side(problems.separable(rng, 1, 60, 8, 0.1)[0], rng)
    rng = np.random.default_rng(0)
    quadratics.draw(rng, 1, 20, 5, 0.1, distance=3.0)
    z = problems.separable(rng, 1, 80, 2, 0.01) * rng.choice([1, 1, -1], (1, 80, 1))
    near = local(z, problems.directions(rng, 1, 2), [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2])
    return {"side_by_side": beside.reset_index(), "local": near}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=paths.DATA / "benchmarks", help="folder")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name, table in examples().items():
        table.to_csv(out / f"bounds_{name}.csv", index=False, float_format="%.12g")
        print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
