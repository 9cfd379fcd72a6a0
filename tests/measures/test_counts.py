"""What counts of right answers and scores say, against the answers themselves."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial.hermite_e import hermegauss
from scipy import stats

from lib import measures, paths

RUNS = pd.read_csv(paths.PUBLISHED / "mccoy_bert_base_100_runs.csv")
COUNTS = pd.read_csv(paths.PUBLISHED / "mccoy_mnli_correct_counts.csv")["n_correct_of_100"]


def test_by_hand():
    assert measures.flip_rate_from_counts(np.array([0, 1, 2]), 2).tolist() == [0, 1, 0]
    assert measures.flip_rate_from_counts(np.array([99, 50]), 100) == pytest.approx([0.02, 50 / 99])


@given(st.integers(2, 9), st.integers(2, 30), st.integers(2, 4), st.integers(0, 10**6))
def test_counts_give_what_the_answers_give(n_runs, n, n_classes, seed):
    rng = np.random.default_rng(seed)
    labels, answers = rng.integers(0, n_classes, n), rng.integers(0, n_classes, (n_runs, n))
    correct = (answers == labels).astype(int)
    flips = measures.flip_rate_from_counts(correct.sum(0), n_runs)
    np.testing.assert_allclose(flips, measures.flip_rate(correct), atol=1e-12)
    found = measures.seed_variance_from_counts(correct.mean(1), correct.sum(0), n_permutations=9)
    assert found.floor == pytest.approx(np.sqrt(correct.var(0, ddof=1).mean() / n), abs=1e-12)
    assert found.observed.value == pytest.approx(correct.mean(1).std(ddof=1), abs=1e-12)
    # Equal answers of all runs leave rounding, whose root is not small.
    assert found.distribution.value == pytest.approx(measures.distribution_sd(correct), abs=1e-7)
    # Disagreement lies between what counts see and that with all the wrong pairs in addition.
    disagreement = measures.flip_rate(answers).mean()
    most = 1 - correct.mean() + flips.mean() / 2
    assert flips.mean() - 1e-12 <= disagreement <= most + 1e-12
    if n_classes == 2:
        assert disagreement == pytest.approx(flips.mean())


def test_the_hundred_runs_as_published():
    assert len(RUNS) == 100 and len(COUNTS) == 9815
    right = RUNS["mnli_dev_accuracy"] * len(COUNTS)
    assert right.round().sum() == COUNTS.sum()
    categories = RUNS.filter(like="entailed")
    assert (categories.mean(axis=1) - RUNS["hans_overall"]).abs().max() < 1e-4
    assert (categories * 5000 % 1).round(6).isin([0, 1]).all(axis=None)
    assert measures.flip_rate_from_counts(COUNTS, 100).mean() == pytest.approx(0.0628, abs=5e-5)
    assert COUNTS.between(1, 99).mean() == pytest.approx(0.282, abs=5e-4)
    assert RUNS["mnli_dev_accuracy"].mean() == pytest.approx(0.8434, abs=5e-5)
    assert RUNS["mnli_dev_accuracy"].std() == pytest.approx(0.0024, abs=5e-5)


def invented(seed_sd, seeds):
    """Groups of 20 runs on 1,000 examples: difficulties and shifts of a run are normal."""
    rng = np.random.default_rng(7)
    for _ in range(seeds):
        chance = stats.norm.cdf(1 + rng.normal(size=1000) + seed_sd * rng.normal(size=(20, 1)))
        yield (rng.random(chance.shape) < chance).astype(int)


def test_the_interval_holds_the_truth_and_the_floor_is_the_variance_of_flips():
    x, weights = hermegauss(40)
    accuracy, shares = stats.norm.cdf((1 + 0.05 * x) / np.sqrt(2)), weights / weights.sum()
    truth = np.sqrt(shares @ accuracy**2 - (shares @ accuracy) ** 2)
    held, reached, floors, spread = [], [], [], []
    for some, none in zip(invented(0.05, 200), invented(0.0, 200), strict=True):
        found = measures.seed_variance_from_counts(
            some.mean(1), some.sum(0), n_permutations=199
        ).distribution
        held.append(found.low <= truth <= found.high)
        nothing = measures.seed_variance_from_counts(none.mean(1), none.sum(0), n_permutations=199)
        reached.append(nothing.distribution.low == 0)
        floors.append(nothing.floor**2)
        spread.append(nothing.observed.value**2)
    assert 0.91 <= np.mean(held) <= 0.985
    assert np.mean(reached) >= 0.94  # one side of 95 %: 0.975 in the long run
    assert np.mean(floors) == pytest.approx(np.mean(spread), rel=0.03)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: measures.flip_rate_from_counts(np.array([0.5]), 2), "float64"),
        (lambda: measures.flip_rate_from_counts(np.array([3]), 2), "n_runs = 2"),
        (lambda: measures.flip_rate_from_counts(np.array([-1]), 2), "from 0"),
        (lambda: measures.flip_rate_from_counts(np.array([0]), 1), "at least 2 runs"),
        (
            lambda: measures.seed_variance_from_counts([0.5, 0.6], np.array([2, 2, 1])),
            r"0\.55000, n_correct of 3 examples gives 0\.83333",
        ),
    ],
)
def test_errors_name_the_argument(call, words):
    with pytest.raises(ValueError, match=words):
        call()
