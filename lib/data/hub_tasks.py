"""GLUE and SuperGLUE from the hub, or GLUE's four small tasks from files under ``GLUE_DIR``."""

import os
import re
import string
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lib.data import package_tasks
from lib.data.rows import Row, Splits, Task, make_row
from lib.errors import SourceMissingError, TaskError

GLUE = ("nyu-mll/glue", "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c")
SUPERGLUE = ("aps/super_glue", "3de24cf8022e94f4ee4b9d55a6f539891524d646")

# How an example becomes rows: from its id, its class, and its columns in the order of ``SOURCES``.


def _texts(name: str, label: int, first: str, second: str = "") -> Iterator[Row]:
    """The texts as they are."""
    yield make_row(name, first, second, label)


def _word_in_context(name: str, label: int, word: str, first: str, second: str) -> Iterator[Row]:
    """WiC: the word, a colon and the first sentence; the second sentence."""
    yield make_row(name, f"{word}: {first}", second, label)


def _coreference(
    name: str, label: int, text: str, noun_at: int, noun: str, pronoun_at: int, pronoun: str
) -> Iterator[Row]:
    """WSC: the noun between asterisks and the pronoun between hash signs (Raffel et al. 2020)."""
    marked = mark_spans(text, [(noun_at, noun, "*"), (pronoun_at, pronoun, "#")])
    yield make_row(name, marked, "", label)


def mark_spans(text: str, spans: list[tuple[int, str, str]]) -> str:
    """``text`` with a mark before and after each span (number of its first word, words, mark).

    Words are what white space separates. A span that is not at its word, as happens in a few
    examples of WSC, is looked for from there on and then anywhere; one that is nowhere is taken to
    be as many words as it has.
    """
    words = list(re.finditer(r"\S+", text))
    marks = []
    for number, span, mark in spans:
        at = words[min(number, len(words) - 1)].start()
        begin = text.find(span, at)
        begin = text.find(span) if begin < 0 else begin
        end = begin + len(span)
        if begin < 0:
            last = min(number + len(span.split()), len(words)) - 1
            begin, end = at, words[max(last, 0)].end()
        marks += [(begin, mark), (end, mark)]
    for at, mark in sorted(marks, reverse=True):
        text = text[:at] + mark + text[at:]
    return text


def _choice(
    name: str, label: int, premise: str, choice1: str, choice2: str, asked: str
) -> Iterator[Row]:
    """COPA: two candidates, each the premise; the question and an alternative."""
    questions = {"cause": "What was the cause of this?", "effect": "What happened as a result?"}
    answers = [f"{questions[asked]} {choice}" for choice in (choice1, choice2)]
    yield make_row(name, [premise] * 2, answers, label)


def _answer(
    name: str, label: int, paragraph: str, question: str, answer: str, idx: dict[str, int]
) -> Iterator[Row]:
    """MultiRC: a row an answer; the paragraph; question and answer, where no truncation cuts them.

    Answers of one question are a group.
    """
    group = f"{idx['paragraph']}-{idx['question']}"
    yield make_row(name, paragraph, f"{question} {answer}", label, group=group)


def _cloze(
    name: str, label: int, passage: str, query: str, entities: list[str], answers: list[str]
) -> Iterator[Row]:
    """ReCoRD: a row a candidate entity; the passage; the query with the entity filled in.

    Class 1 if the entity is one of the answers. Candidates of one query are a group, and picking
    one earns its exact match and its token F1 with the answer that it is closest to.
    """
    for i, entity in enumerate(entities):
        earned = credit(entity, answers)
        filled = query.replace("@placeholder", entity)
        yield make_row(f"{name}-{i}", passage, filled, int(earned[0]), group=name, credit=earned)


def credit(answer: str, golds: list[str]) -> list[float]:
    """What an answer to a cloze question earns, as ReCoRD and SQuAD count it.

    Exact match (0 or 1) and token F1, the harmonic mean of precision and recall with each word
    counted as often as it is in both; each the best over the right answers, 0 without any. Case,
    punctuation, articles (a, an, the) and surplus white space do not count.
    """
    words, exact, f1 = _normalised(answer), 0.0, 0.0
    for gold in map(_normalised, golds):
        common = (Counter(words) & Counter(gold)).total()
        exact = max(exact, float(words == gold))
        f1 = max(f1, 2 * common / (len(words) + len(gold)) if common else 0.0)
    return [exact, f1]


def _normalised(text: str) -> list[str]:
    text = text.lower().translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


@dataclass(frozen=True)
class _Source:
    """A configuration of a hub repository: the columns that are read, its classes as numbered
    there, how an example becomes rows, its development split, and its official metrics.

    ``classes``: the classes as numbered here, where that differs. ``config``: its name, where it is
    not the task's.
    """

    columns: tuple[str, ...]
    hub_classes: tuple[str, ...]
    rows: Callable[..., Iterator[Row]] = _texts
    dev: str = "validation"
    classes: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("accuracy",)
    config: str = ""


_SENTENCES = ("sentence1", "sentence2")
_PREMISE = ("premise", "hypothesis")
_NLI = ("entailment", "neutral", "contradiction")
_ENTAILS = ("entailment", "not_entailment")
#: As in the files of GLUE, entailment is class 1 here, where the hub says 0.
_ENTAILS_HERE = _ENTAILS[::-1]
_TRUTH = ("False", "True")
_F1 = ("f1", "accuracy")

_GLUE = {
    "cola": _Source(("sentence",), ("unacceptable", "acceptable"), metrics=("mcc",)),
    "sst2": _Source(("sentence",), ("negative", "positive")),
    "mrpc": _Source(_SENTENCES, ("not_equivalent", "equivalent"), metrics=_F1),
    "qqp": _Source(("question1", "question2"), ("not_duplicate", "duplicate"), metrics=_F1),
    "mnli": _Source(_PREMISE, _NLI, dev="validation_matched"),
    "mnli-mm": _Source(_PREMISE, _NLI, dev="validation_mismatched", config="mnli"),
    "qnli": _Source(("question", "sentence"), _ENTAILS, classes=_ENTAILS_HERE),
    "rte": _Source(_SENTENCES, _ENTAILS, classes=_ENTAILS_HERE),
    "wnli": _Source(_SENTENCES, ("not_entailment", "entailment")),
}
_SUPERGLUE = {
    "cb": _Source(
        _PREMISE, ("entailment", "contradiction", "neutral"), metrics=("accuracy", "macro-f1")
    ),
    "copa": _Source(
        ("premise", "choice1", "choice2", "question"), ("choice1", "choice2"), _choice
    ),
    "multirc": _Source(
        ("paragraph", "question", "answer", "idx"), _TRUTH, _answer, metrics=("f1", "group-em")
    ),
    "record": _Source(
        ("passage", "query", "entities", "answers"), (), _cloze, classes=_TRUTH,
        metrics=("pick-f1", "pick-em"),
    ),
    "wic": _Source(("word", *_SENTENCES), _TRUTH, _word_in_context),
    "wsc": _Source(
        ("text", "span1_index", "span1_text", "span2_index", "span2_text"), _TRUTH, _coreference,
        config="wsc.fixed",
    ),
}  # fmt: skip
SOURCES = _GLUE | _SUPERGLUE


def task(name: str) -> Task:
    """The task of an entry of ``SOURCES``."""
    classes = SOURCES[name].classes or SOURCES[name].hub_classes
    metric, *others = SOURCES[name].metrics
    return Task(partial(_read, name, classes), len(classes), metric, classes, tuple(others))


def _read(name: str, classes: tuple[str, ...]) -> Splits:
    """Training and development rows, from files where they are given.

    Raises ``TaskError``: nothing could be read (the message says what works without a network),
    or columns, classes or labels are not the pinned ones.
    """
    if package_tasks.in_glue_files(name):
        return package_tasks.GLUE_FILES[name]()
    source = SOURCES[name]
    raw = _load(name, source)
    splits: Splits = {"train": [], "dev": []}
    for split, examples in (("train", raw["train"]), ("dev", raw[source.dev])):
        for i, example in enumerate(examples):
            label = 0
            if source.hub_classes:
                if example["label"] not in range(len(classes)):
                    raise TaskError(
                        f"{name}, {split}: example {i} has the label {example['label']}"
                    )
                label = classes.index(source.hub_classes[example["label"]])
            columns = [example[column] for column in source.columns]
            splits[split] += source.rows(f"{split}-{i}", label, *columns)
    return splits


def _load(name: str, source: _Source) -> dict[str, Any]:
    """The source's splits by name, their columns and classes checked."""
    import datasets

    repository, revision = GLUE if name in _GLUE else SUPERGLUE
    config = source.config or name
    root = os.environ.get("HUB_DATASETS")
    path = str(Path(root) / repository) if root else repository
    if root and not Path(path).is_dir():
        raise TaskError(f"HUB_DATASETS={root} holds no folder {repository}, which {name} is in")
    try:
        raw = datasets.load_dataset(path, config, revision=None if root else revision)
    except Exception as error:
        if root:
            raise TaskError(
                f"{name} could not be read from {path}: {type(error).__name__}: {error}"
            ) from error
        raise SourceMissingError(
            f"{name} could not be read from the hub ({type(error).__name__}). Without a network, "
            f"set HUB_DATASETS to a folder with a download of {repository}, or, for rte, mrpc, "
            "cola and wnli, set GLUE_DIR to a folder in the official GLUE layout "
            "(RTE/train.tsv, …), or use a task that comes with this compendium: stsb, boolq, "
            "rotten-tomatoes, …"
        ) from error
    for split in ("train", source.dev):
        where = f"{path}, {config}, {split}"
        if split not in raw:
            raise TaskError(f"{where}: there is no such split, only {', '.join(raw)}")
        features = raw[split].features
        expected = dict.fromkeys(source.columns)
        if source.hub_classes:
            expected["label"] = list(source.hub_classes)
        for column, classes in expected.items():
            if column not in features:
                raise TaskError(f"{where}: no column {column}")
            names = getattr(features[column], "names", None)
            if classes and names != classes:
                raise TaskError(f"{where}: the classes are {names}, expected {classes}")
    return raw
