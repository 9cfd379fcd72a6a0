"""What a trained model says about the evaluation examples, and how far it moved to say it."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from lib.data.examples import Encoded, Loader
from lib.measures import scoring
from lib.models import backbones, devices
from lib.training import learners
from lib.training.inputs import RunInputs

EVAL_BATCH = 64


@dataclass
class Evaluation:
    """What a model says about N examples. ``first`` and ``mean`` are (L + 1, N, D) layer vectors
    (embeddings first): the hidden state at position 0, and the mean over the tokens. In a choice
    between K candidates, the vectors of an example's candidates are one after the other: K · D.
    """

    logits: np.ndarray
    first: np.ndarray | None = None
    mean: np.ndarray | None = None


@torch.no_grad()
def evaluate(
    model: torch.nn.Module, data: Encoded, device: torch.device, *, vectors: bool, precision: str
) -> Evaluation:
    """Logits (N, C) and, if asked for, the layer vectors of all examples, in their order."""
    model.eval()
    loader = Loader(data, device)
    order = np.argsort(data.lengths, kind="stable")
    logits, first, mean = [], [], []
    for start in range(0, len(order), EVAL_BATCH):
        inputs, labels = loader.batch(order[start : start + EVAL_BATCH])
        with devices.autocast(device, precision):
            output = model(**learners.known_inputs(model, inputs), output_hidden_states=vectors)
        logits.append(output.logits.float().reshape(len(labels), -1))
        if vectors:
            mask = inputs["attention_mask"][..., None].float()
            states = torch.stack([state.float() for state in output.hidden_states])
            pooled = states[:, :, 0], (states * mask).sum(2) / mask.sum(1)
            for kept, layers in zip((first, mean), pooled, strict=True):
                kept.append(layers.reshape(len(layers), len(labels), -1))
    back = np.argsort(order)
    return Evaluation(
        torch.cat(logits).cpu().numpy()[back],
        *(torch.cat(part, 1).cpu().numpy()[:, back] if part else None for part in (first, mean)),
    )


def mask_diverged(outputs: Evaluation) -> None:
    """Make the outputs of a diverged run not a number: where it stood when the loss became infinite
    depends on how closely the loss was watched, and is nobody's result.
    """
    for array in (outputs.logits, outputs.first, outputs.mean):
        if array is not None:
            array.fill(np.nan)


def validate(inputs: RunInputs, model: torch.nn.Module, device: torch.device) -> float:
    """The task's metric on the validation half."""
    metric, rows = inputs.data.task.metric, inputs.data.validation
    outputs = evaluate(model, rows, device, vectors=False, precision=inputs.setting.precision)
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
