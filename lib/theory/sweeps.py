"""Heads measured beside their bounds: tables with a row a set and setting, and those in short.

Tables are of stacked sets z (sets, n, d), z_i = y_i · features_i; ``set`` numbers the sets.
docs/data-card.md says what each column holds. A bound is NaN where one of its assumptions does not
hold. ``share`` is the rate as a share of ``head.largest_rate``, 2/β. Starts are N(0, σ²I), σ =
``spread``, drawn from ``rng``. Held-out rows (sets, m, d) are signed like z: a head is right where
w·z > 0. In short, data sets count, never rows: the rows of one set are not independent.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from lib.measures import intervals
from lib.measures.intervals import Interval
from lib.theory import descent, head, quadratic
from lib.theory.assumptions import Inapplicable
from lib.theory.descent import Array, unit_vectors
from lib.theory.margin import MaxMargin, max_margin, max_margin_without, soft_margin

#: Which column each bound is an upper bound of, by table. H19 bounds an expectation over starts,
#: which a variance of a few runs only estimates: it is not among those that a row could violate.
BOUNDED = {
    "margins": {
        **dict.fromkeys(("H1", "H9", "H9′"), "rotation_mean"),
        "H8": "displacement_mean",
    },
    "leave_one_out": {
        **dict.fromkeys(("H15", "H15b"), "parameter_mean"),
        **{"H16": "direction_mean", "T1c": "parameter_max"},
    },
    "soft_margin": {"S0": "norm", **dict.fromkeys(("S1", "S2"), "parameter_max")},
    "seeds": {"H17": "parameter", "H18": "direction", "H18′": "direction"},
}
#: Rounding: two equal heads differ by this share of what is compared.
_ROUNDING = 1e-9


def bound_column(bound: Callable[..., Any], **columns: npt.ArrayLike) -> Array:
    """A bound for each row of columns that broadcast, NaN where it does not apply."""

    def of_row(*row: Any) -> float:
        try:
            return bound(**dict(zip(columns, row, strict=True)))
        except Inapplicable:
            return np.nan

    return np.vectorize(of_row, otypes=[float])(*columns.values())


def _describe(z: Array, full: MaxMargin | None = None) -> pd.DataFrame:
    """A row a set: ``n``, ``radius`` B = max ‖z_i‖, ``separable``, ``margin`` γ (NaN without).

    ``full`` : ``max_margin(z)``, where it is known.
    """
    margin = (full or max_margin(z)).margin
    table = pd.DataFrame({"set": np.arange(len(z)), "n": z.shape[1]})
    radius = np.linalg.norm(z, axis=-1).max(-1)
    return table.assign(radius=radius, separable=np.isfinite(margin), margin=margin)


def _moved(heads: Array, names: Sequence[str] = descent.Difference._fields) -> dict[str, Array]:
    """Mean and largest of how far leaving out an example moves heads (..., n + 1, d), a row each:
    ``parameter_mean``, ``parameter_max``, ``direction_mean``, ``direction_max``, or other names.
    """
    columns: dict[str, Array] = {}
    for name, values in zip(names, descent.difference(heads), strict=True):
        columns[f"{name}_mean"] = values.mean(-1).ravel()
        columns[f"{name}_max"] = values.max(-1).ravel()
    return columns


def margins(z: Array, labels: Array | None = None) -> pd.DataFrame:
    """The limit of infinitely many steps: what leaving out each example does to the maximum-margin
    head (``displacement``) and to its direction (``rotation``), a row a set.

    With labels (sets, n) of −1 and 1 also ``centre_distance`` = ‖c₊ − c₋‖, which is at least 2γ.
    """
    full = max_margin(z)
    heads = np.concatenate([full.weights[:, None], max_margin_without(z, full).weights], 1)
    table = _describe(z, full)
    table["support"] = np.where(table["separable"], (full.dual > 0).sum(-1), np.nan)
    table = table.assign(**_moved(heads, ("displacement", "rotation")))
    table["H1"] = bound_column(head.rotation_of_support, **table[["n", "support"]])
    for name, bound in {
        "H8": head.mean_displacement,
        "H9": head.mean_rotation,
        "H9′": head.mean_rotation_attained,
    }.items():
        table[name] = bound_column(bound, **table[["n", "radius", "margin"]])
    if labels is not None:
        # The features are y_i z_i: in c₊ − c₋, every z_i counts as one of its class.
        sizes = np.where(labels > 0, *((labels == y).sum(-1, keepdims=True) for y in (1, -1)))
        table["centre_distance"] = np.linalg.norm((z / sizes[..., None]).sum(1), axis=-1)
    return table


def margins_of_features(features: Array, labels: Array) -> pd.DataFrame:
    """``margins`` of the features (S, n, D) of S models, a row a model.

    ``labels`` (n,) are 0 and 1. A constant 1, the head's bias, is appended; nothing is rescaled,
    because the scale of the features is part of what the methods change.
    """
    signs = np.where(labels == 1, 1.0, -1.0)
    bias = np.ones((*features.shape[:2], 1))
    z = np.concatenate([features, bias], -1) * signs[:, None]
    return margins(z, np.tile(signs, (len(z), 1)))


def _grid(
    sets: pd.DataFrame, shares: Sequence[float], steps: Sequence[int], loss: str, parts: int = 1
) -> tuple[Array, pd.DataFrame]:
    """Rates (sets, rates), η = share · 2/β / ``parts``; a row a number of steps, set and rate, in
    the order of arrays (steps, sets, rates).
    """
    if not len(shares) or min(shares) <= 0:
        raise ValueError(f"shares = {list(shares)}: give positive shares of 2/β")
    of_each = np.asarray(shares, float)
    rates = np.outer(head.largest_rate(radius=sets["radius"], loss=loss), of_each / parts)
    t, s, r = (a.ravel() for a in np.indices((len(steps), len(sets), len(shares))))
    table = sets.iloc[s].reset_index(drop=True)
    table.insert(1, "loss", loss)
    return rates, table.assign(share=of_each[r], rate=rates[s, r], steps=np.asarray(steps)[t])


def leave_one_out(
    z: Array, *, loss: str, normalization: str, shares: Sequence[float], steps: Sequence[int]
) -> pd.DataFrame:
    """Gradient descent from 0 on each set and without each example: a row a set, rate and steps.

    ``parameter_mean`` and so on over i, as bounded by H15, H15b, H16 and T1c (the largest of them);
    ``norm`` = ‖w_t(S)‖, ``accumulated`` = A_t.
    """
    rates, table = _grid(_describe(z), shares, steps, loss)
    table.insert(2, "normalization", normalization)
    of_runs = descent.shares(z.shape[1], normalization)
    heads, left = descent.head_descent(z, rates, steps, weights=of_runs, loss=loss)
    norm = np.linalg.norm(heads[..., 0, :], axis=-1).ravel()
    table = table.assign(**_moved(heads), norm=norm, accumulated=left[..., 0].ravel())
    # At larger rates no bound applies. The logistic loss moves by at most B when w moves by 1, and
    # is curved by at most B²/4.
    radius, given = table["radius"], {"normalization": normalization}
    known = table.assign(lipschitz=radius, smoothness=radius**2 / 4)
    known = known.where(table["share"] <= 1 + 1e-12)
    for name, bound, columns, words in (
        ("H15", head.mean_parameter_difference, "n radius accumulated", given),
        ("H15b", head.logistic_parameter_difference, "n radius margin rate steps", {}),
        ("H16", head.mean_direction_difference, "n radius margin", given),
        ("T1c", quadratic.convex, "n lipschitz smoothness rate steps", given),
    ):
        table[name] = bound_column(bound, **known[columns.split()], **words)
    if normalization != "N1":
        table["H15b"] = np.nan
    if loss != "logistic":
        table[["H15b", "T1c"]] = np.nan
    return table


def soft_margins(z: Array, relative: Sequence[float]) -> pd.DataFrame:
    """The regularised head (hinge, N1) with and without each example: a row a set and λ.

    λ = ``regularization`` is ``relative`` · B²: in other units of the features it is the same
    problem, with the same directions. ``gap`` is the largest duality gap of the solver.
    """
    sets, parts = _describe(z), []
    for value in relative:
        table = sets.assign(relative=float(value), regularization=value * sets["radius"] ** 2)
        strengths = table["regularization"].to_numpy()[:, None]
        soft = soft_margin(z[:, None], strengths, descent.shares(z.shape[1], "N1"))
        norm = np.linalg.norm(soft.weights[:, 0], axis=-1)
        parts.append(table.assign(**_moved(soft.weights), norm=norm, gap=soft.gap.max(-1)))
    table = pd.concat(parts, ignore_index=True)
    table["S0"] = bound_column(head.soft_norm, margin=table["margin"])
    of_set = table[["n", "radius", "regularization"]]
    table["S2"] = bound_column(head.soft_by_radius, **of_set)
    table["S1"] = bound_column(head.soft_by_slack, margin=table["margin"], **of_set)
    return table


def seeds(
    z: Array,
    held_out: Array,
    *,
    rng: np.random.Generator,
    loss: str,
    shares: Sequence[float],
    steps: Sequence[int],
    runs: int,
    spread: float,
    heads: Sequence[int] = (1,),
    reductions: Sequence[str] = ("sum",),
    fresh: bool = False,
) -> pd.DataFrame:
    """K = ``runs`` runs of H averaged heads on each set: a row a set, rate, steps, H and reduction.

    ``reduction``: the loss is the sum over heads (every head has the rate η), or the mean (η / H).
    ``fresh``: also the difference between the directions of a run on S and one on S^i (N1) whose
    start is another, as a mean over i. Bounds are of the logistic loss: from a random start the
    exponential one has no limit to its curvature.
    """
    if unknown := set(reductions) - {"sum", "mean"}:
        raise ValueError(f"reductions: {', '.join(unknown)}; give some of sum, mean")
    (sets, n, d), full, tables = z.shape, max_margin(z), []
    of_runs = np.full((runs, n), 1 / n)
    if fresh:
        of_runs = np.concatenate([of_runs, descent.shares(n, "N1")[1:]])
    for count, reduction in itertools.product(heads, reductions):
        if count == 1 and reduction != reductions[0]:
            continue  # of one head, sum and mean are the same
        parts = count if reduction == "mean" else 1
        rates, table = _grid(_describe(z, full), shares, steps, loss, parts)
        starts = rng.normal(scale=spread, size=(sets, len(of_runs) * count, d))
        how = {"weights": np.repeat(of_runs, count, 0), "starts": starts[:, None], "loss": loss}
        each = descent.head_descent(z, rates, steps, **how).weights
        averaged = each.reshape(*each.shape[:3], -1, count, d).mean(-2)
        whole, left = averaged[..., :runs, :], averaged[..., runs:, :]
        away = unit_vectors(whole) - unit_vectors(full.weights)[:, None, None]
        table = table.assign(heads=count, reduction=reduction, spread=spread, runs=runs)
        error = np.linalg.norm(away, axis=-1).mean(-1).ravel()
        table = table.assign(**_spreads(whole, held_out), error=error)
        if fresh:
            turned = unit_vectors(left) - unit_vectors(whole)[..., np.arange(n) % runs, :]
            table["fresh_direction"] = np.linalg.norm(turned, axis=-1).mean(-1).ravel()
        own = starts[:, : runs * count].reshape(sets, runs, count, d)
        norms = np.linalg.norm(whole, axis=-1).reshape(-1, runs)
        tables.append(table.assign(**_seed_bounds(table, own, norms)))
    return pd.concat(tables, ignore_index=True)


def _pair_distances(points: Array) -> Array:
    """(..., K (K − 1) / 2) Euclidean distances between all pairs of points (..., K, d)."""
    a, b = np.triu_indices(points.shape[-2], 1)
    return np.linalg.norm(points[..., a, :] - points[..., b, :], axis=-1)


def _spreads(weights: Array, held_out: Array) -> dict[str, Array]:
    """How far runs (steps, sets, rates, runs, d) are apart, by name, a row each."""
    turned, runs = unit_vectors(weights), weights.shape[-2]
    right = np.einsum("...srkd,smd->...srkm", weights, held_out) > 0
    accuracy = right.mean(-1)
    # Two runs disagree where one is right and the other is not: shares p of right runs, exactly.
    share = right.mean(-2)
    middle = unit_vectors(weights.mean(-2, keepdims=True))
    spreads = {
        "variance": weights.var(-2, ddof=1).sum(-1),
        "parameter": _pair_distances(weights).mean(-1),
        "direction": _pair_distances(turned).mean(-1),
        "deviation": np.linalg.norm(turned - middle, axis=-1).mean(-1),
        "accuracy_mean": accuracy.mean(-1),
        "accuracy_sd": accuracy.std(-1, ddof=1),
        "disagreement": (2 * share * (1 - share)).mean(-1) * runs / (runs - 1),
    }
    return {name: values.ravel() for name, values in spreads.items()}


def _seed_bounds(table: pd.DataFrame, starts: Array, norms: Array) -> dict[str, Array]:
    """``start`` and bounds; starts (sets, runs, heads, d), norms of averaged heads (rows, runs)."""
    heads, d = starts.shape[2:]
    # Of averaged heads, the triangle inequality gives the mean over the heads' own starts.
    apart = _pair_distances(starts.swapaxes(1, 2)).mean(1)[table["set"]]
    stable = ((table["share"] <= 1 + 1e-12) & (table["loss"] == "logistic")).to_numpy()
    gentle = (table["separable"] & (table["share"] <= 0.5 + 1e-12)).to_numpy() & stable
    a, b = np.triu_indices(starts.shape[1], 1)
    before = np.full(len(table), np.nan)
    if heads == 1:
        begun = np.linalg.norm(starts[:, :, 0], axis=-1)[table["set"]][gentle]
        known = table.loc[gentle, ["radius", "margin", "rate", "steps"]]
        before[gentle] = head.seed_direction(
            **{name: column.to_numpy()[:, None] for name, column in known.items()},
            start_norms=(begun[:, a], begun[:, b]),
            start_distance=apart[gentle],
        ).mean(-1)
    observed = head.seed_direction_of_norms(norms=(norms[:, a], norms[:, b]), start_distance=apart)
    variance = head.averaged_variance(variance=d * table["spread"] ** 2, heads=heads)
    return {
        "start": _pair_distances(starts.mean(2)).mean(-1)[table["set"]],
        "H17": np.where(stable, head.seed_distance(start_distance=apart.mean(-1)), np.nan),
        "H18": before,
        "H18′": np.where(stable, observed.mean(-1), np.nan),
        "H19": np.where(stable, variance, np.nan),
    }


def removal(
    z: Array,
    held_out: Array,
    *,
    rng: np.random.Generator,
    loss: str,
    shares: Sequence[float],
    steps: Sequence[int],
    runs: int,
    removed: float,
    spread: float,
) -> pd.DataFrame:
    """Random rows removed, random starts, or both: a row a set, rate, steps and ``source``.

    ``rows``: K = ``runs`` training sets, each without a share ``removed`` of the rows at random,
    all from one random start; ``seeds``: K starts on the whole set; ``both``: each of the K sets
    has a start of its own. Columns as in ``seeds``, without bounds.
    """
    sets, n, d = z.shape
    kept = n - round(removed * n)
    if not 0 < kept < n:
        raise ValueError(f"removed = {removed} leaves {kept} of {n} rows")
    without = (rng.permuted(np.tile(np.arange(n), (runs, 1)), axis=1) < kept) / kept
    own = rng.normal(scale=spread, size=(sets, 1, runs, d))
    rates, grid = _grid(_describe(z), shares, steps, loss)
    tables = []
    for source, weights, starts in (
        ("rows", without, own[:, :, :1]),
        ("seeds", np.full((runs, n), 1 / n), own),
        ("both", without, own),
    ):
        how = {"weights": weights, "starts": starts, "loss": loss}
        spreads = _spreads(descent.head_descent(z, rates, steps, **how).weights, held_out)
        tables.append(grid.assign(source=source, runs=runs, removed=removed, **spreads))
    return pd.concat(tables, ignore_index=True).drop(columns="loss")


# --- In short -------------------------------------------------------------------------------------


def means(table: pd.DataFrame, by: Sequence[str], columns: Iterable[str]) -> pd.DataFrame:
    """A row a combination of ``by`` and a column: mean over data sets, interval, number of sets.

    Every set counts once: where a combination has several rows of a set, their mean does. Sets
    whose value is NaN do not count.
    """
    rows = []
    for key, part in table.groupby(list(by), sort=True):
        for column in columns:
            each = part.groupby(["job", "set"])[column].mean().dropna().to_numpy()
            told = dict(zip(by, key, strict=True)) | {"quantity": column}
            rows.append(told | mean(each)._asdict())
    return pd.DataFrame(rows).rename(columns={"n_runs": "sets"})


def mean(values: np.ndarray) -> Interval:
    """Mean over data sets with an interval from resampling sets; NaN where there are too few."""
    if not len(values):
        return Interval(*(float("nan"),) * 3, 0)
    return intervals.mean_interval(values)


def exponent(x: npt.ArrayLike, y: npt.ArrayLike, *controls: npt.ArrayLike) -> Interval:
    """b of y ∝ x^b: the slope of log y on log x, beside ``controls`` as they are, by least squares,
    with Student's interval at 95 %. All (K,), x and y positive; ``ValueError`` unless there are
    more points than coefficients.
    """
    design = np.column_stack([np.log(x), np.ones(len(x)), *controls])
    if (free := len(design) - design.shape[1]) < 1:
        raise ValueError(f"{len(design)} points for {design.shape[1]} coefficients")
    inverse, logs = np.linalg.pinv(design), np.log(y)
    fit = inverse @ logs
    error = np.sqrt(((logs - design @ fit) ** 2).sum() / free) * np.linalg.norm(inverse[0])
    reach = stats.t.ppf(0.975, free) * error
    return Interval(float(fit[0]), float(fit[0] - reach), float(fit[0] + reach), len(design))


def tightness(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Bounds against what they bound, a row a bound of ``kind``, a key of ``BOUNDED``: ``compared``
    rows in which it applies, of ``rows``; ``sets``; ``violated`` (by more than rounding);
    ``vacuous``: true of anything; ``largest`` and ``median`` of measured / bound.
    """
    rows = []
    for bound, column in BOUNDED[kind].items():
        part = table[table[bound].notna()]
        ratio = part[column] / part[bound]
        # Two unit vectors are never farther apart than 2.
        farthest = 2.0 if column.startswith(("direction", "rotation")) else np.inf
        rows.append(
            {
                "bound": bound,
                "measured": column,
                "rows": len(table),
                "compared": len(part),
                "sets": len(part[["job", "set"]].drop_duplicates()),
                "violated": (ratio > 1 + _ROUNDING).sum(),
                "vacuous": (part[bound] >= farthest).sum(),
                "largest": ratio.max(),
                "median": ratio.median(),
            }
        )
    return pd.DataFrame(rows)


def rank_correlation(a: npt.ArrayLike, b: npt.ArrayLike) -> Interval:
    """Spearman's ρ over K ≥ 4 points with Fisher's interval at 95 %, of variance 1.06/(K − 3)
    (Fieller, Hartley & Pearson 1957), which takes the points as independent.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 4 or not np.isfinite([a, b]).all():
        raise ValueError(f"shapes {a.shape}, {b.shape}; expected (K,) twice, finite, 4 or more")
    return fisher_interval(float(stats.spearmanr(a, b).statistic), len(a))


def fisher_interval(rho: float, n: int) -> Interval:
    """The interval of ``rank_correlation``, of a ρ that is known."""
    reach = stats.norm.ppf(0.975) * np.sqrt(1.06 / (n - 3))
    with np.errstate(divide="ignore"):
        low, high = np.tanh(np.arctanh(rho) + np.array([-reach, reach]))
    return Interval(float(rho), float(low), float(high), n)
