"""Models that differ in known ways: noise in doses, unions of settings, fewer examples."""

import numpy as np
import pytest
import torch

from lib import measures
from lib.analysis import perturbations
from lib.config.seeds import Seeds
from lib.measures.representation import NAMES
from lib.training import model_features


@pytest.fixture
def models(inputs):
    """Four models as they are before training: they differ in their new weights."""
    seeds = [Seeds.of(seed) for seed in range(4)]
    return model_features.models_of(inputs, seeds, trained=False)


def measured(models, data):
    """What models answer, with distances between their representations."""
    return perturbations.outputs_of(models, data.evaluation).with_distances(NAMES)


def drawn(seed):
    return torch.Generator().manual_seed(seed)


def test_noise_has_the_size_of_its_dose_and_one_direction(models):
    before = dict(models[0].named_parameters())
    small, large = (perturbations.add_noise(models[0], dose, drawn(1)) for dose in (0.01, 0.1))
    for (name, a), b in zip(small.named_parameters(), large.parameters(), strict=True):
        first, second = a - before[name], b - before[name]
        tolerance = 1e-4 * float(second.abs().max() + 1e-9)
        assert torch.allclose(10 * first, second, atol=tolerance), name
        if first.numel() > 5000:
            size = first.square().mean().sqrt() / before[name].square().mean().sqrt()
            assert float(size) == pytest.approx(0.01, rel=0.05)
    assert not torch.equal(small.state_dict()[name], before[name]) or before[name].abs().max() == 0
    again = perturbations.add_noise(models[0], 0.0, drawn(1))
    assert all(torch.equal(w, before[n]) for n, w in again.named_parameters())


def test_measures_of_copies_are_zero_without_noise_and_rise_with_it(models, data):
    table = perturbations.dose_table(models[:1], data.evaluation, [0.0, 0.05, 0.2], copies=3)
    none = table[(table["dose"] == 0) & (table["measure"] != "kappa")]
    assert none["value"].abs().max() < 1e-6
    for key, part in table.groupby(["measure", "layer"]):
        if key[0] not in ("sd", "kappa", "disagreement"):  # these may stay where they are
            assert part.sort_values("dose")["value"].is_monotonic_increasing, key


def test_values_are_those_of_the_measures(models, data):
    group = measured(models, data)
    table = perturbations.measure(group).set_index(["measure", "layer"])["value"]
    scores = (group.logits.argmax(-1) == group.labels).mean(1)
    assert table["sd", perturbations.NO_LAYER] == pytest.approx(measures.score_spread(scores))
    vectors = group.representations["mean"]
    direct = measures.representation_distances(vectors, ["op"])["op"]
    assert table["op", 2] == pytest.approx(measures.instability(direct[2]).value)


def test_parts_are_of_the_named_rows(models, data):
    noisy = [perturbations.add_noise(model, 0.2, drawn(s)) for s, model in enumerate(models)]
    group, rows = measured(noisy, data), [1, 4, 5, 7]
    part = perturbations.part_of(group, np.array(rows))
    assert np.array_equal(part.logits, group.logits[:, rows])
    vectors = part.representations["mean"][3]
    assert np.array_equal(vectors, group.representations["mean"][3][:, rows])
    assert np.array_equal(part.labels, group.labels[rows])
    assert list(part.example_ids) == [group.example_ids[row] for row in rows]
    assert not part.distances, "those of all examples are not the part's"
    again = part.with_distances(NAMES).distances["op", "mean"]
    assert not np.allclose(again[2], group.distances["op", "mean"][2])


def test_a_part_that_is_all_examples_says_what_all_do(models, data):
    noisy = [perturbations.add_noise(model, 0.2, drawn(s)) for s, model in enumerate(models)]
    group, rng = measured(noisy, data), np.random.default_rng(0)
    table = perturbations.subsample_table(group, [1.0, 0.5], 1, rng).set_index("fraction")
    whole, half = table.loc[1.0], table.loc[0.5]
    assert whole["value"].to_numpy() == pytest.approx(whole["full"].to_numpy())
    assert half["full"].tolist() == whole["full"].tolist()
    assert (half["value"] != half["full"]).any() and (half["n"] == len(data.evaluation) // 2).all()
    paired = ~whole["measure"].isin(["sd", "kappa"])
    assert whole["tau"].notna().tolist() == paired.tolist()
    assert whole.loc[paired, "tau"].to_numpy() == pytest.approx(1)
    layers = whole["layer"] != perturbations.NO_LAYER
    assert whole["chance"].notna().tolist() == layers.tolist()
