"""The training loop, for one run or for several seeds as one program.

Several seeds are one program by stacking their weights: every trained tensor gets a leading axis of
seeds, and ``torch.func.vmap`` runs the model over it. Losses, gradients, gradient norms and
optimiser steps never mix seeds, so each seed takes the steps that it would take alone.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from lib import backbones, devices, optimizers
from lib.batches import Prepared, epoch_batches
from lib.config import Setting
from lib.loading import Loader
from lib.seeds import Seeds
from lib.stabilizers import Method

#: Losses are looked at after so many steps where each look would wait for a GPU.
STEPS_BETWEEN_LOOKS = 64


@dataclass
class Trained:
    """The log of one run, a row a step, and whether it diverged."""

    log: list[dict[str, float]] = field(default_factory=list)
    diverged: bool = False


def known_inputs(model: torch.nn.Module, inputs: dict[str, Any]) -> dict[str, Any]:
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
        place = torch.arange(mask.shape[1], device=mask.device)
        seen = seen & (place <= place[:, None])
    return torch.where(seen, 0.0, torch.finfo(torch.float32).min)


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
        if given.ndim == 2:
            return given
        last = (mask.sum(-1) - 1)[:, None, None].expand(-1, 1, given.shape[-1])
        return given.gather(1, last)[:, 0]


class Alone:
    """One model as it is. Inputs and results have a leading axis of one seed."""

    def __init__(self, models: list[torch.nn.Module]) -> None:
        (self.model,) = models
        self.trained = {n: w for n, w in self.model.named_parameters() if w.requires_grad}
        self.features = _Features(self.model)

    def __call__(self, inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = {name: value[0] for name, value in known_inputs(self.model, inputs).items()}
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


class Stacked:
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
        def one(
            weights: dict[str, torch.Tensor], inputs: dict[str, torch.Tensor]
        ) -> tuple[torch.Tensor, torch.Tensor]:
            mask = inputs["attention_mask"]
            arguments = {**inputs, "attention_mask": additive(self.model, mask)}
            logits = torch.func.functional_call(self.model, weights, kwargs=arguments).logits
            return logits, self.features.take(mask)

        weights = {**self.trained, **self.apart}
        seeds_at_once = torch.func.vmap(one, randomness="different")
        return seeds_at_once(weights, known_inputs(self.model, inputs))

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


def as_choices(logits: torch.Tensor, choices: int) -> torch.Tensor:
    """Where each of K candidates has a logit, those of an example side by side: from
    (S, B · K, [H,] 1) to (S, B, [H,] K). Other logits stay as they are.
    """
    if choices == 1:
        return logits
    return logits[..., 0].unflatten(1, (-1, choices)).movedim(2, -1)


def losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean loss of each seed, (S,): squared error for one output, cross-entropy for several.

    ``logits`` (S, B, C), or (S, B, H, C) for H heads, whose losses are averaged; ``labels`` (S, B).
    """
    if logits.ndim == 4:
        labels = labels[..., None].expand(logits.shape[:-1])
    if logits.shape[-1] == 1:
        each = (logits[..., 0] - labels).square()
    else:
        flat = functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none")
        each = flat.view(labels.shape)
    return each.flatten(1).mean(1)


def _groups(
    learner: Alone | Stacked, setting: Setting, methods: dict[str, Method], n_layers: int
) -> list[dict[str, Any]]:
    """The trained weights by learning rate and weight decay. Biases and norms never decay."""
    shapes = {name: weight.ndim for name, weight in learner.model.named_parameters()}
    groups: dict[tuple[float, float], list[torch.Tensor]] = {}
    for name, weight in learner.trained.items():
        depth = backbones.depth_of(name, n_layers)
        rate = math.prod(method.rate(depth, n_layers) for method in methods.values())
        decays = shapes[name] >= 2 and not name.endswith("bias")
        decays &= all(method.decays(depth, n_layers) for method in methods.values())
        groups.setdefault((rate, setting.weight_decay if decays else 0.0), []).append(weight)
    return [
        {"params": weights, "lr": setting.learning_rate * rate, "weight_decay": decay}
        for (rate, decay), weights in groups.items()
    ]


def _anchors(
    learner: Alone | Stacked, new: set[str], n_layers: int, others: list[Method]
) -> dict[torch.Tensor, torch.Tensor | None]:
    """Each weight that decays as far as the other methods say, with its pretrained value; None
    where decay is towards zero.
    """
    shapes = {name: weight.ndim for name, weight in learner.model.named_parameters()}
    return {
        weight: None
        if backbones.depth_of(name, n_layers) > n_layers or name in new
        else weight.detach().clone()
        for name, weight in learner.trained.items()
        if shapes[name] >= 2
        and not name.endswith("bias")
        and all(method.decays(backbones.depth_of(name, n_layers), n_layers) for method in others)
    }


def parts(n_layers: int) -> list[str]:
    """Names of the parts of a model by depth: embeddings, layer1 … layerL, head."""
    return ["embeddings", *(f"layer{i}" for i in range(1, n_layers + 1)), "head"]


def _plan(data: Prepared, setting: Setting, seeds: list[Seeds]) -> Iterator[list[np.ndarray]]:
    """For each epoch the batches of all seeds: rows (S, B), each seed in its own order."""
    draws = [np.random.default_rng(one.stream("order")) for one in seeds]
    for _ in range(setting.epochs):
        each = [epoch_batches(data.train.lengths, setting.batch_size, rng) for rng in draws]
        yield [np.stack(rows) for rows in zip(*each, strict=True)]


class _Book:
    """The log, kept on the device until it is asked for."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.rates: list[float] = []
        self.pages: list[torch.Tensor] = []

    @property
    def steps(self) -> int:
        return len(self.pages)

    def note(
        self, rate: float, loss: torch.Tensor, norm: torch.Tensor, by_part: torch.Tensor
    ) -> None:
        """A step: loss (S,), gradient norm (S,), and norm of each part (parts, S)."""
        self.rates.append(rate)
        self.pages.append(torch.cat([loss[None], norm[None], by_part]))

    def any_finite(self) -> bool:
        """Whether at least one run has not diverged; this waits for the device."""
        return bool(self.pages[-1][:2].isfinite().all(0).any())

    def read(self) -> list[Trained]:
        """One log a run, cut behind its first step that is not finite."""
        pages = torch.stack(self.pages).cpu().double().numpy()
        runs = []
        for s in range(pages.shape[-1]):
            page = pages[..., s]
            bad = np.flatnonzero(~np.isfinite(page[:, :2]).all(1))
            stop = bad[0] + 1 if len(bad) else len(page)
            columns = ["loss", "gradient_norm", *(f"gradient_norm_{n}" for n in self.names)]
            log = [
                {
                    "step": i,
                    "lr": self.rates[i],
                    **dict(zip(columns, page[i].tolist(), strict=True)),
                }
                for i in range(stop)
            ]
            runs.append(Trained(log, diverged=bool(len(bad))))
        return runs


class _Best:
    """Keeps each run's weights of when it scored best on the validation half."""

    def __init__(
        self,
        learner: Alone | Stacked,
        models: list[torch.nn.Module],
        validate: Callable[[torch.nn.Module], float],
    ) -> None:
        self.learner, self.models, self.validate = learner, models, validate
        self.scores = [-math.inf] * len(models)
        self.weights: list[dict[str, torch.Tensor]] = [{}] * len(models)

    def look(self) -> None:
        """Validate all runs."""
        for s, model in enumerate(self.models):
            score = self.validate(model)
            model.train()
            if score > self.scores[s]:
                self.scores[s] = score
                self.weights[s] = {
                    name: weight.detach().clone()
                    for name, weight in model.named_parameters()
                    if name in self.learner.trained
                }

    @torch.no_grad()
    def restore(self) -> None:
        """Put the best weights back; a run that was never looked at keeps its last."""
        for model, kept in zip(self.models, self.weights, strict=True):
            own = dict(model.named_parameters())
            for name, weight in kept.items():
                own[name].copy_(weight)


def train(
    models: list[torch.nn.Module],
    setting: Setting,
    data: Prepared,
    seeds: list[Seeds],
    device: torch.device,
    methods: dict[str, Method],
    *,
    new: set[str],
    validate: Callable[[torch.nn.Module], float],
    title: str = "",
) -> list[Trained]:
    """Train one model a seed in place; leaves each in the state of the chosen checkpoint.

    The log has, for each step, the loss, the learning rate, the gradient norm before clipping and
    that of each part of the model. A run whose loss or gradient is no longer finite has diverged;
    its weights are of no use, those of the other seeds are untouched.
    """
    n_layers = len(backbones.layers(models[0]))
    learner = Alone(models) if len(models) == 1 else Stacked(models)
    optimizer = optimizers.make(_groups(learner, setting, methods, n_layers), setting)
    for name, method in methods.items():
        others = [other for key, other in methods.items() if key != name]
        method.attach(optimizer, partial(_anchors, learner, new, n_layers, others))
    per_epoch = math.ceil(len(data.train) / setting.batch_size)
    n_steps = per_epoch * setting.epochs
    schedule = optimizers.schedule(optimizer, setting, n_steps)
    first_rate = optimizer.param_groups[0]["initial_lr"]
    loader = Loader(data.train, device)
    depths = torch.tensor([backbones.depth_of(n, n_layers) for n in learner.trained], device=device)
    look_every = max(1, per_epoch // max(1, setting.evals_per_epoch))
    patience = 1 if device.type == "cpu" else STEPS_BETWEEN_LOOKS
    keeper = _Best(learner, models, validate) if setting.evals_per_epoch else None
    book = _Book(parts(n_layers))
    torch.manual_seed(
        seeds[0].stream("dropout")
        if len(seeds) == 1
        else int(np.random.SeedSequence([s.stream("dropout") for s in seeds]).generate_state(1)[0])
    )
    for model in models:
        model.train()
    bar = tqdm(total=n_steps, desc=title, unit="step", leave=False)
    try:
        for rows in (batch for epoch in _plan(data, setting, seeds) for batch in epoch):
            inputs, labels = loader.batch(rows)
            with devices.autocast(device, setting.precision):
                logits, features = learner(inputs)
            loss = total = losses(as_choices(logits.float(), data.train.choices), labels)
            for method in methods.values():
                total = total + method.penalty(features.float(), labels, data.n_classes)
            optimizer.zero_grad()
            total.sum().backward()
            grads = [weight.grad for weight in learner.trained.values()]
            squares = learner.norms(grads).float().square()
            norm = squares.sum(0).sqrt()
            by_part = squares.new_zeros(n_layers + 2, len(models)).index_add_(0, depths, squares)
            if setting.max_grad_norm:
                learner.scale(grads, (setting.max_grad_norm / (norm + 1e-6)).clamp(max=1.0))
            rate = schedule.get_last_lr()[0] / first_rate * setting.learning_rate
            book.note(rate, loss.detach(), norm, by_part.sqrt())
            if book.steps % patience == 0 and not book.any_finite():
                break
            optimizer.step()
            schedule.step()
            bar.update()
            if book.steps % patience == 0:
                bar.set_postfix(loss=f"{loss.mean().item():.3f}", refresh=False)
            if keeper and book.steps % look_every == 0:
                keeper.look()
    finally:
        bar.close()
        learner.close()
    if keeper:
        keeper.restore()
    return book.read()
