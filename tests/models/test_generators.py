"""Models that generate texts, of every architecture that can: what is new, what they are given, how
they decode.
"""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support import tiny_models

from lib.data import examples
from lib.data.rows import make_row
from lib.errors import BackboneError
from lib.models import backbones, generators, pretrained

INPUTS = ["the calm river", "a dull and hasty little boat by the mill", "soup"]


@pytest.fixture(params=tiny_models.GENERATING)
def located(tiny_hub, request):
    return pretrained.locate(str(tiny_hub / request.param))


def encoded(located):
    rows = [make_row(i, text, "", 0, targets=[INPUTS[i - 1]]) for i, text in enumerate(INPUTS)]
    data = examples._encode(rows, backbones.load_tokenizer(located), 64)
    loader = examples.Loader(data, torch.device("cpu"))
    every = np.arange(len(rows))
    return loader.batch(every)[0], loader.target_tokens(every)


def load(located, seed=0):
    model, new = generators.load_generator(located, seed)
    return model.eval(), new


def test_what_is_new_is_cross_attention_and_the_rest_is_the_checkpoint(located):
    model, new = load(located)
    stored = load_file(f"{located.path}/model.safetensors")
    state = model.state_dict()
    if model.config.model_type == "encoder-decoder":
        assert new and all(".crossattention." in name for name in new)
        for name, value in stored.items():
            for part in ("encoder." + name.removeprefix("bert."), "decoder." + name):
                assert part not in state or torch.equal(state[part], value)
        other, _ = load(located, seed=1)
        changed = {n for n, w in other.named_parameters() if not torch.equal(w, state[n])}
        assert changed == {n for n in new if n.endswith("weight") and "LayerNorm" not in n}
    else:
        assert not new
        assert all(torch.equal(state[name], value) for name, value in stored.items())


def test_every_parameter_has_a_depth_and_those_of_the_decoder_lie_above(located):
    model, _ = load(located)
    n = len(backbones.layers(model))
    depths = {name: backbones.depth_of(name, n) for name, _ in model.named_parameters()}
    layers = {depth for depth in depths.values() if 0 < depth <= n}
    assert layers == set(range(1, n + 1)) and min(depths.values()) == 0
    for number, layer in enumerate(backbones.layers(model), 1):
        own = {id(w) for w in layer.parameters()}
        shared = {number} | ({0} if model.config.model_type == "t5" else set())
        assert {depths[k] for k, w in model.named_parameters() if id(w) in own} <= shared


def test_targets_are_predicted_from_what_stands_before_them_alone(located):
    model, _ = load(located)
    inputs, targets = encoded(located)
    with torch.no_grad():
        logits, states = generators.teacher_forced(model, inputs, targets, states=True)
        other = targets.clone()
        other[:, 3:] = torch.where(other[:, 3:] >= 0, 7, other[:, 3:])
        changed, _ = generators.teacher_forced(model, inputs, other)
    assert logits.shape[:2] == targets.shape == states.shape[1:3]
    torch.testing.assert_close(logits[:, :4], changed[:, :4])
    assert not torch.allclose(logits[:, 4:], changed[:, 4:])


def test_padding_changes_nothing(located):
    model, _ = load(located)
    inputs, targets = encoded(located)
    with torch.no_grad():
        together, _ = generators.teacher_forced(model, inputs, targets)
        for i in range(len(targets)):
            length = int(inputs["attention_mask"][i].sum())
            one = {name: array[i : i + 1, :length] for name, array in inputs.items()}
            known = targets[i : i + 1, : int((targets[i] >= 0).sum())]
            alone, _ = generators.teacher_forced(model, one, known)
            torch.testing.assert_close(
                together[i, : known.shape[1]], alone[0], atol=1e-4, rtol=1e-4
            )
            written = generators.generate(model, one, 6)[0]
            batch = generators.generate(model, inputs, 6)[i]
            assert batch[: len(written)].tolist() == written.tolist()


def test_the_likeliest_text_is_the_likeliest_token_by_token(located):
    model, _ = load(located)
    inputs, _ = encoded(located)
    written = generators.generate(model, inputs, 6)
    assert written.shape[0] == len(INPUTS) and written.shape[1] <= 6
    with torch.no_grad():
        logits, _ = generators.teacher_forced(model, inputs, written)
    plan = model.generation_config
    ended = (written == plan.eos_token_id).cumsum(1).roll(1, 1)
    ended[:, 0] = 0
    assert (logits.argmax(-1) == written)[ended == 0].all()


def test_tokens_are_sampled_as_often_as_they_are_probable(located):
    """Numbers that cover [0, 1) evenly draw each first token in proportion."""
    model, _ = load(located)
    inputs, targets = encoded(located)
    n = 500
    many = {name: array[:1].expand(n, -1) for name, array in inputs.items()}
    drawn = generators.generate(model, many, 1, uniform=(torch.arange(n)[:, None] + 0.5) / n)
    with torch.no_grad():
        logits, _ = generators.teacher_forced(model, inputs, targets)
    counts = drawn[:, 0].bincount(minlength=logits.shape[-1])
    assert (counts - n * logits[0, 0].softmax(-1)).abs().max() < 1.001
    assert (counts > 0).sum() > 3


def test_a_sampled_text_depends_on_its_numbers_and_on_no_other_input(located):
    model, _ = load(located)
    inputs, _ = encoded(located)
    uniform = torch.rand((len(INPUTS), 12), generator=torch.Generator().manual_seed(0))
    together = generators.generate(model, inputs, 12, uniform=uniform)
    for i in range(len(INPUTS)):
        length = int(inputs["attention_mask"][i].sum())
        one = {name: array[i : i + 1, :length] for name, array in inputs.items()}
        alone = generators.generate(model, one, 12, uniform=uniform[i : i + 1])[0]
        assert together[i, : len(alone)].tolist() == alone.tolist()
    assert generators.generate(model, inputs, 12, uniform=1 - uniform).tolist() != together.tolist()


def test_what_cannot_generate_and_what_does_nothing_else_is_refused(tiny_hub):
    with pytest.raises(BackboneError, match="the architectures that can are bert, llama, bart, t5"):
        generators.load_generator(pretrained.locate(str(tiny_hub / "mpnet")), 0)
    with pytest.raises(BackboneError, match="generates texts, and is no classifier"):
        backbones.load_classifier(pretrained.locate(str(tiny_hub / "t5")), 2, 0)
