"""Ensembles of runs: by hand, by enumeration, and against answers of known probability."""

import itertools

import numpy as np
import pytest
from scipy import stats

from lib import measures
from lib.analysis import ensembles


def table(probabilities, labels, sizes):
    found = ensembles.ensemble_table(probabilities, labels, sizes)
    return found["value"].unstack("size"), found


def of_second_class(p):
    return np.stack([1 - p, p], axis=-1)


def test_single_runs_and_pairs_are_those_of_all_disjoint_pairs():
    """Four runs make three ways to two ensembles of two, each as likely as the others."""
    p = np.random.default_rng(0).random((4, 50))
    labels = np.random.default_rng(1).integers(0, 2, 50)
    value, _ = table(of_second_class(p), labels, (1, 2))
    single = (p > 0.5).astype(int)
    assert value.loc["accuracy", 1] == pytest.approx((single == labels).mean())
    apart = measures.instability(measures.pairwise_disagreement(single)).value
    assert value.loc["disagreement", 1] == pytest.approx(apart, abs=0.02)
    both = [(p[[0, i]].mean(0) > 0.5, p[np.delete([1, 2, 3], i - 1)].mean(0) > 0.5)
            for i in (1, 2, 3)]  # fmt: skip
    assert value.loc["accuracy", 2] == pytest.approx(np.mean(np.array(both) == labels), abs=0.02)
    differ = np.mean([first != second for first, second in both])
    assert value.loc["disagreement", 2] == pytest.approx(differ, abs=0.03)
    assert value.loc["gain", 2] == value.loc["accuracy", 2] - value.loc["accuracy", 1]
    assert value.loc["ratio", 2] == value.loc["disagreement", 2] / value.loc["disagreement", 1]
    assert value.loc["gain", 1] == 0 and value.loc["ratio", 1] == 1


def test_probabilities_are_averaged_and_not_votes():
    """One sure run against two unsure ones: by votes the two would win."""
    p = np.tile([[0.99], [0.4], [0.4]], (2, 1))
    value, _ = table(of_second_class(p), np.array([1]), (1, 3))
    assert value.loc["accuracy", 1] == pytest.approx(1 / 3)
    splits = [p[list(rows)].mean() > 0.5 for rows in itertools.combinations(range(6), 3)]
    assert value.loc["accuracy", 3] == pytest.approx(np.mean(splits), abs=0.1)


def test_runs_that_are_the_same_gain_nothing_and_have_no_ratio():
    p = np.tile(np.random.default_rng(0).random(30), (6, 1))
    value, found = table(of_second_class(p), np.ones(30, int), (1, 3))
    assert (value.loc[["disagreement", "gain"]] == 0).all(axis=None)
    assert value.loc["ratio"].isna().all() and found.loc["accuracy", "low"].notna().all()


@pytest.mark.parametrize("sizes", [(1, 6), (2, 5), (1, 2, 5, 10)])
def test_ensembles_that_cannot_be_disjoint_are_refused(sizes):
    with pytest.raises(ValueError, match="10 runs; expected 1, then up to half"):
        ensembles.ensemble_table(np.full((10, 4, 2), 0.5), np.zeros(4, int), sizes)


def test_intervals_hold_what_endless_runs_would_show():
    """Logits scatter around a mean of each example, so that an ensemble of k answers 1 with
    probability Φ(√k · mean/SD), and two of them differ in 2p(1 − p) of the cases."""
    rng, sizes, inside = np.random.default_rng(3), (1, 2, 5, 10), []
    for _ in range(40):
        mean = rng.normal(size=100)
        labels = (mean + 0.7 * rng.normal(size=100) > 0).astype(int)
        p = 0.5 + (mean + 0.6 * rng.normal(size=(20, 100))) / 20
        _, found = table(of_second_class(p), labels, sizes)
        one = np.array([stats.norm.cdf(np.sqrt(k) * mean / 0.6) for k in sizes])
        right, apart = np.where(labels, one, 1 - one).mean(1), (2 * one * (1 - one)).mean(1)
        truth = np.concatenate([right, apart, right - right[0], apart / apart[0]])
        inside.append(found["low"].le(truth + 1e-12) & found["high"].ge(truth - 1e-12))
    rates = np.mean(inside, axis=0)
    assert rates.min() > 0.84 and 0.92 < rates.mean() < 0.995, rates
