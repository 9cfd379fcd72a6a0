"""What comes from outside is data: no file, name or parameter of others is ever executed.

Each hostile input would leave a canary, a file that is not there before. Code that would execute
what others wrote is found by ruff (its rules S); the engine's tests run under hostile names.
"""

import json
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from support import tiny_models
from support.project import HOSTILE, run_python

from lib import paths, report
from lib.config import Setting, grids
from lib.report import reading
from lib.report.measuring import measure_runs
from lib.results import runs


class Trap:
    """An object whose unpickling leaves the canary."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "canary"


# --- pretrained models --------------------------------------------------------------------------

LOAD = """
import sys
from lib.models import backbones, pretrained
for folder in sys.argv[1:]:
    try:
        located = pretrained.locate(folder)
        backbones.load_tokenizer(located)
        backbones.load_classifier(located, 2, 0)
        print("\\nloaded")
    except Exception as error:
        print("\\nrefused:", *str(error).splitlines())
"""
#: Module-level code, so that importing it is enough; and the classes that a configuration names.
REMOTE = """
open({canary!r}, "w").close()
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast
class Config(BertConfig): pass
class Model(BertForSequenceClassification): pass
class Tokenizer(PreTrainedTokenizerFast): pass
"""
NAMED = {
    "AutoConfig": "remote.Config",
    "AutoModel": "remote.Model",
    "AutoModelForSequenceClassification": "remote.Model",
    "AutoTokenizer": ["remote.Tokenizer", "remote.Tokenizer"],
}


@pytest.fixture
def model(tmp_path):
    return tiny_models.save("bert", tmp_path / "model")


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def load(*folders):
    """What loading each folder says, in a process of its own where every question gets a yes."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *map(str, folders)],
        input="y\n" * 20, capture_output=True, text=True, cwd=paths.ROOT, check=True,
    )  # fmt: skip
    return [line for line in done.stdout.splitlines() if line.startswith(("loaded", "refused"))]


def with_remote_code(folder, canary):
    (folder / "remote.py").write_text(REMOTE.format(canary=str(canary)))
    change(folder / "config.json", auto_map=NAMED)
    change(folder / "tokenizer_config.json", auto_map=NAMED, tokenizer_class="Tokenizer")


def test_code_beside_a_model_never_runs(model, canary):
    """Beside a known architecture it is passed over; another is refused, and nobody asked."""
    with_remote_code(model, canary)
    other = Path(shutil.copytree(model, model.parent / "other"))
    change(other / "config.json", model_type="mine")
    known, unknown = load(model, other)
    assert known == "loaded" and "architecture 'mine'; supported: bert" in unknown
    assert not canary.exists()


def test_weights_that_are_no_safetensors_are_never_opened(model, canary):
    poison = pickle.dumps(Trap(canary))
    variants = {}
    for name in ("pickle", "torch", "beside", "adapter", "called so"):
        variants[name] = Path(shutil.copytree(model, model.parent / name))
    for name in ("pickle", "torch"):
        (variants[name] / "model.safetensors").unlink()
    (variants["pickle"] / "pytorch_model.bin").write_bytes(poison)
    torch.save({"classifier.weight": Trap(canary)}, variants["torch"] / "pytorch_model.bin")
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "adapter_model.bin"):
        (variants["beside"] / name).write_bytes(poison)
    adapter = {"peft_type": "LORA", "base_model_name_or_path": str(model), "r": 2}
    (variants["adapter"] / "adapter_config.json").write_text(json.dumps(adapter))
    (variants["adapter"] / "adapter_model.bin").write_bytes(poison)
    (variants["called so"] / "model.safetensors").write_bytes(poison)
    said = dict(zip(variants, load(*variants.values()), strict=True))
    for name in ("pickle", "torch"):
        assert said[name].endswith("holds no .safetensors file; other formats are not read")
    assert said["beside"] == "loaded"
    assert said["adapter"].startswith("refused") and said["called so"].startswith("refused")
    assert not canary.exists()


# --- the run store ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["logits", "mean"])
def test_a_run_with_a_pickled_array_is_refused(tmp_path, canary, name):
    (tmp_path / "run.json").write_text(json.dumps({"fingerprint": "f"}))
    (tmp_path / "training_log.csv").write_text("step,loss\n0,1.0\n")
    for other in ("logits", "labels", "example_ids", "first", "mean"):
        np.save(tmp_path / f"{other}.npy", np.zeros(3))
    runs.load(tmp_path)
    np.save(tmp_path / f"{name}.npy", np.array([Trap(canary)], object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        runs.load(tmp_path)
    assert not canary.exists()


# --- the engine ---------------------------------------------------------------------------------

#: Words that the shell gets unquoted, and why they hold nothing of a user's.
SAFE_WORDS = {
    "params.notebook": "base64",  # of parameters(), in the Snakefile
    "params.source": "a name in jobs.ANALYSES or job_kinds.KINDS",
    "params.commit": "--commit or nothing",
}


def unquoted(text):
    """Placeholders in what the shell gets that are neither quoted nor known to be harmless."""
    lines = text.splitlines()
    shell = [lines[i + 1] for i, line in enumerate(lines) if line.strip() == "shell:"]
    shell += [line for line in lines if re.match(r"(PAPERMILL|QUIETLY) =", line)]
    words = [word for line in shell for word in re.findall(r"\{([^{}]+)\}", line)]
    assert words
    return [word for word in words if not word.endswith(":q") and word not in SAFE_WORDS]


def test_every_word_for_the_shell_is_quoted_or_encoded():
    text = (paths.ROOT / "Snakefile").read_text()
    assert unquoted(text) == []
    given = re.findall(r"^\s+notebook=(.*)", text, re.M)
    assert given
    for encoded in given:
        assert "parameters(" in encoded, encoded


GRID = """
seeds: [0]
defaults: {task: nyt, epochs: 1}
grid:
  - {learning_rate: [1.0e-3, 2.0e-3]}
"""
#: Valid names of two settings of that grid.
IDS = [Setting(task="nyt", epochs=1, learning_rate=rate).id for rate in (1e-3, 2e-3)]


@pytest.mark.parametrize(
    ("name", "members", "message"),
    [
        ("a; touch canary", IDS, "union 'a; touch canary': use letters, digits"),
        ("../../up", IDS, "use letters, digits"),
        ("logs", IDS, "'logs': the engine keeps a folder of that name for itself"),
        (IDS[1], IDS, "a setting is called that"),
        ("both", [], "union both: name some settings"),
        ("both", [IDS[0], IDS[0]], "each once"),
    ],
)
def test_a_hostile_union_is_refused(tmp_path, name, members, message):
    path = tmp_path / "mine.yaml"
    path.write_text(GRID + yaml.safe_dump({"unions": {"a.b-c_d": IDS}}))
    assert len(grids.load_grids(path)[0].groups) == 3
    path.write_text(GRID + yaml.safe_dump({"unions": {name: members}}))
    with pytest.raises(ValueError, match=f"^mine.yaml: .*{re.escape(message)}"):
        grids.load_grids(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[0]", "['seed0; touch canary']", "'seed0; touch canary' is not a seed"),
        ("epochs: 1", "method: 'mixout(p=__import__(1).system(2))'", "cannot be read"),
        ("task: nyt", "task: 'nyt; touch canary'", "is unknown"),
        ("[0]", "!!python/object/apply:os.system ['touch canary']", "line 2: this is no YAML"),
        ("grid:", "grid:\n\t- {}", "line 5: this is no YAML"),
    ],
)
def test_a_hostile_grid_is_refused_in_one_line(tmp_path, monkeypatch, canary, old, new, message):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text(GRID)
    assert len(grids.load_grids(path)[0].settings) == 2
    path.write_text(GRID.replace(old, new, 1))
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        grids.load_grids(path)
    assert "\n" not in str(refused.value) and not canary.exists()


@pytest.mark.parametrize("name", [HOSTILE.replace("/", ""), "-x"])
def test_names_of_files_become_names_of_folders_and_are_checked(tmp_path, name):
    (tmp_path / f"{name}.yaml").write_text(GRID)
    with pytest.raises(ValueError, match="use letters, digits, dots"):
        grids.load_grids(tmp_path / f"{name}.yaml")
    (tmp_path / f"{name}.yaml").write_text("synthetic: {jobs: {a: }}")
    with pytest.raises(ValueError, match="use letters, digits, dots"):
        grids.load_plans(tmp_path / f"{name}.yaml")
    (tmp_path / "many.yaml").write_text(
        "studies:\n  {}:{}".format(json.dumps(name), GRID.replace("\n", "\n    "))
    )
    with pytest.raises(ValueError, match="use letters, digits, dots"):
        grids.load_grids(tmp_path / "many.yaml" / name)


@pytest.mark.parametrize("name", ["`touch canary`", "it's; touch canary"])
def test_make_hands_names_on_as_one_word(tmp_path, name):
    """``PY`` is an echo, in a folder with a space: what make would call is printed."""
    project = tmp_path / "project"
    project.mkdir()
    echo = tmp_path / "new comer's" / "echo"
    echo.parent.mkdir()
    echo.symlink_to(shutil.which("echo"))
    shutil.copy(paths.ROOT / "Makefile", project)
    shutil.copytree(paths.ROOT / "profiles", project / "profiles")
    done = subprocess.run(
        ["make", "-s", "run", f"PY={echo}", f"CONFIG={name}"],
        cwd=project, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"={name}\n" in done.stdout.replace(" \n", "\n")
    assert {path.name for path in project.iterdir()} == {"Makefile", "profiles"}


# --- runs made elsewhere ------------------------------------------------------------------------


def poison(folder, canary):
    """Files that some tool would execute: none of them is a run."""
    write = f"import pathlib; pathlib.Path({str(canary)!r}).touch()"
    for name in ("conftest.py", "sitecustomize.py", "usercustomize.py", "setup.py", "numpy.py"):
        (folder / name).write_text(write)
    (folder / "__init__.py").write_text(write)
    (folder / "evil.pth").write_text(write)
    for name in ("runs.pkl", "model.pt", "pytorch_model.bin", "runs.joblib"):
        (folder / name).write_bytes(pickle.dumps(Trap(canary)))
    cell = nbformat.v4.new_code_cell(write)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / "story.ipynb")
    (folder / "Makefile").write_text(f"all:\n\ttouch {canary}\n")
    (folder / "Snakefile").write_text(write)


def run_folders(folder, names):
    gold = np.arange(40) % 2
    for i, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        said = np.where(np.random.default_rng(i).random(40) < 0.8, gold, 1 - gold)
        np.savez(folder / name / "predictions.npz", predictions=np.eye(2)[said], label_ids=gold)
    return folder


def test_a_report_executes_nothing_of_the_folder_it_reads(tmp_path, canary):
    folder = run_folders(tmp_path / "theirs", ["seed0", "seed1", "seed2"])
    for place in (folder, *(path for path in folder.iterdir() if path.is_dir())):
        poison(place, canary)
    done = run_python("-m", "lib.report", str(folder), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/report.html").exists() and not canary.exists()


@pytest.mark.parametrize("array", ["predictions", "hidden_states"])
def test_a_pickled_array_of_a_run_folder_is_refused(tmp_path, canary, array):
    folder = run_folders(tmp_path / "theirs", ["seed0", "seed1"])
    stored = dict(np.load(folder / "seed1/predictions.npz"))
    stored[array] = np.array([Trap(canary)] * 40, object)
    np.savez(folder / "seed1/predictions.npz", **stored)
    with pytest.raises(ValueError, match="would have to be unpickled, which can run any code"):
        reading.read(folder)
    assert not canary.exists()


def test_names_in_a_page_are_text(tmp_path):
    """Names of folders, runs, classes and examples, as HTML, as templates and as formulas."""
    hostile = [
        "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "{{ 7 * 7 }}",
        r"$\frac$", "</title><b>", "$a$",
    ]  # fmt: skip
    rng = np.random.default_rng(0)
    gold = rng.choice(hostile[:2], 30)
    table = pd.DataFrame({name: rng.choice(hostile[:2], 30) for name in hostile})
    table["example"] = [f"<i>{i}</i>" for i in range(30)]
    folder = tmp_path / "<u>theirs<"
    folder.mkdir()
    table.assign(label=gold).to_csv(folder / "t.csv", index=False)
    made = measure_runs(reading.read(folder / "t.csv"))
    page = report.write(made, tmp_path / "out").read_text()
    for tag in ("<script", "<img", "onerror=alert(1)>", "</title><b>", "<i>", "<u>"):
        assert tag not in page, tag
    assert "{{ 7 * 7 }}" in page and "49" not in re.findall(r"<td>([^<]*)</td>", page)
    assert page.count("</title>") == 1 and r"$\frac$" in page
