"""Does a lucky seed transfer? Scores made comparable, Kendall's W of the ranks that tasks give to
seeds, and the correlation over runs of a score with scores on other data.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from lib.errors import nearest
from lib.measures.comparison import adjust, correlation
from lib.measures.intervals import N_PERMUTATIONS, check_scores, permutation_p

#: What the normalised score ζ of Bui, Savova & Wang (2025, figure 3) may be; which of them it is
#: could not be verified.
ZETAS = ("min-max", "z-score", "ratio to the best", "ratio to the mean")


def zeta(scores: np.ndarray, form: str) -> np.ndarray:
    """(m, n) the scores of n seeds on m tasks, made comparable between tasks.

    ``min-max``: 0 the worst, 1 the best seed of a task; ``z-score``: in standard deviations (ddof
    1) from the mean; ``ratio to the best`` and ``ratio to the mean``: as named. The first two are 0
    on a task where all seeds tie.
    """
    scores = np.asarray(scores, float)
    if form not in ZETAS:
        raise ValueError(f"form = {form!r} is unknown: {nearest(form, ZETAS)}")
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise ValueError(f"scores has shape {scores.shape}; expected (tasks, seeds), two or more")
    worst, best, mean = (of(scores, 1, keepdims=True) for of in (np.min, np.max, np.mean))
    above, scale = {
        "min-max": (scores - worst, best - worst),
        "z-score": (scores - mean, (best > worst) * scores.std(1, ddof=1, keepdims=True)),
        "ratio to the best": (scores, best),
        "ratio to the mean": (scores, mean),
    }[form]
    return np.divide(above, scale, out=np.zeros_like(above), where=scale != 0)


class Concordance(NamedTuple):
    """Kendall's W: 1 where all tasks rank the seeds alike; ``expected`` is its mean by chance."""

    w: float
    expected: float
    p: float
    n_tasks: int
    n_seeds: int


def kendalls_w(scores: np.ndarray) -> Concordance:
    """Kendall's W of the scores of the same seeds on several tasks, corrected for ties.

    W = 12 R/(m²(n³ − n) − m Σ T), with m tasks, n seeds, R the sum of squared deviations of the
    seeds' rank sums from their mean, and T = Σ (t³ − t) over the ties of a task (Kendall & Gibbons
    1990, *Rank Correlation Methods*, ch. 6). m(n − 1)W is Friedman's χ². If tasks rank seeds
    independently, W is 1/m on average, not 0. For two tasks without ties W = (1 + ρ)/2, with
    Spearman's ρ.

    Parameters
    ----------
    scores : (m, n), a row a task

    Returns
    -------
    ``w, expected, p, n_tasks, n_seeds``. p is that of 9,999 permutations of the seeds within each
    task. A task on which all seeds tie ranks none; if every task
    is like that: NaN.
    """
    scores = np.asarray(scores, float)
    if scores.ndim != 2 or min(scores.shape) < 2 or not np.isfinite(scores).all():
        raise ValueError(
            f"scores has shape {scores.shape}; expected (tasks, seeds), at least "
            "2 of each and all finite: the same seeds on every task, diverged runs scored too"
        )
    n_tasks, n_seeds = scores.shape
    ranks = stats.rankdata(scores, axis=1) - (n_seeds + 1) / 2
    most = n_tasks * (ranks**2).sum()  # of R: what tasks with these ties would give if they agreed
    if most == 0:
        return Concordance(float("nan"), 1 / n_tasks, float("nan"), n_tasks, n_seeds)
    observed = (ranks.sum(0) ** 2).sum()
    rng = np.random.default_rng(0)
    sums = sum(rng.permuted(np.tile(task, (N_PERMUTATIONS, 1)), axis=1) for task in ranks)
    p = float(permutation_p((sums**2).sum(1), observed))
    return Concordance(float(observed / most), 1 / n_tasks, p, n_tasks, n_seeds)


def score_transfer(scores: np.ndarray, other: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Does a run that scores higher on one set of data score higher on others?

    ``scores`` (S,), and a row a run and a column a set in ``other``. Returns a row a set:
    Pearson's ``r`` with ``scores``, ``low``, ``high`` and ``p`` of ``comparison.correlation``, and
    Holm's ``adjusted``; Spearman's ``rho``.
    """
    scores = check_scores(scores)
    if len(other) != len(scores) or (other.nunique() < 2).any():
        shapes = f"scores has shape {scores.shape}, other {other.shape}"
        raise ValueError(f"{shapes}; expected the same runs, and no score that all runs share")
    rows = {
        name: [
            *correlation(scores, values.to_numpy(), level=level),
            correlation(scores, values.to_numpy(), ranks=True).value,
        ]
        for name, values in other.items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["r", "low", "high", "p", "rho"])
    return table.assign(adjusted=adjust(table["p"].to_numpy()))
