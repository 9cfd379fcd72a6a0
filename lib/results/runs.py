"""The run store.

A run is a folder ``data/runs/<setting>/seed<k>/``. It is written to a temporary place, ``run.json``
last, and moved in whole, so whatever is killed when, only whole runs are ever seen.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib import paths, provenance
from lib.config import Setting
from lib.config.seeds import Seeds

#: How the vectors of a text's tokens become one: that at position 0, that of the last token (a
#: decoder's first token has seen no other), or their mean.
POOLINGS = ("first", "last", "mean")
ARRAYS = ("logits", "labels", "example_ids")
GENERATED = ("texts", "scores", "elsewhere", "lengths", "tokens", "probabilities", "slots")


@dataclass
class Run:
    """One run in memory: its record, logits (N, C), labels and ids (N,), training log, and layer
    vectors (L + 1, N, D) by pooling, which are absent once their distances were taken. Of a run
    that generates texts, ``generated`` is what ``lib.training.generation.evaluate`` says.
    """

    record: dict[str, Any]
    logits: np.ndarray
    labels: np.ndarray
    example_ids: np.ndarray
    log: list[dict[str, float]]
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    generated: Mapping[str, np.ndarray] = field(default_factory=dict)


def folder(setting_id: str, seed_label: str, store: "os.PathLike[str] | None" = None) -> Path:
    """Where the run of a setting and a seed lives."""
    return Path(store or paths.RUNS) / setting_id / seed_label


def programs(setting: Setting, seeds: list[Seeds]) -> list[list[Seeds]]:
    """The neighbours that are trained as one program, ``setting.seeds_per_batch`` at a time; the
    last may be fewer.
    """
    size = setting.seeds_per_batch
    return [seeds[start : start + size] for start in range(0, len(seeds), size)]


def fingerprint(
    setting: Setting, seeds: Seeds, batch: list[Seeds], origin: Mapping[str, Any]
) -> str:
    """Identity of a run: what it depends on, and the version of the behaviour that makes it.

    Of several seeds as one program, whose dropout is drawn together, that includes the others.
    ``origin``: the run's record, or of it ``data_sha256``, ``backbone_sha256`` and ``code``.
    """
    others = [other.label for other in batch] if len(batch) > 1 else []
    versions = (origin[name] for name in ("data_sha256", "backbone_sha256", "code"))
    return provenance.digest(setting.identity(), vars(seeds), others, *versions)


def save(run: Run, target: Path) -> None:
    """Write a run beside its place and move it in whole; an equal one that is there stays."""
    if finished(target, run.record["fingerprint"], vectors=True):
        return
    with paths.atomic_folder(target) as scratch:
        arrays = {name: getattr(run, name) for name in ARRAYS} | run.vectors | dict(run.generated)
        for name, array in arrays.items():
            np.save(scratch / f"{name}.npy", array, allow_pickle=False)
        pd.DataFrame(run.log).to_csv(scratch / "training_log.csv", index=False)
        # Numbers that are not finite, as a diverged run has, are null: JSON has none.
        record = json.loads(json.dumps(run.record), parse_constant=lambda _: None)
        (scratch / "run.json").write_text(json.dumps(record, indent=1) + "\n")


def record_of(target: Path) -> dict[str, Any] | None:
    """The record of the run in a folder; None if there is none, or none that can be read."""
    try:
        return json.loads((target / "run.json").read_text())
    except (FileNotFoundError, ValueError):
        return None


def finished(target: Path, fingerprint: str, *, vectors: bool = False) -> dict[str, Any] | None:
    """The record of the run in a folder, if it is there whole and has this fingerprint.

    ``vectors``: only if its layer vectors, which are temporary, are still there too.
    """
    record = record_of(target)
    if record is None or (vectors and not (target / "mean.npy").exists()):
        return None
    return record if record["fingerprint"] == fingerprint else None


def load(target: Path) -> Run:
    """Read a run back; a missing run is a ``FileNotFoundError`` that says how to make it."""
    record = record_of(target)
    if record is None:
        raise FileNotFoundError(f"no finished run in {target}; `make run` trains what is missing")

    def read(name: str) -> np.ndarray:
        return np.load(target / f"{name}.npy", allow_pickle=False)

    there = {path.stem for path in target.glob("*.npy")}
    vectors = {name: read(name) for name in POOLINGS if name in there}
    generated = {name: read(name) for name in GENERATED if name in there}
    log = pd.read_csv(target / "training_log.csv", float_precision="round_trip").to_dict("records")
    return Run(
        record,
        **{name: read(name) for name in ARRAYS},
        log=log,
        vectors=vectors,
        generated=generated,
    )


def load_group(setting_ids: Sequence[str], seed_labels: Sequence[str]) -> list[Run]:
    """The runs of a group, their examples checked to be the same in the same order."""
    group = [load(folder(one, label)) for one in setting_ids for label in seed_labels]
    first = group[0]
    made_by = {_training_versions(run): name_of(run) for run in group}
    if len(made_by) > 1:
        each = "; ".join(f"{name}: {versions}" for versions, name in made_by.items())
        raise ValueError(
            f"runs of one group were trained by different versions. {each}. Delete those of the "
            f"other versions in {paths.RUNS}, and `make run` trains them again as the others."
        )
    for run in group[1:]:
        same_ids = np.array_equal(run.example_ids, first.example_ids)
        same_labels = np.array_equal(run.labels, first.labels)
        same_data = run.record["data_sha256"] == first.record["data_sha256"]
        if not (same_ids and same_labels and same_data):
            raise ValueError(
                f"runs were evaluated on different examples: {name_of(first)} and {name_of(run)}"
            )
    return group


def _training_versions(run: Run) -> str:
    """What trained a run, in words: our behaviour, torch (of any build) and transformers."""
    versions = run.record["versions"]
    torch = versions["torch"].partition("+")[0]
    return f"{run.record['code']}, torch {torch}, transformers {versions['transformers']}"


def stored_settings() -> list[str]:
    """The setting in the store, if there is exactly one; else an error that lists what there is."""
    stored = sorted(path.name for path in paths.RUNS.glob("*") if path.is_dir())
    if len(stored) != 1:
        raise ValueError(
            f"setting_ids is empty and {paths.RUNS} holds {stored or 'nothing'}: name some"
        )
    return stored


def name_of(run: Run) -> str:
    """``<setting> seed<k>`` for messages."""
    return f"{run.record['setting_id']} seed {run.record['seed']}"


def drop_vectors(setting_id: str) -> None:
    """Delete the layer vectors of a setting whose runs are measured; logits and records stay.

    The markers go first: whoever needs the vectors again finds the shards unfinished, and
    training the runs again gives the same bits.
    """
    for pattern in ("*_to_*.json", *(f"seed*/{name}.npy" for name in POOLINGS)):
        for path in (paths.RUNS / setting_id).glob(pattern):
            path.unlink(missing_ok=True)


def marker(setting_id: str, seed_labels: list[str]) -> Path:
    """The file that says that a shard of a setting's seeds is trained."""
    return paths.RUNS / setting_id / f"{seed_labels[0]}_to_{seed_labels[-1]}.json"


def write_marker(setting_id: str, records: list[dict[str, Any]]) -> Path:
    """Record which runs a shard consists of, by folder and fingerprint; the last act of a job."""
    path = marker(setting_id, [record["seed_label"] for record in records])
    content = {record["seed_label"]: record["fingerprint"] for record in records}
    with paths.atomic_file(path) as scratch:
        scratch.write_text(json.dumps(content, indent=1) + "\n")
    return path
