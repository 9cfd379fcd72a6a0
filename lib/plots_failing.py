"""Figures of failed runs, in the style of ``lib.plots``: axes in, axes out."""

import itertools
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis

from lib.plots import INK, STATUS
from lib.plots_seeds import CYCLE

#: Outcome of a run: (colour, marker, filled, line), as its status is drawn elsewhere.
OUTCOMES = {
    "successful": (STATUS["ok"][1], "o", True, "-"),
    "failed": (STATUS["failed"][1], "v", False, "--"),
}


def _plain_log(axis: Axis) -> None:
    """A log axis with ticks at 1 and 3 of each decade, written as 0.003 and not as 3 × 10⁻³."""
    axis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 3)))
    axis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(mpl.ticker.NullFormatter())


def failure_curves(
    ax: Axes,
    tables: dict[str, pd.DataFrame],
    curves: dict[str, Callable[[np.ndarray], np.ndarray]],
) -> Axes:
    """Share of failed runs against the learning rate with intervals, and the logistic curve.

    A colour and marker a ladder; where there is no curve, the points are not joined.

    Parameters
    ----------
    tables : ladder → ``lib.ladder.rate_table``
    curves : ladder → probability of failure by learning rate, NaN where there is no curve
    """
    shifts = 1.03 ** (np.arange(len(tables)) - (len(tables) - 1) / 2)
    cycle = zip(itertools.cycle(CYCLE), shifts, tables.items(), strict=False)
    for (colour, marker), shift, (name, table) in cycle:
        rates = table.index.to_numpy(float)
        ax.vlines(rates * shift, table["low"], table["high"], colors=colour, linewidth=1.0)
        ax.plot(rates * shift, table["rate"], marker, color=colour, label=name)
        fine = np.geomspace(rates[0], rates[-1], 200)
        ax.plot(fine, curves[name](fine), color=colour, linewidth=0.9)
    ax.axhline(0.5, color=INK, linestyle=":", linewidth=0.8, zorder=0)
    ax.set(xscale="log", xlabel="learning rate", ylabel="share of failed runs", ylim=(-0.03, 1.03))
    _plain_log(ax.xaxis)
    return ax


def gradient_curves(ax: Axes, curves: pd.DataFrame, parts: list[str]) -> Axes:
    """Gradient norm of each part over training, on a log axis, for runs of one outcome.

    Layers are lighter toward the input; the embeddings are dotted, the head is black and dashed.

    Parameters
    ----------
    curves : rows of one outcome of ``lib.failing.gradient_curves``
    parts : ``lib.failing.parts_of``, from the input up
    """
    layers = [part for part in parts if part.startswith("layer")]
    shades = mpl.colormaps["viridis_r"](np.linspace(0.1, 0.95, max(1, len(layers))))
    looks = {part: (shades[i], "-", "o") for i, part in enumerate(layers)}
    looks |= {"embeddings": ("#d55e00", ":", "s"), "head": ("black", "--", "^")}
    looks["all"] = (INK, "-", "D")
    for part in parts:
        colour, line, marker = looks[part]
        curve = curves[curves["part"] == part].sort_values("step")
        every = max(1, len(curve) // 6)
        look = {"marker": marker, "markevery": every, "markersize": 3, "linewidth": 1.0}
        ax.plot(curve["step"] + 1, curve["value"], line, color=colour, label=part, **look)
    ax.set(yscale="log", xlabel="training step", ylabel="gradient norm")
    _plain_log(ax.yaxis)
    return ax


def loss_curves(ax: Axes, losses: pd.DataFrame, outcomes: pd.Series, *, threshold: float) -> Axes:
    """Training loss of each run, successful ones as lines, failed ones dashed, and the threshold
    above which a run counts as flat.

    ``losses`` is ``lib.failing.smooth_losses`` of one setting, ``outcomes`` from ``lib.failing``.
    """
    for outcome, (colour, _, _, line) in OUTCOMES.items():
        chosen = losses[outcomes.reindex(losses.index) == outcome]
        lines = ax.plot(chosen.columns + 1, chosen.T, line, color=colour, linewidth=0.8, alpha=0.8)
        if lines:
            lines[0].set_label(outcome)
    ax.axhline(threshold, color=INK, linestyle=":", linewidth=1.0, label="flat above this")
    ax.set(xlabel="training step", ylabel="training loss (nats)")
    return ax


def part_dots(ax: Axes, values: pd.DataFrame, outcomes: pd.Series) -> Axes:
    """A quantity of each part for every run, the geometric mean of each outcome as a bar.

    ``values`` has a row a run and a column a part, ``outcomes`` is from ``lib.failing``.
    """
    sides = {"successful": -0.16, "failed": 0.16}
    for outcome, (colour, marker, filled, _) in OUTCOMES.items():
        chosen = values[outcomes.reindex(values.index) == outcome]
        offsets = (
            np.linspace(-0.09, 0.09, len(chosen)) if len(chosen) > 1 else np.zeros(len(chosen))
        )
        for place, part in enumerate(values):
            x = place + sides[outcome]
            face = colour if filled else "white"
            ax.plot(
                x + offsets, chosen[part], marker, color=colour, markerfacecolor=face, markersize=3
            )
            if len(chosen):
                mean = np.exp(np.log(chosen[part]).mean())
                ax.hlines(mean, x - 0.15, x + 0.15, colors=colour, linewidth=1.4)
        face = colour if filled else "white"
        ax.plot([], [], marker, color=colour, markerfacecolor=face, label=outcome)
    ax.set_xticks(range(values.shape[1]), values.columns, rotation=30, ha="right")
    ax.set(xlabel="", ylim=(0, None))
    return ax
