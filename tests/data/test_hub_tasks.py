"""GLUE and SuperGLUE through the hub, on invented data in the hub's own layout and schemas."""

import pytest
from support import hub_layout

from lib.config import Setting
from lib.data import hub_tasks, tasks
from lib.errors import TaskError
from lib.training.inputs import prepare_inputs

#: Main metric and further ones, as the two benchmarks' papers list them.
METRICS = {
    "cola": ("mcc",), "sst2": ("accuracy",), "mrpc": ("f1", "accuracy"), "qqp": ("f1", "accuracy"),
    "mnli": ("accuracy",), "mnli-mm": ("accuracy",), "qnli": ("accuracy",), "rte": ("accuracy",),
    "wnli": ("accuracy",), "cb": ("accuracy", "macro-f1"), "copa": ("accuracy",),
    "multirc": ("f1", "group-em"), "record": ("pick-f1", "pick-em"), "wic": ("accuracy",),
    "wsc": ("accuracy",), "stsb": ("pearson", "spearman"), "boolq": ("accuracy",),
}  # fmt: skip
SINGLE = {"cola", "sst2", "wsc"}


def texts(rows):
    return [(row["text_a"], row["text_b"], row["label"]) for row in rows]


@pytest.mark.parametrize("name", METRICS)
def test_all_nine_and_all_eight_are_read_and_have_their_official_metrics(hub, name):
    task = tasks.get(name)
    assert (task.metric, *task.other_metrics) == METRICS[name]
    splits = task.read()
    assert {"train", "dev"} <= set(splits)
    for split in ("train", "dev"):
        rows = splits[split]
        assert len({row["example_id"] for row in rows}) == len(rows) >= 6
        labels = {row["label"] for row in rows}
        assert task.n_classes == 1 or labels == set(range(task.n_classes)), split
        assert all(row["text_a"] and bool(row["text_b"]) == (name not in SINGLE) for row in rows)


def plain(first, second, number, label):
    """The texts that the layout invents for a pair of columns, and a label."""
    return *(f"{column} number {number} of a quiet day" for column in (first, second)), label


@pytest.mark.parametrize(
    ("name", "split", "expected"),
    [
        # Entailment is class 1, as in GLUE's files, where the hub has it as 0.
        ("rte", "train", [plain("sentence1", "sentence2", 0, 1)]),
        ("wnli", "train", [plain("sentence1", "sentence2", 0, 0)]),
        ("cb", "train", [plain("premise", "hypothesis", i, i) for i in range(3)]),
        # MNLI is evaluated on the section that its name says.
        ("mnli", "dev", [plain("premise", "hypothesis", 60, 0)]),
        ("mnli-mm", "dev", [plain("premise", "hypothesis", 120, 0)]),
        # COPA asks the question of both candidates.
        ("copa", "train", [
            (["The street of house 0 was wet."] * 2,
             ["What was the cause of this? It had rained.",
              "What was the cause of this? We bought a lamp."], 0),
            (["The street of house 1 was wet."] * 2,
             ["What happened as a result? It had rained.",
              "What happened as a result? We bought a lamp."], 1),
        ]),
        # WiC names the word, WSC marks both spans.
        ("wic", "train", [
            ("bank: The bank of river 0.", "The bank lends.", 0),
            ("bank: The bank of river 1.", "The bank lends.", 1),
        ]),
        ("wsc", "train", [("*Ana* told Eva that #she# won prize 0.", "", 0)]),
        # MultiRC has a row an answer, ReCoRD one an entity.
        ("multirc", "train", [
            ("Ana planted tree 0. Then she slept.", "Who? 0 Ana", 1),
            ("Ana planted tree 0. Then she slept.", "Who? 0 a dog", 0),
        ]),
        ("record", "train", [
            ("Ana Lund met Berg on day 0.", "It was Ana Lund who came early.", 1),
            ("Ana Lund met Berg on day 0.", "It was Berg who came early.", 0),
        ]),
    ],
)  # fmt: skip
def test_texts_and_labels_of_each_form(hub, name, split, expected):
    assert texts(tasks.get(name).read()[split][: len(expected)]) == expected


def test_classes_are_named_as_they_are_numbered():
    assert tasks.get("rte").classes == tasks.get("qnli").classes == ("not_entailment", "entailment")
    assert tasks.get("mnli").classes == ("entailment", "neutral", "contradiction")
    assert tasks.get("cb").classes == ("entailment", "contradiction", "neutral")


def test_rows_are_grouped_by_question_and_know_what_picking_them_earns(hub):
    rows = tasks.get("multirc").read()["train"]
    assert [row["group"] for row in rows] == ["0-0"] * 3 + ["0-1"] * 3 + ["1-2"] * 3 + ["1-3"] * 3
    rows = tasks.get("record").read()["train"][:5]
    assert [row["group"] for row in rows] == ["train-0"] * 2 + ["train-1"] * 3
    # "The Lund" is "lund": precision 1, recall 1/2.
    assert [row["credit"] for row in rows] == [
        [1, 1], [0, 0], [1, 1], [0, 0], [0, pytest.approx(2 / 3)],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "spans", "expected"),
    [
        ("Ann, she said, left.", [(0, "Ann", "*"), (1, "she", "#")], "*Ann*, #she# said, left."),
        ("a cat saw  a cat", [(3, "a cat", "*")], "a cat saw  *a cat*"),
        ("He saw his dog", [(3, "his dog", "*")], "He saw *his dog*"),  # before its word
        ("He saw the dog.", [(2, "The dog", "*")], "He saw *the dog.*"),  # other case
        ("It ran", [(9, "fast dog", "#")], "It #ran#"),  # beyond the end
    ],
)
def test_spans_are_marked_even_where_their_place_is_wrong(text, spans, expected):
    assert hub_tasks.mark_spans(text, spans) == expected


@pytest.mark.parametrize(
    ("said", "answers", "expected"),
    [
        ("The U.S.", ["us"], (1, 1)),
        ("Lund", ["Berg", "Ana Lund"], (0, 2 / 3)),
        ("new new york", ["new york"], (0, 0.8)),
        ("Berg", [], (0, 0)),
    ],
)
def test_credit_by_hand(said, answers, expected):
    assert hub_tasks.credit(said, answers) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("columns", "classes", "message"),
    [
        (["sentence1"], ("entailment", "not_entailment"), "no column sentence2"),
        (
            ["sentence1", "sentence2"],
            ("not_entailment", "entailment"),
            r"the classes are \['not_entailment', 'entailment'\], expected \['entailment'",
        ),
    ],
)
def test_other_data_than_pinned_are_refused(hub, tmp_path, monkeypatch, columns, classes, message):
    changed = {"rte": hub_layout.columns(*columns, label=classes)}
    monkeypatch.setenv("HUB_DATASETS", str(hub_layout.write(tmp_path / "other", changed)))
    with pytest.raises(TaskError, match=message) as error:
        tasks.get("rte").read()
    assert "nyu-mll/glue, rte" in str(error.value)


def test_a_folder_without_the_repository_or_the_task_is_named(hub, tmp_path, monkeypatch):
    (hub / "nyu-mll/glue/rte/train-00000-of-00001.parquet").rename(tmp_path / "away")
    with pytest.raises(TaskError, match="rte could not be read from .*nyu-mll/glue"):
        tasks.get("rte").read()
    (tmp_path / "away").rename(hub / "nyu-mll/glue/rte/train-00000-of-00001.parquet")
    monkeypatch.setenv("HUB_DATASETS", str(tmp_path))
    with pytest.raises(TaskError, match="holds no folder aps/super_glue, which copa is in"):
        tasks.get("copa").read()


def test_without_network_the_message_says_what_to_set(monkeypatch):
    for variable in ("GLUE_DIR", "HUB_DATASETS"):
        monkeypatch.delenv(variable, raising=False)
    for name in ("copa", "qqp"):
        with pytest.raises(TaskError, match="set HUB_DATASETS to a folder") as error:
            tasks.get(name).read()
        assert str(error.value).startswith(name)


# --- from rows to runs --------------------------------------------------------------------------


def test_whole_questions_are_evaluated_and_no_more_rows_than_asked(hub):
    seen = []
    for rows in (0, 5, 7, 12):
        setting = Setting(task="record", eval_rows=rows, max_length=32)
        data = prepare_inputs(setting).data.evaluation
        ids = [str(name).rpartition("-")[0] for name in data.example_ids]
        seen.append(set(ids))
        everything = tasks.get("record").read()["dev"]
        for question in set(ids):
            assert ids.count(question) == sum(row["group"] == question for row in everything)
        assert len(data) <= (rows or 99) and len(data.groups) == len(data.credit) == len(data)
    assert len(seen[0]) == 6 and seen[1] < seen[2] < seen[3] < seen[0]
    with pytest.raises(ValueError, match="eval_rows = 1, but the first question of record has"):
        prepare_inputs(Setting(task="record", eval_rows=1))


def test_the_halves_of_dev_share_no_question(hub):
    setting = Setting(task="multirc", eval_split="test-half", eval_rows=0, max_length=32)
    data = prepare_inputs(setting).data
    groups = [set(part.groups.tolist()) for part in (data.validation, data.evaluation)]
    assert not groups[0] & groups[1] and len(groups[0] | groups[1]) == 2
