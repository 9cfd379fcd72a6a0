"""Copies of the project in which the engine's tests run batches, and how to look at them."""

import contextlib
import json
import os
import re
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
#: Two settings of three short runs.
SMALLEST = """
seeds: [0, 1, 2]
seeds_per_job: 2
keep_vectors: true
defaults: {task: days.csv, text_columns: [text], epochs: 1, max_length: 32, train_rows: 48,
           weight_decay: 2.0e-5}
grid:
  - learning_rate: [1.0e-3, 2.0e-3]
unions: {}
"""
#: What may differ between two trainings of the same run: when, where and from which checkout.
CIRCUMSTANCES = ("wall_s", "commit", "dirty", "lib", "processor", "system")

Found = TypeVar("Found")


def wait_for(
    condition: Callable[[], Found], what: str, *, pause: float = 0.1, call: "Call | None" = None
) -> Found:
    """Wait until something is true, and return what it was; a call has to go on meanwhile."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert call is None or call.process.poll() is None, f"ended too early:\n{call.said[-3000:]}"
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(pause)
    return found


class Call:
    """One command, in a process group of its own, as a terminal would start it."""

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

    def _ended(self) -> int:
        """The exit status; a command that hangs is killed and fails the test."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise

    def succeed(self) -> "Call":
        """Wait for the end, which has to be a good one."""
        assert self._ended() == 0, self.said[-5000:]
        return self

    def fail(self) -> str:
        """Wait for the end, which has to be a bad one; what the command has said."""
        assert self._ended() != 0, self.said[-5000:]
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
        return wait_for(condition, "what a fault waits for", pause=pause, call=self)


class Checkout:
    """A copy of the project with files of its own, and commands in it."""

    def __init__(self, project: Path, files: dict[str, str], *, output: Path | None = None) -> None:
        """``files``: what else lies in the project, by name; ``output`` is the project itself if
        it is not given.
        """
        self.project, self.output, self.calls = copy_project(project), output or project, 0
        self.environment = {
            **environment_of(project), "COMPENDIUM_OUTPUT": str(self.output),
        }  # fmt: skip
        for name, text in files.items():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_text(text)

    def start(self, *command: str, **changed: str) -> Call:
        """Start a command in the project; ``changed`` are variables of its environment."""
        self.calls += 1
        log = self.project.with_name(f"{self.project.name}-call{self.calls}.txt")
        return Call(list(command), self.project, self.environment | changed, log)

    def start_python(self, *words: str, **changed: str) -> Call:
        """Start a module of Python."""
        return self.start(sys.executable, "-m", *words, **changed)

    def python(self, *words: str, **changed: str) -> str:
        """What a module of Python says, which has to succeed."""
        return self.start_python(*words, **changed).succeed().said

    def engine(self, grid: str, *options: str, profile: str = "local", **changed: str) -> Call:
        """Start the engine without `make`, so that the process is the controller itself.

        ``grid`` is the first value of its configuration; more may come first among the options.
        """
        command = ["snakemake", "--profile", f"profiles/{profile}", "--config", f"grid={grid}"]
        return self.start_python(*command, *options, **changed)

    def make(self, target: str, arguments: str = "", **changed: str) -> Call:
        """Start `make`; ``changed`` are variables for it and for what it starts."""
        given = f"PY={sys.executable}", f"ARGS={arguments}"
        return self.start("make", target, *given, **changed)

    def planned(self, grid: str, *options: str) -> dict[str, int]:
        """Jobs by rule that the engine would run now."""
        dry = ("--dry-run", "--quiet", "host", "reason")
        return self.engine(grid, *options, *dry).succeed().planned

    @property
    def finished(self) -> dict[str, int]:
        """When each whole run was written (ns), by ``<setting>/<seed>``."""
        found = self.output.glob("data/runs/*/seed*/run.json")
        return {
            str(path.parent.relative_to(self.output / "data/runs")): path.stat().st_mtime_ns
            for path in found
        }


class Batch(Checkout):
    """A grid of the fault tests, its commands and processes.

    It has an output folder of its own, which also tells its processes from all others.
    """

    def __init__(
        self,
        folder: Path,
        own_file: Path,
        grid: str = GRID,
        files: dict[str, str] | None = None,
        *,
        output: Path | None = None,
    ) -> None:
        given = {"config/faulty.yaml": grid, "days.csv": own_file.read_text(), **(files or {})}
        super().__init__(folder / "project", given, output=output or folder / "output")

    def run(self, *options: str, figures: bool = False, **changed: str) -> Call:
        """Start the engine, up to the tables or up to the figures."""
        until = () if figures else ("--until", "measure_group")
        return self.engine("faulty", *until, *options, **changed)

    def train(self) -> Call:
        """Start the training without the engine."""
        return self.start_python("lib.training", "faulty")

    def measure(self) -> None:
        """Measure all groups without the engine."""
        self.python("lib.workflow", "measure", "faulty")

    def processes(self, word: str = "") -> Iterator[psutil.Process]:
        """Everything alive that works for this batch, orphans too, with this in its command."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                ours = process.environ().get("COMPENDIUM_OUTPUT") == str(self.output)
                if ours and word in " ".join(process.cmdline()):
                    yield process

    def kernels(self) -> list[psutil.Process]:
        """The notebooks' kernels among them."""
        return list(self.processes("ipykernel"))

    def training_kernel(self, setting: str = "") -> psutil.Process | None:
        """The kernel of a job, of a setting whose name contains this, that has finished its first
        run and is at its second, if any is.
        """
        for kernel in self.kernels():
            name, _, shard = self.notebook_of(kernel).removesuffix(".log.ipynb").partition("/")
            first, _, last = shard.partition("_to_")
            done = self.finished
            if setting in name and f"{name}/{first}" in done and f"{name}/{last}" not in done:
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
        wait_for(lambda: not list(self.processes()), "all processes to end")

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

    def check(self, calm: Path, kept: dict[str, int]) -> None:
        """Nothing finished was made again, nothing is missing or different, nothing is left over.

        ``calm`` is the output of the same batch without a fault, ``kept`` the runs that were
        finished when the fault struck.
        """
        after = self.finished
        assert {name: after.get(name) for name in kept} == kept, "finished runs were made again"
        assert differences(self.output, calm) == []
        self.quiet()
        assert self.left_behind() == []


def undisturbed(*batch: Any, measured: bool = True, **options: Any) -> Path:
    """The output of a batch to which nothing happens, made without the engine."""
    calm = Batch(*batch, **options)
    calm.train().succeed()
    if measured:
        calm.measure()
    return calm.output


def differences(one: Path, other: Path, *patterns: str) -> list[str]:
    """What differs between two folders in files of these patterns, circumstances and logs aside.

    Arrays, training logs and tables are compared byte by byte; records and the table of runs, which
    hold circumstances, field by field.
    """
    trees = [
        {
            str(file.relative_to(root)): file
            for pattern in patterns or ("data/runs/*/seed*/*", "data/results/*/*/*")
            for file in root.glob(pattern)
            if file.parts[-2] != "logs"
        }
        for root in (one, other)
    ]
    assert all(trees), "there is nothing to compare"
    found = [f"only in one: {name}" for name in sorted(trees[0].keys() ^ trees[1].keys())]
    return found + [
        name
        for name in sorted(trees[0].keys() & trees[1].keys())
        if _content(trees[0][name]) != _content(trees[1][name])
    ]


def _content(file: Path) -> object:
    if file.suffix == ".json":
        record = json.loads(file.read_text())
        return {name: value for name, value in record.items() if name not in CIRCUMSTANCES}
    if file.name == "runs.parquet":
        table = pd.read_parquet(file)
        kept = table.drop(columns=[name for name in CIRCUMSTANCES if name in table])
        return kept.to_csv(float_format="%.17g")
    return file.read_bytes()
