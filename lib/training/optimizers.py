"""Optimisers and schedules by name; the libraries' own, but for Adam without bias correction.

Rates and decay are by depth, as the methods of a setting say.
"""

import math
from collections.abc import Collection
from typing import Any

import torch

from lib.config import Setting
from lib.models import backbones
from lib.models.stabilizers import Method
from lib.training.inputs import RunInputs
from lib.training.learners import Learner

EPSILON = 1e-6
MOMENTUM = 0.9


class AdamWNoBiasCorrection(torch.optim.Optimizer):
    """AdamW as in BERT's original code: running means are not divided by 1 − βᵗ.

    The second mean, too small at first, is under a root: early steps are up to
    (1 − β₁) / √(1 − β₂) ≈ 3 times as long as with the correction (Mosbach et al. 2021, Zhang et al.
    2021).
    """

    def __init__(self, groups: Any, lr: float, betas: tuple[float, float], eps: float) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight] = {"m": torch.zeros_like(weight)}
                    self.state[weight]["v"] = torch.zeros_like(weight)
            grads = [weight.grad for weight in weights]
            means = [self.state[weight]["m"] for weight in weights]
            squares = [self.state[weight]["v"] for weight in weights]
            first, second = group["betas"]
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_lerp_(means, grads, 1 - first)
            torch._foreach_mul_(squares, second)
            torch._foreach_addcmul_(squares, grads, grads, 1 - second)
            roots = torch._foreach_sqrt(squares)
            torch._foreach_add_(roots, group["eps"])
            torch._foreach_addcdiv_(weights, means, roots, -group["lr"])


def make(
    inputs: RunInputs, learner: Learner, new: set[str], n_steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """The optimiser of a setting over the trained weights, as its methods say, and its schedule.

    ``new``: the names of the weights that are not pretrained.
    """
    setting, methods = inputs.setting, inputs.methods
    n_layers = len(backbones.layers(learner.model))
    decaying = _decaying(learner, n_layers, methods.values())
    groups: dict[tuple[float, float], list[torch.Tensor]] = {}
    for name, weight in learner.trained.items():
        depth = backbones.depth_of(name, n_layers)
        rate = math.prod(method.rate(depth, n_layers) for method in methods.values())
        decay = setting.weight_decay if name in decaying else 0.0
        groups.setdefault((rate, decay), []).append(weight)
    optimizer = of_groups(
        [
            {"params": weights, "lr": setting.learning_rate * rate, "weight_decay": decay}
            for (rate, decay), weights in groups.items()
        ],
        setting,
    )
    steps = schedule(optimizer, setting, n_steps)
    for name, method in methods.items():
        if strength := method.pull():
            others = [other for key, other in methods.items() if key != name]
            _pull_back(optimizer, strength, _anchors(learner, new, n_layers, others))
    return optimizer, steps


def _decaying(learner: Learner, n_layers: int, methods: Collection[Method]) -> set[str]:
    """Names of the trained weights that decay as far as methods say. Biases and norms never do."""
    return {
        name
        for name, weight in learner.model.named_parameters()
        if weight.ndim >= 2
        and not name.endswith("bias")
        and name in learner.trained
        and all(method.decays(backbones.depth_of(name, n_layers), n_layers) for method in methods)
    }


def _anchors(
    learner: Learner, new: set[str], n_layers: int, others: list[Method]
) -> dict[torch.Tensor, torch.Tensor | float]:
    """Each weight that decays as far as the other methods say, with its pretrained value, or 0
    where decay is towards zero.
    """
    return {
        learner.trained[name]: 0.0
        if backbones.depth_of(name, n_layers) > n_layers or name in new
        else learner.trained[name].detach().clone()
        for name in _decaying(learner, n_layers, others)
    }


def _pull_back(
    optimizer: torch.optim.Optimizer, strength: float, anchors: dict[torch.Tensor, Any]
) -> None:
    """After each step, p ← p − rate · strength · (p − anchor)."""

    @torch.no_grad()
    def pull(*_: object) -> None:
        for group in optimizer.param_groups:
            for weight in group["params"]:
                if weight in anchors:
                    weight.sub_(weight - anchors[weight], alpha=group["lr"] * strength)

    optimizer.register_step_post_hook(pull)


def of_groups(groups: list[dict[str, Any]], setting: Setting) -> torch.optim.Optimizer:
    """The setting's optimiser over parameter groups that carry their own rate and decay.

    All but Adafactor treat each number by itself, so they also serve weights of several seeds
    stacked into one tensor.
    """
    rate = setting.learning_rate
    if setting.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, eps=EPSILON, fused=True)
    if setting.optimizer == "adamw-no-bias-correction":
        return AdamWNoBiasCorrection(groups, rate, (0.9, 0.999), EPSILON)
    if setting.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=MOMENTUM)
    from transformers.optimization import Adafactor

    return Adafactor(groups, lr=rate, relative_step=False, scale_parameter=False)


def schedule(
    optimizer: torch.optim.Optimizer, setting: Setting, n_steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up, then linear or cosine decay to zero, or constant."""
    # Imported here because it takes two seconds, which a job that finds its runs done can save.
    from transformers import get_scheduler

    name = "constant_with_warmup" if setting.schedule == "constant" else setting.schedule
    return get_scheduler(name, optimizer, round(setting.warmup * n_steps), n_steps)
