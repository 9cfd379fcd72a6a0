"""Before training more: how many seeds an estimate needs, and how far to trust its interval."""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit
from tqdm import tqdm

from lib import resampling
from lib.resampling import Statistic, run_weights
from lib.summary import statistics_of

#: Numbers of runs that are tried, and the largest that is promised.
SIZES = (*range(3, 21), *range(22, 50, 4), *range(50, 100, 10), *range(100, 301, 25))


#: Measures whose intervals are held against the truth (``con`` mirrors ``disagreement``).
COVERED = ("mean", "sd", "distribution_sd", "disagreement", "kappa", "jsd", "ccon")


def relative_width(
    statistic: Statistic, n_runs: int, sizes: Iterable[int] = SIZES, *, level: float = 0.95
) -> pd.Series:
    """Half the width of the interval to expect from S' runs, as a share of the value, by size.

    By simulation from the group at hand: S' runs are drawn from its S runs with replacement 1,000
    times; the SD of the statistic over the draws, times Student's t and √(S/(S − 1)) (the draws
    know only S runs), is half a width. It is an estimate from S runs like any other: from five it
    is a rough one, and what those runs never did (collapse, say) it cannot foresee.
    """
    value = float(statistic(np.ones((1, n_runs)))[0])
    scale = np.sqrt(n_runs / (n_runs - 1))
    widths = {}
    for size in sizes:
        drawn = statistic(run_weights(n_runs, 1000, seed=1, size=size))
        reach = stats.t.ppf((1 + level) / 2, size - 1) * np.nanstd(drawn) * scale
        widths[size] = reach / abs(value) if value else float("nan")
    return pd.Series(widths, name="relative_width")


def seeds_needed(
    statistic: Statistic, n_runs: int, *, width: float = 0.2, level: float = 0.95
) -> float:
    """Smallest number of runs whose interval is expected to be the value ± ``width`` of it.

    inf if more than 300; NaN where the value is 0 or not defined, so that nothing is relative to
    it.

    Parameters
    ----------
    statistic : (B, S) run weights → (B,) values, see ``lib.resampling``
    """
    if n_runs < 3:
        return float("nan")
    found = relative_width(statistic, n_runs, level=level)
    if found.isna().all():
        return float("nan")
    enough = found[::-1].cummax()[::-1] <= width
    return float(enough.idxmax()) if enough.any() else float("inf")


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
                for method in resampling.METHODS:
                    made = resampling.interval(statistic, size, level=level, method=method)
                    found.setdefault((name, method), []).append((made.low, made.high))
            made = resampling.sd_interval(scores, level=level)
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


def main(arguments: list[str] | None = None) -> None:
    """Simulate the coverage of all intervals: ``python -m lib.planning OUT.csv``."""
    parser = argparse.ArgumentParser(prog="python -m lib.planning", description=main.__doc__)
    parser.add_argument("out", type=Path, help="CSV file to write")
    parser.add_argument("--groups", type=int, default=500, help="invented groups a cell (500)")
    options = parser.parse_args(arguments)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    coverage(n_groups=options.groups).to_csv(options.out, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
