"""The run store: whole runs only, whatever is killed when, and tables that fit together."""

import json
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import run_python

from lib import config, measures, paths
from lib.config import Setting
from lib.measures import scoring
from lib.results import group_tables, run_group, runs, tables
from lib.results.run_group import RunGroup
from lib.results.runs import Run
from lib.workflow import promotion


def make_run(seed, *, n=30, fingerprint=None, status="ok", poolings=("first", "mean")):
    """An invented run; one that failed answers most examples wrong."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    logits = rng.normal(size=(n, 2)).astype(np.float32)
    logits[np.arange(n), labels] += 2 if status == "ok" else -2
    record = {
        "setting_id": "demo",
        "setting": Setting(task="nyt", learning_rate=1e-3).to_dict(),
        "seed": seed, "seed_label": f"seed{seed}", "distance": {"all": 1.0},
        "newly_initialised": ["classifier.weight"], "code": "1",
        "versions": {"torch": "2.13.0", "transformers": "5.23.0"},
        "fingerprint": fingerprint or f"print{seed}", "data_sha256": "d",
        "classes": [], "warnings": [], **scoring.score_run(labels, logits, "accuracy"),
    }  # fmt: skip
    assert record["status"] == status
    return Run(
        record,
        logits,
        labels,
        np.array([f"e{i}" for i in range(n)]),
        [{"step": 0, "loss": 0.7, "lr": 1e-3, "gradient_norm": 1.5}],
        {pooling: rng.normal(size=(3, n, 8)).astype(np.float32) for pooling in poolings},
    )


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


def test_a_failure_while_writing_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(json, "dumps", lambda *a, **k: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        runs.save(make_run(0), tmp_path / "demo/seed0")
    assert list((tmp_path / "demo").iterdir()) == []


def test_runs_on_different_examples_are_never_compared(tmp_path):
    shuffled = make_run(1)
    shuffled.example_ids = shuffled.example_ids[::-1]
    for run in (make_run(0), shuffled):
        runs.save(run, tmp_path / f"demo/seed{run.record['seed']}")
    with pytest.raises(ValueError, match="different examples: demo seed 0 and demo seed 1"):
        runs.load_group(["demo"], ["seed0", "seed1"], tmp_path)


@pytest.mark.parametrize("change", ["labels", "data"])
def test_runs_on_other_data_with_the_same_ids_are_never_compared(tmp_path, change):
    """The ids of a user's table are row numbers: two tables can have the same."""
    other = make_run(1)
    if change == "labels":
        other.labels = 1 - other.labels
    else:
        other.record["data_sha256"] = "another"
    for run in (make_run(0), other):
        runs.save(run, tmp_path / f"demo/seed{run.record['seed']}")
    with pytest.raises(ValueError, match="different examples"):
        runs.load_group(["demo"], ["seed0", "seed1"], tmp_path)


def test_a_missing_run_says_how_to_make_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="make run"):
        runs.load_group(["demo"], ["seed0"], tmp_path)


def test_tables_of_a_group_fit_together(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)
    group = [make_run(seed, status="failed" if seed > 2 else "ok") for seed in range(5)]
    made = group_tables.tables_of(group, ["cka", "op"])
    tables.save_tables("demo", "demo", made, group_tables.sample_vectors(group))
    stored = run_group.read(paths.results("demo") / "demo")
    logits, labels, table = stored.logits, stored.labels, stored.runs
    expected = np.stack([run.logits for run in group])
    np.testing.assert_allclose(logits, expected, atol=2e-3)
    assert (labels == group[0].labels).all() and len(table) == 5
    matrix = stored.distances["op", "mean"][2]
    assert list(stored.layers["mean"]) == [0, 1, 2]
    direct = measures.representation_distances([run.vectors["mean"] for run in group], ["op"])[
        "op"
    ][2]
    np.testing.assert_allclose(matrix, direct, atol=1e-15)
    summary = tables.read("demo", "measures").set_index(["subset", "measure", "pooling", "layer"])
    found = summary.loc[("all", "op", "mean", 2)]
    assert found["value"] == pytest.approx(measures.instability(direct).value)
    rows = tables.read("demo", "measures").query("subset != 'chance'")
    counts = rows.groupby("subset")[["n_runs", "n_failed"]].first()
    assert counts.to_dict("index") == {
        "all": {"n_runs": 5, "n_failed": 2},
        "ok": {"n_runs": 3, "n_failed": 0},
        "failed": {"n_runs": 2, "n_failed": 2},
    }
    # A recomputation from the committed logits gives the committed number.
    again = measures.instability(measures.pairwise_disagreement(logits.argmax(-1))).value
    committed = tables.read("demo", "measures").query("measure == 'disagreement'").iloc[0]
    assert again == committed["value"]
    # Position 0 of the embeddings is the same for all examples.
    assert list(stored.layers["first"]) == [1, 2]


def test_of_decoders_the_last_token_is_stored_and_measured_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)
    group = [make_run(seed, poolings=("last", "mean")) for seed in range(3)]
    for run in group:
        runs.save(run, tmp_path / f"demo/{run.record['seed_label']}")
    back = runs.load_group(["demo"], ["seed0", "seed1", "seed2"], tmp_path)
    tables.save_tables("demo", "decoders", group_tables.tables_of(back, ["op"]))
    # The embedding of the last token, unlike that at position 0, differs between texts.
    table = tables.read("demo", "distances", pooling="last")
    assert set(table["pooling"]) == {"last"} and set(table["layer"]) == {0, 1, 2}
    direct = measures.representation_distances([run.vectors["last"] for run in group], ["op"])
    stored = run_group.read(paths.results("demo") / "decoders").distances["op", "last"]
    np.testing.assert_allclose(stored, direct["op"], atol=1e-15)
    chance = tables.read("demo", "measures", pooling="last").query("subset == 'chance'")
    assert set(chance["layer"]) == {0, 1, 2}
    with pytest.raises(ValueError, match="pooling = 'first', but these results have last, mean"):
        tables.read("demo", "measures", pooling="first")
    # Runs of an encoder and of a decoder have the mean in common.
    mixed = RunGroup.of_runs([*group, make_run(3)])
    assert list(mixed.representations) == list(mixed.layers) == ["mean"]
    runs.drop_vectors("demo", tmp_path)
    assert not [*tmp_path.glob("demo/*/last.npy"), *tmp_path.glob("demo/*/mean.npy")]


def test_tables_from_before_a_field_of_settings_have_its_default(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)
    group = [make_run(seed) for seed in range(3)]
    for name in ("old", "new"):
        tables.save_tables("demo", name, group_tables.tables_of(group, ["op"]))
    path = paths.results("demo") / "old/runs.parquet"
    pd.read_parquet(path).drop(columns="pooled_token").to_parquet(path)
    whole = tables.read("demo", "runs")
    assert set(whole["pooled_token"]) == {"auto"}
    assert {config.from_row(row).id for row in whole.to_dict("records")} == {
        config.from_row(row).id for row in pd.read_parquet(path).to_dict("records")
    }


def test_a_diverged_run_is_counted_but_not_averaged():
    group = [make_run(seed) for seed in range(4)]
    group[3].logits[:] = np.nan
    group[3].record |= {"status": "diverged", "score": None}
    group[3].vectors["first"][:] = group[3].vectors["mean"][:] = np.nan
    with pytest.warns(UserWarning, match="run 3, layer"):
        made = group_tables.tables_of(group, ["op"])
    rows = made["measures"].query("subset == 'all'").set_index("measure")
    assert rows.loc["disagreement", "n_runs"] == 3 and rows.loc["disagreement", "n_failed"] == 1
    assert rows.loc["disagreement", "n_left_out"] == 1
    assert np.isfinite(rows.loc["disagreement", "value"])
    assert "sd" not in rows.index or rows.loc["sd", "n_runs"] == 3
    assert (rows.loc["op", "n_runs"] == 3).all() and len(made["runs"]) == 4


def test_a_group_whose_runs_all_diverged_has_tables_that_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)
    lost, whole = ([make_run(seed) for seed in range(3)] for _ in range(2))
    for run in lost:
        run.logits[:] = run.vectors["first"][:] = run.vectors["mean"][:] = np.nan
        run.record |= {"status": "diverged", "score": None}
    with pytest.warns(UserWarning, match="run 0, layer"):
        tables.save_tables("demo", "lost", group_tables.tables_of(lost, ["op"]))
    tables.save_tables("demo", "whole", group_tables.tables_of(whole, ["op"]))
    # Both at once: an empty table of the one must not change the types of the other.
    found = tables.read("demo", "measures").query("group == 'lost'")
    assert set(found["measure"]) == {"op"} and set(found["n_failed"]) == {3}
    assert found["value"].isna().all() and set(found["n_runs"]) == {0}
    kinds = tables.read("demo", "measures").dtypes
    expected = {"layer": "Int64", "value": "float64", "low": "float64", "high": "float64"}
    assert {name: str(kinds[name]) for name in expected} == expected
    assert len(tables.read("demo", "runs")) == 6


def test_committed_rows_are_read_back_as_their_settings():
    files = sorted(paths.COMMITTED.glob("reference*/*/runs.parquet"))
    rows = pd.concat([pd.read_parquet(file) for file in files]).drop_duplicates("setting_id")
    assert len(rows) > 60
    for row in rows.to_dict("records"):
        assert config.from_row(row).id == row["setting_id"]


def test_columns_of_older_and_newer_tables_are_the_same_words(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)
    setting = Setting(text_columns=["question", "answer"])
    group = [make_run(seed) for seed in range(3)]
    for run in group:
        run.record |= {"setting": setting.to_dict()}
    for name in ("old", "new"):
        tables.save_tables("demo", name, group_tables.tables_of(group, ["op"]))
    path = tmp_path / "data/results/demo/old/runs.parquet"
    pd.read_parquet(path).assign(text_columns="question answer").to_parquet(path)
    both = tables.read("demo", "runs")
    assert both["text_columns"].nunique() == 1
    rows = [*both.to_dict("records"), *pd.read_parquet(path).to_dict("records")]
    assert all(config.from_row(row) == setting for row in rows)


def test_deleted_vectors_are_an_error_that_says_what_to_do(tmp_path):
    group = [make_run(seed) for seed in range(3)]
    for run in group:
        runs.save(run, tmp_path / f"demo/seed{run.record['seed']}")
    runs.drop_vectors("demo", tmp_path)
    left = runs.load_group(["demo"], ["seed0", "seed1", "seed2"], tmp_path)
    with pytest.raises(FileNotFoundError, match="set keep_vectors"):
        group_tables.tables_of(left, ["cka"])


def test_groups_made_by_different_code_are_never_mixed_silently(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)
    group = [make_run(seed) for seed in range(3)]
    for name, code in {"a": "old", "b": "new"}.items():
        for run in group:
            run.record["code"] = code
        tables.save_tables("demo", name, group_tables.tables_of(group, ["op"]))
    with pytest.warns(tables.MixedCodeWarning, match="2 versions of the training_code"):
        tables.read("demo", "runs")
    made = tmp_path / "data/results/demo/a/made.json"
    made.write_text(made.read_text().replace('"old"', '"new"'))
    with warnings.catch_warnings():
        warnings.simplefilter("error", tables.MixedCodeWarning)
        tables.read("demo", "measures")


def test_promotion_copies_tables_and_one_sample_of_the_first_configuration(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)
    monkeypatch.setattr(paths, "COMMITTED", tmp_path / "committed")
    for configuration, committed in {"quick": "reference", "demo": "reference-demo"}.items():
        for name, status in {"a": "failed", "b": "ok", "c": "ok"}.items():
            group = [make_run(seed, status=status) for seed in range(3)]
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


def test_runs_of_different_code_are_never_compared(tmp_path):
    for seed, code in enumerate(["old", "new"]):
        run = make_run(seed)
        run.record["code"] = code
        runs.save(run, tmp_path / f"demo/seed{seed}")
    with pytest.raises(ValueError, match="different versions.*old, torch.*new, torch"):
        runs.load_group(["demo"], ["seed0", "seed1"], tmp_path)


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_runs_of_different_versions_of_the_packages_are_never_compared(tmp_path, package):
    for seed, version in enumerate(["2.13.0+cpu", "2.13.0", "2.14.0"]):
        run = make_run(seed)
        run.record["versions"] = {**run.record["versions"], package: version}
        runs.save(run, tmp_path / f"demo/seed{seed}")
    with pytest.raises(ValueError, match=f"different versions.*{package} 2.14.0"):
        runs.load_group(["demo"], ["seed0", "seed1", "seed2"], tmp_path)
    if package == "torch":
        runs.load_group(["demo"], ["seed0", "seed1"], tmp_path)  # builds for other devices


#: Start of a script in whose process the named packages cannot be imported.
WITHOUT = """
import importlib.abc, sys
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, *_):
        if name.split(".")[0] in "{}".split():
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
"""

GRID = """
seeds: [0, 1, 2]
grid:
  - {{task: {file}, epochs: 3, learning_rate: 1.0e-3, max_length: 32}}
"""


@pytest.mark.slow
def test_sigkill_in_the_middle_leaves_whole_runs_and_the_rest_resumes(tmp_path, own_file):
    """Real processes, without notebooks: killed after the first run, then started again."""
    grid = tmp_path / "kill.yaml"
    grid.write_text(GRID.format(file=own_file))
    stores = {name: tmp_path / name for name in ("killed", "calm")}
    command = [sys.executable, "-m", "lib.training", str(grid)]

    def environment(name):
        import os

        return {**os.environ, "COMPENDIUM_OUTPUT": str(stores[name])}

    def finished():
        return sorted(path.parent for path in stores["killed"].glob("data/runs/*/seed*/run.json"))

    process = subprocess.Popen(command, cwd=paths.ROOT, env=environment("killed"))
    while not finished():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = finished()
    assert 1 <= len(kept) < 3
    before = {folder: (folder / "run.json").stat().st_mtime_ns for folder in kept}
    for folder in kept:
        assert len(runs.load(folder).logits) == 40
    for name in stores:
        subprocess.run(command, cwd=paths.ROOT, env=environment(name), check=True)
    assert len(finished()) == 3
    assert {folder: (folder / "run.json").stat().st_mtime_ns for folder in kept} == before
    for folder in finished():
        calm = stores["calm"] / folder.relative_to(stores["killed"])
        for name in ("logits.npy", "first.npy", "mean.npy", "training_log.csv"):
            assert (folder / name).read_bytes() == (calm / name).read_bytes()


def test_labels_of_groups_tell_settings_apart(tmp_path, monkeypatch):
    """Whatever they differ in; and two that differ in nothing shown keep their folder names."""
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)
    for name, changes in {"a": {"epochs": 3}, "b": {"epochs": 20}}.items():
        group = [make_run(seed) for seed in range(3)]
        for run in group:
            full = Setting(task="nyt", **changes).to_dict()
            run.record |= {"setting": full, "setting_id": name}
        tables.save_tables("demo", name, group_tables.tables_of(group, ["op"]))
    assert tables.group_labels("demo") == {"a": "nyt, epochs 3", "b": "nyt, epochs 20"}


def test_a_run_without_a_score_is_counted_as_left_out_of_the_scores():
    """A collapsed regression has no correlation; its group still has a mean and an SD."""
    group = [make_run(seed) for seed in range(4)]
    whole = RunGroup.of_runs(group)
    whole.runs.loc[2, "score"] = np.nan
    rows = group_tables.measure_table(whole).query("subset == 'all'").set_index("measure")
    assert rows.loc["sd", ["n_runs", "n_left_out"]].tolist() == [3, 1]
    assert rows.loc["disagreement", ["n_runs", "n_left_out"]].tolist() == [4, 0]


def test_chance_is_near_one_for_shuffled_examples_where_there_are_enough():
    """30 examples in 8 dimensions: chance is below 1 for all but the debiased CKA."""
    rows = group_tables.tables_of([make_run(seed) for seed in range(5)], ["cka", "op"])["measures"]
    rows = rows.query("subset == 'chance'")
    chance = rows.groupby("measure")["value"].mean()
    assert chance["cka"] == pytest.approx(1, abs=0.05)
    assert 0.3 < chance["op"] < 0.9
    assert (rows["low"] <= rows["value"]).all() and (rows["value"] <= rows["high"]).all()


@pytest.mark.slow
def test_training_and_measuring_need_neither_jupyter_nor_papermill_nor_datasets(tmp_path, own_file):
    grid = tmp_path / "bare.yaml"
    grid.write_text(GRID.format(file=own_file).replace("[0, 1, 2]", "[0, 1]"))
    script = WITHOUT.format("datasets papermill jupyterlab nbformat IPython snakemake") + (
        "from lib.training import finetune; from lib.results import group_tables as groups\n"
        f"finetune.main([{str(grid)!r}]); groups.main([{str(grid)!r}])"
    )
    done = run_python("-c", script, COMPENDIUM_OUTPUT=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("data/runs/*/seed0/run.json"))) == 1
    assert len(list(tmp_path.glob("data/results/bare/*/measures.parquet"))) == 1


def test_measures_need_numpy_and_scipy_only():
    script = WITHOUT.format("torch transformers datasets pandas sklearn matplotlib yaml tqdm") + (
        "import numpy as np\n"
        "from lib import measures\n"
        "x = np.random.default_rng(0).normal(size=(3, 2, 9, 4))\n"
        "print(measures.instability(measures.representation_distances(x)['cka']).n_runs)"
    )
    done = run_python("-c", script)
    assert done.stdout.strip() == "3", done.stderr


def test_the_command_line_helps():
    for module, word in {
        "lib.training": "CONFIG",
        "lib.results.group_tables": "CONFIG",
        "lib.workflow.promotion": "promote",
        "lib.workflow.status": "CONFIG",
        "lib.results.runs": "drop",
        "lib.report": "PATH",
    }.items():
        done = run_python("-m", module, "--help")
        assert done.returncode == 0 and word.lower() in done.stdout.lower()
    wrong = run_python("-m", "lib.training", "quik")
    assert wrong.returncode != 0 and "did you mean quick" in wrong.stderr
