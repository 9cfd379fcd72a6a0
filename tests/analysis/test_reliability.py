"""Reliability: worlds whose noise is known, and what correcting for it must find again."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lib.analysis import reliability
from lib.results.run_group import RunGroup

N_RUNS, N_EXAMPLES = 20, 60
UPPER = np.triu_indices(N_RUNS, 1)


def square(pairs):
    matrix = np.zeros((N_RUNS, N_RUNS))
    matrix[UPPER] = pairs
    return matrix + matrix.T


def world(seed, noises, correlation=0.6, shared=0.0):
    """Two measures a and b: what is true of a pair, correlated so, and noise of each example, of
    which both may see the same."""
    rng = np.random.default_rng(seed)
    true = rng.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], size=len(UPPER[0]))
    own = rng.normal(size=(2, N_EXAMPLES, len(UPPER[0])))
    common = rng.normal(size=own.shape[1:])
    noise = np.sqrt(shared) * common + np.sqrt(1 - shared) * own

    def measured(rows):
        return {
            name: square(true[:, i] + size * noise[i][rows].mean(0))
            for i, (name, size) in enumerate(zip("ab", noises, strict=True))
        }

    return measured


def test_reliability_is_the_share_of_the_variance_that_is_true():
    for noise in (0.0, 3.0, 8.0, 40.0):
        halves = reliability.split_halves(world(1, (noise, 1.0)), N_EXAMPLES)
        found = reliability.reliabilities(halves, N_RUNS).loc["a"]
        expected = 1 / (1 + noise**2 / N_EXAMPLES)
        assert found["value"] == pytest.approx(expected, abs=0.08)
        assert found["low"] <= found["value"] <= found["high"]


def test_a_corrected_correlation_is_that_of_what_is_true_also_where_noise_is_shared():
    for shared in (0.0, 0.9):
        measured = world(2, (8.0, 5.0), shared=shared)
        halves = reliability.split_halves(measured, N_EXAMPLES)
        whole = measured(np.arange(N_EXAMPLES))
        (row,) = reliability.corrected_correlations(halves, whole).itertuples()
        expected = stats.spearmanr(whole["a"][UPPER], whole["b"][UPPER]).statistic
        assert row.observed == pytest.approx(expected)
        assert row.corrected == pytest.approx(0.6, abs=0.12)
        assert row.low < row.corrected < row.high
        naive = row.observed / np.sqrt(row.reliability_a * row.reliability_b)
        assert (naive > 0.8) == (shared > 0), "the noise of the same examples agrees, too"


def test_a_measure_without_halves_is_taken_for_reliable():
    measured = world(3, (8.0, 0.0))
    halves = reliability.split_halves(measured, N_EXAMPLES)
    whole = measured(np.arange(N_EXAMPLES))
    with_halves = reliability.corrected_correlations(halves, whole)
    without = reliability.corrected_correlations({"a": halves["a"]}, whole)
    pd.testing.assert_frame_equal(with_halves, without)
    assert without["reliability_b"][0] == pytest.approx(1)


def test_where_there_is_only_noise_nothing_can_be_corrected():
    measured = world(4, (1000.0, 1.0))
    halves = reliability.split_halves(measured, N_EXAMPLES)
    (row,) = reliability.corrected_correlations(
        halves, measured(np.arange(N_EXAMPLES))
    ).itertuples()
    assert abs(row.reliability_a) < 0.2 and np.isnan([row.low, row.high]).all()


def test_halves_are_of_the_examples_and_have_none_in_common():
    seen = []
    halves = reliability.split_halves(
        lambda rows: (seen.append(rows), {"a": square(rows.sum() + np.arange(len(UPPER[0])))})[1],
        7,
        n_splits=4,
    )
    assert halves["a"].shape == (2, 4, len(UPPER[0]))
    for first, second in zip(seen[::2], seen[1::2], strict=True):
        assert len(first) == len(second) == 3 and len({*first, *second}) == 6


def test_scores_and_predictions_are_measured_on_the_rows_given():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 3, 40)
    group = RunGroup.of_logits(
        rng.normal(size=(6, 40, 3)), runs=pd.DataFrame({"run": range(6)}),
        example_ids=range(40), labels=labels,
    )  # fmt: skip
    rows = np.array([3, 1, 30, 17, 8])
    found = reliability.of_outputs(group)(rows)
    predictions = group.predictions[:, rows]
    assert found["disagreement"][1, 4] == np.mean(predictions[1] != predictions[4])
    right = (predictions == labels[rows]).mean(1)
    assert found["sd"][2, 5] == pytest.approx(abs(right[2] - right[5]))
    p, q = group.probabilities[0, rows], group.probabilities[3, rows]
    middle = stats.entropy((p + q) / 2, axis=1)
    expected = middle - (stats.entropy(p, axis=1) + stats.entropy(q, axis=1)) / 2
    assert found["jsd"][0, 3] == pytest.approx(expected.mean())
