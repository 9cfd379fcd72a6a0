"""All measures of one group: what each is, and its statistic of run weights.

One list, so that notebooks, tables and reports mean the same by the same name.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from lib import measures
from lib.measures import intervals
from lib.measures.intervals import Interval, Statistic


class Measure(NamedTuple):
    """What a measure is, in words; what it can be; whether its interval is wanted as a share of it,
    so that one can ask how many runs that takes; and what it is called in figures.
    """

    granularity: str
    meaning: str
    bounds: tuple[float, float] = (0.0, 1.0)
    relative: bool = True
    label: str = ""


def _representation(label: str) -> Measure:
    meaning = f"{label} distance of two runs' representations"
    return Measure("representation", meaning, (0.0, np.inf), label=label)


def _text(meaning: str, most: float = 1.0) -> Measure:
    return Measure("text", meaning, (0.0, most))


MEASURES = {
    "failed": Measure("performance", "share of failed runs", relative=False),
    "mean": Measure("performance", "mean score", (-1.0, 1.0), relative=False),
    "sd": Measure("performance", "standard deviation of the score (ddof 1)", label="SD"),
    "iqm": Measure("performance", "mean of the middle half of the scores", (-1.0, 1.0), False),
    "range": Measure("performance", "best minus worst score", (0.0, 2.0), False),
    "best": Measure("performance", "best score", (-1.0, 1.0), False),
    "distribution_sd": Measure("performance", "SD of accuracy without the noise of the test set"),
    "disagreement": Measure(
        "prediction", "share of examples that two runs answer differently", label="disagreement"
    ),
    "kappa": Measure(
        "prediction",
        "1 − Fleiss' kappa: disagreement beside what chance would give",
        (0.0, np.inf),
        label="1 − kappa",
    ),
    "jsd": Measure(
        "prediction",
        "Jensen-Shannon divergence of two runs' probabilities (nats)",
        (0.0, float(np.log(2))),
        label="JSD",
    ),
    "con": Measure("prediction", "share of examples that two runs answer alike", relative=False),
    "ccon": Measure(
        "prediction", "share of examples that two runs both answer right", relative=False
    ),
    "wrong_differently": Measure(
        "prediction", "share of examples that two runs get wrong differently"
    ),
    "difference": Measure(
        "prediction", "mean absolute difference of two runs' predictions, in SDs", (0.0, np.inf)
    ),
    "different": _text("share of inputs for which two runs write different texts"),
    "edit_distance": _text("edit distance of two runs' texts over the longer length"),
    "rouge_distance": _text("1 − ROUGE-L of two runs' texts"),
    "bleu_distance": _text("1 − BLEU of two runs' texts"),
    "slot_distance": _text("1 − F measure of the slots that two runs put into words"),
    "token_disagreement": _text("share of a reference's tokens for which two runs expect others"),
    "token_jsd": _text(
        "Jensen-Shannon divergence of what two runs expect of a reference's tokens (nats)",
        float(np.log(2)),
    ),
    "cka": _representation("CKA (debiased)"),
    "cka_biased": _representation("CKA (biased)"),
    "op": _representation("OP"),
    "svcca": _representation("SVCCA (99 % variance)"),
    "svcca_published": _representation("SVCCA (published rule)"),
}
#: Representation measures that studies and reports look at; the others are variants of these.
REPRESENTATION = ("svcca", "op", "cka")
#: One measure or more of each granularity, in the order of the figures.
STUDIED = ("sd", "disagreement", "kappa", "jsd", *REPRESENTATION)


def pair_statistic(distances: np.ndarray) -> Statistic:
    """The mean over distinct pairs of a matrix (S, S), as a function of run weights."""
    return partial(intervals.pair_means, distances)


def statistics_of(
    *,
    scores: np.ndarray | None = None,
    predictions: np.ndarray | None = None,
    probabilities: np.ndarray | None = None,
    labels: np.ndarray | None = None,
) -> dict[str, Statistic]:
    """Every measure of classes that the given arrays allow, by the names of ``MEASURES``: scores
    (S,) of the task's metric, predictions (S, N) and gold labels (N,) as integers, probabilities
    (S, N, C).
    """
    statistics: dict[str, Statistic] = {}
    if scores is not None:
        statistics["mean"] = partial(intervals.run_means, np.asarray(scores, float))
        statistics["sd"] = partial(intervals.weighted_sd, scores)
        statistics["iqm"] = measures.interquartile_mean_statistic(scores)
    if predictions is not None:
        if labels is not None:
            correct = predictions == labels
            statistics["distribution_sd"] = measures.distribution_sd_statistic(correct)
        n, agreement = predictions.shape[1], measures.pairwise_consistency(predictions)
        statistics["disagreement"] = partial(intervals.share_means, 1 - agreement, n)
        statistics["kappa"] = measures.kappa_statistic(predictions)
    if probabilities is not None:
        statistics["jsd"] = pair_statistic(measures.pairwise_jsd(probabilities))
    if predictions is not None:
        statistics["con"] = partial(intervals.share_means, agreement, n)
        if labels is not None:
            both_right = measures.pairwise_consistency(predictions, labels)
            statistics["ccon"] = partial(intervals.share_means, both_right, n)
            if len(np.unique(np.append(np.unique(predictions), labels))) > 2:
                split = measures.churn_split(predictions, labels)
                statistics["wrong_differently"] = pair_statistic(split.both_wrong_different)
    return statistics


def interval_of(
    name: str, statistic: Statistic, data: np.ndarray | int, *, level: float = 0.95
) -> Interval:
    """Interval of a measure of ``statistics_of``. ``data``: the scores (S,); for
    ``distribution_sd`` which answers are right (S, N); else the number of runs is enough.

    The SD of scores has its chi-square interval, ``distribution_sd`` that of
    ``measures.seed_variance``, and the rest is resampled. An interval ends where the measure does,
    but scores beyond ±1 are in a unit of their own (percent, say), whose ends nobody knows.
    """
    if name == "distribution_sd":
        return measures.seed_variance(data, level=level).distribution
    bounds = MEASURES[name].bounds
    n_runs = int(data) if np.ndim(data) == 0 else len(data)
    performance = MEASURES[name].granularity == "performance"
    if performance and np.ndim(data) == 1 and np.abs(data).max() > 1:
        bounds = (-np.inf, np.inf)
    if name == "sd":
        normal = intervals.sd_interval(data, level=level)
        return normal._replace(high=min(normal.high, bounds[1]))
    return intervals.interval(statistic, n_runs, level=level, bounds=bounds)
