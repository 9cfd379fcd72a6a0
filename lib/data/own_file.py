"""A task from a table of your own, checked row by row before any training."""

import csv
import io
import json
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from lib.data.rows import Splits, grouped_split, make_row, split_by, text_key
from lib.errors import TaskError, nearest

if TYPE_CHECKING:
    import pandas as pd

#: What the name of such a table ends in.
SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
#: What a column ``split`` may say, and which of our splits that is.
SIDES = dict.fromkeys(("dev", "validation", "valid", "val", "eval"), "dev")
SIDES |= {"train": "train", "test": "test"}
#: Labels that often stand for one that is not told.
HIDDEN = {"-1", "-1.0", "-100", "-100.0"}


def read(path: Path, text_columns: list[str], label_column: str) -> tuple[Splits, tuple[str, ...]]:
    """A user's table as splits, and the names of its classes (none: regression).

    A column ``split`` is respected (``SIDES``; rows of ``test`` are left out); else rows with the
    same text stay together in a fixed 80/20 split. Labels may be text, integers or booleans
    (classes, numbered in sorted order), or floats that are not all whole (regression). Bad rows are
    named by line, and so are labels that may not be what they seem.
    """
    import pandas as pd

    if len(text_columns) not in (1, 2) or len(set(text_columns)) < len(text_columns):
        raise TaskError(f"text_columns = {text_columns}: give one column, or two for pairs")
    table = _table(path, [*text_columns, label_column])
    labels, texts = table[label_column], table[text_columns].values.tolist()
    regression = labels.dtype.kind == "f" and bool((labels % 1).any())
    classes = [] if regression else sorted(labels.unique().tolist())
    number = {label: i for i, label in enumerate(classes)}
    rows = [
        make_row(i, text[0], "".join(text[1:]), number.get(label, label))
        for i, text, label in zip(table.index, texts, labels.tolist(), strict=True)
    ]
    keys = pd.Series(map("\x1f".join, texts), table.index)
    splits = split_by(rows, table["split"]) if "split" in table else grouped_split(rows, [*keys])
    for name, part in splits.items():
        if not part:
            what = f"no rows in the {name} split; call some {name!r} in a column 'split'"
            raise TaskError(f"{path}: {what}")
    ids = [row["example_id"] for row in splits["dev"]]
    dev = pd.Series(keys.index.astype(str).isin(ids), keys.index)
    _check_texts(path, keys, dev)
    _check_labels(path, labels, dev, regression=not classes)
    return splits, tuple(map(str, classes))


def decoded(raw: bytes) -> tuple[str, str]:
    """The text of a file, and a note where it is in none of UTF-8 and UTF-16."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16"), ""
    try:
        return raw.decode("utf-8-sig"), ""
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        why = f"line {line} is no UTF-8: read as Windows-1252; if that is wrong, save it as UTF-8"
        return raw.decode("cp1252"), why


def _content(path: Path, columns: list[str]) -> "pd.DataFrame":
    """The table of a file; its separator is the one that finds most of the wanted columns."""
    import pandas as pd

    if path.suffix.lower() == ".parquet":
        return pd.read_parquet(path)
    text, note = decoded(path.read_bytes())
    if note:
        warnings.warn(f"{path}: {note}", stacklevel=5)
    if path.suffix.lower() == ".jsonl":
        return pd.DataFrame(json.loads("[" + ",\n".join(text.rstrip().split("\n")) + "]"))
    header = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]
    names = {mark: next(csv.reader([header], delimiter=mark), []) for mark in ",\t;|"}
    mark = max(names, key=lambda mark: (len({*columns} & {*names[mark]}), len(names[mark])))
    # Between tabs, quotes are ordinary characters, which nothing need close.
    quoting = csv.QUOTE_NONE if mark == "\t" else csv.QUOTE_MINIMAL
    how = {"sep": mark, "quoting": quoting, "keep_default_na": False, "na_values": [""]}
    table = pd.read_csv(io.StringIO(text), **how)
    if not isinstance(table.index, pd.RangeIndex):
        what = f"line 2 has more cells than the header; the first is left out, unless {mark!r} in "
        warnings.warn(f"{path}: {what}texts is put in quotes", stacklevel=5)
    return table


def _table(path: Path, columns: list[str]) -> "pd.DataFrame":
    """The file with the named columns there and filled; texts stripped, rows numbered from 0,
    ``split`` train or dev.
    """
    import pandas as pd

    try:
        table = _content(path, columns).reset_index(drop=True)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise TaskError(
            f"{path} cannot be read: {reason}; save it again, in UTF-8, with a header and as many "
            "cells in each line"
        ) from error
    for column in columns:
        if column not in table:
            what = f"no column {column!r}: {nearest(column, table.columns)}"
            raise TaskError(
                f"{path}: {what} Name it so in a header, or say text_columns, label_column"
            )
    if "split" in table:
        table["split"] = _sides(path, table["split"])
        table = table[table["split"] != "test"].copy()
    if table.empty:
        raise TaskError(f"{path}: there are no rows")
    for column in columns:
        is_text = column != columns[-1] or not pd.api.types.is_numeric_dtype(table[column])
        if is_text and not pd.api.types.is_bool_dtype(table[column]):
            missing = table[column].isna()
            table[column] = table[column].astype(str).str.strip().mask(missing, "")
        values = table[column].astype(str)
        if (bad := table[column].isna() | values.isin([""] if is_text else ["inf", "-inf"])).any():
            raise TaskError(f"{_cell(path, table[column], bad)}; fill it in, or leave the row out")
    return table


def _sides(path: Path, split: "pd.Series") -> "pd.Series":
    """``train`` or ``dev`` for each row, or ``test`` for one that is not to be read."""
    sides = split.astype(str).str.strip().str.lower().map(SIDES)
    if (unknown := sides.isna()).any():
        raise TaskError(f"{_cell(path, split, unknown)}; valid: {', '.join(SIDES)}")
    if (test := sides == "test").any():
        warnings.warn(f"{_cell(path, split, test)}: such rows are left out", stacklevel=5)
    return sides


def _line(path: Path, row: int) -> str:
    """Where a row is; a header is line 1."""
    return f"line {row + 1 + (path.suffix.lower() in ('.csv', '.tsv'))}"


def _cell(path: Path, column: "pd.Series", bad: "pd.Series") -> str:
    """The first of the bad cells of a column, in words."""
    row, others = bad.idxmax(), int(bad.sum()) - 1
    value = repr(str(column[row])) if column.notna()[row] and column[row] != "" else "empty"
    what = f"{path}: column {column.name!r} is {value} in {_line(path, row)}"
    return what + (f" and {others} more" if others else "")


def _check_labels(path: Path, labels: "pd.Series", dev: "pd.Series", *, regression: bool) -> None:
    """Refuse labels that teach nothing, and warn of those that may not be what they seem."""
    names = labels.astype(str)
    told = {*names} - HIDDEN
    coded = told in ({"1"}, {"1.0"}) or any(name.startswith("-") for name in told)
    first = names.groupby(names.map(text_key)).transform("first")
    beside = first[(names != first).idxmax()]
    doubts = {
        "for a label that is not told? Then leave such rows out": names.isin(HIDDEN) & (not coded),
        f"a class beside {beside!r}; if they are the same, write them alike": names != first,
        "a list is a class of its own; there is one label a row": names.str.startswith("["),
    }
    for what, rows in doubts.items():
        if rows.any():
            warnings.warn(f"{_cell(path, labels, rows)}: {what}", stacklevel=4)
    if regression:
        return
    train = names[~dev]
    if train.nunique() < 2:
        what = f"has one class, {train.iloc[0]!r}, in training; add rows of another"
        raise TaskError(f"{path}: column {labels.name!r} {what}")
    if (unseen := dev & ~names.isin(train)).any():
        what = "of the dev split, never seen in training; leave such rows out, or train on some"
        raise TaskError(f"{_cell(path, labels, unseen)} {what}")
    if names[dev].nunique() < 2:
        what = "the dev split has one class; every run will count as failed"
        warnings.warn(f"{path}: {what}", stacklevel=4)


def _check_texts(path: Path, keys: "pd.Series", dev: "pd.Series") -> None:
    """Warn of texts that repeat; above all those of training that the dev split has as well."""
    order = [*keys.index[dev][::-1], *keys.index[~dev][::-1]]
    first = keys.map({keys[row]: row for row in order})
    again = first.ne(keys.index)
    across = again & dev & ~dev[first].to_numpy()
    if again.any():
        side, row = ("other", across.idxmax()) if across.any() else ("same", again.idxmax())
        what = f"{_line(path, row)} repeats {_line(path, first[row])} of the {side} split"
        warnings.warn(f"{path}: {again.sum()} repeated texts: {what}", stacklevel=4)
