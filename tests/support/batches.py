"""What the fault tests share: a small batch in a copy of the project, and how to look at it.

A batch has an output folder of its own, which also tells its processes from all others.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import psutil
from support.project import PATIENCE, copy_project, environment_of

#: Two settings of four seeds in jobs of two: four jobs, of which two run at a time.
GRID = """
seeds: [0, 1, 2, 3]
seeds_per_job: 2
keep_vectors: true
defaults: {task: days.csv, epochs: 20, max_length: 32}
grid:
  - learning_rate: [1.0e-3, 2.0e-3]
"""
#: What may differ between two trainings of the same run: when, where and from which checkout.
CIRCUMSTANCES = ("wall_s", "commit", "dirty", "lib", "processor", "system")

Found = TypeVar("Found")


class Call:
    """One command of a batch, in a process group of its own, as a terminal would start it."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str], log: Path):
        self.log = log
        with open(log, "w") as stream:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Who starts the tests in the background may have told them to ignore it.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def wait(self, timeout: float = PATIENCE) -> "Call":
        """Wait for the end of the command; one that hangs is killed and fails the test."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise
        return self

    def succeed(self) -> "Call":
        """Wait for the end, which has to be a good one."""
        assert self.wait().process.returncode == 0, self.said[-5000:]
        return self

    def fail(self) -> str:
        """Wait for the end, which has to be a bad one; what the command has said."""
        assert self.wait().process.returncode != 0, self.said[-5000:]
        return self.said

    @property
    def said(self) -> str:
        """What the command has printed so far, wrapped lines included."""
        return self.log.read_text(errors="replace")

    @property
    def planned(self) -> dict[str, int]:
        """How many jobs of each rule the engine said it would run."""
        table = re.search(r"^job +count\n-+ +-+\n(.*?)^total ", self.said, re.M | re.S)
        rows = (line.split() for line in table[1].splitlines()) if table else ()
        return {rule: int(count) for rule, count in rows if rule != "all"}

    def until(self, condition: Callable[[], Found], *, pause: float = 0.01) -> Found:
        """Wait for something to be true while the command runs; what it was."""
        limit = time.monotonic() + PATIENCE
        while not (found := condition()):
            assert self.process.poll() is None, f"the command ended too early:\n{self.said[-3000:]}"
            assert time.monotonic() < limit, f"waited in vain:\n{self.said[-3000:]}"
            time.sleep(pause)
        return found


class Batch:
    """A grid in a copy of the project, with its output folder and its commands."""

    def __init__(
        self,
        folder: Path,
        own_file: Path,
        grid: str = GRID,
        *,
        output: Path | None = None,
        files: dict[str, str] | None = None,
    ) -> None:
        """``files``: what else lies in the project, by name."""
        self.folder = folder
        self.project = copy_project(folder / "project")
        shutil.copy(own_file, self.project / "days.csv")
        for name, text in ({"config/faulty.yaml": grid} | (files or {})).items():
            (self.project / name).write_text(text)
        self.output = output or folder / "output"
        self.calls = 0

    def start(
        self,
        *arguments: str,
        target: str = "run",
        figures: bool = False,
        prefix: tuple[str, ...] = (),
        **changed: str,
    ) -> Call:
        """Start ``make run`` (or another target), up to the tables or up to the figures.

        ``prefix`` is a command that runs it; the others are variables of its environment.
        """
        command = [*prefix, "make", target, f"PY={sys.executable}", "CONFIG=faulty"]
        if target == "run" and not figures:
            arguments = ("--until measure_group", *arguments)
        return self._started([*command, f"ARGS={' '.join(arguments)}"], changed)

    def start_bare(self, module: str = "lib.training", **changed: str) -> Call:
        """Start the training, or another step, without the engine: ``python -m lib.training``."""
        return self._started([sys.executable, "-m", module, "faulty"], changed)

    def _started(self, command: list[str], changed: dict[str, str]) -> Call:
        self.calls += 1
        environment = {
            **environment_of(self.project),
            "COMPENDIUM_OUTPUT": str(self.output),
            **changed,
        }
        return Call(command, self.project, environment, self.folder / f"call{self.calls}.txt")

    def run(self, *arguments: str, **options: Any) -> Call:
        """``make run`` to its end, which has to be a good one."""
        return self.start(*arguments, **options).succeed()

    @property
    def finished(self) -> dict[str, int]:
        """When each whole run was written (ns), by ``<setting>/<seed>``."""
        found = self.output.glob("data/runs/*/seed*/run.json")
        return {
            str(path.parent.relative_to(self.output / "data/runs")): path.stat().st_mtime_ns
            for path in found
        }

    def processes(self) -> Iterator[psutil.Process]:
        """Everything alive that works for this batch, orphans included."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("COMPENDIUM_OUTPUT") == str(self.output):
                    yield process

    def kernels(self) -> list[psutil.Process]:
        """The notebooks' kernels among them."""
        return [one for one in self.processes() if _is_kernel(one)]

    def controller(self) -> psutil.Process | None:
        """The engine's process: the eldest Snakemake."""
        found = [one for one in self.processes() if "snakemake" in _words(one)]
        return min(found, key=lambda one: one.create_time(), default=None)

    def training_kernel(self) -> psutil.Process | None:
        """The kernel of a job that has finished its first run and is at its second, if any is."""
        for kernel in self.kernels():
            setting, _, shard = self.notebook_of(kernel).removesuffix(".log.ipynb").partition("/")
            first, _, last = shard.partition("_to_")
            done = self.finished
            if f"{setting}/{first}" in done and f"{setting}/{last}" not in done:
                return kernel
        return None

    @staticmethod
    def notebook_of(kernel: psutil.Process) -> str:
        """``<setting>/<shard>.log.ipynb`` of a kernel that trains; empty if it is gone."""
        with contextlib.suppress(psutil.Error):
            for word in kernel.parent().cmdline():
                if word.endswith(".log.ipynb"):
                    return "/".join(Path(word).parts[-2:])
        return ""

    def quiet(self) -> None:
        """Wait until nothing works for this batch any more."""
        limit = time.monotonic() + PATIENCE
        while left := list(self.processes()):
            assert time.monotonic() < limit, [_words(one) for one in left]
            time.sleep(0.1)

    def left_behind(self) -> list[str]:
        """Scratch files and folders, half-written ones, and locks of the engine."""
        scratch = [
            path.relative_to(self.output)
            for path in self.output.rglob("*")
            if (path.name.startswith(".") and path.name != ".locks") or ".tmp" in path.name
        ]
        kept = [self.project / ".snakemake" / name for name in ("locks", "incomplete")]
        locks = [p.relative_to(self.project) for f in kept for p in f.glob("**/*") if p.is_file()]
        return sorted(map(str, [*scratch, *locks]))

    def kill_all(self) -> None:
        """End what a failed test left running."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def check(self, calm: Path, kept: dict[str, int], *, only: str = "") -> None:
        """Nothing finished was made again, nothing is missing or different, nothing is left over.

        ``calm`` is the output of the same batch without a fault, ``kept`` the runs that were
        finished when the fault struck.
        """
        after = self.finished
        assert {name: after.get(name) for name in kept} == kept, "finished runs were made again"
        assert differences(self.output, calm, only=only) == []
        self.quiet()
        assert self.left_behind() == []


def undisturbed(
    folder: Path,
    own_file: Path,
    grid: str = GRID,
    files: dict[str, str] | None = None,
    *,
    measured: bool = True,
) -> Path:
    """The output of a grid to which nothing happens, made without the engine."""
    batch = Batch(folder, own_file, grid, files=files)
    batch.start_bare().succeed()
    if measured:
        batch.start_bare("lib.results.group_tables").succeed()
    return batch.output


def _words(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def _is_kernel(process: psutil.Process) -> bool:
    return any("ipykernel" in word for word in _words(process))


def differences(one: Path, other: Path, *, only: str = "") -> list[str]:
    """What differs between two output folders, circumstances and logs aside.

    Arrays, training logs and tables are compared byte by byte; records and the table of runs, which
    hold circumstances, field by field. ``only``: settings whose name contains this.
    """
    trees = [_results(root, only) for root in (one, other)]
    found = [f"only in one: {name}" for name in sorted(trees[0].keys() ^ trees[1].keys())]
    return found + [
        name
        for name in sorted(trees[0].keys() & trees[1].keys())
        if _content(trees[0][name]) != _content(trees[1][name])
    ]


def _results(root: Path, only: str) -> dict[str, Path]:
    files = [*root.glob("data/runs/*/seed*/*"), *root.glob("data/results/*/*/*")]
    return {
        str(file.relative_to(root)): file
        for file in files
        if only in file.parts[-3] + file.parts[-2] and file.parts[-2] != "logs"
    }


def _content(file: Path) -> object:
    if file.suffix == ".json":
        record = json.loads(file.read_text())
        return {name: value for name, value in record.items() if name not in CIRCUMSTANCES}
    if file.name == "runs.parquet":
        table = pd.read_parquet(file)
        return table.drop(columns=[n for n in CIRCUMSTANCES if n in table]).to_json()
    return file.read_bytes()
