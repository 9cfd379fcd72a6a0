"""Curvature: Hessian-vector products and Lanczos' ends, against dense Hessians and ARPACK."""

import numpy as np
import pytest
import torch

from lib.theory import curvature


def symmetric(rng, size, values):
    """A dense matrix with given eigenvalues."""
    q, _ = np.linalg.qr(rng.normal(size=(size, size)))
    return (q * values) @ q.T


def products_of(matrices):
    dense = torch.from_numpy(np.stack(matrices))
    return lambda vectors: torch.einsum("rpq,rq->rp", dense, vectors)


def tiny_network(rng, inputs=5, hidden=4, n=12):
    """Cross-entropy of a two-layer network as a function of one long vector, twice over."""
    x = torch.from_numpy(rng.normal(size=(n, inputs)))
    y = torch.from_numpy(rng.integers(0, 2, n))

    def loss(weights):
        first = weights[:, : inputs * hidden].view(-1, inputs, hidden)
        second = weights[:, inputs * hidden :].view(-1, hidden, 2)
        logits = torch.tanh(x @ first) @ second
        labels = y.expand(len(weights), -1)
        each = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), reduction="none"
        )
        return each.view(labels.shape).mean(1)

    return loss, inputs * hidden + hidden * 2


def test_products_are_those_of_the_dense_hessian():
    rng = np.random.default_rng(0)
    loss, size = tiny_network(rng)
    points = torch.from_numpy(rng.normal(size=(3, size)))
    vectors = torch.from_numpy(rng.normal(size=(3, size)))
    found = curvature.hessian_products(loss, points)(vectors)
    for point, vector, product in zip(points, vectors, found, strict=True):
        dense = torch.autograd.functional.hessian(lambda w: loss(w[None])[0], point)
        assert torch.allclose(dense @ vector, product, rtol=1e-9, atol=1e-11)


def test_the_ends_of_a_network_are_those_of_its_dense_hessian():
    rng = np.random.default_rng(1)
    loss, size = tiny_network(rng)
    points = torch.from_numpy(rng.normal(size=(3, size)))
    products = curvature.hessian_products(loss, points)
    found = curvature.extremes(products, (3, size), steps=size, tolerance=1e-10)
    for r, point in enumerate(points):
        dense = torch.autograd.functional.hessian(lambda w: loss(w[None])[0], point)
        values = torch.linalg.eigvalsh(dense).numpy()
        assert [found.low[r], found.high[r]] == pytest.approx([values[0], values[-1]], abs=1e-8)
    assert (found.low < 0).any(), "the network is not convex, so the test sees both signs"


def test_some_eigenvalue_lies_within_the_stated_error_however_early_it_stops():
    rng = np.random.default_rng(3)
    matrices = [symmetric(rng, 60, rng.normal(size=60) * 3) for _ in range(20)]
    errors = []
    for steps in (3, 6, 12, 24):
        found = curvature.extremes(products_of(matrices), (20, 60), steps=steps, tolerance=0.0)
        assert found.steps == steps
        for r, matrix in enumerate(matrices):
            values = np.linalg.eigvalsh(matrix)
            assert np.abs(values - found.high[r]).min() <= found.high_error[r] + 1e-9
            assert np.abs(values - found.low[r]).min() <= found.low_error[r] + 1e-9
            # Ritz values lie inside of the spectrum.
            assert values[0] - 1e-9 <= found.low[r] <= found.high[r] <= values[-1] + 1e-9
        errors.append(found.high_error.mean())
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.05 * errors[0]


def test_it_stops_when_the_wanted_end_is_good_enough():
    rng = np.random.default_rng(4)
    matrix = symmetric(rng, 100, np.concatenate([[50.0], rng.uniform(0, 1, 99)]))
    one = curvature.extremes(products_of([matrix]), (1, 100), steps=100, ends="high")
    both = curvature.extremes(products_of([matrix]), (1, 100), steps=100, tolerance=1e-6)
    assert one.high[0] == pytest.approx(50, rel=1e-6) and one.steps < 10 < both.steps


def test_the_norm_is_that_of_the_end_of_larger_magnitude():
    rng = np.random.default_rng(7)
    up, down = np.append(rng.uniform(0, 1, 59), 9.0), np.append(rng.uniform(0, 1, 59), -7.0)
    matrices = [symmetric(rng, 60, up), symmetric(rng, 60, down)]
    found = curvature.extremes(products_of(matrices), (2, 60), steps=60, ends="norm")
    assert found.norm == pytest.approx([9, 7], rel=1e-5) and found.steps < 10
    assert found.norm == pytest.approx([np.linalg.norm(m, 2) for m in matrices], rel=1e-5)


def test_wrong_ends_and_products_that_are_not_finite_are_errors():
    with pytest.raises(ValueError, match="give both, low, high or norm"):
        curvature.extremes(products_of([np.eye(3)]), (1, 3), ends="top")
    with pytest.raises(ValueError, match="product 1 is not finite"):
        curvature.extremes(lambda v: v / 0, (1, 3))
