"""Fine-tuned models and their features; runs on fewer rows."""

import dataclasses

import numpy as np
import pytest
import torch

from lib.config import Setting
from lib.config.seeds import Seeds
from lib.models import backbones, pretrained
from lib.theory import sweeps
from lib.training import model_features
from lib.training.experiment import finetune
from lib.training.inputs import prepare_inputs


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
        features = model_features.features_of(model, inputs.data.evaluation)
        _, _, output = backbones.output_layer(model)
        with torch.no_grad():
            said = output(torch.from_numpy(features).float()).numpy()
        said = said.mean(1) if said.ndim == 3 else said
        assert said == pytest.approx(finetune(inputs, seed).logits, abs=1e-4)


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


def test_a_share_of_the_rows_is_removed_and_nothing_else_changes(inputs, data):
    whole, parts = data.train.example_ids.tolist(), []
    for seed in (0, 0, 1):
        part = model_features.without_rows(inputs, 0.1, np.random.default_rng(seed)).data
        assert part.evaluation is data.evaluation
        parts.append(part.train.example_ids.tolist())
        assert parts[-1] == [one for one in whole if one in parts[-1]]
        assert len(parts[-1]) == len(whole) - round(0.1 * len(whole))
    assert parts[0] == parts[1] != parts[2]


def test_signed_features_have_a_bias_a_sign_and_a_known_radius():
    rng = np.random.default_rng(0)
    made = model_features.Frozen(
        rng.normal(2, 3, (5, 4)), np.array([0, 1, 1, 0, 1]), rng.normal(2, 3, (6, 4)), np.ones(6)
    )
    z, held, labels = model_features.signed(made, "unit")
    assert z.shape == (1, 5, 5) and held.shape == (1, 6, 5)
    assert labels.tolist() == [[-1, 1, 1, -1, 1]] and z[0, :, -1].tolist() == labels[0].tolist()
    np.testing.assert_allclose(np.linalg.norm(z, axis=-1), np.sqrt(2))
    raw, _, _ = model_features.signed(made, "none")
    np.testing.assert_array_equal(raw[0, :, :-1], made.train * labels[0][:, None])
    centred, _, _ = model_features.signed(made, "centred-unit")
    shifted = made.train - made.evaluation.mean(0)
    np.testing.assert_allclose(centred[0, 1, :-1], shifted[1] / np.linalg.norm(shifted[1]))
    with pytest.raises(ValueError, match="centred-unit"):
        model_features.signed(made, "centred")


def test_frozen_features_are_the_encoders_own_and_nested(own_file):
    setting = Setting(task=str(own_file), max_length=16, train_rows=20, eval_rows=10)
    made = model_features.frozen_features(setting, pooling="first")
    assert made.train.shape == (20, 128) and made.evaluation.shape == (10, 128)
    assert set(made.labels) == {0, 1} and made.train.dtype == np.float64
    located = pretrained.locate(setting.backbone)
    rows = prepare_inputs(setting).data.evaluation
    model, _ = backbones.load_classifier(located, 2, init_seed=1)
    with torch.no_grad():
        ids = torch.from_numpy(rows.take(np.array([3])).tokens.astype(np.int64))[None]
        states = backbones.encoder(model.eval())(ids).last_hidden_state[0].double().numpy()
    np.testing.assert_allclose(made.evaluation[3], states[0], atol=1e-5)
    mean = model_features.frozen_features(setting, pooling="mean").evaluation[3]
    np.testing.assert_allclose(mean, states.mean(0), atol=1e-5)
    eight = dataclasses.replace(setting, train_rows=8)
    fewer = model_features.frozen_features(eight, pooling="first")
    np.testing.assert_allclose(fewer.train, made.train[:8], atol=1e-5)  # nested subsets
    with pytest.raises(ValueError, match="pooling"):
        model_features.frozen_features(setting, pooling="max")
    with pytest.raises(ValueError, match="no classes"):
        model_features.frozen_features(Setting(task="stsb"), pooling="mean")
