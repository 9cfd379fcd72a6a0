"""Fine-tuned models themselves, where a run's record is not enough: their weights and features.

``lib.finetune`` returns what a run said and drops its weights. Here the same training returns the
models, for the few experiments that look inside.
"""

import numpy as np
import torch

from lib import backbones, devices, training
from lib.backbones import Located
from lib.batches import Encoded
from lib.config import Setting
from lib.learners import Alone
from lib.loading import Loader
from lib.methods import parse_method
from lib.preparation import Prepared
from lib.seeds import Seeds


def models_of(
    setting: Setting, seeds: list[Seeds], data: Prepared, located: Located, *, trained: bool = True
) -> list[torch.nn.Module]:
    """The models of a setting, a seed each, on the CPU and in evaluation mode.

    ``trained = False``: as they are before the first step, with the head of the seed. Each model
    is trained alone and has the weights of the run that ``lib.finetune.finetune`` makes of the
    same setting and seed. Raises ``ValueError`` for settings that choose checkpoints or that
    change the backbone's dropout, which this does not do.
    """
    if setting.evals_per_epoch or setting.dropout >= 0:
        raise ValueError("evals_per_epoch and dropout have to be those of the default")
    devices.make_deterministic()
    place, methods, models = torch.device("cpu"), parse_method(setting.method), []
    begin = located
    for method in methods.values():
        begin = method.begin(begin, data.train, setting.precision, place)
    for one in seeds:
        model, lacking = backbones.load_classifier(begin, data.n_outputs, one.stream("init"))
        new = set(lacking)
        for method in methods.values():
            method.rebuild(model, new)
        if trained:
            training.train(
                [model], setting, data, [one], place, methods,
                new=new, validate=lambda _: 0.0, title=f"{setting.method} {one.label}",
            )  # fmt: skip
        models.append(model.eval())
    return models


@torch.no_grad()
def features_of(model: torch.nn.Module, data: Encoded, *, batch_size: int = 64) -> np.ndarray:
    """(N, D) float64: what the output layer of a model is given for each example."""
    learner, loader = Alone([model]), Loader(data, torch.device("cpu"))
    found = []
    for start in range(0, len(data), batch_size):
        inputs, _ = loader.batch(np.arange(start, min(start + batch_size, len(data))))
        found.append(learner({name: value[None] for name, value in inputs.items()})[1][0])
    learner.close()
    return torch.cat(found).double().numpy()
