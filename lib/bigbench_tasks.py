"""Five classification tasks of BIG-bench, read from its source distribution.

Every example has an ``input`` and ``target_scores``, the score of each possible answer; the class
is the answer that scores. None has official splits. Inputs come in families (the same sentence with
other reasons, the same evidence with other claims), and a family is never torn apart.

The files carry BIG-bench's canary string, which asks that they stay out of training corpora: they
are fetched, never committed.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lib import assets
from lib.errors import TaskError
from lib.rows import Splits, grouped_split, make_row, text_key

FOLDER = "bigbench-1.0.0/bigbench/benchmark_tasks"


@dataclass(frozen=True)
class _Source:
    """A task's folder, its answers in the order of their classes, the pattern of its inputs (one
    or two texts), and the family of an example, from the example and its texts.
    """

    folder: str
    classes: tuple[str, ...]
    pattern: str
    family: Callable[[dict[str, Any], tuple[str, ...]], str]


def _own_text(example: dict[str, Any], texts: tuple[str, ...]) -> str:
    return text_key(texts[0])


def _first_words(example: dict[str, Any], texts: tuple[str, ...]) -> str:
    """The twin sentences of a Winograd schema differ in one word, which comes later."""
    return " ".join(text_key(texts[0]).split()[:4])


def _number(example: dict[str, Any], texts: tuple[str, ...]) -> str:
    return example["comment"]["example_id"]


def _title(example: dict[str, Any], texts: tuple[str, ...]) -> str:
    """The evidence begins with the title of the article that it is from."""
    return texts[0].partition(": ")[0]


_SOURCES = {
    "winowhy": _Source("winowhy", ("incorrect", "correct"), r"(.*)", _first_words),
    "strategyqa": _Source("strategyqa", ("No", "Yes"), r"(.*)", _own_text),
    "presuppositions": _Source(
        "presuppositions_as_nli",
        ("entailment", "neutral", "contradiction"),
        r"Sentence 1: (.*)\nSentence 2: (.*)\n\nThe answer is:\s*",
        _number,
    ),
    "metaphor": _Source("metaphor_boolean", ("False", "True"), r"(.*) <--> (.*)", _own_text),
    "vitaminc": _Source(
        "vitaminc_fact_verification",
        ("True", "False", "Neither"),
        r"(.*)\nClaim: (.*)",
        _title,
    ),
}


def classes(name: str) -> tuple[str, ...]:
    """The answers of a task in the order of their class numbers."""
    return _SOURCES[name].classes


def read(name: str) -> Splits:
    """One of the five; raises ``TaskError`` naming the example whose form is not the expected."""
    source = _SOURCES[name]
    path = assets.fetch("bigbench") / FOLDER / source.folder / "task.json"
    examples = json.loads(path.read_text(encoding="utf-8"))["examples"]
    rows, families = [], []
    for i, example in enumerate(examples):
        found = re.fullmatch(source.pattern, example["input"], re.DOTALL)
        answers = [answer for answer, score in example["target_scores"].items() if score == 1]
        if found is None or len(answers) != 1 or answers[0] not in source.classes:
            raise TaskError(f"{path}: example {i} is not of the form that {name} has")
        texts = found.groups()
        rows.append(make_row(i, texts[0], "".join(texts[1:]), source.classes.index(answers[0])))
        families.append(source.family(example, texts))
    return grouped_split(rows, families)
