"""Figures about the validity and consistency of measures, in the style of ``lib.plots``."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lib.measures.summary import MEASURES, STUDIED
from lib.plots import INK, LOOKS, PALE, style

#: Colour and marker of each series of a figure whose series are not measures.
SERIES = list(zip(style.PALETTE, "os^Dv", strict=False))


def names_of(measures: list[str]) -> list[str]:
    """What the measures are called in figures."""
    return [MEASURES[measure].label.split(" (")[0] for measure in measures]


def correlation_cells(
    ax: Axes, table: pd.DataFrame, marks: pd.DataFrame | None = None, *, label: str = "", **look
) -> None:
    """Correlations, −1 … 1, in colour; in each cell the value and behind it its mark. NaN: none."""
    texts = table.map(lambda value: f"{value:.2f}".replace("-", "−"))
    if marks is not None:
        texts = texts + marks
    look = {"vmin": -1, "vmax": 1, "cmap": "vlag", "linewidths": 0.6, "fmt": ""} | look
    style.heatmap(ax, table, label, annot=texts, **look)
    shown = table.to_numpy()[table.notna().to_numpy()]
    for text, value in zip(ax.texts, shown, strict=True):
        text.set(size=7, color="white" if abs(value) > 0.65 else INK)
    ax.tick_params(axis="y", labelrotation=0)
    ax.set(xlabel="", ylabel="")


def kinds_of_runs(ax: Axes, table: pd.DataFrame) -> None:
    """Mean distance against layer: of successful runs solid, of failed ones dashed, per measure.

    ``table`` has columns ``measure, layer, failed, successful``.
    """
    for measure, part in table.groupby("measure"):
        (label,), (colour, marker) = names_of([measure]), LOOKS[measure]
        ax.plot(part["layer"], part["successful"], color=colour, marker=marker, label=label)
        hollow = {"markerfacecolor": "white", "linestyle": "--"}
        ax.plot(part["layer"], part["failed"], color=colour, marker=marker, **hollow)
    ax.plot([], [], color=INK, marker="o", label="successful runs")
    ax.plot([], [], color=INK, marker="o", label="failed runs", **hollow)
    ax.set(xlabel="layer", ylim=(0, 1.05))
    style.whole_numbers(ax.xaxis)


def kind_differences(ax: Axes, table: pd.DataFrame) -> None:
    """Failed minus successful against layer, with intervals, the measures beside each other.

    ``table`` has columns ``measure, layer, value, low, high``.
    """
    shown = list(table.groupby("measure"))
    for (measure, part), aside in zip(shown, np.linspace(-0.2, 0.2, len(shown)), strict=True):
        colour, marker = LOOKS[measure]
        sizes = [part["value"] - part["low"], part["high"] - part["value"]]
        ax.errorbar(part["layer"] + aside, part["value"], sizes, fmt=marker, color=colour,
                    elinewidth=0.8, markersize=3.5, label=names_of([measure])[0])  # fmt: skip
    ax.axhline(0, color=INK, linewidth=0.6)
    ax.set(xlabel="layer")
    style.whole_numbers(ax.xaxis)


def dose_curves(ax: Axes, table: pd.DataFrame) -> None:
    """Each measure, divided by its value at the largest dose, against the dose, both logarithmic,
    with guides of slope 1 and 2.

    ``table`` has a row a dose and a column a measure; dose 0 has no place on such an axis.
    """
    table = table[table.index > 0]
    doses = table.index.to_numpy(float)
    for measure in table:
        (label,), (colour, marker) = names_of([measure]), LOOKS[measure]
        relative = table[measure] / table[measure].iloc[-1]
        # Kappa is in proportion to disagreement where the answers are balanced: both must be seen.
        looks = {"markersize": 7, "zorder": 1.5} if measure == "kappa" else {}
        ax.plot(doses, relative, color=colour, marker=marker, label=label, **looks)
    for slope in (1, 2):
        guide = (doses / doses[-1]) ** slope
        ax.plot(doses, guide, ":", color=INK, linewidth=0.8, zorder=1)
    ax.plot([], [], ":", color=INK, linewidth=0.8, label="slopes 1 and 2")
    ax.set(xscale="log", yscale="log", xlabel="size of the noise")
    ax.set_xticks(doses, [f"{dose:g}" for dose in doses])
    ax.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    ax.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}"))


def part_values(ax: Axes, table: pd.DataFrame) -> None:
    """Each measure on parts of the examples, divided by its value on all of them, a dot a draw.

    ``table`` has columns ``measure, fraction, value, full``; a column of dots a measure and
    fraction, the smallest fraction hollow.
    """
    fractions = sorted(table["fraction"].unique())
    order = [measure for measure in STUDIED if measure in set(table["measure"])]
    for column, measure in enumerate(order):
        colour, marker = LOOKS[measure]
        for i, fraction in enumerate(fractions):
            part = table[(table["measure"] == measure) & (table["fraction"] == fraction)]
            x = np.full(len(part), column + (i - (len(fractions) - 1) / 2) * 0.35)
            look = {"color": colour, "mfc": style.face(colour, i > 0), "markersize": 3.5}
            ax.plot(x, part["value"] / part["full"], marker, **look)
    for i, fraction in enumerate(fractions):
        look = {"color": INK, "mfc": style.face(INK, i > 0), "markersize": 3.5}
        ax.plot([], [], "o", label=f"{fraction:.0%} of them", **look)
    ax.axhline(1, color=INK, linewidth=0.6)
    ax.set_xticks(range(len(order)), names_of(order), rotation=40, ha="right")
    ax.set_ylim(0, None)


def bump_chart(ax: Axes, ranks: pd.DataFrame, support: pd.DataFrame) -> None:
    """Rank of each method (a row) by each measure (a column); 1 is the most stable.

    A marker's area is ``support``, the share of resamples that give the method that rank.
    """
    areas = 70 * support + 3
    for (method, row), (colour, marker) in zip(ranks.iterrows(), SERIES, strict=False):
        x = np.arange(len(row))
        ax.plot(x, row, color=colour, linewidth=0.9, alpha=0.6)
        ax.scatter(x, row, s=areas.loc[method].to_numpy(float), color=colour,
                   marker=marker, label=method, zorder=3, linewidths=0)  # fmt: skip
    for share in (0.3, 0.6, 1.0):
        ax.scatter([], [], s=70 * share + 3, color=INK, linewidths=0, label=f"support {share:.0%}")
    ax.set_xticks(range(ranks.shape[1]), names_of(list(ranks)), rotation=40, ha="right")
    ax.set_yticks(range(1, len(ranks) + 1))
    ax.set_ylim(len(ranks) + 0.5, 0.5)


def correlation_dots(ax: Axes, tables: dict[str, pd.DataFrame]) -> None:
    """Correlations of pairs of measures, a line a pair, a colour and marker a procedure.

    Each table has a row a pair and columns ``value, low, high``: the mean over groups and the
    smallest and largest of them.
    """
    pairs = list(next(iter(tables.values())).index)
    offsets = np.linspace(0.25, -0.25, len(tables))
    looks = zip(tables.items(), offsets, SERIES, strict=False)
    for (name, table), offset, (colour, marker) in looks:
        y = np.arange(len(pairs))[::-1] + offset
        ax.hlines(y, table["low"], table["high"], color=colour, linewidth=1, alpha=0.6)
        ax.plot(table["value"], y, marker, color=colour, label=name)
    ax.axvline(0, color=PALE, linewidth=0.8, zorder=0)
    ax.set_yticks(np.arange(len(pairs))[::-1], pairs)
    ax.set(xlim=(-1.02, 1.02))


def seeds_heatmap(ax: Axes, table: pd.DataFrame, *, label: str) -> None:
    """Tasks × seeds, the best seed of each task marked; darker is better."""
    style.heatmap(ax, table, label, cmap="Blues")
    for row, values in enumerate(table.to_numpy()):
        best = np.flatnonzero(values == values.max())
        ax.plot(best + 0.5, np.full(len(best), row + 0.5), "*", color="white", markersize=5)
    ax.tick_params(labelrotation=0)
    ax.set(xlabel="seed", ylabel="")


def size_trend(ax: Axes, table: pd.DataFrame, *, label: str, colour: int = 0) -> None:
    """A quantity with its interval against the number of training examples, on a logarithmic axis.

    ``table`` is indexed by training size, with columns ``value, low, high``.
    """
    hue, marker = SERIES[colour]
    below, above = table["value"] - table["low"], table["high"] - table["value"]
    ax.errorbar(table.index, table["value"], [below, above], fmt=marker, color=hue, label=label,
                elinewidth=0.8)  # fmt: skip
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda x, _: f"{x:,.0f}"))
    ax.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    ax.set(xlabel="training examples")
