"""Notebooks as data, and run as the engine runs them."""

import ast
import base64
import re

import nbformat
import yaml
from support.project import run_python

from lib import paths

FOLDER = paths.ROOT / "notebooks"
#: The reading path, and what only papermill executes.
READING = sorted(FOLDER.glob("*.ipynb"))
JOBS = sorted(FOLDER.glob("jobs/*.ipynb"))


def read(path):
    return nbformat.read(path, as_version=4)


def prose(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def parameters_cell(notebook):
    tagged = [c for c in code_cells(notebook) if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1, "exactly one cell is tagged parameters"
    return tagged[0]


def unread_parameters(notebook):
    """Names of parameters that no cell between their own and the colophon reads."""
    cells = code_cells(notebook)
    cell = parameters_cell(notebook)
    declared = {statement.target.id for statement in ast.parse(cell.source).body}
    story = cells[cells.index(cell) + 1 : -1]
    read_names = {
        node.id
        for code in story
        for node in ast.walk(ast.parse(code.source))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    queried = set(re.findall(r"@(\w+)", " ".join(code.source for code in story)))
    return declared - read_names - queried


def execute(notebook, output, *, environment, **parameters):
    """Run a notebook as the engine does: papermill in a process of its own."""
    encoded = base64.b64encode(yaml.safe_dump(parameters).encode()).decode()
    return run_python(
        "-m", "papermill", "-k", "python3", "--no-progress-bar", "--parameters_base64", encoded,
        str(paths.ROOT / "notebooks" / notebook), str(output), **environment,
    )  # fmt: skip
