"""Tensors of torch where arrays are expected; the measures themselves need no torch."""

import inspect

import numpy as np
import pytest
import torch

from lib import measures
from lib.measures import comparison, intervals

RNG = np.random.default_rng(0)
VOTES, GOLD = RNG.integers(0, 3, (4, 30)), RNG.integers(0, 3, 30)
APART = np.abs(np.subtract.outer(*[RNG.random(5)] * 2))
VECTORS, SCORES = RNG.normal(size=(3, 2, 20, 4)), RNG.random(6)
#: A call of each function that takes arrays, with its arrays.
CALLS = {
    "pairwise_disagreement": (measures.pairwise_disagreement, VOTES),
    "pairwise_consistency": (measures.pairwise_consistency, VOTES, GOLD),
    "pairwise_jsd": (measures.pairwise_jsd, RNG.dirichlet(np.ones(3), (4, 30))),
    "normalised": (lambda p: measures.normalised(p)[0], RNG.dirichlet(np.ones(3), 30)),
    "fleiss_kappa": (measures.fleiss_kappa, VOTES),
    "kappa_statistic": (lambda v: measures.kappa_statistic(v)(np.ones((1, 4))), VOTES),
    "churn_split": (measures.churn_split, VOTES, GOLD),
    "flip_rate": (measures.flip_rate, VOTES),
    "flip_rate_from_counts": (lambda c: measures.flip_rate_from_counts(c, 4), GOLD),
    "vote_entropy": (measures.vote_entropy, VOTES),
    "consistency": (measures.consistency, VOTES, GOLD),
    "score_spread": (measures.score_spread, SCORES),
    "score_range": (measures.score_range, SCORES),
    "interquartile_mean": (measures.interquartile_mean, SCORES),
    "interquartile_mean_statistic": (
        lambda s: measures.interquartile_mean_statistic(s)(np.ones((1, 6))), SCORES
    ),
    "expected_maximum": (measures.expected_maximum, SCORES, np.arange(1, 4)),
    "failed_rate": (measures.failed_rate, SCORES > 0.5),
    "distribution_variance": (measures.distribution_variance, VOTES == GOLD),
    "distribution_sd": (measures.distribution_sd, VOTES == GOLD),
    "distribution_sd_statistic": (
        lambda c: measures.distribution_sd_statistic(c)(np.ones((1, 4))), VOTES == GOLD
    ),
    "seed_variance": (lambda c: measures.seed_variance(c, n_permutations=99), VOTES == GOLD),
    "seed_variance_from_counts": (
        lambda a, c: measures.seed_variance_from_counts(a, c, n_permutations=99),
        (VOTES == GOLD).mean(1), (VOTES == GOLD).sum(0),
    ),
    "pairwise_slot_distance": (measures.pairwise_slot_distance, RNG.random((3, 5, 2)) > 0.5),
    "mean_over_examples": (
        lambda v, n: measures.mean_over_examples(measures.pairwise_disagreement, v, n),
        VOTES, np.array([10, 5, 15]),
    ),
    "instability": (measures.instability, APART),
    "representation_distances": (
        lambda x: measures.representation_distances(x, ["op", "cka"])["op"], VECTORS
    ),
    "distances_and_chance": (
        lambda x: measures.distances_and_chance(x, ["cka"], n_permutations=2)[1]["cka"], VECTORS
    ),
    "kept_directions": (measures.kept_directions, VECTORS),
    "convert_op": (lambda d: measures.convert_op(d, "angular"), APART),
    "mean_interval": (intervals.mean_interval, SCORES),
    "sd_interval": (intervals.sd_interval, SCORES),
    "pair_correlation": (intervals.pair_correlation, APART, APART**2),
    "paired_scores": (comparison.paired_scores, SCORES, SCORES**2),
    "spread_ratio": (comparison.spread_ratio, SCORES, SCORES**2),
}  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore")


def flat(result):
    parts = result if isinstance(result, tuple) else (result,)
    return np.concatenate([flat(p) if isinstance(p, tuple) else np.ravel(p) for p in parts])


def test_every_function_of_the_room_is_called_here():
    called = {name: thing for name, thing in vars(measures).items() if callable(thing)}
    functions = {name for name, thing in called.items() if not isinstance(thing, type)}
    of_texts = {n for n in functions if "texts" in inspect.signature(called[n]).parameters}
    assert functions - of_texts - {"expected_range"} <= CALLS.keys()


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", ["plain", "gradient", "elsewhere", "half", "bfloat16", "list"])
def test_a_tensor_is_what_its_numbers_are(name, kind, monkeypatch):
    call, *arrays = CALLS[name]
    tensors = [torch.tensor(array) for array in arrays]
    half = {"half": torch.float16, "bfloat16": torch.bfloat16}.get(kind)
    tensors = [t.to(half) if half and t.is_floating_point() else t for t in tensors]
    if kind == "gradient":
        tensors = [t.requires_grad_() if t.is_floating_point() else t for t in tensors]
    expected = [t.detach().to(torch.float32).numpy() if t.dtype == torch.bfloat16
                else t.detach().numpy() for t in tensors]  # fmt: skip
    if kind == "list":
        tensors = [[part.bfloat16() if part.is_floating_point() else part for part in t]
                   for t in tensors]  # fmt: skip
        expected = [np.array([part.float().numpy() if part.is_floating_point() else part.numpy()
                              for part in t]) for t in tensors]  # fmt: skip
    if kind == "elsewhere":
        monkeypatch.setattr(torch.Tensor, "__array__", elsewhere)
        monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: np.array(tensor.tolist()))
    assert np.array_equal(flat(call(*tensors)), flat(call(*expected)), equal_nan=True)


def elsewhere(*_):
    raise TypeError("can't convert cuda:0 device type tensor to numpy")
