"""The sentences of the course: what their page says of them, and that runs know which they saw."""

import re

import pandas as pd
import pytest

from lib import paths
from lib.data import tasks
from lib.workflow import status

FOLDER = paths.DATA / "course"
PAGE = (FOLDER / "README.md").read_text()


@pytest.fixture(scope="module")
def sentences():
    return pd.read_csv(FOLDER / "sentences.csv")


def test_the_page_counts_what_is_there(sentences):
    assert f"{len(sentences)} short English texts" in PAGE
    kinds = dict(re.findall(r"^\| (\w+) \| (\d+) \|", PAGE, re.M))
    assert {k: int(n) for k, n in kinds.items()} == sentences["kind"].value_counts().to_dict()
    for split, n in sentences["split"].value_counts().items():
        assert f"`{split}` ({n})" in PAGE
    assert f"{(sentences['doubts'] > 0).sum()} texts have a doubt" in PAGE
    words = sentences["text"].str.split().str.len()
    assert f"{words.min()} to {words.max()} words" in PAGE
    own, of_boats = (
        set(re.findall(r"^\| `(\w+)`", part, re.M)) for part in PAGE.split("\n# Boats\n")
    )
    boats = pd.read_csv(FOLDER / "boats.csv")
    assert own == set(sentences) and of_boats == set(boats)
    for split, n in boats.groupby("split")["input"].nunique().items():
        assert re.search(rf"`{split}` \({n}( inputs)?\)", PAGE)


def test_texts_are_clean_and_each_is_there_once(sentences):
    texts = sentences["text"]
    assert texts.str.isascii().all() and (texts == texts.str.strip()).all()
    assert not texts.str.lower().duplicated().any() and not texts.str.contains("\n").any()
    assert sentences["id"].tolist() == list(range(len(sentences)))


def test_doubts_are_those_of_the_readings(sentences):
    readings = pd.read_csv(FOLDER / "readings.csv").set_index("id")
    labels = sentences.set_index("id")["label"]
    assert readings.ne(labels, axis=0).sum(axis=1).tolist() == sentences["doubts"].tolist()
    answers = readings.apply(lambda column: column.str.rstrip("?"))
    agreed = 100 * answers.eq(labels, axis=0).mean()
    assert f"on {agreed.min():.1f} to {agreed.max():.1f} % of the texts" in PAGE
    alone = labels.index[answers.ne(labels, axis=0).all(axis=1)]
    assert f"(ids {alone[0]} and {alone[1]})" in PAGE and len(alone) == 2


def test_labels_are_balanced_in_each_split_topic_and_kind(sentences):
    share = sentences.assign(yes=sentences["label"] == "yes")
    assert share.groupby("split")["yes"].mean().sub(0.5).abs().max() < 0.02
    assert share.groupby("topic")["yes"].mean().eq(0.5).all()
    assert share.groupby("kind")["yes"].mean().eq(0.5).all()
    dev = share.groupby(["topic", "kind"])["split"].agg(lambda s: (s == "dev").mean())
    assert dev.between(0.25, 0.45).all()


def test_the_task_is_the_table(sentences):
    splits = tasks.get("course").read()
    dev = sentences[sentences["split"] == "dev"]
    assert [row["example_id"] for row in splits["dev"]] == dev["id"].astype(str).tolist()
    assert [row["label"] for row in splits["dev"]] == (dev["label"] == "yes").astype(int).tolist()
    assert [row["text_a"] for row in splits["dev"]] == dev["text"].tolist()
    assert len(splits["train"]) == 580


def test_a_changed_sentence_makes_runs_stale(monkeypatch, tmp_path):
    before = status._now("course")
    changed = tmp_path / "sentences.csv"
    changed.write_text((FOLDER / "sentences.csv").read_text().replace("tomato", "melon"))
    monkeypatch.setattr(tasks, "SENTENCES", changed)
    assert before and status._now("course") not in (before, None)
    monkeypatch.setattr(tasks, "SENTENCES", tmp_path / "gone.csv")
    assert status._now("course") is None
