"""The benchmarks run, and what is committed of them says what it must."""

import re
import subprocess

import numpy as np
import pandas as pd
import pytest
from support.project import run_python

from benchmarks import costs, pilots
from lib import measures, paths
from lib.analysis import validity
from lib.measures import comparison, intervals

COMMITTED = paths.DATA / "benchmarks"
SCRIPTS = [
    path.stem
    for path in sorted((paths.ROOT / "benchmarks").glob("*.py"))
    if "__main__" in path.read_text()
]
COMMANDS = {
    "lib.training": "CONFIG",
    "lib.workflow": "promote",
    "lib.report": "PATH",
}
HELP = """
import runpy, sys
for name in sys.argv[1:]:
    sys.argv = [name, "--help"]
    print(f"-- {name}")
    try:
        runpy.run_module(name, run_name="__main__")
    except SystemExit as done:
        assert done.code == 0, name
"""


@pytest.mark.slow
def test_every_script_starts_and_is_explained():
    done = run_python("-c", HELP, *(f"benchmarks.{name}" for name in SCRIPTS), *COMMANDS)
    assert done.returncode == 0, done.stderr[-2000:]
    explained = (paths.ROOT / "benchmarks" / "README.md").read_text()
    for name in SCRIPTS:
        assert f"-- benchmarks.{name}\nusage: " in done.stdout and f"`{name}`" in explained
    for name, word in COMMANDS.items():
        page = done.stdout.split(f"-- {name}\n")[1].split("-- ")[0]
        assert word.lower() in page.lower(), name


@pytest.mark.slow
def test_the_benchmark_runs(tmp_path):
    done = run_python("-m", "benchmarks.measures", "--quick", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    table = pd.read_csv(tmp_path / "measures.csv")
    accuracy = table[table["comparison"] == "accuracy"]
    assert len(accuracy) == 10 and accuracy["met"].all()
    assert (table["max_difference"].dropna() < 1e-4).all()
    assert "logical cores" in (tmp_path / "measures.md").read_text()


def test_the_committed_benchmarks_are_whole_and_scores_agree():
    table = pd.read_csv(COMMITTED / "measures.csv")
    assert {"138x1024", "277x384", "277x1024", "408x384", "1043x384"} <= set(table["size"])
    assert table["pairs_measured"].notna().sum() >= 80
    assert table.loc[table["comparison"] == "accuracy", "met"].all()
    table = pd.read_csv(COMMITTED / "finetune_cpu.csv")
    assert table.groupby(["backbone", "precision"]).size().tolist() == [4] * 4
    page = (COMMITTED / "finetune_cpu.md").read_text()
    assert page.count("they agree") == 4 and "do not agree" not in page


def percent(shares):
    """``2 to 6 %`` of shares that reach from 0.02 to 0.06, or ``2`` of a single one."""
    ends = f"{100 * np.min(shares):.0f}", f"{100 * np.max(shares):.0f}"
    return f"{ends[0]} to {ends[1]} %" if len(np.atleast_1d(shares)) > 1 else ends[0]


def test_docstrings_say_of_tests_of_differences_what_was_simulated():
    table = pd.read_csv(COMMITTED / "differences.csv")
    assert (table["n_groups"] == 1000).all()
    clusters, same = table["runs"] != "classifiers", table["ratio"] == 1
    rejected = {
        method: table[table["method"] == method]["rejected"]
        for method in ("jackknife", "resampling", "permutation")
    }
    said = " ".join(validity.separation.__doc__.split())
    assert f"it rejects {percent(rejected['jackknife'][clusters & same])} at 5 %" in said
    normal, equal = table["tails"] == "normal", table["n_first"] == table["n_second"]
    assert f"rejects {percent(rejected['permutation'][normal & same])}, or " in said
    assert f"or {percent(rejected['permutation'][~normal & equal & same])} if a few" in said
    assert (rejected["permutation"][~equal] == 0).all() and "never with 5 runs against 13" in said
    wide = table[clusters & ~same & (table["method"] == "jackknife")]
    cells = wide.set_index(["tails", "n_second", "runs"])["rejected"]
    for tails, text in (
        ("normal", "{} and {} % of the time with 5 against 13, {} and {} % with 20 each"),
        ("t3", "far out {} and {} %, {} and {} %."),
    ):
        shares = [cells[tails, n, f"clusters, {d} dimensions"] for n in (13, 20) for d in (3, 20)]
        assert text.format(*map(percent, shares)) in said

    said = " ".join(comparison.jackknife_difference.__doc__.split())
    failed, sd = table["failed"] > 0, table["measure"] == "sd"
    for rows in (~failed, failed & ~sd, failed & sd):
        assert percent(rejected["jackknife"][rows & same]) in said
    said = " ".join(comparison.difference.__doc__.split())
    assert f"it rejects {percent(rejected['resampling'][same])} at 5 %" in said
    few = ~clusters & ~failed & ~same & (table["measure"] == "disagreement") & (table.n_first == 5)
    shares = [percent(rejected[method][few]) for method in ("resampling", "jackknife")]
    assert "disagreement {} % of the time, by the jackknife {} %".format(*shares) in said


def test_representations_are_reliable_over_pairs_and_scores_are_not():
    found = pd.read_csv(COMMITTED / "reliability.csv").fillna({"pooling": ""})
    found = found.set_index(["measure", "pooling"])["value"].sort_index()
    assert found["sd", ""] < 0.3 < found["disagreement", ""] < found["jsd", ""]
    assert found.drop(["sd", "disagreement"]).min() > 0.8


def test_the_committed_coverage_says_that_it_is_simulated_and_how():
    table = pd.read_csv(COMMITTED / "coverage.csv")
    assert table["covered"].between(0, 1).all() and (table["n_groups"] == 500).all()
    assert "invented" in (COMMITTED / "README.md").read_text()
    usual = table["measure"].map({"sd": "chi-square", "distribution_sd": "exact"})
    default = table[(table["method"] == usual.fillna("resampling")) & (table["n_runs"] >= 5)]
    found = default.set_index(["shifts", "failed", "measure", "n_runs"])["covered"].sort_index()
    # What notebook 30, the findings and docstrings say of it, in words.
    said = (paths.ROOT / "docs" / "findings.md").read_text()
    assert f"hold it {percent(found['normal', 0.0])[:-2]} times in a hundred from five" in said
    for measure, words in (
        ("mean", "the mean score {} times"),
        ("sd", "the standard deviation of scores {},"),
        ("jsd", "the Jensen-Shannon divergence {},"),
    ):
        assert words.format(percent(found["t3", 0.0, measure])[:-2]) in said
    failing = found["normal", 0.2].unstack("n_runs")
    assert failing[5].between(0.65, 0.68).all() and failing[10].between(0.86, 0.9).all()
    said = " ".join(measures.seed_variance.__doc__.split())
    exact = found.unstack(["shifts", "failed"]).loc["distribution_sd"]
    assert f"cover {percent(exact[[('normal', 0.0), ('none', 0.0)]])} with normal" in said
    assert f"none, {percent(exact['t3', 0.0])} with those" in said
    assert f"and {percent(exact['normal', 0.2])} where one run in five" in said
    said = " ".join(intervals.sd_interval.__doc__.split())
    shares = [percent(share) for share in found["t3", 0.0, "sd"]]
    assert "cover {}, {} and {} % with 5, 10 and 20".format(*shares) in said


def test_the_page_of_costs_is_what_the_script_makes():
    """All but the commit at which it was made. What it takes of the history may not be here."""
    held = ["git", "cat-file", "-e", costs.MODEL]
    if subprocess.run(held, cwd=paths.ROOT, stderr=subprocess.DEVNULL).returncode:
        pytest.skip(f"this copy has no commit {costs.MODEL}, which holds the model of costs")
    made, settings = costs.blocks()
    settings = settings.map(lambda x: float(f"{x:.4g}") if isinstance(x, float) else x)
    found = pd.read_csv(COMMITTED / "costs.csv")
    pd.testing.assert_frame_equal(found, settings.reset_index(drop=True), check_dtype=False)
    for page in costs.PAGES:
        text = page.read_text()
        marks = {mark[2] for mark in costs.MARK.finditer(text)}
        if "made" in marks:
            made["made"] = re.search(r"at commit [0-9a-f]{12}(?=<)", text)[0]
        assert costs.filled(text, made) == text, f"{page.name}: run python -m benchmarks.costs"


def test_the_hours_of_the_second_campaign_follow_from_the_tables():
    text = (COMMITTED / "costs.md").read_text()
    (table,) = [mark[0] for mark in costs.MARK.finditer(text) if mark[2] == "campaign"]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[4:-2]]
    total = 0.0
    for _, name, n_runs, device, hours in rows[:-1]:
        folder = paths.COMMITTED / f"reference-{name}"
        if n_runs == "0":
            assert not folder.exists(), f"{name} is committed: run python -m benchmarks.costs"
            continue
        runs = pd.read_parquet(folder / "runs.parquet")
        runs = runs[runs["device"] == device]
        assert len(runs) == int(n_runs)
        assert runs["wall_s"].sum() / 3600 == pytest.approx(float(hours), rel=0.005)
        total += runs["wall_s"].sum() / 3600
    assert total == pytest.approx(float(rows[-1][-1]), rel=0.005)


def test_the_rule_for_half_failing_rates_takes_the_nearest_to_one_half_and_the_lower_of_equals():
    def ladder(task, failed, gain=0.2):
        """Ten runs at each rate 1, 2, …, of which so many failed."""
        return [
            {"backbone": "b", "task": task, "method": "m", "learning_rate": rate,
             "status": "failed" if run < n else "ok", "majority": 0.5,
             "accuracy": 0.5 if run < n else 0.5 + gain}
            for rate, n in enumerate(failed, start=1) for run in range(10)
        ]  # fmt: skip

    rows = ladder("plain", [0, 3, 6, 10]) + ladder("equal", [2, 4, 6, 9])
    rows += ladder("few", [0, 1, 9, 10]) + ladder("unclear", [0, 5, 10], gain=0.04)
    found = pilots.half_failing(pd.DataFrame(rows)).set_index("task")
    assert found["learning_rate"].to_dict() == {"plain": 3, "equal": 2}
    assert found.loc["plain", ["failed", "gain"]].tolist() == pytest.approx([0.6, 0.2])
