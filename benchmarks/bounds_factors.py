"""How one factor moves the stability of full fine-tuning, measured on quadratics beside its bounds.

Simulated problems. What is measured is the mean over examples of ‖w_t − v_t‖, N1.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import quadratics
from benchmarks.quadratics import Quadratics
from lib import paths
from lib.measures import intervals
from lib.theory import descent, problems, quadratic

#: Factor → (what it is, what it varies over). Rates are shares of 1/β.
FACTORS: dict[str, tuple[str, tuple[float, ...]]] = {
    "n": ("training examples n", (5, 10, 20, 40, 80)),
    "rate": ("learning rate, as a share of 1/β", (0.03, 0.1, 0.3, 1.0)),
    "steps": ("steps t", (1, 2, 5, 20, 50, 200)),
    "strength": ("strength λ of an L2-SP term", (0.0, 0.1, 0.3, 1.0, 3.0)),
    "spread": ("spread of the examples (scales L)", (0.25, 0.5, 1.0, 2.0, 4.0)),
    "distance": ("distance from start to solution", (0.0, 3.0, 10.0, 30.0)),
}
BOUNDS = ("T1", "T2", "T4")
BASE = {"n": 20, "rate": 0.3, "steps": 20, "strength": 0.0, "spread": 1.0, "distance": 1.0}


def with_l2sp(problem: Quadratics, strength: float) -> Quadratics:
    """Each example's loss plus λ/2 ‖w − w_0‖²: still quadratic, with curvature μ + λ."""
    hessians, centres, start = problem
    stiff = hessians + strength * np.eye(hessians.shape[-1])
    pull = np.einsum("pnij,pnj->pni", hessians, centres) + strength * start[:, None]
    return Quadratics(stiff, np.linalg.solve(stiff, pull[..., None])[..., 0], start)


def measure(
    rng: np.random.Generator, sets: int, shared: bool = False, **factors: float
) -> pd.DataFrame:
    """One row a drawn problem: ``moved``, and the means over i of ``BOUNDS``.

    ``factors`` replace those of ``BASE``. Dimension 5, Hessian eigenvalues of the examples between
    0.02 and 2; ``shared``: the same eigenvectors for all, and 0.02 as the curvature of the mean.
    """
    if unknown := set(factors) - set(BASE):
        raise ValueError(f"{', '.join(sorted(unknown))}: give some of {', '.join(BASE)}")
    at = {**BASE, **factors}
    n, steps = int(at["n"]), int(at["steps"])
    drawn = quadratics.draw(rng, sets, n, 5, 0.02, shared=shared, distance=0.0)
    middle = drawn.centres.mean(1, keepdims=True)
    centres = middle + at["spread"] * (drawn.centres - middle)
    start = drawn.start + at["distance"] * problems.directions(rng, sets, 5)
    problem = with_l2sp(Quadratics(drawn.hessians, centres, start), at["strength"])
    constants = quadratics.constants(problem)
    rate = at["rate"] / constants.smoothness
    runs = quadratics.descend(problem, rate, [steps])
    moved = descent.difference(runs.weights[0, :, 0]).parameter
    path = {"n": n, "rate": rate, "steps": steps, "lipschitz": runs.lipschitz[0]}
    bounds = {name: quadratic.bound(name, constants, **path).mean(-1) for name in BOUNDS}
    return pd.DataFrame({"moved": moved.mean(-1), **bounds})


def trend(
    factor: str, sets: int = 30, seed: int = 0, shared: bool = False, **fixed: float
) -> pd.DataFrame:
    """Rows: a value of ``factor``; columns: value, moved, low, high (95 % interval over the
    ``sets`` drawn problems), and the mean ``BOUNDS``.

    Raises ``ValueError`` for an unknown factor.
    """
    if factor not in FACTORS:
        raise ValueError(f"factor = {factor!r}: give one of {list(FACTORS)}")
    rows = []
    for value in FACTORS[factor][1]:
        # The same seed for every value: the same problems wherever the factor allows it.
        rng = np.random.default_rng(seed)
        table = measure(rng, sets, shared, **{**fixed, factor: value})
        mean = intervals.mean_interval(table["moved"].to_numpy())
        bounds = table[list(BOUNDS)].mean()
        rows.append(
            {"value": value, "moved": mean.value, "low": mean.low, "high": mean.high, **bounds}
        )
    return pd.DataFrame(rows)


def factors(sets: int = 30, seed: int = 0) -> pd.DataFrame:
    """All trends, a row a factor and value, with the factor's ``label`` first; the distance after
    one step and, as ``distance, late``, after a hundred, in badly conditioned problems.
    """
    tables = {name: trend(name, sets, seed) for name in FACTORS if name != "distance"}
    for name, steps in {"distance": 1, "distance, late": 100}.items():
        tables[name] = trend("distance", sets, seed, shared=True, steps=steps)
    table = pd.concat(tables, names=["factor"]).reset_index(level=0).reset_index(drop=True)
    table.insert(1, "label", [FACTORS[name.split(",")[0]][0] for name in table["factor"]])
    return table


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=paths.DATA / "benchmarks", help="folder")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    table = factors()
    table.to_csv(out / "bounds_factors.csv", index=False, float_format="%.12g")
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
