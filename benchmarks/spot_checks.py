"""Spot checks of the classical bounds at larger sizes: stochastic gradients on a pair of samples.

The pair of samples is adversarial: n − 1 examples lie in a hyperplane, and the one that differs is
perpendicular to it, with the two labels. Runs are Monte-Carlo: the same draws for both samples.
The test point is chosen on some runs and measured on others, so that choosing it biases nothing.
Spot checks of one pair, not a maximum over pairs. All data is simulated.
"""

import argparse
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks import classical_bounds as bounds
from benchmarks.coupled import LOSSES, Objective, Points, given_paths

N, D = 100, 5
CURVATURE, REACH = 0.2, 2.0
TEST_POINTS = 2000


class Setup(NamedTuple):
    """A statement, the objective, its step sizes (T,) and what the bound is there."""

    statement: str
    objective: Objective
    rates: np.ndarray
    bound: float


def setups() -> list[Setup]:
    """Convex, strongly convex with constant and 1/(γt) steps, non-convex; ‖x‖ ≤ 1, n = 100."""
    found = []
    logistic = Objective(LOSSES["logistic"])
    for steps, rate in ((1000, 0.05), (1000, 0.5), (200, 0.5)):
        rates = np.full(steps, rate)
        bound = bounds.sgd_convex_loss(n=N, lipschitz=1, smoothness=0.25, rates=rates)
        found.append(Setup(f"3.8, α = {rate}", logistic, rates, float(bound)))
    curved = Objective(LOSSES["logistic"], CURVATURE, REACH)
    known = dict(
        n=N, lipschitz=curved.lipschitz(1.0), smoothness=curved.smoothness(1.0), curvature=CURVATURE
    )
    rate = 1 / curved.smoothness(1.0)
    bound = bounds.sgd_strongly_convex_loss(rate=rate, **known)
    found.append(Setup("3.9, α = 1/β", curved, np.full(1000, rate), float(bound)))
    highest = curved.loss.value(np.array(-REACH)) + CURVATURE * REACH**2 / 2
    bound = bounds.sgd_decaying_loss(highest=highest, **known)
    rates = 1 / (CURVATURE * np.arange(1, 1001))
    found.append(Setup("3.10, α = 1/(γt)", curved, rates, float(bound)))
    cosine, steps = Objective(LOSSES["cosine"]), 3000
    for scale in (0.5, 1.0, 4.0):
        bound = bounds.sgd_nonconvex_loss(
            n=N, lipschitz=0.5, smoothness=0.5, steps=steps, scale=scale
        )
        rates = scale / np.arange(1, steps + 1)
        found.append(Setup(f"3.12, α = {scale:g}/t", cosine, rates, float(bound)))
    return found


def spot_checks(rng: np.random.Generator, *, runs: int = 400, level: float = 0.95) -> pd.DataFrame:
    """|E f(w_T; z) − E f(w'_T; z)| at the worst of 2,000 test points, with its interval.

    ``runs`` coupled runs choose the test point and as many others measure it (Student's t). A row
    a set-up: ``statement, steps, measured, low, high, bound``.
    """
    rows = []
    for setup in setups():
        measured = _measured(rng, setup, runs)
        mean, error = measured.mean(), stats.sem(measured)
        reach = stats.t.ppf((1 + level) / 2, len(measured) - 1) * error
        row = {"statement": setup.statement, "steps": len(setup.rates), "measured": mean}
        rows.append({**row, "low": mean - reach, "high": mean + reach, "bound": setup.bound})
    return pd.DataFrame(rows).set_index("statement")


def _sphere(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    x = rng.standard_normal((n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _measured(rng: np.random.Generator, setup: Setup, runs: int) -> np.ndarray:
    turned = not setup.objective.loss.convex
    x = np.zeros((2, N, D))
    x[:, 1:, 1:] = _sphere(rng, N - 1, D - 1)
    x[:, 0, 0] = (1, 1) if turned else (1, -1)
    y = np.zeros((2, N))
    tests = Points(np.vstack([np.eye(1, D), -np.eye(1, D), _sphere(rng, TEST_POINTS - 2, D)]),
                   np.zeros(TEST_POINTS))  # fmt: skip
    if turned:
        y[:, 1:] = rng.uniform(0, 2 * np.pi, N - 1)
        y[:, 0] = np.pi / 2, -np.pi / 2
        tests = Points(tests.x, rng.uniform(0, 2 * np.pi, TEST_POINTS))
        tests.y[:2] = np.pi / 2
    drawn = rng.integers(N, size=(2 * runs, len(setup.rates)))
    *_, last = given_paths(setup.objective, Points(x, y), setup.rates, np.zeros(D), drawn)
    choose, use = last[:, :runs], last[:, runs:]
    values = setup.objective.values(choose, tests).mean(-2)
    gap = values[0] - values[1]
    worst = np.argmax(np.abs(gap))
    point = Points(tests.x[worst, None], tests.y[worst, None])
    ends = setup.objective.values(use, point)[..., 0]
    return np.sign(gap[worst]) * (ends[0] - ends[1])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=400, help="that choose the test point (400)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (0)")
    arguments = parser.parse_args()
    table = spot_checks(np.random.default_rng(arguments.seed), runs=arguments.runs)
    print(table.round(4).to_string())
    raise SystemExit(int((table["low"] > table["bound"]).any()))


if __name__ == "__main__":
    main()
