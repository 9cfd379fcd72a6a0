"""The training loop, for one run or for several seeds as one program (``lib.training.learners``).

Losses, gradients, gradient norms and optimiser steps never mix seeds, so each seed takes the steps
that it would take alone.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from lib.config.seeds import Seeds
from lib.data.examples import NO_TOKEN, epoch_batches
from lib.models import backbones
from lib.training import evaluation, optimizers
from lib.training.generation import SingleGenerator
from lib.training.inputs import RunInputs
from lib.training.learners import SeedBatch, SingleModel

#: Losses are looked at after so many steps where each look would wait for a GPU.
STEPS_BETWEEN_LOOKS = 64


@dataclass
class Trained:
    """The log of one run, a row a step, and whether it diverged."""

    log: list[dict[str, float]] = field(default_factory=list)
    diverged: bool = False


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
    Of texts, ``logits`` (S, B, T, V) and ``labels`` (S, B, T), the mean is over tokens.
    """
    if labels.ndim == 3:
        each = functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none")
        return each.view(len(labels), -1).sum(1) / (labels != NO_TOKEN).flatten(1).sum(1)
    if logits.ndim == 4:
        labels = labels[..., None].expand(logits.shape[:-1])
    if logits.shape[-1] == 1:
        each = (logits[..., 0] - labels).square()
    else:
        flat = functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none")
        each = flat.view(labels.shape)
    return each.flatten(1).mean(1)


def _batches(inputs: RunInputs, seeds: list[Seeds]) -> Iterator[np.ndarray]:
    """The batches of all seeds, step by step: rows (S, B), each seed in its own order."""
    lengths, setting = inputs.data.train.lengths, inputs.setting
    draws = [np.random.default_rng(seed.stream("order")) for seed in seeds]
    for _ in range(setting.epochs):
        each = [epoch_batches(lengths, setting.batch_size, rng) for rng in draws]
        yield from (np.stack(rows) for rows in zip(*each, strict=True))


class TrainingLog:
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
        norms = (f"gradient_norm_{name}" for name in self.names)
        columns = ["step", "lr", "loss", "gradient_norm", *norms]
        runs = []
        for s in range(pages.shape[-1]):
            page = pages[..., s]
            bad = np.flatnonzero(~np.isfinite(page[:, :2]).all(1))
            stop = bad[0] + 1 if len(bad) else len(page)
            rows = zip(range(stop), self.rates[:stop], *page[:stop].T.tolist(), strict=True)
            log = [dict(zip(columns, row, strict=True)) for row in rows]
            runs.append(Trained(log, diverged=bool(len(bad))))
        return runs


class BestCheckpoint:
    """Keeps each run's weights of when it scored best on the validation half."""

    def __init__(
        self, models: list[torch.nn.Module], validate: Callable[[torch.nn.Module], float]
    ) -> None:
        self.models, self.validate = models, validate
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
                    if weight.requires_grad
                }

    @torch.no_grad()
    def restore(self) -> None:
        """Put the best weights back; a run that was never looked at keeps its last."""
        for model, kept in zip(self.models, self.weights, strict=True):
            own = dict(model.named_parameters())
            for name, weight in kept.items():
                own[name].copy_(weight)


def train(
    inputs: RunInputs,
    models: list[torch.nn.Module],
    seeds: list[Seeds],
    device: torch.device,
    *,
    new: set[str],
) -> list[Trained]:
    """Train one model a seed in place; leaves each in the state of the chosen checkpoint, adapters
    merged into the weights.

    The log has, for each step, the loss, the learning rate, the gradient norm before clipping and
    that of each part of the model. A run whose loss or gradient is no longer finite has diverged;
    its weights are of no use, those of the other seeds are untouched.
    """
    setting, data, methods = inputs.setting, inputs.data, inputs.methods
    n_layers = len(backbones.layers(models[0]))
    kind = SingleModel if len(models) == 1 else SeedBatch
    kind = SingleGenerator if data.task.generates else kind
    learner = kind(models, data.train, device, setting.precision)
    per_epoch = math.ceil(len(data.train) / setting.batch_size)
    n_steps = per_epoch * setting.epochs
    batches = _batches(inputs, seeds)
    validate = partial(evaluation.validate, inputs, device=device)
    best = BestCheckpoint(models, validate) if setting.evals_per_epoch else None
    optimizer, schedule = optimizers.make(inputs, learner, new, n_steps)
    first_rate = optimizer.param_groups[0]["initial_lr"]
    depths = torch.tensor([backbones.depth_of(n, n_layers) for n in learner.trained], device=device)
    look_every = max(1, per_epoch // max(1, setting.evals_per_epoch))
    patience = 1 if device.type == "cpu" else STEPS_BETWEEN_LOOKS
    log = TrainingLog(backbones.parts(n_layers))
    torch.manual_seed(
        seeds[0].stream("dropout")
        if len(seeds) == 1
        else int(np.random.SeedSequence([s.stream("dropout") for s in seeds]).generate_state(1)[0])
    )
    for model in models:
        model.train()
    title = f"{setting.id} {' '.join(seed.label for seed in seeds)}"
    bar = tqdm(total=n_steps, desc=title, unit="step", leave=False)
    try:
        for rows in batches:
            logits, features, labels = learner(rows)
            loss = total = losses(as_choices(logits.float(), data.train.choices), labels)
            for method in methods.values():
                total = total + method.penalty(features.float(), labels, data.task.n_classes)
            optimizer.zero_grad()
            total.sum().backward()
            grads = [weight.grad for weight in learner.trained.values()]
            squares = learner.norms(grads).float().square()
            norm = squares.sum(0).sqrt()
            by_part = squares.new_zeros(n_layers + 2, len(models)).index_add_(0, depths, squares)
            if setting.max_grad_norm:
                learner.scale(grads, (setting.max_grad_norm / (norm + 1e-6)).clamp(max=1.0))
            rate = schedule.get_last_lr()[0] / first_rate * setting.learning_rate
            log.note(rate, loss.detach(), norm, by_part.sqrt())
            if log.steps % patience == 0 and not log.any_finite():
                break
            optimizer.step()
            schedule.step()
            bar.update()
            if log.steps % patience == 0:
                bar.set_postfix(loss=f"{loss.mean().item():.3f}", refresh=False)
            if best and log.steps % look_every == 0:
                best.look()
        if best:
            best.restore()
    finally:
        bar.close()
        learner.close()
    return log.read()
