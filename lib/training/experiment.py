"""One run: fine-tune a pretrained model with a seed, evaluate it, record what happened.

The standard method is that of Du & Nguyen (released code): AdamW on all parameters, linear warm-up
over the first tenth of the steps and linear decay to zero, weight decay on all weights but biases
and LayerNorm, gradient norm clipped to 1. ``lib.models.stabilizers`` holds the others.

Same setting, seed, machine, versions and thread count give the same bits.
"""

import math
import time
import warnings
from typing import Any, NamedTuple

import numpy as np
import torch

from lib import provenance
from lib.config.seeds import Seeds
from lib.measures import scoring
from lib.models import backbones, devices, layers
from lib.results import runs
from lib.training import evaluation, loop
from lib.training.inputs import RunInputs


class Models(NamedTuple):
    """The models of some seeds, the names of the parameters that are not pretrained, and copies of
    the weights that they start from, by name.
    """

    models: list[torch.nn.Module]
    new: set[str]
    start: dict[str, torch.Tensor]


def build(inputs: RunInputs, seeds: list[Seeds], device: torch.device) -> Models:
    """Models ready to be trained, a seed each: a new head, and what the methods change."""
    setting, located, models = inputs.setting, inputs.located, []
    for method in inputs.methods.values():
        located = method.begin(located, inputs.data.train, setting.precision, device)
    for seed in seeds:
        model, lacking = backbones.load_classifier(
            located, inputs.data.n_outputs, seed.stream("init")
        )
        if setting.dropout >= 0:
            layers.set_dropout(model, setting.dropout)
        if not models:
            start = evaluation.copy_weights(model)
        new = set(lacking)
        for method in inputs.methods.values():
            method.rebuild(model, new)
        models.append(model.to(device))
    return Models(models, new, start)


def finetune(
    inputs: RunInputs, seeds: Seeds | list[Seeds], *, device: str = "auto"
) -> runs.Run | list[runs.Run]:
    """Train and evaluate one run, or as one program the runs of several seeds; nothing is written.

    Returns a run for one seed, a list of runs for a list of seeds.
    """
    if isinstance(seeds, Seeds):
        return finetune(inputs, [seeds], device=device)[0]
    picked = devices.pick(device)
    devices.make_deterministic()
    began = time.perf_counter()
    rows, setting = inputs.data.evaluation, inputs.setting
    how = {"precision": setting.precision, "pooled": setting.pooled_token}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        built = build(inputs, seeds, picked)
        trained = loop.train(inputs, built.models, seeds, picked, new=built.new)
        distances = [evaluation.distances(model, built.start, built.new) for model in built.models]
        outputs = [evaluation.evaluate(model, rows, picked, **how) for model in built.models]
    for s, run in enumerate(trained):
        if run.diverged:
            evaluation.mask_diverged(outputs[s])
            distances[s] = dict.fromkeys(distances[s], math.nan)
    messages = sorted({str(warning.message) for warning in caught})
    weights = [weight.numel() for weight in built.models[0].parameters() if weight.requires_grad]
    shared = {
        "trained_weights": sum(weights),
        "newly_initialised": sorted(built.new),
        "wall_s": round((time.perf_counter() - began) / len(seeds), 2),
        "batch": [seed.label for seed in seeds],
        "device": torch.cuda.get_device_name(picked) if picked.type == "cuda" else "cpu",
        "deterministic": not any("deterministic" in message for message in messages),
        "warnings": messages,
        **_made_from(inputs),
    }
    return [
        runs.Run(
            record={
                **_scored(inputs, seed, trained[s], outputs[s].logits),
                "distance": distances[s],
                "fingerprint": runs.fingerprint(setting, seed, seeds, shared),
                **shared,
            },
            logits=outputs[s].logits,
            labels=rows.labels,
            example_ids=rows.example_ids,
            log=trained[s].log,
            vectors=outputs[s].vectors,
        )
        for s, seed in enumerate(seeds)
    ]


def _scored(
    inputs: RunInputs, seeds: Seeds, trained: loop.Trained, logits: np.ndarray
) -> dict[str, Any]:
    """Of a run's ``run.json``, what is its own: its seeds, its scores and how its loss ended."""
    data = inputs.data
    return {
        "seed_label": seeds.label,
        "seed": seeds.seed,
        "seed_init": seeds.init,
        "seed_order": seeds.order,
        "seed_dropout": seeds.dropout,
        **scoring.score_run(
            data.evaluation.labels,
            logits,
            data.task.metric,
            diverged=trained.diverged,
            other_metrics=data.task.other_metrics,
            groups=data.evaluation.groups,
            credit=data.evaluation.credit,
        ),
        "final_loss": float(np.mean([row["loss"] for row in trained.log[-20:]])),
        "steps": len(trained.log),
    }


def _made_from(inputs: RunInputs) -> dict[str, Any]:
    """Of a ``run.json``, what all runs of a setting on this machine share."""
    return {
        "setting_id": inputs.setting.id,
        "setting": inputs.setting.to_dict(),
        "n_train": len(inputs.data.train),
        "n_eval": len(inputs.data.evaluation),
        "classes": list(inputs.data.task.classes),
        **inputs.origin,
        "backbone_revision": inputs.located.revision,
        "sources": inputs.sources,
        "threads": torch.get_num_threads(),
        **provenance.made_by(),
    }
