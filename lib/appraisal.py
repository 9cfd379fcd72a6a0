"""What a group of runs made elsewhere amounts to: every measure that they allow, as tables."""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib import measures, multibootstrap, planning, plots, resampling, scoring
from lib import summary as summaries
from lib.outside import OutsideRuns
from lib.outside_files import OutsideError

CLASS_METRICS = ("accuracy", "f1", "macro-f1", "mcc")
SCORE_METRICS = ("pearson", "spearman")
REPRESENTATIONS = ("cka", "op", "svcca")


@dataclass(frozen=True)
class Appraisal:
    """Tables about S runs.

    metric : of the scores; None without labels
    table : a row a measure (and layer) with ``value, low, high, n_runs, seeds_needed``, and
        ``chance`` for representations
    scores : a row a run, with its score, status and majority rate where there are labels
    examples : a row an example with its ``flip_rate``, ``vote_entropy``, votes and label, or the
        ``spread`` of its predictions in regression; the least stable first
    sources : half-widths of intervals from resampling runs, examples, both (classes with labels)
    """

    runs: OutsideRuns
    metric: str | None
    level: float
    width: float
    table: pd.DataFrame
    scores: pd.DataFrame
    examples: pd.DataFrame
    sources: pd.DataFrame


def appraise(
    runs: OutsideRuns, *, metric: str | None = None, level: float = 0.95, width: float = 0.2
) -> Appraisal:
    """Every measure that the runs allow.

    Parameters
    ----------
    metric : of the scores; by default accuracy, for regression pearson
    level : coverage aimed at by all intervals
    width : relative half-width that ``seeds_needed`` is for: 0.2 is the value ± 20 %
    """
    resampling.check_level(level)
    if not 0 < width <= 1:
        raise OutsideError(f"width = {width}: expected a share of the value, such as 0.2")
    metric = _metric(runs, metric)
    table = [] if runs.labels is None else _score_rows(runs, metric, level, width)
    each = _each_run(runs, metric)
    examples, sources = _each_example(runs), pd.DataFrame()
    if runs.classes:
        table += _prediction_rows(runs, level, width)
        if runs.labels is not None and len(runs.names) >= resampling.MIN_RUNS:
            sources = multibootstrap.half_widths(runs.predictions, runs.labels, level=level)
    else:
        table += _regression_rows(runs, level, width)
    if runs.representations is not None:
        table += _representation_rows(runs, level, width)
    columns = ["granularity", "measure", "meaning", "layer", "value", "low", "high", "n_runs"]
    columns += ["seeds_needed", "chance"]
    made = pd.DataFrame(table).reindex(columns=columns).astype({"layer": "Int64"})
    return Appraisal(runs, metric, level, width, made, each, examples, sources)


def _metric(runs: OutsideRuns, metric: str | None) -> str | None:
    if runs.labels is None:
        if metric is not None:
            raise OutsideError(f"metric {metric!r} needs gold labels, and there are none")
        return None
    valid = CLASS_METRICS if runs.classes else SCORE_METRICS
    if metric not in (None, *valid):
        kind = "classes" if runs.classes else "scores"
        raise OutsideError(f"metric {metric!r} does not fit {kind}; valid: {', '.join(valid)}")
    if metric == "f1" and len(runs.classes) != 2:
        raise OutsideError(f"metric 'f1' needs two classes, not {len(runs.classes)}; try macro-f1")
    return metric or valid[0]


def _row(
    granularity: str, measure: str, meaning: str, interval: resampling.Interval, **more: object
) -> dict[str, object]:
    given = {"granularity": granularity, "measure": measure, "meaning": meaning}
    return {**given, **interval._asdict(), **more}


def _each_run(runs: OutsideRuns, metric: str | None) -> pd.DataFrame:
    """Score and status of every run, as for runs trained here."""
    if runs.labels is None:
        return pd.DataFrame({"run": runs.names})
    rows = []
    for said in runs.predictions:
        votes = np.eye(len(runs.classes))[said] if runs.classes else said[:, None]
        rows.append(scoring.score_run(runs.labels, votes, metric))
    return pd.DataFrame(rows).assign(run=runs.names)[
        ["run", "score", "accuracy", "status", "majority"]
    ]


def _score_rows(runs: OutsideRuns, metric: str, level: float, width: float) -> list[dict]:
    each = _each_run(runs, metric)
    failed = measures.failed_rate(each["status"] != "ok", level=level)
    rows = [_row("performance", "failed", "share of runs at or below the majority class", failed)]
    if not runs.classes:
        rows[0]["meaning"] = "share of runs no better than the mean label"
    if each["score"].isna().any():
        return rows
    scores = each["score"].to_numpy(float)
    made = summaries.statistics_of(scores=scores)
    for name, statistic in made.items():
        meaning = summaries.MEANING[name][1].replace("score", metric, 1)
        interval = summaries.interval_of(name, statistic, scores, level=level)
        needed = planning.needed_for(name, statistic, len(scores), width=width, level=level)
        rows.append(_row("performance", name, meaning, interval, seeds_needed=needed))
    middle = measures.interquartile_mean_statistic(scores)
    interval = resampling.interval(
        middle, len(scores), level=level, bounds=summaries.BOUNDS["mean"]
    )
    rows.append(_row("performance", "iqm", "mean of the middle half of the scores", interval))
    found, expected = measures.score_range(scores)
    plain = {"low": np.nan, "high": np.nan, "n_runs": len(scores)}
    for name, value, meaning in (
        ("range", found, f"best minus worst; {expected:.3f} to expect of normal scores"),
        ("best", scores.max(), "best score, which grows with the number of runs"),
    ):
        row = {"granularity": "performance", "measure": name, "meaning": meaning}
        rows.append({**row, "value": value, **plain})
    return rows


def _prediction_rows(runs: OutsideRuns, level: float, width: float) -> list[dict]:
    known = {"predictions": runs.predictions, "probabilities": runs.probabilities}
    made = summaries.statistics_of(**known, labels=runs.labels)
    n_runs, rows = len(runs.names), []
    for name, statistic in made.items():
        granularity, meaning = summaries.MEANING[name]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an undefined kappa shows as such in the table
            interval = summaries.interval_of(name, statistic, n_runs, level=level)
        needed = planning.needed_for(name, statistic, n_runs, width=width, level=level)
        rows.append(_row(granularity, name, meaning, interval, seeds_needed=needed))
    return rows


def _regression_rows(runs: OutsideRuns, level: float, width: float) -> list[dict]:
    """How far two runs' predicted values are apart."""
    said = runs.predictions
    unit = np.std(said if runs.labels is None else runs.labels)
    if unit == 0:
        return []
    matrix = np.abs(said[:, None] - said).mean(-1) / unit
    of = "all predictions" if runs.labels is None else "the labels"
    interval = measures.instability(matrix, level=level)
    needed = planning.seeds_needed(
        summaries.pair_statistic(matrix), len(said), width=width, level=level
    )
    meaning = f"mean absolute difference of two runs' predictions, in SDs of {of}"
    return [_row("prediction", "difference", meaning, interval, seeds_needed=needed)]


def _representation_rows(runs: OutsideRuns, level: float, width: float) -> list[dict]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", measures.SaturationWarning)  # the chance level says it
        found, chance = measures.distances_and_chance(runs.representations, REPRESENTATIONS)
    rows = []
    for name in REPRESENTATIONS:
        meaning = f"{plots.MEASURES[name][0]} distance of two runs' representations"
        for layer, (matrix, unrelated) in enumerate(zip(found[name], chance[name], strict=True)):
            interval = measures.instability(matrix, level=level)
            more = {"layer": layer, "chance": float(np.nanmean(unrelated))}
            if not np.isnan(matrix).any():
                statistic = summaries.pair_statistic(matrix)
                more["seeds_needed"] = planning.seeds_needed(
                    statistic, len(matrix), width=width, level=level
                )
            rows.append(_row("representation", name, meaning, interval, **more))
    return rows


def _each_example(runs: OutsideRuns) -> pd.DataFrame:
    """Flip rate, entropy and votes of each example (regression: the SD), least stable first."""
    if not runs.classes:
        spread = runs.predictions.std(0, ddof=1)
        table = pd.DataFrame({"example": runs.examples, "spread": spread})
        return table.sort_values("spread", ascending=False, kind="stable", ignore_index=True)
    votes = np.stack([(runs.predictions == c).sum(0) for c in range(len(runs.classes))], -1)
    table = pd.DataFrame(
        {
            "example": runs.examples,
            "flip_rate": measures.flip_rate(runs.predictions),
            "vote_entropy": measures.vote_entropy(runs.predictions),
            "majority_vote": [runs.classes[c] for c in votes.argmax(-1)],
            "dissenting_runs": len(runs.names) - votes.max(-1),
        }
    )
    if runs.labels is not None:
        table["label"] = [runs.classes[c] for c in runs.labels]
        table["runs_right"] = (runs.predictions == runs.labels).sum(0)
    return table.sort_values("flip_rate", ascending=False, kind="stable", ignore_index=True)
