"""Instability of predictions: S runs, N examples, C classes, all pairs at once.

Every pairwise measure is a symmetric (S, S) matrix; its mean over the S(S − 1)/2 distinct pairs is
the published number (``lib.measures.instability`` adds an interval).
"""

import warnings
from typing import NamedTuple

import numpy as np
from scipy.special import xlogy

from lib.measures.intervals import Statistic, as_array, run_means, share_means


class Consistency(NamedTuple):
    """Accuracy and agreement of a group of runs, fractions in [0, 1]; see ``consistency``."""

    accuracy: float
    con: float
    ccon: float
    unanimity: float
    correct_unanimity: float


class ChurnSplit(NamedTuple):
    """What pairs of runs do with an example: (S, S) shares adding up to 1; see ``churn_split``."""

    both_right: np.ndarray
    one_right: np.ndarray
    both_wrong_same: np.ndarray
    both_wrong_different: np.ndarray


def _check_predictions(predictions: np.ndarray) -> np.ndarray:
    predictions = as_array(predictions)
    if predictions.ndim != 2 or len(predictions) < 2 or predictions.shape[1] < 1:
        raise ValueError(
            f"predictions has shape {predictions.shape}; expected (S, N), S ≥ 2, N ≥ 1"
        )
    if predictions.dtype == bool:
        predictions = predictions.astype(np.int64)
    if not np.issubdtype(predictions.dtype, np.integer):
        raise ValueError(
            f"predictions of shape {predictions.shape} has dtype {predictions.dtype}; expected "
            "integer class labels (argmax of the logits)"
        )
    return predictions


def _check_labels(labels: np.ndarray, n: int) -> np.ndarray:
    labels = as_array(labels)
    if labels.shape != (n,):
        raise ValueError(f"labels has shape {labels.shape}; expected ({n},), one per prediction")
    if labels.dtype != bool and not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels has dtype {labels.dtype}; expected integer class labels")
    return labels


def occurring_classes(predictions: np.ndarray) -> np.ndarray:
    """The class labels that occur, ascending: ``np.unique`` in a tenth of the time."""
    low = int(predictions.min())
    if int(predictions.max()) - low >= predictions.size:
        return np.unique(predictions)
    return low + np.flatnonzero(np.bincount((predictions - low).ravel()))


def _votes(predictions: np.ndarray) -> np.ndarray:
    """One-hot votes (S, N, C) over the classes that occur."""
    return (predictions[..., None] == occurring_classes(predictions)).astype(float)


def _pair_mean(matrix: np.ndarray) -> float:
    return float(matrix[np.triu_indices(len(matrix), 1)].mean())


def pairwise_disagreement(predictions: np.ndarray) -> np.ndarray:
    """(S, S) share of examples on which two runs predict different classes (churn).

    ``predictions`` (S, N) are integer class labels. Du & Nguyen (2023), released code,
    ``avg_disagreement``; 1 − CON of Bui et al. (2025).
    """
    return 1.0 - pairwise_consistency(predictions)


def pairwise_consistency(predictions: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
    """(S, S) share of examples on which two runs agree; with labels, agree and are both right.

    CON and ACC-CON of a pair: Wang et al. (2020), as fractions. The diagonal is 1, or with labels
    the accuracy of each run.
    """
    predictions = _check_predictions(predictions)
    n_runs, n = predictions.shape
    if labels is not None:
        votes = [predictions == _check_labels(labels, n)]
    elif len(classes := occurring_classes(predictions)) < n_runs:
        votes = (predictions == value for value in classes)
    else:  # a comparison of every two runs is less than a product for every class
        return np.array([(row == predictions).mean(1) for row in predictions])
    # Counts are whole numbers, which these products give exactly: float32 has all below 2²⁴.
    kind = np.float32 if n < 2**24 else float
    return sum(each @ each.T for each in (vote.astype(kind) for vote in votes)).astype(float) / n


def normalised(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Probabilities (…, C) divided by the sums of rows; which rows (…) are no distributions; a note
    on those that only rounding keeps from adding up to 1 (empty: there are none).

    Rounded to d decimals, 2 to 6, a row is off by C · 10⁻ᵈ/2 at most, and more than 0.05 is never
    taken for that; in bfloat16, by 2⁻⁸.
    """
    given = as_array(probabilities)
    p, n_classes = given.astype(float), given.shape[-1]
    total = p.sum(-1, keepdims=True)
    off = np.abs(total[..., 0] - 1)
    eps = float(np.finfo(given.dtype).eps) if given.dtype.kind == "f" else 0.0
    exact = most = max(1e-4, n_classes * eps)
    if not (off < exact).all():
        for d in range(6, 1, -1):
            if np.allclose(p, p.round(d), rtol=4 * eps, atol=0):
                most = max(exact, min(n_classes * (10.0**-d / 2 + eps) + 1e-9, 0.05))
        if not (p.astype(np.float32).view(np.uint32) % 2**16).any():  # the upper half of float32
            most = max(most, 2**-8)
    bad = ~((p >= 0).all(-1) & (off < most))
    loose, note = (off >= exact) & ~bad, ""
    if loose.any():
        note = f"{loose.sum()} of {loose.size} rows of probabilities add up to 1 within "
        note += f"{off[loose].max():.2g} only, as rounding leaves them, and were normalised"
    return p / np.where(bad[..., None], 1.0, total), bad, note


def pairwise_jsd(probabilities: np.ndarray) -> np.ndarray:
    """(S, S) Jensen-Shannon divergence of two runs' class probabilities, mean over examples.

    H((p + q)/2) − (H(p) + H(q))/2 in nats, in [0, ln 2]; a divergence, no square root (Du & Nguyen
    2023, released code, ``jsd``). Each row of ``probabilities`` (S, N, C) sums to 1, or would but
    for rounding (``normalised``, with a warning); zeros are fine: 0 log 0 = 0.
    """
    given = as_array(probabilities)
    if given.ndim != 3 or len(given) < 2 or given.shape[2] < 2:
        raise ValueError(f"probabilities has shape {given.shape}; expected (S, N, C), S ≥ 2, C ≥ 2")
    p, bad, note = normalised(given)
    if bad.any():
        run, example = np.argwhere(bad)[0]
        raise ValueError(
            f"probabilities of shape {p.shape}: run {run}, example {example} is "
            f"{given[run, example]}, not a probability distribution; apply a softmax to logits "
            "first, and keep more decimals of what was rounded"
        )
    if note:
        warnings.warn(f"pairwise_jsd: {note}", stacklevel=2)
    entropy = -xlogy(p, p).sum(-1).mean(-1)
    result = np.zeros((len(p), len(p)))
    for i in range(len(p) - 1):
        middle = (p[i] + p[i + 1 :]) / 2
        mixed = -xlogy(middle, middle).sum(-1).mean(-1)
        result[i, i + 1 :] = mixed - (entropy[i] + entropy[i + 1 :]) / 2
    return np.clip(result + result.T, 0.0, None)


def fleiss_kappa(predictions: np.ndarray, *, as_published: bool = False) -> float:
    """Fleiss' kappa with runs as raters and examples as subjects; instability is 1 − kappa.

    (P_a − P_e)/(1 − P_e), where P_a is the mean agreement of distinct pairs and P_e the sum of
    squared shares of the classes among all S·N votes. Any number of classes.

    ``as_published=True`` gives the number of Du & Nguyen's released notebook, which sums over the
    wrong axis: P_e = 1/N whatever the classes, so that 1 − kappa = disagreement · N/(N − 1).

    If all runs give all examples one class, agreement is perfect and so is chance: NaN, with a
    warning.
    """
    predictions = _check_predictions(predictions)
    agreement = _pair_mean(pairwise_consistency(predictions))
    shares = np.unique(predictions, return_counts=True)[1] / predictions.size
    chance = 1.0 / predictions.shape[1] if as_published else float((shares**2).sum())
    if chance == 1.0:
        warnings.warn(
            "fleiss_kappa: chance agreement is 1 (all runs give all examples one class, or a "
            "single example as published); kappa is undefined (NaN)",
            stacklevel=2,
        )
        return float("nan")
    return (agreement - chance) / (1.0 - chance)


def kappa_statistic(predictions: np.ndarray) -> Statistic:
    """1 − Fleiss' kappa as a function of run weights; NaN where all votes are one class.

    Each resample has its own chance agreement, from its own votes: of m runs, a share of 1/m of
    the pairs of votes are a run's with its own, as in the definition, and the rest are those of
    distinct runs. (To count a run drawn twice as its own partner in the chance agreement, but not
    in the disagreement, would give values that no group of runs can have.)
    """
    predictions = _check_predictions(predictions)
    apart = pairwise_disagreement(predictions)
    shares = _votes(predictions).mean(1)
    alone = (shares**2).sum(1)

    def statistic(weights: np.ndarray) -> np.ndarray:
        own = 1 / weights.sum(1)
        squares = weights**2 @ np.stack([alone, np.ones_like(alone)], 1) * own[:, None] ** 2
        together = (run_means(shares, weights) ** 2).sum(1)
        alike = (together - squares[:, 0]) / (1 - squares[:, 1])
        chance = (1 - own) * alike + own * run_means(alone, weights)
        free = np.where(chance < 1 - 1e-12, 1 - chance, np.nan)
        return share_means(apart, predictions.shape[1], weights) / free

    return statistic


def churn_split(predictions: np.ndarray, labels: np.ndarray) -> ChurnSplit:
    """What two runs do with an example: right or wrong, the same or not. (S, S) shares each.

    ``both_right`` + ``one_right`` + ``both_wrong_same`` + ``both_wrong_different`` = 1. On binary
    tasks the last is 0, so all disagreement is a run being right where the other is wrong; with
    more classes runs can also be wrong in different ways, which no score sees.
    """
    predictions = _check_predictions(predictions)
    labels = _check_labels(labels, predictions.shape[1])
    right = (predictions == labels).astype(float)
    both_right = right @ right.T / right.shape[1]
    both_wrong = (1 - right) @ (1 - right).T / right.shape[1]
    same = pairwise_consistency(predictions)
    wrong_same = np.clip(same - both_right, 0.0, None)
    different = np.clip(both_wrong - wrong_same, 0.0, None)
    return ChurnSplit(both_right, 1 - both_right - both_wrong, wrong_same, different)


def flip_rate(predictions: np.ndarray) -> np.ndarray:
    """(N,) for each example, the share of pairs of runs that answer it differently.

    1 − Σ k_c(k_c − 1) / (S(S − 1)), k_c the votes for class c; its mean over examples is the
    pairwise disagreement.
    """
    votes = _votes(_check_predictions(predictions)).sum(0)
    n_runs = len(predictions)
    return 1 - (votes * (votes - 1)).sum(-1) / (n_runs * (n_runs - 1))


def flip_rate_from_counts(n_correct: np.ndarray, n_runs: int) -> np.ndarray:
    """(N,) ``flip_rate`` of being right, where c of S runs are: 2c(S − c) / (S(S − 1)).

    Its mean is ``one_right`` of ``churn_split``. Disagreement is more by what two runs get wrong
    differently: nothing with two classes. ``n_correct``: (N,) integers from 0 to S.
    """
    c = as_array(n_correct)
    if c.dtype.kind not in "iu" or ((c < 0) | (c > n_runs)).any() or n_runs < 2:
        kind = f"n_correct has shape {c.shape} and dtype {c.dtype}"
        raise ValueError(f"{kind}; expected integers from 0 to n_runs = {n_runs}, at least 2 runs")
    return 2 * c * (n_runs - c) / (n_runs * (n_runs - 1))


def vote_entropy(predictions: np.ndarray) -> np.ndarray:
    """(N,) entropy of the runs' votes on each example, nats; 0 where all agree.

    Plug-in, so too small for few runs: S runs cannot show more than ln S.
    """
    shares = _votes(_check_predictions(predictions)).mean(0)
    return -xlogy(shares, shares).sum(-1)


def consistency(predictions: np.ndarray, labels: np.ndarray) -> Consistency:
    """Accuracy and consistency of S runs (specification of Bui et al. 2025 after Wang et al. 2020).

    accuracy : mean over runs
    con, ccon : mean over distinct pairs of runs of the share of examples on which both agree, and
        both agree and are right
    unanimity, correct_unanimity : share of examples on which all runs agree, and are all right;
        smaller than the pairwise forms and falling with S
    """
    predictions = _check_predictions(predictions)
    labels = _check_labels(labels, predictions.shape[1])
    correct = predictions == labels
    return Consistency(
        accuracy=float(correct.mean()),
        con=_pair_mean(pairwise_consistency(predictions)),
        ccon=_pair_mean(pairwise_consistency(predictions, labels)),
        unanimity=float((predictions == predictions[0]).all(0).mean()),
        correct_unanimity=float(correct.all(0).mean()),
    )
