"""Predictions beside measurements: what a theory says of a quantity, and whether it came about.

Quantities are ratios or exponents, so that each has a *null*: the value that it has if what the
theory speaks of makes no difference (1 for a ratio, 0 for a slope or a rank correlation).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from lib import measures
from lib.measures import comparison
from lib.measures.intervals import check_level, instability, pair_means, sd_interval
from lib.results import run_group


class Measured(NamedTuple):
    """A value with its interval, and how many units are behind it."""

    value: float
    low: float
    high: float
    n: int


def geometric_ratio(
    first: npt.ArrayLike, second: npt.ArrayLike, *, level: float = 0.95
) -> Measured:
    """Geometric mean of second / first over pairs (S,), with Student's interval of the logarithms.

    Pairs in which a value is missing or not positive are left out; fewer than three pairs: NaN.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"shapes {first.shape} and {second.shape}; expected (S,) twice, paired")
    kept = np.isfinite(first) & np.isfinite(second) & (first > 0) & (second > 0)
    if kept.sum() < 3:
        return Measured(*(float("nan"),) * 3, int(kept.sum()))
    ratio, _ = comparison.paired_scores(np.log(first[kept]), np.log(second[kept]), level=level)
    return Measured(*np.exp(ratio[:3]).tolist(), int(kept.sum()))


def spread_ratio(first: npt.ArrayLike, second: npt.ArrayLike, *, level: float = 0.95) -> Measured:
    """SD of the second scores over that of the first (``lib.measures.comparison.spread_ratio``)."""
    ratio = comparison.spread_ratio(np.asarray(first), np.asarray(second), level=level)
    return Measured(ratio.value, ratio.low, ratio.high, min(ratio.n_runs))


def disagreement_ratio(first: np.ndarray, second: np.ndarray, *, level: float = 0.95) -> Measured:
    """Mean distance between runs of the second group over that of the first, seeds shared.

    ``first``, ``second`` are (S, S) distances of runs in the same order of seeds; seeds are
    resampled in both at once. NaN where a group's runs do not differ.
    """
    kernels = [np.asarray(distances, float) for distances in (first, second)]

    def log_mean(kernel: np.ndarray) -> comparison.Statistic:
        def statistic(weights: np.ndarray) -> np.ndarray:
            mean = pair_means(kernel, weights)
            return np.log(np.where(mean > 0, mean, np.nan))

        return statistic

    sizes = len(kernels[0]), len(kernels[1])
    ratio = comparison.difference(*map(log_mean, kernels), sizes, paired=True, level=level)
    return Measured(*np.exp(ratio[:3]).tolist(), min(sizes))


def exponent(x: npt.ArrayLike, y: npt.ArrayLike, *, level: float = 0.95) -> Measured:
    """b of y ∝ x^b: the slope of log y on log x, with Student's interval of a straight line.

    Three points at least. The interval takes deviations from the line as independent.
    """
    x, y = np.log(np.asarray(x, float)), np.log(np.asarray(y, float))
    check_level(level)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 3:
        raise ValueError(f"shapes {x.shape} and {y.shape}; expected (K,) twice, K ≥ 3")
    line = stats.linregress(x, y)
    reach = stats.t.ppf((1 + level) / 2, len(x) - 2) * line.stderr
    return Measured(line.slope, line.slope - reach, line.slope + reach, len(x))


def verdict(found: Measured, *, predicted: float, null: float, sign: int = 0) -> str:
    """What came about of a prediction.

    ``predicted`` is the value that the theory gives; NaN where it gives only a direction: then
    ``sign`` is +1 or −1, above or below ``null``.

    ``direction and size``: the interval excludes the null on the predicted side and holds the
    predicted value. ``direction``: the first only. ``opposite``: it excludes the null on the other
    side. ``undecided``: it holds the null, and the predicted value too, or no value was predicted.
    ``not the predicted size``: it holds the null and not the predicted value.
    ``not measured``: NaN.
    """
    if np.isnan([found.low, found.high]).any():
        return "not measured"
    side = np.sign(predicted - null) if np.isfinite(predicted) else sign
    if side not in (-1, 1):
        raise ValueError(f"predicted = {predicted}, null = {null}, sign = {sign}: no direction")
    fits = np.isfinite(predicted) and found.low <= predicted <= found.high
    if found.low <= null <= found.high:
        return "undecided" if fits or not np.isfinite(predicted) else "not the predicted size"
    if (found.low > null) != (side > 0):
        return "opposite"
    return "direction and size" if fits else "direction"


class Claim(NamedTuple):
    """A line of the last table: what is said of a quantity, and what was measured."""

    part: str
    quantity: str
    source: str
    predicted: float
    null: float
    sign: int
    found: Measured


def table_of(claims: list[Claim]) -> pd.DataFrame:
    """A row a claim: ``part, quantity, source, predicted, measured, low, high, n, verdict``."""
    rows = [
        {
            "part": claim.part,
            "quantity": claim.quantity,
            "source": claim.source,
            "predicted": claim.predicted,
            "measured": claim.found.value,
            "low": claim.found.low,
            "high": claim.found.high,
            "n": claim.found.n,
            "verdict": verdict(
                claim.found, predicted=claim.predicted, null=claim.null, sign=claim.sign
            ),
        }
        for claim in claims
    ]
    return pd.DataFrame(rows)


def by_seed(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """A column of a run table as a table of its own: a row a seed, a column a method."""
    return runs.pivot(index="seed", columns="method", values=column).astype(float)


def disagreements(results: str) -> dict[tuple[float, str], np.ndarray]:
    """(S, S) pairwise disagreement of the runs of each learning rate and method, by seed."""
    matrices = {}
    for group in run_group.read(results).values():
        by_seed = group.take(np.argsort(group.runs["seed"].to_numpy()))
        key = float(group.setting["learning_rate"]), str(group.setting["method"])
        matrices[key] = measures.pairwise_disagreement(by_seed.predictions)
    return matrices


def method_table(
    runs: pd.DataFrame, apart: dict[tuple[float, str], np.ndarray], *, level: float = 0.95
) -> pd.DataFrame:
    """A row a learning rate and method.

    Columns: ``runs``, of these ``failed``; mean ``score`` and ``distance`` from the start weights;
    ``sd`` of the scores with its interval for normal scores, ``sd_low``, ``sd_high``; mean pairwise
    ``disagreement`` with ``disagreement_low``, ``disagreement_high``.

    Parameters
    ----------
    runs : the run table of a configuration
    apart : ``disagreements`` of the same configuration
    """
    rows = {}
    for key, part in runs.groupby(["learning_rate", "method"], sort=False):
        scores = part["score"].astype(float).dropna().to_numpy()
        spreads = {
            "sd": sd_interval(scores, level=level),
            "disagreement": instability(apart[key], level=level),
        }
        rows[key] = {
            "runs": len(part),
            "failed": int((part["status"] != "ok").sum()),
            "score": scores.mean(),
            "distance": part["distance"].astype(float).mean(),
        }
        for name, spread in spreads.items():
            ends = {f"{name}_low": spread.low, f"{name}_high": spread.high}
            rows[key] |= {name: spread.value, **ends}
    index = ["learning_rate", "method"]
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index)
