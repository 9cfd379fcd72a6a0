"""Tasks: sizes as published, splits without leakage, and a user's own table with its mistakes."""

import numpy as np
import pandas as pd
import pytest

from lib.data import tasks
from lib.errors import TaskError
from lib.measures.scoring import majority_rate

SIZES = {  # train, dev as documented by their sources (amazon and nyt: without neutral snippets)
    "stsb": (5749, 1500),
    "stsb-binary": (5749, 1500),
    "boolq": (9427, 3270),
    "trec": (5452, 500),
}
PAIRS = {"stsb", "stsb-binary", "boolq", "privacyqa"}


@pytest.mark.parametrize("name", SIZES)
def test_official_splits_have_their_official_sizes(name):
    splits = tasks.get(name).read()
    assert (len(splits["train"]), len(splits["dev"])) == SIZES[name]


def test_privacyqa_is_split_by_question():
    splits = tasks.get("privacyqa").read()
    questions = [{row["text_a"] for row in splits[name]} for name in ("train", "dev")]
    assert not questions[0] & questions[1]
    # 390 strings, two of which differ only by a space at the end: they must not be torn apart.
    assert len(questions[0] | questions[1]) == 389
    assert sum(map(len, splits.values())) == 10_923


def test_headlines_that_repeat_stay_on_one_side():
    splits = tasks.get("sarcasm").read()
    sides = [{row["text_a"].lower() for row in splits[name]} for name in ("train", "dev")]
    assert not sides[0] & sides[1]
    rows = splits["train"] + splits["dev"]
    # 28,614 headlines in the package, 13,630 of them sarcastic.
    assert (len(rows), sum(row["label"] for row in rows)) == (28_614, 13_630)


def test_trec_has_the_published_class_sizes():
    """Li & Roth's training questions: ABBR 86, ENTY 1250, DESC 1162, HUM 1223, LOC 835, NUM 896."""
    task = tasks.get("trec")
    counts = np.bincount([row["label"] for row in task.read()["train"]]).tolist()
    assert dict(zip(task.classes, counts, strict=True)) == {
        "description": 1162, "entity": 1250, "abbreviation": 86, "human": 1223, "number": 896,
        "location": 835,
    }  # fmt: skip
    assert majority_rate(np.array([row["label"] for row in task.read()["dev"]])) == 138 / 500


@pytest.mark.parametrize(
    "name",
    ["stsb", "stsb-binary", "boolq", "privacyqa", "rotten-tomatoes", "amazon", "nyt", "trec",
     "sarcasm"],
)  # fmt: skip
def test_every_task_has_the_same_columns_and_sound_rows(name):
    task = tasks.get(name)
    for split, rows in task.read().items():
        assert all(set(row) == {"example_id", "text_a", "text_b", "label"} for row in rows), split
        assert all(row["text_a"] and bool(row["text_b"]) == (name in PAIRS) for row in rows), split
        assert len({row["example_id"] for row in rows}) == len(rows)
        labels = {row["label"] for row in rows}
        assert labels <= set(range(task.n_classes)) if task.n_classes > 1 else max(labels) <= 5


def write_glue(root, header, rows, folder):
    (root / folder).mkdir(parents=True)
    for split in ("train", "dev"):
        lines = ["\t".join(row) for row in ([header] if header else []) + rows]
        (root / folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "folder", "header", "rows", "expected"),
    [
        (
            "rte", "RTE", ["index", "sentence1", "sentence2", "label"],
            [["0", 'A "quoted" cat sat.', "A cat.", "entailment"],
             ["1", "It rained.", "It was dry.", "not_entailment"]],
            [('A "quoted" cat sat.', "A cat.", 1), ("It rained.", "It was dry.", 0)],
        ),
        (
            "cola", "CoLA", None,
            [["gj04", "1", "", "They sing."], ["gj04", "0", "*", "They sings."]],
            [("They sing.", "", 1), ("They sings.", "", 0)],
        ),
        (
            "mrpc", "MRPC", ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"],
            [["1", "7", "8", "One.", "The one."], ["0", "9", "10", "Two.", "Three."]],
            [("One.", "The one.", 1), ("Two.", "Three.", 0)],
        ),
        (
            "wnli", "WNLI", ["index", "sentence1", "sentence2", "label"],
            [["0", "It fell.", "The cup fell.", "1"]],
            [("It fell.", "The cup fell.", 1)],
        ),
    ],
)  # fmt: skip
def test_glue_layout(tmp_path, monkeypatch, name, folder, header, rows, expected):
    write_glue(tmp_path, header, rows, folder)
    monkeypatch.setenv("GLUE_DIR", str(tmp_path))
    dev = tasks.get(name).read()["dev"]
    assert [(row["text_a"], row["text_b"], row["label"]) for row in dev] == expected


def test_sentence_sets(tmp_path, monkeypatch):
    rows = [["1", "A fine day."], ["0", "A poor day."]]
    write_glue(tmp_path, ["label", "sentence"], rows, "MR")
    monkeypatch.setenv("SENTENCES_DIR", str(tmp_path))
    assert [row["label"] for row in tasks.get("mr").read()["train"]] == [1, 0]
    write_glue(tmp_path, ["label", "sentence"], [["1", "A fine day."], ["2", "Who?"]], "CR")
    with pytest.raises(TaskError, match=r"CR/train.tsv: the label in line 3 is '2', not 0 or 1"):
        tasks.get("cr").read()
    with pytest.raises(TaskError, match="holds no SUBJ/train.tsv"):
        tasks.get("subj").read()
    monkeypatch.delenv("SENTENCES_DIR")
    with pytest.raises(TaskError, match="set SENTENCES_DIR"):
        tasks.get("mr").read()


def test_own_file_as_csv_and_parquet(own_file, tmp_path):
    parquet = tmp_path / "days.parquet"
    pd.read_csv(own_file).to_parquet(parquet)
    for path in (own_file, parquet):
        task = tasks.get(str(path))
        splits = task.read()
        assert (len(splits["train"]), len(splits["dev"])) == (80, 40)
        assert task.n_classes == 2 and task.metric == "accuracy"
        assert not any(row["text_b"] for row in splits["train"] + splits["dev"])


def test_own_file_of_pairs_and_of_numbers(tmp_path):
    table = pd.DataFrame({"q": [f"q{i}" for i in range(20)], "a": ["x"] * 20})
    table["rate"] = np.linspace(0, 1, 20)
    table.to_csv(tmp_path / "pairs.csv", index=False)
    task = tasks.get(str(tmp_path / "pairs.csv"), ["q", "a"], "rate")
    assert task.n_classes == 1 and task.metric == "pearson"
    splits = task.read()
    assert all(row["text_b"] == "x" for row in splits["train"] + splits["dev"])
    assert (len(splits["train"]), len(splits["dev"])) == (16, 4)


SOUND = {"text": ["a", "b", "c", "d"], "label": [0, 1, 0, 1], "split": ["train"] * 3 + ["dev"]}


@pytest.mark.parametrize(
    ("change", "columns", "message"),
    [
        ({}, (["txt"], "label"), "no column 'txt': did you mean text"),
        ({}, (["text"], "lable"), "no column 'lable': did you mean label"),
        ({}, (["text", "label", "split"], "label"), "one column, or two"),
        ({"text": ["a", "  ", "c", "d"]}, (["text"], "label"), "'text' is empty in line 3"),
        ({"label": [0, None, 0, 1]}, (["text"], "label"), "'label' is empty in line 3"),
        ({"label": [1, 1, 1, 0]}, (["text"], "label"), "has one class, '1'"),
        ({"label": [0, 1, 0, 2]}, (["text"], "label"), "is '2' in line 5 of the dev split"),
        ({"split": ["train", "valid", "train", "dev"]}, (["text"], "label"), "'valid' in line 3"),
        ({"split": ["train"] * 4}, (["text"], "label"), "no rows in the dev split"),
    ],
)
def test_own_file_mistakes_name_file_column_and_line(tmp_path, change, columns, message):
    path = tmp_path / "mine.csv"
    pd.DataFrame(SOUND | change).to_csv(path, index=False)
    with pytest.raises(TaskError, match=message) as error:
        tasks.get(str(path), *columns)
    if "one column" not in message:
        assert "mine.csv" in str(error.value)


def test_repeated_texts_are_warned_about_and_stay_on_one_side(tmp_path):
    path = tmp_path / "mine.csv"
    texts = [f"t{i // 2}" for i in range(40)]
    labels = [i // 2 % 2 for i in range(40)]
    pd.DataFrame({"text": texts, "label": labels}).to_csv(path, index=False)
    with pytest.warns(UserWarning, match="20 repeated texts: line 3 repeats line 2 of the same"):
        splits = tasks.get(str(path)).read()
    sides = [{row["text_a"] for row in splits[name]} for name in ("train", "dev")]
    assert not sides[0] & sides[1]


def test_a_text_on_both_sides_of_a_users_split_is_named(tmp_path):
    path = tmp_path / "mine.csv"
    pd.DataFrame(SOUND | {"text": ["a", "b", "c", "b"]}).to_csv(path, index=False)
    with pytest.warns(UserWarning) as caught:
        tasks.get(str(path))
    messages = " ".join(str(warning.message) for warning in caught)
    assert "line 5 repeats line 3 of the other split" in messages
    assert "the dev split has one class" in messages


def test_words_that_pandas_takes_for_missing_are_words(tmp_path):
    path = tmp_path / "mine.csv"
    table = SOUND | {"text": ["None", "NA", "null", "nan"], "label": ["NA", "yes ", "NA", "yes"]}
    pd.DataFrame(table).to_csv(path, index=False)
    with pytest.warns(UserWarning, match="one class"):
        task = tasks.get(str(path))
    assert task.classes == ("NA", "yes")
    assert [row["text_a"] for row in task.read()["train"]] == ["None", "NA", "null"]


def test_classes_are_in_the_order_of_their_values_not_of_the_rows(tmp_path):
    path = tmp_path / "mine.parquet"
    table = pd.DataFrame(
        {"text": [f"t{i}" for i in range(60)], "label": [7 * i % 12 for i in range(60)]}
    )
    table.index = [f"row {i}" for i in range(60)]
    table.to_parquet(path)
    task = tasks.get(str(path))
    assert task.classes == tuple(map(str, range(12))) and task.n_classes == 12
    rows = [row for part in task.read().values() for row in part]
    assert all(row["label"] == 7 * int(row["example_id"]) % 12 for row in rows)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "EmptyDataError"),
        (b"text,label,split\n", "there are no rows"),
        ("text,label\ncaf\xe9,1\n".encode("latin-1"), "UnicodeDecodeError"),
        (b"text,label\na,1\nb,0,7,8\n", "ParserError"),
        (b"text,label\na,0.5\nb,inf\n", "'label' is not finite in line 3"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, content, message):
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    with pytest.raises(TaskError, match=message) as error:
        tasks.get(str(path))
    assert "mine.csv" in str(error.value)
