"""What a trained model says about the evaluation examples, and how far it moved to say it."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch

from lib.data.examples import Encoded, Loader
from lib.measures import scoring
from lib.models import backbones, devices
from lib.training.inputs import RunInputs

EVAL_BATCH = 64


class Evaluation(NamedTuple):
    """What a model says about N examples: logits (N, C), and layer vectors (L + 1, N, D) by
    pooling, embeddings first.

    Poolings are ``first``, the hidden state at position 0, or ``last``, that of the last token; and
    ``mean``, over the tokens. In a choice between K candidates, the vectors of an example's
    candidates are one after the other: K · D. What models generate is in
    ``generated``: see ``lib.training.generation``.
    """

    logits: np.ndarray
    vectors: dict[str, np.ndarray]
    generated: Mapping[str, np.ndarray] = MappingProxyType({})


@torch.no_grad()
def evaluate(
    model: torch.nn.Module,
    data: Encoded,
    device: torch.device,
    *,
    precision: str,
    pooled: str | None = None,
) -> Evaluation:
    """What a model says about all examples, in their order.

    ``pooled``: as ``lib.config.Setting.pooled_token``; None where no layer vectors are wanted.
    """
    model.eval()
    if pooled == "auto":
        decoder = backbones.FAMILIES[model.config.model_type].decoder
        pooled = "last" if decoder else "first"
    loader = Loader(data, device, typed=backbones.takes_types(model))
    order = np.argsort(data.lengths, kind="stable")
    logits, vectors = [], {pooled: [], "mean": []} if pooled else {}
    for start in range(0, len(order), EVAL_BATCH):
        inputs, labels = loader.batch(order[start : start + EVAL_BATCH])
        with devices.autocast(device, precision):
            output = model(**inputs, output_hidden_states=bool(vectors))
        logits.append(output.logits.float().reshape(len(labels), -1))
        if vectors:
            mask = inputs["attention_mask"]
            states = torch.stack([state.float() for state in output.hidden_states])
            token = backbones.last_token(states, mask) if pooled == "last" else states[:, :, 0]
            weights = mask[..., None].float()
            mean = (states * weights).sum(2) / weights.sum(1)
            for batches, layers in zip(vectors.values(), (token, mean), strict=True):
                batches.append(layers.reshape(len(layers), len(labels), -1))
    back = np.argsort(order)
    return Evaluation(
        torch.cat(logits).cpu().numpy()[back],
        {name: torch.cat(part, 1).cpu().numpy()[:, back] for name, part in vectors.items()},
    )


def validate(inputs: RunInputs, model: torch.nn.Module, device: torch.device) -> float:
    """The task's metric on the validation half."""
    metric, rows = inputs.data.task.metric, inputs.data.validation
    outputs = evaluate(model, rows, device, precision=inputs.setting.precision)
    return scoring.score_logits(
        metric, rows.labels, outputs.logits, groups=rows.groups, credit=rows.credit
    )


def copy_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copies of all weights of a model, by name."""
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def distances(
    model: torch.nn.Module, start: dict[str, torch.Tensor], new: set[str]
) -> dict[str, float]:
    """Euclidean distance from the start: of all pretrained weights, and of each part.

    Weights in ``new`` were not pretrained, or were drawn anew, and do not count.
    """
    n_layers = len(backbones.layers(model))
    names = backbones.parts(n_layers)
    squares = dict.fromkeys(names, 0.0)
    # peft keeps the matrix that it updates one level deeper.
    now = {name.replace(".base_layer.", "."): w for name, w in model.named_parameters()}
    for name, before in start.items():
        if name in now and name not in new:
            end = now[name].detach().cpu().double()
            square = (end - before.cpu().double()).square().sum().item()
            squares[names[backbones.depth_of(name, n_layers)]] += square
    return {
        "all": math.sqrt(sum(squares.values())),
        **{name: math.sqrt(square) for name, square in squares.items()},
    }
