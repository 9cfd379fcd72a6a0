"""The run store: whole runs only, whatever is killed when, and tables that fit together."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.invented_runs import make_run, make_runs

from lib import config, measures, paths
from lib.config import Setting
from lib.results import group_tables, run_group, runs, tables
from lib.results.run_group import RunGroup
from lib.workflow import promotion


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Saves the tables of a group of runs as one of the results ``demo``; results lie here."""
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)

    def save(name, group):
        return tables.save_tables("demo", name, group_tables.tables_of(group, ["op"]))

    return save


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder in which runs are looked for."""
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    return tmp_path


def test_what_is_saved_is_read_back(tmp_path):
    run = make_run(0)
    runs.save(run, tmp_path / "demo/seed0")
    back = runs.load(tmp_path / "demo/seed0")
    assert back.record == run.record and back.log == run.log
    for name in ("logits", "labels", "example_ids"):
        assert (getattr(back, name) == getattr(run, name)).all()
    assert list(back.vectors) == ["first", "mean"]
    assert all((back.vectors[name] == array).all() for name, array in run.vectors.items())
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["seed0"]


def test_a_run_counts_only_with_its_fingerprint_and_a_stale_one_is_replaced(tmp_path):
    target = tmp_path / "demo/seed0"
    assert runs.finished(target, "print0") is None
    runs.save(make_run(0), target)
    assert runs.finished(target, "print0")["seed"] == 0
    assert runs.finished(target, "another") is None
    runs.save(make_run(0, fingerprint="another"), target)
    assert runs.finished(target, "another") and not runs.finished(target, "print0")
    runs.save(make_run(1, fingerprint="another"), target)
    assert runs.load(target).record["seed"] == 0, "an equal run that was first stays"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("example_ids", make_run(1).example_ids[::-1], "different examples: demo seed 0 and demo"),
        # The ids of a user's table are row numbers: two tables can have the same.
        ("labels", 1 - make_run(1).labels, "different examples"),
        ("data_sha256", "another", "different examples"),
        ("code", "new", "different versions.*1, torch.*new, torch"),
        ("torch", "2.14.0", "different versions.*torch 2.14.0"),
        ("transformers", "5.24.0", "different versions.*transformers 5.24.0"),
    ],
)
def test_runs_that_differ_in_more_than_the_seed_are_never_compared(folder, field, value, message):
    other = make_run(1)
    if field in other.record["versions"]:
        other.record["versions"][field] = value
    elif field in other.record:
        other.record[field] = value
    else:
        setattr(other, field, value)
    for run in (make_run(0), other):
        runs.save(run, folder / f"demo/{run.record['seed_label']}")
    with pytest.raises(ValueError, match=message):
        runs.load_group(["demo"], ["seed0", "seed1"])


def test_runs_of_builds_for_other_devices_are_compared(folder):
    for seed, torch in enumerate(["2.13.0+cpu", "2.13.0"]):
        versions = {"torch": torch, "transformers": "5.23.0"}
        runs.save(make_run(seed, versions=versions), folder / f"demo/seed{seed}")
    assert len(runs.load_group(["demo"], ["seed0", "seed1"])) == 2


def test_a_missing_run_says_how_to_make_it(folder):
    with pytest.raises(FileNotFoundError, match="make run"):
        runs.load_group(["demo"], ["seed0"])


def test_tables_of_a_group_fit_together(store):
    group = [make_run(seed, status="failed" if seed > 2 else "ok") for seed in range(5)]
    store("demo", group)
    stored = run_group.read("demo")["demo"]
    logits, labels, table = stored.logits, stored.labels, stored.runs
    columns = list(tables.read("demo", "logits"))
    assert columns == ["group", "setting_id", "seed_label", "logit_1"], "of two, the difference"
    expected = np.stack([run.logits for run in group])
    np.testing.assert_allclose(logits, expected - expected[..., :1], atol=4e-3)
    assert (logits == tables.as_stored(logits)).all() and (logits[..., 0] == 0).all()
    assert (labels == group[0].labels).all() and len(table) == 5
    # Position 0 of the embeddings is the same for all examples.
    assert list(stored.layers["first"]) == [1, 2]
    matrix = stored.distances["op", "mean"][2]
    assert list(stored.layers["mean"]) == [0, 1, 2]
    vectors = [run.vectors["mean"] for run in group]
    direct = measures.representation_distances(vectors, ["op"])["op"][2]
    np.testing.assert_array_equal(matrix, direct.astype(np.float32))
    summary = tables.read("demo", "measures").set_index(["subset", "measure", "pooling", "layer"])
    found = summary.loc[("all", "op", "mean", 2)]
    assert found["value"] == measures.instability(matrix).value
    rows = tables.read("demo", "measures").query("subset != 'chance'")
    counts = rows.groupby("subset")[["n_runs", "n_failed"]].first()
    assert counts.to_dict("index") == {
        "all": {"n_runs": 5, "n_failed": 2},
        "ok": {"n_runs": 3, "n_failed": 0},
        "failed": {"n_runs": 2, "n_failed": 2},
    }


def test_of_decoders_the_last_token_is_stored_and_measured_by_its_name(folder, store):
    group = make_runs(3, poolings=("last", "mean"))
    for run in group:
        runs.save(run, folder / f"demo/{run.record['seed_label']}")
    back = runs.load_group(["demo"], ["seed0", "seed1", "seed2"])
    store("decoders", back)
    # The embedding of the last token, unlike that at position 0, differs between texts.
    table = tables.read("demo", "distances", pooling="last")
    assert set(table["pooling"]) == {"last"} and set(table["layer"]) == {0, 1, 2}
    direct = measures.representation_distances([run.vectors["last"] for run in group], ["op"])
    stored = run_group.read("demo")["decoders"].distances["op", "last"]
    np.testing.assert_array_equal(stored, direct["op"].astype(np.float32))
    chance = tables.read("demo", "measures", pooling="last").query("subset == 'chance'")
    assert set(chance["layer"]) == {0, 1, 2}
    with pytest.raises(ValueError, match="pooling = 'first', but these results have last, mean"):
        tables.read("demo", "measures", pooling="first")
    # Runs of an encoder and of a decoder have the mean in common.
    mixed = RunGroup.of_runs([*group, make_run(3)])
    assert list(mixed.representations) == list(mixed.layers) == ["mean"]
    runs.drop_vectors("demo")
    assert not [*folder.glob("demo/*/last.npy"), *folder.glob("demo/*/mean.npy")]


def test_a_diverged_run_is_counted_but_not_averaged():
    group = [*make_runs(3), make_run(3, status="diverged")]
    with pytest.warns(UserWarning, match="run 3, layer"):
        made = group_tables.tables_of(group, ["op"])
    rows = made["measures"].query("subset == 'all'").set_index("measure")
    assert rows.loc["disagreement", "n_runs"] == 3 and rows.loc["disagreement", "n_failed"] == 1
    assert rows.loc["disagreement", "n_left_out"] == 1
    assert np.isfinite(rows.loc["disagreement", "value"])
    assert "sd" not in rows.index or rows.loc["sd", "n_runs"] == 3
    assert (rows.loc["op", "n_runs"] == 3).all() and len(made["runs"]) == 4


def test_committed_rows_are_read_back_as_their_settings():
    rows = pd.concat([tables.read(name, "runs") for name in tables.committed()])
    rows = rows.drop_duplicates("setting_id")
    assert len(rows) > 60
    for row in rows.to_dict("records"):
        assert config.from_row(row).id == row["setting_id"]


def test_older_and_newer_tables_are_read_as_the_same_settings(store):
    """A field that was not there yet has its default."""
    setting = Setting(text_columns=["question", "answer"])
    store("new", make_runs(3, setting=setting))
    path = store("old", make_runs(3, setting=setting)) / "runs.parquet"
    pd.read_parquet(path).drop(columns="pooled_token").to_parquet(path)
    both = tables.read("demo", "runs")
    assert both["text_columns"].nunique() == 1 and set(both["pooled_token"]) == {"auto"}
    rows = [*both.to_dict("records"), *pd.read_parquet(path).to_dict("records")]
    assert all(config.from_row(row) == setting for row in rows)


def test_groups_made_by_different_code_are_never_mixed_silently(store):
    store("b", make_runs(3, code="new"))
    made = store("a", make_runs(3, code="old")) / tables.MADE
    with pytest.warns(tables.MixedCodeWarning, match="2 versions of the training_code"):
        tables.read("demo", "runs")
    made.write_text(made.read_text().replace('"old"', '"new"'))
    with warnings.catch_warnings():
        warnings.simplefilter("error", tables.MixedCodeWarning)
        tables.read("demo", "measures")


def test_promotion_copies_tables_and_one_sample_of_the_first_configuration(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)
    monkeypatch.setattr(paths, "COMMITTED", tmp_path / "committed")
    for configuration, committed in {"quick": "reference", "demo": "reference-demo"}.items():
        for name, status in {"a": "failed", "b": "ok", "c": "ok"}.items():
            group = make_runs(3, status=status)
            made = group_tables.tables_of(group, ["op"])
            tables.save_tables(configuration, name, made, group_tables.sample_vectors(group))
            folder = promotion.promote(configuration, name)
            assert folder == tmp_path / "committed" / committed / name
        for table in tables.TABLES:
            pd.testing.assert_frame_equal(
                tables.read(committed, table), tables.read(configuration, table)
            )
    samples = (tmp_path / "committed").glob(f"*/*/{tables.SAMPLE}")
    assert [path.parent.relative_to(tmp_path / "committed") for path in samples] == [
        Path("reference/b")
    ]
    with pytest.raises(FileNotFoundError, match="make run CONFIG=nothing"):
        promotion.promote("nothing", "a")


@pytest.mark.filterwarnings(r"ignore:run \d, layer:UserWarning")
def test_packed_tables_are_read_like_folders_and_a_folder_goes_first(store):
    """Groups of two, of three classes, of numbers, and one whose runs all diverged."""
    store("two", make_runs(3))
    store("three", make_runs(3, n_classes=3))
    store("one", make_runs(3, n_classes=1, metric="pearson"))
    store("lost", make_runs(3, status="diverged"))
    before = run_group.read("demo")
    frames = {table: tables.read("demo", table) for table in tables.TABLES}
    lost = frames["measures"].query("group == 'lost'")
    assert set(lost["measure"]) == {"op"} and set(lost["n_failed"]) == {3}
    assert lost["value"].isna().all() and set(lost["n_runs"]) == {0}
    # The empty columns of the one group must not change the types of the others.
    kinds = frames["measures"].dtypes
    expected = {"layer": "Int64", "value": "float64", "low": "float64", "high": "float64"}
    assert {name: str(kinds[name]) for name in expected} == expected
    made = tables.records("demo")
    tables.pack("demo", [*before])
    assert not tables.folders("demo") and tables.records("demo") == made
    for table, frame in frames.items():
        again = tables.read("demo", table)
        both = again[sorted(again)], frame[sorted(frame)].astype(again.dtypes)
        pd.testing.assert_frame_equal(*both)
    with pytest.raises(FileNotFoundError, match="no runs of nothing"):
        tables.read("demo", "runs", ["one", "nothing"])
    for name, group in run_group.read("demo").items():
        np.testing.assert_array_equal(group.logits, before[name].logits)
        assert group.classes == before[name].classes and len(group) == 3
        np.testing.assert_array_equal(
            group.distances["op", "mean"], before[name].distances["op", "mean"]
        )
    store("two", make_runs(4))
    assert tables.read("demo", "runs")["group"].value_counts().to_dict() == {
        "two": 4, "three": 3, "one": 3, "lost": 3,
    }  # fmt: skip
    assert len(run_group.read("demo", ["two"])["two"]) == 4
    tables.pack("demo", ["two", "one"])
    assert {name: len(group) for name, group in run_group.read("demo").items()} == {
        "two": 4, "one": 3,
    }  # fmt: skip


def test_a_stretch_of_training_has_the_mean_of_its_steps_and_the_name_of_the_last():
    run = make_run(0)
    run.log = [
        {"step": i, "loss": float(i), "lr": 1e-3, "gradient_norm": 2.0 * i} for i in range(80)
    ]
    table = tables.training_table([run]).set_index(["quantity", "part"])
    loss, norms = table.loc[("loss", "all")], table.loc[("gradient_norm", "all")]
    assert loss["step"].tolist() == list(range(1, 80, 2))
    assert loss["value"].tolist() == [i - 0.5 for i in range(1, 80, 2)]
    assert norms["value"].tolist() == [2 * i - 1 for i in range(1, 80, 2)]
    assert table.loc[("distance", "all"), "step"] == 79


def test_a_run_that_was_never_finite_has_no_means_and_the_others_have_theirs():
    lost, run = make_runs(2)
    lost.log = [row | {"gradient_norm": np.inf} for row in lost.log]
    table = tables.training_table([lost, run])
    counts = table.groupby(["seed_label", "quantity"]).size().unstack(fill_value=0)
    assert counts.loc["seed0", "loss"] == 0 < counts.loc["seed1", "loss"]
    assert (counts["distance"] > 0).all()


def test_labels_of_groups_tell_settings_apart(store):
    """Whatever they differ in; and two that differ in nothing shown keep their folder names."""
    for name, epochs in {"a": 3, "b": 20, "c": 20}.items():
        setting = Setting(task="nyt", epochs=epochs)
        store(name, make_runs(3, setting=setting, setting_id=name))
    assert tables.group_labels("demo") == {"a": "nyt, epochs 3", "b": "b", "c": "c"}


def test_a_run_without_a_score_is_counted_as_left_out_of_the_scores():
    """A collapsed regression has no correlation; its group still has a mean and an SD."""
    whole = RunGroup.of_runs(make_runs(4))
    whole.runs.loc[2, "score"] = np.nan
    rows = group_tables.measure_table(whole).query("subset == 'all'").set_index("measure")
    assert rows.loc["sd", ["n_runs", "n_left_out"]].tolist() == [3, 1]
    assert rows.loc["disagreement", ["n_runs", "n_left_out"]].tolist() == [4, 0]
    whole.runs.loc[:2, "score"] = np.nan
    alone = set(group_tables.measure_table(whole).query("subset == 'all'")["measure"])
    assert "disagreement" in alone and not alone & {"mean", "sd"}
