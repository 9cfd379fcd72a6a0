"""The lines for a Trainer in docs/own-runs.md, run after real training, and the report on them."""

import re
import textwrap

import numpy as np
import pandas as pd
import pytest
import transformers
from scipy.special import softmax
from support import tiny_models

from lib import measures, paths, report

SEEDS = (0, 1, 2)
N = 42  # no multiple of the size of a batch


@pytest.fixture(scope="module")
def recipes():
    """The two blocks of lines: without and with hidden states."""
    page = (paths.ROOT / "docs" / "own-runs.md").read_text()
    section = page.split("### From a Trainer\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```\n(.*?)^```", section, re.M | re.S)
    assert len(blocks) == 2 and section.count("```") == 4
    assert 'output_dir=f"out/seed{seed}"' in section
    return blocks


def rows(n, tokenizer, classes, seed):
    """Invented sentences of any length, with labels that are learnt in a few steps."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        label = rng.normal() if classes == 1 else int(rng.integers(classes))
        words = rng.choice(" ".join(tiny_models.SENTENCES).split(), rng.integers(1, 12))
        sign = ("warm", "dull", "wild")[label if classes > 1 else int(label > 0)]
        sign = sign if rng.random() < 0.8 else "kind"
        found.append(dict(tokenizer(" ".join([sign, *words]))) | {"label": label})
    return found


def train(folder, recipe, *, classes=3, states=False, before=(), **arguments):
    """Train with each seed, save checkpoints, run the recipe; what `predict` gave, by seed."""
    tokenizer = tiny_models.tokenizer("bert")
    training, dataset = (rows(n, tokenizer, classes, seed) for n, seed in ((64, 0), (N, 1)))
    outputs = []
    for seed in SEEDS:
        transformers.set_seed(seed)
        config = transformers.BertConfig(
            vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=64, num_labels=classes, output_hidden_states=states,
        )  # fmt: skip
        given = transformers.TrainingArguments(
            output_dir=f"{folder}/out/seed{seed}", seed=seed, max_steps=40, save_steps=20,
            per_device_train_batch_size=16, learning_rate=5e-3, use_cpu=True, disable_tqdm=True,
            report_to=[], **arguments,
        )  # fmt: skip
        trainer = transformers.Trainer(
            model=transformers.BertForSequenceClassification(config), args=given,
            train_dataset=training, processing_class=tokenizer,
            data_collator=transformers.DataCollatorWithPadding(tokenizer),
        )  # fmt: skip
        trainer.train()
        assert (folder / f"out/seed{seed}/checkpoint-40/training_args.bin").exists()
        for name, value in before:
            setattr(trainer.args, name, value)
        names = {"trainer": trainer, "dataset": dataset, "np": np}
        exec(recipe, names)
        outputs.append(names["out"])
    return outputs


def reported(folder, capsys):
    """What the command printed, and its table of measures."""
    report.main([str(folder / "out"), "--out", str(folder / "report")])
    table = pd.read_csv(folder / "report" / "measures.csv").set_index("measure")
    return capsys.readouterr().out, table


def agree(table, logits, labels):
    """Scores and predictions are those of these logits (S, N, C), by plain numpy."""
    answers = logits.argmax(-1)
    pairs = [(a, b) for a in range(len(SEEDS)) for b in range(a)]
    apart = np.mean([(answers[a] != answers[b]).mean() for a, b in pairs])
    assert 0 < apart < 1
    assert table.loc["disagreement", "value"] == pytest.approx(apart, rel=1e-5)
    accuracy = (answers == labels).mean(1)
    assert table.loc["mean", "value"] == pytest.approx(accuracy.mean(), rel=1e-5)
    p = softmax(logits.astype(float), -1)
    middle = {(a, b): (p[a] + p[b]) / 2 for a, b in pairs}
    divergence = [
        (p[i] * np.log(p[i] / middle[pair])).sum(-1).mean() for pair in pairs for i in pair
    ]
    assert table.loc["jsd", "value"] == pytest.approx(np.mean(divergence), rel=1e-4)


def test_the_file_of_a_run_is_two_lines(recipes, tmp_path, capsys):
    outputs = train(tmp_path, recipes[0])
    text, table = reported(tmp_path, capsys)
    assert f"3 runs on {N} examples from out: 3 classes." in text and "seed0, seed1, seed2" in text
    agree(table, np.stack([out.predictions for out in outputs]), outputs[0].label_ids)
    assert "cka" not in table.index


def test_hidden_states_are_layers_and_no_logits(recipes, tmp_path, capsys):
    outputs = train(tmp_path, recipes[1], states=True)
    text, table = reported(tmp_path, capsys)
    assert f"3 runs on {N} examples from out: 3 classes." in text
    agree(table, np.stack([out.predictions[0] for out in outputs]), outputs[0].label_ids)
    states = np.stack([[layer[:, 0] for layer in out.predictions[1]] for out in outputs])
    assert states.shape == (3, 3, N, 32), "runs, embeddings and two layers, examples, width"
    assert np.ptp(states[:, 0], 1).max() == 0, "the first token's, and no use"
    states = states[:, 1:]
    distances = measures.representation_distances(states.astype(float), ["cka"])
    for name, apart in distances.items():
        found = table.loc[name]
        assert list(found["layer"]) == [0, 1]
        expected = apart[:, *np.triu_indices(3, 1)].mean(1)
        np.testing.assert_allclose(found["value"], expected, rtol=1e-4)


def test_with_hidden_states_the_plain_lines_fail_and_the_report_says_what_to_do(
    recipes, tmp_path, capsys
):
    caught = "try:\n{}except ValueError:\n    failed = True\nassert failed"
    train(tmp_path, caught.format(textwrap.indent(recipes[0], "    ")), states=True)
    with pytest.raises(SystemExit):
        reported(tmp_path, capsys)
    assert "save its parts by name" in capsys.readouterr().err


def test_a_regression_is_one_column(recipes, tmp_path, capsys):
    outputs = train(tmp_path, recipes[0], classes=1)
    text, table = reported(tmp_path, capsys)
    assert "scores (regression)" in text
    scores = [np.corrcoef(out.predictions[:, 0], out.label_ids)[0, 1] for out in outputs]
    assert table.loc["mean", "value"] == pytest.approx(np.mean(scores), rel=1e-4)


def test_rows_that_are_grouped_by_length_are_refused_or_put_in_order(recipes, tmp_path, capsys):
    """Such a `predict` gives every seed another order of the rows."""
    grouped = {"train_sampling_strategy": "group_by_length"}
    outputs = train(tmp_path / "a", recipes[0], **grouped)
    assert any((out.label_ids != outputs[0].label_ids).any() for out in outputs)
    with pytest.raises(SystemExit):
        reported(tmp_path / "a", capsys)
    assert "labels" in capsys.readouterr().err
    page = (paths.ROOT / "docs" / "own-runs.md").read_text()
    (name, value) = re.search(r'`trainer\.args\.(\w+) = "(\w+)"` before', page).groups()
    outputs = train(tmp_path / "b", recipes[0], before=[(name, value)], **grouped)
    _, table = reported(tmp_path / "b", capsys)
    agree(table, np.stack([out.predictions for out in outputs]), outputs[0].label_ids)
