"""Tasks in files of your own machine: the official GLUE layout, and sentence-level sets."""

import os
from pathlib import Path

from lib.errors import SourceMissingError, TaskError
from lib.rows import Splits, make_row
from lib.wheel_tasks import read_tsv

_GLUE = {  # task: (folder, header line, label column, text columns, label of class 1)
    "rte": ("RTE", True, 3, (1, 2), "entailment"),
    "mrpc": ("MRPC", True, 0, (3, 4), "1"),
    "cola": ("CoLA", False, 1, (3,), "1"),
    "wnli": ("WNLI", True, 3, (1, 2), "1"),
}


def in_glue_files(name: str) -> bool:
    """Whether ``GLUE_DIR`` is set and the task is one of those read from there."""
    return name in _GLUE and bool(os.environ.get("GLUE_DIR"))


def read_glue(name: str) -> Splits:
    """A GLUE task from the official file layout under ``GLUE_DIR``."""
    folder, header, label, texts, positive = _GLUE[name]
    root = _data_folder("GLUE_DIR", folder)
    return {
        split: [
            make_row(
                f"{split}-{i}",
                r[texts[0]],
                r[texts[1]] if texts[1:] else "",
                int(r[label] == positive),
            )
            for i, r in enumerate(read_tsv(root / f"{split}.tsv", header))
        ]
        for split in ("train", "dev")
    }


def read_sentences(folder: str) -> Splits:
    """A sentence-level set (label, sentence; header line) under ``SENTENCES_DIR``."""
    root = _data_folder("SENTENCES_DIR", folder)
    return {
        split: [
            make_row(f"{split}-{i}", r[1], "", int(r[0]))
            for i, r in enumerate(read_tsv(root / f"{split}.tsv", header=True))
        ]
        for split in ("train", "dev")
    }


def _data_folder(variable: str, folder: str) -> Path:
    root = os.environ.get(variable)
    if not root:
        raise SourceMissingError(
            f"set {variable} to the folder that holds {folder}/train.tsv and dev.tsv"
        )
    for split in ("train", "dev"):
        if not (Path(root) / folder / f"{split}.tsv").is_file():
            raise TaskError(f"{variable}={root} holds no {folder}/{split}.tsv")
    return Path(root) / folder
