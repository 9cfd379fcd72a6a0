"""Head tuning from random starts: how far seeds are apart, what several heads change, and what
removing a tenth of the rows does beside it.

Sets, tables and bounds as in ``lib.theory.sweeps``. Starts are N(0, σ²I), σ = ``spread``, drawn
from ``rng``. Held-out rows (sets, m, d) are signed like z: a head is right where w·z > 0.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lib.theory import descent, head, sweeps
from lib.theory.margin import max_margin
from lib.theory.tuning import Array, descend, pair_distances, unit_vectors


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
    Columns: ``variance`` (tr Cov of the averaged head over runs), ``parameter`` and ``direction``
    (mean over pairs of runs), ``start`` (the same of the starts), ``deviation`` (mean distance of a
    run's direction from that of the mean of all runs), ``error`` (from the maximum-margin one),
    ``accuracy_mean``, ``accuracy_sd``, ``disagreement``; with ``fresh``, ``fresh_direction``: mean
    over i of the difference between the directions of a run on S and one on S^i (N1) whose start is
    another. Bounds, of the logistic loss (from a random start the exponential one has no limit to
    its curvature): H17 (on ``parameter``), H18 (on ``direction``; of one head), H18′ (the same, of
    observed norms), H19 (on ``variance``).
    """
    if unknown := set(reductions) - {"sum", "mean"}:
        raise ValueError(f"reductions: {', '.join(unknown)}; give some of sum, mean")
    tables = [
        _several(z, held_out, rng, loss, shares, steps, runs, spread, count, reduction, fresh)
        for count in heads
        for reduction in reductions
        if count > 1 or reduction == reductions[0]
    ]
    return pd.concat(tables, ignore_index=True)


def _several(
    z: Array, held_out: Array, rng: np.random.Generator, loss: str, shares: Sequence[float],
    steps: Sequence[int], runs: int, spread: float, heads: int, reduction: str, fresh: bool,
) -> pd.DataFrame:  # fmt: skip
    sets, n, d = z.shape
    scaled = np.asarray(shares, float) / (heads if reduction == "mean" else 1)
    full = max_margin(z)
    described = sweeps.describe(z, full)
    rates = sweeps.rates_of(described, scaled, loss)
    importance = np.full((runs * heads, n), 1 / n)
    if fresh:
        left_out = descent.shares(n, "N1")[1:]
        importance = np.concatenate([importance, np.repeat(left_out, heads, 0)])
    count = len(importance)
    starts = rng.normal(scale=spread, size=(sets, count, d))
    trained = _trained(z, starts, rates, importance, steps, loss)
    weights = trained.reshape(*trained.shape[:3], count // heads, heads, d).mean(-2)
    whole, left = weights[..., :runs, :], weights[..., runs:, :]
    table = sweeps.grid(described, rates, shares, steps)
    table.insert(1, "loss", loss)
    table["heads"], table["reduction"], table["spread"] = heads, reduction, spread
    table["runs"] = runs
    for name, values in _spreads(whole, held_out).items():
        table[name] = values.reshape(-1)
    away = unit_vectors(whole) - unit_vectors(full.weights)[:, None, None]
    table["error"] = np.linalg.norm(away, axis=-1).mean(-1).reshape(-1)
    if fresh:
        turned = unit_vectors(left) - unit_vectors(whole)[..., np.arange(n) % runs, :]
        table["fresh_direction"] = np.linalg.norm(turned, axis=-1).mean(-1).reshape(-1)
    own = starts[:, : runs * heads].reshape(sets, runs, heads, d)
    norms = np.linalg.norm(whole, axis=-1)
    return _with_seed_bounds(table, own, norms, loss)


def _trained(
    z: Array, starts: Array, rates: Array, importance: Array, steps: Sequence[int], loss: str
) -> Array:
    """(steps, sets, rates, runs, d) weights from starts (sets, runs, d) at each of rates (sets,
    rates); ``importance`` (runs, n).
    """
    count, n_rates = len(importance), rates.shape[1]
    trained = descend(
        z,
        np.tile(starts, (1, n_rates, 1)),
        np.repeat(rates, count, 1),
        np.tile(importance, (n_rates, 1)),
        steps=steps,
        loss=loss,
        workers=1,
    ).weights
    return trained.reshape(len(steps), len(z), n_rates, count, -1)


def _spreads(weights: Array, held_out: Array) -> dict[str, Array]:
    """How far runs (..., sets, rates, runs, d) are apart, by name, each (..., sets, rates)."""
    turned = unit_vectors(weights)
    right = np.einsum("...srkd,smd->...srkm", weights, held_out) > 0
    accuracy = right.mean(-1)
    # Two runs disagree where one is right and the other is not: shares p of right runs, exactly.
    share, runs = right.mean(-2), right.shape[-2]
    disagreement = (2 * share * (1 - share)).mean(-1) * runs / (runs - 1)
    middle = unit_vectors(weights.mean(-2, keepdims=True))
    return {
        "variance": weights.var(-2, ddof=1).sum(-1),
        "parameter": pair_distances(weights).mean(-1),
        "direction": pair_distances(turned).mean(-1),
        "deviation": np.linalg.norm(turned - middle, axis=-1).mean(-1),
        "accuracy_mean": accuracy.mean(-1),
        "accuracy_sd": accuracy.std(-1, ddof=1),
        "disagreement": disagreement,
    }


def _with_seed_bounds(table: pd.DataFrame, starts: Array, norms: Array, loss: str) -> pd.DataFrame:
    """Starts (sets, runs, heads, d), norms of the averaged heads (steps, sets, rates, runs)."""
    heads, d = starts.shape[2:]

    def rows(values: Array) -> Array:
        wide = np.broadcast_to(values[None, :, None], (*norms.shape[:3], *values.shape[1:]))
        return wide.reshape(len(table), *values.shape[1:])

    stable = ((table["share"] <= 1 + 1e-12) & (loss == "logistic")).to_numpy()
    # Of averaged heads, the triangle inequality gives the mean over the heads' own starts.
    apart = pair_distances(starts.swapaxes(1, 2)).mean(1)
    table["start"] = rows(pair_distances(starts.mean(2)).mean(-1))
    table["H17"] = np.where(stable, head.seed_distance(start_distance=rows(apart.mean(-1))), np.nan)
    a, b = np.triu_indices(starts.shape[1], 1)
    applies = (table["separable"] & (table["share"] <= 0.5 + 1e-12)).to_numpy() & stable
    table["H18"] = np.nan
    if heads == 1:
        begun = rows(np.linalg.norm(starts[:, :, 0], axis=-1))[applies]
        names = ("radius", "margin", "rate", "steps")
        table.loc[applies, "H18"] = head.seed_direction(
            **{name: table.loc[applies, name].to_numpy()[:, None] for name in names},
            start_norms=(begun[:, a], begun[:, b]),
            start_distance=rows(apart)[applies],
        ).mean(-1)
    ended = norms.reshape(len(table), -1)
    observed = head.seed_direction_of_norms(
        norms=(ended[:, a], ended[:, b]), start_distance=rows(apart)
    )
    table["H18′"] = np.where(stable, observed.mean(-1), np.nan)
    variance = head.averaged_variance(variance=d * table["spread"] ** 2, heads=table["heads"])
    table["H19"] = np.where(stable, variance, np.nan)
    return table


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
    order = rng.permuted(np.tile(np.arange(n), (runs, 1)), axis=1)
    without = (order < kept) / kept
    own = rng.normal(scale=spread, size=(sets, runs, d))
    shared = np.broadcast_to(own[:, :1], own.shape)
    parts = {
        "rows": (without, shared),
        "seeds": (np.full((runs, n), 1 / n), own),
        "both": (without, own),
    }
    described = sweeps.describe(z)
    rates = sweeps.rates_of(described, shares, loss)
    tables = []
    for source, (importance, starts) in parts.items():
        table = sweeps.grid(described, rates, shares, steps)
        table["source"], table["runs"], table["removed"] = source, runs, removed
        weights = _trained(z, starts, rates, importance, steps, loss)
        for name, values in _spreads(weights, held_out).items():
            table[name] = values.reshape(-1)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)
