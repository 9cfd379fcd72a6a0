"""The parameters that a notebook declares, read without running it.

papermill executes a notebook with parameters that it does not have, and leaves out what is
misspelt. So the values of a job are compared with the notebook before the job is planned.

The cell is read here and not by ``papermill.inspect_notebook``, which takes more than a second to
import, drops what it cannot parse, and is not there on a machine that only trains.
"""

import ast
import functools
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from lib import errors, paths

_TYPES = {"int": int, "float": float, "str": str, "bool": bool, "list": list}


class Declared(NamedTuple):
    """A parameter: its type, and the literal that it has unless it is given."""

    kind: type
    default: Any


@functools.cache
def declared(notebook: str) -> dict[str, Declared]:
    """What the tagged cell of ``notebooks/<notebook>.ipynb`` declares, by name."""
    cells = json.loads((paths.ROOT / "notebooks" / f"{notebook}.ipynb").read_text())["cells"]
    tagged = (cell for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    body = ast.parse("".join(next(tagged)["source"])).body
    return {
        statement.target.id: Declared(
            _TYPES[statement.annotation.id], ast.literal_eval(statement.value)
        )
        for statement in body
        if isinstance(statement, ast.AnnAssign)
    }


def check(notebook: str, values: Mapping[str, Any]) -> None:
    """``ValueError`` for a value whose name or type the notebook does not declare."""
    with errors.about(notebook):
        errors.check(declared(notebook), values)
