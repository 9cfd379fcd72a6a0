"""Do measures agree on which group is unstable? Rankings of methods, and bootstrap correlations.

The analyses of section 6 of Du & Nguyen (2023), as their released notebook computes them (names
with *published*), and as runs can support them. A measure is a **statistic** of run weights
(``lib.measures.intervals``); a group of S runs has one statistic a measure, all over the same runs.
"""

import itertools
from collections.abc import Hashable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from lib.measures import intervals
from lib.measures.intervals import N_PERMUTATIONS, Statistic, permutation_p, run_weights
from lib.measures.summary import STUDIED

#: Resamples of the released notebook (nb 10).
N_PUBLISHED = 1000
#: Below this share two groups are the same runs again (``same_seed_share``): of the committed
#: methods, those that differ reach .20, those that do not stay below .03.
SAME_RUNS = 0.1


def same_seed_share(first: np.ndarray, second: np.ndarray) -> float:
    """Disagreement of two groups at the same seed, the median over seeds, as a share of their mean
    disagreement at different seeds.

    About 1 where the groups share nothing that a seed decides, 0 where the runs are the same, NaN
    where different seeds answer alike.

    Parameters
    ----------
    first, second : (S, N) class labels of the same seeds, S ≥ 2, on the same examples
    """
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape:
        raise ValueError(
            f"predictions have shapes {first.shape} and {second.shape}; expected (S, N) twice, the "
            "same seeds and examples in the same order"
        )
    apart = np.array([(one != second).mean(1) for one in first])
    others = apart[~np.eye(len(apart), dtype=bool)].mean()
    return float(np.median(np.diag(apart)) / others) if others > 0 else float("nan")


def same_runs(
    groups: Mapping[Hashable, np.ndarray], *, below: float = SAME_RUNS
) -> dict[Hashable, Hashable]:
    """Groups that are the runs of an earlier one again, and which. Such a group is no second method
    or setting; counted, it makes whatever is compared agree.

    Parameters
    ----------
    groups : by name, predictions as in ``same_seed_share``; those to keep come first
    below : the share of ``same_seed_share`` below which two groups are the same runs
    """
    again: dict[Hashable, Hashable] = {}
    for (a, first), (b, second) in itertools.combinations(groups.items(), 2):
        if again.keys().isdisjoint((a, b)) and same_seed_share(first, second) < below:
            again[b] = a
    return again


def pair_means_with_self(distances: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(B,) mean over all pairs of positions of a resample; a run drawn twice is at distance 0 of
    itself, as in the released bootstrap (nb 10). What comes of it: ``chance_correlation``.
    """
    distances = np.where(np.eye(len(distances), dtype=bool), 0.0, distances)
    drawn = weights.sum(1)
    total = np.einsum("bi,ij,bj->b", weights, distances, weights, optimize=True)
    return total / (drawn * (drawn - 1))


def published_statistics(
    scores: np.ndarray, pairs: Mapping[str, np.ndarray], n_examples: int
) -> dict[str, Statistic]:
    """The measures of the released bootstrap (nb 10): SD with ddof 0, kappa over the wrong axis
    (disagreement · N/(N − 1)), and pairs of a run with itself counted as zero.

    Parameters
    ----------
    scores : (S,)
    pairs : by measure, distances (S, S); ``disagreement`` is one
    n_examples : N
    """
    kappa = pairs["disagreement"] * n_examples / (n_examples - 1)
    statistics = {
        m: partial(pair_means_with_self, one) for m, one in {**pairs, "kappa": kappa}.items()
    }
    variance = intervals.half_squares(scores) * (1 - 1 / len(scores))
    statistics["sd"] = lambda weights: np.sqrt(pair_means_with_self(variance, weights))
    return {name: statistics[name] for name in STUDIED if name in statistics}


def bootstrap_correlations(statistics: Mapping[str, Statistic], n_runs: int) -> pd.DataFrame:
    """Pearson correlations of measures over resamples of the same runs, a row and column each.

    Says whether a resample with more of one measure has more of another. With the statistics of
    ``published_statistics`` it is the released analysis; with those of ``lib.measures.summary``
    pairs of a run with itself are left out.
    """
    weights = run_weights(n_runs, N_PUBLISHED)
    values = pd.DataFrame({name: one(weights) for name, one in statistics.items()})
    return values.corr()


def chance_correlation(a: np.ndarray, b: np.ndarray, *, n_shuffles: int = 200) -> np.ndarray:
    """(n_shuffles,) correlations that the released bootstrap finds where there is nothing to find.

    The runs of the second measure are relabelled at random, so that the two matrices (S, S) have
    the sizes they have and nothing in common. What is left is the number of pairs of a run with
    itself, zero in both measures in the same resamples.
    """
    weights, rng = run_weights(len(a), N_PUBLISHED), np.random.default_rng(0)
    orders = rng.permuted(np.tile(np.arange(len(b)), (n_shuffles, 1)), axis=1)
    shuffled = np.asarray(b, float)[orders[:, :, None], orders[:, None, :]]
    first = pair_means_with_self(np.asarray(a, float), weights)
    values = [pair_means_with_self(one, weights) for one in shuffled]
    return np.array([np.corrcoef(first, one)[0, 1] for one in values])


def kendall(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(…) Kendall's τ_b of two measures over G groups, values (…, G); NaN where one is constant."""
    i, j = np.triu_indices(np.shape(a)[-1], 1)
    first, second = (np.sign(x[..., i] - x[..., j]) for x in (np.asarray(a), np.asarray(b)))
    scale = np.sqrt((first**2).sum(-1) * (second**2).sum(-1))
    total = (first * second).sum(-1)
    return np.divide(total, scale, out=np.full(np.shape(total), np.nan), where=scale > 0)


def resampled_values(
    groups: Sequence[Mapping[str, Statistic]], n_runs: Sequence[int], *, paired: bool = False
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Every measure of every group: the values (a row a group), and by measure (B, G) resampled.

    The measures of a group are taken over the same resamples of its runs. Groups are resampled
    independently of each other, or, ``paired``, together: for groups of the same seeds in the same
    order, of which a seed may be lucky or unlucky in all.
    """
    if paired and len(set(n_runs)) > 1:
        raise ValueError(f"n_runs = {list(n_runs)}; paired groups have the same seeds")
    names = list(groups[0])
    values = pd.DataFrame(
        [{m: float(g[m](np.ones((1, n)))[0]) for m in names}
         for g, n in zip(groups, n_runs, strict=True)]
    )  # fmt: skip
    drawn = [run_weights(n, seed=0 if paired else i) for i, n in enumerate(n_runs)]
    resampled = {
        m: np.stack([g[m](w) for g, w in zip(groups, drawn, strict=True)], axis=-1) for m in names
    }
    return values, resampled


def mean_rank_agreement(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Mean over tables of Kendall's τ of every two measures: what no table of few methods can show.

    A row a pair, and one (``all``, ``all``) for the mean over pairs: ``a, b, tau, p``. ``p`` is
    of permuting the methods of each measure in each table: where measures order methods
    independently, any order goes with any other.

    Parameters
    ----------
    tables : a row a method and a column a measure, the same measures in all; one a task, say
    """
    rng = np.random.default_rng(0)
    names = list(tables[0])
    draws = []
    for table in tables:
        values = table[names].to_numpy(float).T
        shuffled = rng.permuted(np.broadcast_to(values, (N_PERMUTATIONS, *values.shape)), axis=2)
        draws.append(np.concatenate([values[None], shuffled]))
    rows, taus = [], []
    for (i, a), (j, b) in itertools.combinations(enumerate(names), 2):
        taus.append(np.mean([kendall(values[:, i], values[:, j]) for values in draws], axis=0))
        rows.append((a, b))
    taus = np.array([*taus, np.mean(taus, axis=0)])
    p = permutation_p(taus[:, 1:].T, taus[:, 0])
    table = pd.DataFrame([*rows, ("all", "all")], columns=["a", "b"])
    return table.assign(tau=taus[:, 0], p=p)


def rank_support(resampled: np.ndarray) -> np.ndarray:
    """(G, G) share of resamples (B, G) in which group g has rank r, 0 the smallest value."""
    ranks = stats.rankdata(resampled, method="ordinal", axis=1).astype(int) - 1
    n = resampled.shape[1]
    return np.stack([(ranks == r).mean(0) for r in range(n)], axis=1)


def agreement_levels(correlations: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """For each group (a row) and measure, the mean of its column of ``bootstrap_correlations``, its
    own 1 included, as published (nb 11)."""
    return pd.DataFrame([table.mean() for table in correlations])


def level_against_agreement_published(sd: np.ndarray, levels: pd.DataFrame) -> tuple[float, float]:
    """Pearson's r and p of SD with agreement, all measures pooled after standardising each (nb 11).

    Its p takes the copies of the same G groups for independent points: see
    ``level_against_agreement``.
    """
    z = stats.zscore(levels)
    correlation = stats.pearsonr(np.repeat(sd, z.shape[1]), z.ravel())
    return float(correlation.statistic), float(correlation.pvalue)


def level_against_agreement(
    sd: np.ndarray, levels: pd.DataFrame, *, strata: np.ndarray | None = None
) -> pd.DataFrame:
    """Pearson's r of SD with the agreement of each measure over G groups; p of permuting groups.

    A row a measure, and one (``all``) for the mean of the standardised levels, the one test that
    replaces the pooled one. ``r`` is over all groups; ``within`` is what is left of it when SD and
    level are taken from their means in each stratum, and ``p`` is of that, groups permuted within
    strata: differences between tasks, whose scores may not even be of one metric, are no evidence.

    Parameters
    ----------
    sd : (G,) SD of the scores of each group
    levels : of ``agreement_levels``, a row a group
    strata : (G,) for example the tasks; one stratum if not given, and then ``within`` is ``r``
    """
    z = stats.zscore(levels)
    z, sd = np.column_stack([z, z.mean(1)]), np.asarray(sd, float)
    strata = np.zeros(len(sd)) if strata is None else np.asarray(strata)
    inner_sd, inner_z = sd.copy(), z.copy()
    rng = np.random.default_rng(0)
    order = np.tile(np.arange(len(sd)), (N_PERMUTATIONS, 1))
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        inner_sd[rows] -= sd[rows].mean()
        inner_z[rows] -= z[rows].mean(0)
        order[:, rows] = rng.permuted(np.tile(rows, (N_PERMUTATIONS, 1)), axis=1)
    inner_sd, inner_z = stats.zscore(inner_sd), stats.zscore(inner_z)
    within, drawn = inner_sd @ inner_z / len(sd), inner_sd[order] @ inner_z / len(sd)
    p = permutation_p(drawn, within)
    plain = stats.zscore(sd) @ stats.zscore(z) / len(sd)
    names = [*levels.columns, "all"]
    return pd.DataFrame({"measure": names, "r": plain, "within": within, "p": p, "groups": len(sd)})
