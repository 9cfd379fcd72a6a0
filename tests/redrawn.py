"""nbval executes the notebooks that draw: their figures must come out as committed, to the byte.

A plugin of the whole session, since the notebooks are tests of their own, spread over processes.
"""

from pathlib import Path
from typing import Any

import pytest


class Redrawn:
    """What becomes of the figures in a folder while notebooks are executed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in self._files()}
        self.executed: set[str] = set()

    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if path.is_file())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A cell ran: figures called as its notebook begins, ``31_``, are to be drawn again."""
        notebook = Path(report.nodeid.split("::")[0])
        if notebook.suffix == ".ipynb" and report.when == "call":
            self.executed.add(notebook.name[:3])

    def faults(self) -> list[str]:
        """Files that were not drawn again by their notebook, or not to the same bytes."""
        found = []
        for path in self._files():
            if path.name[:3] not in self.executed:
                continue
            drawn, content = self.before.get(path, (0, None))
            if content is None:
                found.append(f"{path.name}: drawn, but not committed")
            elif path.read_bytes() != content:
                found.append(f"{path.name}: drawn to other bytes (git diff shows them)")
            elif path.stat().st_mtime_ns == drawn:
                found.append(f"{path.name}: committed, but no cell draws it")
        gone = sorted(path.name for path in self.before if not path.exists())
        return found + [f"{name}: deleted" for name in gone]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.faults() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for fault in self.faults():
            terminalreporter.write_line(f"FAILED figures/{fault}", red=True)
