"""The engine, end to end on the smallest grid in a copy of the project: what runs and what not.

The project, the grid and its task lie under names that a shell would take apart.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
from support.project import HOSTILE, copy_project, environment_of

pytestmark = pytest.mark.slow

GRID = """
seeds: [0, 1, 2]
seeds_per_job: 2
keep_vectors: true
defaults:
  {{task: {task}, text_columns: [text], epochs: 1, max_length: 32, train_rows: 48,
    weight_decay: 2.0e-5}}
grid:
  - learning_rate: [1.0e-3, 2.0e-3]
unions: {{}}
"""
FILE, TASK = f"{HOSTILE}/smallest.yaml", f"{HOSTILE}/{HOSTILE}.csv"
ANALYSES = {"analyse_20": 1, "analyse_21": 1, "analyse_22": 1, "analyse_50": 1}


def tree_digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(str(f).encode() + f.read_bytes() for f in files)).hexdigest()


@pytest.fixture(scope="module")
def engine(tmp_path_factory, own_file):
    """A copy of the project in which the smallest grid was run once, and how to call the engine."""
    around = tmp_path_factory.mktemp("engine")
    project = copy_project(around / HOSTILE / "project")
    shutil.rmtree(project / "tests")
    (project / HOSTILE).mkdir()
    shutil.copy(own_file, project / TASK)
    (project / FILE).write_text(GRID.format(task=json.dumps(f"{HOSTILE}.csv")))

    # Another `python` comes first on PATH, and another kernel where Jupyter looks first.
    decoy = tmp_path_factory.mktemp("decoy") / "python"
    decoy.write_text("#!/bin/sh\nexit 9\n")
    decoy.chmod(0o755)
    kernel = decoy.with_name("kernels") / "python3/kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": [str(decoy)], "display_name": "", "language": "python"}))
    misled = {
        "PATH": f"{decoy.parent}{os.pathsep}{os.environ['PATH']}",
        "JUPYTER_PATH": str(decoy.parent),
    }
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/local"]

    def call(*arguments, grid=FILE):
        return subprocess.run(
            [*command, "--config", f"grid={grid}", *arguments],
            cwd=project,
            env={**environment_of(project), **misled},
            capture_output=True,
            text=True,
            check=False,
        )

    def planned(*options, grid=FILE):
        """Jobs by rule that a call would run now."""
        done = call(*options, "--dry-run", "--quiet", "host", "reason", grid=grid)
        assert done.returncode == 0, done.stderr[-3000:]
        table = re.search(r"^job +count\n-+ +-+\n(.*?)^total ", done.stdout, re.M | re.S)
        rows = (line.split() for line in table[1].splitlines()) if table else []
        return {rule: int(count) for rule, count in rows if rule != "all"}

    guarded = [project / "data/results/reference", project / "figures", project / "notebooks"]
    before = [tree_digest(folder) for folder in guarded]
    first = call()
    assert first.returncode == 0, first.stderr[-5000:]
    shutil.move(project / "figures/smallest", project / "drawn")
    after = [tree_digest(folder) for folder in guarded]
    shutil.move(project / "drawn", project / "figures/smallest")
    yield SimpleNamespace(project=project, call=call, planned=planned, untouched=before == after)
    assert not list(around.rglob("canary*"))


def test_the_chain_ends_with_figures_from_runs_it_trained(engine):
    figures = {path.name for path in (engine.project / "figures/smallest").glob("*.svg")}
    assert {"50_seeds.svg", "50_layers.svg", "50_agreement.svg", "21_layers.svg"} <= figures
    drawn = pd.read_csv(engine.project / "figures/smallest/50_seeds.csv")
    tables = (engine.project / "data/results/smallest").glob("*/runs.parquet")
    trained = pd.concat([pd.read_parquet(path) for path in tables])
    assert len(trained) == len(drawn) == 6
    assert sorted(drawn["score"].round(6)) == sorted(trained["score"].round(6))


def test_committed_results_figures_and_notebooks_are_not_touched(engine):
    assert engine.untouched
    assert engine.planned() == {}, "a second call has nothing to do"


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


def test_one_changed_hyperparameter_reruns_exactly_its_setting(engine, edited):
    edited(FILE, "2.0e-3", "3.0e-3")
    assert engine.planned() == {"finetune": 2, "measure_group": 1, **ANALYSES}


def test_one_more_seed_trains_one_shard_a_setting(engine, edited):
    edited(FILE, "[0, 1, 2]", "[0, 1, 2, 3, 4]")
    # Seeds 0 and 1 are a shard already; 2 and 3, and 4, are new ones, in which run 2 is found.
    assert engine.planned() == {"finetune": 4, "measure_group": 2, **ANALYSES}


def test_a_changed_plotting_function_retrains_and_measures_nothing(engine, edited):
    edited("lib/plots/style.py", "alpha: float = 0.18", "alpha: float = 0.28")
    assert engine.planned() == ANALYSES


def test_a_changed_measure_retrains_nothing(engine, edited):
    edited("lib/measures/representation/factors.py", "SHARE = 0.99", "SHARE = 0.95")
    assert engine.planned() == {"measure_group": 2, **ANALYSES}


def test_a_changed_docstring_comment_or_name_reruns_nothing(engine, edited):
    edited("lib/training/learners.py", '"""Without token types', '"""Without the token types')
    edited("lib/data/examples.py", "#: Batches are cut", "#: The batches are cut")
    edited("lib/data/examples.py", "BATCHES_PER_POOL", "POOL")
    assert engine.planned() == {}


def test_a_changed_table_of_the_users_own_retrains_everything(engine, edited):
    edited(TASK, "in the north", "in the south")
    assert engine.planned() == {"finetune": 4, "measure_group": 2, **ANALYSES}


def test_a_deleted_run_is_trained_again_when_it_is_needed_and_only_it(engine, edited):
    """What was measured from it stands; a new measurement misses it."""
    runs = sorted((engine.project / "data/runs").glob("*/seed*/run.json"))
    times = {path: path.stat().st_mtime_ns for path in runs}
    lost = runs[0].parent
    arrays = {path.name: path.read_bytes() for path in lost.glob("*.npy")}
    shutil.rmtree(lost)
    assert engine.planned() == {}
    edited("lib/measures/representation/factors.py", "SHARE = 0.99", "SHARE = 0.98")
    assert engine.planned() == {"finetune": 1, "measure_group": 2, **ANALYSES}
    assert engine.call("--until", "measure_group").returncode == 0
    assert {path.name: path.read_bytes() for path in lost.glob("*.npy")} == arrays
    assert {path for path in runs if path.stat().st_mtime_ns != times[path]} == {runs[0]}


def test_a_failing_job_shows_why_and_the_others_go_on(engine, edited):
    edited(FILE, "[1.0e-3, 2.0e-3]", "1.0e-3\n  - {train_rows: 81}")
    done = engine.call("--retries", "0", "--until", "measure_group")
    assert done.returncode != 0
    message = r"train_rows = 81, but .*\.csv has 80 training rows"
    assert re.search(message, done.stdout + done.stderr)


def test_a_union_is_measured_and_vectors_go_only_when_all_are(engine, edited):
    """Without keep_vectors: the shards' markers fall with the vectors; the tables stay."""
    assert engine.call("--until", "measure_group").returncode == 0
    results = engine.project / "data/results/smallest"
    members = sorted(path.name for path in results.glob("bert-tiny*"))
    edited(FILE, "unions: {}", f"unions: {{both: [{', '.join(members)}]}}")
    edited(FILE, "keep_vectors: true", "keep_vectors: false")
    assert engine.planned() == {"measure_group": 1, "drop_vectors": 2, **ANALYSES}
    done = engine.call()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    both = pd.read_parquet(engine.project / "data/results/smallest/both/runs.parquet")
    assert len(both) == 6 and both["setting_id"].nunique() == 2
    runs = engine.project / "data/runs"
    assert not list(runs.glob("*/seed*/mean.npy"))
    assert len(list(runs.glob("*/seed*/run.json"))) == 6
    assert engine.planned() == {}
    # Whoever needs the vectors again trains the runs again.
    edited("lib/measures/representation/factors.py", "SHARE = 0.99", "SHARE = 0.97")
    assert engine.planned()["finetune"] == 4


PLAN = """
synthetic:
  defaults: {n: [8], features: [3], sets: 2, steps: [1, 5], runs: 3, held_out: 10}
  jobs:
    one: {}
    two.2: {gap: [0.2]}
"""


def test_a_plan_of_jobs_runs_once_and_only_what_changed_again(engine, edited):
    project = engine.project
    (project / "config/tiny.yaml").write_text(PLAN)
    done = engine.call(grid="tiny")
    assert done.returncode == 0, done.stderr[-3000:]
    made = pd.read_parquet(project / "data/results/tiny/two.2/margins.parquet")
    assert (made["margin"] >= 0.2).all() and made["gap"].tolist() == [0.2, 0.2]
    assert engine.planned(grid="tiny") == {}
    edited("config/tiny.yaml", "gap: [0.2]", "gap: [0.3]")
    assert engine.planned(grid="tiny") == {"run_job": 1}
    (project / "config/tiny.yaml").write_text(PLAN)
    edited("lib/theory/sweeps.py", "1 + 1e-12", "1 + 2e-12")
    assert engine.planned(grid="tiny") == {"run_job": 2}
    edited("lib/theory/sweeps.py", "1 + 2e-12", "1 + 1e-12")
    (project / "data/results/tiny/one/seeds.parquet").unlink()
    done = engine.call("campaign=1", grid="tiny")
    assert done.returncode == 0, done.stderr[-3000:]
    promoted = project / "data/results/reference-tiny"
    assert {path.parent.name for path in promoted.glob("*/made.json")} == {"one", "two.2"}
    shutil.rmtree(project / "data/results/tiny")
    assert engine.planned("campaign=1", grid="tiny") == {}
