"""What a group of runs made elsewhere amounts to: every measure that they allow, as tables."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import compress

import numpy as np
import pandas as pd
from scipy import stats

from lib import measures
from lib.measures import generation, intervals, sample_size
from lib.measures.summary import MEASURES, REPRESENTATION
from lib.report.columns import RIGHT, WRONG
from lib.report.opening import OutsideError
from lib.results import run_group
from lib.results.run_group import RunGroup

#: Of texts: those that need no more packages, and all.
TEXT_METRICS = generation.METRICS if generation.installed() else ("exact",)
CLASS_METRICS = ("accuracy", "f1", "macro-f1", "mcc")
SCORE_METRICS = ("pearson", "spearman")
#: Measures of scores that are not given unless every run has one.
_OF_SCORES = ("mean", "sd", "iqm", "range", "best")


@dataclass(frozen=True)
class MeasuredRuns:
    """Tables about S runs.

    group : the runs, scored where there are labels or references
    metric : of the scores; None without these
    table : a row a measure (and layer) with ``value, low, high, n_runs, seeds_needed``, and
        ``chance`` for representations
    examples : a row an example with its ``flip_rate``, ``vote_entropy``, votes and label, or the
        ``spread`` of its predictions in regression, or of texts their ``edit_distance`` and two
        that are farthest apart; the least stable first
    sources : half-widths of intervals from resampling runs, examples, both (classes with labels)
    evaluations : where runs were evaluated again, the score of each evaluation, by run
    within : share of examples that two evaluations of a run answer differently, where there are
    """

    group: RunGroup
    metric: str | None
    level: float
    width: float
    table: pd.DataFrame
    examples: pd.DataFrame
    sources: pd.DataFrame
    evaluations: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))
    within: float = np.nan

    @property
    def scores(self) -> pd.DataFrame:
        """A row a run, with its score, status and majority rate where there are labels."""
        scored = ["score", "accuracy", "status", "majority"] if self.metric else []
        return self.group.runs[["run", *scored]]


def measure_runs(
    group: RunGroup,
    *,
    metric: str | None = None,
    level: float = 0.95,
    width: float = 0.2,
    repeats: Mapping[str, str] | None = None,
) -> MeasuredRuns:
    """Every measure that the runs allow.

    Parameters
    ----------
    metric : of the scores; by default accuracy, for regression pearson, of texts rouge_l
    level : coverage aimed at by all intervals
    width : relative half-width that ``seeds_needed`` is for: 0.2 is the value ± 20 %
    repeats : name → trained run, of runs that are evaluations of it: the measures are of the first
        evaluation of each
    """
    intervals.check_level(level)
    if not 0 < width <= 1:
        raise OutsideError(f"width = {width}: expected a share of the value, such as 0.2")
    metric = _metric(group, metric)
    names = [name for name in MEASURES if name not in ("cka_biased", "svcca_published")]
    if metric is not None:
        if len(group.example_ids):
            group = run_group.score_runs(group, metric)
        # Where only correctness is known, the most frequent class is right: no run fails for it.
        if list(group.classes) == [RIGHT, WRONG] and (group.labels == 0).all():
            known = group.runs.assign(status="ok", majority=np.nan)
            group = replace(group, runs=known)
        if group.texts:  # there is no rule by which a run failed
            names.remove("failed")
        if len(group.example_ids) and np.isnan(group.scores).any():
            names = [name for name in names if name not in _OF_SCORES]
    evaluations, within = pd.Series(dtype=float), np.nan
    if repeats:
        trained = pd.Series([repeats.get(name, name) for name in group.names])
        if metric is not None:
            evaluations = pd.Series(group.scores, index=trained)
        if group.classes or group.texts:
            apart = measures.pairwise_disagreement(group.predictions)
            same = (trained.to_numpy()[:, None] == trained.to_numpy()) & ~np.eye(
                len(trained), dtype=bool
            )
            within = apart[same].mean()
        group = group.take(~trained.duplicated().to_numpy())
        group = replace(group, runs=group.runs.assign(run=trained.unique()))
    group = group.with_distances(sorted(REPRESENTATION), n_permutations=20)
    kinds = {measure.granularity for measure in MEASURES.values()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an undefined kappa shows as such in the table
        table = run_group.measure(group, names, level=level, width=width, planned=kinds)
    chance = run_group.chance_levels(group).set_index(["measure", "layer"])["value"]
    table = table.join(chance.rename("chance"), on=["measure", "layer"])
    table["meaning"] = table["measure"].map(_meanings(group, metric))
    columns = ["granularity", "measure", "meaning", "layer", "value", "low", "high", "n_runs"]
    sources = pd.DataFrame()
    if group.classes and group.labels is not None and len(group) >= intervals.MIN_RUNS:
        sources = sample_size.half_widths(group.predictions, group.labels, level=level)
    table, examples = table[[*columns, "seeds_needed", "chance"]], _examples(group)
    return MeasuredRuns(group, metric, level, width, table, examples, sources, evaluations, within)


def three_noises(measured: MeasuredRuns) -> dict[str, intervals.Interval]:
    """SDs of the score of one evaluation, by what would come out differently.

    ``training``, another seed, and ``evaluation``, the same model again: one-way analysis of
    variance with the intervals of Tukey and Williams (1962), exact for as many evaluations of each
    run and normal scores; ``examples``, another test set of the size (of scores that are means over
    examples; no interval).
    """
    by_run = measured.evaluations.groupby(level=0, sort=False)
    S, n = by_run.ngroups, len(measured.evaluations)
    free, ends = (S - 1, n - S), (1 / 2, (1 + measured.level) / 2, (1 - measured.level) / 2)
    within = (by_run.var() * (by_run.size() - 1)).sum() / free[1]
    times = 1 / (1 / by_run.size()).mean()
    between = times * by_run.mean().var()
    chance = [1.0, *(stats.f.ppf(end, *free) for end in ends[1:])]
    training = [
        (between - q * within) / times * (free[0] / stats.chi2.ppf(end, free[0]) if i else 1)
        for i, (q, end) in enumerate(zip(chance, ends, strict=True))
    ]
    evaluation = [within, *(within * free[1] / stats.chi2.ppf(end, free[1]) for end in ends[1:])]
    found = {
        name: intervals.Interval(*np.sqrt(np.maximum(variances, 0)), S)
        for name, variances in (("training", training), ("evaluation", evaluation))
    }
    group = measured.group
    if (right := group.example_scores(measured.metric)) is not None:
        own = right.var(0, ddof=1).mean() / S
        variance = max(right.mean(0).var(ddof=1) - own, 0) / right.shape[1]
        found["examples"] = intervals.Interval(float(np.sqrt(variance)), np.nan, np.nan, S)
    return found


def _metric(group: RunGroup, metric: str | None) -> str | None:
    if "metric" in group.runs:
        return str(group.runs["metric"].iloc[0])
    if group.labels is None and group.references is None:
        if metric is not None:
            what = "references" if group.texts else "gold labels"
            raise OutsideError(f"metric {metric!r} needs {what}, and there are none")
        return None
    kinds = {"texts": TEXT_METRICS, "classes": CLASS_METRICS, "scores": SCORE_METRICS}
    kind = "texts" if group.texts else "classes" if group.classes else "scores"
    valid = kinds[kind]
    if metric not in (None, *valid):
        raise OutsideError(f"metric {metric!r} does not fit {kind}; valid: {', '.join(valid)}")
    if metric == "f1" and len(group.classes) != 2:
        raise OutsideError(f"metric 'f1' needs two classes, not {len(group.classes)}; try macro-f1")
    return metric or valid[0]


def _meanings(group: RunGroup, metric: str | None) -> dict[str, str]:
    """What each measure is, in words that fit these runs."""
    meanings = {name: measure.meaning for name, measure in MEASURES.items()}
    counted = metric == "f1" and "other_scores" in group.runs
    of_class = f" of {group.classes[1]}" if counted else ""
    for name in ("mean", "sd"):
        meanings[name] = meanings[name].replace("score", f"{metric or 'score'}{of_class}", 1)
    failed = "at or below the majority class" if group.classes else "no better than the mean label"
    meanings["failed"] = f"share of runs {failed if group.example_ids else 'without a score'}"
    expected = measures.expected_range(len(group)) * np.std(group.scores, ddof=1) if metric else 0
    meanings["range"] = f"best minus worst; {expected:.3f} to expect of normal scores"
    meanings["best"] = "best score, which grows with the number of runs"
    meanings["difference"] += " of " + ("the labels" if metric else "all predictions")
    return meanings


def _examples(group: RunGroup) -> pd.DataFrame:
    """Flip rate, entropy and votes of each example (regression: the SD), least stable first."""
    table = pd.DataFrame({"example": group.example_ids})
    if group.texts:
        return _of_texts(table, group)
    if not group.classes:
        table["spread"] = group.predictions.std(0, ddof=1)
    else:
        votes = np.stack([(group.predictions == c).sum(0) for c in range(len(group.classes))], -1)
        most = (votes == votes.max(-1, keepdims=True)).tolist()
        table["flip_rate"] = measures.flip_rate(group.predictions)
        table["vote_entropy"] = measures.vote_entropy(group.predictions)
        table["majority_vote"] = [" or ".join(compress(group.classes, row)) for row in most]
        table["dissenting_runs"] = len(group) - votes.max(-1)
        if group.labels is not None:
            table["label"] = [group.classes[c] for c in group.labels]
            table["runs_right"] = (group.predictions == group.labels).sum(0)
    by = table.columns[1]
    return table.sort_values(by, ascending=False, kind="stable", ignore_index=True)


def _of_texts(table: pd.DataFrame, group: RunGroup) -> pd.DataFrame:
    """Edit distance of each example (flip rate, without the packages that it takes), the number of
    different texts, and two of them that are farthest apart.
    """
    name = "edit_distance" if generation.installed() else "flip_rate"
    rows, runs = [], len(group)
    for texts, numbers in zip(zip(*group.texts, strict=True), group.predictions.T, strict=True):
        apart = (numbers[:, None] != numbers).astype(float)
        if name == "edit_distance":
            apart = generation.edit_distances(texts)
        one, other = np.unravel_index(apart.argmax(), apart.shape)
        mean = apart.sum() / (runs * (runs - 1))
        rows.append([mean, len(np.unique(numbers)), texts[one], texts[other]])
    columns = [name, "different_texts", "a_text", "another_text"]
    table = table.join(pd.DataFrame(rows, columns=columns))
    return table.sort_values(name, ascending=False, kind="stable", ignore_index=True)
