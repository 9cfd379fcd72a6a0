"""What an answer to a cloze question earns, as ReCoRD and SQuAD count it."""

import re
import string
from collections import Counter
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from lib.errors import SourceMissingError, TaskError
from lib.data.rows import Row, Splits, make_row


_DROPPED = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """Lower case without punctuation, articles (a, an, the) and surplus white space."""
    words = re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(_DROPPED))
    return " ".join(words.split())


def credit(said: str, answers: list[str]) -> tuple[float, float]:
    """Exact match (0 or 1) and token F1 of a text, each the best over the answers.

    No answers, nothing earned.
    """
    said = normalised(said)
    golds = [normalised(answer) for answer in answers]
    return (
        max((float(said == gold) for gold in golds), default=0.0),
        max((_token_f1(said.split(), gold.split()) for gold in golds), default=0.0),
    )


def _token_f1(said: list[str], gold: list[str]) -> float:
    """Harmonic mean of the precision and the recall of the words, each counted as often as it is
    in both.
    """
    common = sum((Counter(said) & Counter(gold)).values())
    return 2 * common / (len(said) + len(gold)) if common else 0.0


GLUE = ("nyu-mll/glue", "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c")
SUPERGLUE = ("aps/super_glue", "3de24cf8022e94f4ee4b9d55a6f539891524d646")

Record = dict[str, Any]


@dataclass(frozen=True)
class _Source:
    """A configuration of a hub repository: its text columns, its classes as numbered there, how
    an example (id, record, class) becomes rows, and which split is the development split.
    """

    repository: tuple[str, str]
    config: str
    columns: tuple[str, ...]
    hub_classes: tuple[str, ...]
    rows: Callable[[str, Record, int], Iterator[Row]]
    dev: str = "validation"
    classes: tuple[str, ...] = ()


def _texts(first: str, second: str, name: str, record: Record, label: int) -> Iterator[Row]:
    """The texts as they are; ``second`` may be empty."""
    yield make_row(name, record[first], record[second] if second else "", label)


def _word_in_context(name: str, record: Record, label: int) -> Iterator[Row]:
    """WiC: the word, a colon and the first sentence; the second sentence."""
    first = f"{record['word']}: {record['sentence1']}"
    yield make_row(name, first, record["sentence2"], label)


def mark_spans(text: str, spans: list[tuple[int, str, str]]) -> str:
    """``text`` with a mark before and after each span (number of its first word, words, mark).

    Words are what white space separates. A span that is not at its word, as happens in a few
    examples of WSC, is looked for from there on and then anywhere; one that is nowhere is taken to
    be as many words as it has.
    """
    starts = [found.start() for found in re.finditer(r"\S+", text)]
    marks = []
    for number, words, mark in spans:
        at = starts[min(number, len(starts) - 1)]
        begin = text.find(words, at)
        begin = text.find(words) if begin < 0 else begin
        if begin >= 0:
            end = begin + len(words)
        else:
            last = min(number + len(words.split()), len(starts)) - 1
            begin, end = at, re.compile(r"\S+").match(text, starts[max(last, 0)]).end()
        marks += [(begin, mark), (end, mark)]
    for place, mark in sorted(marks, reverse=True):
        text = text[:place] + mark + text[place:]
    return text


def _coreference(name: str, record: Record, label: int) -> Iterator[Row]:
    """WSC: the noun between asterisks and the pronoun between hash signs (Raffel et al. 2020)."""
    spans = [
        (record["span1_index"], record["span1_text"], "*"),
        (record["span2_index"], record["span2_text"], "#"),
    ]
    yield make_row(name, mark_spans(record["text"], spans), "", label)


_COPA_QUESTIONS = {
    "cause": "What was the cause of this?",
    "effect": "What happened as a result?",
}


def _choice(name: str, record: Record, label: int) -> Iterator[Row]:
    """COPA: two candidates, each the premise; the question and an alternative."""
    question = _COPA_QUESTIONS[record["question"]]
    answers = [f"{question} {record[choice]}" for choice in ("choice1", "choice2")]
    yield make_row(name, [record["premise"]] * 2, answers, label)


def _answer(name: str, record: Record, label: int) -> Iterator[Row]:
    """MultiRC: a row an answer; the paragraph; question and answer, where no truncation cuts them.

    Answers of one question are a group.
    """
    asked = f"{record['question']} {record['answer']}"
    group = f"{record['idx']['paragraph']}-{record['idx']['question']}"
    yield make_row(name, record["paragraph"], asked, label, group=group)


def _cloze(name: str, record: Record, label: int) -> Iterator[Row]:
    """ReCoRD: a row a candidate entity; the passage; the query with the entity filled in.

    Class 1 if the entity is one of the answers. Candidates of one query are a group, and picking
    one earns its exact match and its token F1 with the answer that it is closest to.
    """
    for j, entity in enumerate(record["entities"]):
        exact, overlap = credit(entity, record["answers"])
        filled = record["query"].replace("@placeholder", entity)
        yield make_row(
            f"{name}-{j}",
            record["passage"],
            filled,
            int(exact),
            group=name,
            credit=(exact, overlap),
        )


_SENTENCES = ("sentence1", "sentence2")
_PREMISE = ("premise", "hypothesis")
_ENTAILS = ("entailment", "not_entailment")
#: As in the files of GLUE, entailment is class 1 here, where the hub says 0.
_ENTAILS_HERE = _ENTAILS[::-1]
_NLI = ("entailment", "neutral", "contradiction")
_TRUTH = ("False", "True")


def _pair(columns: tuple[str, str]) -> Callable[[str, Record, int], Iterator[Row]]:
    return partial(_texts, *columns)


def _glue(
    config: str, columns: tuple[str, ...], hub_classes: tuple[str, ...], **more: Any
) -> _Source:
    texts = partial(_texts, columns[0], columns[1] if columns[1:] else "")
    return _Source(GLUE, config, columns, hub_classes, texts, **more)


SOURCES = {
    "cola": _glue("cola", ("sentence",), ("unacceptable", "acceptable")),
    "sst2": _glue("sst2", ("sentence",), ("negative", "positive")),
    "mrpc": _glue("mrpc", _SENTENCES, ("not_equivalent", "equivalent")),
    "qqp": _glue("qqp", ("question1", "question2"), ("not_duplicate", "duplicate")),
    "mnli": _glue("mnli", _PREMISE, _NLI, dev="validation_matched"),
    "mnli-mm": _glue("mnli", _PREMISE, _NLI, dev="validation_mismatched"),
    "qnli": _glue("qnli", ("question", "sentence"), _ENTAILS, classes=_ENTAILS_HERE),
    "rte": _glue("rte", _SENTENCES, _ENTAILS, classes=_ENTAILS_HERE),
    "wnli": _glue("wnli", _SENTENCES, ("not_entailment", "entailment")),
    "cb": _Source(
        SUPERGLUE, "cb", _PREMISE, ("entailment", "contradiction", "neutral"), _pair(_PREMISE)
    ),
    "copa": _Source(
        SUPERGLUE, "copa", ("premise", "choice1", "choice2", "question"), ("choice1", "choice2"),
        _choice,
    ),
    "multirc": _Source(
        SUPERGLUE, "multirc", ("paragraph", "question", "answer", "idx"), _TRUTH, _answer
    ),
    "record": _Source(
        SUPERGLUE, "record", ("passage", "query", "entities", "answers"), (), _cloze,
        classes=_TRUTH,
    ),
    "wic": _Source(SUPERGLUE, "wic", ("word", *_SENTENCES), _TRUTH, _word_in_context),
    "wsc": _Source(
        SUPERGLUE, "wsc.fixed",
        ("text", "span1_index", "span2_index", "span1_text", "span2_text"), _TRUTH, _coreference,
    ),
}  # fmt: skip


def classes(name: str) -> tuple[str, ...]:
    """The classes of a task in the order of their numbers."""
    return SOURCES[name].classes or SOURCES[name].hub_classes


def read(name: str) -> Splits:
    """A task's training and development rows.

    Raises ``TaskError``: nothing could be read (the message says what works without a network),
    or columns, classes or labels are not the pinned ones.
    """
    source = SOURCES[name]
    raw = _load(name, source)
    return {
        "train": _rows(name, source, "train", raw["train"]),
        "dev": _rows(name, source, "dev", raw[source.dev]),
    }


def _load(name: str, source: _Source) -> dict[str, Any]:
    import datasets

    repository, revision = source.repository
    root = os.environ.get("HUB_DATASETS")
    place = str(Path(root) / repository) if root else repository
    if root and not Path(place).is_dir():
        raise TaskError(f"HUB_DATASETS={root} holds no folder {repository}, which {name} is in")
    try:
        raw = datasets.load_dataset(place, source.config, revision=None if root else revision)
    except Exception as error:
        if root:
            raise TaskError(
                f"{name} could not be read from {place}: {type(error).__name__}: {error}"
            ) from error
        raise SourceMissingError(
            f"{name} could not be read from the hub ({type(error).__name__}). Without a network, "
            f"set HUB_DATASETS to a folder with a download of {repository}, or, for rte, mrpc, "
            "cola and wnli, set GLUE_DIR to a folder in the official GLUE layout "
            "(RTE/train.tsv, …), or use a task that comes with this compendium: stsb, boolq, "
            "rotten-tomatoes, …"
        ) from error
    _check(f"{place}, {source.config}", source, raw)
    return raw


def _check(place: str, source: _Source, raw: dict[str, Any]) -> None:
    for split in ("train", source.dev):
        if split not in raw:
            raise TaskError(f"{place}: there is no split {split}, only {', '.join(raw)}")
        expected = (*source.columns, *(("label",) if source.hub_classes else ()))
        if missing := [column for column in expected if column not in raw[split].features]:
            raise TaskError(f"{place}, {split}: no column {', '.join(missing)}")
        if not source.hub_classes:
            continue
        found = getattr(raw[split].features["label"], "names", None)
        if tuple(found or ()) != source.hub_classes:
            raise TaskError(
                f"{place}, {split}: the classes are {found}, expected {list(source.hub_classes)}"
            )


def _rows(name: str, source: _Source, split: str, raw: Any) -> list[Row]:
    number = {answer: i for i, answer in enumerate(classes(name))}
    rows: list[Row] = []
    for i, record in enumerate(raw):
        label = 0
        if source.hub_classes:
            if record["label"] not in range(len(source.hub_classes)):
                raise TaskError(f"{name}, {split}: example {i} has the label {record['label']}")
            label = number[source.hub_classes[record["label"]]]
        rows += source.rows(f"{split}-{i}", record, label)
    return rows
