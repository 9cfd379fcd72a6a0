"""Predictions beside measurements: ratios, exponents, verdicts."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lib import measures
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
        ((0.2, 1.2), 0.3, 0, "undecided"),
        ((1.1, 1.2), 0.3, 0, "opposite"),
        ((1.1, 1.2), np.nan, 1, "direction"),
        ((np.nan, np.nan), 0.3, 0, "not measured"),
    ],
)
def test_verdicts(interval, predicted, sign, expected):
    found = Measured(np.mean(interval), *interval, 10)
    assert expectations.verdict(found, predicted=predicted, null=1.0, sign=sign) == expected
    table = expectations.table_of([Claim("a", "b", "c", predicted, 1.0, sign, found)])
    assert table["verdict"].tolist() == [expected]
    if not np.isnan(interval).any():
        with pytest.raises(ValueError, match="no direction"):
            expectations.verdict(found, predicted=np.nan, null=1.0)


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
