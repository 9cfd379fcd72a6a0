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
    measured: Measured, n_examples: int, *, n_splits: int = N_SPLITS, seed: int = 0
) -> dict[str, np.ndarray]:
    """By measure, (2, H, P): the P pairs of runs on either half of the examples, in H splits."""
    rng = np.random.default_rng(seed)
    half, halves = n_examples // 2, []
    for _ in range(n_splits):
        order = rng.permutation(n_examples)
        halves.append([measured(order[:half]), measured(order[half : 2 * half])])
    upper = np.triu_indices(len(next(iter(halves[0][0].values()))), 1)
    return {
        name: np.array([[part[name][upper] for part in split] for split in halves]).swapaxes(0, 1)
        for name in halves[0][0]
    }


def _n_runs(pairs: np.ndarray) -> int:
    return round((1 + np.sqrt(1 + 8 * pairs.shape[-1])) / 2)


def _interval(values: np.ndarray, n_runs: int, level: float) -> tuple[float, float, float]:
    """The value of all runs, and the ends from the resampled ones behind it."""
    if np.isnan(values).mean() > UNDEFINED:
        return float(values[0]), float("nan"), float("nan")
    low, high = percentile_interval(values[1:], level, n_runs=n_runs)
    return float(values[0]), float(low), float(high)


def reliabilities(halves: Mapping[str, np.ndarray], *, level: float = 0.95) -> pd.DataFrame:
    """Reliability of each measure on all examples: a row a measure, ``value, low, high``.

    Mean correlation r of two halves over the splits, stepped up to twice as many examples by
    Spearman and Brown's 2r/(1 + r). The interval resamples runs; fewer than five: NaN.

    Parameters
    ----------
    halves : of ``split_halves``
    """
    rows = {}
    for name, (first, second) in halves.items():
        n_runs = _n_runs(first)
        r = rank_correlation(first, second, pair_weights(n_runs)).mean(1)
        rows[name] = _interval(2 * r / (1 + r), n_runs, level)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high"])
    return table.rename_axis("measure")


def corrected_correlations(
    halves: Mapping[str, np.ndarray],
    whole: Mapping[str, np.ndarray],
    reliability: Mapping[str, float] | None = None,
    *,
    level: float = 0.95,
) -> pd.DataFrame:
    """Correlations over pairs of runs, observed and corrected for attenuation: a row two measures.

    ``a, b, observed, corrected, low, high, reliability_a, reliability_b``. ``observed`` is that on
    all examples. ``corrected`` has one measure on one half and the other on the other half, so that
    no noise of an example is in both, divided by the roots of the correlations of the halves. A
    measure without halves has its value on all examples instead, and its reliability is given: for
    one near 1 that hardly matters. The interval of ``corrected`` resamples runs and can pass 1;
    with a reliability of next to nothing it says nothing, and where a tenth of the resamples has a
    negative one it is NaN.

    Parameters
    ----------
    halves : of ``split_halves``
    whole : distances (S, S) of the same runs on all examples, by measure: these are correlated
    reliability : of the measures that have no halves (default: 1)
    """
    n_runs = len(next(iter(whole.values())))
    upper, weights = np.triu_indices(n_runs, 1), pair_weights(n_runs)
    full = {name: np.asarray(one, float)[upper][None] for name, one in whole.items()}
    parts, own, shown = {}, {}, {}
    for name in whole:
        if name in halves:
            parts[name] = halves[name]
            own[name] = rank_correlation(*halves[name], weights).mean(1)
            shown[name] = 2 * own[name][0] / (1 + own[name][0])
        else:
            shown[name] = (reliability or {}).get(name, 1.0)
            parts[name], own[name] = (full[name], full[name]), np.full(len(weights), shown[name])
    rows = []
    for a, b in itertools.combinations(whole, 2):
        crossed = []
        for first, second in ((parts[a][0], parts[b][1]), (parts[a][1], parts[b][0])):
            size = max(len(first), len(second)), len(upper[0])
            both = np.broadcast_to(first, size), np.broadcast_to(second, size)
            crossed.append(rank_correlation(*both, weights).mean(1))
        product = own[a] * own[b]
        scale = np.sqrt(np.where((own[a] > 0) & (own[b] > 0), product, np.nan))
        observed = float(rank_correlation(full[a], full[b], weights[:1])[0, 0])
        found = _interval(np.mean(crossed, axis=0) / scale, n_runs, level)
        rows.append((a, b, observed, *found, shown[a], shown[b]))
    names = ["a", "b", "observed", "corrected", "low", "high", "reliability_a", "reliability_b"]
    return pd.DataFrame(rows, columns=names)
