"""From the hub to a run, offline: every task in the hub's schema, every family in its layout."""

import json
import math

import numpy as np
import pytest
import torch
from support import tiny_models
from support.project import run_python, train_runs
from support.tiny_models import LAYERS, WIDTH

from lib.config import Setting
from lib.config.seeds import Seeds
from lib.data import hub_tasks, tasks
from lib.models import backbones, pretrained
from lib.training import evaluation
from lib.training.inputs import prepare_inputs

FAMILIES = ("bert", "roberta", "mpnet", "llama")
#: A task of a single text, of pairs, of choices, of groups, and of regression.
KINDS = ("sst2", "rte", "copa", "record", "stsb")
REVISION = "0123456789abcdef0123456789abcdef01234567"


def one_step(tiny_hub, family, task, **more):
    """A setting that takes one step on eight examples."""
    values = {
        "train_rows": 8, "batch_size": 8, "epochs": 1, "warmup": 0.0, "learning_rate": 1e-3,
        "max_length": 48, "eval_rows": 15,
    }  # fmt: skip
    return Setting(backbone=str(tiny_hub / family), task=task, **values | more)


# --- one step and an evaluation -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "task"),
    [
        *(("bert", task) for task in (*hub_tasks.SOURCES, "stsb")),
        *((family, task) for family in FAMILIES[1:] for task in KINDS),
    ],
)
def test_a_step_and_an_evaluation(hub, tiny_hub, family, task):
    spec = tasks.get(task)
    run = train_runs(one_step(tiny_hub, family, task), Seeds.of(0))
    rows = {row["example_id"]: row["label"] for row in spec.read()["dev"]}
    n = 15 if task in ("record", "stsb") else 6
    width = WIDTH * (2 if task == "copa" else 1)
    assert run.logits.shape == (n, spec.n_classes)
    assert list(run.vectors) == ["last" if family == "llama" else "first", "mean"]
    assert all(array.shape == (LAYERS + 1, n, width) for array in run.vectors.values())
    assert all(np.isfinite(array).all() for array in (run.logits, *run.vectors.values()))
    assert run.labels.tolist() == pytest.approx([rows[name] for name in run.example_ids])
    assert len(set(run.example_ids.tolist())) == n
    assert run.logits.std(0).min() > 0, "examples are told apart"

    record = run.record
    assert (record["n_train"], record["n_eval"], record["steps"]) == (8, n, 1)
    assert record["metric"] == spec.metric and record["classes"] == list(spec.classes)
    assert list(record["other_scores"]) == list(spec.other_metrics)
    assert all(math.isfinite(score) for score in record["other_scores"].values())
    assert math.isfinite(record["score"]) and -1 <= record["score"] <= 1
    assert record["status"] in ("ok", "failed", "collapsed")
    assert (record["accuracy"] is None) == (spec.n_classes == 1)
    # One step of Adam moves every weight by the rate or less, and every part by something.
    moved = record["distance"]
    parts = ["embeddings", *(f"layer{i + 1}" for i in range(LAYERS))]
    assert all(moved[part] > 0 for part in parts)
    assert moved["all"] < 1.1e-3 * math.sqrt(record["trained_weights"])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", ["copa", "multirc"])
def test_a_batch_says_what_each_sequence_says_alone(hub, tiny_hub, family, task):
    """Candidates of a choice, and paragraphs with answers: no padding, no neighbour matters."""
    located = pretrained.locate(str(tiny_hub / family))
    data = prepare_inputs(one_step(tiny_hub, family, task)).data
    model, _ = backbones.load_classifier(located, data.n_outputs, 0)
    cpu = torch.device("cpu")
    seen = evaluation.evaluate(model, data.evaluation, cpu, precision="float32", pooled="auto")
    pooled, at = ("last", -1) if family == "llama" else ("first", 0)
    tokenizer = backbones.load_tokenizer(located)
    for i, row in enumerate(tasks.get(task).read()["dev"]):
        both = [row["text_a"], row["text_b"]]
        sides = both if isinstance(both[0], list) else [[text] for text in both]
        logits, means, tokens = [], [], []
        for pair in zip(*sides, strict=True):
            inputs = tokenizer(*pair, truncation=True, max_length=48, return_tensors="pt")
            inputs.pop("token_type_ids", None) if family != "bert" else None
            with torch.no_grad():
                output = model(**inputs, output_hidden_states=True)
            logits.append(output.logits[0].numpy())
            means.append([state[0].mean(0).numpy() for state in output.hidden_states])
            tokens.append([state[0, at].numpy() for state in output.hidden_states])
        np.testing.assert_allclose(seen.logits[i], np.concatenate(logits), atol=1e-4)
        for name, vectors in ((pooled, tokens), ("mean", means)):
            alone = np.concatenate(vectors, 1)
            np.testing.assert_allclose(seen.vectors[name][:, i], alone, atol=1e-4)


# --- LoRA on a decoder, from the hub's cache ----------------------------------------------------


def test_lora_on_a_decoder_from_the_hubs_cache(own_file, tiny_hub, tmp_path):
    """By ``org/name@revision`` in a process of its own; equal to the same files in a folder."""
    tiny_models.cache_as_hub(tiny_hub / "llama", tmp_path / "hub", "tiny/llama", REVISION)
    script = (
        "import json, sys; sys.path.insert(0, 'tests')\n"
        "from support.project import Setting, train_runs\n"
        "from lib.config.seeds import Seeds\n"
        "run = train_runs(Setting(**json.loads(sys.argv[1])), Seeds.of(0))\n"
        "print(json.dumps([run.record, run.logits.tolist()], default=str))\n"
    )
    values = {
        "backbone": f"tiny/llama@{REVISION}", "task": str(own_file), "method": "lora(rank=2)",
        "learning_rate": 1e-3, "epochs": 2, "max_length": 32,
    }  # fmt: skip
    done = run_python(
        "-c", script, json.dumps(values), HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1",
        OMP_NUM_THREADS="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    record, logits = json.loads(done.stdout.splitlines()[-1])
    assert record["backbone_revision"] == REVISION
    assert record["setting"]["backbone"] == f"tiny/llama@{REVISION}"
    # Rank 2 of queries (32 to 32) and values (32 to 16, one of two heads), and the head of two.
    assert record["trained_weights"] == LAYERS * 2 * ((32 + 32) + (32 + 16)) + 2 * WIDTH
    assert record["newly_initialised"] == ["score.weight"]
    assert record["distance"]["embeddings"] == 0 < record["distance"]["layer1"]
    here = train_runs(Setting(**values | {"backbone": str(tiny_hub / "llama")}), Seeds.of(0))
    assert here.record["backbone_sha256"] == record["backbone_sha256"]
    np.testing.assert_array_equal(here.logits, np.array(logits, np.float32))
