"""A model as the training loop sees it: alone, or one of several seeds in one program.

Several seeds are one program by stacking their weights: every trained tensor gets a leading axis of
seeds, and ``torch.func.vmap`` runs the model over it.
"""

from typing import NamedTuple

import numpy as np
import torch

from lib.data.examples import Encoded, Loader
from lib.models import backbones, devices


class Outputs(NamedTuple):
    """Of S seeds: logits (S, B, …), features (S, B, D), the input of the output layer, and the
    labels (S, B) of the rows.
    """

    logits: torch.Tensor
    features: torch.Tensor
    labels: torch.Tensor


class Learner:
    """Models that are called with rows of their data: what one and several seeds have in common.

    ``trained``: by name, the weights that are trained, as the optimiser gets them. ``watched``:
    whether there is an output layer, what it is given to be remembered.
    """

    watched = True

    def __init__(
        self,
        models: list[torch.nn.Module],
        data: Encoded,
        device: torch.device,
        precision: str = "float32",
    ) -> None:
        self.models, self.model, self.precision = models, models[0], precision
        self.loader = Loader(data, device, typed=backbones.takes_types(self.model))
        self.hooks = []
        if self.watched:
            _, _, output = backbones.output_layer(self.model)
            self.hooks = [output.register_forward_pre_hook(self._remember)]
        self.trained = self._trained()

    def _trained(self) -> dict[str, torch.Tensor]:
        weights = self.model.named_parameters()
        return {name: weight for name, weight in weights if weight.requires_grad}

    def _remember(self, _: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        self.given = arguments[0]

    def features(self, mask: torch.Tensor) -> torch.Tensor:
        """(B, D) what the output layer was given in the last forward pass; of a decoder, which
        gives it every token, those of the last.
        """
        given = self.given
        del self.given
        return given if given.ndim == 2 else backbones.last_token(given, mask)

    def close(self) -> None:
        """Leave the models as ordinary ones, adapters merged."""
        for hook in self.hooks:
            hook.remove()
        for model in self.models:
            backbones.merge_adapters(model)


class SingleModel(Learner):
    """One model as it is, which is called with rows (1, B) of its data."""

    def __call__(self, rows: np.ndarray) -> Outputs:
        inputs, labels = self.loader.batch(rows[0])
        mask = inputs["attention_mask"]
        added = backbones.additive_mask(self.model, mask)
        with devices.autocast(mask.device, self.precision):
            logits = self.model(**inputs | {"attention_mask": added}).logits
        return Outputs(logits[None], self.features(mask)[None], labels[None])

    def norms(self, grads: list[torch.Tensor]) -> torch.Tensor:
        """Gradient norm of each tensor, (tensors, 1)."""
        return torch.stack(torch._foreach_norm(grads))[:, None]

    def scale(self, grads: list[torch.Tensor], factors: torch.Tensor) -> None:
        """Multiply the gradients of each seed by its factor (1,)."""
        torch._foreach_mul_(grads, factors[0])


class SeedBatch(Learner):
    """Several models of one architecture as one program, which is called with rows (S, B) of their
    data; weights (S, …).
    """

    def _trained(self) -> dict[str, torch.Tensor]:
        self.attention = self.model.config._attn_implementation
        # Only the plain implementation of attention runs under vmap on every device.
        self.model.set_attn_implementation("eager")
        own = [dict(model.named_parameters()) for model in self.models]
        trained = super()._trained()
        for name in trained:
            stack = torch.stack([weights[name].detach() for weights in own])
            for s, weights in enumerate(own):
                # Each model's own weights become a view of the stack: nothing is there twice.
                weights[name].data = stack[s]
            trained[name] = stack.requires_grad_()
        # What is frozen or constant is mostly the same for all seeds, and then there once.
        self.apart: dict[str, torch.Tensor] = {}
        for kind in ("named_parameters", "named_buffers"):
            every = [dict(getattr(model, kind)()) for model in self.models]
            for name, value in every[0].items():
                if name in trained:
                    continue
                if not all(torch.equal(value, other[name]) for other in every[1:]):
                    self.apart[name] = torch.stack([other[name].detach() for other in every])
        return trained

    def __call__(self, rows: np.ndarray) -> Outputs:
        def forward(
            weights: dict[str, torch.Tensor], inputs: dict[str, torch.Tensor]
        ) -> tuple[torch.Tensor, torch.Tensor]:
            mask = inputs["attention_mask"]
            arguments = {**inputs, "attention_mask": backbones.additive_mask(self.model, mask)}
            logits = torch.func.functional_call(self.model, weights, kwargs=arguments).logits
            return logits, self.features(mask)

        inputs, labels = self.loader.batch(rows)
        weights = {**self.trained, **self.apart}
        with devices.autocast(labels.device, self.precision):
            every = torch.func.vmap(forward, randomness="different")
            return Outputs(*every(weights, inputs), labels)

    def norms(self, grads: list[torch.Tensor]) -> torch.Tensor:
        """Gradient norm of each tensor and seed, (tensors, S)."""
        return torch.stack([torch.linalg.vector_norm(grad.flatten(1), dim=1) for grad in grads])

    def scale(self, grads: list[torch.Tensor], factors: torch.Tensor) -> None:
        """Multiply the gradients of each seed by its factor (S,)."""
        for grad in grads:
            grad.mul_(factors.view(-1, *[1] * (grad.ndim - 1)))

    def close(self) -> None:
        """Leave the models as ordinary ones, adapters merged."""
        super().close()
        self.model.set_attn_implementation(self.attention)
