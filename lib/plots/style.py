"""One style; what figures have in common; every figure saved with its data and a text alternative.

Colours are seaborn's ``colorblind`` palette, always with a marker or a label beside them. Output
is byte-reproducible: fonts bundled with matplotlib, fixed SVG ids, no dates, no bootstrap here
(intervals come from ``lib.measures.intervals``).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from lib import paths
from lib.measures.summary import MEASURES

#: Widths in inches of one and of two columns of a two-column paper.
COLUMN, PAGE = 3.03, 6.3

PALETTE = sns.color_palette("colorblind").as_hex()
INK, PALE = "#333333", "#bbbbbb"
STATUS = {  # status of a run: (label, colour, marker, filled)
    "ok": ("ok", PALETTE[0], "o", True),
    "failed": ("failed: at or below majority", PALETTE[3], "v", False),
    "collapsed": ("failed by collapse to one class", PALETTE[3], "X", False),
    "diverged": ("diverged", INK, "s", False),
}
LOOKS = {  # measure: (colour, marker); contrast with white is 3:1 or more
    "sd": ("#777777", "P"),
    "disagreement": (PALETTE[3], "v"),
    "kappa": ("#c2408f", "X"),
    "jsd": ("#6b7300", "D"),
    "cka": (PALETTE[0], "o"),
    "op": ("#c77e00", "s"),
    "svcca": (PALETTE[2], "^"),
    "svcca_published": (PALETTE[4], "v"),
    "cka_biased": ("#9a6a3a", "D"),
}
#: Colour and marker of each series of a figure whose series are not measures, in endless order.
CYCLE = list(zip(PALETTE, "osD^vP<>ph", strict=True))


def use_style() -> None:
    """8 pt text at final size, no top and right spines, reproducible output."""
    mpl.rcdefaults()
    plt.rc("font", family="DejaVu Sans", size=8)
    plt.rc("axes", titlesize=8, labelsize=8, linewidth=0.6)
    plt.rc("axes.spines", top=False, right=False)
    plt.rc(("xtick", "ytick"), labelsize=7)
    plt.rc("legend", fontsize=7, frameon=False)
    plt.rc("lines", linewidth=1.2, markersize=4)
    plt.rc("figure", dpi=110)
    plt.rc("figure.constrained_layout", use=True)
    plt.rc("savefig", dpi=300)
    plt.rc("pdf", fonttype=42)
    plt.rc("svg", fonttype="none", hashsalt="finetuning-instability")


def save(fig: Figure, name: str, *, alt: str, data: pd.DataFrame, results: str) -> Path:
    """Write ``<name>.svg``, ``.pdf``, ``.csv`` (what was drawn) and ``.alt.txt``; returns the SVG.

    ``alt`` describes the figure to someone who cannot see it: chart type, what it shows, the trend
    and the exception. ``results`` is the configuration drawn from; only ``reference`` writes into
    the committed ``figures/``.
    """
    if len(alt.split()) < 8:
        raise ValueError(
            f"alt text of {name} is {alt!r}; describe the figure in a sentence or more"
        )
    folder = paths.figures(results)
    folder.mkdir(parents=True, exist_ok=True)
    svg = folder / f"{name}.svg"
    fig.savefig(svg, metadata={"Date": None, "Description": alt})
    fig.savefig(svg.with_suffix(".pdf"), metadata={"CreationDate": None})
    data.to_csv(svg.with_suffix(".csv"), index=False, float_format="%.9g")
    svg.with_suffix(".alt.txt").write_text(alt + "\n")
    return svg


def letters(axes: Iterable[Axes]) -> None:
    """Panel letters a, b, … above the panels of a figure."""
    for letter, ax in zip("abcdefgh", axes, strict=False):
        ax.set_title(letter, loc="left", weight="bold")


def face(colour: str, filled: bool) -> str:
    """Of a marker: what failed, or is not sure, is drawn open."""
    return colour if filled else "white"


def spread(n: int, half_width: float) -> np.ndarray:
    """Offsets (n,) of points beside each other, about 0."""
    return np.linspace(-half_width, half_width, n) if n > 1 else np.zeros(n)


def plain_log(axis: Axis, subs: tuple[int, ...] = (1, 2, 5)) -> None:
    """A log axis with ticks at ``subs`` of each decade, written as 0.003 and not as 3 × 10⁻³."""
    axis.set_major_locator(mpl.ticker.LogLocator(subs=subs))
    axis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(mpl.ticker.NullFormatter())


def value_ticks(ax: Axes, x: Sequence[float]) -> None:
    """Ticks of a log axis at these values alone."""
    ax.set_xticks(x, [f"{value:g}" for value in x])
    ax.xaxis.set_minor_locator(mpl.ticker.NullLocator())


def whole_numbers(axis: Axis) -> None:
    """No ticks between whole numbers."""
    axis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))


def label_rows(ax: Axes, labels: list[str], margin: float = 0.6) -> None:
    """A labelled line for each row of dots, the first on top, over a pale grid."""
    ax.set_yticks(range(len(labels)), labels[::-1])
    ax.set_ylim(-margin, len(labels) - 1 + margin)
    ax.grid(axis="x", linewidth=0.4, color="#dddddd")
    ax.set_axisbelow(True)


def interval_dot(ax: Axes, row: pd.Series, y: float, look: tuple[str, str, bool]) -> None:
    """A ``value`` with its interval, ``low`` to ``high``; look: colour, marker, filled."""
    colour, marker, filled = look
    ax.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=1.2)
    ax.plot(row["value"], y, marker, color=colour, markerfacecolor=face(colour, filled))


def banded_curve(ax: Axes, table: pd.DataFrame, x: str, colour: str, **look) -> None:
    """``value`` against the column ``x``, in its band from ``low`` to ``high``."""
    ax.fill_between(table[x], table["low"], table["high"], color=colour, alpha=0.18, lw=0)
    ax.plot(table[x], table["value"], color=colour, **look)


def heatmap(ax: Axes, cells: pd.DataFrame | np.ndarray, label: str, **look) -> None:
    """Cells in colour, their values in small print if asked for; ``label`` of the colour bar."""
    bar = {"label": label, "shrink": look.pop("shrink", 0.8)}
    sns.heatmap(cells, ax=ax, annot_kws={"size": 6.5}, cbar_kws=bar, **look)
    ax.tick_params(length=0)


def scatter_runs(ax: Axes, x: np.ndarray, y: np.ndarray, status: pd.Series, **look) -> None:
    """Points of runs that look as their status does."""
    for name, (_, colour, marker, filled) in STATUS.items():
        chosen = (status == name).to_numpy()
        look |= {"marker": marker, "facecolors": face(colour, filled), "edgecolors": colour}
        ax.scatter(x[chosen], y[chosen], linewidths=0.9, **look)


def seeds_strip(ax: Axes, runs: pd.DataFrame, *, x: str, order: list[str]) -> None:
    """Every run's score as a point over a pale box; failed runs open, the majority class a line.

    ``runs`` has columns ``score``, ``status``, ``majority``, ``metric`` (one metric for all) and
    ``x``, whose values are the categories, drawn in ``order``; their tick labels carry the number
    of failed runs. A run without a score is drawn at the lower edge.
    """
    box = {"color": "#eeeeee", "linecolor": PALE, "width": 0.5, "linewidth": 0.7}
    sns.boxplot(runs, x=x, y="score", order=order, ax=ax, showfliers=False, **box)
    edge = runs["score"].min() - 0.02
    ticks = []
    for position, category in enumerate(order):
        part = runs[runs[x] == category].reset_index(drop=True)
        offsets = position + spread(len(part), 0.16)
        scores = part["score"].astype(float).fillna(edge).to_numpy()
        scatter_runs(ax, offsets, scores, part["status"], s=16, zorder=3)
        if part["metric"].iloc[0] == "accuracy":
            ends = (position - 0.42, position + 0.42)
            ax.hlines(part["majority"].iloc[0], *ends, colors=INK, linestyles="--", linewidth=0.8)
        failed = int((part["status"] != "ok").sum())
        ticks.append(f"{category}\n{failed} of {len(part)} failed".replace(", ", "\n"))
    ax.set_xticks(range(len(order)), ticks)
    ax.set(xlabel="", ylabel=runs["metric"].iloc[0])


def status_legend(
    owner: Axes | Figure, statuses: list[str], *, majority: bool = True, **where
) -> None:
    """Legend of the run statuses that occur, and of the majority line."""
    handles = []
    for status, (label, colour, marker, filled) in STATUS.items():
        if status in statuses:
            look = {"marker": marker, "markeredgecolor": colour, "linestyle": ""}
            look["markerfacecolor"] = face(colour, filled)
            handles.append(mpl.lines.Line2D([], [], label=label, **look))
    if majority:
        handles.append(mpl.lines.Line2D([], [], color=INK, linestyle="--", label="majority class"))
    owner.legend(handles=handles, **where)


def interval_dots(ax: Axes, table: pd.DataFrame, *, y: str, order: list[str]) -> None:
    """Values with their intervals as horizontal bars, a category a line, the first on top.

    ``table`` has columns ``value, low, high, n_failed`` and ``y``; groups with failed runs are
    drawn open.
    """
    for position, category in enumerate(reversed(order)):
        row = table[table[y] == category].iloc[0]
        colour = STATUS["failed" if row["n_failed"] else "ok"][1]
        interval_dot(ax, row, position, (colour, "o", not row["n_failed"]))
    label_rows(ax, order, margin=0.5)


def layer_curves(
    ax: Axes, curves: pd.DataFrame, *, measures: list[str], chance: bool = False
) -> None:
    """Mean distance against layer, with the band of resampling runs; layer 0 is the embeddings.

    ``curves`` has columns ``measure, layer, value, low, high``, and ``chance`` if the chance level
    is to be drawn, dashed.
    """
    for name in measures:
        label, (colour, marker) = MEASURES[name].label, LOOKS[name]
        part = curves[curves["measure"] == name].sort_values("layer")
        banded_curve(ax, part, "layer", colour, marker=marker, label=label)
        if chance:
            ax.plot(part["layer"], part["chance"], color=colour, linestyle="--", linewidth=0.8)
    if chance:
        ax.plot([], [], color=INK, linestyle="--", linewidth=0.8, label="chance level")
    ax.set(xlabel="layer (0 = embeddings)", ylabel="mean distance between runs", ylim=(0, None))
    whole_numbers(ax.xaxis)


def agreement_heatmap(ax: Axes, table: pd.DataFrame, *, label: str, marks: pd.DataFrame) -> None:
    """Lower triangle of a square table of correlations, −1 … 1, the value in each cell.

    ``marks`` holds a text (such as ``*``, or none) a cell to put behind the value.
    """
    texts = table.map(lambda value: f"{value:.2f}".replace("-", "−")) + marks
    mask = np.triu(np.ones(table.shape, bool))[1:, :-1]
    values = {"annot": texts.iloc[1:, :-1], "fmt": "", "vmin": -1, "vmax": 1, "center": 0}
    look = {"cmap": "vlag", "square": True, "linewidths": 0.6, "shrink": 0.7}
    heatmap(ax, table.iloc[1:, :-1], label, mask=mask, **values, **look)
    ax.tick_params(axis="y", labelrotation=0)
    ax.set(xlabel="", ylabel="")


def literal(names: Iterable[str]) -> list[str]:
    """Names of others as labels: matplotlib would read what stands between dollars as a formula."""
    return [str(name).replace("$", r"\$") for name in names]


def run_dots(ax: Axes, runs: pd.DataFrame, *, label: str) -> None:
    """Score of each run, a line a run, the first on top; failed runs open, a majority line.

    ``runs`` has columns ``run, score, status, majority``; a run without a score is not drawn.
    """
    y = np.arange(len(runs))[::-1]
    scatter_runs(ax, runs["score"].astype(float).to_numpy(), y, runs["status"], s=18)
    if label == "accuracy":
        ax.axvline(runs["majority"].iloc[0], color=INK, linestyle="--", linewidth=0.8)
    where = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
    status_legend(ax, list(runs["status"]), majority=label == "accuracy", **where)
    ax.set(xlabel=label, ylim=(-0.7, len(runs) - 0.3))
    ax.set_yticks(*((y, literal(runs["run"])) if len(runs) <= 40 else ([],)))
    ax.tick_params(axis="y", length=0)


def run_heatmap(ax: Axes, matrix: np.ndarray, *, names: list[str] | None, label: str) -> None:
    """Distances of all pairs of runs (S, S); values in the cells of up to 12 runs. Without names it
    is an image: a path for each cell would be 190 MB for 1,000 runs.
    """
    cells = np.where(np.eye(len(matrix), dtype=bool), np.nan, matrix)
    if names is None:
        image = ax.imshow(cells, cmap="Blues", vmin=0)
        ax.figure.colorbar(image, ax=ax, label=label, shrink=0.8)
        ax.set(xticks=[], yticks=[])
        return
    few = len(matrix) <= 12
    labels = literal(names)
    look = {"annot": few, "fmt": ".2f", "linewidths": 0.4 if few else 0, "cmap": "Blues"}
    look |= {"vmin": 0, "square": True, "xticklabels": labels, "yticklabels": labels}
    heatmap(ax, cells, label, **look)


def dissent_bars(ax: Axes, dissenting: np.ndarray, n_runs: int) -> None:
    """Share of examples on which so many of ``n_runs`` runs dissent from the most frequent answer.

    ``dissenting`` (N,) counts them for each example.
    """
    shares = np.bincount(np.asarray(dissenting, int)) / len(dissenting)
    ax.bar(np.arange(len(shares)), shares, color=STATUS["ok"][1], width=0.7)
    for count, share in enumerate(shares if len(shares) <= 20 else ()):
        ax.text(count, share, f"{100 * share:.0f} %", ha="center", va="bottom", fontsize=6.5)
    ax.set(xlabel=f"runs of {n_runs} that dissent from the most frequent answer", ylabel="examples")
    whole_numbers(ax.xaxis)
    ax.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
