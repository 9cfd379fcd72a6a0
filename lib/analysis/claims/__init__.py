"""Every conclusion of the compendium as a thing that is computed, over all reasonable analyses.

A **claim** has a statistic, which computes an ``Estimate`` from committed tables for one
**specification** (pooling, measure, grouping, what is left out), the side of a null value on which
it is expected, and a sentence for each verdict. The verdict is over all specifications, so that a
conclusion which hangs on one choice does not pass for one that holds. Notebook 91 draws them;
README, findings and summaries quote the sentences, and tests compare.

claim      what a claim is
scores     macro and micro effects, sizes, tasks, sources of randomness
failures   failed runs
agreement  which measures agree, rank, tell settings apart
published  the papers' numbers, runs of others, bounds
stability  what is claimed to stabilise: heads and networks, an example left out or another seed
heads      heads on frozen features: certificates, several heads, what goes with the SD
preregistered  hypotheses of the second campaign
surt       a start re-trained on the task's texts
enough     is the SD of scores enough?
"""

from collections.abc import Sequence

import pandas as pd

from lib.analysis.claims import (  # noqa: F401
    agreement,
    enough,
    failures,
    heads,
    preregistered,
    published,
    scores,
    stability,
    surt,
)
from lib.analysis.claims.claim import CLAIMS, choices_of  # noqa: F401


def evaluate(names: Sequence[str] = ()) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All claims, or those named: a row a claim (``Claim.conclude``), and a row a specification."""
    tables = {name: CLAIMS[name].evaluate() for name in names or CLAIMS}
    rows = [CLAIMS[name].conclude(table) for name, table in tables.items()]
    return pd.DataFrame(rows), pd.concat(tables.values(), ignore_index=True)
