"""What a configuration would cost: the arithmetic by hand and against torch, the seconds against
committed run times, the bytes against real files.
"""

import dataclasses
import socket

import numpy as np
import pandas as pd
import pytest
import torch
import transformers as hf
from conftest import run_python, train_runs
from torch.utils.flop_counter import FlopCounterMode

from lib import (
    backbones,
    costs,
    costs_page,
    grids,
    jobs,
    paths,
    pretrained,
    runs,
    sizes,
    tasks,
    timing,
    work,
)
from lib.config import Setting
from lib.seeds import Seeds
from lib.sizes import Shape
from lib.timing import Speed

FAMILIES = ("bert", "roberta", "xlm-roberta", "mpnet", "llama")
SMALL = Setting(backbone="bert-tiny", task="rotten-tomatoes", train_rows=800, epochs=3)


# --- weights and operations -----------------------------------------------------------------------


def test_a_small_encoder_by_hand():
    """One layer of width 2 with 3 inside, 5 words, 4 places, one type, 2 outputs, 3 tokens."""
    shape = Shape(layers=1, width=2, inner=3, vocabulary=5, positions=4, types=1)
    assert shape.matrices == 4 * 2 * 2 + 2 * 2 * 3 == 28
    embeddings = (5 + 4 + 1) * 2 + 2 * 2
    layer = 28 + 4 * 2 + (3 + 2) + 2 * (2 * 2)
    head = (2 * 2 + 2) + (2 * 2 + 2)
    assert shape.parameters(2) == embeddings + layer + head == 24 + 49 + 12
    # 2 · 28 a token; queries on keys and weights on values, 2 · 2 · 3² each; dense and output.
    assert shape.forward(3, 2) == 3 * 56 + 2 * (2 * 9 * 2) + 2 * (4 + 4)


def test_a_small_decoder_by_hand():
    """Keys and values of width 1, three matrices in the feed-forward part, no bias, no pooler."""
    shape = Shape(layers=2, width=4, inner=6, vocabulary=7, key_width=1, decoder=True)
    assert shape.matrices == 2 * (2 * 16 + 2 * 4 + 3 * 24)
    assert shape.parameters(3) == 7 * 4 + shape.matrices + 5 * 4 + 12
    assert shape.forward(1, 1) == 2 * shape.matrices + 4 * 2 * 4 + 8


@pytest.mark.parametrize("name", ["bert-tiny", "minilm-l6"])
def test_registered_models_have_the_weights_that_torch_counts(name):
    model, _ = backbones.load_classifier(pretrained.locate(name), 2, 0)
    assert sizes.MODELS[name].parameters(2) == sum(w.numel() for w in model.parameters())


HUB = {
    "google-bert/bert-large-uncased": hf.BertConfig(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096
    ),
    "FacebookAI/roberta-large": hf.RobertaConfig(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
        vocab_size=50265, max_position_embeddings=514, type_vocab_size=1,
    ),
    "FacebookAI/roberta-base": hf.RobertaConfig(
        vocab_size=50265, max_position_embeddings=514, type_vocab_size=1
    ),
    "mpnet-base": hf.MPNetConfig(vocab_size=30527, max_position_embeddings=514),
    "minilm-l3": hf.BertConfig(
        hidden_size=384, num_hidden_layers=3, num_attention_heads=12, intermediate_size=1536
    ),
    "smollm2-135m": hf.LlamaConfig(
        hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        intermediate_size=1536, vocab_size=49152, pad_token_id=2,
    ),
    "meta-llama/Llama-3.2-3B": hf.LlamaConfig(
        hidden_size=3072, num_hidden_layers=28, num_attention_heads=24, num_key_value_heads=8,
        head_dim=128, intermediate_size=8192, vocab_size=128256, pad_token_id=0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HUB)
@pytest.mark.parametrize("outputs", [1, 3])
def test_shapes_have_the_weights_of_transformers_models(name, outputs):
    """Built without memory for the weights, from the same configuration."""
    HUB[name].num_labels = outputs
    with torch.device("meta"):
        model = hf.AutoModelForSequenceClassification.from_config(HUB[name])
    assert sizes.MODELS[name].parameters(outputs) == sum(w.numel() for w in model.parameters())


def test_every_model_is_counted_here():
    assert set(sizes.MODELS) == {"bert-tiny", "minilm-l6", *HUB} >= set(pretrained.BACKBONES)


def counted(model, tokens, *, backward=False):
    """Operations of two sequences that torch counts."""
    with FlopCounterMode(display=False) as counter:
        logits = model(input_ids=torch.full((2, tokens), 7)).logits
        if backward:
            logits.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("name", ["bert-tiny", "minilm-l6"])
@pytest.mark.parametrize("tokens", [8, 61])
def test_operations_are_those_that_torch_counts(name, tokens):
    model, _ = backbones.load_classifier(pretrained.locate(name), 2, 0, attention="eager")
    forward = 2 * sizes.MODELS[name].forward(tokens, 2)
    assert counted(model, tokens) == forward
    assert counted(model, tokens, backward=True) == work.FULL * forward


@pytest.mark.parametrize("family", FAMILIES)
def test_a_local_folder_is_read(tiny_hub, family):
    """Weights exactly; operations up to what differs between heads and positions."""
    located = pretrained.locate(str(tiny_hub / family))
    model, _ = backbones.load_classifier(located, 3, 0, attention="eager")
    shape = sizes.shape_of(str(tiny_hub / family))
    assert shape.parameters(3) == sum(weight.numel() for weight in model.parameters())
    assert 2 * shape.forward(40, 3) == pytest.approx(counted(model, 40), rel=0.03)


def test_frozen_weights_save_what_is_claimed():
    """Adapters need no gradients of the frozen weights; a head on a frozen encoder needs none."""
    model, _ = backbones.load_classifier(pretrained.locate("minilm-l6"), 2, 0, attention="eager")
    forward = counted(model, 40)
    for name, weight in model.named_parameters():
        weight.requires_grad = "classifier" in name
    assert counted(model, 40, backward=True) == pytest.approx(work.PROBE * forward, rel=0.01)
    for name, weight in model.named_parameters():
        weight.requires_grad = "embeddings" in name or "classifier" in name
    assert counted(model, 40, backward=True) == pytest.approx(work.ADAPTERS * forward, rel=0.01)


def test_adapters_have_the_weights_that_peft_adds():
    setting = dataclasses.replace(SMALL, method="lora(rank=4)", train_rows=16, epochs=1)
    made = train_runs(setting, Seeds.of(0), device="cpu")
    assert made.record["trained_weights"] == work.work_of(setting).trained
    probe = dataclasses.replace(setting, method="head")
    made = train_runs(probe, Seeds.of(0), device="cpu")
    assert made.record["trained_weights"] == work.work_of(probe).trained


# --- what runs take -------------------------------------------------------------------------------


def test_a_run_by_hand():
    """800 rows of 26.7 tokens three times, in 50 batches; 1,000 of 2,121 rows evaluated."""
    found = work.work_of(SMALL)
    forward = sizes.MODELS["bert-tiny"].forward(26.7, 2)
    assert found.steps == 150 and found.tokens == pytest.approx(3 * 800 * 26.7)
    assert found.training == pytest.approx(3 * 800 * 3 * forward * 1.08)
    assert found.evaluation == pytest.approx(1000 * forward)
    assert found.trained == found.parameters == 4386178 and found.shared == 0


def test_checkpoints_are_looked_for_on_the_other_half():
    setting = Setting(
        backbone="bert-tiny", task="rte", eval_split="test-half", eval_rows=0, evals_per_epoch=3
    )
    assert work.evaluated_rows(setting) == (139, 138)
    forward = sizes.MODELS["bert-tiny"].forward(70.2, 2)
    assert work.work_of(setting).evaluation == pytest.approx((139 + 5 * 3 * 138) * forward)


MORE = [
    {"train_rows": 1600}, {"epochs": 4}, {"backbone": "minilm-l3"}, {"backbone": "minilm-l6"},
    {"task": "boolq"},
]  # fmt: skip
SPEED = Speed(1.5e-11, 4e-9, 1.0, 1.5)


@pytest.mark.parametrize("more", MORE, ids=str)
def test_more_of_anything_costs_more(more):
    less, greater = SMALL, dataclasses.replace(SMALL, **more)
    a, b = work.work_of(less), work.work_of(greater)
    assert b.operations > a.operations
    assert SPEED.seconds(greater, b) > SPEED.seconds(less, a)
    for assumed in (timing.CHEAP, timing.DEAR):
        seconds = [
            timing.gpu_seconds(s, w, sizes.shape_of(s.backbone).layers, assumed)
            for s, w in ((less, a), (greater, b))
        ]
        assert seconds[1] >= seconds[0]
    if "backbone" in more:
        assert work.stored(greater).vectors > work.stored(less).vectors
        assert work.stored(greater).checkpoint > work.stored(less).checkpoint
    assert work.table_bytes(greater, 6) >= work.table_bytes(less, 6) > work.table_bytes(less, 5)


def test_methods_that_save_or_cost():
    plain = work.work_of(SMALL)
    for method, ratio in {"lora": 2 / 3, "head": 1 / 3, "longer(epochs=6)": 2, "llrd": 1}.items():
        found = work.work_of(dataclasses.replace(SMALL, method=method))
        assert found.training == pytest.approx(plain.training * ratio), method
    surt = work.work_of(dataclasses.replace(SMALL, method="surt(epochs=6)"))
    assert surt.training == plain.training and surt.shared > 2 * plain.training


def test_bfloat16_is_faster_and_dear_is_dearer():
    half = dataclasses.replace(SMALL, precision="bfloat16", backbone="minilm-l6")
    full = dataclasses.replace(half, precision="float32")
    found = work.work_of(half)
    assert SPEED.seconds(half, found) < SPEED.seconds(full, found)
    large = Setting(backbone="FacebookAI/roberta-large", task="rte", precision="float32")
    cheap, dear = (
        timing.gpu_seconds(large, work.work_of(large), 24, a) for a in (timing.CHEAP, timing.DEAR)
    )
    # 66.9 TFLOP/s: at half and at a fifth of it, beside the seconds of starting.
    arithmetic = work.work_of(large).operations / 66.9e12
    assert cheap == pytest.approx(2 * arithmetic + 2) and dear == pytest.approx(5 * arithmetic + 10)
    small = work.work_of(SMALL)
    assert timing.gpu_seconds(SMALL, small, 2, timing.DEAR) == pytest.approx(150 * 2 * 1.5e-3 + 10)


# --- sizes of tasks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["stsb", "boolq", "rotten-tomatoes", "amazon", "nyt", "privacyqa", "trec", "sarcasm"]
)
def test_sizes_of_tasks_are_those_of_their_data(name):
    splits = tasks.get(name).read()
    size = sizes.TASKS[name]
    assert (size.train, size.dev, size.how) == (len(splits["train"]), len(splits["dev"]), "counted")
    tokenizer = backbones.load_tokenizer(pretrained.locate("bert-tiny"))
    rows = [splits["train"][i] for i in np.random.default_rng(1).permutation(size.train)[:1500]]
    pairs = [row["text_b"] for row in rows] if any(row["text_b"] for row in rows) else None
    ids = tokenizer([row["text_a"] for row in rows], pairs, truncation=True, max_length=512)
    assert np.mean([len(row) for row in ids["input_ids"]]) == pytest.approx(size.tokens, rel=0.04)


def test_sizes_agree_with_the_published_ones():
    table = pd.read_csv(paths.PUBLISHED / "glue_superglue_sizes.csv")
    names = {"SST-2": "sst2", "STS-B": "stsb", "CoLA": "cola", "MultiRC": "multirc"}
    for row in table.itertuples():
        size = sizes.TASKS[names.get(row.task, row.task.lower())]
        rows = 12 if row.task == "ReCoRD" else 1
        assert (size.train, size.dev) == (rows * row.n_train, rows * row.n_validation), row.task


def test_derived_lengths_are_near_the_counted_ones():
    table = costs_page.length_check()
    assert len(table) == 6 and table["ratio"].between(0.94, 1.06).all()


def test_a_table_of_your_own_is_read(own_file):
    size = sizes.size_of(Setting(task=str(own_file)))
    assert (size.train, size.dev, size.how) == (80, 40, "derived")
    assert 9 < size.tokens < 16


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task": "mr"}, "the size of mr is not known"),
        ({"backbone": "google-bert/bert-large-cased"}, "not known: did you mean google-bert/bert"),
    ],
)
def test_what_is_not_known_is_said(values, message):
    with pytest.raises(ValueError, match=message):
        work.work_of(dataclasses.replace(SMALL, **values))


# --- seconds --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def committed():
    return timing.committed(grids.load_grids(costs.HERE))


def test_the_speed_behind_exact_times_is_found(committed):
    """Times made from a speed: the fit returns it, and predicts each configuration exactly."""
    made = committed.assign(device="cpu")
    true = Speed(2e-11, 3e-9, 0.7, 1.6)
    made["seconds"] = [true.seconds(row.setting, row.work) for row in made.itertuples()]
    found = timing.fit(made, 1.6)
    for name in ("operation", "update", "start"):
        assert getattr(found, name) == pytest.approx(getattr(true, name), rel=1e-6)
    for check in timing.leave_one_out(made, 1.6):
        assert [check.ratio, check.lowest, check.highest] == pytest.approx([1, 1, 1], rel=1e-6)


def test_committed_times_are_predicted_from_the_others(committed):
    """Configurations within a factor of 2; settings within 4, on machines that were shared."""
    checks = timing.leave_one_out(committed, timing.bfloat16_gain())
    assert len(checks) >= 4
    for check in checks:
        assert 0.5 < check.ratio < 2, check
        assert 0.25 < check.lowest <= check.highest < 4, check


def test_a_configuration_of_another_speed_would_be_seen(committed):
    slow = committed.copy()
    slow.loc[slow["configuration"] == "sources", "seconds"] *= 5
    (check,) = [c for c in timing.leave_one_out(slow, 1.6) if c.configuration == "sources"]
    assert check.ratio < 0.5


def test_the_benchmark_is_predicted_from_whole_runs(committed):
    gain = timing.bfloat16_gain()
    table = timing.benchmark_check(timing.fit(committed, gain))
    assert len(table) == 4 and table["ratio"].between(0.5, 2).all()


def test_runs_on_a_gpu_do_not_count_for_a_core(committed):
    gpu = committed.head(3).assign(device="a GPU", seconds=0.01, configuration="glue")
    both = pd.concat([committed, gpu])
    assert timing.fit(both, 1.6) == timing.fit(committed, 1.6)
    table = timing.gpu_check(both)
    assert table["device"].tolist() == ["a GPU"] and (table["cheap"] < table["dear"]).all()
    assert timing.gpu_check(committed[committed["device"] == "cpu"]).empty
    with pytest.raises(ValueError, match="no committed run was timed on a CPU"):
        timing.fit(gpu, 1.6)


def test_what_a_job_takes_is_read_from_the_engines_benchmark(tmp_path):
    assert timing.job_seconds(tmp_path) == timing._JOB_S
    (tmp_path / "engine.md").write_text("| overhead of a job (engine − training) | 9.25 |\n")
    assert timing.job_seconds(tmp_path) == 9.25


# --- disk and jobs --------------------------------------------------------------------------------


@pytest.mark.slow
def test_bytes_of_a_run_are_those_of_its_files(tmp_path, tiny):
    setting = dataclasses.replace(tiny, backbone="minilm-l6")
    for one in (tiny, setting):
        made = train_runs(one, Seeds.of(0), device="cpu")
        folder = tmp_path / one.id
        runs.save(made, folder)
        bytes_of = {path.name: path.stat().st_size for path in folder.iterdir()}
        predicted = work.stored(one)
        vectors = bytes_of.pop("first.npy") + bytes_of.pop("mean.npy")
        assert predicted.vectors == vectors
        assert len(bytes_of) == work._TRAINED_FILES
        assert predicted.kept == pytest.approx(sum(bytes_of.values()), rel=0.25)
        located = pretrained.locate(one.backbone)
        model, _ = backbones.load_classifier(located, 2, 0)
        torch.save(model.state_dict(), tmp_path / "weights.pt")
        size = (tmp_path / "weights.pt").stat().st_size
        assert predicted.checkpoint == pytest.approx(size, rel=0.01)


def test_bytes_of_the_committed_tables_are_predicted():
    table = costs_page.disk_check(grids.load_grids(costs.HERE))
    assert len(table) >= 4 and table["ratio"].between(0.8, 1.25).all()


@pytest.mark.parametrize("name", ["quick", "sources", "ladder", "paper"])
def test_jobs_are_those_that_the_engine_plans(name, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    plan = jobs.load(name)
    loads = [work.load_of(grid) for grid in plan.grids.values()]
    assert sum(load.training for load in loads) >= len(plan.shards)
    assert sum(len(found) for found in plan.markers.values()) == sum(x.training for x in loads)
    assert sum(load.measuring for load in loads) == sum(map(len, plan.groups.values()))
    assert sum(load.analysing for load in loads) == len(plan.figures())
    single = work.load_of(grids.load_grids(name)[0], seeds_per_job=1)
    assert single.training == len(plan.grids[next(iter(plan.grids))].seeds) * len(
        grids.load_grids(name)[0].settings
    )
    assert single.submissions(10**6) == 1 + single.measuring + single.analysing


def test_the_models_that_du_and_nguyen_saved():
    """600, half of each kind, four bytes a weight: their own words are about 1 TB."""
    by_hand = 300 * 4 * 335_143_938 + 300 * 4 * 355_361_794
    assert costs_page.saved_models() == by_hand
    assert 0.8e12 < by_hand < 1e12


# --- the page -------------------------------------------------------------------------------------


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("costs are computed without a network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_the_committed_page_is_what_make_costs_writes(tmp_path, no_network):
    costs_page.write(tmp_path)
    for name in ("costs.md", "costs.csv"):
        committed = (paths.DATA / "benchmarks" / name).read_bytes()
        assert (tmp_path / name).read_bytes() == committed, f"{name}: run `make costs`"


def test_the_page_says_what_was_not_measured():
    page = (paths.DATA / "benchmarks/costs.md").read_text()
    assert "None has been run here" in page and "under assumptions" in page
    table = pd.read_csv(paths.DATA / "benchmarks/costs.csv")
    assert set(table["lengths"]) == {"counted", "derived", "assumed"}
    assert (table["gpu_cheap_s"] < table["gpu_dear_s"]).all()
    assert table["configuration"].nunique() == 15 and table["runs"].sum() >= 677 + 2080


def test_the_command_line(no_network, capsys):
    costs.main(["quick"])
    said = capsys.readouterr().out
    assert "GPU hours were not measured" in said and said.count("bert-tiny_") == 5
    done = run_python("-m", "lib.costs", "--help")
    assert done.returncode == 0 and "GPU hours were not measured" in done.stdout
    for wrong, message in {"quik": "did you mean quick?", None: "name a configuration"}.items():
        done = run_python("-m", "lib.costs", *([wrong] if wrong else []))
        assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
