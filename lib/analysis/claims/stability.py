"""What Fu, So & Collier claim to stabilise, in every setting and of each perturbation.

The text of the paper was not available. What it claims is known from its abstract and from
summaries of it. An effect says by how many powers of two the instability grows if that is done
once: examples, margin or steps doubled, learning rate or distance from the start halved, a method
used. Below 0 is more stable. For the Lipschitz constant it is minus Spearman's correlation, over
examples, of an example's gradient at the minimiser without it and how far leaving it out moves the
weights.
"""

import itertools
from collections.abc import Iterator, Sequence
from functools import cache, partial

import numpy as np
import pandas as pd

from lib.analysis.claims.claim import CLAIMS, Estimate, choices_of, claim
from lib.analysis.claims.scores import SIZES, groups, nested, trend
from lib.measures.intervals import Interval
from lib.results import tables
from lib.results.run_group import RunGroup
from lib.theory import sweeps

#: What is claimed to stabilise, and the name of the claim.
STABILISERS = {
    "sample size": "more-examples-stabilise",
    "Lipschitz constant": "smaller-gradients-stabilise",
    "distance": "a-nearer-start-stabilises",
    "margin": "a-larger-margin-stabilises",
    "iterations": "more-steps-stabilise",
    "learning rate": "a-smaller-rate-stabilises",
    **{name: f"{name.lower()}-stabilises" for name in ("MMR", "MHLoss", "SURT")},
}
SETTINGS = ("simulated head", "real head", "network")
LEFT_OUT, SEED = PERTURBATIONS = ("one example left out", "another seed")
#: The axes of a specification, whose first two make a cell.
AXES = ("setting", "perturbation", "measure", "analysis")
NOTIONS = ("direction", "parameters")
#: By notion, and what is reported of seeds beside them: columns of the tables of heads.
MOVED = {
    LEFT_OUT: {"direction": "direction_mean", "parameters": "parameter_mean"},
    SEED: {"direction": "direction", "parameters": "parameter", "disagreement": "disagreement",
           "SD": "accuracy_sd"},
}  # fmt: skip
#: The same of fine-tuned runs: pooling and measure.
SPREADS = {
    "disagreement": ("mean", "disagreement"),
    "JSD": ("mean", "jsd"),
    "SD": ("mean", "sd"),
    "CKA of means": ("mean", "cka"),
    "CKA of first positions": ("first", "cka"),
}
#: The method with which each is compared.
BASES = {"MMR": "standard", "MHLoss": "mhloss(heads=1)", "SURT": "standard"}
Row = tuple[str, str, str, str, str, Interval]


@cache
def stored(kind: str) -> pd.DataFrame:
    """A table of ``reference-theory``."""
    return tables.read_stored("reference-theory", kind)


def changed(before: pd.Series, after: pd.Series, times: float = 2.0) -> Interval:
    """Mean over pairs of log₂ of after / before, for each doubling of what grew ``times``-fold.
    Pairs in which a value is missing or 0, within rounding, do not count.
    """
    each = np.log2(after.where(after > 1e-12) / before.where(before > 1e-12)).dropna()
    return sweeps.mean(each.to_numpy() / np.log2(times))


def _spreads(x: Sequence[float], chosen: list[RunGroup]) -> Iterator[tuple[str, Interval]]:
    """By measure, the effect of x on groups of runs with the same seeds."""
    each = [{pooling: g.statistics(pooling) for pooling in ("mean", "first")} for g in chosen]
    for measure, (pooling, name) in SPREADS.items():
        statistics = [statistic[pooling][name] for statistic in each]
        yield measure, trend(x, statistics, len(chosen[0]))


def _fine_tuned_methods() -> Iterator[Row]:
    """Encoders fine-tuned with and without a method; also without seeds that fail with either."""
    every = groups("reference-stabilizers")
    by_method = {(g.setting["method"], g.setting["learning_rate"]): g for g in every}
    for (name, base), (method, rate) in itertools.product(BASES.items(), sorted(by_method)):
        if method == base or not method.startswith(name.lower()):
            continue
        pair = [by_method[base, rate], by_method[method, rate]]
        failed = pair[0].failed | pair[1].failed
        runs = {"all seeds": range(len(failed))}
        if failed.any():
            runs["without failed seeds"] = np.flatnonzero(~failed)
        for words, kept in runs.items():
            for measure, effect in _spreads((1, 2), [group.take(kept) for group in pair]):
                yield name, "network", SEED, measure, f"{method}; rate {rate:g}; {words}", effect


def _fine_tuned_ladders() -> Iterator[Row]:
    """Encoders fine-tuned on more and more rows, or at smaller and smaller rates."""
    for start in SIZES[:2]:
        sizes, n_train = nested(start)
        for measure, effect in _spreads(n_train, sizes):
            yield "sample size", "network", SEED, measure, f"from {start} rows", effect
    for backbone in ("bert-tiny", "minilm-l6"):
        rungs = [g for g in groups("reference-ladder") if g.setting["backbone"] == backbone]
        sound = [group for group in rungs if not group.failed.any()]
        for words, chosen in {"all rates": rungs, "rates without failed runs": sound}.items():
            slowness = [1 / group.setting["learning_rate"] for group in chosen]
            for measure, effect in _spreads(slowness, chosen):
                yield "learning rate", "network", SEED, measure, f"{backbone}; {words}", effect


def _moved() -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Perturbation, measure, and the table of heads with what it ``moved``."""
    parts = {LEFT_OUT: stored("leave_one_out"), SEED: stored("seeds").query("heads == 1")}
    for perturbation, part in parts.items():
        for measure, column in MOVED[perturbation].items():
            # On most simulated sets no prediction differs in the end.
            shown = part if measure in NOTIONS else part.dropna(subset="backbone")
            yield perturbation, measure, shown.assign(moved=shown[column])


def _paths() -> Iterator[Row]:
    """Iterations and learning rate, within the same sets."""
    for perturbation, measure, table in _moved():
        mean, plain = table["pooling"].eq("mean"), table["n"].eq(200) & table["scaling"].eq("unit")
        for setting, words, rows in (
            ("simulated head", "", table["job"].eq("paths")),
            ("real head", "mean of tokens; ", mean),
            ("real head", "mean of tokens; 200 rows of length 1; ", mean & plain),
            ("real head", "first position; ", table["pooling"].eq("first")),
        ):
            if not rows.any():
                continue
            where = setting, perturbation, measure
            part = table[rows].set_index(["job", "set", "share", "steps"])
            wide = part["moved"].unstack(["share", "steps"])
            last = wide.columns.levels[1].max()
            for share, first in itertools.product((0.1, 0.5, 1.0), (10, 100)):
                told = f"{words}{first} to {last} steps; rate {share:g}"
                effect = changed(wide[share, first], wide[share, last], last / first)
                yield "iterations", *where, told, effect
            for steps in (100, 1000, last):
                effect = changed(wide[1.0, steps], wide[0.1, steps], 10)
                yield "learning rate", *where, f"{words}{steps} steps", effect


def _sets() -> Iterator[Row]:
    """Sample size and margin, between sets, at half of the largest rate."""
    for perturbation, measure, table in _moved():
        table = table[table["share"].eq(0.5)].assign(reach=lambda t: t["margin"] / t["radius"])
        jobs, mean = table["job"].str, table["pooling"].eq("mean")
        separable, nested = mean & table["separable"], mean & jobs.contains("rotten-tomatoes")
        # Of two encoders, the width says which.
        designs = (
            ("sample size", "simulated head", "", jobs.fullmatch(r"n\d+"), "n", []),
            ("sample size", "real head", "", nested, "n", ["features"]),
            ("margin", "simulated head", "; one size", jobs.startswith("gap."), "reach", []),
            ("margin", "simulated head", "; n and d held", jobs.fullmatch("random-gap"), "reach",
             ["n", "features"]),
            ("margin", "real head", "", separable, "reach", []),
            ("margin", "real head", "; n held", separable, "reach", ["n"]),
        )  # fmt: skip
        for steps, design in itertools.product((100, 1000), designs):
            name, setting, words, rows, x, held = design
            part = table[rows & table["steps"].eq(steps)]
            if len(part):
                controls = [np.log(part[column]) for column in held]
                effect = sweeps.exponent(part[x], part["moved"], *controls)
                yield name, setting, perturbation, measure, f"{steps} steps{words}", effect


def _head_methods() -> Iterator[Row]:
    """Heads on the features of tuned models, and several heads instead of one."""
    for job, part in stored("geometry").query("method != 'before' and separable").groupby("job"):
        where = "real head", LEFT_OUT, "direction"
        effect = sweeps.exponent(part["margin"] / part["radius"], part["rotation_mean"])
        yield "margin", *where, f"in the limit; {job}", effect
        wide = part.pivot(index="seed", columns="method", values="rotation_mean")
        for method in wide.columns.drop("standard"):
            effect = changed(wide["standard"], wide[method])
            yield "MMR", *where, f"in the limit; {job}; {method}", effect
    seeds, keys = stored("seeds").query("share == 0.5 and steps in (100, 1000)"), ["job", "set"]
    for setting, rows in {
        "simulated head": seeds["job"].eq("several-heads"), "real head": seeds["pooling"].eq("mean")
    }.items():  # fmt: skip
        several = seeds[rows & seeds["heads"].isin([4, 16])]
        for (steps, heads, reduction), part in several.groupby(["steps", "heads", "reduction"]):
            one = seeds[rows & seeds["heads"].eq(1) & seeds["steps"].eq(steps)].set_index(keys)
            many = part.set_index(keys).reindex(one.index)
            for measure, column in MOVED[SEED].items():
                if setting == "real head" or measure in NOTIONS:
                    words = f"{heads} heads; {reduction} of losses; {steps} steps"
                    effect = changed(one[column], many[column])
                    yield "MHLoss", setting, SEED, measure, words, effect


def _networks_without_examples() -> Iterator[Row]:
    """A small network trained in full with and without an example, where the loss is convex."""
    case = ["job", "regularization", "start_factor", "rate_factor"]
    convex = stored("full_constants").query("curvature > 0")[[*case, "distance"]]
    full = stored("full_tuning").merge(convex, on=case).query("job != 'full.fitted'")
    ends, along = (full[full["theorem"].eq(name)] for name in ("T3", "T1"))
    wide = along.pivot(index=case, columns="steps", values="measured_mean").reset_index(case[1:])
    near = wide[wide["start_factor"].eq(0)]
    pulls = near.loc["full.strength"].pivot(index="regularization", columns="rate_factor")
    where = "network", LEFT_OUT, "parameters"
    for row in ends[ends["order"].notna() & ends["rate_factor"].eq(1)].itertuples():
        order = sweeps.fisher_interval(-row.order, int(row.comparisons))
        yield "Lipschitz constant", *where, f"{row.job}; λ = {row.regularization:g}", order
    usual = full["regularization"].eq(10) & full["rate_factor"].eq(1)
    sizes = full[usual & full["job"].isin(["full.n10", "full.strength", "full.n30"])]
    for steps, theorem in ((-1, "T3"), (1, "T1"), (10, "T1")):
        part = sizes[sizes["theorem"].eq(theorem) & sizes["steps"].eq(steps)]
        told = f"{steps} steps" if steps > 0 else "minimisers"
        effect = sweeps.exponent(part["n"], part["measured_mean"])
        yield "sample size", *where, told, effect
    for steps in (1, 5, 20):
        part = along[along["job"].eq("full.distance") & along["steps"].eq(steps)]
        part = part[part["distance"] > 1e-3]  # one start is the minimiser itself
        effect = sweeps.exponent(1 / part["distance"], part["measured_mean"])
        yield "distance", *where, f"{steps} steps", effect
    for steps in (2, 5, 20):  # after one, the distance is the rate times a gradient
        effect = changed(pulls[steps][3.0], pulls[steps][1.0], 3)
        yield "learning rate", *where, f"{steps} steps; from three times the largest", effect
    inside = near[near["rate_factor"] <= 1]
    for first, last in ((1, 10), (1, 20), (5, 20)):
        effect = changed(inside[first], inside[last], last / first)
        yield "iterations", *where, f"{first} to {last} steps", effect


@cache
def _effects() -> dict[str, dict[tuple[str, ...], Estimate]]:
    """By what is claimed to stabilise, the effect in each specification, the usual ones first."""
    parts = (_fine_tuned_methods, _paths, _sets, _head_methods, _networks_without_examples,
             _fine_tuned_ladders)  # fmt: skip
    effects: dict[str, dict[tuple[str, ...], Estimate]] = {name: {} for name in STABILISERS}
    for name, *words, effect in itertools.chain.from_iterable(part() for part in parts):
        effects[name][tuple(words)] = Estimate.of(effect)
    return effects


def _given(name: str) -> list[dict[str, str]]:
    return [dict(zip(AXES, words, strict=True)) for words in _effects()[name]]


def _effect(name: str, **words: str) -> Estimate:
    """log₂ change of the instability where what is claimed to stabilise is done once."""
    return _effects()[name][tuple(words.values())]


for _name, _claim in STABILISERS.items():
    claim(_claim, side="below", given=partial(_given, _name))(partial(_effect, _name))


def stability() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The verdict of each claim in each cell, a setting and a perturbation, and the specifications
    behind them, with their choices as columns.

    A cell is ``Claim.conclude`` of its specifications, or ``no data``; ``value``, ``low``, ``high``
    and ``smallest``, in powers of two, are of the specification in the middle by value.
    """
    cells, parts = [], []
    for name, called in STABILISERS.items():
        table = CLAIMS[called].evaluate()
        table = pd.concat([table.assign(claim=name), choices_of(table)], axis=1)
        for where in itertools.product(SETTINGS, PERTURBATIONS):
            part = table[(table[list(AXES[:2])] == list(where)).all(axis=1)].sort_values("value")
            cell = {"verdict": "no data"} | dict.fromkeys(("holds", "contradicted", "of"), 0)
            if len(part):
                middle = part.iloc[(len(part) - 1) // 2][["value", "low", "high", "n", "smallest"]]
                cell = CLAIMS[called].conclude(part) | middle.to_dict()
            cells.append(cell | {"claim": name} | dict(zip(AXES, where, strict=False)))
        parts.append(table)
    unsaid = ["notebook", "published", "sentence"]
    return pd.DataFrame(cells).drop(columns=unsaid), pd.concat(parts, ignore_index=True)
