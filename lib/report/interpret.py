"""The measures of runs in plain words: only sentences that their own table bears out."""

import numpy as np
import pandas as pd

from lib import measures
from lib.measures import Interval, sample_size
from lib.report.measuring import MeasuredRuns, three_noises
from lib.results.run_group import RunGroup

UNDEFINED = "not defined"


def _value(measured: MeasuredRuns, measure: str) -> pd.Series | None:
    rows = measured.table[measured.table["measure"] == measure]
    return None if rows.empty else rows.iloc[0]


def _text(measured: MeasuredRuns, measure: str, scale: float = 1, digits: int = 3) -> str:
    """A measure with its interval; nothing where there is none."""
    row = _value(measured, measure)
    if row is None or np.isnan(row["value"]):
        return "" if row is None else UNDEFINED
    return Interval(*(scale * row[["value", "low", "high"]]), 0).text(digits)


def interpret(measured: MeasuredRuns) -> list[str]:
    """What the numbers say, in sentences that are true of them."""
    sentences, n_runs = _of_predictions(measured), len(measured.group)
    if spread := _text(measured, "sd"):
        sentences.append(
            f"The scores ({measured.metric}) have mean {_text(measured, 'mean')} and standard "
            f"deviation {spread}."
        )
    sentences += [*_of_noises(measured), *_of_failures(measured), *_of_the_floor(measured)]
    if (kappa := _text(measured, "kappa")) not in ("", UNDEFINED):
        sentences.append(
            f"1 − kappa is {kappa}: 0 would be perfect agreement, 1 what runs with these class "
            "frequencies would show by chance alone."
        )
    if split := _text(measured, "wrong_differently", 100, 1):
        sentences.append(
            f"On {split} % of the examples two runs are both wrong, in different ways: no score "
            "sees that."
        )
    sentences += _of_representations(measured)
    if n_runs < 5:
        sentences.append(
            f"With {n_runs} runs, treat every interval here as a warning, not as a measurement: "
            "five is the least that resampling works with."
        )
    return sentences + of_seeds(measured)


def _of_predictions(measured: MeasuredRuns) -> list[str]:
    group, n_runs = measured.group, len(measured.group)
    if group.texts:
        return _of_texts(measured)
    if difference := _text(measured, "difference"):
        return [
            f"Two of these runs, drawn at random, differ by {difference} on an example, in "
            "standard deviations of what is predicted."
        ]
    if not (apart := _text(measured, "disagreement", 100, 1)):
        return []
    together = 100 * (measured.examples["dissenting_runs"] == 0).mean()
    sentence = (
        f"Two of these runs, drawn at random, answer {apart} % of the {len(group.example_ids)} "
        "examples differently"
    )
    sentence += "." if n_runs == 2 else f"; all {n_runs} agree on {together:.1f} %."
    return [sentence, *_of_the_farthest(group)]


def _of_texts(measured: MeasuredRuns) -> list[str]:
    group, n_runs = measured.group, len(measured.group)
    sentence = (
        f"Two of these runs, drawn at random, write different texts for "
        f"{_text(measured, 'different', 100, 1)} % of the {len(group.example_ids)} inputs"
    )
    together = 100 * (measured.examples["different_texts"] == 1).mean()
    sentence += "." if n_runs == 2 else f"; all {n_runs} write the same for {together:.1f} %."
    sentences = [sentence]
    if edits := _text(measured, "edit_distance"):
        sentences.append(
            f"From 0 (the same) to 1 (nothing in common), two texts for an input are {edits} apart "
            f"by edit distance, {_text(measured, 'rouge_distance')} by ROUGE-L, and two runs "
            f"{_text(measured, 'bleu_distance')} by BLEU."
        )
    return sentences + _of_the_farthest(group)


def _of_the_farthest(group: RunGroup) -> list[str]:
    """A run that is much farther from the others than they are from each other, if there is one."""
    if (n_runs := len(group)) < 4:
        return []
    apart = measures.pairwise_disagreement(group.predictions).sum(0)
    worst, pairs = int(apart.argmax()), (n_runs - 1) * (n_runs - 2)
    own, others = apart[worst] / (n_runs - 1), (apart.sum() - 2 * apart[worst]) / pairs
    if own < 1.4 * others or own - others < 0.02:
        return []
    return [
        f"Run {group.names[worst]} differs from the other runs on {100 * own:.1f} % of the "
        f"examples, they among themselves on {100 * others:.1f} %: a run of its own kind, or one "
        "whose examples are in another order?",
    ]


def _of_noises(measured: MeasuredRuns) -> list[str]:
    sentences = []
    if np.isfinite(measured.within):
        share = f"{100 * measured.within:.1f} % of the"
        sentences.append(
            f"Two evaluations of one run write different texts for {share} inputs."
            if measured.group.texts
            else f"Two evaluations of one run answer {share} examples differently."
        )
    if not len(measured.evaluations):
        return sentences
    what = {
        "training": "with the training seed",
        "evaluation": "from one evaluation of a run to the next",
        "examples": "with the choice of test examples",
    }
    parts = [
        f"by {sd.text(4) if np.isfinite(sd.low) else f'{sd.value:.4f}'} {what[name]}"
        for name, sd in three_noises(measured).items()
    ]
    return [
        *sentences,
        f"Three noises: the {measured.metric} of one evaluation varies (SD) {', '.join(parts)}; "
        f"{len(measured.evaluations)} evaluations of {len(measured.group)} runs.",
    ]


def _of_failures(measured: MeasuredRuns) -> list[str]:
    if measured.metric is None or measured.group.texts:
        return []
    status, out = measured.scores["status"], measured.group.left_out
    bad, n_runs = int((status != "ok").sum()), len(status)
    low, high = _value(measured, "failed")[["low", "high"]]
    rule = " by accuracy" if measured.group.classes and measured.metric != "accuracy" else ""
    rule += f" ({100 * measured.level:g} % interval of the rate: {low:.2f} to {high:.2f})"
    sentences = [f"None of the {n_runs} runs read failed{rule}."]
    if bad:
        names = ", ".join(measured.scores.loc[status != "ok", "run"][:5])
        sentences = [
            f"{bad} of {n_runs} runs failed{rule}: {names}{', …' if bad > 5 else ''}. They are "
            "part of every number here; exclude them to see the rest alone."
        ]
    if out:
        sentences.append(
            f"{', '.join(out)} {'was' if len(out) == 1 else 'were'} left out as asked, and no "
            "number here counts them. Whoever trains this setting again will meet their like."
        )
    if measured.group.classes:
        above = (measured.scores["accuracy"] - measured.scores["majority"])[status == "ok"]
        if above.empty or above.min() < 0.05:
            which = "No run" if above.empty or above.max() < 0.05 else "Not every successful run"
            sentences.append(
                f"{which} beats the accuracy of always giving the most frequent class by five "
                "points, so “failed” says little about the seed here."
            )
    return sentences


def _of_the_floor(measured: MeasuredRuns) -> list[str]:
    group, n = measured.group, len(measured.group.example_ids)
    if group.labels is None or not group.classes:
        return []
    accuracies, beyond = measured.scores["accuracy"], _value(measured, "distribution_sd")
    if (observed := accuracies.std()) == 0:
        return ["All runs have the same accuracy."]
    n_right = measured.examples["runs_right"]
    floor = np.sqrt(measures.flip_rate_from_counts(n_right, len(accuracies)).mean() / 2 / n)
    if (share := (floor / observed) ** 2) >= 0.995:
        return [
            f"The spread of accuracy ({observed:.3f}) is no larger than what "
            f"{n} examples alone would cause ({floor:.3f}): what is beyond that cannot be "
            f"told from 0 with these runs, and is at most about {beyond['high']:.3f}. "
            "Nothing here says that one seed is better than another."
        ]
    return [
        f"Of the variance of accuracy over runs, about {100 * share:.0f} % is what independent "
        f"changes of answers on only {n} examples would cause. The standard "
        f"deviation beyond that, on an endless test set, is {_text(measured, 'distribution_sd')}."
    ]


def _of_representations(measured: MeasuredRuns) -> list[str]:
    rows = measured.table[measured.table["measure"] == "cka"]
    if rows.empty:
        return []
    ends = rows["value"].iloc[[0, -1]]
    first, last = (UNDEFINED if np.isnan(value) else f"{value:.3f}" for value in ends)
    sentences = [
        f"By debiased CKA, two runs are {first} apart at the first layer given and {last} at the "
        "last; unrelated representations would be 1."
    ]
    op = measured.table[measured.table["measure"] == "op"].iloc[-1]
    if op["chance"] < 0.8:
        sentences.append(
            f"For Procrustes the chance level at the last layer is {op['chance']:.2f}, not 1: read "
            "it, and SVCCA, against that."
        )
    return sentences


def of_seeds(measured: MeasuredRuns) -> list[str]:
    """How many runs disagreement and SD take, in a sentence, where that is known."""
    names = {
        "disagreement": "disagreement",
        "different": "the share of different texts",
        "sd": "the standard deviation",
    }
    texts = []
    normal = sample_size.seeds_needed_for_sd(width=measured.width, level=measured.level)
    for measure, name in names.items():
        row = _value(measured, measure)
        if row is None or np.isnan(needed := row["seeds_needed"]):
            continue
        number = "five or fewer" if needed == 5 else f"about {needed:.0f}"
        by = "normal scores" if measure == "sd" and needed == normal else "judging by these runs"
        texts.append(f"{name} {'more than 300' if np.isinf(needed) else number} ({by})")
    share, n_runs = f"± {100 * measured.width:.0f} %", len(measured.group)
    said = f"To know a value to {share} takes so many runs: {'; '.join(texts)}. You have {n_runs}."
    return [said] if texts else []
