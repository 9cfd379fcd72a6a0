"""The sweeps in short: means over data sets with intervals, bounds against measurements, ranks.

Data sets are resampled, never rows: the rows of one set (steps, rates) are not independent.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from lib.measures import intervals
from lib.measures.intervals import Interval

#: Which column each bound is an upper bound of, by table. H19 bounds an expectation over starts,
#: which a variance of a few runs only estimates: it is not among those that a row could violate.
BOUNDED = {
    "margins": {
        **dict.fromkeys(("H1", "H6", "H9", "H9′"), "rotation_mean"),
        **dict.fromkeys(("H5", "H8"), "displacement_mean"),
    },
    "leave_one_out": {
        **dict.fromkeys(("H15", "H15b"), "parameter_mean"),
        **{"H16": "direction_mean", "T1c": "parameter_max"},
    },
    "soft_margin": {"S0": "norm", **dict.fromkeys(("S1", "S2", "S3"), "parameter_max")},
    "seeds": {"H17": "parameter", "H18": "direction", "H18′": "direction"},
}
#: Two unit vectors are never farther apart: a larger bound on a direction says nothing.
VACUOUS = dict.fromkeys(("H1", "H6", "H9", "H9′", "H16", "H18", "H18′"), 2.0)
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
    if not len(values):
        return Interval(*(float("nan"),) * 3, 0)
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


def rank_correlation(a: npt.ArrayLike, b: npt.ArrayLike, *, level: float = 0.95) -> Interval:
    """Spearman's ρ over K ≥ 4 points with Fisher's interval, of variance 1.06/(K − 3) (Fieller,
    Hartley & Pearson 1957), which takes the points as independent.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 4 or not np.isfinite([a, b]).all():
        raise ValueError(f"shapes {a.shape}, {b.shape}; expected (K,) twice, finite, 4 or more")
    return fisher_interval(float(stats.spearmanr(a, b).statistic), len(a), level=level)


def fisher_interval(rho: float, n: int, *, level: float = 0.95) -> Interval:
    """The interval of ``rank_correlation``, of a ρ that is known."""
    intervals.check_level(level)
    reach = stats.norm.ppf((1 + level) / 2) * np.sqrt(1.06 / (n - 3))
    with np.errstate(divide="ignore"):
        low, high = np.tanh(np.arctanh(rho) + np.array([-reach, reach]))
    return Interval(float(rho), float(low), float(high), n)
