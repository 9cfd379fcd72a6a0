"""Measures are those of the stored logits and distances, and can be made from them at any time."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from support.invented_runs import make_run, make_runs

from lib import paths, provenance
from lib.measures import scoring
from lib.results import group_tables, run_group, tables
from lib.results.run_group import RunGroup
from lib.workflow.__main__ import main

COMMITTED = [(name, group) for name in tables.committed() for group in tables.records(name)]
#: Some of the groups, always the same ones until groups are added.
SAMPLE = sorted(COMMITTED, key=lambda names: provenance.digest(names[1]))[:8]


def of_group(name, table, group):
    """A table of one group, without its name."""
    return tables.read_stored(name, table, [group]).drop(columns="group")


@pytest.mark.parametrize(("name", "group"), SAMPLE, ids="/".join)
def test_measures_made_again_are_the_committed_ones(name, group):
    committed = {table: of_group(name, table, group) for table in ("runs", "measures")}
    stored = run_group.read(name, [group])[group]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*kappa")
        again = group_tables.measure_again(stored, committed["measures"])
    for made, expected in zip(again, committed.values(), strict=True):
        pd.testing.assert_frame_equal(
            made.reset_index(drop=True), expected, check_exact=False, rtol=1e-12, atol=1e-15
        )


def test_scores_of_all_committed_runs_are_those_of_their_logits():
    for name in tables.committed():
        for stored in run_group.read(name).values():
            again = run_group.score_runs(stored).runs
            pd.testing.assert_frame_equal(again, stored.runs, check_exact=False, rtol=1e-12)


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A copy of a committed group, in results of its own called ``copied``."""
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)
    name, group = SAMPLE[0]
    frames = {table: of_group(name, table, group) for table in tables.TABLES}
    target = tables.save_tables("copied", "group", frames)
    record = tables.records(name)[group]
    (target / tables.MADE).write_text(json.dumps(record, indent=1) + "\n")
    return target


def test_the_command_repairs_scores_and_measures_and_touches_nothing_else(stored, capsys):
    before = {file.name: file.read_bytes() for file in stored.iterdir()}
    runs, measures = (pd.read_parquet(stored / f"{name}.parquet") for name in ("runs", "measures"))
    tables.write(stored / "runs.parquet", runs.assign(score=0.1, status="failed"))
    chance = measures["subset"] == "chance"
    wrong = measures.assign(value=measures["value"].where(chance, 9.0))
    tables.write(stored / "measures.parquet", wrong)
    main(["remeasure", "copied"])
    assert f"copied/group: {len(runs)} runs measured again" in capsys.readouterr().out
    after = {file.name: file.read_bytes() for file in stored.iterdir()}
    assert {name for name in before if before[name] != after[name]} <= {
        "made.json", "runs.parquet", "measures.parquet",
    }  # fmt: skip
    pd.testing.assert_frame_equal(pd.read_parquet(stored / "runs.parquet"), runs)
    pd.testing.assert_frame_equal(pd.read_parquet(stored / "measures.parquet"), measures)
    old, new = json.loads(before["made.json"]), json.loads(after["made.json"])
    assert new["measure_code"] == provenance.code_fingerprint(*provenance.MEASURING)
    assert new["measured"]["commit"] == provenance.commit()[0]
    for made in (old, new):
        made.pop("measure_code"), made.pop("measured", None)
    assert old == new


def test_packed_groups_are_measured_again_and_stay_packed(stored, monkeypatch):
    (stored / tables.SAMPLE).touch()
    before = {table: tables.read("copied", table) for table in tables.TABLES}
    tables.pack("copied", ["group"])
    packed = {path.name for path in stored.parent.iterdir()}
    assert packed == {"made.json", "group", *(f"{table}.parquet" for table in tables.TABLES)}
    assert [path.name for path in stored.iterdir()] == [tables.SAMPLE]
    monkeypatch.setattr(tables, "committed", lambda: ["copied"])
    main(["remeasure"])  # all committed ones
    assert {path.name for path in stored.parent.iterdir()} == packed
    for table, frame in before.items():
        pd.testing.assert_frame_equal(tables.read("copied", table), frame)
    assert tables.records("copied")["group"]["measured"]["commit"] == provenance.commit()[0]


def test_an_interrupted_measurement_leaves_the_group_as_it_was(stored, monkeypatch):
    before = {file.name: file.read_bytes() for file in stored.iterdir()}

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(tables, "write", full)
    with pytest.raises(OSError, match="disk full"):
        main(["remeasure", "copied"])
    assert {file.name: file.read_bytes() for file in stored.iterdir()} == before
    assert [path.name for path in stored.parent.iterdir()] == ["group"]


def test_scores_that_need_the_questions_are_kept():
    """Of what is scored by question only the rows are stored, not which belong together."""
    group = RunGroup.of_runs(make_runs(2))
    others = json.dumps({"f1": 0.0, "pick-em": 0.5})
    table = group.runs.assign(
        metric="pick-f1", score=0.77, accuracy=0.0, majority=0.0, other_scores=others
    )
    again = run_group.score_runs(replace(group, runs=table)).runs
    for run, own in zip(again.to_dict("records"), group.logits, strict=True):
        expected = scoring.score_run(group.labels, own, "f1")
        assert run["score"] == 0.77
        assert json.loads(run["other_scores"]) == {"f1": expected["score"], "pick-em": 0.5}
        assert run["accuracy"] == expected["accuracy"] and run["status"] == expected["status"]


def test_a_diverged_run_has_no_score_and_a_regression_no_accuracy():
    regression = {"n_classes": 1, "metric": "pearson"}
    runs = [make_run(seed, status=s, **regression) for seed, s in enumerate(["ok", "diverged"])]
    group = RunGroup.of_runs(runs)
    again = run_group.score_runs(replace(group, runs=group.runs.assign(score=0.1))).runs
    assert again["score"].iloc[0] > 0.9 and np.isnan(again["score"].iloc[1])
    assert list(again["status"]) == ["ok", "diverged"] and again["accuracy"].isna().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["remeasure", "reference-standart"], "did you mean reference-standard"),
        (["measure"], "required: config"),
        (["measure", "quik"], "did you mean quick"),
        (["measure", "theory"], "theory holds jobs of notebooks and no grid"),
    ],
)
def test_the_command_refuses_what_is_not_there(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err
