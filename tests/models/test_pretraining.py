"""Continued pretraining: what is masked, what is new, what moves, and what stays to the byte."""

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support import tiny_models
from support.tiny_models import SENTENCES

from lib import paths
from lib.config.seeds import Seeds
from lib.data import examples
from lib.data.rows import make_row
from lib.errors import BackboneError
from lib.models import backbones, pretrained, pretraining
from lib.models.pretraining import Objective, corrupt
from lib.training.experiment import finetune
from lib.training.inputs import prepare_inputs

CPU = torch.device("cpu")
RECIPE = pretraining.Recipe(epochs=2, learning_rate=1e-3, batch_size=8)
DENSE_AND_NORM = ("dense.bias", "dense.weight", "{}.bias", "{}.weight")
BERT_HEAD = {"cls.predictions.bias"} | {
    f"cls.predictions.transform.{name.format('LayerNorm')}" for name in DENSE_AND_NORM
}
OTHER_HEAD = {f"lm_head.{name.format('layer_norm')}" for name in ("bias", *DENSE_AND_NORM)}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Where the results lie."""
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    return tmp_path / "pretrained"


@pytest.fixture(scope="module")
def located(tmp_path_factory):
    """A tiny model by family and what it has beside its encoder; each is made once."""

    @functools.cache
    def make(family, head=True, pooler=False):
        folder = tmp_path_factory.mktemp(family)
        return pretrained.locate(str(tiny_models.save(family, folder, head=head, pooler=pooler)))

    return make


def encoded(located, texts=SENTENCES * 10):
    rows = [make_row(f"e{i}", text, "", i % 2) for i, text in enumerate(texts)]
    return examples._encode(rows, backbones.load_tokenizer(located), 512)


def weights(located):
    return load_file(Path(located.path) / "model.safetensors")


# --- the objectives -----------------------------------------------------------------------------


def test_fifteen_percent_are_predicted_in_the_published_proportions():
    rng = np.random.default_rng(0)
    tokens = rng.integers(10, 1000, (400, 100))
    ordinary = np.ones(tokens.shape, bool)
    ordinary[:, [0, 50, 99]] = False
    seen, chosen = corrupt(tokens, ordinary, 3, np.arange(10, 1000), rng)
    assert (chosen.sum(1) == round(0.15 * 97)).all()
    assert not chosen[~ordinary].any()
    assert (seen == tokens)[~chosen].all()
    now, before = seen[chosen], tokens[chosen]
    fates = [(now == 3).mean(), ((now != 3) & (now != before)).mean(), (now == before).mean()]
    np.testing.assert_allclose(fates, [0.8, 0.1, 0.1], atol=0.02)
    assert len(np.unique(now[(now != 3) & (now != before)])) > 300, "any word may come instead"
    assert (np.diff(chosen.mean(0)[1:50]) != 0).any(), "not the same places in every row"


@pytest.mark.parametrize("family", ["bert", "roberta", "mpnet"])
def test_special_tokens_are_never_predicted_nor_put_in(located, family):
    tokenizer = backbones.load_tokenizer(located(family))
    data = encoded(located(family))
    objective = Objective(data, tokenizer, causal=False, typed=False)
    assert tokenizer.mask_token_id not in objective.words
    for seed in range(20):
        rng = np.random.default_rng(seed)
        inputs, where, right = objective.batch(np.arange(8), rng, CPU)
        assert not set(right.tolist()) & set(tokenizer.all_special_ids)
        assert (inputs["attention_mask"][where] == 1).all()
        put_in = set(inputs["input_ids"][where].tolist()) & set(tokenizer.all_special_ids)
        assert put_in <= {tokenizer.mask_token_id}


def test_a_decoder_predicts_each_next_token_by_hand_and_has_no_mask(located):
    data = encoded(located("llama"), ["the calm river", "soup"])
    tokenizer = backbones.load_tokenizer(located("llama"))
    objective = Objective(data, tokenizer, causal=True, typed=False)
    inputs, where, right = objective.batch(np.array([0, 1]), np.random.default_rng(0), CPU)
    rows = [data.tokens[a:b].tolist() for a, b in zip(data.starts, data.starts[1:], strict=False)]
    assert right.tolist() == rows[0][1:] + rows[1][1:]
    assert inputs["input_ids"][where].tolist() == rows[0][:-1] + rows[1][:-1]
    assert set(inputs) == {"input_ids", "attention_mask"}
    with pytest.raises(BackboneError, match="no mask token"):
        Objective(data, tokenizer, causal=False, typed=False)


def test_texts_without_a_word_are_left_out_and_a_task_of_them_refused(located):
    tokenizer = backbones.load_tokenizer(located("bert"))
    data = encoded(located("bert"), ["", SENTENCES[0], "", SENTENCES[1], ""])
    objective = Objective(data, tokenizer, causal=False, typed=True)
    assert objective.data.example_ids.tolist() == ["e1", "e3"]
    with pytest.raises(ValueError, match="none of the 2 texts holds a word"):
        Objective(encoded(located("bert"), ["", ""]), tokenizer, causal=False, typed=True)


# --- what is new --------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "mpnet", "llama"])
def test_nothing_is_new_where_the_checkpoint_has_a_head(located, family, cache):
    source = located(family)
    found = pretraining.continue_pretraining(source, encoded(source), RECIPE, CPU)
    record = json.loads(Path(found.path, pretraining.RECORD).read_text())
    assert record["newly_initialised"] == [] and "loss_head" not in record
    assert record["steps"] == 2 * 5 and record["rows"] == 40
    assert record["loss_end"] < record["loss_start"] - 0.1
    assert set(weights(found)) == set(weights(source))
    _, new = backbones.load_classifier(found, 2, 0)
    assert new == backbones.load_classifier(source, 2, 0)[1]


@pytest.mark.parametrize(
    ("family", "head"), [("bert", BERT_HEAD), ("roberta", OTHER_HEAD), ("mpnet", OTHER_HEAD)]
)
def test_a_missing_head_is_all_that_is_new_and_is_trained_alone_first(located, family, head):
    source = located(family, head=False)
    trainer = pretraining.Pretrainer(source, encoded(source), RECIPE, CPU)
    assert set(trainer.new) == head
    words = backbones.encoder(trainer.model).get_input_embeddings().weight
    assert trainer.model.get_output_embeddings().weight is words, "tied"
    stored = weights(source)
    for name, weight in backbones.encoder(trainer.model).named_parameters():
        assert torch.equal(weight, stored[name]), name
    before = {name: weight.clone() for name, weight in trainer.model.named_parameters()}
    start = trainer.mean_loss()
    assert trainer.phase("head", 3, 1e-2) == 15
    moved = {n for n, w in trainer.model.named_parameters() if not torch.equal(w, before[n])}
    assert moved == head
    assert trainer.mean_loss() < start - 0.2
    trainer.phase("all", 1, 1e-3)
    # Token type 1 never occurs in single texts, but its row shares a matrix with type 0.
    assert not any(torch.equal(w, before[n]) for n, w in trainer.model.named_parameters())


def test_a_new_bias_starts_at_the_frequencies_of_the_words_and_an_old_one_stays(located):
    source = located("bert", head=False)
    data = encoded(source)
    trainer = pretraining.Pretrainer(source, data, RECIPE, CPU)
    trainer.start_bias_at_frequencies()
    share = trainer.model.cls.predictions.bias.detach().exp().numpy()
    assert share.sum() == pytest.approx(1, abs=1e-5)
    boat, river = backbones.load_tokenizer(source).convert_tokens_to_ids(["boat", "river"])
    assert [(data.tokens == word).sum() for word in (boat, river)] == [10, 20]
    assert share[river] / share[boat] == pytest.approx(20.1 / 10.1, rel=1e-4)
    assert share[:5].max() < share[boat] / 50, "special tokens are never predicted"
    old = pretraining.Pretrainer(located("bert"), data, RECIPE, CPU)
    old.start_bias_at_frequencies()
    stored = weights(located("bert"))["cls.predictions.bias"]
    assert torch.equal(old.model.cls.predictions.bias.detach(), stored)


# --- seeds, keys, cache -------------------------------------------------------------------------


def test_the_key_holds_what_the_result_depends_on_and_a_known_one_is_reused(located, cache):
    source = located("bert")
    data = encoded(source)

    def run(source=source, data=data, **changed):
        recipe = dataclasses.replace(RECIPE, **{"epochs": 1, **changed})
        return pretraining.continue_pretraining(source, data, recipe, CPU)

    first = run()
    stamp = Path(first.path, "model.safetensors").stat().st_mtime_ns
    assert run() == first
    assert Path(first.path, "model.safetensors").stat().st_mtime_ns == stamp
    keys = {first.sha256}
    for changed in (
        {"epochs": 2}, {"learning_rate": 2e-3}, {"batch_size": 7}, {"seed": 1},
        {"precision": "bfloat16"}, {"head_epochs": 2}, {"head_learning_rate": 1e-2},
        {"data": data.take(np.arange(39))}, {"source": located("bert", pooler=True, head=False)},
    ):  # fmt: skip
        keys.add(run(**changed).sha256)
    assert len(keys) == 10
    assert {path.name for path in cache.glob("[!.]*")} == keys


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epochs": 0}, "epochs = 0 should be greater than 0"),
        ({"learning_rate": 1e30}, "diverged at step .* lower the learning rate"),
    ],
)
def test_recipes_that_cannot_work_store_nothing(located, cache, changed, message):
    source = located("bert")
    with pytest.raises(ValueError, match=message):
        recipe = dataclasses.replace(RECIPE, **changed)
        pretraining.continue_pretraining(source, encoded(source), recipe, CPU)
    assert not list(cache.glob("[!.]*"))


# --- the ordinary path --------------------------------------------------------------------------


def test_fine_tuning_starts_from_the_new_weights(tiny, tmp_path, monkeypatch):
    """bert-tiny brings a masked-LM head of its own."""
    inputs = prepare_inputs(tiny)
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    found = pretraining.continue_pretraining(inputs.located, inputs.data.train, RECIPE, CPU)
    plain = finetune(inputs, Seeds.of(0))
    moved = finetune(dataclasses.replace(inputs, located=found), Seeds.of(0))
    assert plain.record["newly_initialised"] == moved.record["newly_initialised"]
    assert plain.record["fingerprint"] != moved.record["fingerprint"]
    assert not np.array_equal(plain.vectors["first"][0], moved.vectors["first"][0])
    again = prepare_inputs(dataclasses.replace(tiny, backbone=found.path)).data
    assert again.train.tokens.tolist() == inputs.data.train.tokens.tolist()
