"""``python execute_notebooks.py PARAMETERS NOTEBOOK …``: analyses with other parameters, given as
JSON, in one process.

papermill starts a kernel for each notebook, which takes longer than most analyses of small results.
"""

import json
import sys

import matplotlib
import matplotlib.pyplot as plt
import nbformat
from IPython.core.interactiveshell import InteractiveShell

#: Cells of exercises, which are about the reference; the engine leaves them out as well.
SOLVED = {"solution", "check"}


def execute(shell: InteractiveShell, path: str, parameters: dict) -> None:
    """Run the code cells in order, with these in place of the parameters of their names."""
    shell.reset(new_session=True)
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code" and not SOLVED & set(cell.metadata.get("tags", [])):
            shell.run_cell(cell.source, store_history=True).raise_error()
            if "parameters" in cell.metadata.get("tags", []):
                shell.user_ns.update(parameters)
    plt.close("all")


if __name__ == "__main__":
    matplotlib.use("Agg")
    for notebook in sys.argv[2:]:
        execute(InteractiveShell.instance(), notebook, json.loads(sys.argv[1]))
