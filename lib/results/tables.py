"""Tidy tables of a configuration's results, Parquet files in ``data/results/<name>/``.

``docs/data-card.md`` says what their rows and columns are. Each group or job is first a folder
``<name>/<group>/`` with ``<table>.parquet`` and ``made.json``. Packed, all of them are one file a
table, ``<name>/<table>.parquet``, whose column ``group`` or ``job`` names them, and one
``made.json``. A folder goes before what is packed of the same name.
"""

import dataclasses
import hashlib
import json
import shutil
import warnings
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib import config, paths, provenance
from lib.config import Setting
from lib.errors import nearest
from lib.measures.generation import edit_distances
from lib.results.runs import Run

SAMPLE = "sample_vectors.npy"
#: What made the tables of a group: commit, versions, machine, fingerprints of the code.
MADE = "made.json"
TABLES = ("runs", "examples", "logits", "training", "distances", "measures")
#: Of runs that generate: their texts, and how far apart those of two runs are, by input.
TEXTS, TEXT_PAIRS = "texts", "text_pairs"
_OF_GROUPS = (*TABLES, TEXTS, TEXT_PAIRS)
#: The training of a run is kept as means over so many stretches of steps.
STRETCHES = 40


def run_table(group: list[Run]) -> pd.DataFrame:
    """A row a run: the record, with the setting's fields and the distance as columns."""
    rows = []
    for run in group:
        record = run.record | {"newly_initialised": " ".join(run.record["newly_initialised"])}
        setting, distance = record.pop("setting"), record.pop("distance")
        first = {k: record.pop(k) for k in ("setting_id", "seed", "status", "metric", "score")}
        as_json = ("other_scores", "versions", "sources")
        texts = {name: json.dumps(record.pop(name, {})) for name in as_json}
        row = {**first, **config.to_row(setting), **record, "distance": distance["all"], **texts}
        rows.append(row)
    return pd.DataFrame(rows)


def as_stored(logits: np.ndarray) -> np.ndarray:
    """Logits (…, C) as they are read back, float32: rounded to float16, and of two classes the
    first at 0, for only their difference is stored.
    """
    rounded = logits.astype(np.float16)
    if rounded.shape[-1] == 2:
        rounded = rounded - rounded[..., :1]
    return rounded.astype(np.float32)


def logit_table(group: list[Run]) -> pd.DataFrame:
    """A row a run and example, in the order of the example table; logits in float16."""
    logits = as_stored(np.stack([run.logits for run in group])).astype(np.float16)
    _, n_examples, n_classes = logits.shape
    names = ("setting_id", "seed_label")
    columns = {k: np.repeat([run.record[k] for run in group], n_examples) for k in names}
    for number in range(1 if n_classes == 2 else 0, n_classes):
        columns[f"logit_{number}"] = logits[..., number].ravel()
    return pd.DataFrame(columns)


def logits_of(table: pd.DataFrame, n_runs: int, *, regression: bool) -> np.ndarray:
    """(S, N, C) logits of a group from its table, float32.

    A packed table has columns that other groups need; of the group's own, only those of a group
    without any finite output are empty too.
    """
    columns = table.filter(like="logit_")
    columns = columns.sort_index(axis=1, key=lambda names: names.str[len("logit_") :].astype(int))
    own = columns.dropna(axis=1, how="all")
    if own.empty:
        own = columns.iloc[:, :1]
    values = own.to_numpy(np.float32)
    if own.shape[1] == 1 and not regression:
        values = np.hstack([np.zeros_like(values), values])
    return as_stored(values).reshape(n_runs, -1, values.shape[1])


def text_table(group: list[Run], *, shown: bool) -> pd.DataFrame:
    """A row a run, decoding (0: greedy; then sampled ones) and example, in the order of the example
    table: ``hash`` of the text but for outer white space, its ``length`` in characters, its
    ``score``, and of a sampled one the mean ``edit_distance`` to the others that the run sampled
    for the same input; and the ``text`` itself where it may be ``shown``.
    """
    parts = []
    for run in group:
        texts = np.char.strip(run.generated["texts"])
        decoding, _ = np.indices(texts.shape)
        ids = {name: run.record[name] for name in ("setting_id", "seed_label")}
        own = pd.DataFrame({"text": texts.ravel(), "decoding": decoding.ravel()}).assign(**ids)
        hashes = own["text"].map(lambda text: hashlib.sha256(text.encode()).hexdigest()[:8])
        apart = np.full(texts.shape, np.nan, np.float32)
        for row, sampled in enumerate(texts[1:].T.tolist()):
            apart[1:, row] = edit_distances(sampled).sum(1) / (len(sampled) - 1)
        own = own.assign(hash=hashes, length=own["text"].str.len(), edit_distance=apart.ravel(),
                         score=run.generated["scores"].ravel().astype(np.float32))  # fmt: skip
        parts.append(own)
    columns = ["setting_id", "seed_label", "decoding", "hash", "length", "score", "edit_distance"]
    return pd.concat(parts, ignore_index=True)[[*columns, "text"] if shown else columns]


def training_table(group: list[Run]) -> pd.DataFrame:
    """How each run was trained: means over ``STRETCHES`` of steps, and where it ended. Of a
    diverged run the means end before the step that was not finite.
    """
    rows = []
    for run in group:
        ids = run.record["setting_id"], run.record["seed_label"]
        log = pd.DataFrame(run.log)
        log = log[np.isfinite(log[["loss", "gradient_norm"]]).all(axis=1)]
        for stretch in filter(len, np.array_split(np.arange(len(log)), STRETCHES)):
            means = log.iloc[stretch].mean()
            for column in [name for name in log if name == "loss" or "gradient_norm" in name]:
                quantity, _, part = column.partition("norm_")
                quantity = "gradient_norm" if "gradient" in quantity else quantity
                rows.append((*ids, quantity, part or "all", log.index[stretch[-1]], means[column]))
        for part, value in run.record["distance"].items():
            rows.append((*ids, "distance", part, len(run.log) - 1, value))
    columns = ["setting_id", "seed_label", "quantity", "part", "step", "value"]
    return pd.DataFrame(rows, columns=columns).astype({"value": np.float32})


def save_tables(
    name: str,
    group: str,
    tables: dict[str, pd.DataFrame],
    sample: np.ndarray | None = None,
    parameters: dict[str, Any] | None = None,
) -> Path:
    """Write the tables of a group or of a job of a configuration; the folder is replaced as a
    whole. ``sample``: of the group's layer vectors; ``parameters``: those of the job.
    """
    if paths.is_reference(name):
        raise ValueError(f"results = {name!r} is made by promoting, never directly")
    record = provenance.made_by() | {
        "distance_code": provenance.DISTANCE_VERSION,
        "measure_code": provenance.code_fingerprint(*provenance.MEASURING),
    }
    if "runs" in tables and "code" in tables["runs"]:
        record["training_code"] = " ".join(sorted(tables["runs"]["code"].unique()))
    if parameters:
        record["parameters"] = parameters
    target = paths.results(name) / group
    with paths.atomic_folder(target) as fresh:
        _fill(fresh, tables, record)
        if sample is not None:
            np.save(fresh / SAMPLE, sample, allow_pickle=False)
    return target


def update_measures(name: str, group: str, runs: pd.DataFrame, measures: pd.DataFrame) -> None:
    """Put scores and measures that were made again into the folder of a group, at once; a packed
    group has a folder then. Its record names the code and the commit that measured.
    """
    head, dirty = provenance.commit()
    record = records(name)[group] | {
        "measure_code": provenance.code_fingerprint(*provenance.MEASURING),
        "measured": {"commit": head, "dirty": dirty},
    }
    tables = {table: read_stored(name, table, [group]).drop(columns="group") for table in TABLES}
    target = paths.results(name) / group
    with paths.atomic_folder(target) as fresh:
        if target.exists():
            shutil.copytree(target, fresh, dirs_exist_ok=True)
        _fill(fresh, tables | {"runs": runs, "measures": measures}, record)


def _fill(folder: Path, tables: dict[str, pd.DataFrame], record: dict[str, Any]) -> None:
    for table, frame in tables.items():
        write(folder / f"{table}.parquet", frame)
    (folder / MADE).write_text(json.dumps(record, indent=1) + "\n")


def write(path: Path, frame: pd.DataFrame) -> None:
    """Write a table. Short floats are measured values, no two alike; all else repeats itself."""
    measured = list(frame.select_dtypes(["float16", "float32"]))
    frame.to_parquet(
        path,
        index=False,
        compression="zstd",
        use_dictionary=[name for name in frame if name not in measured],
        use_byte_stream_split=measured,
    )


def records(name: str) -> dict[str, dict[str, Any]]:
    """What made each group or job of results, packed or in a folder, by its name; it may be empty,
    for the oldest jobs have no record.
    """
    in_folders = {folder.name: _made(folder) for folder in folders(name)}
    return _made(paths.results(name)) | in_folders


def _made(folder: Path) -> dict[str, Any]:
    path = folder / MADE
    return json.loads(path.read_text()) if path.exists() else {}


def folders(name: str) -> list[Path]:
    """The folders of results that hold tables of a group or job."""
    return sorted({path.parent for path in paths.results(name).glob("*/*.parquet")})


def pack(name: str, groups: Collection[str]) -> None:
    """Put the named groups or jobs, from folders and from what is packed, together as one file a
    table, at once. All else is deleted, but for samples of layer vectors.
    """
    root = paths.results(name)
    record = {group: made for group, made in sorted(records(name).items()) if group in groups}
    frames = {path.stem: read_stored(name, path.stem) for path in root.glob("**/*.parquet")}
    kept = {table: frame[frame.iloc[:, 0].isin(list(record))] for table, frame in frames.items()}
    with paths.atomic_folder(root) as fresh:
        _fill(fresh, {table: frame for table, frame in kept.items() if len(frame)}, record)
        for sample in root.glob(f"*/{SAMPLE}"):
            (fresh / sample.parent.name).mkdir()
            shutil.copy(sample, fresh / sample.parent.name)


class MixedCodeWarning(UserWarning):
    """Groups that were trained or measured by different code are looked at together."""


def _warn_if_mixed(name: str) -> None:
    train = "`make run` or `make campaign` makes the older ones again"
    measure = f"`python -m lib.workflow remeasure {name}` measures them again"
    remedies = {"training_code": train, "distance_code": train, "measure_code": measure}
    for part, remedy in remedies.items():
        versions = {record[part] for record in records(name).values() if part in record}
        if len(versions) > 1:
            warnings.warn(
                f"the groups of {name} are of {len(versions)} versions of the {part}: {remedy}",
                MixedCodeWarning,
                stacklevel=3,
            )


def check_pooling(pooling: str, available: Collection[str]) -> None:
    """``ValueError`` for a pooling of layer vectors that results do not have."""
    if pooling not in available:
        raise ValueError(
            f"pooling = {pooling!r}, but these results have {', '.join(available) or 'none'}: "
            "give one of those"
        )


def read(
    name: str, table: str, groups: Collection[str] = (), *, pooling: str | None = None
) -> pd.DataFrame:
    """One table of a configuration's results, of all groups or of those named, with a column
    ``group``.

    ``runs`` has every field of a setting, also of older tables. ``pooling``: only the rows with it;
    ``ValueError`` if there are none. Warns (``MixedCodeWarning``) if the groups were made by
    different code.
    """
    if table not in _OF_GROUPS:
        raise ValueError(f"unknown table {table}: {nearest(table, _OF_GROUPS)}")
    whole = read_stored(name, table, groups)
    _warn_if_mixed(name)
    if pooling is not None:
        check_pooling(pooling, whole["pooling"].dropna().unique())
        whole = whole[whole["pooling"] == pooling]
    if table == "runs":
        # A field of a setting that is newer than a table was, in all its runs, what its default is.
        fields = dataclasses.fields(Setting)
        newer = {f.name: f.default for f in fields if f.name not in config.FIRST_FIELDS}
        columns = {name: whole.get(name, default) for name, default in newer.items()}
        whole = whole.assign(**columns).fillna(newer)
    return whole


def read_stored(name: str, table: str, only: Collection[str] = ()) -> pd.DataFrame:
    """A table of all groups or jobs of results, or of those named, from folders and from what is
    packed, as it is stored. Its first column, ``group`` or ``job``, names them.
    """
    root, column = paths.results(name), "group" if table in _OF_GROUPS else "job"
    files = {path.parent.name: path for path in root.glob(f"*/{table}.parquet")}
    frames = []
    for folder, path in files.items():
        if not only or folder in only:
            frames.append(pd.read_parquet(path))
            frames[-1].insert(0, column, folder)
    if (path := root / f"{table}.parquet").exists():
        chosen = [(column, "in", list(only))] if only else None
        frame = pd.read_parquet(path, filters=chosen)
        rest = frame[~frame[column].isin(list(files))]
        frames += [rest] if len(rest) else []
    whole = pd.concat(frames) if frames else pd.DataFrame({column: []})
    if missing := set(only) - set(whole[column]):
        raise FileNotFoundError(f"no {table} of {', '.join(sorted(missing))} in {root}")
    if not frames:
        raise FileNotFoundError(f"no {table} in {root}; `make run CONFIG={name}` makes them")
    return whole.sort_values(column, kind="stable", ignore_index=True)


def committed() -> list[str]:
    """Names of the committed results that hold groups of runs."""
    files = paths.COMMITTED.glob("reference*/**/logits.parquet")
    return sorted({path.relative_to(paths.COMMITTED).parts[0] for path in files})


def group_labels(name: str) -> dict[str, str]:
    """A short, unique label for each group: its task and the fields in which its settings differ.

    A union of settings is called by its name.
    """
    groups = read(name, "runs").groupby("group")
    first, is_union = groups.first(), groups["setting_id"].nunique() > 1
    fields = [f.name for f in dataclasses.fields(Setting) if f.name in first and f.name != "task"]
    labels = {}
    for task, rows in first.groupby("task"):
        differing = [field for field in fields if rows[field].nunique() > 1]
        for group, row in rows.to_dict("index").items():
            words = [Path(task).stem]
            for field in differing:
                word = "" if field == "backbone" else field.replace("_", " ")
                value = f"{row[field]:g}" if isinstance(row[field], float) else row[field]
                words.append(f"{word} {value}".strip())
            labels[group] = group if is_union[group] else ", ".join(words)
    counts = Counter(labels.values())
    return {group: group if counts[label] > 1 else label for group, label in labels.items()}


def read_sample(name: str) -> tuple[np.ndarray, str]:
    """Sampled layer vectors (S, L + 1, N, D) as float64 of the first group that has them, and its
    name.
    """
    samples = sorted(paths.results(name).glob(f"*/{SAMPLE}"))
    if not samples:
        raise FileNotFoundError(f"no {SAMPLE} in {paths.results(name)}")
    return np.load(samples[0], allow_pickle=False).astype(np.float64), samples[0].parent.name
