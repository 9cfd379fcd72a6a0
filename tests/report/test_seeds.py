"""How many runs it takes, against statsmodels and by hand; what is said and what is refused."""

import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower, TTestPower
from support.project import outcome

from lib import paths, report
from lib.report import seeds

EXAMPLE = str(paths.DATA / "examples" / "predictions.csv")


said = partial(outcome, seeds.main)


def needed(capsys, *arguments):
    code, out, error = said(capsys, *arguments)
    assert (code, error, out.count("\n")) == (0, "", 1), error
    return int(re.match(r"(\d+) runs", out)[1])


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("difference", [0.3, 0.8, 1.5])
def test_runs_for_a_difference_are_those_of_the_noncentral_t(capsys, difference, power, level):
    """Two samples and pairs, whose SD follows from the correlation; equal but for one run."""
    asked = ("--sd", 0.02, "--difference", 0.02 * difference, "--power", power, "--level", level)
    how = {"power": power, "alpha": 1 - level}
    exact = TTestIndPower().solve_power(difference, **how)
    assert abs(needed(capsys, *asked) - np.ceil(exact)) <= 1
    of_a_pair = difference / np.sqrt(2 * (1 - 0.6))
    exact = TTestPower().solve_power(of_a_pair, **how)
    assert abs(needed(capsys, *asked, "--correlation", 0.6) - np.ceil(exact)) <= 1


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("half_width", [0.002, 0.009])
def test_runs_for_an_interval_are_the_fewest_that_do(capsys, half_width, level):
    n = needed(capsys, "--sd", 0.01, "--half-width", half_width, "--level", level)

    def reach(n):
        return stats.t.interval(level, n - 1, scale=0.01 / np.sqrt(n))[1]

    assert reach(n) < half_width <= reach(n - 1) or n == 3


def test_without_a_question_it_is_the_sd_itself(capsys):
    n = needed(capsys, "--sd", 1, "--width", 0.3, "--level", 0.9)

    def reach(n):
        low, high = np.sqrt((n - 1) / stats.chi2.ppf([0.95, 0.05], n - 1))
        return (high - low) / 2

    assert reach(n) <= 0.3 < reach(n - 1)
    assert (
        "90 % interval of the SD ± 30 %"
        in said(capsys, "--sd", 1, "--width", 0.3, "--level", 0.9)[1]
    )


def test_of_runs_the_sd_is_theirs_with_its_interval(capsys, tmp_path):
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"seed": range(6), "accuracy": rng.random(6), "f1": rng.random(6) / 9})
    table.to_csv(path := tmp_path / "scores.csv", index=False)
    for more, scores in (((), table["accuracy"]), (("--metric", "f1"), table["f1"])):
        sd = scores.std()
        ends = sd * np.sqrt(5 / stats.chi2.ppf([0.975, 0.025], 5))
        question = "--difference", 2 * sd
        _, out, _ = said(capsys, path, *more, *question)
        counts = [needed(capsys, "--sd", one, *question) for one in (sd, *ends)]
        assert out.startswith("{} runs ({} to {} over".format(*counts))
        assert out.endswith(f"with SD {sd:.3g}.\n")
    _, out, _ = said(capsys, path, "--difference", 1e-4)
    assert out.startswith("more than 1000 runs (more than 1000 to more than 1000 over")


def test_of_runs_alone_it_says_what_the_report_says(capsys, tmp_path):
    _, out, _ = said(capsys, EXAMPLE, "--width", 0.4)
    report.main([EXAMPLE, "--width", "0.4", "--out", str(tmp_path)])
    assert out.startswith("To know a value to ± 40 %") and out in capsys.readouterr().out


def test_the_page_shows_what_is_said(capsys, monkeypatch):
    page = (paths.ROOT / "docs" / "own-runs.md").read_text().split("## How many seeds?")[1]
    asked, answers = re.findall(r"^```\n(.*?)^```", page, re.M | re.S)[:2]
    monkeypatch.chdir(paths.ROOT)
    for line in asked.splitlines():
        seeds.main(line.removeprefix("instability seeds-needed ").split())
    assert capsys.readouterr().out == answers and asked.count("\n") == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give RUNS or --sd"),
        (("--sd", 1, EXAMPLE), "give RUNS or --sd"),
        (("--sd", 1, "--metric=f1"), "only RUNS are read"),
        (("--sd", 1, "--exclude=seed1"), "only RUNS are read"),
        (("--sd", 1, "--half-width", 1, "--correlation", 0.5), "--correlation goes with"),
        ((EXAMPLE, "--difference", 1), "one point is 0.01"),
        ((EXAMPLE, "--half-width", 5), "one point is 0.01"),
        (("--sd", 1, "--difference", 1, "--half-width", 1), "--difference or --half-width"),
        (("--sd", -1), "sd = -1; expected more than 0"),
        (("--sd", "nan"), "sd = nan"),
        (("--sd", "inf"), "sd = inf"),
        (("--sd", 1, "--level", 95), "level = 95; expected more than 0 and less than 1"),
        (("--sd", 1, "--correlation", 1), "correlation = 1"),
        (("nowhere.csv",), "nowhere.csv: no such file"),
    ],
)
def test_bad_questions_end_with_2_in_a_line(capsys, arguments, message):
    code, out, error = said(capsys, *arguments)
    assert (code, out, error.count("\n")) == (2, "", 1) and message in error
    assert error.startswith("instability seeds-needed: ")


@pytest.mark.parametrize(
    "words",
    [("--against", EXAMPLE), ("--gate",), ("--sequential", "l.json"), ("--lower-is-better",),
     ("--features", "f.npz"), ("--format", "json"), ("--out", "x"), ("--nonsense",),
     ("--difference", "1%"), ("another.csv",)],
)  # fmt: skip
def test_what_it_does_not_heed_it_refuses_under_its_own_name(capsys, words):
    code, out, error = said(capsys, EXAMPLE, *words)
    assert code == 2 and not out and error.startswith("usage: instability seeds-needed ")
    assert error.splitlines()[-1].startswith("instability seeds-needed: error: ")
    assert words[-1 if "%" in words[-1] else 0] in error


def test_pairs_are_said_to_be_pairs(capsys):
    asked = ("--sd", 1, "--difference", 1)
    assert " of each setting: a two-sided t test at 5 %" in said(capsys, *asked)[1]
    paired = said(capsys, *asked, "--correlation", 0.5)[1]
    assert " of each setting, paired by seed: a two-sided paired t test at 5 %" in paired


def test_percentages_may_differ_by_more_than_one(capsys, tmp_path):
    table = pd.DataFrame({"seed": range(5), "accuracy": [80.0, 81, 82, 79, 80.5]})
    table.to_csv(path := tmp_path / "scores.csv", index=False)
    assert needed(capsys, path, "--difference", 2) >= 3


def test_the_help_says_the_floor(capsys):
    assert needed(capsys, "--sd", 0.001, "--difference", 0.5) == 3
    assert needed(capsys, "--sd", 1, "--width", 0.99, "--level", 0.5) == 5
    assert "No n is below 3 (neither: 5)." in said(capsys, "--help")[1]


def test_runs_without_scores_have_no_sd(capsys, tmp_path):
    table = pd.read_csv(EXAMPLE).drop(columns="label")
    table.to_csv(path := tmp_path / "answers.csv", index=False)
    code, _, error = said(capsys, path, "--difference", 0.1)
    assert code == 2 and "answers.csv: no scores" in error
    assert said(capsys, path)[1].startswith("To know a value to ± 20 %")
