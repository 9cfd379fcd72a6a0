"""Scores of runs by hand: questions of several rows, choices, runs that diverged."""

import numpy as np
import pytest

from lib.measures import scoring


def test_group_em_by_hand():
    """Question 5 is right in both rows, question 2 in one of two, question 9 in its only one."""
    labels = np.array([1, 0, 1, 0, 1])
    said = np.array([1, 1, 1, 0, 1])
    groups = np.array([5, 2, 2, 5, 9])
    assert scoring.score("group-em", labels, said, groups=groups) == pytest.approx(2 / 3)
    assert scoring.score("group-em", labels, labels, groups=groups) == 1
    assert scoring.score("group-em", labels, 1 - labels, groups=groups) == 0


LABELS = np.array([0, 1, 1, 0, 0])
LOGITS = np.array([[0.0, 1.0], [3.0, 3.5], [0.0, 0.2], [2.0, 0.0], [1.0, 0.5]])
GROUPS = np.array([0, 0, 1, 1, 1])
CREDIT = np.array([[0, 0.5], [1, 1], [1, 1], [0, 0], [0, 0.4]])


def test_picks_by_hand():
    """Margins 1, ½ | 0.2, −2, −½: rows 0 and 2 are the answers, worth ½ and 1 in F1."""
    assert scoring.picked(LOGITS, GROUPS).tolist() == [0, 2]
    given = {"groups": GROUPS, "credit": CREDIT}
    assert scoring.score_logits("pick-f1", LABELS, LOGITS, **given) == 0.75
    assert scoring.score_logits("pick-em", LABELS, LOGITS, **given) == 0.5
    # The order of rows does not matter, nor does a constant added to both logits.
    order = np.array([4, 0, 2, 1, 3])
    moved = {"groups": GROUPS[order], "credit": CREDIT[order]}
    shifted = (LOGITS + np.arange(5)[:, None])[order]
    assert scoring.score_logits("pick-f1", LABELS[order], shifted, **moved) == 0.75


def test_score_run_counts_rows_and_records_what_else_was_asked_for():
    outcome = scoring.score_run(
        LABELS, LOGITS, "pick-f1", other_metrics=("pick-em", "f1"), groups=GROUPS, credit=CREDIT
    )
    assert (outcome["metric"], outcome["score"]) == ("pick-f1", 0.75)
    assert outcome["other_scores"] == {"pick-em": 0.5, "f1": pytest.approx(0.8)}
    # Predictions 1 1 1 0 0: four rows of five are right; three of five are of class 0.
    assert (outcome["accuracy"], outcome["majority"], outcome["status"]) == (0.8, 0.6, "ok")
    # Whoever is right nearly always has not collapsed, though one class is nearly all there is.
    rare = np.array([0] * 199 + [1])
    assert scoring.score_run(rare, np.eye(2)[rare], "accuracy")["status"] == "ok"


def test_diverged_runs_have_no_further_scores_and_constants_no_correlation():
    broken = scoring.score_run(LABELS, LOGITS * np.nan, "f1", other_metrics=("accuracy",))
    assert broken["status"] == "diverged" and broken["other_scores"] == {"accuracy": None}
    constant = scoring.score_run(
        LABELS.astype(float), np.full((5, 1), 0.4), "pearson", other_metrics=("spearman",)
    )
    assert constant["score"] is None and constant["other_scores"] == {"spearman": None}


@pytest.mark.parametrize(
    ("metric", "given", "message"),
    [
        ("group-em", {}, "'group-em' needs groups of 5 rows, got none"),
        ("group-em", {"groups": np.empty(0)}, "needs groups of 5 rows, got 0"),
        ("pick-f1", {"groups": GROUPS}, "'pick-f1' needs credit of 5 rows, got none"),
        ("pick-me", {}, "'pick-me' is unknown; valid: accuracy, .*group-em, pick-em"),
    ],
)
def test_metrics_without_what_they_need_are_refused(metric, given, message):
    with pytest.raises(ValueError, match=message):
        scoring.score_logits(metric, LABELS, LOGITS, **given)
