"""Is the SD of scores enough, or does it take answers, or what is inside?

Groups are settings; those of a task are compared by each measure of ``STUDIED``. How many pairs of
settings does a measure tell apart (``told``), from which level of instability on does the SD do as
well (``crossing``), and does a measure foretell the ranks that another one gives on other seeds
(``halves``, ``losses``)?
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from lib import measures
from lib.analysis import consistency
from lib.measures import intervals, summary
from lib.measures.intervals import Interval, Statistic
from lib.measures.summary import MEASURES, STUDIED
from lib.results.run_group import RunGroup

#: Of each granularity, the measures that are studied.
GRANULARITIES = {
    kind: tuple(name for name in STUDIED if MEASURES[name].granularity == kind)
    for kind in dict.fromkeys(MEASURES[name].granularity for name in STUDIED)
}
#: Ways to halve the seeds; levels at which a line is held against 0.
N_SPLITS, N_LEVELS = 50, 200
#: Numbers of seeds that are tried, beside all of them.
FEWER = (3, 4, 5, 6, 7, 8, 10)


def by_task(groups: Sequence[RunGroup]) -> list[list[RunGroup]]:
    """The groups of each task, in the order of the first of each."""
    tasks = dict.fromkeys(group.setting["task"] for group in groups)
    return [[group for group in groups if group.setting["task"] == task] for task in tasks]


def same_seeds(groups: Sequence[RunGroup]) -> list[RunGroup]:
    """The groups with the seeds that all of them have, in one order."""
    seeds = sorted(set.intersection(*(set(group.names) for group in groups)))
    rows = [np.array([group.names.index(seed) for seed in seeds], int) for group in groups]
    return [group.take(own) for group, own in zip(groups, rows, strict=True)]


# --- telling settings apart -----------------------------------------------------------------------


def told(
    groups: Sequence[RunGroup],
    names: Sequence[str] = STUDIED,
    *,
    pooling: str = "first",
    seeds: Sequence[int] = (0,),
) -> pd.DataFrame:
    """How far two settings of a task are apart by each measure: z as of
    ``comparison.jackknife_difference``, paired by the seeds that both have.

    Parameters
    ----------
    seeds : numbers of seeds; so many at a time are taken, in as many blocks as there are. 0: all

    Returns
    -------
    A row a pair, number and block: ``task``, the numbers ``first`` and ``second`` of the groups in
    it, ``n`` seeds, and a column of z a measure, NaN where nothing varies. Pairs that share fewer
    seeds, or than three, are left out.
    """
    groups = [(i, group) for part in by_task(groups) for i, group in enumerate(part)]
    statistics = [[group.statistics(pooling)[m] for m in names] for _, group in groups]
    runs = [group.names for _, group in groups]

    @cache
    def left_out(i: int, block: tuple[str, ...]) -> np.ndarray:
        """(1 + n, M) values of a group with these n seeds, and without each of them."""
        weights = np.zeros((1 + len(block), len(runs[i])))
        weights[:, [runs[i].index(name) for name in block]] = 1 - np.eye(1 + len(block))[:, 1:]
        return np.stack([one(weights) for one in statistics[i]], axis=-1)

    rows = []
    for i, j in itertools.combinations(range(len(groups)), 2):
        (first, group), (second, other) = groups[i], groups[j]
        if (task := group.setting["task"]) != other.setting["task"]:
            continue
        both = [name for name in runs[i] if name in runs[j]]
        for n in dict.fromkeys(number or len(both) for number in seeds):
            for start in range(0, len(both) - n + 1, n) if n >= intervals.MIN_RUNS else ():
                block = tuple(both[start : start + n])
                gap = left_out(j, block) - left_out(i, block)
                error = np.sqrt((n - 1) * gap[1:].var(axis=0))  # of the jackknife
                z = np.divide(gap[0], error, out=np.full(len(names), np.nan), where=error > 0)
                rows.append([task, first, second, n, *z])
    return pd.DataFrame(rows, columns=["task", "first", "second", "n", *names])


def p_values(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Two-sided p of the z of ``told``, by Student's t."""
    p = 2 * stats.t.sf(table[list(names)].abs(), table[["n"]] - 1)
    return pd.DataFrame(p, columns=list(names), index=table.index)


def told_by_any(table: pd.DataFrame, names: Sequence[str]) -> pd.Series:
    """Whether one of these measures or more tells at 5 %, by Holm over them, for each row of
    ``told``: more measures are not free.
    """
    p = p_values(table, names)
    return p.min(axis=1) * p.notna().sum(axis=1) < 0.05


def _shares(table: pd.DataFrame, weights: np.ndarray) -> np.ndarray:
    """(B, rows) shares of the rows of ``told``, from weights (B, n) of the n settings in it."""
    _, pairs = np.unique(table[["first", "second"]], return_inverse=True)
    kept = weights[:, pairs].prod(axis=2)
    return kept / kept.sum(axis=1, keepdims=True)


def _tell(table: pd.DataFrame, measure: str) -> np.ndarray:
    """(rows, 2) 1 where the SD, and where a measure, tells two settings apart at 5 %."""
    return (p_values(table, ["sd", measure]) < 0.05).to_numpy(float)


def seeds_alike(table: pd.DataFrame, measure: str, *, level: float = 0.95) -> Interval:
    """With how many seeds ``measure`` tells as many pairs apart as the SD with the most.

    ``table`` is of ``told`` with several numbers of seeds; shares are taken to lie on lines between
    them, and the interval ends at the fewest and at the most. It comes from leaving out each
    setting, in all tasks at once. ``n_runs`` are the settings.
    """
    sizes, parts = zip(*table.groupby("n"), strict=True)

    def crossed(weights: np.ndarray) -> np.ndarray:
        told = np.stack([_shares(part, weights) @ _tell(part, measure) for part in parts], axis=1)
        rising = np.maximum.accumulate(told[..., 1], axis=1)
        draws = zip(told[:, -1, 0], rising, strict=True)
        return np.array([np.interp(of_sd, shares, sizes) for of_sd, shares in draws])

    n_settings, ends = table[["first", "second"]].stack().nunique(), (sizes[0], sizes[-1])
    return intervals.interval(crossed, n_settings, method="jackknife", bounds=ends, level=level)


# --- crossing points ------------------------------------------------------------------------------

#: From weights (B, U) of units: levels, heights and weights of points, each (B, G).
Points = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


class Crossing(NamedTuple):
    """Where a line crosses 0, see ``crossing``: in a range of levels ``least`` to ``most``, with
    the heights of the line at its ends and how much it rises between them.
    """

    value: float
    low: float
    high: float
    least: float
    most: float
    at_least: Interval
    at_most: Interval
    rise: Interval


def crossing(points: Points, n_units: int, *, level: float = 0.95) -> Crossing:
    """The level at which a straight line through points is 0, within the range of their levels.

    ``value`` is NaN where the line has one sign in the whole range; ``low`` to ``high`` are the
    levels at which it is not shown to be off 0 by the jackknife over units (Fieller's set, cut at
    the range; NaN if there is none), so that a flat line has a wide interval and not a wild one.
    """
    x, _, _ = points(np.ones((1, n_units)))
    grid = np.linspace(x.min(), x.max(), N_LEVELS)

    def line(weights: np.ndarray) -> np.ndarray:
        fits = [np.polyfit(x, y, 1, w=np.sqrt(share))
                for x, y, share in zip(*points(weights), strict=True)]  # fmt: skip
        heights = np.array([np.polyval(fit, grid) for fit in fits])
        return np.column_stack([heights, heights[:, -1] - heights[:, 0]])

    found = intervals.interval(line, n_units, level=level, method="jackknife")
    near = grid[((found.low <= 0) & (found.high >= 0))[:-1]]
    low, high = (near[0], near[-1]) if len(near) else (np.nan, np.nan)
    ends = [Interval(*(float(one[i]) for one in found[:3]), n_units) for i in (0, -2, -1)]
    root = grid[0] - ends[0].value * (grid[-1] - grid[0]) / ends[2].value
    root = root if grid[0] <= root <= grid[-1] else np.nan
    return Crossing(float(root), float(low), float(high), float(grid[0]), float(grid[-1]), *ends)


def half_noise(groups: Sequence[RunGroup]) -> Points:
    """Of groups of the same seeds, the units: log disagreement, and the log of the variance of
    accuracy over twice the part that the choice of test examples has in it (the squared floor of
    ``measures.seed_variance``), which is 0 where that is half of it.
    """
    each = []
    for group in groups:
        correct = group.predictions == group.labels
        flips = summary.pair_statistic(measures.pairwise_disagreement(correct.astype(int)))
        own = summary.statistics_of(scores=correct.mean(axis=1), predictions=group.predictions)
        each.append((own["disagreement"], own["sd"], flips))
    n_examples = np.array([len(group.labels) for group in groups])

    def points(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        values = np.array([[one(weights) for one in own] for own in each])
        answers, sd, flips = np.moveaxis(values, 0, -1)
        return np.log(answers), np.log(n_examples * sd**2 / flips), np.ones_like(sd)

    return points


def only_sd(
    groups: Sequence[RunGroup], measure: str, levels: Callable[[RunGroup], float], **how: Any
) -> Points:
    """Of pairs of settings, whose numbers are the units: the mean of their levels, and 1 where the
    SD alone tells them apart, −1 where ``measure`` alone does. ``how``: as in ``told``.
    """
    table = told(groups, ("sd", measure), **how)
    own = {part[0].setting["task"]: [levels(group) for group in part] for part in by_task(groups)}
    x = [(own[row.task][row.first] + own[row.task][row.second]) / 2 for row in table.itertuples()]
    y = -np.diff(_tell(table, measure))[:, 0]

    def points(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        shares = _shares(table, weights)
        return np.broadcast_to(x, shares.shape), np.broadcast_to(y, shares.shape), shares

    return points


# --- ranks ----------------------------------------------------------------------------------------


def halves(groups: Sequence[RunGroup], *, pooling: str = "first") -> Statistic:
    """(B, T, M, M): for each of T tasks, Kendall's τ over its settings of a measure on half of the
    seeds (row) with a measure on the other half (column), mean over ``N_SPLITS`` ways to halve
    them. On the diagonal is how well a measure foretells itself.

    Raises ``ValueError`` unless all groups have the same seeds in the same order: ``same_seeds``.
    """
    if len({tuple(group.names) for group in groups}) > 1:
        raise ValueError("halves takes groups of the same seeds: choose them with same_seeds")
    n = len(groups[0])
    half = np.random.default_rng(0).permuted(np.tile(np.arange(n) < n // 2, (N_SPLITS, 1)), axis=1)
    parts = [[group.statistics(pooling) for group in part] for part in by_task(groups)]

    def values(part: Sequence[Mapping[str, Statistic]], weights: np.ndarray) -> np.ndarray:
        """(B, N_SPLITS, M, G)"""
        found = np.array([[one[m](weights.reshape(-1, n)) for one in part] for m in STUDIED])
        return np.moveaxis(found, -1, 0).reshape(*weights.shape[:2], len(STUDIED), len(part))

    def taus(weights: np.ndarray) -> np.ndarray:
        first, second = weights[:, None] * half, weights[:, None] * ~half
        found = []
        for part in parts:
            a, b = values(part, first), values(part, second)
            tau = consistency.kendall(a[..., :, None, :], b[..., None, :, :])
            both = np.concatenate([tau, tau.swapaxes(-1, -2)], axis=1)
            found.append(np.nanmean(both, axis=1))
        return np.stack(found, axis=1)

    return taus


def losses(
    groups: Sequence[RunGroup],
    targets: Mapping[str, Sequence[str]] | None = None,
    *,
    pooling: str = "first",
    level: float = 0.95,
) -> pd.DataFrame:
    """What is lost of a measure's ranking of settings without it: how well it foretells itself on
    other seeds (``halves``) less how well the best of the rest does.

    Parameters
    ----------
    groups : of the same seeds
    targets : by measure, those that may stand for it; default: all of other granularities

    Returns
    -------
    A row a measure: ``own`` and ``best`` (mean τ over tasks), ``by`` (the best, chosen with its
    sign on the other tasks, so that one whose sign turns does worse than none; of a single task on
    that one, which flatters it), and ``loss`` with its interval, ``low`` to ``high``, by the
    jackknife over seeds.
    """
    targets = targets or {name: [other for other in STUDIED if other not in own]
                          for own in GRANULARITIES.values() for name in own}  # fmt: skip
    n = len(groups[0])
    found = halves(groups, pooling=pooling)(np.vstack([np.ones((1, n)), 1 - np.eye(n)]))
    tasks, rows = np.arange(found.shape[1]), {}
    for name, rest in targets.items():
        own, others = (found[..., [STUDIED.index(one) for one in names], STUDIED.index(name)]
                       for names in ([name], rest))  # fmt: skip
        best, by = 0.0, []
        for task in tasks:
            elsewhere = tasks[tasks != task] if len(tasks) > 1 else tasks
            taus = others[0, elsewhere].mean(axis=0)
            k = int(np.argmax(np.abs(taus)))
            best = best + np.sign(taus[k]) * others[:, task, k] / len(tasks)
            by.append(("−" if taus[k] < 0 else "") + rest[k])
        own = own.mean(axis=(1, 2))
        lost = own - best
        reach = stats.t.ppf((1 + level) / 2, n - 1) * np.sqrt((n - 1) * lost[1:].var())
        rows[name] = {"own": own[0], "best": best[0], "by": ", ".join(dict.fromkeys(by)),
                      "loss": lost[0], "low": lost[0] - reach, "high": lost[0] + reach}  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")
