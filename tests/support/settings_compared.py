"""Invented runs of two settings, as they are read and measured."""

from dataclasses import replace

import numpy as np
import pandas as pd

from lib.report.measuring import MeasuredRuns
from lib.results.run_group import RunGroup

N = 60
GOLD = np.random.default_rng(0).integers(0, 3, N)
CLASSES = ["no", "perhaps", "yes"]


def group(seed=1, n_runs=5, right=0.7, runs=None, gold=GOLD):
    """Invented runs of three classes, right with a chance of their own on each example."""
    rng = np.random.default_rng(seed)
    hard = np.clip(right + rng.normal(0, 0.2, len(gold)), 0.05, 0.95)
    wrong = (gold + rng.integers(1, 3, (n_runs, len(gold)))) % 3
    answers = np.where(rng.random((n_runs, len(gold))) < hard, gold, wrong)
    names = runs or [f"seed{i}" for i in range(n_runs)]
    ids = [f"q{i}" for i in range(len(gold))]
    return RunGroup(pd.DataFrame({"run": names}), ids, answers, gold, CLASSES)


def scored(scores, names=None, metric="accuracy"):
    """Scores alone."""
    names = names or [str(i) for i in range(len(scores))]
    runs = pd.DataFrame({"run": names, "score": np.array(scores, float), "metric": metric})
    runs = runs.assign(status="ok", accuracy=np.nan, majority=np.nan)
    return measured(RunGroup(runs, [], np.zeros((len(scores), 0))), metric)


def measured(group, metric="accuracy"):
    """As measured, without what nobody asks for here."""
    if "score" not in group.runs:
        scores = (group.predictions == group.labels).mean(1)
        group = replace(group, runs=group.runs.assign(score=scores, status="ok"))
    nothing = pd.DataFrame()
    return MeasuredRuns(group, metric, 0.95, 0.2, nothing, nothing, nothing)
