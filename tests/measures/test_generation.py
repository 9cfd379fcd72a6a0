"""Measures of generated texts against hand-computed cases, enumeration and other people's code."""

import itertools

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from lib import measures
from lib.measures import generation

PAIRWISE = (
    generation.pairwise_different,
    generation.pairwise_edit_distance,
    generation.pairwise_rouge_distance,
    generation.pairwise_bleu_distance,
)
WORDS = st.lists(
    st.sampled_from(["a", "bb", "The", "the", "cat,", "sat.", "é", "1,000"]), max_size=9
)
GROUPS = st.integers(1, 4).flatmap(
    lambda n: st.lists(
        st.lists(WORDS.map(" ".join), min_size=n, max_size=n), min_size=2, max_size=4
    )
)


def levenshtein(a, b):
    """Wagner & Fischer's table."""
    table = np.zeros((len(a) + 1, len(b) + 1), int)
    table[:, 0], table[0] = range(len(a) + 1), range(len(b) + 1)
    for i, j in itertools.product(range(len(a)), range(len(b))):
        ways = table[i, j] + (a[i] != b[j]), table[i, j + 1] + 1, table[i + 1, j] + 1
        table[i + 1, j + 1] = min(ways)
    return table[-1, -1]


def over_pairs(texts, distance):
    """(S, S) of a distance of two runs, by enumeration."""
    return np.array([[distance(a, b) for b in texts] for a in texts])


@given(GROUPS)
def test_edit_distance_is_that_of_the_table_over_the_longer_length(texts):
    def distance(a, b):
        pairs = [(one.strip(), two.strip()) for one, two in zip(a, b, strict=True)]
        return np.mean([levenshtein(*p) / max(*map(len, p), 1) for p in pairs])

    assert generation.pairwise_edit_distance(texts) == pytest.approx(over_pairs(texts, distance))


@given(GROUPS)
def test_rouge_distance_is_that_of_the_library_where_there_are_words(texts):
    def distance(a, b):
        score = RougeScorer(["rougeL"]).score
        apart = [1 - score(*pair)["rougeL"].fmeasure for pair in zip(a, b, strict=True)]
        words = [(one + two).strip(" é") != "" for one, two in zip(a, b, strict=True)]
        return np.mean(np.multiply(apart, words))

    assert generation.pairwise_rouge_distance(texts) == pytest.approx(over_pairs(texts, distance))


@given(GROUPS)
def test_bleu_distance_is_that_of_the_library_in_both_directions(texts):
    def distance(a, b):
        score = sacrebleu.BLEU(effective_order=True).corpus_score
        return 1 - (score(a, [b]).score + score(b, [a]).score) / 200

    expected = over_pairs(texts, distance)
    empty = ["".join(own).strip() == "" for own in texts]
    expected[np.logical_and.outer(empty, empty)] = 0  # the library says 1 there
    assert generation.pairwise_bleu_distance(texts) == pytest.approx(expected)


@given(GROUPS)
def test_pairwise_measures_are_symmetric_shares_and_zero_only_for_texts_alike(texts):
    for measure in PAIRWISE:
        found = measure(texts)
        assert found.shape == (len(texts),) * 2 and (found == found.T).all()
        assert (np.diag(found) == 0).all() and found.min() >= 0 and found.max() <= 1 + 1e-12
    different = generation.pairwise_different(texts)
    assert ((generation.pairwise_edit_distance(texts) > 0) == (different > 0)).all()
    agreed = generation.total_agreement(texts)
    assert agreed <= 1 - different.max() and (agreed == 1) == (different.max() == 0)


def test_a_case_by_hand():
    texts = [["kitten", " the cat sat ", ""], ["sitting", "the cat sat", ""]]
    assert generation.pairwise_different(texts)[0, 1] == pytest.approx(1 / 3)
    assert generation.pairwise_edit_distance(texts)[0, 1] == pytest.approx((3 / 7 + 0 + 0) / 3)
    assert generation.total_agreement(texts) == pytest.approx(2 / 3)
    # "the cat sat" and "the sat on": two of three words each in order.
    rouge = generation.pairwise_rouge_distance([["The cat sat."], ["the sat on"]])
    assert rouge[0, 1] == pytest.approx(1 - 2 / 3)


def test_scores_are_those_of_the_best_reference():
    texts = [["the cat sat", "no"], ["a dog ran ", ""]]
    references = [["the cat sat", "a dog ran"], ["a dog ran"]]
    assert generation.text_scores(texts, references, "exact").tolist() == [[1, 0], [1, 0]]
    assert generation.text_scores(texts, references).tolist() == [[1, 0], [1, 0]]
    half = generation.text_scores([["the cat"], ["the dog"]], [["the cat sat", "a dog"]])
    assert half[:, 0] == pytest.approx([4 / 5, 2 / 4])
    found = generation.text_scores(texts, references, "chrf")
    chrf = [
        [sacrebleu.sentence_chrf(*pair).score / 100 for pair in zip(own, references, strict=True)]
        for own in texts
    ]
    assert found == pytest.approx(np.array(chrf))


def test_slots_are_compared_as_sets():
    rng = np.random.default_rng(0)
    realised = rng.random((4, 5, 3)) < 0.6
    realised[3] = False

    def distance(a, b):
        one, two = (set(zip(*np.nonzero(run), strict=True)) for run in (a, b))
        if not one | two:
            return 0
        precision, recall = (len(one & two) / max(len(own), 1) for own in (one, two))
        return 1 - 2 * precision * recall / max(precision + recall, 1e-12)

    found = generation.pairwise_slot_distance(realised)
    assert found == pytest.approx(over_pairs(realised, distance), abs=1e-9)


@pytest.mark.parametrize("name", ["pairwise_disagreement", "pairwise_jsd"])
def test_tokens_are_averaged_over_an_example_first(name):
    rng, lengths = np.random.default_rng(0), [1, 7, 2]
    probabilities = rng.dirichlet(np.ones(5), (3, 10))
    outputs = probabilities if name == "pairwise_jsd" else probabilities.argmax(-1)
    measure, ends = getattr(measures, name), [0, 1, 8, 10]
    parts = [measure(outputs[:, a:b]) for a, b in itertools.pairwise(ends)]
    found = generation.mean_over_examples(measure, outputs, lengths)
    assert found == pytest.approx(np.mean(parts, axis=0))
    assert not np.allclose(found, measure(outputs))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([["a"]], "texts has 1 entries; expected S ≥ 2"),
        (["ab", "cd"], "expected S ≥ 2 lists of N strings"),
        ([["a"], ["b", "c"]], r"texts has lists of \[1, 2\] texts"),
        ([[], []], r"texts has lists of \[0, 0\] texts"),
        ([["a"], [float("nan")]], r"texts\[1\]\[0\] is nan; expected a string"),
    ],
)
def test_texts_of_another_shape_are_refused(texts, message):
    for measure in (*PAIRWISE, generation.total_agreement):
        with pytest.raises(ValueError, match=message):
            measure(texts)


def test_other_arguments_of_another_shape_are_refused():
    texts = [["a", "b"], ["a", "c"]]
    for references in ([["a"]], ["a", "b"], [["a"], []]):
        with pytest.raises(ValueError, match="references has"):
            generation.text_scores(texts, references)
    with pytest.raises(ValueError, match="metric = 'bleu'; expected one of rouge_l, chrf, exact"):
        generation.text_scores(texts, [["a"], ["b"]], "bleu")
    with pytest.raises(ValueError, match=r"shape \(2, 3\) and dtype float64"):
        generation.pairwise_slot_distance(np.zeros((2, 3)))
    for lengths in ([2, 2], [5, 0], []):
        with pytest.raises(ValueError, match="lengths of 1 or more that add up to T"):
            generation.mean_over_examples(
                measures.pairwise_disagreement, np.zeros((2, 5), int), lengths
            )
