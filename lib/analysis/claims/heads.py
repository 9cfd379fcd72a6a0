"""Claims on heads: certificates beside the truth, several at once, what goes with the SD."""

from functools import cache, partial

import numpy as np
import pandas as pd
from scipy import stats

from lib.analysis.claims.claim import Estimate, claim
from lib.analysis.claims.stability import LEFT_OUT, MOVED, NOTIONS, SEED, stored
from lib.measures import intervals
from lib.theory import sweeps

KEYS = ["job", "strength"]


@cache
def _certificates() -> pd.DataFrame:
    """A row a head and strength: rows that move a head beyond their bound and certified predictions
    that turn, medians over rows of true / bound and of the log of T1 / bound, and the certified
    share of the predictions that indeed no removal turns.
    """
    bounds = stored("certificates")
    ratios = {"tight": bounds["true"] / bounds["bound"]}
    ratios["gain"] = np.log(bounds["uniform"] / bounds["bound"])
    medians = bounds.assign(**ratios).groupby(KEYS)[list(ratios)].median()
    table = stored("certified").set_index(KEYS).join(medians)
    found = table["stable"] / table["kept"]
    table = table.assign(broken=table["violations"] + table["turned"], found=found)
    return table.sort_index()


def _each() -> list[dict[str, object]]:
    return [dict(zip(("head", "strength"), key, strict=True)) for key in _certificates().index]


def _certified(column: str, head: str, strength: float) -> Estimate:
    row = _certificates().loc[(head, strength)]
    return Estimate.exactly(float(row[column]), int(row["rows"]))


claim("certificates-hold", side="within", margin=0.5, given=_each)(partial(_certified, "broken"))
claim("certificates-are-tight", null=0.6, given=_each)(partial(_certified, "tight"))
claim("certificates-beat-the-worst-case", null=float(np.log(2)), given=_each)(
    partial(_certified, "gain")
)
claim("what-is-stable-is-certified", null=0.9, given=_each)(partial(_certified, "found"))


@claim(side="below", reduction=("sum", "mean"), steps=(10, 100, 1000), heads=(16, 4))
def several_heads_accelerate(reduction: str, steps: int, heads: int) -> Estimate:
    """Log ratio of the error of the direction (its distance from the maximum-margin one) of the
    mean of several heads to that of one head after as many steps at the same rate; nested subsets
    of one task are averaged.
    """
    table = stored("seeds").query("share == 0.5 and steps == @steps and pooling.notna()")
    table = table.set_index(["backbone", "task", "pooling", "scaling", "job"])
    several = table.query("heads == @heads and reduction == @reduction")["error"]
    logs = np.log(several / table.query("heads == 1")["error"]).dropna()
    ratios = logs.groupby(level=[0, 1, 2, 3]).mean().to_numpy()
    return Estimate.of(intervals.mean_interval(ratios, method="jackknife"))


#: Heads whose conditions are ranked: a query of their tables.
HEADS = {
    "simulated": "job == 'paths'",
    "real": "pooling == 'mean'",
    "real from 10 steps on": "pooling == 'mean' and steps >= 10",
    "real of length 1 and separable": "pooling == 'mean' and scaling != 'none' and separable",
    "real by first position": "pooling == 'first'",
}


@claim(
    perturbation=(SEED, LEFT_OUT),
    heads=tuple(HEADS),
    notion=NOTIONS,
    spread=("accuracy_sd", "disagreement"),
)
def seeds_turn_the_sign(perturbation: str, heads: str, notion: str, spread: str) -> Estimate:
    """Spearman's correlation, over steps and rates, of how far a perturbation moves a head with a
    spread of the seeds, times −1 where an example is left out: the mean over sets, without those
    whose spread never changes.
    """
    keys, column = ["job", "set", "steps", "share"], MOVED[perturbation][notion]
    seeds = stored("seeds").query("heads == 1")
    moved = stored("leave_one_out") if perturbation == LEFT_OUT else seeds
    chosen = moved.query(f"share <= 1 and {HEADS[heads]}")[[*keys, column]]
    each = [
        stats.spearmanr(of_set[column], of_set[spread]).statistic
        for _, of_set in chosen.merge(seeds[[*keys, spread]], on=keys).groupby(keys[:2])
        if of_set[spread].nunique() > 1
    ]
    sign = -1 if perturbation == LEFT_OUT else 1
    return Estimate.of(sweeps.mean(sign * np.array(each)))


@cache
def _influences() -> pd.DataFrame:
    """Of each network retrained without examples, the means over its removals."""
    table = stored("full_constants").dropna(subset="influence")
    table = table[table["job"] != "full.distance"]  # the problem of full.strength, λ = 10
    return table.drop_duplicates(["job", "regularization"]).set_index(["job", "regularization"])


@claim(
    null=0.8,
    given=lambda: [dict(zip(("problem", "pull"), key, strict=True)) for key in _influences().index],
)
def influence_ranks_the_examples(problem: str, pull: float) -> Estimate:
    """Rank correlation, over examples left out, of the predicted and the true change of weights."""
    row = _influences().loc[(problem, pull)]
    return Estimate.exactly(row["influence_order"], int(row["n"]))
