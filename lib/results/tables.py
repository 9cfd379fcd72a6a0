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
import shutil
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib import config, paths, provenance
from lib.config import Setting
from lib.errors import nearest
from lib.results.runs import Run

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
    with paths.atomic_folder(target) as fresh:
        for table, frame in tables.items():
            write(fresh, table, frame)
        if sample is not None:
            np.save(fresh / SAMPLE, sample, allow_pickle=False)
        record = _made_by(tables) | ({"parameters": parameters} if parameters else {})
        (fresh / MADE).write_text(json.dumps(record, indent=1) + "\n")
    return target


def write(folder: Path, table: str, frame: pd.DataFrame) -> None:
    """Write a table into the folder of a group."""
    frame.to_parquet(folder / f"{table}.parquet", index=False, compression="zstd")


def update_measures(target: Path, runs: pd.DataFrame, measures: pd.DataFrame) -> None:
    """Put scores and measures that were made again into the folder of a group, at once.

    Its record then names the code and the commit that measured; what trained the runs and took
    their distances is as before.
    """
    head, dirty = provenance.commit()
    made = json.loads((target / MADE).read_text()) | {
        "measure_code": provenance.code_fingerprint(provenance.MEASURE_CODE),
        "measured": {"commit": head, "dirty": dirty},
    }
    with paths.atomic_folder(target) as fresh:
        shutil.copytree(target, fresh, dirs_exist_ok=True)
        write(fresh, "runs", runs)
        write(fresh, "measures", measures)
        (fresh / MADE).write_text(json.dumps(made, indent=1) + "\n")


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
    trained = "`make run` or `make campaign` makes the older ones again"
    remedies = {"training_code": trained, "distance_code": trained}
    remedies["measure_code"] = (
        f"`python -m lib.results.group_tables --again {root.name}` measures them again"
    )
    for name, remedy in remedies.items():
        if len(found := {one[name] for one in made if name in one}) > 1:
            warnings.warn(
                f"the groups of {root.name} are of {len(found)} versions of the {name}: {remedy}",
                MixedCodeWarning,
                stacklevel=3,
            )


def check_pooling(pooling: str, available: Collection[str]) -> None:
    """``ValueError`` for a pooling of layer vectors that results do not have."""
    if pooling not in available:
        raise ValueError(
            f"pooling = {pooling!r}, but these results have {', '.join(available) or 'none'}: "
            "give one of those. (Vectors are pooled at the first token of encoders, at the last of "
            "decoders, and as the mean.)"
        )


def read(name: str, table: str, *, pooling: str | None = None) -> pd.DataFrame:
    """One table of a configuration's results, all groups together, with a column ``group``.

    ``pooling``: only the rows with it; ``ValueError`` if there are none. Warns
    (``MixedCodeWarning``) if the groups were made by different code.
    """
    if table not in TABLES:
        raise ValueError(f"unknown table {table}: {nearest(table, TABLES)}")
    whole = _joined(name, table, "group")
    _warn_if_mixed(paths.results(name))
    if "text_columns" in whole:
        whole["text_columns"] = whole["text_columns"].map(config.columns_of).map(json.dumps)
    if pooling is not None:
        check_pooling(pooling, whole["pooling"].dropna().unique())
        whole = whole[whole["pooling"] == pooling]
    # Tables that are older than a field of settings lack it, and it was what its default is.
    specs = dataclasses.fields(Setting)
    return whole.fillna({s.name: s.default for s in specs if s.name not in config.FIRST_FIELDS})


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
        if field.name != "task" and field.name in first and first[field.name].nunique() > 1
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


def read_sample(name: str) -> tuple[np.ndarray, str]:
    """Sampled layer vectors (S, L + 1, N, D) as float64 of the first group that has them, and its
    name.
    """
    found = sorted(paths.results(name).glob(f"*/{SAMPLE}"))
    if not found:
        raise FileNotFoundError(f"no {SAMPLE} in {paths.results(name)}")
    return np.load(found[0], allow_pickle=False).astype(np.float64), found[0].parent.name
