"""All pairs of runs at a layer, from their factors.

A measure is made from the factors of all runs, and gives ``distances()`` (S, S) and ``unrelated(i,
j, shuffle)``, the distance of two runs once the examples of one are permuted.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lib.measures.representation.factors import Backend, Factor

#: Above this size (of two copies) the N × N Gram matrices of all runs are not kept at once: CKA
#: then comes from the factors.
GRAM_BYTES = 2**30
#: numpy lets other threads run during a batched decomposition of more than this many values only:
#: pairs are compared so many at a time that workers do not wait for each other.
RELEASING = 500


@dataclass
class Products:
    """Distances 1 − (Σσ(A_i' A_j) + offset_ij) / divisor_ij from a matrix A (N, c) of each run.

    ``graded``: the columns of A are graded, so that the sum of the singular values may come from
    the eigenvalues of the square; orthonormal columns are not, and need the values themselves.
    """

    columns: list[Any]
    offset: np.ndarray
    divisor: np.ndarray
    graded: bool
    backend: Backend
    pool: ThreadPoolExecutor
    precision: str

    def __post_init__(self):
        # Narrower runs come last, and are padded with zero columns, which add zero singular
        # values: so the smaller square of a product is always the one of its right side.
        widths = np.array([array.shape[1] for array in self.columns])
        self.order = np.argsort(-widths, kind="stable")
        self.position = np.argsort(self.order)
        self.stack = _stack([self.columns[i] for i in self.order], self.precision, self.backend)

    def _sums(self, left: Any, right: Any) -> np.ndarray:
        """Sums of the singular values of left (N, c)' right (m, N, c)."""
        cross = left.mT @ right
        if self.graded:
            squares = self.backend.linalg.eigvalsh(cross.mT @ cross)
            return np.sqrt(self.backend.host(squares).clip(0)).sum(-1)
        return self.backend.host(self.backend.linalg.svdvals(cross)).sum(-1)

    def distances(self) -> np.ndarray:
        n_runs = len(self.stack)
        step = n_runs if self.backend.batched else RELEASING // self.stack.shape[2] + 1
        blocks = [
            (i, slice(j, min(j + step, n_runs)))
            for i in range(n_runs - 1)
            for j in range(i + 1, n_runs, step)
        ]
        rows = self.pool.map(lambda b: self._sums(self.stack[b[0]], self.stack[b[1]]), blocks)
        sums = np.zeros((n_runs, n_runs))
        for (i, others), values in zip(blocks, rows, strict=True):
            sums[i, others] = sums[others, i] = values
        sums = sums[np.ix_(self.position, self.position)]
        return np.clip(1.0 - (sums + self.offset) / self.divisor, 0.0, None)

    def unrelated(self, i: int, j: int, shuffle: np.ndarray) -> float:
        """Distance of runs i and j, the examples of j permuted."""
        wide, narrow = self.stack[self.position[i]], self.stack[self.position[j]]
        narrow = narrow[self.backend.put(shuffle)]
        if self.position[i] > self.position[j]:
            wide, narrow = narrow, wide
        total = self._sums(wide, narrow[None])
        return max(0.0, 1.0 - float(total[0] + self.offset[i, j]) / self.divisor[i, j])


def _stack(arrays: list[Any], precision: str, backend: Backend) -> Any:
    """(S, N, c) array of S arrays (N, c_s), padded with zero columns."""
    width = max(1, *(array.shape[1] for array in arrays))
    stack = backend.put(np.zeros((len(arrays), arrays[0].shape[0], width), precision))
    for i, array in enumerate(arrays):
        stack[i, :, : array.shape[1]] = array
    return stack


def _op(factors: list[Factor], backend: Backend, precision: str, pool) -> Products:
    size = (len(factors), len(factors))
    lefts = list(pool.map(lambda f: f.left, factors))
    return Products(lefts, np.zeros(size), np.ones(size), True, backend, pool, precision)


def _svcca(rule: str, factors: list[Factor], backend: Backend, precision: str, pool) -> Products:
    """Mean correlation of two subspaces of dimensions p and q among the n = N − 1 centred ones.

    Σρ = Σρ⊥ + p + q − n, where ρ⊥ are the correlations of the two orthogonal complements: of the
    matrices of either side the smaller ones are used, where eigenvectors of the complement exist.
    """
    n = factors[0].centred.shape[0] - 1
    kept = np.array(list(pool.map(lambda f: getattr(f, f"kept_{rule}")()[0], factors)))
    complement = all(factor.is_wide for factor in factors) and kept.mean() > n / 2
    spaces = list(pool.map(lambda f: getattr(f, rule)(complement), factors))
    dimension = np.array([space.dimension for space in spaces])
    excess = dimension[:, None] + dimension - n
    return Products(
        [space.basis for space in spaces],
        excess if complement else np.zeros_like(excess),
        np.minimum(kept[:, None], kept).astype(float),
        False,
        backend,
        pool,
        precision,
    )


@dataclass
class Kernels:
    """CKA from inner products of the runs' centred Gram matrices, biased or debiased.

    The debiased one is the closed form of the unbiased HSIC, so that no N × N matrix is altered:
    ‖X_i'X_j‖² − N/(N − 2) r_i'r_j + ‖X_i‖²‖X_j‖² / ((N − 1)(N − 2)), r the squared row norms.
    """

    factors: list[Factor]
    debiased: bool
    backend: Backend
    pool: ThreadPoolExecutor

    def __post_init__(self):
        n_runs, n = len(self.factors), self.factors[0].centred.shape[0]
        narrow = min(factor.centred.shape[1] for factor in self.factors)
        # Gram matrices cost S·N²·D, cross-products S²·N·D²/2.
        self.by_grams = n <= n_runs * narrow and 2 * n_runs * n * n * 8 <= GRAM_BYTES
        biased = self._from_grams() if self.by_grams else self._from_products()
        rows = [f.gram.diagonal() if self.by_grams else (f.centred**2).sum(1) for f in self.factors]
        self.rows = np.stack([self.backend.host(squares) for squares in rows])
        self.inner = self._hsic(biased, self.rows, self.rows)
        # An unbiased norm can vanish beside the biased one (one example differs from all others).
        squares = np.diag(self.inner)
        self.norms = np.sqrt(np.where(squares > 1e-12 * np.diag(biased), squares, np.nan))

    def _from_grams(self) -> np.ndarray:
        flat = list(self.pool.map(lambda f: f.gram.reshape(-1, 1), self.factors))
        together = _stack(flat, "float64", self.backend)[:, :, 0]
        return self.backend.host(together @ together.mT)

    def _from_products(self) -> np.ndarray:
        lefts = list(self.pool.map(lambda f: f.left, self.factors))
        rows, columns = np.triu_indices(len(lefts))
        norms = self.pool.map(
            lambda i, j: float(((lefts[i].mT @ lefts[j]) ** 2).sum()), rows, columns
        )
        inner = np.zeros((len(lefts), len(lefts)))
        inner[rows, columns] = list(norms)
        return np.triu(inner) + np.triu(inner, 1).T

    def _hsic(self, biased: np.ndarray, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """HSIC up to a factor, from the biased one and the squared row norms (…, N) of both."""
        if not self.debiased:
            return biased
        n = rows.shape[1]
        correction = np.outer(rows.sum(1), others.sum(1)) / ((n - 1) * (n - 2))
        return biased - n / (n - 2) * (rows @ others.T) + correction

    def distances(self) -> np.ndarray:
        return 1.0 - (self.inner + self.inner.T) / 2 / np.outer(self.norms, self.norms)

    def unrelated(self, i: int, j: int, shuffle: np.ndarray) -> float:
        """Distance of runs i and j, the examples of j permuted."""
        order = self.backend.put(shuffle)
        if self.by_grams:
            shuffled = self.factors[j].gram[order][:, order]
            biased = float((self.factors[i].gram * shuffled).sum())
        else:
            biased = float(((self.factors[i].left.mT @ self.factors[j].left[order]) ** 2).sum())
        inner = self._hsic(np.array([[biased]]), self.rows[[i]], self.rows[[j]][:, shuffle])
        return float(1.0 - inner[0, 0] / (self.norms[i] * self.norms[j]))


def _cka(debiased: bool, factors: list[Factor], backend: Backend, precision: str, pool) -> Kernels:
    return Kernels(factors, debiased, backend, pool)


RULES = {"svcca": "by_variance", "svcca_published": "by_singular_sum"}
#: By representation measure, what is made of the factors of all runs.
ENGINES = {
    **{name: partial(_svcca, rule) for name, rule in RULES.items()},
    "op": _op,
    "cka": partial(_cka, True),
    "cka_biased": partial(_cka, False),
}
