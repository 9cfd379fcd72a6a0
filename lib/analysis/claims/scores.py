"""Claims on scores and predictions: seeds, sizes, tasks, sources of randomness."""

from collections.abc import Sequence
from functools import cache, partial

import numpy as np
import pandas as pd
from scipy import stats

from lib import measures, paths
from lib.analysis import ensembles, seed_transfer, variance_components
from lib.analysis.claims.claim import Estimate, claim
from lib.measures import comparison, intervals, sample_size, summary
from lib.measures.intervals import Interval, Statistic
from lib.results import run_group, tables
from lib.results.run_group import RunGroup

SIZES = (125, 250, 500, 1000)


@cache
def groups(name: str) -> list[RunGroup]:
    """The groups of committed results, but for regression."""
    return list(run_group.load(name, regression=False)[0].values())


def group_of(results: str, **setting: object) -> RunGroup:
    """The one group of committed results whose setting has these values."""
    every = groups(results)
    (group,) = [g for g in every if all(g.setting[name] == v for name, v in setting.items())]
    return group


def accuracy(group: RunGroup) -> np.ndarray:
    """(S,) share of right answers of each run."""
    return (group.predictions == group.labels).mean(1)


def trend(x: Sequence[float], statistics: Sequence[Statistic], n_runs: int) -> Interval:
    """b of value ∝ x^b, which is log₂ of its change with every doubling, for a statistic of each of
    K groups with the same S seeds; each seed is left out of all groups together.
    """
    away = np.log2(x) - np.log2(x).mean()

    def slope(weights: np.ndarray) -> np.ndarray:
        values = np.stack([statistic(weights) for statistic in statistics], axis=-1)
        return np.log2(np.clip(values, 1e-12, None)) @ away / (away @ away)

    return intervals.interval(slope, n_runs, method="jackknife")


#: Learning rates up to this are gentle: no run of the ladders fails there.
GENTLE = 3e-4


def _gentle() -> list[dict[str, str]]:
    names = ("reference", "reference-sizes", "reference-standard", "reference-tasks")
    return [
        {"results": name, "setting": group.setting["setting_id"]}
        for name in names
        for group in groups(name)
        if group.setting["learning_rate"] <= GENTLE and not group.failed.any()
    ]


@claim(null=1.0, given=_gentle)
def seed_moves_accuracy(results: str, setting: str) -> Estimate:
    """Best less worst accuracy over the seeds of a setting, in points."""
    group = group_of(results, setting_id=setting)
    return Estimate.exactly(float(100 * np.ptp(accuracy(group))), len(group))


@claim(
    null=1.0,
    results=("reference-standard", "reference-sizes", "reference-tasks", "reference-methods"),
)
def answers_differ_more_than_scores(results: str) -> Estimate:
    """Log₂ ratio of the mean disagreement of two runs to the mean difference of their accuracies
    (which by arithmetic is never larger): the mean over groups.
    """
    parts = []
    for group in groups(results):
        gaps = np.abs(accuracy(group)[:, None] - accuracy(group))
        both = (gaps, measures.pairwise_disagreement(group.predictions))
        parts.append(trend((1, 2), [summary.pair_statistic(d) for d in both], len(group)))
    return Estimate.pooled(parts)


@cache
def nested(start: int) -> tuple[list[RunGroup], np.ndarray]:
    """The groups of one task with more and more rows, the same seeds in all, from a size on."""
    chosen = [g for g in groups("reference-sizes") if g.setting["n_train"] >= start]
    chosen.sort(key=lambda group: group.setting["n_train"])
    return chosen, np.array([group.setting["n_train"] for group in chosen], float)


@claim(side="below", cut=("largest probability", "each run's median"), from_size=SIZES)
def more_training_makes_answers_alike(cut: str, from_size: int) -> Estimate:
    """Slope of log₂ disagreement on log₂ rows; ``cut`` at the median removes jitter of a threshold
    that all answers lie close to.
    """
    chosen, n_train = nested(from_size)
    statistics = []
    for group in chosen:
        answers = group.predictions
        if cut != "largest probability":
            margin = group.logits[..., 1] - group.logits[..., 0]
            answers = (margin > np.median(margin, axis=1, keepdims=True)).astype(int)
        apart = measures.pairwise_disagreement(answers)
        statistics.append(summary.pair_statistic(apart))
    return Estimate.of(trend(n_train, statistics, len(chosen[0])))


REPRESENTED = tuple(f"{m} {of}" for m in ("op", "cka", "svcca") for of in ("first", "mean"))


@claim(measure=("jsd", *REPRESENTED), from_size=SIZES)
def more_training_moves_representations_apart(measure: str, from_size: int) -> Estimate:
    """Slope of log₂ of a measure, at the last layer, on log₂ rows."""
    chosen, n_train = nested(from_size)
    name, _, pooling = measure.partition(" ")
    statistics = [group.statistics(pooling or "first")[name] for group in chosen]
    return Estimate.of(trend(n_train, statistics, len(chosen[0])))


def _by_task(without: str) -> list[RunGroup]:
    every = sorted(groups("reference-tasks"), key=lambda group: group.setting["n_train"])
    return [group for group in every if group.setting["task"] != without]


@claim(tasks=("all", "two classes", "without wnli", "two classes without wnli"))
def good_seeds_are_good_elsewhere(tasks: str) -> Estimate:
    """Kendall's W above its mean by chance; p of permuting seeds within tasks."""
    chosen = _by_task("wnli" if "wnli" in tasks else "")
    if "two" in tasks:
        chosen = [group for group in chosen if len(group.classes) == 2]
    scores = np.stack([group.scores for group in chosen])
    w = seed_transfer.kendalls_w(scores)
    _, seen = sample_size.detectable_concordance(*scores.shape)
    return Estimate(w.w - w.expected, np.nan, np.nan, len(scores), w.p, seen - w.expected)


def _size_correlation(values: list[float], chosen: list[RunGroup], kind: str) -> Estimate:
    """Correlation of a quantity with log size over tasks."""
    n_train = np.log10([group.setting["n_train"] for group in chosen])
    r = comparison.correlation(n_train, np.array(values), ranks=kind == "Spearman")
    smallest = sample_size.detectable_correlation(len(chosen))
    return Estimate(r.value, r.low, r.high, len(chosen), r.p, smallest)


@cache
def _spread(task: str) -> tuple[measures.SeedVariance, int]:
    """The seed variance of a task's accuracy, and the number of runs."""
    group = group_of("reference-tasks", task=task)
    return measures.seed_variance(group.predictions == group.labels), len(group)


@claim(tasks=("all", "without wnli", "without failed runs"))
def seeds_change_accuracy_beyond_flips(tasks: str) -> Estimate:
    """Stouffer's z over tasks of the exact test that the seed variance of accuracy is more than
    flips of single answers make; ``smallest`` is the SD that the median task sees, in points.
    """
    chosen = _by_task("wnli" if tasks == "without wnli" else "")
    chosen = [g for g in chosen if tasks != "without failed runs" or not g.failed.any()]
    spreads = [_spread(group.setting["task"]) for group in chosen]
    z = float(stats.norm.isf([spread.p for spread, _ in spreads]).sum() / np.sqrt(len(spreads)))
    seen = [100 * sample_size.detectable_seed_sd(n, spread.floor) for spread, n in spreads]
    return Estimate(z, z - 1.96, z + 1.96, len(spreads), smallest=float(np.median(seen)))


CORRELATIONS = {"kind": ("Pearson", "Spearman"), "without": ("none", "wnli")}


@claim(side="below", sd=("observed", "beyond the floor"), **CORRELATIONS)
def sd_falls_with_size_over_tasks(sd: str, kind: str, without: str) -> Estimate:
    """Correlation over tasks; ``beyond the floor``: the distribution-wise SD."""
    chosen = _by_task(without)
    if sd == "observed":
        values = [measures.score_spread(accuracy(group)) for group in chosen]
    else:
        values = [measures.distribution_sd(g.predictions == g.labels) for g in chosen]
    return _size_correlation(values, chosen, kind)


@claim(agreement=("CON", "kappa"), **CORRELATIONS)
def agreement_rises_with_size_over_tasks(agreement: str, kind: str, without: str) -> Estimate:
    """As for the SD; kappa corrects for the majority class, which small tasks give more often."""
    chosen = _by_task(without)
    if agreement == "CON":
        values = [1 - measures.pairwise_disagreement(group.predictions) for group in chosen]
        values = [measures.instability(matrix).value for matrix in values]
    else:
        values = [measures.fleiss_kappa(group.predictions) for group in chosen]
    return _size_correlation(values, chosen, kind)


def _share(rate: float, stream: str, without: str) -> Estimate:
    """Share of a stream in the variance of scores, of all its seeds or without one."""
    runs = group_of("reference-sources", task="rotten-tomatoes", learning_rate=rate).runs
    design = variance_components.Crossed(runs.sort_values(["seed_init", "seed_order"]))
    scores, axis = design.scores, variance_components.STREAMS.index(stream)
    if without != "none":
        scores = np.delete(scores, int(without), axis)
    part = variance_components.variance_components(scores).loc[stream]
    return Estimate.of(Interval(*part["share":"share_high"], scores.shape[axis]))


SEEDS = ("none", *"012345")


@claim(null=0.25, needed=1.0, without_order=SEEDS)
def order_decides_at_the_high_rate(without_order: str) -> Estimate:
    """Share of the order seed, each of them left out in turn."""
    return _share(3e-3, "order", without_order)


@claim(null=0.25, needed=1.0, without_init=SEEDS)
def new_weights_decide_at_the_gentle_rate(without_init: str) -> Estimate:
    """Share of the init seed, each of them left out in turn."""
    return _share(3e-4, "init", without_init)


@claim(
    null=2.0,
    results=("reference-standard", "reference-sizes", "reference-tasks", "reference-methods"),
)
def sd_needs_more_runs(results: str) -> Estimate:
    """Ratio of the median numbers of runs needed, over the groups without failed runs."""
    table = tables.read(results, "measures").query("subset == 'all' and n_failed == 0")
    needed = table.groupby("measure")["seeds_needed"].median()
    ratio = float(needed["sd"] / needed["disagreement"])
    return Estimate.exactly(ratio, table["group"].nunique())


STREAM_TASKS = ("rotten-tomatoes 0.0003", "rotten-tomatoes 0.003", "amazon 0.003", "nyt 0.003")


@cache
def _streams(task: str, pooling: str) -> pd.DataFrame:
    """Shares of mean distances by the streams that differ."""
    name, rate = task.split()
    group = group_of("reference-sources", task=name, learning_rate=float(rate))
    return variance_components.stream_table(group.pairs(pooling), group.runs)


@claim(
    null=0.5,
    stream=("order", "init", "dropout"),
    measure=("disagreement", "jsd", "cka first", "cka mean"),
    setting=STREAM_TASKS,
)
def one_stream_sets_off_most(stream: str, measure: str, setting: str) -> Estimate:
    """Mean distance of runs that differ in one stream alone, as a share of that of runs that share
    no seed; representations at the last layer.
    """
    name, _, pooling = measure.partition(" ")
    table = _streams(setting, pooling or "first")
    row = table[(table["measure"] == name) & (table["differing"] == stream)].iloc[0]
    return Estimate(row["share"], row["share_low"], row["share_high"], 6)


@cache
def _ensembles(task: str) -> pd.DataFrame:
    group = group_of("reference-tasks", task=task)
    return ensembles.ensemble_table(group.probabilities, group.labels)


@claim(side="below", null=1.0, size=(5, 2, 10), task=("rotten-tomatoes", "winowhy", "amazon"))
def ensembles_disagree_less(size: int, task: str) -> Estimate:
    """Disagreement of two ensembles without a run in common, over that of two single runs, on
    tasks where none of twenty runs failed.
    """
    return Estimate(*_ensembles(task).loc["ratio", size], 20)


#: The method by which each measure's interval is made here; the others are resampled.
METHODS = {"sd": "chi-square", "distribution_sd": "exact"}
SIMULATED = ("disagreement", "mean", "sd", "distribution_sd", "kappa", "jsd", "ccon")


def _coverage(failed: float, n_runs: int, shifts: str, measure: str) -> Estimate:
    """How often simulated intervals of 95 % hold the truth, with the binomial interval; ``failed``
    is the share of runs that collapse.
    """
    table = pd.read_csv(paths.DATA / "benchmarks" / "coverage.csv")
    wanted = {"measure": measure, "shifts": shifts, "n_runs": n_runs, "failed": failed}
    wanted["method"] = METHODS.get(measure, "resampling")
    part = table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    if part.empty:
        return Estimate(np.nan, np.nan, np.nan, 0)
    covered, n = part[["covered", "n_groups"]].iloc[0]
    ends = stats.binomtest(round(covered * n), int(n)).proportion_ci()
    return Estimate(covered, ends.low, ends.high, int(n))


claim("five-runs-are-too-few-where-runs-fail", side="below", null=0.85, measure=SIMULATED)(
    partial(_coverage, 0.2, 5, "normal")
)
claim(
    "intervals-hold-where-no-run-fails",
    null=0.85, n_runs=(20, 10), shifts=("normal", "t3"), measure=SIMULATED,
)(partial(_coverage, 0.0))  # fmt: skip
