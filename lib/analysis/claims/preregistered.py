"""The hypotheses of the second campaign, tested as ``docs/preregistration.md`` says: a claim each.

As claims they are asked in every analysis (each task left out, without failed runs, either
pooling). ``results`` tests each once, by the rules that were written down before the runs.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from lib import measures
from lib.analysis import consistency, failed_runs, granularity, variance_components
from lib.analysis.claims.agreement import COPIES, POOLINGS, distinct
from lib.analysis.claims.claim import ALPHA, CLAIMS, MOST, Estimate, Verdict, claim
from lib.analysis.claims.scores import groups
from lib.measures import comparison, intervals, sample_size
from lib.measures.intervals import Statistic
from lib.measures.summary import STUDIED
from lib.results.run_group import RunGroup

ALL, OK = "all", "ok"
#: Of study C: without runs, or settings, that tell little.
CLEARLY, NEAR_CHANCE = "failed or clearly better", "near chance"
#: The groups of a study, or of one of its tasks, and a pooling.
Tested = Callable[[Sequence[RunGroup], str], Estimate]


@dataclass(frozen=True)
class Hypothesis:
    """A hypothesis of a study; ``claim`` is the name of the claim that it is.

    ``required`` are the analyses that all have to give the verdict. ``exact``: a count, which no
    p-value stands behind. In ``same_sign`` it only has to keep its sign.
    """

    name: str
    claim: str
    study: str
    statistic: Tested
    required: Sequence[dict[str, str]]
    exact: bool
    same_sign: Sequence[dict[str, str]]

    def estimate(self, task: str = "", **chosen: str) -> Estimate:
        """What is found with a choice of analysis; of one ``task`` alone if it is given."""
        return self.statistic(selected(self.study, task=task, **chosen), chosen.get("pooling", ""))


HYPOTHESES: dict[str, Hypothesis] = {}


def tasks(study: str) -> list[tuple[str, RunGroup]]:
    """The groups of a study and their tasks; if it has several encoders, encoders and tasks."""
    every = groups(f"reference-{study}")
    several = len({group.setting["backbone"] for group in every}) > 1
    fields = ["backbone", "task"] if several else ["task"]
    return [(" ".join(group.setting[fields]), group) for group in every]


def selected(
    study: str, *, task: str = "", without: str = "none", runs: str = ALL, pooling: str = ""
) -> list[RunGroup]:
    """The groups of a study, but for those of a task, method or optimiser that is left out, or the
    runs of an order seed (``order 12``).
    """
    chosen = [group for name, group in tasks(study) if task in ("", name) and without != name]
    fields = ["method", "optimizer"]
    chosen = [g for g in chosen if without not in g.setting[fields].str.partition("(")[0].array]
    if without == NEAR_CHANCE:
        chosen = [g for g in chosen if not failed_runs.is_near_chance(g, pooling or POOLINGS[0])]
    if without.startswith("order "):
        kept = [(g.runs["seed_order"] != int(without.split()[1])).to_numpy() for g in chosen]
        chosen = [group.take(rows) for group, rows in zip(chosen, kept, strict=True)]
    if runs == OK:
        chosen = [group.take(~group.failed) for group in chosen]
    elif runs == CLEARLY:
        chosen = [failed_runs.clearly(group) for group in chosen]
    return [group for group in chosen if len(group) >= intervals.MIN_RUNS]


def _any_failed(study: str, without: str) -> bool:
    """Whether leaving out failed runs makes another analysis."""
    return any(group.failed.any() for group in selected(study, without=without))


def hypothesis(
    name: str,
    called: str,
    study: str,
    *,
    side: Literal["above", "below", "within"] = "above",
    null: float = 0.0,
    margin: float = 0.0,
    needed: float = MOST,
    poolings: Sequence[str] = (),
    runs: Sequence[str] = (ALL, OK),
    without: Sequence[str] | None = None,
    required: Sequence[dict[str, str]] = ({},),
    exact: bool = False,
    same_sign: Sequence[dict[str, str]] = (),
) -> Callable[[Tested], Tested]:
    """Register a test as a hypothesis and as a claim; ``without``: what is left out in turn beside
    nothing, by default each task.
    """
    if poolings:
        required = [one | {"pooling": pooling} for one in required for pooling in poolings]

    def given() -> list[dict[str, str]]:
        left_out = dict(tasks(study)) if without is None else without
        axes = {"without": ("none", *left_out), "runs": runs}
        axes |= {"pooling": poolings} if poolings else {}
        every = [dict(zip(axes, v, strict=True)) for v in itertools.product(*axes.values())]
        return [one for one in every if one["runs"] == ALL or _any_failed(study, one["without"])]

    def register(statistic: Tested) -> Tested:
        own = Hypothesis(name, called, study, statistic, required, exact, same_sign)
        HYPOTHESES[name] = own
        claim(called, side=side, null=null, margin=margin, needed=needed, given=given)(own.estimate)
        return statistic

    return register


def pooled(parts: Sequence[Estimate]) -> Estimate:
    """The mean of independent estimates, p by Stouffer's method; 1 where that and the mean point in
    different directions.
    """
    if len(parts) == 1:
        return parts[0]
    table = pd.DataFrame(parts)
    z, p = comparison.stouffer(table["p"], np.sign(table["value"]))
    mean = table["value"].mean()
    p = 1.0 if z * mean < 0 else p
    reach, smallest = (
        np.linalg.norm(one) / len(parts)
        for one in (table["high"] - table["value"], table["smallest"])
    )
    return Estimate(mean, mean - reach, mean + reach, len(parts), p, smallest)


def by_task(test: Tested) -> Tested:
    """A test of one task, pooled over tasks."""

    def over_tasks(chosen: Sequence[RunGroup], pooling: str) -> Estimate:
        return pooled([test(part, pooling) for part in granularity.by_task(chosen)])

    return over_tasks


def weakest(parts: Sequence[Estimate]) -> Estimate:
    """Of several that all have to be above 0, the one with the least evidence for it."""
    return min(parts, key=lambda one: np.sign(one.value) * stats.norm.isf(one.p / 2))


def tested(statistic: Statistic, n_runs: int) -> Estimate:
    """A statistic of runs against 0, by Student's t of the jackknife."""
    nothing = partial(intervals.run_means, np.zeros(n_runs))
    found = comparison.jackknife_difference(nothing, statistic, (n_runs, n_runs), paired=True)
    return Estimate(*found[:3], n_runs, found.p, found.detectable)


def _logs(chosen: Sequence[RunGroup], measure: str, pooling: str = "") -> Statistic:
    """(B, G) logarithms of a measure of each group, at the last layer."""
    each = [group.statistics(pooling or POOLINGS[0])[measure] for group in chosen]
    return lambda weights: np.log(np.clip([one(weights) for one in each], 1e-12, None)).T


def _contrast(chosen: Sequence[RunGroup], shares: np.ndarray, measure: str, pooling="") -> Estimate:
    """The sum of the groups' logarithms times their shares (G,), over shared seeds."""
    chosen = granularity.same_seeds(chosen)
    logs = _logs(chosen, measure, pooling)
    return tested(lambda weights: logs(weights) @ shares, len(chosen[0]))


# --- A: size or length of training ----------------------------------------------------------------

#: What is the same at all sizes of an arm; the last size is in both.
ARMS = {"steps": 768, "epochs": 3}


def more_rows(measure: str, fixed: str, chosen: Sequence[RunGroup], pooling: str) -> Estimate:
    """Slope of log₂ of a measure on log₂ rows, in the arm of a task where ``fixed`` is."""
    arm = [group for group in chosen if group.setting[fixed] == ARMS[fixed]]
    away = np.log2([group.setting["n_train"] for group in arm])
    away -= away.mean()
    return _contrast(arm, away / (away @ away) / np.log(2), measure, pooling)


def more_steps(measure: str, chosen: Sequence[RunGroup], pooling: str) -> Estimate:
    """Log₂ of a measure with more steps less that with fewer, mean over the sizes of a task that
    have both arms.
    """
    sizes = [group.setting["n_train"] for group in chosen]
    chosen = [g for g in chosen if sizes.count(g.setting["n_train"]) == 2]
    long = np.array([group.setting["steps"] == ARMS["steps"] for group in chosen])
    return _contrast(chosen, np.where(long, 1, -1) / long.sum() / np.log(2), measure, pooling)


SIZE = "size-and-length"
hypothesis("A1", "more-rows-make-answers-alike", SIZE, side="below")(
    by_task(partial(more_rows, "disagreement", "steps"))
)
hypothesis("A2", "more-steps-make-answers-alike", SIZE, side="below")(
    by_task(partial(more_steps, "disagreement"))
)
hypothesis("A3", "more-rows-move-representations-apart", SIZE, poolings=POOLINGS)(
    by_task(partial(more_rows, "cka", "steps"))
)


@hypothesis("A4", "jsd-rises-with-confidence", SIZE)
@by_task
def _confidence(chosen: Sequence[RunGroup], pooling: str) -> Estimate:
    """Spearman's ρ of JSD with mean confidence over settings, rows and steps held. p is of
    permuting what these leave of the ranks of JSD, and holding them anew (Freedman & Lane 1983).
    """
    jsd = np.concatenate([_logs([group], "jsd")(np.ones((1, len(group))))[0] for group in chosen])
    confidence = [group.probabilities.max(-1).mean() for group in chosen]
    held = [[group.setting[name] for group in chosen] for name in ("n_train", "steps")]
    ranks = stats.rankdata([np.ones(len(jsd)), *held, jsd, confidence], axis=1).T
    hold = np.eye(len(jsd)) - ranks[:, :3] @ np.linalg.pinv(ranks[:, :3])
    first, second = hold @ ranks[:, 3], hold @ ranks[:, 4]
    order, complete = intervals.orders(len(jsd))
    rho, drawn = (
        one @ second / np.linalg.norm(one, axis=-1) / np.linalg.norm(second)
        for one in (first, first[order] @ hold)
    )
    p = intervals.permutation_p(drawn, rho, complete=complete)
    seen = sample_size.detectable_correlation(len(jsd) - len(held))
    return Estimate(float(rho), np.nan, np.nan, len(jsd), float(p), seen)


# --- B: noise of scores ---------------------------------------------------------------------------


@cache
def _spread_of(task: str, names: tuple[str, ...]) -> measures.SeedVariance:
    (group,) = [g for g in groups("reference-score-noise") if g.setting["task"] == task]
    group = group.take([group.names.index(name) for name in names])
    return measures.seed_variance(group.predictions == group.labels)


def _spread(group: RunGroup) -> measures.SeedVariance:
    return _spread_of(group.setting["task"], tuple(group.names))


@hypothesis("B1", "seeds-change-accuracy-on-whole-sets", "score-noise")
def _beyond_flips(chosen: Sequence[RunGroup], pooling: str) -> Estimate:
    """Distribution-wise SD in points, the root of the mean variance over tasks, none clipped; its p
    by Stouffer, one-sided; the smallest is the median over tasks of what one sees.
    """
    spreads = [_spread(group) for group in chosen]
    ends = [np.square(one.distribution[1:3]) for one in spreads]
    beyond = [one.observed.value**2 - one.floor**2 for one in spreads]
    variances = np.column_stack([beyond, ends])
    value, low, high = 100 * np.sqrt(np.mean(variances, axis=0).clip(0))
    z = stats.norm.isf([one.p for one in spreads]).sum() / np.sqrt(len(spreads))
    floors = [(len(group), one.floor) for group, one in zip(chosen, spreads, strict=True)]
    seen = [sample_size.detectable_seed_sd(*one) for one in floors]
    p, seen = float(stats.norm.sf(z)), 100 * float(np.median(seen))
    return Estimate(value, low, high, len(spreads), p, seen)


#: Half a point of accuracy.
HALF_A_POINT = 0.005


@hypothesis(
    "B2", "sd-over-seeds-is-below-half-a-point", "score-noise", null=2.5, without=(), exact=True
)
def _small_spreads(chosen: Sequence[RunGroup], pooling: str) -> Estimate:
    """In how many tasks the interval of the distribution-wise SD is below half a point; ``high``
    counts those, too, in which it holds that.
    """
    ends = [_spread(group).distribution for group in chosen]
    below, not_above = (
        sum(getattr(one, end) < HALF_A_POINT for one in ends) for end in ("high", "low")
    )
    return Estimate(below, below, not_above, len(ends), smallest=0.0)


# --- E: LoRA, the head alone, full fine-tuning ----------------------------------------------------


def _method_gap(
    first: str, second: str, measure: str, chosen: Sequence[RunGroup], pooling: str = ""
) -> Estimate:
    """Log of a measure with the second method, less that with the first."""
    pair = [g for name in (first, second) for g in chosen if g.setting["method"] == name]
    return _contrast(pair, np.array([-1.0, 1.0]), measure, pooling)


hypothesis("E1", "lora-disagrees-less", "lora", side="below")(
    by_task(partial(_method_gap, "standard", "lora", "disagreement"))
)
hypothesis("E2", "the-head-alone-disagrees-least", "lora", side="below")(
    by_task(partial(_method_gap, "lora", "head", "disagreement"))
)


@hypothesis("E3", "sd-misses-what-disagreement-tells", "lora", null=1.5, exact=True)
def _missed(chosen: Sequence[RunGroup], pooling: str) -> Estimate:
    """Of LoRA and the head, how many disagreement tells from full fine-tuning and the SD does not;
    ``high`` counts those, too, that neither tells. ``smallest`` is the larger of the two ratios of
    SDs that would be seen.
    """
    told, seen = {}, []
    for method, measure in itertools.product(("lora", "head"), ("sd", "disagreement")):
        found = by_task(partial(_method_gap, "standard", method, measure))(chosen, "")
        told[method, measure] = found.p < ALPHA
        seen += [found.smallest] * (measure == "sd")
    unseen = [method for method in ("lora", "head") if not told[method, "sd"]]
    missed = sum(told[method, "disagreement"] for method in unseen)
    return Estimate(missed, missed, len(unseen), 2, smallest=float(np.exp(max(seen))))


# Not in the plan, and asked of the same runs.
WITHOUT_TASK = ("none", "rotten-tomatoes", "sarcasm")


def _lora_gap(measure: str, without: str) -> Estimate:
    """Log of a measure with LoRA, less that with full fine-tuning."""
    gap = by_task(partial(_method_gap, "standard", "lora", measure))
    return gap(selected("lora", without=without), "")


for name, measure in (("lora-lowers-the-sd", "sd"), ("lora-lowers-jsd", "jsd")):
    claim(name, side="below", without=WITHOUT_TASK)(partial(_lora_gap, measure))


@by_task
def _beyond_accuracy(chosen: Sequence[RunGroup], pooling: str) -> Estimate:
    """Log disagreement of the first group, less that of the others at its accuracy, between them
    on a straight line; they are in the order of their accuracies.
    """
    chosen = granularity.same_seeds(chosen)
    logs = _logs(chosen, "disagreement")

    def beyond(weights: np.ndarray) -> np.ndarray:
        means = np.transpose([intervals.run_means(group.scores, weights) for group in chosen])
        pairs = zip(means, logs(weights), strict=True)
        return np.array([y[0] - np.interp(x[0], x[1:], y[1:]) for x, y in pairs])

    return tested(beyond, len(chosen[0]))


@claim("lora-disagrees-more-at-equal-accuracy", without=WITHOUT_TASK, line=("epochs", "steps"))
def _at_equal_accuracy(without: str, line: str) -> Estimate:
    """LoRA against full fine-tuning on as many rows as give its accuracy, between the sizes of
    study A. ``line``: what is the same at all sizes, three epochs or 768 steps.
    """
    lora = [g for g in selected("lora", without=without) if g.setting["method"] == "lora"]
    tasks = [group.setting["task"] for group in lora]
    full = [g for g in selected(SIZE) if g.setting["task"] in tasks]
    full = [group for group in full if group.setting[line] == ARMS[line]]
    return _beyond_accuracy([*lora, *sorted(full, key=lambda g: g.setting["n_train"])], "")


# --- F: orders ------------------------------------------------------------------------------------

ORDERS = tuple(f"order {seed}" for seed in range(6, 18))
FILMS = "rotten-tomatoes"


def _design(group: RunGroup) -> variance_components.Crossed:
    return variance_components.Crossed(group.runs.sort_values(["seed_init", "seed_order"]))


@hypothesis(
    "F1", "new-orders-decide-more-than-new-weights", "orders", runs=(ALL,), without=ORDERS,
    needed=1.0, required=[{}, *({"without": order} for order in ORDERS)],
)  # fmt: skip
def _order_over_init(chosen: Sequence[RunGroup], pooling: str) -> Estimate:
    """Share of the order seed in the variance of scores less that of the init seed."""
    films = [group for group in chosen if group.setting["task"] == FILMS]
    if not films:  # another task by itself
        return Estimate(np.nan, np.nan, np.nan, 0)
    found = variance_components.share_difference(_design(films[0]).scores)
    return Estimate(*found[:3], len(films[0]), found.p)


@hypothesis(
    "F2", "one-to-four-of-twelve-orders-are-bad", "orders", side="within", null=2.5, margin=1.5,
    runs=(ALL,), without=(), exact=True,
)  # fmt: skip
def _bad_orders(chosen: Sequence[RunGroup], pooling: str) -> Estimate:
    """Orders in which half of the runs fail or more."""
    (films,) = [group for group in chosen if group.setting["task"] == FILMS]
    shares = _design(films).failed_by_order
    return Estimate.exactly(float((shares >= 0.5).sum()), len(shares))


@hypothesis("F3", "order-matters-for-failure", "orders", runs=(ALL,))
def _failures_by_order(chosen: Sequence[RunGroup], pooling: str) -> Estimate:
    """Stouffer's z over tasks of the test that, given the init seed, it is chance which order
    fails; one-sided, as the test is.
    """
    designs = [_design(group) for group in chosen]
    p = [variance_components.seed_dependence(one.failed)["order"] for one in designs]
    z = stats.norm.isf([one for one in p if not np.isnan(one)])
    total = float(z.sum() / np.sqrt(len(z))) if len(z) else np.nan
    return Estimate(total, np.nan, np.nan, len(z), float(stats.norm.sf(total)), 1.645 + 0.842)


# --- D and G: methods, optimisers and schedules ---------------------------------------------------

#: Draws of the noise that is added to other measures, until they are as noisy as the SD.
N_NOISY = 200


def _known(group: RunGroup, pooling: str) -> Statistic:
    """(B, M) logarithms of all measures of a group."""
    each = group.statistics(pooling)
    return lambda w: np.log(np.clip([each[name](w) for name in STUDIED], 1e-12, None)).T


def _rankings(chosen: Sequence[RunGroup], pooling: str) -> list[pd.DataFrame]:
    """By task, the logarithm of every measure of each group, and behind it its standard error."""
    tables = []
    for part in granularity.by_task(chosen):
        known = [(_known(group, pooling), len(group)) for group in part]
        logs = [statistic(np.ones((1, n)))[0] for statistic, n in known]
        errors = [intervals.jackknife_error(statistic, n) for statistic, n in known]
        values = pd.DataFrame(logs, columns=list(STUDIED))
        tables.append(values.join(pd.DataFrame(errors, columns=[f"{m} error" for m in STUDIED])))
    return tables


def _alike(chosen: Sequence[RunGroup], pooling: str) -> Estimate:
    """Mean τ over tasks of JSD with disagreement, and of OP with CKA: the weaker of the two."""
    ranked, parts = _rankings(chosen, pooling), []
    for pair in (["jsd", "disagreement"], ["op", "cka"]):
        found = consistency.mean_rank_agreement([table[pair] for table in ranked]).iloc[0]
        parts.append(Estimate(found["tau"], np.nan, np.nan, len(ranked), found["p"]))
    return weakest(parts)


def _noisy_signs(logs: np.ndarray, errors: np.ndarray, share: float) -> np.ndarray:
    """(G, G) mean sign of the differences of G logarithms, with normal noise until errors make up
    ``share`` of their variance.
    """
    variance, own = logs.var(ddof=1), (errors**2).mean()
    more = np.sqrt(max(0.0, (share * variance - own) / (1 - share)))
    noise = np.random.default_rng(0).normal(scale=more, size=(N_NOISY, len(logs)))
    drawn = logs + noise
    return np.sign(drawn[:, :, None] - drawn[:, None]).mean(0)


def _sd_apart(chosen: Sequence[RunGroup], pooling: str) -> Estimate:
    """Mean τ of the SD with the other measures less theirs with each other, of each two of which
    one is given as much noise as the SD has. p is of permuting the groups of each measure in each
    task, times five, for the level is 1 %; it is 1 where the ranks of the SD are noise.
    """
    names, total, tables = list(STUDIED), 0.0, _rankings(chosen, pooling)
    for table in tables:
        logs = {name: table[name].to_numpy() for name in names}
        errors = {name: table[f"{name} error"].to_numpy() for name in names}
        share = (errors["sd"] ** 2).mean() / logs["sd"].var(ddof=1)
        if share >= 1:
            return Estimate(np.nan, np.nan, np.nan, len(tables), 1.0)
        plain = np.stack([np.sign(logs[m][:, None] - logs[m]) for m in names])
        noisy = np.stack([_noisy_signs(logs[m], errors[m], share) for m in names])
        rng, n = np.random.default_rng(0), len(table)
        order = np.tile(np.arange(n), (intervals.N_PERMUTATIONS, len(names), 1))
        order = np.concatenate([order[:1], rng.permuted(order, axis=2)])
        rows, columns, number = order[..., None], order[..., None, :], np.arange(len(names))
        plain, noisy = (one[number[:, None, None], rows, columns] for one in (plain, noisy))
        plain, noisy = (one.reshape(len(order), len(names), -1) for one in (plain, noisy))
        with_sd = np.einsum("bk,bmk->bm", plain[:, 0], plain[:, 1:]).mean(1)
        crossed = np.einsum("bik,bjk->bij", plain[:, 1:], noisy[:, 1:])
        apart = ~np.eye(len(names) - 1, dtype=bool)
        total = total + (with_sd - crossed[:, apart].mean(1)) / (n * (n - 1))
    gaps = total / len(tables)
    p = min(1.0, 5 * float(intervals.permutation_p(gaps[1:], gaps[0])))
    seen = float(stats.norm.ppf([0.995, 0.8]).sum() * gaps[1:].std())
    return Estimate(float(gaps[0]), np.nan, np.nan, len(tables), p, seen)


def _told(chosen: Sequence[RunGroup], names: Sequence[str]) -> pd.DataFrame:
    """Which measures tell two groups of a task apart (|z| > 2): see ``granularity.told``."""
    table = granularity.told(chosen, names)
    return table.assign(**{name: table[name].abs() > 2 for name in names})


def _tells_more(more: str, less: str, told: pd.DataFrame) -> Estimate:
    """Methods told from the standard one by one measure, less those told by another; sign test
    over those that one of both tells. The smallest is significant if none goes the other way.
    """
    ahead, behind = ((told[a] & ~told[b]).sum() for a, b in ((more, less), (less, more)))
    p = stats.binomtest(int(ahead), int(ahead + behind)).pvalue if ahead + behind else 1.0
    fewest = float(np.ceil(np.log2(2 / ALPHA)))
    return Estimate(float(ahead - behind), np.nan, np.nan, len(told), float(p), fewest)


METHODS = "distinct-methods"
TASKS = ("rotten-tomatoes", "sarcasm", "trec")
WITHOUT_METHOD = {"without": (*TASKS, "wd_pre"), "same_sign": [{"without": "wd_pre"}]}


@hypothesis("D1", "measures-of-one-kind-rank-alike", METHODS, poolings=POOLINGS, **WITHOUT_METHOD)
def _methods_alike(chosen: Sequence[RunGroup], pooling: str) -> Estimate:
    return _alike(distinct(chosen, below=COPIES), pooling)


@hypothesis("D2", "sd-ranks-methods-apart", METHODS, side="below", poolings=POOLINGS,
            **WITHOUT_METHOD)  # fmt: skip
def _methods_apart(chosen: Sequence[RunGroup], pooling: str) -> Estimate:
    return _sd_apart(distinct(chosen, below=COPIES), pooling)


@hypothesis("D3", "jsd-then-disagreement-then-sd-tell-methods", METHODS, **WITHOUT_METHOD)
def _both_tell_more(chosen: Sequence[RunGroup], pooling: str) -> Estimate:
    """JSD more than disagreement, and disagreement more than the SD: the less sure of the two."""
    measured = ("jsd", "disagreement", "sd")
    told = _told(distinct(chosen, below=COPIES), measured).query("first == 0")
    return weakest([_tells_more(*two, told) for two in itertools.pairwise(measured)])


# Not in the plan, and asked of the same runs, of which none failed.
FOUR = ("disagreement", "jsd", "op", "cka")


def _beside_standard(method: str, without: str, measure: str) -> Estimate:
    """Log of a measure with a method, less that with the standard one."""
    gap = by_task(partial(_method_gap, "standard", method, measure))
    return gap(selected(METHODS, without=without), "")


for name, method in (
    ("without-bias-correction-runs-differ-more", "no_bias_correction"),
    ("after-longer-training-runs-differ-more", "longer"),
):
    differ = partial(_beside_standard, method)
    claim(name, without=("none", *TASKS), measure=FOUR)(differ)


OPTIMIZERS = ("adamw", "sgd", "adafactor")


@hypothesis("G1", "a-constant-rate-makes-answers-differ", "optimizers", without=OPTIMIZERS,
            required=[{}, *({"without": name} for name in OPTIMIZERS)])  # fmt: skip
def _constant_rate(chosen: Sequence[RunGroup], pooling: str) -> Estimate:
    """Log disagreement with a constant rate less that with a linear decay: mean over optimisers and
    tasks, of the same seeds.
    """
    schedules = np.array([group.setting["schedule"] for group in chosen])
    shares = (schedules == "constant") / 1.0 - (schedules == "linear")
    return _contrast(chosen, shares / (schedules == "linear").sum(), "disagreement")


hypothesis("G2", "sd-ranks-optimizers-apart", "optimizers", side="below", poolings=POOLINGS,
           without=OPTIMIZERS)(_sd_apart)  # fmt: skip


@hypothesis("G3", "predictions-tell-more-optimizers-than-sd", "optimizers", without=OPTIMIZERS)
def _tell_more_pairs(chosen: Sequence[RunGroup], pooling: str) -> Estimate:
    """Share of the pairs of combinations told apart by disagreement, and by JSD, less that by the
    SD: the less sure of the two; by leaving out each combination.
    """
    told = _told(chosen, ("sd", "disagreement", "jsd"))
    n = int(told["second"].max()) + 1
    without = [told[(told[["first", "second"]] != i).all(axis=1)] for i in range(n)]
    parts = []
    for measure in ("disagreement", "jsd"):
        value, *left = ((one[measure].mean() - one["sd"].mean()) for one in (told, *without))
        error = np.sqrt((n - 1) / n * np.square(left - np.mean(left)).sum())
        reach = stats.t.ppf(1 - ALPHA / 2, n - 1) * error
        p = float(2 * stats.t.sf(abs(value) / error, n - 1)) if error else float(value == 0)
        seen = float(sample_size.detectable_difference(error, n - 1))
        parts.append(Estimate(value, value - reach, value + reach, n, p, seen))
    return weakest(parts)


# --- by the rules of the plan ---------------------------------------------------------------------


def results(names: Sequence[str] = ()) -> pd.DataFrame:
    """Each hypothesis tested once, or those named: ``hypothesis, claim, value, low, high, p,
    adjusted, smallest, verdict``, all on the scale of the test.

    ``adjusted``: by Holm over the hypotheses of a study; of one that several analyses have to give,
    from the largest p. In a pooling it *holds* if all required analyses do, and in none a single
    task rejects in the other direction; it is *contradicted* if all say the opposite, and else
    *undecided*; it is *mixed* if the poolings differ. Other numbers are those of the first
    analysis.
    """
    rows = []
    of_study = sorted(HYPOTHESES.values(), key=lambda one: one.name)
    for _, study in itertools.groupby(of_study, lambda one: one.study):
        study = list(study)
        if names and not {one.name for one in study} & set(names):
            continue
        found = [[one.estimate(**chosen) for chosen in one.required] for one in study]
        largest = np.array([np.max([e.p for e in each]) for each in found])
        adjusted = comparison.adjust(largest)
        times = np.divide(adjusted, largest, out=np.ones(len(study)), where=largest != 0)
        for one, each, factor, p in zip(study, found, times, adjusted, strict=True):
            told: dict[str, set[Verdict]] = {}
            for chosen, estimate in zip(one.required, each, strict=True):
                verdicts = told.setdefault(chosen.get("pooling", ""), set())
                verdicts.add(_verdict(one, chosen, estimate, factor))
            by_pooling = {v.pop() if len(v) == 1 else "undecided" for v in told.values()}
            verdict = by_pooling.pop() if len(by_pooling) == 1 else "mixed"
            numbers = each[0]._asdict() | {"smallest": each[0].detectable, "adjusted": p}
            rows.append({"hypothesis": one.name, "claim": one.claim, **numbers, "verdict": verdict})
    table = pd.DataFrame(rows)
    return table[table["hypothesis"].isin(names or list(HYPOTHESES))].reset_index(drop=True)


def _verdict(one: Hypothesis, chosen: dict[str, str], found: Estimate, factor: float) -> Verdict:
    """What a required analysis says, its p times Holm's factor. It does not hold where a task
    rejects in the other direction, or an analysis in ``same_sign`` has another sign.
    """
    judge = CLAIMS[one.claim].of_one
    verdict = judge(found._replace(p=np.minimum(1.0, found.p * factor)))  # NaN stays
    if verdict != "holds" or one.exact:
        return verdict
    single = [judge(one.estimate(task=task, **chosen)) for task in dict(tasks(one.study))]
    signs = [np.sign(one.estimate(**chosen | more).value) for more in one.same_sign]
    against = "contradicted" in single or any(sign != np.sign(found.value) for sign in signs)
    return "undecided" if against else verdict
