"""Tokenised examples: the subsets of a task that a setting asks for, and batches of them."""

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib import paths, provenance
from lib.data import assets, tasks
from lib.data.rows import SPLIT_SEED, Row, Splits, Task
from lib.errors import AssetError, SourceMissingError

#: Texts tokenised at a time: what a tokeniser returns takes a hundred times the room of its tokens.
TEXTS_AT_A_TIME = 10_000
#: Batches are cut from pools of this many batches sorted by length: less padding, and still a
#: shuffle. The larger the pool, the less is padded, and the more often the same examples meet in a
#: batch whatever the seed, which would take the data order out of what is studied. With batches of
#: 16 and 16 a pool, 5 to 10 % is padded (of random batches 80 to 90 %), and on 800 rows two that
#: shared a batch do so again in a fifth of other epochs; with Trainer's 50, in half of them.
BATCHES_PER_POOL = 16
#: Where a text has ended; what losses of torch leave out.
NO_TOKEN = -100


@dataclass(frozen=True)
class Encoded:
    """Tokenised examples, ragged: sequence j holds ``tokens[starts[j]:starts[j + 1]]``.

    An example is one sequence, or, in a choice, ``choices`` of them in a row: candidates
    ``i * choices`` to ``(i + 1) * choices - 1`` are those of example i. ``groups`` (N,) numbers the
    question that each example belongs to, and ``credit`` (N, 2) says what picking it earns (exact
    match, F1); both are empty where a task has none.

    Where the answer is a text, ``targets`` are the tokens of all references, each with the end of
    text: reference j is ``targets[target_starts[j]:target_starts[j + 1]]``, and those of example i
    are ``references[i]`` to ``references[i + 1] - 1``.
    """

    tokens: np.ndarray
    types: np.ndarray
    starts: np.ndarray
    labels: np.ndarray
    example_ids: np.ndarray
    pad_id: np.ndarray
    choices: int = 1
    groups: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    credit: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))
    targets: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    target_starts: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))
    references: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, (N,); in a choice, of its longest candidate."""
        return np.diff(self.starts).reshape(-1, self.choices).max(1)

    def sequences(self, rows: np.ndarray) -> np.ndarray:
        """The sequences of the examples at ``rows``, (rows · choices,), an example's together."""
        return (np.asarray(rows)[:, None] * self.choices + np.arange(self.choices)).ravel()

    def take(self, rows: np.ndarray) -> "Encoded":
        """The examples at ``rows``, in that order."""
        chosen, more = self.sequences(rows), {}
        if len(self.references):
            own = [np.arange(self.references[i], self.references[i + 1]) for i in rows]
            more["targets"], more["target_starts"] = _pieces(
                self.targets, self.target_starts, np.concatenate(own)
            )
            more["references"] = _ends([len(numbers) for numbers in own])
        tokens, starts = _pieces(self.tokens, self.starts, chosen)
        return dataclasses.replace(
            self,
            tokens=tokens,
            types=_pieces(self.types, self.starts, chosen)[0],
            starts=starts,
            labels=self.labels[rows],
            example_ids=self.example_ids[rows],
            groups=self.groups[rows] if len(self.groups) else self.groups,
            credit=self.credit[rows] if len(self.credit) else self.credit,
            **more,
        )


def _ends(sizes: Sequence[int]) -> np.ndarray:
    """Where pieces of these sizes start, one behind the other, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(sizes)])


def _pieces(
    values: np.ndarray, starts: np.ndarray, chosen: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """The chosen pieces of a ragged array, one behind the other, and where they start."""
    parts = [values[starts[j] : starts[j + 1]] for j in chosen]
    return np.concatenate(parts), _ends([len(part) for part in parts])


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """The task and its subsets; the fields are those of ``lib.config.Setting`` of these names."""

    task: str
    text_columns: list[str]
    label_column: str
    max_length: int
    train_rows: int
    subset_seed: int
    eval_rows: int
    eval_split: str


@dataclass(frozen=True)
class Prepared:
    """A task as one setting sees it: subsets taken, tokens ready, contents hashed.

    ``sources``: the sha256 of each file that the texts are from, as far as it is pinned or yours.
    """

    train: Encoded
    validation: Encoded | None
    evaluation: Encoded
    task: Task
    sha256: str
    sources: dict[str, str]

    @property
    def n_outputs(self) -> int:
        """Outputs that the head needs: one a candidate in a choice, else one a class."""
        return 1 if self.train.choices > 1 else self.task.n_classes


def prepare(spec: DataSpec, tokenizer_sha256: str, tokenizer: Callable[[], Any]) -> Prepared:
    """Read, tokenise (once) and cut the subsets.

    ``tokenizer`` is called only when nothing is cached. Subsets are nested: the first rows of a
    permutation fixed by ``subset_seed`` (training) or by a constant (evaluation). Where rows are
    grouped by question, evaluation subsets hold whole questions, of at most so many rows together.

    Raises ``TaskError`` or ``AssetError`` for a task that cannot be read, ``AssetError`` also for a
    prepared file that is damaged.
    """
    task = tasks.get(spec.task, spec.text_columns, spec.label_column)
    entry = _entry(spec, task, tokenizer_sha256, tokenizer)
    train, dev = (_load(entry, split) for split in ("train", "dev"))
    order = np.random.default_rng([spec.subset_seed, 0]).permutation(len(train))
    if spec.train_rows > len(train):
        raise ValueError(
            f"train_rows = {spec.train_rows}, but {spec.task} has {len(train)} training rows"
        )
    questions = _questions(dev)
    dev_order = np.random.default_rng([SPLIT_SEED, 1]).permutation(len(questions))
    shuffled = [questions[i] for i in dev_order]
    held_out = len(questions) // 2 if spec.eval_split == "test-half" else 0
    half = np.sort(np.concatenate(shuffled[:held_out])) if held_out else None
    return Prepared(
        train=train.take(order[: spec.train_rows or None]),
        validation=None if half is None else dev.take(half),
        evaluation=dev.take(np.sort(_whole_questions(shuffled[held_out:], spec))),
        task=task,
        sha256=data_digest(task, entry["contents"]),
        sources=entry["sources"],
    )


def _questions(data: Encoded) -> list[np.ndarray]:
    """The rows of each question; without groups, every row is a question of its own."""
    groups = data.groups if len(data.groups) else np.arange(len(data))
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)


def _whole_questions(questions: list[np.ndarray], spec: DataSpec) -> np.ndarray:
    """The rows of the first questions that together have at most ``eval_rows`` rows; 0: of all."""
    ends = np.cumsum([len(rows) for rows in questions])
    fitting = int((ends <= spec.eval_rows).sum()) if spec.eval_rows else len(questions)
    if not fitting:
        raise ValueError(
            f"eval_rows = {spec.eval_rows}, but the first question of {spec.task} has "
            f"{ends[0]} rows, and questions are evaluated whole"
        )
    return np.concatenate(questions[:fitting])


def _entry(
    spec: DataSpec, task: Task, tokenizer_sha256: str, tokenizer: Callable[[], Any]
) -> dict[str, Any]:
    """A task's entry in the index: contents, sources, folder of the tokens, sha256 of its files.

    A task is read, and tokenised if its contents are new, unless it was made of packages that are
    pinned today. One whose source is not on this machine is what it was when it was read last.
    """
    name = Path(spec.task).stem
    rest = (tokenizer_sha256, spec.max_length, provenance.TRAINING_VERSIONS)
    key = provenance.digest(spec.task, spec.text_columns, spec.label_column, *rest)
    index = paths.CACHE / "prepared" / "index" / f"{name}-{key}.json"
    entry = json.loads(index.read_text()) if index.exists() else None
    if entry and not all(_file(entry["folder"], split).exists() for split in entry["sha256"]):
        entry = None
    if entry and entry["sources"] and entry["sources"] == assets.pins(*entry["sources"]):
        return entry
    try:
        splits = task.read()
    except (SourceMissingError, ImportError) as error:
        if entry is None:
            raise
        warnings.warn(f"{error}. {spec.task} is taken as it was read last.", stacklevel=4)
        return entry
    sources = assets.pins(task.asset)
    if table := tasks.table_of(spec.task):
        sources[spec.task] = provenance.file_sha256(table)
    contents = contents_digest(splits)
    folder = f"{name}-{provenance.digest(contents, *rest)}"
    if entry and (entry["folder"], entry["sources"]) == (folder, sources):
        return entry
    hashes = {}
    for split in ("train", "dev"):
        path = _file(folder, split)
        if not path.exists():
            encoded = _encode(splits[split], tokenizer(), spec.max_length)
            with paths.atomic_file(path) as scratch:
                np.savez_compressed(scratch, **vars(encoded))
        hashes[split] = provenance.file_sha256(path)
    entry = {"contents": contents, "sources": sources, "folder": folder, "sha256": hashes}
    with paths.atomic_file(index) as scratch:
        scratch.write_text(json.dumps(entry, indent=1) + "\n")
    return entry


def _file(folder: str, split: str) -> Path:
    return paths.CACHE / "prepared" / folder / f"{split}.npz"


def _load(entry: dict[str, Any], split: str) -> Encoded:
    """One split of an entry of the index; its file has to be the one that was written."""
    path, expected = _file(entry["folder"], split), entry["sha256"][split]
    if (actual := provenance.file_sha256(path)) != expected:
        raise AssetError(
            f"{path} has sha256 {actual}, expected {expected}. Copy it again; or delete it, and "
            "where the task can be read it is made again."
        )
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return Encoded(**arrays | {"choices": int(arrays["choices"])})


def _encode(rows: list[Row], tokenizer: Any, max_length: int) -> Encoded:
    choices = len(rows[0]["text_a"]) if isinstance(rows[0]["text_a"], list) else 1
    sides = [[row[side] for row in rows] for side in ("text_a", "text_b")]
    if choices > 1:
        sides = [list(chain.from_iterable(side)) for side in sides]
    given = sides if any(sides[1]) else sides[:1]
    tokens: list[np.ndarray] = []
    types: list[np.ndarray] = []
    for start in range(0, len(sides[0]), TEXTS_AT_A_TIME):
        texts = [side[start : start + TEXTS_AT_A_TIME] for side in given]
        batch = tokenizer(*texts, truncation=True, max_length=max_length, padding=False)
        ids = batch["input_ids"]
        tokens += [np.array(row, np.int32) for row in ids]
        ends = batch.get("token_type_ids") or [[0] * len(row) for row in ids]
        types += [np.array(row, np.int8) for row in ends]
    labels = np.array([row["label"] for row in rows])
    more = {}
    if "group" in rows[0]:
        names = [row["group"] for row in rows]
        number = {name: i for i, name in enumerate(dict.fromkeys(names))}
        more["groups"] = np.array([number[name] for name in names])
    if "credit" in rows[0]:
        more["credit"] = np.array([row["credit"] for row in rows])
    if "targets" in rows[0]:
        texts = list(chain.from_iterable(row["targets"] for row in rows))
        kept = {"truncation": True, "max_length": max_length - 1}
        end = [tokenizer.sep_token_id if tokenizer.eos_token is None else tokenizer.eos_token_id]
        ids = tokenizer(texts, add_special_tokens=False, **kept)["input_ids"]
        more["targets"] = np.concatenate([np.array(own + end, np.int32) for own in ids])
        more["target_starts"] = _ends([len(own) + 1 for own in ids])
        more["references"] = _ends([len(row["targets"]) for row in rows])
    return Encoded(
        tokens=np.concatenate(tokens),
        types=np.concatenate(types),
        starts=_ends([len(ids) for ids in tokens]),
        labels=labels.astype(np.float32 if labels.dtype.kind == "f" else np.int64),
        example_ids=np.array([row["example_id"] for row in rows]),
        pad_id=np.array(tokenizer.pad_token_id or 0),
        choices=choices,
        **more,
    )


def data_digest(task: Task, contents: str) -> str:
    """Identity of a task: its contents, and what is made of its labels."""
    return provenance.digest(
        contents, task.n_classes, task.metric, task.classes, task.other_metrics
    )


def contents_digest(splits: Splits) -> str:
    """``provenance.digest(splits)``, piece by piece: ReCoRD has gigabytes of text."""
    digest = hashlib.sha256()
    encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
    for piece in encoder.iterencode([splits]):
        digest.update(piece.encode())
    return digest.hexdigest()[:16]


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


class Loader:
    """Padded batches of tokenised examples; nothing in a batch waits for the device.

    ``typed``: whether the model takes token types.
    """

    def __init__(self, data: Encoded, device: torch.device, *, typed: bool = True) -> None:
        self.device, self.choices, self.typed = device, data.choices, typed
        self.lengths_here = data.lengths
        self.pad_id = int(data.pad_id)
        self.tokens, self.types, self.starts, self.lengths = (
            torch.from_numpy(np.asarray(array, np.int64)).to(device)
            for array in (data.tokens, data.types, data.starts[:-1], np.diff(data.starts))
        )
        self.labels = torch.from_numpy(data.labels).to(device)
        if len(data.references):
            first = data.references[:-1]
            self.targets, self.target_starts, self.target_lengths = (
                torch.from_numpy(np.asarray(array, np.int64)).to(device)
                for array in (
                    data.targets, data.target_starts[first], np.diff(data.target_starts)[first]
                )
            )  # fmt: skip

    def batch(self, rows: np.ndarray) -> tuple[dict[str, Any], torch.Tensor]:
        """Inputs (…, B · choices, T) and labels (…, B) of rows (B,), or (S, B) for S seeds at once.

        T is the longest sequence of the batch. In a choice the candidates of an example follow
        each other, and the model's one logit for each becomes one of the example's.
        """
        longest = int(self.lengths_here[rows].max())
        at = torch.from_numpy(np.asarray(rows)).to(self.device, non_blocking=True)
        sequences = at[..., None] * self.choices + torch.arange(self.choices, device=self.device)
        sequences = sequences.flatten(-2)
        position = torch.arange(longest, device=self.device)
        mask = position < self.lengths[sequences][..., None]
        source = (self.starts[sequences][..., None] + position).clamp(max=len(self.tokens) - 1)
        inputs = {
            "input_ids": torch.where(mask, self.tokens[source], self.pad_id),
            "attention_mask": mask.long(),
        }
        if self.typed:
            inputs["token_type_ids"] = torch.where(mask, self.types[source], 0)
        return inputs, self.labels[at]

    def target_tokens(self, rows: np.ndarray) -> torch.Tensor:
        """Tokens (B, T) of the first reference of rows (B,), with ``NO_TOKEN`` behind its end."""
        at = torch.from_numpy(np.asarray(rows)).to(self.device)
        lengths = self.target_lengths[at][:, None]
        position = torch.arange(int(lengths.max()), device=self.device)
        source = (self.target_starts[at][:, None] + position).clamp(max=len(self.targets) - 1)
        return torch.where(position < lengths, self.targets[source], NO_TOKEN)
