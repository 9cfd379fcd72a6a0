"""All measures of scores and predictions of one group, as statistics of run weights.

One list, so that notebooks, tables and reports mean the same by the same name.
"""

from functools import partial

import numpy as np

from lib import measures, resampling
from lib.resampling import Interval, Statistic

#: measure → (granularity, what it is, in words); ``BOUNDS`` has what each can be
MEANING = {
    "mean": ("performance", "mean score"),
    "sd": ("performance", "standard deviation of the score (ddof 1)"),
    "distribution_sd": ("performance", "SD of accuracy without the noise of the test set"),
    "disagreement": ("prediction", "share of examples that two runs answer differently"),
    "kappa": ("prediction", "1 − Fleiss' kappa: disagreement beside what chance would give"),
    "jsd": ("prediction", "Jensen-Shannon divergence of two runs' probabilities (nats)"),
    "con": ("prediction", "share of examples that two runs answer alike"),
    "ccon": ("prediction", "share of examples that two runs both answer right"),
    "wrong_differently": ("prediction", "share of examples that two runs get wrong differently"),
}


BOUNDS = {
    "mean": (-1.0, 1.0),
    "sd": (0.0, 1.0),
    "distribution_sd": (0.0, 1.0),
    "disagreement": (0.0, 1.0),
    "kappa": (0.0, np.inf),
    "jsd": (0.0, float(np.log(2))),
    "con": (0.0, 1.0),
    "ccon": (0.0, 1.0),
    "wrong_differently": (0.0, 1.0),
}


def pair_statistic(distances: np.ndarray) -> Statistic:
    """The mean over distinct pairs of a matrix (S, S), as a function of run weights."""
    return partial(resampling.pair_means, distances)


def statistics_of(
    *,
    scores: np.ndarray | None = None,
    predictions: np.ndarray | None = None,
    probabilities: np.ndarray | None = None,
    labels: np.ndarray | None = None,
) -> dict[str, Statistic]:
    """Every measure that the given arrays allow, by the names of ``MEANING``.

    Parameters
    ----------
    scores : (S,) of the task's metric
    predictions : (S, N) integer class labels
    probabilities : (S, N, C)
    labels : (N,) gold labels
    """
    found: dict[str, Statistic] = {}
    if scores is not None:
        found["mean"] = partial(resampling.run_means, np.asarray(scores, float))
        found["sd"] = partial(resampling.root_pair_means, resampling.half_squares(scores))
    if predictions is not None:
        if labels is not None:
            correct = predictions == labels
            found["distribution_sd"] = measures.distribution_sd_statistic(correct)
        agreement = measures.pairwise_consistency(predictions)
        found["disagreement"] = pair_statistic(1 - agreement)
        found["kappa"] = measures.kappa_statistic(predictions)
    if probabilities is not None:
        found["jsd"] = pair_statistic(measures.pairwise_jsd(probabilities))
    if predictions is not None:
        found["con"] = pair_statistic(agreement)
        if labels is not None:
            found["ccon"] = pair_statistic(measures.pairwise_consistency(predictions, labels))
            if len(np.unique(np.append(np.unique(predictions), labels))) > 2:
                split = measures.churn_split(predictions, labels)
                found["wrong_differently"] = pair_statistic(split.both_wrong_different)
    return found


def interval_of(
    name: str, statistic: Statistic, scores_or_runs: np.ndarray | int, *, level: float = 0.95
) -> Interval:
    """Interval of a measure of ``statistics_of``.

    The SD of scores has its chi-square interval, which needs the scores themselves; everything
    else is resampled, for which their number is enough.
    """
    low, high = BOUNDS[name]
    if name == "sd":
        found = resampling.sd_interval(scores_or_runs, level=level)
        return found._replace(low=max(found.low, low), high=min(found.high, high))
    n_runs = scores_or_runs if np.ndim(scores_or_runs) == 0 else len(scores_or_runs)
    return resampling.interval(statistic, int(n_runs), level=level, bounds=(low, high))
