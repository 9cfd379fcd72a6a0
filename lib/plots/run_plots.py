"""Figures of crossed designs and failed runs, in the style of ``lib.plots``."""

import itertools
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lib.measures import Interval
from lib.plots import INK, PALE, STATUS, style
from lib.plots.style import CYCLE

#: Sources of variance, the first on top: (name, label).
SOURCES = {
    "init": "init seed",
    "order": "order seed",
    "rest": "rest",
    "interaction": "interaction",
    "dropout": "dropout seed",
}
#: Outcome of a run: (colour, marker, filled, line), as its status is drawn elsewhere.
OUTCOMES = {
    "successful": (STATUS["ok"][1], "o", True, "-"),
    "failed": (STATUS["failed"][1], "v", False, "--"),
}


def seed_heatmap(
    ax: Axes,
    scores: np.ndarray,
    status: np.ndarray,
    *,
    init_seeds: tuple[int, ...],
    order_seeds: tuple[int, ...],
    label: str,
) -> None:
    """Scores, a row an init seed and a column an order seed; failed cells marked.

    ``scores`` and ``status`` are (I, J) or (I, J, K): of replicates the mean is drawn, with the
    mark of the first that failed. ``label``: of the colour bar.
    """
    means = scores.reshape(*scores.shape[:2], -1).mean(2)
    cells = pd.DataFrame(means, index=init_seeds, columns=order_seeds)
    style.heatmap(ax, cells, label, cmap="Blues", linewidths=0.4 if cells.size <= 100 else 0)
    for (i, j), _ in np.ndenumerate(means):
        if failed := [name for name in np.ravel(status[i, j]) if name != "ok"]:
            _, colour, marker, _ = STATUS[failed[0]]
            ax.plot(j + 0.5, i + 0.5, marker, markersize=5, mec=colour, mfc="white", mew=0.8)
    ax.tick_params(labelrotation=0)
    ax.set(xlabel="order seed", ylabel="init seed")


def component_intervals(ax: Axes, tables: dict[str, pd.DataFrame]) -> None:
    """Shares of variance with their intervals, a source a line, a colour and marker a design.

    ``tables``: design → ``lib.analysis.variance_components.variance_components``. Shares are drawn
    between −0.25 and 1.25; an interval that goes on ends in an arrow.
    """
    sources = [name for name in SOURCES if any(name in table.index for table in tables.values())]
    limits = (-0.25, 1.25)
    offsets = ((len(tables) - 1) / 2 - np.arange(len(tables))) * min(0.2, 0.7 / len(tables))
    cycle = zip(itertools.cycle(CYCLE), offsets, tables.items(), strict=False)
    for (colour, marker), offset, (name, table) in cycle:
        for source, row in table.iterrows():
            y = len(sources) - 1 - sources.index(source) + offset
            ends = np.array([row["share_low"], row["share_high"]])
            ax.plot(ends.clip(*limits), [y, y], color=colour, linewidth=1.2)
            for end, limit, arrow in zip(ends, limits, "<>", strict=True):
                if end != np.clip(end, *limits):
                    ax.plot(limit, y, arrow, color=colour, markersize=4, clip_on=False)
            ax.plot(np.clip(row["share"], *limits), y, marker, color=colour)
        ax.plot([], [], marker, color=colour, label=name)
    ax.axvline(0, color=PALE, linewidth=0.8, zorder=0)
    style.label_rows(ax, [SOURCES[name] for name in sources])
    ax.set(xlim=limits, xlabel="share of the variance of scores")


def runs_by_task(ax: Axes, table: pd.DataFrame, order: list[str]) -> None:
    """Every run as a point at its ``points``, a line a ``task``, the first on top; failed runs
    open, by their ``status``.
    """
    style.label_rows(ax, order)
    for line, task in enumerate(reversed(order)):
        part = table[table["task"] == task]
        heights = line + style.spread(len(part), 0.22)
        style.scatter_runs(ax, part["points"].to_numpy(), heights, part["status"], s=12)


def values_by_task(ax: Axes, found: dict[str, Interval], order: list[str]) -> None:
    """A value with its interval for each task, a line each, the first on top."""
    style.label_rows(ax, order)
    for line, task in enumerate(reversed(order)):
        row = pd.Series(found[task]._asdict())
        style.interval_dot(ax, row, line, (CYCLE[0][0], "D", True))


def shares_above(ax: Axes, scores: dict[str, pd.Series]) -> None:
    """The share of a setting's runs that reach a score, against that score; a curve a setting."""
    for (name, values), (colour, marker) in zip(scores.items(), itertools.cycle(CYCLE)):
        values = np.sort(values)
        shares = np.arange(len(values), 0, -1) / len(values)
        look = {"color": colour, "marker": marker, "markersize": 3, "label": name}
        ax.plot([*values, values[-1]], [*shares, 0], drawstyle="steps-pre", **look)
    ax.set(xlabel="score", ylabel="share of runs that reach it", ylim=(0, 1.03))
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), handlelength=1.2)


def failure_curves(
    ax: Axes,
    tables: dict[str, pd.DataFrame],
    curves: dict[str, Callable[[np.ndarray], np.ndarray]],
) -> None:
    """Share of failed runs against the learning rate with intervals, and the logistic curve.

    ``tables`` holds by ladder ``lib.analysis.learning_rate_sweep.rate_table``, ``curves`` the
    probability of failure by learning rate, NaN where there is none. A colour and marker a ladder.
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
    style.plain_log(ax.xaxis, (1, 3))


def gradient_curves(ax: Axes, curves: pd.DataFrame, parts: list[str]) -> None:
    """Gradient norm of each part over training, on a log axis, for runs of one outcome.

    Layers are lighter toward the input; the embeddings are dotted, the head is black and dashed.
    ``curves`` and ``parts`` are ``gradient_curves`` and ``parts_of`` of
    ``lib.analysis.failed_runs``.
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
    style.plain_log(ax.yaxis, (1, 3))


def loss_curves(ax: Axes, losses: pd.DataFrame, outcomes: pd.Series, *, threshold: float) -> None:
    """Training loss of each run, successful ones as lines, failed ones dashed, and the threshold
    above which a run counts as flat.

    ``losses`` is ``lib.analysis.failed_runs.smooth_losses`` of one setting, ``outcomes`` from
    ``lib.analysis.failed_runs``.
    """
    for outcome, (colour, _, _, line) in OUTCOMES.items():
        chosen = losses[outcomes.reindex(losses.index) == outcome]
        lines = ax.plot(chosen.columns + 1, chosen.T, line, color=colour, linewidth=0.8, alpha=0.8)
        if lines:
            lines[0].set_label(outcome)
    ax.axhline(threshold, color=INK, linestyle=":", linewidth=1.0, label="flat above this")
    ax.set(xlabel="training step", ylabel="training loss (nats)")
