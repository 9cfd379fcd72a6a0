"""Differences that are known because they were made: does a measure show them?

Noise added to the weights in known doses; unions of models of different settings; and, the other
way round, fewer examples, which should change nothing. All on models that were trained for it
(``lib.tuned``), of which only measures are kept.
"""

import copy
import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from scipy import stats
from scipy.special import softmax

from lib import evaluation, measures, summary, validity
from lib.batches import Encoded
from lib.groups import MEASURES
from lib.scoring import decide

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


@dataclass
class Said:
    """What S models say about the same N examples: logits (S, N, C), by model the mean-pooled layer
    vectors (L + 1, N, D), and the gold labels (N,).
    """

    logits: np.ndarray
    vectors: list[np.ndarray]
    labels: np.ndarray

    @classmethod
    def of(cls, models: Sequence[torch.nn.Module], data: Encoded) -> "Said":
        """Ask models."""
        place = torch.device("cpu")
        seen = [
            evaluation.evaluate(model, data, place, vectors=True, precision="float32")
            for model in models
        ]
        return cls(np.stack([one.logits for one in seen]), [one.mean for one in seen], data.labels)

    def take(self, rows: np.ndarray) -> "Said":
        """What they say about some of the examples."""
        vectors = [layers[:, rows] for layers in self.vectors]
        return Said(self.logits[:, rows], vectors, self.labels[rows])

    @cached_property
    def distances(self) -> dict[tuple[str, int], np.ndarray]:
        """By measure and layer, the distances (S, S) of all measures that are means over pairs."""
        predictions = decide(self.logits)
        found = {
            ("disagreement", NO_LAYER): measures.pairwise_disagreement(predictions),
            ("jsd", NO_LAYER): measures.pairwise_jsd(softmax(self.logits.astype(float), axis=-1)),
        }
        with warnings.catch_warnings():
            # Where few examples saturate a measure, that is what is looked at.
            warnings.simplefilter("ignore", measures.SaturationWarning)
            layers = measures.representation_distances(self.vectors, MEASURES)
        return found | {
            (name, layer): matrix
            for name, made in layers.items()
            for layer, matrix in enumerate(made)
        }

    def chance(self) -> dict[tuple[str, int], float]:
        """By measure and layer, the mean distance of unrelated representations of the examples."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", measures.SaturationWarning)
            _, drawn = measures.distances_and_chance(
                self.vectors, MEASURES, n_permutations=PERMUTATIONS
            )
        return {
            (name, layer): float(np.nanmean(values))
            for name, made in drawn.items()
            for layer, values in enumerate(made)
        }

    def values(self) -> pd.DataFrame:
        """A row a measure and layer: ``value, low, high``, intervals from resampling the models."""
        predictions = decide(self.logits)
        scores = (predictions == self.labels).mean(1)
        statistics = summary.statistics_of(
            scores=scores,
            predictions=predictions,
            probabilities=softmax(self.logits.astype(float), axis=-1),
        )
        found = {
            (name, NO_LAYER): summary.interval_of(name, statistics[name], scores)
            for name in WITHOUT_LAYERS
        }
        for key, matrix in self.distances.items():
            found.setdefault(key, measures.instability(matrix))
        rows = [
            {"measure": name, "layer": layer, **interval._asdict()}
            for (name, layer), interval in found.items()
        ]
        return pd.DataFrame(rows)


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
            found = Said.of(noisy, data).values()
            frames.append(found.assign(model=number, dose=dose))
    return pd.concat(frames, ignore_index=True)


def subsample_table(
    said: Said, fractions: Sequence[float], draws: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Every measure on a part of the examples, drawn without replacement, beside all of them.

    ``value`` and ``full``; ``tau``: Kendall's τ of the pairs of models, by their distance on the
    part and on all examples; ``chance``: the measure between unrelated representations on so many
    examples (NaN for measures of predictions, whose mean does not depend on how many there are).
    """
    n, whole, pairs = len(said.labels), said.distances, np.triu_indices(len(said.logits), 1)
    full = said.values().set_index(["measure", "layer"])["value"]
    frames = []
    for fraction, draw in itertools.product(fractions, range(draws)):
        part = said.take(np.sort(rng.permutation(n)[: max(4, round(fraction * n))]))
        found = part.values().assign(fraction=fraction, draw=draw, n=len(part.labels))
        at = pd.MultiIndex.from_frame(found[["measure", "layer"]])
        near = part.distances
        tau = {key: stats.kendalltau(near[key][pairs], whole[key][pairs]).statistic for key in near}
        chance = part.chance()
        frames.append(
            found.assign(
                full=full.reindex(at).to_numpy(),
                tau=[tau.get(key, np.nan) for key in at],
                chance=[chance.get(key, np.nan) for key in at],
            )
        )
    return pd.concat(frames, ignore_index=True)


def union_table(groups: Mapping[str, Sequence[torch.nn.Module]], data: Encoded) -> pd.DataFrame:
    """Models of two settings together, a row a pair of settings, measure and layer.

    ``within``: mean distance of two models of one setting (the mean of the two settings');
    ``between``: of models of different ones; ``p``: of permuting which model has which setting,
    one-sided, for ``between − within``. Settings are known to differ, so a valid measure has more
    between them.
    """
    names, frames = list(groups), []
    said = Said.of([model for name in names for model in groups[name]], data)
    owner = np.repeat(np.arange(len(names)), [len(groups[name]) for name in names])
    for (a, first), (b, second) in itertools.combinations(enumerate(names), 2):
        rows = np.flatnonzero((owner == a) | (owner == b))
        for (measure, layer), matrix in said.distances.items():
            found = validity.between_settings(matrix[np.ix_(rows, rows)], owner[rows] == b)
            told = {"first": first, "second": second, "measure": measure, "layer": layer}
            frames.append({**told, **found._asdict()})
    return pd.DataFrame(frames)
