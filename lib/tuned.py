"""Fine-tuned models themselves, where a run's record is not enough: their weights and features.

``lib.finetune`` keeps the outputs of a run and drops its weights. Here the same training returns
the models, for the few experiments that look inside.
"""

import dataclasses

import numpy as np
import pandas as pd
import torch

from lib import devices, experiment, measures, resampling, training
from lib.batches import Encoded
from lib.inputs import RunInputs
from lib.learners import SingleModel
from lib.loading import Loader
from lib.runs import Run
from lib.seeds import Seeds


def models_of(
    inputs: RunInputs, seeds: list[Seeds], *, trained: bool = True
) -> list[torch.nn.Module]:
    """The models of a setting, a seed each, on the CPU and in evaluation mode.

    ``trained = False``: as they are before the first step, with the head of the seed. Each model
    is trained alone and has the weights of the run that ``lib.experiment.finetune`` makes of the
    same setting and seed.
    """
    devices.make_deterministic()
    device, models = torch.device("cpu"), []
    for seed in seeds:
        built = experiment.build(inputs, [seed], device)
        if trained:
            training.train(inputs, built.models, [seed], device, new=built.new)
        models += built.models
    return [model.eval() for model in models]


@torch.no_grad()
def features_of(model: torch.nn.Module, data: Encoded, *, batch_size: int = 64) -> np.ndarray:
    """(N, D) float64: what the output layer of a model is given for each example."""
    learner, loader = SingleModel([model]), Loader(data, torch.device("cpu"))
    features = []
    for start in range(0, len(data), batch_size):
        inputs, _ = loader.batch(np.arange(start, min(start + batch_size, len(data))))
        features.append(learner({name: value[None] for name, value in inputs.items()})[1][0])
    learner.close()
    return torch.cat(features).double().numpy()


def without_rows(inputs: RunInputs, share: float, rng: np.random.Generator) -> RunInputs:
    """A random ``share`` of the training rows removed, the others in their order."""
    data = inputs.data
    n = len(data.train)
    kept = np.sort(rng.permutation(n)[round(share * n) :])
    data = dataclasses.replace(data, train=data.train.take(kept))
    return dataclasses.replace(inputs, data=data)


def run_rows(runs: list[Run]) -> pd.DataFrame:
    """Score and status of runs, a row a run; runs that diverged have no score."""
    names = ("seed", "status", "score", "accuracy", "majority", "final_loss")
    rows = [{name: run.record[name] for name in names} for run in runs]
    return pd.DataFrame(rows).assign(distance=[run.record["distance"]["all"] for run in runs])


def spreads_of(runs: list[Run], *, level: float = 0.95) -> dict[str, float]:
    """How much runs on the same evaluation rows differ: SD of the scores (interval for normal
    scores) and mean pairwise disagreement of the predictions (interval from resampling runs).

    Runs that diverged are left out and counted: ``runs`` are those that are used.
    """
    finite = [run for run in runs if run.record["status"] != "diverged"]
    scores = np.array([run.record["score"] for run in finite], float)
    predictions = np.stack([run.logits.argmax(-1) for run in finite])
    sd = resampling.sd_interval(scores, level=level)
    disagreement = measures.instability(measures.pairwise_disagreement(predictions), level=level)
    return {
        "runs": len(finite),
        "diverged": len(runs) - len(finite),
        "failed": sum(run.record["status"] != "ok" for run in finite),
        "score_mean": scores.mean(),
        **dict(zip(("sd", "sd_low", "sd_high"), sd[:3], strict=True)),
        **dict(zip(("disagreement", "low", "high"), disagreement[:3], strict=True)),
    }
