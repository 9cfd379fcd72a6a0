"""The learning-rate ladder: how often runs fail at each rate, and at which rate half of them do."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from lib import measures
from lib.config import Setting
from lib.measures import intervals

#: Successful runs beat the majority class clearly by more than this; else "failed" says little.
CLEAR = 0.05
#: So many learning rates make a ladder.
MIN_RATES = 3
#: Slopes over which the likelihood is profiled, in log-odds a decade of the learning rate.
_SLOPES = np.geomspace(1e-2, 1e6, 400)


def ladders(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The ladders in a run table: settings that differ in nothing but the learning rate.

    Parameters
    ----------
    runs : the run table of a configuration (``lib.results.tables.read(results, "runs")``)

    Returns
    -------
    name → the runs of a ladder of at least ``MIN_RATES`` rates, the lowest first. The name is
    backbone and task, and as many other fields as it takes to tell the ladders apart. A run that
    is in several groups counts once.
    """
    fields = [field.name for field in dataclasses.fields(Setting) if field.name in runs]
    fields.remove("learning_rate")
    single = runs.drop_duplicates(["setting_id", "seed_label"])
    sweeps = [
        part.sort_values(["learning_rate", "seed_label"]).reset_index(drop=True)
        for _, part in single.groupby(fields, dropna=False, sort=False)
        if part["learning_rate"].nunique() >= MIN_RATES
    ]
    firsts = [part.iloc[0] for part in sweeps]
    names = [f"{first['backbone']}, {Path(first['task']).stem}" for first in firsts]
    for field in fields:
        if len(set(names)) < len(names) and len({first[field] for first in firsts}) > 1:
            word = field.replace("_", " ")
            pairs = zip(names, firsts, strict=True)
            names = [f"{name}, {word} {first[field]}" for name, first in pairs]
    return dict(zip(names, sweeps, strict=True))


def failed_runs(runs: pd.DataFrame) -> np.ndarray:
    """(S,) True where a run failed: any status but ``ok``, so diverged runs too."""
    return (runs["status"] != "ok").to_numpy(bool)


def rate_table(runs: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """A row a learning rate of a ladder.

    Columns: ``runs``; ``failed``, of these ``collapsed`` and ``diverged``; ``rate`` of failure with
    its exact interval ``low``, ``high`` (``measures.failed_rate``). Of the successful runs:
    ``mean`` of the score, ``margin``, how far their mean accuracy is above the majority class, and
    ``clear``, whether that is more than ``CLEAR`` (NA where no run succeeded, and in regression).
    """
    rows = {}
    for learning_rate, part in runs.groupby("learning_rate"):
        failed = failed_runs(part)
        good = part[~failed].astype({name: float for name in ("score", "accuracy", "majority")})
        rate, low, high, n_runs = measures.failed_rate(failed, level=level)
        kinds = {kind: int((part["status"] == kind).sum()) for kind in ("collapsed", "diverged")}
        rows[learning_rate] = {
            "runs": n_runs, "failed": int(failed.sum()), **kinds,
            "rate": rate, "low": low, "high": high,
            "mean": good["score"].mean(), "margin": (good["accuracy"] - good["majority"]).mean(),
        }  # fmt: skip
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("learning_rate")
    clear = (table["margin"] > CLEAR).astype("boolean")
    return table.assign(clear=clear.mask(table["margin"].isna()))


def failures_by_seed(runs: pd.DataFrame) -> pd.DataFrame:
    """True where a run of a ladder failed: a row a seed, a column a learning rate.

    Only seeds that were trained at every rate, so that
    ``lib.analysis.variance_components.seed_dependence`` can ask whether the same ones fail
    everywhere.
    """
    wide = runs.assign(failed=failed_runs(runs).astype(float))
    wide = wide.pivot_table("failed", "seed_label", "learning_rate", sort=False)
    return wide.dropna().astype(bool)


@dataclass(frozen=True)
class HalfFailure:
    """The learning rate at which half of the runs fail, and the curve that says so.

    ``kind`` is ``curve``; ``one rung``: it is the only one with failed and successful runs;
    ``between``: the rate lies between the two rungs ``between``, and no value can be given;
    ``above`` (no run failed) or ``below`` (all did) the ladder; ``no rise``: failures do not grow
    with the rate. ``low`` 0 and ``high`` infinite mean no bound within a decade of the ladder;
    ``slope`` is in log-odds a decade.
    """

    kind: str
    rate: float = np.nan
    low: float = np.nan
    high: float = np.nan
    slope: float = np.nan
    between: tuple[float, float] = (np.nan, np.nan)

    def curve(self, learning_rates: np.ndarray) -> np.ndarray:
        """Probability of failure at learning rates; NaN where there is no curve."""
        if self.kind != "curve":
            return np.full(np.shape(learning_rates), np.nan)
        return special.expit(self.slope * np.log10(np.asarray(learning_rates, float) / self.rate))

    def text(self) -> str:
        """In words, such as ``0.0041 [0.0033, 0.0055]``."""
        if self.kind == "no rise":
            return "none: failures do not grow with the rate"
        ends = f"[{self.low:.2g}, {self.high:.2g}]"
        if self.kind == "between":
            return "between {:.2g} and {:.2g}, ".format(*self.between) + ends
        if self.kind in ("above", "below"):
            runs = "no run failed" if self.kind == "above" else "all runs failed"
            return f"{self.kind} the ladder: {runs}, {ends}"
        rate = intervals.Interval(self.rate, self.low, self.high, 0).text(2, "g")
        return rate + (", the one mixed rung" if self.kind != "curve" else "")


def half_failure(
    learning_rates: np.ndarray, failed: np.ndarray, *, level: float = 0.95
) -> HalfFailure:
    """Logistic curve of failure against log10 of the learning rate, by maximum likelihood.

    The interval of the rate at which half of the runs fail is the set that a likelihood-ratio test
    does not reject, over all slopes ≥ 0. That is defined even where failed and successful runs do
    not overlap, so that the slope has no finite estimate. Runs are taken as independent; where the
    same seeds fail at every rate (``failures_by_seed``), the interval is too narrow.

    Parameters
    ----------
    learning_rates, failed : (S,) of every run, with at least two distinct rates
    """
    intervals.check_level(level)
    failed = np.asarray(failed)
    rates = np.asarray(learning_rates, float)
    if rates.ndim != 1 or rates.shape != failed.shape or not np.isin(failed, (0, 1)).all():
        raise ValueError(
            f"learning_rates and failed have shapes {rates.shape} and {failed.shape}; expected "
            "(S,) twice, failed with True and False"
        )
    if len(np.unique(rates)) < 2 or not (np.isfinite(rates) & (rates > 0)).all():
        raise ValueError(
            f"learning_rates holds {np.unique(rates)}; a curve needs at least two positive rates"
        )
    rungs, rung = np.unique(np.log10(rates), return_inverse=True)
    runs, fails = np.bincount(rung), np.bincount(rung, weights=failed)
    if 0 < fails.sum() < len(failed) and np.dot(fails, rungs - rungs[rung].mean()) <= 0:
        return HalfFailure("no rise")
    kind, start, slope = _shape(rungs, runs, fails)

    def profile(middle: float) -> float:
        return _log_likelihood(_SLOPES[:, None] * (rungs - middle), runs, fails).max()

    threshold = profile(start) - stats.chi2.ppf(level, 1) / 2
    ends = []
    for limit, unbounded in ((min(rungs[0], start) - 1, 0.0), (max(rungs[-1], start) + 1, np.inf)):
        inside = profile(limit) >= threshold
        root = limit if inside else optimize.brentq(lambda m: profile(m) - threshold, start, limit)
        ends.append(unbounded if inside else float(10**root))
    value = float(10**start) if kind in ("curve", "one rung") else np.nan
    half = HalfFailure(kind, value, *ends, slope)
    if kind == "between":
        gap = rungs[fails == 0][-1], rungs[fails > 0][0]
        return dataclasses.replace(half, between=(float(10 ** gap[0]), float(10 ** gap[1])))
    return half


def _log_likelihood(odds: np.ndarray, runs: np.ndarray, fails: np.ndarray) -> np.ndarray:
    """(…) of so many failures of the runs of each rung, from log-odds (…, rungs)."""
    chances = fails * special.log_expit(odds) + (runs - fails) * special.log_expit(-odds)
    return chances.sum(-1)


def _shape(rungs: np.ndarray, runs: np.ndarray, fails: np.ndarray) -> tuple[str, float, float]:
    """Kind of ladder, log10 of the likeliest rate of half failure, and slope."""
    if not fails.any():
        return "above", rungs[-1] + 0.5, np.inf
    if (fails == runs).all():
        return "below", rungs[0] - 0.5, np.inf
    first_failing, last_succeeding = rungs[fails > 0][0], rungs[fails < runs][-1]
    if first_failing > last_succeeding:
        return "between", (first_failing + last_succeeding) / 2, np.inf
    if first_failing == last_succeeding:
        # The steeper the curve, the nearer its middle is to this rung, and the better it fits.
        rung = rungs == first_failing
        side = np.sign(2 * fails[rung] - runs[rung]).item()
        return "one rung", first_failing - 1e-5 * side, np.inf
    centre = np.average(rungs, weights=runs)

    def misfit(line: np.ndarray) -> float:
        return -_log_likelihood(line[0] + line[1] * (rungs - centre), runs, fails) / runs.sum()

    height, slope = optimize.minimize(misfit, [0.0, 1.0], method="BFGS", options={"gtol": 1e-7}).x
    return "curve", float(centre - height / slope), float(slope)
