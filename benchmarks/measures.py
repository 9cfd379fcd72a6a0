"""Benchmark of the measures against other implementations, on one thread and in one run.

    python -m benchmarks.measures                               # all sizes, about ten minutes
    python -m benchmarks.measures --sizes 277x1024 --out build  # one size, results elsewhere
    python -m benchmarks.measures --quick                       # tiny: only to see that it runs

The task is that of a study: distances between all pairs of 20 runs at each of 25 layers. Ours does
all pairs at a few layers, which are scaled to 25; another implementation does as many pairs as a
few CPU-seconds allow, scaled to all. Every row says what was measured. Both sides of a ratio
compute the same measures of the same synthetic layers. Nothing here is a test: ratios depend on the
machine, and where another implementation is faster the row stays.
"""

import argparse
import os

# Before numpy is imported: BLAS reads them once.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import multiprocessing
import platform
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from functools import lru_cache, partial
from importlib import metadata
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import ckatorch.core
import numpy as np
import pandas as pd
import rsatoolbox
import torch
from cka import cka_from_features
from scipy import linalg
from scipy.spatial.distance import jensenshannon
from sklearn.decomposition import PCA
from statsmodels.multivariate.cancorr import CanCorr
from statsmodels.stats.inter_rater import aggregate_raters
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_kappa
from threadpoolctl import threadpool_info
from tqdm import tqdm

from benchmarks import published_procedure
from lib import measures, paths
from lib.measures.intervals import pair_means, run_weights
from lib.measures.representation import NAMES, SaturationWarning

torch.set_num_threads(1)
warnings.simplefilter("ignore", SaturationWarning)

LAYERS = 25
#: Singular values k^-decay of the measured layers, in turn.
DECAYS = (0.8, 1.1, 1.4)
RESAMPLES = 1000


class Size(NamedTuple):
    """Examples and dimensions."""

    n: int
    d: int

    def __str__(self) -> str:
        return f"{self.n}x{self.d}"


SIZES = (Size(138, 1024), Size(277, 384), Size(277, 1024), Size(408, 384), Size(1043, 384))
TINY = Size(24, 32)


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    sizes: tuple[Size, ...]
    layers: int
    runs: int = 20
    #: CPU-seconds after which no further pair is started, and less than which is repeated.
    peer_seconds: float = 4.0
    repeat_seconds: float = 0.5
    #: Runs whose pairs are compared with the definitions.
    accuracy_runs: int = 4
    examples: tuple[int, ...] = (277, 1043)
    plain_resamples: int = 3
    scaling_size: Size = SIZES[2]
    scaling_layers: int = 2
    products: int = 200
    repeats: int = 5


QUICK = Plan(
    sizes=(TINY,),
    layers=1,
    runs=4,
    peer_seconds=0.0,
    repeat_seconds=0.0,
    accuracy_runs=2,
    examples=(30,),
    plain_resamples=1,
    scaling_size=TINY,
    scaling_layers=1,
    products=2,
    repeats=1,
)

#: Lower bounds of ratios by comparison and size; None: any size.
RATIO_TARGETS = {
    ("published", "138x1024"): 100,
    ("published", "277x384"): 5,
    ("published", "277x1024"): 30,
    ("textbook", "277x1024"): 50,
    ("bootstrap", None): 1000,
    ("two workers", None): 0.85,
}
#: Upper bounds of differences from the definitions by precision of ours.
ACCURACY_TARGETS = {"float64": 1e-10, "float32": 1e-5}


@dataclass
class Row:
    """One line of the table. ``ratio`` is theirs over ours, so that more than 1 is our win."""

    comparison: str
    size: str
    measures: str
    peer: str
    precision: str = "float64"
    ours_cpu_s: float | None = None
    peer_cpu_s: float | None = None
    ours_speedup: float | None = None
    peer_speedup: float | None = None
    ratio: float | None = None
    max_difference: float | None = None
    target: float | None = None
    met: bool | None = None
    pairs_measured: int | None = None
    layers_measured: int | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if self.comparison == "accuracy":
            self.target = ACCURACY_TARGETS[self.precision]
            self.met = bool(self.max_difference <= self.target)
            return
        by_size = RATIO_TARGETS.get((self.comparison, self.size))
        self.target = by_size or RATIO_TARGETS.get((self.comparison, None))
        self.met = None if self.target is None else bool(self.ratio >= self.target)


# Synthetic layers and predictions


def layer(rng: np.random.Generator, size: Size, n_runs: int, decay: float) -> np.ndarray:
    """(S, N, D) float32 vectors of one layer, as a deep encoder's.

    All runs share a signal with singular values k^-decay, a direction that separates two classes,
    and a mean of three standard deviations; each has noise of its own with the spectrum of the
    signal, a fifth of it in the first run and as much as it in the last.
    """
    n, d = size
    rank = min(size)
    strength = np.arange(1, rank + 1) ** -decay
    left, right = (np.linalg.qr(rng.normal(size=(rows, rank)))[0] for rows in size)
    classes = rng.choice([-1.0, 1.0], n) / np.sqrt(n)
    separation = 0.5 * np.outer(classes, rng.normal(size=rank) / np.sqrt(rank))
    signal = left * strength + separation
    mean = 3 * signal.std() * np.sqrt(rank / d) * rng.normal(size=d)
    amount = np.linspace(0.2, 1.0, n_runs)[:, None, None]
    noise = amount * rng.normal(size=(n_runs, n, rank)) / np.sqrt(n) * strength
    return ((signal + noise) @ right.T + mean).astype(np.float32)


@lru_cache(maxsize=1)
def layers_of_runs(size: Size, n_runs: int, n_layers: int) -> np.ndarray:
    """(S, L, N, D) float32, the spectra of ``DECAYS`` in turn."""
    rng = np.random.default_rng(0)
    drawn = [layer(rng, size, n_runs, DECAYS[k % len(DECAYS)]) for k in range(n_layers)]
    return np.stack(drawn, axis=1)


def predictions_of_runs(n_runs: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Class labels (S, N) and probabilities (S, N, 2) of runs that answer one in five otherwise."""
    rng = np.random.default_rng(0)
    margin = 1.5 * rng.normal(size=n) + rng.normal(size=(n_runs, n))
    positive = 1 / (1 + np.exp(-margin))
    return (margin > 0).astype(int), np.stack([1 - positive, positive], axis=-1)


# Clocks


def cpu(function: Callable[..., Any], *args: Any) -> tuple[float, Any]:
    """CPU-seconds of one call, and its result."""
    start = time.process_time()
    result = function(*args)
    return time.process_time() - start, result


def cpu_repeated(at_least: float, function: Callable[..., Any], *args: Any) -> tuple[float, Any]:
    """Mean CPU-seconds of as many calls as fill ``at_least``, one or more."""
    total, calls = 0.0, 0
    while total < at_least or not calls:
        seconds, result = cpu(function, *args)
        total, calls = total + seconds, calls + 1
    return total / calls, result


def wall(function: Callable[..., Any], *args: Any) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


# Other implementations


class Timing(NamedTuple):
    """CPU-seconds for all pairs of the runs at the measured layers; distances (M, L, S, S), NaN
    where a pair was not measured."""

    seconds: float
    distances: np.ndarray
    n_pairs: int


@dataclass(frozen=True)
class PairPeer:
    """An implementation for one pair of runs, called for one pair after the other.

    ``prepare`` takes the (L, N, D) float32 layers of a run and is timed once a run; ``compare``
    takes two results of it and returns (L,) distances, or (L, M) of M measures.
    """

    name: str
    prepare: Callable[[np.ndarray], Any]
    compare: Callable[[Any, Any], Any]
    note: str = ""

    def time(self, runs: np.ndarray, n_measures: int, budget: float) -> Timing:
        n_runs, n_layers = runs.shape[:2]
        pairs = np.random.default_rng(1).permutation(list(combinations(range(n_runs), 2)))
        distances = np.full((n_measures, n_layers, n_runs, n_runs), np.nan)
        prepared: dict[int, Any] = {}
        run_seconds = pair_seconds = 0.0
        n_pairs = 0
        for i, j in pairs.tolist():
            for run in {i, j} - set(prepared):
                seconds, prepared[run] = cpu(self.prepare, runs[run])
                run_seconds += seconds
            seconds, found = cpu(self.compare, prepared[i], prepared[j])
            pair_seconds += seconds
            n_pairs += 1
            distances[:, :, i, j] = np.reshape(found, (n_layers, n_measures)).T
            if run_seconds + pair_seconds >= budget:
                break
        total = run_seconds / len(prepared) * n_runs + pair_seconds / n_pairs * len(pairs)
        return Timing(total, distances, n_pairs)


@dataclass(frozen=True)
class AllPairsPeer:
    """An implementation that takes all runs of a layer (S, N, D) at once, for one measure."""

    name: str
    compare: Callable[[np.ndarray], np.ndarray]
    note: str = ""

    def time(self, runs: np.ndarray, n_measures: int, budget: float) -> Timing:
        n_runs = len(runs)
        by_layer = runs.swapaxes(0, 1)
        seconds, found = cpu_repeated(budget, layerwise(self.compare), by_layer)
        return Timing(seconds, np.stack(found)[None], n_runs * (n_runs - 1) // 2)


def layerwise(function: Callable[..., Any]) -> Callable[..., list[Any]]:
    """The function of one layer, for one or two runs, called for each layer."""
    return lambda *runs: [function(*layers) for layers in zip(*runs, strict=True)]


def doubled(x: np.ndarray) -> np.ndarray:
    """The same in float64: libraries get the precision that ours computes in."""
    return x.astype(np.float64)


def unit(x: np.ndarray) -> np.ndarray:
    """Columns centred, Frobenius norm 1, in float64."""
    centred = doubled(x)
    centred -= centred.mean(0)
    return centred / np.linalg.norm(centred)


def principal_scores(x: np.ndarray) -> np.ndarray:
    """(N, k) scores on the directions that hold 99 % of the variance, by scikit-learn."""
    return PCA(n_components=0.99, svd_solver="full").fit_transform(doubled(x))


def statsmodels_distance(x: np.ndarray, y: np.ndarray) -> float:
    """1 − mean canonical correlation of two matrices of scores, by statsmodels."""
    return 1 - CanCorr(x, y).cancorr.mean()


def scipy_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Procrustes distance of two unit matrices, by scipy."""
    return 1 - linalg.orthogonal_procrustes(x, y)[1]


def ckatorch_distance(x: np.ndarray, y: np.ndarray, unbiased: bool) -> float:
    """CKA distance, by ckatorch."""
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    return (
        1
        - ckatorch.core.cka_base(
            *tensors, kernel="linear", unbiased=unbiased, method="fro_norm"
        ).item()
    )


def textbook_distances(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """SVCCA, Procrustes and biased CKA of one pair, each by the library that people use for it."""
    return (
        statsmodels_distance(principal_scores(x), principal_scores(y)),
        scipy_distance(unit(x), unit(y)),
        ckatorch_distance(x, y, unbiased=False),
    )


def published_distances(x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """(L, 3) distances of one pair by the published procedure."""
    found = published_procedure.all_pairs([x, y], [(0, 1)])
    return torch.stack([values[0] for values in found.values()], dim=-1).numpy()


def dissimilarities(x: np.ndarray) -> rsatoolbox.rdm.RDMs:
    """Euclidean dissimilarity matrix of one run at one layer, the input of rsatoolbox."""
    return rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(doubled(x)), method="euclidean")


def bures_distance(x: rsatoolbox.rdm.RDMs, y: rsatoolbox.rdm.RDMs) -> float:
    """Procrustes distance, by rsatoolbox."""
    return 1 - rsatoolbox.rdm.compare(x, y, "bures").item()


def cosine_cov_distances(runs: np.ndarray) -> np.ndarray:
    """(S, S) biased CKA distances, by rsatoolbox."""
    rdms = rsatoolbox.rdm.concat([dissimilarities(x) for x in runs])
    return 1 - rsatoolbox.rdm.compare(rdms, rdms, "cosine_cov")


def pytorch_cka_distances(runs: np.ndarray) -> np.ndarray:
    """(S, S) debiased CKA distances, by pytorch-cka with the runs in the place of layers."""
    centred = doubled(runs)
    centred -= centred.mean(1, keepdims=True)
    tensor = torch.from_numpy(centred)
    return 1 - cka_from_features(tensor, tensor).numpy()


@dataclass(frozen=True)
class Comparison:
    """The measures computed on both sides, and who computes them beside us."""

    name: str
    measures: tuple[str, ...]
    peers: tuple[PairPeer | AllPairsPeer, ...]


COMPARISONS = (
    Comparison(
        "published",
        tuple(published_procedure.DISTANCES),
        (
            PairPeer(
                "published procedure",
                torch.from_numpy,
                published_distances,
                "float32, as published; decompositions of a run redone for each of its pairs",
            ),
        ),
    ),
    Comparison(
        "textbook",
        ("svcca", "op", "cka_biased"),
        (
            PairPeer(
                "scikit-learn + statsmodels, scipy, ckatorch",
                doubled,
                layerwise(textbook_distances),
                "everything redone for each pair",
            ),
        ),
    ),
    Comparison(
        "single",
        ("op",),
        (
            PairPeer("scipy", layerwise(unit), layerwise(scipy_distance), "centred once a run"),
            PairPeer(
                "rsatoolbox bures",
                layerwise(dissimilarities),
                layerwise(bures_distance),
                "dissimilarities once a run",
            ),
        ),
    ),
    Comparison(
        "single",
        ("cka_biased",),
        (
            AllPairsPeer("rsatoolbox cosine_cov", cosine_cov_distances, "all pairs in one call"),
            PairPeer("ckatorch", doubled, layerwise(partial(ckatorch_distance, unbiased=False))),
        ),
    ),
    Comparison(
        "single",
        ("cka",),
        (
            AllPairsPeer("pytorch-cka", pytorch_cka_distances, "all pairs in one call"),
            PairPeer("ckatorch", doubled, layerwise(partial(ckatorch_distance, unbiased=True))),
        ),
    ),
    Comparison(
        "single",
        ("svcca",),
        (
            PairPeer(
                "scikit-learn + statsmodels",
                layerwise(principal_scores),
                layerwise(statsmodels_distance),
                "principal components once a run",
            ),
        ),
    ),
)


def ours(runs: np.ndarray, names: Iterable[str], **options: Any) -> np.ndarray:
    """(M, L, S, S) distances by our implementation, on one worker unless told otherwise."""
    found = measures.representation_distances(runs, names, **{"workers": 1, **options})
    return np.stack([found[name] for name in names])


def compare(comparison: Comparison, size: Size, plan: Plan) -> list[Row]:
    """A row for each peer of one comparison at one size; seconds are scaled to all layers."""
    runs = layers_of_runs(size, plan.runs, plan.layers)
    scale = LAYERS / plan.layers
    seconds, distances = cpu_repeated(plan.repeat_seconds, ours, runs, comparison.measures)
    rows = []
    for peer in comparison.peers:
        timing = peer.time(runs, len(comparison.measures), plan.peer_seconds)
        rows.append(
            Row(
                comparison.name,
                str(size),
                " + ".join(comparison.measures),
                peer.name,
                ours_cpu_s=seconds * scale,
                peer_cpu_s=timing.seconds * scale,
                ratio=timing.seconds / seconds,
                max_difference=float(np.nanmax(np.abs(timing.distances - distances))),
                pairs_measured=timing.n_pairs,
                layers_measured=plan.layers,
                note=peer.note,
            )
        )
    return rows


# Definitions in float64, each by itself


def leading_basis(x: np.ndarray) -> np.ndarray:
    """Orthonormal basis of the scores on the fewest directions with 99 % of the variance."""
    left, singular, _ = linalg.svd(unit(x), full_matrices=False)
    shares = np.cumsum(singular**2) / np.sum(singular**2)
    kept = np.searchsorted(shares, 0.99) + 1
    return linalg.qr(left[:, :kept] * singular[:kept], mode="economic")[0]


def defined_svcca(x: np.ndarray, y: np.ndarray) -> float:
    """By singular value decompositions and QR of the scores."""
    return 1 - linalg.svdvals(leading_basis(x).T @ leading_basis(y)).mean()


def defined_svcca_published(x: np.ndarray, y: np.ndarray) -> float:
    """By the published procedure, in float64 throughout."""
    tensors = (torch.from_numpy(doubled(m))[None] for m in (x, y))
    return published_procedure.svcca_distance(*tensors, dtype=torch.float64).item()


def defined_op(x: np.ndarray, y: np.ndarray) -> float:
    """By the singular values of the (D, D) cross-products."""
    return 1 - linalg.svdvals(unit(x).T @ unit(y)).sum()


def debiased_gram(x: np.ndarray) -> np.ndarray:
    """Centred Gram matrix of the unbiased HSIC: rows and columns without the diagonal sum to 0."""
    gram = unit(x) @ unit(x).T
    np.fill_diagonal(gram, 0)
    n = len(gram)
    sums = gram.sum(0)
    gram += sums.sum() / ((n - 1) * (n - 2)) - (sums + sums[:, None]) / (n - 2)
    np.fill_diagonal(gram, 0)
    return gram


def defined_cka(x: np.ndarray, y: np.ndarray) -> float:
    """By debiased (N, N) Gram matrices."""
    a, b = debiased_gram(x), debiased_gram(y)
    return 1 - (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())


def defined_cka_biased(x: np.ndarray, y: np.ndarray) -> float:
    """By centred (N, N) Gram matrices."""
    a, b = (unit(m) @ unit(m).T for m in (x, y))
    return 1 - (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())


DEFINITIONS = {
    "svcca": defined_svcca,
    "svcca_published": defined_svcca_published,
    "op": defined_op,
    "cka": defined_cka,
    "cka_biased": defined_cka_biased,
}


def accuracy(size: Size, plan: Plan) -> list[Row]:
    """Largest difference from the definition for each measure and precision of ours."""
    chosen = np.linspace(0, plan.runs - 1, plan.accuracy_runs).astype(int)
    runs = layers_of_runs(size, plan.runs, plan.layers)[chosen]
    i, j = np.triu_indices(len(runs), 1)
    found = {p: ours(runs, NAMES, precision=p)[:, :, i, j] for p in ACCURACY_TARGETS}
    rows = []
    for k, name in enumerate(NAMES):
        pairs = [layerwise(DEFINITIONS[name])(runs[a], runs[b]) for a, b in zip(i, j, strict=True)]
        expected = np.transpose(pairs)
        rows += [
            Row(
                "accuracy",
                str(size),
                name,
                "definition, float64",
                precision=precision,
                max_difference=float(np.abs(values[k] - expected).max()),
                pairs_measured=len(pairs),
                layers_measured=plan.layers,
            )
            for precision, values in found.items()
        ]
    return rows


# Predictions


def our_predictions(votes: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Mean disagreement, 1 − kappa, mean divergence."""
    upper = np.triu_indices(len(votes), 1)
    return np.array(
        [
            measures.pairwise_disagreement(votes)[upper].mean(),
            1 - measures.fleiss_kappa(votes),
            measures.pairwise_jsd(probabilities)[upper].mean(),
        ]
    )


def plain_predictions(
    votes: np.ndarray, probabilities: np.ndarray, pairs: Iterable[tuple[int, int]]
) -> np.ndarray:
    """The same one pair after the other, with scipy and statsmodels."""
    disagreement = [np.mean(votes[i] != votes[j]) for i, j in pairs]
    divergence = [
        np.mean(jensenshannon(probabilities[i], probabilities[j], axis=1) ** 2) for i, j in pairs
    ]
    kappa = statsmodels_kappa(aggregate_raters(votes.T)[0])
    return np.array([np.mean(disagreement), 1 - kappa, np.mean(divergence)])


def our_bootstrap(votes: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(B, 3) of ``our_predictions`` for each resample of runs."""
    weights = run_weights(len(votes), RESAMPLES)
    distances = [measures.pairwise_disagreement(votes), measures.pairwise_jsd(probabilities)]
    disagreement, divergence = pair_means(np.stack(distances), weights).T
    shares = (votes[..., None] == np.unique(votes)).mean(1)
    chance = ((weights @ shares / len(votes)) ** 2).sum(1)
    return np.stack([disagreement, disagreement / (1 - chance), divergence], axis=1)


def plain_bootstrap(
    votes: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """(B, 3) by drawing runs and computing everything again; pairs of a run with itself left out.

    statsmodels counts such pairs of raters as agreeing; the last step takes them out of 1 − kappa,
    so that both sides mean the same.
    """
    resamples = []
    for counts in weights:
        drawn = np.repeat(np.arange(len(votes)), counts.astype(int))
        every = list(combinations(range(len(drawn)), 2))
        pairs = [(i, j) for i, j in every if drawn[i] != drawn[j]]
        found = plain_predictions(votes[drawn], probabilities[drawn], pairs)
        resamples.append(found * [1, len(every) / len(pairs), 1])
    return np.array(resamples)


def predictions(n: int, plan: Plan) -> list[Row]:
    """All measures of predictions once, and for resampled runs."""
    data = predictions_of_runs(plan.runs, n)
    pairs = list(combinations(range(plan.runs), 2))
    about = {"size": f"{plan.runs} runs x {n}", "measures": "disagreement + kappa + jsd"}
    about |= {"peer": "per pair: numpy, statsmodels, scipy", "pairs_measured": len(pairs)}
    repeated = partial(cpu_repeated, plan.repeat_seconds)
    seconds, found = repeated(our_predictions, *data)
    peer_seconds, expected = repeated(plain_predictions, *data, pairs)
    once = Row(
        "predictions",
        **about,
        ours_cpu_s=seconds,
        peer_cpu_s=peer_seconds,
        ratio=peer_seconds / seconds,
        max_difference=float(np.abs(found - expected).max()),
    )
    seconds, found = repeated(our_bootstrap, *data)
    weights = run_weights(plan.runs, RESAMPLES)[: plan.plain_resamples]
    peer_seconds, expected = repeated(plain_bootstrap, *data, weights)
    peer_seconds *= RESAMPLES / len(weights)
    resampled = Row(
        "bootstrap",
        **about,
        ours_cpu_s=seconds,
        peer_cpu_s=peer_seconds,
        ratio=peer_seconds / seconds,
        max_difference=float(np.abs(found[: len(weights)] - expected).max()),
        note=f"{RESAMPLES} resamples of runs; peer measured on {len(weights)}",
    )
    return [once, resampled]


# Two workers


#: Set in the processes of the pool, when they start.
_both_ready: Any = None


def _share(barrier: Any) -> None:
    global _both_ready
    _both_ready = barrier


def matrix_products(count: int, wait: bool) -> float:
    """Seconds of ``count`` products of 512 × 512 matrices; ``wait``: for the other process."""
    x = np.random.default_rng(0).normal(size=(512, 512))
    x @ x
    if wait:
        _both_ready.wait()
    return wall(lambda: [x @ x for _ in range(count)])


def two_workers(plan: Plan) -> list[Row]:
    """Speed-up of ours by a second worker beside that of matrix products by a second process.

    The latter is what the machine gives to two busy cores at this moment. Repeats alternate, and
    the fastest of each counts.
    """
    runs = layers_of_runs(plan.scaling_size, plan.runs, plan.scaling_layers)
    names = tuple(published_procedure.DISTANCES)
    ours_one, ours_two, plain_one, plain_two = [], [], [], []
    context = multiprocessing.get_context("spawn")
    with context.Pool(2, _share, (context.Barrier(2),)) as pool:
        # The first products wait until both processes have started.
        pool.starmap(matrix_products, [(1, True)] * 2, chunksize=1)
        for _ in range(plan.repeats):
            plain_one.append(pool.apply(matrix_products, (plan.products, False)))
            together = pool.starmap(matrix_products, [(plan.products, True)] * 2, chunksize=1)
            plain_two.append(max(together))
            ours_one.append(wall(partial(ours, runs, names, workers=1)))
            ours_two.append(wall(partial(ours, runs, names, workers=2)))
    ours_speedup = min(ours_one) / min(ours_two)
    peer_speedup = 2 * min(plain_one) / min(plain_two)
    return [
        Row(
            "two workers",
            str(plan.scaling_size),
            " + ".join(names),
            "512 x 512 matrix products in two processes",
            ours_speedup=ours_speedup,
            peer_speedup=peer_speedup,
            ratio=ours_speedup / peer_speedup,
            layers_measured=plan.scaling_layers,
            note=f"wall time with one and two: ours {min(ours_one):.3g} and {min(ours_two):.3g} s, "
            f"products {min(plain_one):.3g} and, twice as many, {min(plain_two):.3g} s; best of "
            f"{plan.repeats}",
        )
    ]


# Report

HEADINGS = {
    "size": "size",
    "measures": "measures",
    "peer": "beside",
    "precision": "precision",
    "ours_cpu_s": "ours, s",
    "peer_cpu_s": "theirs, s",
    "ours_speedup": "ours, two workers",
    "peer_speedup": "products, two processes",
    "ratio": "ratio",
    "max_difference": "largest difference",
    "target": "target",
    "met": "met",
    "pairs_measured": "pairs measured",
    "layers_measured": "layers measured",
    "note": "note",
}

SECTIONS = {
    "published": "The published procedure (Du & Nguyen 2023)",
    "textbook": "Textbook measures, a library each",
    "single": "Single measures",
    "accuracy": "Accuracy: ours against the definitions in float64",
    "predictions": "Measures of predictions",
    "bootstrap": "1,000 resamples of runs",
    "two workers": "Two workers",
}


def machine() -> str:
    """Processor, and the versions that matter for speed."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    names = ("numpy", "scipy", "torch", "scikit-learn", "statsmodels")
    names += ("rsatoolbox", "ckatorch", "pytorch-cka")
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    blas = sorted(
        f"{pool['internal_api']} {pool['version']} ({pool.get('architecture', 'unknown')})"
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    )
    torch_blas = "MKL" if torch.backends.mkl.is_available() else "no MKL"
    return (
        f"{models[0] if models else platform.processor() or platform.machine()}, "
        f"{os.cpu_count()} logical cores, {platform.system()}. Python "
        f"{platform.python_version()}, {packages}. BLAS: {', '.join(blas)}; torch has {torch_blas}."
    )


def cell(column: str, value: Any) -> str:
    """A value as the tables show it."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if column == "met":
        return "yes" if value else "no"
    if column in ("pairs_measured", "layers_measured"):
        return f"{value:.0f}"
    if column == "max_difference":
        return f"{value:.0e}" if value else "0"
    if isinstance(value, float | int):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def markdown_table(rows: pd.DataFrame) -> str:
    """The columns that hold something, and a precision if there are two."""
    hidden = {"comparison"} | ({"precision"} if rows["precision"].nunique() == 1 else set())
    used = [c for c in rows if c not in hidden and (rows[c].notna() & (rows[c] != "")).any()]
    lines = [[HEADINGS[column] for column in used], ["---"] * len(used)]
    lines += [[cell(c, row[c]) for c in used] for row in rows.to_dict("records")]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def report(table: pd.DataFrame, plan: Plan) -> str:
    """The results as a page of text."""
    n_pairs = plan.runs * (plan.runs - 1) // 2
    decays = ", ".join(f"k^-{decay}" for decay in DECAYS)
    method = f"""\
Measured in one run. Seconds are CPU-seconds of one thread. For representations they are those of
all {n_pairs} pairs of {plan.runs} runs at {LAYERS} layers: ours measured on all pairs at
{plan.layers} of the layers and scaled, the others on as many pairs of the same layers as the tables
say, and scaled; what an implementation does once a run is scaled by runs. The layers are
synthetic, in float32, with singular values {decays} in turn. Ours
computes in float64 unless a table says float32, and so do the others but for the published
procedure. A ratio is theirs over ours. A difference is the largest between ours and theirs over
what both measured."""
    parts = ["# Speed and accuracy of the measures", machine(), method]
    for comparison, heading in SECTIONS.items():
        rows = table[table["comparison"] == comparison]
        parts += [f"## {heading}", markdown_table(rows)]
    return "\n\n".join(parts) + "\n"


# Command line


def size_argument(text: str) -> Size:
    """``277x1024`` as a size."""
    try:
        n, d = map(int, text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}; expected N x D such as 277x1024") from None
    return Size(n, d)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=size_argument,
        default=SIZES,
        metavar="NxD",
        help=f"examples x dimensions (default: {' '.join(map(str, SIZES))})",
    )
    parser.add_argument(
        "--layers-measured",
        type=int,
        default=len(DECAYS),
        metavar="L",
        help="layers measured and scaled to 25 (default: 3, one of each spectrum)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="one tiny size and few runs, to see that it runs"
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="folder for measures.csv and measures.md (default: data/benchmarks of the project, "
        "with --quick build/benchmarks)",
    )
    return parser.parse_args()


def main() -> None:
    """Measure, write the two files, print the page."""
    args = arguments()
    plan = QUICK if args.quick else Plan(tuple(args.sizes), args.layers_measured)
    out = args.out or paths.ROOT / ("build" if args.quick else "data") / "benchmarks"
    steps = [
        (f"{size}: {' + '.join(comparison.measures)}", partial(compare, comparison, size, plan))
        for size in plan.sizes
        for comparison in COMPARISONS
    ]
    steps += [(f"{size}: accuracy", partial(accuracy, size, plan)) for size in plan.sizes]
    steps += [(f"predictions: {n}", partial(predictions, n, plan)) for n in plan.examples]
    steps += [("two workers", partial(two_workers, plan))]
    for comparison in COMPARISONS:
        # First calls load libraries and start their threads, here and not in what is timed.
        compare(comparison, TINY, QUICK)
    rows = []
    progress = tqdm(steps)
    for description, step in progress:
        progress.set_description(description)
        rows += step()
    table = pd.DataFrame([asdict(row) for row in rows], columns=[f.name for f in fields(Row)])
    text = report(table, plan)
    out.mkdir(parents=True, exist_ok=True)
    table.to_csv(out / "measures.csv", index=False, float_format="%.4g")
    (out / "measures.md").write_text(text)
    print(text)
    print(f"Written to {out}")


if __name__ == "__main__":
    main()
