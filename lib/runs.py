"""The run store, and the tidy tables made from it.

A run is a folder ``data/runs/<setting>/seed<k>/``. It is written to a temporary place, ``run.json``
last, and moved in whole, so whatever is killed when, only whole runs are ever seen.

The results of a configuration are Parquet files in ``data/results/<name>/<group>/``:

runs         a row a run: setting, seeds, status, score, distance from the start, device, …
examples     a row an example: id, gold label
logits       a row a run and example: ``logit_0`` … (float16)
distances    a row a pair of runs, layer, pooling and measure: the upper triangle
measures     a row a measure (layer, pooling, subset of runs): value with interval
"""

import argparse
import csv
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib import paths
from lib.errors import nearest

SAMPLE = "sample_vectors.npy"
TABLES = ("runs", "examples", "logits", "distances", "measures")


@dataclass
class Run:
    """One run in memory: its record, logits (N, C), labels and ids (N,), training log, and layer
    vectors (L + 1, N, D), which are absent once their distances were taken.
    """

    record: dict[str, Any]
    logits: np.ndarray
    labels: np.ndarray
    example_ids: np.ndarray
    log: list[dict[str, float]]
    first: np.ndarray | None = None
    mean: np.ndarray | None = None


def folder(setting_id: str, seed_label: str, store: "os.PathLike[str] | None" = None) -> Path:
    """Where the run of a setting and a seed lives."""
    return Path(store or paths.RUNS) / setting_id / seed_label


def save(run: Run, target: Path) -> None:
    """Write a run beside its place and move it in whole; another run that is there is replaced."""
    scratch = target.parent / f".{target.name}-{uuid.uuid4().hex}"
    scratch.mkdir(parents=True)
    try:
        for name in ("logits", "labels", "example_ids", "first", "mean"):
            array = getattr(run, name)
            if array is not None:
                np.save(scratch / f"{name}.npy", array, allow_pickle=False)
        with open(scratch / "training_log.csv", "w", newline="") as stream:
            writer = csv.DictWriter(stream, ["step", "loss", "lr", "gradient_norm"])
            writer.writeheader()
            writer.writerows(run.log)
        (scratch / "run.json").write_text(json.dumps(run.record, indent=1) + "\n")
        if target.exists() and not finished(target, run.record["fingerprint"]):
            stale = scratch.with_suffix(".stale")
            os.replace(target, stale)
            shutil.rmtree(stale)
        try:
            os.replace(scratch, target)
        except OSError:
            # Another process finished the same run first; its files are as good as these.
            if not finished(target, run.record["fingerprint"]):
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def finished(target: Path, fingerprint: str) -> dict[str, Any] | None:
    """The record of the run in a folder, if it is there whole and has this fingerprint."""
    try:
        record = json.loads((target / "run.json").read_text())
    except FileNotFoundError:
        return None
    return record if record["fingerprint"] == fingerprint else None


def load(target: Path) -> Run:
    """Read a run back; a missing run is a ``FileNotFoundError`` that says how to make it."""
    if not (target / "run.json").exists():
        raise FileNotFoundError(f"no finished run in {target}; `make run` trains what is missing")
    arrays = {
        name: np.load(target / f"{name}.npy", allow_pickle=False)
        if (target / f"{name}.npy").exists()
        else None
        for name in ("logits", "labels", "example_ids", "first", "mean")
    }
    with open(target / "training_log.csv", newline="") as stream:
        log = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]
    return Run(record=json.loads((target / "run.json").read_text()), log=log, **arrays)


def load_group(
    setting_ids: Iterable[str], seed_labels: Iterable[str], store: "os.PathLike[str] | None" = None
) -> list[Run]:
    """The runs of a group, their examples checked to be the same in the same order."""
    seed_labels = list(seed_labels)
    group = [
        load(folder(setting_id, label, store))
        for setting_id in setting_ids
        for label in seed_labels
    ]
    first = group[0]
    for run in group[1:]:
        if not np.array_equal(run.example_ids, first.example_ids):
            raise ValueError(
                f"runs were evaluated on different examples: {name_of(first)} and {name_of(run)}"
            )
    return group


def stored_settings() -> list[str]:
    """The setting in the store, if there is exactly one; else an error that lists what there is."""
    found = sorted(path.name for path in paths.RUNS.glob("*") if path.is_dir())
    if len(found) != 1:
        raise ValueError(
            f"setting_ids is empty and {paths.RUNS} holds {found or 'nothing'}: name some"
        )
    return found


def name_of(run: Run) -> str:
    """``<setting> seed<k>`` for messages."""
    return f"{run.record['setting_id']} seed {run.record['seed']}"


def drop_vectors(group: Iterable[Run], store: "os.PathLike[str] | None" = None) -> None:
    """Delete the layer vectors of runs whose distances were taken; logits and records stay."""
    for run in group:
        place = folder(run.record["setting_id"], run.record["seed_label"], store)
        for name in ("first", "mean"):
            (place / f"{name}.npy").unlink(missing_ok=True)


def marker(setting_id: str, seeds: list[int]) -> Path:
    """The file that says that a shard of a setting's seeds is trained."""
    return paths.RUNS / setting_id / f"seeds{seeds[0]}to{seeds[-1]}.json"


def write_marker(setting_id: str, seeds: list[int], records: list[dict[str, Any]]) -> Path:
    """Record which runs a shard consists of, by folder and fingerprint; the last act of a job."""
    path = marker(setting_id, seeds)
    content = {record["seed_label"]: record["fingerprint"] for record in records}
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    scratch.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(scratch, path)
    return path


def drop_stale_marker(path: Path) -> None:
    """Delete a marker whose runs are gone or replaced by others, so that its job runs again."""
    if not path.exists():
        return
    content = json.loads(path.read_text())
    if not all(finished(path.parent / label, mark) for label, mark in content.items()):
        path.unlink()


def run_table(group: Iterable[Run]) -> pd.DataFrame:
    """A row a run: the record, with the setting's fields and the distance as columns."""
    rows = []
    for run in group:
        record = dict(run.record)
        setting = record.pop("setting")
        distance = record.pop("distance")
        versions = record.pop("versions")
        record["newly_initialised"] = " ".join(record["newly_initialised"])
        rows.append(
            {
                **{k: record.pop(k) for k in ("setting_id", "seed", "status", "metric", "score")},
                **{k: " ".join(v) if isinstance(v, list) else v for k, v in setting.items()},
                **record,
                "distance": distance["all"],
                "versions": json.dumps(versions),
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


def save_tables(
    name: str, group: str, tables: dict[str, pd.DataFrame], sample: np.ndarray | None = None
) -> Path:
    """Write the tables of a group of a configuration, and a sample of its layer vectors if given;
    the folder is replaced as a whole.
    """
    target = paths.results(name) / group
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{group}-") as scratch:
        fresh = Path(scratch) / "fresh"
        fresh.mkdir()
        for table, frame in tables.items():
            frame.to_parquet(fresh / f"{table}.parquet", index=False, compression="zstd")
        if sample is not None:
            np.save(fresh / SAMPLE, sample, allow_pickle=False)
        if target.exists():
            os.replace(target, Path(scratch) / "stale")
        os.replace(fresh, target)
    return target


def read(name: str, table: str) -> pd.DataFrame:
    """One table of a configuration's results, all groups together, with a column ``group``."""
    if table not in TABLES:
        raise ValueError(f"unknown table {table}: {nearest(table, TABLES)}")
    root = paths.results(name)
    files = sorted(root.glob(f"*/{table}.parquet"))
    if not files:
        raise FileNotFoundError(f"no results in {root}; `make run CONFIG={name}` makes them")
    frames = [pd.read_parquet(file) for file in files]
    for file, frame in zip(files, frames, strict=True):
        frame.insert(0, "group", file.parent.name)
    return pd.concat(frames, ignore_index=True)


def group_labels(name: str) -> dict[str, str]:
    """A short label for each group: the fields in which the groups' settings differ."""
    fields = ["backbone", "task", "method", "learning_rate", "train_rows"]
    table = read(name, "runs")
    differing = [field for field in fields if table[field].nunique() > 1] or ["task"]
    labels = {}
    for group, part in table.groupby("group"):
        if part["setting_id"].nunique() > 1:
            labels[group] = group
            continue
        values = part.iloc[0]
        words = [
            f"lr {values[field]:g}" if field == "learning_rate" else str(values[field])
            for field in differing
        ]
        labels[group] = ", ".join(words)
    return labels


def logits_of(name: str, group: str) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Logits (S, N, C) as float32, gold labels (N,) and the run table (S rows) of a group."""
    root = paths.results(name) / group
    examples = pd.read_parquet(root / "examples.parquet")
    table = pd.read_parquet(root / "runs.parquet")
    flat = pd.read_parquet(root / "logits.parquet").filter(like="logit_").to_numpy(np.float32)
    return flat.reshape(len(table), len(examples), -1), examples["label"].to_numpy(), table


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


def promote(name: str) -> list[str]:
    """Copy the results of a configuration into the committed reference; returns the groups.

    Groups of the same name are replaced; others stay. Of the layer vectors, only the sample of the
    first group without failed runs is copied: the reference is to stay small.
    """
    source = paths.results(name)
    groups = sorted(path.parent.name for path in source.glob("*/runs.parquet"))
    if not groups:
        raise FileNotFoundError(f"no results in {source}; `make run CONFIG={name}` makes them")
    sampled = False
    for group in groups:
        tables = {table: pd.read_parquet(source / group / f"{table}.parquet") for table in TABLES}
        whole = (tables["runs"]["status"] == "ok").all() and not sampled
        sampled |= whole
        sample = np.load(source / group / SAMPLE, allow_pickle=False) if whole else None
        save_tables("reference", group, tables, sample)
    return groups


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m lib.runs", description="The results store.")
    parser.add_argument("action", choices=["promote"], help="copy results into the reference")
    parser.add_argument("name", help="name of the configuration whose results are promoted")
    options = parser.parse_args()
    for group in promote(options.name):
        print(f"promoted {group}")
