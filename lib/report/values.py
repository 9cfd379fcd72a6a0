"""Runs side by side: every value checked, rows aligned by example, classes numbered."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from lib.errors import nearest
from lib.report.files import (
    OutsideError,
    check_shape,
    fractions,
    ids_of,
    is_missing,
    numbers_in,
    read_table,
    show,
    texts,
)
from lib.results.run_group import RunGroup


@dataclass
class StoredRuns:
    """A run as stored, or all runs side by side: then with the runs as the first axis, and names.

    Values and labels are neither checked nor numbered yet.
    """

    values: np.ndarray  # (N,) or (N, C)
    ids: list[str]  # (N,)
    gold: np.ndarray | None = None  # (N,)
    states: np.ndarray | list[np.ndarray] | None = None  # (L, N, D), or a list of them
    scores: bool = False  # regression, even if all numbers are whole
    names: list[str] = field(default_factory=list)
    gold_from: Path = Path()

    def at(self, bad: np.ndarray, values: np.ndarray | None) -> str:
        """The first true place of ``bad`` (S, N) in words, with the one of ``values`` there."""
        run, row = np.argwhere(bad)[0]
        value = "" if values is None else f" {show(values[run, row])}"
        return f"run {self.names[run]!r}, example {self.ids[row]!r}:{value}"


def joined(path: Path, runs: dict[str, StoredRuns]) -> StoredRuns:
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
    return StoredRuns(
        np.stack(values), examples, gold, states or None, scores, list(runs), gold_from=path
    )


def _places(where: object, ids: list[str], examples: list[str], advice: str) -> np.ndarray:
    """Where each of ``examples`` is among ``ids``."""
    places = pd.Index(ids).get_indexer(pd.Index(examples))
    if (lacks := places < 0).any():
        raise OutsideError(
            f"{where} lacks {lacks.sum()} of {len(examples)} examples, first: "
            f"{examples[lacks.argmax()]}; add them, {advice}"
        )
    return places


def add_labels(raw: StoredRuns, path: Path, file: Path) -> None:
    """Gold labels from a file of their own, by id or by order."""
    order = np.arange(len(raw.ids))
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
            order = _places(file, ids, raw.ids, f"with ids as in {path}")
        else:
            check_shape(file, "column 'label'", labels, len(order))
    if raw.gold is not None:
        _agree(str(file), labels[order], str(path), raw.gold, raw.ids)
    raw.gold, raw.gold_from = labels[order], file


def identical(runs: dict[str, StoredRuns]) -> list[str]:
    """A note on runs that are copies of each other."""
    seen: dict[tuple, str] = {}
    notes = []
    for name, run in runs.items():
        key = tuple(map(str, np.ravel(run.values).tolist()))
        if key in seen:
            notes.append(f"{seen[key]} and {name} are identical: the same file, or the same seed?")
        seen.setdefault(key, name)
    return notes


def finish(
    path: Path, kind: str, raw: StoredRuns, notes: list[str], left_out: list[str]
) -> RunGroup:
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
    states = {} if raw.states is None else {"given": raw.states}
    return RunGroup(
        pd.DataFrame({"run": raw.names}),
        raw.ids,
        predictions,
        labels,
        classes,
        probabilities,
        logits,
        representations=states,
        layers={pooling: np.arange(len(arrays[0])) for pooling, arrays in states.items()},
        source=f"{len(raw.names)} runs on {len(raw.ids)} examples from {path.name}: {what}.",
        notes=notes,
        left_out=left_out,
    )


def _refuse_diverged(path: Path, kind: str, raw: StoredRuns, numbers: np.ndarray) -> None:
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


def _are_scores(path: Path, raw: StoredRuns, numbers: np.ndarray) -> bool:
    """Whether predictions (S, N), NaN for text, have fractions: in all runs or in none."""
    scores = fractions(numbers).any(1)
    classes = ~scores | np.isnan(numbers).any(1)
    if scores.any() and classes.any():
        raise OutsideError(
            f"{path}: run {raw.names[scores.argmax()]!r} has numbers with fractions, run "
            f"{raw.names[classes.argmax()]!r} has classes; exclude one kind"
        )
    return bool(scores.any())


def _gold(
    raw: StoredRuns, valid: Callable[[np.ndarray], np.ndarray], why: str
) -> np.ndarray | None:
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
        raise OutsideError(f"{raw.gold_from}: example {raw.ids[row]!r}: label {label} {why}")
    return numbers


def _coded(
    path: Path, raw: StoredRuns, numbers: np.ndarray, notes: list[str]
) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """Class codes (S, N) and (N,), and the names of classes: sorted, as numbers if all are."""
    why = "has a fraction, but the predictions are classes: give the same classes"
    gold = _gold(raw, lambda gold: ~fractions(gold), why)
    predictions, gold = numbers, np.empty(0) if gold is None else gold
    if np.isnan(predictions).any() or np.isnan(gold).any():
        predictions, gold = (
            texts(v).astype(str) for v in (raw.values, raw.gold if gold.size else gold)
        )
    else:
        predictions, gold = predictions.astype(np.int64), gold.astype(np.int64)
    if len(np.unique(gold)) == 1:
        only = show(gold[0])
        why = "with one class there is nothing to get right: leave the labels out"
        raise OutsideError(f"{raw.gold_from}: all labels are {only}; {why}")
    if gold.size and not np.isin(predictions, gold).any():
        raise OutsideError(
            f"{path}: the predictions are {show(np.unique(predictions))}, the labels "
            f"{show(np.unique(gold))}, with no class in common; write the same names in both"
        )
    for i, name in enumerate(raw.names):
        others = np.append(np.delete(predictions, i, 0), gold)
        if np.isin(predictions[i], others).any():
            continue
        own, rest = show(np.unique(predictions[i])), show(np.unique(others))
        what = f"{name} predicts {own}, all else is {rest}"
        if gold.size:
            why = "write the same names of classes, or exclude it if it is no run"
            raise OutsideError(f"{path}: run {what}: {why}")
        notes.append(f"{what}: no class in common. Another spelling, or two collapsed runs?")
    classes, codes = np.unique(np.concatenate([predictions.ravel(), gold]), return_inverse=True)
    labels = codes[predictions.size :] if gold.size else None
    return (
        codes[: predictions.size].reshape(predictions.shape),
        labels,
        [str(name) for name in classes],
    )


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
