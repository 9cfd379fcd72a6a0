"""A gate: its verdicts, its ledger, and how often it errs."""

import json
import multiprocessing
import os
import re
import signal
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from support.settings_compared import GOLD, group, measured, scored

from benchmarks import gate as simulation
from lib import paths
from lib.report import comparing, gate
from lib.report.opening import OutsideError

BASE = scored([0.80, 0.82, 0.79, 0.81, 0.80])
GOOD, SAME, BAD = (
    scored(np.array([0.81, 0.79, 0.80, 0.82, 0.805]) + by, [f"x{i}" for i in "abcde"])
    for by in (0.06, 0.001, -0.06)
)


def test_better_not_shown_and_worse_and_the_other_way_round_for_losses():
    verdicts = [gate.judge(BASE, other) for other in (GOOD, SAME, BAD)]
    assert [v.verdict for v in verdicts] == ["better", "not shown", "worse"]
    assert [gate.EXIT_CODES[v.verdict] for v in verdicts] == [0, 1, 2]
    losses = [gate.judge(BASE, other, lower_is_better=True) for other in (GOOD, SAME, BAD)]
    assert [v.verdict for v in losses] == ["worse", "not shown", "better"]
    welch = stats.ttest_ind(BASE.group.scores, GOOD.group.scores, equal_var=False)
    assert verdicts[0].p == pytest.approx(welch.pvalue) and verdicts[0].alpha == 0.05
    for verdict in verdicts:
        assert "\n" not in verdict.line and verdict.line.startswith(f"{verdict.verdict}: accuracy ")
    not_counted = "more than the seeds (what other examples would change is not counted)"
    assert verdicts[0].line.endswith(f"5 and 5 runs: {not_counted}")
    takes = (
        r"not shown to be more than the seeds; it takes ±0\.0\d+ with as many, or \d+ runs of each$"
    )
    assert re.search(takes, verdicts[1].line)


def test_what_it_takes_is_where_the_verdict_turns():
    line = gate.judge(BASE, SAME).line
    reach = float(line.split("it takes ±")[1].split(" ")[0])
    for extra, verdict in ((-2e-4, "not shown"), (2e-4, "better")):
        moved = np.array(SAME.group.scores) - np.mean(SAME.group.scores)
        other = scored(moved + np.mean(BASE.group.scores) + reach + extra, list("vwxyz"))
        assert gate.judge(BASE, other).verdict == verdict


def test_what_it_takes_in_a_ledger_is_at_the_share_of_the_candidate(tmp_path):
    line = gate.judge(BASE, SAME, ledger=tmp_path / "l.json").line
    found = comparing.compare(BASE, SAME, level=1 - gate.share(1, 0.05)).table.loc["mean"]
    assert line.endswith(f"it takes ±{(found['high'] - found['low']) / 2:.4f} with as many")


def test_pairs_of_seeds_decide_where_names_say_them():
    scores = np.array([0.5, 0.9, 0.7, 0.6, 0.8])
    other = scored(scores + np.array([0.02, 0.03, 0.02, 0.025, 0.03]))
    assert gate.judge(scored(scores), other).verdict == "better"
    assert ", paired by seed" in gate.judge(scored(scores), other).line
    assert gate.judge(scored(scores), other, paired=False).verdict == "not shown"


def test_more_than_the_seeds_can_be_less_than_the_choice_of_examples():
    """Runs that hardly vary, of two settings that each know some examples: 30 against 24 of 60."""
    answers = np.tile(GOLD, (6, 1))
    answers[:, 30:] = (answers[:, 30:] + 1) % 3
    other = np.tile((GOLD + 1) % 3, (6, 1))
    other[:, 24:] = GOLD[24:]
    for runs in (answers, other):
        runs[np.arange(6), np.arange(30, 36)] += 1
        runs %= 3
    pair = [measured(replace(group(n_runs=6), predictions=runs)) for runs in (answers, other)]
    verdict = gate.judge(*pair)
    assert verdict.verdict == "not shown" and verdict.p > 0.2
    assert "more than the seeds, but not shown to be more than the choice" in verdict.line
    assert gate.judge(*(scored(one.group.scores) for one in pair)).verdict == "better"


def test_few_runs_say_how_many_it_takes(tmp_path):
    two = gate.judge(scored([0.5, 0.51]), scored([0.9, 0.91]))
    assert two.verdict == "not shown" and two.line.endswith(
        "2 and 2 runs: no test: it takes 3 runs of each that differ"
    )
    three, ledger = (scored([0.50, 0.51, 0.505]), scored([0.9, 0.91, 0.905])), tmp_path / "l.json"
    assert gate.judge(*three).verdict == "better"
    within = gate.judge(*three, ledger=ledger)
    assert within.verdict == "not shown" and "p =" not in within.line and np.isnan(within.p)
    assert within.line.endswith("no test: it takes 5 runs of each that differ")
    assert not ledger.exists(), "what is not tested spends nothing"
    assert gate.judge(BASE, GOOD, ledger=ledger).alpha == gate.share(1, 0.05)


def with_answers(answers, metric="accuracy"):
    """Runs of these answers, as measured."""
    scores = (answers == GOLD).mean(1)
    runs = pd.DataFrame({"run": [f"n{i}" for i in range(len(answers))], "score": scores})
    return measured(replace(group(), runs=runs, predictions=answers), metric)


@pytest.mark.parametrize("metric", ["accuracy", "f1"])
@pytest.mark.parametrize(
    ("differ", "tested", "in_ledger"), [(1, 0, 0), (2, 0, 0), (3, 1, 0), (5, 1, 1)]
)
def test_copies_of_a_run_are_one_run(metric, differ, tested, in_ledger, tmp_path):
    """Of eight candidates that are far better, so many differ; and as a baseline the same."""
    answers = np.tile(GOLD, (8, 1))
    answers[np.arange(differ), np.arange(differ)] = (GOLD[:differ] + 1) % 3
    if differ > 1:
        answers[differ - 1 :] = answers[differ - 1]
    low, high = (
        with_answers(group(right=0.5, n_runs=6).predictions, metric),
        with_answers(answers, metric),
    )
    names = {True: ["better", "worse"], False: ["not shown"] * 2}
    pairs = (low, high), (high, low)
    assert [gate.judge(*pair).verdict for pair in pairs] == names[bool(tested)]
    within = [gate.judge(*pair, ledger=tmp_path / f"{i}.json") for i, pair in enumerate(pairs)]
    assert [one.verdict for one in within] == names[bool(in_ledger)]
    alone = [scored(one.group.scores, one.group.names, metric) for one in (low, high)]
    assert gate.judge(*alone).verdict == "better", "of scores alone nobody sees copies"
    half = gate.judge(alone[0], high)
    assert half.verdict == names[bool(tested)][0], "one setting's answers are known"
    said = comparing.compare(low, high).sentences[0]
    assert ("a test takes 3 runs of each that differ" in said) != bool(tested)


def test_a_metric_without_a_test_over_examples_says_so():
    pair = [
        with_answers(group(seed, right=right).predictions, "f1")
        for seed, right in ((1, 0.4), (2, 0.9))
    ]
    words = "more than the seeds (what other examples would change is not counted)"
    assert gate.judge(*pair).line.endswith(f"5 and 5 runs, paired by seed: {words}")
    sentence = comparing.compare(*pair).sentences[0]
    assert sentence.endswith(f": B is higher, by {words}.")
    known = [with_answers(one.group.predictions) for one in pair]
    assert gate.judge(*known).line.endswith("5 and 5 runs, paired by seed: more than the seeds")


def test_the_candidate_is_a_and_the_baseline_b():
    lost = scored([0.8, np.nan, 0.7])
    with pytest.raises(OutsideError, match="^A: run '1' has no accuracy"):
        gate.judge(BASE, lost)
    with pytest.raises(OutsideError, match="^B: run '1' has no accuracy"):
        gate.judge(lost, GOOD)
    with pytest.raises(OutsideError, match="scores of A are f1, of B accuracy"):
        gate.judge(BASE, scored([0.8, 0.9, 0.7], metric="f1"))


def test_the_same_runs_once_more_take_more_runs_than_anybody_has():
    line = gate.judge(BASE, BASE).line
    assert line.endswith(
        "not shown to be more than the seeds; it takes more than 1,000 runs of each"
    )


def test_shares_of_alpha_never_add_up_to_more():
    shares = np.array([gate.share(k, 0.05) for k in range(1, 200_001)])
    assert 0.0499 < shares.sum() < 0.05 and (np.diff(shares) < 0).all()
    assert shares[49] / shares[0] == pytest.approx(20 * 21 / (69 * 70))


def test_a_ledger_records_spends_and_is_idempotent(tmp_path):
    ledger = tmp_path / "ledger.json"
    for number, (name, other) in enumerate({"good": GOOD, "same": SAME, "bad": BAD}.items(), 1):
        verdict = gate.judge(BASE, other, ledger=ledger, name=name)
        assert verdict.alpha == gate.share(number, 0.05)
    before = ledger.read_bytes()
    again = gate.judge(BASE, SAME, ledger=ledger, name="same")
    assert again.alpha == gate.share(2, 0.05) and again.line.endswith(" (recorded before)")
    assert "recorded" not in verdict.line
    assert ledger.read_bytes() == before, "the same candidate again spends nothing"
    gate.judge(BASE, scored([0.8, 0.81, 0.82, 0.83, 0.84]), ledger=ledger, name="same")
    content = json.loads(ledger.read_text())
    entries = content["candidates"]
    assert [e["candidate"] for e in entries] == ["good", "same", "bad", "same"]
    assert [e["verdict"] for e in entries] == ["better", "not shown", "worse", "not shown"]
    assert entries[0]["p"] == pytest.approx(gate.judge(BASE, GOOD).p)
    assert all(datetime.fromisoformat(e["time"]).tzinfo for e in entries)
    # The same baseline in another order is the same.
    again = scored([0.82, 0.80, 0.80, 0.79, 0.81])
    assert gate.judge(again, GOOD, ledger=ledger, name="x").alpha == gate.share(5, 0.05)


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ({"baseline": GOOD}, "another baseline"),
        ({"alpha": 0.1}, "another alpha (0.05, now 0.1)"),
        ({"lower_is_better": True}, "another lower_is_better"),
        ({"baseline": scored(BASE.group.scores, metric="f1"),
          "candidate": scored(GOOD.group.scores, metric="f1")},
         "another metric (accuracy, now f1)"),
    ],
    ids=["baseline", "alpha", "direction", "metric"],
)  # fmt: skip
def test_a_ledger_is_of_one_baseline_metric_and_alpha(how, named, tmp_path):
    ledger = tmp_path / "ledger.json"
    gate.judge(BASE, SAME, ledger=ledger)
    before = ledger.read_bytes()
    with pytest.raises(OutsideError) as error:
        gate.judge(**{"baseline": BASE, "candidate": SAME, "ledger": ledger, **how})
    assert named in str(error.value) and str(ledger) in str(error.value)
    assert ledger.read_bytes() == before


def test_alpha_is_a_round_number_even_where_a_ledger_has_none(tmp_path):
    ledger = tmp_path / "ledger.json"
    first = gate.judge(BASE, SAME, ledger=ledger, name="a", alpha=1 - 0.95)
    assert json.loads(ledger.read_text())["alpha"] == 0.05 == round(first.alpha * 21, 12)
    ledger.write_text(ledger.read_text().replace("0.05,", f"{1 - 0.95},"))
    assert json.loads(ledger.read_text())["alpha"] != 0.05
    assert gate.judge(BASE, GOOD, ledger=ledger, name="b", alpha=0.05).alpha == gate.share(2, 0.05)
    with pytest.raises(OutsideError, match=r"another alpha \(0.05, now 0.1\)"):
        gate.judge(BASE, GOOD, ledger=ledger, name="c", alpha=1 - 0.9)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', "null"])
def test_a_damaged_ledger_is_refused(text, tmp_path):
    (tmp_path / "l.json").write_text(text)
    with pytest.raises(OutsideError, match="is no ledger, or damaged"):
        gate.judge(BASE, SAME, ledger=tmp_path / "l.json")
    assert (tmp_path / "l.json").read_text() == text


def test_a_ledger_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    ledger = tmp_path / "ledger.json"
    gate.judge(BASE, SAME, ledger=ledger)
    before = ledger.read_bytes()

    def full(path, text):
        path.write_bytes(text.encode()[:40])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space"):
        gate.judge(BASE, GOOD, ledger=ledger)
    assert ledger.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [ledger.name]


def candidate(ledger, name, together):
    """What a job of its own does: judges a candidate, slowly enough to meet the others."""
    compare = comparing.mean_difference

    def slow(*arguments, **options):
        time.sleep(0.3)
        return compare(*arguments, **options)

    comparing.mean_difference = slow
    together.wait()
    gate.judge(BASE, scored(GOOD.group.scores, list("abcde")), ledger=ledger, name=name)


def test_jobs_that_judge_at_once_each_have_a_share_of_their_own(tmp_path):
    ledger, names = tmp_path / "ledger.json", [f"candidate {k}" for k in range(4)]
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(len(names))
    jobs = [context.Process(target=candidate, args=(ledger, n, together)) for n in names]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0] * len(jobs)
    entries = json.loads(ledger.read_text())["candidates"]
    assert sorted(entry["candidate"] for entry in entries) == names
    assert [entry["alpha"] for entry in entries] == [gate.share(k, 0.05) for k in (1, 2, 3, 4)]


def killed(ledger):
    """A job that is killed while it has the ledger, its next content half-written beside it."""

    def half(self, text):
        self.write_bytes(text.encode()[:40])
        os.kill(os.getpid(), signal.SIGKILL)

    Path.write_text = half
    gate.judge(BASE, GOOD, ledger=ledger, name="killed")


def test_a_job_that_is_killed_leaves_the_ledger_as_it_was_and_free(tmp_path):
    ledger = tmp_path / "ledger.json"
    gate.judge(BASE, SAME, ledger=ledger, name="same")
    before = ledger.read_bytes()
    job = multiprocessing.get_context("spawn").Process(target=killed, args=(ledger,))
    job.start()
    job.join()
    assert job.exitcode == -signal.SIGKILL and ledger.read_bytes() == before
    assert gate.judge(BASE, GOOD, ledger=ledger, name="killed").alpha == gate.share(2, 0.05)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [ledger.name]


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(OutsideError, match="alpha = 5"):
        gate.judge(BASE, GOOD, alpha=5)
    with pytest.raises(OutsideError, match="gold labels"):
        gate.judge(replace(group(), labels=None), replace(group(2), labels=None))


def test_the_simulation_has_the_p_of_the_gate():
    rng = np.random.default_rng(0)
    for paired in (True, False):
        a, b = rng.normal(size=(2, 7))
        judged = gate.judge(scored(a), scored(b), paired=paired)
        assert judged.p == pytest.approx(float(simulation.p_of(a, b, paired=paired)))
    right = rng.random((4, 5, 80)) < 0.7
    pair = [simulation.group_of(r) for r in right[:2]]
    mean = comparing.mean_difference(comparing.SideBySide(pair, "accuracy", False, []))
    assert mean["p"] == pytest.approx(float(simulation.p_of(*right[:2].mean(-1))))


def test_the_gate_errs_as_seldom_as_it_says():
    """Through the gate itself: a baseline and ten candidates that are the same, one in five
    failing; any kept of a ledger, and the first alone."""
    rng, alone, any_kept = np.random.default_rng(6), [], []
    for _ in range(60):
        drawn = rng.normal(size=(11, 5)) - 15 * (rng.random((11, 5)) < 0.2)
        base, *others = (scored(s, [f"{k}{c}" for c in "abcde"]) for k, s in enumerate(drawn))
        alone.append(gate.judge(base, others[0]).verdict)
        levels = [gate.share(k + 1, 0.05) for k in range(10)]
        kept = [gate.judge(base, o, alpha=a).verdict for o, a in zip(others, levels, strict=True)]
        any_kept.append("better" in kept)
    assert np.mean(np.array(alone) != "not shown") <= 0.12 and np.mean(any_kept) <= 0.09


def test_the_committed_simulation_bears_out_what_the_gate_promises():
    table = pd.read_csv(paths.DATA / "benchmarks" / "gate.csv")
    mine = table[(table["rule"] == "gate") & (table["better_by_sd"] == 0)]
    alike = mine[~mine["runs"].str.contains("SD of candidates × 3")]
    error = 3 * np.sqrt(0.05 * 0.95 / mine["n_simulations"].min())
    assert len(alike) >= 30 and (mine["n_simulations"] >= 2000).all()
    assert (mine[["kept_first", "kept_any"]] <= 0.05 + error).all(axis=None)
    assert (alike["kept_any"] <= 0.05).all()
    others = table[table["better_by_sd"] == 0].set_index("rule")
    assert others.loc["Welch's t at 5 % each", "kept_any"].max() > 0.2
    assert (others.loc["the higher mean", "kept_any"] > 0.9).all()
    power = table[(table["rule"] == "gate") & (table["runs"] == "scores, normal")]
    power = power.set_index(["candidate", "better_by_sd"])["kept_first"]
    assert power[10, 2.0] > 0.95 and power[5, 3.0] > 0.95 and power[3, 1.0] < 0.2


def test_the_table_of_the_page_is_that_of_the_simulation():
    simulated = pd.read_csv(paths.DATA / "benchmarks/gate.csv")
    page = (paths.ROOT / "docs/own-runs.md").read_text()
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \| ([\d. |]+) \|$", page, flags=re.M)
    names = {
        "normal": "scores, normal", "one run in five fails": "scores, one in five fails",
        "other settings, as good, on 300 examples": "answers to 300 examples, others, as good",
    }  # fmt: skip
    assert len(rows) == 6
    for runs, scores, numbers in rows:
        part = simulated[
            (simulated[["baseline", "candidate"]] == int(runs)).all(axis=1)
            & (simulated["runs"] == names[scores]) & (simulated["seeds"] == "not paired")
            & (simulated["better_by_sd"] == 0)
        ].set_index("rule")  # fmt: skip
        kept = part["kept_any"]
        wanted = [part.loc["gate", "kept_first"], kept["gate"]]
        wanted += [kept["Welch's t at 5 % each"], kept["the higher mean"]]
        shown = [float(number) for number in numbers.split("|")]
        digits = [1, 1, 0, 0]
        assert shown == [round(100 * value, d) for value, d in zip(wanted, digits, strict=True)]
    power = simulated[
        (simulated["runs"] == "scores, normal") & (simulated["seeds"] == "not paired")
        & (simulated["better_by_sd"] == 2) & (simulated["rule"] == "gate")
        & (simulated["baseline"] == simulated["candidate"])
    ].set_index("baseline")  # fmt: skip
    words = (
        "three seeds see a difference of two SDs in {:.0%} of the cases, five in {:.0%}, ten in "
        "{:.0%}; ten as the fiftieth candidate in {:.0%}."
    )
    wanted = words.format(*power["kept_first"].loc[[3, 5, 10]], power.loc[10, "kept_last"])
    assert wanted.replace("%", " %") in page
