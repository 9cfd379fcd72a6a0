"""The rows that every task is made of, and splits that keep what belongs together together."""

from typing import Any

import numpy as np

Row = dict[str, Any]
Splits = dict[str, list[Row]]

#: Where no official split exists, this share of the groups is set aside, always the same ones.
DEV_SHARE = 0.2
SPLIT_SEED = 123


def make_row(example_id: object, text_a: str, text_b: str, label: float) -> Row:
    return {
        "example_id": str(example_id),
        "text_a": text_a.strip(),
        "text_b": text_b.strip(),
        "label": label,
    }


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
