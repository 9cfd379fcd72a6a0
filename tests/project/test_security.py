"""What comes from outside is data: no file, name or parameter of others is ever executed.

Each hostile input would leave a canary, a file that is not there before. Code that would execute
what others wrote is found by ruff (its rules S); the engine's tests run under hostile names.
"""

import ast
import glob
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
from support import notebooks
from support.project import HOSTILE, project_files, run_python

from lib import paths, report
from lib.config import Setting, grids
from lib.report import reading
from lib.report.columns import Options
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


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_only_configuration_tokeniser_and_safetensors_of_a_model_are_read(
    tiny_hub, tmp_path, canary
):
    """Code beside a known architecture is passed over, another architecture is refused and nobody
    asked; pickled weights are never opened, whatever they are called.
    """
    poison, model = pickle.dumps(Trap(canary)), tiny_hub / "bert"
    code, other, pickled, saved, beside, adapter, called_so = folders = [
        shutil.copytree(model, tmp_path / str(i)) for i in range(7)
    ]
    for folder in (code, other):
        (folder / "remote.py").write_text(REMOTE.format(canary=str(canary)))
        change(folder / "config.json", auto_map=NAMED)
        change(folder / "tokenizer_config.json", auto_map=NAMED, tokenizer_class="Tokenizer")
    change(other / "config.json", model_type="mine")
    for folder in (pickled, saved):
        (folder / "model.safetensors").unlink()
    (pickled / "pytorch_model.bin").write_bytes(poison)
    torch.save({"classifier.weight": Trap(canary)}, saved / "pytorch_model.bin")
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "adapter_model.bin"):
        (beside / name).write_bytes(poison)
    settings = {"peft_type": "LORA", "base_model_name_or_path": str(model), "r": 2}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    (adapter / "adapter_model.bin").write_bytes(poison)
    (called_so / "model.safetensors").write_bytes(poison)
    # In a process of its own, where every question gets a yes.
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *map(str, folders)],
        input="y\n" * 20, capture_output=True, text=True, cwd=paths.ROOT, check=True,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith(("loaded", "refused"))]
    no_weights = r"refused: .*holds no \.safetensors file; other formats are not read"
    expected = ["loaded", "refused: .*architecture 'mine'; supported: bert.*", no_weights]
    expected += [no_weights, "loaded", "refused: .*", "refused: .*"]
    assert len(lines) == 7 and all(map(re.fullmatch, expected, lines))
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


# --- the code -----------------------------------------------------------------------------------


def test_no_code_unpickles_arrays_or_trusts_the_code_of_a_model():
    """Neither by what is given nor by what is left out; ruff finds the other ways."""
    code = [path.read_text() for path in project_files("lib/*.py", "benchmarks/*.py")]
    for path in project_files("notebooks/*.ipynb"):
        code.append("\n".join(cell.source for cell in notebooks.code_cells(notebooks.read(path))))
    calls = [node for c in code for node in ast.walk(ast.parse(c)) if isinstance(node, ast.Call)]
    loads = trusted = 0
    for call in calls:
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        if ast.unparse(call.func) in ("np.load", "numpy.load"):
            loads += 1
            assert given.get("allow_pickle") == "False", ast.unparse(call)
        if "trust_remote_code" in given:
            trusted += 1
            assert given["trust_remote_code"] == "False", ast.unparse(call)
    assert loads and trusted


# --- the engine ---------------------------------------------------------------------------------

#: Words that the shell gets unquoted, and why they hold nothing of a user's.
SAFE_WORDS = {
    "params.notebook": "base64",  # of parameters(), in the Snakefile
    "params.source": "a name in jobs.ANALYSES or job_kinds.KINDS",
    "params.commit": "--commit or nothing",
}


def test_every_word_for_the_shell_is_quoted_encoded_or_known_to_be_harmless():
    text = (paths.ROOT / "Snakefile").read_text()
    lines = text.splitlines()
    shell = [lines[i + 1] for i, line in enumerate(lines) if line.strip() == "shell:"]
    shell += [line for line in lines if re.match(r"(PAPERMILL|QUIETLY) =", line)]
    words = [word for line in shell for word in re.findall(r"\{([^{}]+)\}", line)]
    assert words and all(word.endswith(":q") or word in SAFE_WORDS for word in words)
    given = re.findall(r"^\s+notebook=(.*)", text, re.M)
    assert given and all("parameters(" in encoded for encoded in given)


GRID = """
seeds: [0]
defaults: {task: nyt, epochs: 1}
grid:
  - {learning_rate: [1.0e-3, 2.0e-3]}
"""
#: Valid names of two settings of that grid.
IDS = [Setting(task="nyt", epochs=1, learning_rate=rate).id for rate in (1e-3, 2e-3)]


def with_union(name, members):
    return GRID + yaml.safe_dump({"unions": {name: members}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (with_union("a; touch canary", IDS), "union 'a; touch canary': use letters, digits"),
        (with_union("../../up", IDS), "use letters, digits"),
        (with_union("logs", IDS), "'logs': the engine keeps a folder of that name for itself"),
        (with_union(IDS[1], IDS), "a setting is called that"),
        (with_union("both", []), "union both: name some settings"),
        (with_union("both", [IDS[0], IDS[0]]), "each once"),
        (GRID.replace("[0]", "['seed0; touch canary']"), "'seed0; touch canary' is not a seed"),
        (
            GRID.replace("[0]", "!!python/object/apply:os.system ['touch canary']"),
            "line 2: this is no YAML",
        ),
        (GRID.replace("grid:", "grid:\n\t- {}"), "line 5: this is no YAML"),
    ],
)
def test_a_hostile_grid_is_refused_in_one_line(tmp_path, monkeypatch, canary, text, message):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text(with_union("a.b-c_d", IDS))
    assert len(grids.load_grids(path)[0].groups) == 3
    path.write_text(text)
    with pytest.raises(ValueError, match=f"^mine.yaml.*{re.escape(message)}") as refused:
        grids.load_grids(path)
    assert "\n" not in str(refused.value) and not canary.exists()


@pytest.mark.parametrize("name", [HOSTILE.replace("/", ""), "-x"])
def test_names_of_files_become_names_of_folders_and_are_checked(tmp_path, name):
    own, many = tmp_path / f"{name}.yaml", tmp_path / "many.yaml"
    study = GRID.replace("\n", "\n    ")
    many.write_text(f"studies:\n  {json.dumps(name)}:{study}")
    for path, text in ((own, GRID), (own, "synthetic: {jobs: {a: }}"), (many / name, "")):
        if text:
            path.write_text(text)
        with pytest.raises(ValueError, match="use letters, digits, dots"):
            grids.load_plans(path)


@pytest.mark.parametrize("name", ["`touch canary`", "it's; touch canary"])
def test_make_hands_names_on_as_one_word(tmp_path, name):
    """``PY`` is an echo, in a folder with a space: what make would call is printed. Jobs of Slurm
    are refused there, since Snakemake's plugin starts Python unquoted on the node.
    """
    project = tmp_path / "new comer's"
    shutil.copytree(paths.ROOT / "profiles", project / "profiles")
    shutil.copy(paths.ROOT / "Makefile", project)
    (project / "echo").symlink_to(shutil.which("echo"))

    def make(*words):
        command = ["make", "-s", "run", f"PY={project / 'echo'}", *words]
        return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)

    assert f"={name}\n" in make(f"CONFIG={name}").stdout.replace(" \n", "\n")
    refused = make("PROFILE=slurm")
    assert refused.returncode == 2 and "a folder with a space in its name" in refused.stderr
    assert {path.name for path in project.iterdir()} == {"Makefile", "profiles", "echo"}


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
    options = Options(runs=",".join(glob.escape(name) for name in hostile))
    made = measure_runs(reading.read(folder / "t.csv", options=options).group)
    page = report.write(made, tmp_path / "out").read_text()
    for tag in ("<script", "<img", "onerror=alert(1)>", "</title><b>", "<i>", "<u>"):
        assert tag not in page, tag
    assert "{{ 7 * 7 }}" in page and "49" not in re.findall(r"<td>([^<]*)</td>", page)
    assert page.count("</title>") == 1 and r"$\frac$" in page
