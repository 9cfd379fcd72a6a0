"""The papers' own grids: they load without a network, and claim no more than is known of them.

The numbers here are written from what is known of the papers, not from the file.
"""

import dataclasses
import re
import socket

import pytest
import yaml

from lib import config, paths
from lib.config import grids
from lib.models.methods import parse_method

FILE = paths.ROOT / "config/paper.yaml"
#: Settings and seeds of each study.
SIZES = {
    "du-nguyen-standard": (2 * 3, 20),
    "du-nguyen-command-line": (2 * 3, 20),
    "du-nguyen-failed": (2 * 3, 20),
    "du-nguyen-mitigation": (2 * 3 * 4, 10),
    "du-nguyen-sst2": (2, 20),
    "mosbach-default": (4 * 4, 25),
    "mosbach-recommended": (4, 25),
    "bui-roberta": (9 + 8 - 1, 10),
    "bui-llama": (9 + 8 - 1, 10),
    "fu-sibling": (12, 10),
    "fu-stabilizers": ((12 - 2) * (2 + 3), 10),
}
LARGE = ["google-bert/bert-large-uncased", "FacebookAI/roberta-large"]
MAIN = ["rte", "mrpc", "cola"]
GRIDS = {"backbone": [LARGE], "task": [MAIN]}
SIBLING_ROWS = {
    "cb": 225, "cola": 7695, "copa": 360, "mrpc": 3294, "rte": 2241, "stsb": 5166, "wnli": 567,
    "wsc": 495,
}  # fmt: skip
#: What was read in a primary text or in the authors' own code. Nothing else may claim to be.
PRIMARY = {
    "du-nguyen-standard": GRIDS
    | {
        "seeds": [list(range(20))], "train_rows": [0], "eval_split": ["test-half"],
        "eval_rows": [0], "evals_per_epoch": [3], "optimizer": ["adamw"], "schedule": ["linear"],
        "warmup": [0.1], "learning_rate": [2e-5], "batch_size": [16], "max_length": [128],
        "weight_decay": [0.01], "max_grad_norm": [1.0],
    },
    "du-nguyen-command-line": GRIDS
    | {"seeds": [list(range(20))], "epochs": [1], "evals_per_epoch": [1]},
    "du-nguyen-failed": {
        "seeds": [list(range(20))], "evals_per_epoch": [0], "backbone": LARGE,
        "learning_rate": [5e-5, 3e-5], "task": [MAIN, MAIN],
    },
    "du-nguyen-mitigation": GRIDS
    | {
        "seeds": [list(range(10))],
        "method": [
            "mixout(p=0.1, as_published=True)", "llrd(factor=0.95)", "reinit(layers=5)",
            "wd_pre(strength=0.01)",
        ],
    },
    "du-nguyen-sst2": {"seeds": [list(range(20))], "backbone": [LARGE], "task": ["sst2"]},
    "mosbach-default": {
        "backbone": [LARGE[0]], "epochs": [3], "schedule": ["linear"], "warmup": [0.1],
        "batch_size": [16], "max_length": [128], "weight_decay": [0.01], "max_grad_norm": [1.0],
        "dropout": [0.1], "method": ["no_bias_correction"],
        "learning_rate": [[1e-5, 2e-5, 3e-5, 5e-5]],
    },
    "mosbach-recommended": {"method": ["longer(epochs=20)"], "learning_rate": [2e-5]},
    "bui-roberta": {},
    "bui-llama": {},
    "fu-sibling": {
        "seeds": [list(range(10))], "backbone": ["FacebookAI/roberta-base"], "eval_split": ["dev"],
        "eval_rows": [0], "learning_rate": [1e-5], "batch_size": [16], "max_length": [256],
        "max_grad_norm": [1.0], "task": [*SIBLING_ROWS, ["mnli", "qnli", "qqp", "sst2"]],
        "train_rows": list(SIBLING_ROWS.values()),
    },
    "fu-stabilizers": {
        "method": ["standard", "head", "mmr(alpha=1.0)", "mhloss(heads=5)", "surt(epochs=3)"]
    },
}  # fmt: skip


def graded():
    """(study, name, value, comment) of every line that gives a value."""
    study = name = ""
    for line in FILE.read_text().splitlines()[1:]:
        bare, _, comment = line.partition("  # ")
        if not bare.strip() or bare.strip().startswith("#") or bare == "studies:":
            continue
        if heading := re.fullmatch(r"  ([\w-]+):", bare):
            study = heading[1]
        elif opened := re.fullmatch(r"\s+(defaults|grid|method|<<):( [&*][\w-]+)?", bare):
            name = opened[1]
        else:
            key, text = re.fullmatch(r"\s+(?:- )?(?:(\w+): )?(.+)", bare).groups()
            yield study, key or name, yaml.safe_load(text), comment


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a grid is read without a network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("study", SIZES)
def test_every_grid_is_as_large_as_the_paper_says(no_network, study):
    [grid] = grids.load_grids(f"paper/{study}")
    assert (len(grid.settings), len(grid.seeds)) == SIZES[study] and grid.name == study
    assert len({setting.id for setting in grid.settings}) == len(grid.settings)


def test_no_study_is_left_out_and_du_and_nguyens_runs_are_480():
    assert list(yaml.safe_load(FILE.read_text())["studies"]) == list(SIZES)
    released = ("du-nguyen-standard", "du-nguyen-failed", "du-nguyen-mitigation")
    assert [SIZES[name][0] * SIZES[name][1] for name in released] == [120, 120, 240]


def test_every_value_has_a_grade():
    lines = list(graded())
    assert {study for study, *_ in lines} == set(SIZES)
    bad = [line for line in lines if not re.match(r"[PSU]: \S", line[3])]
    assert not bad, bad


@pytest.mark.parametrize("study", SIZES)
def test_primary_is_what_was_read_and_all_of_it(study):
    claimed = {}
    for where, name, value, comment in graded():
        if where == study and comment.startswith("P:"):
            claimed.setdefault(name, []).append(value)
    assert claimed == PRIMARY[study]


@pytest.mark.parametrize("study", SIZES)
def test_no_setting_relies_on_a_default_of_ours(study):
    """What the file leaves open would look like the paper's, ungraded."""
    raw = yaml.safe_load(FILE.read_text())["studies"][study]
    irrelevant = {"text_columns", "label_column", "subset_seed", "seeds_per_batch", "method"}
    decisive = {spec.name for spec in dataclasses.fields(config.Setting)} - irrelevant
    for entry in raw["grid"]:
        given = raw["defaults"] | entry
        methods = given.get("method", "standard")
        prescribed = parse_method(methods).values() if isinstance(methods, str) else ()
        for method in prescribed:
            given |= method.prescribed()
        assert decisive - set(given) == set()
