"""Claims on LoRA: held against measures computed in another way, and against what must come out."""

import itertools

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from lib.analysis.claims import CLAIMS, preregistered
from lib.analysis.claims.preregistered import ARMS

TASK = "sarcasm"
OTHER = {"without": "rotten-tomatoes"}


def groups_of(study, **setting):
    found = [
        group
        for group in preregistered.selected(study, task=TASK)
        if all(group.setting[name] == value for name, value in setting.items())
    ]
    return sorted(found, key=lambda group: group.setting["n_train"])


def disagreement(group):
    """Over pairs of runs, one after the other."""
    pairs = itertools.combinations(group.predictions, 2)
    return np.mean([(a != b).mean() for a, b in pairs])


def test_jsd_and_the_sd_of_lora_are_compared_with_those_of_full_fine_tuning():
    (full,), (lora,) = (groups_of("lora", method=name) for name in ("standard", "lora"))
    jsd = [
        np.mean([
            (jensenshannon(a, b, axis=1) ** 2).mean()
            for a, b in itertools.combinations(group.probabilities[:12], 2)
        ])
        for group in (full, lora)
    ]  # fmt: skip
    few = [group.take(range(12)) for group in (full, lora)]
    gap = preregistered._method_gap("standard", "lora", "jsd", few)
    assert gap.value == pytest.approx(np.log(jsd[1] / jsd[0]), rel=1e-6)
    sd = CLAIMS["lora-lowers-the-sd"].statistic(**OTHER)
    assert sd.value == pytest.approx(np.log(lora.scores.std(ddof=1) / full.scores.std(ddof=1)))


@pytest.mark.parametrize("line", [{"epochs": 3}, {"steps": ARMS["steps"]}], ids=["epochs", "steps"])
def test_at_equal_accuracy_lora_is_held_against_a_straight_line_between_two_sizes(line):
    (lora,), full = groups_of("lora", method="lora"), groups_of("size-and-length", **line)
    lora = lora.take(range(20))
    assert lora.names == full[0].names
    above = next(n for n, group in enumerate(full) if group.scores.mean() > lora.scores.mean())
    left, right = full[above - 1 : above + 1]
    x0, x1, x = (group.scores.mean() for group in (left, right, lora))
    y0, y1, y = (np.log(disagreement(group)) for group in (left, right, lora))
    on_line = y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    found = CLAIMS["lora-disagrees-more-at-equal-accuracy"].statistic(
        **OTHER, line=next(iter(line))
    )
    assert found.value == pytest.approx(y - on_line)
    assert found.n == 20


def test_full_fine_tuning_disagrees_as_much_as_itself_at_equal_accuracy():
    full = groups_of("size-and-length", epochs=3)
    found = preregistered._beyond_accuracy([full[3], *full], "")
    assert np.allclose(found[:3], 0, atol=1e-12)
