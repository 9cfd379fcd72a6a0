"""Backbones of every family: what is new when they are loaded, where their parts are, the hub."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors import safe_open
from support import tiny_models
from support.project import run_python
from support.tiny_models import FAMILIES, LAYERS, SENTENCES, WIDTH

from lib.data import examples
from lib.data.rows import make_row
from lib.errors import BackboneError
from lib.models import backbones, pretrained

NEW = dict.fromkeys(FAMILIES, ("classifier.dense", "classifier.out_proj")) | {
    "bert": ("bert.pooler.dense", "classifier"),
    "llama": ("score",),
}
PREFIX = {"llama": "model", "xlm-roberta": "roberta"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny")
    return {family: tiny_models.save(family, root / family) for family in FAMILIES}


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def located(folders, family):
    return pretrained.locate(str(folders[family]))


def inputs_of(located, texts=SENTENCES):
    """Padded model inputs as ``lib.data.examples`` makes them."""
    rows = [make_row(i, text, "", 0) for i, text in enumerate(texts)]
    data = examples._encode(rows, backbones.load_tokenizer(located), 64)
    inputs, _ = examples.Loader(data, torch.device("cpu")).batch(np.arange(len(texts)))
    return {name: inputs[name] for name in ("input_ids", "attention_mask")}


def logits_of(model, inputs):
    with torch.no_grad():
        return model.eval()(**inputs).logits


# --- loading ------------------------------------------------------------------------------------


def test_only_the_head_is_new_and_the_rest_is_the_checkpoint(located, folders, family):
    model, new = backbones.load_classifier(located, 3, 0)
    kinds = ("weight",) if family == "llama" else ("bias", "weight")
    assert new == [f"{layer}.{kind}" for layer in NEW[family] for kind in kinds]
    assert logits_of(model, inputs_of(located)).shape == (4, 3)
    with safe_open(folders[family] / "model.safetensors", "pt") as stored:
        shared = set(stored.keys()) & set(model.state_dict())
        assert len(shared) == len(list(model.parameters())) - len(new)
        assert all(torch.equal(model.state_dict()[k], stored.get_tensor(k)) for k in shared)


def test_the_init_seed_decides_the_new_weights_and_nothing_else(located):
    (a, new), (b, _), (other, _) = (backbones.load_classifier(located, 2, s) for s in (5, 5, 6))
    for name, weight in a.state_dict().items():
        assert torch.equal(weight, b.state_dict()[name]), name
        drawn = name in new and name.endswith("weight")
        assert torch.equal(weight, other.state_dict()[name]) != drawn, name


def test_padding_does_not_change_the_answer(located):
    """Also for a decoder, which classifies from its last token: the padding is on the right."""
    model, _ = backbones.load_classifier(located, 2, 0)
    together = logits_of(model, inputs_of(located))
    alone = torch.cat([logits_of(model, inputs_of(located, [text])) for text in SENTENCES])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert together.std(0).min() > 0.01, "the texts are told apart"


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_attention_implementations_agree(located, family, attention):
    model, _ = backbones.load_classifier(located, 2, 0, attention=attention)
    used = "eager" if family == "mpnet" else attention
    assert model.config._attn_implementation == used
    plain, _ = backbones.load_classifier(located, 2, 0, attention="eager")
    batch = inputs_of(located)
    torch.testing.assert_close(logits_of(model, batch), logits_of(plain, batch), atol=1e-5, rtol=0)


def test_an_attention_that_does_not_exist_is_named(folders):
    with pytest.raises(BackboneError, match="with no_such attention"):
        backbones.load_classifier(
            pretrained.locate(str(folders["bert"])), 2, 0, attention="no_such"
        )


def test_a_checkpoint_without_a_layer_is_refused(folders, tmp_path):
    """A configuration that promises four layers over the weights of three."""
    shutil.copytree(folders["bert"], tmp_path / "deep")
    config = json.loads((tmp_path / "deep/config.json").read_text())
    (tmp_path / "deep/config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}))
    with pytest.raises(BackboneError, match=r"lacks pretrained weights: bert.encoder.layer.3"):
        backbones.load_classifier(pretrained.locate(str(tmp_path / "deep")), 2, 0)


@pytest.mark.parametrize(("kind", "longest"), [("bert", 66), ("roberta", 64), ("mpnet", 64)])
def test_the_longest_input_is_the_longest_that_the_model_takes(folders, kind, longest):
    """Positions of RoBERTa and MPNet count from behind the padding token."""
    located = pretrained.locate(str(folders[kind]))
    assert backbones.dimensions(located) == (LAYERS, longest)
    model, _ = backbones.load_classifier(located, 2, 0)

    def of_length(n):
        ids = torch.full((1, n), 7)
        return logits_of(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})

    assert of_length(longest).isfinite().all()
    with pytest.raises((IndexError, RuntimeError)):
        of_length(longest + 1)


# --- tokenisers ---------------------------------------------------------------------------------


def test_a_decoder_gets_padding_that_is_in_its_vocabulary(folders):
    located = pretrained.locate(str(folders["llama"]))
    assert "pad_token" not in json.loads((folders["llama"] / "tokenizer_config.json").read_text())
    tokenizer = backbones.load_tokenizer(located)
    assert tokenizer.pad_token == "</s>"
    model, _ = backbones.load_classifier(located, 2, 0)
    assert model.config.pad_token_id == tokenizer.pad_token_id < model.config.vocab_size


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


def test_a_tokeniser_without_any_spare_token_is_refused(folders, tmp_path):
    shutil.copytree(folders["llama"], tmp_path / "bare")
    path = tmp_path / "bare/tokenizer_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in config.items() if not k.endswith("_token")}))
    with pytest.raises(BackboneError, match="set pad_token in its tokenizer_config.json"):
        backbones.load_tokenizer(pretrained.locate(str(tmp_path / "bare")))


# --- parts --------------------------------------------------------------------------------------


def test_the_output_layer_gives_the_logits_and_can_be_replaced(located):
    model, _ = backbones.load_classifier(located, 3, 0)
    parent, name, linear = backbones.output_layer(model)
    assert isinstance(linear, torch.nn.Linear) and linear.out_features == 3
    assert getattr(parent, name) is linear
    batch = inputs_of(located)
    before = logits_of(model, batch)
    doubled = torch.nn.Linear(WIDTH, 3, bias=linear.bias is not None)
    with torch.no_grad():
        for ours, theirs in zip(doubled.parameters(), linear.parameters(), strict=True):
            ours.copy_(2 * theirs)
    setattr(parent, name, doubled)
    torch.testing.assert_close(logits_of(model, batch), 2 * before)


def test_encoder_and_layers_compute_the_hidden_states(located, family):
    model, _ = backbones.load_classifier(located, 2, 0)
    base = backbones.encoder(model)
    assert base is getattr(model, PREFIX.get(family, family))
    assert len(backbones.layers(model)) == LAYERS
    seen = []
    for layer in backbones.layers(model):
        layer.register_forward_hook(lambda _module, _inputs, out: seen.append(out))
    with torch.no_grad():
        states = base.eval()(**inputs_of(located), output_hidden_states=True).hidden_states
    outputs = [out[0] if isinstance(out, tuple) else out for out in seen]
    assert len(outputs) == LAYERS == len(states) - 1
    # A decoder's last hidden state is the normed one.
    compared = LAYERS - 1 if family == "llama" else LAYERS
    for out, state in zip(outputs[:compared], states[1:], strict=False):
        assert torch.equal(out, state)


def test_the_pooler_lies_between_encoder_and_output(located, family):
    model, new = backbones.load_classifier(located, 2, 0)
    pooler = backbones.pooler_of(model)
    if family == "llama":
        assert pooler is None
        return
    assert isinstance(pooler, torch.nn.Linear) and pooler.weight.shape == (WIDTH, WIDTH)
    name = next(name for name, module in model.named_modules() if module is pooler)
    assert f"{name}.weight" in new
    torch.nn.init.zeros_(pooler.weight)
    logits = logits_of(model, inputs_of(located))
    assert torch.equal(logits[0], logits[1]), "nothing passes a pooler of zeros"


def test_every_parameter_has_a_depth(located, family):
    model, new = backbones.load_classifier(located, 2, 0)
    depths = {name: backbones.depth_of(name, LAYERS) for name, _ in model.named_parameters()}
    assert set(depths.values()) == set(range(LAYERS + 2))
    assert {name for name, depth in depths.items() if depth == LAYERS + 1} == set(new)
    for i, layer in enumerate(backbones.layers(model)):
        ours = {id(weight) for weight in layer.parameters()}
        found = {depths[name] for name, weight in model.named_parameters() if id(weight) in ours}
        assert found == {i + 1}
    embedding = backbones.encoder(model).get_input_embeddings().weight
    name = next(name for name, weight in model.named_parameters() if weight is embedding)
    assert depths[name] == 0


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("model.embed_tokens.weight", 0),
        ("model.norm.weight", 12),
        ("model.layers.0.input_layernorm.weight", 1),
        ("score.weight", 13),
        ("mpnet.encoder.relative_attention_bias.weight", 0),
        ("bert.embeddings.LayerNorm.bias", 0),
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
