"""Models that differ in known ways: does a measure show it?

Noise added to the weights in known doses; unions of models of different settings; and, the other
way round, fewer examples, which should change nothing. All on models that were trained for it
(``lib.training.model_features``), of which only measures are kept.
"""

import copy
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from scipy import stats

from lib import measures
from lib.analysis import validity
from lib.data.examples import Encoded
from lib.measures.representation import NAMES
from lib.results import run_group
from lib.results.run_group import RunGroup
from lib.training import evaluation

#: Measures of scores and of predictions have no layers; their rows say so by this number.
WITHOUT_LAYERS, NO_LAYER = ("sd", "disagreement", "kappa", "jsd"), -1
#: Pairs of models drawn for the chance level of a measure.
PERMUTATIONS = 5


def add_noise(model: torch.nn.Module, dose: float, generator: torch.Generator) -> torch.nn.Module:
    """A copy of a model with normal noise in every weight tensor, ``dose`` times the root mean
    square of that tensor. With equally seeded generators, two doses have noise in one direction.
    """
    noisy = copy.deepcopy(model)
    with torch.no_grad():
        for weight in noisy.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.add_(dose * weight.square().mean().sqrt() * noise)
    return noisy


def outputs_of(models: Sequence[torch.nn.Module], data: Encoded) -> RunGroup:
    """What S models answer, with the mean-pooled vectors of their L + 1 layers."""
    cpu = torch.device("cpu")
    outputs = [
        evaluation.evaluate(model, data, cpu, precision="float32", pooled="auto")
        for model in models
    ]
    return RunGroup.of_logits(
        np.stack([output.logits for output in outputs]),
        runs=pd.DataFrame({"run": [f"model {1 + i}" for i in range(len(models))]}),
        example_ids=data.example_ids,
        labels=data.labels,
        representations={"mean": [output.vectors["mean"] for output in outputs]},
        layers={"mean": np.arange(len(outputs[0].vectors["mean"]))},
    )


def part_of(group: RunGroup, rows: np.ndarray) -> RunGroup:
    """What the models answer to some of the examples, without distances."""
    vectors = [array[:, rows] for array in group.representations["mean"]]
    return RunGroup.of_logits(
        group.logits[:, rows],
        runs=group.runs,
        example_ids=np.asarray(group.example_ids)[rows],
        labels=group.labels[rows],
        representations={"mean": vectors},
        layers=group.layers,
    )


def measure(group: RunGroup) -> pd.DataFrame:
    """A row a measure and layer: ``measure, layer, value, low, high, n_runs``."""
    scored = run_group.score_runs(group, "accuracy")
    table = run_group.measure(scored, (*WITHOUT_LAYERS, *NAMES), planned=())
    return _by_layer(table)[["measure", "layer", "value", "low", "high", "n_runs"]]


def _by_layer(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(layer=table["layer"].fillna(NO_LAYER).astype(int))


def distances_of(group: RunGroup) -> dict[tuple[str, int], np.ndarray]:
    """By measure and layer, the distances (S, S) of all measures that are means over pairs."""
    distances = {
        ("disagreement", NO_LAYER): measures.pairwise_disagreement(group.predictions),
        ("jsd", NO_LAYER): measures.pairwise_jsd(group.probabilities),
    }
    for (name, _), stack in group.distances.items():
        distances |= {(name, layer): matrix for layer, matrix in enumerate(stack)}
    return distances


def dose_table(
    models: Sequence[torch.nn.Module], data: Encoded, doses: Sequence[float], copies: int
) -> pd.DataFrame:
    """Every measure over noisy copies of one model, by model and dose.

    Copies of a model differ in nothing but noise of a known size, so a valid measure rises with the
    dose. The copies of different doses have noise in the same directions.
    """
    frames = []
    for number, model in enumerate(models):
        for dose in doses:
            noisy = [
                add_noise(model, dose, torch.Generator().manual_seed(1000 * number + copy_))
                for copy_ in range(copies)
            ]
            group = outputs_of(noisy, data).with_distances(NAMES)
            frames.append(measure(group).assign(model=number, dose=dose))
    return pd.concat(frames, ignore_index=True)


def subsample_table(
    group: RunGroup, fractions: Sequence[float], draws: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Every measure on a part of the examples, drawn without replacement, beside all of them.

    ``value`` and ``full``; ``tau``: Kendall's τ of the pairs of models, by their distance on the
    part and on all examples; ``chance``: the measure between unrelated representations on so many
    examples (NaN for measures of predictions, whose mean does not depend on how many there are).
    """
    group = group.with_distances(NAMES)
    n, whole, pairs = len(group.labels), distances_of(group), np.triu_indices(len(group), 1)
    keys = ["measure", "layer"]
    full = measure(group).set_index(keys)["value"]
    frames = []
    for fraction, draw in itertools.product(fractions, range(draws)):
        rows = np.sort(rng.permutation(n)[: max(4, round(fraction * n))])
        part = part_of(group, rows).with_distances(NAMES, n_permutations=PERMUTATIONS)
        tau = {
            key: stats.kendalltau(matrix[pairs], whole[key][pairs]).statistic
            for key, matrix in distances_of(part).items()
        }
        chance = _by_layer(run_group.chance_levels(part)).set_index(keys)["value"]
        table = measure(part).set_index(keys).assign(fraction=fraction, draw=draw, n=len(rows))
        frames.append(table.assign(full=full, tau=pd.Series(tau), chance=chance).reset_index())
    return pd.concat(frames, ignore_index=True)


def union_table(groups: Mapping[str, Sequence[torch.nn.Module]], data: Encoded) -> pd.DataFrame:
    """Models of two settings together, a row a pair of settings, measure and layer.

    ``within``: mean distance of two models of one setting (the mean of the two settings');
    ``between``: of models of different ones; ``p``: of permuting which model has which setting,
    one-sided, for ``between − within``. Settings are known to differ, so a valid measure has more
    between them.
    """
    names, rows = list(groups), []
    models = [model for name in names for model in groups[name]]
    distances = distances_of(outputs_of(models, data).with_distances(NAMES))
    owner = np.repeat(np.arange(len(names)), [len(groups[name]) for name in names])
    for (a, first), (b, second) in itertools.combinations(enumerate(names), 2):
        both = np.flatnonzero((owner == a) | (owner == b))
        for (name, layer), matrix in distances.items():
            means = validity.between_settings(matrix[np.ix_(both, both)], owner[both] == b)
            where = {"first": first, "second": second, "measure": name, "layer": layer}
            rows.append({**where, **means._asdict()})
    return pd.DataFrame(rows)
