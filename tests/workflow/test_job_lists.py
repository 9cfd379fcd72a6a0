"""Jobs of notebooks: their plans, their promotion, their notebooks with tiny values."""

import json
import re

import pandas as pd
import pytest
import yaml
from support import notebooks

from lib import paths, provenance
from lib.config import grids, job_kinds, parameters
from lib.config.job_kinds import Job, JobList
from lib.results import tables
from lib.theory import sweeps
from lib.workflow import jobs, promotion, status


def test_the_reference_holds_every_job_and_violates_no_bound():
    [plan] = grids.load_plans("theory")
    given = plan.groups["random"].parameters
    assert (given["sets"], given["loss"]) == (300, "logistic"), "its own before the shared ones"
    for job in plan.groups.values():
        for table in job.spec.tables:
            assert len(tables.read_stored("reference-theory", table, [job.name]))
    for table in sweeps.BOUNDED:
        bounds = sweeps.tightness(tables.read_stored("reference-theory", table), table)
        assert bounds["violated"].sum() == 0 and bounds["compared"].min() > 0
    margins = tables.read_stored("reference-theory", "margins")
    assert (2 * margins["margin"] <= margins["centre_distance"]).loc[margins["separable"]].all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("synthetic: {jobs: {a: {job: b}}}", "unknown parameter job"),
        (
            "synthetic: {job: {a: {}}}",
            "synthetic: jobs is missing; unknown parameter job: did you mean jobs",
        ),
        ("sinthetic: {jobs: {a: {}}}", "did you mean synthetic"),
        ("synthetic: {jobs: {a/b: {}}}", "letters, digits"),
        ("synthetic: {jobs: {a: {}}}\nheads: {jobs: {a: {}}}", "two jobs are called a"),
        ("[]", "expected the keys seeds and grid, or kinds of jobs, found []"),
        (None, "no configuration"),
    ],
)
def test_a_wrong_plan_is_refused(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        grids.load_plans(path)


FRAMES = {table: pd.DataFrame({"x": [1.0]}) for table in job_kinds.KINDS["synthetic"].tables}
VALUES = {
    name: known.default
    for name, known in parameters.declared("jobs/04_sweep_synthetic_sets").items()
}


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)
    monkeypatch.setattr(paths, "COMMITTED", tmp_path / "committed")
    return tmp_path


@pytest.mark.parametrize("packed", [False, True])
def test_jobs_are_promoted_one_by_one_and_those_that_left_the_plan_are_dropped(store, packed):
    plan = JobList("mine", {name: Job(name, "synthetic", {}) for name in ("a", "b")})
    tables.save_tables("mine", "a", FRAMES, parameters=VALUES)
    with pytest.raises(FileNotFoundError, match="no results of b"):
        promotion.promote("mine", "b")
    tables.save_tables("mine", "b", FRAMES, parameters=VALUES)
    promotion.promote("mine", "a")
    incomplete = ["reference-mine: 1 of 2 are missing, so nothing is packed"]
    assert promotion.pack(plan) == incomplete
    promotion.promote("mine", "b")
    if packed:
        assert promotion.pack(plan) == ["reference-mine: 2 folders packed"]
        assert promotion.pack(plan) == ["reference-mine: 0 folders packed"]
        assert not tables.folders("reference-mine")
    table = status.standing(plan)
    assert table[["stored", "reference"]].all(axis=None) and not table["missing"].any()
    assert status.report(table, 2, only_missing=True) == "2 of 2 jobs done; 0 missing"
    deleted, _ = promotion.pack(JobList("mine", {"a": plan.groups["a"]}))
    assert deleted == "reference-mine: deleted b, which the configuration does not name"
    found = tables.read_stored("reference-mine", "margins")
    assert found["job"].tolist() == ["a"] and found["x"].tolist() == [1.0]
    assert tables.read_stored("mine", "seeds", ["b"])["job"].tolist() == ["b"]
    for table, job, message in (
        ("seeds", ["c"], "no seeds of c"),
        ("x", (), "make run CONFIG=mine"),
    ):
        with pytest.raises(FileNotFoundError, match=message):
            tables.read_stored("mine", table, job)
    with pytest.raises(ValueError, match="promoting"):
        tables.save_tables("reference-mine", "a", FRAMES)


@pytest.mark.parametrize(
    ("own", "recorded", "there"),
    [
        ({}, {}, True),
        ({"sets": 3}, {}, False),
        ({}, {"sets": 3}, False),
        ({"gap": [0.1]}, {}, True),
        ({}, {"job": "b", "results": "other"}, True),
        ({}, {"held_out": None}, True),  # a parameter that is newer than a record had its default
        ({"held_out": 7}, {"held_out": None}, False),
    ],
)
def test_a_job_is_there_if_it_was_made_with_the_same_parameters(store, own, recorded, there):
    values = {name: value for name, value in (VALUES | recorded).items() if value is not None}
    tables.save_tables("mine", "a", FRAMES, parameters=values)
    job = Job("a", "synthetic", own)
    assert status.has_job("mine", job) is there
    promotion.promote("mine", "a")
    assert status.has_job("reference-mine", job) is there
    (store / "data/results/mine/a/seeds.parquet").unlink()
    assert not status.has_job("mine", job)


def test_records_without_parameters_count_in_the_reference_alone(store):
    tables.save_tables("mine", "a", FRAMES)
    promotion.promote("mine", "a")
    job = Job("a", "synthetic", {"sets": 7})
    assert status.has_job("reference-mine", job) and not status.has_job("mine", job)
    (store / "committed/reference-mine/a/made.json").unlink()
    assert status.has_job("reference-mine", job)


def test_every_committed_job_is_there_and_those_who_train_leave_jobs_out():
    for name in ("theory", "validity"):
        jobs.load(name, planning=False).check_notebooks()  # they declare what the engine sets
        plan = jobs.load(name, campaign=True)
        assert plan.results == {} and plan.promotions() == []
        assert name not in {grid.name for grid in grids.load_grids("campaign")}
    with pytest.raises(ValueError, match="theory holds jobs of notebooks and no grid: `make run`"):
        grids.load_grids("theory")


#: Parameters with which the job of a kind takes seconds.
TINY = yaml.safe_load("""
synthetic: {n: [8], features: [3], sets: 2, steps: [1, 5], runs: 3, held_out: 10}
heads: {train_rows: 12, eval_rows: 10, max_length: 16, steps: [1, 5], runs: 3, removals: 3,
        heads: [2], regularizations: [0.1]}
certified: {train_rows: 12, eval_rows: 10, max_length: 16, strengths: [0.1]}
full: {examples: 4, longest: 20, steps: 2, regularizations: [20.0], rates: [1.0, 3.0]}
ways: {train_rows: 40, epochs: [1], seeds: [0], examples: 4, longest: 20, removals: 2, steps: 3,
       regularizations: [20.0], levels: [0.1]}
tuned: {train_rows: 40, eval_rows: 20, epochs: 1, margin_rows: 20, runs: 3, methods: [standard]}
known: {train_rows: 40, epochs: 1, runs: 3, noisy_models: 1, copies: 3, doses: [0.0, 0.1], draws: 1}
""")


def execute(kind, folder, parameters):
    notebook, output = f"{job_kinds.KINDS[kind].notebook}.ipynb", folder / "out.ipynb"
    environment = {"COMPENDIUM_OUTPUT": str(folder)}
    return notebooks.execute(notebook, output, environment=environment, **parameters)


@pytest.mark.slow
@pytest.mark.parametrize("kind", job_kinds.KINDS)
def test_the_notebook_of_a_kind_runs_with_tiny_parameters(store, own_file, kind):
    task = {} if kind == "synthetic" else {"task": str(own_file)}
    done = execute(kind, store, TINY[kind] | task)
    assert done.returncode == 0, done.stderr[-2000:]
    found = {t: tables.read_stored("by-hand", t, [kind]) for t in job_kinds.KINDS[kind].tables}
    assert all(len(table) for table in found.values())
    if kind == "heads":
        bounds = sweeps.tightness(found["leave_one_out"], "leave_one_out").set_index("bound")
        assert bounds.loc[["H15", "H16"], "compared"].min() > 0 and bounds["violated"].sum() == 0
    if kind == "full":
        compared = found["full_tuning"].groupby("rate_factor")["comparisons"].sum()
        assert compared[1.0] > compared[3.0] and found["full_tuning"]["violations"].eq(0).all()


@pytest.mark.parametrize(
    ("listed", "made_again", "names"),
    [
        ("PAPERMILL", set(), ["jobs/02_measure_group"]),
        ('JOB_CODE = ("analysis", "theory", "training/model_features.py")',
         {"analysis", "theory", "training"}, [spec.notebook for spec in job_kinds.KINDS.values()]),
        ('code(notebook, "analysis", "plots")', {"analysis", "plots"}, jobs.ANALYSES),
    ],
)  # fmt: skip
def test_the_code_of_a_job_is_that_of_the_rooms_its_notebook_uses(listed, made_again, names):
    """Rooms whose behaviour has a version are left to that, though the notebooks import them."""
    assert listed in (paths.ROOT / "Snakefile").read_text()
    others = {"lib", "config", "data", "models", "errors", "paths", "provenance", "results"}
    others |= {"plots"}  # pictures in a job are for its reader; its tables do not depend on them
    for name in names:
        text = (paths.ROOT / f"notebooks/{name}.ipynb").read_text()
        rooms = set(re.findall(r"from lib\.(\w+)", text))
        rooms |= set(re.findall(r"\w+", " ".join(re.findall(r"from lib import ([\w, ]+)", text))))
        assert rooms <= others | {"measures"} | made_again, name


def test_a_fingerprint_sees_code_and_neither_prose_nor_parameters(tmp_path):
    def fingerprint(source, parameters="x: int = 1"):
        cells = [("code", ["parameters"], parameters), ("code", [], source), ("markdown", [], "?")]
        cells = [
            {"cell_type": kind, "metadata": {"tags": tags}, "source": text}
            for kind, tags, text in cells
        ]
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.ipynb"
        file.write_text(json.dumps({"cells": cells}))
        return provenance.code_fingerprint(str(file))

    first = fingerprint("y = 1")
    assert first == fingerprint("# why\ny  =  1\n'text'")
    assert first == fingerprint("y = 1", parameters="x: int = 2")
    assert first != fingerprint("y = 2")
    room = tmp_path / "room"
    room.mkdir()
    (room / "a.py").write_text("y = 1")
    before = provenance.code_fingerprint(str(room))
    (room / "b.py").write_text("def f():\n    'text'\n    return 1")
    after = provenance.code_fingerprint(str(room))
    assert len({before, after, provenance.code_fingerprint(str(room), "lib/measures")}) == 3
