"""Opening files that others wrote: any of the common formats, as a table or as named arrays.

CSV with commas, semicolons, tabs or bars, in UTF-8, UTF-16 or Windows-1252, with a header or none;
Parquet, JSON, JSON lines, Excel, .npy and .npz; compressed (.gz, .bz2, .xz); logs of
lm-evaluation-harness and inspect_ai (``lib.report.harness``). Pickles are never opened. What was
guessed is noted.
"""

import bz2
import csv
import gzip
import io
import json
import lzma
import re
import tomllib
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from lib.data.own_file import decoded
from lib.errors import nearest
from lib.report import harness

#: Names of columns and arrays by role.
NAMES: dict[str, list[str]] = tomllib.loads(
    Path(__file__).with_name("columns.toml").read_text(encoding="utf-8")
)
#: What a file may end in, after .gz, .bz2 or .xz.
SUFFIXES = (
    ".csv", ".tsv", ".txt", ".parquet", ".feather", ".json", ".jsonl", ".ndjson", ".xlsx", ".npy",
    ".npz", ".eval",
)  # fmt: skip
_COMPRESSED = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
#: What to do with files that are not read.
_REMEDIES = {
    **dict.fromkeys((".zip", ".tar", ".tgz"), "unpack it, and give the folder"),
    **dict.fromkeys(
        (".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib"),
        "it may be a pickle, which can run any code: load it where it was made, and save arrays by "
        "np.savez, or a table",
    ),
}


#: A list of numbers, as Python or numpy prints it.
_LIST = re.compile(r"\[\s*[-+]?[\d.][-+\d.eE]*([\s,]+[-+]?[\d.][-+\d.eE]*)+\s*\]")


class OutsideError(ValueError):
    """Runs cannot be read; the message names file, run and row, and says what to do."""


@dataclass
class Content:
    """What a file holds: a table, whose columns are numbered where it has no header, or arrays by
    name; and notes on what was guessed.
    """

    path: Path
    table: pd.DataFrame | None = None
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    header: bool = True
    notes: list[str] = field(default_factory=list)


def plain(name: str) -> str:
    """A name as columns.toml has it."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.exists():
        beside = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = nearest(path.name, beside)
        hint = hint if hint.startswith("did you mean") else "check the path"
        raise OutsideError(f"{path}: no such file or folder; {hint}")
    return path


def suffix_of(path: Path) -> str:
    """The suffix that says what a file is, without that of a compression."""
    suffix = Path(path.stem).suffix if path.suffix in _COMPRESSED else path.suffix
    return suffix.lower()


def remedy(path: Path) -> str:
    """What to do with a file that is not read."""
    formats = f"give one of {', '.join(SUFFIXES)}, or a folder of such files or of run folders"
    return _REMEDIES.get(suffix_of(path), formats)


def open_file(path: Path) -> Content:
    """The content of a file; ``OutsideError`` where it cannot be read."""
    if (suffix := suffix_of(path)) not in SUFFIXES:
        raise OutsideError(f"{path}: files that end in {suffix!r} cannot be read; {remedy(path)}")
    try:
        with _COMPRESSED.get(path.suffix, open)(path, "rb") as stream:
            content = _opened(path, suffix, stream.read())
    except OutsideError:
        raise
    except Exception as error:  # whatever a parser raises on a damaged file
        what = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
        rows = "with a header and the same number of columns in every row"
        if "json" in suffix or suffix == ".eval":
            rows = "as a list of records, or columns by name"
        raise OutsideError(
            f"{path}: cannot be read as {suffix} ({what}); write it again, {rows}"
        ) from error
    if (table := content.table) is not None:
        table.columns = [str(name).strip() for name in table]
        if len(again := table.columns[table.columns.duplicated()]):
            why = "give each its own name, or a header, if the first row is none"
            raise OutsideError(f"{path}: column {again[0]!r} occurs twice; {why}")
        if table.empty:
            raise OutsideError(f"{path}: there are no rows below the header; write one per example")
    return content


def _opened(path: Path, suffix: str, raw: bytes) -> Content:
    if suffix in (".npz", ".npy"):
        return Content(path, arrays=_arrays(path, raw))
    if suffix == ".parquet":
        table = pd.read_parquet(io.BytesIO(raw))
        return Content(path, table.reset_index(drop=not any(table.index.names)))
    if suffix == ".feather":
        return Content(path, pd.read_feather(io.BytesIO(raw)))
    if suffix == ".xlsx":
        try:
            sheets = pd.read_excel(io.BytesIO(raw), None, dtype=object)
        except ImportError as error:
            why = "Excel files need the package openpyxl: pip install openpyxl, or save as CSV"
            raise OutsideError(f"{path}: {why}") from error
        if len(sheets) > 1:
            why = f"has several sheets ({', '.join(sheets)}); save the one that is meant as CSV"
            raise OutsideError(f"{path}: {why}")
        return Content(path, *sheets.values())
    if suffix == ".eval":
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            return Content(path, harness.inspect_archive(archive))
    text, note = decoded(raw)
    notes = [f"{note[0].upper()}{note[1:]}."] if note else []
    if suffix in (".json", ".jsonl", ".ndjson"):
        # Some call JSON lines .json: there is an object on each line.
        lines = suffix != ".json" or bool(re.match(r"\s*\{[^\n]*\}[^\S\n]*\n\s*\{", text))
        parts = text.splitlines() if lines else [text]
        parsed = [json.loads(part) for part in parts if part.strip()]
        return Content(path, harness.table_of(parsed if lines else parsed[0]), notes=notes)
    return _text_table(path, suffix, text, notes)


def _arrays(path: Path, raw: bytes) -> dict[str, np.ndarray]:
    """Arrays by name; that of a .npy has the name of its file."""
    if not raw:
        raise OutsideError(f"{path}: is empty; save it again")
    name, arrays = path.stem, {}
    try:
        loaded = np.load(io.BytesIO(raw), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {path.stem: loaded}
        for name in loaded.files:
            arrays[name] = loaded[name]
    except Exception as error:
        why = f"no archive of np.savez or array of np.save, or damaged ({type(error).__name__})"
        if "Object arrays" in str(error) or "pickle" in str(error):
            why = (
                f"array {name!r} holds Python objects (None, a tuple, or rows of unequal length) "
                "and would have to be unpickled, which can run any code; save numbers or text, or "
                "leave it out"
            )
        raise OutsideError(f"{path}: {why}; pickles are not opened") from error
    if not arrays:
        raise OutsideError(
            f"{path}: holds no array. If trainer.predict gave a tuple (output_hidden_states), save "
            "its parts by name: predictions=out.predictions[0], label_ids=out.label_ids"
        )
    return arrays


def _text_table(path: Path, suffix: str, text: str, notes: list[str]) -> Content:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise OutsideError(f"{path}: is empty; write a header, and a row for each example")
    comments = next((i for i, line in enumerate(lines) if not line.startswith("# ")), 0)
    if comments:
        notes = [*notes, f"Its first {comments} lines are comments, and were passed over."]
        lines, text = lines[comments:], text[text.index(lines[comments]) :]
    rows = _rows(lines, text, words=suffix == ".txt")
    if all(row[-1:] == [""] for row in rows) and len(rows[0]) > 2:
        rows = [row[:-1] for row in rows]  # lines that end in the mark
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            what = f"row {number} has {len(row)} cells, the first {len(rows[0])}"
            free = "; of free text, a JSON list of answers" if suffix == ".txt" else ""
            why = f"write the same number of columns in every row{free}"
            raise OutsideError(f"{path}: {what}; {why}")
    table = pd.DataFrame([[cell.strip() for cell in row] for row in rows], dtype=str)
    for column in [column for column in table if "," in table[column].iloc[-1]]:
        cells = table[column].iloc[1:]
        if len(cells) and cells.str.fullmatch(r"-?\d+,\d+").all():
            table[column] = [table[column].iloc[0], *cells.str.replace(",", ".")]
            notes = [*notes, "Decimal commas were read as points."]
    content = Content(path, notes=list(dict.fromkeys(notes)))
    if _has_header(table, lines_of_answers=suffix == ".txt" and "\t" not in lines[0]):
        table = table.iloc[1:].set_axis(list(table.iloc[0]), axis=1).reset_index(drop=True)
    else:
        content.header = False
        content.notes.append("Its first line is no header.")
    for column in table if table.columns.is_unique and len(table) else ():
        if table[column].iloc[0].startswith("[") and table[column].str.fullmatch(_LIST).all():
            parts = (re.split(r"[\s,]+", cell.strip("[] ")) for cell in table[column])
            table[column] = [[float(part) for part in cell] for cell in parts]
    content.table = table
    return content


def _rows(lines: Sequence[str], text: str, *, words: bool) -> list[list[str]]:
    """Cells of each row, by the mark that splits the first lines alike; with ``words``, by white
    space, if nothing else does.
    """
    for mark in "\t;,|":
        sizes = {len(row) for row in _cells(lines[:50], mark)}
        if len(sizes) == 1 and 1 not in sizes:
            return _cells(io.StringIO(text), mark)
    if "," in lines[0]:  # ragged: the usual one, so that the message names the row
        return _cells(io.StringIO(text), ",")
    rows = [line.split() for line in lines]
    if words and len(rows[0]) > 1 and len({len(row) for row in rows}) == 1:
        return rows
    return [[line.strip().strip('"')] for line in lines]


def _cells(lines: Iterable[str], mark: str) -> list[list[str]]:
    quoting = csv.QUOTE_NONE if mark == "\t" else csv.QUOTE_MINIMAL  # GLUE has lone quotes
    rows = csv.reader(lines, delimiter=mark, skipinitialspace=True, quoting=quoting)
    return [row for row in rows if row]


def _has_header(table: pd.DataFrame, *, lines_of_answers: bool) -> bool:
    """Whether the first row is names: no numbers, and no values that stand below as well, in the
    same columns, or, of lines of answers, in any.
    """
    first, below = table.iloc[0], table.iloc[1:]
    if list(first) in ([str(i + k) for i in range(len(first))] for k in (0, 1)):
        return len(first) > 1 and len(below) > 0
    if pd.to_numeric(first.replace("", "nan"), errors="coerce").notna().all():
        return False
    if not len(below):
        return True
    if lines_of_answers:
        again = set(first) & set(below.to_numpy().ravel())
        # One answer of many may be the only such one.
        named = len(first) > 1 or plain(first[0]) in NAMES["label"] + NAMES["prediction"]
        return named and not again
    return not all(first[column] in set(below[column]) for column in table)


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


def natural(name: str) -> tuple:
    """A sort key by which seed2 comes before seed10."""
    return [int(p) if i % 2 else p for i, p in enumerate(re.split(r"(\d+)", name))], name


def show(value: object) -> str:
    """A value or some of them, for a message; whole numbers without a point."""
    value = np.asarray(value)
    if value.dtype.kind == "f" and np.isfinite(value).all() and (value % 1 == 0).all():
        value = value.astype(np.int64)
    return np.array2string(value, precision=4, separator=", ", threshold=8)
