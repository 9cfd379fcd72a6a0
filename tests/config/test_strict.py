"""Nothing runs with a parameter that nobody reads, or with a value of the wrong kind.

Configurations are compared with the notebooks that their jobs execute; each check is shown to fail
on a doctored notebook, setting or file.
"""

import ast
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import typing
from typing import Annotated, Literal

import nbformat
import pytest
import yaml
from support import notebooks

from lib import errors, paths
from lib.config import Setting, grids, job_kinds, parameters
from lib.workflow import jobs

GRIDS = [
    "campaign", "failing", "glue", "ladder", "methods", "paper", "quick", "sizes", "sources",
    "stabilizers", "standard", "tasks",
]  # fmt: skip
PLANS = ["theory", "validity"]


def test_every_file_of_configurations_is_checked_here():
    files = {path.stem for path in (paths.ROOT / "config").glob("*.yaml")}
    assert files == {*GRIDS, *PLANS}


def base_of(annotation):
    """The plain type under a range, a choice or a list of something."""
    base = (
        typing.get_args(annotation)[0] if typing.get_origin(annotation) is Annotated else annotation
    )
    return (
        type(typing.get_args(base)[0])
        if typing.get_origin(base) is Literal
        else typing.get_origin(base) or base
    )


@pytest.fixture
def glue(tmp_path, monkeypatch):
    """Planning reads no data, and must not need any."""
    monkeypatch.delenv("GLUE_DIR", raising=False)
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")


@pytest.mark.parametrize("name", GRIDS)
def test_the_jobs_of_a_grid_fit_the_notebooks(name, glue):
    plan = jobs.load(name)
    assert plan.settings and plan.shards
    for setting in plan.settings.values():
        parameters.check("10_finetune", setting.to_dict())
    for labels in plan.shards.values():
        parameters.check("10_finetune", {"seeds": labels})


@pytest.mark.parametrize("name", PLANS)
def test_the_jobs_of_a_plan_fit_the_notebooks(name):
    for job in grids.load_plans(name)[0].groups.values():
        parameters.check(job_kinds.KINDS[job.kind].notebook, job.parameters)


def test_a_field_of_a_setting_that_the_notebook_lacks_stops_the_plan(glue, monkeypatch):
    plan = jobs.load("quick")

    @errors.checked
    class More(Setting):
        batch_sise: int = 8

    doctored = {name: More(**setting.to_dict()) for name, setting in plan.settings.items()}
    with pytest.raises(ValueError, match="unknown parameter batch_sise: did you mean batch_size"):
        jobs._check_notebooks(dataclasses.replace(plan, settings=doctored))


def test_a_field_of_another_type_than_the_notebook_declares_stops_the_plan(glue, monkeypatch):
    known = parameters.declared("10_finetune")
    other = known | {"epochs": parameters.Declared(float, 3.0), "task": parameters.Declared(int, 0)}
    monkeypatch.setattr(parameters, "declared", lambda name: other)
    with pytest.raises(ValueError, match="10_finetune: task = 'rotten-tomatoes' is str, expected"):
        jobs.load("quick")


def test_the_notebook_declares_every_field_of_a_setting_and_hands_it_on():
    """With the same type; a field that is declared and not handed on would be ignored."""
    known = parameters.declared("10_finetune")
    path = paths.ROOT / "notebooks/10_finetune.ipynb"
    source = "\n".join(cell.source for cell in notebooks.code_cells(notebooks.read(path)))
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    (call,) = [node for node in calls if ast.unparse(node.func) == "config.Setting"]
    handed = {word.arg: ast.unparse(word.value) for word in call.keywords}
    for field in dataclasses.fields(Setting):
        assert known[field.name].kind is base_of(field.type), field.name
        assert handed[field.name] == field.name
    assert len(handed) == len(dataclasses.fields(Setting))


# --- parameters that nobody reads -----------------------------------------------------------------


def doctored(name, old, new):
    notebook = notebooks.read(paths.ROOT / "notebooks" / f"{name}.ipynb")
    hits = [cell for cell in notebooks.code_cells(notebook) if old in cell.source]
    assert hits
    hits[0].source = hits[0].source.replace(old, new, 1)
    return nbformat.from_dict(notebook)


@pytest.mark.parametrize(
    ("name", "old", "new", "unread"),
    [
        ("10_finetune", "seeds: list", "forgotten: int = 1  # x\nseeds: list", {"forgotten"}),
        ("10_finetune", "weight_decay=weight_decay, ", "", {"weight_decay"}),
        ("10_finetune", "torch.set_num_threads(threads)", "torch.set_num_threads(1)", {"threads"}),
        (
            "12_measure_group",
            "group_runs, measures, device",
            "group_runs, [], device",
            {"measures"},
        ),
        ("43_sweep_synthetic_sets", "radius=radius", "radius=1.0", {"radius"}),
        ("60_report_on_your_runs", "level=level, ", "", {"level"}),
    ],
)
def test_a_parameter_that_no_cell_reads_is_found(name, old, new, unread):
    """The colophon prints parameters, which is not what reads them."""
    whole = notebooks.read(paths.ROOT / "notebooks" / f"{name}.ipynb")
    assert notebooks.unread_parameters(whole) == set()
    assert notebooks.unread_parameters(doctored(name, old, new)) == unread


def test_a_parameter_that_is_only_overwritten_is_not_read():
    notebook = doctored("12_measure_group", "made = groups", "device = ''\nmade = groups")
    lines = "group_runs, measures, device or None"
    for cell in notebook.cells:
        cell.source = cell.source.replace(lines, "group_runs, measures, None")
    assert notebooks.unread_parameters(notebook) == {"device"}


# --- values of the wrong kind ---------------------------------------------------------------------


def scalar_places(raw):
    """(path, value) of every number in a configuration."""
    if isinstance(raw, dict | list):
        for key, value in raw.items() if isinstance(raw, dict) else enumerate(raw):
            yield from (((key, *rest), found) for rest, found in scalar_places(value))
    elif type(raw) in (int, float):
        yield (), raw


def with_value(raw, place, value):
    """A copy of nested dictionaries and lists with one value replaced."""
    if not place:
        return value
    copied = raw.copy()
    copied[place[0]] = with_value(raw[place[0]], place[1:], value)
    return copied


@pytest.mark.parametrize("name", ["quick", "ladder", "sources", "stabilizers", "glue", *PLANS])
def test_no_number_of_a_configuration_may_be_text(tmp_path, name):
    """As YAML reads ``2e-5``, which has no point: each number in turn."""
    raw = yaml.safe_load((paths.ROOT / f"config/{name}.yaml").read_text())
    numbers = list(scalar_places(raw))
    assert len(numbers) >= 7
    for place, value in numbers:
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(with_value(raw, place, str(value)), sort_keys=False))
        with pytest.raises(ValueError, match=r"is str|is not a seed"):
            grids.load_plans(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("heads: {jobs: {a: {shares: [1e-1]}}}", "shares[0] = '1e-1' is str, expected float; YAML"),
        ("heads: {jobs: {a: {steps: [1, 10.0]}}}", "steps[1] = 10.0 is float, expected int"),
        ("heads: {jobs: {a: {steps: []}}}", "steps is empty"),
        (
            "heads: {jobs: {a: {shares: [0.0]}}}",
            "shares[0] = 0.0 should be greater than or equal to 0.000000001",
        ),
        (
            "heads: {jobs: {a: {spread: -0.1}}}",
            "spread = -0.1 should be greater than or equal to 0",
        ),
        ("heads: {jobs: {a: {spread: .nan}}}", "spread = nan should be"),
        ("heads: {jobs: {a: {runs: 1}}}", "runs = 1 should be greater than or equal to 2"),
        ("heads: {jobs: {a: {scaling: units}}}", "scaling = 'units' is unknown: did you mean unit"),
        ("heads: {jobs: {a: {normalization: N3}}}", "normalization = 'N3' is unknown"),
        ("heads: {jobs: {a: {pooling: max}}}", "pooling = 'max' is unknown"),
        ("heads: {jobs: {a: {backbone: bert-tny}}}", "did you mean bert-tiny"),
        ("heads: {jobs: {a: {task: rotten}}}", "task = 'rotten' is unknown"),
        ("heads: {jobs: {a: {train_rows: -1}}}", "train_rows = -1 should be greater"),
        ("tuned: {jobs: {a: {methods: [mmr(alpa=1)]}}}", "unknown parameter alpa: did you mean"),
        ("tuned: {jobs: {a: {epochs: 0}}}", "epochs = 0 should be greater"),
        ("full: {jobs: {a: {task: sst}}}", "task = 'sst' is unknown"),
        ("synthetic: {jobs: {a: {loss: hinge}}}", "loss = 'hinge' is unknown"),
        ("synthetic: {jobs: {a: {n: [2]}}}", "n[0] = 2 should be greater than or equal to 3"),
    ],
)
def test_a_wrong_value_of_a_plan_is_refused_before_any_job(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        grids.load_plans(path)
    assert str(refused.value).startswith("mine.yaml: job a: ")


def test_every_number_and_every_word_of_a_job_has_a_range():
    """A parameter that is added to a job's notebook has to be given one, and one of its kind."""
    fields = {spec.name: spec.type for spec in dataclasses.fields(Setting)}
    for spec in job_kinds.KINDS.values():
        for name, known in parameters.declared(spec.notebook).items():
            kind = type(known.default[0]) if known.kind is list else known.kind
            if name in fields:
                assert base_of(fields[name]) is kind, name
            elif name not in ("methods", "results", "job"):
                assert (name in job_kinds.CHOICES) == (kind is str), name
                assert name in job_kinds.CHOICES or name in job_kinds.RANGES, name


def test_the_defaults_of_a_job_are_in_range():
    for kind, spec in job_kinds.KINDS.items():
        declared = parameters.declared(spec.notebook)
        values = {k: v.default for k, v in declared.items() if k not in ("results", "job")}
        plan = job_kinds.load(paths.ROOT / "x.yaml", "x", {kind: {"jobs": {"a": values}}})
        assert plan.groups["a"].parameters == values


def test_the_choices_of_a_job_are_those_that_its_notebook_offers():
    """The help beside a parameter names them."""
    for spec in job_kinds.KINDS.values():
        path = paths.ROOT / "notebooks" / f"{spec.notebook}.ipynb"
        cell = notebooks.parameters_cell(notebooks.read(path)).source
        for name in set(parameters.declared(spec.notebook)) & set(job_kinds.CHOICES):
            line = re.search(rf"^{name}: .*", cell, re.M)[0]
            words = typing.get_args(job_kinds.CHOICES[name])
            assert all(word in line or word == "unit" for word in words), line


def test_every_number_of_a_setting_has_a_range():
    numbers = {s.name for s in dataclasses.fields(Setting) if base_of(s.type) in (int, float)}
    ranged = {s.name for s in dataclasses.fields(Setting) if typing.get_origin(s.type) is Annotated}
    assert len(numbers) == 13 and numbers <= ranged


# --- names that are misspelt on the command line -------------------------------------------------


def make(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(paths.ROOT)}
    environment.pop("MAKEFLAGS", None)
    return subprocess.run(
        ["make", "-s", f"PY={sys.executable}", *arguments],
        cwd=paths.ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "CONFIG=quik"], "quik.yaml: did you mean quick?"),
        (["run", "CONFIG=nosuch"], "nosuch.yaml: valid: campaign, failing, glue, ladder, methods"),
        (["run", "CONFIG=paper/du-nguyen-standrad"], "did you mean du-nguyen-standard"),
        (["run", "PROFILE=locl"], "PROFILE=locl: there is no such profile; valid: local"),
        (["run", "SEEDS_PER_JOB=two"], "seeds_per_job = 'two' is str, expected int"),
        (["status", "CONFIG=theroy"], "did you mean theory?"),
        (["campaign", "CONFIG=sorces"], "did you mean sources"),
        (["campaign", "CAMPAIGN_DEVICE=cdua"], "device = 'cdua' is unknown: did you mean cuda"),
        (["status", "CONFIG=nosuch"], "nosuch.yaml: valid: campaign"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_a_misspelt_name_is_one_line_that_names_the_nearest(arguments, message):
    done = make(*arguments)
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if message in line]
    assert len(said) == 1, done.stderr
    assert "Traceback" not in done.stderr and "  File " not in done.stderr
    own = (message, "make: ***", "Using profile", "usage:", "               ")
    assert [line for line in done.stderr.splitlines() if not any(w in line for w in own)] == []
