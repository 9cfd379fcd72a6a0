"""Representation distances by the procedure released with Du & Nguyen (2023), one pair at a time.

Written anew in torch from a description of the released code (doi:10.18653/v1/2023.acl-long.342).
As there, a pair of runs is compared with all its layers in one batch, in float32, and everything
that depends on one run only is computed again for each pair that the run is in.

This is what ``benchmarks.measures`` times ours against, and with ``dtype=torch.float64`` an oracle
for it. It is not a recommended implementation: use ``lib.measures.representation_distances``.
"""

from collections.abc import Callable, Iterable, Sequence

import torch

#: Share of the sum of singular values that SVCCA keeps.
SHARE = 0.99


def svcca_distance(
    x: torch.Tensor, y: torch.Tensor, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """1 − mean canonical correlation of the leading directions of two runs.

    Directions come from the uncentred vectors, as many as stay within 99 % of the sum of singular
    values (the one that crosses it is left out) and at least one; the projections are centred
    before they are correlated.

    Parameters
    ----------
    x, y : (L, N, D) layer vectors of two runs, the same examples in the same order
    dtype : precision of the whole computation; the released one is float32

    Returns
    -------
    (L,) distances
    """
    projections = [_leading_projections(run.to(dtype)) for run in (x, y)]
    distances = [_uncorrelated(a, b) for a, b in zip(*projections, strict=True)]
    return torch.stack(distances)


def _leading_projections(x: torch.Tensor) -> list[torch.Tensor]:
    """(N, k) projections at each layer; k differs, so this is where the batch of layers ends."""
    _, singular, right = torch.linalg.svd(x, full_matrices=False)
    shares = singular.cumsum(-1) / singular.sum(-1, keepdim=True)
    kept = (shares <= SHARE).sum(-1).clamp(min=1)
    return [layer @ v[:k].mT for layer, v, k in zip(x, right, kept, strict=True)]


def _uncorrelated(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """1 − mean canonical correlation of (N, k_x) and (N, k_y), over the smaller k."""
    left_x, left_y = (torch.linalg.svd(m - m.mean(0), full_matrices=False).U for m in (x, y))
    correlations = torch.linalg.svdvals(left_x.mT @ left_y)
    return 1 - correlations.sum() / min(x.shape[1], y.shape[1])


def op_distance(
    x: torch.Tensor, y: torch.Tensor, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """1 − nuclear norm of the (D, D) cross-products of centred vectors of Frobenius norm 1.

    Parameters and result as for ``svcca_distance``.
    """
    x, y = (run - run.mean(-2, keepdim=True) for run in (x.to(dtype), y.to(dtype)))
    x, y = (run / torch.linalg.matrix_norm(run, keepdim=True) for run in (x, y))
    return 1 - torch.linalg.matrix_norm(x.mT @ y, ord="nuc")


def debiased_cka_distance(
    x: torch.Tensor, y: torch.Tensor, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """1 − cosine of the debiased (N, N) Gram matrices, of vectors that are not centred before.

    Parameters and result as for ``svcca_distance``; can exceed 1.
    """
    x, y = (_debiased_gram(run.to(dtype)) for run in (x, y))
    norms = torch.linalg.matrix_norm(x) * torch.linalg.matrix_norm(y)
    return 1 - (x * y).sum((-2, -1)) / norms


def _debiased_gram(x: torch.Tensor) -> torch.Tensor:
    """(L, N, N) Gram matrices without diagonal, centred as the unbiased HSIC asks for."""
    n = x.shape[-2]
    gram = x @ x.mT
    gram.diagonal(dim1=-2, dim2=-1).zero_()
    means = gram.sum(-1) / (n - 2)
    means -= means.sum(-1, keepdim=True) / (2 * (n - 1))
    gram -= means[..., :, None] + means[..., None, :]
    gram.diagonal(dim1=-2, dim2=-1).zero_()
    return gram


#: The distances by the names that they have in ``lib.measures``.
DISTANCES: dict[str, Callable[..., torch.Tensor]] = {
    "svcca_published": svcca_distance,
    "op": op_distance,
    "cka": debiased_cka_distance,
}


def all_pairs(
    representations: torch.Tensor | Sequence[torch.Tensor],
    pairs: Iterable[tuple[int, int]],
    dtype: torch.dtype = torch.float32,
) -> dict[str, torch.Tensor]:
    """All three distances of pairs of runs, one pair after the other, nothing kept in between.

    Parameters
    ----------
    representations : (S, L, N, D) layer vectors of S runs, or S tensors (L, N, D)
    pairs : P pairs of run numbers

    Returns
    -------
    dict name → (P, L)
    """
    found = [
        [distance(representations[i], representations[j], dtype) for distance in DISTANCES.values()]
        for i, j in pairs
    ]
    return {
        name: torch.stack(column)
        for name, column in zip(DISTANCES, zip(*found, strict=True), strict=True)
    }
