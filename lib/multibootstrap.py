"""How much of an interval is the seeds, how much the test examples: the multi-bootstrap.

Sellam et al. (2022): every resample draws runs *and* examples, the same examples for all runs. Done
three ways (runs only, examples only, both) it says what would make an interval narrower: more runs
or more test data. For measures over pairs, a run drawn twice is not compared with itself.
"""

import numpy as np
import pandas as pd

from lib.measures.prediction import consistency
from lib.resampling import MIN_RUNS, Interval, percentile_interval, run_weights

SOURCES = ("runs", "examples", "both")
N_RESAMPLES = 1000
#: Resamples handled at once, which bounds the memory to this times N·C doubles.
CHUNK = 200


def three_widths(
    predictions: np.ndarray, labels: np.ndarray, *, level: float = 0.95, seed: int = 0
) -> dict[str, dict[str, Interval]]:
    """Intervals of accuracy and agreement from resampling runs, examples, and both.

    Parameters
    ----------
    predictions : (S, N) integer class labels, S ≥ 3
    labels : (N,)

    Returns
    -------
    measure (``accuracy``, ``disagreement``, ``correct_agreement``) → source (``runs``,
    ``examples``, ``both``) → interval. Plain percentiles, so that the widths compare; what comes
    from runs is widened by √(S/(S − 1)), as S runs drawn from S scatter too little by that.
    """
    values = consistency(predictions, labels)
    point = {
        "accuracy": values.accuracy,
        "disagreement": 1 - values.con,
        "correct_agreement": values.ccon,
    }
    n_runs, n_examples = np.shape(predictions)
    if n_runs < MIN_RUNS:
        raise ValueError(f"predictions has S = {n_runs} runs; expected S ≥ {MIN_RUNS} to resample")
    drawn = run_weights(n_runs, N_RESAMPLES, seed)
    rng = np.random.default_rng(seed + 1)
    chances = np.full(n_examples, 1 / n_examples)
    resampled: dict[str, dict[str, list[np.ndarray]]] = {
        name: {source: [] for source in SOURCES} for name in point
    }
    every_run, every_example = np.ones((CHUNK, n_runs)), np.ones((CHUNK, n_examples))
    for start in range(0, N_RESAMPLES, CHUNK):
        runs = drawn[start : start + CHUNK]
        examples = rng.multinomial(n_examples, chances, size=CHUNK).astype(float)
        by_runs = weighted_measures(predictions, labels, runs, every_example)
        by_examples = weighted_measures(predictions, labels, every_run, examples)
        by_both = weighted_measures(predictions, labels, runs, examples)
        for name, value in point.items():
            of_runs = np.sqrt(n_runs / (n_runs - 1)) * (by_runs[name] - value)
            resampled[name]["runs"].append(value + of_runs)
            resampled[name]["examples"].append(by_examples[name])
            resampled[name]["both"].append(by_both[name] - by_runs[name] + value + of_runs)
    found: dict[str, dict[str, Interval]] = {}
    for name, value in point.items():
        ends = {s: percentile_interval(np.concatenate(resampled[name][s]), level) for s in SOURCES}
        found[name] = {
            s: Interval(value, float(low), float(high), n_runs) for s, (low, high) in ends.items()
        }
    return found


def half_widths(
    predictions: np.ndarray, labels: np.ndarray, *, level: float = 0.95
) -> pd.DataFrame:
    """Half the widths of ``three_widths``: a row a measure, columns ``value`` and the sources."""
    found = three_widths(predictions, labels, level=level)
    rows = {
        name: {"value": parts["both"].value}
        | {source: (part.high - part.low) / 2 for source, part in parts.items()}
        for name, parts in found.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("measure")


def weighted_measures(
    predictions: np.ndarray, labels: np.ndarray, runs: np.ndarray, examples: np.ndarray
) -> dict[str, np.ndarray]:
    """Accuracy, disagreement and correct agreement of each of B weightings.

    Parameters
    ----------
    runs : (B, S), examples : (B, N), how often each counts

    Returns
    -------
    measure → (B,)
    """
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    correct = (predictions == labels).astype(float)
    total = runs.sum(1, keepdims=True)
    alone = (runs**2).sum(1, keepdims=True)
    pairs = total**2 - alone
    examples = examples / examples.sum(1, keepdims=True)

    def average(per_example: np.ndarray) -> np.ndarray:
        return (per_example * examples).sum(1)

    agreement = -alone
    for value in np.unique(predictions):
        agreement = agreement + (runs @ (predictions == value)) ** 2
    both_right = (runs @ correct) ** 2 - runs**2 @ correct
    return {
        "accuracy": average(runs @ correct / total),
        "disagreement": 1 - average(agreement / pairs),
        "correct_agreement": average(both_right / pairs),
    }
