"""The paper's claims on stability: effects, verdicts of cells, and where they are from."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lib.analysis import claims
from lib.analysis.claims import heads, stability
from lib.analysis.claims.claim import CLAIMS, MOST, Claim, Estimate
from lib.analysis.claims.scores import groups, trend
from lib.analysis.claims.stability import AXES, LEFT_OUT, SEED, STABILISERS
from lib.measures import intervals, summary
from lib.results import tables
from lib.theory import sweeps


@pytest.fixture(scope="module")
def reference():
    return stability.stability()


# Effects and their intervals.


def test_a_change_by_hand():
    before, after = pd.Series([1.0, 2, 4, 3, 0, 1]), pd.Series([8.0, 2, 256, np.nan, 1, 1e-17])
    found = stability.changed(before, after, 8)
    each = np.array([1.0, 0, 2])
    ends = stats.t.interval(0.95, 2, 1, stats.sem(each))
    assert found == pytest.approx((1, *ends, 3))
    few = stability.changed(before[:2], after[:2], 8)
    assert few.value == 0.5 and np.isnan(few.low) and few.n_runs == 2
    assert stability.changed(before[3:], after[3:]).n_runs == 0


def test_the_exponent_of_a_power_law_is_exact_and_that_of_statsmodels_else():
    import statsmodels.api as sm

    x = np.array([5.0, 10, 20, 30])
    assert sweeps.exponent(x, 3 / x)[:3] == pytest.approx((-1, -1, -1))
    y, control = np.array([1.0, 0.6, 0.2, 0.19, 0.3]), np.array([0.0, 1, 0, 1, 1])
    x = np.append(x, 11.0)
    for controls in ([], [control]):
        fit = sm.OLS(np.log(y), np.column_stack([np.log(x), np.ones(5), *controls])).fit()
        found = sweeps.exponent(x, y, *controls)
        assert found == pytest.approx((fit.params[0], *fit.conf_int()[0], 5))
    with pytest.raises(ValueError, match="2 points for 2"):
        sweeps.exponent(x[:2], y[:2])


def sd_of(scores):
    return summary.statistics_of(scores=scores)["sd"]


def test_the_trend_of_two_groups_is_their_log_ratio_with_each_seed_left_out_of_both():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2, 12)) * [[1.0], [2.0]]
    found = trend((1, 2), [sd_of(one) for one in scores], 12)

    def ratio(kept):
        sds = scores[:, kept].std(1, ddof=1)
        return np.log2(sds[1] / sds[0])

    left_out = np.array([ratio(np.arange(12) != seed) for seed in range(12)])
    error = np.sqrt(11 / 12 * ((left_out - left_out.mean()) ** 2).sum())
    reach = stats.t.ppf(0.975, 11) * error
    value = ratio(np.full(12, True))
    assert found == pytest.approx((value, value - reach, value + reach, 12))
    # Three groups: spreads that are a power of x are on their line, whatever the weights are.
    powers = [lambda w, x=x: sd_of(scores[0])(w) * x**0.7 for x in (1, 3, 10)]
    assert trend([1, 3, 10], powers, 12)[:3] == pytest.approx((0.7,) * 3)


def test_no_effect_is_found_where_there_is_none_one_time_in_twenty():
    rng = np.random.default_rng(1)
    claim = CLAIMS["mmr-stabilises"]
    pairs = np.exp(rng.normal(size=(2000, 2, 14)))
    found = [stability.changed(*map(pd.Series, pair)) for pair in pairs]
    words = [claim.of_one(Estimate.of(one)) for one in found]
    assert 0.035 < np.mean([word != "undecided" for word in words]) < 0.065
    assert abs(words.count("holds") - words.count("contradicted")) < 40
    # Seeds have effects that two groups share in part, as seeds of two methods do.
    scores = rng.normal(size=(1000, 1, 12)) + rng.normal(size=(1000, 2, 12))
    found = [trend((1, 2), [sd_of(one) for one in pair], 12) for pair in scores]
    words = [claim.of_one(Estimate.of(one)) for one in found]
    assert 0.02 < np.mean([word != "undecided" for word in words]) < 0.08
    # An SD that is halved is seen in nearly every pair of groups of twenty.
    halves = rng.normal(size=(200, 2, 20)) * [[2.0], [1.0]]
    found = [trend((1, 2), [sd_of(one) for one in pair], 20) for pair in halves]
    assert np.mean([claim.of_one(Estimate.of(one)) == "holds" for one in found]) > 0.7


# Verdicts of cells.


SAYS = dict.fromkeys(("holds", "contradicted", "undecided"), "{analyses}")


def planted(monkeypatch, effects, called="surt-stabilises"):
    """A claim with these effects, all in one cell; the others have one in another cell."""

    def of_cells(where, values):
        choices = {
            (*where, "SD", f"way {i}"): Estimate(value, value - half, value + half, 10)
            for i, (value, half) in enumerate(values)
        }
        given = [dict(zip(AXES, words, strict=True)) for words in choices]
        return lambda **words: choices[tuple(words.values())], lambda: given

    for name in STABILISERS.values():
        where, values = ("network", SEED), effects
        if name != called:
            where, values = ("real head", LEFT_OUT), [(-1.0, 0.5)]
        statistic, given = of_cells(where, values)
        one = Claim(name, statistic, {}, given, 42, SAYS, "below", 0.0, 0.0, MOST, "–", "log2")
        monkeypatch.setitem(CLAIMS, name, one)
    return stability.stability()


@pytest.mark.parametrize(
    ("effects", "word", "counts", "middle"),
    [
        ([(-3, 1), (-2, 1), (-1, 0.5), (-1, 2)], "holds", (3, 0, 4), -2),
        ([(-3, 1), (-2, 1), (-1, 2)], "undecided", (2, 0, 3), -2),
        ([(-3, 1), (-1, 2), (0, 2)], "undecided", (1, 0, 3), -1),
        ([(3, 1), (2, 1), (1, 2), (5, 1)], "contradicted", (0, 3, 4), 2),
        ([(-3, 1), (-2, 1), (-4, 1), (2, 1)], "mixed", (3, 1, 4), -3),
    ],
)
def test_a_cell_is_concluded_as_a_claim_is_and_shows_the_one_in_the_middle(
    effects, word, counts, middle, monkeypatch
):
    cells, table = planted(monkeypatch, effects)
    assert len(cells) == 9 * 3 * 2 and cells["verdict"].eq("no data").sum() == 54 - 9
    assert len(table) == len(effects) + 8
    at = {"claim": "SURT", "setting": "network", "perturbation": SEED}
    (row,) = cells[(cells[list(at)] == list(at.values())).all(axis=1)].to_dict("records")
    assert (row["verdict"], (row["holds"], row["contradicted"], row["of"])) == (word, counts)
    assert row["value"] == middle
    # All of this claim's analyses are in the cell, so that its own verdict is the cell's.
    own = CLAIMS["surt-stabilises"]
    assert own.conclude(own.evaluate())["verdict"] == word


def test_what_is_called_detectable_is_detected_four_times_in_five(monkeypatch):
    half = stats.norm.ppf(0.975) * 0.3  # of an interval of standard error 0.3
    cells, _ = planted(monkeypatch, [(0.0, half)])
    (change,) = cells.loc[cells["setting"].eq("network") & cells["of"].eq(1), "smallest"]
    found = np.random.default_rng(2).normal(change, 0.3, 20_000)
    assert np.mean(found > half) == pytest.approx(0.8, abs=0.01)


# What goes with the SD over seeds.


def test_agreement_is_ranked_within_sets_and_averaged_over_them(monkeypatch):
    grid = pd.MultiIndex.from_product(
        [["paths"], range(4), [1, 10], [0.5, 1.0]], names=["job", "set", "steps", "share"]
    )
    rng = np.random.default_rng(3)
    seeds = pd.DataFrame(
        {"accuracy_sd": rng.random(16), "direction": 0.0, "parameter": rng.random(16)}, index=grid
    )
    seeds["direction"] = seeds["accuracy_sd"] ** 3 + grid.get_level_values("set") * 10
    seeds.loc[("paths", 3), "accuracy_sd"] = 0.0  # predictions of no seed differ: no ranks
    left_out = pd.DataFrame(
        {"direction_mean": -seeds["accuracy_sd"], "parameter_mean": rng.random(16)}, index=grid
    )
    stored = {"leave_one_out": left_out.reset_index(), "seeds": seeds.assign(heads=1).reset_index()}
    monkeypatch.setattr(heads, "stored", stored.get)

    def of(perturbation, notion):
        return heads.seeds_turn_the_sign(perturbation, "simulated", notion, "accuracy_sd")

    assert of(SEED, "direction")[:4] == pytest.approx((1, 1, 1, 3))
    assert of(LEFT_OUT, "direction").value == pytest.approx(1)  # −1, and that is what is claimed
    for perturbation, table, column, sign in (
        (SEED, seeds, "parameter", 1),
        (LEFT_OUT, left_out, "parameter_mean", -1),
    ):
        each = [
            sign
            * stats.spearmanr(
                table.loc[("paths", s), column], seeds.loc[("paths", s), "accuracy_sd"]
            ).statistic
            for s in range(3)
        ]
        ends = stats.t.interval(0.95, 2, np.mean(each), stats.sem(each))
        assert of(perturbation, "parameters")[:3] == pytest.approx((np.mean(each), *ends))


def test_another_seed_and_a_left_out_example_turn_the_sign_on_real_features():
    table = CLAIMS["seeds-turn-the-sign"].evaluate()
    choices = claims.choices_of(table)
    real = choices["heads"].isin(["real", "real from 10 steps on"])
    assert real.sum() == 16 and table.loc[real, "verdict"].eq("holds").all()
    turned = table.loc[table["verdict"].eq("contradicted").to_numpy()].index
    told = choices.loc[turned, ["heads", "perturbation", "notion"]].drop_duplicates()
    assert told.to_numpy().tolist() == [["simulated", LEFT_OUT, "direction"]]


# The committed results.


def effect(table, *words):
    (row,) = table[(table[["claim", *AXES]] == list(words)).all(axis=1)].to_dict("records")
    return row


def test_specifications_of_the_reference_are_distinct_and_finite(reference):
    cells, table = reference
    assert np.isfinite(table["value"]).all() and (table["n"] >= 1).all()
    assert set(table["claim"]) == set(STABILISERS)
    assert cells["of"].sum() == len(table)
    made = list(
        itertools.chain.from_iterable(
            part()
            for part in (
                stability._fine_tuned_methods, stability._paths, stability._sets,
                stability._head_methods, stability._networks_without_examples,
                stability._fine_tuned_ladders,
            )
        )
    )  # fmt: skip
    assert len({row[:-1] for row in made}) == len(made) >= len(table)
    assert sum(row[-1].n_runs > 0 for row in made) == len(table)


def test_no_choice_of_a_specification_is_split_by_its_words(reference):
    _, table = reference
    assert table[list(AXES)].notna().all(axis=None)
    assert table["setting"].isin(stability.SETTINGS).all()
    assert table["perturbation"].isin(stability.PERTURBATIONS).all()


def test_sentences_of_methods_are_of_the_usual_setting_at_the_gentle_rate():
    for name, method in {"MMR": "mmr", "MHLoss": "mhloss", "SURT": "surt"}.items():
        first = CLAIMS[STABILISERS[name]].specifications()[0]
        assert first == {
            "setting": "network", "perturbation": SEED, "measure": "disagreement",
            "analysis": f"{method}; rate 0.0003; all seeds",
        }  # fmt: skip


def test_verdicts_are_those_that_notebook_42_tells_in_words(reference):
    whole = reference[0].set_index(["claim", *AXES[:2]])["verdict"]
    both = ("simulated head", "real head")
    told = {
        **{("sample size", setting, LEFT_OUT): "holds" for setting in both},
        **{("iterations", setting, SEED): "holds" for setting in both},
        **{("iterations", setting, LEFT_OUT): "contradicted" for setting in ("real head",
           "network")},
        **{("learning rate", setting, SEED): "contradicted" for setting in both},
        ("learning rate", "real head", LEFT_OUT): "holds",
        ("learning rate", "network", SEED): "mixed",
        ("margin", "simulated head", LEFT_OUT): "holds",
        ("margin", "simulated head", SEED): "contradicted",
        ("Lipschitz constant", "network", LEFT_OUT): "holds",
        ("MHLoss", "simulated head", SEED): "holds",
        ("SURT", "network", SEED): "undecided",
    }  # fmt: skip
    assert whole.loc[list(told)].to_dict() == told


def test_effects_of_the_reference_by_hand(reference):
    _, table = reference
    of_heads = tables.read_stored("reference-theory", "leave_one_out")
    of_heads = of_heads[of_heads["pooling"].eq("mean") & of_heads["steps"].eq(1000)]
    by_rate = of_heads.pivot(index="job", columns="share", values="parameter_mean")
    halved = (np.log2(by_rate[0.1]) - np.log2(by_rate[1.0])).mean() / np.log2(10)
    words = "parameters", "mean of tokens; 1000 steps"
    row = effect(table, "learning rate", "real head", LEFT_OUT, *words)
    assert (row["value"], row["n"]) == (pytest.approx(halved), 14)
    seeds = tables.read_stored("reference-theory", "seeds").query("job == 'paths' and share == 0.5")
    by_steps = seeds.pivot(index="set", columns="steps", values="direction")
    doubled = np.log(by_steps[5000] / by_steps[10]).mean() / np.log(500)
    words = "direction", "10 to 5000 steps; rate 0.5"
    row = effect(table, "iterations", "simulated head", SEED, *words)
    assert (row["value"], row["n"]) == (pytest.approx(doubled), 30)
    full = tables.read_stored("reference-theory", "full_tuning")
    words = "parameters", "full.n30; λ = 10"
    row = effect(table, "Lipschitz constant", "network", LEFT_OUT, *words)
    ends = full[full["job"].eq("full.n30") & full["theorem"].eq("T3")]
    assert row["value"] == -ends["order"].item()


def test_effects_of_fine_tuned_runs_are_ratios_of_their_measures(reference):
    runs = tables.read("reference-stabilizers", "runs").groupby("group").first()
    measured = tables.read("reference-stabilizers", "measures").query("subset == 'all'")
    last = measured[measured["measure"].eq("cka") & measured["layer"].eq(2)]
    values = {
        "SD": measured[measured["measure"].eq("sd")],
        "disagreement": measured[measured["measure"].eq("disagreement")],
        "JSD": measured[measured["measure"].eq("jsd")],
        "CKA of means": last[last["pooling"].eq("mean")],
        "CKA of first positions": last[last["pooling"].eq("first")],
    }
    for name, part in values.items():
        by_method = part.set_index(
            [runs.loc[part["group"], "learning_rate"], runs.loc[part["group"], "method"]]
        )["value"]
        for claim, method, base in (
            ("MMR", "mmr", "standard"),
            ("MHLoss", "mhloss", "mhloss(heads=1)"),
        ):
            words = name, f"{method}; rate 0.003; all seeds"
            row = effect(reference[1], claim, "network", SEED, *words)
            ratio = by_method[0.003, method] / by_method[0.003, base]
            assert row["value"] == pytest.approx(np.log2(ratio), rel=1e-6)


def test_seeds_that_fail_with_either_method_are_left_out_of_both(reference):
    every = {
        group.setting["method"]: group
        for group in groups("reference-stabilizers")
        if group.setting["learning_rate"] == 0.003
    }
    one, several = every["mhloss(heads=1)"], every["mhloss(heads=10)"]
    kept = [i for i in range(10) if one.runs["status"][i] == several.runs["status"][i] == "ok"]
    apart = [
        intervals.instability(group.pairs("mean")["disagreement"][np.ix_(kept, kept)]).value
        for group in (one, several)
    ]
    words = "disagreement", "mhloss(heads=10); rate 0.003; without failed seeds"
    row = effect(reference[1], "MHLoss", "network", SEED, *words)
    assert (row["value"], row["n"]) == (pytest.approx(np.log2(apart[1] / apart[0])), len(kept))
    assert len(kept) < 10


@pytest.mark.parametrize(
    ("claim", "results", "field", "sign", "words"),
    [
        ("sample size", "reference-sizes", "train_rows", 1, "from 125 rows"),
        ("learning rate", "reference-ladder", "learning_rate", -1, "bert-tiny; all rates"),
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
    row = effect(reference[1], claim, "network", SEED, "disagreement", words)
    assert row["value"] == pytest.approx(sign * slope)
