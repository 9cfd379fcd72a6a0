"""Claims on failed runs: what their training looks like, and how far apart they are."""

from functools import cache

import numpy as np
import pandas as pd
from scipy import stats

from lib.analysis import failed_runs, learning_rate_sweep, validity, variance_components
from lib.analysis.claims.claim import Estimate, claim
from lib.analysis.claims.scores import accuracy, group_of
from lib.analysis.learning_rate_sweep import CLEAR
from lib.measures import comparison
from lib.results import tables
from lib.results.run_group import RunGroup

ENCODERS = ("bert-tiny", "minilm-l6")
#: The settings in which many runs fail, by encoder and task.
SETTINGS = (
    "minilm-l6 rotten-tomatoes",
    "minilm-l6 mrpc",
    "bert-tiny rotten-tomatoes",
    "bert-tiny trec",
)
#: Runs that are at most five points above the majority class: left out, or one kind or the other.
BETWEEN = ("left out", "successful", "failed")


@cache
def _tables(setting: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs of a setting, and their training."""
    runs, training = (tables.read("reference-failing", name) for name in ("runs", "training"))
    runs = runs[(runs["backbone"] + " " + runs["task"]) == setting]
    return runs, training[training["setting_id"].isin(runs["setting_id"])]


def _ratio(values: pd.DataFrame, part: str, setting: str) -> Estimate:
    """Log ratio of failed to successful runs of a quantity of a part of the model."""
    row = failed_runs.contrast(values, _tables(setting)[0]).loc[part]
    numbers = np.log(row[["ratio", "low", "high"]].to_numpy(float))
    return Estimate(*numbers, int(row["n_failed"] + row["n_successful"]))


@claim(side="below", setting=SETTINGS, since=(0.5, 0.25, 0.75))
def gradients_vanish_in_failed_runs(setting: str, since: float) -> Estimate:
    """Log ratio of gradient norms in the lowest layer; ``since``: from which share of training."""
    values = failed_runs.mean_gradients(_tables(setting)[1], since=since)
    return _ratio(values, "layer1", setting)


@claim(side="within", margin=float(np.log(2)), setting=SETTINGS, part=("layer1", "head", "all"))
def failed_runs_start_like_the_others(setting: str, part: str) -> Estimate:
    """Log ratio of gradient norms in the first tenth of the steps, within a factor of two."""
    values = failed_runs.mean_gradients(_tables(setting)[1], since=0, until=0.1)
    return _ratio(values, part, setting)


@claim(side="below", setting=SETTINGS, part=("all", "layer1"))
def failed_runs_move_less_far(setting: str, part: str) -> Estimate:
    """Log ratio of distances from the pretrained weights."""
    return _ratio(failed_runs.distances(_tables(setting)[1]), part, setting)


@cache
def _ladder(encoder: str) -> pd.DataFrame:
    return tables.read("reference-ladder", "runs").query("backbone == @encoder")


@claim(encoder=ENCODERS)
def failures_set_in_at_high_rates(encoder: str) -> Estimate:
    """Share of failed runs at the highest rate of a ladder less that at the lowest, in points; p of
    permuting the rates of each seed, which is on every rung.
    """
    grid = learning_rate_sweep.failures_by_seed(_ladder(encoder)).to_numpy(float)
    p = variance_components.seed_dependence(grid)["order"]
    shares = grid.mean(0)
    return Estimate(float(100 * (shares[-1] - shares[0])), np.nan, np.nan, len(grid), p)


@claim(encoder=ENCODERS)
def ladder_finds_the_rate_of_half_failure(encoder: str) -> Estimate:
    """log₁₀ of two, less the half-width of the interval of log₁₀ of the rate."""
    failed = learning_rate_sweep.failed_runs(_ladder(encoder))
    half = learning_rate_sweep.half_failure(_ladder(encoder)["learning_rate"], failed)
    low, high = np.log10([half.low, half.high])
    return Estimate.exactly(float(np.log10(2) - (high - low) / 2), len(failed))


@cache
def _kinds(setting: str, between: str) -> tuple[RunGroup, np.ndarray]:
    """The runs of a setting, and which of them count as failed."""
    backbone, task = setting.split()
    group = group_of("reference-failing", backbone=backbone, task=task)
    barely = ~group.failed & (accuracy(group) <= group.setting["majority"] + CLEAR)
    if between == "left out":
        return group.take(~barely), group.failed[~barely]
    return group, group.failed | (barely if between == "failed" else False)


@claim(
    measure=("cka", "op", "svcca"),
    pooling=("first", "mean"),
    layer=("last", "upper half"),
    between=BETWEEN,
)
def failed_runs_are_farther_apart(measure: str, pooling: str, layer: str, between: str) -> Estimate:
    """Failed less successful mean distance, as Stouffer's z over the four settings; jackknife-t of
    each kind in each.
    """
    gaps = []
    for group, failed in (_kinds(setting, between) for setting in SETTINGS):
        stack = group.layer_distances(pooling)[measure]
        distances = stack[-1] if layer == "last" else stack[len(stack) // 2 :].mean(0)
        gaps.append(validity.separation(distances, failed).difference)
    z, p = comparison.stouffer([gap.p for gap in gaps], [gap.value for gap in gaps])
    return Estimate(z, z - 1.96, z + 1.96, len(gaps), p, float(stats.norm.ppf([0.975, 0.8]).sum()))


@claim(side="below", measure=("jsd", "disagreement"), setting=SETTINGS, between=BETWEEN)
def failed_runs_answer_alike(measure: str, setting: str, between: str) -> Estimate:
    """Failed less successful mean distance of predictions, by setting: jackknife-t of each kind."""
    group, failed = _kinds(setting, between)
    gap = validity.separation(group.pairs("mean")[measure], failed).difference
    return Estimate(gap.value, gap.low, gap.high, len(group))
