"""Claims on SURT: pairs, missing ends and the usual specification, on tables made by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lib.analysis import claims
from lib.analysis.claims import surt
from lib.results import tables

KEYS = ("distance", "moved")


@pytest.fixture
def ways(monkeypatch):
    """Pairs whose ratios are known; of the weak pull only three were found with SURT."""
    rng, rows = np.random.default_rng(0), []
    ratios = {7.0: 0.5, 10.0: 0.8, 0.3: 1.25}
    for level, ratio in ratios.items():
        for seed in range(6):
            start = {"task": "rotten-tomatoes", "to": "minimiser" if level > 1 else "loss"}
            start |= {"level": level, "seed": seed}
            before, noise = np.exp(rng.normal()), np.exp(0.01 * rng.normal())
            rows.append(start | {"epochs": 0, "distance": before, "moved": 3 * before})
            after = before * ratio * noise if level != 7 or seed < 3 else np.nan
            rows.append(start | {"epochs": 10, "distance": after, "moved": 3 * before / noise})
    table = pd.DataFrame(rows).sample(frac=1, random_state=1)
    monkeypatch.setattr(tables, "read_stored", lambda name, kind: {"ways": table}[kind])
    surt.ratios.cache_clear()
    yield table
    surt.ratios.cache_clear()


def test_a_pair_is_a_log_ratio_of_with_to_without(ways):
    found = surt.ratios()
    for row in ways[ways["epochs"] == 10].itertuples():
        same = (ways["level"] == row.level) & (ways["seed"] == row.seed) & (ways["epochs"] == 0)
        for name in KEYS:
            expected = np.log(getattr(row, name) / ways.loc[same, name].item())
            at = (row.task, row.to, row.level, row.seed, 10)
            assert found.loc[at, name] == pytest.approx(expected, nan_ok=True)


def test_the_mean_of_pairs_has_students_interval_and_too_few_have_none(ways):
    one = claims.CLAIMS["surt-shortens-the-way"]
    first, *others = one.specifications()
    assert first == {"task": "rotten-tomatoes", "end": "minimiser", "level": 10.0, "epochs": 10}
    assert {each["level"] for each in others} == {7.0, 0.3}
    values = surt.ratios()["distance"].xs(10.0, level="level").to_numpy()
    found = one.statistic(**first)
    mean, reach = values.mean(), stats.t.ppf(0.975, 5) * stats.sem(values)
    assert found[:4] == pytest.approx((mean, mean - reach, mean + reach, 6))
    table = one.evaluate()
    assert table["verdict"].tolist() == ["holds", "contradicted"], "three pairs are too few"
    conclusion = one.conclude(table)
    assert conclusion["verdict"] == "mixed" and conclusion["value"] == pytest.approx(0.8, rel=0.02)
    steady = claims.CLAIMS["surt-steadies-single-examples"].evaluate()
    assert set(steady["verdict"]) == {"undecided"}
