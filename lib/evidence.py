"""A group of committed runs as the studies of measures see it: every measure of the same runs.

The studies ask of several groups and all measures at once, so this puts a group's tables side by
side: scores, predictions and, layer by layer, distances between representations. And it asks the
questions of ``lib.validity`` of all of them, as tables.
"""

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from scipy.special import softmax

from lib import (
    comparison,
    consistency,
    measures,
    paths,
    resampling,
    summary,
    tables,
    validity,
)
from lib.resampling import Statistic

#: Representation measures that the studies look at; the first paper's three, the SVCCA corrected.
REPRESENTATION = ("svcca", "op", "cka")
#: One measure or more of each granularity, in the order of the figures.
MEASURES = ("sd", "disagreement", "kappa", "jsd", *REPRESENTATION)


@dataclass(frozen=True)
class Evidence:
    """S runs of a group that ended with finite outputs.

    ``setting``: what all runs share, by field; ``seeds``: (S,); ``status``: (S,);
    ``scores``: (S,) of the task's metric; ``moved``: (S,) distance of the weights from the
    pretrained ones; ``predictions``: (S, N); ``probabilities``: (S, N, C);
    ``labels``: (N,); ``layers``: by measure (L, S, S), from the first layer above the embeddings.
    """

    setting: pd.Series
    seeds: np.ndarray
    status: np.ndarray
    scores: np.ndarray
    moved: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray
    labels: np.ndarray
    layers: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def failed(self) -> np.ndarray:
        """(S,) booleans: failed or collapsed."""
        return self.status != "ok"

    def take(self, rows: np.ndarray | Sequence[int]) -> "Evidence":
        """Some of the runs, by number or by mask."""
        rows = np.arange(len(self))[np.asarray(rows)]
        per_run = ("seeds", "status", "scores", "moved", "predictions", "probabilities")
        return replace(
            self,
            **{name: getattr(self, name)[rows] for name in per_run},
            layers={m: made[:, rows][:, :, rows] for m, made in self.layers.items()},
        )

    def pairs(self, layer: int = -1) -> dict[str, np.ndarray]:
        """By measure, the distances (S, S) of all pairs of runs.

        The SD has no pairs of its own, but its square is half the mean squared difference of two
        scores: for ``sd`` it is their absolute difference. Kappa divides disagreement by a chance
        level that all pairs share, so it orders pairs as disagreement does, and is left out.
        """
        return {
            "sd": np.abs(self.scores[:, None] - self.scores),
            "disagreement": measures.pairwise_disagreement(self.predictions),
            "jsd": measures.pairwise_jsd(self.probabilities),
            **{measure: made[layer] for measure, made in self.layers.items()},
        }

    def statistics(self, layer: int = -1) -> dict[str, Statistic]:
        """By measure of ``MEASURES``, its value as a function of run weights."""
        found = summary.statistics_of(
            scores=self.scores, predictions=self.predictions, probabilities=self.probabilities
        )
        found |= {m: partial(resampling.pair_means, made[layer]) for m, made in self.layers.items()}
        return {name: found[name] for name in MEASURES}

    def published_statistics(self, layer: int = -1) -> dict[str, Statistic]:
        """The same as the released bootstrap of Du & Nguyen takes them (``lib.consistency``)."""
        found = consistency.published_statistics(
            self.scores,
            self.predictions,
            measures.pairwise_jsd(self.probabilities),
            {measure: made[layer] for measure, made in self.layers.items()},
        )
        return {name: found[name] for name in MEASURES}


def layer_distances(name: str, group: str, pooling: str) -> dict[str, np.ndarray]:
    """By measure of ``REPRESENTATION``, the distances (L, S, S) of a group at the layers above the
    embeddings, as committed.
    """
    root = paths.results(name) / group
    n_runs = len(pd.read_parquet(root / "runs.parquet", columns=["seed_label"]))
    frame = pd.read_parquet(root / "distances.parquet").query("pooling == @pooling and layer > 0")
    return {
        measure: np.stack(
            [tables.distance_matrix(part, n_runs) for _, part in of_measure.groupby("layer")]
        )
        for measure, of_measure in frame.groupby("measure")
        if measure in REPRESENTATION
    }


def load(name: str, *, pooling: str = "first") -> dict[str, Evidence]:
    """By label, the groups of a configuration's results that classify and have two finite runs.

    Parameters
    ----------
    name : ``reference-standard``, say
    pooling : of the layer vectors: ``first`` (position 0, as Du & Nguyen) or ``mean``
    """
    found = {}
    folders = {label: group for group, label in tables.group_labels(name).items()}
    for label, said in tables.classifiers(name)[0].items():
        rows = said.runs["row"].to_numpy()
        layers = layer_distances(name, folders[label], pooling)
        found[label] = Evidence(
            said.runs.iloc[0],
            said.runs["seed"].to_numpy(),
            said.runs["status"].to_numpy(),
            said.runs["score"].to_numpy(float),
            said.runs["distance"].to_numpy(float),
            said.predictions,
            softmax(said.logits.astype(float), axis=-1),
            said.labels,
            {m: made[:, rows][:, :, rows] for m, made in layers.items()},
        )
    return found


def pair_agreements(
    groups: Mapping[Hashable, Mapping[str, np.ndarray]], *, level: float = 0.95
) -> pd.DataFrame:
    """``validity.pair_agreement`` of every two measures of every group: a row each.

    ``group, a, b, value, low, high, p``, and ``adjusted``, Holm's p over the whole table.

    Parameters
    ----------
    groups : by any name, distances (S, S) by measure
    """
    rows = [
        (group, a, b, *validity.pair_agreement(pairs[a], pairs[b], level=level))
        for group, pairs in groups.items()
        for a, b in itertools.combinations(pairs, 2)
    ]
    columns = ["group", "a", "b", *validity.PairAgreement._fields]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(adjusted=comparison.adjust(table["p"].to_numpy()))


def separations(
    one: Evidence, parts: np.ndarray | None = None, *, level: float = 0.95
) -> pd.DataFrame:
    """Failed against successful runs by every representation measure: a row a part of the layers.

    ``measure, layers, failed, successful, value, low, high, p``: the two mean distances, and
    failed minus successful with interval and p of ``validity.separation``.

    Parameters
    ----------
    parts : (L,) the part that each layer belongs to, for example ``validity.bands``; default: each
        layer by itself, by its number
    """
    parts = 1 + np.arange(len(next(iter(one.layers.values())))) if parts is None else parts
    rows = []
    for measure, apart in one.layers.items():
        for part in dict.fromkeys(parts):
            found = validity.separation(apart[parts == part], one.failed, level=level)
            value, low, high, p, _ = found.difference
            rows.append((measure, part, found.failed, found.successful, value, low, high, p))
    columns = ["measure", "layers", "failed", "successful", "value", "low", "high", "p"]
    return pd.DataFrame(rows, columns=columns)


def top_layer(table: pd.DataFrame) -> pd.DataFrame:
    """Of a table of known differences (``lib.known``), the rows of ``MEASURES`` at the last layer
    of each job, and those of measures without layers, whose layer is negative.
    """
    top = table["layer"] == table.groupby("job")["layer"].transform("max")
    return table[(top | (table["layer"] < 0)) & table["measure"].isin(MEASURES)]
