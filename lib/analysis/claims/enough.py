"""Claims on whether the SD of scores is enough, or what answers and representations add to it."""

import itertools
from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd

from lib.analysis import granularity
from lib.analysis.claims.agreement import COPIES as SHARE_OF_COPIES
from lib.analysis.claims.agreement import POOLINGS, distinct
from lib.analysis.claims.claim import Estimate, claim
from lib.analysis.claims.scores import groups
from lib.measures.intervals import Interval
from lib.results.run_group import RunGroup

STUDIES = ("size-and-length", "distinct-methods", "optimizers", "stabilizers")
#: What is left out in turn, beside each task.
NOTHING, FAILING, COPIES = "nothing", "settings in which runs fail", "near copies"


@cache
def _settings(study: str, backbone: str = "") -> list[RunGroup]:
    """The settings of a study, or those of one backbone, with the seeds that all have."""
    every = groups(f"reference-{study}")
    return granularity.same_seeds([g for g in every if backbone in ("", g.setting["backbone"])])


@cache
def _kept(study: str) -> dict[str, list[RunGroup]]:
    """By what is left out, the settings that are left, if any are left out and two are left."""
    every = _settings(study)
    tasks = dict.fromkeys(group.setting["task"] for group in every)
    kept = {task: [group for group in every if group.setting["task"] != task] for task in tasks}
    kept[FAILING] = [group for group in every if not group.failed.any()]
    kept[COPIES] = distinct(every, below=SHARE_OF_COPIES)
    return {NOTHING: every} | {n: own for n, own in kept.items() if 1 < len(own) < len(every)}


def _each(**axes: tuple[str, ...]) -> Callable[[], list[dict[str, str]]]:
    """Specifications: each study and what is left out of it, with all choices of ``axes``."""
    return lambda: [
        {"study": study, "without": without, **dict(zip(axes, chosen, strict=True))}
        for study in STUDIES
        for without in _kept(study)
        for chosen in itertools.product(*axes.values())
    ]


@cache
def _told(study: str) -> pd.DataFrame:
    names = ("sd", "disagreement", "jsd", "op")
    return granularity.told(_settings(study), names, seeds=(*granularity.FEWER, 0))


@claim("the-sd-takes-more-seeds", given=_each(measure=("disagreement", "jsd", "op")))
def _more_seeds(study: str, without: str, measure: str) -> Estimate:
    """Log of how many times as many seeds the SD takes to tell as many pairs of settings apart."""
    table, kept = _told(study), [id(group) for group in _kept(study)[without]]
    own = {(group.setting["task"], i) for part in granularity.by_task(_settings(study))
           for i, group in enumerate(part) if id(group) in kept}  # fmt: skip
    pairs = [{(row.task, row.first), (row.task, row.second)} <= own for row in table.itertuples()]
    found = granularity.seeds_alike(table[pairs], measure)
    value, high, low = np.log(table["n"].max() / np.array(found[:3]))
    return Estimate(float(value), float(low), float(high), found.n_runs)


@cache
def _losses(study: str, without: str, pooling: str) -> pd.DataFrame:
    return granularity.losses(_kept(study)[without], pooling=pooling)


def _lost(study: str, without: str, target: str, pooling: str) -> Estimate:
    """τ of a measure with itself on other seeds, less that of the best of other granularities with
    it: mean over tasks.
    """
    row = _losses(study, without, pooling).loc[target]
    return Estimate(row["loss"], row["low"], row["high"], len(_kept(study)[without]))


claim("nothing-else-ranks-as-answers-do",
      given=_each(target=("disagreement", "kappa"), pooling=POOLINGS))(_lost)  # fmt: skip
claim("nothing-else-ranks-as-representations-do",
      given=_each(target=("cka", "op", "svcca"), pooling=POOLINGS))(_lost)  # fmt: skip


@claim("answers-foretell-the-sd", side="below", null=0.1,
       given=_each(by=("disagreement", "kappa")))  # fmt: skip
def _answers_for_sd(study: str, without: str, by: str) -> Estimate:
    """τ of the SD with itself on other seeds, less that of disagreement with it."""
    kept = _kept(study)[without]
    row = granularity.losses(kept, {"sd": (by,)}).loc["sd"]
    return Estimate(row["loss"], row["low"], row["high"], len(kept))


@claim("the-sd-is-noise-where-runs-agree", side="below", null=np.log(2), given=_each())
def _noise(study: str, without: str) -> Estimate:
    """Log of the variance of accuracy over what the choice of test examples makes, at the lowest
    disagreement of each task, on a line through its settings: mean over tasks.
    """
    parts = granularity.by_task(_kept(study)[without])
    found = [granularity.crossing(granularity.half_noise(part), len(part[0]))
             for part in parts if len(part) > 2]  # fmt: skip
    least = [one.at_least for one in found]
    return Estimate.pooled([Interval(*(end + np.log(2) for end in e[:3]), e.n_runs) for e in least])


def _failing() -> list[dict[str, str]]:
    studies = ("stabilizers", "bert-tiny"), ("ladder", "bert-tiny"), ("ladder", "minilm-l6")
    axes = ("disagreement", "jsd"), ("failed runs", "disagreement")
    return [
        {"study": study, "backbone": backbone, "measure": measure, "level": level}
        for measure, level, (study, backbone) in itertools.product(*axes, studies)
    ]


@claim("the-sd-catches-up-where-runs-fail", given=_failing)
def _catches_up(study: str, backbone: str, measure: str, level: str) -> Estimate:
    """Share of pairs that the SD alone tells apart less that of ``measure`` alone, at the highest
    less at the lowest level of a pair, on a line through the pairs.
    """
    chosen = _settings(study, backbone)
    points = granularity.only_sd(chosen, measure, LEVELS[level])
    return Estimate(*granularity.crossing(points, len(chosen)).rise)


#: Of a setting; of a pair it is the mean.
LEVELS: dict[str, Callable[[RunGroup], float]] = {
    "failed runs": lambda group: float(group.failed.mean()),
    "disagreement": lambda group: float(
        group.statistics("first")["disagreement"](np.ones((1, len(group))))[0]
    ),
}
