"""Frozen features: what a pretrained encoder says about the examples of a task, without training.

A linear head on them is head tuning. Made once and kept under ``data/raw/features``; no text.
"""

import dataclasses
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch

from lib import evaluation, experiment, paths, provenance
from lib.config import Setting
from lib.inputs import RunInputs, prepare_inputs
from lib.seeds import Seeds

POOLINGS = ("first", "mean")
SCALINGS = ("unit", "centred-unit", "none")


@dataclass(frozen=True)
class Frozen:
    """Last-layer vectors of the training rows (n, D) and the evaluation rows (N, D), float64, and
    their labels (n,), (N,), which are 0 and 1.
    """

    train: np.ndarray
    labels: np.ndarray
    evaluation: np.ndarray
    evaluation_labels: np.ndarray


def frozen_features(setting: Setting, *, pooling: str = "first") -> Frozen:
    """Features of a task's rows from the backbone of a setting, as it was pretrained.

    Of the setting, backbone, task, row counts, subset seed and ``max_length`` count. ``pooling``:
    ``first``, the vector at position 0, which the method ``head`` reads; or ``mean`` over the
    tokens. Raises ``ValueError`` for a task that does not have two classes.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling = {pooling!r}: give one of {', '.join(POOLINGS)}")
    inputs = dataclasses.replace(prepare_inputs(setting), methods={})
    located, data = inputs.located, inputs.data
    if data.n_classes != 2 or data.train.choices != 1:
        raise ValueError(f"task = {setting.task!r} has no two classes, which a linear head parts")
    key = provenance.digest(
        located.sha256,
        data.sha256,
        [list(part.example_ids) for part in (data.train, data.evaluation)],
        setting.max_length,
        provenance.TRAINING_VERSIONS,
    )
    path = paths.CACHE / "features" / f"{key}-{pooling}.npz"
    if not path.exists():
        _make(path.parent, key, inputs)
    with np.load(path, allow_pickle=False) as stored:
        return Frozen(**{field.name: stored[field.name] for field in fields(Frozen)})


def _make(folder: Path, key: str, inputs: RunInputs) -> None:
    """Both poolings at once: the model is what takes the time."""
    data, device = inputs.data, torch.device("cpu")
    (model,) = experiment.build(inputs, [Seeds.of(0)], device).models
    outputs = [
        evaluation.evaluate(model, part, device, vectors=True, precision="float32")
        for part in (data.train, data.evaluation)
    ]
    for pooling in POOLINGS:
        train, held = (getattr(part, pooling)[-1].astype(np.float64) for part in outputs)
        features = Frozen(train, data.train.labels, held, data.evaluation.labels)
        with paths.atomic_file(folder / f"{key}-{pooling}.npz") as scratch:
            np.savez_compressed(scratch, **vars(features))


def signed(frozen: Frozen, scaling: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z = y · (features, 1) of the training rows (1, n, D + 1) and of the evaluation rows, and the
    training labels (1, n), as −1 and 1. The constant 1 is the head's bias.

    ``scaling``: ``unit``, features divided by their norm, so that B² = 2; ``centred-unit``, the
    mean feature of the evaluation rows (whose labels are not looked at) taken off before; ``none``.
    """
    if scaling not in SCALINGS:
        raise ValueError(f"scaling = {scaling!r}: give one of {', '.join(SCALINGS)}")
    centre = frozen.evaluation.mean(0) if scaling == "centred-unit" else 0.0
    parts = []
    for rows, labels in (
        (frozen.train - centre, frozen.labels),
        (frozen.evaluation - centre, frozen.evaluation_labels),
    ):
        if scaling != "none":
            rows = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
        with_bias = np.concatenate([rows, np.ones((len(rows), 1))], -1)
        parts.append(with_bias[None] * np.where(labels == 1, 1.0, -1.0)[None, :, None])
    return parts[0], parts[1], np.where(frozen.labels == 1, 1.0, -1.0)[None]
