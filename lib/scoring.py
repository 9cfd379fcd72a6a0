"""What a single run scores: the metrics of the tasks, and the status of a run."""

from typing import Any

import numpy as np

#: A run is collapsed when at least this share of its predictions is one class …
ONE_CLASS = 0.99
#: … or, in regression, when the SD of its predictions is below this share of the labels' SD.
NEARLY_CONSTANT = 0.01


def majority_rate(labels: np.ndarray) -> float:
    """Accuracy of always answering the most frequent class of ``labels`` (N,)."""
    return float(np.unique(labels, return_counts=True)[1].max() / len(labels))


def decide(logits: np.ndarray) -> np.ndarray:
    """Predictions from logits (…, N, C): the class of the largest; if C = 1, the value itself."""
    return logits[..., 0] if logits.shape[-1] == 1 else logits.argmax(-1)


def score(metric: str, labels: np.ndarray, predictions: np.ndarray) -> float:
    """A task's metric as a fraction: accuracy, f1, macro-f1, mcc, pearson or spearman.

    Correlations with a constant prediction are undefined: NaN.
    """
    from scipy import stats
    from sklearn import metrics

    if metric in ("pearson", "spearman"):
        if np.ptp(predictions) == 0 or not np.isfinite(predictions).all():
            return float("nan")
        correlate = stats.pearsonr if metric == "pearson" else stats.spearmanr
        return float(correlate(labels, predictions).statistic)
    known = {
        "accuracy": metrics.accuracy_score,
        "f1": lambda y, p: metrics.f1_score(y, p, zero_division=0),
        "macro-f1": lambda y, p: metrics.f1_score(y, p, average="macro", zero_division=0),
        "mcc": metrics.matthews_corrcoef,
    }
    if metric not in known:
        raise ValueError(
            f"metric {metric!r} is unknown; valid: {', '.join(known)}, pearson, spearman"
        )
    return float(known[metric](labels, predictions))


def judge(
    labels: np.ndarray, logits: np.ndarray, metric: str, *, diverged: bool = False
) -> dict[str, Any]:
    """Score and status of a run from its logits (N, C) on the evaluation examples.

    Status: ``diverged`` (non-finite loss), ``collapsed`` (at least 99 % of predictions in one
    class, or nearly constant in regression), ``failed`` (accuracy at most that of the majority
    class: Dodge et al. 2020, Mosbach et al. 2021; in regression, a squared error at least that of
    the mean label), else ``ok``. A collapsed run is a failed one, with a name for how. A diverged
    run, and a constant prediction under a correlation, has no score (None).
    """
    predictions = decide(logits)
    majority = majority_rate(labels) if logits.shape[-1] > 1 else None
    if diverged or not np.isfinite(logits).all():
        outcome = {"status": "diverged", "metric": metric, "score": None, "accuracy": None}
        return {**outcome, "majority": majority}
    if logits.shape[-1] == 1:
        accuracy = None
        failed = np.mean((predictions - labels) ** 2) >= np.var(labels)
        collapsed = np.std(predictions) < NEARLY_CONSTANT * np.std(labels)
    else:
        shares = np.unique(predictions, return_counts=True)[1] / len(predictions)
        accuracy = float(np.mean(predictions == labels))
        failed = accuracy <= majority
        collapsed = failed and shares.max() >= ONE_CLASS
    value = score(metric, labels, predictions)
    return {
        "status": "collapsed" if collapsed else "failed" if failed else "ok",
        "metric": metric,
        "score": value if np.isfinite(value) else None,
        "accuracy": accuracy,
        "majority": majority,
    }
