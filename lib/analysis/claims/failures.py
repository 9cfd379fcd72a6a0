"""Claims on failed runs: what their training looks like, and how far apart they are."""

from collections.abc import Sequence
from functools import cache, partial

import numpy as np
import pandas as pd

from lib.analysis import failed_runs, learning_rate_sweep, validity, variance_components
from lib.analysis.claims.agreement import POOLINGS
from lib.analysis.claims.claim import Estimate, claim
from lib.analysis.claims.preregistered import (
    ALL,
    CLEARLY,
    NEAR_CHANCE,
    Tested,
    hypothesis,
    pooled,
    selected,
    weakest,
)
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


# --- C of docs/preregistration.md: are failed runs farther apart? ---------------------------------

#: Settings of the study, by encoder and task.
HALF_FAILING = (
    *(f"bert-tiny {task}" for task in ("rotten-tomatoes", "sarcasm", "trec")),
    *(
        f"minilm-l6 {task}"
        for task in ("rotten-tomatoes", "amazon", "nyt", "sarcasm", "trec", "privacyqa")
    ),
)


#: Those with five runs of either kind, which the plan reports apart: on `trec` two failed.
FIVE_OF_EACH = tuple(setting for setting in HALF_FAILING if setting != "minilm-l6 trec")


def _apart(*names: str, fewest: int = 15) -> Tested:
    """Failed less successful mean distance, by Student's t of the jackknife, and its mean over
    settings with ``fewest`` runs of either kind; of several measures the one with the least
    evidence. Where of several settings one is left, that is no mean over settings.
    """

    def over_settings(chosen: Sequence[RunGroup], pooling: str) -> Estimate:
        parts: dict[str, list[Estimate]] = {name: [] for name in names}
        kinds = [failed_runs.first_of_each(group, fewest=fewest) for group in chosen]
        kinds = [group for group in kinds if group is not None]
        if len(kinds) < max(1, min(2, len(chosen))):
            return Estimate(np.nan, np.nan, np.nan, len(kinds))
        for group in kinds:
            pairs = group.pairs(pooling or POOLINGS[0])
            for name, gaps in parts.items():
                gap = validity.separation(pairs[name], group.failed).difference
                gaps.append(Estimate(*gap[:3], len(group), gap.p, gap.detectable))
        return weakest([pooled(gaps) for gaps in parts.values()])

    return over_settings


half_failing = partial(
    hypothesis,
    study="half-failing",
    runs=(ALL, CLEARLY),
    without=(*HALF_FAILING, NEAR_CHANCE),
    required=[{}, *({"without": setting} for setting in HALF_FAILING)],
)
half_failing("C1", "failed-runs-are-farther-apart", poolings=POOLINGS)(_apart("cka"))
half_failing("C2", "failed-runs-are-farther-apart-by-op-and-svcca", poolings=POOLINGS)(
    _apart("op", "svcca")
)
half_failing("C3", "failed-runs-answer-alike", side="below")(_apart("disagreement"))


# Not in the plan, and asked of the same runs: with settings that have fewer runs of a kind, too.
_in_more = partial(claim, needed=1.0, without=("none", *FIVE_OF_EACH), runs=(ALL, CLEARLY))


@_in_more("failed-runs-are-farther-apart-in-more-settings", pooling=POOLINGS)
def _farther_in_more(without: str, runs: str, pooling: str) -> Estimate:
    """Failed less successful mean CKA distance."""
    how = {"without": without, "runs": runs, "pooling": pooling}
    return _apart("cka", fewest=5)(selected("half-failing", **how), pooling)


@_in_more("failed-runs-answer-alike-in-more-settings", side="below")
def _alike_in_more(without: str, runs: str) -> Estimate:
    """Failed less successful mean disagreement."""
    return _apart("disagreement", fewest=5)(
        selected("half-failing", without=without, runs=runs), ""
    )


@claim(
    "failed-runs-have-like-probabilities", side="below", setting=FIVE_OF_EACH, runs=(ALL, CLEARLY)
)
def _like_probabilities(setting: str, runs: str) -> Estimate:
    """Failed less successful mean JSD, by setting."""
    return _apart("jsd", fewest=5)(selected("half-failing", task=setting, runs=runs), "")
