"""Runs that were made elsewhere, read from tables, arrays or folders and checked row by row.

``read`` tells these apart by suffix and columns:

long table    .csv or .parquet, a row a run and example: ``run``, ``example`` and ``prediction``,
              or ``logit_0``, ``logit_1``, … or ``prob_0``, …; optionally ``label``
wide table    .csv or .parquet, a row an example: optionally ``example`` and ``label``; every other
              column is the predictions of a run
lines         .txt without a header, a line an example: the answers of all runs, with commas or
              white space between them
arrays        .npz with ``logits`` or ``probabilities`` (S, N, C) or ``predictions`` (S, N);
              optionally ``labels`` (N,), ``runs`` (S,), ``examples`` (N,) and
              ``representations`` (S, L, N, D)
run folders   a folder with one folder a run, each with ``predictions.npz``, or each with the
              ``predict_results*.txt`` that run_glue.py and run_classification.py write

Two lines after training with transformers make a ``predictions.npz``; ``examples`` (N,) and
``hidden_states`` (L, N, D) may be added, and ``label_ids`` left out if there are no labels::

    out = trainer.predict(dataset)
    np.savez("out/seed1/predictions.npz", predictions=out.predictions, label_ids=out.label_ids)

Examples without ids are numbered from 1, in a .txt from 0; a label may be called ``gold_label``.
Classes are numbered in sorted order, unless there are logits or probabilities: then a label is the
number of its column.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd

from lib.errors import nearest
from lib.report.files import (
    OutsideError,
    check_shape,
    existing,
    fractions,
    ids_of,
    natural,
    numbers_in,
    read_answers,
    read_arrays,
    read_table,
    texts,
)
from lib.report.values import StoredRuns, add_labels, finish, identical, joined
from lib.results.run_group import RunGroup

KINDS = ("logits", "probabilities", "predictions")
RUN_FILES = ("predictions.npz", "predict_results*.txt")
# What a column of a wide table is called that holds anything but the predictions of a run.
NO_RUNS = {"", "fold", "gold", "id", "idx", "index", "sentence", "set", "source", "split"}
NO_RUNS |= {"target", "text"}


_Found = tuple[str, dict[str, StoredRuns], list[str]]  # one of KINDS, runs in natural order, notes


def read(
    path: str | Path, *, labels: str | Path | None = None, exclude: Sequence[str] = ()
) -> RunGroup:
    """The runs in a file or folder, without those named in ``exclude``.

    ``labels`` is a .csv or .parquet with ``label`` and optionally ``example`` (else by order), or
    a .npy (N,); it must agree with the labels that come with the runs, if any do. Whatever is
    wrong with the input raises OutsideError.
    """
    path = existing(path)
    exclude = [exclude] if isinstance(exclude, str) else list(exclude)
    if path.is_dir():
        kind, runs, notes = _folder(path, exclude)
    elif path.suffix == ".npz":
        kind, runs, notes = _npz(path, exclude)
    elif path.suffix in (".csv", ".parquet", ".txt"):
        table = read_answers(path) if path.suffix == ".txt" else read_table(path)
        long = any(re.fullmatch(r"run|prediction|(logit|prob)_\d+", name) for name in table)
        kind, runs, notes = (_long if long else _wide)(path, table, exclude)
    else:
        raise OutsideError(
            f"{path}: files that end in {path.suffix!r} cannot be read; give a .csv, .parquet, "
            ".txt or .npz file, or a folder with one folder a run"
        )
    if exclude:
        notes.append(f"Left out as asked: {', '.join(exclude)}.")
    notes += identical(runs)
    raw = joined(path, runs)
    if labels is not None:
        add_labels(raw, path, existing(labels))
    return finish(path, kind, raw, notes, exclude)


def _long(path: Path, table: pd.DataFrame, exclude: list[str]) -> _Found:
    """A row a run and example, in any order."""
    kind, columns = "predictions", ["prediction"]
    for other, prefix in (("probabilities", "prob_"), ("logits", "logit_")):
        if numbers := [int(c.removeprefix(prefix)) for c in table if re.match(rf"{prefix}\d+$", c)]:
            kind, columns = other, [f"{prefix}{i}" for i in range(max(numbers) + 1)]
    for name in ("run", "example", *columns):
        if name not in table:
            raise OutsideError(
                f"{path}: no column {name!r} among {', '.join(table)}; a table with a row a run "
                "and example has run, example, and prediction or logit_0, logit_1, … or prob_0, "
                f"prob_1, …: {nearest(name, table)}"
            )
    table["run"] = texts(table["run"])
    if (empty := table["run"] == "").any():
        raise OutsideError(f"{path}: row {empty.argmax() + 1} names no run; fill in column 'run'")
    table = table.iloc[np.argsort(pd.factorize(texts(table["example"]))[0], kind="stable")]
    runs = {}
    for name in _pick(path, table["run"].unique(), exclude):
        rows = table[table["run"] == name]
        values = rows[columns if columns[1:] or kind == "logits" else columns[0]].to_numpy(object)
        gold = rows["label"].to_numpy(object) if "label" in rows else None
        runs[name] = StoredRuns(
            values, ids_of(f"{path}: run {name!r}", rows["example"], len(rows)), gold
        )
    unread = [c for c in ("prediction", "prob_0") if c in table and c not in columns]
    notes = [f"The {kind} are read, and not {', '.join(unread)}."] if unread else []
    return kind, runs, notes


def _wide(path: Path, table: pd.DataFrame, exclude: list[str]) -> _Found:
    """A row an example, a column a run."""
    names = _pick(path, [name for name in table if name not in ("example", "label")], exclude)
    for name in names:
        hint = f"call it 'example' or 'label' if it is that, or exclude {name!r}"
        like = get_close_matches(name.lower(), ["label", "example"], n=1, cutoff=0.8)
        n_classes = 0 if fractions(numbers_in(table[name])).any() else table[name].nunique()
        if like or name.lower() in NO_RUNS or n_classes >= max(50, 0.95 * len(table)):
            hint = hint if name else "leave out the index with to_csv(..., index=False)"
            raise OutsideError(f"{path}: column {name!r} is not like predictions of a run; {hint}")
    gold = table["label"].to_numpy(object) if "label" in table else None
    ids = ids_of(path, table.get("example"), len(table))
    return "predictions", {n: StoredRuns(table[n].to_numpy(object), ids, gold) for n in names}, []


def _npz(path: Path, exclude: list[str]) -> _Found:
    """Arrays with the runs along the first axis."""
    others = ["labels", "runs", "examples", "representations", "label_ids", "hidden_states"]
    arrays = read_arrays(path, KINDS, others)
    if "label_ids" in arrays or "hidden_states" in arrays:
        raise OutsideError(
            f"{path}: this is one run, as trainer.predict gives it; give the folder that holds "
            "one folder a run"
        )
    kind, *unread = [name for name in KINDS if name in arrays]
    values, gold, states = arrays[kind], arrays.get("labels"), arrays.get("representations")
    check_shape(path, kind, values, *("S", "N", "C")[: 2 if kind == "predictions" else 3])
    n_runs, n = values.shape[:2]
    stored = arrays.get("runs", np.array([f"run{i + 1}" for i in range(n_runs)]))
    check_shape(path, "runs", stored, n_runs)
    check_shape(path, "labels", gold, n)
    check_shape(path, "representations", states, n_runs, "L", n, "D")
    stored, ids, runs = list(texts(stored)), ids_of(path, arrays.get("examples"), n), {}
    for name in _pick(path, stored, exclude):
        i = stored.index(name)
        runs[name] = StoredRuns(values[i], ids, gold, None if states is None else states[i])
    return kind, runs, [f"The {kind} are read, and not {', '.join(unread)}."] if unread else []


def _folder(path: Path, exclude: list[str]) -> _Found:
    """One folder a run: all with predictions.npz, or all with a text file of the same name."""
    folders = [item for item in path.iterdir() if item.is_dir() and not item.name.startswith(".")]
    files = {f.name: [file.name for kind in RUN_FILES for file in f.glob(kind)] for f in folders}
    if not any(files.values()):
        hint = f"make one folder a run, with {' or '.join(RUN_FILES)} in it"
        if deeper := [file for kind in RUN_FILES for file in sorted(path.rglob(kind))]:
            hint = f"only one level is read: to read {deeper[0]}, give {deeper[0].parent.parent}"
        raise OutsideError(f"{path}: none of its {len(folders)} folders holds a run; {hint}")
    names = _pick(path, [name for name in files if files[name] or name in exclude], exclude)
    trainer = all(RUN_FILES[0] in files[name] for name in names)
    have = {name: " and ".join(sorted(files[name])) for name in names}
    for name in names:
        if not trainer and (len(files[name]) > 1 or files[name] != files[names[0]]):
            raise OutsideError(
                f"{path}: run {name!r} has {have[name]}, run {names[0]!r} {have[names[0]]}; every "
                f"run needs {RUN_FILES[0]}, or one {RUN_FILES[1]} of the same name and no other"
            )
    load = _trainer_run if trainer else _text_run
    runs = {name: load(path / name / files[name][0]) for name in names}
    silent = sorted((name for name in files if not files[name]), key=natural)
    notes = [f"Folders without predictions, passed over: {', '.join(silent)}."] if silent else []
    return "predictions" if runs[names[0]].values.ndim == 1 else "logits", runs, notes


def _trainer_run(file: Path) -> StoredRuns:
    """predictions.npz, from the output of ``trainer.predict``."""
    arrays = read_arrays(file, ["predictions"], ["label_ids", "examples", "hidden_states"])
    values, gold, states = (arrays.get(n) for n in ("predictions", "label_ids", "hidden_states"))
    if values.ndim != 1:
        check_shape(file, "predictions", values, "N", "C")
    check_shape(file, "label_ids", gold, len(values))
    check_shape(file, "hidden_states", states, "L", len(values), "D")
    values = values[:, 0] if values.shape[1:] == (1,) else values
    scores = values.ndim == 1 and values.dtype.kind == "f"
    return StoredRuns(
        values, ids_of(file, arrays.get("examples"), len(values)), gold, states, scores
    )


def _text_run(file: Path) -> StoredRuns:
    """predict_results*.txt: decisions, or scores with three decimals; no labels."""
    table = read_table(file)
    if list(table) != ["index", "prediction"]:
        columns = ", ".join(table)
        raise OutsideError(f"{file}: columns {columns}; expected index, a tab, and prediction")
    values, ids = table["prediction"].to_numpy(object), ids_of(file, table["index"], len(table))
    for example, value in zip(ids, values, strict=True):
        if value.startswith("["):
            raise OutsideError(
                f"{file}: example {example!r} has several labels, {value}; only one class an "
                "example can be compared: write a file for each label"
            )
    scores = all(re.fullmatch(r"-?(\d+\.\d+|inf)|nan", value) for value in values)
    return StoredRuns(values, ids, scores=scores)


def _pick(path: Path, names: Iterable[str], exclude: list[str]) -> list[str]:
    """The names of the runs to read, in natural order."""
    names = list(names)
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise OutsideError(f"{path}: two runs are called {repeated[0]!r}; give each its own name")
    for name in exclude:
        if name not in names:
            raise OutsideError(f"{path}: no run {name!r} to exclude: {nearest(name, names)}")
    kept = sorted(set(names) - set(exclude), key=natural)
    if len(kept) < 2:
        raise OutsideError(
            f"{path}: {len(kept)} run{'s' * (len(kept) != 1)} ({', '.join(kept) or 'none'}); "
            "instability is between runs, so give two or more that differ in nothing but the seed"
        )
    return kept
