"""The paper's claims beside measurements: effects, verdicts, cells, and where they are from."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lib.measures import comparison, intervals
from lib.measures.intervals import Interval
from lib.results import tables
from lib.theory import claims
from lib.theory.claims import LEFT_OUT, SEED


@pytest.fixture(scope="module")
def reference():
    return claims.specifications()


# Effects and their intervals.


def test_a_change_by_hand():
    before, after = np.array([1.0, 2, 4, 3, 0]), np.array([8.0, 2, 256, np.nan, 1])
    found = claims.changed(before, after, times=8)
    each = np.array([1.0, 0, 2])
    ends = stats.t.interval(0.95, 2, 1, stats.sem(each))
    assert found == pytest.approx((1, *ends, 3))
    few = claims.changed(before[:2], after[:2], times=8)
    assert few.value == 0.5 and np.isnan(few.low) and few.n_runs == 2
    assert np.isnan(claims.changed(before[3:], after[3:]).value)
    with pytest.raises(ValueError, match="paired"):
        claims.changed(before[:2], after)


def test_the_exponent_of_a_power_law_is_exact_and_that_of_statsmodels_else():
    import statsmodels.api as sm

    x = np.array([5.0, 10, 20, 30])
    assert claims.exponent(x, 3 / x)[:3] == pytest.approx((-1, -1, -1))
    y, control = np.array([1.0, 0.6, 0.2, 0.19, 0.3]), np.array([0.0, 1, 0, 1, 1])
    x = np.append(x, 11.0)
    for controls in ([], [control]):
        fit = sm.OLS(np.log(y), np.column_stack([np.log(x), np.ones(5), *controls])).fit()
        found = claims.exponent(
            np.append(x, -1), np.append(y, 1), *(np.append(c, 0) for c in controls)
        )
        assert found == pytest.approx((fit.params[0], *fit.conf_int()[0], 5))
    with pytest.raises(ValueError, match="2 points for 2"):
        claims.exponent(x[:2], y[:2])


def test_the_exponent_of_two_groups_is_their_log_ratio_and_its_interval():
    rng = np.random.default_rng(0)
    kernels = [intervals.half_squares(rng.normal(size=12) * size) for size in (1.0, 2.0)]
    spreads = [lambda w, k=k: intervals.root_pair_means(k, w) for k in kernels]
    logs = [lambda w, s=s: np.log2(s(w)) for s in spreads]
    other = comparison.difference(*logs, (12, 12), paired=True)
    found = claims.spread_exponent([1, 2], spreads, 12)
    assert found[:3] == pytest.approx(other[:3])
    # Three groups: spreads that are a power of x are on their line, whatever the weights are.
    powers = [lambda w, x=x: spreads[0](w) * x**0.7 for x in (1, 3, 10)]
    assert claims.spread_exponent([1, 3, 10], powers, 12)[:3] == pytest.approx((0.7,) * 3)


def test_no_effect_is_found_where_there_is_none_one_time_in_twenty():
    rng = np.random.default_rng(1)
    pairs = np.exp(rng.normal(size=(2000, 2, 14)))
    found = [claims.verdict(claims.changed(*pair)) for pair in pairs]
    assert 0.035 < np.mean([word != "undecided" for word in found]) < 0.065
    assert abs(found.count("holds") - found.count("opposite")) < 40


# Verdicts.


@pytest.mark.parametrize(
    ("ends", "word"),
    [((-2, -1), "holds"), ((1, 2), "opposite"), ((-1, 2), "undecided"), ((0, 2), "undecided")],
)
def test_verdicts(ends, word):
    assert claims.verdict(Interval(np.mean(ends), *ends, 9)) == word
    assert claims.verdict(Interval(np.mean(ends), np.nan, np.nan, 2)) == "undecided"
    assert claims.verdict(Interval(np.nan, np.nan, np.nan, 0)) == "no data"


def table_of(effects, setting="network", perturbation=SEED, claim="SURT"):
    rows = []
    for number, (value, half) in enumerate(effects):
        found = Interval(value, value - half, value + half, 10)
        words = (claim, setting, perturbation, f"way {number}")
        rows.append((*words, *found, claims.verdict(found)))
    columns = [*claims.CELL, "specification", "value", "low", "high", "n", "verdict"]
    return pd.DataFrame(rows, columns=columns)


@pytest.mark.parametrize(
    ("effects", "word", "counts", "middle"),
    [
        ([(-3, 1), (-2, 1), (-1, 2)], "holds", (2, 0, 3), -2),
        ([(-3, 1), (-1, 2), (0, 2)], "undecided", (1, 0, 3), -1),
        ([(3, 1), (2, 1), (1, 2), (5, 1)], "opposite", (0, 3, 4), 2),
        ([(-3, 1), (-2, 1), (-4, 1), (2, 1)], "mixed", (3, 1, 4), -3),
        ([], "no data", (0, 0, 0), np.nan),
    ],
)
def test_a_cell_counts_its_specifications_and_shows_the_one_in_the_middle(
    effects, word, counts, middle
):
    whole = claims.cells(pd.concat([table_of(effects), table_of([(-1, 0.5)], claim="MMR")]))
    assert len(whole) == 9 * 3 * 2 and whole["verdict"].eq("no data").sum() == 53 - bool(effects)
    at = {"claim": "SURT", "setting": "network", "perturbation": SEED}
    (row,) = whole[(whole[list(at)] == list(at.values())).all(axis=1)].to_dict("records")
    assert (row["verdict"], (row["holds"], row["opposite"], row["of"])) == (word, counts)
    assert row["value"] == pytest.approx(middle, nan_ok=True)
    told = claims.sentence(whole, "SURT")
    assert told.startswith(f"SURT: {word}" + bool(effects) * ": network, another seed (")


def test_what_is_called_detectable_is_detected_four_times_in_five():
    half = stats.norm.ppf(0.975) * 0.3  # of an interval of standard error 0.3
    whole = claims.cells(table_of([(0.0, half)]))
    change = whole["detectable"].max()
    found = np.random.default_rng(2).normal(change, 0.3, 20_000)
    assert np.mean(found > half) == pytest.approx(0.8, abs=0.01)


# Which of notion and perturbation decides the sign.


def square(signs, half=0.1):
    rows = [
        (notion, perturbation, sign * 0.9, sign * 0.9 - half, sign * 0.9 + half, 30)
        for (notion, perturbation), sign in signs.items()
    ]
    return pd.DataFrame(rows, columns=["notion", "perturbation", "value", "low", "high", "n"])


@pytest.mark.parametrize(
    ("left_out", "seed", "by_perturbation", "by_notion"),
    [
        ((-1, -1), (1, 1), "direction and parameters", "neither"),
        ((1, -1), (1, -1), "neither", f"{SEED} and {LEFT_OUT}"),
        ((1, -1), (1, 1), "parameters", LEFT_OUT),
        ((1, 1), (1, 1), "neither", "neither"),
        ((0, -1), (1, 1), "parameters", "neither"),
    ],
)
def test_what_turns_the_sign(left_out, seed, by_perturbation, by_notion):
    notions = ("direction", "parameters")
    signs = {
        (n, p): s
        for p, row in ((LEFT_OUT, left_out), (SEED, seed))
        for n, s in zip(notions, row, strict=True)
    }
    told = claims.what_turns_the_sign(square(signs))
    first, second = told.split("; ")
    assert first == f"the perturbation turns the sign for {by_perturbation}"
    assert second == f"the notion turns the sign for {by_notion}"


def test_agreement_is_ranked_within_sets_and_averaged_over_them():
    grid = pd.MultiIndex.from_product(
        [["a"], range(4), [1, 10], [0.5, 1.0]], names=["job", "set", "steps", "share"]
    )
    rng = np.random.default_rng(3)
    seeds = pd.DataFrame(
        {"accuracy_sd": rng.random(16), "direction": 0.0, "parameter": rng.random(16)}, index=grid
    )
    seeds["direction"] = seeds["accuracy_sd"] ** 3 + grid.get_level_values("set") * 10
    seeds.loc[("a", 3), "accuracy_sd"] = 0.0  # predictions of no seed differ: no ranks
    left_out = pd.DataFrame(
        {"direction_mean": -seeds["accuracy_sd"], "parameter_mean": rng.random(16)}, index=grid
    )
    found = claims.agreement(left_out.reset_index(), seeds.reset_index())
    cells = found.set_index(["notion", "perturbation"])
    assert cells.loc[("direction", SEED), ["value", "low", "high", "n"]].tolist() == pytest.approx(
        [1, 1, 1, 3]
    )
    assert cells.loc[("direction", LEFT_OUT), "value"] == pytest.approx(-1)
    each = [
        stats.spearmanr(
            seeds.loc[("a", s), "parameter"], seeds.loc[("a", s), "accuracy_sd"]
        ).statistic
        for s in range(3)
    ]
    ends = stats.t.interval(0.95, 2, np.mean(each), stats.sem(each))
    row = cells.loc[("parameters", SEED), ["value", "low", "high"]]
    assert row.tolist() == pytest.approx([np.mean(each), *ends])


# The committed results.


def effect(table, *words):
    (row,) = table[(table[[*claims.CELL, "specification"]] == list(words)).all(axis=1)].to_dict(
        "records"
    )
    return row


def test_specifications_of_the_reference_are_distinct_and_finite(reference):
    assert reference[[*claims.CELL, "specification"]].duplicated().sum() == 0
    assert np.isfinite(reference["value"]).all() and (reference["n"] >= 1).all()
    assert set(reference["claim"]) == set(claims.CLAIMS)
    whole = claims.cells(reference)
    assert whole["of"].sum() == len(reference)
    for claim, part in whole[whole["of"] > 0].groupby("claim"):
        told = claims.sentence(whole, claim)
        assert all(f"{verdict}: " in told for verdict in part["verdict"]) and "no data" not in told


def test_verdicts_are_those_that_notebook_42_and_the_findings_tell_in_words(reference):
    whole = claims.cells(reference).set_index(list(claims.CELL))["verdict"]
    heads = ("simulated head", "real head")
    told = {
        **{("sample size", setting, LEFT_OUT): "holds" for setting in claims.SETTINGS},
        **{("iterations", setting, SEED): "holds" for setting in heads},
        **{("iterations", setting, LEFT_OUT): "opposite" for setting in ("real head", "network")},
        **{("learning rate", setting, SEED): "opposite" for setting in heads},
        ("learning rate", "real head", LEFT_OUT): "holds",
        ("learning rate", "network", SEED): "holds",
        ("margin", "simulated head", LEFT_OUT): "holds",
        ("margin", "simulated head", SEED): "opposite",
        ("Lipschitz constant", "network", LEFT_OUT): "holds",
        ("MHLoss", "simulated head", SEED): "holds",
        **{(name, "network", SEED): "undecided" for name in ("MMR", "MHLoss", "SURT")},
    }
    assert whole.loc[list(told)].to_dict() == told


def test_effects_of_the_reference_by_hand(reference):
    heads = tables.read_stored("reference-theory", "leave_one_out")
    heads = heads[heads["pooling"].eq("mean") & heads["steps"].eq(1000)]
    by_rate = heads.pivot(index="job", columns="share", values="parameter_mean")
    halved = (np.log2(by_rate[0.1]) - np.log2(by_rate[1.0])).mean() / np.log2(10)
    told = "parameters, mean of tokens, 1000 steps, largest rate to a tenth of it"
    row = effect(reference, "learning rate", "real head", LEFT_OUT, told)
    assert (row["value"], row["n"]) == (pytest.approx(halved), 14)
    seeds = tables.read_stored("reference-theory", "seeds").query("job == 'paths' and share == 0.5")
    by_steps = seeds.pivot(index="set", columns="steps", values="direction")
    doubled = np.log(by_steps[5000] / by_steps[10]).mean() / np.log(500)
    row = effect(
        reference, "iterations", "simulated head", SEED, "direction, 10 to 5000 steps, rate 0.5"
    )
    assert (row["value"], row["n"]) == (pytest.approx(doubled), 30)
    full = tables.read_stored("reference-theory", "full_tuning")
    row = effect(
        reference, "Lipschitz constant", "network", LEFT_OUT, "parameters, full.n30, λ = 10"
    )
    assert (
        row["value"] == -full[full["job"].eq("full.n30") & full["theorem"].eq("T3")]["order"].item()
    )


def test_effects_of_fine_tuned_runs_are_ratios_of_their_measures(reference):
    runs = tables.read("reference-stabilizers", "runs").groupby("group").first()
    measured = tables.read("reference-stabilizers", "measures").query("subset == 'all'")
    last = measured[measured["measure"].eq("cka") & measured["layer"].eq(2)]
    values = {
        "SD": measured[measured["measure"].eq("sd")],
        "disagreement": measured[measured["measure"].eq("disagreement")],
        "CKA, mean of tokens": last[last["pooling"].eq("mean")],
        "CKA, first position": last[last["pooling"].eq("first")],
    }
    for name, table in values.items():
        by_method = table.set_index(
            [runs.loc[table["group"], "learning_rate"], runs.loc[table["group"], "method"]]
        )["value"]
        for claim, method, base in (
            ("MMR", "mmr", "standard"),
            ("MHLoss", "mhloss", "mhloss(heads=1)"),
        ):
            row = effect(reference, claim, "network", SEED, f"{name}, {method}, rate 0.003")
            ratio = by_method[0.003, method] / by_method[0.003, base]
            assert row["value"] == pytest.approx(np.log2(ratio), rel=1e-6)


@pytest.mark.parametrize(
    ("claim", "results", "field", "sign", "words"),
    [
        ("sample size", "reference-sizes", "train_rows", 1, "disagreement"),
        ("learning rate", "reference-ladder", "learning_rate", -1, "disagreement, bert-tiny"),
    ],
)
def test_effects_of_ladders_are_slopes_over_their_rungs(
    reference, claim, results, field, sign, words
):
    runs = tables.read(results, "runs").query("backbone == 'bert-tiny'").groupby("group").first()
    measured = tables.read(results, "measures").query(
        "subset == 'all' and measure == 'disagreement'"
    )
    values = measured.set_index("group").loc[runs.index, "value"]
    slope = np.polyfit(np.log(runs[field].astype(float)), np.log(values), 1)[0]
    assert effect(reference, claim, "network", SEED, words)["value"] == pytest.approx(sign * slope)
