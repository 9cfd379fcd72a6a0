"""Shared fixtures: a task of invented sentences, and a copy of the project to run or change."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TQDM_DISABLE"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

from lib import paths
from lib.config import Setting

GOOD = ["the soup was warm and kind", "a bright and patient little boat", "we liked the calm river"]
BAD = ["the soup was cold and mean", "a dull and hasty little boat", "we feared the wild river"]
PLACES = ["in the north", "by the mill", "near the old gate", "under the bridge", "on the hill"]


@pytest.fixture(scope="session")
def own_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of 120 invented sentences in two classes, 40 of them for development."""
    draw = random.Random(0)
    lines = ["text,label,split"]
    for i in range(120):
        label = i % 2
        sentence = f"{draw.choice(GOOD if label else BAD)} {draw.choice(PLACES)} on day {i}"
        lines.append(f"{sentence},{'good' if label else 'bad'},{'dev' if i >= 80 else 'train'}")
    path = tmp_path_factory.mktemp("own") / "days.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def tiny(own_file: Path) -> Setting:
    """A setting that trains in about a second."""
    return Setting(task=str(own_file), epochs=2, learning_rate=1e-3, max_length=32)


def run_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run this Python in a process of its own; output is captured."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=paths.ROOT,
        env={**os.environ, **environment},
        check=False,
    )


def copy_project(target: Path) -> Path:
    """A copy of the project's files (without runs and downloads) that a test may change."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in listed:
        if (paths.ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(paths.ROOT / name, target / name)
    return target


def environment_of(project: Path) -> dict[str, str]:
    """Environment of processes that work in a copy of the project, with our downloads."""
    changed = {"PYTHONPATH": str(project), "COMPENDIUM_CACHE": str(paths.CACHE)}
    # The engine and its jobs call `python`: it has to be this one.
    changed["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **changed}


@pytest.fixture(scope="session")
def tiny_hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Randomly initialised models of four architectures, saved as the hub lays them out."""
    import torch
    import transformers as hf

    from lib import backbones

    root = tmp_path_factory.mktemp("hub")
    shape = {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "vocab_size": 30522,
    }
    places = {"pad_token_id": 0, "max_position_embeddings": 140}
    torch.manual_seed(0)
    models = {
        "bert": hf.BertForMaskedLM(hf.BertConfig(**shape)),
        "roberta": hf.RobertaForMaskedLM(hf.RobertaConfig(**shape, **places, type_vocab_size=1)),
        "mpnet": hf.MPNetForMaskedLM(hf.MPNetConfig(**shape, **places)),
        "llama": hf.LlamaForCausalLM(
            hf.LlamaConfig(**shape, num_key_value_heads=1, pad_token_id=0)
        ),
    }
    tokenizer = backbones.load_tokenizer(backbones.locate("bert-tiny"))
    for name, model in models.items():
        model.save_pretrained(root / name)
        tokenizer.save_pretrained(root / name)
    return root
