"""Exported runs: valid by the schemas of Every Eval Ever, and read back as they are stored."""

import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
from support.invented_runs import make_run, make_runs

from lib import measures, paths
from lib.report import command, reading
from lib.report.measuring import measure_runs
from lib.report.opening import OutsideError
from lib.results import group_tables, run_group, tables
from lib.workflow.__main__ import main

# The states of the diverged run that is invented here have no distances.
pytestmark = pytest.mark.filterwarnings("ignore:run 3, layer .:UserWarning")
SCHEMAS = Path(__file__).with_name("every_eval_ever")


def validator(name):
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    return jsonschema.Draft7Validator(schema)


RECORD, SAMPLE = validator("eval"), validator("instance_level_eval")


def strictly(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def valid_samples(folder):
    """By run, the samples of a folder, all of them valid and of the record beside them."""
    samples = {}
    for path in sorted(folder.glob("*.json")):
        RECORD.validate(record := strictly(path.read_text()))
        lines = path.with_name(f"{path.stem}_samples.jsonl").read_text().splitlines()
        samples[path.stem] = [strictly(line) for line in lines]
        results = {result["evaluation_result_id"] for result in record["evaluation_results"]}
        for sample in samples[path.stem]:
            SAMPLE.validate(sample)
            assert sample["evaluation_id"] == record["evaluation_id"]
            assert sample["model_id"] == record["model_info"]["id"]
            assert sample["evaluation_result_id"] in results or sample["error"]
    return samples


def assert_same(outside, stored):
    """Bits of what both hold, in the same order."""
    assert outside.names == stored.names
    assert list(outside.example_ids) == [str(example) for example in stored.example_ids]
    assert list(outside.classes) == list(stored.classes)
    for name in ("predictions", "labels"):
        np.testing.assert_array_equal(getattr(outside, name), getattr(stored, name))
    np.testing.assert_array_equal(
        measures.pairwise_disagreement(outside.predictions),
        measures.pairwise_disagreement(stored.predictions),
    )


#: Two classes by accuracy, with collapsed and failed runs; by F1, with names; six classes.
COMMITTED = [
    ("reference", "bert-tiny_rotten-tomatoes_standard_lr0.003_"),
    ("reference-failing", "minilm-l6_mrpc_"),
    ("reference-failing", "bert-tiny_trec_"),
]


@pytest.mark.parametrize(("name", "begin"), COMMITTED)
def test_committed_runs_come_back_as_they_are_stored(name, begin, tmp_path, monkeypatch, capsys):
    read = run_group.read
    (group,) = [key for key in tables.records(name) if key.startswith(begin)]
    monkeypatch.setattr(run_group, "read", lambda name: read(name, [group]))
    main(["export", name, str(tmp_path)])
    stored = read(name, [group])[group]
    assert f"{group}: {len(stored)} runs on {len(stored.example_ids)} examples" in (
        capsys.readouterr().out
    )
    samples = valid_samples(tmp_path / group)
    assert set(samples) == set(stored.names)
    assert all(sample["input"]["raw"] == sample["sample_id"] for sample in samples["seed0"])
    metric = stored.setting["metric"]
    for run in stored.runs.itertuples():
        record = json.loads((tmp_path / group / f"{run.seed_label}.json").read_text())
        scores = {
            result["metric_config"]["metric_id"]: result["score_details"]["score"]
            for result in record["evaluation_results"]
        }
        assert scores["accuracy"] == run.accuracy and scores[metric] == run.score
        right = [sample["evaluation"]["is_correct"] for sample in samples[run.seed_label]]
        assert np.mean(right) == run.accuracy
        assert record["model_info"]["additional_details"]["status"] == run.status
        assert json.loads(samples[run.seed_label][0]["metadata"]["classes"]) == list(run.classes)

    outside = reading.read(tmp_path / group).group
    assert_same(outside, stored)
    measured = measure_runs(outside, metric=metric)
    expected = run_group.score_runs(stored).runs
    for column in ("score", "accuracy", "status"):
        assert list(measured.scores[column]) == list(expected[column])

    command.main([str(tmp_path / group), "--metric", metric, "--format", "json"])
    said = json.loads(capsys.readouterr().out)["measures"]
    table = tables.read_stored(name, "measures", [group]).query("subset == 'all'")
    for measure in ("disagreement", "kappa", "sd"):
        value = table.loc[table["measure"] == measure, "value"].item()
        assert said[measure]["value"] == pytest.approx(value, rel=1e-12)


@pytest.fixture
def invented(tmp_path, monkeypatch):
    """Three groups of invented runs: three classes with a diverged run, regression, a union."""
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)
    made = {"commit": "0123456789ab"}
    lost = [make_run(3, n_classes=3, status="diverged", **made)]
    groups = {
        "classes": make_runs(3, n_classes=3, **made) + lost,
        "regression": make_runs(3, n_classes=1, metric="pearson", setting_id="r", **made),
        "union": [*make_runs(2, setting_id="a", **made), *make_runs(2, setting_id="b", **made)],
    }
    for name, group in groups.items():
        tables.save_tables("invented", name, group_tables.tables_of(group, ["cka"]))
    return run_group.read("invented")


def test_a_diverged_run_has_an_error_and_no_answers(invented, tmp_path, capsys):
    main(["export", "invented"])
    folder = tmp_path / "build/export/invented/demo"
    assert str(folder.parent) in capsys.readouterr().out
    samples = valid_samples(folder)
    for sample in samples["seed3"]:
        assert sample["output"]["raw"] == sample["answer_attribution"] == []
        assert sample["error"].startswith("diverged") and not sample["evaluation"]["is_correct"]
    assert all(sample["error"] is None for sample in samples["seed0"])
    record = json.loads((folder / "seed3.json").read_text())
    assert record["evaluation_results"] == []
    assert record["model_info"]["additional_details"]["status"] == "diverged"
    with pytest.raises(OutsideError, match="a diverged run cannot be compared: exclude seed3"):
        reading.read(folder)
    assert_same(reading.read(folder, exclude=["seed3"]).group, invented["classes"].finite())


def test_regression_is_left_out_and_settings_of_a_union_have_folders(invented, tmp_path, capsys):
    main(["export", "invented", str(tmp_path / "out")])
    assert "regression: left out, for the schema asks" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"demo", "a", "b"}
    for setting, rows in (("a", [0, 1]), ("b", [2, 3])):
        valid_samples(tmp_path / "out" / setting)
        group = reading.read(tmp_path / "out" / setting).group
        assert_same(group, invented["union"].take(rows))


def test_an_export_replaces_only_the_folders_of_its_settings(invented, tmp_path):
    target = tmp_path / "mine"
    (target / "demo").mkdir(parents=True)
    (target / "demo/seed9_samples.jsonl").touch()
    (target / "notes.txt").touch()
    main(["export", "invented", str(target)])
    assert (target / "notes.txt").exists()
    assert not (target / "demo/seed9_samples.jsonl").exists()


def test_the_lines_of_the_data_card_load_all_samples(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)
    monkeypatch.chdir(tmp_path)
    main(["export", "reference"])
    (lines,) = re.findall("```py\n(.*?)```", (paths.ROOT / "docs/data-card.md").read_text(), re.S)
    exec(lines, loaded := {})
    assert len(list(filter(None, lines.splitlines()))) == 3
    runs = tables.read("reference", "runs")
    assert loaded["samples"]["model_id"].nunique() == len(runs)
    assert len(loaded["samples"]) == runs["n_eval"].sum()
    right = loaded["samples"]["evaluation"].str["is_correct"].astype(float)
    accuracy = right.groupby(loaded["samples"]["evaluation_id"]).mean()
    assert sorted(accuracy) == pytest.approx(sorted(runs["accuracy"]))
    examples = tables.read("reference", "examples")["example_id"].astype(str)
    assert set(loaded["samples"]["sample_id"]) == set(examples)


def test_the_schemas_find_what_is_missing(invented, tmp_path):
    """That files are valid says something only if others are not."""
    main(["export", "invented", str(tmp_path)])
    sample = next(iter(valid_samples(tmp_path / "demo")["seed0"]))
    record = json.loads((tmp_path / "demo/seed0.json").read_text())
    for whole, schema in ((sample, SAMPLE), (record, RECORD)):
        for name in schema.schema["required"]:
            assert not schema.is_valid({key: v for key, v in whole.items() if key != name}), name
    text = pd.Series(sample["input"]).drop("raw").to_dict()
    assert not SAMPLE.is_valid(sample | {"input": text})
