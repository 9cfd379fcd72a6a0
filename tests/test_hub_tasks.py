"""GLUE and SuperGLUE through the hub, on invented data in the hub's own layout and schemas."""

import dataclasses

import hub_layout
import numpy as np
import pytest
from conftest import train_runs
from datasets import ClassLabel, Features, Value

from lib.config import Setting
from lib.config.seeds import Seeds
from lib.data import examples, hub_tasks, tasks
from lib.errors import TaskError
from lib.models import backbones, pretrained
from lib.training import evaluation
from lib.training.inputs import prepare_inputs

GLUE = ["cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "qnli", "rte", "wnli"]
SUPERGLUE = ["boolq", "cb", "copa", "multirc", "record", "rte", "wic", "wsc"]


def texts(rows):
    return [(row["text_a"], row["text_b"], row["label"]) for row in rows]


@pytest.mark.parametrize("name", sorted({*GLUE, *SUPERGLUE, "mnli-mm"}))
def test_all_nine_and_all_eight_are_read(hub, name):
    task = tasks.get(name)
    splits = task.read()
    assert {"train", "dev"} <= set(splits)
    for split in ("train", "dev"):
        rows = splits[split]
        assert len({row["example_id"] for row in rows}) == len(rows) >= 6
        labels = {row["label"] for row in rows}
        if task.n_classes > 1:
            assert labels == set(range(task.n_classes)), split
        for row in rows[:50]:
            both = (row["text_a"], row["text_b"])
            kinds = {type(text) for text in both}
            assert kinds == ({list} if task.choices > 1 else {str})
            if task.choices > 1:
                assert {len(text) for text in both} == {task.choices}
            assert row["text_a"] and bool(row["text_b"]) == task.pair


def test_official_metrics():
    """Main metric and further ones, as the two benchmarks' papers list them."""
    official = {
        "cola": ("mcc",), "sst2": ("accuracy",), "mrpc": ("f1", "accuracy"),
        "qqp": ("f1", "accuracy"), "stsb": ("pearson", "spearman"), "mnli": ("accuracy",),
        "qnli": ("accuracy",), "rte": ("accuracy",), "wnli": ("accuracy",), "boolq": ("accuracy",),
        "cb": ("accuracy", "macro-f1"), "copa": ("accuracy",), "multirc": ("f1", "group-em"),
        "record": ("pick-f1", "pick-em"), "wic": ("accuracy",), "wsc": ("accuracy",),
    }  # fmt: skip
    for name, metrics in official.items():
        task = tasks.get(name)
        assert (task.metric, *task.other_metrics) == metrics, name


def test_classes_are_numbered_as_documented(hub):
    """Entailment is class 1, as in GLUE's files, where the hub has it as 0."""
    assert tasks.get("rte").classes == tasks.get("qnli").classes == ("not_entailment", "entailment")
    first = tasks.get("rte").read()["train"][0]
    assert first["text_a"] == "sentence1 number 0 of a quiet day" and first["label"] == 1
    assert tasks.get("wnli").read()["train"][0]["label"] == 0
    assert tasks.get("mnli").classes == ("entailment", "neutral", "contradiction")
    assert tasks.get("cb").classes == ("entailment", "contradiction", "neutral")
    assert [r["label"] for r in tasks.get("cb").read()["train"][:3]] == [0, 1, 2]


def test_mnli_is_evaluated_on_the_section_that_its_name_says(hub):
    matched, mismatched = (tasks.get(name).read() for name in ("mnli", "mnli-mm"))
    assert matched["train"] == mismatched["train"]
    assert matched["dev"][0]["text_a"] == "premise number 60 of a quiet day"
    assert mismatched["dev"][0]["text_a"] == "premise number 120 of a quiet day"


def test_copa_asks_the_question_of_both_candidates(hub):
    first, second = tasks.get("copa").read()["train"][:2]
    assert first["text_a"] == ["The street of house 0 was wet."] * 2
    assert first["text_b"] == [
        "What was the cause of this? It had rained.",
        "What was the cause of this? We bought a lamp.",
    ]
    assert second["text_b"][0] == "What happened as a result? It had rained."
    assert (first["label"], second["label"]) == (0, 1)


def test_wic_names_the_word_and_wsc_marks_both_spans(hub):
    assert texts(tasks.get("wic").read()["train"])[1] == (
        "bank: The bank of river 1.", "The bank lends.", 1,
    )  # fmt: skip
    assert texts(tasks.get("wsc").read()["train"])[0] == (
        "*Ana* told Eva that #she# won prize 0.", "", 0,
    )  # fmt: skip


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


def test_multirc_has_a_row_an_answer_and_groups_them_by_question(hub):
    rows = tasks.get("multirc").read()["train"]
    assert texts(rows[:2]) == [
        ("Ana planted tree 0. Then she slept.", "Who? 0 Ana", 1),
        ("Ana planted tree 0. Then she slept.", "Who? 0 a dog", 0),
    ]
    assert [row["group"] for row in rows] == ["0-0"] * 3 + ["0-1"] * 3 + ["1-2"] * 3 + ["1-3"] * 3


def test_record_fills_in_every_entity_and_knows_what_each_earns(hub):
    rows = tasks.get("record").read()["train"][:5]
    assert [row["text_b"] for row in rows[:2]] == [
        "It was Ana Lund who came early.",
        "It was Berg who came early.",
    ]
    assert [row["label"] for row in rows] == [1, 0, 1, 0, 0]
    assert [row["group"] for row in rows] == ["train-0"] * 2 + ["train-1"] * 3
    # "The Lund" is "lund": precision 1, recall 1/2.
    assert [row["credit"] for row in rows] == [
        [1, 1], [0, 0], [1, 1], [0, 0], [0, pytest.approx(2 / 3)],
    ]  # fmt: skip


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
    ("config", "features", "message"),
    [
        (
            "rte",
            Features({"sentence1": Value("string"), "label": ClassLabel(names=["0", "1"])}),
            "no column sentence2",
        ),
        (
            "rte",
            hub_layout.columns(
                "sentence1", "sentence2", label=ClassLabel(names=["not_entailment", "entailment"])
            ),
            r"the classes are \['not_entailment', 'entailment'\], expected \['entailment'",
        ),
    ],
)
def test_data_that_are_not_as_pinned_are_refused(
    hub, tmp_path, monkeypatch, config, features, message
):
    changed = hub_layout.write(tmp_path / "other", changed={("nyu-mll/glue", config): features})
    monkeypatch.setenv("HUB_DATASETS", str(changed))
    with pytest.raises(TaskError, match=message) as error:
        tasks.get(config).read()
    assert f"nyu-mll/glue, {config}" in str(error.value)


def test_a_folder_without_the_repository_or_the_task_is_named(hub, tmp_path, monkeypatch):
    (hub / "nyu-mll/glue/rte/train-00000-of-00001.parquet").rename(tmp_path / "away")
    with pytest.raises(TaskError, match="rte could not be read from .*nyu-mll/glue"):
        tasks.get("rte").read()
    (tmp_path / "away").rename(hub / "nyu-mll/glue/rte/train-00000-of-00001.parquet")
    monkeypatch.setenv("HUB_DATASETS", str(tmp_path))
    with pytest.raises(TaskError, match="holds no folder aps/super_glue, which copa is in"):
        tasks.get("copa").read()


def test_glue_files_come_before_the_hub(hub, tmp_path, monkeypatch):
    for split in ("train", "dev"):
        (tmp_path / "CoLA").mkdir(exist_ok=True)
        (tmp_path / f"CoLA/{split}.tsv").write_text("gj04\t1\t\tThey sing at noon.\n")
    monkeypatch.setenv("GLUE_DIR", str(tmp_path))
    assert texts(tasks.get("cola").read()["dev"]) == [("They sing at noon.", "", 1)]
    assert tasks.get("sst2").read()["dev"][0]["text_a"].startswith("sentence number")


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


def test_the_digest_is_that_of_the_whole(hub):
    from lib import provenance

    for name in ("copa", "record", "stsb"):
        splits = tasks.get(name).read()
        assert examples.contents_digest(splits) == provenance.digest(splits)


def test_copa_trains_as_a_choice(hub):
    """The wet street has rain as its cause, a lamp as its result: to be learnt from 12 examples."""
    setting = Setting(
        task="copa", epochs=30, learning_rate=2e-3, max_length=32, batch_size=4, warmup=0.0
    )
    run = train_runs(setting, Seeds.of(0))
    assert run.logits.shape == (6, 2) and run.labels.tolist() == [0, 1] * 3
    assert run.vectors["first"].shape == run.vectors["mean"].shape == (3, 6, 2 * 128)
    assert run.record["classes"] == ["choice1", "choice2"] and run.record["majority"] == 0.5
    assert run.log[0]["loss"] == pytest.approx(np.log(2), abs=0.3)
    assert run.record["accuracy"] == 1.0 and run.record["status"] == "ok"


def test_a_choice_is_evaluated_as_its_candidates_one_by_one(hub):
    """Batched and padded logits and vectors equal those of every candidate on its own."""
    import torch

    located = pretrained.locate("bert-tiny")
    data = prepare_inputs(Setting(task="copa", max_length=32)).data
    assert data.n_outputs == 1 and data.n_classes == 2
    model, _ = backbones.load_classifier(located, data.n_outputs, 0)
    cpu = torch.device("cpu")
    seen = evaluation.evaluate(model, data.evaluation, cpu, precision="float32", pooled="auto")
    tokenizer = backbones.load_tokenizer(located)
    for i, row in enumerate(tasks.get("copa").read()["dev"]):
        for k in range(2):
            inputs = tokenizer(row["text_a"][k], row["text_b"][k], return_tensors="pt")
            with torch.no_grad():
                output = model(**inputs, output_hidden_states=True)
            assert seen.logits[i, k] == pytest.approx(output.logits.item(), abs=1e-5)
            part = slice(k * 128, (k + 1) * 128)
            for layer, state in enumerate(output.hidden_states):
                np.testing.assert_allclose(
                    seen.vectors["first"][layer, i, part], state[0, 0], atol=1e-4
                )
                np.testing.assert_allclose(
                    seen.vectors["mean"][layer, i, part], state[0].mean(0), atol=1e-4
                )


@pytest.mark.parametrize("name", ["record", "multirc", "cb"])
def test_further_metrics_are_in_the_record(hub, name):
    setting = Setting(task=name, epochs=1, max_length=32)
    run = train_runs(setting, Seeds.of(0))
    assert list(run.record["other_scores"]) == list(tasks.get(name).other_metrics)
    assert 0 <= run.record["other_scores"][tasks.get(name).other_metrics[0]] <= 1


def test_best_checkpoints_of_grouped_tasks_are_chosen_by_their_metric(hub):
    setting = Setting(
        task="record", epochs=1, max_length=32, eval_split="test-half", evals_per_epoch=2
    )
    assert train_runs(setting, Seeds.of(0)).record["metric"] == "pick-f1"


def test_grouped_tasks_train_on_single_rows(hub):
    setting = Setting(task="record", train_rows=4, max_length=32)
    some = prepare_inputs(setting).data.train
    more = prepare_inputs(dataclasses.replace(setting, train_rows=9)).data.train
    assert len(some) == 4 and set(some.example_ids) < set(more.example_ids)
