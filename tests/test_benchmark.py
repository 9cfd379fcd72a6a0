"""The benchmark of the measures runs, and what is committed of it says what it must."""

import numpy as np
import pandas as pd
import pytest
from conftest import run_python

from lib import paths

COMMITTED = paths.DATA / "benchmarks"


@pytest.mark.slow
def test_the_benchmark_runs(tmp_path):
    script = str(paths.ROOT / "tests" / "bench_measures.py")
    done = run_python(script, "--quick", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    table = pd.read_csv(tmp_path / "measures.csv")
    accuracy = table[table["comparison"] == "accuracy"]
    assert len(accuracy) == 10 and accuracy["met"].all()
    assert (table["max_difference"].dropna() < 1e-4).all()
    assert "logical cores" in (tmp_path / "measures.md").read_text()


def test_the_committed_benchmark_is_whole():
    table = pd.read_csv(COMMITTED / "measures.csv")
    assert {"138x1024", "277x384", "277x1024", "408x384", "1043x384"} <= set(table["size"])
    assert table["pairs_measured"].notna().sum() >= 80
    assert table.loc[table["comparison"] == "accuracy", "met"].all()


@pytest.mark.slow
def test_the_benchmark_of_fine_tuning_runs(tmp_path):
    script = str(paths.ROOT / "tests" / "bench_finetune.py")
    done = run_python(script, "--quick", "--device", "cpu", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    table = pd.read_csv(tmp_path / "finetune_cpu.csv")
    assert len(table) == 4 and (table["seconds"] > 0).all()
    assert table["mean_score"].between(0.3, 0.7).all(), "two steps teach nothing"
    # What is 1 at most, and what is counted: real tokens of 2 seeds.
    assert table["share_of_peak"].between(0, 1).all()
    tokens = table["seconds"] * table["tokens_per_second"]
    assert tokens.max() / tokens.min() < 1.1


def test_the_committed_benchmark_of_fine_tuning_is_whole_and_scores_agree():
    table = pd.read_csv(COMMITTED / "finetune_cpu.csv")
    assert {"bert-tiny", "minilm-l6"} == set(table["backbone"])
    assert {"float32", "bfloat16"} == set(table["precision"])
    assert table.groupby(["backbone", "precision"]).size().eq(4).all()
    page = (COMMITTED / "finetune_cpu.md").read_text()
    assert page.count("they agree") == 4 and "do not agree" not in page


def test_the_committed_coverage_says_that_it_is_simulated_and_how():
    table = pd.read_csv(COMMITTED / "coverage.csv")
    assert table["covered"].between(0, 1).all() and (table["n_groups"] == 500).all()
    assert "invented" in (COMMITTED / "README.md").read_text()
    found = table.set_index(["failed", "n_runs", "measure", "method"])["covered"]
    # What notebook 20 and the report say of it, in words.
    assert 0.6 < found[0.2, 5, "disagreement", "resampling"] < 0.72
    assert 0.85 < found[0.2, 10, "disagreement", "resampling"] < 0.95
    usual = np.where(table["measure"] == "sd", "chi-square", "resampling")
    default = table[(table["method"] == usual) & (table["failed"] == 0) & (table["n_runs"] >= 5)]
    assert (default["covered"].min().round(2), default["covered"].max().round(2)) == (0.86, 0.97)
