"""Claims on failed runs: what their training looks like, and how far apart they are."""

from functools import cache

import numpy as np
import pandas as pd
from scipy import stats

from lib.analysis import failed_runs, learning_rate_sweep, validity
from lib.analysis.claims.claim import Estimate, claim
from lib.analysis.claims.scores import accuracy, groups
from lib.analysis.learning_rate_sweep import CLEAR
from lib.measures import comparison
from lib.results import tables
from lib.results.run_group import RunGroup

ENCODERS = ("minilm-l6", "bert-tiny")


@cache
def _mixed(encoder: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs and training logs of the rate of a ladder at which about half of the runs fail."""
    runs = tables.read("reference-ladder", "runs").query("backbone == @encoder")
    own = runs[runs["setting_id"] == failed_runs.mixed_setting(runs)]
    training = tables.read("reference-ladder", "training")
    return own, training[training["setting_id"].isin(own["setting_id"])]


def _ratio(values: pd.DataFrame, part: str, runs: pd.DataFrame) -> Estimate:
    """Log ratio of failed to successful runs of a quantity of a part of the model."""
    row = failed_runs.contrast(values, runs).loc[part]
    value, low, high = np.log(row[["ratio", "low", "high"]].to_numpy(float))
    return Estimate(value, low, high, int(row["n_failed"] + row["n_successful"]))


@claim(side="below", encoder=ENCODERS, since=(0.5, 0.25, 0.75))
def gradients_vanish_in_failed_runs(encoder: str, since: float) -> Estimate:
    """Log ratio of gradient norms in the lowest layer; ``since``: from which share of training."""
    runs, training = _mixed(encoder)
    return _ratio(failed_runs.mean_gradients(training, since=since), "layer1", runs)


@claim(side="within", margin=float(np.log(2)), encoder=ENCODERS, part=("layer1", "head", "all"))
def failed_runs_start_like_the_others(encoder: str, part: str) -> Estimate:
    """Log ratio of gradient norms in the first tenth of the steps, within a factor of two."""
    runs, training = _mixed(encoder)
    return _ratio(failed_runs.mean_gradients(training, since=0, until=0.1), part, runs)


@claim(side="within", margin=0.25, encoder=ENCODERS, part=("all", "layer1"))
def failed_runs_move_as_far(encoder: str, part: str) -> Estimate:
    """Log ratio of distances from the pretrained weights, within a quarter."""
    runs, training = _mixed(encoder)
    return _ratio(failed_runs.distances(training), part, runs)


@claim(null=0.0, encoder=ENCODERS)
def ladder_finds_the_rate_of_half_failure(encoder: str) -> Estimate:
    """log₁₀ of two, less the half-width of the interval of log₁₀ of the rate."""
    runs = tables.read("reference-ladder", "runs").query("backbone == @encoder")
    failed = learning_rate_sweep.failed_runs(runs)
    half = learning_rate_sweep.half_failure(runs["learning_rate"], failed)
    low, high = np.log10([half.low, half.high])
    return Estimate.exactly(float(np.log10(2) - (high - low) / 2), len(runs))


@cache
def _failing(between: str, runs: str) -> list[RunGroup]:
    """The four settings in which many runs fail. ``between``: whether runs that are at most five
    points above the majority class are left out, or count as successful.
    """
    found = []
    for group in groups("reference-failing"):
        barely = ~group.failed & (accuracy(group) <= group.setting["majority"] + CLEAR)
        kept = group.take(~barely) if between == "left out" else group
        equal = runs == "equal numbers"
        found.append(kept.take(validity.balanced(kept.failed)) if equal else kept)
    return found


def _kinds(measure: str, pooling: str, runs: str, layer: str, between: str) -> Estimate:
    """Failed less successful mean distance, as Stouffer's z over the four settings."""
    gaps = []
    for group in _failing(between, runs):
        if layer == "last":
            distances = group.pairs(pooling)[measure]
        else:
            stack = group.layer_distances(pooling)[measure]
            distances = stack[len(stack) // 2 :].mean(0)
        gaps.append(validity.separation(distances, group.failed).difference)
    z, p = comparison.stouffer([gap.p for gap in gaps], [gap.value for gap in gaps])
    seen = stats.norm.ppf([0.975, 0.8]).sum()
    return Estimate(z, z - 1.96, z + 1.96, len(gaps), p, float(seen))


HOW = {"runs": ("all", "equal numbers"), "between": ("left out", "successful")}


@claim(
    measure=("cka", "op", "svcca"),
    pooling=("first", "mean"),
    layer=("last", "upper half"),
    **HOW,
)
def failed_runs_are_farther_apart(
    measure: str, pooling: str, layer: str, runs: str, between: str
) -> Estimate:
    """Stouffer's z over four settings, jackknife-t of each kind in each."""
    return _kinds(measure, pooling, runs, layer, between)


@claim(side="below", measure=("jsd", "disagreement"), **HOW)
def failed_runs_answer_alike(measure: str, runs: str, between: str) -> Estimate:
    """The same of predictions."""
    return _kinds(measure, "mean", runs, "last", between)
