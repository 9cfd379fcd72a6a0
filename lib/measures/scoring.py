"""What a single run scores: the metrics of the tasks, and the status of a run.

Where rows belong to questions, ``groups`` (N,) numbers the question of each row. Two kinds of
metrics count questions: ``group-em``, the share of those all of whose rows are right (MultiRC), and
``pick-f1`` and ``pick-em``, which take a question's row with the highest margin for class 1 as its
answer and average what that earns (ReCoRD).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

#: A run is collapsed when at least this share of its predictions is one class …
ONE_CLASS = 0.99
#: … or, in regression, when the SD of its predictions is below this share of the labels' SD.
NEARLY_CONSTANT = 0.01
#: Metrics of picked answers: the column of ``credit`` that each averages.
PICKED = {"pick-em": 0, "pick-f1": 1}
#: Metrics that need to know which rows belong to one question.
GROUPED = ("group-em", *PICKED)


def majority_rate(labels: np.ndarray) -> float:
    """Accuracy of always answering the most frequent class of ``labels`` (N,)."""
    return float(np.unique(labels, return_counts=True)[1].max() / len(labels))


def decide(logits: np.ndarray) -> np.ndarray:
    """Predictions from logits (…, N, C): the class of the largest; if C = 1, the value itself."""
    return logits[..., 0] if logits.shape[-1] == 1 else logits.argmax(-1)


def score(
    metric: str,
    labels: np.ndarray,
    predictions: np.ndarray,
    *,
    groups: np.ndarray | None = None,
) -> float:
    """A task's metric as a fraction: accuracy, f1, macro-f1, mcc, pearson, spearman, or, with
    ``groups`` (N,), group-em.

    Correlations with a constant prediction are undefined: NaN.
    """
    if metric == "accuracy":  # before a library of metrics is loaded
        return float(np.mean(labels == predictions))
    from scipy import stats
    from sklearn import metrics

    if metric == "group-em":
        _need(metric, "groups", groups, labels)
        wrong = np.unique(groups[labels != predictions])
        return 1 - len(wrong) / len(np.unique(groups))

    if metric in ("pearson", "spearman"):
        if np.ptp(predictions) == 0 or not np.isfinite(predictions).all():
            return float("nan")
        correlate = stats.pearsonr if metric == "pearson" else stats.spearmanr
        return float(correlate(labels, predictions).statistic)
    scores = {
        "f1": lambda y, p: metrics.f1_score(y, p, zero_division=0),
        "macro-f1": lambda y, p: metrics.f1_score(y, p, average="macro", zero_division=0),
        "mcc": metrics.matthews_corrcoef,
    }
    if metric not in scores:
        raise ValueError(
            f"metric {metric!r} is unknown; valid: accuracy, {', '.join(scores)}, pearson, "
            f"spearman, group-em, {', '.join(PICKED)}"
        )
    return float(scores[metric](labels, predictions))


def _need(metric: str, name: str, given: np.ndarray | None, labels: np.ndarray) -> None:
    if given is None or len(given) != len(labels):
        got = "none" if given is None else f"{len(given)}"
        raise ValueError(f"metric {metric!r} needs {name} of {len(labels)} rows, got {got}")


def picked(logits: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The row that each question is answered with, (questions,), in the order of their numbers.

    It has the highest margin of class 1 over class 0 among the question's rows in ``logits``
    (N, 2); of equal ones, the first.
    """
    margin = logits[:, 1] - logits[:, 0]
    order = np.lexsort((np.arange(len(groups)), -margin, groups))
    return order[np.unique(groups[order], return_index=True)[1]]


def score_logits(
    metric: str,
    labels: np.ndarray,
    logits: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    credit: np.ndarray | None = None,
) -> float:
    """Any task's metric from logits (N, C); ``credit`` (N, 2) as ``lib.data.examples.Encoded`` has
    it.
    """
    if metric not in PICKED:
        return score(metric, labels, decide(logits), groups=groups)
    _need(metric, "groups", groups, labels)
    _need(metric, "credit", credit, labels)
    return float(credit[picked(logits, groups), PICKED[metric]].mean())


def score_run(
    labels: np.ndarray,
    logits: np.ndarray,
    metric: str,
    *,
    diverged: bool = False,
    other_metrics: Sequence[str] = (),
    groups: np.ndarray | None = None,
    credit: np.ndarray | None = None,
) -> dict[str, Any]:
    """Score and status of a run from its logits (N, C) on the evaluation examples.

    Status: ``diverged`` (non-finite loss), ``collapsed`` (at least 99 % of predictions in one
    class, or nearly constant in regression), ``failed`` (accuracy at most that of the majority
    class: Dodge et al. 2020, Mosbach et al. 2021; in regression, a squared error at least that of
    the mean label), else ``ok``. A collapsed run is a failed one, with a name for how. A diverged
    run, and a constant prediction under a correlation, has no score (None).

    Accuracy and majority count rows. In a choice between K candidates, logits are (N, K), and the
    majority is the share of the most frequent number of a right candidate. Where questions have
    several rows (MultiRC's answers, ReCoRD's candidates), it is that of the most frequent class
    among all the rows, so a run can be ``failed`` by rows and yet pick well: see its score.
    ``other_scores`` holds the further metrics asked for.
    """
    predictions = decide(logits)
    majority = majority_rate(labels) if logits.shape[-1] > 1 else None
    if diverged or not np.isfinite(logits).all():
        outcome = {"status": "diverged", "metric": metric, "score": None, "accuracy": None}
        nothing = dict.fromkeys(other_metrics)
        return {**outcome, "majority": majority, "other_scores": nothing}
    if logits.shape[-1] == 1:
        accuracy = None
        failed = np.mean((predictions - labels) ** 2) >= np.var(labels)
        collapsed = np.std(predictions) < NEARLY_CONSTANT * np.std(labels)
    else:
        shares = np.unique(predictions, return_counts=True)[1] / len(predictions)
        accuracy = float(np.mean(predictions == labels))
        failed = accuracy <= majority
        collapsed = failed and shares.max() >= ONE_CLASS
    values = {
        name: score_logits(name, labels, logits, groups=groups, credit=credit)
        for name in (metric, *other_metrics)
    }
    finite = {name: value if np.isfinite(value) else None for name, value in values.items()}
    return {
        "status": "collapsed" if collapsed else "failed" if failed else "ok",
        "metric": metric,
        "score": finite[metric],
        "accuracy": accuracy,
        "majority": majority,
        "other_scores": {name: finite[name] for name in other_metrics},
    }
