"""Measures of the instability of fine-tuning, at three granularities.

Needs numpy and scipy only. S runs, N examples, C classes, L layers, D features; rows are the same
examples in the same order in every run. Agreement-like quantities are fractions.

>>> import numpy as np
>>> from lib import measures
>>> predictions = np.array([[1, 0, 1, 1], [1, 0, 0, 1], [0, 0, 1, 1]])
>>> measures.instability(measures.pairwise_disagreement(predictions)).value.__round__(3)
0.333
"""

from lib.measures.generation import (  # noqa: F401
    mean_over_examples,
    pairwise_bleu_distance,
    pairwise_different,
    pairwise_edit_distance,
    pairwise_rouge_distance,
    pairwise_slot_distance,
    text_scores,
    total_agreement,
)
from lib.measures.intervals import Interval, instability  # noqa: F401 (the room's own names)
from lib.measures.performance import (  # noqa: F401
    SeedVariance,
    distribution_sd,
    distribution_sd_statistic,
    distribution_variance,
    expected_maximum,
    expected_range,
    failed_rate,
    interquartile_mean,
    interquartile_mean_statistic,
    score_range,
    score_spread,
    seed_variance,
    seed_variance_from_counts,
)
from lib.measures.prediction import (  # noqa: F401
    ChurnSplit,
    Consistency,
    churn_split,
    consistency,
    fleiss_kappa,
    flip_rate,
    flip_rate_from_counts,
    kappa_statistic,
    normalised,
    pairwise_consistency,
    pairwise_disagreement,
    pairwise_jsd,
    vote_entropy,
)
from lib.measures.representation import (  # noqa: F401
    SaturationWarning,
    convert_op,
    distances_and_chance,
    kept_directions,
    representation_distances,
)
