"""Instability of representations: distances between layer vectors of all pairs of runs.

Each run and layer X (N, D; centred columns) is factorised once as X = B diag(s) V', singular
values descending; every pair then costs small matrix products only. With W = B diag(s), whatever
the widths, X_i' X_j and W_i' W_j have the same singular values.

========= ====================================================================================
op        1 − ‖X_i'X_j‖_* / (‖X_i‖_F ‖X_j‖_F): orthogonal Procrustes as Du & Nguyen (2023) use it,
          half of 2 − 2‖·‖_* (Ding 2021); ``scipy.linalg.orthogonal_procrustes`` gives ‖·‖_*
cka       1 − debiased linear CKA, from the unbiased HSIC of Song et al. (2012); can exceed 1
cka_biased  1 − ‖X_i'X_j‖²_F / (‖X_i'X_i‖_F ‖X_j'X_j‖_F) (Kornblith et al. 2019)
svcca     1 − mean canonical correlation of the directions holding 99 % of the variance of the
          centred X (Raghu et al. 2017)
svcca_published  the released rule: uncentred X, the leading directions whose share of the *sum of
          singular values* is at most 99 %, at least one; then centred
========= ====================================================================================
"""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

NAMES = ("svcca", "svcca_published", "op", "cka", "cka_biased")
SHARE = 0.99


@dataclass
class _Factor:
    """One run at one layer: X = ``basis`` · diag(``singular``) · V', both cut at the rank."""

    raw: np.ndarray
    centred: np.ndarray
    basis: np.ndarray
    singular: np.ndarray

    @property
    def norm(self) -> float:
        return float(np.sqrt((self.singular**2).sum()))


def representation_distances(
    representations: np.ndarray | Sequence[np.ndarray],
    measures: Sequence[str] = ("svcca", "op", "cka"),
    *,
    workers: int | None = None,
) -> dict[str, np.ndarray]:
    """Distances between all pairs of S runs at each of L layers.

    Parameters
    ----------
    representations : (S, L, N, D) array, or a sequence of S arrays (L, N, D_s) of any widths; the
        N rows are the same examples in the same order in every run
    measures : names out of ``svcca``, ``svcca_published``, ``op``, ``cka``, ``cka_biased``
    workers : threads over pairs (default 1); the result does not depend on it

    Returns
    -------
    dict name → (L, S, S) symmetric float64 array, zero diagonal. A run that is constant or not
    finite at a layer gets NaN for its pairs there, and a warning naming run and layer.

    All columns are centred, in float64, whatever the input: adding a constant vector, rotating or
    scaling a run changes nothing (but for ``svcca_published``, which starts from uncentred data).
    ``cka`` needs N ≥ 4. For N ≤ D, ``op``, ``svcca`` and ``cka_biased`` are near 0 even for
    unrelated data.
    """
    arrays = _check(representations, measures)
    n_layers = arrays[0].shape[0]
    results = {name: np.zeros((n_layers, len(arrays), len(arrays))) for name in measures}
    with ThreadPoolExecutor(workers or 1) as pool:
        for layer in range(n_layers):
            factors = list(pool.map(_factorise, [array[layer] for array in arrays]))
            usable = [i for i, factor in enumerate(factors) if factor is not None]
            for i in sorted(set(range(len(arrays))) - set(usable)):
                warnings.warn(
                    f"run {i}, layer {layer}: representation is constant or not finite; its "
                    "distances are NaN",
                    stacklevel=2,
                )
            kept = [factors[i] for i in usable]
            for name in measures:
                block = np.full((len(arrays), len(arrays)), np.nan)
                if kept:
                    found = _MEASURES[name](kept, pool)
                    for i in np.flatnonzero(np.isnan(np.diag(found))):
                        warnings.warn(
                            f"run {usable[i]}, layer {layer}: a single example differs from the "
                            f"others; its {name} distances are NaN",
                            stacklevel=2,
                        )
                    block[np.ix_(usable, usable)] = found
                np.fill_diagonal(block, 0.0)
                results[name][layer] = block
    return results


def _check(
    representations: np.ndarray | Sequence[np.ndarray], measures: Sequence[str]
) -> list[np.ndarray]:
    for name in measures:
        if name not in NAMES:
            raise ValueError(f"measures: {name!r} is unknown; valid: {', '.join(NAMES)}")
    arrays = [np.asarray(array) for array in representations]
    shapes = [array.shape for array in arrays]
    if len(arrays) < 2 or any(len(shape) != 3 for shape in shapes):
        raise ValueError(
            f"representations has shapes {shapes[:3]}…; expected (S, L, N, D) or S arrays "
            "(L, N, D_s), S ≥ 2"
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


def _factorise(x: np.ndarray) -> _Factor | None:
    """Thin factorisation of one run and layer; None if there is no variation to speak of."""
    raw = np.asarray(x, np.float64)
    if not np.isfinite(raw).all():
        return None
    centred = raw - raw.mean(0)
    # What cannot be told from rounding in the precision of the input is no variation.
    precision = np.finfo(x.dtype).eps if np.issubdtype(x.dtype, np.floating) else 0.0
    noise = raw.size * (float(precision) * np.abs(raw).max()) ** 2
    if (centred**2).sum() <= noise:
        return None
    basis, singular = _left_factor(centred)
    return _Factor(raw, centred, basis, singular)


def _left_factor(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left singular vectors (N, r) and values (r,) of x, descending, from the smaller Gram matrix.

    Descending order matters: it grades W_i' W_j, which makes ``eigvalsh`` of its square accurate
    to machine precision where the plain product loses half of the digits.
    """
    wide = x.shape[0] <= x.shape[1]
    eigenvalues, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    eigenvalues, vectors = eigenvalues[::-1], vectors[:, ::-1]
    rank = int((eigenvalues > eigenvalues[0] * max(x.shape) * np.finfo(float).eps).sum())
    singular = np.sqrt(eigenvalues[:rank])
    basis = vectors[:, :rank] if wide else x @ vectors[:, :rank] / singular
    return basis, singular


def _over_pairs(kept: list, pool: ThreadPoolExecutor, distance) -> np.ndarray:
    """(S, S) matrix of a distance between all distinct pairs."""
    rows, columns = np.triu_indices(len(kept), 1)
    result = np.zeros((len(kept), len(kept)))
    result[rows, columns] = list(pool.map(lambda i, j: distance(kept[i], kept[j]), rows, columns))
    return result + result.T


def _op(factors: list[_Factor], pool: ThreadPoolExecutor) -> np.ndarray:
    """Nuclear norm of the graded cross-product, through ``eigvalsh`` of its smaller square."""

    def distance(a: tuple[np.ndarray, float], b: tuple[np.ndarray, float]) -> float:
        cross = a[0].T @ b[0]
        square = cross.T @ cross if cross.shape[0] >= cross.shape[1] else cross @ cross.T
        nuclear = np.sqrt(np.clip(np.linalg.eigvalsh(square), 0.0, None)).sum()
        return max(0.0, 1.0 - nuclear / (a[1] * b[1]))

    return _over_pairs([(f.basis * f.singular, f.norm) for f in factors], pool, distance)


def _grams(factors: list[_Factor]) -> np.ndarray:
    return np.stack([(f.centred @ f.centred.T).ravel() for f in factors])


def _similarity_to_distance(inner: np.ndarray, biased: np.ndarray) -> np.ndarray:
    """1 − cosine from a matrix of inner products, exactly symmetric.

    An unbiased norm can vanish beside the biased one (one example differs from all others): no
    distance, NaN.
    """
    squares = np.diag(inner)
    norms = np.sqrt(np.where(squares > 1e-12 * np.diag(biased), squares, np.nan))
    return 1.0 - (inner + inner.T) / 2 / np.outer(norms, norms)


def _cka_biased(factors: list[_Factor], pool: ThreadPoolExecutor) -> np.ndarray:
    grams = _grams(factors)
    inner = grams @ grams.T
    return _similarity_to_distance(inner, inner)


def _cka(factors: list[_Factor], pool: ThreadPoolExecutor) -> np.ndarray:
    """From the closed form of the unbiased HSIC, so that nothing of size N × N is altered."""
    grams = _grams(factors)
    n = factors[0].centred.shape[0]
    rows = np.stack([(f.centred**2).sum(1) for f in factors])
    squares = rows.sum(1)
    biased = grams @ grams.T
    inner = (
        biased - n / (n - 2) * (rows @ rows.T) + np.outer(squares, squares) / ((n - 1) * (n - 2))
    )
    return _similarity_to_distance(inner, biased)


def _correlation_distance(a: np.ndarray, b: np.ndarray) -> float:
    """1 − mean canonical correlation of two orthonormal bases (N, k_a) and (N, k_b)."""
    correlations = np.linalg.svd(a.T @ b, compute_uv=False)
    return max(0.0, 1.0 - correlations.sum() / min(a.shape[1], b.shape[1]))


def _svcca(factors: list[_Factor], pool: ThreadPoolExecutor) -> np.ndarray:
    bases = []
    for factor in factors:
        share = np.cumsum(factor.singular**2) / (factor.singular**2).sum()
        bases.append(factor.basis[:, : int(np.searchsorted(share, SHARE)) + 1])
    return _over_pairs(bases, pool, _correlation_distance)


def _svcca_published(factors: list[_Factor], pool: ThreadPoolExecutor) -> np.ndarray:
    """Centring can annihilate a kept direction; it then counts in k and correlates with nothing."""
    bases = []
    for factor in factors:
        basis, singular = _left_factor(factor.raw)
        kept = max(1, int((np.cumsum(singular) / singular.sum() <= SHARE).sum()))
        projected = basis[:, :kept] * singular[:kept]
        projected -= projected.mean(0)
        left, values, _ = np.linalg.svd(projected, full_matrices=False)
        bases.append(left * (values > values[0] * 1e-10))
    return _over_pairs(bases, pool, _correlation_distance)


_MEASURES = {
    "svcca": _svcca,
    "svcca_published": _svcca_published,
    "op": _op,
    "cka": _cka,
    "cka_biased": _cka_biased,
}
