"""Measures of scores: constants from tables, brute force, hand-computed cases."""

import itertools

import numpy as np
import pytest

from lib import measures


@pytest.mark.parametrize(("n", "constant"), [(2, 1.128), (5, 2.326), (10, 3.078), (20, 3.735)])
def test_expected_range_has_the_tabulated_constant(n, constant):
    assert measures.expected_range(n) == pytest.approx(constant, abs=5e-4)


def test_score_range_by_hand():
    found, expected = measures.score_range([0.70, 0.72, 0.77])
    assert found == pytest.approx(0.07)
    assert expected == pytest.approx(1.6926 * measures.score_spread([0.70, 0.72, 0.77]), rel=1e-3)
    with pytest.raises(ValueError, match="at least 2 values"):
        measures.expected_range(1)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_expected_maximum_equals_all_draws(n):
    scores = np.array([0.5, 0.7, 0.7, 0.9])
    expected = np.mean([max(draw) for draw in itertools.product(scores, repeat=n)])
    assert measures.expected_maximum(scores, n) == pytest.approx(expected, abs=1e-14)
    assert measures.expected_maximum(scores, np.array([9, n]))[1] == pytest.approx(expected)
    with pytest.raises(ValueError, match="at least 1 run"):
        measures.expected_maximum(scores, 0)


def test_interquartile_mean_ignores_one_collapsed_run_of_five():
    assert measures.interquartile_mean([0.1, 0.7, 0.8, 0.9, 0.8]) == pytest.approx(2.3 / 3)
    assert measures.interquartile_mean(np.arange(8.0).reshape(2, 4)) == pytest.approx(3.5)


def test_failed_rate_of_none_is_not_zero_for_sure():
    found = measures.failed_rate([False] * 5)
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 5))
    assert measures.failed_rate([True, False, False, False]).value == 0.25
    with pytest.raises(ValueError, match="True and False"):
        measures.failed_rate(["ok", "failed"])
