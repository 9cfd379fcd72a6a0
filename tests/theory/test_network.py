"""A network as losses over one vector, against its model; its curvature, against dense Hessians."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import aslinearoperator
from support.tiny_models import bert_on_texts

from lib.theory import network


@pytest.fixture(scope="module")
def bert():
    return bert_on_texts([4, 6, 5, 3], [0, 1, 1, 0])


def symmetric(rng, size, values):
    """A dense matrix with given eigenvalues."""
    q, _ = np.linalg.qr(rng.normal(size=(size, size)))
    return (q * values) @ q.T


def ends_of(matrix, **how):
    return network.ends(aslinearoperator(matrix), **how)


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
    lows = []
    for point in torch.from_numpy(rng.normal(size=(3, size))):
        product = network.hessian(loss, point)
        dense = torch.autograd.functional.hessian(loss, point).numpy()
        assert product @ np.ones(size) == pytest.approx(dense.sum(1), rel=1e-9, abs=1e-11)
        found = network.ends(product, tolerance=1e-10)
        assert found[:2] == pytest.approx(np.linalg.eigvalsh(dense)[[0, -1]].tolist(), abs=1e-8)
        lows.append(found.low)
    assert min(lows) < 0, "the network is not convex, so the test sees both signs"


def test_some_eigenvalue_lies_within_the_stated_error_however_early_it_stops():
    rng = np.random.default_rng(3)
    matrices = [symmetric(rng, 60, rng.normal(size=60) * 3 + 4 * (r % 3 - 1)) for r in range(21)]
    errors = []
    for tolerance in (0.5, 0.05, 1e-3, 1e-8):
        found = [ends_of(matrix, tolerance=tolerance) for matrix in matrices]
        for (low, high, low_error, high_error), matrix in zip(found, matrices, strict=True):
            values = np.linalg.eigvalsh(matrix)
            low, high = low + low_error, high - high_error
            assert np.abs(values - high).min() <= high_error + 1e-9
            assert np.abs(values - low).min() <= low_error + 1e-9
            # Ritz values lie inside of the spectrum.
            assert values[0] - 1e-9 <= low <= high <= values[-1] + 1e-9
            width = max(values[-1] - values[0], *np.abs(values[[0, -1]]))
            assert max(low_error, high_error) <= tolerance * width
        errors.append(np.mean([ends.high_error for ends in found]))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-6


WIDE = symmetric(np.random.default_rng(7), 60, np.r_[1e-6, np.linspace(0.1, 1, 58), 9])


@pytest.mark.parametrize("matrix", [WIDE, -WIDE, 0.0 * np.eye(8), 2.5 * np.eye(8)])
def test_an_end_close_to_zero_or_to_the_other_is_as_good(matrix):
    """Its residual is a share of the width of the spectrum, not of itself."""
    found = ends_of(matrix, tolerance=1e-6)
    ends = np.linalg.eigvalsh(matrix)[[0, -1]]
    inner = [found.low + found.low_error, found.high - found.high_error]
    assert inner == pytest.approx(ends.tolist(), abs=1e-7)
    assert max(found.low_error, found.high_error) <= 1e-6 * np.abs(ends).max()


def test_products_that_are_not_finite_are_an_error():
    bent = network.hessian(lambda weights: (weights**0.5).sum(), torch.zeros(3))
    with pytest.raises(ValueError, match="not finite"):
        network.ends(bent)


def test_a_network_has_the_losses_and_gradients_of_its_model(bert):
    model, data = bert
    losses = network.TextLosses(model, data)
    found = losses(losses.start[None].requires_grad_())[0]
    alone = []
    for i in range(4):
        ids = torch.from_numpy(data.tokens[data.starts[i] : data.starts[i + 1]]).long()[None]
        logits = model(input_ids=ids).logits
        alone.append(torch.nn.functional.cross_entropy(logits, torch.tensor([data.labels[i]])))
    assert found.tolist() == pytest.approx([loss.item() for loss in alone], abs=1e-6)
    rows = torch.tensor([[2, 0], [1, 3]])
    assert torch.allclose(losses(losses.start.expand(2, -1), rows), found[rows])
    model.zero_grad()
    sum(alone).backward()
    weights = losses.start[None].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(losses(weights).sum(), weights)
    whole = torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None])
    norm = torch.linalg.vector_norm
    assert norm(gradient).item() == pytest.approx(norm(whole).item(), rel=1e-5)
    # Words that do not occur are cut off: they would have had no gradient.
    unused = model.bert.embeddings.word_embeddings.weight.grad.abs().sum(1) == 0
    total = sum(w.numel() for w in model.parameters())
    positions = (20 - 6) * 8
    padding = 8  # the padding token stays, though it gets no gradient either
    assert len(losses.start) == total - int(unused.sum()) * 8 - positions + padding


def test_other_models_and_regression_are_refused(bert):
    model, data = bert
    floats = dataclasses.replace(data, labels=np.array([0.1, 0.2, 0.3, 0.4], np.float32))
    with pytest.raises(ValueError, match="expected a BERT and class labels"):
        network.TextLosses(model, floats)


def test_short_rows_are_balanced_and_nested(bert):
    _, data = bert
    few = network.short_rows(data, 2, longest=5, seed=1)
    assert sorted(data.labels[few]) == [0, 1] and (data.lengths[few] <= 5).all()
    more = network.short_rows(data, 4, longest=6, seed=1)
    assert sorted(more) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="rows of at most 4 tokens are"):
        network.short_rows(data, 4, longest=4)
