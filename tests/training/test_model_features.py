"""Fine-tuned models and their features; runs on fewer rows."""

import dataclasses

import numpy as np
import pytest
import torch

from lib.config.seeds import Seeds
from lib.models import backbones
from lib.theory import margin, sweeps
from lib.training import model_features
from lib.training.experiment import finetune
from lib.training.inputs import prepare_inputs


def logits_of(model, data):
    """What a model says of the evaluation rows, from its features and its output layer."""
    features = torch.from_numpy(model_features.features_of(model, data.evaluation)).float()
    _, _, output = backbones.output_layer(model)
    with torch.no_grad():
        return output(features).numpy()


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"method": "mhloss(heads=3)"},
        {"method": "lora", "dropout": 0.0},
        {"eval_split": "test-half", "evals_per_epoch": 2},
    ],
    ids=str,
)
def test_models_are_those_of_the_runs(tiny, changes):
    inputs = prepare_inputs(dataclasses.replace(tiny, **changes))
    seeds = [Seeds.of(0), Seeds.of(1)]
    models = model_features.models_of(inputs, seeds)
    for seed, model in zip(seeds, models, strict=True):
        run = finetune(inputs, seed)
        said = logits_of(model, inputs.data)
        said = said.mean(1) if said.ndim == 3 else said
        assert said == pytest.approx(run.logits, abs=1e-4)


def test_before_training_only_the_new_weights_differ(inputs, located, data):
    first, second = model_features.models_of(inputs, [Seeds.of(0), Seeds.of(1)], trained=False)
    _, new = backbones.load_classifier(located, data.n_outputs, 0)
    other = dict(second.named_parameters())
    differ = {n for n, w in first.named_parameters() if not torch.equal(w, other[n])}
    assert differ and differ <= set(new)


def test_margins_by_hand():
    """Points at ±1 on a line: γ is 1, B² is 2 with the bias, the centres are 2 apart."""
    features = np.array([[[1.0, 0], [1, 0], [-1, 0], [-1, 0]]])
    labels = np.array([1, 1, 0, 0])
    row = sweeps.margins_of_features(features, labels).iloc[0]
    assert row[["margin", "centre_distance"]].tolist() == pytest.approx([1, 2])
    assert row["radius"] == pytest.approx(np.sqrt(2)) and row["separable"]
    signed = np.concatenate([features, np.ones((1, 4, 1))], -1) * (2 * labels - 1)[:, None]
    assert row["margin"] == pytest.approx(margin.max_margin(signed).margin[0])


def test_a_share_of_the_rows_is_removed_and_nothing_else_changes(inputs, data):
    n = len(data.train)
    parts = [
        model_features.without_rows(inputs, 0.1, np.random.default_rng(seed)).data
        for seed in (0, 0, 1)
    ]
    ids = [part.train.example_ids.tolist() for part in parts]
    whole = data.train.example_ids.tolist()
    assert [len(each) for each in ids] == [n - round(0.1 * n)] * 3
    assert ids[0] == ids[1] != ids[2]
    for each in ids:
        kept = set(each)
        assert each == [one for one in whole if one in kept]
    assert parts[0].evaluation is data.evaluation
