"""A model as the training loop sees it: alone, or one of several seeds in one program.

Several seeds are one program by stacking their weights: every trained tensor gets a leading axis of
seeds, and ``torch.func.vmap`` runs the model over it.
"""

from typing import Any

import torch

from lib.models import backbones


def accepted_inputs(model: torch.nn.Module, inputs: dict[str, Any]) -> dict[str, Any]:
    """Without token types for models that know only one type (RoBERTa's table has one row)."""
    if getattr(model.config, "type_vocab_size", 0) < 2:
        return {name: value for name, value in inputs.items() if name != "token_type_ids"}
    return inputs


def additive(model: torch.nn.Module, mask: torch.Tensor) -> torch.Tensor:
    """What is added to the attention scores, (B, 1, T, T), from a mask (B, T) of 0 and 1.

    transformers makes it too, but asks first whether the mask is all ones, for which a GPU would
    have to be waited for, and which cannot be asked under vmap.
    """
    seen = mask[:, None, None, :].bool().expand(-1, 1, mask.shape[1], -1)
    if backbones.FAMILIES[model.config.model_type].decoder:
        position = torch.arange(mask.shape[1], device=mask.device)
        seen = seen & (position <= position[:, None])
    return torch.where(seen, 0.0, torch.finfo(torch.float32).min)


def last_token(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(…, B, D) of states (…, B, T, D): of the last token that the mask (B, T) does not hide,
    whichever side is padded.
    """
    position = torch.arange(mask.shape[-1], device=mask.device)
    last = (mask * position).argmax(-1)[:, None, None]
    return states.gather(-2, last.expand(*states.shape[:-2], 1, states.shape[-1]))[..., 0, :]


class _Features:
    """Remembers what the output layer of a model was given in the last forward pass."""

    def __init__(self, model: torch.nn.Module) -> None:
        _, _, output = backbones.output_layer(model)
        self.hook = output.register_forward_pre_hook(self._remember)

    def _remember(self, _: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        self.given = arguments[0]

    def take(self, mask: torch.Tensor) -> torch.Tensor:
        """(B, D); of a decoder, which gives its output layer every token, those of the last."""
        given = self.given
        del self.given
        return given if given.ndim == 2 else last_token(given, mask)


class SingleModel:
    """One model as it is. Inputs and results have a leading axis of one seed."""

    def __init__(self, models: list[torch.nn.Module]) -> None:
        (self.model,) = models
        self.trained = {n: w for n, w in self.model.named_parameters() if w.requires_grad}
        self.features = _Features(self.model)

    def __call__(self, inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = {name: value[0] for name, value in accepted_inputs(self.model, inputs).items()}
        mask = inputs["attention_mask"]
        logits = self.model(**inputs | {"attention_mask": additive(self.model, mask)}).logits
        return logits[None], self.features.take(mask)[None]

    def norms(self, grads: list[torch.Tensor]) -> torch.Tensor:
        """Gradient norm of each tensor, (tensors, 1)."""
        return torch.stack(torch._foreach_norm(grads))[:, None]

    def scale(self, grads: list[torch.Tensor], factors: torch.Tensor) -> None:
        """Multiply the gradients of each seed by its factor (1,)."""
        torch._foreach_mul_(grads, factors[0])

    def close(self) -> None:
        """Leave the model as an ordinary one."""
        self.features.hook.remove()


class SeedBatch:
    """Several models of one architecture as one program; weights (S, …), inputs (S, B, …)."""

    def __init__(self, models: list[torch.nn.Module]) -> None:
        self.models = models
        self.model = models[0]
        self.attention = self.model.config._attn_implementation
        # Only the plain implementation of attention runs under vmap on every device.
        self.model.set_attn_implementation("eager")
        self.features = _Features(self.model)
        own = [dict(model.named_parameters()) for model in models]
        self.trained: dict[str, torch.Tensor] = {}
        for name in [name for name, weight in own[0].items() if weight.requires_grad]:
            stack = torch.stack([weights[name].detach() for weights in own])
            for s, weights in enumerate(own):
                # Each model's own weights become a view of the stack: nothing is there twice.
                weights[name].data = stack[s]
            self.trained[name] = stack.requires_grad_()
        # What is frozen or constant is mostly the same for all seeds, and then there once.
        self.apart: dict[str, torch.Tensor] = {}
        for kind in ("named_parameters", "named_buffers"):
            every = [dict(getattr(model, kind)()) for model in models]
            for name, value in every[0].items():
                if name in self.trained:
                    continue
                if not all(torch.equal(value, other[name]) for other in every[1:]):
                    self.apart[name] = torch.stack([other[name].detach() for other in every])

    def __call__(self, inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        def forward(
            weights: dict[str, torch.Tensor], inputs: dict[str, torch.Tensor]
        ) -> tuple[torch.Tensor, torch.Tensor]:
            mask = inputs["attention_mask"]
            arguments = {**inputs, "attention_mask": additive(self.model, mask)}
            logits = torch.func.functional_call(self.model, weights, kwargs=arguments).logits
            return logits, self.features.take(mask)

        weights = {**self.trained, **self.apart}
        seeds_at_once = torch.func.vmap(forward, randomness="different")
        return seeds_at_once(weights, accepted_inputs(self.model, inputs))

    def norms(self, grads: list[torch.Tensor]) -> torch.Tensor:
        """Gradient norm of each tensor and seed, (tensors, S)."""
        return torch.stack([torch.linalg.vector_norm(grad.flatten(1), dim=1) for grad in grads])

    def scale(self, grads: list[torch.Tensor], factors: torch.Tensor) -> None:
        """Multiply the gradients of each seed by its factor (S,)."""
        for grad in grads:
            grad.mul_(factors.view(-1, *[1] * (grad.ndim - 1)))

    def close(self) -> None:
        """Leave the models as ordinary ones."""
        self.features.hook.remove()
        self.model.set_attn_implementation(self.attention)
