"""From a task to what one setting trains and evaluates on: tokens (made once), fixed subsets."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib import paths, provenance, tasks
from lib.batches import Encoded
from lib.config import Setting
from lib.rows import SPLIT_SEED, Row, Splits

#: Texts tokenised at a time: what a tokeniser returns takes a hundred times the room of its tokens.
TEXTS_AT_A_TIME = 10_000


@dataclass(frozen=True)
class Prepared:
    """A task as one setting sees it: subsets taken, tokens ready, contents hashed."""

    train: Encoded
    validation: Encoded | None
    evaluation: Encoded
    n_classes: int
    metric: str
    classes: tuple[str, ...]
    sha256: str
    other_metrics: tuple[str, ...] = ()

    @property
    def n_outputs(self) -> int:
        """Outputs that the head needs: one a candidate in a choice, else one a class."""
        return 1 if self.train.choices > 1 else self.n_classes


def prepare(setting: Setting, tokenizer_sha256: str, tokenizer: Callable[[], Any]) -> Prepared:
    """Read, tokenise (once: cached under ``data/raw/prepared``) and cut the subsets.

    ``tokenizer`` is called only when nothing is cached. Subsets are nested: the first rows of a
    permutation fixed by ``subset_seed`` (training) or by a constant (evaluation). Where rows are
    grouped by question, evaluation subsets hold whole questions, of at most so many rows together.
    """
    task = tasks.get(setting.task, setting.text_columns, setting.label_column)
    splits = task.read()
    data = contents_digest(splits)
    versions = provenance.TRAINING_VERSIONS
    key = provenance.digest(data, tokenizer_sha256, setting.max_length, versions)
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
    questions = _questions(dev)
    dev_order = np.random.default_rng([SPLIT_SEED, 1]).permutation(len(questions))
    held_out = len(questions) // 2 if setting.eval_split == "test-half" else 0
    half = np.concatenate([questions[i] for i in dev_order[:held_out]]) if held_out else None
    kept = _whole_questions([questions[i] for i in dev_order[held_out:]], setting)
    return Prepared(
        train=train.take(order[: setting.train_rows or None]),
        validation=None if half is None else dev.take(np.sort(half)),
        evaluation=dev.take(np.sort(kept)),
        n_classes=task.n_classes,
        metric=task.metric,
        classes=task.classes,
        sha256=data_digest(task, data),
        other_metrics=task.other_metrics,
    )


def data_digest(task: tasks.Task, contents: str) -> str:
    """Identity of a task: its contents, and what is made of its labels."""
    told = (task.n_classes, task.metric, task.classes, task.other_metrics)
    return provenance.digest(contents, *told)


def contents_digest(splits: Splits) -> str:
    """``provenance.digest(splits)``, computed row by row: ReCoRD has gigabytes of text."""

    def canonical(value: Any) -> str:
        return json.dumps(value, sort_keys=True, separators=(",", ":"))

    found = hashlib.sha256(b"[{")
    for i, split in enumerate(sorted(splits)):
        found.update(f"{',' if i else ''}{canonical(split)}:[".encode())
        for j, row in enumerate(splits[split]):
            found.update(f"{',' if j else ''}{canonical(row)}".encode())
        found.update(b"]")
    found.update(b"}]")
    return found.hexdigest()[:16]


def _questions(data: Encoded) -> list[np.ndarray]:
    """The rows of each question; without groups, every row is a question of its own."""
    if not len(data.groups):
        return list(np.arange(len(data))[:, None])
    order = np.argsort(data.groups, kind="stable")
    sizes = np.unique(data.groups, return_counts=True)[1]
    return np.split(order, np.cumsum(sizes)[:-1])


def _whole_questions(questions: list[np.ndarray], setting: Setting) -> np.ndarray:
    """The rows of the first questions that together have at most ``eval_rows`` rows; 0: of all."""
    ends = np.cumsum([len(rows) for rows in questions])
    fitting = int((ends <= setting.eval_rows).sum()) if setting.eval_rows else len(questions)
    if not fitting:
        raise ValueError(
            f"eval_rows = {setting.eval_rows}, but the first question of {setting.task} has "
            f"{ends[0]} rows, and questions are evaluated whole"
        )
    return np.concatenate(questions[:fitting])


def _encode_cached(
    path: Path, rows: list[Row], setting: Setting, tokenizer: Callable[[], Any]
) -> Encoded:
    if not path.exists():
        encoded = _encode(rows, tokenizer(), setting.max_length)
        with paths.atomic_file(path) as scratch:
            np.savez_compressed(scratch, **vars(encoded))
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return Encoded(**arrays | {"choices": int(arrays["choices"])})


def _encode(rows: list[Row], tokenizer: Any, max_length: int) -> Encoded:
    choices = len(rows[0]["text_a"]) if isinstance(rows[0]["text_a"], list) else 1
    texts = [[row[side] for row in rows] for side in ("text_a", "text_b")]
    if choices > 1:
        texts = [[text for candidates in side for text in candidates] for side in texts]
    first, second = texts
    pair = any(second)
    tokens: list[np.ndarray] = []
    types: list[np.ndarray] = []
    for start in range(0, len(first), TEXTS_AT_A_TIME):
        part = slice(start, start + TEXTS_AT_A_TIME)
        batch = tokenizer(
            first[part],
            second[part] if pair else None,
            truncation=True,
            max_length=max_length,
            padding=False,
        )
        ids = batch["input_ids"]
        tokens += [np.array(row, np.int32) for row in ids]
        types += [
            np.array(row, np.int8)
            for row in batch.get("token_type_ids") or [[0] * len(row) for row in ids]
        ]
    labels = np.array([row["label"] for row in rows])
    more = {}
    if "group" in rows[0]:
        number: dict[str, int] = {}
        more["groups"] = np.array([number.setdefault(row["group"], len(number)) for row in rows])
    if "credit" in rows[0]:
        more["credit"] = np.array([row["credit"] for row in rows])
    return Encoded(
        tokens=np.concatenate(tokens),
        types=np.concatenate(types),
        starts=np.concatenate([[0], np.cumsum([len(ids) for ids in tokens])]),
        labels=labels.astype(np.float32 if labels.dtype.kind == "f" else np.int64),
        example_ids=np.array([row["example_id"] for row in rows]),
        pad_id=np.array(tokenizer.pad_token_id or 0),
        choices=choices,
        **more,
    )
