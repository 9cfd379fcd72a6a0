"""Frozen features: what a pretrained model says about the examples of a task, without training.

A linear head on them is head tuning.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch

from lib.config import Setting
from lib.config.seeds import Seeds
from lib.data.examples import Encoded
from lib.models import backbones, devices
from lib.results.runs import POOLINGS
from lib.training import experiment, loop
from lib.training.evaluation import EVAL_BATCH, evaluate
from lib.training.inputs import RunInputs, prepare_inputs
from lib.training.learners import SingleModel

SCALINGS = ("unit", "centred-unit", "none")


@dataclass(frozen=True)
class Frozen:
    """Last-layer vectors of the training rows (n, D) and the evaluation rows (N, D), float64, and
    their labels (n,), (N,), from 0 on.
    """

    train: np.ndarray
    labels: np.ndarray
    evaluation: np.ndarray
    evaluation_labels: np.ndarray


def frozen_features(setting: Setting, *, pooling: str) -> Frozen:
    """Features of a task's rows from the backbone of a setting, as it was pretrained.

    Of the setting, backbone, task, row counts, subset seed and ``max_length`` count. ``pooling``:
    the vector at position 0, ``first``, or of the ``last`` token, or the ``mean`` over the tokens.
    The method ``head`` reads the first of an encoder and the last of a decoder. Raises
    ``ValueError`` for a task without classes, or with several candidates, and for the first of a
    decoder, unless the setting asks for it too.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling = {pooling!r}: give one of {', '.join(POOLINGS)}")
    inputs = dataclasses.replace(prepare_inputs(setting), methods={})
    data = inputs.data
    if data.task.n_classes < 2 or data.train.choices != 1:
        raise ValueError(f"task = {setting.task!r} has no classes, which a linear head parts")
    decoder = backbones.architecture_of(inputs.located) == "decoder"
    if pooling == "first" != setting.pooled_token and decoder:
        raise ValueError(
            f"pooling = 'first': at position 0 {setting.backbone}, a decoder, has seen one token "
            "and nothing of the text behind it. Give last or mean; for position 0 all the same, "
            "give the setting pooled_token = 'first' too."
        )
    device = torch.device("cpu")
    (model,) = experiment.build(inputs, [Seeds.of(0)], device).models
    how = {"precision": "float32", "pooled": "auto" if pooling == "mean" else pooling}
    train, evaluation = (
        evaluate(model, part, device, **how).vectors[pooling][-1].astype(np.float64)
        for part in (data.train, data.evaluation)
    )
    return Frozen(train, data.train.labels, evaluation, data.evaluation.labels)


def scaled(frozen: Frozen, scaling: str) -> tuple[np.ndarray, np.ndarray]:
    """Features of the training rows (n, D + 1) and of the evaluation rows; the constant 1 behind
    them is the head's bias.

    ``scaling``: ``unit``, divided by their norm, so that B² = 2; ``centred-unit``, the mean feature
    of the evaluation rows (whose labels are not looked at) taken off before; ``none``.
    """
    if scaling not in SCALINGS:
        raise ValueError(f"scaling = {scaling!r}: give one of {', '.join(SCALINGS)}")
    centre = frozen.evaluation.mean(0) if scaling == "centred-unit" else 0.0
    parts = frozen.train - centre, frozen.evaluation - centre
    if scaling != "none":
        parts = [rows / np.linalg.norm(rows, axis=-1, keepdims=True) for rows in parts]
    train, evaluation = (np.concatenate([rows, np.ones((len(rows), 1))], -1) for rows in parts)
    return train, evaluation


def signed(frozen: Frozen, scaling: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of two classes, z = y · ``scaled`` features of the training rows (1, n, D + 1) and of the
    evaluation rows, and the training labels (1, n), y, as −1 and 1.
    """
    if frozen.labels.max() > 1:
        raise ValueError(f"{frozen.labels.max() + 1} classes; a single plane parts two")
    parts = zip(scaled(frozen, scaling), (frozen.labels, frozen.evaluation_labels), strict=True)
    z, held_out = (rows[None] * np.where(y == 1, 1.0, -1.0)[None, :, None] for rows, y in parts)
    return z, held_out, np.where(frozen.labels == 1, 1.0, -1.0)[None]


def models_of(
    inputs: RunInputs, seeds: list[Seeds], *, trained: bool = True
) -> list[torch.nn.Module]:
    """The models of a setting, a seed each, on the CPU and in evaluation mode.

    ``trained = False``: as they are before the first step, with the head of the seed. Each model
    is trained alone and has the weights of the run that ``lib.training.experiment.finetune`` makes
    of the same setting and seed.
    """
    devices.make_deterministic()
    device, models = torch.device("cpu"), []
    for seed in seeds:
        built = experiment.build(inputs, [seed], device)
        if trained:
            loop.train(inputs, built.models, [seed], device, new=built.new)
        models += built.models
    return [model.eval() for model in models]


@torch.no_grad()
def features_of(model: torch.nn.Module, data: Encoded) -> np.ndarray:
    """(N, D) float64: what the output layer of a model is given for each example."""
    learner = SingleModel([model], data, torch.device("cpu"))
    batches = np.split(np.arange(len(data)), range(EVAL_BATCH, len(data), EVAL_BATCH))
    features = [learner(rows[None]).features[0] for rows in batches]
    learner.close()
    return torch.cat(features).double().numpy()


def without_rows(inputs: RunInputs, share: float, rng: np.random.Generator) -> RunInputs:
    """A random ``share`` of the training rows removed, the others in their order."""
    data = inputs.data
    n = len(data.train)
    kept = np.sort(rng.permutation(n)[round(share * n) :])
    data = dataclasses.replace(data, train=data.train.take(kept))
    return dataclasses.replace(inputs, data=data)
