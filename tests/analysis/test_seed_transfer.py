"""Whether a run that is good on some data is good on others: size, sign, and two sides."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lib.analysis import seed_transfer


@pytest.mark.filterwarnings("ignore:.*BCa", "ignore:An input array is constant")
def test_p_counts_permutations_by_the_size_of_r():
    """All orders of six runs, one of them odd: the two tails are of different length."""
    x, y = np.array([0, 1, 2, 3, 4, 20.0]), np.array([1, 0, 3, 2, 9, 4.0])
    drawn = [np.corrcoef(x, order)[0, 1] for order in permutations(y)]
    exact = np.mean(np.abs(drawn) >= abs(np.corrcoef(x, y)[0, 1]) - 1e-12)
    found = seed_transfer.score_transfer(x, pd.DataFrame({"up": y, "down": 2 - 3 * y}))
    assert found["p"].to_numpy() == pytest.approx(exact, abs=0.02)
    doubled = stats.pearsonr(x, y, method=stats.PermutationMethod(rng=0)).pvalue
    assert abs(doubled - exact) > 0.05, "the case tells the two conventions apart"
    assert found["r"].tolist() == pytest.approx([stats.pearsonr(x, y)[0], -stats.pearsonr(x, y)[0]])
    assert found["rho"].tolist() == pytest.approx(
        [stats.spearmanr(x, y)[0]] * 2 * np.array([1, -1])
    )


@pytest.mark.slow
def test_size_and_power_with_skewed_scores(monkeypatch):
    monkeypatch.setattr(seed_transfer, "N_PERMUTATIONS", 499)
    rng = np.random.default_rng(0)
    scores = rng.exponential(size=40)
    noise = pd.DataFrame(rng.exponential(size=(40, 120)))
    none = seed_transfer.score_transfer(scores, noise)
    assert 0.015 <= (none["p"] < 0.05).mean() <= 0.09
    assert (none["adjusted"] < 0.05).sum() <= 1
    assert ((none["low"] < none["r"]) & (none["r"] < none["high"])).all()
    assert 0.9 <= ((none["low"] < 0) & (none["high"] > 0)).mean() <= 0.99
    shared = seed_transfer.score_transfer(scores, 0.8 * noise.iloc[:, :20].add(scores, axis=0))
    assert (shared["p"] < 0.05).mean() > 0.9 and (shared["low"] > 0).mean() > 0.9


def test_runs_must_match_and_differ():
    with pytest.raises(ValueError, match=r"scores has shape \(3,\), other \(2, 1\)"):
        seed_transfer.score_transfer([1, 2, 3], pd.DataFrame({"a": [1, 2]}))
    with pytest.raises(ValueError, match="no score that all runs share"):
        seed_transfer.score_transfer([1, 2, 3], pd.DataFrame({"a": [1, 1, 1]}))
