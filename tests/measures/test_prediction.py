"""Score and prediction measures against hand-computed cases, golden values and peer libraries."""

import krippendorff
import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from sklearn import metrics as sk
from statsmodels.stats.inter_rater import aggregate_raters
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_kappa

from lib import measures
from lib.measures import scoring

# Specification values: 4 models, 5 examples.
VOTES = np.array([[1, 1, 1, 0], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0]]).T
LOGITS = np.array(
    [
        [[2, -1], [0.5, 0.2], [-1, 3]],
        [[1, 0], [-0.3, 0.4], [-2, 2]],
        [[3, -2], [0, 0], [1, -1]],
    ]
)


def test_golden_values():
    assert measures.instability(measures.pairwise_disagreement(VOTES)).value == pytest.approx(1 / 3)
    assert 1 - measures.fleiss_kappa(VOTES) == pytest.approx(2 / 3, abs=1e-14)
    published = 1 - measures.fleiss_kappa(VOTES, as_published=True)
    assert published == pytest.approx(5 / 12, abs=1e-14)
    jsd = measures.pairwise_jsd(softmax(LOGITS, -1))
    assert jsd[0, 1] == pytest.approx(0.026706562467007727, abs=1e-15)
    assert jsd[0, 2] == pytest.approx(0.15731167181229663, abs=1e-15)
    assert measures.instability(jsd).value == pytest.approx(0.12408681981233487, abs=1e-15)


def test_score_spread_by_hand():
    assert measures.score_spread([0.70, 0.72, 0.77]) == pytest.approx(np.sqrt(0.0026 / 2))
    assert measures.score_spread([0.70, 0.72, 0.77], ddof=0) == pytest.approx(np.sqrt(0.0026 / 3))


@pytest.mark.parametrize("n_classes", [2, 3, 200])
@pytest.mark.parametrize("n_runs", [2, 5, 20])
def test_kappa_equals_statsmodels_and_krippendorff(n_classes, n_runs):
    rng = np.random.default_rng(n_classes * n_runs)
    votes = rng.choice(n_classes, (n_runs, 60), p=rng.dirichlet(np.ones(n_classes)))
    kappa = measures.fleiss_kappa(votes)
    oracle = statsmodels_kappa(aggregate_raters(votes.T, n_cat=n_classes)[0])
    assert kappa == pytest.approx(oracle, abs=1e-13)
    alpha = krippendorff.alpha(reliability_data=votes, level_of_measurement="nominal")
    assert kappa == pytest.approx(1 - (1 - alpha) / (1 - 1 / votes.size), abs=1e-12)


def test_kappa_limits():
    perfect = np.tile([0, 1, 1, 0, 2], (4, 1))
    assert measures.fleiss_kappa(perfect) == 1.0
    with pytest.warns(UserWarning, match="one class"):
        assert np.isnan(measures.fleiss_kappa(np.ones((4, 9), int)))


@pytest.mark.parametrize("n_classes", [2, 4])
def test_jsd_equals_scipy(n_classes):
    p = np.random.default_rng(1).dirichlet(np.ones(n_classes), (4, 30))
    ours = measures.pairwise_jsd(p)
    for i in range(4):
        for j in range(4):
            oracle = (jensenshannon(p[i], p[j], axis=1) ** 2).mean()
            assert ours[i, j] == pytest.approx(oracle, abs=1e-14)


@pytest.mark.parametrize(("margin", "dtype"), [(120, np.float32), (1600, np.float64)])
def test_jsd_survives_underflow(margin, dtype):
    logits = np.array([[[margin, 0.0]], [[0.0, margin]], [[margin, 0.0]]], dtype)
    p = softmax(logits, -1)
    assert p.min() == 0.0
    jsd = measures.pairwise_jsd(p)
    assert jsd[0, 1] == pytest.approx(np.log(2))
    assert jsd[0, 2] == 0.0


def distributions(n_classes, shape=(4, 200)):
    return np.random.default_rng(n_classes).dirichlet(np.ones(n_classes), shape)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("decimals", "n_classes"), [(2, 2), (2, 3), (2, 9), (3, 6), (3, 40), (4, 3)]
)
def test_what_rounding_leaves_is_normalised_and_told(decimals, n_classes, dtype):
    exact = distributions(n_classes)
    rounded = exact.round(decimals).astype(dtype)
    off = np.abs(rounded.sum(-1, dtype=float) - 1)
    assert off.max() <= n_classes / 2 * 10.0**-decimals + 1e-6, "what the rule stands on"
    p, bad, note = measures.normalised(rounded)
    assert not bad.any() and p.sum(-1) == pytest.approx(1, abs=1e-12)
    assert p == pytest.approx(rounded / rounded.sum(-1, dtype=float, keepdims=True), abs=1e-12)
    count = (off > 1e-4).sum()
    if count:
        assert note.startswith(f"{count} of 800 rows") and f"within {off.max():.1g}" in note
        with pytest.warns(UserWarning, match=f"pairwise_jsd: {note}"):
            jsd = measures.pairwise_jsd(rounded)
    else:
        jsd = measures.pairwise_jsd(rounded)
    assert jsd == pytest.approx(measures.pairwise_jsd(exact), abs=2 * 10.0**-decimals)
    # One unit more than rounding explains, in one row.
    units = np.rint(rounded * 10.0**decimals)
    units[1, 5, 0] += 10**decimals - units[1, 5].sum() + n_classes // 2 + 1
    spoilt = (units / 10**decimals).astype(dtype)
    assert np.argwhere(measures.normalised(spoilt)[1]).tolist() == [[1, 5]]
    with pytest.raises(ValueError, match="not a probability distribution; .* more decimals"):
        measures.pairwise_jsd(spoilt)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_half_a_unit_each_is_still_rounding(dtype):
    hundredths = np.arange(100)  # of .005 and .995, .015 and .985, …, rounded up and down
    for up in (0, 1):
        pairs = np.stack([hundredths + up, 99 - hundredths + up], -1) / 100
        _, bad, note = measures.normalised(pairs.astype(dtype))
        assert not bad.any() and note.startswith("100 of 100 rows")


def test_probabilities_in_bfloat16_are_distributions_and_hardly_change_the_divergence():
    exact = torch.tensor(distributions(6))
    with pytest.warns(UserWarning, match="rows of probabilities add up to 1 within 0.00"):
        jsd = measures.pairwise_jsd(exact.bfloat16())
    assert jsd == pytest.approx(measures.pairwise_jsd(exact), abs=1e-3)
    assert measures.normalised(1.01 * exact.bfloat16())[1].any()
    for kind in (torch.float64, torch.float16):
        assert measures.normalised((1.003 * exact).to(kind).double())[1].all(), "no bfloat16"


def test_nothing_but_rounding_is_normalised():
    exact = distributions(3)
    assert measures.normalised(exact)[2] == "" and not measures.normalised(exact)[1].any()
    assert (measures.normalised(exact)[0] == exact / exact.sum(-1, keepdims=True)).all()
    for wrong in (1.001 * exact, exact.round(1), np.log(exact), 100 * exact.round(4), 0 * exact):
        assert measures.normalised(wrong)[1].any()
    many = np.full((2, 3, 150), 0.01)  # 150 classes of 1/150 each, by two decimals
    assert measures.normalised(many)[1].all()
    missing = exact.copy()
    missing[0, 7, 1] = np.nan
    assert np.argwhere(measures.normalised(missing)[1]).tolist() == [[0, 7]]


@pytest.mark.parametrize("n_classes", [2, 4, 300])
def test_pairs_are_compared_example_by_example(n_classes):
    """Many classes, too, which have no vote each."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, n_classes, 80)
    said = np.where(rng.random((4, 80)) < 0.5, labels, rng.integers(0, n_classes, (4, 80)))
    apart, alike = measures.pairwise_disagreement(said), measures.pairwise_consistency(said)
    right = measures.pairwise_consistency(said, labels)
    for a, b in np.ndindex(4, 4):
        same = said[a] == said[b]
        assert (alike[a, b], apart[a, b]) == (np.mean(same), 1 - np.mean(same))
        assert right[a, b] == np.mean(same & (said[a] == labels))


def test_consistency_by_hand():
    votes = np.array([[1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 0]])
    found = measures.consistency(votes, np.ones(4, int))
    assert found == pytest.approx((8 / 12, 0.5, 5 / 12, 0.25, 0.25))


def test_the_variance_on_the_distribution_is_not_clipped_but_its_root_is():
    opposite = np.array([[1, 0], [0, 1]])
    assert measures.distribution_variance(opposite) == pytest.approx(-0.5)
    assert measures.distribution_sd(opposite) == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: measures.pairwise_disagreement(np.zeros(5, int)), r"\(5,\).*expected \(S, N\)"),
        (lambda: measures.pairwise_disagreement(np.zeros((3, 5))), "float64.*integer"),
        (lambda: measures.consistency(VOTES, np.zeros(4, int)), r"labels has shape \(4,\)"),
        (lambda: measures.pairwise_jsd(LOGITS), "run 0, example 0.*softmax"),
        (lambda: measures.pairwise_jsd(np.ones((2, 3))), r"expected \(S, N, C\)"),
        (lambda: measures.score_spread([0.5]), "S ≥ 2"),
        (lambda: measures.distribution_variance(VOTES + 1), "other than 0 and 1"),
        (lambda: measures.instability(np.zeros((3, 4))), r"expected \(…, S, S\)"),
        (lambda: measures.instability(np.array([[0, 1.0], [2.0, 0]])), "not symmetric"),
        (lambda: measures.instability(np.eye(5), method="bca"), "valid: resampling, percentile"),
    ],
)
def test_errors_name_argument_and_expectation(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_metrics_equal_their_libraries():
    rng = np.random.default_rng(0)
    labels, guesses = rng.integers(0, 2, (2, 50))
    assert scoring.score("f1", labels, guesses) == sk.f1_score(labels, guesses)
    assert scoring.score("mcc", labels, guesses) == sk.matthews_corrcoef(labels, guesses)
    assert scoring.score("accuracy", labels, guesses) == np.mean(labels == guesses)
    values = rng.normal(size=(2, 50))
    expected = np.corrcoef(values)[0, 1]
    assert scoring.score("pearson", *values) == pytest.approx(expected, abs=1e-14)
    with pytest.raises(ValueError, match="acuracy"):
        scoring.score("acuracy", labels, guesses)


@pytest.mark.parametrize(
    ("predictions", "diverged", "status"),
    [
        ([0] * 100, False, "collapsed"),
        ([1] * 100, False, "collapsed"),
        ([0] * 60 + [1] * 40, False, "ok"),
        ([1] * 50 + [0] * 50, False, "failed"),
        ([0] * 55 + [1] * 10 + [0] * 35, False, "failed"),  # exactly the majority rate
        ([0] * 60 + [1] * 40, True, "diverged"),
    ],
)
def test_status_of_a_run(predictions, diverged, status):
    labels = np.array([0] * 60 + [1] * 40)
    logits = np.eye(2, dtype=np.float32)[predictions]
    outcome = scoring.score_run(labels, logits, "accuracy", diverged=diverged)
    assert (outcome["status"], outcome["majority"]) == (status, 0.6)


def test_status_in_regression():
    labels = np.linspace(0, 5, 50).astype(np.float32)
    assert scoring.score_run(labels, labels[:, None], "pearson")["status"] == "ok"
    assert scoring.score_run(labels, labels[::-1, None], "pearson")["status"] == "failed"
    constant = scoring.score_run(labels, np.full((50, 1), 2.5, np.float32), "pearson")
    assert constant["status"] == "collapsed" and constant["score"] is None
