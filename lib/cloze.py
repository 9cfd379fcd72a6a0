"""What an answer to a cloze question earns, as ReCoRD and SQuAD count it."""

import re
import string
from collections import Counter

_DROPPED = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """Lower case without punctuation, articles (a, an, the) and surplus white space."""
    words = re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(_DROPPED))
    return " ".join(words.split())


def credit(said: str, answers: list[str]) -> tuple[float, float]:
    """Exact match (0 or 1) and token F1 of a text, each the best over the answers.

    No answers, nothing earned.
    """
    said = normalised(said)
    golds = [normalised(answer) for answer in answers]
    return (
        max((float(said == gold) for gold in golds), default=0.0),
        max((_token_f1(said.split(), gold.split()) for gold in golds), default=0.0),
    )


def _token_f1(said: list[str], gold: list[str]) -> float:
    """Harmonic mean of the precision and the recall of the words, each counted as often as it is
    in both.
    """
    common = sum((Counter(said) & Counter(gold)).values())
    return 2 * common / (len(said) + len(gold)) if common else 0.0
