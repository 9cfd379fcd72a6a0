"""The instability report: from files to a page, on every kind of input."""

import re

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api
from support.settings_compared import scored

from benchmarks.coverage import simulated_runs
from lib import measures, paths, report
from lib.report import reading as outside
from lib.report.interpret import interpret
from lib.report.measuring import measure_runs, three_noises

EXAMPLE = paths.DATA / "examples" / "predictions.csv"


def write_runs(folder, *, n_runs=5, n=60, n_classes=3, labels=True, hidden=False):
    """An .npz of invented runs, some of whose answers differ."""
    logits, gold = simulated_runs(n_runs, n, np.random.default_rng(1))
    other = np.random.default_rng(4).normal(size=logits.shape) - 0.3
    columns = [np.zeros_like(logits), logits, other][:n_classes]
    arrays = {"logits": np.stack(columns, -1)}
    if labels:
        arrays["labels"] = gold
    if hidden:
        rng = np.random.default_rng(2)
        shared = rng.normal(size=(1, 2, n, 6))
        arrays["representations"] = shared + 0.3 * rng.normal(size=(n_runs, 2, n, 6))
    np.savez(folder / "runs.npz", **arrays)
    return folder / "runs.npz"


def page_of(path, folder, **how):
    made = measure_runs(outside.read(path).group, **how)
    return made, report.write(made, folder).read_text()


def page_of_table(folder, label, runs):
    """Of the answers of runs by name."""
    pd.DataFrame({**runs, "label": label}).to_csv(folder / "t.csv", index=False)
    return page_of(folder / "t.csv", folder / "out")


def test_values_are_those_of_the_measures(tmp_path):
    runs = outside.read(write_runs(tmp_path)).group
    table = measure_runs(runs).table.set_index("measure")
    scores = (runs.predictions == runs.labels).mean(1)
    split = measures.churn_split(runs.predictions, runs.labels)
    expected = {
        "disagreement": measures.instability(measures.pairwise_disagreement(runs.predictions)),
        "jsd": measures.instability(measures.pairwise_jsd(runs.probabilities)),
        "wrong_differently": measures.instability(split.both_wrong_different),
    }
    for name, interval in expected.items():
        assert tuple(table.loc[name, ["value", "low", "high"]]) == pytest.approx(interval[:3])
    assert table.loc["sd", "value"] == pytest.approx(measures.score_spread(scores))
    assert table.loc["kappa", "value"] == pytest.approx(1 - measures.fleiss_kappa(runs.predictions))
    assert table.loc["iqm", "value"] == pytest.approx(measures.interquartile_mean(scores))
    assert {"range", "best", "failed", "distribution_sd"} <= set(table.index)
    assert table.loc[["mean", "con", "ccon"], "seeds_needed"].isna().all()
    assert table.loc[["sd", "disagreement", "kappa", "jsd"], "seeds_needed"].ge(5).all()


def test_the_page_stands_alone_and_shows_every_measure(tmp_path):
    made, page = page_of(write_runs(tmp_path, hidden=True), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "examples.csv", "measures.csv", "report.html",
    ]  # fmt: skip
    outward = re.findall(r"(?:src|href)=\"(?!#|data:)[^\"]*|url\((?!#)|<script|@import", page)
    assert outward == []
    assert page.count("<svg") == len(report.figures(made)) == 4
    for measure in made.table["measure"].unique():
        assert f"<td>{measure}</td>" in page
    for sentence in interpret(made):
        assert sentence.replace("’", "&#39;") in page.replace("&#39;", "’") or sentence in page
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.S).lower().split()
    again = pd.read_csv(tmp_path / "out" / "measures.csv")
    assert len(again) == len(made.table)


@pytest.mark.parametrize(
    ("how", "present", "absent"),
    [
        ({"labels": False}, {"disagreement", "kappa", "jsd"}, {"mean", "sd", "ccon"}),
        ({"n_classes": 2}, {"disagreement", "sd", "ccon"}, {"wrong_differently"}),
        ({"n_runs": 2}, {"disagreement", "sd"}, set()),
        ({"n_runs": 3, "hidden": True}, {"cka", "op", "svcca"}, set()),
        ({"n_runs": 45}, {"disagreement"}, set()),
    ],
    ids=["no labels", "binary", "two runs", "hidden states", "many runs"],
)
def test_every_kind_of_input_makes_a_page(tmp_path, how, present, absent):
    made, page = page_of(write_runs(tmp_path, **how), tmp_path / "out")
    found = set(made.table["measure"])
    assert present <= found and not absent & found
    assert "In plain words" in page and interpret(made)


def test_the_scores_fit_on_a_telephone(tmp_path):
    """400 pixels, less the margins of the page."""
    made, page = page_of(write_runs(tmp_path), tmp_path / "out")
    figure, _ = report.figures(made)["Scores of the runs"]
    assert (
        96 * figure.get_figwidth() <= 400 - 32 and f'width="{72 * figure.get_figwidth():g}' in page
    )


def test_a_tied_vote_is_no_majority_and_ties_of_examples_are_said(tmp_path):
    runs = {"s0": list("aabc"), "s1": list("abcc"), "s2": list("aabc"), "s3": list("abaa")}
    made, page = page_of_table(tmp_path, list("aabc"), runs)
    votes = made.examples.set_index("example")["majority_vote"]
    assert votes.to_dict() == {"1": "a", "2": "a or b", "3": "b", "4": "c"}
    assert "Of ties, the first in the input." in page


def test_meanings_fit_the_runs(tmp_path):
    """What is counted for f1, and what has failed where scores are all there is."""
    gold = ["neg", "pos"] * 10
    runs = {f"s{i}": gold[:-i] + gold[:i] for i in (1, 2, 3)}
    table = page_of_table(tmp_path, gold, runs)[0].table
    assert table.set_index("measure").loc["mean", "meaning"] == "mean accuracy"
    measured = measure_runs(outside.read(tmp_path / "t.csv").group, metric="f1")
    meanings = measured.table.set_index("measure")["meaning"]
    assert meanings["mean"] == "mean f1 of pos" and "f1 of pos (ddof 1)" in meanings["sd"]
    scores = pd.DataFrame({"seed": range(4), "f1": [0.1, 0.3, 0.2, np.nan]})
    scores.to_csv(tmp_path / "s.csv", index=False)
    measured = measure_runs(outside.read(tmp_path / "s.csv").group)
    meanings = measured.table.set_index("measure")
    assert meanings.loc["failed", "meaning"] == "share of runs without a score"
    assert meanings.loc["failed", "value"] == 0.25
    scores[:3].to_csv(tmp_path / "s.csv", index=False)
    measured = measure_runs(outside.read(tmp_path / "s.csv").group)
    assert measured.table.set_index("measure").loc["mean", "meaning"] == "mean f1"


def test_how_many_runs_it_takes_says_by_what():
    """The SD of these five takes what normal scores do, that of heavy tails more."""
    made = measure_runs(outside.read(EXAMPLE).group)
    asked = "To know a value to ± 20 % takes so many runs: "
    disagreement = "disagreement about 8 (judging by these runs)"
    assert interpret(made)[-1] == (
        f"{asked}{disagreement}; the standard deviation about 53 (normal scores). You have 5."
    )
    heavy = measure_runs(scored([0.8] * 18 + [0.1, 0.81]).group)
    needed = heavy.table.set_index("measure").loc["sd", "seeds_needed"]
    assert needed > 53 and "(judging by these runs)" in interpret(heavy)[-1]
    assert "on an endless test set" in " ".join(interpret(made))


def test_regression_has_scores_and_representations_only(tmp_path):
    rng = np.random.default_rng(0)
    gold = rng.random(40)
    runs = {f"s{k}": gold + 0.1 * rng.normal(size=40) for k in range(4)}
    made, _ = page_of_table(tmp_path, gold, runs)
    assert made.metric == "pearson"
    assert list(made.examples) == ["example", "spread"]
    assert set(made.table["measure"]) == {
        "failed", "mean", "sd", "range", "iqm", "best", "difference",
    }  # fmt: skip


def test_runs_that_agree_on_everything_or_collapsed_to_one_class(tmp_path):
    """Kappa is not defined in the end: an empty cell, no crash and no warning."""
    made, page = page_of_table(tmp_path, [0, 1, 1, 1], {f"s{i}": [0, 1, 1, 0] for i in (1, 2, 3)})
    assert made.table.set_index("measure").loc["disagreement", "value"] == 0
    assert "All runs have the same accuracy." in interpret(made) and "least stable" not in page
    made, _ = page_of_table(tmp_path, [0, 1, 0, 0], {f"s{i}": [0] * 4 for i in (1, 2, 3)})
    assert np.isnan(made.table.set_index("measure").loc["kappa", "value"])
    assert any("3 of 3 runs failed" in sentence for sentence in interpret(made))


def test_the_reading_says_what_the_example_shows():
    reading = " ".join(interpret(measure_runs(outside.read(EXAMPLE).group)))
    assert "answer 37.3 [28.2, 47.8] % of the 1000 examples differently" in reading
    assert "1 of 5 runs failed" in reading and "seed1" in reading
    said = " ".join(interpret(measure_runs(outside.read(EXAMPLE, exclude=["seed1"]).group)))
    assert "None of the 4 runs read failed" in said and "With 4 runs" in said
    assert "seed1 was left out as asked" in said


def test_a_spread_below_the_floor_is_called_that(tmp_path):
    """Runs that differ by independent flips alone: no seed is better than another."""
    rng = np.random.default_rng(3)
    gold = np.arange(200) % 2
    runs = {f"s{k}": gold.copy() for k in range(6)}
    for k, answers in enumerate(runs.values()):
        answers[rng.permutation(200)[: 40 + k % 2]] ^= 1
    made, _ = page_of_table(tmp_path, gold, runs)
    said = " ".join(interpret(made))
    assert "cannot be told from 0 with these runs" in said and "[0.000, 0.000]" not in said


def evaluated_again(rng, runs=8, times=3):
    """Scores of which models vary by 2 and evaluations of one by 1, and what they evaluate."""
    scores = 2 * rng.normal(size=(runs, 1)) + rng.normal(size=(runs, times))
    names = [f"s{i // times}-{i % times}" for i in range(scores.size)]
    return scored(scores.ravel(), names).group, {name: name[:2] for name in names}


def test_three_noises_are_told_apart():
    """Against a model of random effects; the intervals hold the truth as often as they say."""
    rng = np.random.default_rng(1)
    held, truth = {"training": 0, "evaluation": 0}, {"training": 2, "evaluation": 1}
    for trial in range(400):
        group, repeats = evaluated_again(rng)
        made = measure_runs(group, repeats=repeats)
        noises = three_noises(made)
        for name, sd in noises.items():
            held[name] += sd.low <= truth[name] <= sd.high
        if trial == 0:
            table = pd.DataFrame({"score": group.scores, "run": list(repeats.values())})
            model = statsmodels.formula.api.mixedlm("score ~ 1", table, groups="run").fit()
            assert noises["training"].value == pytest.approx(model.cov_re.iloc[0, 0] ** 0.5, 1e-3)
            assert noises["evaluation"].value == pytest.approx(model.scale**0.5, 1e-3)
            assert "Three noises" in " ".join(interpret(made)) and len(made.group) == 8
    assert 370 <= held["training"] <= 392 and 370 <= held["evaluation"] <= 392


def test_the_choice_of_examples_is_the_third_noise(tmp_path):
    """Runs that are right on the same examples, each evaluated twice: nothing but these varies."""
    gold, n = np.arange(400) % 2, 400
    right = np.where(np.arange(n) < 300, gold, 1 - gold)
    rows = [{"seed": s, "eval_seed": e, "example": i, "label": gold[i], "prediction": right[i]}
            for s in range(5) for e in range(2) for i in range(n)]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    group, taken = outside.read(tmp_path / "t.csv")
    made = measure_runs(group, repeats=taken.repeats)
    noises = three_noises(made)
    assert noises["training"].value == noises["evaluation"].value == 0
    assert noises["examples"].value == pytest.approx(np.sqrt(0.75 * 0.25 / (n - 1)))
    assert made.group.names == ["0", "1", "2", "3", "4"] and len(made.evaluations) == 10
    report.main([str(tmp_path / "t.csv"), "--out", str(tmp_path / "out")])


def test_a_run_in_another_order_is_pointed_out(tmp_path):
    """Without ids nothing can prove it, but it looks like a run that agrees by chance."""
    rng = np.random.default_rng(0)
    logits, gold = simulated_runs(6, 300, rng)
    runs = {f"s{k}": (row > 0).astype(int) for k, row in enumerate(logits)}
    made, _ = page_of_table(tmp_path, gold, runs)
    assert "in another order?" not in " ".join(interpret(made))
    made, _ = page_of_table(tmp_path, gold, runs | {"s3": rng.permutation(runs["s3"])})
    assert "s3 differs from the other runs on" in " ".join(interpret(made))


@pytest.mark.parametrize(("n_runs", "level"), [(2, 0.95), (5, 0.999)])
def test_no_interval_of_a_share_leaves_it(tmp_path, n_runs, level):
    runs = outside.read(write_runs(tmp_path, n_runs=n_runs, n_classes=2)).group
    table = measure_runs(runs, level=level).table.set_index("measure")
    for name in ("disagreement", "con", "ccon", "mean", "failed", "distribution_sd", "sd"):
        low, high = table.loc[name, ["low", "high"]]
        assert np.isnan(low) or ((low >= 0 or name == "mean") and high <= 1), name
    assert not table.loc["kappa", "low"] < 0


def test_command_line_writes_and_refuses(tmp_path, capsys):
    report.main([str(EXAMPLE), "--out", str(tmp_path / "out")])
    assert "Two of these runs" in capsys.readouterr().out
    assert (tmp_path / "out" / "report.html").exists()
    bad = pd.read_csv(EXAMPLE)
    bad.loc[6, "seed3"] = None
    bad.to_csv(tmp_path / "bad.csv", index=False)
    wrong = {
        (str(tmp_path / "bad.csv"), "--out", str(tmp_path / "no")): "run 'seed3', example 'r0006'",
        (str(EXAMPLE), "--level", "95"): "level = 95.0; expected a share between 0 and 1",
        (str(EXAMPLE), "--width", "0"): "width = 0.0: expected a share",
        (str(EXAMPLE), "--out", str(tmp_path / "bad.csv")): "cannot write there",
    }
    for arguments, message in wrong.items():
        with pytest.raises(SystemExit, match="2"):
            report.main(arguments)
        assert message in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
