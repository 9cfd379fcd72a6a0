"""The guard of ``provenance.TRAINING_VERSIONS``: today's code trains what the version's code did.

The code of each version lies beside this test as an archive, with the runner that it was archived
with. Tiny runs of every method, precision and architecture are trained with both, on this machine
and with these packages, and everything that came out is compared to the bit. A test that fails
here means that finished runs would come out otherwise now: raise the version and archive its code,

    python tests/behaviour/archive.py 2

or take the change back.
"""

import dataclasses
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Literal, get_args, get_origin

import numpy as np
import pandas as pd
import pytest
from support import tiny_models

from lib import paths, provenance
from lib.config import Setting
from lib.data import tasks
from lib.models.methods import METHODS, parse_method

HERE = Path(__file__).parents[1] / "behaviour"
#: The archives of the first versions, which go by digests of their code; others go by their name.
ARCHIVES = {"b1c8fe2221e9fc23": "1", "36b91da4219e565e": "1"}
SHORT = {"epochs": 1, "learning_rate": 1e-3, "max_length": 24, "train_rows": 48, "batch_size": 8}


def settings(models: Path, table: Path) -> dict[str, dict]:
    """By name, one setting for each thing that training can be asked to do."""
    whole = {"task": str(table), "backbone": str(models / "bert")}
    methods = [*METHODS, "mixout(as_published=True)", "reinit(layers=1)+llrd+wd_pre", "surt+mmr"]
    methods = [name.replace("longer", "longer(epochs=2)") for name in methods]
    methods = [name.replace("surt", "surt(epochs=1)") for name in methods]
    families = [name for name in tiny_models.FAMILIES if name != "bert"]
    chosen = {
        "standard": whole,
        "split-by-us": whole | {"task": str(table.with_name("unsplit.csv")), "eval_rows": 20},
        "pairs": whole | {"text_columns": ["text", "place"], "dropout": 0.3},
        "regression": whole | {"label_column": "number", "schedule": "cosine"},
        "choice": whole | {"task": "copa", "train_rows": 8},
        "questions": whole | {"task": "multirc", "train_rows": 8, "eval_rows": 6},
        "checkpoints": whole | {"eval_split": "test-half", "evals_per_epoch": 2},
        "two-together": whole | {"seeds_per_batch": 2, "subset_seed": 1},
        "mixed-together": whole | {"seeds_per_batch": 2, "method": "mixout+llrd"},
        "lora-together": whole | {"seeds_per_batch": 2, "method": "lora"},
        "unclipped": whole | {"max_grad_norm": 0.0, "weight_decay": 0.0, "warmup": 0.0},
        "bfloat16": whole | {"precision": "bfloat16"},
        "constant-sgd": whole | {"optimizer": "sgd", "schedule": "constant"},
        "adafactor": whole | {"optimizer": "adafactor"},
        "uncorrected": whole | {"optimizer": "adamw-no-bias-correction"},
    }
    chosen |= {name: whole | {"method": name} for name in methods}
    chosen |= {name: whole | {"backbone": str(models / name)} for name in families}
    llama = chosen["llama"]
    for name in ("lora", "surt(epochs=1)", "head", "reinit(layers=1)"):
        chosen[f"llama {name}"] = llama | {"method": name}
    chosen["llama pairs"] = llama | {"text_columns": ["text", "place"], "precision": "bfloat16"}
    chosen["llama together"] = llama | {"seeds_per_batch": 2, "pooled_token": "last"}
    chosen["llama as before"] = llama | {"pooled_token": "first"}
    boats = {"task": "boats", "eval_rows": 6, "max_length": 64}
    for name in tiny_models.GENERATING:
        chosen[f"texts {name}"] = boats | {"backbone": str(models / name)}
    for name in ("lora", "mixout"):
        chosen[f"texts {name}"] = chosen["texts bert"] | {"method": name}
    chosen["texts bfloat16"] = chosen["texts bert"] | {"precision": "bfloat16"}
    return {name: SHORT | values for name, values in chosen.items()}


def archive_of(version: str) -> str:
    """The name of a version's archive."""
    return ARCHIVES.get(version, version)


def archive_that_trains(values: dict) -> str:
    """The archive of the version that trains such a setting."""
    if tasks.generates(values["task"]):
        return archive_of(provenance.GENERATION_VERSION)
    decoder = values["backbone"].endswith("llama")
    return archive_of(provenance.TRAINING_VERSIONS["decoder" if decoder else "encoder"])


def write_tables(own_file: Path, folder: Path) -> Path:
    """The invented sentences with a second text and a number; and without a split."""
    rows = pd.read_csv(own_file)
    rows.drop(columns="split").to_csv(folder / "unsplit.csv", index=False)
    more = {"place": rows["text"].str.split(" in ").str[-1], "number": rows.index % 7 / 7}
    rows.assign(**more).to_csv(folder / "table.csv", index=False, float_format="%.4f")
    return folder / "table.csv"


def run(runner: Path, code: Path, cases: Path, out: Path, environment: dict[str, str]) -> None:
    out.mkdir()
    given = {**os.environ, **environment, "PYTHONPATH": str(code)}
    given |= {"COMPENDIUM_CACHE": str(out / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(runner), str(cases), str(out)]
    done = subprocess.run(command, env=given, cwd=out, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, own_file, tiny_hub, invented_datasets):
    """Settings by name, and the folder of what came out, from today's code and the archives'."""
    folder = tmp_path_factory.mktemp("behaviour")
    chosen = settings(tiny_hub, write_tables(own_file, folder))
    seeds = {name: ["seed0", "seed1"] for name in chosen}
    seeds["standard"] = ["seed0", "seed1", "seed2"]

    def listing(name: str, cases: Collection[str]) -> Path:
        path = folder / f"{name}.json"
        rows = [{"name": c, "setting": chosen[c], "seeds": seeds[c]} for c in cases]
        path.write_text(json.dumps(rows))
        return path

    hub = {"HUB_DATASETS": str(invented_datasets), "HF_DATASETS_CACHE": str(folder / "converted")}
    run(HERE / "runner.py", paths.ROOT, listing("today", chosen), folder / "today", hub)
    cases = {archive_of(provenance.DISTANCE_VERSION): {"standard"}}
    for name, values in chosen.items():
        cases.setdefault(archive_that_trains(values), set()).add(name)
    for archive, names in cases.items():
        code = folder / f"code{archive}"
        with zipfile.ZipFile(HERE / f"{archive}.zip") as stored:
            stored.extractall(code)
        run(code / "runner.py", code, listing(archive, sorted(names)), folder / archive, hub)
    return chosen, folder


def compare(name: str, folder: Path, archive: str, only: str = "") -> None:
    with (
        np.load(folder / "today" / f"{name}.npz", allow_pickle=False) as now,
        np.load(folder / archive / f"{name}.npz", allow_pickle=False) as before,
    ):
        assert now.files == before.files
        kinds = [kind for kind in now.files if only in kind]
        assert kinds
        for kind in kinds:
            assert now[kind].dtype == before[kind].dtype, (name, kind)
            assert now[kind].tobytes() == before[kind].tobytes(), (name, kind)


def test_every_run_comes_out_as_with_the_code_of_its_version(trained):
    chosen, folder = trained
    for name, values in chosen.items():
        compare(name, folder, archive_that_trains(values), only="seed")


def test_every_distance_comes_out_as_with_the_code_of_its_version(trained):
    archive = archive_of(provenance.DISTANCE_VERSION)
    compare("drawn", trained[1], archive)
    compare("standard", trained[1], archive, only="layers")


def test_the_guard_sees_a_difference(trained, tmp_path):
    """Runs of two settings that differ in nothing but the last digit of the rate are not equal."""
    for name in ("today", "1"):
        (tmp_path / name).mkdir()
    source = trained[1] / "today/standard.npz"
    with np.load(source) as stored:
        arrays = dict(stored)
    np.savez(tmp_path / "today/standard.npz", **arrays)
    arrays["seed1 logits"] = np.nextafter(arrays["seed1 logits"], np.float32(9))
    np.savez(tmp_path / "1/standard.npz", **arrays)
    with pytest.raises(AssertionError, match="seed1 logits"):
        compare("standard", tmp_path, "1", only="seed")


def test_no_method_precision_or_architecture_is_left_out(trained):
    chosen, _ = trained
    tried = [Setting(**values) for values in chosen.values()]
    assert {name for setting in tried for name in parse_method(setting.method)} == set(METHODS)
    literals = [spec for spec in dataclasses.fields(Setting) if get_origin(spec.type) is Literal]
    for field, values in ((spec.name, get_args(spec.type)) for spec in literals):
        assert {getattr(setting, field) for setting in tried} == set(values), field
    kinds = {(tasks.generates(one.task), Path(one.backbone).name) for one in tried}
    expected = {*tiny_models.FAMILIES}, {*tiny_models.GENERATING}
    assert kinds == {(number == 1, name) for number in (0, 1) for name in expected[number]}
    assert len({setting.seeds_per_batch for setting in tried}) > 1
