"""How often do tests of two groups of runs find a difference, where there is none and where one is?

Invented runs: points in clusters that lie far apart, as failed and successful runs do, and
classifiers of which some may collapse.
"""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit
from tqdm import tqdm

from benchmarks.coverage import simulated_runs
from lib import paths
from lib.measures import comparison
from lib.measures.intervals import Statistic, pair_means, permutation_p
from lib.measures.summary import statistics_of

SIZES = ((5, 5), (5, 13), (10, 10), (20, 20))
#: How much wider than the second cluster the first one is.
RATIOS = (1.0, 1.5)
DIMENSIONS = (3, 20)
TAILS = ("normal", "t3")
FAILED = (0.0, 0.2)
#: Far enough for any pair of a cluster to be closer than any two of different ones.
APART = 100.0
N_PERMUTED = 999


def cluster(
    n_runs: int, dimensions: int, tails: str, spread: float, rng: np.random.Generator
) -> np.ndarray:
    """(S, D) runs around 0; with tails ``t3`` some are far out in all coordinates at once."""
    points = spread * rng.normal(size=(n_runs, dimensions))
    return points / np.sqrt(rng.chisquare(3, size=(n_runs, 1))) if tails == "t3" else points


def euclidean(points: np.ndarray) -> np.ndarray:
    """(S, S) distances of points (S, D)."""
    return np.sqrt(((points[:, None] - points) ** 2).sum(-1))


def permutation(distances: np.ndarray, first: np.ndarray, rng: np.random.Generator) -> float:
    """p of the difference of the mean distances within two kinds, permuting which run is which."""
    kinds = np.vstack([first, rng.permuted(np.tile(first, (N_PERMUTED, 1)), axis=1)]).astype(float)
    gaps = pair_means(distances, kinds) - pair_means(distances, 1 - kinds)
    return float(permutation_p(gaps[1:], gaps[0]))


def _two_tests(
    first: Statistic, second: Statistic, sizes: tuple[int, int]
) -> Iterator[tuple[str, float]]:
    yield "jackknife", comparison.jackknife_difference(first, second, sizes).p
    yield "resampling", comparison.difference(first, second, sizes).p


def of_clusters(
    sizes: tuple[int, int],
    dimensions: int,
    tails: str,
    ratio: float,
    n_groups: int,
) -> dict[tuple[str, str], list[float]]:
    """By measure and method, p of so many pairs of clusters."""
    rng = np.random.default_rng([*sizes, dimensions, TAILS.index(tails), round(10 * ratio)])
    found: dict[tuple[str, str], list[float]] = {}
    kind = np.arange(sum(sizes)) < sizes[0]
    for _ in range(n_groups):
        first = cluster(sizes[0], dimensions, tails, ratio, rng)
        points = np.vstack([first, cluster(sizes[1], dimensions, tails, 1.0, rng)])
        points[kind, 0] += APART
        whole = euclidean(points)
        parts = [partial(pair_means, whole[np.ix_(own, own)]) for own in (kind, ~kind)]
        tests = [*_two_tests(*parts, sizes), ("permutation", permutation(whole, kind, rng))]
        for method, p in tests:
            found.setdefault(("distance", method), []).append(p)
    return found


def of_classifiers(
    sizes: tuple[int, int], failed: float, ratio: float, n_groups: int
) -> dict[tuple[str, str], list[float]]:
    """By measure and method, p of so many pairs of groups of classifiers; ``ratio`` of the noise
    that makes predictions differ."""
    rng = np.random.default_rng([*sizes, round(10 * failed), round(10 * ratio)])
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(n_groups):
        groups = []
        for n_runs, noise in zip(sizes, (0.4 * ratio, 0.4), strict=True):
            logits, labels = simulated_runs(n_runs, 200, rng, failed=failed, noise=noise)
            predictions, second = (logits > 0).astype(int), expit(logits)
            made = statistics_of(
                scores=(predictions == labels).mean(1),
                predictions=predictions,
                probabilities=np.stack([1 - second, second], -1),
            )
            groups.append({name: made[name] for name in ("sd", "disagreement", "jsd")})
        for name in groups[0]:
            for method, p in _two_tests(groups[0][name], groups[1][name], sizes):
                found.setdefault((name, method), []).append(p)
    return found


def rejections(n_groups: int = 1000) -> pd.DataFrame:
    """A row a kind of runs, number of runs, measure and test: share of p ≤ 0.05."""
    cells = [
        {"runs": f"clusters, {d} dimensions", "tails": t, "failed": 0.0, "sizes": s, "ratio": r}
        for d in DIMENSIONS for t in TAILS for s in SIZES for r in RATIOS
    ] + [
        {"runs": "classifiers", "tails": "normal", "failed": f, "sizes": s, "ratio": r}
        for f in FAILED for s in SIZES if s[0] == s[1] for r in RATIOS
    ]  # fmt: skip
    rows = []
    for cell in tqdm(cells, desc="differences", unit="cell"):
        sizes, ratio = cell["sizes"], cell["ratio"]
        if cell["runs"] == "classifiers":
            found = of_classifiers(sizes, cell["failed"], ratio, n_groups)
        else:
            dimensions = int(cell["runs"].split()[1])
            found = of_clusters(sizes, dimensions, cell["tails"], ratio, n_groups)
        where = {name: cell[name] for name in ("runs", "tails", "failed", "ratio")}
        for (measure, method), p in found.items():
            own = {"n_first": sizes[0], "n_second": sizes[1], "measure": measure, "method": method}
            rejected = float((np.array(p) <= 0.05).mean())
            rows.append({**where, **own, "rejected": rejected, "n_groups": n_groups})
    return pd.DataFrame(rows)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=1000, help="invented pairs a cell (1000)")
    parser.add_argument("--out", type=Path, default=paths.DATA / "benchmarks", help="folder")
    options = parser.parse_args()
    table = rejections(options.groups)
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "differences.csv", index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
