"""Crossed designs in a table of runs: every init seed trained with every order seed."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from lib.config.seeds import STREAMS
from lib.measures import intervals
from lib.measures.comparison import Comparison
from lib.measures.intervals import MIN_RUNS, N_PERMUTATIONS, check_level, permutation_p

_SEEDS = [f"seed_{stream}" for stream in STREAMS]


@dataclass(frozen=True)
class Crossed:
    """The runs of one setting as a grid: row i an init seed, column j an order seed.

    ``runs`` are in the order of their seeds. Grids are (I, J), or (I, J, K) with K dropout seeds
    in each cell.
    """

    runs: pd.DataFrame

    def seeds(self, stream: str) -> tuple[int, ...]:
        """The seeds of a stream, in order."""
        return tuple(map(int, sorted(self.runs[f"seed_{stream}"].unique())))

    def grid(self, values: pd.Series) -> np.ndarray:
        """A value of each run as a grid."""
        cells = values.to_numpy().reshape(len(self.seeds("init")), len(self.seeds("order")), -1)
        return cells if cells.shape[2] > 1 else cells[..., 0]

    @property
    def setting(self) -> pd.Series:
        """The first row of ``runs``, for what all of them share."""
        return self.runs.iloc[0]

    @property
    def scores(self) -> np.ndarray:
        """The scores. A run that diverged has none; it counts as one that knows nothing: the
        majority class's accuracy, or 0 where the metric is not accuracy.
        """
        nothing = self.setting["majority"] if self.setting["metric"] == "accuracy" else 0.0
        return self.grid(self.runs["score"].astype(float).fillna(nothing))

    @property
    def failed(self) -> np.ndarray:
        """True where a run is not ``ok``: where it diverged too."""
        return self.grid(self.runs["status"] != "ok")

    @property
    def failed_by_order(self) -> np.ndarray:
        """(J,) share of failed runs with each order seed."""
        return _cells(self.failed).mean(0)


def crossed_groups(runs: pd.DataFrame) -> tuple[dict[str, Crossed], list[str]]:
    """The groups whose runs are a complete crossed design, and notes on those nearly so.

    Parameters
    ----------
    runs : the run table of a configuration (``lib.results.tables.read(results, "runs")``)

    Returns
    -------
    group → design; and a line a group in which seeds were crossed but runs are missing or there
    twice. Ordinary groups, in which every run has streams of its own, are passed over.
    """
    grids, notes = {}, []
    for group, part in runs.groupby("group"):
        inits, orders = part["seed_init"].nunique(), part["seed_order"].nunique()
        pairs = part.groupby(_SEEDS[:2]).size()
        shared = len(pairs) > max(inits, orders)
        if part["setting_id"].nunique() > 1 or min(inits, orders) < 2 or not shared:
            continue
        if len(pairs) < inits * orders or pairs.nunique() > 1 or part.duplicated(_SEEDS).any():
            notes.append(
                f"{group}: {len(part)} runs of {inits} init and {orders} order seeds are no "
                "complete grid; train the runs that are missing, or remove those that are extra"
            )
            continue
        grids[str(group)] = Crossed(part.sort_values(_SEEDS))
    return grids, notes


def _cells(scores: np.ndarray) -> np.ndarray:
    """(I, J) the means over dropout seeds."""
    return scores.reshape(*scores.shape[:2], -1).mean(2)


N_DRAWS = 20_000


def check_grid(scores: np.ndarray) -> np.ndarray:
    """Scores (I, J) or (I, J, K) as floats, every cell filled, at least two seeds a stream."""
    scores = np.asarray(scores, float)
    if scores.ndim not in (2, 3) or min(scores.shape) < 2:
        raise ValueError(
            f"scores has shape {scores.shape}; expected (I, J) or (I, J, K): init seeds × order "
            "seeds (× dropout seeds), at least 2 of each"
        )
    if not np.isfinite(scores).all():
        cell = tuple(map(int, np.argwhere(~np.isfinite(scores))[0]))
        raise ValueError(
            f"scores{list(cell)} is {scores[cell]}: a crossed design needs every cell. Give a run "
            "that diverged the score of knowing nothing, as here, or leave out its init "
            "seed or its order seed"
        )
    return scores


def variance_components(scores: np.ndarray, *, level: float = 0.95) -> pd.DataFrame:
    """How much variance each stream contributes: two-way random effects, by method of moments.

    With the mean squares MS of the analysis of variance: init (MS_init − MS_rest)/J, order
    (MS_order − MS_rest)/I, rest MS_rest, which holds the interaction and all that was not varied
    by itself. With K dropout seeds a cell, rest becomes interaction
    (MS_interaction − MS_dropout)/K and dropout MS_dropout, taken as drawn anew in each cell; the
    other two divide by JK and IK. (Searle, Casella & McCulloch 1992, *Variance Components*, ch. 4.)
    Unbiased whatever the distribution, so a small component may come out negative; never clipped.

    Intervals are generalised (Weerahandi 1993, *JASA* 88, 899): for normal effects a mean square is
    its expectation times χ²/df, so dividing the observed ones by draws of χ²/df gives a
    distribution for every component and share.

    Parameters
    ----------
    scores : (I, J) or (I, J, K), failed runs included: they are often most of the variance
    level : coverage aimed at by the intervals

    Returns
    -------
    a row a source; ``variance`` in the squared unit of the scores, ``share`` of the sum of the
    components, ``sd`` = √max(variance, 0) in the unit of the scores; each with ``_low`` and
    ``_high``. Scores that are all equal have no shares (NaN).

    Simulated (``data/benchmarks/variance_coverage.csv``), 95 % intervals hold 0.94 to 0.97 for
    normal scores (by the jackknife: 0.88 to 0.99); where one run in five fails they hold as many if
    it fails at random, and 0.65 to 0.96 if a seed decides, since a few seeds may hold no bad one.
    """
    scores = check_grid(scores)
    check_level(level)
    low, high = np.quantile(_drawn_components(scores), [(1 - level) / 2, (1 + level) / 2], axis=1)
    sources = ["init", "order", *(["rest"] if scores.ndim == 2 else ["interaction", "dropout"])]
    table = pd.DataFrame(index=pd.Index(sources, name="source"))
    ends = {"": components(scores), "_low": low, "_high": high}
    table = table.assign(**{f"variance{end}": both[0] for end, both in ends.items()})
    table = table.assign(**{f"share{end}": both[1] for end, both in ends.items()})
    sds = {f"sd{end}": np.sqrt(np.clip(both[0], 0, None)) for end, both in ends.items()}
    return table.assign(**sds)


def shares_without_a_seed(design: Crossed, *, level: float = 0.95) -> pd.DataFrame:
    """``share, share_low, share_high`` of ``variance_components`` with each seed left out: a row a
    ``stream`` and ``seed`` that is gone, and a ``source``; NaN where one seed would be left. A
    share that falls rests on that seed.
    """
    whole, tables = variance_components(design.scores, level=level), {}
    for axis, stream in enumerate(STREAMS[:2]):
        for row, seed in enumerate(seeds := design.seeds(stream)):
            rest = np.delete(design.scores, row, axis)
            left = variance_components(rest, level=level) if len(seeds) > 2 else whole * np.nan
            tables[stream, seed] = left[["share", "share_low", "share_high"]]
    return pd.concat(tables, names=["stream", "seed"])


def _mean_squares(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean squares, their degrees of freedom, and the matrix that turns them into components."""
    I, J = scores.shape[:2]
    K = scores.size // (I * J)
    whole = (scores - scores.flat[0]).reshape(I, J, K)  # equal scores are then exactly 0
    cells = whole.mean(2)
    rows, columns = cells.mean(1, keepdims=True), cells.mean(0, keepdims=True)
    squares = [
        J * K * ((rows - cells.mean()) ** 2).sum(),
        I * K * ((columns - cells.mean()) ** 2).sum(),
        K * ((cells - rows - columns + cells.mean()) ** 2).sum(),
    ]
    free = [I - 1, J - 1, (I - 1) * (J - 1)]
    matrix = np.array([[1 / (J * K), 0, -1 / (J * K)], [0, 1 / (I * K), -1 / (I * K)], [0, 0, 1]])
    if scores.ndim == 3:
        squares.append(((whole - cells[..., None]) ** 2).sum())
        free.append(I * J * (K - 1))
        matrix = np.block([[matrix, np.zeros((3, 1))], [0, 0, 0, 1]])
        matrix[2, 2:] = 1 / K, -1 / K
    return np.array(squares) / free, np.array(free), matrix


def _with_shares(variances: np.ndarray) -> np.ndarray:
    """(2, …): variances and their shares of the total, which is never negative; NaN if it is 0."""
    total = variances.sum(-1, keepdims=True)
    return np.stack([variances, variances / np.where(total > 0, total, np.nan)])


def components(scores: np.ndarray) -> np.ndarray:
    """(2, sources): the components of ``variance_components`` and their shares."""
    squares, _, matrix = _mean_squares(scores)
    return _with_shares(matrix @ squares)


@lru_cache(maxsize=16)
def _chi_squares(free: tuple[int, ...]) -> np.ndarray:
    """(draws, sources) of χ²/df, the same for the same design."""
    return np.random.default_rng(0).chisquare(free, (N_DRAWS, len(free))) / free


def _drawn_components(scores: np.ndarray) -> np.ndarray:
    """(2, draws, sources) components and shares of the generalised distribution."""
    squares, free, matrix = _mean_squares(scores)
    return _with_shares(squares / _chi_squares(tuple(free.tolist())) @ matrix.T)


def share_difference(scores: np.ndarray, *, level: float = 0.95) -> Comparison:
    """Share of the order seed in the variance of scores less that of the init seed, with the
    generalised interval of ``variance_components``, whose scores it takes, and p from the same
    draws.
    """
    scores = check_grid(scores)
    check_level(level)
    drawn, value = (
        shares[..., 1] - shares[..., 0]
        for shares in (_drawn_components(scores)[1], components(scores)[1])
    )
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    p = 2 * min((drawn <= 0).mean(), (drawn >= 0).mean())
    return Comparison(float(value), float(low), float(high), float(p), scores.shape[:2])


def seed_dependence(scores: np.ndarray) -> dict[str, float]:
    """p-values of two null hypotheses: the init seed does not matter; the order seed does not.

    For init: given the order seed, which init seed met which outcome is chance. Outcomes are
    permuted within each order seed, separately, and the spread of the init seeds' means is
    compared. For failures (1 and 0) this is the permutation form of Cochran's Q test, for scores
    that of the F test. For order, the same with rows and columns exchanged.

    Parameters
    ----------
    scores : (I, J) or (I, J, K), or failures as 1 and 0 in their place; replicates are averaged

    Returns
    -------
    ``init`` and ``order`` → p of ``N_PERMUTATIONS`` permutations, at least 1/10,000; NaN where
    nothing differs that could be permuted (no run failed, say)
    """
    scores = check_grid(scores)
    cells = _cells(scores)
    return {"init": _permutation_p(cells), "order": _permutation_p(cells.T)}


def _permutation_p(cells: np.ndarray) -> float:
    """p of the spread of the row means of (n, blocks) when each column is permuted by itself."""
    if not np.ptp(cells, axis=0).any():
        return float("nan")
    rng = np.random.default_rng(0)
    cells = cells - cells.mean(0)
    drawn = rng.permuted(np.broadcast_to(cells, (N_PERMUTATIONS, *cells.shape)), axis=1)
    return float(permutation_p((drawn.mean(2) ** 2).sum(1), (cells.mean(1) ** 2).sum()))


def _means_by_stream(
    distances: np.ndarray, runs: pd.DataFrame
) -> dict[tuple[str, ...], np.ndarray]:
    """By streams that differ, (1 + B, M) mean distance of the pairs of runs that differ in them and
    share the others: with all seeds, then of each resample, NaN where that has no such pair.

    Seeds are resampled, those of each stream by themselves; a seed that both runs of a pair share
    counts once. Streams of fewer than ``MIN_RUNS`` seeds are kept as they are.
    """
    weights, apart = [], []
    for number, stream in enumerate(STREAMS):
        code = pd.factorize(runs[f"seed_{stream}"])[0]
        plain = np.ones((1, code.max() + 1))
        drawn = plain.repeat(intervals.N_RESAMPLES, 0)
        if plain.size >= MIN_RUNS:
            drawn = intervals.run_weights(plain.size, seed=number)
        weights.append(np.vstack([plain, drawn])[:, code])
        apart.append(code[:, None] != code)
    means = {}
    for chosen in itertools.product((False, True), repeat=len(STREAMS)):
        pairs = (np.array(apart) == np.reshape(chosen, (-1, 1, 1))).all(0)
        if any(chosen) and pairs.any():
            stack = np.concatenate([np.where(pairs, distances, 0.0), pairs[None]])
            second = np.prod(list(itertools.compress(weights, chosen)), axis=0)
            first = np.prod(weights, axis=0)
            totals = ((first @ stack) * second).sum(-1).T
            totals[totals[:, -1] == 0] = np.nan
            means[tuple(itertools.compress(STREAMS, chosen))] = totals[:, :-1] / totals[:, -1:]
    return means


def stream_table(
    pairs: Mapping[str, np.ndarray],
    runs: pd.DataFrame,
    *,
    level: float = 0.95,
) -> pd.DataFrame:
    """What each stream does to each measure: a row a measure and a set of streams that differ.

    ``measure, differing, value, low, high``: mean distance of the pairs of runs that differ in
    these streams and share the others; ``share`` and its ends: that mean over the one of pairs that
    share no seed. Shares do not add up: what one stream sets off, another may set off as well.
    Intervals resample the seeds of each stream, never pairs; streams of fewer than ``MIN_RUNS``
    seeds stay as they are. Expanded percentiles, for the smallest number of seeds drawn: on
    6 × 6 × 2 seeds of normal effects they held the truth 94 to 100 times in a hundred.

    Parameters
    ----------
    pairs : by measure, distances (S, S)
    runs : the S runs, with ``seed_init``, ``seed_order``, ``seed_dropout``; cells may be missing
    """
    means = _means_by_stream(np.stack([*pairs.values()]), runs)
    counts = [runs[f"seed_{stream}"].nunique() for stream in STREAMS]
    fewest, rows = min((n for n in counts if n >= MIN_RUNS), default=None), []
    columns = ["value", "low", "high", "share", "share_low", "share_high"]
    for streams, values in means.items():
        whole = means[max(means, key=len)]
        shares = values / np.where(whole == 0, np.nan, whole)
        both = np.stack([values, shares], axis=1)  # (1 + B, 2, M)
        low = high = np.full_like(both[0], np.nan)
        if fewest is not None:
            low, high = intervals.percentile_interval(both[1:], level, n_runs=fewest)
        numbers = np.stack([both[0], low, high], axis=1).reshape(len(columns), -1)
        table = pd.DataFrame({"measure": list(pairs), "differing": ", ".join(streams)})
        rows.append(table.assign(**dict(zip(columns, numbers, strict=True))))
    return pd.concat(rows, ignore_index=True)
