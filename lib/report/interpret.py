"""The measures of runs in plain words: only sentences that their own table bears out."""

import numpy as np
import pandas as pd

from lib import measures
from lib.measures import Interval, sample_size
from lib.report.measuring import MeasuredRuns, three_noises


def _number(value: float) -> str:
    return "not defined" if np.isnan(value) else f"{value:.3f}"


def _value(measured: MeasuredRuns, measure: str) -> pd.Series | None:
    rows = measured.table[measured.table["measure"] == measure]
    return None if rows.empty else rows.iloc[0]


def _with_interval(row: pd.Series, scale: float = 1, digits: int = 3) -> str:
    if np.isnan(row["value"]):
        return _number(np.nan)
    return Interval(*(scale * row[end] for end in ("value", "low", "high")), 0).text(digits)


def interpret(measured: MeasuredRuns) -> list[str]:
    """What the numbers say, in sentences that are true of them."""
    sentences = _of_predictions(measured)
    spread, mean = _value(measured, "sd"), _value(measured, "mean")
    if spread is not None:
        sentences.append(
            f"The scores ({measured.metric}) have mean {_with_interval(mean)} and standard "
            f"deviation {_with_interval(spread)}."
        )
    sentences += _of_noises(measured)
    if measured.metric is not None:
        sentences += _of_failures(measured)
    sentences += _of_the_floor(measured)
    kappa = _value(measured, "kappa")
    if kappa is not None and not np.isnan(kappa["value"]):
        sentences.append(
            f"1 − kappa is {_with_interval(kappa)}: 0 would be perfect agreement, 1 what runs with "
            "these class frequencies would show by chance alone."
        )
    if (split := _value(measured, "wrong_differently")) is not None:
        sentences.append(
            f"On {_with_interval(split, 100, 1)} % of the examples two runs are both wrong, in "
            "different ways: no score sees that."
        )
    sentences += _of_representations(measured)
    n_runs = len(measured.group)
    if n_runs < 5:
        sentences.append(
            f"With {n_runs} runs, treat every interval here as a warning, not as a measurement: "
            "five is the least that resampling works with."
        )
    return sentences + of_seeds(measured)


def _of_predictions(measured: MeasuredRuns) -> list[str]:
    group, n_runs = measured.group, len(measured.group)
    apart, difference = _value(measured, "disagreement"), _value(measured, "difference")
    if difference is not None:
        return [
            f"Two of these runs, drawn at random, differ by {_with_interval(difference)} on an "
            "example, in standard deviations of what is predicted."
        ]
    if apart is None:
        return []
    together = 100 * (measured.examples["dissenting_runs"] == 0).mean()
    sentences = [
        f"Two of these runs, drawn at random, answer {_with_interval(apart, 100, 1)} % of the "
        f"{len(group.example_ids)} examples differently"
        + ("." if n_runs == 2 else f"; all {n_runs} agree on {together:.1f} %.")
    ]
    disagreement = measures.pairwise_disagreement(group.predictions)
    return sentences + _of_an_outlier(disagreement, group.names)


def _of_an_outlier(apart: np.ndarray, names: list[str]) -> list[str]:
    """A run that is much farther from the others than they are from each other."""
    n_runs = len(apart)
    if n_runs < 4:
        return []
    own = apart.sum(0) / (n_runs - 1)
    worst = int(own.argmax())
    others = np.delete(np.delete(apart, worst, 0), worst, 1).sum() / ((n_runs - 1) * (n_runs - 2))
    if own[worst] < 1.4 * others or own[worst] - others < 0.02:
        return []
    return [
        f"Run {names[worst]} differs from the other runs on {100 * own[worst]:.1f} % of the "
        f"examples, they among themselves on {100 * others:.1f} %: a run of its own kind, or one "
        "whose examples are in another order?"
    ]


def _of_noises(measured: MeasuredRuns) -> list[str]:
    if not len(measured.evaluations):
        return []
    what = {
        "training": "by {} with the training seed",
        "evaluation": "by {} from one evaluation of a run to the next",
        "examples": "by {} with the choice of test examples",
    }
    parts = [
        what[name].format(sd.text(4) if np.isfinite(sd.low) else f"{sd.value:.4f}")
        for name, sd in three_noises(measured).items()
    ]
    return [
        f"Three noises: the {measured.metric} of one evaluation varies (SD) {', '.join(parts)}; "
        f"{len(measured.evaluations)} evaluations of {len(measured.group)} runs."
    ]


def _of_failures(measured: MeasuredRuns) -> list[str]:
    status = measured.scores["status"]
    bad, n_runs = int((status != "ok").sum()), len(status)
    rate, out = _value(measured, "failed"), measured.group.left_out
    reach = (
        f"({100 * measured.level:g} % interval of the rate: {rate['low']:.2f} to "
        f"{rate['high']:.2f})"
    )
    rule = " by accuracy" if measured.group.classes and measured.metric != "accuracy" else ""
    if bad:
        names = ", ".join(measured.scores.loc[status != "ok", "run"][:5])
        sentences = [
            f"{bad} of {n_runs} runs failed{rule} {reach}: {names}{', …' if bad > 5 else ''}. They "
            "are part of every number here; exclude them to see the rest alone."
        ]
    else:
        sentences = [f"None of the {n_runs} runs read failed{rule} {reach}."]
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
        f"deviation beyond that, on an endless test set, is {_with_interval(beyond)}."
    ]


def _of_representations(measured: MeasuredRuns) -> list[str]:
    rows = measured.table[measured.table["measure"] == "cka"]
    if rows.empty:
        return []
    first, last = rows.iloc[0], rows.iloc[-1]
    sentences = [
        f"By debiased CKA, two runs are {_number(first['value'])} apart at the first layer given "
        f"and {_number(last['value'])} at the last; unrelated representations would be 1."
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
    texts, names = [], {"disagreement": "disagreement", "sd": "the standard deviation"}
    normal = sample_size.seeds_needed_for_sd(width=measured.width, level=measured.level)
    for measure, name in names.items():
        row = _value(measured, measure)
        if row is None or np.isnan(row["seeds_needed"]):
            continue
        needed = row["seeds_needed"]
        number = f"{'five or fewer' if needed == 5 else f'about {needed:.0f}'}"
        by = "normal scores" if measure == "sd" and needed == normal else "judging by these runs"
        texts.append(f"{name} {'more than 300' if np.isinf(needed) else number} ({by})")
    if not texts:
        return []
    return [
        f"To know a value to ± {100 * measured.width:.0f} % takes so many runs: "
        f"{'; '.join(texts)}. You have {len(measured.group)}."
    ]
