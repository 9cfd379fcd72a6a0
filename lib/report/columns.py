"""Which column of a table is what: runs, examples, gold labels, predictions, scores.

A white list. A column is taken for something because it has a name that people give to it, because
it shares a stem with others and differs in a number (``seed0, seed1, …``), or because the user says
so; whatever else there is is ignored, and said to be.
"""

import fnmatch
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from lib.errors import nearest
from lib.report.opening import NAMES, Content, OutsideError, plain

#: The two classes where only correctness is known.
RIGHT, WRONG = "right", "wrong"
_SEEDY = re.compile(r"seed|run|trial|pred|rep|model")


class Options(NamedTuple):
    """What the user says about columns; nothing: it is found out."""

    runs: str = ""
    run: str = ""
    repeat: str = ""
    example: str = ""
    label: str = ""
    prediction: str = ""
    metric: str = ""
    only: tuple[str, ...] = ()


@dataclass
class StoredRuns:
    """A run as stored: neither checked nor numbered yet.

    values (N,) or (N, C), kind what they are, ids (N,) or None where rows have none, gold (N,),
    states (L, N, D), classes the names of the columns of values
    """

    values: np.ndarray
    kind: str = "predictions"
    ids: np.ndarray | None = None
    gold: np.ndarray | None = None
    states: np.ndarray | None = None
    classes: Sequence[str] = ()


@dataclass
class Taken:
    """What was taken for what: names of runs, the source of labels, and what was ignored; of runs
    that are evaluations of one trained run, its name in ``repeats``.
    """

    runs: list[str] = field(default_factory=list)
    labels: str | None = None
    predictions: str = ""
    ignored: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    repeats: dict[str, str] = field(default_factory=dict)


#: Runs by name; or scores alone: a row a run, a column a metric, NaN where a run has none.
Found = dict[str, StoredRuns] | pd.DataFrame
#: Kind, columns and class names of what a run says on each row.
Said = tuple[str, list[str], list[str]]


@dataclass
class Sheet:
    """A table, what the user says about its columns, and what was taken for what."""

    path: Path
    table: pd.DataFrame
    options: Options
    taken: Taken = field(default_factory=Taken)

    def find(self, role: str, used: Sequence[str | None] = ()) -> str | None:
        """The column, of those not used, that the user names, or the first that has one of the
        names of its role.
        """
        rest = [column for column in self.table if column not in used]
        if wish := getattr(self.options, role):
            if wish not in rest:
                raise self.error(f"no column {wish!r} for --{role}: {nearest(wish, rest)}")
            return wish
        by_name = {plain(column): column for column in reversed(rest)}
        return next((by_name[name] for name in NAMES[role] if name in by_name), None)

    def error(self, why: str) -> OutsideError:
        return OutsideError(f"{self.path}: {why}")


def runs_in(content: Content, options: Options) -> tuple[Found, Taken]:
    """The runs of a table by name; one that nothing names is called ''."""
    sheet = Sheet(content.path, content.table, options, Taken(notes=list(content.notes)))
    sheet.table = _only(sheet)
    return _runs(sheet) if content.header else _without_header(sheet), sheet.taken


def _runs(sheet: Sheet) -> Found:
    run = sheet.find("run")
    names = sheet.table[run] if run else pd.Series(dtype=object)
    summary = names.map(lambda name: plain(str(name))).isin(NAMES["summary"])
    if summary.any():
        called = ", ".join(map(str, names[summary].unique()))
        sheet.taken.notes.append(f"Rows that are called {called} are no runs, and were left out.")
        sheet.table = sheet.table[~summary].reset_index(drop=True)
    said = _said(sheet)
    by_columns = bool(sheet.options.runs)
    if run and not said and not by_columns and _turned(sheet, run):
        run = None
    if by_columns or (not (run and said) and _stems(sheet.table)):
        return _wide(sheet)
    if said and run and sheet.table[run].nunique() < len(sheet.table):
        return _long(sheet, run, said)
    # Right and wrong without examples: a metric of each run.
    if said and (said[0] != "correct" or ids_of(replace(sheet, taken=Taken()))[1] is not None):
        return {"": _one(sheet, said)}
    return _scores(sheet, run)


def _turned(sheet: Sheet, run: str) -> bool:
    """Turn a table of a row a run and a column an example into one of a column a run, if it is."""
    table, stems = sheet.table, _stems(sheet.table.drop(columns=run))
    columns = max(stems.values(), key=len, default=[])
    if (
        len(columns) < 2
        or any(_SEEDY.search(stem.lower()) for stem in stems)
        or sheet.find("label", [run])
        or len(table) < 2
        or sheet.options.metric in table
        or not table[run].is_unique
    ):
        return False
    numbers = table[columns].apply(pd.to_numeric, errors="coerce")
    if (numbers % 1 > 0).any(axis=None):
        raise sheet.error(
            f"column {run!r} names a run a row, so {columns[0]}, {columns[1]}, … are no runs: if "
            f"they are scores, say --metric {columns[0]}; of predictions, write a row an example "
            "and a column a run"
        )
    sheet.taken.notes.append(
        f"A row is a run ({run}): {columns[0]} … {columns[-1]} are the examples."
    )
    runs = table[columns].set_axis(texts(table[run]).to_list())
    sheet.table = runs.T.reset_index(names="example")
    return True


def _only(sheet: Sheet) -> pd.DataFrame:
    """The rows that are asked for; a column that tells settings apart must have one value."""
    table, options = sheet.table, sheet.options
    for wish in options.only:
        column, _, value = wish.partition("=")
        if column not in table:
            if column == "filter":
                continue
            raise sheet.error(f"no column {column!r}: {nearest(column, table)}")
        table = table[texts(table[column]) == value]
        if table.empty:
            there = ", ".join(map(str, sheet.table[column].unique()[:5]))
            raise sheet.error(f"no row has {column} {value!r}; there are {there}")
    table = table.reset_index(drop=True)
    for column in table.columns.difference([options.run, options.repeat], sort=False):
        if plain(column) not in NAMES["setting"] or table[column].nunique() < 2:
            continue
        each, run = texts(table[column]).unique(), sheet.find("run")
        of_run = run and table.groupby(run)[column].nunique().max() == 1
        # Each run may have stopped at a time of its own.
        stopped = plain(column) in ("epoch", "step", "global_step", "iteration") and of_run
        if len(each) < len(table) and not stopped:
            there = ", ".join(each[:4]) + ", …" * (len(each) > 4)
            raise sheet.error(
                f"column {column!r} has {len(each)} values ({there}), and runs of different "
                f"settings are not mixed: choose one by --only {column}={each[0]}, or, if these "
                f"are the runs, --run {column}; if each run was evaluated again, --repeat {column}"
            )
    return table


def _said(sheet: Sheet) -> Said | None:
    """What a run says on each row: by options, by the names of columns, or by what is in them."""
    table, metric = sheet.table, sheet.options.metric
    if sheet.options.prediction:
        return "predictions", [sheet.find("prediction")], []
    if metric in table and _is_right(table[metric]) is not None:
        return "correct", [metric], []
    names = {column: plain(column) for column in table}
    for kind, stems in (("logits", "logits?"), ("probabilities", "probs?|probas?|probability")):
        several = {c: m[2] for c, n in names.items() if (m := re.fullmatch(rf"({stems})_(.+)", n))}
        if len(several) > 1:
            if not all(part.isdigit() for part in several.values()):
                classes = {c.split("_", 1)[1]: c for c in several}
                return kind, [classes[name] for name in sorted(classes)], sorted(classes)
            order = sorted(several, key=lambda c: int(several[c]))
            for i, column in enumerate(order):
                if int(several[column]) != i:
                    what = f"column '{order[0].rsplit('_', 1)[0]}_{i}' is not there, but "
                    what += f"{order[-1]!r} is; give one for each class from 0"
                    raise sheet.error(what)
            return kind, order, [several[c] for c in order]
        lists = [c for c, n in names.items() if re.fullmatch(f"{stems}|probabilities", n)
                 and kind.startswith(n[:4]) and _is_list(table[c])]  # fmt: skip
        if lists:
            return kind, lists[:1], []
    column, gold = sheet.find("prediction"), sheet.find("label")
    if gold and (named := _called_as_classes(table, gold)):
        return "probabilities", *named
    if column and not (column == gold and plain(column) == "answer" and _stems(table)):
        return "predictions", [column], []
    scored = [c for c in table if plain(c) in NAMES["correct"] or plain(c).startswith("score_")]
    scored = [c for c in scored if _is_right(table[c]) is not None]
    return ("correct", scored[:1], []) if scored else None


def _called_as_classes(table: pd.DataFrame, gold: str) -> tuple[list[str], list[str]] | None:
    """Columns of probabilities that are called as the classes are, with p_ before it or not, and
    the classes; of two classes one column will do, which is that of the second then.
    """
    classes = {plain(name): name for name in sorted(set(texts(table[gold])) - {""})}
    prefix = re.compile("(p|probs?|probas?|probability)_")
    named = {c: next((n for n in (plain(c), prefix.sub("", plain(c), 1)) if n in classes), None)
             for c in table if c != gold}  # fmt: skip
    numbers = table[[c for c, name in named.items() if name]].apply(pd.to_numeric, errors="coerce")
    found = {named[c]: c for c in reversed(list(numbers.dropna(axis=1)))}
    columns, names = [found[n] for n in classes if n in found], list(classes.values())
    whole = len(names) == len(columns) > 1
    if whole and (abs(numbers[columns].sum(axis=1) - 1) < 0.1).all():
        return columns, names
    if len(names) == 2 and len(columns) == 1 and prefix.match(plain(columns[0])):
        return columns, names if list(classes)[1] in found else names[::-1]
    return None


def _is_list(column: pd.Series) -> bool:
    return column.dtype == object and isinstance(column.iloc[0], list | tuple | np.ndarray)


def _is_right(column: pd.Series) -> np.ndarray | None:
    """Whether each answer is right; None where a column holds anything else."""
    words = {"c": True, "i": False, "true": True, "false": False, "correct": True,
             "incorrect": False, "1": True, "0": False, "n": False}  # fmt: skip
    right = texts(column).str.lower().map(words)
    return None if right.isna().any() else right.to_numpy(bool)


def _stems(table: pd.DataFrame) -> dict[str, list[str]]:
    """Columns that differ in a number alone, two or more, by what they share."""
    names = pd.Series(list(table), dtype=object)
    groups = names.groupby(names.str.replace(r"\d+", "#", regex=True), sort=False).agg(list)
    return {
        stem: columns for stem, columns in groups.items()
        if len(columns) > 1 and plain(stem.replace("#", "")) not in NAMES["numbered"]
    }  # fmt: skip


def _wide(sheet: Sheet) -> Found:
    """A row an example, a column a run."""
    table, taken, columns = sheet.table, sheet.taken, _run_columns(sheet)
    rest = table.drop(columns=columns)
    tasks = [c for c in rest if plain(c) in ("task", "dataset", "metric") and rest[c].is_unique]
    if tasks:  # a row a task, and scores of it
        scores = table[columns].apply(pd.to_numeric, errors="coerce")
        if scores.notna().all(axis=None):
            return scores.astype(float).set_axis(rest[tasks[0]].map(str)).T
    gold = sheet.find("label", columns)
    id_column, ids = ids_of(sheet, [gold, *columns])
    ids = numbered(len(table)) if ids is None else ids
    labels = None if gold is None else cleaned(rest[gold])
    taken.labels, taken.predictions = gold, f"columns {columns[0]} … {columns[-1]}"
    taken.ignored = [c for c in rest if c not in (gold, id_column)]
    values = {column: cleaned(table[column]) for column in columns}
    kind = "logits" if next(iter(values.values())).ndim == 2 else "predictions"
    return {name: StoredRuns(each, kind, ids, labels) for name, each in values.items()}


def _run_columns(sheet: Sheet) -> list[str]:
    table, asked = sheet.table, sheet.options.runs
    if asked:
        wishes = [wish.strip() for wish in asked.split(",")]
        chosen = [c for c in table if any(fnmatch.fnmatchcase(c, wish) for wish in wishes)]
        if len(chosen) < 2:
            what = f"--runs {asked} fits {len(chosen)} of the columns {', '.join(map(str, table))}"
            raise sheet.error(f"{what}; give a pattern such as 'seed*', or names")
        return chosen
    stems = _stems(table)
    seedy = {stem: columns for stem, columns in stems.items() if _SEEDY.search(stem.lower())}
    stems = seedy or stems
    if len(stems) > 1:
        each = "; ".join(f"{', '.join(columns[:3])}, …" for columns in stems.values())
        pattern = next(iter(stems)).replace("#", "*")
        what = f"several sets of columns could be runs ({each})"
        raise sheet.error(f"{what}: choose one by --runs '{pattern}'")
    return next(iter(stems.values()))


def _long(sheet: Sheet, run: str, said: Said) -> dict[str, StoredRuns]:
    """A row a run and example, in any order."""
    names, again = _evaluations(sheet, run)
    if (empty := texts(sheet.table[run]) == "").any():
        raise sheet.error(f"row {empty.argmax() + 1} names no run; fill in column {run!r}")
    whole = _one(sheet, said, run)
    sheet.taken.ignored = [column for column in sheet.taken.ignored if column != again]
    if whole.ids is not None:  # examples are in the order in which the file first names them
        names = names.iloc[np.argsort(pd.factorize(whole.ids)[0], kind="stable")]
    runs = {}
    for name, rows in names.groupby(names, sort=False).groups.items():
        ids, gold = (None if part is None else part[rows] for part in (whole.ids, whole.gold))
        runs[str(name)] = replace(whole, values=whole.values[rows], ids=ids, gold=gold)
    return runs


def _evaluations(sheet: Sheet, run: str) -> tuple[pd.Series, str | None]:
    """The run of each row, and, where runs were evaluated again, which time, and its column."""
    table, taken = sheet.table, sheet.taken
    names, again = texts(table[run]), sheet.find("repeat")
    if again in (None, run) or table.groupby(run)[again].nunique().max() < 2:
        return names, None
    each = names + f" {again} " + texts(table[again])
    taken.repeats = dict(zip(each, names, strict=True))
    taken.notes.append(
        f"Evaluations of one run are told apart by {again}: measures are of the first of each run."
    )
    return each, again


def _one(sheet: Sheet, said: Said, run: str | None = None) -> StoredRuns:
    """All rows of a table that has predictions in its columns."""
    table, taken, (kind, columns, classes) = sheet.table, sheet.taken, said
    gold = sheet.find("label", columns)
    labels = None if gold is None else cleaned(table[gold])
    each = [cleaned(table[column]) for column in columns]
    data, right = each[0] if len(each) == 1 else np.stack(each, axis=1), None
    if kind == "correct":
        gold, right = None, _is_right(table[columns[0]])
    elif kind == "predictions" and labels is not None and data.dtype != object:
        # Some write whether an answer is right as a prediction, and 1 as the label of all.
        right = data == 1 if set(data) <= {0.0, 1.0} and set(labels) == {1.0} else None
    taken.labels = columns[0] if kind == "correct" else gold
    if right is not None:
        kind, data = "correct", np.where(right, RIGHT, WRONG).astype(object)
        labels = np.full(len(table), RIGHT, object)
        taken.notes.append(
            f"There are no answers, only whether each is right ({columns[0]}): kappa of right and "
            "wrong is not that of answers, and wrong answers that differ count as agreement."
        )
    elif kind == "predictions" and labels is not None:
        labels = _unless_another_metric(table, data, labels, taken)
    taken.predictions = f"column{'s' * (len(columns) > 1)} {', '.join(columns[:3])}"
    id_column, ids = ids_of(sheet, [gold, run, *columns], run)
    used = {gold, run, id_column, *columns}
    taken.ignored = [c for c in table if c not in used]
    return StoredRuns(data, kind, ids, labels, classes=classes)


def _unless_another_metric(
    table: pd.DataFrame, data: np.ndarray, labels: np.ndarray, taken: Taken
) -> np.ndarray | None:
    """The labels, unless the table calls other answers right than those that equal their label."""
    for column in [c for c in table if plain(c) in NAMES["correct"]]:
        right = _is_right(table[column])
        if right is None or data.ndim > 1:
            continue
        equal = as_text(data) == as_text(labels)
        if (equal != right).any():
            taken.labels = None
            taken.notes.append(
                f"{column} calls {right.mean():.1%} of the answers right, and {equal.mean():.1%} "
                f"equal their label: answers are compared without labels. For a report on {column} "
                f"say --metric {column}."
            )
            return None
    return labels


def ids_of(
    sheet: Sheet, used: Sequence[str | None] = (), run: str | None = None
) -> tuple[str | None, np.ndarray | None]:
    """The column of example ids, and ids: of that, or hashes of the inputs; None without either."""
    rest = sheet.table.drop(columns=[c for c in used if c is not None])
    runs = None if run is None else texts(sheet.table[run])
    wished = sheet.find("example", used) if sheet.options.example else None
    names = [wished] if wished else [c for n in NAMES["example"] for c in rest if plain(c) == n]
    for column in names:
        ids = texts(rest[column])
        if (empty := ids == "").any():
            what = f"row {empty.argmax() + 1} has no example id in column {column!r}"
            raise sheet.error(f"{what}; fill it in")
        # Runs that have no ids in common number the rows of the file.
        if run is None or wished or ids.nunique() < len(ids) or runs.nunique() < 2:
            return column, ids.to_numpy()
    inputs = [c for c in rest if plain(c) in NAMES["input"]]
    if inputs:
        joined = rest[inputs].astype(str).agg("\x1f".join, axis=1)
        hashes = joined.map(lambda text: hashlib.sha256(text.encode()).hexdigest()[:12])
        again = hashes.groupby([hashes] if run is None else [hashes, runs]).cumcount()
        if again.max() < len(rest) / 10:
            sheet.taken.notes.append(f"Examples are told apart by their {', '.join(inputs)}.")
            return None, (hashes + again.map(lambda n: f"-{n + 1}" if n else "")).to_numpy()
    return None, None


def _without_header(sheet: Sheet) -> dict[str, StoredRuns]:
    """Logits of one run, answers of one run, or a line an example with the answers of all runs."""
    table, taken = sheet.table, sheet.taken
    columns = [cleaned(table[c]) for c in table]
    taken.predictions = "its one column" if len(columns) == 1 else f"its {len(columns)} columns"
    if len(columns) == 1:
        return {"": StoredRuns(columns[0])}
    if all(c.dtype.kind == "f" and (c != np.floor(c)).any() for c in columns):
        taken.predictions += ", as logits"
        taken.notes.append(f"Its {len(columns)} columns of numbers were taken as logits.")
        return {"": StoredRuns(np.stack(columns, axis=1), "logits")}
    ids = numbered(len(table), 0)
    return {f"run{i}": StoredRuns(c, "predictions", ids) for i, c in enumerate(columns)}


def _scores(sheet: Sheet, run: str | None) -> pd.DataFrame:
    """A row a run and a column a metric."""
    table, asked = sheet.table, sheet.options.metric
    text = {c: texts(table[c]).str.removesuffix("%") for c in table if c != run}
    numbers = {c: pd.to_numeric(column, errors="coerce") for c, column in text.items()}
    named = {
        c: n for c, n in numbers.items()
        if n.notna().any() and (c == asked or {*plain(c).split("_")} & {*NAMES["metric"]})
    }  # fmt: skip
    of_examples = run is None and (
        sheet.find("label") or any(plain(c) in NAMES["input"] for c in table)
    )
    if not named or of_examples:
        columns = ", ".join(map(repr, list(table)[:12]))
        shares = [c for c, n in numbers.items() if n.between(0, 1).all() and (n % 1 != 0).any()]
        if len(shares) == len(table.columns):
            raise sheet.error(
                f"columns {columns} look like scores, a row a run, and not like predictions: for a "
                f"report on one of them say --metric {shares[0]}"
            )
        if any(column.str.contains(r"±|\+/?-").any() for column in text.values()):
            why = "these are means of runs already: give the score of each run, a row a run"
            raise sheet.error(why)
        raise sheet.error(
            f"no column is known as predictions of a run among {columns}. Runs are columns that "
            "differ in a number (seed0, seed1, …): name others by --runs 'PATTERN'; a row a run "
            "and example has a run (--run COLUMN) and a prediction (--prediction COLUMN); scores, "
            "a row a run, are called accuracy, f1, …"
        )
    names, again = pd.Series([f"run{i + 1}" for i in range(len(table))]), None
    if run:
        names, again = _evaluations(sheet, run)
    if (repeated := names.duplicated()).any():
        raise sheet.error(
            f"{run} {names[repeated].iloc[0]} occurs again: of several settings choose one by "
            "--only COLUMN=VALUE, evaluations of one run are told apart by --repeat COLUMN, and if "
            "other rows are the runs, --run COLUMN names them"
        )
    sheet.taken.ignored = [c for c in table if c not in named and c not in (run, again)]
    return pd.DataFrame(named, dtype=float).set_axis(list(names))


def texts(values: pd.Series | np.ndarray | Sequence[str]) -> pd.Series:
    """As stripped text, missing ones empty; without a point, if all are whole numbers."""
    column = pd.Series(values)
    if column.dtype == object:
        column = column.map(lambda v: v.decode() if isinstance(v, bytes) else v)
    text = column.astype(str).str.strip().where(column.notna(), "").reset_index(drop=True)
    whole = text.str.fullmatch(r"-?\d+\.0") | (text == "")
    return text.str.removesuffix(".0") if whole.all() else text


def as_text(values: np.ndarray) -> np.ndarray:
    """Objects of text; whole numbers without a point."""
    if values.dtype == object:
        return values
    text = pd.Series(values.ravel().astype(str)).str.removesuffix(".0")
    return text.to_numpy(object).reshape(values.shape)


def cleaned(column: pd.Series) -> np.ndarray:
    """(N,) numbers (NaN where missing), or text ('' where missing); (N, C) of lists of numbers."""
    if _is_list(column):
        try:
            array = np.array(column.tolist(), float)
        except (TypeError, ValueError):
            return np.array([str(list(v)) for v in column], object)
        return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(float, na_value=np.nan)
    # A few words, in many columns.
    codes, words = pd.factorize(texts(column) if column.dtype == object else column,
                                use_na_sentinel=False)  # fmt: skip
    return _numbers_or_words(tuple(words))[codes]


@lru_cache
def _numbers_or_words(words: tuple[object, ...]) -> np.ndarray:
    text = texts(np.array(words, object))
    numbers = pd.to_numeric(text.replace("", "nan"), errors="coerce")
    # "nan" is a number that a diverged run wrote where the rest are numbers; else it is a class.
    other = numbers.isna() & ~text.str.lower().isin(["", "nan"])
    if other.any() or numbers.isna().all() or text.str.contains("_").any():
        return text.to_numpy(object)
    return numbers.to_numpy(float)


def numbered(n: int, first: int = 1) -> np.ndarray:
    """Ids of rows that have none (n,)."""
    return np.arange(first, first + n).astype(str).astype(object)
