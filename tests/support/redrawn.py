"""nbval executes the notebooks that draw: their figures must show what the committed ones show.

A plugin of the whole session, since the notebooks are tests of their own, spread over processes.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lib import paths

#: How the names of the notebooks begin of which a cell was executed.
EXECUTED: set[str] = set()


def shown(svg: str) -> tuple[str, list[float]]:
    """An SVG with its ids numbered in order and without the numbers in its tags; those numbers."""
    ids: dict[str, str] = {}
    numbers: list[float] = []

    def number(match: re.Match) -> str:
        numbers.append(float(match[0]))
        return "~"

    def tag(match: re.Match) -> str:
        named = re.sub(
            r'(id="|href="#|url\(#)([^")]+)',
            lambda m: m[1] + ids.setdefault(m[2], f"id{len(ids)}"),
            match[0],
        )
        return re.sub(r"(?<![\w#.])-?\d+(\.\d+)?(e-?\d+)?", number, named)

    return re.sub(r"<[^>]+>", tag, svg), numbers


def compare(drawn: Path, committed: Path) -> None:
    """An AssertionError unless both show the same; a PDF shows what the SVG beside it shows."""
    if drawn.suffix == ".csv":
        # Of large numbers a millionth, where another processor rounds otherwise.
        tables = [pd.read_csv(path) for path in (drawn, committed)]
        pd.testing.assert_frame_equal(*tables, rtol=1e-6, atol=1e-6, check_dtype=False)
    elif drawn.suffix == ".svg":
        (text, numbers), (expected, expected_numbers) = (
            shown(path.read_text(encoding="utf-8")) for path in (drawn, committed)
        )
        assert text == expected, "other elements or texts"
        np.testing.assert_allclose(numbers, expected_numbers, rtol=0, atol=0.01)
    elif drawn.suffix == ".txt":
        assert drawn.read_text(encoding="utf-8") == committed.read_text(encoding="utf-8")


def faults(executed: set[str], drawn: Path, committed: Path) -> list[str]:
    """Figures of executed notebooks that were not drawn again, or show something else.

    Figures are called as their notebook begins; ``executed`` holds these beginnings, ``31_``.
    """
    both = [*drawn.glob("*.*"), *committed.glob("*.*")]
    found = []
    for name in sorted({path.name for path in both if path.name.startswith(tuple(executed))}):
        if not (committed / name).exists():
            found.append(f"{name}: drawn, but not committed")
        elif not (drawn / name).exists():
            found.append(f"{name}: committed, but no cell draws it")
        else:
            try:
                compare(drawn / name, committed / name)
            except AssertionError as error:
                found.append(f"{name}: not drawn as committed: {error}")
    return found


def faults_of(config: pytest.Config) -> list[str]:
    """Those of a session; one of pytest-xdist's processes has not seen all cells."""
    if hasattr(config, "workerinput"):
        return []
    return faults(EXECUTED, paths.figures("reference"), paths.ROOT / "figures")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A cell ran: the figures of its notebook are to be drawn again."""
    notebook = Path(report.nodeid.split("::")[0])
    if notebook.suffix == ".ipynb" and report.when == "call":
        EXECUTED.add(notebook.name[:3])


def pytest_sessionfinish(session: pytest.Session) -> None:
    if faults_of(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for fault in faults_of(config):
        terminalreporter.write_line(f"FAILED figures/{fault}", red=True)
