"""Figures of stability bounds, in the style of ``lib.plots``."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from lib.plots import INK, PALE, STATUS, style
from lib.plots.style import CYCLE, PALETTE

#: Bound → (colour, line, marker), the same in all figures.
BOUND_LOOKS = {
    "T1": (PALETTE[1], "--", "s"),
    "T1c": (PALETTE[5], ":", "v"),
    "T2": (PALETTE[2], "-.", "^"),
    "T4": (PALETTE[4], (0, (5, 1, 1, 1, 1, 1)), "D"),
    "T5": (PALETTE[3], "--", "P"),
    "H13": (PALETTE[3], ":", "v"),
    "H15": (PALETTE[1], "--", "s"),
    "H15b": (PALETTE[5], ":", "v"),
    "H16": (PALETTE[4], "-.", "D"),
    "H18′": (PALETTE[2], "-.", "^"),
}
MEASURED = PALETTE[0]
#: Bounds of full fine-tuning: line styles.
_LINES = {"T1": "--", "T2": ":"}
#: Verdicts of cells of claims as they are drawn: colour, marker, filled.
VERDICTS = {
    "holds": (STATUS["ok"][1], "o", True),
    "contradicted": (STATUS["failed"][1], "v", False),
    "mixed": (PALETTE[4], "D", False),
    "undecided": ("#777777", "o", False),
}
#: Effects are drawn up to this size, larger ones at the edge.
_EDGE = 3.0


def _look(bound: str) -> dict[str, object]:
    return dict(zip(("color", "linestyle", "marker"), BOUND_LOOKS[bound], strict=True))


def bounded_curves(
    ax: Axes,
    x: npt.ArrayLike,
    measured: npt.ArrayLike,
    bounds: Mapping[str, npt.ArrayLike],
    *,
    each: npt.ArrayLike | None = None,
    label: str = "measured",
) -> None:
    """A measured curve and the curves of its bounds, on logarithmic axes.

    measured and bounds (times,); ``each`` (times, n), drawn thin behind: one curve an example.
    """
    if each is not None:
        ax.plot(x, each, color=MEASURED, linewidth=0.4, alpha=0.5)
    ax.plot(x, measured, color=MEASURED, marker="o", label=label)
    for name, bound in bounds.items():
        ax.plot(x, bound, **_look(name.split()[0]), markersize=3, label=name)
    ax.set(xscale="log", yscale="log")
    style.plain_log(ax.xaxis, (1,))
    style.plain_log(ax.yaxis, (1,))


def trend_panel(ax: Axes, table: pd.DataFrame, bounds: list[str], *, label: str) -> None:
    """What one factor does: means with intervals, and the means of the bounds.

    ``table`` has columns ``value, moved, low, high`` and one for each of ``bounds``. Axes are
    logarithmic; a factor that takes the value 0 has even steps instead.
    """
    values = table["value"].to_numpy(float)
    even = values.min() <= 0
    x = np.arange(len(values)) if even else values
    ax.vlines(x, table["low"], table["high"], colors=MEASURED, linewidth=1.0)
    ax.plot(x, table["moved"], "o-", color=MEASURED, label="measured")
    for name in bounds:
        ax.plot(x, table[name], **_look(name), label=name)
    ax.set(yscale="log", xlabel=label)
    if not even:
        ax.set_xscale("log")
        style.value_ticks(ax, x)
    else:
        ax.set_xticks(x, [f"{value:g}" for value in values])
    style.plain_log(ax.yaxis, (1, 3))


def relative_trends(ax: Axes, tables: Mapping[str, pd.DataFrame], factor: str) -> None:
    """What one factor does to several quantities, each as a multiple of its first value: a name and
    a table with the columns ``factor``, ``value``, ``low`` and ``high`` each.
    """
    for (colour, marker), (name, table) in zip(CYCLE, tables.items(), strict=False):
        shown = table[["value", "low", "high"]] / table["value"].iloc[0]
        ax.vlines(table[factor], shown["low"], shown["high"], colors=colour, linewidth=1.0)
        ax.plot(table[factor], shown["value"], color=colour, marker=marker, label=name)
    ax.axhline(1, color=INK, linestyle=":", linewidth=0.8)
    ax.set(xscale="log", yscale="log")
    style.value_ticks(ax, table[factor])
    style.plain_log(ax.yaxis, (1,))


def heads_as_arrows(ax: Axes, z: npt.ArrayLike, weights: Mapping[str, npt.ArrayLike]) -> None:
    """A set z (n, 2) and heads as arrows from the origin, each of unit length."""
    z = np.asarray(z)
    ax.plot(*z.T, "o", color=MEASURED, markersize=3)
    for colour, (name, vector) in zip([INK, *PALETTE[1:]], weights.items(), strict=False):
        unit = np.asarray(vector) / np.linalg.norm(vector)
        arrow = {"arrowstyle": "->", "color": colour, "lw": 1.2}
        ax.annotate("", xy=unit, xytext=(0, 0), arrowprops=arrow)
        ax.plot([], [], color=colour, label=name)
    ax.axhline(0, color=INK, linewidth=0.4)
    ax.axvline(0, color=INK, linewidth=0.4)
    ax.set_aspect("equal")
    ax.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), xlabel="feature 1", ylabel="feature 2")


def two_heads(ax: Axes, weights: npt.NDArray) -> None:
    """Paths (steps, 2 heads, 2) in the plane of the weights; dotted: each end, seen from 0."""
    for colour, marker, path in zip((INK, MEASURED), "xo", weights.swapaxes(0, 1), strict=True):
        ax.plot(*path[::3].T, color=colour, marker=marker, markersize=3)
        ax.plot(*np.stack([0 * path[-1], path[-1]]).T, ":", color=colour, linewidth=0.8)
    ax.set(xlabel="weight of feature 1", ylabel="weight of feature 2", aspect="equal")


def retraining_curves(ax: Axes, rows: pd.DataFrame, theorems: list[str]) -> None:
    """Mean distance between runs with and without an example, step by step, and bounds on it.

    ``rows`` are those of one case and rate of ``lib.theory.network.compare``. Points: measured,
    the bar reaching up to the largest over the examples. A bound that does not apply is not drawn.
    """
    colour = STATUS["ok"][1]
    measured = rows[rows["theorem"] == "T1"].sort_values("steps")
    steps, mean = measured["steps"], measured["measured_mean"]
    ax.vlines(steps, mean, measured["measured_max"], colors=colour, linewidth=1.0)
    ax.plot(steps, mean, "o", color=colour, label="measured")
    for theorem in theorems:
        part = rows[(rows["theorem"] == theorem) & rows["bound_mean"].notna()].sort_values("steps")
        if len(part):
            look = {"linestyle": _LINES[theorem], "color": INK, "label": f"bound {theorem}"}
            ax.plot(part["steps"], part["bound_mean"], **look)
    ax.set(xlabel="step", yscale="log")
    low, high = ax.get_ylim()
    ax.set_ylim(low, high * 4)  # room for a legend
    style.plain_log(ax.yaxis)


def power_law(ax: Axes, table: pd.DataFrame, *, exponent: float) -> None:
    """Measured values and bounds against n on log axes; a pale line of the predicted slope.

    ``table`` has ``n, measured_mean, bound_mean``, by rising n.
    """
    x = table["n"].to_numpy(float)
    measured = table["measured_mean"].to_numpy()
    ax.plot(x, measured, "o-", color=STATUS["ok"][1], label="measured")
    ax.plot(x, table["bound_mean"], "s--", color=INK, markerfacecolor="white", label="bound T3")
    line = measured[0] * (x / x[0]) ** exponent
    ax.plot(x, line, color=PALE, linewidth=2.5, zorder=0, label=f"slope {exponent:g}")
    ax.set(xscale="log", yscale="log")
    style.plain_log(ax.yaxis)
    style.value_ticks(ax, x)


def distance_curves(ax: Axes, rows: pd.DataFrame) -> None:
    """Distance between runs at some steps against the distance from the start to the minimiser.

    ``rows`` has ``distance``, ``steps`` and ``measured_mean``; a colour and marker a step.
    """
    curves = zip(itertools.cycle(CYCLE), rows.groupby("steps"), strict=False)
    for (colour, marker), (steps, part) in curves:
        part = part.sort_values("distance")
        look = {"color": colour, "marker": marker, "label": f"step {steps}"}
        ax.plot(part["distance"], part["measured_mean"], **look)
    ax.set(ylim=(0, None), xlabel="distance from start to minimiser")


def head_curve(ax: Axes, table: pd.DataFrame, quantity: str) -> None:
    """A spread over seeds against the number of heads, with intervals, and the 1/√H law from H = 1.

    ``table`` has ``heads``, ``learning_rate``, and ``quantity`` (such as ``sd``) with its ends,
    ``sd_low`` and ``sd_high``; a colour and marker a learning rate.
    """
    groups = list(table.groupby("learning_rate"))
    shifts = 1.04 ** (np.arange(len(groups)) - (len(groups) - 1) / 2)
    curves = zip(itertools.cycle(CYCLE), shifts, groups, strict=False)
    for (colour, marker), shift, (rate, part) in curves:
        part = part.sort_values("heads")
        heads = part["heads"].to_numpy(float)
        ax.vlines(heads * shift, part[f"{quantity}_low"], part[f"{quantity}_high"], colors=colour)
        look = {"color": colour, "label": f"learning rate {rate:g}"}
        ax.plot(heads * shift, part[quantity], marker, **look)
        law = part[quantity].iloc[0] * (heads / heads[0]) ** -0.5
        ax.plot(heads, law, color=colour, linestyle=":", linewidth=1.0)
    ax.plot([], [], color=INK, linestyle=":", linewidth=1.0, label="1/√heads")
    ax.set(xscale="log", yscale="log", xlabel="heads")
    style.plain_log(ax.yaxis)
    style.value_ticks(ax, sorted(table["heads"].unique()))


def claim_cells(axes: Sequence[Axes], cells: pd.DataFrame, table: pd.DataFrame) -> None:
    """Claims in settings (axes), a line a perturbation: the specification in the middle with its
    interval, a pale line over all of them, and in how many the claim holds; both tables are those
    of ``lib.analysis.claims.stability``.
    """
    lines = ["claim", "perturbation"]
    rows = list(cells[lines].drop_duplicates().itertuples(index=False, name=None))
    first = set(cells[lines].drop_duplicates("claim").itertuples(index=False, name=None))
    labels = [f"{row[0]}: {row[1]}" if row in first else row[1] for row in rows]
    for ax, (setting, part) in zip(axes, cells.groupby("setting", sort=False), strict=True):
        for verdict, (colour, marker, filled) in VERDICTS.items():
            face = style.face(colour, filled)
            ax.plot([], [], marker, color=colour, markerfacecolor=face, label=verdict)
        for _, row in part.iterrows():
            y = rows[::-1].index((row["claim"], row["perturbation"]))
            if row["verdict"] == "no data":
                ax.text(0, y, "no data", ha="center", va="center", fontsize=7, color="#767676")
                continue
            own = (table[["setting", *lines]] == row[["setting", *lines]]).all(axis=1)
            every = table.loc[own, "value"].clip(-_EDGE, _EDGE)
            ax.plot([every.min(), every.max()], [y, y], color=PALE, linewidth=4, zorder=1)
            shown = row[["value", "low", "high"]].astype(float).clip(-_EDGE, _EDGE)
            style.interval_dot(ax, shown, y, VERDICTS[row["verdict"]])
            told = f"{row['holds']} of {row['of']}"
            ax.text(2.1 * _EDGE, y, told, ha="right", va="center", fontsize=7, color=INK)
        for y in range(len(first) - 1):
            ax.axhline((y + 1) * len(rows) / len(first) - 0.5, color=PALE, linewidth=0.6)
        ax.axvline(0, color=INK, linestyle=":", linewidth=0.8, zorder=0)
        ax.set(xlim=(-_EDGE * 1.08, _EDGE * 2.15), xticks=[-2, 0, 2], title=setting)
        style.label_rows(ax, labels)
