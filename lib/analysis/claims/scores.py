"""Claims on scores and predictions: macro and micro effects, sizes, tasks, sources of randomness."""

from functools import cache

import numpy as np
import pandas as pd
from scipy import stats

from lib import measures
from lib.analysis import seed_transfer, variance_components
from lib.analysis.claims.claim import Estimate, claim
from lib.measures import intervals
from lib.measures.intervals import Interval
from lib.results import run_group, tables
from lib.results.run_group import RunGroup

SIZES = (125, 250, 500)


@cache
def groups(name: str) -> list[RunGroup]:
    """The groups of committed results, but for regression."""
    return list(run_group.load(name, regression=False)[0].values())


def accuracy(group: RunGroup) -> np.ndarray:
    """(S,) share of right answers of each run."""
    return (group.predictions == group.labels).mean(1)


@claim(
    20,
    {
        "holds": "At a gentle learning rate the seed moves accuracy by {least:.1f} to {most:.1f} "
        "points between the best and the worst of five runs or more.",
        "undecided": "At a gentle learning rate the seed moves accuracy by {least:.1f} to "
        "{most:.1f} points, in some settings by less than two.",
        "contradicted": "At a gentle learning rate the seed moves accuracy by less than two points.",
    },
    null=2.0,
    results=("reference", "reference-ladder", "reference-sizes", "reference-stabilizers"),
)
def seed_moves_accuracy(results: str) -> Estimate:
    """Range of accuracy over seeds, in points, where no run fails: the mean over settings."""
    gentle = [g for g in groups(results) if not g.failed.any()]
    ranges = [100 * np.ptp(accuracy(group)) for group in gentle]
    return Estimate.exactly(float(np.mean(ranges)), len(ranges))


@claim(
    20,
    {
        "holds": "Two runs answer more examples differently than their accuracies differ, by "
        "{value:.0f} points of the examples on average ({least:.0f} to {most:.0f} by study).",
        "undecided": "Whether two runs answer more examples differently than their accuracies "
        "differ is undecided.",
        "contradicted": "Two runs answer no more examples differently than their accuracies differ.",
    },
    results=("reference-standard", "reference-sizes", "reference-tasks", "reference-methods"),
    runs=("all", "successful"),
)
def answers_differ_more_than_scores(results: str, runs: str) -> Estimate:
    """Mean over pairs of disagreement less the difference of accuracies, in points."""
    parts = []
    for group in groups(results):
        kept = group.take(~group.failed) if runs == "successful" else group
        if len(kept) < intervals.MIN_RESAMPLED:
            continue
        score = accuracy(kept)
        apart = measures.pairwise_disagreement(kept.predictions) - np.abs(score[:, None] - score)
        parts.append(measures.instability(100 * apart))
    return Estimate.pooled(parts)


def _slope(values: np.ndarray, n_train: np.ndarray) -> np.ndarray:
    """Slope of log values (…, sizes) on log₂ of the number of rows: a share a doubling."""
    x = np.log2(n_train) - np.log2(n_train).mean()
    return np.log(np.clip(values, 1e-12, None)) @ x / (x @ x)


@cache
def _nested(start: int) -> tuple[list[RunGroup], np.ndarray]:
    """The groups of one task with more and more rows, the same seeds in all, from a size on."""
    chosen = [g for g in groups("reference-sizes") if g.setting["n_train"] >= start]
    chosen.sort(key=lambda group: group.setting["n_train"])
    return chosen, np.array([group.setting["n_train"] for group in chosen], float)


def _trend(distances: list[np.ndarray], n_train: np.ndarray) -> Estimate:
    """Slope of a mean distance with size, seeds left out in all sizes together."""

    def statistic(weights: np.ndarray) -> np.ndarray:
        means = [intervals.pair_means(matrix, weights) for matrix in distances]
        return _slope(np.stack(means, axis=-1), n_train)

    return Estimate.of(intervals.interval(statistic, len(distances[0]), method="jackknife"))


@claim(
    23,
    {
        "holds": "Trained for three epochs, runs on more rows of one task answer fewer examples "
        "differently: disagreement changes by {value:+.0%} [{low:+.0%}, {high:+.0%}] with every "
        "doubling, {ways}. Rows and steps grow together here, so these runs cannot say which of "
        "the two does it.",
        "undecided": "Whether runs on more rows of one task, trained for three epochs, answer fewer "
        "examples differently hangs on the analysis: it holds {ways}.",
        "contradicted": "Runs on more rows of one task answer more examples differently.",
    },
    side="below",
    published="CON rises with training size over tasks (figure)",
    cut=("largest probability", "each run's median"),
    start=SIZES,
)
def more_training_makes_answers_alike(cut: str, start: int) -> Estimate:
    """Slope of log disagreement on log₂ rows; ``cut`` at the median removes jitter of a threshold
    that all answers lie close to.
    """
    chosen, n_train = _nested(start)
    distances = []
    for group in chosen:
        answers = group.predictions
        if cut != "largest probability":
            margin = group.logits[..., 1] - group.logits[..., 0]
            answers = (margin > np.median(margin, axis=1, keepdims=True)).astype(int)
        distances.append(measures.pairwise_disagreement(answers))
    return _trend(distances, n_train)


@claim(
    23,
    {
        "holds": "In the same runs JSD and the distances of representations grow: OP by {value:.0%} "
        "[{low:.0%}, {high:.0%}] with every doubling, and the others alike, {ways}. What a measure "
        "calls more stable depends on the measure.",
        "undecided": "In the same runs JSD and the distances of representations grow from the "
        "smallest size on and not from every size on: they grow {ways}.",
        "contradicted": "In the same runs JSD and the distances of representations shrink.",
    },
    measure=("op", "jsd", "cka", "svcca"),
    pooling=("first", "mean"),
    start=SIZES,
)
def more_training_moves_representations_apart(measure: str, pooling: str, start: int) -> Estimate:
    """Slope of the log of a measure, at the last layer, on log₂ rows."""
    chosen, n_train = _nested(start)
    return _trend([group.pairs(pooling)[measure] for group in chosen], n_train)


def _by_task(without: str) -> list[RunGroup]:
    every = sorted(groups("reference-tasks"), key=lambda group: group.setting["n_train"])
    return [group for group in every if group.setting["task"] != without]


@claim(
    23,
    {
        "holds": "A seed that is good on one task tends to be good on others: Kendall's W "
        "{value:.2f}, {ways}.",
        "undecided": "Whether a seed that is good on one task is good on others is undecided: "
        "Kendall's W over all tasks is {value:.2f} (by chance .10; p = {p:.2f}), over the tasks with "
        "two classes up to {most:.2f}; a W that such runs show with a power of 80 % would be about "
        "{smallest:.2f} higher than chance.",
        "contradicted": "A seed that is good on one task is bad on others.",
    },
    published="no seed is good everywhere (heat map; its formula could not be verified)",
    tasks=("all", "two classes", "without wnli", "two classes without wnli"),
)
def good_seeds_are_good_elsewhere(tasks: str) -> Estimate:
    """Kendall's W above its mean by chance; p of permuting seeds within tasks."""
    chosen = _by_task("wnli" if "wnli" in tasks else "")
    if "two" in tasks:
        chosen = [group for group in chosen if len(group.classes) == 2]
    scores = np.stack([group.scores for group in chosen])
    w = seed_transfer.kendalls_w(scores)
    # m (n − 1) W is about χ² by chance; what exceeds its 95 % point four times in five.
    m, n = scores.shape
    smallest = (stats.chi2.ppf(0.95, n - 1) / stats.chi2.ppf(0.2, n - 1) - 1) / m
    return Estimate(w.w - w.expected, np.nan, np.nan, m, w.p, smallest)


def _size_correlation(values: np.ndarray, n_train: np.ndarray, kind: str) -> Estimate:
    """Correlation of a quantity with log size over tasks, p by |r| of permuting tasks."""
    x, y = np.log10(n_train), np.asarray(values, float)
    if kind == "Spearman":
        x, y = stats.rankdata(x), stats.rankdata(y)
    r = float(np.corrcoef(x, y)[0, 1])
    rng = np.random.default_rng(0)
    drawn = rng.permuted(np.tile(x, (9999, 1)), axis=1)
    drawn = (drawn - drawn.mean(1, keepdims=True)) @ (y - y.mean())
    observed = (x - x.mean()) @ (y - y.mean())
    p = ((np.abs(drawn) >= abs(observed) * (1 - 1e-9)).sum() + 1) / 10_000
    low, high = np.tanh(np.arctanh(r) + np.array([-1, 1]) * 1.96 / np.sqrt(len(x) - 3))
    return Estimate(r, float(low), float(high), len(x), float(p))


CORRELATIONS = {"kind": ("Pearson", "Spearman"), "without": ("none", "wnli")}


@claim(
    23,
    {
        "holds": "Over tasks the SD of accuracy falls with the training size: r = {value:.2f} with "
        "its logarithm, {ways}. Small tasks have small test sets too.",
        "undecided": "Over ten tasks it is undecided whether the SD of accuracy falls with the "
        "training size (r = {value:.2f} with its logarithm, p = {p:.2f}; it does {ways}); ten tasks "
        "show correlations from about {smallest:.1f} on.",
        "contradicted": "Over tasks the SD of accuracy rises with the training size.",
    },
    side="below",
    published="the SD falls with training size (figure)",
    of=("observed", "beyond the floor"),
    **CORRELATIONS,
)
def sd_falls_with_size_over_tasks(of: str, kind: str, without: str) -> Estimate:
    """Correlation over tasks; ``beyond the floor``: the distribution-wise SD."""
    chosen = _by_task(without)
    spreads = [measures.seed_variance(group.predictions == group.labels) for group in chosen]
    values = [s.observed.value if of == "observed" else s.distribution.value for s in spreads]
    return _size_correlation(values, [g.setting["n_train"] for g in chosen], kind)


@claim(
    23,
    {
        "holds": "Over tasks two runs agree on more examples where the training set is larger: "
        "r = {value:.2f} with its logarithm, {ways}.",
        "undecided": "Over ten tasks it is undecided whether two runs agree on more examples where "
        "the training set is larger (r = {value:.2f}, p = {p:.2f}; it holds {ways}).",
        "contradicted": "Over tasks two runs agree on fewer examples where the training set is larger.",
    },
    published="CON rises with training size (figure)",
    of=("CON", "kappa"),
    **CORRELATIONS,
)
def agreement_rises_with_size_over_tasks(of: str, kind: str, without: str) -> Estimate:
    """As for the SD; kappa corrects for the majority class, which small tasks give more often."""
    chosen = _by_task(without)
    if of == "CON":
        values = [1 - measures.pairwise_disagreement(group.predictions) for group in chosen]
        values = [measures.instability(matrix).value for matrix in values]
    else:
        values = [measures.fleiss_kappa(group.predictions) for group in chosen]
    return _size_correlation(values, [g.setting["n_train"] for g in chosen], kind)


@cache
def _design(task: str, rate: float) -> variance_components.Crossed:
    designs, _ = variance_components.crossed_groups(tables.read("reference-sources", "runs"))
    labels = tables.group_labels("reference-sources")
    wanted = {labels[group]: design for group, design in designs.items()}
    return next(d for name, d in wanted.items() if task in name and f"{rate:g}" in name)


def _share(design: variance_components.Crossed, source: str, axis: int, without: str) -> Estimate:
    scores = design.scores
    if without != "none":
        scores = np.delete(scores, int(without), axis)
    part = variance_components.variance_components(scores).loc[source]
    return Estimate.of(Interval(*part["share":"share_high"], scores.shape[axis]))


SEEDS = ("none", *"012345")


@claim(
    11,
    {
        "holds": "At the high learning rate the order of the data makes {value:.2f} [{low:.2f}, "
        "{high:.2f}] of the variance of scores on film reviews, {ways}.",
        "undecided": "At the high learning rate the order of the data makes {value:.2f} [{low:.2f}, "
        "{high:.2f}] of the variance of scores on film reviews, but one order of six makes it: "
        "without that seed the share is {least:.2f}. Whether orders matter so much in general is "
        "undecided.",
        "contradicted": "At the high learning rate the order of the data makes less than a quarter "
        "of the variance of scores on film reviews.",
    },
    null=0.25,
    needed=1.0,
    without_order=SEEDS,
)
def order_decides_at_the_high_rate(without_order: str) -> Estimate:
    """Share of the order seed, each of them left out in turn."""
    return _share(_design("rotten-tomatoes", 3e-3), "order", 1, without_order)


@claim(
    11,
    {
        "holds": "At the gentle rate the new weights make {value:.2f} [{low:.2f}, {high:.2f}] of the "
        "variance of scores on film reviews, {ways}.",
        "undecided": "At the gentle rate the new weights make {value:.2f} [{low:.2f}, {high:.2f}] of "
        "the variance of scores on film reviews; with one of six initialisations left out it is "
        "{least:.2f} to {most:.2f}, and more than a quarter {ways}.",
        "contradicted": "At the gentle rate the new weights make less than a quarter of the variance "
        "of scores on film reviews.",
    },
    null=0.25,
    needed=1.0,
    without_init=SEEDS,
)
def new_weights_decide_at_the_gentle_rate(without_init: str) -> Estimate:
    """Share of the init seed, each of them left out in turn."""
    return _share(_design("rotten-tomatoes", 3e-4), "init", 0, without_init)


@claim(
    13,
    {
        "holds": "At ten times the gentle rate more runs on film reviews fail ({value:.0%} more), "
        "and those that learn are clearly above the majority class, {ways}: the seed decides "
        "whether a run learns.",
        "undecided": "At ten times the gentle rate more runs on film reviews fail in most studies "
        "({least:.0%} to {most:.0%} more); told {ways}.",
        "contradicted": "No more runs fail at ten times the gentle rate.",
    },
    published="failures set in at high rates",
    results=("reference-ladder", "reference-sources", "reference-stabilizers"),
)
def high_rates_make_seeds_fail(results: str) -> Estimate:
    """Share of failed runs at 3e-3 less that at 3e-4, two-sided Fisher test."""
    runs = tables.read(results, "runs").query(
        "task == 'rotten-tomatoes' and backbone == 'bert-tiny'"
    )
    rates = [
        runs[np.isclose(runs["learning_rate"], rate)]["status"] != "ok" for rate in (3e-3, 3e-4)
    ]
    counts = [[int(rate.sum()), int((~rate).sum())] for rate in rates]
    value = float(rates[0].mean() - rates[1].mean())
    p = float(stats.fisher_exact(counts).pvalue)
    ends = [measures.failed_rate(rate.to_numpy()) for rate in rates]
    low, high = ends[0].low - ends[1].high, ends[0].high - ends[1].low
    return Estimate(value, low, high, sum(map(sum, counts)), p)


def _runs_needed(frame: pd.DataFrame, measure: str) -> float:
    return float(frame.loc[frame["measure"] == measure, "seeds_needed"].median())


@claim(
    35,
    {
        "holds": "Where no run collapses, the SD of scores needs {value:.0f} times as many runs as "
        "disagreement until its interval is its value ± 20 %, {ways}.",
        "undecided": "The SD of scores needs more runs than disagreement {ways}.",
        "contradicted": "The SD of scores needs no more runs than disagreement.",
    },
    null=2.0,
    results=("reference-standard", "reference-sizes", "reference-tasks", "reference-methods"),
)
def sd_needs_more_runs(results: str) -> Estimate:
    """Ratio of the median numbers of runs needed, over the groups without failed runs."""
    table = tables.read(results, "measures").query("subset == 'all' and n_failed == 0")
    ratio = _runs_needed(table, "sd") / _runs_needed(table, "disagreement")
    return Estimate.exactly(ratio, table["group"].nunique())
