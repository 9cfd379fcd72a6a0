"""How often do the intervals hold the truth? On invented groups of runs, whose truth is known."""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit
from tqdm import tqdm

from lib import paths
from lib.measures import intervals
from lib.measures.intervals import Statistic
from lib.measures.summary import statistics_of

#: Measures whose intervals are held against the truth (``con`` mirrors ``disagreement``).
COVERED = ("mean", "sd", "distribution_sd", "disagreement", "kappa", "jsd", "ccon")


def simulated_runs(
    n_runs: int,
    n_examples: int,
    rng: np.random.Generator,
    *,
    failed: float = 0.0,
    spread: float = 0.3,
    noise: float = 0.4,
) -> tuple[np.ndarray, np.ndarray]:
    """Invented runs of a binary classifier: logits (S, N) of class 1, and labels (N,).

    The examples are always the same for one ``n_examples``. A run's logit of an example is the
    example's difficulty, a shift along one direction common to all examples (what makes scores
    differ), and noise of its own (what makes predictions differ). With probability ``failed`` a
    run is collapsed instead: one class for all.
    """
    world = np.random.default_rng(n_examples)
    difficulty = world.normal(size=n_examples)
    direction = world.normal(0.5, 0.5, size=n_examples)
    labels = (difficulty + world.normal(0, 0.8, size=n_examples) > 0).astype(int)
    shift = spread * rng.normal(size=(n_runs, 1)) * direction
    logits = difficulty + shift + noise * rng.normal(size=(n_runs, n_examples))
    collapsed = rng.random(n_runs) < failed
    logits[collapsed] = rng.choice([-3.0, 3.0], size=(collapsed.sum(), 1))
    return logits, labels


def coverage(
    sizes: Iterable[int] = (3, 4, 5, 10, 20),
    failed: Iterable[float] = (0.0, 0.2),
    *,
    n_groups: int = 500,
    n_examples: int = 400,
    level: float = 0.95,
    population: int = 1500,
) -> pd.DataFrame:
    """How often the intervals hold the true value, on invented groups whose truth is known.

    For each share of collapsed runs and each number of runs, ``n_groups`` groups are invented
    (``simulated_runs``) and every interval of every measure is held against the value of a large
    population.

    Returns
    -------
    a row each ``failed, n_runs, measure, method``: ``covered`` (share of groups), ``width``
    (median, relative to the truth), ``undefined`` (share of groups without an interval: those in
    which all runs collapsed to one class, say), which count as not covered
    """
    rows = []
    cells = [(share, size) for share in failed for size in sizes]
    truths: dict[float, dict[str, float]] = {}
    for share, size in tqdm(cells, desc="coverage", unit="cell"):
        rng = np.random.default_rng([size, round(100 * share)])
        if share not in truths:
            everything = _statistics(population, n_examples, rng, share)[0]
            ones = np.ones((1, population))
            truths[share] = {name: float(f(ones)[0]) for name, f in everything.items()}
        found: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for _ in range(n_groups):
            statistics, scores = _statistics(size, n_examples, rng, share)
            for name, statistic in statistics.items():
                for method in intervals.METHODS:
                    made = intervals.interval(statistic, size, level=level, method=method)
                    found.setdefault((name, method), []).append((made.low, made.high))
            made = intervals.sd_interval(scores, level=level)
            found.setdefault(("sd", "chi-square"), []).append((made.low, made.high))
        for (name, method), ends in found.items():
            low, high = np.array(ends).T
            truth = truths[share][name]
            rows.append(
                {
                    "failed": share,
                    "n_runs": size,
                    "measure": name,
                    "method": method,
                    "covered": float(((low <= truth) & (truth <= high)).mean()),
                    "width": float(np.nanmedian(high - low) / truth),
                    "undefined": float(np.isnan(low).mean()),
                    "n_groups": n_groups,
                }
            )
    return pd.DataFrame(rows)


def _statistics(
    n_runs: int, n_examples: int, rng: np.random.Generator, failed: float
) -> tuple[dict[str, Statistic], np.ndarray]:
    """The measures of one invented group, and its accuracies."""
    logits, labels = simulated_runs(n_runs, n_examples, rng, failed=failed)
    predictions = (logits > 0).astype(int)
    scores = (predictions == labels).mean(1)
    second = expit(logits)
    made = statistics_of(
        scores=scores,
        predictions=predictions,
        probabilities=np.stack([1 - second, second], -1),
        labels=labels,
    )
    return {name: made[name] for name in COVERED}, scores


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=500, help="invented groups a cell (500)")
    parser.add_argument("--out", type=Path, default=paths.DATA / "benchmarks", help="folder")
    options = parser.parse_args()
    table = coverage(n_groups=options.groups)
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "coverage.csv", index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
