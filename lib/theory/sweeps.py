"""Head tuning measured and bounded: tables with a row a data set and setting.

Every function takes stacked sets z (sets, n, d), z_i = y_i · features_i, and gives one tidy table;
``set`` numbers the sets. A bound is NaN where one of its assumptions does not hold. Columns named
like ``H16`` are the bounds of ``lib.theory.head``; ``share`` is the rate as a share of
``head.largest_rate``, 2/β.
One thread each: the engine runs several jobs side by side.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lib.theory import descent, head, quadratic
from lib.theory.assumptions import Inapplicable
from lib.theory.margin import MaxMargin, max_margin, max_margin_without, soft_margin
from lib.theory.tuning import Array


def bound_column(
    bound: Callable[..., Any], *, where: npt.ArrayLike = True, **columns: Any
) -> Array:
    """A bound for each row, NaN where it does not apply, or where ``where`` is false.

    Columns broadcast against each other; words (a normalization) are passed as they are.
    """
    words = {name: value for name, value in columns.items() if isinstance(value, str)}
    names = [name for name in columns if name not in words]
    values = [np.asarray(columns[name], float) for name in names]
    where, *rows = np.broadcast_arrays(np.asarray(where, bool), *values)
    values = np.full(where.shape, np.nan)
    for index in zip(*np.nonzero(where), strict=True):
        given = {name: row[index] for name, row in zip(names, rows, strict=True)}
        try:
            values[index] = bound(**given, **words)
        except Inapplicable:
            continue
    return values


def describe(z: Array, full: MaxMargin | None = None) -> pd.DataFrame:
    """A row a set: ``n``, ``radius`` B = max ‖z_i‖, ``separable``, ``margin`` γ (NaN without).

    ``full`` : ``max_margin(z)``, where it is known.
    """
    margin = (full or max_margin(z)).margin
    return pd.DataFrame(
        {
            "set": np.arange(len(z)),
            "n": z.shape[1],
            "radius": np.linalg.norm(z, axis=-1).max(-1),
            "separable": np.isfinite(margin),
            "margin": margin,
        }
    )


def margins(z: Array, labels: Array | None = None) -> pd.DataFrame:
    """The limit of infinitely many steps: ``describe``, and what leaving out each example does.

    Adds ``support`` (support vectors), ``displacement_mean`` and ``_max`` (‖ŵ_S − ŵ_{S^i}‖ over i),
    ``rotation_mean`` and ``_max`` (of the directions), the bounds H1, H5, H6, H8, H9 and H9′ on
    the means, and, with labels (sets, n) of −1 and 1, ``centre_distance`` = ‖c₊ − c₋‖, at least 2γ.
    """
    full = max_margin(z)
    table = describe(z, full)
    left = max_margin_without(z, full)
    table["support"] = np.where(table["separable"], (full.dual > 0).sum(-1), np.nan)
    heads = np.concatenate([full.weights[:, None], left.weights], 1)
    for name, values in zip(("displacement", "rotation"), descent.difference(heads), strict=True):
        table[f"{name}_mean"], table[f"{name}_max"] = values.mean(-1), values.max(-1)
    sets = {name: table[name] for name in ("n", "radius", "margin")}
    table["H1"] = bound_column(head.rotation_of_support, n=table["n"], support=table["support"])
    for name, bound in {
        "H5": head.mean_displacement_of_slack,
        "H6": head.mean_rotation_of_slack,
        "H8": head.mean_displacement,
        "H9": head.mean_rotation,
        "H9′": head.mean_rotation_attained,
    }.items():
        table[name] = bound_column(bound, **sets)
    if labels is not None:
        table["centre_distance"] = np.linalg.norm(
            _centre(z, labels, 1) - _centre(z, labels, -1), axis=-1
        )
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


def _centre(z: Array, labels: Array, label: int) -> Array:
    """(sets, d) mean feature of a class; features_i = y_i z_i."""
    member = labels == label
    return np.einsum("sn,snd->sd", member, z * labels[..., None]) / member.sum(-1, keepdims=True)


def leave_one_out(
    z: Array,
    *,
    loss: str,
    normalization: str,
    shares: Sequence[float],
    steps: Sequence[int],
) -> pd.DataFrame:
    """Gradient descent from 0 on each set and without each example: a row a set, rate and steps.

    ``parameter_mean``, ``parameter_max`` (of ‖w_t(S) − w_t(S^i)‖ over i), ``direction_mean``,
    ``direction_max`` (of the directions), ``norm`` = ‖w_t(S)‖, ``accumulated`` = A_t; and the
    bounds on the means H15, H15b, H16 and T1c (which holds for the maximum too).
    """
    sets = describe(z)
    rates = rates_of(sets, shares, loss)
    weights, accumulated = descent.head_descent(
        z, rates, steps, loss=loss, normalization=normalization, workers=1
    )
    table = grid(sets, rates, shares, steps)
    table.insert(1, "loss", loss)
    table.insert(2, "normalization", normalization)
    for name, apart in descent.difference(weights)._asdict().items():
        table[f"{name}_mean"], table[f"{name}_max"] = apart.mean(-1).ravel(), apart.max(-1).ravel()
    table["norm"] = np.linalg.norm(weights[..., 0, :], axis=-1).ravel()
    table["accumulated"] = accumulated[..., 0].ravel()
    return _with_descent_bounds(table, loss, normalization)


def rates_of(sets: pd.DataFrame, shares: Sequence[float], loss: str) -> Array:
    """(sets, rates) η = share · 2/β."""
    if not len(shares) or min(shares) <= 0:
        raise ValueError(f"shares = {list(shares)}: give positive shares of 2/β")
    return np.outer(head.largest_rate(radius=sets["radius"], loss=loss), shares)


def grid(
    sets: pd.DataFrame, rates: Array, shares: Sequence[float], steps: Sequence[int]
) -> pd.DataFrame:
    """A row a number of steps, set and rate, in the order of arrays (steps, sets, rates)."""
    t, s, r = (a.ravel() for a in np.indices((len(steps), len(sets), len(shares))))
    table = sets.iloc[s].reset_index(drop=True)
    table["share"] = np.asarray(shares, float)[r]
    table["rate"] = rates[s, r]
    table["steps"] = np.asarray(steps)[t]
    return table


def _with_descent_bounds(table: pd.DataFrame, loss: str, normalization: str) -> pd.DataFrame:
    stable = table["share"] <= 1 + 1e-12
    logistic = stable & (loss == "logistic")
    given = {"normalization": normalization}
    for name, bound, where, columns, words in (
        ("H15", head.mean_parameter_difference, stable, ["accumulated"], given),
        ("H15b", head.logistic_parameter_difference, logistic & (normalization == "N1"),
         ["margin", "rate", "steps"], {}),
        ("H16", head.mean_direction_difference, stable, ["margin"], given),
    ):  # fmt: skip
        values = {column: table[column] for column in ("n", "radius", *columns)}
        table[name] = bound_column(bound, where=where, **values, **words)
    # The logistic loss moves by at most B when w moves by 1.
    table["T1c"] = bound_column(
        quadratic.convex,
        where=logistic,
        lipschitz=table["radius"],
        smoothness=2 / head.largest_rate(radius=table["radius"], loss=loss),
        **{column: table[column] for column in ("n", "rate", "steps")},
        **given,
    )
    return table


def soft_margins(z: Array, relative: Sequence[float]) -> pd.DataFrame:
    """The regularised head (hinge, N1) with and without each example: a row a set and λ.

    λ = ``regularization`` is ``relative`` · B²: in other units of the features it is the same
    problem, with the same directions.

    ``parameter_mean``, ``parameter_max``, ``direction_mean``, ``direction_max`` over i, ``norm`` =
    ‖w_S‖, ``gap`` (the largest duality gap), and the bounds S0 (on the norm), S1, S2, S3 (on the
    maximum). S2 alone applies to sets that are not separable.
    """
    sets = describe(z)
    importance = descent.shares(z.shape[1], "N1")
    parts = []
    for value in relative:
        table = sets.assign(relative=float(value), regularization=value * sets["radius"] ** 2)
        strengths = table["regularization"].to_numpy()[:, None]
        soft = soft_margin(z[:, None], strengths, importance)
        for name, apart in descent.difference(soft.weights)._asdict().items():
            table[f"{name}_mean"], table[f"{name}_max"] = apart.mean(-1), apart.max(-1)
        table["norm"] = np.linalg.norm(soft.weights[:, 0], axis=-1)
        table["gap"] = soft.gap.max(-1)
        parts.append(table)
    table = pd.concat(parts, ignore_index=True)
    columns = {name: table[name] for name in ("n", "radius", "regularization")}
    table["S0"] = bound_column(head.soft_norm, margin=table["margin"])
    table["S2"] = bound_column(head.soft_by_radius, **columns)
    for name, bound in {"S1": head.soft_by_slack, "S3": head.soft_by_root}.items():
        table[name] = bound_column(bound, margin=table["margin"], **columns)
    return table
