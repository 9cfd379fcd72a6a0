"""The loop on a device that is not this one: nothing in a step may wait for it, or stay behind.

Tensors on torch's ``meta`` device have shapes and no values: whoever asks for a value there, which
on a GPU means waiting for it, gets an error, and so does whoever mixes devices. What only a GPU can
tell is in the tests at the end, which run where there is one.
"""

import contextlib
import dataclasses

import numpy as np
import pytest
import torch
from support.project import train_runs

from lib.config.seeds import Seeds
from lib.models import backbones, devices, pretrained
from lib.training import experiment, learners, loop
from lib.training.inputs import prepare_inputs

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.fixture
def without_values(monkeypatch):
    """What torch itself cannot do without values, none of it in a step: autocast and the fused
    optimiser do not know the device, and stacking compares the frozen weights once.
    """
    adamw = torch.optim.AdamW
    monkeypatch.setattr(devices, "autocast", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(torch, "equal", lambda *_: True)
    monkeypatch.setattr(
        torch.optim, "AdamW", lambda groups, **k: adamw(groups, **{**k, "fused": False})
    )


@pytest.mark.parametrize("n_seeds", [1, 3])
@pytest.mark.parametrize(
    ("method", "optimizer"),
    [
        ("standard", "adamw"),
        ("standard", "sgd"),
        ("mixout", "adamw"),
        ("mhloss", "adamw"),
        ("head", "adamw"),
        ("lora", "adamw"),
        ("reinit+llrd+wd_pre+mmr", "adamw-no-bias-correction"),
    ],
)
def test_no_step_waits_for_the_device(
    tiny, without_values, monkeypatch, method, optimizer, n_seeds
):
    setting = dataclasses.replace(tiny, method=method, optimizer=optimizer)
    inputs, device = prepare_inputs(setting), torch.device("meta")
    seeds = [Seeds.of(seed) for seed in range(n_seeds)]
    built = experiment.build(inputs, seeds, device)
    seen = []
    monkeypatch.setattr(loop.TrainingLog, "read", lambda log: seen.append(log))
    loop.train(inputs, built.models, seeds, device, new=built.new)
    assert seen[0].steps == 2 * 5 < loop.STEPS_BETWEEN_LOOKS
    assert seen[0].pages[-1].shape == (2 + 4, n_seeds) and seen[0].pages[-1].device == device


def test_every_fast_attention_that_is_not_deterministic_is_off():
    devices.make_deterministic()
    kinds = ("flash", "mem_efficient", "cudnn")
    assert not any(getattr(torch.backends.cuda, f"{kind}_sdp_enabled")() for kind in kinds)
    assert torch.are_deterministic_algorithms_enabled()


# --- where there is a GPU -----------------------------------------------------------------------


@needs_gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gpu_gives_the_same_bits_twice_and_the_cpus_losses(tiny, precision):
    setting = dataclasses.replace(tiny, dropout=0.0, precision=precision)
    one, again = (train_runs(setting, Seeds.of(0), device="cuda") for _ in range(2))
    here = train_runs(setting, Seeds.of(0), device="cpu")
    assert one.logits.tobytes() == again.logits.tobytes() and one.record["deterministic"]
    bound = 1e-3 if precision == "float32" else 0.1
    for row, same in zip(one.log, here.log, strict=True):
        assert row["loss"] == pytest.approx(same["loss"], abs=bound)


@needs_gpu
@pytest.mark.parametrize("method", ["standard", "lora(dropout=0.0)", "mhloss", "reinit+llrd"])
def test_seeds_as_one_program_on_a_gpu(tiny, method):
    setting = dataclasses.replace(tiny, dropout=0.0, method=method)
    seeds = [Seeds.of(seed) for seed in range(4)]
    together = train_runs(setting, seeds, device="cuda")
    for one, other in zip(seeds, together, strict=True):
        alone = train_runs(setting, one, device="cuda")
        np.testing.assert_allclose(other.logits, alone.logits, atol=1e-3)


@needs_gpu
def test_no_step_on_a_gpu_waits_for_it(tiny):
    torch.cuda.set_sync_debug_mode("error")
    try:
        located = pretrained.locate(tiny.backbone)
        data = prepare_inputs(tiny).data
        models = [backbones.load_classifier(located, 2, s)[0].cuda() for s in range(2)]
        learner = learners.SeedBatch(models, data.train, torch.device("cuda"))
        logits, _features, labels = learner(np.arange(32).reshape(2, 16))
        loop.losses(logits, labels).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
