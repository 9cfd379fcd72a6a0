"""Measures of the instability of fine-tuning, at three granularities.

Needs numpy and scipy only. S runs, N examples, C classes, L layers, D features; rows are the same
examples in the same order in every run. Agreement-like quantities are fractions.

>>> import numpy as np
>>> from lib import measures
>>> predictions = np.array([[1, 0, 1, 1], [1, 0, 0, 1], [0, 0, 1, 1]])
>>> measures.instability(measures.pairwise_disagreement(predictions)).value.__round__(3)
0.333
"""

from lib.measures.performance import score_spread
from lib.measures.prediction import (
    Consistency,
    consistency,
    distribution_sd,
    distribution_variance,
    fleiss_kappa,
    kappa_instability,
    pairwise_consistency,
    pairwise_disagreement,
    pairwise_jsd,
)
from lib.measures.representation import representation_distances
from lib.resampling import Interval, instability

__all__ = [
    "Consistency",
    "Interval",
    "consistency",
    "distribution_sd",
    "distribution_variance",
    "fleiss_kappa",
    "instability",
    "kappa_instability",
    "pairwise_consistency",
    "pairwise_disagreement",
    "pairwise_jsd",
    "representation_distances",
    "score_spread",
]
