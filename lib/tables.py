"""Tidy tables of a configuration's results: Parquet files in ``data/results/<name>/<group>/``.

runs         a row a run: setting, seeds, status, score, distance from the start, device, …
examples     a row an example: id, gold label
logits       a row a run and example: ``logit_0`` … (float16)
training     a row a run, quantity, part of the model and stretch of training
distances    a row a pair of runs, layer, pooling and measure: the upper triangle
measures     a row a measure (layer, pooling, subset of runs): value with interval
"""

import dataclasses
import json
import os
import tempfile
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib import config, paths, provenance
from lib.config import Setting
from lib.errors import nearest
from lib.runs import Run

SAMPLE = "sample_vectors.npy"
#: What made the tables of a group: commit, versions, machine, fingerprints of the code.
MADE = "made.json"
TABLES = ("runs", "examples", "logits", "training", "distances", "measures")
#: The training of a run is kept as means over so many stretches of steps.
STRETCHES = 40


def run_table(group: list[Run]) -> pd.DataFrame:
    """A row a run: the record, with the setting's fields and the distance as columns."""
    rows = []
    for run in group:
        record = dict(run.record)
        setting = record.pop("setting")
        distance = record.pop("distance")
        versions = record.pop("versions")
        sources = record.pop("sources", {})
        others = record.pop("other_scores", {})
        record["newly_initialised"] = " ".join(record["newly_initialised"])
        rows.append(
            {
                **{k: record.pop(k) for k in ("setting_id", "seed", "status", "metric", "score")},
                **config.to_row(setting),
                **record,
                "distance": distance["all"],
                "other_scores": json.dumps(others),
                "versions": json.dumps(versions),
                "sources": json.dumps(sources),
            }
        )
    return pd.DataFrame(rows)


def example_table(group: list[Run]) -> pd.DataFrame:
    """A row an example: id and gold label, never its text."""
    return pd.DataFrame({"example_id": group[0].example_ids, "label": group[0].labels})


def logit_table(group: list[Run]) -> pd.DataFrame:
    """A row a run and example, in the order of the example table; logits in float16."""
    parts = []
    for run in group:
        part = pd.DataFrame(run.logits.astype(np.float16)).rename(columns="logit_{}".format)
        part.insert(0, "seed_label", run.record["seed_label"])
        part.insert(0, "setting_id", run.record["setting_id"])
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def training_table(group: list[Run]) -> pd.DataFrame:
    """How each run was trained: means over ``STRETCHES`` of steps, and where it ended.

    Columns: ``setting_id``, ``seed_label``, ``quantity`` (``loss``, ``gradient_norm`` before
    clipping, ``distance`` from the pretrained weights at the end), ``part`` (``all``,
    ``embeddings``, ``layer1`` …, ``head``), ``step`` (the last of the stretch), ``value``. Of a
    diverged run the means end before the step that was not finite.
    """
    rows = []
    for run in group:
        log = pd.DataFrame(run.log)
        log = log[np.isfinite(log[["loss", "gradient_norm"]]).all(axis=1)]
        for stretch in np.array_split(np.arange(len(log)), min(STRETCHES, len(log))):
            means = log.iloc[stretch].mean()
            for column in [name for name in log if name == "loss" or "gradient_norm" in name]:
                quantity, _, part = column.partition("norm_")
                quantity = "gradient_norm" if "gradient" in quantity else quantity
                rows.append((run, quantity, part or "all", log.index[stretch[-1]], means[column]))
        for part, value in run.record["distance"].items():
            rows.append((run, "distance", part, len(run.log) - 1, value))
    return pd.DataFrame(
        [
            {
                "setting_id": run.record["setting_id"],
                "seed_label": run.record["seed_label"],
                "quantity": quantity,
                "part": part,
                "step": step,
                "value": np.float32(np.nan if value is None else value),
            }
            for run, quantity, part, step, value in rows
        ]
    )


def save_tables(
    name: str,
    group: str,
    tables: dict[str, pd.DataFrame],
    sample: np.ndarray | None = None,
    parameters: dict[str, Any] | None = None,
) -> Path:
    """Write the tables of a group or of a job of a configuration; the folder is replaced as a
    whole. ``sample``: of the group's layer vectors; ``parameters``: those that the job was run
    with, which its record then holds.
    """
    if paths.is_reference(name):
        raise ValueError(f"results = {name!r} is made by promoting, never directly")
    target = paths.results(name) / group
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{group}-") as scratch:
        fresh = Path(scratch) / "fresh"
        fresh.mkdir()
        for table, frame in tables.items():
            frame.to_parquet(fresh / f"{table}.parquet", index=False, compression="zstd")
        if sample is not None:
            np.save(fresh / SAMPLE, sample, allow_pickle=False)
        record = _made_by(tables) | ({"parameters": parameters} if parameters else {})
        (fresh / MADE).write_text(json.dumps(record, indent=1) + "\n")
        if target.exists():
            os.replace(target, Path(scratch) / "stale")
        os.replace(fresh, target)
    return target


def _made_by(tables: dict[str, pd.DataFrame]) -> dict[str, object]:
    measuring = provenance.code_fingerprint(provenance.MEASURE_CODE)
    found = {"distance_code": provenance.DISTANCE_VERSION, "measure_code": measuring}
    if "runs" in tables and "code" in tables["runs"]:
        found["training_code"] = " ".join(sorted(tables["runs"]["code"].unique()))
    return provenance.made_by() | found


class MixedCodeWarning(UserWarning):
    """Groups that were trained or measured by different code are looked at together."""


def _warn_if_mixed(root: Path) -> None:
    made = [json.loads(path.read_text()) for path in sorted(root.glob(f"*/{MADE}"))]
    for name in ("training_code", "distance_code", "measure_code"):
        if len(found := {one[name] for one in made if name in one}) > 1:
            warnings.warn(
                f"the groups of {root.name} are of {len(found)} versions of the {name}: "
                f"`make run` or `make campaign` makes the older ones again",
                MixedCodeWarning,
                stacklevel=3,
            )


def read(name: str, table: str) -> pd.DataFrame:
    """One table of a configuration's results, all groups together, with a column ``group``.

    Warns (``MixedCodeWarning``) if the groups were made by different code.
    """
    if table not in TABLES:
        raise ValueError(f"unknown table {table}: {nearest(table, TABLES)}")
    whole = _joined(name, table, "group")
    _warn_if_mixed(paths.results(name))
    if "text_columns" in whole:
        whole["text_columns"] = whole["text_columns"].map(config.columns_of).map(json.dumps)
    return whole


def read_jobs(name: str, table: str, jobs: Collection[str] = ()) -> pd.DataFrame:
    """One table of all jobs of a configuration that have it, or of those named, with a column
    ``job``.
    """
    whole = _joined(name, table, "job")
    if missing := set(jobs) - set(whole["job"]):
        raise FileNotFoundError(
            f"no {table} of {', '.join(sorted(missing))} in {paths.results(name)}"
        )
    return whole[whole["job"].isin(jobs)].reset_index(drop=True) if jobs else whole


def _joined(name: str, table: str, column: str) -> pd.DataFrame:
    """A table of all folders of a configuration's results; ``column`` names the folders."""
    root = paths.results(name)
    files = sorted(root.glob(f"*/{table}.parquet"))
    if not files:
        raise FileNotFoundError(f"no {table} in {root}; `make run CONFIG={name}` makes them")
    frames = [pd.read_parquet(file) for file in files]
    for file, frame in zip(files, frames, strict=True):
        frame.insert(0, column, file.parent.name)
    return pd.concat(frames, ignore_index=True)


def group_labels(name: str) -> dict[str, str]:
    """A short, unique label for each group: its task and the fields in which settings differ.

    A union of settings is called by its name.
    """
    table = read(name, "runs")
    first = table.groupby("group").first()
    differing = [
        field.name
        for field in dataclasses.fields(Setting)
        if field.name != "task" and first[field.name].nunique() > 1
    ]
    labels = {}
    for group, part in table.groupby("group"):
        words = [Path(part["task"].iloc[0]).stem]
        for field in differing:
            value = part[field].iloc[0]
            short = {"learning_rate": "lr", "backbone": ""}.get(field, field.replace("_", " "))
            words.append(f"{short} {value:g}" if isinstance(value, float) else f"{short} {value}")
        is_union = part["setting_id"].nunique() > 1
        labels[group] = group if is_union else ", ".join(word.strip() for word in words)
    repeated = [label for label in labels.values() if list(labels.values()).count(label) > 1]
    return {group: group if label in repeated else label for group, label in labels.items()}


@dataclass(frozen=True)
class Outputs:
    """What the runs of a group said: logits (S, N, C), gold labels (N,), run table (S rows)."""

    logits: np.ndarray
    labels: np.ndarray
    runs: pd.DataFrame

    @property
    def predictions(self) -> np.ndarray:
        """(S, N) class labels."""
        return self.logits.argmax(-1)


def outputs(name: str, group: str) -> Outputs:
    """Logits (as float32), gold labels and run table of a group, as committed."""
    root = paths.results(name) / group
    examples = pd.read_parquet(root / "examples.parquet")
    table = pd.read_parquet(root / "runs.parquet")
    flat = pd.read_parquet(root / "logits.parquet").filter(like="logit_").to_numpy(np.float32)
    logits = flat.reshape(len(table), len(examples), -1)
    return Outputs(logits, examples["label"].to_numpy(), table)


def finite_outputs(name: str) -> tuple[dict[str, Outputs], list[str]]:
    """By label, the groups of which at least two runs have finite outputs, and notes on the others.

    Runs whose logits are not finite (diverged) are left out of their group; the column ``row`` of
    the run table holds the number that a run has in the group's other tables.
    """
    found, notes = {}, []
    for group, label in group_labels(name).items():
        said = outputs(name, group)
        finite = np.isfinite(said.logits).all((1, 2))
        if not finite.all():
            notes.append(f"{label}: {int((~finite).sum())} diverged runs have no predictions")
        if finite.sum() >= 2:
            table = said.runs[finite].rename_axis("row").reset_index()
            found[label] = Outputs(said.logits[finite], said.labels, table)
    if not found:
        raise ValueError(f"{name}: no group has two runs whose outputs are finite")
    return found, notes


def classifiers(name: str) -> tuple[dict[str, Outputs], list[str]]:
    """Those of ``finite_outputs`` whose runs choose between classes, and notes on the others."""
    every, notes = finite_outputs(name)
    found = {label: said for label, said in every.items() if said.logits.shape[-1] > 1}
    if not found:
        raise ValueError(f"{name}: all groups are regression; there are no classes to compare")
    rest = [f"{label}: regression, no classes to compare" for label in every if label not in found]
    return found, notes + rest


def distance_matrix(frame: pd.DataFrame, n_runs: int) -> np.ndarray:
    """(S, S) symmetric matrix, zero diagonal, from rows ``run_a``, ``run_b``, ``distance``."""
    matrix = np.zeros((n_runs, n_runs))
    matrix[frame["run_a"], frame["run_b"]] = frame["distance"]
    return matrix + matrix.T


def read_sample(name: str) -> tuple[np.ndarray, str]:
    """Sampled layer vectors (S, L + 1, N, D) as float64 of the first group that has them, and its
    name.
    """
    found = sorted(paths.results(name).glob(f"*/{SAMPLE}"))
    if not found:
        raise FileNotFoundError(f"no {SAMPLE} in {paths.results(name)}")
    return np.load(found[0], allow_pickle=False).astype(np.float64), found[0].parent.name
