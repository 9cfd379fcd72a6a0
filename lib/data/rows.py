"""The form of every task: its rows, its splits, and what is made of its labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.data import assets

Row = dict[str, Any]
Splits = dict[str, list[Row]]

#: Where no official split exists, this share of the groups is set aside, always the same ones.
DEV_SHARE = 0.2
SPLIT_SEED = 123


@dataclass(frozen=True)
class Task:
    """A task: its reader, number of classes (1: regression, 0: the answer is a text) and main
    metric.

    ``classes``: their names, where they have some. ``other_metrics``: further official ones,
    recorded beside the main one. ``asset``: the pinned package of its texts; the reader then gets
    the folder of what was taken out of it. ``has_slots``: the inputs are lists of slots, ``name:
    value, name: value``, to be put into words.
    """

    reader: Callable[..., Splits]
    n_classes: int = 2
    metric: str = "accuracy"
    classes: tuple[str, ...] = ()
    other_metrics: tuple[str, ...] = ()
    asset: str = ""
    has_slots: bool = False

    @property
    def generates(self) -> bool:
        """Whether the answer is a text."""
        return self.n_classes == 0

    def read(self) -> Splits:
        """The rows of ``train``, ``dev`` and, where its labels are public, ``test``."""
        return self.reader(assets.contents(self.asset)) if self.asset else self.reader()


def make_row(
    example_id: object,
    text_a: str | list[str],
    text_b: str | list[str],
    label: float,
    **of_question: Any,
) -> Row:
    """One example: ``example_id``, the texts (``text_b`` may be empty) and the label, a class
    number or, for regression, a float.

    ``text_a`` and ``text_b`` are lists of K texts in a choice between K candidates; the label is
    then the number of the right one. Rows of one question carry its name as ``group``; where a
    question is answered by picking one of its rows, ``credit`` is what picking this one earns: a
    list of exact match and F1, both in [0, 1]. Where the answer is a text, ``targets`` holds one
    reference or more, and the label is 0.
    """

    def stripped(text: str | list[str]) -> str | list[str]:
        return text.strip() if isinstance(text, str) else [part.strip() for part in text]

    row = {
        "example_id": str(example_id),
        "text_a": stripped(text_a),
        "text_b": stripped(text_b),
        "label": label,
    }
    return row | of_question


def official_split(**splits: list[tuple[str, str, float]]) -> Splits:
    """Rows of splits by name, from the texts and the label of each example."""
    return {
        name: [make_row(f"{name}-{i}", *example) for i, example in enumerate(examples)]
        for name, examples in splits.items()
    }


def text_key(text: str) -> str:
    """Texts with the same key differ in nothing but case and white space."""
    return " ".join(text.lower().split())


def split_by(rows: list[Row], sides: Sequence[str]) -> Splits:
    """Train and dev, by the side of each row."""
    pairs = list(zip(rows, sides, strict=True))
    return {name: [row for row, side in pairs if side == name] for name in ("train", "dev")}


def grouped_split(rows: list[Row], groups: list[str], *, share: float = DEV_SHARE) -> Splits:
    """Train and dev such that no group is in both; ``share`` of the groups is in dev."""
    names = sorted(set(groups))
    chosen = np.random.default_rng(SPLIT_SEED).permutation(len(names))
    dev = {names[i] for i in chosen[: round(share * len(names))]}
    return split_by(rows, ["dev" if group in dev else "train" for group in groups])


def one_target_each(splits: Splits) -> Splits:
    """Rows whose answers are texts, so that for training every answer to an input is an example of
    its own; for evaluation every input stays one, with all of its answers as references.
    """
    train = [
        row | {"example_id": f"{row['example_id']}-{number}", "targets": [target]}
        for row in splits["train"]
        for number, target in enumerate(row["targets"])
    ]
    return splits | {"train": train}
