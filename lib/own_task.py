"""A task from a table of your own: CSV or Parquet, checked row by row before any training."""

import warnings
from pathlib import Path

from lib.errors import TaskError, nearest
from lib.rows import Splits, grouped_split, make_row


def read(path: Path, text_columns: list[str], label_column: str) -> Splits:
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
        make_row(i, text[0], text[1] if text[1:] else "", label)
        for i, (text, label) in enumerate(zip(texts.values.tolist(), labels.tolist(), strict=True))
    ]
    splits = grouped_split(rows, key)
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
