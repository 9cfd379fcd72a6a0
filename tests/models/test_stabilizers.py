"""Methods of fine-tuning: each by the property that defines it, on real and on tiny models."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from support.project import train_runs

from lib.config import Setting
from lib.config.seeds import Seeds
from lib.models import backbones, layers, pretrained, pretraining, stabilizers
from lib.models.methods import METHODS, canonical, parse_method
from lib.training import evaluation, learners, loop, optimizers
from lib.training.inputs import prepare_inputs


@pytest.fixture(scope="module")
def loaded():
    return backbones.load_classifier(pretrained.locate("bert-tiny"), 2, 0)


@pytest.fixture
def model(loaded):
    return copy.deepcopy(loaded[0]), set(loaded[1])


def rebuilt(model, text):
    classifier, new = model
    for method in parse_method(text).values():
        method.rebuild(classifier, new)
    return classifier


def batch(n=4, length=12):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1000, 20000, (n, length), generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


# --- names --------------------------------------------------------------------------------------


def test_a_method_has_one_spelling():
    assert canonical("mixout(p=0.1)") == "mixout"
    assert canonical("mixout(p=0.5)+llrd") == "mixout(p=0.5)+llrd"
    assert canonical("llrd+reinit(layers=2)") == "reinit(layers=2)+llrd"
    assert canonical("standard") == "standard" and not parse_method("standard")
    assert canonical("mmr(alpha=2)") == "mmr(alpha=2.0)"
    one, other = (Setting(method=m).id for m in ("llrd(factor=0.95)", "llrd"))
    assert one == other != Setting(method="llrd(factor=0.9)").id


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mixuot", "did you mean mixout"),
        ("mixout(q=0.1)", "unknown parameter q: valid: as_published, p"),
        ("longer(epochs='many')", "longer: epochs = 'many' is str, expected int"),
        ("mixout(p=1.5)", "mixout: p = 1.5 should be less than or equal to 0.99"),
        ("mixout+mixout", "twice"),
        ("standard+llrd", "standard is what is left"),
        ("__import__('os').system('true')", "cannot be read"),
        ("mixout(p=open('x'))", "cannot be read"),
        ("head+lora", "exclude each other: lora trains the encoder"),
        ("mixout+mhloss", "not several heads"),
    ],
)
def test_what_makes_no_sense_is_refused_before_training(text, message):
    with pytest.raises(ValueError, match=message):
        Setting(method=text)


def test_prescribed_values_replace_the_settings_own():
    recipe = Setting(method="longer", epochs=3, optimizer="sgd")
    assert (recipe.epochs, recipe.optimizer) == (20, "adamw")
    assert Setting(method="no_bias_correction").optimizer == "adamw-no-bias-correction"


# --- mixout -------------------------------------------------------------------------------------


def test_mixout_expects_the_weights_themselves():
    """E[W'] = W, and each column is either mixed from the start or scaled up, as a whole."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(6, 3)
    mixed = layers.MixoutLinear(layer, 0.3)
    with torch.no_grad():
        layer.weight.add_(1.0)
    seen = torch.stack([mixed(torch.eye(6)).detach().T - layer.bias[:, None] for _ in range(4000)])
    spread = seen.std(0) / math.sqrt(len(seen))
    assert ((seen.mean(0) - layer.weight).abs() < 5 * spread + 1e-6).all()
    start, now, p = mixed.target, layer.weight, 0.3
    swapped, kept = (start - p * start) / (1 - p), (now - p * start) / (1 - p)
    is_kept = (seen - kept).abs().amax(1) < 1e-5
    is_swapped = (seen - swapped).abs().amax(1) < 1e-5
    assert (is_kept ^ is_swapped).all()
    assert is_kept.float().mean().item() == pytest.approx(0.7, abs=0.01)


def test_mixout_gradients_as_derived_and_as_published():
    """With m the kept columns: m / (1 − p) times the plain gradient; as published, m times it."""
    torch.manual_seed(0)
    layer, inputs = torch.nn.Linear(50, 2), torch.randn(7, 50)
    layer(inputs).sum().backward()
    plain = layer.weight.grad.clone()
    for as_published, factor in ((False, 1 / 0.6), (True, 1.0)):
        mixed = layers.MixoutLinear(layer, 0.4, as_published=as_published)
        layer.weight.grad = None
        mixed(inputs).sum().backward()
        ratio = layer.weight.grad / plain
        kept = ratio[0].abs() > 1e-6
        assert 20 < kept.sum() < 40
        assert torch.allclose(ratio[:, kept], torch.tensor(factor), atol=1e-4)


# --- llrd, reinit, wd_pre -----------------------------------------------------------------------


def groups_of(model, setting):
    inputs = prepare_inputs(setting)
    learner = learners.SingleModel([model[0]], inputs.data.train, torch.device("cpu"))
    optimizer, _ = optimizers.make(inputs, learner, model[1], n_steps=1)
    names = {id(weight): name for name, weight in model[0].named_parameters()}
    return {
        names[id(weight)]: (group["initial_lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for weight in group["params"]
    }


def test_rates_and_decay_by_the_kind_of_a_parameter_and_with_llrd_by_its_depth(model):
    found = groups_of(model, Setting())
    assert set(found) == {name for name, _ in model[0].named_parameters()}
    for name, group in found.items():
        is_free = name.endswith("bias") or "LayerNorm" in name
        assert group == (2e-5, 0.0 if is_free else 0.01), name
    found = groups_of(model, Setting(method="llrd(factor=0.5)", learning_rate=1e-3))
    rates = {
        "bert.embeddings.word_embeddings.weight": 1e-3 / 8,
        "bert.encoder.layer.0.attention.self.query.weight": 1e-3 / 4,
        "bert.encoder.layer.1.output.LayerNorm.bias": 1e-3 / 2,
        "bert.pooler.dense.weight": 1e-3,
        "classifier.weight": 1e-3,
    }
    assert {name: found[name][0] for name in rates} == pytest.approx(rates)
    decaying = {name for name in found if found[name][1]}
    assert decaying == {n for n, w in model[0].named_parameters() if w.ndim > 1 and "bert.e" in n}


@pytest.mark.parametrize(("n_layers", "drawn"), [(24, 5), (12, 2), (6, 1), (2, 1), (30, 6)])
def test_reinit_scales_with_the_depth(n_layers, drawn):
    assert stabilizers.Reinit().depth(n_layers) == drawn


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "surt+reinit(layers=3)"}, "the backbone has 2 layers"),
        ({"method": "surt+mmr", "task": "stsb"}, "this task has no classes"),
        ({"method": "surt", "max_length": 600}, "bert-tiny takes 512"),
        ({"optimizer": "adafactor", "seeds_per_batch": 2}, "set seeds_per_batch = 1"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(tiny, monkeypatch, changes, message):
    def trained(*_, **__):
        raise AssertionError("pretraining began")

    monkeypatch.setattr(pretraining, "continue_pretraining", trained)
    with pytest.raises(ValueError, match=message):
        train_runs(dataclasses.replace(tiny, **changes), Seeds.of(0))


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda m: m.__name__)
def test_every_hook_of_a_method_is_one_that_training_calls(method):
    """A misspelt hook would never be called, and the method would silently do nothing."""
    own = {name for name, value in vars(method).items() if callable(value) and name[0] != "_"}
    assert own <= set(vars(stabilizers.Method)) | {"depth"}
    assert own & set(vars(stabilizers.Method))


def test_reinit_changes_exactly_the_top_and_the_pooler(model):
    before = {name: weight.clone() for name, weight in model[0].named_parameters()}
    torch.manual_seed(3)
    after = dict(rebuilt(model, "reinit").named_parameters())
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name for name in changed if "layer" in name} <= model[1], "drawn anew counts as new"
    top = {n for n in before if n.startswith(("bert.encoder.layer.1.", "bert.pooler."))}
    # Zero biases of a new pooler are zero again.
    assert top - changed <= {"bert.pooler.dense.bias"} and changed <= top
    for name in top:
        if name.endswith("bias"):
            assert not after[name].any()
        elif "LayerNorm" in name:
            assert (after[name] == 1).all()
        else:
            assert after[name].std().item() == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize("with_llrd", [False, True])
def test_wd_pre_pulls_to_the_start_and_the_head_to_zero(tiny, model, with_llrd):
    """With gradients of zero nothing else moves: p ← p − rate · strength · (p − p₀). With LLRD each
    layer is pulled at its own rate, and the head, which shall not decay, not at all.
    """
    method = "wd_pre(strength=0.5)" + ("+llrd(factor=0.5)" if with_llrd else "")
    setting = dataclasses.replace(tiny, method=method, learning_rate=0.1, warmup=0.0)
    classifier, new = model
    inputs = prepare_inputs(setting)
    learner = learners.SingleModel([classifier], inputs.data.train, torch.device("cpu"))
    optimizer, _ = optimizers.make(inputs, learner, new, n_steps=1)
    assert all(group["weight_decay"] == 0 for group in optimizer.param_groups)
    start = {name: weight.detach().clone() for name, weight in learner.trained.items()}
    with torch.no_grad():
        for weight in learner.trained.values():
            weight.add_(1.0)
            weight.grad = torch.zeros_like(weight)
    optimizer.step()
    for name, weight in learner.trained.items():
        moved = weight.detach() - start[name]
        if name.endswith("bias") or "LayerNorm" in name:
            expected = torch.ones(())
        elif "pooler" in name or "classifier" in name:
            expected = (1.0 if with_llrd else 0.95) * (start[name] + 1) - start[name]
        else:
            depth = backbones.depth_of(name, 2)
            expected = torch.tensor(1 - 0.05 * (0.5 ** (3 - depth) if with_llrd else 1.0))
        assert torch.allclose(moved, expected.expand_as(moved), atol=1e-6), name


# --- optimisers ---------------------------------------------------------------------------------


def one_weight(optimizer, gradients, rate=0.1, decay=0.0):
    weight = torch.nn.Parameter(torch.tensor([[1.0, 2.0]]))
    made = optimizers.of_groups(
        [{"params": [weight], "lr": rate, "weight_decay": decay}],
        Setting(optimizer=optimizer, learning_rate=rate),
    )
    for gradient in gradients:
        weight.grad = torch.tensor([gradient])
        made.step()
    return weight.detach()[0].tolist()


def test_first_steps_by_hand():
    """Corrected, Adam's first step has length lr; without correction lr (1−β₁)/√(1−β₂)."""
    assert one_weight("adamw", [[0.0, 4.0]], decay=0.5) == pytest.approx([0.95, 1.8], abs=1e-6)
    length = 0.1 * (1 - 0.9) / math.sqrt(1 - 0.999)
    found = one_weight("adamw-no-bias-correction", [[0.0, 4.0]])
    assert found == pytest.approx([1.0, 2 - length], abs=1e-5)
    assert 3 < length / 0.1 < 3.2
    assert one_weight("sgd", [[0.0, 4.0], [0.0, 4.0]]) == pytest.approx([1.0, 2 - 0.4 - 0.76])


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("linear", lambda share: 1 - share),
        ("cosine", lambda share: 0.5 * (1 + math.cos(math.pi * share))),
        ("constant", lambda share: 1),
    ],
)
def test_schedules(name, after):
    setting = Setting(schedule=name, warmup=0.2, learning_rate=1.0)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule, rates = optimizers.schedule(optimizer, setting, 10), []
    for _ in range(10):
        rates += schedule.get_last_lr()
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.0, 0.5, *(after(i / 8) for i in range(8))])


# --- mmr, mhloss --------------------------------------------------------------------------------


def test_mmr_by_hand():
    """Centres (1, 0), (0, 0) and, in the second seed, one class only: nothing to push apart."""
    features = torch.tensor(
        [[[2.0, 0.0], [0.0, 0.0], [0.0, 0.0]], [[1.0, 5.0], [2.0, 2.0], [3.0, 1.0]]],
        requires_grad=True,
    )
    labels = torch.tensor([[0, 0, 1], [1, 1, 1]])
    penalty = stabilizers.Mmr(alpha=3.0).penalty(features, labels, 2)
    assert penalty.tolist() == pytest.approx([3.0 / 2, 0.0])
    penalty.sum().backward()
    assert features.grad.isfinite().all() and not features.grad[1].any()
    assert (features.grad[0, 0, 0] < 0) and (features.grad[0, 2, 0] > 0), "descent parts them"
    three = torch.tensor([[[0.0], [1.0], [3.0]]])
    penalty = stabilizers.Mmr().penalty(three, torch.tensor([[0, 1, 2]]), 3)
    assert penalty.item() == pytest.approx(1 / 2 + 1 / 4 + 1 / 3), "over the pairs of classes"


def test_mhloss_averages_to_one_head(model):
    """In evaluation the logits are the mean of the heads', and one linear layer would give them."""
    several = rebuilt(model, "mhloss(heads=7)")
    several.eval()
    mean = several(**batch()).logits
    assert mean.shape == (4, 2)
    backbones.set_dropout(several, 0.0)
    several.train()
    heads = several(**batch()).logits
    assert heads.shape == (4, 7, 2)
    assert torch.allclose(heads.mean(1), mean, atol=1e-6)
    assert heads.std(1).min() > 0, "independently initialised"
    head = several.classifier
    single = torch.nn.Linear(128, 2)
    with torch.no_grad():
        single.weight[:], single.bias[:] = head.weight.mean(0), head.bias.mean(0)
    several.eval()
    several.classifier = single
    assert torch.allclose(several(**batch()).logits, mean, atol=1e-6)


def test_the_loss_of_several_heads_is_their_mean():
    logits = torch.randn(2, 3, 5, 4)
    labels = torch.randint(0, 4, (2, 3))
    found = loop.losses(logits, labels)
    cross_entropy = torch.nn.functional.cross_entropy
    for seed in range(2):
        each = [cross_entropy(logits[seed, :, head], labels[seed]) for head in range(5)]
        assert found[seed].item() == pytest.approx(np.mean([float(loss) for loss in each]))
    values, targets = torch.randn(2, 3, 1), torch.randn(2, 3)
    squares = (values[..., 0] - targets).square().mean(1)
    assert torch.allclose(loop.losses(values, targets), squares)


# --- head, lora, longer -------------------------------------------------------------------------


def test_a_linear_probe_leaves_the_encoder_alone(tiny):
    run = train_runs(dataclasses.replace(tiny, method="head"), Seeds.of(0))
    assert run.record["distance"]["all"] == 0.0
    assert run.record["trained_weights"] == 2 * 128 + 2


def test_lora_trains_exactly_its_parameters(model):
    adapted = rebuilt(model, "lora(rank=4)")
    trained = {name for name, weight in adapted.named_parameters() if weight.requires_grad}
    expected = set(model[1])
    for layer in range(2):
        for matrix in ("query", "value"):
            at = f"bert.encoder.layer.{layer}.attention.self.{matrix}"
            expected |= {f"{at}.lora_A.default.weight", f"{at}.lora_B.default.weight"}
    assert trained == expected


def test_merged_weights_say_what_the_adapters_said(model):
    start, new = evaluation.copy_weights(model[0]), model[1]
    adapted = rebuilt(model, "lora(dropout=0.0)")
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.1)
    apart = adapted.eval()(**batch()).logits
    assert evaluation.distances(adapted, start, new)["all"] == 0.0
    backbones.merge_adapters(adapted)
    assert torch.allclose(adapted(**batch()).logits, apart, atol=1e-5)
    assert evaluation.distances(adapted, start, new)["layer1"] > 0.1


def test_heads_are_trained_beside_adapters_also_where_a_checkpoint_had_a_head(tiny, tmp_path):
    """A saved classifier has nothing new; what mhloss puts in its place is new all the same."""
    model, _ = backbones.load_classifier(pretrained.locate("bert-tiny"), 2, 0)
    model.save_pretrained(tmp_path)
    backbones.load_tokenizer(pretrained.locate("bert-tiny")).save_pretrained(tmp_path)
    setting = dataclasses.replace(tiny, backbone=str(tmp_path), method="mhloss+lora")
    run = train_runs(setting, Seeds.of(0))
    assert run.record["newly_initialised"] == ["classifier.bias", "classifier.weight"]
    assert run.record["trained_weights"] == 2 * 2 * 2 * 8 * 128 + 5 * (2 * 128 + 2)
    assert run.record["distance"]["head"] == 0, "only the pooler was pretrained, and it is frozen"
