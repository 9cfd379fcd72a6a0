"""How often do the intervals of ``lib.analysis.variance_components`` hold the truth? On invented
crossed designs.
"""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from tqdm import tqdm

from lib import measures, paths
from lib.analysis.variance_components import components, variance_components
from lib.measures.intervals import MIN_RUNS

#: SD of the scores of runs that do not fail, how much a failed run loses, and the share that fails.
SPREAD, LOSS, FAILED = 0.02, 0.3, 0.2
#: Shares of init, order and rest in the variance of the scores …
SHARES = (0.4, 0.2, 0.4)
#: … and in the propensity to fail; None: no run fails.
KINDS = {
    "normal": None,
    "one in five fails, at random": (0.0, 0.0, 1.0),
    "one in five fails, mostly by its seeds": (0.5, 0.2, 0.3),
    "one order seed in five always fails": (0.0, 1.0, 0.0),
}
NAMES = ("variance", "share")
CHOICES = np.array([1, 5, 10])  # n of the best of n


def _effects(
    n_grids: int, n_init: int, n_order: int, shares: Iterable[float], rng: np.random.Generator
) -> np.ndarray:
    """(n_grids, I, J) normal values of variance 1, so much of it from init, order and the rest."""
    shapes = [(n_grids, n_init, 1), (n_grids, 1, n_order), (n_grids, n_init, n_order)]
    parts = zip(shares, shapes, strict=True)
    return sum(np.sqrt(share) * rng.normal(size=shape) for share, shape in parts)


def simulated_grids(
    n_grids: int, n_init: int, n_order: int, kind: str, rng: np.random.Generator
) -> np.ndarray:
    """Scores (n_grids, I, J) of invented crossed designs, of one of ``KINDS``.

    A run fails where its propensity, a sum of effects like its score, is among the upper fifth.
    """
    scores = 0.8 + SPREAD * _effects(n_grids, n_init, n_order, SHARES, rng)
    if KINDS[kind] is not None:
        propensity = _effects(n_grids, n_init, n_order, KINDS[kind], rng)
        scores = scores - LOSS * (propensity > stats.norm.isf(FAILED))
    return scores


def true_components(kind: str) -> np.ndarray:
    """(3,) the variances of init, order and rest behind ``simulated_grids``.

    Two runs that share an init seed fail together with the probability of two normal variables
    whose correlation is the share of init; its excess over FAILED² is the component.
    """
    variances = SPREAD**2 * np.array(SHARES)
    if KINDS[kind] is None:
        return variances
    limit = np.full(2, stats.norm.ppf(FAILED))
    together = [
        FAILED * (1 - FAILED)
        if share == 1
        else stats.multivariate_normal([0, 0], [[1, share], [share, 1]]).cdf(limit) - FAILED**2
        for share in KINDS[kind][:2]
    ]
    rest = FAILED * (1 - FAILED) - sum(together)
    return variances + LOSS**2 * np.array([*together, rest])


def jackknife(
    statistic: Callable[[np.ndarray], np.ndarray], scores: np.ndarray, level: float
) -> np.ndarray:
    """(3, …) value and value ± t · SE of a statistic of a grid, the SE from leaving out each row
    and each column, with the degrees of freedom of the shorter side; no ends (NaN) where that has
    fewer than three.
    """
    value, shorter = statistic(scores), min(scores.shape[:2])
    squares = np.full_like(value, 0.0 if shorter >= MIN_RUNS else np.nan)
    for axis, n in enumerate(scores.shape[:2] if shorter >= MIN_RUNS else ()):
        left_out = np.stack([statistic(np.delete(scores, i, axis)) for i in range(n)])
        squares += (n - 1) * left_out.var(0)
    reach = stats.t.ppf((1 + level) / 2, shorter - 1) * np.sqrt(squares)
    return np.array([value, value - reach, value + reach])


def best_of(scores: np.ndarray, n: np.ndarray, level: float = 0.95) -> np.ndarray:
    """(3, …) expected best of n runs drawn from a grid, with the ends of its interval.

    The interval is for the expected best of n *new* runs. The value falls a little short of that,
    as it can be no larger than the best run at hand; so does the interval where n nears I·J.
    """
    return jackknife(lambda grid: measures.expected_maximum(grid.ravel(), n), scores, level)


def coverage(
    sizes: Iterable[tuple[int, int]] = ((5, 5), (5, 10), (10, 10)),
    *,
    n_grids: int = 2000,
    level: float = 0.95,
    population: int = 200_000,
) -> pd.DataFrame:
    """How often the intervals hold the truth, for each kind of scores and size of grid.

    Returns
    -------
    a row each ``scores, init_seeds, order_seeds, quantity, method``: ``truth`` (variances in
    squared accuracy), ``mean`` of the estimates, ``covered``, ``width`` (median)
    """
    rows = []
    for kind in KINDS:
        variances = true_components(kind)
        rng = np.random.default_rng(len(kind))
        best = measures.expected_maximum(
            simulated_grids(population, 1, 1, kind, rng).ravel(), CHOICES
        )
        truths = {"variance": variances, "share": variances / variances.sum(), "best": best}
        for n_init, n_order in sizes:
            found: dict[tuple[str, str], list[np.ndarray]] = {}
            grids = simulated_grids(n_grids, n_init, n_order, kind, rng)
            for grid in tqdm(grids, desc=f"{kind} {n_init} x {n_order}", unit="grid"):
                table = variance_components(grid, level=level)
                columns = [f"{of}{end}" for end in ("", "_low", "_high") for of in NAMES]
                drawn = table[columns].to_numpy().T.reshape(3, len(NAMES), -1)
                every = {"generalised": drawn, "jackknife": jackknife(components, grid, level)}
                for method, ends in every.items():
                    for i, name in enumerate(NAMES):
                        found.setdefault((name, method), []).append(ends[:, i])
                found.setdefault(("best", "jackknife"), []).append(best_of(grid, CHOICES, level))
            where = {"scores": kind, "init_seeds": n_init, "order_seeds": n_order}
            for (name, method), ends in found.items():
                value, low, high = np.array(ends).swapaxes(0, 1)
                truth = truths[name]
                parts = CHOICES if name == "best" else table.index
                made = {
                    "quantity": [f"{name} of {part}" for part in parts],
                    "method": method,
                    "truth": truth,
                    "mean": value.mean(0),
                    "covered": ((low <= truth) & (truth <= high)).mean(0),
                    "width": np.median(high - low, 0),
                }
                rows.append(pd.DataFrame({**where, **made, "n_grids": n_grids}))
    return pd.concat(rows, ignore_index=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grids", type=int, default=2000, help="invented grids a cell (2000)")
    parser.add_argument("--out", type=Path, default=paths.DATA / "benchmarks", help="folder")
    options = parser.parse_args()
    table = coverage(n_grids=options.grids)
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "variance_coverage.csv", index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
