"""A real classifier as losses over one long vector of weights, many copies at once; its curvature.

A Hessian of a network is never formed: it is known only through its products with vectors. Lanczos'
method (ARPACK's, in scipy) finds its extreme eigenvalues from them (Golub & Van Loan, Matrix
Computations, §10.1). How near a pair (θ, y) is, its residual ``‖H y − θ y‖`` says: some eigenvalue
of H lies that close to θ (§8.1). It does not say that this is *the* extreme one; a random start
vector makes missing it improbable.
"""

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch.nn import functional
from torch.nn.utils import parameters_to_vector

from lib.data.examples import Encoded, Loader
from lib.models import backbones


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
        self.start = parameters_to_vector(named.values()).detach().double()

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
        """Losses of R weight vectors (R, P): (R, n), or (R, K) of examples ``rows`` (R, K)."""
        inputs, labels, dim = self.inputs, self.labels, None
        if rows is not None:
            inputs = {name: value[rows] for name, value in inputs.items()}
            labels, dim = labels[rows], 0
        return torch.func.vmap(self._one, in_dims=(0, dim, dim))(weights, inputs, labels)


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


class Ends(NamedTuple):
    """Both ends of a spectrum, each moved outwards by the residual of what was found: some
    eigenvalue lies between ``low`` and ``low + 2 low_error``, another between
    ``high − 2 high_error`` and ``high``.
    """

    low: float
    high: float
    low_error: float
    high_error: float


def hessian(loss: Callable[[torch.Tensor], torch.Tensor], weights: torch.Tensor) -> LinearOperator:
    """Products with the Hessian (P, P) of ``loss``, (P,) → a number, at ``weights`` (P,), in
    float64, by differentiating the gradient again, whose graph lives as long as the operator.

    A product that is not finite raises ``ValueError``.
    """
    weights = weights.detach().double().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(weights), weights, create_graph=True)

    def multiply(vector: np.ndarray) -> np.ndarray:
        along = gradient @ torch.from_numpy(vector.ravel())
        product = torch.autograd.grad(along, weights, retain_graph=True)[0].numpy()
        if not np.isfinite(product).all():
            raise ValueError("a product with the Hessian is not finite")
        return product

    return LinearOperator((len(weights),) * 2, multiply, dtype=float)


def ends(matrix: LinearOperator, *, tolerance: float = 1e-3) -> Ends:
    """Smallest and largest eigenvalue of a symmetric matrix (P, P) that is known by its products.

    ``tolerance`` is that of the residuals, as a share of the distance between both ends, or of the
    norm. Raises what ``scipy.sparse.linalg.eigsh`` raises where it does not converge.
    """
    size = matrix.shape[0]
    start = np.random.default_rng(0).normal(size=size)
    # The end of larger magnitude, and the other one as the end of larger magnitude from there:
    # ARPACK's tolerance is a share of the eigenvalue, and an end may be close to 0.
    found, shift = [], 0.0
    for _ in range(2):
        moved = LinearOperator(
            matrix.shape, lambda v, by=shift: matrix @ v - by * v.ravel(), dtype=float
        )
        value, residual = 0.0, 0.0  # of a multiple of the identity, whose ends are the same
        if np.linalg.norm(moved @ start) > 1e-12 * abs(shift) * np.linalg.norm(start):
            # A small basis, as a product of a network is dear and some per cent usually suffice.
            basis = min(size, 8)
            (value,), vector = eigsh(moved, 1, which="LM", tol=tolerance, v0=start, ncv=basis)
            residual = float(np.linalg.norm(moved @ vector[:, 0] - value * vector[:, 0]))
        shift += float(value)
        found.append((shift, residual))
    (low, low_error), (high, high_error) = sorted(found)
    return Ends(low - low_error, high + high_error, low_error, high_error)


def _keep(embedding: torch.nn.Embedding, rows: torch.Tensor) -> None:
    """Cut an embedding down to some of its rows, in place."""
    embedding.weight = torch.nn.Parameter(embedding.weight.detach()[rows])
    embedding.num_embeddings = len(rows)
