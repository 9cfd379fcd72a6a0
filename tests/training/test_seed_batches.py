"""Several seeds as one program equal the same seeds one at a time; our loop equals Trainer's."""

import dataclasses

import numpy as np
import pytest
import torch
from support.project import train_runs
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from lib import measures
from lib.config.seeds import Seeds
from lib.data.examples import Encoded, Loader, epoch_batches
from lib.models import backbones, pretrained
from lib.results import runs
from lib.training import finetune, learners
from lib.training.inputs import prepare_inputs

SEEDS = [Seeds.of(seed) for seed in range(3)]


def both_ways(setting, seeds=SEEDS):
    return [train_runs(setting, one) for one in seeds], train_runs(setting, seeds)


def assert_equal_runs(alone, together, tolerance=1e-5):
    for one, other in zip(alone, together, strict=True):
        assert len(one.log) == len(other.log)
        for step, same in zip(one.log, other.log, strict=True):
            assert same == pytest.approx(step, abs=tolerance, rel=1e-3)
        np.testing.assert_allclose(other.logits, one.logits, atol=10 * tolerance)
        np.testing.assert_allclose(other.vectors["mean"], one.vectors["mean"], atol=1e-3)
        assert one.record["distance"] == pytest.approx(other.record["distance"], rel=1e-3, abs=1e-5)


# --- seeds as one program -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"method": "mixout(p=0.0)"},
        {"method": "reinit+llrd+wd_pre+mmr"},
        {"method": "mhloss"},
        {"method": "head"},
        {"method": "lora(dropout=0.0)"},
        {"optimizer": "sgd", "learning_rate": 0.02, "schedule": "cosine"},
        {"optimizer": "adamw-no-bias-correction", "learning_rate": 1e-4},
        {"max_grad_norm": 0.1, "train_rows": 70},
        {"eval_split": "test-half", "evals_per_epoch": 2},
    ],
    ids=str,
)
def test_without_dropout_each_seed_is_as_if_alone(tiny, changes):
    """Own initialisation, own order (a smaller last batch too), own clipping, own checkpoint."""
    assert_equal_runs(*both_ways(dataclasses.replace(tiny, dropout=0.0, **changes)))


COPA = {"task": "copa", "batch_size": 8, "max_length": 48, "learning_rate": 1e-4, "epochs": 2}


@pytest.mark.parametrize(
    "changes",
    [{}, {"method": "lora(dropout=0.0)"}, COPA, COPA | {"method": "mhloss"}],
    ids=["standard", "lora", "choices", "choices by mhloss"],
)
@pytest.mark.parametrize("family", ["bert", "roberta", "mpnet", "llama"])
def test_every_architecture(tiny, tiny_hub, hub, family, changes):
    values = {"backbone": str(tiny_hub / family), "dropout": 0.0, "epochs": 1} | changes
    alone, together = both_ways(dataclasses.replace(tiny, **values), SEEDS[:2])
    assert_equal_runs(alone, together)
    first, second = (np.array([row["loss"] for row in run.log]) for run in together)
    assert np.abs(first - second).max() > 3e-4, "the seeds differ by far more than rounding"


def test_a_token_that_pads_and_parts_learns_in_every_seed(tiny_hub):
    """A decoder's padding may be a real token too, as between the texts of a pair. torch gives the
    embedding of a padding token no gradient, under vmap in the first seed only; here it has one in
    every seed, the same as alone.
    """
    located = pretrained.locate(str(tiny_hub / "llama"))
    models = [backbones.load_classifier(located, 2, seed)[0].eval() for seed in range(2)]
    pad = models[0].config.pad_token_id
    ids = torch.tensor([[5, 6, pad, 7]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    expected = []
    for model in models:
        model(**inputs).logits.logsumexp(-1).sum().backward()
        expected.append(model.model.embed_tokens.weight.grad[pad].clone())
        model.zero_grad()
    text = Encoded(
        tokens=ids[0].numpy(), types=np.zeros(4, np.int8), starts=np.array([0, 4]),
        labels=np.array([0]), example_ids=np.array(["a"]), pad_id=np.array(pad),
    )  # fmt: skip
    stacked = learners.SeedBatch(models, text, torch.device("cpu"))
    logits, _, _ = stacked(np.zeros((2, 1), int))
    logits.logsumexp(-1).sum().backward()
    found = stacked.trained["model.embed_tokens.weight"].grad[:, pad]
    assert torch.allclose(found, torch.stack(expected), atol=1e-6) and found.abs().amax(1).min() > 0


def test_a_diverging_seed_is_kept_and_leaves_the_others_alone(tiny, monkeypatch, tmp_path):
    """A real fault in one of three: infinite weights in the encoder."""
    setting = dataclasses.replace(tiny, dropout=0.0, seeds_per_batch=3)
    alone = [train_runs(setting, one) for one in SEEDS]
    load = backbones.load_classifier

    def broken(located, n_classes, init_seed, **options):
        model, new = load(located, n_classes, init_seed, **options)
        if init_seed == SEEDS[1].stream("init"):
            with torch.no_grad():
                model.bert.embeddings.word_embeddings.weight[:] = float("inf")
        return model, new

    monkeypatch.setattr(backbones, "load_classifier", broken)
    records = finetune.finetune_seeds(setting, SEEDS, store=tmp_path)
    assert [record["status"] for record in records][1] == "diverged"
    together = [runs.load(runs.folder(setting.id, one.label, tmp_path)) for one in SEEDS]
    assert_equal_runs([alone[0], alone[2]], [together[0], together[2]])
    lost, text = together[1], (tmp_path / setting.id / "seed1/run.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    for name in ("final_loss", "score", "accuracy"):
        assert lost.record[name] is None
    assert lost.record["distance"]["all"] is None and lost.record["steps"] == len(lost.log) == 1
    assert np.isnan(lost.logits).all() and np.isnan(lost.vectors["mean"]).all()


def test_dropout_differs_between_seeds_of_a_batch(tiny):
    """Equal weights and equal batches: what differs is what dropout silences."""
    located = pretrained.locate("bert-tiny")
    models = [backbones.load_classifier(located, 2, 0)[0].train() for _ in range(2)]
    stacked = learners.SeedBatch(models, prepare_inputs(tiny).data.train, torch.device("cpu"))
    rows = np.arange(8)[None].repeat(2, 0)
    torch.manual_seed(0)
    logits, features, _labels = stacked(rows)
    assert not torch.allclose(logits[0], logits[1], atol=1e-3) and features.shape == (2, 8, 128)
    stacked.model.eval()
    logits, _features, _labels = stacked(rows)
    assert torch.allclose(logits[0], logits[1], atol=1e-6)


def group_distance(a, b, matrices):
    """Mean distance between two groups of runs less the mean within them (energy distance)."""
    return [
        2 * m[np.ix_(a, b)].mean() - m[np.ix_(a, a)].mean() - m[np.ix_(b, b)].mean()
        for m in matrices
    ]


@pytest.mark.filterwarnings("ignore::lib.measures.SaturationWarning")
def test_with_dropout_the_distribution_of_every_measure_agrees(tiny):
    """Twenty runs alone and twenty as one program cannot be told apart by any measure, by a
    permutation test of the energy distance. Twenty at another learning rate can, by those that
    are not saturated with so few examples.
    """
    seeds = [Seeds.of(seed) for seed in range(20)]
    fresh = [Seeds.of(seed) for seed in range(20, 40)]
    setting = dataclasses.replace(tiny, epochs=1, learning_rate=5e-4)
    other = dataclasses.replace(setting, learning_rate=2e-3)
    alone = [train_runs(setting, one) for one in seeds]
    groups = [train_runs(setting, fresh), train_runs(other, fresh)]
    p_values = []
    for together in groups:
        both = alone + together
        logits = np.stack([run.logits for run in both]).astype(float)
        chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        vectors = np.stack([run.vectors["mean"][1:] for run in both])
        found = measures.representation_distances(vectors, ("svcca", "op", "cka"))
        matrices = [
            measures.pairwise_disagreement(logits.argmax(-1)),
            measures.pairwise_jsd(chances),
            *(found[name][-1] for name in ("op", "cka", "svcca")),
        ]
        rng = np.random.default_rng(0)
        seen = group_distance(np.arange(20), np.arange(20, 40), matrices)
        shuffles = [rng.permutation(40) for _ in range(999)]
        drawn = np.array([group_distance(s[:20], s[20:], matrices) for s in shuffles])
        p_values.append((1 + (drawn >= seen).sum(0)) / 1000)
    assert p_values[0].min() > 0.02, p_values
    assert p_values[1][1:4].max() < 0.01, p_values


def test_the_store_completes_a_batch_and_records_who_was_in_it(tiny, tmp_path):
    setting = dataclasses.replace(tiny, seeds_per_batch=2, epochs=1)
    records = finetune.finetune_seeds(setting, SEEDS, store=tmp_path)
    assert [r["batch"] for r in records] == [["seed0", "seed1"]] * 2 + [["seed2"]]
    gone = runs.folder(setting.id, "seed1", tmp_path)
    before = {label: runs.load(gone.parent / label).logits for label in ("seed0", "seed1")}
    stamp = (gone.parent / "seed0/run.json").stat().st_mtime_ns
    (gone / "run.json").unlink()
    finetune.finetune_seeds(setting, SEEDS, store=tmp_path)
    assert (gone.parent / "seed0/run.json").stat().st_mtime_ns == stamp
    assert np.array_equal(runs.load(gone).logits, before["seed1"])
    # Beside another seed it is another run: dropout is drawn for both.
    four = finetune.finetune_seeds(setting, [*SEEDS, Seeds.of(3)], store=tmp_path)
    assert four[2]["batch"] == ["seed2", "seed3"]
    assert four[2]["fingerprint"] != records[2]["fingerprint"]
    assert four[0]["fingerprint"] == records[0]["fingerprint"]
    assert dataclasses.replace(setting, seeds_per_batch=1).id != setting.id


# --- against transformers' Trainer --------------------------------------------------------------


def test_twenty_steps_equal_trainers(tiny, tmp_path):
    """Same start, same batches, fp32: the losses of transformers' Trainer to 1e-5."""
    setting = dataclasses.replace(tiny, dropout=0.0, epochs=4)
    located = pretrained.locate("bert-tiny")
    inputs = prepare_inputs(setting)
    data = inputs.data
    ours = finetune.finetune(inputs, Seeds.of(0))
    model, _ = backbones.load_classifier(located, 2, Seeds.of(0).stream("init"))
    backbones.set_dropout(model, 0.0)
    loader = Loader(data.train, torch.device("cpu"))
    rng = np.random.default_rng(Seeds.of(0).stream("order"))
    batches = [rows for _ in range(4) for rows in epoch_batches(data.train.lengths, 16, rng)]
    assert len(batches) == 20

    seen = []

    class Same(Trainer):
        """Fed with our batches; writes down each loss in full."""

        def get_train_dataloader(self):
            items = []
            for rows in batches:
                inputs, labels = loader.batch(rows)
                items.append({**inputs, "labels": labels})
            return DataLoader(items, batch_size=None)

        def compute_loss(self, model, inputs, *arguments, **options):
            loss = super().compute_loss(model, inputs, *arguments, **options)
            seen.append(loss.item())
            return loss

    settings = TrainingArguments(
        str(tmp_path), max_steps=20, learning_rate=setting.learning_rate, adam_epsilon=1e-6,
        weight_decay=setting.weight_decay, warmup_steps=2, lr_scheduler_type="linear",
        max_grad_norm=1.0, save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True,
        logging_strategy="no",
    )  # fmt: skip
    peer = Same(model=model, args=settings, train_dataset=[0] * 80)
    peer.train()
    assert len(seen) == 20
    assert np.abs(np.array(seen) - [row["loss"] for row in ours.log]).max() < 1e-5
