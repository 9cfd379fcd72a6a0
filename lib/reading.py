"""The numbers of an appraisal in plain words: only sentences that its own table bears out."""

import numpy as np
import pandas as pd

from lib import measures
from lib.appraisal import Appraisal


def _number(value: float, digits: int = 3) -> str:
    return "not defined" if np.isnan(value) else f"{value:.{digits}f}"


def _value(appraisal: Appraisal, measure: str) -> pd.Series | None:
    rows = appraisal.table[appraisal.table["measure"] == measure]
    return None if rows.empty else rows.iloc[0]


def _with_interval(row: pd.Series, scale: float = 1, digits: int = 3) -> str:
    if np.isnan(row["low"]):
        return _number(scale * row["value"], digits)
    ends = (scale * row[end] for end in ("low", "high"))
    return _number(scale * row["value"], digits) + " [{:.{d}f}, {:.{d}f}]".format(*ends, d=digits)


def sentences(appraisal: Appraisal) -> list[str]:
    """What the numbers say, in sentences that are true of them."""
    said = []
    runs, n_runs = appraisal.runs, len(appraisal.runs.names)
    apart = _value(appraisal, "disagreement")
    if apart is not None:
        said.append(
            f"Two of these runs, drawn at random, answer {_with_interval(apart, 100, 1)} % of the "
            f"{len(runs.examples)} examples differently; all {n_runs} agree on "
            f"{100 * (appraisal.examples['dissenting_runs'] == 0).mean():.1f} %."
        )
    spread, mean = _value(appraisal, "sd"), _value(appraisal, "mean")
    if spread is not None:
        said.append(
            f"The scores ({appraisal.metric}) have mean {_with_interval(mean)} and standard "
            f"deviation {_with_interval(spread)}. A single run tells you the mean to about ± "
            f"{1.96 * spread['value']:.3f}, if scores are near normal."
        )
    if appraisal.metric is not None:
        said += _of_failures(appraisal)
    said += _of_the_floor(appraisal)
    kappa = _value(appraisal, "kappa")
    if kappa is not None and not np.isnan(kappa["value"]):
        said.append(
            f"1 − kappa is {_with_interval(kappa)}: 0 would be perfect agreement, 1 what runs with "
            "these class frequencies would show by chance alone."
        )
    if (split := _value(appraisal, "wrong_differently")) is not None:
        said.append(
            f"On {_with_interval(split, 100, 1)} % of the examples two runs are both wrong, in "
            "different ways: no score sees that."
        )
    said += _of_representations(appraisal)
    if n_runs < 5:
        said.append(
            f"With {n_runs} runs, treat every interval here as a warning, not as a measurement: "
            "five is the least that resampling works with."
        )
    return said + _of_seeds(appraisal)


def _of_failures(appraisal: Appraisal) -> list[str]:
    status = appraisal.scores["status"]
    bad = int((status != "ok").sum())
    rate = _value(appraisal, "failed")
    reach = f"(95 % interval of the rate: {rate['low']:.2f} to {rate['high']:.2f})"
    reach = reach.replace("95", f"{100 * appraisal.level:.0f}")
    if not bad:
        return [f"No run failed {reach}."]
    names = ", ".join(appraisal.scores.loc[status != "ok", "run"][:5])
    above = (appraisal.scores["score"] - appraisal.scores["majority"])[status == "ok"]
    said = [
        f"{bad} of {len(status)} runs failed {reach}: {names}{', …' if bad > 5 else ''}. They are "
        "part of every number here; exclude them to see the rest alone."
    ]
    if appraisal.metric == "accuracy" and (above.empty or above.min() < 0.05):
        said.append(
            "No successful run, or not every one, beats the majority class by five points, so "
            "“failed” says little about the seed here."
        )
    return said


def _of_the_floor(appraisal: Appraisal) -> list[str]:
    runs = appraisal.runs
    if runs.labels is None or not runs.classes:
        return []
    found = measures.seed_variance(runs.predictions == runs.labels, level=appraisal.level)
    if found.observed.value == 0:
        return ["All runs have the same accuracy."]
    share = (found.floor / found.observed.value) ** 2
    text = found.distribution.text()
    if share >= 1:
        return [
            f"The spread of accuracy ({found.observed.value:.3f}) is no larger than what "
            f"{len(runs.examples)} examples alone would cause ({found.floor:.3f}): nothing here "
            f"says that one seed is better than another. Beyond it: {text}."
        ]
    return [
        f"Of the variance of accuracy over runs, {100 * share:.0f} % is what independent changes "
        f"of answers on only {len(runs.examples)} examples would cause. The standard deviation "
        f"beyond that, on endless data, is {text}."
    ]


def _of_representations(appraisal: Appraisal) -> list[str]:
    rows = appraisal.table[appraisal.table["measure"] == "cka"]
    if rows.empty:
        return []
    first, last = rows.iloc[0], rows.iloc[-1]
    said = [
        f"By debiased CKA, two runs are {_number(first['value'])} apart at the first layer given "
        f"and {_number(last['value'])} at the last; unrelated representations would be 1."
    ]
    op = appraisal.table[appraisal.table["measure"] == "op"].iloc[-1]
    if op["chance"] < 0.8:
        said.append(
            f"For Procrustes the chance level at the last layer is {op['chance']:.2f}, not 1: read "
            "it, and SVCCA, against that."
        )
    return said


def _of_seeds(appraisal: Appraisal) -> list[str]:
    texts = []
    for measure, name in (("disagreement", "disagreement"), ("sd", "the standard deviation")):
        row = _value(appraisal, measure)
        if row is None or np.isnan(row["seeds_needed"]):
            continue
        needed = row["seeds_needed"]
        texts.append(f"{name} {'more than 300' if np.isinf(needed) else f'about {needed:.0f}'}")
    if not texts:
        return []
    return [
        f"To know a value to ± {100 * appraisal.width:.0f} % takes, judging by these runs: "
        f"{'; '.join(texts)} runs. You have {len(appraisal.runs.names)}."
    ]
