"""A real classifier as a set of losses over one long vector of weights, many copies at once."""

import copy
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional

from lib.data.examples import Encoded, Loader
from lib.models import backbones


class Losses(Protocol):
    """n differentiable losses over P weights; what the leave-one-out runs are made of."""

    n: int

    def __call__(self, weights: torch.Tensor, rows: torch.Tensor | None = None) -> torch.Tensor:
        """Losses of R weight vectors (R, P): (R, n), or (R, K) of examples ``rows`` (R, K)."""


class TextLosses:
    """Cross-entropy of a classifier on n short texts, dropout off, as a function of its weights.

    Embeddings of words and positions that do not occur in the texts are cut off: their gradient is
    zero whatever the weights, so they would never move. ``start`` (P,) holds the weights that are
    left, float64. Losses are computed in the precision of the weights given.

    Raises ``ValueError`` for other backbones than BERT's, and for tasks that are no classification.
    """

    def __init__(self, model: torch.nn.Module, data: Encoded) -> None:
        if model.config.model_type != "bert" or data.choices > 1 or data.labels.dtype.kind == "f":
            raise ValueError(
                f"{model.config.model_type} with labels {data.labels.dtype}, {data.choices} "
                "candidates; expected a BERT and class labels"
            )
        self.model = copy.deepcopy(model).eval()
        # The fused kernels of attention cannot be differentiated twice.
        self.model.set_attn_implementation("eager")
        self.n = len(data)
        self.inputs, self.labels = Loader(data, torch.device("cpu")).batch(np.arange(self.n))
        tokens = self.inputs["input_ids"]
        used, self.inputs["input_ids"] = torch.unique(tokens, return_inverse=True)
        embeddings = backbones.encoder(self.model).embeddings
        _keep(embeddings.word_embeddings, used)
        _keep(embeddings.position_embeddings, torch.arange(tokens.shape[1]))
        named = dict(self.model.named_parameters())
        self.shapes = {name: weight.shape for name, weight in named.items()}
        self.sizes = [weight.numel() for weight in named.values()]
        self.start = torch.cat([weight.detach().flatten() for weight in named.values()]).double()

    def _one(
        self, weights: torch.Tensor, inputs: dict[str, torch.Tensor], labels: torch.Tensor
    ) -> torch.Tensor:
        parts = zip(self.shapes.items(), weights.split(self.sizes), strict=True)
        named = {name: part.view(shape) for (name, shape), part in parts}
        mask = backbones.additive_mask(self.model, inputs["attention_mask"]).to(weights.dtype)
        arguments = {**inputs, "attention_mask": mask}
        logits = torch.func.functional_call(self.model, named, kwargs=arguments).logits
        return functional.cross_entropy(logits, labels, reduction="none")

    def __call__(self, weights: torch.Tensor, rows: torch.Tensor | None = None) -> torch.Tensor:
        """(R, n), or (R, K) of the examples at ``rows`` (R, K), which may differ between runs."""
        if rows is None:
            return torch.func.vmap(self._one, in_dims=(0, None, None))(
                weights, self.inputs, self.labels
            )
        chosen = {name: value[rows] for name, value in self.inputs.items()}
        return torch.func.vmap(self._one)(weights, chosen, self.labels[rows])


def short_rows(data: Encoded, n: int, *, longest: int, seed: int = 0) -> np.ndarray:
    """(n,) rows of at most ``longest`` tokens, classes in turn; a larger n adds to a smaller one.

    Raises ``ValueError`` where there are too few.
    """
    rng = np.random.default_rng(seed)
    short = rng.permutation(np.flatnonzero(data.lengths <= longest))
    classes = [short[data.labels[short] == label] for label in np.unique(data.labels)]
    each = -(-n // len(classes))
    if min(map(len, classes)) < each:
        sizes = [len(rows) for rows in classes]
        raise ValueError(f"n = {n}, but rows of at most {longest} tokens are {sizes} by class")
    return np.stack([rows[:each] for rows in classes], 1).ravel()[:n]


def _keep(embedding: torch.nn.Embedding, rows: torch.Tensor) -> None:
    """Cut an embedding down to some of its rows, in place."""
    embedding.weight = torch.nn.Parameter(embedding.weight.detach()[rows])
    embedding.num_embeddings = len(rows)
