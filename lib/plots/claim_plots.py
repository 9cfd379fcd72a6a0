"""Figures about claims: over how many analyses each holds, in the style of ``lib.plots``."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lib.plots import INK, PALE, style

VERDICTS = {"holds": style.PALETTE[0], "contradicted": style.PALETTE[3], "undecided": PALE}


def verdict_bars(ax: Axes, claims: pd.DataFrame) -> None:
    """A bar a claim: the shares of its specifications that hold, are undecided, say the opposite.

    ``claims`` has columns ``claim, holds, contradicted, of``.
    """
    names = list(claims["claim"])
    style.label_rows(ax, names)
    counts = {"holds": claims["holds"], "contradicted": claims["contradicted"]}
    counts["undecided"] = claims["of"] - claims["holds"] - claims["contradicted"]
    left = np.zeros(len(claims))
    for verdict in ("holds", "undecided", "contradicted"):
        share = (counts[verdict] / claims["of"]).to_numpy()
        ax.barh(range(len(names))[::-1], share, left=left, color=VERDICTS[verdict], label=verdict)
        left += share
    ax.set(xlabel="share of the specifications", xlim=(0, 1))


def specification_curve(
    above: Axes, below: Axes, table: pd.DataFrame, choices: pd.DataFrame, null: float
) -> None:
    """The estimates of a claim, from the smallest up, and under each the choices that made it.

    Simonsohn, Simmons & Nelson (2020, *Nature Human Behaviour* 4, 1208). ``table`` has a row a
    specification, with ``value, low, high, verdict``; ``choices`` the same rows, a column an axis.
    """
    order = np.argsort(table["value"].to_numpy(), kind="stable")
    for x, row in enumerate(table.iloc[order].itertuples()):
        colour = VERDICTS[row.verdict] if row.verdict != "undecided" else INK
        filled = style.face(colour, row.verdict != "undecided")
        above.plot([x, x], [row.low, row.high], color=colour, linewidth=0.8)
        above.plot(x, row.value, "o", color=colour, markerfacecolor=filled, markersize=3)
    above.axhline(null, color=INK, linewidth=0.6, linestyle=":")
    rows = [(axis, choice) for axis in choices for choice in dict.fromkeys(choices[axis])]
    style.label_rows(below, [f"{axis.replace('_', ' ')}: {choice}" for axis, choice in rows])
    for y, (axis, choice) in enumerate(rows[::-1]):
        made = np.flatnonzero((choices[axis] == choice).to_numpy()[order])
        below.plot(made, np.full(len(made), y), ".", color=INK, markersize=2.5)
    for ax in (above, below):
        ax.set(xticks=[], xlim=(-0.7, len(table) - 0.3))


def powers(ax: Axes, claims: pd.DataFrame) -> None:
    """Estimates in units of what would have been detected, which is between -1 and 1 shaded.

    ``claims`` has columns ``claim, value, low, high``; intervals are cut at ±4.
    """
    ax.axvspan(-1, 1, color="#eeeeee")
    ax.axvline(0, color=INK, linewidth=0.6, linestyle=":")
    style.label_rows(ax, list(claims["claim"].str.replace("-", " ")))
    cut = claims[["value", "low", "high"]].clip(-4, 4)
    for y, (_, row) in enumerate(cut.iloc[::-1].iterrows()):
        style.interval_dot(ax, row, y, (INK, "o", abs(row["value"]) > 1))
    ax.set(xlabel="estimate / smallest difference that would be detected", xlim=(-4.1, 4.1))
