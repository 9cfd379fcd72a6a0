"""Curvature: Hessian-vector products and the ends of a spectrum, against dense Hessians."""

import numpy as np
import pytest
import torch

from lib.theory import curvature


def symmetric(rng, size, values):
    """A dense matrix with given eigenvalues."""
    q, _ = np.linalg.qr(rng.normal(size=(size, size)))
    return (q * values) @ q.T


def ends_of(matrices, **how):
    products = [torch.from_numpy(matrix).mv for matrix in matrices]
    return curvature.extremes(products, len(matrices[0]), **how)


def tiny_network(rng, inputs=5, hidden=4, n=12):
    """Cross-entropy of a two-layer network as a function of one long vector."""
    x = torch.from_numpy(rng.normal(size=(n, inputs)))
    y = torch.from_numpy(rng.integers(0, 2, n))

    def loss(weights):
        first = weights[: inputs * hidden].view(inputs, hidden)
        second = weights[inputs * hidden :].view(hidden, 2)
        return torch.nn.functional.cross_entropy(torch.tanh(x @ first) @ second, y)

    return loss, inputs * hidden + hidden * 2


def test_products_and_ends_of_a_network_are_those_of_its_dense_hessian():
    rng = np.random.default_rng(1)
    loss, size = tiny_network(rng)
    points, vector = torch.from_numpy(rng.normal(size=(3, size))), torch.ones(size).double()
    products = [curvature.hessian_product(loss, point) for point in points]
    found = curvature.extremes(products, size, tolerance=1e-10)
    for r, (point, product) in enumerate(zip(points, products, strict=True)):
        dense = torch.autograd.functional.hessian(loss, point)
        assert torch.allclose(dense @ vector, product(vector), rtol=1e-9, atol=1e-11)
        values = torch.linalg.eigvalsh(dense).numpy()
        assert [found.low[r], found.high[r]] == pytest.approx([values[0], values[-1]], abs=1e-8)
    assert (found.low < 0).any(), "the network is not convex, so the test sees both signs"


def test_some_eigenvalue_lies_within_the_stated_error_however_early_it_stops():
    rng = np.random.default_rng(3)
    matrices = [symmetric(rng, 60, rng.normal(size=60) * 3 + 4 * (r % 3 - 1)) for r in range(21)]
    errors = []
    for tolerance in (0.5, 0.05, 1e-3, 1e-8):
        found = ends_of(matrices, tolerance=tolerance)
        for r, matrix in enumerate(matrices):
            values = np.linalg.eigvalsh(matrix)
            assert np.abs(values - found.high[r]).min() <= found.high_error[r] + 1e-9
            assert np.abs(values - found.low[r]).min() <= found.low_error[r] + 1e-9
            # Ritz values lie inside of the spectrum.
            assert values[0] - 1e-9 <= found.low[r] <= found.high[r] <= values[-1] + 1e-9
            width = max(values[-1] - values[0], *np.abs(values[[0, -1]]))
            assert max(found.low_error[r], found.high_error[r]) <= tolerance * width
        errors.append(found.high_error.mean())
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-6


WIDE = symmetric(np.random.default_rng(7), 60, np.r_[1e-6, np.linspace(0.1, 1, 58), 9])


@pytest.mark.parametrize("matrix", [WIDE, -WIDE, 0.0 * np.eye(8), 2.5 * np.eye(8)])
def test_an_end_close_to_zero_or_to_the_other_is_as_good(matrix):
    """Its residual is a share of the width of the spectrum, not of itself."""
    found = ends_of([matrix], tolerance=1e-6)
    ends = np.linalg.eigvalsh(matrix)[[0, -1]]
    assert [found.low[0], found.high[0]] == pytest.approx(ends.tolist(), abs=1e-7)
    assert max(found.low_error[0], found.high_error[0]) <= 1e-6 * np.abs(ends).max()


def test_products_that_are_not_finite_are_an_error():
    with pytest.raises(ValueError, match="not finite"):
        curvature.extremes([lambda v: v / 0], 3)
