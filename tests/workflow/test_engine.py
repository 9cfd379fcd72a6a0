"""The engine, end to end on the smallest grid in a copy of the project: what runs and what not.

The project, the grid and its task lie under names that a shell would take apart.
"""

import hashlib
import json
import os
import re
import shutil

import pandas as pd
import pytest
from support.batches import SMALLEST, Checkout
from support.project import HOSTILE

pytestmark = pytest.mark.slow

PLAN = """
synthetic:
  defaults: {n: [8], features: [3], sets: 2, steps: [1, 5], runs: 3, held_out: 10}
  jobs:
    one:
    two.2: {gap: [0.2], sets: 3}
"""
FILE, TASK, JOBS = f"{HOSTILE}/smallest.yaml", f"{HOSTILE}/{HOSTILE}.csv", "config/tiny.yaml"
FACTORS = "lib/measures/representation/factors.py"
ANALYSES = {f"analyse_{number}": 1 for number in (11, 20, 21, 50, 90)}


def tree_digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(str(f).encode() + f.read_bytes() for f in files)).hexdigest()


@pytest.fixture(scope="module")
def engine(tmp_path_factory, own_file):
    """A checkout in which the smallest grid was run once; it leaves what is committed alone."""
    around = tmp_path_factory.mktemp("engine")
    grid = SMALLEST.replace("days.csv", json.dumps(f"{HOSTILE}.csv"))
    files = {TASK: own_file.read_text(), FILE: grid, JOBS: PLAN}
    checkout = Checkout(around / HOSTILE / "project", files)
    shutil.rmtree(checkout.project / "tests")

    # Another `python` comes first on PATH, and another kernel where Jupyter looks first.
    decoy = tmp_path_factory.mktemp("decoy") / "python"
    decoy.write_text("#!/bin/sh\nexit 9\n")
    decoy.chmod(0o755)
    kernel = decoy.with_name("kernels") / "python3/kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": [str(decoy)], "display_name": "", "language": "python"}))
    checkout.environment |= {
        "PATH": f"{decoy.parent}{os.pathsep}{os.environ['PATH']}",
        "JUPYTER_PATH": str(decoy.parent),
    }

    figures = checkout.project / "figures"
    guarded = [checkout.project / "data/results/reference", figures, checkout.project / "notebooks"]
    before = [tree_digest(folder) for folder in guarded]
    checkout.engine(FILE).succeed()
    drawn = shutil.move(figures / "smallest", around / "drawn")
    assert [tree_digest(folder) for folder in guarded] == before
    shutil.move(drawn, figures / "smallest")
    yield checkout
    assert not list(around.rglob("canary*"))


@pytest.fixture
def edited(engine):
    """Replace text in a file of the copy for the length of a test; what is made then goes too."""
    made = [".snakemake", "data/runs", "data/results/smallest", "figures/smallest"]
    aside = engine.project.with_name("aside")
    for folder in made:
        shutil.copytree(engine.project / folder, aside / folder)
    originals = {}

    def edit(name, old, new):
        path = engine.project / name
        originals.setdefault(path, path.read_text())
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    yield edit
    for path, text in originals.items():
        path.write_text(text)
    for folder in made:
        shutil.rmtree(engine.project / folder)
        shutil.move(aside / folder, engine.project / folder)
    shutil.rmtree(aside)


def test_the_chain_ends_with_figures_from_runs_it_trained(engine):
    figures = {path.name for path in (engine.project / "figures/smallest").glob("*.svg")}
    assert {"90_seeds.svg", "90_layers.svg", "90_agreement.svg", "50_layers.svg"} <= figures
    drawn = pd.read_csv(engine.project / "figures/smallest/90_seeds.csv")
    tables = (engine.project / "data/results/smallest").glob("*/runs.parquet")
    trained = pd.concat([pd.read_parquet(path) for path in tables])
    assert len(trained) == len(drawn) == 6
    assert sorted(drawn["score"].round(6)) == sorted(trained["score"].round(6))
    assert engine.planned(FILE) == {}, "a second call has nothing to do"


#: What is changed, and the jobs that run then.
CHANGES = {
    "a hyperparameter: its setting": (
        [(FILE, "2.0e-3", "3.0e-3")],
        {"finetune": 2, "measure_group": 1, **ANALYSES},
    ),
    # Seeds 0 and 1 are a shard already; 2 and 3, and 4, are new ones, in which run 2 is found.
    "more seeds: new shards": (
        [(FILE, "[0, 1, 2]", "[0, 1, 2, 3, 4]")],
        {"finetune": 4, "measure_group": 2, **ANALYSES},
    ),
    "a plotting function: figures": (
        [("lib/plots/style.py", "alpha=0.18", "alpha=0.28")],
        ANALYSES,
    ),
    "a measure: tables": (
        [(FACTORS, "SHARE = 0.99", "SHARE = 0.95")],
        {"measure_group": 2, **ANALYSES},
    ),
    "a docstring, a comment, a name: nothing": (
        [
            ("lib/training/learners.py", '"""Models that are', '"""The models that are'),
            ("lib/data/examples.py", "#: Batches are cut", "#: The batches are cut"),
            ("lib/data/examples.py", "BATCHES_PER_POOL", "POOL"),
        ],
        {},
    ),
    "a table of the user's own: all": (
        [(TASK, "in the north", "in the south")],
        {"finetune": 4, "measure_group": 2, **ANALYSES},
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_change_concerns_is_made_again_and_nothing_else(engine, edited, change):
    edits, jobs = CHANGES[change]
    for edit in edits:
        edited(*edit)
    assert engine.planned(FILE) == jobs


def test_a_deleted_run_is_trained_again_when_it_is_needed_and_only_it(engine, edited):
    """What was measured from it stands; a new measurement misses it."""
    before = engine.finished
    name = min(before)
    lost = engine.project / "data/runs" / name
    arrays = {path.name: path.read_bytes() for path in lost.glob("*.npy")}
    shutil.rmtree(lost)
    assert engine.planned(FILE) == {}
    edited(FACTORS, "SHARE = 0.99", "SHARE = 0.98")
    assert engine.planned(FILE) == {"finetune": 1, "measure_group": 2, **ANALYSES}
    engine.engine(FILE, "--until", "measure_group").succeed()
    assert {path.name: path.read_bytes() for path in lost.glob("*.npy")} == arrays
    assert {one for one, time in engine.finished.items() if time != before[one]} == {name}


def test_a_failing_job_shows_why(engine, edited):
    edited(FILE, "[1.0e-3, 2.0e-3]", "1.0e-3\n  - {train_rows: 81}")
    said = engine.engine(FILE, "--retries", "0", "--until", "measure_group").fail()
    assert re.search(r"train_rows = 81, but .*\.csv has 80 training rows", said)


def test_a_union_is_measured_and_vectors_go_only_when_all_are(engine, edited):
    """Without keep_vectors: the shards' markers fall with the vectors; the tables stay."""
    engine.engine(FILE, "--until", "measure_group").succeed()
    results = engine.project / "data/results/smallest"
    members = sorted(path.name for path in results.glob("bert-tiny*"))
    edited(FILE, "unions: {}", f"unions: {{both: [{', '.join(members)}]}}")
    edited(FILE, "keep_vectors: true", "keep_vectors: false")
    assert engine.planned(FILE) == {"measure_group": 1, "drop_vectors": 2, **ANALYSES}
    engine.engine(FILE).succeed()
    both = pd.read_parquet(results / "both/runs.parquet")
    assert len(both) == 6 and both["setting_id"].nunique() == 2
    assert len(engine.finished) == 6 and not list(engine.output.glob("data/runs/*/*/mean.npy"))
    assert engine.planned(FILE) == {}
    # Whoever needs the vectors again trains the runs again.
    edited(FACTORS, "SHARE = 0.99", "SHARE = 0.97")
    assert engine.planned(FILE)["finetune"] == 4


def test_a_plan_of_jobs_runs_once_and_only_what_changed_again(engine, edited):
    results = engine.project / "data/results"
    engine.engine("tiny").succeed()
    made = pd.read_parquet(results / "tiny/two.2/margins.parquet")
    assert (made["margin"] >= 0.2).all()
    assert made["gap"].tolist() == [0.2] * 3, "a job's own values go before the shared ones"
    assert len(pd.read_parquet(results / "tiny/one/margins.parquet")) == 2
    assert engine.planned("tiny") == {}
    edited(JOBS, "gap: [0.2]", "gap: [0.3]")
    assert engine.planned("tiny") == {"run_job": 1}
    edited(JOBS, "gap: [0.3]", "gap: [0.2]")
    assert engine.planned("tiny") == {}, "planning with other values took nothing away"
    edited("lib/theory/sweeps.py", "1 + 1e-12", "1 + 2e-12")
    assert engine.planned("tiny") == {"run_job": 2}
    edited("lib/theory/sweeps.py", "1 + 2e-12", "1 + 1e-12")
    (results / "tiny/one/seeds.parquet").unlink()
    engine.engine("tiny", "campaign=1").succeed()
    promoted = (results / "reference-tiny").glob("*/made.json")
    assert {path.parent.name for path in promoted} == {"one", "two.2"}
    shutil.rmtree(results / "tiny")
    assert engine.planned("tiny", "campaign=1") == {}
