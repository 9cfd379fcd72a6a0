"""How often does a gate keep a candidate that is no better than the baseline, and one that is?

Invented runs: scores alone, and answers to a test set that baseline and candidates share. Beside
``lib.report.gate``, what Welch's t-test at 5 % for each candidate does, and "the higher mean wins".
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit
from tqdm import tqdm

from lib import paths
from lib.report import comparing, gate
from lib.results.run_group import RunGroup

ALPHA = 0.05
SIZES = (3, 5, 10)
CANDIDATES = 50
#: Of scores in units of their SD: how low a failed run is, and how often runs fail.
FALL, FAILING = 15.0, {"normal": 0.0, "one in five fails": 0.2, "one in two fails": 0.5}
#: Candidates that are as good on average, but of another spread, and sizes that differ.
UNLIKE = [(5, 5, 3.0), (10, 10, 3.0), (10, 5, 3.0), (20, 5, 1.0), (20, 5, 3.0)]
EXAMPLES = (300, 1000)


def p_of(first: np.ndarray, second: np.ndarray, *, paired: bool = False) -> np.ndarray:
    """Two-sided p of the difference of means along the last axis, as ``mean_difference`` has it."""
    if paired:
        return stats.ttest_rel(second, first, axis=-1).pvalue
    sizes = np.array([first.shape[-1], second.shape[-1]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # runs of a setting that are all alike
        welch = stats.ttest_ind(second, first, axis=-1, equal_var=False)
    most = (1 / sizes).sum() ** 2 / (1 / sizes**2 / (sizes - 1)).sum()
    return 2 * stats.t.sf(np.abs(welch.statistic), np.minimum(welch.df, most))


def levels() -> np.ndarray:
    """What a ledger grants to each candidate."""
    return np.array([gate.share(number + 1, ALPHA) for number in range(CANDIDATES)])


def rates(
    up: np.ndarray, p: np.ndarray, welch: np.ndarray, smallest: int
) -> dict[str, dict[str, float]]:
    """How often a candidate is kept: the first, alone; any of all, one after the other.

    Parameters
    ----------
    up : (n, K) whether the mean of each candidate is higher; p : (n, K) of the gate, and of Welch
    smallest : number of runs of the smaller setting
    """
    within = (p <= levels()) & (smallest >= gate.FEWEST)
    rules = {
        "gate": (p[:, 0] <= ALPHA, within),
        "Welch's t at 5 % each": (welch[:, 0] <= ALPHA, welch <= ALPHA),
        "the higher mean": (True, True),
    }
    return {
        rule: {
            "kept_first": float((up[:, 0] & alone).mean()),
            "kept_any": float((up & each).any(1).mean()),
            "kept_last": float((up & each)[:, -1].mean()),
        }
        for rule, (alone, each) in rules.items()
    }


def of_scores(
    n_baseline: int,
    n_candidate: int,
    n_simulations: int,
    *,
    failed: float = 0.0,
    spread: float = 1.0,
    correlation: float = 0.0,
    paired: bool = False,
    better: float = 0.0,
) -> dict[str, dict[str, float]]:
    """``rates`` of normal scores of SD 1, ``spread`` of the candidates, ``better`` by so much; the
    share ``failed`` is low. Seeds that all settings share make their scores correlate.
    """
    rng = np.random.default_rng([n_baseline, n_candidate, round(100 * failed), round(10 * spread)])
    seeds = np.sqrt(correlation) * rng.normal(size=(n_simulations, 1, n_baseline))
    noise = np.sqrt(1 - correlation)
    first = seeds + noise * rng.normal(size=(n_simulations, 1, n_baseline))
    shape = (n_simulations, CANDIDATES, n_candidate)
    second = spread * (seeds if correlation else 0) + spread * noise * rng.normal(size=shape)
    second += better
    first -= FALL * (rng.random(first.shape) < failed)
    second -= FALL * (rng.random(shape) < failed)
    up = second.mean(-1) > first.mean(-1)
    whole = np.broadcast_to(first, (n_simulations, CANDIDATES, n_baseline))
    welch = stats.ttest_ind(second, whole, axis=-1, equal_var=False).pvalue
    own = p_of(whole, second, paired=paired)
    return rates(up, own, welch, min(n_baseline, n_candidate))


def group_of(right: np.ndarray) -> RunGroup:
    """Runs of which it is known which answers are right (S, N)."""
    scored = pd.DataFrame({"run": range(len(right)), "score": right.mean(1)})
    names = [f"example {i}" for i in range(right.shape[1])]
    gold = np.zeros(right.shape[1], int)
    return RunGroup(scored, names, (~right).astype(int), gold, ["right", "wrong"])


def of_answers(
    n_runs: int, n_examples: int, n_simulations: int, *, apart: float
) -> dict[str, dict[str, float]]:
    """``rates`` of runs whose answers flip independently, on one test set for all candidates.

    ``apart`` is the SD of what a setting does with an example, on the scale of log odds, beside the
    difficulty that all settings share. 0: all candidates are the baseline once more; else they are
    others that are as good on endless examples.
    """
    rng = np.random.default_rng([n_runs, n_examples, round(10 * apart)])
    up, p, welch = (np.ones((n_simulations, CANDIDATES)) for _ in range(3))
    for i in range(n_simulations):
        difficulty = rng.normal(1.2, 1.5, n_examples)
        own = apart * rng.normal(size=(CANDIDATES + 1, 1, n_examples))
        chances = expit(difficulty + own).astype(np.float32)
        right = rng.random((CANDIDATES + 1, n_runs, n_examples), np.float32) < chances
        means = right.mean(-1)
        up[i] = means[1:].mean(1) > means[0].mean()
        p[i] = welch[i] = p_of(means[:1], means[1:])
        for k in np.flatnonzero((welch[i] <= levels()) | (np.arange(CANDIDATES) == 0)):
            if welch[i, k] <= ALPHA and up[i, k]:  # else the choice of examples changes nothing
                groups = [group_of(right[0]), group_of(right[k + 1])]
                pair = comparing.SideBySide(groups, "accuracy", False, [])
                p[i, k] = max(p[i, k], comparing.mean_difference(pair).get("p_both", 0.0))
    return rates(up.astype(bool), p, welch, n_runs)


def table_of(n_simulations: int) -> pd.DataFrame:
    """A row a kind of runs, numbers of runs and rule."""
    cells = [
        ({"runs": f"scores, {kind}", "baseline": n, "candidate": n}, {"failed": failed})
        for kind, failed in FAILING.items() for n in SIZES
    ] + [
        ({"runs": f"scores, {kind}", "baseline": n, "candidate": n, "seeds": seeds},
         {"failed": FAILING[kind], "paired": True, "correlation": correlation})
        for kind in list(FAILING)[:2] for n in SIZES
        for seeds, correlation in (("paired", 0.0), ("paired, r = 0.7", 0.7))
    ] + [
        ({"runs": f"scores, normal, SD of candidates × {spread:g}", "baseline": n, "candidate": m},
         {"spread": spread})
        for n, m, spread in UNLIKE
    ] + [
        ({"runs": f"scores, {kind}", "baseline": n, "candidate": n, "better_by_sd": by},
         {"failed": FAILING[kind], "better": by})
        for kind in list(FAILING)[:2] for n in SIZES for by in (1.0, 2.0, 3.0)
    ]  # fmt: skip
    found = {
        i: of_scores(where["baseline"], where["candidate"], n_simulations, **how)
        for i, (where, how) in enumerate(tqdm(cells, desc="scores", unit="cell"))
    }
    for n_examples in EXAMPLES:
        for n in tqdm(SIZES, desc=f"{n_examples} examples", unit="cell"):
            for kind, apart in {"the same": 0.0, "others, as good": 0.7}.items():
                runs = f"answers to {n_examples} examples, {kind}"
                found[len(cells)] = of_answers(n, n_examples, n_simulations, apart=apart)
                cells.append(({"runs": runs, "baseline": n, "candidate": n}, {}))
    start = {"seeds": "not paired", "better_by_sd": 0.0}
    return pd.DataFrame(
        {**start, **cells[i][0], "rule": rule, **kept, "n_simulations": n_simulations}
        for i, rules in found.items()
        for rule, kept in rules.items()
    )[["runs", "seeds", "baseline", "candidate", "better_by_sd", "rule", "kept_first", "kept_any",
       "kept_last", "n_simulations"]]  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=2000, help="of each cell (2000)")
    parser.add_argument("--out", type=Path, default=paths.DATA / "benchmarks", help="folder")
    options = parser.parse_args()
    table = table_of(options.simulations)
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "gate.csv", index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
