"""One run: fine-tune a pretrained model with a seed, evaluate it, record what happened.

The standard method is that of Du & Nguyen (released code): AdamW on all parameters, linear warm-up
over the first tenth of the steps and linear decay to zero, weight decay on all weights but biases
and LayerNorm, gradient norm clipped to 1. ``lib.models.stabilizers`` holds the others.

Same setting, seed, machine, versions and thread count give the same bits.
"""

import math
import time
import warnings
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from lib import provenance
from lib.config.seeds import STREAMS, Seeds
from lib.measures import scoring
from lib.models import backbones, devices, generators
from lib.results import runs
from lib.training import evaluation, generation, loop
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
        if inputs.data.task.generates:
            model, lacking = generators.load_generator(located, seed.stream("init"))
        else:
            model, lacking = backbones.load_classifier(
                located, inputs.data.n_outputs, seed.stream("init")
            )
        if setting.dropout >= 0:
            backbones.set_dropout(model, setting.dropout)
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

    Returns a run for one seed, a list of runs for a list of seeds; ``ValueError`` for several
    seeds of a task whose answers are texts, which are trained one by one.
    """
    if isinstance(seeds, Seeds):
        return finetune(inputs, [seeds], device=device)[0]
    if inputs.data.task.generates and len(seeds) > 1:
        raise ValueError(f"{len(seeds)} seeds as one program are for classifiers; give one seed")
    picked = devices.pick(device)
    devices.make_deterministic()
    began, made_from = time.perf_counter(), _made_from(inputs)
    rows, setting, task = inputs.data.evaluation, inputs.setting, inputs.data.task
    how = {"precision": setting.precision, "pooled": setting.pooled_token}
    evaluate = partial(evaluation.evaluate, data=rows, device=picked, **how)
    if task.generates:
        evaluate = partial(generation.evaluate, inputs, device=picked)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        built = build(inputs, seeds, picked)
        trained = loop.train(inputs, built.models, seeds, picked, new=built.new)
        distances = [evaluation.distances(model, built.start, built.new) for model in built.models]
        outputs = [evaluate(model=model) for model in built.models]
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
        **made_from,
    }
    finished = []
    for s, seed in enumerate(seeds):
        if trained[s].diverged:
            # Where it stood when the loss became infinite depends on how closely the loss was
            # watched, and is nobody's result.
            for array in (outputs[s].logits, *outputs[s].vectors.values()):
                array.fill(np.nan)
            if task.generates:
                generation.clear(outputs[s].generated)
            distances[s] = dict.fromkeys(distances[s], math.nan)
        diverged = trained[s].diverged
        if task.generates:
            scores = generation.score(inputs, outputs[s], diverged=diverged)
        else:
            scores = scoring.score_run(
                rows.labels,
                outputs[s].logits,
                task.metric,
                diverged=diverged,
                other_metrics=task.other_metrics,
                groups=rows.groups,
                credit=rows.credit,
            )
        record = {
            "seed_label": seed.label,
            "seed": seed.seed,
            **{f"seed_{stream}": getattr(seed, stream) for stream in STREAMS},
            **scores,
            "final_loss": float(np.mean([row["loss"] for row in trained[s].log[-20:]])),
            "steps": len(trained[s].log),
            "distance": distances[s],
            "fingerprint": runs.fingerprint(setting, seed, seeds, shared),
            **shared,
        }
        finished.append(
            runs.Run(
                record=record,
                logits=outputs[s].logits,
                labels=rows.labels,
                example_ids=rows.example_ids,
                log=trained[s].log,
                vectors=outputs[s].vectors,
                generated=outputs[s].generated,
            )
        )
    return finished


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
