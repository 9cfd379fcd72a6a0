"""Claims on heads on frozen features: certificates beside the truth, several heads at once."""

from functools import cache

import numpy as np
import pandas as pd

from lib.analysis.claims.claim import Estimate, claim
from lib.measures import intervals
from lib.results import tables

KEYS = ["job", "strength"]


@cache
def _medians() -> pd.DataFrame:
    """Of each job and strength, the median over examples of true / bound and T1 / bound, and how
    many examples there are.
    """
    table = tables.read_stored("reference-theory", "certificates")
    ratios = {"tight": table["true"] / table["bound"], "gain": table["uniform"] / table["bound"]}
    return (
        table.assign(**ratios)
        .groupby(KEYS)
        .agg(tight=("tight", "median"), gain=("gain", "median"), n=("row", "size"))
    )


@cache
def _predictions() -> pd.DataFrame:
    return tables.read_stored("reference-theory", "certified").set_index(KEYS)


def _each() -> list[dict[str, object]]:
    return [dict(zip(("head", "strength"), key, strict=True)) for key in _medians().index]


@claim(side="within", margin=0.5, given=_each)
def certificates_hold(head: str, strength: float) -> Estimate:
    """Examples that move a head beyond their bound, and certified predictions that turn."""
    row = _predictions().loc[(head, strength)]
    return Estimate.exactly(float(row["violations"] + row["turned"]), int(row["rows"]))


@claim(null=0.6, given=_each)
def certificates_are_tight(head: str, strength: float) -> Estimate:
    """Median over examples of the true distance over the bound."""
    row = _medians().loc[(head, strength)]
    return Estimate.exactly(row["tight"], int(row["n"]))


@claim(null=float(np.log(2)), given=_each)
def certificates_beat_the_worst_case(head: str, strength: float) -> Estimate:
    """Log of the median over examples of T1 over the bound."""
    row = _medians().loc[(head, strength)]
    return Estimate.exactly(float(np.log(row["gain"])), int(row["n"]))


@claim(null=0.9, given=_each)
def what_is_stable_is_certified(head: str, strength: float) -> Estimate:
    """Certified predictions over those that indeed no removal turns."""
    row = _predictions().loc[(head, strength)]
    return Estimate.exactly(float(row["stable"] / row["kept"]), int(row["rows"]))


@cache
def _errors() -> pd.DataFrame:
    """Log ratio of the direction error of several heads to that of one: a row a set of features,
    number of heads, reduction and step. Nested subsets of one task are averaged.
    """
    table = tables.read_stored("reference-theory", "seeds").query("share == 0.5")
    table = table[table["pooling"].notna()].assign(error=lambda t: np.log(t["error"]))
    keys = ["backbone", "task", "pooling", "scaling", "steps"]
    alone = table[table["heads"] == 1].set_index(["job", "steps"])["error"]
    several = table[table["heads"] > 1].set_index(["job", "steps"])
    several["ratio"] = several["error"] - alone.reindex(several.index)
    return (
        several.reset_index().groupby([*keys, "heads", "reduction"])["ratio"].mean().reset_index()
    )


@claim(side="below", reduction=("sum", "mean"), steps=(10, 100, 1000), heads=(16, 4))
def several_heads_accelerate(reduction: str, steps: int, heads: int) -> Estimate:
    """Log ratio of the error of the direction (its distance from the maximum-margin one) of the
    mean of several heads to that of one head after as many steps at the same rate.
    """
    part = _errors().query("reduction == @reduction and steps == @steps and heads == @heads")
    ratios = part["ratio"].dropna().to_numpy()
    return Estimate.of(intervals.mean_interval(ratios, method="jackknife"))
