"""Claims on measures: which agree, rank methods alike, and show what is known."""

import itertools
import warnings
from functools import cache

import numpy as np
import pandas as pd
from scipy import stats

from lib import measures
from lib.analysis import consistency, reliability, validity
from lib.analysis.claims.claim import Estimate, claim
from lib.analysis.claims.scores import accuracy, groups
from lib.measures import comparison, intervals, summary
from lib.measures.intervals import Interval
from lib.results import tables
from lib.results.run_group import RunGroup

POOLINGS = ("first", "mean")
#: A group has learned if it is so far above the majority class.
LEARNED = 0.05
CHOSEN = ("all", "no near copies", "learned")


@cache
def _chosen(which: str) -> list[RunGroup]:
    """The fifteen groups of five methods on three tasks, or some of them.

    ``no near copies``: without wd_pre, which at its strength is all but the standard method.
    """
    every = [*groups("reference-standard"), *groups("reference-methods")]
    if which == "no near copies":
        return [group for group in every if group.setting["method"] != "wd_pre"]
    if which == "learned":
        return [g for g in every if accuracy(g).mean() > g.setting["majority"] + LEARNED]
    return every


@cache
def _agreement(a: str, b: str, pooling: str, which: str) -> Estimate:
    """Mean over groups of the rank correlation of two measures over pairs of runs."""
    pairs = [group.pairs(pooling) for group in _chosen(which)]
    return Estimate.pooled([intervals.pair_correlation(one[a], one[b]) for one in pairs])


OVER_PAIRS = {"pooling": POOLINGS, "groups": CHOSEN}


@claim(null=0.5, **OVER_PAIRS)
def cka_agrees_with_op(pooling: str, groups: str) -> Estimate:
    """Mean rank correlation over pairs of runs, at the last layer."""
    return _agreement("cka", "op", pooling, groups)


@claim(null=0.3, **OVER_PAIRS, other=("cka", "op"))
def jsd_agrees_with_representations(pooling: str, groups: str, other: str) -> Estimate:
    """Mean rank correlation over pairs of runs, at the last layer."""
    return _agreement("jsd", other, pooling, groups)


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


def _reliability(measure: str, which: str) -> Estimate:
    """Mean over groups of the split-half reliability of a measure over pairs of runs."""
    return Estimate.pooled([Interval(*t.loc[measure], 0) for t in _reliabilities(which)])


@claim(side="below", null=0.5, groups=CHOSEN)
def score_differences_of_pairs_are_noise(groups: str) -> Estimate:
    """Reliability of the absolute difference of two accuracies: which pairs are far apart."""
    return _reliability("sd", groups)


@claim(null=0.5, groups=CHOSEN)
def jsd_of_pairs_is_reliable(groups: str) -> Estimate:
    """Reliability of JSD over pairs of runs."""
    return _reliability("jsd", groups)


@cache
def _doses() -> pd.DataFrame:
    """Share of steps up, a row a model and measure."""
    table = validity.top_layer(tables.read_stored("reference-validity", "doses"))
    steps = table.sort_values("dose").groupby(["measure", "job", "model"])["value"]
    return steps.agg(lambda values: (np.diff(values) > 0).mean()).rename("up").reset_index()


@claim(null=0.999, needed=1.0, measure=tuple(name for name in summary.STUDIED if name != "sd"))
def pairs_follow_noise(measure: str) -> Estimate:
    """Share of models in which a measure rises at every dose."""
    part = _doses().query("measure == @measure")
    return Estimate.exactly(float((part["up"] == 1).mean()), len(part))


@cache
def _tenths() -> pd.DataFrame:
    """Log of each measure on a part of the examples over that on all, a row a draw."""
    table = validity.top_layer(tables.read_stored("reference-validity", "subsamples"))
    return table.assign(log=np.log(table["value"] / table["full"]))


def _on_part(measure: str, fraction: float) -> Estimate:
    """Mean log ratio over settings and draws, Student's t over draws."""
    part = _tenths().query("measure == @measure and fraction == @fraction")["log"].to_numpy()
    found = intervals.mean_interval(part[np.isfinite(part)], method="jackknife")
    return Estimate.of(found)


FRACTIONS = tuple(sorted(set(tables.read_stored("reference-validity", "subsamples")["fraction"])))


@claim(side="below", measure=("op", "svcca"), fraction=FRACTIONS)
def op_and_svcca_shrink_with_few_examples(measure: str, fraction: float) -> Estimate:
    """Log of the measure on a part over that on all."""
    return _on_part(measure, fraction)


@claim(side="within", margin=0.1, fraction=FRACTIONS)
def cka_stays_with_few_examples(fraction: float) -> Estimate:
    """Log of CKA on a part over that on all, within ± .1."""
    return _on_part("cka", fraction)


@cache
def _ranked(pooling: str, copies: str) -> pd.DataFrame:
    """Mean τ over tasks of every two measures, with Holm's p, by permuting methods."""
    chosen = _chosen("all" if copies == "with" else "no near copies")
    rows = []
    for group in chosen:
        first = group.take(range(10))
        statistics = first.statistics(pooling)
        values = {name: float(one(np.ones((1, 10)))[0]) for name, one in statistics.items()}
        rows.append({"task": group.setting["task"], **values})
    by_task = pd.DataFrame(rows).groupby("task")
    table = consistency.mean_rank_agreement([part.drop(columns="task") for _, part in by_task])
    return table.assign(adjusted=comparison.adjust(table["p"].to_numpy()))


def smallest_tau(n_methods: int, n_tables: int, n_tests: int = 1) -> float:
    """The mean τ over tables that is seen with a power of 80 %, among so many tests (Bonferroni).

    Normal, with the variance of τ where nothing is related, 2(2n + 5)/(9n(n − 1)); above 1 no τ is.
    """
    variance = 2 * (2 * n_methods + 5) / (9 * n_methods * (n_methods - 1) * n_tables)
    return float(stats.norm.ppf([1 - 0.025 / n_tests, 0.8]).sum() * np.sqrt(variance))


def _tau(a: str, b: str, pooling: str, copies: str) -> Estimate:
    table, n = _ranked(pooling, copies), 5 if copies == "with" else 4
    row = table[(table["a"] == a) & (table["b"] == b)].iloc[0]
    p, seen = row["adjusted"], smallest_tau(n, 3, len(table))
    return Estimate(row["tau"], np.nan, np.nan, n, p, seen)


RANKINGS = {"pooling": POOLINGS, "near_copies": ("without", "with")}


@claim(pair=("jsd svcca", "op cka"), **RANKINGS)
def two_pairs_rank_alike(pair: str, pooling: str, near_copies: str) -> Estimate:
    """Mean τ over tasks; near copies of the standard method counted, or not."""
    a, b = pair.split()
    return _tau(a, b, pooling, near_copies)


@claim(**RANKINGS)
def all_measures_rank_alike(pooling: str, near_copies: str) -> Estimate:
    """Mean τ over tasks and pairs of measures, p of that one test."""
    row = _ranked(pooling, near_copies).iloc[-1]
    n = 5 if near_copies == "with" else 4
    return Estimate(row["tau"], np.nan, np.nan, n, row["p"], smallest_tau(n, 3))


@claim(other=("cka", "op", "jsd", "disagreement"), pooling=POOLINGS)
def self_pairs_inflate_correlations(other: str, pooling: str) -> Estimate:
    """Correlation over resamples as published, less that with distinct pairs: mean of groups."""
    gains = []
    for group in _chosen("no near copies"):
        first = group.take(range(10))
        pairs = first.pairs(pooling)
        published = consistency.published_statistics(first.scores, pairs, len(first.labels))
        corrected = first.statistics(pooling)
        both = [
            consistency.bootstrap_correlations({m: s[m] for m in ("svcca", other)}, 10)
            for s in (published, corrected)
        ]
        gains.append(both[0].iloc[0, 1] - both[1].iloc[0, 1])
    return Estimate.of(intervals.mean_interval(np.array(gains), method="jackknife"))


@cache
def _level(procedure: str, without: str, pooling: str) -> Estimate:
    every = [g for g in _chosen("all") if without not in (g.setting["task"], g.setting["method"])]
    first = [group.take(range(10)) for group in every]
    sd = np.array([group.scores.std(ddof=1) for group in first])
    levels = []
    for group in first:
        if procedure == "as published":
            pairs = group.pairs(pooling)
            statistics = consistency.published_statistics(group.scores, pairs, len(group.labels))
        else:
            statistics = group.statistics(pooling)
        kept = {m: s for m, s in statistics.items() if m != "svcca"}
        levels.append(consistency.bootstrap_correlations(kept, 10))
    tested = consistency.level_against_agreement(
        sd,
        consistency.agreement_levels(levels),
        strata=np.array([group.setting["task"] for group in first]),
    )
    row = tested.set_index("measure").loc["all"]
    low, high = np.tanh(np.arctanh(row["within"]) + np.array([-1, 1]) * 1.96 / np.sqrt(len(sd) - 3))
    return Estimate(row["within"], float(low), float(high), len(sd), row["p"])


@claim(
    without=("none", "cola", "rte", "mrpc", "wd_pre"),
    pooling=POOLINGS,
    procedure=("distinct pairs", "as published"),
)
def agreement_rises_with_sd(without: str, pooling: str, procedure: str) -> Estimate:
    """r within tasks of a group's SD with the mean correlation of its measures."""
    return _level(procedure, without, pooling)


@claim(side="below", null=0.95, measure=("op", "svcca", "cka_biased"), n_examples=(64, 128))
def few_examples_make_unrelated_similar(measure: str, n_examples: int) -> Estimate:
    """Mean distance of pairs of independent Gaussian representations of 128 dimensions."""
    noise = np.random.default_rng(0).normal(size=(8, 1, n_examples, 128))
    with warnings.catch_warnings():
        # The claim is what it warns of.
        warnings.simplefilter("ignore", measures.SaturationWarning)
        distances = measures.representation_distances(noise, (measure,), workers=1)[measure][0]
    return Estimate.of(measures.instability(distances))


@cache
def _by_task() -> dict[str, dict[str, RunGroup]]:
    """By task and method, ten runs of each distinct method, the same seeds in all."""
    found: dict[str, dict[str, RunGroup]] = {}
    for group in _chosen("no near copies"):
        own = found.setdefault(group.setting["task"], {})
        own[group.setting["method"]] = group.take(range(10))
    return found


@cache
def _told_apart(paired: bool, pooling: str) -> pd.DataFrame:
    """Which of the comparisons with the standard method a measure tells, at 5 %: a row a task and
    method, a column a measure.
    """
    tables = {}
    for task, methods in _by_task().items():
        statistics = {name: (group.statistics(pooling), 10) for name, group in methods.items()}
        told = comparison.discrimination(statistics, paired=paired)["p"] < 0.05
        with_standard = [("standard" in pair) for pair in told.index.droplevel("measure")]
        tables[task] = told[with_standard].unstack("measure")
    return pd.concat(tables)


@claim(other=("sd", "disagreement", "cka"), paired=(True, False), pooling=POOLINGS)
def jsd_tells_more_methods_apart(other: str, paired: bool, pooling: str) -> Estimate:
    """Of nine comparisons with the standard method, how many more JSD tells (p < .05) than another
    measure; sign test over those that one of the two tells.
    """
    told = _told_apart(paired, pooling)
    ahead, behind = (told["jsd"] & ~told[other]).sum(), (~told["jsd"] & told[other]).sum()
    p = stats.binomtest(int(ahead), int(ahead + behind)).pvalue if ahead + behind else 1.0
    return Estimate(float(ahead - behind), np.nan, np.nan, len(told), float(p), 6.0)


@claim(
    null=0.999,
    needed=1.0,
    measure=tuple(name for name in summary.STUDIED if name not in ("sd", "kappa")),
)
def reinit_is_told_from_other_methods(measure: str) -> Estimate:
    """Share of the unions of a Re-init setting with another in which runs of both are farther apart
    than runs of one (permutation p below .05, Holm over the unions of a measure).
    """
    unions = validity.top_layer(tables.read_stored("reference-validity", "unions"))
    part = unions[unions["measure"] == measure]
    told = comparison.adjust(part["p"].to_numpy()) < 0.05
    with_reinit = part["first"].eq("reinit") | part["second"].eq("reinit")
    return Estimate.exactly(float(told[with_reinit].mean()), int(with_reinit.sum()))


@claim(measure=summary.REPRESENTATION, pooling=POOLINGS, task=("mrpc", "rte", "cola"))
def instability_grows_with_depth(measure: str, pooling: str, task: str) -> Estimate:
    """Rank correlation of a measure with the layer in standard fine-tuning of six layers."""
    (group,) = [g for g in groups("reference-standard") if g.setting["task"] == task]
    return Estimate.of(validity.depth_trend(group.layer_distances(pooling)[measure]))


@claim(null=0.5, pooling=POOLINGS, layer=("last", "lower half"))
def llrd_is_the_most_stable_method(pooling: str, layer: str) -> Estimate:
    """Share of measures and tasks by which LLRD has the smallest value of four distinct methods:
    all measures at the last layer, or representations at each layer of the lower half.
    """
    layers = (-1,) if layer == "last" else (0, 1, 2)
    names = summary.STUDIED if layer == "last" else summary.REPRESENTATION
    first = []
    for methods, number, name in itertools.product(_by_task().values(), layers, names):
        values = {
            method: float(group.statistics(pooling, number)[name](np.ones((1, 10)))[0])
            for method, group in methods.items()
        }
        first.append(min(values, key=values.get) == "llrd")
    return Estimate.exactly(float(np.mean(first)), len(first))


@claim(side="below")
def sd_misses_more_doses_than_a_valid_one() -> Estimate:
    """Models in which the SD rises at every dose of noise, less what a valid SD of as many normal
    scores gives; the interval is that of chance.
    """
    doses = validity.top_layer(tables.read_stored("reference-validity", "doses"))
    sds = doses[doses["measure"] == "sd"]
    spreads = sds.pivot_table(index=["job", "model"], columns="dose", values="value")
    n_runs = int(sds["n_runs"].iloc[0])
    by_chance = sum(
        validity.rises_by_chance(part.to_numpy(), n_runs, seed=number)
        for number, (_, part) in enumerate(spreads.groupby("job"))
    )
    rises = int((np.diff(spreads.to_numpy(), axis=1) > 0).all(1).sum())
    low, high = np.quantile(by_chance, [0.025, 0.975])
    mean = by_chance.mean()
    return Estimate(rises - mean, rises - high, rises - low, len(spreads))
