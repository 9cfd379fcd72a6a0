"""What the training of failed runs looks like: gradients, distances, and how early it shows.

Everything compares the failed with the successful runs of one setting, which differ in nothing but
the seed. Diverged runs are counted and left out: their training ended early.
"""

import numpy as np
import pandas as pd
from scipy import stats

from lib.analysis import learning_rate_sweep
from lib.measures import intervals
from lib.results.run_group import RunGroup

#: The loss is averaged over so many stretches of training: a tenth of the forty of the table.
WINDOW = 4
#: Successful runs farther apart than this by CKA are near the distance of unrelated ones.
NEAR_CHANCE = 0.9
#: Norms below this count as this, so that their logarithm exists.
FLOOR = 1e-12
KEYS = ["setting_id", "seed_label"]


def outcomes(runs: pd.DataFrame) -> pd.Series:
    """``successful``, ``failed`` or ``diverged`` for each run, indexed by setting and seed."""
    names = np.where(learning_rate_sweep.failed_runs(runs), "failed", "successful")
    names = np.where(runs["status"] == "diverged", "diverged", names)
    return pd.Series(names, pd.MultiIndex.from_frame(runs[KEYS]), name="outcome")


def first_of_each(group: RunGroup, n: int = 20, *, fewest: int = 15) -> RunGroup | None:
    """The first ``n`` failed and the first ``n`` successful runs of a setting, in its order, or
    the fewer that there are; None if there are fewer than ``fewest`` of either.
    """
    kinds = [np.flatnonzero(group.failed == kind)[:n] for kind in (True, False)]
    rows = np.sort(np.concatenate(kinds))
    return group.take(rows) if min(map(len, kinds)) >= fewest else None


def clearly(group: RunGroup) -> RunGroup:
    """A group without the runs that neither failed nor beat the majority class clearly, by more
    than ``learning_rate_sweep.CLEAR``.
    """
    accuracy = (group.predictions == group.labels).mean(1)
    beats = accuracy > group.setting["majority"] + learning_rate_sweep.CLEAR
    return group.take(group.failed | beats)


def is_near_chance(group: RunGroup, pooling: str) -> bool:
    """Whether successful runs are so far apart by CKA at the last layer, where 1 is the distance of
    unrelated representations, that failed ones can hardly be farther.
    """
    apart = group.take(~group.failed).pairs(pooling)["cka"]
    return float(intervals.pair_means(apart, np.ones((1, len(apart))))[0]) > NEAR_CHANCE


def mixed_setting(runs: pd.DataFrame) -> str | None:
    """The setting of a ladder with the most even mixture of failed and successful runs: two or more
    of each (diverged ones do not count), and the successful ones beat the majority class clearly
    (``learning_rate_sweep.rate_table``). Of equals the lowest rate; None if there is none.
    """
    vague = learning_rate_sweep.rate_table(runs)["clear"].fillna(True).eq(False)
    part = runs[~runs["learning_rate"].map(vague)]
    counts = pd.crosstab(part["setting_id"], outcomes(part).to_numpy())
    counts = counts.reindex(part["setting_id"].unique())
    fewer = counts.reindex(columns=["successful", "failed"], fill_value=0).min(axis=1)
    return str(fewer.idxmax()) if len(fewer) and fewer.max() > 1 else None


def parts_of(training: pd.DataFrame) -> list[str]:
    """The parts of the model in a training table, from the input up, without ``all``."""
    parts = [part for part in training["part"].unique() if part != "all"]
    ends = {"embeddings": 0, "head": np.inf}
    return sorted(parts, key=lambda part: ends[part] if part in ends else int(part[len("layer") :]))


def gradient_curves(
    training: pd.DataFrame, runs: pd.DataFrame, *, level: float = 0.95
) -> pd.DataFrame:
    """Gradient norm of each part over training, geometric mean over the runs of each outcome.

    Parameters
    ----------
    training, runs : tables of one setting (``lib.results.tables``)

    Returns
    -------
    a row a part, outcome (not ``diverged``) and step: ``value``, ``low``, ``high`` (resampling
    runs), ``n_runs``
    """
    norms = _wide(training, "gradient_norm", ["part", "step"])
    rows = []
    for outcome, part in np.log(norms.clip(lower=FLOOR)).groupby(outcomes(runs)):
        *ends, n_runs = intervals.mean_interval(part.to_numpy(), level=level)
        curve = dict(zip(("value", "low", "high"), np.exp(ends), strict=True))
        curve = pd.DataFrame(curve, index=part.columns).reset_index()
        rows.append(curve.assign(outcome=outcome, n_runs=n_runs))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()


def _wide(training: pd.DataFrame, quantity: str, columns: list[str]) -> pd.DataFrame:
    """A row a run. A run that diverged is left out: its stretches end at other steps."""
    rows = training[training["quantity"] == quantity]
    rows = rows[rows.groupby(KEYS)["step"].transform("max") == rows["step"].max()]
    return rows.pivot_table(index=KEYS, columns=columns, values="value", observed=True)


def mean_gradients(
    training: pd.DataFrame, *, since: float = 0.5, until: float = 1.0
) -> pd.DataFrame:
    """Gradient norm of each part of each run of a setting: the geometric mean over the stretches
    that end between two shares of training.

    Returns
    -------
    a row a run (setting, seed), a column a part; and ``lowest / top layer``, their ratio: 1 if the
    gradient reaches the lowest layer undiminished, near 0 if it vanishes on the way down.
    """
    done = (training["step"] + 1) / (training["step"].max() + 1)
    rows = training[done.between(since, until)]
    rows = rows[rows["quantity"] == "gradient_norm"]
    logs = np.log(rows["value"].clip(lower=FLOOR))
    norms = np.exp(logs.groupby([rows[key] for key in (*KEYS, "part")]).mean()).unstack("part")
    parts = parts_of(rows)
    layers = [part for part in parts if part.startswith("layer")]
    if layers:
        norms["lowest / top layer"] = norms[layers[0]] / norms[layers[-1]]
        parts = [*parts, "lowest / top layer"]
    return norms[[*parts, "all"]].rename_axis(columns=None)


def distances(training: pd.DataFrame) -> pd.DataFrame:
    """Distance of each run from the pretrained weights, a column a part.

    Parts without pretrained weights, such as a head that is new altogether, are left out.
    """
    wide = _wide(training, "distance", ["part"])
    kept = [part for part in (*parts_of(training), "all") if part in wide and wide[part].any()]
    return wide[kept].rename_axis(columns=None)


def contrast(values: pd.DataFrame, runs: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Failed against successful runs of one setting, by the ratio of their geometric means.

    Parameters
    ----------
    values : a row a run (setting, seed), a column a positive quantity

    Returns
    -------
    a row a column of ``values``: ``successful`` and ``failed`` (geometric means), ``ratio`` of
    failed to successful with its interval ``low``, ``high`` (Welch's, of the logarithms; NaN with
    fewer than two runs on a side), ``n_successful``, ``n_failed``
    """
    intervals.check_level(level)
    logs = np.log(values.clip(lower=FLOOR))
    names = outcomes(runs).reindex(logs.index)
    rows = {}
    for column in logs:
        good, bad = (
            logs.loc[names == name, column].dropna().to_numpy(float)
            for name in ("successful", "failed")
        )
        means = [group.mean() if len(group) else np.nan for group in (good, bad)]
        ends = (np.nan, np.nan)
        if min(len(good), len(bad)) > 1 and good.std() + bad.std() > 0:
            ends = stats.ttest_ind(bad, good, equal_var=False).confidence_interval(level)
        numbers = np.exp([*means, means[1] - means[0], *ends])
        labels = ("successful", "failed", "ratio", "low", "high")
        rows[column] = dict(zip(labels, numbers, strict=True))
        rows[column] |= {"n_successful": len(good), "n_failed": len(bad)}
    return pd.DataFrame.from_dict(rows, orient="index")


def smooth_losses(training: pd.DataFrame) -> pd.DataFrame:
    """Training loss (nats) in a setting, a row a run that did not diverge and a column a step: the
    mean of the last ``WINDOW`` stretches up to it, or of the fewer that there are at the start.
    """
    return _wide(training, "loss", ["step"]).T.rolling(WINDOW, min_periods=1).mean().T


def is_flat(losses: pd.DataFrame, knows_nothing: float, *, tolerance: float = 0.1) -> pd.DataFrame:
    """Where a loss is no better than (1 − ``tolerance``) × that of a model that knows nothing.

    A row a run, and a column the share of training done at the end of each stretch.
    A loss above it is flat too: runs at high rates jump about.

    Parameters
    ----------
    losses : ``smooth_losses``
    knows_nothing : loss of such a model in nats, the entropy of the labels' class shares
    """
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance = {tolerance}; expected a share from 0 up to 1, such as 0.1")
    done = (losses.columns + 1) / (losses.columns[-1] + 1)  # steps count from 0
    return (losses >= (1 - tolerance) * knows_nothing).set_axis(done, axis=1)
