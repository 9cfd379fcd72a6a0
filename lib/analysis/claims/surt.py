"""Claims on SURT: whether a re-trained start is nearer to the solution, and steadies examples."""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from lib.analysis.claims.claim import Estimate, claim
from lib.measures import intervals
from lib.results import tables

END = ["task", "to", "level"]
#: Fewer pairs have no interval that says anything.
LEAST_PAIRS = 4


@cache
def ratios() -> pd.DataFrame:
    """Log ratio of what follows SURT to what follows the pretrained start: ``distance`` to an end,
    and how far one example ``moved`` the weights there. A row an end, a number of epochs, a pair.
    """
    table = tables.read_stored("reference-theory", "ways")
    logs = np.log(table.set_index([*END, "seed", "epochs"])[["distance", "moved"]])
    after = logs.drop(0, level="epochs")
    return after - logs.xs(0, level="epochs").reindex(after.index.droplevel("epochs")).to_numpy()


def _specifications() -> list[dict[str, Any]]:
    """Ends, by task and epochs; first the minimiser that T2 speaks of, at the usual λ."""
    index = ratios().index.droplevel("seed").unique().to_frame(index=False)
    usual = index["to"].eq("minimiser") & index["level"].eq(10) & index["epochs"].eq(10)
    usual &= index["task"].eq("rotten-tomatoes")
    found = pd.concat([index[usual], index[~usual]]).rename(columns={"to": "end"})
    return found.to_dict("records")


def _ratio(column: str, task: str, end: str, level: float, epochs: int) -> Estimate:
    values = ratios()[column].xs((task, end, level, epochs), level=[*END, "epochs"]).dropna()
    if len(values) < LEAST_PAIRS:
        return Estimate(np.nan, np.nan, np.nan, 0)
    return Estimate.of(intervals.mean_interval(values.to_numpy(), method="jackknife"))


@claim(side="below", given=_specifications)
def surt_shortens_the_way(task: str, end: str, level: float, epochs: int) -> Estimate:
    """Log ratio, with SURT to without, of the distance from the start to an end."""
    return _ratio("distance", task, end, level, epochs)


@claim(side="below", given=_specifications)
def surt_steadies_single_examples(task: str, end: str, level: float, epochs: int) -> Estimate:
    """Log ratio, with SURT to without, of how far leaving one example out moves the weights."""
    return _ratio("moved", task, end, level, epochs)
