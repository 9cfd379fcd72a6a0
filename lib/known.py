"""Differences that are known because they were made: does a measure show them?

Noise added to the weights in known doses; unions of models of different settings; and, the other
way round, fewer examples, which should change nothing. All on models that were trained for it
(``lib.tuned``), of which only measures are kept.
"""

import copy
import itertools
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from scipy import stats
from scipy.special import softmax

from lib import evaluation, measures, resampling, summary, validity
from lib.batches import Encoded
from lib.groups import MEASURES
from lib.scoring import decide

PREDICTION = ("disagreement", "kappa", "jsd")
#: A measure without layers has this one.
NO_LAYER = -1
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


class Said:
    """What S models say about the same N examples: logits (S, N, C), labels (N,), and by model the
    mean-pooled layer vectors (L + 1, N, D).
    """

    def __init__(self, models: Sequence[torch.nn.Module], data: Encoded) -> None:
        place = torch.device("cpu")
        seen = [
            evaluation.evaluate(model, data, place, vectors=True, precision="float32")
            for model in models
        ]
        self.logits = np.stack([one.logits for one in seen])
        self.vectors = [one.mean for one in seen]
        self.labels = data.labels

    def take(self, models: Sequence[int] | None = None, rows: np.ndarray | None = None) -> "Said":
        """The same of some of the models, or of some of the examples."""
        made = copy.copy(self)
        models = range(len(self.logits)) if models is None else models
        rows = np.arange(len(self.labels)) if rows is None else rows
        made.logits = self.logits[np.ix_(models, rows)]
        made.vectors = [self.vectors[model][:, rows] for model in models]
        made.labels = self.labels[rows]
        return made

    def statistics(self) -> dict[str, resampling.Statistic]:
        """SD of accuracy, and the measures of predictions."""
        predictions = decide(self.logits)
        found = summary.statistics_of(
            scores=(predictions == self.labels).mean(1),
            predictions=predictions,
            probabilities=softmax(self.logits.astype(float), axis=-1),
        )
        return {name: found[name] for name in ("sd", *PREDICTION)}

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
        rows = [
            {"measure": name, "layer": NO_LAYER,
             **summary.interval_of(name, statistic, (decide(self.logits) == self.labels).mean(1)
                                   if name == "sd" else len(self.logits))._asdict()}
            for name, statistic in self.statistics().items()
        ]  # fmt: skip
        for (name, layer), matrix in self.distances().items():
            if layer != NO_LAYER:
                found = measures.instability(matrix)
                rows.append({"measure": name, "layer": layer, **found._asdict()})
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
            found = Said(noisy, data).values()
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
    n, whole, pairs = len(said.labels), said.distances(), np.triu_indices(len(said.logits), 1)
    full = said.values().set_index(["measure", "layer"])["value"]
    frames = []
    for fraction, draw in itertools.product(fractions, range(draws)):
        part = said.take(rows=np.sort(rng.permutation(n)[: max(4, round(fraction * n))]))
        found = part.values().assign(fraction=fraction, draw=draw, n=len(part.labels))
        at = pd.MultiIndex.from_frame(found[["measure", "layer"]])
        near = part.distances()
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
    said = Said([model for name in names for model in groups[name]], data)
    owner = np.repeat(np.arange(len(names)), [len(groups[name]) for name in names])
    for (a, first), (b, second) in itertools.combinations(enumerate(names), 2):
        rows = np.flatnonzero((owner == a) | (owner == b))
        for (measure, layer), matrix in said.distances().items():
            found = validity.between_settings(matrix[np.ix_(rows, rows)], owner[rows] == b)
            told = {"first": first, "second": second, "measure": measure, "layer": layer}
            frames.append({**told, **found._asdict()})
    return pd.DataFrame(frames)
