"""Predictions beside measurements: ratios, exponents, verdicts."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lib import measures, plots
from lib.plots import bound_plots
from lib.results import tables
from lib.theory import expectations
from lib.theory.expectations import Claim, Measured


def test_the_geometric_ratio_by_hand():
    first, second = np.array([1.0, 2, 4, 3]), np.array([2.0, 4, 16, np.nan])
    found = expectations.geometric_ratio(first, second)
    logs = np.log([2.0, 2, 4])
    ends = stats.t.interval(0.95, 2, logs.mean(), stats.sem(logs))
    assert found == pytest.approx((np.exp(logs.mean()), *np.exp(ends), 3))
    few = expectations.geometric_ratio(first[:2], second[:2])
    assert np.isnan(few.value) and few.n == 2
    with pytest.raises(ValueError, match="paired"):
        expectations.geometric_ratio(first, second[:2])


def test_the_disagreement_ratio_by_hand():
    rng = np.random.default_rng(0)
    first = measures.pairwise_disagreement(rng.integers(0, 2, (8, 40)))
    found = expectations.disagreement_ratio(first, first / 2)
    assert found[:3] == pytest.approx((0.5, 0.5, 0.5)) and found.n == 8
    second = measures.pairwise_disagreement(np.tile(rng.integers(0, 2, (1, 40)), (8, 1)))
    assert np.isnan(expectations.disagreement_ratio(first, second).value)
    other = measures.pairwise_disagreement(rng.random((8, 40)) < 0.2)
    found = expectations.disagreement_ratio(first, other)
    upper = np.triu_indices(8, 1)
    assert found.value == pytest.approx(other[upper].mean() / first[upper].mean())
    assert found.low < found.value < found.high < 1


def test_disagreements_of_the_reference_are_those_of_its_measures():
    found = expectations.disagreements("reference-stabilizers")
    table = tables.read("reference-stabilizers", "runs").groupby(["learning_rate", "method"])
    assert set(found) == set(table.groups)
    measured = tables.read("reference-stabilizers", "measures")
    chosen = measured[measured["measure"].eq("disagreement") & measured["subset"].eq("all")]
    values = chosen.set_index("group")["value"]
    for key, part in table:
        upper = found[key][np.triu_indices(10, 1)]
        assert upper.mean() == pytest.approx(values[part["group"].iloc[0]])


def test_the_exponent_of_a_power_law_is_exact_and_that_of_statsmodels_else():
    import statsmodels.api as sm

    x = np.array([5.0, 10, 20, 30])
    assert expectations.exponent(x, 3 / x)[:3] == pytest.approx((-1, -1, -1))
    y = np.array([1.0, 0.6, 0.2, 0.19])
    fit = sm.OLS(np.log(y), sm.add_constant(np.log(x))).fit()
    found = expectations.exponent(x, y)
    assert found[:3] == pytest.approx((fit.params[1], *fit.conf_int()[1])) and found.n == 4
    with pytest.raises(ValueError, match="K ≥ 3"):
        expectations.exponent(x[:2], y[:2])


@pytest.mark.parametrize(
    ("interval", "predicted", "sign", "expected"),
    [
        ((0.2, 0.5), 0.3, 0, "direction and size"),
        ((0.6, 0.9), 0.3, 0, "direction"),
        ((0.6, 1.2), 0.3, 0, "not the predicted size"),
        ((0.2, 1.2), 0.3, 0, "undecided"),
        ((1.1, 1.2), 0.3, 0, "opposite"),
        ((1.1, 1.2), np.nan, 1, "direction"),
        ((1.1, 1.2), np.nan, -1, "opposite"),
        ((0.9, 1.2), np.nan, 1, "undecided"),
        ((np.nan, np.nan), 0.3, 0, "not measured"),
    ],
)
def test_verdicts(interval, predicted, sign, expected):
    found = Measured(np.mean(interval), *interval, 10)
    assert expectations.verdict(found, predicted=predicted, null=1.0, sign=sign) == expected
    table = expectations.table_of([Claim("a", "b", "c", predicted, 1.0, sign, found)])
    assert table["verdict"].tolist() == [expected]


def test_a_prediction_without_a_direction_is_an_error():
    with pytest.raises(ValueError, match="no direction"):
        expectations.verdict(Measured(1, 0.5, 2, 9), predicted=float("nan"), null=1.0)


def test_tables_of_runs_by_hand():
    runs = pd.DataFrame(
        {
            "method": ["standard", "standard", "mmr", "mmr"], "learning_rate": 1e-3,
            "seed": [0, 1, 0, 1], "score": [0.5, 0.7, 0.6, 0.6], "distance": [2.0, 4, 3, 3],
            "status": ["failed", "ok", "ok", "ok"],
        }
    )  # fmt: skip
    wide = expectations.by_seed(runs, "score")
    assert wide.loc[1, "standard"] == 0.7 and wide.columns.tolist() == ["mmr", "standard"]
    apart = {(1e-3, method): np.array([[0, 0.3], [0.3, 0]]) for method in ("standard", "mmr")}
    row = expectations.method_table(runs, apart).loc[(1e-3, "standard")]
    assert row[["runs", "failed"]].tolist() == [2, 1] and row["disagreement"] == 0.3
    assert row[["score", "sd", "distance"]].tolist() == pytest.approx([0.6, 0.2 / 2**0.5, 3])


# Figures.


@pytest.fixture
def ax():
    plots.use_style()
    fig, ax = plt.subplots()
    yield ax
    plt.close(fig)


def labels_of(ax):
    return ax.get_legend_handles_labels()[1]


def test_retraining_curves_leave_out_bounds_that_do_not_apply(ax):
    rows = pd.DataFrame(
        {"theorem": name, "steps": step, "measured_mean": 1.0, "measured_max": 2.0,
         "bound_mean": np.nan if name == "T2" else 3.0}
        for name in ("T1", "T2") for step in (1, 2)
    )  # fmt: skip
    bound_plots.retraining_curves(ax, rows, ["T1", "T2"])
    assert labels_of(ax) == ["measured", "bound T1"]
    assert ax.lines[0].get_ydata().tolist() == [1.0, 1.0]
    assert [path.vertices[:, 1].tolist() for path in ax.collections[0].get_paths()] == [[1, 2]] * 2


def test_the_line_of_a_power_law_starts_at_the_first_value(ax):
    table = pd.DataFrame({"n": [10, 20], "measured_mean": [4.0, 3.0], "bound_mean": [8.0, 4.0]})
    bound_plots.power_law(ax, table, exponent=-1)
    assert [line.get_ydata().tolist() for line in ax.lines] == [[4, 3], [8, 4], [4, 2]]


def test_heads_are_drawn_with_the_law_from_one_head(ax):
    table = pd.DataFrame(
        {"learning_rate": 1e-3, "heads": [4, 1], "sd": [0.3, 0.2], "sd_low": 0.1, "sd_high": 0.5}
    )
    bound_plots.head_curve(ax, table, "sd")
    assert ax.lines[0].get_ydata().tolist() == [0.2, 0.3]
    assert ax.lines[1].get_ydata().tolist() == pytest.approx([0.2, 0.1])
    assert labels_of(ax) == ["learning rate 0.001", "1/√heads"]


def test_distances_are_a_line_a_step_in_the_order_of_the_distance(ax):
    rows = pd.DataFrame(
        {"steps": [1, 1, 5, 5], "distance": [2.0, 1, 2, 1], "measured_mean": [4.0, 3, 8, 7]}
    )
    bound_plots.distance_curves(ax, rows)
    assert labels_of(ax) == ["step 1", "step 5"]
    assert ax.lines[1].get_ydata().tolist() == [7, 8] and ax.get_ylim()[0] == 0


def test_verdicts_are_told_apart_and_predictions_marked(ax):
    ratio = Measured(0.5, 0.4, 0.6, 10)
    claims = [
        Claim("p", "a", "s", 0.5, 1, 0, ratio), Claim("p", "b", "s", np.nan, 1, 1, ratio),
        Claim("p", "c", "s", np.nan, 1, 1, Measured(1.0, 0.9, 1.2, 10)),
    ]  # fmt: skip
    bound_plots.verdict_dots(ax, expectations.table_of(claims))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["c", "b", "a"]
    dots = {
        line.get_ydata()[0]: line
        for line in ax.lines
        if line.get_marker() in "ov" and len(line.get_xdata()) == 1
    }
    assert [dots[k].get_marker() for k in (2, 1, 0)] == ["o", "v", "o"]
    filled = [dots[k].get_markerfacecolor() != "white" for k in (2, 1, 0)]
    assert filled == [True, False, False]
    diamonds = [
        line.get_ydata()[0]
        for line in ax.lines
        if line.get_marker() == "D" and len(line.get_xdata())
    ]
    assert diamonds == [2]
