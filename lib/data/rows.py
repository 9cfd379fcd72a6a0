"""The form of every task: its rows, its splits, and what is made of its labels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Row = dict[str, Any]
Splits = dict[str, list[Row]]

#: Where no official split exists, this share of the groups is set aside, always the same ones.
DEV_SHARE = 0.2
SPLIT_SEED = 123


@dataclass(frozen=True)
class Task:
    """A task: its reader, number of classes (1: regression) and main metric.

    ``classes``: their names, where they have some. ``other_metrics``: further official ones,
    recorded beside the main one.
    """

    read: Callable[[], Splits]
    n_classes: int = 2
    metric: str = "accuracy"
    classes: tuple[str, ...] = ()
    other_metrics: tuple[str, ...] = ()


def make_row(
    example_id: object,
    text_a: str | list[str],
    text_b: str | list[str],
    label: float,
    *,
    group: str | None = None,
    credit: tuple[float, float] | None = None,
) -> Row:
    """One example: ``example_id``, the texts (``text_b`` may be empty) and the label, a class
    number or, for regression, a float.

    ``text_a`` and ``text_b`` are lists of K texts in a choice between K candidates; the label is
    then the number of the right one. Rows of one question carry its name as ``group``; where a
    question is answered by picking one of its rows, ``credit`` is what picking this one earns:
    exact match and F1, both in [0, 1].
    """

    def stripped(text: str | list[str]) -> str | list[str]:
        return text.strip() if isinstance(text, str) else [part.strip() for part in text]

    row = {
        "example_id": str(example_id),
        "text_a": stripped(text_a),
        "text_b": stripped(text_b),
        "label": label,
    }
    if group is not None:
        row["group"] = group
    if credit is not None:
        row["credit"] = list(credit)
    return row


def numbered(split: str, examples: list[tuple[str, str, float]]) -> list[Row]:
    """The rows of an official split, from the texts and the label of each example."""
    return [make_row(f"{split}-{i}", *example) for i, example in enumerate(examples)]


def text_key(text: str) -> str:
    """Texts with the same key differ in nothing but case and white space."""
    return " ".join(text.lower().split())


def grouped_split(rows: list[Row], groups: list[str]) -> Splits:
    """Train and dev such that no group is in both."""
    names = sorted(set(groups))
    chosen = np.random.default_rng(SPLIT_SEED).permutation(len(names))
    dev = {names[i] for i in chosen[: round(DEV_SHARE * len(names))]}
    pairs = list(zip(rows, groups, strict=True))
    return {
        "train": [row for row, group in pairs if group not in dev],
        "dev": [row for row, group in pairs if group in dev],
    }
