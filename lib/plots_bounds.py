"""Figures of stability bounds, in the style of ``lib.plots``: axes in, axes out."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from lib.plots import INK

_COLOURS = sns.color_palette("colorblind").as_hex()
#: Bound → (colour, line, marker), the same in all figures.
BOUND_LOOKS = {
    "T1": (_COLOURS[1], "--", "s"),
    "T1c": (_COLOURS[5], ":", "v"),
    "T2": (_COLOURS[2], "-.", "^"),
    "T4": (_COLOURS[4], (0, (5, 1, 1, 1, 1, 1)), "D"),
    "T5": (_COLOURS[3], "--", "P"),
    "H9": (_COLOURS[2], "-.", "^"),
    "H13": (_COLOURS[3], ":", "v"),
    "H15": (_COLOURS[1], "--", "s"),
    "H15b": (_COLOURS[5], ":", "v"),
    "H16": (_COLOURS[4], "-.", "D"),
    "H17": (_COLOURS[1], "--", "s"),
    "H18": (_COLOURS[2], "-.", "^"),
    "H19": (_COLOURS[1], "--", "s"),
}
MEASURED = _COLOURS[0]


def bounded_curves(
    ax: Axes,
    x: npt.ArrayLike,
    measured: npt.ArrayLike,
    bounds: Mapping[str, npt.ArrayLike],
    *,
    each: npt.ArrayLike | None = None,
    label: str = "measured",
) -> Axes:
    """A measured curve and the curves of its bounds, on logarithmic axes.

    measured and bounds (times,); ``each`` (times, n), drawn thin behind: one curve an example.
    """
    if each is not None:
        ax.plot(x, each, color=MEASURED, linewidth=0.4, alpha=0.5)
    ax.plot(x, measured, color=MEASURED, marker="o", label=label)
    for name, bound in bounds.items():
        colour, line, marker = BOUND_LOOKS[name.split()[0]]
        ax.plot(x, bound, color=colour, linestyle=line, marker=marker, markersize=3, label=name)
    ax.set(xscale="log", yscale="log")
    return ax


def trend_panel(ax: Axes, table: pd.DataFrame, bounds: list[str], *, label: str) -> Axes:
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
        colour, line, marker = BOUND_LOOKS[name]
        ax.plot(x, table[name], color=colour, linestyle=line, marker=marker, label=name)
    ax.set(yscale="log", xlabel=label)
    if not even:
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(x, [f"{value:g}" for value in values])
    return ax


def heads_as_arrows(ax: Axes, z: npt.ArrayLike, weights: Mapping[str, npt.ArrayLike]) -> Axes:
    """A set z (n, 2) and heads as arrows from the origin, each of unit length."""
    z = np.asarray(z)
    ax.plot(*z.T, "o", color=MEASURED, markersize=3)
    for place, (name, vector) in enumerate(weights.items()):
        unit = np.asarray(vector) / np.linalg.norm(vector)
        colour = [INK, *_COLOURS[1:]][place]
        ax.annotate(
            "", xy=unit, xytext=(0, 0), arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.2}
        )
        ax.plot([], [], color=colour, label=name)
    ax.axhline(0, color=INK, linewidth=0.4)
    ax.axvline(0, color=INK, linewidth=0.4)
    ax.set_aspect("equal")
    ax.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), xlabel="feature 1", ylabel="feature 2")
    return ax
