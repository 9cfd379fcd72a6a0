"""One run: fine-tune a pretrained model with a seed, evaluate it, record what happened.

The standard method is that of Du & Nguyen (released code): AdamW on all parameters, linear warm-up
over the first tenth of the steps and linear decay to zero, weight decay on all weights but biases
and LayerNorm, gradient norm clipped to 1. ``lib.stabilizers`` holds the others.

Same setting, seed, machine, versions and thread count give the same bits.
"""

import math
import time
import warnings
from typing import Any

import numpy as np
import torch

from lib import (
    backbones,
    devices,
    evaluation,
    layers,
    pretrained,
    provenance,
    runs,
    scoring,
    stabilizers,
    training,
)
from lib.config import Setting
from lib.methods import parse_method
from lib.preparation import Prepared, prepare
from lib.seeds import Seeds


def _check(
    setting: Setting,
    located: pretrained.Located,
    data: Prepared,
    methods: dict[str, stabilizers.Method],
) -> None:
    """Refuse what cannot be, before anything is trained."""
    n_layers, longest = backbones.dimensions(located)
    if longest and setting.max_length > longest:
        raise ValueError(
            f"max_length = {setting.max_length}, but {setting.backbone} takes {longest}"
        )
    for method in methods.values():
        method.check(data.n_classes, data.train.choices, n_layers)


def finetune(
    setting: Setting,
    seeds: Seeds | list[Seeds],
    *,
    device: str = "auto",
    data: Prepared | None = None,
    located: pretrained.Located | None = None,
) -> runs.Run | list[runs.Run]:
    """Train and evaluate one run, or as one program the runs of several seeds; nothing is written.

    Returns a run for one seed, a list of runs for a list of seeds.
    """
    if isinstance(seeds, Seeds):
        return finetune(setting, [seeds], device=device, data=data, located=located)[0]
    located = located or pretrained.locate(setting.backbone)
    data = data or prepare_task(setting, located)
    methods = parse_method(setting.method)
    _check(setting, located, data, methods)
    place = devices.pick(device)
    devices.make_deterministic()
    began = time.perf_counter()
    models = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        begin = located
        for method in methods.values():
            begin = method.begin(begin, data.train, setting.precision, place)
        for one in seeds:
            model, lacking = backbones.load_classifier(begin, data.n_outputs, one.stream("init"))
            if setting.dropout >= 0:
                layers.set_dropout(model, setting.dropout)
            if not models:
                start = evaluation.copy_weights(model)
            new = set(lacking)
            for method in methods.values():
                method.rebuild(model, new)
            models.append(model.to(place))
        trained = training.train(
            models,
            setting,
            data,
            seeds,
            place,
            methods,
            new=new,
            validate=lambda model: evaluation.validate(model, data, setting, place),
            title=f"{setting.id} {' '.join(one.label for one in seeds)}",
        )
        for model in models:
            layers.merge_adapters(model)
        seen = [
            evaluation.evaluate(
                model, data.evaluation, place, vectors=True, precision=setting.precision
            )
            for model in models
        ]
    n_layers = len(backbones.layers(models[0]))
    distances = [evaluation.distances(model, start, new, n_layers) for model in models]
    for s, run in enumerate(trained):
        if run.diverged:
            evaluation.spoil(seen[s])
            distances[s] = dict.fromkeys(distances[s], math.nan)
    messages = sorted({str(warning.message) for warning in caught})
    seconds = (time.perf_counter() - began) / len(seeds)
    return [
        runs.Run(
            record={
                **_record(setting, one, data, located, trained[s], seen[s].logits, messages),
                "distance": distances[s],
                "trained_weights": sum(
                    weight.numel() for weight in models[s].parameters() if weight.requires_grad
                ),
                "newly_initialised": sorted(new),
                "wall_s": round(seconds, 2),
                "batch": [other.label for other in seeds],
                "device": torch.cuda.get_device_name(place) if place.type == "cuda" else "cpu",
                "fingerprint": runs.fingerprint(
                    setting,
                    one,
                    seeds,
                    data.sha256,
                    located.sha256,
                    provenance.TRAINING_VERSIONS[backbones.architecture_of(located)],
                ),
            },
            logits=seen[s].logits,
            labels=data.evaluation.labels,
            example_ids=data.evaluation.example_ids,
            log=trained[s].log,
            first=seen[s].first,
            mean=seen[s].mean,
        )
        for s, one in enumerate(seeds)
    ]


def _record(
    setting: Setting,
    seeds: Seeds,
    data: Prepared,
    located: pretrained.Located,
    trained: training.Trained,
    logits: np.ndarray,
    messages: list[str],
) -> dict[str, Any]:
    """What happened in a run and what made it, as it goes into its ``run.json``."""
    head, dirty = provenance.commit()
    return {
        "setting_id": setting.id,
        "setting": setting.to_dict(),
        "seed_label": seeds.label,
        "seed": seeds.seed,
        "seed_init": seeds.init,
        "seed_order": seeds.order,
        "seed_dropout": seeds.dropout,
        **scoring.judge(
            data.evaluation.labels,
            logits,
            data.metric,
            diverged=trained.diverged,
            other_metrics=data.other_metrics,
            groups=data.evaluation.groups,
            credit=data.evaluation.credit,
        ),
        "n_train": len(data.train),
        "n_eval": len(data.evaluation),
        "final_loss": float(np.mean([row["loss"] for row in trained.log[-20:]])),
        "steps": len(trained.log),
        "threads": torch.get_num_threads(),
        "deterministic": not any("deterministic" in message for message in messages),
        "warnings": messages,
        "classes": list(data.classes),
        "versions": provenance.versions(),
        "commit": head,
        "dirty": dirty,
        "architecture": backbones.architecture_of(located),
        "code": provenance.TRAINING_VERSIONS[backbones.architecture_of(located)],
        "data_sha256": data.sha256,
        "backbone_sha256": located.sha256,
        "backbone_revision": located.revision,
    }


def prepare_task(setting: Setting, located: pretrained.Located) -> Prepared:
    """The setting's task in the backbone's tokens."""
    return prepare(setting, located.sha256, lambda: backbones.load_tokenizer(located))
