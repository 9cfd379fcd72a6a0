"""What stabilises fine-tuning, what destabilises it, and what trains less of it.

Each method is a small object with hooks that the training calls; what it does not override, it
leaves as it is. ``lib.models.methods`` reads their names from a setting.

Sources: Du & Nguyen (2023), released code (mixout, llrd, reinit, wd_pre); Mosbach et al. (2021),
released configurations (longer, no_bias_correction). Of MMR, MHLoss and SURT (Fu et al. 2023) only
the intentions are public: the formulas here are ours.
"""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from lib import errors
from lib.models import backbones
from lib.models.backbones import Located

if TYPE_CHECKING:
    import torch

    from lib.data.examples import Encoded

_Epochs = Annotated[int, Field(ge=1, le=1000)]
_Probability = Annotated[float, Field(ge=0, le=0.99)]


@errors.checked
class Method:
    """The hooks, and what they do in standard fine-tuning: nothing."""

    #: Names of methods with which this one makes no sense, and why.
    conflicts: ClassVar[dict[str, str]] = {}

    def prescribed(self) -> dict[str, Any]:
        """Values of the setting that belong to the method and replace the setting's own."""
        return {}

    def check(self, n_classes: int, choices: int, n_layers: int) -> None:
        """Raise ``ValueError`` if the method cannot do a task (1 class: regression) or a depth."""

    def begin(
        self, located: Located, train: "Encoded", precision: str, device: "torch.device"
    ) -> Located:
        """The checkpoint to start from."""
        return located

    def rebuild(self, model: "torch.nn.Module", new: set[str]) -> None:
        """Change a freshly loaded model in place, drawing from the ``init`` stream.

        ``new`` names the parameters that were not pretrained; a method adds what it draws anew.
        """

    def rate(self, depth: int, n_layers: int) -> float:
        """Factor of the learning rate at a depth: 0 embeddings, 1 … L layers, L + 1 head."""
        return 1.0

    def decays(self, depth: int, n_layers: int) -> bool:
        """Whether the optimiser's weight decay acts on the matrices at a depth."""
        return True

    def penalty(
        self, features: "torch.Tensor", labels: "torch.Tensor", n_classes: int
    ) -> "torch.Tensor | float":
        """What is added to the loss of each of S seeds, (S,): from features (S, B, D), the input of
        the output layer, and labels (S, B).
        """
        return 0.0

    def pull(self) -> float:
        """Strength of the decay towards the pretrained weights, of those that decay as far as the
        other methods say; what is new, pooler and head decay to zero.
        """
        return 0.0


@errors.checked
class Longer(Method):
    """Mosbach et al.'s recipe: 20 epochs, Adam with bias correction."""

    epochs: _Epochs = 20

    def prescribed(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "optimizer": "adamw"}


@errors.checked
class NoBiasCorrection(Method):
    """The unstable default of BERT's original code: Adam without its bias correction."""

    conflicts: ClassVar = {"longer": "longer prescribes the correction"}

    def prescribed(self) -> dict[str, Any]:
        return {"optimizer": "adamw-no-bias-correction"}


@errors.checked
class Surt(Method):
    """Continue the checkpoint's own unsupervised objective on the task's training text first.

    The re-trained checkpoint is the same for all seeds of a setting (its own ``seed`` is a
    parameter), so that the seeds vary the fine-tuning only. The claim of Fu et al.: the weights
    then have less far to go. A few trials with small models did not show it.
    """

    epochs: _Epochs = 3
    head_epochs: _Epochs = 1
    learning_rate: Annotated[float, Field(ge=1e-8, le=1)] = 5e-5
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 16
    seed: Annotated[int, Field(ge=0, le=2**31)] = 0

    def begin(
        self, located: Located, train: "Encoded", precision: str, device: "torch.device"
    ) -> Located:
        from lib.models.pretraining import Recipe, continue_pretraining

        recipe = Recipe(**dataclasses.asdict(self), precision=precision)
        return continue_pretraining(located, train, recipe, device)


@errors.checked
class Reinit(Method):
    """Draw the top layers and the pooler anew. ``layers = 0``: 5 of 24, scaled to the model's
    depth and at least one.
    """

    layers: Annotated[int, Field(ge=0, le=1000)] = 0

    def check(self, n_classes: int, choices: int, n_layers: int) -> None:
        if self.layers > n_layers:
            raise ValueError(
                f"reinit(layers={self.layers}), but the backbone has {n_layers} layers"
            )

    def depth(self, n_layers: int) -> int:
        """How many layers are drawn anew in a model of ``n_layers``."""
        return self.layers or max(1, round(5 * n_layers / 24))

    def rebuild(self, model: "torch.nn.Module", new: set[str]) -> None:
        stack = backbones.layers(model)
        parts = list(stack[len(stack) - self.depth(len(stack)) :])
        if (pooler := backbones.pooler_of(model)) is not None:
            parts.append(pooler)
        for part in parts:
            for module in part.modules():
                _draw(module, model.config.initializer_range)
            new |= _names(model, part)


def _draw(module: "torch.nn.Module", spread: float) -> None:
    """BERT's initialisation: matrices N(0, spread²), biases 0, the scales of norms 1."""
    import torch

    for name, weight in module.named_parameters(recurse=False):
        with torch.no_grad():
            if weight.ndim >= 2:
                weight.normal_(0.0, spread)
            else:
                weight.fill_(0.0 if name == "bias" else 1.0)


def _names(model: "torch.nn.Module", part: "torch.nn.Module") -> set[str]:
    """The names in a model of the parameters of a part of it."""
    wanted = {id(weight) for weight in part.parameters()}
    return {name for name, weight in model.named_parameters() if id(weight) in wanted}


@errors.checked
class Head(Method):
    """A linear probe: the encoder is frozen, without dropout, and one linear layer is trained on
    its vector at position 0 (of the last token, in decoders). Nothing random lies between.
    """

    conflicts: ClassVar = {
        "reinit": "a frozen encoder must be the pretrained one",
        "mixout": "nothing but the new layer is trained",
        "wd_pre": "nothing but the new layer is trained",
        "llrd": "nothing but the new layer is trained",
        "mmr": "the features are frozen",
        "lora": "lora trains the encoder",
    }

    def rebuild(self, model: "torch.nn.Module", new: set[str]) -> None:
        import torch

        from lib.models import layers

        parent, _, output = backbones.output_layer(model)
        for weight in model.parameters():
            weight.requires_grad = False
        backbones.set_dropout(model, 0.0)
        # What stands between the encoder and the output layer, with its weights and its tanh, goes.
        if parent is not model:
            model.classifier = layers.FirstTokenLinear(output.in_features, output.out_features)
        elif backbones.pooler_of(model) is not None:
            pooler = backbones.encoder(model).pooler
            pooler.dense, pooler.activation = torch.nn.Identity(), torch.nn.Identity()
        _, _, output = backbones.output_layer(model)
        _draw(output, model.config.initializer_range)
        output.requires_grad_(True)
        new |= _names(model, output)


@errors.checked
class Lora(Method):
    """Low-rank updates of the query and value matrices (library: peft); all else that is
    pretrained is frozen. Evaluation and distances are of the merged weights.
    """

    rank: Annotated[int, Field(ge=1, le=4096)] = 8
    alpha: Annotated[float, Field(ge=0, le=1e6)] = 16.0
    dropout: _Probability = 0.1
    conflicts: ClassVar = {
        "reinit": "frozen layers must be the pretrained ones",
        "mixout": "the weights that mixout mixes are frozen",
        "wd_pre": "the weights that it pulls back are frozen",
    }

    def rebuild(self, model: "torch.nn.Module", new: set[str]) -> None:
        from peft import LoraConfig, inject_adapter_in_model

        names = {name.rpartition(".")[2] for name, _ in backbones.layers(model).named_modules()}
        families = [("query", "value"), ("q", "v"), ("q_proj", "v_proj")]
        targets = next(list(pair) for pair in families if set(pair) <= names)
        config = LoraConfig(
            r=self.rank, lora_alpha=self.alpha, lora_dropout=self.dropout, target_modules=targets
        )
        inject_adapter_in_model(config, model)
        for name, weight in model.named_parameters():
            own = name.replace(".base_layer.", ".")
            weight.requires_grad = "lora_" in name or own in new


@errors.checked
class MhLoss(Method):
    """Several linear heads at once: the loss is the mean of theirs, the prediction the mean head's.

    Through the mean each head's gradient is 1/H of one head's; Adam makes up for that, plain
    gradient descent does not.
    """

    heads: Annotated[int, Field(ge=1, le=1000)] = 5

    def rebuild(self, model: "torch.nn.Module", new: set[str]) -> None:
        from lib.models.layers import MultiHeadLinear

        parent, name, output = backbones.output_layer(model)
        shape = (output.in_features, output.out_features)
        several = MultiHeadLinear(self.heads, *shape, model.config.initializer_range)
        setattr(parent, name, several)
        new |= _names(model, several)


@errors.checked
class Mixout(Method):
    """Mixout instead of dropout in every linear layer, the head's included."""

    p: _Probability = 0.1
    as_published: bool = False
    conflicts: ClassVar = {"mhloss": "mixout mixes single linear layers, not several heads"}

    def rebuild(self, model: "torch.nn.Module", new: set[str]) -> None:
        import torch

        from lib.models import layers

        backbones.set_dropout(model, 0.0)
        for parent in list(model.modules()):
            for name, layer in parent.named_children():
                if type(layer) is torch.nn.Linear:
                    mixed = layers.MixoutLinear(layer, self.p, as_published=self.as_published)
                    setattr(parent, name, mixed)


@errors.checked
class Llrd(Method):
    """Layer-wise decay of the learning rate: at depth d of L layers it is
    ``learning_rate · factor^(L + 1 − d)``; pooler and head have the full rate and no weight decay.
    """

    factor: Annotated[float, Field(ge=0.01, le=1)] = 0.95

    def rate(self, depth: int, n_layers: int) -> float:
        return self.factor ** (n_layers + 1 - depth)

    def decays(self, depth: int, n_layers: int) -> bool:
        return depth <= n_layers


@errors.checked
class WdPre(Method):
    """Weight decay towards the pretrained weights instead of zero: after each step
    p ← p − rate · strength · (p − p₀); pooler and head decay to zero.
    """

    strength: Annotated[float, Field(ge=0, le=1000)] = 0.01

    def decays(self, depth: int, n_layers: int) -> bool:
        return False

    def pull(self) -> float:
        return self.strength


@errors.checked
class Mmr(Method):
    """Push the classes' mean features apart: the loss gains α Σ 1 / (1 + ‖c_a − c_b‖), c the mean
    feature of a class in the batch, over the pairs of classes that are in it.
    """

    alpha: Annotated[float, Field(ge=0, le=1e6)] = 1.0

    def check(self, n_classes: int, choices: int, n_layers: int) -> None:
        if n_classes == 1 or choices > 1:
            raise ValueError("mmr parts the features of classes; this task has no classes")

    def penalty(
        self, features: "torch.Tensor", labels: "torch.Tensor", n_classes: int
    ) -> "torch.Tensor | float":
        import torch

        member = torch.nn.functional.one_hot(labels, n_classes).to(features.dtype)
        counts = member.sum(1)
        centres = (member.mT @ features) / counts.clamp(min=1)[..., None]
        a, b = torch.triu_indices(n_classes, n_classes, 1, device=features.device)
        both = (counts[:, a] > 0) & (counts[:, b] > 0)
        # A class that is not in the batch leaves no gap to take the root of: 1 keeps it finite.
        square = (centres[:, a] - centres[:, b]).square().sum(-1)
        gap = torch.where(both, square, 1.0).clamp(min=1e-12).sqrt()
        return self.alpha * torch.where(both, 1 / (1 + gap), 0.0).sum(-1)
