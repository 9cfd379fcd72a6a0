"""Runs side by side: rows aligned by example, every value checked, classes numbered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import softmax

from lib.measures import normalised
from lib.report.columns import StoredRuns, Taken, as_text, numbered
from lib.report.opening import OutsideError, show
from lib.results.run_group import RunGroup

Task = Literal["classification", "regression", ""]
#: From this share of numbers with fractions on, predictions are those of a regression.
FRACTIONS = 0.1
PERCENTAGES = "The probabilities are percentages, and were divided by 100."


@dataclass(kw_only=True)
class Joined(StoredRuns):
    """Runs side by side: values (S, N) or (S, N, C), states a list of S."""

    path: Path
    names: Sequence[str]
    taken: Taken

    def error(self, why: str) -> OutsideError:
        return OutsideError(f"{self.path}: {why}")

    def note(self, text: str) -> None:
        self.taken.notes.append(text)

    def at(self, place: Sequence[int]) -> str:
        """A run and an example in words, with the value there."""
        run, row = place[:2]
        value = show(self.values[run, row])
        return f"run {self.names[run]!r}, example {str(self.ids[row])!r}: {value}"


def joined(path: Path, runs: Mapping[str, StoredRuns], taken: Taken) -> Joined:
    """Runs side by side, the rows of each in the order of the first."""
    (name, first), *_ = runs.items()
    shapes = {
        n: f"{run.kind} of shape {('N', *run.values.shape[1:])} and "
        f"{0 if run.states is None else len(run.states)} layers of states"
        for n, run in runs.items()
    }
    for other, shape in shapes.items():
        if shape != shapes[name]:
            both = f"run {other!r} has {shape}, run {name!r} has {shapes[name]}"
            raise OutsideError(f"{path}: {both}; save the same for every run")
    by_id = all(run.ids is not None for run in runs.values())
    ids, order = _by_id(path, runs) if by_id else _by_position(path, runs, taken.notes)
    if len(ids) < 2:
        raise OutsideError(f"{path}: {len(ids)} example; give predictions of two or more")
    golds = {n: run.gold[order[n]] for n, run in runs.items() if run.gold is not None}
    golds = {n: gold for n, gold in golds.items() if not missing(gold).all()}
    for n, gold in golds.items():
        source = next(iter(golds))
        agree(f"{path}: run {n!r}", gold, f"run {source!r}", golds[source], ids)
    values = [run.values[order[n]] for n, run in runs.items()]
    if len({v.dtype.kind for v in values}) > 1:  # numbers in one run, words in another
        values = [as_text(v) for v in values]
    states = None
    if first.states is not None:
        states = [run.states[:, order[n]] for n, run in runs.items()]
    whole = np.stack(values), first.kind, ids, next(iter(golds.values()), None), states
    return Joined(*whole, first.classes, path=path, names=list(runs), taken=taken)


def _by_id(path: Path, runs: Mapping[str, StoredRuns]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The ids of all runs, in the order of the first one that has them, and where each has them."""
    own: dict[int, tuple[str, pd.Index]] = {}  # runs of one table share theirs
    for name, run in runs.items():
        own.setdefault(id(run.ids), (f"{path}: run {name!r}", pd.Index(run.ids)))
    for where, ids in own.values():
        if ids.has_duplicates:
            again = ids[ids.duplicated()][0]
            rows = ", ".join(str(row + 1) for row in np.flatnonzero(ids == again)[:3])
            raise OutsideError(
                f"{where}: example {again!r} is in its rows {rows}; keep one row a run and "
                "example, or name the column that tells examples apart by --example, or "
                "evaluations of one run by --repeat"
            )
    united = pd.unique(np.concatenate([ids for _, ids in own.values()]))
    places = {key: _places(*each, united, "or exclude the run") for key, each in own.items()}
    return united, {name: places[id(run.ids)] for name, run in runs.items()}


def _places(where: object, ids: pd.Index, examples: np.ndarray, advice: str) -> np.ndarray:
    """Where each of ``examples`` is among ``ids``."""
    places = ids.get_indexer(pd.Index(examples))
    if (lacks := places < 0).any():
        raise OutsideError(
            f"{where} lacks {lacks.sum()} of {len(examples)} examples, first: "
            f"{examples[lacks.argmax()]} (its own are like {ids[0]}); add them, {advice}"
        )
    return places


def _by_position(
    path: Path, runs: Mapping[str, StoredRuns], notes: list[str]
) -> tuple[np.ndarray, dict[str, slice]]:
    """Numbers of rows, for runs without ids whose lengths agree."""
    lengths = pd.Series({name: len(run.values) for name, run in runs.items()})
    usual = lengths.mode().iloc[0]
    if (lengths != usual).any():
        name = (lengths != usual).idxmax()
        more = lengths[name] - usual
        what = f"run {name!r} has {abs(more)} rows {'more' if more > 0 else 'less'} than the others"
        why = "padding of a distributed evaluation?" if more > 0 else "rows were dropped?"
        raise OutsideError(
            f"{path}: {what} ({lengths[name]}, {usual}): {why} Save the same {usual} examples for "
            "every run, or add ids, by which rows can be told apart"
        )
    proof = " and no labels with each run, so nothing proves that all runs have one order."
    if all(run.gold is not None for run in runs.values()):
        proof = ", but the gold labels agree."
    notes.append(f"Rows are compared by their position: there are no ids{proof}")
    return numbered(usual), dict.fromkeys(runs, slice(None))


def add_labels(raw: Joined, labels: StoredRuns, source: Path) -> None:
    """Gold labels from a file of their own, by id or by order."""
    gold = labels.values if labels.gold is None else labels.gold
    by_id = labels.ids is not None and set(raw.ids) <= set(labels.ids)
    if by_id or (labels.ids is not None and len(gold) != len(raw.ids)):
        gold = gold[_places(source, pd.Index(labels.ids), raw.ids, f"with ids as in {raw.path}")]
    elif len(gold) != len(raw.ids):
        what = f"{len(gold)} labels, but {len(raw.ids)} examples in {raw.path}"
        raise OutsideError(f"{source}: {what}; give one each")
    if raw.gold is not None:
        agree(str(source), gold, str(raw.path), raw.gold, raw.ids)
    raw.gold = gold


#: Fields of ``RunGroup``: what runs answer, and the labels and classes of that.
Answers = dict[str, object]


def finish(raw: Joined, *, task: Task = "") -> RunGroup:
    """Every value checked, scores turned into decisions, classes numbered."""
    if raw.values.shape[2:] == (1,):
        raw.values = raw.values[..., 0]
    _drop_ignored(raw)
    _note_padding(raw)
    _refuse_missing(raw)
    kind = _kind(raw, task)
    answers = {"classes": _coded, "regression": _numbers}.get(kind, _of_scores)(raw, kind)
    _note_copies(raw)
    if raw.gold is None:
        raw.note("No gold labels: agreement can be measured, accuracy cannot.")
    elif answers["classes"] and raw.kind != "correct":
        unseen = np.setdiff1d(answers["predictions"], answers["labels"])
        if len(unseen):
            called = ", ".join(answers["classes"][code] for code in unseen[:5])
            raw.note(f"Predicted, but never a gold label: {called}.")
    states = {} if raw.states is None else {"given": raw.states}
    return RunGroup(
        pd.DataFrame({"run": raw.names}),
        list(raw.ids),
        **answers,
        representations=states,
        layers={pooling: np.arange(len(arrays[0])) for pooling, arrays in states.items()},
        notes=raw.taken.notes,
    )


def _of_scores(raw: Joined, kind: str) -> Answers:
    """The class with the largest logit or probability; of ties, the first."""
    values, labels, logits = raw.values, None, None
    two = values.ndim == 2  # of two classes, the second
    classes = list(raw.classes) or [str(c) for c in range(2 if two else values.shape[2])]
    if kind == "logits":
        logits = np.stack([-values, values], -1) / 2 if two else values
        probabilities = softmax(logits, -1)
        if not two:
            raw.note("Probabilities are the softmax of the logits.")
    elif not two:
        probabilities = _normalised(raw)
    else:
        probabilities = np.stack([1 - values, values], -1)
        if classes > sorted(classes):  # that of the first was given
            probabilities, classes = probabilities[..., ::-1], classes[::-1]
    scores = probabilities if logits is None else logits
    top = (scores == scores.max(-1, keepdims=True)).sum(-1) > 1
    if top.any():
        rows = f"{top.sum()} of {top.size} rows ({top.mean():.1%})"
        raw.note(f"On {rows} classes tie for the largest score: the first counts.")
    if raw.gold is not None:
        labels = pd.Index(classes).get_indexer(as_text(raw.gold)).astype(np.int64)
        hidden = raw.gold.dtype != object and (raw.gold == -1).all()
        why = f"is not a column of {kind}, {classes[0]} to {classes[-1]}: renumber it"
        why += ", or leave the labels out: those of the test set are hidden" if hidden else ""
        _gold_is(raw, labels < 0, why)
    answers = {"predictions": scores.argmax(-1), "labels": labels, "classes": classes}
    return answers | {"probabilities": probabilities, "logits": logits}


def _numbers(raw: Joined, _: str) -> Answers:
    """Numbers, for a regression."""
    labels = None
    if raw.gold is not None:
        labels = pd.to_numeric(pd.Series(raw.gold), errors="coerce").to_numpy(float)
        why = "is no number, but the predictions are: for a regression give numbers, and call "
        _gold_is(raw, ~np.isfinite(labels), f"{why}a column of probabilities prob_CLASS")
    return {"predictions": raw.values.astype(float), "labels": labels, "classes": []}


def _kind(raw: Joined, task: Task) -> str:
    """``logits``, ``probabilities``, ``classes`` or ``regression``."""
    if raw.kind == "correct":
        return "classes"
    values, gold = raw.values, raw.gold
    if values.ndim == 3:
        total = np.abs(values.sum(-1) - 1)
        if raw.kind == "logits" and (values >= 0).all() and (total <= 0.02).all():
            raw.note("The logits add up to 1 on each row: they are probabilities.")
            return "probabilities"
        return raw.kind
    if raw.kind == "probabilities" and values.dtype != object:  # of the second of two classes
        if not _are_shares(raw):
            at = raw.at(np.argwhere((values < 0) | (values > 1))[0])
            raise raw.error(f"{at} is no probability; if it is a logit, call it so")
        return raw.kind
    if values.dtype == object:
        if task == "regression":
            raise raw.error(f"{raw.at((0, 0))} is no number: say --task classification")
        return "classes"
    shares = values.min() >= 0 and values.max() <= 1 and (values % 1 != 0).any()
    if shares and gold is None and values.shape[1] < 10:
        raw.note("Few rows of numbers between 0 and 1: if these are scores, give a row a run.")
    if task:
        return {"classification": "classes"}.get(task, task)
    fractions = float((values % 1 != 0).mean())
    gold = None if gold is None or gold.dtype == object else gold
    binary = gold is not None and set(np.unique(gold)) == {0.0, 1.0}
    if (fractions >= FRACTIONS or raw.kind == "logits") and binary:
        if raw.kind != "logits" and _are_shares(raw):
            raw.note("The labels are 0 and 1: predictions are taken as P(class 1), cut at .5.")
            return "probabilities"
        raw.note("The labels are 0 and 1: predictions are taken as one logit of class 1.")
        return "logits"
    most = fractions if gold is None else max(fractions, (gold % 1 != 0).mean())
    if most >= FRACTIONS or raw.kind in ("logits", "regression"):
        return "regression"
    if fractions:
        raw.note(
            f"{fractions:.1%} of the predictions have fractions: taken as classes; for a "
            "regression say --task regression."
        )
    return "classes"


def _are_shares(raw: Joined) -> bool:
    """Whether numbers (S, N) are between 0 and 1, if need be after percentages are divided."""
    most = raw.values.max(1)
    if raw.values.min() < 0 or most.max() > 100:
        return False
    if (most > 1).any() and (most <= 1).any():
        one, other = raw.names[most.argmax()], raw.names[most.argmin()]
        raise raw.error(
            f"the numbers of run {one!r} go up to {most.max():g}, those of {other!r} to "
            f"{most.min():g}: percentages? Write them alike in every run"
        )
    if most.max() > 1:
        raw.values = raw.values / 100
        raw.note(PERCENTAGES)
    return True


def _normalised(raw: Joined) -> np.ndarray:
    """Probabilities that add up to 1, from rounded ones, percentages or logarithms."""
    values = raw.values.astype(float)
    total = values.sum(-1)
    if (values <= 0).all() and (np.abs(np.exp(values).sum(-1) - 1) < 1e-2).all():
        raw.note("The probabilities are logarithms, and were exponentiated.")
        values = np.exp(values) / np.exp(values).sum(-1, keepdims=True)
    elif (hundred := (np.abs(total - 100) <= 5).all(-1)).any() and not hundred.all():
        run = raw.names[hundred.argmax()]
        raise raw.error(f"the rows of run {run!r} add up to 100: write all runs alike")
    elif hundred.all():
        raw.note(PERCENTAGES)
        values = values / 100
    values, bad, note = normalised(values)
    if bad.any():
        why = "no probabilities, non-negative with sum 1; if they are logits, call them so"
        raise raw.error(f"{raw.at(np.argwhere(bad)[0])} are {why}")
    raw.taken.notes += [f"{note}."] if note else []
    return values


def _note_copies(raw: Joined) -> None:
    """Runs that are copies of each other."""
    codes = raw.values
    if codes.dtype == object:
        codes = pd.factorize(codes.ravel())[0].reshape(codes.shape)
    seen: dict[bytes, str] = {}
    for name, row in zip(raw.names, codes, strict=True):
        first = seen.setdefault(row.tobytes(), name)
        if first != name:
            raw.note(f"{first} and {name} are identical: the same file, or the same seed?")


def _drop_ignored(raw: Joined) -> None:
    """Rows whose gold label is -100 are marked as to be ignored."""
    if raw.gold is None or raw.gold.dtype == object or not (ignored := raw.gold == -100).any():
        return
    raw.note(f"{ignored.sum()} rows whose label is -100 were left out, as that label asks.")
    kept = ~ignored
    raw.values, raw.gold, raw.ids = raw.values[:, kept], raw.gold[kept], raw.ids[kept]
    raw.states = None if raw.states is None else [states[:, kept] for states in raw.states]


def _note_padding(raw: Joined) -> None:
    """Last rows that repeat the one before them, as samplers of several devices make them."""
    if raw.values.ndim < 3:
        return
    same = (raw.values[:, 1:] == raw.values[:, :-1]).all((0, 2))[::-1]
    if repeated := int(same.cumprod().sum()):
        raw.note(
            f"In every run the last {repeated} rows repeat the one before them: padding of a "
            "distributed evaluation? They are counted; save the runs without them."
        )


def _refuse_missing(raw: Joined) -> None:
    """Values that are missing or not finite, in predictions, scores or states."""
    bad, what = missing(raw.values), "missing or not finite"
    bad = bad.any(-1) if bad.ndim == 3 else bad
    if raw.states is not None and not bad.any():
        bad = np.array([~np.isfinite(states).all((0, 2)) for states in raw.states])
        what = "of a representation that is not finite"
    if not bad.any():
        return
    at = raw.at(np.argwhere(bad)[0])
    infinite = raw.values.dtype != object and np.isinf(raw.values).any()
    if raw.values.ndim == 2 and not infinite and raw.states is None and bad.mean(1).max() < 0.5:
        why = "is missing: fill it in, or leave the example out of every run"
        raise raw.error(f"{at} {why}")
    out = ", ".join(name for name, rows in zip(raw.names, bad, strict=True) if rows.any())
    why = f"is {what}; a diverged run cannot be compared: exclude {out}"
    raise raw.error(f"{at} {why}")


def _gold_is(raw: Joined, bad: np.ndarray, why: str) -> None:
    if bad.any():
        row = bad.argmax()
        empty = missing(raw.gold)[row]
        why = "is missing: fill it in, or leave all labels out" if empty else why
        where = f"{raw.path}: {raw.taken.labels or raw.path}: example {str(raw.ids[row])!r}"
        raise OutsideError(f"{where}: label {show(raw.gold[row])} {why}")


def _coded(raw: Joined, _: str) -> Answers:
    """Class codes, and the names of classes: sorted, as numbers if all are."""
    values, gold = raw.values, raw.gold
    if gold is not None:
        _gold_is(raw, missing(gold), "")
        values, gold = _same_spelling(raw)
        if raw.kind != "correct" and len(set(gold)) == 1:
            why = "with one class there is nothing to get right: leave the labels out"
            raise raw.error(f"all labels are {show(gold[0])}; {why}")
        if raw.kind != "correct" and not np.isin(values.ravel()[:100_000], gold).any():
            raise raw.error(
                f"the predictions are {show(np.unique(values)[:8])}, the labels "
                f"{show(np.unique(gold)[:8])}, with no class in common; write the same names in "
                "both, or name the column of labels by --label"
            )
    both = values.ravel() if gold is None else np.concatenate([values.ravel(), gold])
    codes, classes = pd.factorize(both, sort=True)
    predictions = codes[: values.size].reshape(values.shape)
    labels = None if gold is None else codes[values.size :]
    # By run, and last by the labels, the classes that occur.
    each = [*predictions, *([] if labels is None else [labels])]
    occurs = np.array([np.bincount(codes, minlength=len(classes)) > 0 for codes in each])
    elsewhere = occurs.sum(0) > occurs
    for i, name in enumerate(raw.names):
        if raw.kind == "correct" or (occurs[i] & elsewhere[i]).any():
            continue
        own, rest = np.flatnonzero(occurs[i]), np.flatnonzero(elsewhere[i])
        what = f"{name} predicts {show(classes[own])}, all else is {show(classes[rest])}"
        if labels is not None:
            why = "write the same names of classes, or exclude it if it is no run"
            raise raw.error(f"run {what}: {why}")
        raw.note(f"{what}: no class in common. Another spelling, or two collapsed runs?")
    classes = list(as_text(np.asarray(classes)))
    return {"predictions": predictions, "labels": labels, "classes": classes}


def _same_spelling(raw: Joined) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and gold labels in one spelling: LABEL_1 is 1, True is 1."""
    values, gold = raw.values, raw.gold
    if (values.dtype == object) == (gold.dtype == object):
        return values, gold
    words = values if values.dtype == object else gold
    text = pd.Series(words.ravel())
    for what, other in (
        ("LABEL_1 is read as 1.", text.str.replace(r"^LABEL_(\d+)$", r"\1", regex=True)),
        ("True is read as 1.", text.str.lower().replace({"true": "1", "false": "0"})),
    ):
        read = pd.to_numeric(other, errors="coerce")
        if read.notna().all():
            raw.note(what)
            read = read.to_numpy(float).reshape(words.shape)
            return (read, gold) if words is values else (values, read)
    return as_text(values), as_text(gold)


def agree(where: str, gold: np.ndarray, other: str, others: np.ndarray, ids: Sequence[str]) -> None:
    """Refuse two sources of gold labels (N,) that differ."""
    if gold.dtype == object or others.dtype == object:
        differ = as_text(gold) != as_text(others)
    else:
        differ = ~np.isclose(gold, others, equal_nan=True)
    if differ.any():
        row = differ.argmax()
        raise OutsideError(
            f"{where}: the label of example {str(ids[row])!r} is {show(gold[row])}, in {other} "
            f"{show(others[row])}; give the same labels, with examples in the same order"
        )


def missing(values: np.ndarray) -> np.ndarray:
    """Empty text, NaN or infinite numbers."""
    return values == "" if values.dtype == object else ~np.isfinite(values)
