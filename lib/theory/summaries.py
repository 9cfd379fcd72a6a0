"""The sweeps in short: means over data sets with intervals, bounds against measurements, ranks.

Data sets are resampled, never rows: the rows of one set (steps, rates) are not independent.
"""

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from lib import paths
from lib.measures import intervals
from lib.measures.intervals import Interval

#: Which column each bound is an upper bound of, by table. H19 bounds an expectation over starts,
#: which a variance of a few runs only estimates: it is not among those that a row could violate.
BOUNDED = {
    "margins": {
        "H1": "rotation_mean",
        "H5": "displacement_mean",
        "H6": "rotation_mean",
        "H8": "displacement_mean",
        "H9": "rotation_mean",
        "H9′": "rotation_mean",
    },
    "leave_one_out": {
        "H15": "parameter_mean",
        "H15b": "parameter_mean",
        "H16": "direction_mean",
        "T1c": "parameter_max",
    },
    "soft_margin": {
        "S0": "norm",
        "S1": "parameter_max",
        "S2": "parameter_max",
        "S3": "parameter_max",
    },
    "seeds": {"H17": "parameter", "H18": "direction", "H18′": "direction"},
}
#: Two unit vectors are never farther apart: a larger bound on a direction says nothing.
VACUOUS = {"H1": 2.0, "H6": 2.0, "H9": 2.0, "H9′": 2.0, "H16": 2.0, "H18": 2.0, "H18′": 2.0}
#: Rounding: two equal heads differ by this share of what is compared.
_ROUNDING = 1e-9


def means(
    table: pd.DataFrame, by: Sequence[str], columns: Iterable[str], *, level: float = 0.95
) -> pd.DataFrame:
    """A row a combination of ``by`` and a column: mean over data sets, interval, number of sets.

    Every set counts once: where a combination has several rows of a set, their mean does. Sets
    whose value is NaN do not count.
    """
    rows = []
    for key, part in table.groupby(list(by), sort=True):
        for column in columns:
            each = part.groupby(["job", "set"])[column].mean().dropna().to_numpy()
            interval = mean(each, level=level)
            rows.append(
                {**dict(zip(by, key, strict=True)), "quantity": column, **interval._asdict()}
            )
    return pd.DataFrame(rows).rename(columns={"n_runs": "sets"})


def mean(values: np.ndarray, *, level: float = 0.95) -> Interval:
    """Mean over data sets with an interval from resampling sets; NaN where there are too few."""
    if len(values) < 2:
        single = float(values[0]) if len(values) else float("nan")
        return Interval(single, float("nan"), float("nan"), len(values))
    return intervals.mean_interval(values, level=level)


def tightness(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Bounds against what they bound, a row a bound: how often compared, violated, and how tight.

    Parameters
    ----------
    kind : the name of the table, a key of ``BOUNDED``

    ``compared`` rows in which the bound applies, of ``rows``; ``sets``; ``violated`` (more than
    rounding); ``vacuous``: the bound is true of anything; ``largest`` and ``median`` of
    measured / bound.
    """
    rows = []
    for bound, column in BOUNDED[kind].items():
        part = table[table[bound].notna()]
        ratio = part[column] / part[bound]
        rows.append(
            {
                "bound": bound,
                "measured": column,
                "rows": len(table),
                "compared": len(part),
                "sets": len(part[["job", "set"]].drop_duplicates()),
                "violated": int((ratio > 1 + _ROUNDING).sum()),
                "vacuous": int((part[bound] >= VACUOUS.get(bound, np.inf)).sum()),
                "largest": ratio.max(),
                "median": ratio.median(),
            }
        )
    return pd.DataFrame(rows)


def rank_correlation(a: np.ndarray, b: np.ndarray, *, level: float = 0.95) -> Interval:
    """Spearman's ρ over data sets, with an interval from resampling sets (ranks kept)."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 3:
        raise ValueError(f"shapes {a.shape} and {b.shape}; expected two of (sets,), 3 or more")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a and b must be finite: leave out sets for which one is not known")
    ranks = np.stack([stats.rankdata(a), stats.rankdata(b)])
    statistic = partial(_weighted_correlation, ranks)
    return intervals.interval(statistic, len(a), level=level, bounds=(-1.0, 1.0))


def _weighted_correlation(ranks: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(B,) Pearson's correlation of ranks (2, S) under weights (B, S)."""
    share = weights / weights.sum(1, keepdims=True)
    centred = ranks - (share @ ranks.T)[:, :, None]
    products = np.einsum("bs,bxs,bys->bxy", share, centred, centred)
    with np.errstate(invalid="ignore", divide="ignore"):
        return products[:, 0, 1] / np.sqrt(products[:, 0, 0] * products[:, 1, 1])


def earlier() -> pd.DataFrame:
    """An earlier measurement of the same recipe, not published (``data/published/README.md``)."""
    return pd.read_csv(paths.PUBLISHED / "head_sweeps_earlier.csv")


def against_earlier(left_out: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Our sweeps of simulated sets beside the earlier ones: a row an earlier value.

    Parameters
    ----------
    left_out : the table ``leave_one_out`` of the jobs of ``config/theory.yaml``

    ``earlier``; ``value``, ``low``, ``high`` and ``sets``: ours; ``agrees``: the two differ by no
    more than √2 times the half-width of ours, as they should in ``level`` of all cases, since both
    are means over as many sets drawn independently.
    """
    rows = []
    for _, row in earlier().iterrows():
        part = left_out[left_out["job"].str.fullmatch(row["jobs"])]
        for name in ("n", "gap", "steps", "share"):
            part = part[np.isclose(part[name], row[name])]
        ours = mean(part[row["quantity"]].to_numpy(), level=level)
        side = ours.high if row["earlier"] > ours.value else ours.low
        near = abs(row["earlier"] - ours.value) <= np.sqrt(2) * abs(side - ours.value)
        rows.append({**row.drop("jobs"), **ours._asdict(), "agrees": bool(near)})
    return pd.DataFrame(rows).rename(columns={"n_runs": "sets"})
