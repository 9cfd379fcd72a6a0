"""Runs that were made elsewhere, read from tables, arrays or folders and checked row by row.

``read`` tells these apart by suffix and columns:

long table    .csv or .parquet, a row a run and example: ``run``, ``example`` and ``prediction``,
              or ``logit_0``, ``logit_1``, … or ``prob_0``, …; optionally ``label``
wide table    .csv or .parquet, a row an example: optionally ``example`` and ``label``; every other
              column is the predictions of a run
arrays        .npz with ``logits`` or ``probabilities`` (S, N, C) or ``predictions`` (S, N);
              optionally ``labels`` (N,), ``runs`` (S,), ``examples`` (N,) and
              ``representations`` (S, L, N, D)
run folders   a folder with one folder a run, each with ``predictions.npz``, or each with the
              ``predict_results*.txt`` that run_glue.py and run_classification.py write

Two lines after training with transformers make a ``predictions.npz``; ``examples`` (N,) and
``hidden_states`` (L, N, D) may be added, and ``label_ids`` left out if there are no labels::

    out = trainer.predict(dataset)
    np.savez("out/seed1/predictions.npz", predictions=out.predictions, label_ids=out.label_ids)

Examples without ids are numbered from 1. Classes are numbered in sorted order, unless there are
logits or probabilities: then a label is the number of its column.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from lib.errors import nearest
from lib.outside_files import (
    OutsideError,
    check_shape,
    existing,
    fractions,
    ids_of,
    is_missing,
    natural,
    numbers_in,
    read_arrays,
    read_table,
    show,
    texts,
)

KINDS = ("logits", "probabilities", "predictions")
RUN_FILES = ("predictions.npz", "predict_results*.txt")
# What a column of a wide table is called that holds anything but the predictions of a run.
NO_RUNS = {"", "fold", "gold", "id", "idx", "index", "sentence", "set", "source", "split"}
NO_RUNS |= {"target", "text"}


@dataclass(frozen=True)
class OutsideRuns:
    """What S runs said on the same N examples; integer codes index ``classes``."""

    names: list[str]  # S names of runs, in natural order (seed2 before seed10)
    predictions: np.ndarray  # (S, N) integer class codes, or (S, N) float64 if regression
    probabilities: np.ndarray | None  # (S, N, C) float64, rows sum to 1; None: decisions only
    logits: np.ndarray | None  # (S, N, C) float64 if logits were given
    labels: np.ndarray | None  # (N,) integer codes, or float64 if regression
    classes: list[str]  # C names of classes, code -> name; empty if regression
    examples: list[str]  # N example ids
    representations: list[np.ndarray] | None  # S arrays (L, N, D_s), dtype as stored
    source: str  # one sentence in plain words on what was read
    notes: list[str]  # things noticed that are no errors
    left_out: list[str]  # runs excluded as asked


@dataclass
class _Run:
    """A run as stored: values (N,) or (N, C), ids (N,), gold labels (N,), states (L, N, D)."""

    values: np.ndarray
    ids: list[str]
    gold: np.ndarray | None = None
    states: np.ndarray | None = None
    scores: bool = False  # regression, even if all numbers are whole


_Found = tuple[str, dict[str, _Run], list[str]]  # one of KINDS, runs in natural order, notes


@dataclass
class _Raw:
    """All runs side by side, examples aligned; values and labels not yet checked or coded."""

    names: list[str]
    examples: list[str]
    values: np.ndarray  # (S, N, C), or (S, N) for predictions
    gold: np.ndarray | None  # (N,)
    states: list[np.ndarray] | None
    scores: bool
    gold_from: Path

    def at(self, bad: np.ndarray, values: np.ndarray | None) -> str:
        """The first true place of ``bad`` (S, N) in words, with the one of ``values`` there."""
        run, row = np.argwhere(bad)[0]
        value = "" if values is None else f" {show(values[run, row])}"
        return f"run {self.names[run]!r}, example {self.examples[row]!r}:{value}"


def read(
    path: str | Path, *, labels: str | Path | None = None, exclude: Sequence[str] = ()
) -> OutsideRuns:
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
    elif path.suffix in (".csv", ".parquet"):
        table = read_table(path)
        long = any(re.fullmatch(r"run|prediction|(logit|prob)_\d+", name) for name in table)
        kind, runs, notes = (_long if long else _wide)(path, table, exclude)
    else:
        raise OutsideError(
            f"{path}: files that end in {path.suffix!r} cannot be read; give a .csv, .parquet or "
            ".npz file, or a folder with one folder a run"
        )
    if exclude:
        notes.append(f"Left out as asked: {', '.join(exclude)}.")
    notes += _identical(runs)
    raw = _joined(path, runs)
    if labels is not None:
        _add_labels(raw, path, existing(labels))
    return _finish(path, kind, raw, notes, exclude)


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
        runs[name] = _Run(values, ids_of(f"{path}: run {name!r}", rows["example"], len(rows)), gold)
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
    return "predictions", {n: _Run(table[n].to_numpy(object), ids, gold) for n in names}, []


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
        runs[name] = _Run(values[i], ids, gold, None if states is None else states[i])
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


def _trainer_run(file: Path) -> _Run:
    """predictions.npz, from the output of ``trainer.predict``."""
    arrays = read_arrays(file, ["predictions"], ["label_ids", "examples", "hidden_states"])
    values, gold, states = (arrays.get(n) for n in ("predictions", "label_ids", "hidden_states"))
    if values.ndim != 1:
        check_shape(file, "predictions", values, "N", "C")
    check_shape(file, "label_ids", gold, len(values))
    check_shape(file, "hidden_states", states, "L", len(values), "D")
    values = values[:, 0] if values.shape[1:] == (1,) else values
    scores = values.ndim == 1 and values.dtype.kind == "f"
    return _Run(values, ids_of(file, arrays.get("examples"), len(values)), gold, states, scores)


def _text_run(file: Path) -> _Run:
    """predict_results*.txt: decisions, or scores with three decimals; no labels."""
    table = read_table(file)
    if list(table) != ["index", "prediction"]:
        found = ", ".join(table)
        raise OutsideError(f"{file}: columns {found}; expected index, a tab, and prediction")
    values, ids = table["prediction"].to_numpy(object), ids_of(file, table["index"], len(table))
    for example, value in zip(ids, values, strict=True):
        if value.startswith("["):
            raise OutsideError(
                f"{file}: example {example!r} has several labels, {value}; only one class an "
                "example can be compared: write a file for each label"
            )
    scores = all(re.fullmatch(r"-?(\d+\.\d+|inf)|nan", value) for value in values)
    return _Run(values, ids, scores=scores)


def _joined(path: Path, runs: dict[str, _Run]) -> _Raw:
    """Runs side by side, the rows of each in the order of the first."""
    first, *_ = runs
    examples = list(dict.fromkeys(example for run in runs.values() for example in run.ids))
    if len(examples) < 2:
        raise OutsideError(f"{path}: {len(examples)} example; give predictions of two or more")
    sizes, values, states, golds = {}, [], [], {}
    for name, run in runs.items():
        where = f"{path}: run {name!r}"
        order = _places(where, run.ids, examples, "or exclude the run")
        layers = "no" if run.states is None else len(run.states)
        sizes[name] = f"predictions of shape {run.values.shape} and {layers} layers of states"
        if sizes[name] != sizes[first]:
            others = f"run {first!r} {sizes[first]}"
            raise OutsideError(f"{where} has {sizes[name]}, {others}; save the same for every run")
        values.append(run.values[order])
        if run.states is not None:
            states.append(run.states[:, order])
        if run.gold is not None and not is_missing(run.gold).all():
            golds[name] = run.gold[order]
            other = next(iter(golds))
            _agree(where, golds[name], f"run {other!r}", golds[other], examples)
    gold, scores = next(iter(golds.values()), None), all(run.scores for run in runs.values())
    return _Raw(list(runs), examples, np.stack(values), gold, states or None, scores, path)


def _places(where: object, ids: list[str], examples: list[str], advice: str) -> np.ndarray:
    """Where each of ``examples`` is among ``ids``."""
    places = pd.Index(ids).get_indexer(pd.Index(examples))
    if (lacks := places < 0).any():
        raise OutsideError(
            f"{where} lacks {lacks.sum()} of {len(examples)} examples, first: "
            f"{examples[lacks.argmax()]}; add them, {advice}"
        )
    return places


def _add_labels(raw: _Raw, path: Path, file: Path) -> None:
    """Gold labels from a file of their own, by id or by order."""
    order = np.arange(len(raw.examples))
    if file.suffix == ".npy":
        try:
            labels = np.load(file, allow_pickle=False)
        except Exception as error:
            raise OutsideError(f"{file}: no array of np.save, or damaged; save it again") from error
        check_shape(file, "labels", labels, len(order))
    else:
        table = read_table(file)
        if "label" not in table:
            raise OutsideError(f"{file}: no column 'label': {nearest('label', table)}")
        labels = table["label"].to_numpy(object)
        if "example" in table:
            ids = ids_of(file, table["example"], len(table))
            order = _places(file, ids, raw.examples, f"with ids as in {path}")
        else:
            check_shape(file, "column 'label'", labels, len(order))
    if raw.gold is not None:
        _agree(str(file), labels[order], str(path), raw.gold, raw.examples)
    raw.gold, raw.gold_from = labels[order], file


def _identical(runs: dict[str, _Run]) -> list[str]:
    """A note on runs that are copies of each other."""
    seen: dict[tuple, str] = {}
    notes = []
    for name, run in runs.items():
        key = tuple(map(str, np.ravel(run.values).tolist()))
        if key in seen:
            notes.append(f"{seen[key]} and {name} are identical: the same file, or the same seed?")
        seen.setdefault(key, name)
    return notes


def _finish(path: Path, kind: str, raw: _Raw, notes: list[str], left_out: list[str]) -> OutsideRuns:
    """Every value checked, scores turned into decisions, classes numbered."""
    numbers = numbers_in(raw.values)
    _refuse_diverged(path, kind, raw, numbers)
    probabilities = logits = None
    if kind == "probabilities" or numbers.shape[2:] > (1,):
        predictions, classes = numbers.argmax(-1), [str(c) for c in range(numbers.shape[-1])]
        why = f"is not the number of a column of {kind}, 0 to {len(classes) - 1}: renumber it"
        labels = _gold(raw, lambda gold: np.isin(gold, range(len(classes))), why)
        labels = None if labels is None else labels.astype(np.int64)
        if kind == "logits":
            logits, probabilities = numbers, softmax(numbers, axis=-1)
            notes.append("Probabilities are the softmax of the logits.")
        else:
            total = numbers.sum(-1, keepdims=True)
            bad = (numbers < 0).any(-1) | (np.abs(total[..., 0] - 1) > 1e-3)
            if bad.any():
                why = "no probabilities, non-negative with sum 1; if they are logits, call them so"
                raise OutsideError(f"{path}: {raw.at(bad, numbers)} are {why}")
            probabilities = numbers / total
    elif kind == "logits" or raw.scores or _are_scores(path, raw, numbers):
        predictions, classes = numbers.reshape(numbers.shape[:2]), []
        why = "is no number, but the predictions are scores (regression): give numbers"
        labels = _gold(raw, np.isfinite, why)
        if labels is not None and set(labels) == {0, 1}:
            notes.append(
                "The labels are 0 and 1 and the predictions scores: if these are probabilities of "
                "class 1, give prob_0 and prob_1 in a table with a row a run and example."
            )
    else:
        predictions, labels, classes = _coded(path, raw, numbers, notes)
    if labels is None:
        notes.append("No gold labels: agreement can be measured, accuracy cannot.")
    elif classes and (unseen := sorted(set(np.unique(predictions)) - set(labels))):
        unseen = ", ".join(classes[code] for code in unseen)
        notes.append(f"Predicted, but never a gold label: {unseen}.")
    what = f"{kind}, {len(classes)} classes" if classes else "scores (regression)"
    source = f"{len(raw.names)} runs on {len(raw.examples)} examples from {path.name}: {what}."
    return OutsideRuns(
        raw.names, predictions, probabilities, logits, labels, classes, raw.examples, raw.states,
        source, notes, left_out,
    )  # fmt: skip


def _refuse_diverged(path: Path, kind: str, raw: _Raw, numbers: np.ndarray) -> None:
    """Values that are missing or not finite, in predictions (S, N), scores (S, N, C) or states."""
    if kind == "predictions":
        bad = is_missing(raw.values) | np.isinf(numbers)
    else:
        bad = ~np.isfinite(numbers).all(-1)
    shown, what = raw.values, "missing or not finite"
    if raw.states and not bad.any():
        bad = np.array([~np.isfinite(states).all((0, 2)) for states in raw.states])
        shown, what = None, "the representation is not finite"
    if not bad.any():
        return
    if kind == "predictions" and not np.isinf(numbers).any() and bad.mean(1).max() < 0.5:
        why = "is missing: fill it in, or leave the example out of every run"
        raise OutsideError(f"{path}: {raw.at(bad, shown)} {why}")
    out = ", ".join(name for name, rows in zip(raw.names, bad, strict=True) if rows.any())
    why = f"{what}; a diverged run cannot be compared: exclude {out}"
    raise OutsideError(f"{path}: {raw.at(bad, shown)} {why}")


def _are_scores(path: Path, raw: _Raw, numbers: np.ndarray) -> bool:
    """Whether predictions (S, N), NaN for text, have fractions: in all runs or in none."""
    scores = fractions(numbers).any(1)
    classes = ~scores | np.isnan(numbers).any(1)
    if scores.any() and classes.any():
        raise OutsideError(
            f"{path}: run {raw.names[scores.argmax()]!r} has numbers with fractions, run "
            f"{raw.names[classes.argmax()]!r} has classes; exclude one kind"
        )
    return bool(scores.any())


def _gold(raw: _Raw, valid: Callable[[np.ndarray], np.ndarray], why: str) -> np.ndarray | None:
    """Gold labels (N,) as float64, NaN for text; refused unless ``valid`` says that they are."""
    if raw.gold is None:
        return None
    numbers, missing = numbers_in(raw.gold), is_missing(raw.gold)
    ignored = numbers == -100
    if (bad := missing | ignored | ~valid(numbers)).any():
        row = bad.argmax()
        if missing[row]:
            why = "is missing: fill it in, or leave all labels out"
        elif ignored[row]:
            why = "marks a row to be ignored: drop the row from every run"
        elif numbers[row] == -1:
            why += ", or leave the labels out if those of the test set are hidden"
        label = show(raw.gold[row])
        raise OutsideError(f"{raw.gold_from}: example {raw.examples[row]!r}: label {label} {why}")
    return numbers


def _coded(
    path: Path, raw: _Raw, numbers: np.ndarray, notes: list[str]
) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """Class codes (S, N) and (N,), and the names of classes: sorted, as numbers if all are."""
    why = "has a fraction, but the predictions are classes: give the same classes"
    gold = _gold(raw, lambda gold: ~fractions(gold), why)
    said, gold = numbers, np.empty(0) if gold is None else gold
    if np.isnan(said).any() or np.isnan(gold).any():
        said, gold = (texts(v).astype(str) for v in (raw.values, raw.gold if gold.size else gold))
    else:
        said, gold = said.astype(np.int64), gold.astype(np.int64)
    if len(np.unique(gold)) == 1:
        only = show(gold[0])
        why = "with one class there is nothing to get right: leave the labels out"
        raise OutsideError(f"{raw.gold_from}: all labels are {only}; {why}")
    if gold.size and not np.isin(said, gold).any():
        raise OutsideError(
            f"{path}: the predictions are {show(np.unique(said))}, the labels "
            f"{show(np.unique(gold))}, with no class in common; write the same names in both"
        )
    for i, name in enumerate(raw.names):
        others = np.append(np.delete(said, i, 0), gold)
        if np.isin(said[i], others).any():
            continue
        what = f"{name} predicts {show(np.unique(said[i]))}, all else is {show(np.unique(others))}"
        if gold.size:
            why = "write the same names of classes, or exclude it if it is no run"
            raise OutsideError(f"{path}: run {what}: {why}")
        notes.append(f"{what}: no class in common. Another spelling, or two collapsed runs?")
    classes, codes = np.unique(np.concatenate([said.ravel(), gold]), return_inverse=True)
    labels = codes[said.size :] if gold.size else None
    return codes[: said.size].reshape(said.shape), labels, [str(name) for name in classes]


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


def _agree(where: str, gold: np.ndarray, other: str, others: np.ndarray, ids: list[str]) -> None:
    """Refuse two sources of gold labels (N,) that differ."""
    a, b = numbers_in(gold), numbers_in(others)
    differ = np.where(np.isnan(a) | np.isnan(b), texts(gold) != texts(others), ~np.isclose(a, b))
    if differ.any():
        row = differ.argmax()
        raise OutsideError(
            f"{where}: the label of example {ids[row]!r} is {show(gold[row])}, in {other} "
            f"{show(others[row])}; give the same labels, with examples in the same order"
        )
