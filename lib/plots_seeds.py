"""Figures of crossed designs, in the style of ``lib.plots``: axes in, axes out."""

import itertools

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from lib.plots import INK, PALE, STATUS

#: Sources of variance, the first on top: (name, label).
SOURCES = {
    "init": "init seed",
    "order": "order seed",
    "rest": "rest",
    "interaction": "interaction",
    "dropout": "dropout seed",
}
#: Colour and marker of each design; more designs than that begin anew.
CYCLE = list(zip(sns.color_palette("colorblind").as_hex(), "osD^vP<>ph", strict=True))


def seed_heatmap(
    ax: Axes,
    scores: np.ndarray,
    status: np.ndarray,
    *,
    init_seeds: tuple[int, ...],
    order_seeds: tuple[int, ...],
    label: str,
) -> Axes:
    """Scores, a row an init seed and a column an order seed; failed cells marked in a corner.

    Parameters
    ----------
    scores, status : (I, J) or (I, J, K); of replicates the mean is drawn, with the mark of the
        first that failed
    label : of the colour bar
    """
    means = scores.reshape(*scores.shape[:2], -1).mean(2)
    cells = pd.DataFrame(means, index=init_seeds, columns=order_seeds)
    few = cells.size <= 100
    sns.heatmap(
        cells,
        annot=few,
        fmt=".2f",
        annot_kws={"size": 6.5},
        cmap="Blues_r",
        linewidths=0.4 if few else 0,
        cbar_kws={"label": label, "shrink": 0.8},
        ax=ax,
    )
    for (i, j), _ in np.ndenumerate(means):
        failed = [name for name in np.ravel(status[i, j]) if name != "ok"]
        if failed:
            _, colour, marker, _ = STATUS[failed[0]]
            corner = (j + 0.82, i + 0.22) if few else (j + 0.5, i + 0.5)
            ax.plot(*corner, marker, markersize=4.5, mec=colour, mfc="white", mew=0.8)
    ax.tick_params(length=0, axis="both", labelrotation=0)
    ax.set(xlabel="order seed", ylabel="init seed")
    return ax


def component_intervals(
    ax: Axes, tables: dict[str, pd.DataFrame], *, quantity: str = "share"
) -> Axes:
    """Components of variance with their intervals, a source a line, a colour and marker a design.

    Parameters
    ----------
    tables : design → ``lib.variance.variance_components``
    quantity : ``share``, ``variance`` or ``sd``; shares are drawn between −0.25 and 1.25, and an
        interval that goes on ends in an arrow
    """
    sources = [name for name in SOURCES if any(name in table.index for table in tables.values())]
    reach = (-0.25, 1.25) if quantity == "share" else (-np.inf, np.inf)
    offsets = ((len(tables) - 1) / 2 - np.arange(len(tables))) * min(0.2, 0.7 / len(tables))
    cycle = zip(itertools.cycle(CYCLE), offsets, tables.items(), strict=False)
    for (colour, marker), offset, (name, table) in cycle:
        for source, row in table.iterrows():
            place = len(sources) - 1 - sources.index(source) + offset
            ends = np.array([row[f"{quantity}_low"], row[f"{quantity}_high"]])
            ax.plot(ends.clip(*reach), [place] * 2, color=colour, linewidth=1.2)
            for end, limit, arrow in zip(ends, reach, "<>", strict=True):
                if end != np.clip(end, *reach):
                    ax.plot(limit, place, arrow, color=colour, markersize=4, clip_on=False)
            ax.plot(np.clip(row[quantity], *reach), place, marker, color=colour)
        ax.plot([], [], marker, color=colour, label=name)
    ax.axvline(0, color=PALE, linewidth=0.8, zorder=0)
    ax.set_yticks(range(len(sources)), [SOURCES[name] for name in sources[::-1]])
    ax.set(ylim=(-0.6, len(sources) - 0.4))
    if quantity == "share":
        ax.set(xlim=reach, xlabel="share of the variance of scores")
    ax.grid(axis="x", linewidth=0.4, color="#dddddd")
    ax.set_axisbelow(True)
    return ax


def best_of_curve(ax: Axes, curve: pd.DataFrame, *, best: float, label: str = "score") -> Axes:
    """Expected best of n runs against n, with its interval; the best run at hand as a dashed line.

    ``curve`` has columns ``n, value, low, high``; NaN where there is no interval.
    """
    colour = STATUS["ok"][1]
    ax.fill_between(curve["n"], curve["low"], curve["high"], color=colour, alpha=0.18, lw=0)
    marker = "o" if len(curve) <= 30 else ""
    ax.plot(curve["n"], curve["value"], color=colour, marker=marker, markersize=3)
    ax.axhline(best, color=INK, linestyle="--", linewidth=0.8)
    ax.set(xlabel="runs to choose from", ylabel=f"expected best {label}")
    ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    return ax
