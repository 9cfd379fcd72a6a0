"""The run store.

A run is a folder ``data/runs/<setting>/seed<k>/``. It is written to a temporary place, ``run.json``
last, and moved in whole, so whatever is killed when, only whole runs are ever seen.
"""

import csv
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib import paths


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


def _finite(value: Any) -> Any:
    """The value with None for numbers that are not finite, as a diverged run has: JSON has none."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
            writer = csv.DictWriter(stream, list(run.log[0]))
            writer.writeheader()
            writer.writerows(run.log)
        content = json.dumps(_finite(run.record), indent=1, allow_nan=False)
        (scratch / "run.json").write_text(content + "\n")
        if target.exists() and not finished(target, run.record["fingerprint"], vectors=True):
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


def finished(target: Path, fingerprint: str, *, vectors: bool = False) -> dict[str, Any] | None:
    """The record of the run in a folder, if it is there whole and has this fingerprint.

    ``vectors``: only if its layer vectors, which are temporary, are still there too.
    """
    try:
        record = json.loads((target / "run.json").read_text())
    except FileNotFoundError:
        return None
    if vectors and not (target / "mean.npy").exists():
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
        same = [
            np.array_equal(run.example_ids, first.example_ids),
            np.array_equal(run.labels, first.labels),
            run.record["data_sha256"] == first.record["data_sha256"],
        ]
        if not all(same):
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


def drop_vectors(markers: Iterable[Path]) -> None:
    """Delete the layer vectors of shards whose runs are measured; logits and records stay.

    The markers go first: whoever needs the vectors again finds the shards unfinished, and
    training the runs again gives the same bits.
    """
    for path in markers:
        path.unlink(missing_ok=True)
        for name in ("first", "mean"):
            for file in path.parent.glob(f"seed*/{name}.npy"):
                file.unlink()


def marker(setting_id: str, seed_labels: list[str]) -> Path:
    """The file that says that a shard of a setting's seeds is trained."""
    return paths.RUNS / setting_id / f"{seed_labels[0]}_to_{seed_labels[-1]}.json"


def write_marker(setting_id: str, records: list[dict[str, Any]]) -> Path:
    """Record which runs a shard consists of, by folder and fingerprint; the last act of a job."""
    path = marker(setting_id, [record["seed_label"] for record in records])
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
