"""Backbones of every family: what is new when they are loaded, where their parts are, the hub."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.project import run_python
from support.tiny_models import FAMILIES, LAYERS, SENTENCES

from lib.data import examples
from lib.data.rows import make_row
from lib.errors import BackboneError
from lib.models import backbones, pretrained

NEW = dict.fromkeys(FAMILIES, ("classifier.dense", "classifier.out_proj")) | {
    "bert": ("bert.pooler.dense", "classifier"),
    "llama": ("score",),
}
PREFIX = {"llama": "model", "xlm-roberta": "roberta"}


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def located(tiny_hub, family):
    return pretrained.locate(str(tiny_hub / family))


def inputs_of(located):
    """Padded model inputs as ``lib.data.examples`` makes them."""
    rows = [make_row(i, text, "", 0) for i, text in enumerate(SENTENCES)]
    data = examples._encode(rows, backbones.load_tokenizer(located), 64)
    inputs, _ = examples.Loader(data, torch.device("cpu")).batch(np.arange(len(rows)))
    return {name: inputs[name] for name in ("input_ids", "attention_mask")}


def logits_of(model, inputs):
    with torch.no_grad():
        return model.eval()(**inputs).logits


# --- loading ------------------------------------------------------------------------------------


def test_only_the_head_is_new_and_the_rest_is_the_checkpoint(located, tiny_hub, family):
    model, new = backbones.load_classifier(located, 3, 0)
    kinds = ("weight",) if family == "llama" else ("bias", "weight")
    assert new == [f"{layer}.{kind}" for layer in NEW[family] for kind in kinds]
    stored = load_file(tiny_hub / family / "model.safetensors")
    shared = set(stored) & set(model.state_dict())
    assert len(shared) == len(list(model.parameters())) - len(new)
    assert all(torch.equal(model.state_dict()[k], stored[k]) for k in shared)
    # The new layers by their places: what a method rebuilds, replaces or takes the features of.
    parent, name, output = backbones.output_layer(model)
    assert getattr(parent, name) is output and output.out_features == 3
    names = {module: name for name, module in model.named_modules()}
    parts = (backbones.pooler_of(model), output)
    assert tuple(names[part] for part in parts if part) == NEW[family]


def test_the_init_seed_decides_the_new_weights_and_nothing_else(located):
    (a, new), (b, _), (other, _) = (backbones.load_classifier(located, 2, s) for s in (5, 5, 6))
    for name, weight in a.state_dict().items():
        assert torch.equal(weight, b.state_dict()[name]), name
        drawn = name in new and name.endswith("weight")
        assert torch.equal(weight, other.state_dict()[name]) != drawn, name


def test_the_usual_attention_is_the_fastest_there_is_and_agrees_with_the_plain_one(located, family):
    model, _ = backbones.load_classifier(located, 2, 0)
    assert model.config._attn_implementation == ("eager" if family == "mpnet" else "sdpa")
    plain, _ = backbones.load_classifier(located, 2, 0)
    plain.set_attn_implementation("eager")
    batch = inputs_of(located)
    torch.testing.assert_close(logits_of(model, batch), logits_of(plain, batch), atol=1e-5, rtol=0)


def test_a_checkpoint_without_a_layer_is_refused(tiny_hub, tmp_path):
    """A configuration that promises four layers over the weights of three."""
    shutil.copytree(tiny_hub / "bert", tmp_path / "deep")
    config = json.loads((tmp_path / "deep/config.json").read_text())
    (tmp_path / "deep/config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}))
    with pytest.raises(BackboneError, match=r"lacks pretrained weights: bert.encoder.layer.3"):
        backbones.load_classifier(pretrained.locate(str(tmp_path / "deep")), 2, 0)


def test_a_checkpoint_of_other_shapes_is_refused_by_name(tiny_hub, tmp_path):
    shutil.copytree(tiny_hub / "bert", tmp_path / "wide")
    config = json.loads((tmp_path / "wide/config.json").read_text())
    wider = {**config, "intermediate_size": config["intermediate_size"] + 1}
    (tmp_path / "wide/config.json").write_text(json.dumps(wider))
    with pytest.raises(BackboneError, match=r"wide does not load as a classifier of 2 outputs: "):
        backbones.load_classifier(pretrained.locate(str(tmp_path / "wide")), 2, 0)


@pytest.mark.parametrize(("kind", "longest"), [("bert", 66), ("roberta", 64), ("mpnet", 64)])
def test_the_longest_input_is_the_longest_that_the_model_takes(tiny_hub, kind, longest):
    """Positions of RoBERTa and MPNet count from behind the padding token."""
    located = pretrained.locate(str(tiny_hub / kind))
    assert backbones.dimensions(located) == (LAYERS, longest)
    model, _ = backbones.load_classifier(located, 2, 0)

    def of_length(n):
        ids = torch.full((1, n), 7)
        return logits_of(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})

    assert of_length(longest).isfinite().all()
    with pytest.raises((IndexError, RuntimeError)):
        of_length(longest + 1)


# --- tokenisers ---------------------------------------------------------------------------------


def test_two_texts_are_told_apart_from_one(located):
    tokenizer = backbones.load_tokenizer(located)
    pair = tokenizer(["we liked the"], ["calm river"])["input_ids"][0]
    alone = [tokenizer(text, add_special_tokens=False)["input_ids"]
             for text in ("we liked the", "calm river")]  # fmt: skip
    between = pair[pair.index(alone[0][-1]) + 1 : len(pair) - pair[::-1].index(alone[1][0]) - 1]
    assert between and set(between) <= set(tokenizer.all_special_ids)
    ordinary = [token for token in pair if token not in tokenizer.all_special_ids]
    assert ordinary == alone[0] + alone[1]
    assert len(tokenizer("calm river")["input_ids"]) <= len(alone[1]) + 2


def test_a_decoder_pads_with_the_end_of_text_and_is_refused_without_any_spare_token(
    tiny_hub, tmp_path
):
    located = pretrained.locate(str(shutil.copytree(tiny_hub / "llama", tmp_path / "bare")))
    assert backbones.load_tokenizer(located).pad_token == "</s>"
    path = tmp_path / "bare/tokenizer_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in config.items() if not k.endswith("_token")}))
    with pytest.raises(BackboneError, match="set pad_token in its tokenizer_config.json"):
        backbones.load_tokenizer(located)


# --- parts --------------------------------------------------------------------------------------


def test_every_parameter_has_a_depth(located, family):
    model, new = backbones.load_classifier(located, 2, 0)
    depths = {name: backbones.depth_of(name, LAYERS) for name, _ in model.named_parameters()}
    assert set(depths.values()) == set(range(LAYERS + 2))
    assert {name for name, depth in depths.items() if depth == LAYERS + 1} == set(new)
    base = backbones.encoder(model)
    assert base is getattr(model, PREFIX.get(family, family))
    names = {weight: name for name, weight in model.named_parameters()}
    assert depths[names[base.get_input_embeddings().weight]] == 0
    for i, layer in enumerate(backbones.layers(model), 1):
        ours = {names[weight] for weight in layer.parameters()}
        beside = {name for name, depth in depths.items() if depth == i} - ours
        assert {depths[name] for name in ours} == {i}
        # A decoder's last norm is counted with the last layer.
        assert beside == ({"model.norm.weight"} if family == "llama" and i == LAYERS else set())


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("roberta.encoder.layer.11.output.dense.weight", 12),
        ("base_model.model.model.layers.4.self_attn.q_proj.lora_A.default.weight", 5),
        ("base_model.model.score.modules_to_save.default.weight", 13),
    ],
)
def test_depth_by_hand(name, depth):
    assert backbones.depth_of(name, 12) == depth


def test_a_name_of_nothing_known_is_refused():
    with pytest.raises(ValueError, match="'vision.conv.weight' belongs to no"):
        backbones.depth_of("vision.conv.weight", 12)


# --- the hub ------------------------------------------------------------------------------------


def test_an_unknown_hub_id_offline_is_a_clear_error_and_asks_nobody(tmp_path):
    script = (
        "import socket; from lib.models import pretrained; from lib.errors import BackboneError\n"
        "asked = []; socket.getaddrinfo = lambda *host, **_: asked.append(host) or []\n"
        "try: pretrained.locate('tiny/none@abc')\n"
        "except BackboneError as error: print(error)\n"
        "assert not asked, asked\n"
    )
    done = run_python("-c", script, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "'tiny/none@abc' could not be read from the hub" in done.stdout
    assert "bert-tiny, minilm-l3, minilm-l6, mpnet-base, smollm2-135m" in done.stdout
