"""Claims on measures: which agree, rank methods alike, and show what is known."""

import warnings
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from lib import measures
from lib.analysis import consistency, granularity, reliability, validity
from lib.analysis.claims.claim import ALPHA, Estimate, claim
from lib.analysis.claims.scores import group_of, groups, trend
from lib.measures import comparison, intervals, summary
from lib.measures.intervals import Interval
from lib.results import tables
from lib.results.run_group import RunGroup

POOLINGS = ("first", "mean")
CHOSEN = ("no near copies", "all")
#: Below this share of the plan's, two of the ten methods count as one.
COPIES = 0.25


def distinct(groups: Sequence[RunGroup], *, below: float = consistency.SAME_RUNS) -> list[RunGroup]:
    """The groups, the standard method first in each task, without methods whose runs are those of
    another (``consistency.same_runs``) at the seeds that all methods of the task have.
    """
    kept = []
    for own in granularity.by_task(groups):
        own.sort(key=lambda group: group.setting["method"] != "standard")
        answers = {i: group.predictions for i, group in enumerate(granularity.same_seeds(own))}
        again = consistency.same_runs(answers, below=below) if len(answers[0]) > 1 else {}
        kept += [group for i, group in enumerate(own) if i not in again]
    return kept


@cache
def _chosen(which: str) -> list[RunGroup]:
    """The fifteen groups of five methods on three tasks, or (``no near copies``) the distinct."""
    every = [*groups("reference-standard"), *groups("reference-methods")]
    return every if which == "all" else distinct(every)


@cache
def _agreement(one: str, other: str, pooling: str, groups: str) -> Estimate:
    """Mean over groups of the rank correlation of two measures over pairs of runs, at the last
    layer.
    """
    pairs = [group.pairs(pooling) for group in _chosen(groups)]
    return Estimate.pooled([intervals.pair_correlation(p[one], p[other]) for p in pairs])


OVER_PAIRS = {"pooling": POOLINGS, "groups": CHOSEN}


claim("cka-agrees-with-op", null=0.5, **OVER_PAIRS)(partial(_agreement, "cka", "op"))
claim("jsd-agrees-with-representations", null=0.3, other=("cka", "op"), **OVER_PAIRS)(
    partial(_agreement, "jsd")
)


@claim(**OVER_PAIRS, other=("cka", "op"))
def svcca_agrees_less(pooling: str, groups: str, other: str) -> Estimate:
    """Difference of two mean rank correlations, as if independent."""
    both = _agreement("cka", "op", pooling, groups), _agreement("svcca", other, pooling, groups)
    reach = np.hypot(*((one.high - one.low) / 2 for one in both))
    value = both[0].value - both[1].value
    return Estimate(value, value - reach, value + reach, both[0].n)


@cache
def _reliabilities(which: str) -> list[pd.DataFrame]:
    return [
        reliability.reliabilities(
            reliability.split_halves(reliability.of_outputs(group), len(group.labels), n_splits=20),
            len(group),
        )
        for group in _chosen(which)
    ]


def _reliability(measure: str, groups: str) -> Estimate:
    """Mean over groups of the split-half reliability of a measure over pairs of runs: which are
    far apart.
    """
    return Estimate.pooled([Interval(*t.loc[measure], 0) for t in _reliabilities(groups)])


claim("score-differences-of-pairs-are-noise", side="below", null=0.5, groups=CHOSEN)(
    partial(_reliability, "sd")
)
claim("jsd-of-pairs-is-reliable", null=0.5, groups=CHOSEN)(partial(_reliability, "jsd"))


def _doses(measure: str) -> pd.DataFrame:
    """A measure, a column a dose of noise, a row a model."""
    doses = validity.top_layer(tables.read_stored("reference-validity", "doses"))
    doses = doses[doses["measure"] == measure]
    return doses.pivot_table(index=["job", "model", "n_runs"], columns="dose", values="value")


@claim(null=0.999, needed=1.0, measure=tuple(name for name in summary.STUDIED if name != "sd"))
def pairs_follow_noise(measure: str) -> Estimate:
    """Share of models in which a measure rises at every dose."""
    rises = (np.diff(_doses(measure)) > 0).all(axis=1)
    return Estimate.exactly(float(rises.mean()), len(rises))


@cache
def _parts() -> pd.DataFrame:
    """Log of each measure on a part of the examples over that on all, a row a draw."""
    table = validity.top_layer(tables.read_stored("reference-validity", "subsamples"))
    return table.assign(log=np.log(table["value"] / table["full"]))


def _on_part(measure: str, setting: str, fraction: float) -> Estimate:
    """Mean log of the measure on a part over that on all, over draws, which are of the same runs;
    in each of three settings.
    """
    part = _parts().query("measure == @measure and job == @setting and fraction == @fraction")
    return Estimate.of(intervals.mean_interval(part["log"].to_numpy(), method="jackknife"))


def _each_part(*measured: str) -> list[dict[str, Any]]:
    keys = ["measure", "job", "fraction"]
    rows = _parts()[keys].drop_duplicates().sort_values(["fraction", *keys[:2]])
    rows = rows[rows["measure"].isin(measured)]
    return rows.rename(columns={"job": "setting"}).to_dict("records")


claim(
    "op-and-svcca-shrink-with-few-examples", side="below", given=partial(_each_part, "op", "svcca")
)(_on_part)
claim("cka-stays-with-few-examples", side="within", margin=0.1, given=partial(_each_part, "cka"))(
    _on_part
)


PROCEDURES = ("distinct pairs", "self-pairs too")


def _correlations(group: RunGroup, procedure: str, pooling: str) -> pd.DataFrame:
    """Of every two measures over resamples of the first ten runs of a group."""
    first = group.take(range(10))
    statistics = first.statistics(pooling)
    if procedure == "self-pairs too":
        pairs = first.pairs(pooling)
        statistics = consistency.published_statistics(first.scores, pairs, len(first.labels))
    return consistency.bootstrap_correlations(statistics, 10)


@claim(other=("cka", "op", "jsd", "disagreement"), pooling=POOLINGS)
def self_pairs_inflate_correlations(other: str, pooling: str) -> Estimate:
    """Correlation over resamples as published, less that with distinct pairs: mean of groups."""
    distinct, published = (
        np.array([_correlations(g, p, pooling).loc["svcca", other] for g in _chosen(CHOSEN[0])])
        for p in PROCEDURES
    )
    return Estimate.of(intervals.mean_interval(published - distinct, method="jackknife"))


def within_tasks(
    sd: Sequence[float], correlations: Sequence[pd.DataFrame], tasks: Sequence[str]
) -> Estimate:
    """r within tasks of a group's SD with the mean correlation of its measures, with Fisher's
    interval and p of permuting groups within tasks.
    """
    levels, strata = consistency.agreement_levels(correlations), np.asarray(tasks)
    row = consistency.level_against_agreement(np.asarray(sd), levels, strata=strata).iloc[-1]
    ends = np.tanh(np.arctanh(row["within"]) + np.array([-1, 1]) * 1.96 / np.sqrt(len(sd) - 3))
    return Estimate(row["within"], *ends, len(sd), row["p"])


#: What is left out in turn, on our runs and of the published data.
WITHOUT = ("none", "cola", "rte", "mrpc", "largest SD of each task")


def kept(sd: pd.Series, without: str) -> pd.Series:
    """SDs by task and method without a task, a method, or the largest of each task."""
    if without == WITHOUT[-1]:
        return sd.drop(sd.groupby(level=0).idxmax())
    return sd[[without not in key for key in sd.index]]


@claim(needed=1.0, without=(*WITHOUT, "wd_pre"), pooling=POOLINGS, procedure=PROCEDURES)
def agreement_rises_with_sd(without: str, pooling: str, procedure: str) -> Estimate:
    """r within tasks of a group's SD with the mean correlation of its measures."""
    every = {(g.setting["task"], g.setting["method"]): g.take(range(10)) for g in _chosen("all")}
    sd = kept(pd.Series({key: g.scores.std(ddof=1) for key, g in every.items()}), without)
    tables = [_correlations(every[key], procedure, pooling) for key in sd.index]
    tables = [table.drop(index="svcca", columns="svcca") for table in tables]
    return within_tasks(sd, tables, sd.index.get_level_values(0))


FEW = (64, 100)


@claim(side="below", null=0.95, measure=("op", "svcca", "cka_biased"), n_examples=FEW)
def few_examples_make_unrelated_similar(measure: str, n_examples: int) -> Estimate:
    """Mean distance of pairs of independent Gaussian representations of 128 dimensions; 1 is
    unrelated.
    """
    noise = np.random.default_rng(0).normal(size=(8, 1, n_examples, 128))
    with warnings.catch_warnings():
        # The claim is what it warns of.
        warnings.simplefilter("ignore", measures.SaturationWarning)
        distances = measures.representation_distances(noise, (measure,), workers=1)[measure][0]
    return Estimate.of(measures.instability(distances))


claim("debiased-cka-knows-unrelated", side="within", null=1.0, margin=0.05, n_examples=FEW)(
    partial(few_examples_make_unrelated_similar, "cka")
)


#: Nine methods beside the standard one with twenty runs of a task each, and three with ten runs.
SETS = ("ten methods", "four methods")


@cache
def _by_task(methods: str = "four methods") -> dict[str, dict[str, RunGroup]]:
    """By task and method, runs of each distinct method, the same seeds in all."""
    chosen = _chosen("no near copies")
    if methods == "ten methods":
        chosen = distinct(groups("reference-distinct-methods"), below=COPIES)
    found: dict[str, dict[str, RunGroup]] = {}
    for group in chosen:
        own = group.take(range(20 if methods == "ten methods" else 10))
        found.setdefault(group.setting["task"], {})[group.setting["method"].partition("(")[0]] = own
    return found


@cache
def _detected(methods: str, paired: bool, pooling: str) -> pd.DataFrame:
    """Which of the comparisons with the standard method a measure detects, at 5 %: a row a task and
    method, a column a measure.
    """
    tables = {}
    for task, own in _by_task(methods).items():
        statistics = {name: (group.statistics(pooling), len(group)) for name, group in own.items()}
        detected = comparison.discrimination(statistics, paired=paired)["p"] < ALPHA
        with_standard = [("standard" in pair) for pair in detected.index.droplevel("measure")]
        tables[task] = detected[with_standard].unstack("measure")
    return pd.concat(tables)


OTHERS = ("sd", "disagreement", *(f"{m} {of}" for m in summary.REPRESENTATION for of in POOLINGS))


@claim(other=OTHERS, seeds=("paired", "as independent"), methods=SETS)
def jsd_detects_more_differences(other: str, seeds: str, methods: str) -> Estimate:
    """How many more comparisons with the standard method JSD detects (p < .05) than another
    measure; sign test over those that one of the two detects (those of a task share its standard
    group, so that it describes more than it tests).
    """
    name, _, pooling = other.partition(" ")
    detected = _detected(methods, seeds == "paired", pooling or "first")
    ahead = (detected["jsd"] & ~detected[name]).sum()
    behind = (detected[name] & ~detected["jsd"]).sum()
    p = stats.binomtest(int(ahead), int(ahead + behind)).pvalue if ahead + behind else 1.0
    fewest = np.ceil(np.log2(2 / ALPHA))  # that are significant if none is behind
    return Estimate(float(ahead - behind), np.nan, np.nan, len(detected), p, fewest)


@cache
def _unions() -> pd.DataFrame:
    """The unions of a Re-init setting with another, by measure and union; ``p`` two-sided, by Holm
    over all unions of a measure. Stored is p of the one side; twice it is p of both.
    """
    table = validity.top_layer(tables.read_stored("reference-validity", "unions"))
    by_measure = table.groupby("measure")["p"]
    table = table.assign(p=by_measure.transform(lambda p: comparison.adjust(2 * p.to_numpy())))
    table["union"] = (
        table["job"].str.removeprefix("known.") + " " + table["first"] + " " + table["second"]
    )
    return table[table["union"].str.contains("reinit")].set_index(["measure", "union"])


@claim(given=lambda: _unions().index.to_frame().to_dict("records"))
def reinit_differs_from_other_methods(measure: str, union: str) -> Estimate:
    """Log ratio of the mean distance between runs of two settings to that between runs of one."""
    row = _unions().loc[(measure, union)]
    ratio = float(np.log(row["between"] / row["within"]))
    return Estimate(ratio, np.nan, np.nan, 1, float(row["p"]))


@claim(measure=summary.REPRESENTATION, pooling=POOLINGS, task=("mrpc", "rte", "cola"))
def instability_grows_with_depth(measure: str, pooling: str, task: str) -> Estimate:
    """Rank correlation of a measure with the layer in standard fine-tuning of six layers."""
    group = group_of("reference-standard", task=task)
    return Estimate.of(validity.depth_trend(group.layer_distances(pooling)[measure]))


@cache
def _values(pooling: str) -> list[pd.DataFrame]:
    """By task, every measure of each of four distinct methods at the last layer: a row a method."""
    every = np.ones((1, 10))
    return [
        pd.DataFrame(
            {name: {m: one(every)[0] for m, one in group.statistics(pooling).items()}
             for name, group in methods.items()}
        ).T
        for methods in _by_task().values()
    ]  # fmt: skip


@claim(by=("all", "predictions", "representations"), pooling=POOLINGS)
def llrd_is_the_most_stable_method(by: str, pooling: str) -> Estimate:
    """Share of measures and tasks by which LLRD has the smallest value of four distinct methods, at
    the last layer; in lower layers it is made to. p is of the largest share of any method, as which
    would lead was not known beforehand; the methods of each task are permuted. ``smallest`` is what
    a share has to exceed to be significant.
    """
    names = {"all": summary.STUDIED, "predictions": ("disagreement", "kappa", "jsd")}
    chosen = list(names.get(by, summary.REPRESENTATION))
    leads = [(table[chosen].rank() == 1).mean(axis=1) for table in _values(pooling)]
    shares = pd.DataFrame(leads)
    copies = np.tile(shares, (intervals.N_PERMUTATIONS, 1, 1))
    drawn = np.random.default_rng(0).permuted(copies, axis=2).mean(1).max(1)
    own, needed = float(shares["llrd"].mean()), float(np.quantile(drawn, 0.95))
    p = float(intervals.permutation_p(drawn, own))
    return Estimate(own, np.nan, np.nan, len(shares), p, needed)


@claim(side="below", tasks=("all", "without failed runs", "mrpc", "rte", "cola"))
def llrd_lowers_disagreement(tasks: str) -> Estimate:
    """log₂ of disagreement with LLRD over that without, same seeds; n: runs of a method."""
    effects = []
    for task, methods in _by_task().items():
        pair = [methods[name] for name in ("standard", "llrd")]
        if tasks == "without failed runs":
            pair = [g.take(~(pair[0].failed | pair[1].failed)) for g in pair]
        if tasks in ("all", "without failed runs", task) and len(pair[0]) > 2:
            both = [group.statistics("first")["disagreement"] for group in pair]
            effects.append(trend((1, 2), both, len(pair[0])))
    return Estimate.pooled(effects)._replace(n=sum(effect.n_runs for effect in effects))


@claim(side="below")
def sd_misses_more_doses_than_a_valid_one() -> Estimate:
    """Models in which the SD rises at every dose of noise, less what a valid SD of as many normal
    scores gives; the interval is that of chance.
    """
    spreads = _doses("sd")
    n_runs = int(spreads.index.get_level_values("n_runs")[0])
    by_chance = sum(
        validity.rises_by_chance(part.to_numpy(), n_runs, seed=number)
        for number, (_, part) in enumerate(spreads.groupby("job"))
    )
    rises = int((np.diff(spreads) > 0).all(axis=1).sum())
    low, high = np.quantile(by_chance, [0.025, 0.975])
    return Estimate(rises - by_chance.mean(), rises - high, rises - low, len(spreads))
