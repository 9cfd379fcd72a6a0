"""Notebooks: the rules they keep, read as data; and the training notebooks, run by papermill.

The committed analysis notebooks are also re-executed and compared cell by cell by nbval, see the
Makefile.
"""

import ast
import json
import re
import statistics
import subprocess
import sys

import nbformat
import pandas as pd
import papermill
import pytest
from support.notebooks import (
    JOBS,
    READING,
    code_cells,
    execute,
    parameters_cell,
    prose,
    read,
    unread_parameters,
)

from lib import paths

COMMON = ["Question", "Before this", "Paper section", "Reads / writes"]
TYPES = {"int", "float", "str", "bool", "list"}

every_notebook = pytest.mark.parametrize("path", READING + JOBS, ids=lambda path: path.stem)


@every_notebook
def test_is_valid_with_a_portable_kernel(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "papermill" not in notebook.metadata


@every_notebook
def test_header_and_order_of_cells(path):
    notebook = read(path)
    title = notebook.cells[0].source
    assert re.match(rf"# {path.name[:2]} · \w+", title)
    course = "**Study time**" in title
    fields = COMMON + (["You will be able to"] if course else ["You will learn", "Time"])
    assert [field for field in fields if f"**{field}**" not in title] == []
    first, second, third = code_cells(notebook)[:3]
    assert "from lib import" in first.source
    assert second == parameters_cell(notebook)
    assert re.match(r"(given = )?config\.check_parameters\(globals\(\)\)", third.source)
    assert "provenance.colophon(" in code_cells(notebook)[-1].source
    headings = re.findall(r"^## (Summary|Try it|Exercises|Next)$", prose(notebook), re.M)
    assert headings == ["Summary", "Try it", *(["Exercises"] if course else []), "Next"]


@every_notebook
def test_parameters_are_typed_literals_with_help_and_all_are_read(path):
    notebook = read(path)
    cell = parameters_cell(notebook)
    declared = set()
    for statement in ast.parse(cell.source).body:
        assert isinstance(statement, ast.AnnAssign), ast.unparse(statement)
        assert statement.annotation.id in TYPES
        ast.literal_eval(statement.value)
        line = cell.source.splitlines()[statement.lineno - 1]
        assert re.search(r"  # \S", line), f"no help: {line}"
        declared.add(statement.target.id)
    inspected = papermill.inspect_notebook(path)
    assert set(inspected) == declared, "papermill sees other parameters than the cell declares"
    assert all(entry["help"] for entry in inspected.values())
    assert unread_parameters(notebook) == set(), "declared but never read"


@every_notebook
def test_calls_in_prose_are_of_names_that_the_notebook_has(path):
    notebook = read(path)
    nodes = [node for cell in code_cells(notebook) for node in ast.walk(ast.parse(cell.source))]
    known = {node.id for node in nodes if isinstance(node, ast.Name)}
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    known |= {name.asname or name.name for node in imports for name in node.names}
    text = re.sub(r"^```.*?^```", "", prose(notebook), flags=re.M | re.S)
    called = re.findall(r"`(?:\w+ = )?(\w+)(?:\.\w+)+\(", text)
    assert [name for name in called if name not in known] == []


@every_notebook
def test_budgets(path):
    notebook = read(path)
    sizes = [len(re.findall(r"^ *[^# \n]", c.source, re.M)) for c in code_cells(notebook)]
    functions = sum(
        isinstance(node, ast.FunctionDef)
        for cell in code_cells(notebook)
        for node in ast.walk(ast.parse(cell.source))
    )
    assert 1 <= statistics.median(sizes) <= 6
    assert max(sizes) <= 25
    assert sum(sizes) <= 220
    assert len(re.findall(r"[\w'-]+", prose(notebook))) / sum(sizes) >= 5
    assert functions <= 3


@every_notebook
def test_no_machine_path_and_no_environment_branches(path):
    machine = r"(?<![\w/.])/(?:tmp|usr|opt|mnt|work|home|root|var|Users)/[^\s\"']+"
    assert not re.search(machine, path.read_text())
    source = "\n".join(cell.source for cell in code_cells(read(path)))
    assert "os.environ" not in source and "sys.path" not in source


@every_notebook
def test_notebooks_are_committed_executed_in_order_and_without_errors(path):
    """Jobs on the parameters that stand in them; what they print differs by machine, and nbval is
    not asked.
    """
    cells = code_cells(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs and not any(output.output_type == "error" for output in outputs)
    assert not any(output.get("name") == "stderr" for output in outputs)


#: Intervals of rank correlations that are the same in nearly every resample.
POINTS = {"61_concurrent_validity": "0.94 [0.94, 0.94]"}


@pytest.mark.parametrize("path", READING, ids=lambda path: path.stem)
def test_a_printed_interval_holds_its_value_and_does_not_look_like_a_point(path):
    number = r"(-?[\d.]+(?:e[+-]\d+)?)"
    for output in (output for cell in code_cells(read(path)) for output in cell.outputs):
        data = output.get("data", {})
        text = output.get("text") or data.get("text/html") or data.get("text/plain", "")
        for found in re.finditer(rf"{number} \[{number}, {number}\]", text):
            value, low, high = map(float, found.groups())
            held = low <= value <= high and low < high
            assert held or found[0] == POINTS.get(path.stem), found[0]


@pytest.mark.slow
def test_training_and_measuring_notebooks_run_with_small_parameters(tmp_path, own_file):
    environment = {"COMPENDIUM_OUTPUT": str(tmp_path)}
    small = {"task": str(own_file), "epochs": 1, "max_length": 32, "train_rows": 32}
    done = execute(
        "jobs/01_finetune.ipynb", tmp_path / "10.ipynb", environment=environment, **small
    )
    assert done.returncode == 0, done.stderr[-2000:]
    marker = next(tmp_path.glob("data/runs/*/seed0_to_seed2.json"))
    assert list(json.loads(marker.read_text())) == ["seed0", "seed1", "seed2"]
    done = execute("jobs/02_measure_group.ipynb", tmp_path / "02.ipynb", environment=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    table = pd.read_parquet(tmp_path / "data/results/by-hand/example/runs.parquet")
    assert len(table) == 3


@pytest.mark.slow
def test_a_wrong_parameter_stops_the_notebook_before_training(tmp_path):
    environment = {"COMPENDIUM_OUTPUT": str(tmp_path)}
    done = execute("jobs/01_finetune.ipynb", tmp_path / "o.ipynb", environment=environment, sead=3)
    assert done.returncode != 0
    assert "unknown parameter sead: did you mean seeds" in done.stderr
    assert not (tmp_path / "data").exists()


def test_notebooks_run_from_any_directory(tmp_path):
    """The kernel starts in the caller's folder under papermill, in the notebook's under Jupyter."""
    command = [sys.executable, "-m", "papermill", "-k", "python3", "--no-progress-bar"]
    command += [str(paths.ROOT / "notebooks/00_index.ipynb"), str(tmp_path / "out.ipynb")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
