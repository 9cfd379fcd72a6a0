"""How well does a measure know which runs are far apart? Split halves, and what noise hides.

Two measures that see few examples agree little, whatever they measure. A measure's **reliability**
is the correlation, over pairs of runs, of what it says on one half of the examples and on the
other; a correlation of two measures can be **corrected for attenuation** by it (Spearman 1904,
*American Journal of Psychology* 15, 72). Correlations are Spearman's.
"""

import itertools
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from lib import measures
from lib.measures.intervals import pair_weights, percentile_interval, rank_correlation
from lib.results.run_group import RunGroup

N_SPLITS = 50
#: A correction that fails in more resamples than this share has no interval.
UNDEFINED = 0.1

#: From row numbers of examples, distances (S, S) of the runs on these examples, by measure.
Measured = Callable[[np.ndarray], Mapping[str, np.ndarray]]


def of_outputs(group: RunGroup) -> Measured:
    """What scores and predictions of classes say on some examples: ``sd``, the absolute difference
    of two accuracies (whatever the task's metric), ``disagreement`` and ``jsd``.
    """
    right = (group.predictions == group.labels).astype(float)

    def measured(rows: np.ndarray) -> dict[str, np.ndarray]:
        accuracy = right[:, rows].mean(1)
        return {
            "sd": np.abs(accuracy[:, None] - accuracy),
            "disagreement": measures.pairwise_disagreement(group.predictions[:, rows]),
            "jsd": measures.pairwise_jsd(group.probabilities[:, rows]),
        }

    return measured


def split_halves(
    measured: Measured, n_examples: int, *, n_splits: int = N_SPLITS
) -> dict[str, np.ndarray]:
    """By measure, (2, H, P): the P pairs of runs on either half of the examples, in H splits."""
    rng = np.random.default_rng(0)
    half, halves = n_examples // 2, []
    for _ in range(n_splits):
        order = rng.permutation(n_examples)
        halves.append([measured(order[:half]), measured(order[half : 2 * half])])
    stacks = {name: np.array([[part[name] for part in s] for s in halves]) for name in halves[0][0]}
    return {
        name: stack[(..., *np.triu_indices(stack.shape[-1], 1))].swapaxes(0, 1)
        for name, stack in stacks.items()
    }


def _estimate(values: np.ndarray, n_runs: int, level: float) -> tuple[float, float, float]:
    """The value of all runs, and an interval from the resampled ones behind it."""
    if np.isnan(values).mean() > UNDEFINED:
        return float(values[0]), float("nan"), float("nan")
    low, high = percentile_interval(values[1:], level, n_runs=n_runs)
    return float(values[0]), float(low), float(high)


def reliabilities(
    halves: Mapping[str, np.ndarray], n_runs: int, *, level: float = 0.95
) -> pd.DataFrame:
    """Reliability of each measure on all examples: a row a measure, ``value, low, high``.

    The mean correlation r of two halves, stepped up to twice as many examples by Spearman and
    Brown's 2r/(1 + |r|); the interval resamples runs. ``halves``: of ``split_halves``.
    """
    rows = {}
    for name, parts in halves.items():
        r = rank_correlation(*parts, pair_weights(n_runs)).mean(1)
        rows[name] = _estimate(2 * r / (1 + np.abs(r)), n_runs, level)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high"])
    return table.rename_axis("measure")


def corrected_correlations(
    halves: Mapping[str, np.ndarray], whole: Mapping[str, np.ndarray], *, level: float = 0.95
) -> pd.DataFrame:
    """Correlations over pairs of runs, corrected for attenuation: a row two measures.

    ``a, b, observed, corrected, low, high, reliability_a, reliability_b``. ``observed`` is on all
    examples. ``corrected`` takes one measure on one half and the other on the other half, so that
    no noise of an example is in both, and divides by the roots of the correlations of the halves.
    A measure without halves is taken as it is, its reliability as 1: for distances of
    representations that is nearly so (``data/benchmarks/reliability.csv``). The interval resamples
    runs and can pass 1; where a tenth of the resamples has a reliability below 0 there is none.

    Parameters
    ----------
    halves : of ``split_halves``
    whole : distances (S, S) on all examples of the measures that are correlated
    """
    n_runs = len(next(iter(whole.values())))
    upper, weights = np.triu_indices(n_runs, 1), pair_weights(n_runs)
    full = {name: np.asarray(one, float)[upper][None] for name, one in whole.items()}
    parts = {name: halves.get(name, (one, one)) for name, one in full.items()}
    own = {name: rank_correlation(*two, weights).mean(1) for name, two in parts.items()}
    reliability = reliabilities(parts, n_runs, level=level)["value"]
    rows = []
    for a, b in itertools.combinations(whole, 2):
        crossed = [rank_correlation(parts[a][i], parts[b][1 - i], weights).mean(1) for i in (0, 1)]
        scale = np.sqrt(np.where(np.minimum(own[a], own[b]) > 0, own[a] * own[b], np.nan))
        observed = float(rank_correlation(full[a], full[b], weights[:1])[0, 0])
        found = _estimate(np.mean(crossed, axis=0) / scale, n_runs, level)
        rows.append((a, b, observed, *found, reliability[a], reliability[b]))
    names = ["a", "b", "observed", "corrected", "low", "high", "reliability_a", "reliability_b"]
    return pd.DataFrame(rows, columns=names)
