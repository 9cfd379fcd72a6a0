"""Claims on whether the SD of scores is enough, or what answers and representations add to it."""

import itertools
from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd

from lib.analysis import consistency, granularity
from lib.analysis.claims.agreement import COPIES as SHARE_OF_COPIES
from lib.analysis.claims.agreement import POOLINGS
from lib.analysis.claims.claim import Estimate, claim
from lib.analysis.claims.scores import groups
from lib.measures.intervals import Interval
from lib.results.run_group import RunGroup

STUDIES = ("size-and-length", "distinct-methods", "optimizers", "stabilizers")
#: What is left out in turn, beside each task.
NOTHING, FAILING, COPIES = "nothing", "settings in which runs fail", "near copies"
#: Task and number of a setting.
Key = tuple[str, int]


@cache
def _settings(study: str, backbone: str = "") -> dict[Key, RunGroup]:
    """The settings of a study, or those of one backbone, with the seeds that all have."""
    every = groups(f"reference-{study}")
    every = [g for g in every if backbone in ("", g.setting["backbone"])]
    parts = granularity.by_task(granularity.same_seeds(every))
    return {(g.setting["task"], i): g for part in parts for i, g in enumerate(part)}


@cache
def _kept(study: str) -> dict[str, dict[Key, RunGroup]]:
    """By what is left out, the settings that are left, if any are left out and two are left."""
    every = _settings(study)
    tasks, again = dict.fromkeys(task for task, _ in every), set()
    for task in tasks:
        own = {key: group.predictions for key, group in every.items() if key[0] == task}
        again |= set(consistency.same_runs(own, below=SHARE_OF_COPIES))
    out = {task: {key for key in every if key[0] == task} for task in tasks}
    out |= {FAILING: {key for key, group in every.items() if group.failed.any()}, COPIES: again}
    kept = {name: {k: g for k, g in every.items() if k not in keys} for name, keys in out.items()}
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
    chosen, names = list(_settings(study).values()), ("sd", "disagreement", "jsd", "op")
    return granularity.told(chosen, names, seeds=(*granularity.FEWER, 0))


@claim("the-sd-takes-more-seeds", given=_each(measure=("disagreement", "jsd", "op")))
def _more_seeds(study: str, without: str, measure: str) -> Estimate:
    """Log of how many times as many seeds the SD takes to tell as many pairs of settings apart."""
    table, kept = _told(study), _kept(study)[without]
    own = [{first, second} <= {i for other, i in kept if other == task}
           for task, first, second in zip(table["task"], table["first"], table["second"],
                                          strict=True)]  # fmt: skip
    found = granularity.seeds_alike(table[own], measure)
    value, high, low = np.log(table["n"].max() / np.array(found[:3]))
    return Estimate(float(value), float(low), float(high), found.n_runs)


@cache
def _losses(study: str, without: str, pooling: str) -> pd.DataFrame:
    return granularity.losses(list(_kept(study)[without].values()), pooling=pooling)


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
    kept = list(_kept(study)[without].values())
    row = granularity.losses(kept, {"sd": (by,)}).loc["sd"]
    return Estimate(row["loss"], row["low"], row["high"], len(kept))


@claim("the-sd-is-noise-where-runs-agree", side="below", null=np.log(2), given=_each())
def _noise(study: str, without: str) -> Estimate:
    """Log of the variance of accuracy over what the choice of test examples makes, at the lowest
    disagreement of each task, on a line through its settings: mean over tasks.
    """
    parts = granularity.by_task(list(_kept(study)[without].values()))
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
    chosen = list(_settings(study, backbone).values())
    levels = LEVELS[level]
    found = granularity.crossing(granularity.only_sd(chosen, measure, levels), len(chosen)).rise
    return Estimate(*found)


#: Of a setting; of a pair it is the mean.
LEVELS: dict[str, Callable[[RunGroup], float]] = {
    "failed runs": lambda group: float(group.failed.mean()),
    "disagreement": lambda group: float(
        group.statistics("first")["disagreement"](np.ones((1, len(group))))[0]
    ),
}
