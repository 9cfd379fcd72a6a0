"""What Fu, So & Collier claim, beside what was measured: every claim in every setting, over all
specifications that are reasonable.

The text of the paper was not available. What it claims is known from its abstract and from
summaries of it: what stabilises (``CLAIMS``), and three methods. ``value`` says by how many powers
of two the instability grows if that is done once: examples, margin or steps doubled, learning rate
or distance from the start halved, a method used. Below 0 is more stable. For the Lipschitz constant
it is minus Spearman's correlation, over examples, of an example's gradient at the minimiser without
it and how far leaving it out moves the weights.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from lib.measures import intervals
from lib.measures.intervals import Interval, Statistic
from lib.results import run_group, tables
from lib.results.run_group import RunGroup
from lib.theory import sweeps

#: What is claimed to stabilise, in words.
CLAIMS = {
    "sample size": "more training examples",
    "Lipschitz constant": "smaller gradients of single examples",
    "distance": "a start nearer to the solution",
    "margin": "a larger margin of the features",
    "iterations": "more iterations",
    "learning rate": "a smaller learning rate",
    **{name: name for name in ("MMR", "MHLoss", "SURT")},
}
CELL = ("claim", "setting", "perturbation")
SETTINGS = ("simulated head", "real head", "network")
LEFT_OUT, SEED = PERTURBATIONS = ("one example left out", "another seed")
NOTIONS = ("direction", "parameters")
#: By notion, and what is reported of seeds beside them: columns of the tables of heads.
MOVED = {
    LEFT_OUT: {"direction": "direction_mean", "parameters": "parameter_mean"},
    SEED: {"direction": "direction", "parameters": "parameter", "disagreement": "disagreement",
           "SD": "accuracy_sd"},
}  # fmt: skip
#: The same of fine-tuned runs: pooling and measure.
SPREADS = {
    "SD": ("mean", "sd"),
    "disagreement": ("mean", "disagreement"),
    "CKA, mean of tokens": ("mean", "cka"),
    "CKA, first position": ("first", "cka"),
}
Row = tuple[str, str, str, str, Interval]
Stored = Mapping[str, pd.DataFrame]


def changed(
    before: npt.ArrayLike, after: npt.ArrayLike, *, times: float = 2.0, level: float = 0.95
) -> Interval:
    """Mean over pairs (S,) of log2(after / before), for each doubling of what grew ``times``-fold,
    with an interval from three pairs on. Pairs with a value that is missing or not positive do not
    count.
    """
    before, after = np.asarray(before, float), np.asarray(after, float)
    if before.shape != after.shape or before.ndim != 1:
        raise ValueError(f"shapes {before.shape} and {after.shape}; expected (S,) twice, paired")
    kept = np.isfinite(before) & np.isfinite(after) & (before > 0) & (after > 0)
    each = np.log2(after[kept] / before[kept]) / np.log2(times)
    return sweeps.mean(each, level=level)


def exponent(
    x: npt.ArrayLike, y: npt.ArrayLike, *controls: npt.ArrayLike, level: float = 0.95
) -> Interval:
    """b of y ∝ x^b: the slope of log y on log x, beside ``controls`` as they are, by least squares,
    with Student's interval. All (K,). Points that are not positive do not count; ``ValueError``
    unless more are left than there are coefficients.
    """
    intervals.check_level(level)
    x, y, *rest = np.broadcast_arrays(*(np.asarray(v, float) for v in (x, y, *controls)))
    kept = (x > 0) & (y > 0)
    design = np.column_stack([np.log(x[kept]), np.ones(kept.sum()), *(c[kept] for c in rest)])
    if (free := len(design) - design.shape[1]) < 1:
        raise ValueError(f"{len(design)} points for {design.shape[1]} coefficients")
    inverse = np.linalg.pinv(design)
    fit = inverse @ np.log(y[kept])
    variance = ((np.log(y[kept]) - design @ fit) ** 2).sum() / free * (inverse[0] ** 2).sum()
    reach = float(stats.t.ppf((1 + level) / 2, free) * np.sqrt(variance))
    return Interval(float(fit[0]), float(fit[0]) - reach, float(fit[0]) + reach, len(design))


def spread_exponent(
    x: Sequence[float], spreads: Sequence[Statistic], n_runs: int, *, level: float = 0.95
) -> Interval:
    """b of spread ∝ x^b over K groups of S runs with the same seeds, which are resampled in all
    groups at once. ``spreads``: a statistic of run weights each (``lib.measures.intervals``).
    Resamples in which the runs of a group do not differ do not count.
    """
    away = np.log2(np.asarray(x, float))
    away -= away.mean()

    def statistic(weights: np.ndarray) -> np.ndarray:
        values = np.stack([spread(weights) for spread in spreads])
        return away @ np.log2(np.where(values > 0, values, np.nan)) / (away @ away)

    return intervals.interval(statistic, n_runs, level=level)


def verdict(found: Interval) -> str:
    """``holds``, ``opposite`` (the interval is below 0, above 0), ``undecided`` or ``no data``."""
    if np.isnan(found.value):
        return "no data"
    return "holds" if found.high < 0 else "opposite" if found.low > 0 else "undecided"


def specifications(
    *,
    theory: str = "reference-theory",
    sizes: str = "reference-sizes",
    rates: str = "reference-ladder",
    methods: str = "reference-stabilizers",
    level: float = 0.95,
) -> pd.DataFrame:
    """A row a claim, setting, perturbation and specification, in these columns; ``value``, ``low``,
    ``high``, ``n`` (sets, examples, cases or seeds behind the interval) and ``verdict``.

    The arguments name results: of ``config/theory.yaml``, and of fine-tuned runs at several
    training sizes, at several rates, and with the three methods.
    """
    kinds = ("leave_one_out", "seeds", "geometry", "full_tuning", "full_constants")
    stored = {kind: tables.read_stored(theory, kind) for kind in kinds}
    parts = (_paths, _sets, _head_methods, _networks_without_examples)
    found = [row for part in parts for row in part(stored, level)]
    found += _networks_of_seeds(sizes, rates, methods, level)
    columns = [*CELL, "specification", "value", "low", "high", "n", "verdict"]
    return pd.DataFrame([(*r[:4], *r[4], verdict(r[4])) for r in found], columns=columns)


def cells(table: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """``specifications`` in short: a row a claim, setting and perturbation, also without data.

    ``value``, ``low``, ``high``, ``n`` are of the specification in the middle by value; ``holds``
    and ``opposite`` count verdicts of ``of`` specifications. ``verdict``: what more than half of
    them say while none says the reverse; ``mixed`` where some hold and some are opposite; else
    ``undecided``. ``detectable``: a change that an interval as wide as this one would tell from 0
    in four cases of five.
    """
    wider = 1 + stats.norm.ppf(0.8) / stats.norm.ppf((1 + level) / 2)
    rows = []
    for key in itertools.product(CLAIMS, SETTINGS, PERTURBATIONS):
        part = table[(table[list(CELL)] == list(key)).all(axis=1) & table["verdict"].ne("no data")]
        holds, opposite = (int(part["verdict"].eq(word).sum()) for word in ("holds", "opposite"))
        word = "undecided" if len(part) else "no data"
        if holds and opposite:
            word = "mixed"
        elif 2 * max(holds, opposite) > len(part):
            word = "holds" if holds else "opposite"
        row = dict(zip(CELL, key, strict=True)) | dict.fromkeys(("value", "low", "high"), np.nan)
        if len(part):
            middle = part.sort_values("value", kind="stable").iloc[(len(part) - 1) // 2]
            row |= middle[["value", "low", "high", "n"]].to_dict()
        counts = {"holds": holds, "opposite": opposite, "of": len(part), "verdict": word}
        rows.append(row | counts | {"detectable": (row["high"] - row["low"]) / 2 * wider})
    return pd.DataFrame(rows)


def sentence(table: pd.DataFrame, claim: str) -> str:
    """What the ``cells`` of a claim say."""
    part = table[(table["claim"] == claim) & (table["of"] > 0)]
    said = {}
    for row in part.itertuples():
        count = getattr(row, row.verdict, row.of - row.holds - row.opposite)
        counted = f"{row.holds} for, {row.opposite} against" if row.verdict == "mixed" else count
        where = f"{row.setting}, {row.perturbation} ({counted} of {row.of})"
        said.setdefault(row.verdict, []).append(where)
    told = "; ".join(f"{verdict}: {', '.join(where)}" for verdict, where in said.items())
    return f"{CLAIMS[claim][0].upper()}{CLAIMS[claim][1:]}: {told or 'no data'}"


def agreement(
    left_out: pd.DataFrame, seeds: pd.DataFrame, *, spread: str = "accuracy_sd", level: float = 0.95
) -> pd.DataFrame:
    """Which instability goes with the SD over seeds: a row a notion and a perturbation.

    ``left_out`` and ``seeds`` are tables of the same sets and conditions, one head a run. Within
    each set, conditions (steps and rates) are ranked by how far the perturbation moves the head,
    and by ``spread`` of its seeds; ``value``, ``low``, ``high``: the mean over ``n`` sets of
    Spearman's correlation. A set whose spread never changes has none.
    """
    keys, rows = ["job", "set", "steps", "share"], []
    other = seeds[[*keys, spread]].set_axis([*keys, "spread"], axis=1)
    for perturbation, part in {LEFT_OUT: left_out, SEED: seeds}.items():
        for notion in NOTIONS:
            column = MOVED[perturbation][notion]
            both = part[[*keys, column]].merge(other, on=keys)
            each = [
                stats.spearmanr(one[column], one["spread"]).statistic
                for _, one in both.groupby(["job", "set"])
                if one["spread"].nunique() > 1
            ]
            rows.append((notion, perturbation, *sweeps.mean(np.array(each), level=level)))
    return pd.DataFrame(rows, columns=["notion", "perturbation", "value", "low", "high", "n"])


def what_turns_the_sign(table: pd.DataFrame) -> str:
    """What ``agreement`` says: where another perturbation turns the sign of the correlation, and
    where another notion does. An interval that holds 0 has no sign.
    """
    sign = np.sign(table["value"]).where((table["low"] > 0) | (table["high"] < 0), 0)
    index = pd.MultiIndex.from_frame(table[["notion", "perturbation"]])
    square, parts = sign.set_axis(index).unstack(), []
    for name, rows in {"perturbation": square, "notion": square.T}.items():
        turned = [str(row) for row in rows.index if {-1, 1} <= set(rows.loc[row])]
        parts.append(f"the {name} turns the sign for {' and '.join(turned) or 'neither'}")
    return "; ".join(parts)


def _moved(stored: Stored) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Perturbation, notion, and the table of heads with what it ``moved``."""
    parts = {LEFT_OUT: stored["leave_one_out"], SEED: stored["seeds"].query("heads == 1")}
    for perturbation, part in parts.items():
        for notion, column in MOVED[perturbation].items():
            # On most simulated sets no prediction differs in the end.
            shown = part if notion in NOTIONS else part.dropna(subset="backbone")
            yield perturbation, notion, shown.assign(moved=shown[column])


def _paths(stored: Stored, level: float) -> Iterator[Row]:
    """Iterations and learning rate, within the same sets."""
    for perturbation, notion, table in _moved(stored):
        mean, plain = table["pooling"].eq("mean"), table["n"].eq(200) & table["scaling"].eq("unit")
        for setting, words, rows in (
            ("simulated head", "", table["job"].eq("paths")),
            ("real head", ", mean of tokens", mean),
            ("real head", ", mean of tokens, 200 rows of length 1", mean & plain),
            ("real head", ", first position", table["pooling"].eq("first")),
        ):
            if not rows.any():
                continue
            part = table[rows].set_index(["job", "set", "share", "steps"])
            wide = part["moved"].unstack(["share", "steps"])
            last = wide.columns.levels[1].max()
            for share, first in itertools.product((0.1, 0.5, 1.0), (10, 100)):
                pair, times = (wide[share, first], wide[share, last]), last / first
                told = f"{notion}{words}, {first} to {last} steps, rate {share:g}"
                found = changed(*pair, times=times, level=level)
                yield "iterations", setting, perturbation, told, found
            for steps in (100, 1000, last):
                found = changed(wide[1.0, steps], wide[0.1, steps], times=10, level=level)
                told = f"{notion}{words}, {steps} steps, largest rate to a tenth of it"
                yield "learning rate", setting, perturbation, told, found


def _sets(stored: Stored, level: float) -> Iterator[Row]:
    """Sample size and margin, between sets, at half of the largest rate."""
    for perturbation, notion, table in _moved(stored):
        table = table[table["share"].eq(0.5)].assign(reach=lambda t: t["margin"] / t["radius"])
        jobs, mean = table["job"].str, table["pooling"].eq("mean")
        separable, nested = mean & table["separable"], mean & jobs.contains("rotten-tomatoes")
        # Of two encoders, the width says which.
        designs = (
            ("sample size", "simulated head", "", jobs.fullmatch(r"n\d+"), "n", []),
            ("sample size", "real head", "", nested, "n", ["features"]),
            ("margin", "simulated head", ", one size", jobs.startswith("gap."), "reach", []),
            ("margin", "simulated head", ", n and d held", jobs.fullmatch("random-gap"), "reach",
             ["n", "features"]),
            ("margin", "real head", "", separable, "reach", []),
            ("margin", "real head", ", n held", separable, "reach", ["n"]),
        )  # fmt: skip
        for steps, design in itertools.product((100, 1000), designs):
            claim, setting, words, rows, x, held = design
            part = table[rows & table["steps"].eq(steps)]
            if len(part):
                controls = [np.log(part[name]) for name in held]
                found = exponent(part[x], part["moved"], *controls, level=level)
                yield claim, setting, perturbation, f"{notion}, {steps} steps{words}", found


def _head_methods(stored: Stored, level: float) -> Iterator[Row]:
    """Heads on the features of tuned models, and several heads instead of one."""
    for job, part in stored["geometry"].query("method != 'before' and separable").groupby("job"):
        told = f"direction in the limit, {job}"
        found = exponent(part["margin"] / part["radius"], part["rotation_mean"], level=level)
        yield "margin", "real head", LEFT_OUT, told, found
        wide = part.pivot(index="seed", columns="method", values="rotation_mean")
        for method in wide.columns.drop("standard"):
            found = changed(wide["standard"], wide[method], level=level)
            yield "MMR", "real head", LEFT_OUT, f"{told}, {method}", found
    seeds, keys = stored["seeds"].query("share == 0.5 and steps in (100, 1000)"), ["job", "set"]
    for setting, rows in {
        "simulated head": seeds["job"].eq("several-heads"), "real head": seeds["pooling"].eq("mean")
    }.items():  # fmt: skip
        several = seeds[rows & seeds["heads"].isin([4, 16])]
        for (steps, heads, reduction), part in several.groupby(["steps", "heads", "reduction"]):
            one = seeds[rows & seeds["heads"].eq(1) & seeds["steps"].eq(steps)].set_index(keys)
            many = part.set_index(keys).reindex(one.index)
            for notion, column in MOVED[SEED].items():
                if setting == "real head" or notion in NOTIONS:
                    told = f"{notion}, {heads} heads, {reduction} of losses, {steps} steps"
                    found = changed(one[column], many[column], level=level)
                    yield "MHLoss", setting, SEED, told, found


def _networks_without_examples(stored: Stored, level: float) -> Iterator[Row]:
    """A small network trained in full with and without an example, where the loss is convex."""
    case = ["job", "regularization", "start_factor", "rate_factor"]
    convex = stored["full_constants"].query("curvature > 0")[[*case, "distance"]]
    full = stored["full_tuning"].merge(convex, on=case).query("job != 'full.fitted'")
    ends, along = (full[full["theorem"].eq(name)] for name in ("T3", "T1"))
    wide = along.pivot(index=case, columns="steps", values="measured_mean").reset_index(case[1:])
    near = wide[wide["start_factor"].eq(0)]
    pulls = near.loc["full.strength"].pivot(index="regularization", columns="rate_factor")
    found: list[tuple[str, str, Interval]] = []
    for row in ends[ends["order"].notna() & ends["rate_factor"].eq(1)].itertuples():
        told = f"{row.job}, λ = {row.regularization:g}"
        order = sweeps.fisher_interval(-row.order, int(row.comparisons), level=level)
        found.append(("Lipschitz constant", told, order))
    usual = full["regularization"].eq(10) & full["rate_factor"].eq(1)
    sizes = full[usual & full["job"].isin(["full.n10", "full.strength", "full.n30"])]
    for steps, theorem in ((-1, "T3"), (1, "T1"), (10, "T1")):
        part = sizes[sizes["theorem"].eq(theorem) & sizes["steps"].eq(steps)]
        told = f"{steps} steps" if steps > 0 else "minimisers"
        size = exponent(part["n"], part["measured_mean"], level=level)
        found.append(("sample size", told, size))
    for steps in (1, 5, 20):
        part = along[along["job"].eq("full.distance") & along["steps"].eq(steps)]
        part = part[part["distance"] > 1e-3]  # one start is the minimiser itself
        gone = exponent(1 / part["distance"], part["measured_mean"], level=level)
        found.append(("distance", f"{steps} steps", gone))
    for steps in (2, 5, 20):  # after one, the distance is the rate times a gradient
        tamed = changed(pulls[steps][3.0], pulls[steps][1.0], times=3, level=level)
        found.append(("learning rate", f"{steps} steps, from three times the largest", tamed))
    inside = near[near["rate_factor"] <= 1]
    for first, last in ((1, 10), (1, 20), (5, 20)):
        longer = changed(inside[first], inside[last], times=last / first, level=level)
        found.append(("iterations", f"{first} to {last} steps", longer))
    for claim, told, effect in found:
        yield claim, "network", LEFT_OUT, f"parameters, {told}", effect


def _networks_of_seeds(sizes: str, rates: str, methods: str, level: float) -> Iterator[Row]:
    """Fine-tuned encoders that differ in their seeds."""

    def rows(claim: str, words: str, ladder: list[tuple[float, RunGroup]]) -> Iterator[Row]:
        groups = [group for _, group in ladder]
        statistics = {
            pooling: [g.statistics(pooling) for g in groups] for pooling in ("mean", "first")
        }
        for name, (pooling, measure) in SPREADS.items():
            spreads = [each[measure] for each in statistics[pooling]]
            found = spread_exponent([x for x, _ in ladder], spreads, len(groups[0]), level=level)
            yield claim, "network", SEED, f"{name}{words}", found

    ladder = _ladder(sizes, "train_rows")
    yield from rows("sample size", "", ladder)
    yield from rows("sample size", ", without the smallest size", ladder[1:])
    for backbone in ("bert-tiny", "minilm-l6"):
        ladder = [(1 / x, g) for x, g in _ladder(rates, "learning_rate", backbone=backbone)]
        sound = [rung for rung in ladder if not rung[1].failed.any()]
        yield from rows("learning rate", f", {backbone}", ladder)
        yield from rows("learning rate", f", {backbone}, rates without failed runs", sound)
    runs = _ladder(methods, "learning_rate")
    for rate in sorted({rate for rate, _ in runs}):
        groups = {str(group.setting["method"]): group for x, group in runs if x == rate}
        for method, group in groups.items():
            claim = {name.lower(): name for name in CLAIMS}.get(method.split("(")[0])
            base = "mhloss(heads=1)" if claim == "MHLoss" else "standard"
            if claim and method != base:
                pair = [(1.0, groups[base]), (2.0, group)]
                yield from rows(claim, f", {method}, rate {rate:g}", pair)


def _ladder(results: str, field: str, **fixed: object) -> list[tuple[float, RunGroup]]:
    """The groups of results by a field of their setting, rising; runs in the order of seeds."""
    groups = [
        (float(group.setting[field]), group.take(np.argsort(group.runs["seed"].to_numpy())))
        for group in run_group.read(results).values()
        if all(group.setting[name] == value for name, value in fixed.items())
    ]
    return sorted(groups, key=lambda pair: pair[0])
