"""The command of the report, as a user has it: formats, comparison, gate, exit codes."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
from support.project import outcome

from lib import paths, report
from lib.report import comparing, measuring, reading

N = 200


def setting(folder, *, right=0.8, runs=6, seed=0, ids=None):
    """Runs whose answers are right on so many examples, a file a seed."""
    rng = np.random.default_rng(seed)
    gold = np.random.default_rng(9).integers(0, 2, N)
    folder.mkdir(parents=True)
    for run in range(runs):
        answers = np.where(rng.random(N) < right, gold, 1 - gold)
        names = [f"q{i}" for i in range(N)] if ids is None else ids
        table = pd.DataFrame({"id": names, "label": gold, "prediction": answers})
        table.sample(frac=1, random_state=run).to_csv(folder / f"seed{run}.csv", index=False)
    return str(folder)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("settings")
    return {
        name: setting(folder / name, **how)
        for name, how in {
            "base": {}, "same": {"seed": 1}, "good": {"right": 0.95, "seed": 2},
            "bad": {"right": 0.6, "seed": 3}, "others": {"ids": [f"p{i}" for i in range(N)]},
        }.items()
    }  # fmt: skip


said = partial(outcome, report.main)


def test_json_holds_what_was_taken_and_the_measures_of_the_table(settings, capsys, tmp_path):
    code, out, _ = said(capsys, settings["base"], "--format", "json", "--out", tmp_path)
    found = json.loads(out)
    assert (code, found["n_runs"], found["n_examples"], found["task"]) == (
        0,
        6,
        N,
        "classification",
    )
    assert found["taken"] == {
        "runs": [f"seed{i}" for i in range(6)], "labels": "label", "ignored": [],
    }  # fmt: skip
    table = pd.read_csv(tmp_path / "measures.csv").set_index("measure")
    for name, row in found["measures"].items():
        for end in ("value", "low", "high"):
            known = row[end] is not None
            assert known == pd.notna(table.loc[name, end])
            assert not known or row[end] == pytest.approx(table.loc[name, end], rel=1e-5)
    assert "comparison" not in found


def test_markdown_and_latex_are_a_row_a_sentence_and_what_it_takes_to_reproduce_them(
    settings, capsys
):
    _, out, _ = said(capsys, settings["base"], "--format", "markdown")
    head, rule, row, empty, sentence, _, again = out.strip().split("\n")
    assert head.count("|") == rule.count("|") == row.count("|") and not empty
    assert head.startswith("| runs | failed | accuracy | SD of accuracy | disagreement |")
    assert row.startswith("| 6 | 0 | 0.785 [") and sentence.startswith(
        "6 runs that differ in the seed"
    )
    assert "6 runs on 200 examples from base" in again and "Left out: none; failed: none." in again
    assert "numpy " in again
    shorter = said(capsys, settings["base"], "--exclude", "seed0", "--format", "markdown")[1]
    digest = re.compile("begins with ([0-9a-f]{12})")
    assert "Left out: seed0" in shorter and digest.findall(shorter) != digest.findall(again)
    _, out, _ = said(capsys, settings["base"], "--format", "latex")
    assert r"\begin{tabular}" in out and r"\bottomrule" in out and "95 \\%" in out
    assert out.split("\\midrule\n")[1].split("\\\\")[0].count("&") == row.count("|") - 2


@pytest.mark.parametrize(
    ("candidate", "code", "word"), [("good", 0, "better"), ("same", 1, "not"), ("bad", 2, "worse")]
)
def test_the_gate_says_it_in_a_line_and_in_its_exit_code(settings, capsys, candidate, code, word):
    found = said(capsys, settings[candidate], "--against", settings["base"], "--gate")
    assert found[0] == code and found[1].startswith(word) and found[1].count("\n") == 1


def test_with_the_gate_bad_input_and_usage_end_with_3_and_else_with_2(settings, capsys):
    for arguments, words in (
        ((settings["others"], "--against", settings["base"]), "lacks 200 of the 200 examples"),
        ((settings["base"] + "x", "--against", settings["base"]), "no such file or folder"),
    ):
        for more, code in (((), 2), (("--gate",), 3)):
            found = said(capsys, *arguments, *more)
            assert found[0] == code and words in found[2] and not found[1]
    code, _, error = said(capsys, settings["base"], "--gate")
    assert code == 3 and "takes one --against" in error
    assert said(capsys, settings["base"], "--gate", "--nonsense")[0] == 3
    for typo in ("--gates", "--gate=1", "--gated", "-gate", "--gat"):
        assert said(capsys, settings["base"], "--against", settings["others"], typo)[0] == 3
    for more in (("--sequential", "l.json"), ("--lower-is-better",)):
        code, _, error = said(capsys, settings["good"], "--against", settings["base"], *more)
        assert code == 2 and "--sequential and --lower-is-better go with --gate" in error
    assert said(capsys, settings["base"], "--nonsense")[0] == 2
    assert said(capsys, "--help")[0] == 0 and said(capsys, "--help", "--gate")[0] == 0


def without_labels(folder, of, keep=("id", "prediction")):
    """The same runs with other columns."""
    folder.mkdir()
    for path in sorted(pathlib.Path(of).iterdir()):
        table = pd.read_csv(path).rename(columns={"label": "gold"}).sort_values("id")
        table[list(keep)].to_csv(folder / path.name, index=False)
    return str(folder)


def test_what_obeys_a_message_about_two_settings_works(settings, capsys, tmp_path):
    """Every message that speaks of both, of metrics, of the gate and its ledger."""
    base, good = settings["base"], settings["good"]
    bare = without_labels(tmp_path / "bare", base)
    nothing = without_labels(tmp_path / "nothing", base, ["prediction"])
    others = without_labels(tmp_path / "others", good, ["prediction"])
    gold = pd.read_csv(base + "/seed0.csv")[["id", "label"]]
    gold.to_csv(tmp_path / "gold.csv", index=False)
    gold.sort_values("id").label.to_csv(tmp_path / "order.csv", index=False)
    alone = pd.DataFrame({"seed": range(6), "f1": 0.8, "accuracy": np.linspace(0.7, 0.9, 6)})
    alone.to_csv(tmp_path / "alone.csv", index=False)
    three = pd.DataFrame({"s1": list("abc"), "s2": list("abb"), "label": list("abc")})
    three.to_csv(tmp_path / "three.csv", index=False)
    alone.assign(accuracy=[0.7, np.nan, 0.8, 0.7, 0.9, 0.8]).to_csv(tmp_path / "nan.csv")
    ledger = tmp_path / "ledger.json"
    gate = ("--gate", "--sequential", ledger)
    assert said(capsys, good, "--against", base, *gate)[0] == 0
    (tmp_path / "damaged.json").write_text("{")
    metric = ("--metric", "accuracy")
    for bad, words, obeyed in (
        ((bare, "--against", base), "give gold labels to both",
         (bare, "--against", base, "--labels", tmp_path / "gold.csv")),
        ((base, "--against", tmp_path / "alone.csv"), "accuracy, of B f1: … choose by --metric",
         (base, "--against", tmp_path / "alone.csv", *metric)),
        ((base, "--against", tmp_path / "nan.csv", *metric), "'1' has no accuracy … by --exclude",
         (base, "--against", tmp_path / "nan.csv", *metric, "--exclude", "1")),
        ((nothing, "--against", others), "neither ids nor gold labels … labels by --labels",
         (nothing, "--against", others, "--labels", tmp_path / "order.csv")),
        ((base, "--metric", "pearson"), "does not fit classes; valid: accuracy, f1",
         (base, "--metric", "f1")),
        ((tmp_path / "three.csv", "--metric", "f1"), "needs two classes, not 3; try macro-f1",
         (tmp_path / "three.csv", "--metric", "macro-f1")),
        ((bare, "--metric", "mcc"), "'mcc' needs gold labels",
         (bare, "--metric", "mcc", "--labels", tmp_path / "gold.csv")),
        ((tmp_path / "alone.csv", "--metric", "f2"), "no scores are called 'f2': did you mean f1",
         (tmp_path / "alone.csv", "--metric", "f1")),
        ((base, "--exclude", "seed9"), "no run 'seed9' to exclude: did you mean seed",
         (base, "--exclude", "seed0")),
        ((base, "--against", good, "--exclude", "x"), "no setting has a run 'x' to exclude",
         (base, "--against", good, "--exclude", "seed0")),
        ((base, "--width", "20"), "width = 20.0: expected a share", (base, "--width", ".2")),
        ((bare, "--against", bare, "--gate"), "compares scores; give gold labels by --labels",
         (bare, "--against", bare, "--gate", "--labels", tmp_path / "gold.csv")),
        ((good, "--against", base, "--gate", "--sequential", tmp_path / "damaged.json"),
         "is no ledger, or damaged; begin another",
         (good, "--against", base, "--gate", "--sequential", tmp_path / "new.json")),
        ((good, "--against", settings["bad"], *gate), "another baseline … begin another ledger",
         (good, "--against", settings["bad"], *gate[:2], tmp_path / "newer.json")),
    ):  # fmt: skip
        code, _, error = said(capsys, *bad, "--out", tmp_path / "out")
        assert code == (3 if "--gate" in bad else 2), error
        assert all(part in error for part in words.split(" … ")), error
        assert said(capsys, *obeyed, "--out", tmp_path / "out")[0] in (0, 1)


def test_a_ledger_spends_the_error_over_candidates(settings, capsys, tmp_path):
    ledger = tmp_path / "ledger.json"
    gate = ("--against", settings["base"], "--gate", "--sequential", ledger)
    first = said(capsys, settings["good"], *gate)
    assert first[0] == 0
    assert said(capsys, settings["good"], *gate)[:2] == (0, first[1][:-1] + " (recorded before)\n")
    assert said(capsys, settings["same"], *gate)[0] == 1
    kept = json.loads(ledger.read_text())["candidates"]
    assert [one["candidate"] for one in kept] == ["good", "same"]
    assert [one["alpha"] for one in kept] == [0.05 * 20 / (20 * 21), 0.05 * 20 / (21 * 22)]


def test_against_another_setting_the_report_compares(settings, capsys, tmp_path):
    code, out, _ = said(
        capsys, settings["base"], "--against", settings["good"], "--out", tmp_path / "out"
    )
    a, b = (measuring.measure_runs(reading.read(settings[name]).group) for name in ("base", "good"))
    wanted = comparing.compare(a, b)
    page = (tmp_path / "out" / "report.html").read_text()
    assert code == 0 and all(sentence in out for sentence in wanted.sentences)
    assert "More than the seed?" in page
    table = pd.read_csv(tmp_path / "out" / "comparison.csv", index_col="quantity")
    pd.testing.assert_frame_equal(table, wanted.table, rtol=1e-4, check_dtype=False)
    _, out, _ = said(capsys, settings["base"], "--against", settings["good"], "--format", "json")
    found = json.loads(out)
    assert found["comparison"]["mean"]["p"] == pytest.approx(wanted.table.loc["mean", "p"])
    assert found["compared"][1:] == wanted.sentences


def test_of_several_settings_every_two_are_compared_with_holm(settings, capsys):
    others = ("--against", settings["good"], "--against", settings["bad"])
    _, out, _ = said(capsys, settings["base"], *others, "--format", "json")
    found = json.loads(out)["comparison"]
    means = {name: row for name, row in found.items() if name.startswith("mean, ")}
    assert len(means) == 3 and all(row["p"] < 0.01 for row in means.values())


def copies(folder):
    """Eight copies of one run that is always right but once, and what ids and answers they have."""
    table = pd.read_csv(setting(folder / "one", right=1.0, runs=1) + "/seed0.csv")
    (folder / "copies").mkdir()
    for seed in range(8):
        table.to_csv(folder / "copies" / f"seed{seed}.csv", index=False)
    return str(folder / "copies")


@pytest.mark.parametrize("metric", ["accuracy", "f1"])
def test_copies_of_a_run_are_no_evidence_and_every_way_out_says_that_they_are(
    settings, capsys, tmp_path, metric
):
    eight, note = (
        copies(tmp_path),
        "seed0 and seed7 are identical: the same file, or the same seed?",
    )
    against = ("--against", settings["base"], "--metric", metric)
    code, out, error = said(capsys, eight, *against, "--gate")
    assert code == 1 and out.startswith("not shown: ") and out.count("\n") == 1
    assert f"A: {note}\n" in error and "Taken as" not in error
    turned = ("--against", eight, "--metric", metric)
    code, _, error = said(capsys, settings["good"], *turned, "--gate")
    assert code == 1 and f"B: {note}\n" in error
    assert said(capsys, settings["good"], "--against", settings["base"], "--gate")[2] == ""
    for form in ("markdown", "latex", "json"):
        for first, other in ((eight, ()), (eight, against), (settings["base"], turned)):
            assert note in said(capsys, first, *other, "--format", form)[1], (form, first)
    out = said(capsys, settings["base"], *turned, "--out", tmp_path / "out")[1]
    assert f"B: {note}" in out and note in (tmp_path / "out/report.html").read_text()


def test_of_several_settings_the_table_has_a_row_of_each(settings, capsys):
    paths = [settings[name] for name in ("base", "good", "bad")]
    alone = [said(capsys, path, "--format", "markdown")[1].split("\n") for path in paths]
    for n in (2, 3):
        more = [word for path in paths[1:n] for word in ("--against", path)]
        lines = said(capsys, paths[0], *more, "--format", "markdown")[1].strip().split("\n")
        assert lines[0] == "| setting " + alone[0][0]
        rows = [f"| {letter} {one[2]}" for letter, one in zip("ABC"[:n], alone, strict=False)]
        assert lines[2 : 2 + n] == rows and not lines[2 + n]
        sentences = json.loads(said(capsys, paths[0], *more, "--format", "json")[1])["compared"]
        assert sentences[0].startswith(f"A is {paths[0]}, B is {paths[1]}")
        assert [line for line in lines if line in sentences] == sentences
        tex = said(capsys, paths[0], *more, "--format", "latex")[1]
        body = tex.split("\\midrule\n")[1].split("\\bottomrule")[0].strip().split("\n")
        assert [line.split(" & ")[0] for line in body] == list("ABC"[:n])
        assert all(line.count("&") == lines[0].count("|") - 2 for line in body)
        assert tex.count("% ") >= len(sentences) + 2 * n


@pytest.mark.parametrize("words", [["-m", "lib.report"], ["-m", "lib", "report"]])
def test_a_reader_who_stops_reading_sees_no_trace(settings, words):
    """As ``| head -1`` does: the pipe is closed before the report is written into it."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, *words, settings["base"], "--format", "markdown"],
        cwd=paths.ROOT, stdout=write, stderr=subprocess.PIPE, text=True, check=False,
        env=os.environ,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")


def test_the_command_as_a_process_prints_no_trace(settings, tmp_path):
    command = [sys.executable, "-m", "lib.report", settings["base"], "--against", str(tmp_path)]
    done = subprocess.run(
        [*command, "--gate"], cwd=paths.ROOT, capture_output=True, text=True, check=False,
        env=os.environ,
    )  # fmt: skip
    assert done.returncode == 3 and "Traceback" not in done.stderr and str(tmp_path) in done.stderr
