"""Failed runs: ladders of learning rates, the rate at which half fail, and how failure looks."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from benchmarks import pilots
from lib import paths
from lib.analysis import failed_runs, learning_rate_sweep, validity
from lib.analysis.claims import failures, preregistered
from lib.analysis.claims.scores import groups
from lib.config import Setting, to_row
from lib.config.grids import load_grids

RATES = [1e-4, 3e-4, 1e-3, 3e-3]


def run_rows(rate, statuses, *, accuracy=0.7, **setting):
    """A run table of one setting: a run a status, with the columns that are read."""
    made = dataclasses.replace(Setting(task="nyt", learning_rate=rate), **setting)
    scored = {"ok": accuracy, "failed": 0.5, "collapsed": 0.5, "diverged": None}
    scores = pd.Series([scored[status] for status in statuses], dtype=float)
    seeds = [f"seed{seed}" for seed in range(len(statuses))]
    table = pd.DataFrame({"seed_label": seeds, "status": statuses, "score": scores})
    return table.assign(accuracy=scores, majority=0.5, setting_id=made.id, **to_row(made.to_dict()))


def table_of(failures, n=4, rates=RATES, **setting):
    """Runs at ``rates`` of which so many failed."""
    parts = [
        run_rows(rate, ["collapsed"] * k + ["ok"] * (n - k), **setting)
        for rate, k in zip(rates, failures, strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def half(failures, n=4, rates=RATES, **how):
    x = np.repeat(rates, n)
    failed = np.concatenate([np.arange(n) < k for k in failures])
    return learning_rate_sweep.half_failure(x, failed, **how)


def test_ladders_are_settings_that_differ_in_the_rate_alone():
    two = [table_of([0, 1, 2, 4]), table_of([0, 0, 1, 4], backbone="minilm-l6", train_rows=400)]
    alone = run_rows(1e-3, ["ok"] * 3, task="amazon")
    # The runs of the second are in two groups.
    found = learning_rate_sweep.ladders(pd.concat([alone, two[1], two[0].iloc[::-1], two[1]]))
    assert set(found) == {"bert-tiny, nyt", "minilm-l6, nyt"}
    assert found["bert-tiny, nyt"]["learning_rate"].is_monotonic_increasing
    assert [len(runs) for runs in found.values()] == [16, 16]


def test_rate_table_by_hand():
    statuses = ["ok", "ok", "collapsed", "failed", "diverged"]
    runs = run_rows(1e-3, statuses)
    runs.loc[0, ["score", "accuracy"]] = 0.54
    runs.loc[1, ["score", "accuracy"]] = 0.58
    row = learning_rate_sweep.rate_table(runs).loc[1e-3]
    assert row[["runs", "failed", "collapsed", "diverged"]].tolist() == [5, 3, 1, 1]
    exact = stats.beta.ppf(0.025, 3, 3), stats.beta.ppf(0.975, 4, 2)
    assert row[["rate", "low", "high"]].tolist() == pytest.approx([0.6, *exact])
    assert row["mean"] == pytest.approx(0.56)
    assert row["margin"] == pytest.approx(0.06) and row["clear"]


def test_failures_by_seed_are_a_grid_of_seeds_trained_at_every_rate():
    runs = table_of([0, 1, 3, 4]).drop(index=15)  # the last seed at the highest rate
    found = learning_rate_sweep.failures_by_seed(runs)
    assert found.index.tolist() == ["seed0", "seed1", "seed2"] and found.columns.tolist() == RATES
    assert found.to_numpy().tolist() == [
        [False, True, True, True], [False, False, True, True], [False, False, True, True]
    ]  # fmt: skip


def test_the_curve_is_that_of_statsmodels_and_ends_where_the_likelihood_ratio_test_rejects():
    """At a given half rate the line goes through it, so it has one slope."""
    failures = [0, 1, 3, 4]
    found = half(failures)
    x = np.log10(np.repeat(RATES, 4))
    y = np.concatenate([np.arange(4) < k for k in failures]).astype(float)
    fit = sm.Logit(y, sm.add_constant(x)).fit(disp=0)
    assert found.kind == "curve"
    assert np.log10(found.rate) == pytest.approx(-fit.params[0] / fit.params[1], abs=1e-4)
    assert found.slope == pytest.approx(fit.params[1], rel=1e-3)
    assert found.curve(10**x) == pytest.approx(fit.predict(), abs=1e-4)
    assert found.low < found.rate < found.high and found.text().startswith("0.00055 [")
    for end in (found.low, found.high):
        through = sm.Logit(y, (x - np.log10(end))[:, None]).fit(disp=0).llf
        assert 2 * (fit.llf - through) == pytest.approx(stats.chi2.ppf(0.95, 1), abs=1e-3)


def test_without_overlap_the_rate_lies_between_two_rungs():
    found = half([0, 0, 4, 4])
    assert found.kind == "between" and np.isnan(found.rate)
    assert found.between == pytest.approx((3e-4, 1e-3))
    assert found.text().startswith("between 0.0003 and 0.001")
    assert np.isnan(found.curve(np.array(RATES))).all()
    many = half([0, 0, 50, 50], n=50)
    assert many.low == pytest.approx(3e-4, rel=0.02) and many.high == pytest.approx(1e-3, rel=0.02)
    few = half([0, 0, 1, 1], n=1)
    assert few.low < 3e-4 and few.high > 1e-3


def test_one_mixed_rung_and_all_or_none_failed():
    found = half([0, 2, 4, 4])
    assert found.kind == "one rung" and found.rate == pytest.approx(3e-4, rel=1e-3)
    assert found.low < 3e-4 < found.high
    # One of twelve fails there: half of them do only further up, never below.
    assert half([0, 1, 12, 12], n=12).low > 3e-4 * 0.999
    none, every = half([0, 0, 0, 0]), half([4, 4, 4, 4])
    assert none.kind == "above" and none.high == np.inf and none.low >= RATES[-1] * 0.9
    assert every.kind == "below" and every.low == 0 and every.high <= RATES[0] * 1.1
    assert "no run failed" in none.text() and "all runs failed" in every.text()


def test_failures_that_fall_with_the_rate_have_no_half_rate():
    for counts in ([4, 3, 1, 0], [4, 4, 0, 0], [2, 2, 2, 2]):
        found = half(counts)
        assert found.kind == "no rise" and np.isnan([found.rate, found.low, found.high]).all()
    assert "do not grow" in found.text()


@pytest.mark.parametrize(
    ("rates", "failed", "message"),
    [
        ([1e-3] * 3, [0, 1, 1], "at least two positive rates"),
        ([1e-3, 0.0], [0, 1], "at least two positive rates"),
        ([1e-3, np.nan], [0, 1], "at least two positive rates"),
        ([1e-3, 1e-2], [0, 1, 1], r"shapes \(2,\) and \(3,\)"),
        ([1e-3, 1e-2], [0, 2], "True and False"),
    ],
)
def test_what_is_no_ladder_is_an_error(rates, failed, message):
    with pytest.raises(ValueError, match=message):
        learning_rate_sweep.half_failure(np.array(rates), np.array(failed))
    with pytest.raises(ValueError, match="share between 0 and 1"):
        half([0, 1, 3, 4], level=95)


def training_of(runs):
    """Successful runs fall from ln 2 to 0.1 with gradients of 1; failed ones stay at ln 2, with
    gradients of 0.01 in layer 1. The stretches of diverged runs end at other steps."""
    rows = []
    for *key, status in runs[[*failed_runs.KEYS, "status"]].itertuples(index=False):
        ok, apart = status == "ok", 4 if status == "diverged" else 10
        losses = np.linspace(np.log(2), 0.1 if ok else np.log(2), 8)
        parts = {"embeddings": 1.0, "layer1": 1.0 if ok else 0.01, "layer2": 1.0, "head": 1.0}
        for step, loss in zip(np.arange(8) * apart + 9, losses, strict=True):
            rows.append((*key, "loss", "all", step, loss))
            norms = parts | {"all": 2.0}
            rows += [(*key, "gradient_norm", part, step, norm) for part, norm in norms.items()]
    return pd.DataFrame(rows, columns=[*failed_runs.KEYS, "quantity", "part", "step", "value"])


RUNS = run_rows(1e-3, ["ok", "ok", "ok", "collapsed", "failed", "diverged"])
TRAINING = training_of(RUNS)


def test_outcomes_and_the_most_even_mixture():
    assert failed_runs.outcomes(RUNS).tolist() == ["successful"] * 3 + ["failed"] * 2 + ["diverged"]
    runs = table_of([2, 3, 5, 6], n=6)
    assert failed_runs.mixed_setting(runs) == runs["setting_id"].unique()[1]
    assert failed_runs.mixed_setting(table_of([0, 1, 4, 4])) is None
    # On the second rung the successful runs barely beat the majority class.
    vague = runs["learning_rate"].eq(RATES[1]) & runs["status"].eq("ok")
    runs.loc[vague, "accuracy"] = 0.53
    assert failed_runs.mixed_setting(runs) == runs["setting_id"].unique()[0]
    assert failed_runs.mixed_setting(run_rows(1e-3, ["ok", "ok", "diverged", "diverged"])) is None


def test_gradient_curves_are_geometric_means():
    training = TRAINING.copy()
    chosen = (training["part"] == "layer2") & (training["quantity"] == "gradient_norm")
    training.loc[chosen & (training["seed_label"] == "seed3"), "value"] = 100.0
    curves = failed_runs.gradient_curves(training, RUNS).set_index(["outcome", "part", "step"])
    assert curves.loc[("failed", "layer2", 9), "value"] == pytest.approx(10.0)
    assert curves.loc[("failed", "layer1", 79), "value"] == pytest.approx(0.01)
    assert curves.loc[("successful", "layer1", 79), "value"] == pytest.approx(1.0)
    assert set(curves["n_runs"]) == {2, 3} and curves["value"].notna().all()


def test_mean_gradients_and_the_ratio_of_lowest_to_top_layer():
    training = TRAINING.copy()
    early = (training["quantity"] == "gradient_norm") & (training["step"] < 30)
    training.loc[early, "value"] = 50.0
    found = failed_runs.mean_gradients(training)
    key = RUNS["setting_id"].iloc[0]
    assert found.loc[(key, "seed0")].to_dict() == pytest.approx(
        {"embeddings": 1, "layer1": 1, "layer2": 1, "head": 1, "lowest / top layer": 1, "all": 2}
    )
    assert found.loc[(key, "seed3"), "lowest / top layer"] == pytest.approx(0.01)
    assert failed_runs.mean_gradients(training, since=0, until=0.3)["head"].min() == pytest.approx(
        50
    )


def test_contrast_by_hand():
    index = pd.MultiIndex.from_frame(RUNS[failed_runs.KEYS])
    values = pd.DataFrame({"x": [1.0, 10, 100, 1, 0.01, 7]}, index)
    row = failed_runs.contrast(values, RUNS).loc["x"]
    assert row[["successful", "failed", "ratio"]].tolist() == pytest.approx([10, 0.1, 0.01])
    logs = np.log([1.0, 10, 100]), np.log([1, 0.01])
    welch = stats.ttest_ind(logs[1], logs[0], equal_var=False).confidence_interval(0.95)
    assert row[["low", "high"]].tolist() == pytest.approx(np.exp([*welch]))
    assert row[["n_successful", "n_failed"]].tolist() == [3, 2]
    alone = failed_runs.contrast(values, RUNS.assign(status="ok", accuracy=0.7)).loc["x"]
    assert np.isnan(alone[["failed", "ratio", "low"]].astype(float)).all()


def test_a_loss_is_flat_where_it_is_close_to_that_of_knowing_nothing():
    """At the ends of five stretches of ten steps."""
    losses = pd.DataFrame([[0.7, 0.7, 0.9, 0.65, 0.6]], columns=np.arange(5) * 10 + 9)
    found = failed_runs.is_flat(losses, np.log(2))
    assert found.columns.tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])
    assert found.to_numpy().tolist() == [[True, True, True, True, False]]
    strict = failed_runs.is_flat(losses, np.log(2), tolerance=0.01)
    assert strict.to_numpy().tolist() == [[True, True, True, False, False]]
    with pytest.raises(ValueError, match="tolerance = 10"):
        failed_runs.is_flat(losses, 0.7, tolerance=10)


# --- what notebook 61 says of the committed runs -------------------------------------------------


@pytest.fixture(scope="module")
def forest():
    """By measure and setting, failed less successful distance at the last layer, as it is drawn."""
    table = pd.read_csv(paths.ROOT / "figures/61_forest.csv").set_index(["measure", "setting"])
    return table.assign(up=table["low"] > 0, down=table["high"] < 0)


def test_one_setting_carries_what_61_says_of_cka_and_op(forest):
    assert list(forest.loc["cka"].query("up").index) == ["bert-tiny, trec"]
    for measure, poolings in itertools.product(("cka", "op"), ("first", "mean")):
        test = failures._apart(measure, fewest=5)
        chosen = preregistered.selected("half-failing", without="bert-tiny trec")
        assert test(chosen, poolings).p > 0.05
    whole = [failures._apart(name, fewest=5)(groups("reference-half-failing"), "first")
             for name in ("op", "svcca")]  # fmt: skip
    assert [(one.p < 0.05, one.value > 0) for one in whole] == [(True, True), (True, False)]


def test_answers_and_probabilities_of_failed_runs_are_as_61_says(forest):
    assert forest.loc["jsd", "down"].all() and len(forest.loc["jsd"]) == 8
    apart = forest.loc["disagreement"]
    assert (apart["value"] < 0).sum() > 5 and not apart["up"].any()
    films = apart.loc["minilm-l6, rotten-tomatoes"]
    assert films["value"] == apart["value"].max() > 0
    questions = apart.loc["bert-tiny, trec"]
    assert not questions["up"] and not questions["down"]
    (group,) = preregistered.selected("half-failing", task="minilm-l6 rotten-tomatoes")
    of_failed = group.predictions[group.failed].mean(1)
    assert sorted(of_failed.round()) == [0, 0, 1, 1, 1] and abs(of_failed - 0.5).min() > 0.4


def test_settings_and_pilots_are_as_61_says():
    every = groups("reference-half-failing")
    fewest = [min(one.failed.sum(), (~one.failed).sum()) for one in every]
    assert sorted(n >= 15 for n in fewest) == [False] * 6 + [True] * 3
    assert sum(n >= 5 for n in fewest) == len(failures.FIVE_OF_EACH) == 8
    low, high = stats.binomtest(3, 10).proportion_ci()
    assert (round(low, 2), round(high, 2)) == (0.07, 0.65)
    before = [validity.separation(one.pairs("first")["cka"], one.failed).difference
              for one in groups("reference-failing")]  # fmt: skip
    signs = [
        1 if gap.low > 0 else 0 if abs(gap.value) < 0.01 else np.sign(gap.value) for gap in before
    ]
    assert sorted(signs) == [-1, 0, 1, 1] and not any(gap.high < 0 for gap in before)


def test_the_rates_of_the_study_are_those_that_the_rule_takes_of_the_pilots():
    taken = pilots.half_failing(pd.read_csv(pilots.TABLE))
    (grid,) = load_grids("half-failing")
    planned = {(s.backbone, s.task): s.learning_rate for s in grid.settings}
    assert planned == {(r.backbone, r.task): r.learning_rate for r in taken.itertuples()}
    assert [" ".join(key) for key in planned] == list(failures.HALF_FAILING)
