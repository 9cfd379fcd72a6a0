"""How often do the intervals hold the truth? On invented groups of runs, whose truth is known."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit
from tqdm import tqdm

from lib import measures, paths
from lib.measures import intervals
from lib.measures.intervals import Statistic
from lib.measures.summary import statistics_of

#: Measures whose intervals are held against the truth (``con`` mirrors ``disagreement``).
COVERED = ("mean", "sd", "distribution_sd", "disagreement", "kappa", "jsd", "ccon")
#: How the effects of seeds on all examples together are distributed, with their SD: normal, with
#: heavy tails (Student's t of 3, scaled), or not at all, so that ``distribution_sd`` is 0.
SHIFTS = {"normal": 0.3, "t3": 0.3, "none": 0.0}
#: Numbers of runs, where all seeds have normal effects and where they have others.
SIZES, OTHER_SIZES = (3, 4, 5, 10, 20), (5, 10, 20)
#: Runs of which the truth of scores is taken, which heavy tails make a slow thing to learn.
N_SCORES, POPULATIONS = 20_000, 5


def simulated_runs(
    n_runs: int,
    n_examples: int,
    rng: np.random.Generator,
    *,
    failed: float = 0.0,
    spread: float = 0.3,
    noise: float = 0.4,
    shifts: str = "normal",
) -> tuple[np.ndarray, np.ndarray]:
    """Invented runs of a binary classifier: logits (S, N) of class 1, and labels (N,).

    The examples are always the same for one ``n_examples``. A run's logit of an example is the
    example's difficulty, a shift along one direction common to all examples (what makes scores
    differ), and noise of its own (what makes predictions differ). With probability ``failed`` a
    run is collapsed instead: one class for all. ``shifts`` names the distribution of the shift
    (``SHIFTS``), ``spread`` its SD.
    """
    world = np.random.default_rng(n_examples)
    difficulty = world.normal(size=n_examples)
    direction = world.normal(0.5, 0.5, size=n_examples)
    labels = (difficulty + world.normal(0, 0.8, size=n_examples) > 0).astype(int)
    effects = rng.normal(size=(n_runs, 1))
    if shifts == "t3":
        effects /= np.sqrt(rng.chisquare(3, size=(n_runs, 1)))
    shift = spread * effects * direction
    logits = difficulty + shift + noise * rng.normal(size=(n_runs, n_examples))
    collapsed = rng.random(n_runs) < failed
    logits[collapsed] = rng.choice([-3.0, 3.0], size=(collapsed.sum(), 1))
    return logits, labels


def coverage(
    *, n_groups: int = 500, n_examples: int = 400, level: float = 0.95, population: int = 1500
) -> pd.DataFrame:
    """How often the intervals hold the true value, on invented groups whose truth is known.

    For each kind of seed effects, share of collapsed runs and number of runs, ``n_groups`` groups
    are invented (``simulated_runs``) and every interval of every measure is held against the value
    of a large population.

    Returns
    -------
    a row each ``shifts, failed, n_runs, measure, method``: ``covered`` (share of groups), ``width``
    (median, relative to the truth), ``undefined`` (share of groups without an interval: those in
    which all runs collapsed to one class, say), which count as not covered
    """
    cells = [("normal", failed, size) for failed in (0.0, 0.2) for size in SIZES]
    cells += [(shifts, 0.0, size) for shifts in ("t3", "none") for size in OTHER_SIZES]
    truths: dict[tuple[str, float], dict[str, float]] = {}
    rows = []
    for shifts, failed, size in tqdm(cells, desc="coverage", unit="cell"):
        how = {"n_examples": n_examples, "failed": failed, "shifts": shifts}
        rng = np.random.default_rng([size, round(100 * failed), list(SHIFTS).index(shifts)])
        if (shifts, failed) not in truths:
            truths[shifts, failed] = _truths(population, **how)
        found: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for _ in range(n_groups):
            correct, statistics = _measured(size, rng, **how)
            for name, statistic in statistics.items():
                for method in intervals.METHODS:
                    made = intervals.interval(statistic, size, level=level, method=method)
                    found.setdefault((name, method), []).append((made.low, made.high))
            made = intervals.sd_interval(correct.mean(1), level=level)
            found.setdefault(("sd", "chi-square"), []).append((made.low, made.high))
            made = measures.seed_variance(correct, level=level, n_permutations=999).distribution
            found.setdefault(("distribution_sd", "exact"), []).append((made.low, made.high))
        for (name, method), ends in found.items():
            low, high = np.array(ends).T
            truth = truths[shifts, failed][name]
            rows.append(
                {
                    "shifts": shifts,
                    "failed": failed,
                    "n_runs": size,
                    "measure": name,
                    "method": method,
                    "covered": float(((low <= truth) & (truth <= high)).mean()),
                    "width": float(np.nanmedian(high - low) / truth) if truth else float("nan"),
                    "undefined": float(np.isnan(low).mean()),
                    "n_groups": n_groups,
                }
            )
    return pd.DataFrame(rows)


def _measured(
    n_runs: int, rng: np.random.Generator, *, n_examples: int, failed: float, shifts: str
) -> tuple[np.ndarray, dict[str, Statistic]]:
    """Of one invented group, which answers are right, and the measures."""
    logits, labels = simulated_runs(
        n_runs, n_examples, rng, failed=failed, spread=SHIFTS[shifts], shifts=shifts
    )
    predictions = (logits > 0).astype(int)
    correct, second = predictions == labels, expit(logits)
    made = statistics_of(
        scores=correct.mean(1),
        predictions=predictions,
        probabilities=np.stack([1 - second, second], -1),
        labels=labels,
    )
    return correct, {name: made[name] for name in COVERED}


def _truths(population: int, **how) -> dict[str, float]:
    """The mean of some populations; of scores, that of ``N_SCORES`` runs."""
    rng, every = np.random.default_rng(0), np.ones((1, population))
    drawn = [_measured(population, rng, **how)[1] for _ in range(POPULATIONS)]
    truths = {name: float(np.mean([one[name](every) for one in drawn])) for name in drawn[0]}
    logits, labels = simulated_runs(
        N_SCORES, how["n_examples"], rng, failed=how["failed"], spread=SHIFTS[how["shifts"]],
        shifts=how["shifts"],
    )  # fmt: skip
    correct = (logits > 0) == labels
    scores, n = correct.mean(1), how["n_examples"]
    rest = n / (n - 1) * (scores.var(ddof=1) - correct.var(0, ddof=1).mean() / n)
    seeds = 0.0 if how["shifts"] == "none" else float(np.sqrt(rest))
    own = {"mean": float(scores.mean()), "sd": float(scores.std(ddof=1)), "distribution_sd": seeds}
    return truths | own


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
