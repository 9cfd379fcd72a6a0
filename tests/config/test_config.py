"""Strict settings: a misspelt, mistyped or senseless value is an error that says what is valid."""

import pytest

from lib import config
from lib.config import Setting, grids
from lib.config import seeds as seeds_module

GRID = """
seeds: [0, 1, 2]
seeds_per_job: 2
defaults: {backbone: bert-tiny, epochs: 3}
grid:
  - {task: [nyt, amazon], learning_rate: [1.0e-4, 1.0e-3]}
  - {task: boolq}
"""


@pytest.fixture
def grid_of(tmp_path):
    """The grid of ``demo.yaml`` after replacements in it."""

    def load(old="", new="", text=GRID, study=""):
        (tmp_path / "demo.yaml").write_text(text.replace(old, new) if old else text)
        return load_grid(tmp_path / "demo.yaml" / study)

    return load


def load_grid(source):
    [grid] = grids.load_grids(source)
    return grid


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task": "stsb-binry"}, "task = 'stsb-binry' is unknown: did you mean stsb-binary"),
        ({"backbone": "bert-tinny"}, "did you mean bert-tiny"),
        ({"method": "mixin"}, "method 'mixin' is unknown: did you mean mixout"),
        ({"learning_rate": "2e-5"}, "YAML reads this as text: write 2.0e-05"),
        ({"learning_rate": "2-5"}, "learning_rate = '2-5' is str, expected float$"),
        ({"epochs": 3.0}, "epochs = 3.0 is float, expected int"),
        ({"epochs": True}, "is bool, expected int"),
        ({"precision": "half"}, "precision = 'half' is unknown: valid: bfloat16, float32"),
        ({"max_grad_norm": float("nan")}, "max_grad_norm = nan should be greater than or"),
        ({"dropout": -0.5}, "dropout = -0.5: give a probability below 1, or -1"),
        ({"epocs": 3}, "unknown parameter epocs: did you mean epochs"),
        ({"epochs": "3", "warmup": 2}, "is str, expected int; warmup = 2 should be less"),
        ({"text_columns": [1]}, r"text_columns\[0\] = 1 is int, expected str"),
    ],
)
def test_a_setting_refuses(values, message):
    with pytest.raises(ValueError, match=message):
        Setting(**values)


@pytest.mark.parametrize("looks", [1, 3])
def test_no_checkpoint_is_selected_on_what_is_measured(looks):
    with pytest.raises(ValueError, match='Set eval_split = "test-half"'):
        Setting(evals_per_epoch=looks)
    assert Setting(evals_per_epoch=looks, eval_split="test-half").evals_per_epoch == looks


@pytest.mark.parametrize("columns", [["review text"], ["a", "b c"], ["[odd]", "ä"]])
def test_a_setting_is_read_back_from_the_row_of_a_table(columns):
    setting = Setting(text_columns=columns, method="llrd", learning_rate=1e-3)
    assert config.from_row(config.to_row(setting.to_dict()) | {"score": 0.5}) == setting


def test_every_field_changes_the_id():
    changes = {
        "backbone": "minilm-l6", "task": "nyt", "text_columns": ["x"], "label_column": "y",
        "train_rows": 5, "subset_seed": 1, "eval_rows": 5, "eval_split": "test-half",
        "learning_rate": 1e-4, "epochs": 2, "optimizer": "sgd", "schedule": "cosine",
        "batch_size": 8, "max_length": 64, "warmup": 0.2, "weight_decay": 0.1, "max_grad_norm": 2.0,
        "precision": "bfloat16", "dropout": 0.0, "seeds_per_batch": 2, "method": "llrd",
    }  # fmt: skip
    ids = {Setting(**{name: value}).id for name, value in changes.items()} | {Setting().id}
    assert len(ids) == len(changes) + 1


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ([], "seeds is empty"),
        ([1, 2, 1], "repeated: seed1;"),
        ([0, "seed1-lint0"], "'seed1-lint0' is not a seed; write 3, or seed3-init0"),
        ([-3], "not be negative"),
        ([0, 1.0], r"seeds\[1\] = 1.0 is float, expected int"),
    ],
)
def test_seeds(seeds, message):
    with pytest.raises(ValueError, match=message):
        seeds_module.read(seeds)


def test_jobs_do_not_cut_batches_of_seeds(grid_of):
    batches = GRID.replace("{task: boolq}", "{task: boolq, seeds_per_batch: 3}")
    with pytest.raises(ValueError, match="seeds_per_job = 2 is no multiple of seeds_per_batch = 3"):
        grid_of(text=batches)
    assert len(grid_of("seeds_per_job: 2", "seeds_per_job: 3", batches).settings) == 5


def test_labels_say_which_streams_are_held():
    found = seeds_module.read([2, "seed3-init0", "seed0-init1-order2-dropout3"])
    assert [(s.seed, s.init, s.order, s.dropout) for s in found] == [
        (2, 2, 2, 2), (3, 0, 3, 3), (0, 1, 2, 3),
    ]  # fmt: skip
    assert [s.label for s in found] == ["seed2", "seed3-init0", "seed0-init1-order2-dropout3"]


def test_streams_are_crossed(grid_of):
    grid = grid_of("[0, 1, 2]", "[0]\ncross: {init: [0, 1], order: [0, 5, 7]}")
    labels = [label for shard in grid.shards for label in shard]
    assert labels == [
        "seed0", "seed0-order5", "seed0-order7",
        "seed0-init1", "seed0-init1-order5", "seed0-init1-order7",
    ]  # fmt: skip


def namespace(code):
    scope = {}
    exec("import numpy as np\n" + code, scope)
    return scope


def test_notebook_parameters_are_returned_and_floats_completed_and_a_cell_may_be_run_twice():
    scope = namespace("rate: float = 0.1\nseeds: list = [0]\nrate = 1")
    assert config.check_parameters(scope) == {"rate": 1.0, "seeds": [0]}
    assert type(scope["rate"]) is float
    # The second time, the story's variables are there; they are no parameters.
    scope["answers"] = [1, 2]
    assert config.check_parameters(scope) == {"rate": 1.0, "seeds": [0]}
    scope["rate"] = "0.2"
    with pytest.raises(ValueError, match="rate = '0.2' is str"):
        config.check_parameters(scope)


@pytest.mark.parametrize(
    ("injected", "message"),
    [
        ("sead = 3", "unknown parameter sead: did you mean seed"),
        ("rate = '2e-5'", "rate = '2e-5' is str, expected float; YAML reads this as text"),
    ],
)
def test_what_papermill_injects_is_checked(injected, message):
    scope = namespace(f"rate: float = 0.1\nseed: int = 0\n{injected}")
    with pytest.raises(ValueError, match=message):
        config.check_parameters(scope)


def test_a_grid_is_a_product(grid_of):
    grid = grid_of()
    assert grid.name == "demo" and len(grid.settings) == 5
    assert grid.shards == [["seed0", "seed1"], ["seed2"]]
    assert {s.epochs for s in grid.settings} == {3}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1.0e-4", "1e-4", r"demo.yaml: learning_rate = '1e-4' is str.*write 1.0e-04"),
        ("epochs: 3", "epocs: 3", "unknown parameter epocs: did you mean epochs"),
        ("seeds_per_job", "seed_per_job", "seed_per_job: did you mean seeds_per_job"),
        ("task: boolq", "task: nyt, learning_rate: 1.0e-3", "settings appear twice"),
        ("seeds: [0, 1, 2]", "", "seeds is missing"),
        ("seeds_per_job: 2", "unions: {both: [nope]}", "union both: no setting nope"),
        ("2]", "2]\ncross: {inti: [0]}", "demo.yaml: cross = 'inti' is unknown: did you mean init"),
    ],
)
def test_a_grid_refuses(grid_of, old, new, message):
    with pytest.raises(ValueError, match=message):
        grid_of(old, new)


@pytest.mark.parametrize(
    ("written", "columns"),
    [
        ("[body]", [["body"]]),
        ("[title, body]", [["title", "body"]]),
        ("[[body]]", [["body"]]),
        ("[[body], [title, body]]", [["body"], ["title", "body"]]),
    ],
)
def test_a_list_of_names_is_one_value_and_a_list_of_lists_is_several(grid_of, written, columns):
    grid = grid_of("task: boolq", f"task: boolq, text_columns: {written}")
    assert [s.text_columns for s in grid.settings if s.task == "boolq"] == columns


OWN = """
seeds: [0, 1]
grid:
  - {task: reviews.csv, text_columns: [review text], label_column: stars, epochs: [1, 2]}
"""


def test_a_table_of_ones_own_lies_beside_the_grid_or_in_the_working_directory(
    tmp_path, monkeypatch
):
    path = tmp_path / "study/mine.yaml"
    path.parent.mkdir()
    path.write_text(OWN)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=r"mine.yaml: task = 'reviews.csv'.*nor in the working directory /"
    ):
        load_grid(path)
    table = "\n".join(["review text,stars", *(f"on day {i},{i % 2}" for i in range(40))])
    (tmp_path / "reviews.csv").write_text(table)
    assert {s.task for s in load_grid(path).settings} == {"reviews.csv"}
    (tmp_path / "study/reviews.csv").write_text(table)
    beside = load_grid("study/mine.yaml")
    assert beside.settings == load_grid(path).settings
    assert {s.task for s in beside.settings} == {str(tmp_path / "study/reviews.csv")}
    assert beside.has_classes and len(beside.settings) == 2


STUDIES = f"""
studies:
  one:{GRID.replace(chr(10), chr(10) + "    ")}
  two:
    seeds: [7]
    grid: [{{task: nyt}}]
"""


def test_a_file_may_hold_several_studies(grid_of):
    one, two = (grid_of(text=STUDIES, study=study) for study in ("one", "two"))
    assert (one.name, len(one.settings), len(one.seeds)) == ("one", 5, 3)
    assert two.name == "two" and [seeds.seed for seeds in two.seeds] == [7]
    assert [setting.id for setting in two.settings] == [Setting(task="nyt").id]


@pytest.mark.parametrize(
    ("study", "old", "new", "message"),
    [
        ("tow", "", "", "demo.yaml: no study tow: did you mean two"),
        ("two", "studies:", "seeds: [0]\nstudies:", "beside studies stands seeds"),
        ("two", "  two:", "  two: 3\n  rest:", "demo.yaml: studies: two = 3 is int, expected dict"),
        ("reference-2", "two", "reference-2", "kept for promoted results"),
    ],
)
def test_a_file_of_studies_refuses(grid_of, study, old, new, message):
    with pytest.raises(ValueError, match=message):
        grid_of(old, new, STUDIES, study)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("quick/two", "quick.yaml: there are no studies in it: leave out /two"),
        ("quik", "did you mean quick"),
        ("nosuch", "nosuch.yaml: valid: campaign, course, distinct-methods, failing"),
        ("paper/du-nguyen-standrad", "did you mean du-nguyen-standard"),
    ],
)
def test_a_configuration_that_is_not_there_is_named(source, message):
    with pytest.raises(ValueError, match=message):
        load_grid(source)
