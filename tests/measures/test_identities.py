"""The algebra that ties the papers' quantities together, on random runs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib import measures

GROUPS = st.tuples(st.integers(2, 7), st.integers(2, 30), st.integers(2, 4), st.integers(0, 10**6))


def group(shape):
    n_runs, n_examples, n_classes, seed = shape
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n_examples)
    guesses = rng.integers(0, n_classes, (n_runs, n_examples))
    return np.where(rng.random((n_runs, n_examples)) < 0.6, labels, guesses), labels


def pair_mean(matrix):
    return matrix[np.triu_indices(len(matrix), 1)].mean()


@given(GROUPS)
def test_disagreement_is_one_minus_fleiss_agreement_and_one_minus_con(shape):
    predictions, labels = group(shape)
    votes = np.stack([(predictions == c).sum(0) for c in range(shape[2])])
    n_runs = shape[0]
    agreement = ((votes * (votes - 1)).sum(0) / (n_runs * (n_runs - 1))).mean()
    found = pair_mean(measures.pairwise_disagreement(predictions))
    assert found == pytest.approx(1 - agreement, abs=1e-12)
    assert found == pytest.approx(1 - measures.consistency(predictions, labels).con, abs=1e-12)
    assert found == pytest.approx(measures.flip_rate(predictions).mean(), abs=1e-12)
    # The published kappa is disagreement in disguise.
    published, n = 1 - measures.fleiss_kappa(predictions, as_published=True), shape[1]
    assert published == pytest.approx(found * n / (n - 1), abs=1e-12)


@given(GROUPS)
def test_accuracy_minus_ccon_is_the_mean_variance_of_an_example(shape):
    predictions, labels = group(shape)
    found = measures.consistency(predictions, labels)
    variance = (predictions == labels).var(0, ddof=1).mean()
    assert found.accuracy - found.ccon == pytest.approx(variance, abs=1e-12)
    if shape[2] == 2:
        assert found.con == pytest.approx(1 - 2 * variance, abs=1e-12)


def test_on_three_classes_con_does_not_follow_from_accuracy_and_ccon():
    """Both wrong, differently: no agreement lost that accuracy or CCON would see."""
    found = measures.consistency(np.array([[1, 0], [2, 0]]), np.array([0, 0]))
    assert found.con == 0.5 and 1 - 2 * (found.accuracy - found.ccon) == 1


@given(GROUPS)
def test_jordans_estimator_from_var_accuracy_and_ccon(shape):
    predictions, labels = group(shape)
    correct = predictions == labels
    n = correct.shape[1]
    found = measures.consistency(predictions, labels)
    spread = measures.score_spread(correct.mean(1)) ** 2
    expected = n / (n - 1) * (spread - (found.accuracy - found.ccon) / n)
    assert measures.distribution_variance(correct) == pytest.approx(expected, abs=1e-12)
    covariance = np.cov(correct.T.astype(float))
    off_diagonal = covariance[~np.eye(n, dtype=bool)].mean()
    assert measures.distribution_variance(correct) == pytest.approx(off_diagonal, abs=1e-12)


@given(GROUPS)
def test_the_four_fates_of_a_pair_add_up(shape):
    predictions, labels = group(shape)
    split = measures.churn_split(predictions, labels)
    found = measures.consistency(predictions, labels)
    np.testing.assert_allclose(sum(split), 1, atol=1e-12)
    both_right, one_right, same, different = map(pair_mean, split)
    assert both_right == pytest.approx(found.ccon, abs=1e-12)
    assert both_right + same == pytest.approx(found.con, abs=1e-12)
    assert one_right / 2 == pytest.approx(found.accuracy - found.ccon, abs=1e-12)
    assert different == pytest.approx(1 - found.con - one_right, abs=1e-12)
