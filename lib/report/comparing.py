"""Two settings side by side: is the difference more than the seed, and than the choice of examples?

Examples and seeds are aligned by name. Every quantity is a function of run weights, as in
``lib.measures.intervals``, and how far it may be off is the jackknife's.
"""

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import optimize, stats

from lib.measures import (
    comparison,
    failed_rate,
    generation,
    pairwise_disagreement,
    sample_size,
)
from lib.measures.intervals import MIN_RUNS, Interval, pair_means
from lib.report.measuring import MeasuredRuns, measure_runs, three_noises
from lib.report.opening import OutsideError
from lib.report.values import agree
from lib.results.run_group import RunGroup

#: Weights (R, S) and (R, T) of the runs of two settings → (R,).
Contrasted = Callable[[np.ndarray, np.ndarray], np.ndarray]
#: What each quantity is.
_MEANINGS = {
    "mean": "mean score; B − A",
    "sd": "SD of the scores; B / A (p: Levene's test with medians, so p and interval may disagree)",
    "better": "chance that a new run of B has a higher score than one of A",
    "better_same_seed": "the same, with the same seed (ties: no)",
    "disagreement": "share of examples that two runs of a setting answer differently; B − A",
    "gained": "B right where A is wrong (negative flips, if A replaces B); A, B: one run of it "
    "right where another is wrong",
    "gained_excess": "that, less the mean of these two",
    "lost": "B wrong where A is right; A, B: as before",
    "lost_excess": "that, less the mean of these two",
}
#: What is said of a quantity, if it and the column named are known.
_WORDS = (
    ("mean", "value", "{metric}: A {first:.4f}, B {second:.4f}; B − A {interval}{tests}: {shown}."),
    ("mean", "detectable", "{these} would show a difference of {detectable:.4f} four times in "
     "five; to show one as it is here takes {takes}."),
    ("mean", "variance_repeats", "Of the variance of B − A by seeds, {variance_runs:.2g}, "
     "evaluation makes {variance_repeats:.2g}."),
    ("better", "value", "A new run of B has a higher score than one of A with a chance of "
     "{points} %."),
    ("disagreement", "value", "Two runs of A answer {a:.1f} % of the examples differently, of B "
     "{b:.1f} %; B − A {points} points, p = {p:.2g}."),
    ("gained", "value", "A is wrong where B is right on {points} % of the examples (its negative "
     "flips, if A replaces B); another run of B would be on {b:.1f} %, of A on {a:.1f} %."),
    ("lost", "value", "A is right where B is wrong on {points} %."),
)  # fmt: skip


class SideBySide(NamedTuple):
    """Two settings on the same examples, in one order (none, where predictions are not known of
    both); run by run, if ``paired``. ``notes`` say what was aligned, and how; ``repeats`` is the
    variance of the difference of mean scores that is due to evaluation; ``fewest`` the runs of the
    smaller setting, those that answer alike counted once.
    """

    groups: list[RunGroup]
    metric: str | None
    paired: bool
    notes: list[str]
    repeats: float = float("nan")
    fewest: int = MIN_RUNS


def align(
    first: RunGroup | MeasuredRuns,
    second: RunGroup | MeasuredRuns,
    *,
    metric: str | None = None,
    paired: bool = True,
) -> SideBySide:
    """Two settings, A and B, on the same examples; ``OutsideError`` where these or labels differ.

    ``metric`` is that of runs not measured yet; ``paired``: pair runs, if their names say that both
    settings have the same seeds. Of runs that were evaluated again, the mean score counts, and the
    answers of the first evaluation.
    """
    bare = {"representations": {}, "distances": {}}
    measured = [
        measure_runs(replace(one, **bare), metric=metric) if isinstance(one, RunGroup) else one
        for one in (first, second)
    ]
    groups, (metric, other) = [one.group for one in measured], [one.metric for one in measured]
    if metric != other:
        raise OutsideError(
            f"scores of A are {metric or 'none'}, of B {other or 'none'}: give gold labels to "
            "both, or choose by --metric"
        )
    for name, group in zip("AB", groups, strict=True):
        if metric and (lost := ~np.isfinite(group.scores)).any():
            raise OutsideError(
                f"{name}: run {group.names[lost.argmax()]!r} has no {metric} (diverged?), and the "
                "mean needs one of each; leave it out by --exclude, and say so"
            )
    fewest = min(  # of scores alone nobody sees what is a copy
        len(np.unique(one.predictions, axis=0)) if len(one.example_ids) else len(one)
        for one in groups
    )
    notes, noise, once = [], 0.0, []
    for i, (name, one) in enumerate(zip("AB", measured, strict=True)):
        if not len(one.evaluations):
            noise, once = np.nan, [*once, name]
            continue
        scores = one.evaluations.groupby(level=0, sort=False)
        groups[i] = replace(one.group, runs=one.group.runs.assign(score=scores.mean().to_numpy()))
        within = three_noises(one)["evaluation"].value ** 2
        noise += float(within * (1 / scores.size()).mean() / len(one.group))
    if len(once) == 1:
        notes.append(f"No run of {once[0]} is evaluated twice: the noise of evaluation is in it.")
    if all(len(group.example_ids) for group in groups):
        groups[1] = _as_first(*groups)
        if groups[0].texts:
            every = generation.numbered([*groups[0].texts, *groups[1].texts])
            parts = np.split(every, [len(groups[0])])
            groups = [replace(g, predictions=p) for g, p in zip(groups, parts, strict=True)]
    else:
        groups = [replace(g, example_ids=[], predictions=g.predictions[:, :0]) for g in groups]
        notes.append("Scores alone: without predictions of both, nobody sees what flips.")
    order, why = same_seeds(*(group.names for group in groups))
    if paired and order:
        groups[1] = groups[1].take(order)
        notes.append(f"Paired by seed: {len(order)} shared.")
    else:
        notes.append(f"Not paired by seed: {why if paired else 'as asked'}.")
    return SideBySide(groups, metric, paired and bool(order), notes, noise, fewest)


def same_seeds(first: Sequence[str], second: Sequence[str]) -> tuple[list[int], str]:
    """Where the runs of one setting have their like in another, if both have the same seeds; else
    nowhere, and why.

    The seed is the number after "seed" in a name, or the last one; names that are equal do without.
    ``run1, run2, …`` are what reading calls runs that have no names: no seeds.
    """
    keys = [list(map(str, names)) for names in (first, second)]
    named = all(own != [f"run{i + 1}" for i in range(len(own))] for own in keys)
    if set(keys[0]) != set(keys[1]):
        found = [[re.findall(r"seed\D?(\d+)|(\d+)\D*$", n) for n in names] for names in keys]
        keys = [[int("".join(n[0])) if n else -1 for n in names] for names in found]
    shared = set(keys[0]) & set(keys[1])
    if not named or len(shared) < MIN_RUNS or any(len(set(own)) < len(own) for own in keys):
        return [], "run names do not say the same seeds in both"
    pairs = zip([*first, *second], keys[0] + keys[1], strict=True)
    if alone := [str(name) for name, key in pairs if key not in shared]:
        verb, them = ("is", "it") if len(alone) == 1 else ("are", "them")
        why = f"{', '.join(alone)} {verb} in one setting only; --exclude {them} to pair the others"
        return [], why
    return [keys[1].index(key) for key in keys[0]], ""


def _as_first(first: RunGroup, second: RunGroup) -> RunGroup:
    """The second setting with examples in the order of the first, and its numbers of classes."""
    ids = [pd.Index(map(str, group.example_ids)) for group in (first, second)]
    for own, other, names in ((*ids, "BA"), (*ids[::-1], "AB")):
        if (absent := ~own.isin(other)).any():
            raise OutsideError(
                f"{names[0]} lacks {absent.sum()} of the {len(own)} examples of {names[1]}, first: "
                f"{own[absent.argmax()]}; evaluate both on the same examples, with the same ids"
            )
    if (
        first.labels is None
        and first.references is None
        and list(ids[0]) == [str(row + 1) for row in range(len(ids[0]))]
    ):
        raise OutsideError(
            "there are neither ids nor gold labels to show that A and B have the same examples in "
            "the same order; add ids to the rows, or gold labels by --labels"
        )
    where = ids[1].get_indexer(ids[0])
    predictions, classes = second.predictions[:, where], [*first.classes]
    if bool(first.texts) != bool(second.texts):
        raise OutsideError("one of A and B is free text, the other is not; say --task")
    if first.texts:
        texts = [[own[row] for row in where] for own in second.texts]
        if first.references is not None:
            pairs = (first.references, [second.references[row] for row in where])
            gold = [np.array(list(map(repr, own)), object) for own in pairs]
            agree("B", gold[1], "A", gold[0], ids[0])
        return replace(
            second, texts=texts, references=first.references, example_ids=first.example_ids
        )
    if first.labels is not None:
        gold = [
            np.array(group.classes, object)[group.labels] if classes else group.labels
            for group in (first, second)
        ]
        agree("B", gold[1][where], "A", gold[0], ids[0])
    if classes:
        classes += [name for name in second.classes if name not in classes]
        predictions = np.array([classes.index(name) for name in second.classes])[predictions]
    bare = {"probabilities": None, "logits": None}
    kept = {"example_ids": first.example_ids, "labels": first.labels, "classes": classes}
    return replace(second, predictions=predictions, **kept, **bare)


def contrast(
    of: Contrasted, sizes: Sequence[int], *, paired: bool = False, level: float = 0.95
) -> dict[str, float]:
    """A function of the runs of two settings, by ``comparison.jackknife_difference``."""
    ones = [np.ones((1, n)) for n in sizes]
    parts = (lambda w: of(*ones) - of(w, ones[1]), lambda w: of(ones[0], w))
    if paired:
        parts = (lambda w: np.zeros(len(w)), lambda w: of(w, w))
    found = comparison.jackknife_difference(*parts, tuple(sizes), paired=paired, level=level)
    return found._asdict()


def mean_difference(pair: SideBySide, *, level: float = 0.95) -> dict[str, float]:
    """Mean score of B less that of A: Welch's t-test, or the paired one.

    Degrees of freedom are at most those of equal variances: where the fewer runs are alike by
    chance, Welch's are too many (simulated, 5.5 % of ledgers of 20 runs against 5 keep a candidate
    falsely, in place of 0.5 %). Of scores that are means over examples, ``p_both`` is over runs and
    examples: ``variance_examples``, that of the mean over examples less what answers that vary run
    by run add to it, joins ``variance_runs`` (clusters of two kinds; Cameron, Gelbach & Miller
    2011, Eq. 2.8, where it is not negative). ``shown_from``, ``detectable`` and ``seeds_needed``
    are of the test that is harder to pass: the smallest difference with p ≤ 1 − ``level``, the one
    seen four times in five, and the runs that would see this one so often.
    """
    scores, n = [group.scores for group in pair.groups], len(pair.groups[0].example_ids)
    apart = [scores[1] - scores[0]] if pair.paired else scores
    sizes = np.array([len(own) for own in apart])
    squares = np.array([own.var(ddof=1) for own in apart]) / sizes
    value = float(scores[1].mean() - scores[0].mean())
    error, free, p = _student(value, squares, sizes - 1, _free(1 / sizes, sizes - 1))
    reach = stats.t.ppf((1 + level) / 2, free) * error
    found = {
        **{"first": scores[0].mean(), "second": scores[1].mean(), "value": value},
        **{"low": value - reach, "high": value + reach, "p": p},
        "shown_from": reach,
        "detectable": float(sample_size.detectable_difference(error, free)),
        "seeds_needed": sample_size.seeds_to_tell(value, squares * sizes),
        **{"variance_runs": squares.sum(), "variance_repeats": pair.repeats},
    }
    if n < 2:
        return found
    right = [group.example_scores(pair.metric) for group in pair.groups]
    if right[0] is None:
        return found
    whole = right[1].mean(0) - right[0].mean(0)
    right = [right[1] - right[0]] if pair.paired else right
    own = sum(answers.var(0, ddof=1).sum() / len(answers) for answers in right) / n**2
    beyond = max(whole.var(ddof=1) / n - own, 0)
    error, free, p = _student(value, np.array([error**2, beyond]), np.array([free, n - 1]))
    harder = {
        "shown_from": stats.t.ppf((1 + level) / 2, free) * error,
        "detectable": float(sample_size.detectable_difference(error, free)),
        "seeds_needed": sample_size.seeds_to_tell(value, squares * sizes, beyond=beyond),
    }
    found |= {name: max(found[name], own) for name, own in harder.items()}
    return found | {"p_both": p, "variance_examples": beyond}


def _student(
    value: float, squares: np.ndarray, frees: np.ndarray, most: float = math.inf
) -> tuple[float, float, float]:
    """Standard error, degrees of freedom and p of a value, from the parts of its variance."""
    if min(frees) < MIN_RUNS - 1:
        return (float("nan"),) * 3
    if not squares.any():
        return 0.0, float(min(frees)), float(value == 0)
    error, free = math.sqrt(squares.sum()), min(_free(squares, frees), most)
    return error, free, float(2 * stats.t.sf(abs(value) / error, free))


def _free(squares: np.ndarray, frees: np.ndarray) -> float:
    """Degrees of freedom of a sum of variances (Satterthwaite)."""
    return float(squares.sum() ** 2 / (squares**2 / frees).sum())


def chance_of_better(
    first: np.ndarray, second: np.ndarray, *, level: float = 0.95
) -> dict[str, float]:
    """P(a run of the second setting has a higher score than one of the first), ties half.

    The interval is Newcombe's (2006, method 5), which has a width where all pairs go one way, too;
    with Student's t in place of the normal quantile.
    """
    sizes = len(first), len(second)
    value = float(np.sign(second[:, None] - first).mean() + 1) / 2
    reach = stats.t.ppf((1 + level) / 2, sum(sizes) - 2) ** 2 / math.prod(sizes)

    def too_far(x: float) -> float:
        apart = (1 - x) / (2 - x) + x / (1 + x)
        return (value - x) ** 2 - reach * x * (1 - x) * (1 + (sum(sizes) / 2 - 1) * apart)

    low = optimize.brentq(too_far, 0, min(value, 1 - 1e-9)) if value else 0.0
    high = optimize.brentq(too_far, max(value, 1e-9), 1) if value < 1 else 1.0
    return {"value": value, "low": low, "high": high}


def _of_answers(groups: Sequence[RunGroup]) -> dict[str, tuple[Contrasted, list]]:
    """By quantity, its function of both, and what it is within each setting."""
    labels = groups[0].labels
    within = [partial(pair_means, pairwise_disagreement(own.predictions)) for own in groups]
    quantities = {"disagreement": (lambda w, v: within[1](v) - within[0](w), within)}
    if labels is None:
        return quantities
    right = [(own.predictions == labels).astype(int) for own in groups]
    flips = [partial(pair_means, pairwise_disagreement(own) / 2) for own in right]
    ways = {"gained": (1 - right[0]) @ right[1].T, "lost": right[0] @ (1 - right[1]).T}
    for name, pairs in ways.items():

        def both(w: np.ndarray, v: np.ndarray, pairs: np.ndarray = pairs) -> np.ndarray:
            return ((w @ pairs) * v).sum(1) / (w.sum(1) * v.sum(1)) / len(labels)

        def excess(w: np.ndarray, v: np.ndarray, both: Contrasted = both) -> np.ndarray:
            return both(w, v) - (flips[0](w) + flips[1](v)) / 2

        quantities |= {name: (both, flips), f"{name}_excess": (excess, flips)}
    return quantities


class Compared(NamedTuple):
    """A row a quantity, and what they say in words; see ``compare``."""

    table: pd.DataFrame
    sentences: list[str]


def compare(
    first: RunGroup | MeasuredRuns, second: RunGroup | MeasuredRuns, *, level: float = 0.95, **how
) -> Compared:
    """Every difference of two settings that their runs allow; ``how`` as for ``align``.

    Rows: the quantities of ``_MEANINGS``. Columns: ``meaning``, in words; ``first, second``, what
    is so of each setting; ``value, low, high, p`` and the rest of ``contrast`` and
    ``mean_difference``.
    """
    pair = align(first, second, **how)
    groups, sizes, rows = pair.groups, [len(group) for group in pair.groups], {}
    if pair.metric is not None:
        a, b = (group.scores for group in groups)
        rows["mean"] = mean_difference(pair, level=level)
        if pair.fewest < MIN_RUNS:
            rows["mean"] |= dict.fromkeys(("low", "high", "p", "p_both", "detectable"), np.nan)
        if min(sizes) >= MIN_RUNS:
            ratio = comparison.spread_ratio(a, b, level=level)._asdict()
            rows["sd"] = ratio | {"first": a.std(ddof=1), "second": b.std(ddof=1)}
        rows["better"] = chance_of_better(a, b, level=level)
        if pair.paired:
            swaps, correlation = comparison.paired_scores(a, b, level=level)
            rows["mean"] |= {"p_swaps": swaps.p, "correlation": correlation}
            rows["better_same_seed"] = failed_rate(b > a, level=level)._asdict()
    if len(groups[0].example_ids) and (groups[0].classes or groups[0].texts):
        for name, (of, within) in _of_answers(groups).items():
            first, second = (f(np.ones((1, n)))[0] for f, n in zip(within, sizes, strict=True))
            found = contrast(of, sizes, paired=pair.paired, level=level)
            if name != "disagreement":  # nobody asks whether there are flips
                found = {key: found[key] for key in ("value", "low", "high")}
            rows[name] = found | {"first": first, "second": second}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("quantity")
    table = table.drop(columns=["n_runs", "z"], errors="ignore")
    table.insert(0, "meaning", table.index.map(_MEANINGS))
    sentences = []
    for name, column, words in _WORDS:
        row = table.loc[name] if name in table.index else {}
        if pd.notna(row.get(column)):
            ends = row[["value", "low", "high"]].astype(float)
            p, both = (row.get(name, np.nan) for name in ("p", "p_both"))
            tests = "" if np.isnan(p) else f", p = {p:.2g}"
            if not np.isnan(both):
                tests += f" over seeds, {both:.2g} over examples as well (the larger counts)"
            sentences.append(words.format(
                metric=pair.metric,
                interval=Interval(*ends, 0).text(4),
                a=100 * row["first"],
                b=100 * row["second"],
                points=Interval(*(100 * ends), 0).text(1),
                tests=tests,
                these="These runs" if np.isnan(both) else "These runs on these examples",
                takes=what_it_takes(row) if name == "mean" else "",
                shown=finding(row, 1 - level, name="AB"[int(row["value"] > 0)]),
                **row,
            ))  # fmt: skip
    return Compared(table, [*sentences, *pair.notes])


def finding(mean: Mapping[str, float], alpha: float, *, name: str = "") -> str:
    """Whether a ``mean_difference`` is shown at ``alpha`` over runs, and over examples if known;
    ``name`` of what is higher.
    """
    if np.isnan(mean["p"]):
        return f"not shown: a test takes {MIN_RUNS} runs of each that differ"
    if mean["p"] > alpha:
        return "not shown to be more than the seeds"
    shown = f"{name} is higher, by more than the seeds" if name else "more than the seeds"
    if np.isnan(both := mean.get("p_both", np.nan)):
        return f"{shown} (what other examples would change is not counted)"
    if both > alpha:
        return f"{shown}, but not shown to be more than the choice of these examples"
    return shown


def what_it_takes(mean: Mapping[str, float]) -> str:
    """Runs that would show a ``mean_difference`` four times in five, or that examples are short."""
    if np.isfinite(mean["seeds_needed"]):
        return f"{mean['seeds_needed']:.0f} runs of each"
    of_examples = math.sqrt(np.nan_to_num(mean.get("variance_examples", 0.0)))
    least = sample_size.detectable_difference(of_examples, math.inf)
    if 0 < abs(mean["value"]) <= least:
        return f"more examples (any number of runs on these would show {least:.4f} at the least)"
    return "more than 1,000 runs of each"


def compare_all(groups: Mapping[str, RunGroup | MeasuredRuns], **how) -> Compared:
    """The rows of ``compare`` with a p (of two, the larger), of every two settings (``quantity,
    from, to``), with Holm's p over the pairs of a quantity.
    """
    pairs = list(itertools.combinations(groups, 2))
    tables = [compare(groups[a], groups[b], **how).table for a, b in pairs]
    table = pd.concat(dict(zip(pairs, tables, strict=True)), names=["from", "to"])
    table["p"] = table.filter(["p", "p_both"]).max(axis=1)
    table = table[table["p"].notna()].reorder_levels(["quantity", "from", "to"]).sort_index()
    adjusted = table.groupby("quantity")["p"].transform(lambda p: comparison.adjust(p.to_numpy()))
    table = table.assign(adjusted_p=adjusted)
    rows = table.loc["mean"].iterrows() if "mean" in table.index else ()
    return Compared(table, [
        f"{a} → {b}: {row['value']:+.4f} [{row['low']:.4f}, {row['high']:.4f}], "
        f"p = {row['p']:.2g}, by Holm over all pairs {row['adjusted_p']:.2g}."
        for (a, b), row in rows
    ])  # fmt: skip
