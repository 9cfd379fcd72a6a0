"""A task from a table of your own: CSV or Parquet, checked row by row before any training."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib.data.rows import Row, Splits, grouped_split, make_row, split_by
from lib.errors import TaskError, nearest

if TYPE_CHECKING:
    import pandas as pd


def read(path: Path, text_columns: list[str], label_column: str) -> tuple[Splits, tuple[str, ...]]:
    """A user's table as splits, and the names of its classes (none: regression).

    A column ``split`` (train / dev) is respected; else rows with the same text stay together in a
    fixed 80/20 split. Labels may be text, integers or booleans (classes, numbered in sorted
    order), or floats that are not all whole (regression). Bad rows are named by line, the header
    being line 1.
    """
    if len(text_columns) not in (1, 2) or len(set(text_columns)) < len(text_columns):
        raise TaskError(f"text_columns = {text_columns}: give one column, or two for pairs")
    table = _table(path, [*text_columns, label_column])
    texts = table[text_columns].values.tolist()
    labels, classes = _labels(path, table[label_column])
    rows = [
        make_row(i, text[0], "".join(text[1:]), label)
        for i, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    keys = ["\x1f".join(text) for text in texts]
    if "split" in table:
        sides = table["split"].astype(str).str.strip()
        if (unknown := ~sides.isin(["train", "dev"])).any():
            line = unknown.idxmax()
            raise TaskError(
                f"{path}: column 'split' is {sides[line]!r} in line {line + 2}; valid: train, dev"
            )
        splits = split_by(rows, sides)
    else:
        splits = grouped_split(rows, keys)
    _check_splits(path, label_column, splits, classes, keys)
    return splits, classes


def _table(path: Path, columns: list[str]) -> "pd.DataFrame":
    """The file with the named columns there and filled; texts stripped, rows numbered from 0."""
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path).reset_index(drop=True)
        else:
            table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    except Exception as error:
        raise TaskError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    for column in columns:
        if column not in table:
            raise TaskError(f"{path}: no column {column!r}: {nearest(column, table.columns)}")
    if table.empty:
        raise TaskError(f"{path}: there are no rows")
    for column in columns:
        is_text = column != columns[-1] or not pd.api.types.is_numeric_dtype(table[column])
        if is_text and not pd.api.types.is_bool_dtype(table[column]):
            missing = table[column].isna()
            table[column] = table[column].astype(str).str.strip().mask(missing, "")
        empty = table[column].isna() | (table[column].astype(str) == "")
        if empty.any():
            raise TaskError(f"{path}: column {column!r} is empty in line {empty.idxmax() + 2}")
    return table


def _labels(path: Path, labels: "pd.Series") -> tuple[list, tuple[str, ...]]:
    """Class numbers and names, or floats and no names."""
    if labels.dtype.kind == "f":
        if (bad := ~np.isfinite(labels)).any():
            raise TaskError(
                f"{path}: column {labels.name!r} is not finite in line {bad.idxmax() + 2}"
            )
        if not (labels == labels.round()).all():
            return labels.astype(float).tolist(), ()
    classes = sorted(labels.unique().tolist())
    number = {label: i for i, label in enumerate(classes)}
    return [number[label] for label in labels.tolist()], tuple(map(str, classes))


def _check_splits(
    path: Path, column: str, splits: Splits, classes: tuple[str, ...], keys: list[str]
) -> None:
    def line(row: Row) -> int:
        return int(row["example_id"]) + 2

    firsts: dict[str, tuple[str, int]] = {}
    repeated = []
    for name, part in splits.items():
        if not part:
            raise TaskError(f"{path}: no rows in the {name} split")
        for row in part:
            split, first = firsts.setdefault(keys[int(row["example_id"])], (name, line(row)))
            if first != line(row):
                side = "same" if split == name else "other"
                repeated.append(f"line {line(row)} repeats line {first} of the {side} split")
    if repeated:
        # A text on both sides is the graver case: name one of those first.
        worst = min(repeated, key=lambda message: "other split" not in message)
        warnings.warn(f"{path}: {len(repeated)} repeated texts: {worst}", stacklevel=4)
    if not classes:
        return
    train, dev = ({row["label"] for row in splits[name]} for name in ("train", "dev"))
    if len(train) < 2:
        raise TaskError(
            f"{path}: column {column!r} has one class, {classes[min(train)]!r}, in training"
        )
    for row in splits["dev"]:
        if row["label"] not in train:
            raise TaskError(
                f"{path}: column {column!r} is {classes[row['label']]!r} in line {line(row)} of "
                "the dev split, never seen in training"
            )
    if len(dev) < 2:
        warnings.warn(
            f"{path}: the dev split has one class; every run will count as failed", stacklevel=4
        )
