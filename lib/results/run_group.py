"""S runs of a group, wherever they come from, and every measure of them.

A group is made of runs in memory (``RunGroup.of_runs``), of stored tables (``read``, ``load``),
or of predictions made elsewhere (``lib.report.reading``).
"""

import json
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.special import softmax

from lib import measures
from lib.measures import generation, intervals, sample_size, scoring, summary
from lib.measures.intervals import Interval, Statistic
from lib.measures.summary import MEASURES, REPRESENTATION, STUDIED
from lib.results import runs, tables

_COLUMNS = {
    **dict.fromkeys(("granularity", "measure", "pooling"), str),
    "layer": "Int64",
    **dict.fromkeys(("value", "low", "high"), float),
    "n_runs": int,
    "seeds_needed": float,
}


@dataclass(frozen=True)
class RunGroup:
    """S runs on the same N examples, in the same order; what is not known of them is None or empty.

    Parameters
    ----------
    runs : a row a run: its name as ``run`` or ``seed_label``, and where runs are scored ``status``,
        ``score``, ``accuracy``, ``majority``; else the columns that ``lib.results.tables`` has
    example_ids : (N,)
    predictions : (S, N) class numbers, or numbers in regression
    labels : (N,) gold labels
    classes : names of the C classes; empty in regression
    probabilities : (S, N, C)
    logits : (S, N, C)
    distances : by measure and pooling, (L, S, S)
    chance : by measure and pooling, (L, K) distances of unrelated representations
    representations : by pooling, S arrays (L, N, D), whose D may differ
    layers : by pooling, the numbers (L,) of the layers of distances and representations
    source : in a sentence, where the runs are from
    notes : what is worth knowing of them
    left_out : names of runs that were not wanted
    """

    runs: pd.DataFrame
    example_ids: Sequence[str]
    predictions: np.ndarray
    labels: np.ndarray | None = None
    classes: Sequence[str] = ()
    probabilities: np.ndarray | None = None
    logits: np.ndarray | None = None
    distances: Mapping[tuple[str, str], np.ndarray] = field(default_factory=dict)
    chance: Mapping[tuple[str, str], np.ndarray] = field(default_factory=dict)
    representations: Mapping[str, Sequence[np.ndarray]] = field(default_factory=dict)
    layers: Mapping[str, np.ndarray] = field(default_factory=dict)
    source: str = ""
    notes: Sequence[str] = ()
    left_out: Sequence[str] = ()

    @classmethod
    def of_logits(cls, logits: np.ndarray, **fields: object) -> "RunGroup":
        """A group of which logits (S, N, C) are known; C = 1 is regression."""
        if (n_classes := logits.shape[-1]) > 1:
            fields["classes"] = [str(number) for number in range(n_classes)]
            fields["probabilities"] = softmax(logits.astype(float), axis=-1)
        return cls(predictions=scoring.decide(logits), logits=logits, **fields)

    @classmethod
    def of_runs(cls, group: Sequence[runs.Run]) -> "RunGroup":
        """Runs in memory, with their layer vectors in the poolings that all of them have.

        Logits are rounded as they are stored, so that measures of the stored ones are the same.
        Raises ``FileNotFoundError`` if layer vectors were deleted.
        """
        if absent := [run for run in group if not run.vectors]:
            raise FileNotFoundError(
                f"{runs.name_of(absent[0])}: the layer vectors were deleted after an earlier "
                "measurement. Delete the run's folder to train it again, and set keep_vectors "
                "if you mean to measure more than once."
            )
        representations, layers = {}, {}
        for pooling in [name for name in runs.POOLINGS if all(name in r.vectors for r in group)]:
            # At position 0 all examples have the same special token: its embedding tells nothing.
            lowest = 1 if pooling == "first" else 0
            representations[pooling] = [run.vectors[pooling][lowest:] for run in group]
            layers[pooling] = np.arange(lowest, len(group[0].vectors[pooling]))
        return cls.of_logits(
            tables.as_stored(np.stack([run.logits for run in group])),
            runs=tables.run_table(group),
            example_ids=group[0].example_ids,
            labels=group[0].labels,
            representations=representations,
            layers=layers,
        )

    def __len__(self) -> int:
        return len(self.runs)

    @property
    def names(self) -> list[str]:
        """Names of the runs."""
        return list(self.runs["run" if "run" in self.runs else "seed_label"])

    @property
    def setting(self) -> pd.Series:
        """The first row of ``runs``, for what all of them share."""
        return self.runs.iloc[0]

    @property
    def scores(self) -> np.ndarray:
        """(S,) scores by the task's metric; NaN for a run without one."""
        return self.runs["score"].to_numpy(float)

    @property
    def failed(self) -> np.ndarray:
        """(S,) booleans: failed, collapsed or diverged."""
        return (self.runs["status"] != "ok").to_numpy()

    def take(self, rows: np.ndarray | Sequence[int]) -> "RunGroup":
        """Some of the runs, by number or by mask."""
        rows = np.arange(len(self))[np.asarray(rows)]
        outputs = {name: getattr(self, name) for name in ("probabilities", "logits")}
        return replace(
            self,
            runs=self.runs.iloc[rows].reset_index(drop=True),
            predictions=self.predictions[rows],
            **{name: array[rows] for name, array in outputs.items() if array is not None},
            distances={key: stack[:, rows][:, :, rows] for key, stack in self.distances.items()},
            chance={},
            representations={
                pooling: [arrays[row] for row in rows]
                for pooling, arrays in self.representations.items()
            },
        )

    def finite(self) -> "RunGroup":
        """The runs whose outputs are finite; those of a diverged run are not."""
        outputs = self.predictions if self.logits is None else self.logits
        return self.take(np.isfinite(outputs).reshape(len(self), -1).all(1))

    def with_distances(
        self, names: Sequence[str], *, n_permutations: int = 0, device: str | None = None
    ) -> "RunGroup":
        """The group with the named distances of its representations, rounded to float32 as they
        are stored, and for chance those of ``n_permutations`` pairs, one with examples permuted.

        ``device``: where they are computed, for example ``cuda``; None: numpy.
        """
        distances, chance = {}, {}
        for pooling, arrays in self.representations.items():
            with warnings.catch_warnings():
                # The chance level says it.
                warnings.simplefilter("ignore", measures.SaturationWarning)
                related, unrelated = measures.distances_and_chance(
                    arrays, names, n_permutations=n_permutations, device=device
                )
            for name in names:
                distances[name, pooling] = related[name].astype(np.float32).astype(float)
            chance |= {(name, pooling): unrelated[name] for name in names}
        return replace(self, distances=distances, chance=chance)

    def layer_distances(self, pooling: str) -> dict[str, np.ndarray]:
        """By measure of ``REPRESENTATION``, distances (L, S, S) of all but the embeddings.

        Raises ``ValueError`` for a pooling in which the group has none.
        """
        tables.check_pooling(pooling, self.layers)
        above = self.layers[pooling] > 0
        return {name: self.distances[name, pooling][above] for name in sorted(REPRESENTATION)}

    def pairs(self, pooling: str) -> dict[str, np.ndarray]:
        """By measure, the distances (S, S) of all pairs of runs; of layers, those of the last.

        The SD has no pairs of its own, but its square is half the mean squared difference of two
        scores: for ``sd`` it is their absolute difference. Kappa divides disagreement by a chance
        level that all pairs share, so it orders pairs as disagreement does, and is left out.
        """
        pairs = {"sd": np.abs(self.scores[:, None] - self.scores)}
        if self.classes:
            pairs["disagreement"] = measures.pairwise_disagreement(self.predictions)
            pairs["jsd"] = measures.pairwise_jsd(self.probabilities)
        return pairs | {m: stack[-1] for m, stack in self.layer_distances(pooling).items()}

    def statistics(self, pooling: str, layer: int = -1) -> dict[str, Statistic]:
        """By measure of ``STUDIED``, its value as a function of run weights.

        ``pooling`` of the layer vectors: ``first`` (position 0, as Du & Nguyen), ``last`` (of the
        tokens, for decoders) or ``mean``; ``layer``: row of ``layer_distances``.
        """
        statistics = summary.statistics_of(
            scores=self.scores, predictions=self.predictions, probabilities=self.probabilities
        )
        for name, stack in self.layer_distances(pooling).items():
            statistics[name] = summary.pair_statistic(stack[layer])
        return {name: statistics[name] for name in STUDIED}


def score_runs(group: RunGroup, metric: str | None = None) -> RunGroup:
    """The group with scores and status that follow from its logits, or its predictions.

    ``metric``: of all runs; default: for each run those that its row names. Metrics of questions
    with several rows stay as they are, for which rows belong together is not known here; so do
    those of texts, which are not here.
    """
    table = group.runs
    if metric is None and set(table["metric"]) <= set(generation.METRICS):
        return group
    if metric is not None:
        missing = {"status": "", "score": np.nan, "accuracy": np.nan, "majority": np.nan}
        table = table.assign(metric=metric, other_scores="{}", **missing)
    outputs = group.logits
    if outputs is None:
        codes = group.predictions
        outputs = np.eye(len(group.classes))[codes] if group.classes else codes[..., None]
    rows = []
    for run, own in zip(table.to_dict("records"), outputs, strict=True):
        stored = {run["metric"]: run["score"], **json.loads(run["other_scores"])}
        metrics = [name for name in stored if name not in scoring.GROUPED] or ["accuracy"]
        lost = run["status"] == "diverged"
        result = scoring.score_run(
            group.labels, own, metrics[0], diverged=lost, other_metrics=metrics[1:]
        )
        values = stored | {metrics[0]: result["score"]} | result["other_scores"]
        others = {name: values[name] for name in stored if name != run["metric"]}
        scores = {"score": values[run["metric"]], "other_scores": json.dumps(others)}
        rows.append({name: result[name] for name in ("status", "accuracy", "majority")} | scores)
    scored = pd.DataFrame(rows, index=table.index)
    types = table.dtypes[scored.columns]
    return replace(group, runs=table.assign(**scored.astype(types)))


def read(name: str, groups: Collection[str] = ()) -> dict[str, RunGroup]:
    """By name, all groups of stored results or those asked for, logits as float32."""
    parts = {
        table: dict(iter(tables.read_stored(name, table, groups).groupby("group")))
        for table in ("runs", "examples", "logits", "distances")
    }
    return {
        group: _of_tables(**{table: by_group[group] for table, by_group in parts.items()})
        for group in parts["runs"]
    }


def _of_tables(
    runs: pd.DataFrame, examples: pd.DataFrame, logits: pd.DataFrame, distances: pd.DataFrame
) -> RunGroup:
    stacks, layers = {}, {}
    for (measure, pooling), part in distances.groupby(["measure", "pooling"]):
        layers[pooling], row = np.unique(part["layer"], return_inverse=True)
        stack = np.zeros((len(layers[pooling]), len(runs), len(runs)))
        stack[row, part["run_a"], part["run_b"]] = part["distance"]
        stacks[measure, pooling] = stack + stack.swapaxes(1, 2)
    regression = runs["majority"].isna().all()
    labels = examples["label"].to_numpy()  # floats, for classes beside groups of regression too
    return RunGroup.of_logits(
        tables.logits_of(logits, len(runs), regression=regression),
        runs=runs.drop(columns="group").reset_index(drop=True),
        example_ids=examples["example_id"].to_numpy(),
        labels=labels if regression else labels.astype(int),
        distances=stacks,
        layers=layers,
    )


def load(name: str, *, regression: bool = True) -> tuple[dict[str, RunGroup], list[str]]:
    """By label, the groups of stored results, and notes on what was left out.

    Runs whose outputs are not finite (diverged) are left out of their group, and groups that then
    have fewer than two runs; with ``regression`` false, those without classes too.
    """
    whole, groups, notes = read(name), {}, []
    for key, label in tables.group_labels(name).items():
        group = whole[key].finite()
        if lost := len(whole[key]) - len(group):
            notes.append(f"{label}: {lost} diverged runs have no predictions")
        if len(group) >= 2:
            groups[label] = group
    if not groups:
        raise ValueError(f"{name}: no group has two runs whose outputs are finite")
    if not regression:
        rest = [label for label, group in groups.items() if not group.classes]
        notes += [f"{label}: regression, no classes to compare" for label in rest]
        groups = {label: group for label, group in groups.items() if label not in rest}
        if not groups:
            raise ValueError(f"{name}: all groups are regression; there are no classes to compare")
    return groups, notes


def measure(
    group: RunGroup,
    names: Sequence[str] = tuple(MEASURES),
    *,
    level: float = 0.95,
    width: float = 0.2,
    planned: Collection[str] = ("performance", "prediction"),
) -> pd.DataFrame:
    """Every measure that a group allows, with its interval: a row a measure, pooling and layer.

    Columns: ``granularity, measure, pooling, layer, value, low, high, n_runs, seeds_needed``. Runs
    without finite outputs, or without a score, are in no value and no ``n_runs``. ``kappa`` is the
    instability 1 − kappa; ``con`` and ``ccon`` are agreements, not distances.

    Parameters
    ----------
    names : of ``lib.measures.summary.MEASURES``, in the order of the rows
    level : coverage aimed at by the intervals
    width : ``seeds_needed`` is the number of runs whose interval would be the value ± this share
    planned : granularities for which that number is estimated
    """
    finite, statistics, plain = group.finite(), {}, {}
    if len(finite) >= 2:
        scores = finite.scores[~np.isnan(finite.scores)] if "score" in finite.runs else ()
        if len(scores) >= 2:
            for name, statistic in summary.statistics_of(scores=scores).items():
                statistics[name] = statistic, scores
            plain = {"range": np.ptp(scores), "best": scores.max()}
        for name, statistic in _of_predictions(finite).items():
            of_accuracy = name == "distribution_sd"
            data = finite.predictions == finite.labels if of_accuracy else len(finite)
            statistics[name] = statistic, data
    rows = []

    def add(name: str, interval: Interval, statistic: Statistic | None = None, **more) -> None:
        if statistic is not None and MEASURES[name].granularity in planned:
            more["seeds_needed"] = sample_size.needed_for(
                name, statistic, interval.n_runs, width=width, level=level
            )
        rows.append({"measure": name, **more, **interval._asdict()})

    for name in names:
        if name == "failed" and "status" in group.runs:
            add(name, measures.failed_rate(group.failed, level=level))
        elif name in plain:
            add(name, Interval(plain[name], np.nan, np.nan, len(scores)))
        elif name in statistics:
            interval = summary.interval_of(name, *statistics[name], level=level)
            add(name, interval, statistics[name][0])
        for pooling in [pooling for measure, pooling in group.distances if measure == name]:
            stack = group.distances[name, pooling]
            for layer, distances in zip(group.layers[pooling], stack, strict=True):
                whole = None if np.isnan(distances).any() else summary.pair_statistic(distances)
                interval = measures.instability(distances, level=level)
                add(name, interval, whole, pooling=pooling, layer=layer)
    return _table(rows)


def _of_predictions(group: RunGroup) -> dict[str, Statistic]:
    """Statistics of what the runs of a group predict."""
    if group.classes:
        return summary.statistics_of(
            predictions=group.predictions, probabilities=group.probabilities, labels=group.labels
        )
    if not len(group.example_ids):
        return {}
    unit = np.std(group.predictions if group.labels is None else group.labels)
    if unit == 0:
        return {}
    distances = np.abs(group.predictions[:, None] - group.predictions).mean(-1) / unit
    return {"difference": summary.pair_statistic(distances)}


def chance_levels(group: RunGroup) -> pd.DataFrame:
    """The mean distance of unrelated representations, in the columns of ``measure``.

    ``low`` and ``high`` are the range of 95 % of them. With N ≤ D only the debiased CKA is near 1.
    """
    rows = []
    for (name, pooling), chance in group.chance.items():
        for layer, drawn in zip(group.layers[pooling], chance, strict=True):
            drawn = drawn[~np.isnan(drawn)]
            if len(drawn):
                ends = intervals.percentile_interval(drawn)
                level = Interval(drawn.mean(), *ends, len(group))
                where = {"measure": name, "pooling": pooling, "layer": layer}
                rows.append({**where, **level._asdict()})
    return _table(rows)


def _table(rows: list[dict[str, object]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    granularity = table["measure"].map({name: kind.granularity for name, kind in MEASURES.items()})
    return table.assign(granularity=granularity).astype(_COLUMNS)
