"""Instability of representations: distances between layer vectors of all pairs of runs.

With X (N, D) the vectors of a run at a layer, columns centred, σ_i the singular values of X_i' X_j:

========= ====================================================================================
op        1 − ‖X_i'X_j‖_* / (‖X_i‖_F ‖X_j‖_F): orthogonal Procrustes as Du & Nguyen (2023) use it;
          ``convert_op`` gives the other forms in use
cka       1 − debiased linear CKA, from the unbiased HSIC of Song et al. (2012); can exceed 1
cka_biased  1 − ‖X_i'X_j‖²_F / (‖X_i'X_i‖_F ‖X_j'X_j‖_F) (Kornblith et al. 2019)
svcca     1 − mean canonical correlation of the directions holding 99 % of the variance of the
          centred X (Raghu et al. 2017)
svcca_published  the released rule: uncentred X, the leading directions whose share of the *sum of
          singular values* is at most 99 %, at least one; then centred
========= ====================================================================================

Each run is factorised once a layer (``lib.measures.representation.factors``); a pair then costs
products of small matrices. Canonical correlations of two large subspaces are taken from what the
subspaces leave out: the principal angles are the same, and the matrices much smaller.
"""

import contextlib
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from types import SimpleNamespace

import numpy as np

from lib.measures.representation.factors import backend_for, factorise
from lib.measures.representation.pairs import ENGINES, RULES

NAMES = tuple(ENGINES)
#: A measure is warned of where a pair with shuffled examples is closer than this.
SATURATED = 0.9
# BLAS has one number of threads for the whole process: calls from several threads take turns.
_ONE_AT_A_TIME = threading.Lock()


class SaturationWarning(UserWarning):
    """A distance is small for unrelated representations too; compare with the chance level."""


def representation_distances(
    representations: np.ndarray | Sequence[np.ndarray],
    measures: Sequence[str] = ("svcca", "op", "cka"),
    *,
    workers: int | None = None,
    precision: str = "float64",
    device: str | None = None,
) -> dict[str, np.ndarray]:
    """Distances between all pairs of S runs at each of L layers.

    Parameters
    ----------
    representations : (S, L, N, D) array, or a sequence of S arrays (L, N, D_s) of any widths; the
        N rows are the same examples in the same order in every run. Layers are read one after the
        other: memory maps stay on disk, and memory is that of one layer: up to eight times
        S·N·min(N, D) doubles, and for CKA with N > D up to 1 GiB of N × N matrices.
    measures : names out of ``svcca``, ``svcca_published``, ``op``, ``cka``, ``cka_biased``
    workers : threads over pairs, each with one BLAS thread; None: as many as BLAS would have used.
        The result does not depend on it.
    precision : ``float64``, or ``float32`` for the pairs' part of ``op`` and of the SVCCAs (factors
        stay in float64): within 1e-5
    device : None for numpy; a torch device such as ``"cuda"``

    Returns
    -------
    dict name → (L, S, S) symmetric float64 array, zero diagonal. A run that is constant or not
    finite at a layer gets NaN for its pairs there, and a warning naming run and layer.

    All columns are centred, in float64, whatever the input: adding a constant vector, rotating or
    scaling a run changes nothing (but for ``svcca_published``, which starts from uncentred data).
    ``cka`` needs N ≥ 4. With few examples for the dimensions (N ≤ D above all) the other measures
    saturate: unrelated representations are close. One pair with shuffled examples tells at each
    layer; where it is below 0.9, a ``SaturationWarning`` gives its distance.
    """
    return _compare(representations, measures, [], workers, precision, device)[0]


def distances_and_chance(
    representations: np.ndarray | Sequence[np.ndarray],
    measures: Sequence[str] = ("svcca", "op", "cka"),
    *,
    n_permutations: int = 20,
    seed: int = 0,
    workers: int | None = None,
    precision: str = "float64",
    device: str | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """``representation_distances``, and the chance level of each measure from the same factors.

    For the chance level, two different runs are drawn and the examples of one are permuted, which
    leaves nothing in common but the number of examples, the widths and the spectra.

    Returns
    -------
    distances : dict name → (L, S, S), as ``representation_distances``
    chance : dict name → (L, n_permutations), distances of such unrelated pairs; NaN where one of
        the two has no representation
    """
    arrays = _check(representations, measures, precision)
    n_runs, n_examples = len(arrays), arrays[0].shape[1]
    rng = np.random.default_rng(seed)
    shuffles = [
        (*map(int, rng.choice(n_runs, 2, replace=False)), rng.permutation(n_examples))
        for _ in range(n_permutations)
    ]
    return _compare(arrays, measures, shuffles, workers, precision, device)


def kept_directions(
    representations: np.ndarray | Sequence[np.ndarray], measure: str = "svcca"
) -> tuple[np.ndarray, np.ndarray]:
    """How many directions an SVCCA keeps, (L, S), and by what margin from the 99 %, (L, S).

    SVCCA jumps where the number changes, by about 1/k; where the margin is near rounding, so may
    the number on another machine. ``measure``: ``svcca`` or ``svcca_published``. A constant run
    keeps 0, by a margin of NaN.
    """
    arrays = _check(representations, [measure], "float64")
    factors = [[factorise(array[layer]) for array in arrays] for layer in range(len(arrays[0]))]
    nothing = (0, float("nan"))
    kept = np.array(
        [[getattr(f, f"kept_{RULES[measure]}")() if f else nothing for f in row] for row in factors]
    )
    return kept[..., 0].astype(int), kept[..., 1]


def convert_op(distances: np.ndarray, to: str) -> np.ndarray:
    """The OP distance 1 − s, s the nuclear norm of the normalised X_i'X_j, in another form.

    ``similarity`` s (normalised Bures similarity); ``squared`` 2 − 2s (Ding 2021); ``root``
    √(2 − 2s) (the Procrustes distance proper, a metric); ``angular`` arccos s (Williams 2021, a
    metric); ``disparity`` 1 − s² (``scipy.spatial.procrustes``).
    """
    d = np.asarray(distances, float)
    forms = {
        "similarity": lambda: 1 - d,
        "squared": lambda: 2 * d,
        "root": lambda: np.sqrt(2 * d),
        "angular": lambda: np.arccos(np.clip(1 - d, -1, 1)),
        "disparity": lambda: 1 - (1 - d) ** 2,
    }
    if to not in forms:
        raise ValueError(f"to = {to!r} is unknown; valid: {', '.join(forms)}")
    return forms[to]()


def _compare(
    representations: np.ndarray | Sequence[np.ndarray],
    measures: Sequence[str],
    shuffles: list[tuple[int, int, np.ndarray]],
    workers: int | None,
    precision: str,
    device: str | None,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Distances and chance distances, for the functions above, in whose caller's name it warns."""
    arrays = _check(representations, measures, precision)
    backend = backend_for(device)
    n_runs, n_layers = len(arrays), arrays[0].shape[0]
    distances = {name: np.full((n_layers, n_runs, n_runs), np.nan) for name in measures}
    chance = {name: np.full((n_layers, len(shuffles)), np.nan) for name in measures}
    saturated: dict[str, tuple[float, int]] = {}
    anyhow = np.random.default_rng(0).permutation(arrays[0].shape[1])
    with _pool(workers) as pool:
        for layer in range(n_layers):
            xs = [array[layer] for array in arrays]
            factors = list(pool.map(partial(factorise, backend=backend), xs))
            usable = [run for run, factor in enumerate(factors) if factor is not None]
            for run in sorted({*range(n_runs)} - {*usable}):
                what = "representation is constant or not finite; its distances are NaN"
                warnings.warn(f"run {run}, layer {layer}: {what}", stacklevel=3)
            if len(usable) < 2:
                continue
            for name in measures:
                measure = ENGINES[name]([factors[i] for i in usable], backend, precision, pool)
                matrix = measure.distances()
                for i in np.flatnonzero(np.isnan(np.diag(matrix))):
                    what = f"a single example differs from the others; its {name} distances are NaN"
                    warnings.warn(f"run {usable[i]}, layer {layer}: {what}", stacklevel=3)
                distances[name][layer][np.ix_(usable, usable)] = matrix
                if name != "cka":
                    apart = measure.unrelated(0, 1, anyhow), layer
                    saturated[name] = min(saturated.get(name, apart), apart)
                for k, (a, b, shuffle) in enumerate(shuffles):
                    if a in usable and b in usable:
                        places = usable.index(a), usable.index(b)
                        chance[name][layer, k] = measure.unrelated(*places, shuffle)
    for stack in distances.values():
        stack[:, range(n_runs), range(n_runs)] = 0.0
    for name, (apart, layer) in saturated.items():
        if apart < SATURATED:
            warnings.warn(
                f"{name}, layer {layer}: with {arrays[0].shape[1]} examples, two unrelated "
                f"representations would be {apart:.2f} apart, not 1; report the chance level "
                "(distances_and_chance), or the debiased cka",
                SaturationWarning,
                stacklevel=3,
            )
    return distances, chance


@lru_cache(maxsize=1)
def _blas(n_modules: int):
    """The BLAS libraries in this process, looked for again once more modules are imported."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


@contextlib.contextmanager
def _pool(workers: int | None) -> Iterator[ThreadPoolExecutor]:
    """Threads that are each a single BLAS thread.

    Several BLAS threads on matrices of a few hundred rows cost more than they bring, and many
    times more on a busy machine.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers = {workers}; expected at least 1")
    with _ONE_AT_A_TIME:
        blas = _blas(len(sys.modules))
        threads = workers or max((library["num_threads"] for library in blas.info()), default=1)
        with blas.limit(limits=1):
            if threads == 1:  # other threads than the first get fresh memory again and again
                yield SimpleNamespace(map=map)
                return
            with ThreadPoolExecutor(threads) as pool:
                yield pool


def _check(
    representations: np.ndarray | Sequence[np.ndarray], measures: Sequence[str], precision: str
) -> list[np.ndarray]:
    if isinstance(measures, str):
        raise ValueError(f"measures = {measures!r}; expected a list of names: [{measures!r}]")
    for name in measures:
        if name not in NAMES:
            raise ValueError(f"measures: {name!r} is unknown; valid: {', '.join(NAMES)}")
    if precision not in ("float64", "float32"):
        raise ValueError(f"precision = {precision!r}; expected 'float64' or 'float32'")
    arrays = [np.asarray(array) for array in representations]
    shapes = [array.shape for array in arrays]
    if len(arrays) < 2 or any(len(shape) != 3 for shape in shapes):
        raise ValueError(
            f"representations has shapes {shapes[:3]}…; expected (S, L, N, D) or S arrays "
            "(L, N, D_s), S ≥ 2"
        )
    if any(0 in shape for shape in shapes) or any(np.iscomplexobj(array) for array in arrays):
        raise ValueError(
            f"representations has shapes {shapes[:3]}…, dtype {arrays[0].dtype}; expected real "
            "numbers, L ≥ 1, N ≥ 2 and D ≥ 1"
        )
    if len({shape[:2] for shape in shapes}) > 1:
        raise ValueError(
            f"representations has shapes {shapes}; every run needs the same layers and examples"
        )
    smallest = 4 if "cka" in measures else 2
    if shapes[0][1] < smallest:
        raise ValueError(
            f"representations has N = {shapes[0][1]} examples; expected N ≥ {smallest} for "
            f"{', '.join(measures)}"
        )
    return arrays
