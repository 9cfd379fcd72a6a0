"""Runs that were made elsewhere: from a file or folder to runs side by side.

PATH may be

one table      a row an example and a column a run (seed0, seed1, …), or a row a run and example
               (run or seed, example or id, prediction, or logits or probabilities of each class)
one file a run in a folder: seed0.csv, seed1.csv, … (tables, .npz, .npy, JSON, logs of
               lm-evaluation-harness or inspect_ai)
one folder a   with one such file in each, at any depth: predictions.npz, what run_glue.py or
run            run_classification.py write, RTE.tsv, samples_rte_….jsonl, …
one archive    .npz with logits or probabilities (S, N, C), or predictions (S, N); labels, runs,
               examples, representations (S, L, N, D)
our own        a setting of the run store, or a folder of committed results (with --only group=…)
scores alone   a row a run: seed, accuracy, f1, …

Files are recognised by what is in them. Columns have the names that people give to them, or those
that --runs, --run, --example, --label and --prediction say; whatever is not known is ignored, and
the report begins with what was taken for what.
"""

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from lib.errors import nearest
from lib.report import columns, opening, values
from lib.report.arrays import clean, parts_of, runs_in_arrays
from lib.report.columns import Found, Options, StoredRuns, Taken
from lib.report.opening import NAMES, SUFFIXES, Content, OutsideError, natural, suffix_of
from lib.results import run_group, tables
from lib.results import runs as run_store
from lib.results.run_group import RunGroup

NOTHING_SAID = Options()
#: Most levels of folders between a run's folder and its file.
DEPTH = 3


class Outside(NamedTuple):
    """Runs made elsewhere, and what was taken for what. Of scores alone, the group has no examples,
    and its ``runs`` have ``score``, ``metric`` and ``status``: ``failed`` where there is no score.
    """

    group: RunGroup
    taken: Taken


def read(
    path: str | Path,
    *,
    labels: str | Path | None = None,
    exclude: Sequence[str] = (),
    options: Options = NOTHING_SAID,
    file: str = "",
    task: values.Task = "",
    missing_ok: bool = False,
) -> Outside:
    """The runs in a file or folder, without those named in ``exclude``, which have to be there
    unless ``missing_ok``.

    ``labels`` is a file with gold labels, by id or by order (in the column ``options.label``); it
    must agree with those that come with the runs, if any do. ``file`` is a pattern for names of
    files, where a run has several. Whatever is wrong with the input raises ``OutsideError``.
    """
    path = opening.existing(path)
    exclude = [exclude] if isinstance(exclude, str) else list(exclude)
    own = options if labels is None else options._replace(label="")
    found, taken = _folder(path, own, file) if path.is_dir() else _file(path, own)
    alone = isinstance(found, pd.DataFrame)
    there = list(found.index if alone else found)
    exclude = [name for name in exclude if name in there or not missing_ok]
    taken.runs = names = _pick(path, there, exclude)
    if exclude:
        taken.notes.append(f"Left out as asked: {', '.join(exclude)}.")
    if alone:
        group = _of_scores(path, found, names, options, taken)
        source = f"{len(names)} runs from {path.name}: {group.runs['metric'].iloc[0]} alone."
    else:
        raw = values.joined(path, {name: found[name] for name in names}, taken)
        if labels is not None:
            labels = opening.existing(labels)
            values.add_labels(raw, _labels(labels, options), labels)
            taken.labels = labels.name
        group = values.finish(raw, task=task)
        what = f"{len(group.classes)} classes" if group.classes else "scores (regression)"
        runs = f"{len(names)} runs"
        if taken.repeats:
            trained = {taken.repeats[name] for name in names}
            runs = f"{len(trained)} runs, evaluated {len(names)} times in all,"
        source = f"{runs} on {len(raw.ids)} examples from {path.name}: {what}."
    notes = [in_words(taken), *taken.notes]
    return Outside(replace(group, source=source, notes=notes, left_out=exclude), taken)


def _of_scores(
    path: Path, table: pd.DataFrame, names: Sequence[str], options: Options, taken: Taken
) -> RunGroup:
    """A group of runs of which one score each is known."""
    metric = options.metric or table.columns[0]
    if metric not in table:
        raise OutsideError(f"{path}: no scores are called {metric!r}: {nearest(metric, table)}")
    taken.ignored = [name for name in table if name != metric] + taken.ignored
    taken.notes.append(
        "Scores alone: predictions would add how many answers flip, on which examples, and how "
        "much of the spread of scores is the size of the test set."
    )
    scores = table.loc[names, metric].to_numpy()
    runs = pd.DataFrame({"run": names, "metric": metric, "score": scores})
    status = np.where(np.isfinite(scores), "ok", "failed")
    runs = runs.assign(accuracy=np.nan, majority=np.nan, status=status)
    return RunGroup(runs, [], np.zeros((len(names), 0)), notes=taken.notes)


def in_words(taken: Taken) -> str:
    """What was taken for what, and what was ignored."""
    names = taken.runs if len(taken.runs) <= 12 else [*taken.runs[:6], "…", taken.runs[-1]]
    parts = [f"{len(taken.runs)} runs: {', '.join(names)}"]
    if taken.predictions:
        parts.append(f"predictions: {taken.predictions}")
        parts.append(f"gold labels: {taken.labels or 'none'}")
    if taken.ignored:
        more = ", …" * (len(taken.ignored) > 10)
        ignored = [name or "a column without a name" for name in taken.ignored[:10]]
        parts.append(f"ignored: {', '.join(ignored)}{more}")
    return f"Taken as {'; '.join(parts)}."


def _file(path: Path, options: Options) -> tuple[Found, Taken]:
    found, taken = _of_content(opening.open_file(path), options)
    if list(found) == [""]:
        raise OutsideError(
            f"{path}: 1 run; instability is between runs: give the folder with a file or a folder "
            "for each run, or name the column that tells runs apart by --run, or those that are "
            "runs by --runs"
        )
    return found, taken


def _of_content(content: Content, options: Options, *, single: bool = False) -> tuple[Found, Taken]:
    """The runs in a file; ``single``: that of a run."""
    if content.table is None:
        return runs_in_arrays(content, single=single)
    return columns.runs_in(content, options)


def _folder(path: Path, options: Options, file: str) -> tuple[Found, Taken]:
    """One file a run, or one folder a run with a file of the same kind in each."""
    if (path / "runs.parquet").exists() and (path / "logits.parquet").exists():
        return _committed(path, options)
    inside = [item for item in sorted(path.iterdir()) if not item.name.startswith((".", "_"))]
    if stored := [item for item in inside if (item / "run.json").exists()]:
        return _store(stored)
    files, ranks, why = _files(path, inside, file), {}, []
    for kind, own in files.groupby("kind", sort=False):
        first, several = own["file"].iloc[0], own["run"].nunique() > 1
        try:
            content = _opened(first)
            found, _ = _of_content(content, options, single=True)
        except OutsideError as error:
            why.append(str(error))
            continue
        # Predictions go before scores, and what has names before what has none.
        scores = isinstance(found, pd.DataFrame)
        if len(found) == 1 and (several or not scores):
            ranks[kind] = 0 if scores else 1 + content.header
        elif not (scores or several) and first.parent == path:
            why.append(f"{first} holds several runs: give that file")
    read = [kind for kind, rank in ranks.items() if rank == max(ranks.values())]
    if not read:
        inner = [f for f in inside if any(_readable(path, item, file) for item in f.rglob("*"))]
        if len(inner) == 1:
            return _folder(inner[0], options, file)
        others = [item for item in path.rglob("*") if item.suffix not in ("", *SUFFIXES)]
        hint = "; ".join(why[:2]) or opening.remedy(min(others, default=path))
        raise OutsideError(f"{path}: no file in it could be read as a run: {hint}")
    files = files[files["kind"].isin(read)]
    found, taken = _runs_of(path, _one_of_each(path, files, read), options)
    taken.notes += _passed_over(inside, set(files["run"]), read[0], asked=bool(file))
    if isinstance(found, pd.DataFrame) and why:
        taken.notes.append(f"What is no table of scores could not be read: {why[0]}.")
    return found, taken


def _files(path: Path, inside: Sequence[Path], file: str) -> pd.DataFrame:
    """Files that may be runs: ``run`` (the name of what is in the folder), ``file`` and its
    ``kind`` (its name, with # for numbers); those in folders, if there are some of several runs.
    """
    files = pd.DataFrame([
        (item.name, f)
        for item in inside
        for f in sorted([item, *item.rglob("*")], key=lambda f: (len(f.parts), f))
        if f.is_file() and len(f.relative_to(item).parts) <= DEPTH and _readable(path, f, file)
    ], columns=["run", "file"])  # fmt: skip
    deep = files["file"].map(lambda f: f.parent != path).astype(bool)
    if files["run"][deep].nunique() > 1 or deep.all():
        names = [re.sub(r"\d+", "#", str(f.relative_to(path / run))) for run, f in files.to_numpy()]
        return files.assign(kind=names)[deep]
    files = files[~deep]
    # Logs have names of their own: if no two files differ in numbers alone, the suffix counts.
    names = files["file"].map(_without_numbers)
    logs = files["file"].map(lambda f: f.suffix == ".eval") | names.is_unique
    return files.assign(kind=names.mask(logs, "*" + files["file"].map(suffix_of)))


def _readable(path: Path, item: Path, file: str) -> bool:
    names = item.name, str(item.relative_to(path))
    wanted = not file or any(fnmatch.fnmatch(name, file) for name in names)
    return suffix_of(item) in SUFFIXES and wanted


def _opened(item: Path) -> Content:
    """A file of a run; labels.npy beside predictions.npy is a part of it."""
    content = opening.open_file(item)
    if suffix_of(item) == ".npy":
        for beside in sorted(item.parent.glob("*.npy")):
            if _belongs(beside):
                content.arrays |= opening.open_file(beside).arrays
    return content


def _one_of_each(path: Path, files: pd.DataFrame, kinds: Sequence[str]) -> pd.DataFrame:
    """The files of the one kind that every run has, one of each run."""
    each = files.drop_duplicates(["run", "kind"])
    runs = each["kind"].value_counts()[list(kinds)]
    whole = runs.index[runs == files["run"].nunique()]
    if len(whole) > 1:
        named = each["file"][(each["run"] == each["run"].iloc[0]) & each["kind"].isin(whole[:4])]
        names = [item.name for item in named]
        pattern = re.sub(r"\d+", "*", names[0])
        raise OutsideError(
            f"{path}: each run has several files of predictions ({', '.join(names)}): "
            f"choose one by --file '{pattern}'"
        )
    if not len(whole):
        kind = runs.idxmax()
        alike = each["run"][each["kind"] == kind]
        odd = each["file"][~each["run"].isin(alike)].iloc[0].relative_to(path)
        pattern = "*" * (len(odd.parts) > 1) + kind.replace("#", "[0-9]*")
        raise OutsideError(
            f"{path}: {odd} is not called as the other {len(alike)} are ({kind}): rename it if it "
            f"is a run; else take it out, or choose by --file '{pattern}'"
        )
    files = files[files["kind"] == whole[0]]
    if (again := files["run"].duplicated()).any():
        run = files["run"][again].iloc[0]
        items = files["file"][files["run"] == run]
        names = ", ".join(str(item.relative_to(path)) for item in items[:3])
        pattern = f"*{items.iloc[0].relative_to(path / run)}"
        raise OutsideError(
            f"{path}: {run} has {len(items)} files of one kind ({names}): choose by --file "
            f"'{pattern}', or, if these are the runs, give {path / run}"
        )
    return files


def _runs_of(path: Path, files: pd.DataFrame, options: Options) -> tuple[Found, Taken]:
    """The run in each file."""
    found: dict[str, Found] = {}
    taken, names = Taken(), list(files["run"])
    if files["file"].iloc[0].parent == path:  # what tells files apart
        names = [name.removesuffix(".gz").rsplit(".", 1)[0] for name in names]
        numbered = [re.search(r"(seed|run|trial|rep)[_-]?\d+", name) for name in names]
        short = {match[0]: None for match in numbered if match}
        names = list(short) if len(short) == len(names) else names
    for name, item in zip(names, files["file"], strict=True):
        found[name], own = _of_content(_opened(item), options, single=True)
        if len(found[name]) > 1 or type(found[name]) is not type(found[names[0]]):
            what = "holds something else than the file of the first run"
            raise OutsideError(f"{item}: {what}; take it out, or choose by --file")
        taken.notes += [note for note in own.notes if note not in taken.notes]
        taken.labels, taken.predictions, taken.ignored = own.labels, own.predictions, own.ignored
    if isinstance(found[names[0]], pd.DataFrame):
        return pd.concat(found).droplevel(1), taken
    taken.predictions += f" of {files['kind'].iloc[0]}"
    return {name: run for name, one in found.items() for run in one.values()}, taken


def _passed_over(inside: Sequence[Path], runs: set[str], kind: str, *, asked: bool) -> list[str]:
    """A note on what beside the runs was not looked at; what is called as they are is refused."""
    others = [item for item in inside if item.name not in runs and not _belongs(item)]
    stems = {_without_numbers(Path(run)).split(".")[0] for run in runs}
    for item in others:
        stem = _without_numbers(item).split(".")[0]
        if item.is_file() and stem in stems and "#" in stem and not asked:
            raise OutsideError(
                f"{item}: is called as the runs are, but not of their kind ({kind}): save it as "
                "they are, or take it out"
            )
    names = sorted((item.name for item in others), key=natural)
    more = f", … ({len(names)} in all)" if len(names) > 6 else ""
    return [f"Passed over: {', '.join(names[:6])}{more}."] if names else []


def _without_numbers(item: Path) -> str:
    """What a file is called, with # for each number, and its suffix in lower case."""
    return re.sub(r"\d+", "#", item.stem) + item.suffix.lower()


def _belongs(item: Path) -> bool:
    """Whether an array is a part of others beside it."""
    parts = (*NAMES["label"], "examples", "hidden_states")
    return suffix_of(item) == ".npy" and opening.plain(item.stem) in parts


def _store(folders: Sequence[Path]) -> tuple[dict[str, StoredRuns], Taken]:
    """Runs of our own run store."""
    runs = {}
    for folder in folders:
        run = run_store.load(folder)
        states = run.vectors.get("mean")
        runs[folder.name] = _own(run.logits, run.example_ids, run.labels, states)
    return runs, Taken(predictions="logits of the run store", labels="labels with the runs")


def _committed(path: Path, options: Options) -> tuple[dict[str, StoredRuns], Taken]:
    """Runs of our own committed tables."""
    if (where := tables.paths.results(path.name)) != path.resolve():
        raise OutsideError(f"{path}: tables of results are read where they were made: give {where}")
    wishes = dict(wish.split("=", 1) for wish in options.only if "=" in wish)
    groups = run_group.read(path.name, [wishes["group"]] if "group" in wishes else ())
    if len(groups) != 1:
        raise OutsideError(
            f"{path}: holds {len(groups)} groups of runs; choose one by --only group="
            f"{next(iter(groups))}"
        )
    (group,) = groups.values()
    each = zip(group.names, group.logits, strict=True)
    runs = {name: _own(logits, group.example_ids, group.labels) for name, logits in each}
    return runs, Taken(predictions="committed logits", labels="labels with the runs")


def _own(
    logits: np.ndarray, ids: Sequence[object], labels: np.ndarray, states: np.ndarray | None = None
) -> StoredRuns:
    """A run of ours, from logits (N, C), of a regression (N, 1)."""
    kind = "regression" if logits.shape[-1] == 1 else "logits"
    ids = np.array(list(map(str, ids)), object)
    return StoredRuns(logits.astype(float), kind, ids, labels.astype(float), states)


def _labels(path: Path, options: Options) -> StoredRuns:
    """Gold labels from a file of their own."""
    content = opening.open_file(path)
    if content.table is None:
        gold = parts_of(content)["labels"]
        gold = clean(path, "labels", next(iter(content.arrays.values())) if gold is None else gold)
        opening.check_shape(path, "labels", gold, "N")
        return StoredRuns(gold)
    sheet, table = columns.Sheet(path, content.table, options), content.table
    if not content.header:
        if len(table.columns) > 1:
            raise OutsideError(f"{path}: {len(table.columns)} columns without a header; give one")
        return StoredRuns(columns.cleaned(table.iloc[:, 0]))
    column = sheet.find("label")
    if column is None:
        raise OutsideError(
            f"{path}: no column is known as labels among {', '.join(table)}: name it by --label"
        )
    _, ids = columns.ids_of(sheet, [column])
    return StoredRuns(columns.cleaned(table[column]), ids=ids)


def _pick(path: Path, names: Sequence[str], exclude: Sequence[str]) -> list[str]:
    """The names of the runs to read, in natural order."""
    for name in exclude:
        if name not in names:
            raise OutsideError(f"{path}: no run {name!r} to exclude: {nearest(name, names)}")
    kept = sorted(set(names) - set(exclude), key=natural)
    if len(kept) < 2:
        raise OutsideError(
            f"{path}: {len(kept)} run{'s' * (len(kept) != 1)} ({', '.join(kept) or 'none'}); "
            "instability is between runs, so give two or more that differ in nothing but the seed"
        )
    return kept
