"""Nothing runs with a parameter that nobody reads, or with a value of the wrong kind.

Configurations are compared with the notebooks that their jobs execute; each check is shown to fail
on a doctored notebook, setting or file.
"""

import ast
import dataclasses
import re
import shutil
import subprocess
import sys
import typing
from typing import Annotated, Literal

import pytest
from support import notebooks

from lib import paths
from lib.config import Setting, grids, job_kinds, parameters
from lib.workflow import jobs

PLANS = {"theory", "validity"}
GRIDS = {path.stem for path in (paths.ROOT / "config").glob("*.yaml")} - PLANS


def base_of(annotation):
    """The plain type under a range, a choice or a list of something."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return base_of(arguments[0])
    return type(arguments[0]) if origin is Literal else origin or annotation


@pytest.fixture
def glue(tmp_path, monkeypatch):
    """Planning reads no data, and must not need any."""
    monkeypatch.delenv("GLUE_DIR", raising=False)
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")


@pytest.mark.parametrize("name", sorted(GRIDS))
def test_the_jobs_of_a_grid_fit_the_notebooks(name, glue):
    plan = jobs.load(name)
    assert plan.settings and plan.shards
    for setting in plan.settings.values():
        parameters.check("jobs/01_finetune", setting.to_dict())
    for shard in plan.shards.values():
        parameters.check("jobs/01_finetune", {"seeds": shard.parameters["seeds"]})


@pytest.mark.parametrize("name", sorted(PLANS))
def test_the_jobs_of_a_plan_fit_the_notebooks(name):
    for job in grids.load_plans(name)[0].groups.values():
        parameters.check(job_kinds.KINDS[job.kind].notebook, job.parameters)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("batch_sise", "jobs/01_finetune: unknown parameter batch_size: did you mean batch_sise"),
        ("task", "jobs/01_finetune: task = 'rotten-tomatoes' is str, expected"),
    ],
)
def test_a_field_that_the_notebook_lacks_or_types_otherwise_stops_the_plan(
    glue, monkeypatch, name, message
):
    known = parameters.declared("jobs/01_finetune") | {name: parameters.Declared(int, 0)}
    if name == "batch_sise":
        del known["batch_size"]
    monkeypatch.setattr(parameters, "declared", lambda name: known)
    with pytest.raises(ValueError, match=message):
        jobs.load("quick")


def test_the_notebook_declares_every_field_of_a_setting_and_hands_it_on():
    """With the same type; a field that is declared and not handed on would be ignored."""
    known = parameters.declared("jobs/01_finetune")
    path = paths.ROOT / "notebooks/jobs/01_finetune.ipynb"
    source = "\n".join(cell.source for cell in notebooks.code_cells(notebooks.read(path)))
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    (call,) = [node for node in calls if ast.unparse(node.func) == "config.Setting"]
    handed = {word.arg: ast.unparse(word.value) for word in call.keywords}
    for field in dataclasses.fields(Setting):
        assert known[field.name].kind is base_of(field.type), field.name
        assert handed[field.name] == field.name
    assert len(handed) == len(dataclasses.fields(Setting))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("heads: {jobs: {a: {shares: [1e-1]}}}", "shares[0] = '1e-1' is str, expected float; YAML"),
        ("heads: {jobs: {a: {shares: [0.0]}}}", "shares[0] = 0.0 should be greater than"),
        ("heads: {jobs: {a: {spread: .nan}}}", "spread = nan should be"),
        ("heads: {jobs: {a: {scaling: units}}}", "scaling = 'units' is unknown: did you mean unit"),
        ("heads: {jobs: {a: {backbone: bert-tny}}}", "did you mean bert-tiny"),
        ("tuned: {jobs: {a: {methods: [mmr(alpa=1)]}}}", "unknown parameter alpa: did you mean"),
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


def test_every_number_of_a_setting_has_a_range():
    numbers = {s.name for s in dataclasses.fields(Setting) if base_of(s.type) in (int, float)}
    ranged = {s.name for s in dataclasses.fields(Setting) if typing.get_origin(s.type) is Annotated}
    assert len(numbers) == 13 and numbers <= ranged


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "PROFILE=locl"], "PROFILE=locl: there is no such profile; valid: local"),
        (["campaign", "CAMPAIGN_DEVICE=cdua"], "device = 'cdua' is unknown: did you mean cuda"),
        (["status", "CONFIG=theroy"], "did you mean theory?"),
    ],
)
def test_a_misspelt_name_is_one_line_that_names_the_nearest(arguments, message):
    done = subprocess.run(
        ["make", "-s", f"PY={sys.executable}", *arguments],
        cwd=paths.ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert sum(message in line for line in done.stderr.splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stderr and "  File " not in done.stderr
