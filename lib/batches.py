"""From a task to batches: tokens (made once), fixed subsets, and padded batches of like lengths."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib import paths, provenance, tasks
from lib.config import Setting
from lib.rows import SPLIT_SEED, Row

#: Batches are cut from pools of this many batches sorted by length: less padding, same shuffle.
BATCHES_PER_POOL = 50


@dataclass(frozen=True)
class Encoded:
    """Tokenised examples, ragged: example i holds ``tokens[starts[i]:starts[i + 1]]``."""

    tokens: np.ndarray
    types: np.ndarray
    starts: np.ndarray
    labels: np.ndarray
    example_ids: np.ndarray
    pad_id: np.ndarray

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
            pad_id=self.pad_id,
        )


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


def prepare(setting: Setting, tokenizer_sha256: str, tokenizer: Callable[[], Any]) -> Prepared:
    """Read, tokenise (once: cached under ``data/raw/prepared``) and cut the subsets.

    ``tokenizer`` is called only when nothing is cached. Subsets are nested: the first rows of a
    permutation fixed by ``subset_seed`` (training) or by a constant (evaluation).
    """
    task = tasks.get(setting.task, setting.text_columns, setting.label_column)
    splits = task.read()
    data = provenance.digest(splits)
    code = provenance.code_fingerprint(("lib/batches.py",))
    key = provenance.digest(data, tokenizer_sha256, setting.max_length, code)
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
        classes=task.classes,
        sha256=data,
    )


def _encode_cached(
    path: Path, rows: list[Row], setting: Setting, tokenizer: Callable[[], Any]
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
        pad_id=np.array(tokenizer.pad_token_id or 0),
    )


def epoch_batches(
    lengths: np.ndarray, batch_size: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """The rows of each batch of one epoch, every row once.

    Rows are shuffled, cut into pools, sorted by length within a pool, cut into batches, and the
    batches shuffled: neighbours have like lengths, so little is padded. Only the last batch may be
    smaller, so that at every step all seeds have equally many examples.
    """
    order = rng.permutation(len(lengths))
    whole = len(order) - len(order) % batch_size
    pool = batch_size * BATCHES_PER_POOL
    batches = []
    for start in range(0, whole, pool):
        rows = order[start : min(start + pool, whole)]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    shuffled = [batches[i] for i in rng.permutation(len(batches))]
    return shuffled + ([order[whole:]] if whole < len(order) else [])


def pad(
    data: Encoded, rows: np.ndarray, device: torch.device
) -> tuple[dict[str, Any], torch.Tensor]:
    """Model inputs (B, longest) and labels (B,) of the given rows."""
    lengths = data.lengths[rows]
    mask = np.arange(lengths.max()) < lengths[:, None]
    source = (data.starts[rows][:, None] + np.arange(lengths.max()))[mask]
    tokens = np.full(mask.shape, data.pad_id.item(), np.int64)
    types = np.zeros(mask.shape, np.int64)
    tokens[mask] = data.tokens[source]
    types[mask] = data.types[source]
    inputs = {"input_ids": tokens, "token_type_ids": types, "attention_mask": mask.astype(np.int64)}
    moved = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
    return moved, torch.from_numpy(data.labels[rows]).to(device)
