"""Layers that stabilizers put into a model; each draws its randomness from torch's generator."""

import torch
from torch.nn import functional


class MixoutLinear(torch.nn.Linear):
    """A linear layer whose input columns are, in training, swapped for those of its start.

    With m = 0 with probability p, one draw for each column (Lee et al. 2020 as released, and used
    by Du & Nguyen): W' = [(1 − m) W₀ + m W − p W₀] / (1 − p), so that E[W'] = W. Biases stay.

    ``as_published``: the released code leaves 1 / (1 − p) out of the gradient.
    """

    def __init__(self, layer: torch.nn.Linear, p: float, *, as_published: bool = False) -> None:
        torch.nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.p, self.as_published = p, as_published
        self.weight, self.bias = layer.weight, layer.bias
        self.register_buffer("target", layer.weight.detach().clone(), persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return functional.linear(inputs, self.weight, self.bias)
        kept = (torch.rand(self.in_features, device=self.weight.device) >= self.p).float()
        mixed = (kept * self.weight + (1 - kept - self.p) * self.target) / (1 - self.p)
        if self.as_published:
            own = kept * self.weight
            mixed = mixed.detach() + own - own.detach()
        return functional.linear(inputs, mixed, self.bias)


class MultiHeadLinear(torch.nn.Module):
    """H linear heads on the same features: (…, D) → (…, H, C) in training; the mean head's (…, C)
    in evaluation, which for linear heads is the mean of their logits.
    """

    def __init__(self, n_heads: int, in_features: int, out_features: int, spread: float) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = torch.nn.Parameter(torch.randn(n_heads, out_features, in_features) * spread)
        self.bias = torch.nn.Parameter(torch.zeros(n_heads, out_features))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.training:
            heads = functional.linear(inputs, self.weight.flatten(0, 1), self.bias.flatten())
            return heads.unflatten(-1, self.bias.shape)
        return functional.linear(inputs, self.weight.mean(0), self.bias.mean(0))


class FirstTokenLinear(torch.nn.Module):
    """A linear layer on the vector at position 0: (B, T, D) → (B, C)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.out_proj = torch.nn.Linear(in_features, out_features)

    def forward(self, states: torch.Tensor, **_: object) -> torch.Tensor:
        return self.out_proj(states[:, 0])
