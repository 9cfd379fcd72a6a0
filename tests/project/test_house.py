"""The house: rooms import only from rooms above them, and analysis needs no training packages."""

import os
import re
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from support.project import run_python

from lib import paths

#: What analyses, reports and figures are made with; these may not need what trains.
DOORS = (
    "lib.measures", "lib.plots", "lib.plots.run_plots", "lib.plots.validity_plots",
    "lib.plots.bound_plots", "lib.results.tables", "lib.results.run_group", "lib.analysis",
    "lib.analysis.validity", "lib.analysis.consistency", "lib.analysis.variance_components",
    "lib.analysis.seed_transfer", "lib.analysis.ensembles", "lib.analysis.learning_rate_sweep",
    "lib.analysis.failed_runs", "lib.analysis.reliability", "lib.analysis.claims", "lib.report",
    "lib.theory.head", "lib.theory.margin", "lib.workflow.status",
)  # fmt: skip
TRAINING = ("torch", "transformers", "safetensors", "tokenizers", "snakemake", "papermill")


def lint(folder):
    code = "from importlinter.cli import lint_imports_command as main; main()"
    return run_python("-c", code, cwd=folder)


def test_a_room_imports_only_from_rooms_above_it_and_there_are_no_circles():
    done = lint(paths.ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({"data/__init__": "def f():\n    from lib import training"}, "lib.data -> lib.training"),
        ({"attic": ""}, "attic"),
        ({"data/a": "from lib.data import b", "data/b": "import lib.data.a"}, "1 broken"),
    ],
    ids=["an arrow upwards, inside a function", "a new room", "a circle"],
)
def test_what_stands_in_the_house_is_seen(files, word, tmp_path):
    text = (paths.ROOT / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(text)
    rooms = re.findall(r'^    "(\w+)",$', text.partition("layers = [")[2].partition("]")[0], re.M)
    house = dict.fromkeys(["__init__", *(f"{room}/__init__" for room in rooms)], "") | files
    for name, code in house.items():
        path = tmp_path / f"lib/{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    assert word in lint(tmp_path).stdout


def core_packages():
    """Names of the distributions that the package needs without its extras, in turn."""
    text = (paths.ROOT / "requirements.txt").read_text()
    lines = re.search(r"# \[core\].*\n((?:.+\n)+)", text)[1].splitlines()
    waiting = [Requirement(line.partition("#")[0].strip()) for line in lines]
    names: set[str] = set()
    while waiting:
        needed = waiting.pop()
        name = needed.name.lower().replace("_", "-")
        if name not in names and (needed.marker is None or needed.marker.evaluate({"extra": ""})):
            names.add(name)
            waiting += map(Requirement, metadata.requires(name) or ())
    return names


def environment_of(site, packages):
    """Variables of processes (``python -S``) that find these packages, in ``site``, alone."""
    for name in packages:
        distribution = metadata.distribution(name)
        tops = {file.parts[0] for file in distribution.files if file.parts[0] != ".."}
        for top in tops - {"__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(distribution.locate_file(top))
    return {"PYTHONPATH": f"{site}{os.pathsep}{paths.ROOT}", "PYTHONNOUSERSITE": "1"}


def test_measures_need_numpy_and_scipy_only(tmp_path):
    script = """
import numpy as np
from lib import measures
distances = measures.representation_distances(np.random.default_rng(0).normal(size=(3, 2, 9, 4)))
print(measures.instability(distances["cka"]).n_runs)
"""
    environment = environment_of(tmp_path, ["numpy", "scipy", "threadpoolctl"])
    done = run_python("-S", "-c", script, **environment)
    assert done.stdout.strip() == "3", done.stderr


def test_analyses_and_a_report_need_the_core_alone(tmp_path):
    core, out = environment_of(tmp_path, core_packages()), tmp_path / "out"
    script = f"""
import importlib, importlib.util
assert not [name for name in {TRAINING} if importlib.util.find_spec(name)]
for name in {DOORS}:
    importlib.import_module(name)
from lib import paths
with paths.lock(paths.Path({str(tmp_path / "ledger.json")!r})):  # as a gate with a ledger does
    pass
"""
    done = run_python("-S", "-c", script, **core)
    assert done.returncode == 0, done.stderr
    runs, features = "data/examples/predictions.csv", "data/examples/features.npz"
    for words in (
        ["-m", "lib.report", runs, "--out", str(out / "module")],
        ["-m", "lib.theory", features, "--out", str(out / "head")],
        ["-m", "lib", "report", runs, "--out", str(out)],
        ["-m", "lib", "certificate", features, "--out", str(out)],
        ["-m", "lib", "seeds-needed", runs, "--difference", "0.05"],
    ):
        done = run_python("-S", *words, **core)
        assert done.returncode == 0, done.stderr
    made = ["report.html", "module/report.html", "training_0.01.csv", "head/training_0.01.csv"]
    assert all((out / name).exists() for name in made)
