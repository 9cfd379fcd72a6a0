"""Instability of generated texts: S runs write a text each for the same N inputs.

``texts`` are S lists of N strings, the same inputs in the same order. Outer white space never
counts. What needs more than numpy and scipy (``rapidfuzz``, ``rouge-score``, ``sacrebleu``) comes
with the extra ``generation``. Each pairwise measure is a symmetric (S, S) matrix with a diagonal of
zeros, for ``lib.measures.instability``.
"""

import itertools
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Literal

import numpy as np

from lib.measures.intervals import as_array

Texts = Sequence[Sequence[str]]
#: Of ``text_scores``.
METRICS = ("rouge_l", "chrf", "exact")


def installed() -> bool:
    """Whether the extra ``generation`` is."""
    return all(map(find_spec, ("rapidfuzz", "rouge_score", "sacrebleu")))


def _by_input(texts: Texts) -> list[tuple[str, ...]]:
    """The S texts of each input, checked and stripped."""
    if isinstance(texts, str) or len(texts) < 2 or any(isinstance(own, str) for own in texts):
        raise ValueError(f"texts has {len(texts)} entries; expected S ≥ 2 lists of N strings")
    sizes = [len(own) for own in texts]
    if min(sizes) < 1 or min(sizes) < max(sizes):
        raise ValueError(f"texts has lists of {sizes} texts; expected N ≥ 1 of every run")
    for run, own in enumerate(texts):
        for row, text in enumerate(own):
            if not isinstance(text, str):
                raise ValueError(f"texts[{run}][{row}] is {text!r}; expected a string")
    return [tuple(text.strip() for text in row) for row in zip(*texts, strict=True)]


def numbered(texts: Texts) -> np.ndarray:
    """(S, N) equal numbers for equal texts of an input."""
    return np.array([np.unique(row, return_inverse=True)[1] for row in _by_input(texts)]).T


def pairwise_different(texts: Texts) -> np.ndarray:
    """(S, S) share of inputs for which two runs write different texts.

    1 − TARr@2 of Atil et al. (2024, arXiv:2408.04667); of parsed answers, in place of texts,
    1 − TARa@2.
    """
    return by_input("different", texts).mean(0)


def by_input(measure: str, texts: Texts) -> np.ndarray:
    """(N, S, S) ``different``, ``edit_distance`` or ``rouge_distance`` of the texts of each input,
    which the pairwise measures of that name are means of.
    """
    kinds = {
        "different": _different, "edit_distance": edit_distances, "rouge_distance": _RougeL()
    }  # fmt: skip
    return np.stack([kinds[measure](row) for row in _by_input(texts)])


def _different(texts: Sequence[str]) -> np.ndarray:
    numbers = np.unique(texts, return_inverse=True)[1]
    return (numbers[:, None] != numbers).astype(float)


def total_agreement(texts: Texts) -> float:
    """Share of inputs for which all runs write the same text: TARr@S of Atil et al. (2024)."""
    return float(np.mean([len(set(row)) == 1 for row in _by_input(texts)]))


def pairwise_edit_distance(texts: Texts) -> np.ndarray:
    """(S, S) mean over inputs of the Levenshtein distance of two texts, over characters (insertion,
    deletion and substitution cost 1), divided by the length of the longer one; two empty texts: 0.
    """
    return by_input("edit_distance", texts).mean(0)


def edit_distances(texts: Sequence[str]) -> np.ndarray:
    """(S, S) the same of the texts of one input."""
    from rapidfuzz import process
    from rapidfuzz.distance import Levenshtein

    distance = Levenshtein.normalized_distance
    return process.cdist(texts, texts, scorer=distance, dtype=float)


def pairwise_rouge_distance(texts: Texts) -> np.ndarray:
    """(S, S) mean over inputs of 1 − ROUGE-L of two texts (Lin 2004), which is symmetric.

    ROUGE-L is the F measure of their longest common subsequence of words, by the words of
    ``rouge-score`` without stemming; two texts without words: distance 0.
    """
    return by_input("rouge_distance", texts).mean(0)


class _RougeL:
    """1 − ROUGE-L of texts; a word is one character, which is what rapidfuzz is fast at."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        from rapidfuzz import process
        from rapidfuzz.distance import LCSseq
        from rouge_score.tokenizers import DefaultTokenizer

        coded = []
        for words in map(DefaultTokenizer().tokenize, texts):
            for word in words:
                self.known.setdefault(word, chr(0x10000 + len(self.known)))
            coded.append("".join(self.known[word] for word in words))
        common = process.cdist(coded, coded, scorer=LCSseq.similarity, dtype=float)
        lengths = np.array([len(text) for text in coded], float)
        both = lengths[:, None] + lengths
        return 1 - np.divide(2 * common, both, out=np.ones_like(both), where=both > 0)


def pairwise_bleu_distance(texts: Texts) -> np.ndarray:
    """(S, S) 1 − BLEU of two runs over all inputs, with either as the reference, and their mean.

    BLEU (Papineni et al. 2002) of whole corpora as ``sacrebleu`` has it: its words (13a), up to
    four in a row or the fewer that there are, exponential smoothing. Two runs without words: 0.
    """
    from sacrebleu.metrics import BLEU
    from sacrebleu.metrics.helpers import extract_all_word_ngrams
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    words, order = Tokenizer13a(), 4
    rows = [[extract_all_word_ngrams(words(t), 1, order) for t in row] for row in _by_input(texts)]
    n_runs = len(rows[0])
    lengths = np.array([[length for _, length in row] for row in rows]).sum(0)
    counts = np.zeros((n_runs, n_runs, order), int)
    for row in rows:
        for a, b in itertools.combinations_with_replacement(range(n_runs), 2):
            for ngram, count in (row[a][0] & row[b][0]).items():
                counts[a, b, len(ngram) - 1] += count
    distances = np.zeros((n_runs, n_runs))
    for a, b in itertools.combinations(range(n_runs), 2):
        for written, reference in ((a, b), (b, a)) if lengths[a] + lengths[b] else ():
            score = BLEU.compute_bleu(
                list(counts[a, b]), list(counts[written, written]), lengths[written],
                lengths[reference], smooth_method="exp", effective_order=True,
            ).score  # fmt: skip
            distances[a, b] += max(0.0, 1 - score / 100) / 2
    return distances + distances.T


def text_scores(
    texts: Texts,
    references: Sequence[Sequence[str]],
    metric: Literal["rouge_l", "chrf", "exact"] = "rouge_l",
) -> np.ndarray:
    """(S, N) how well each text fits the best of its references, in [0, 1].

    ``references`` holds one or more for each of the N inputs. ``rouge_l``: F measure of
    ``rouge-score`` without stemming; ``chrf``: chrF2 of ``sacrebleu`` for single texts (Popović
    2015; that of a whole corpus is another number); ``exact``: equal but for outer white space.
    """
    rows = _by_input(texts)
    if len(references) != len(rows) or any(isinstance(r, str) or not r for r in references):
        raise ValueError(
            f"references has {len(references)} entries for {len(rows)} inputs; expected a list of "
            "one reference or more for each"
        )
    if metric not in METRICS:
        raise ValueError(f"metric = {metric!r}; expected one of {', '.join(METRICS)}")
    scorers = dict(zip(METRICS, (_rouge_l, _chrf, _exact), strict=True))
    scores = []
    for row, best in zip(rows, references, strict=True):
        own = {text: scorers[metric](text, best) for text in set(row)}
        scores.append([own[text] for text in row])
    return np.array(scores, float).T


def _rouge_l(text: str, references: Sequence[str]) -> float:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"]).score_multi(references, text)["rougeL"].fmeasure


def _chrf(text: str, references: Sequence[str]) -> float:
    from sacrebleu.metrics import CHRF

    return CHRF().sentence_score(text, references).score / 100


def _exact(text: str, references: Sequence[str]) -> float:
    return float(text in {reference.strip() for reference in references})


def pairwise_slot_distance(realised: np.ndarray) -> np.ndarray:
    """(S, S) 1 − F measure of what two runs say: of the slots of all inputs that either realises.

    Precision of one run against another is its recall the other way round, so that their F measure
    is symmetric. Two runs that realise nothing: 0.

    Parameters
    ----------
    realised : (S, N, K) booleans, whether a run's text for an input realises a slot of it; inputs
        with fewer than K slots have False in the rest
    """
    realised = as_array(realised)
    if realised.ndim != 3 or len(realised) < 2 or realised.dtype != bool:
        raise ValueError(
            f"realised has shape {realised.shape} and dtype {realised.dtype}; expected booleans "
            "(S, N, K), S ≥ 2"
        )
    flat = realised.reshape(len(realised), -1).astype(float)
    both, each = 2 * flat @ flat.T, flat.sum(1)
    sizes = each[:, None] + each
    return 1 - np.divide(both, sizes, out=np.ones_like(sizes), where=sizes > 0)


def mean_over_examples(
    measure: Callable[[np.ndarray], np.ndarray], outputs: np.ndarray, lengths: Sequence[int]
) -> np.ndarray:
    """(S, S) a pairwise measure of predictions, of the tokens of each example, then its mean over
    examples: long ones count no more than short ones. Parameters as ``by_example`` has them.
    """
    return by_example(measure, outputs, lengths).mean(0)


def by_example(
    measure: Callable[[np.ndarray], np.ndarray], outputs: np.ndarray, lengths: Sequence[int]
) -> np.ndarray:
    """(N, S, S) a pairwise measure of predictions, of the tokens of each example.

    Parameters
    ----------
    measure : ``pairwise_disagreement``, ``pairwise_jsd``
    outputs : (S, T, …) what each run predicts for each of T tokens under teacher forcing, the
        tokens of an example behind each other
    lengths : (N,) numbers of tokens of the examples, T in all
    """
    outputs, lengths = as_array(outputs), as_array(lengths)
    if min(lengths, default=0) < 1 or outputs.shape[1] != lengths.sum():
        raise ValueError(
            f"outputs has shape {outputs.shape} and lengths add up to {lengths.sum()}; expected "
            "(S, T, …) and N ≥ 1 lengths of 1 or more that add up to T"
        )
    parts = np.split(outputs, np.cumsum(lengths)[:-1], axis=1)
    return np.stack([measure(part) for part in parts])


def distances() -> dict[str, Callable[[Texts], np.ndarray]]:
    """By name in ``lib.measures.summary``, the pairwise measures of texts alone; without the extra,
    the one that does without.
    """
    known = {
        "different": pairwise_different,
        "edit_distance": pairwise_edit_distance,
        "rouge_distance": pairwise_rouge_distance,
        "bleu_distance": pairwise_bleu_distance,
    }
    return known if installed() else {"different": pairwise_different}
