"""Opening files that others wrote: what is wrong is said with file, row and remedy."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lib.errors import nearest


class OutsideError(ValueError):
    """Runs cannot be read; the message names file, run and row, and says what to do."""


def existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.exists():
        beside = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = nearest(path.name, beside)
        hint = hint if hint.startswith("did you mean") else "check the path"
        raise OutsideError(f"{path}: no such file or folder; {hint}")
    return path


def read_table(path: Path) -> pd.DataFrame:
    """A .csv, or a .txt with tabs, all as text; or a .parquet as stored."""
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
            table = table.reset_index(drop=not any(table.index.names))
            header = [str(name).strip() for name in table]
        else:
            tabs = {"sep": "\t", "quoting": csv.QUOTE_NONE} if path.suffix == ".txt" else {}
            table = pd.read_csv(
                path, header=None, dtype=str, keep_default_na=False, encoding="utf-8-sig", **tabs
            )
            table = pd.DataFrame(texts(table.to_numpy(object)))
            header, table = list(table.iloc[0]), table.iloc[1:].reset_index(drop=True)
        if "label" not in header:  # MNLI, SNLI and HANS call it so
            header = ["label" if name == "gold_label" else name for name in header]
    except Exception as error:
        raise OutsideError(
            f"{path}: cannot be read as a table ({type(error).__name__}: {str(error).strip()}); "
            "write it again, with a header and the same number of columns in every row"
        ) from error
    if repeated := [name for name, count in Counter(header).items() if count > 1]:
        raise OutsideError(f"{path}: column {repeated[0]!r} occurs twice; give each its own name")
    if len(header) == 1 and re.search(r"[;\t|]", header[0]):
        raise OutsideError(f"{path}: one column only, {header[0]!r}; put commas between columns")
    if table.empty:
        raise OutsideError(f"{path}: there are no rows below the header; write one per example")
    table.columns = header
    return table


def read_answers(path: Path) -> pd.DataFrame:
    """A .txt without a header, a line an example and in it the answers of all runs, with commas or
    white space between them: as a wide table, runs and examples numbered from 0.
    """
    try:
        lines = path.read_text("utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise OutsideError(f"{path}: is no text in UTF-8 ({error}); save it as such") from error
    mark = "," if any("," in line for line in lines) else None
    rows = [[word.strip() for word in line.strip().rstrip(",").split(mark)] for line in lines]
    first = next(iter(rows), [])
    for number, row in enumerate(rows, 1):
        if len(row) != len(first) or "" in row:
            n = len(row) - row.count("")
            what = f"{n} answers in {len(row)} places, line 1 has {len(first)}"
            raise OutsideError(f"{path}: line {number}: {what}; write one of each run in each line")
    others = {word for row in rows[1:] for word in row}
    if first and np.isnan(numbers_in(first)).all() and not others.intersection(first):
        what = f"line 1: {show(first)} are in no other line"
        raise OutsideError(f"{path}: {what}; leave out a header, or save a table with one as .csv")
    table = pd.DataFrame(rows, columns=[f"run{i}" for i in range(len(first))])
    return table.assign(example=range(len(rows)))


def read_arrays(path: Path, one_of: Sequence[str], others: Sequence[str]) -> dict[str, np.ndarray]:
    """The named arrays of an .npz, of which one of ``one_of`` must be there."""
    arrays, name = {}, ""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            in_archive = archive.files
            for name in [name for name in (*one_of, *others) if name in in_archive]:
                arrays[name] = archive[name]
    except Exception as error:
        why = (
            f"no archive of np.savez, or damaged ({type(error).__name__}); pickles are not opened: "
            "write it again with np.savez"
        )
        if "Object arrays" in str(error):
            why = (
                f"array {name!r} holds Python objects (None, a tuple, or rows of unequal length) "
                "and would have to be unpickled, which can run any code; save numbers or text, or "
                "leave it out"
            )
        raise OutsideError(f"{path}: {why}") from error
    if not set(one_of) & set(arrays):
        wanted = " or ".join(one_of)
        raise OutsideError(
            f"{path}: has arrays {', '.join(in_archive) or '(none)'}; "
            f"save one that is called {wanted}"
        )
    return arrays


def check_shape(file: Path, name: str, array: np.ndarray | None, *shape: int | str) -> None:
    """Refuse another shape than the one given, in which letters stand for any length."""
    if array is None:
        return
    pairs = zip(array.shape, shape, strict=False)
    if array.ndim != len(shape) or any(n != m and isinstance(m, int) for n, m in pairs):
        wanted = f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"
        raise OutsideError(
            f"{file}: {name} has shape {array.shape}, expected {wanted}; "
            "save it again in that shape, for the same runs and examples"
        )


def ids_of(where: object, values: np.ndarray | pd.Series | None, n: int) -> list[str]:
    """N example ids, distinct and not empty; by default the numbers from 1."""
    if values is None:
        return [str(i + 1) for i in range(n)]
    ids = pd.Series(texts(values), getattr(values, "index", None))
    check_shape(where, "examples", ids, n)
    if (empty := ids == "").any():
        raise OutsideError(f"{where}: row {empty.idxmax() + 1} has no example id; fill it in")
    if (again := ids.duplicated()).any():
        rows = ", ".join(str(row + 1) for row in ids.index[ids == ids[again.idxmax()]])
        what = f"example {ids[again.idxmax()]!r} is in rows {rows}"
        raise OutsideError(f"{where}: {what}; keep one row a run and example")
    return list(ids)


def natural(name: str) -> tuple:
    """A sort key by which seed2 comes before seed10."""
    return [int(p) if i % 2 else p for i, p in enumerate(re.split(r"(\d+)", name))], name


def texts(values: object) -> np.ndarray:
    """Objects of any shape as stripped text; whole floats without a point, missing ones empty."""

    def text(value: object) -> str:
        whole = isinstance(value, float | np.floating) and float(value).is_integer()
        return str(int(value) if whole else value).strip()

    values = np.asarray(values, object)
    pairs = zip(values.flat, pd.isna(values).flat, strict=True)
    return np.array(["" if gone else text(v) for v, gone in pairs], object).reshape(values.shape)


def is_missing(values: np.ndarray) -> np.ndarray:
    return np.isin(texts(values).astype(str), ["", "nan", "NaN"])


def numbers_in(values: object) -> np.ndarray:
    """float64 of the same shape; NaN where a value is no number."""
    values = np.asarray(values)
    if values.dtype.kind in "iuf":
        return values.astype(np.float64)

    def number(value: object) -> float:
        try:
            return np.nan if isinstance(value, bool) or "_" in str(value) else float(value)
        except (TypeError, ValueError):
            return np.nan

    return np.array([number(value) for value in values.flat]).reshape(values.shape)


def fractions(numbers: np.ndarray) -> np.ndarray:
    return np.isfinite(numbers) & (np.floor(numbers) != numbers)


def show(value: object) -> str:
    return np.array2string(np.asarray(value), precision=4, separator=", ", threshold=8)
