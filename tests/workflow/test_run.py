"""What `make run` says: how far it is, what came out, and what to do where something failed."""

import re
import subprocess
import sys

import pytest

from lib import paths
from lib.config.grids import load_plans
from lib.results import runs
from lib.workflow import run, status


@pytest.fixture
def grid(own_file, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)
    monkeypatch.setattr(paths, "RUNS", tmp_path / "data/runs")
    path = tmp_path / "two.yaml"
    path.write_text(f"seeds: [0, 1]\ngrid:\n  - {{task: {own_file}, learning_rate: 1.0e-3}}\n")
    return load_plans(path)[0]


def test_the_line_counts_runs_then_tables_then_figures(grid, monkeypatch):
    monkeypatch.setattr(status, "is_current", lambda record, *_: record["current"])
    progress = run.Progress([grid], campaign=False)
    assert progress.line() == "training: 0 of 2 runs; time left: not known yet"
    records = {}
    monkeypatch.setattr(runs, "record_of", records.get)
    first, second = progress.waiting
    records[first] = {"current": False}
    assert "0 of 2 runs" in progress.line(), "a stale run is not done"
    records[first] = {"current": True, "score": 0.5, "metric": "accuracy"}
    assert re.search(
        r"1 of 2 runs; last: .* seed0, accuracy 0.500; time left: under", progress.line()
    )
    records[second] = {"current": True, "score": None, "metric": "accuracy", "status": "diverged"}
    assert progress.line() == "measuring: 0 of 1 done"
    for file in (*progress.results, *progress.figures):
        assert progress.line() != run.DONE
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert progress.line() == run.DONE


def test_the_table_is_of_the_committed_measures():
    table = run.outcome("reference").set_index("setting")
    assert (table["runs"] == 5).all() and len(table) == 5
    row = table.loc["rotten-tomatoes, lr 0.0003"]
    assert row["failed"] == 0 and re.fullmatch(r"0\.\d{3} ± 0\.\d{3}", row["score"])
    assert re.fullmatch(r"0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]", row["disagreement"])


def test_a_failed_engine_shows_the_end_of_its_words(tmp_path):
    command = [sys.executable, "-m", "lib.workflow.run", "quick", "--", "--no-such-option"]
    environment = {"COMPENDIUM_OUTPUT": str(tmp_path), "PYTHONPATH": str(paths.ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "no-such-option" in done.stderr and "the same command makes the rest" in done.stderr
    assert "no-such-option" in (tmp_path / "build/engine.log").read_text()
    wrong = subprocess.run([*command[:3], "quik"], env=environment, capture_output=True, text=True)
    assert wrong.returncode != 0 and "did you mean quick" in wrong.stderr
