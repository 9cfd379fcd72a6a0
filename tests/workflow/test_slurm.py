"""The engine on a real Slurm of one node: what is submitted, what is made again, and that the bits
of every run and table are those of a local run. `make test-slurm` installs Slurm and runs this.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from support import slurm_cluster
from support.project import copy_project, environment_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.slurm,
    pytest.mark.skipif(bool(slurm_cluster.why_not()), reason=str(slurm_cluster.why_not())),
]

GRID = """
seeds: [0, 1, 2]
seeds_per_job: 2
keep_vectors: true
defaults: {task: days.csv, epochs: 1, max_length: 32, train_rows: 48}
grid:
  - learning_rate: [1.0e-3, 2.0e-3]
"""
#: Without accounting, and asked often: a job here takes seconds.
OPTIONS = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3"]
#: Seconds that a whole scenario may take.
PATIENCE = 1200


class Engine:
    """A copy of the project with the small grid, and the engine in it."""

    def __init__(self, project: Path, own_file: Path) -> None:
        self.project = copy_project(project)
        self.log = project / "engine.log"
        shutil.rmtree(project / "tests")
        shutil.copy(own_file, project / "days.csv")
        (project / "config/smallest.yaml").write_text(GRID)

    def start(self, *command: str) -> subprocess.Popen:
        """Start a command in the project; its output is appended to the log."""
        with open(self.log, "a") as log:
            return subprocess.Popen(
                command, cwd=self.project, env=environment_of(self.project), stdout=log, stderr=log
            )

    def snakemake(self, profile: str, *options: str) -> subprocess.Popen:
        """Start the engine without `make`, so that the process is the controller itself."""
        given = ["--profile", f"profiles/{profile}", "--config", "grid=smallest", *options]
        return self.start(sys.executable, "-m", "snakemake", *given)

    def make(self, target: str, options: str = "") -> subprocess.Popen:
        """Start `make TARGET PROFILE=slurm ARGS=…`."""
        given = ["PROFILE=slurm", "CONFIG=smallest", f"PY={sys.executable}", f"ARGS={options}"]
        return self.start("make", target, *given)

    def finish(self, process: subprocess.Popen) -> str:
        """Wait for a command, which has to succeed; the log up to now."""
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        said = self.log.read_text()
        assert code == 0, said[-6000:]
        return said

    def records(self) -> dict[Path, int]:
        """When each finished run's record was written, in nanoseconds."""
        return {
            path: path.stat().st_mtime_ns for path in self.project.glob("data/runs/*/*/run.json")
        }

    def outcome(self) -> dict[str, bytes]:
        """Everything that the runs and tables say, by file; only seconds are left out."""
        found = {}
        for folder in self.project.glob("data/runs/*/seed*/"):
            for path in folder.iterdir():
                content = path.read_bytes()
                if path.name == "run.json":
                    record = {k: v for k, v in json.loads(content).items() if k != "wall_s"}
                    content = json.dumps(record, sort_keys=True).encode()
                found[str(path.relative_to(self.project))] = content
        for path in self.project.glob("data/results/smallest/*/*.parquet"):
            content = path.read_bytes()
            if path.name == "runs.parquet":
                table = pd.read_parquet(path).drop(columns="wall_s")
                content = table.to_csv(float_format="%.17g").encode()
            found[str(path.relative_to(self.project))] = content
        return found


class Addresses:
    """Where Slurm listens, noted every second from ``watch`` to ``end``."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._over = threading.Event()

    def watch(self) -> None:
        while not self._over.wait(1):
            self.seen |= slurm_cluster.listening()

    def end(self) -> None:
        self._over.set()


def ids_in(log: str) -> list[str]:
    """The ids of the jobs that the engine submitted."""
    return re.findall(r"has been submitted with SLURM jobid (\d+)", log)


@pytest.fixture(scope="module")
def addresses():
    """A cluster for the tests of this file, and where it listened."""
    found = Addresses()
    slurm_cluster.start()
    watcher = threading.Thread(target=found.watch, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        found.end()
        watcher.join()
        slurm_cluster.stop()


@pytest.fixture(scope="module")
def new_engine(tmp_path_factory, own_file):
    """Makes a copy of the project of a name, in which nothing was run yet."""
    return lambda name: Engine(tmp_path_factory.mktemp("slurm") / name, own_file)


@pytest.fixture(scope="module")
def local(addresses, new_engine):
    """Runs and tables of a local run."""
    engine = new_engine("local")
    engine.finish(engine.snakemake("local"))
    return engine.outcome()


def assert_same(found, expected):
    assert set(found) == set(expected)
    assert [name for name in expected if found[name] != expected[name]] == []


def test_undisturbed_and_with_short_runs_grouped(addresses, new_engine, local):
    """By the commands of the README. Two shards of training are one job with one GPU."""
    engine = new_engine("undisturbed")
    log = engine.finish(engine.make("run", " ".join([*OPTIONS, "--group-components short=2"])))
    assert_same(engine.outcome(), local)
    assert (engine.project / "figures/smallest/50_agreement.svg").exists()
    assert len(ids_in(log)) == 2 + 2 + 4
    asked = Counter(slurm_cluster.field(job, "TresPerJob") for job in ids_in(log))
    assert asked == {"gres:gpu:1": 2, "": 6}
    assert {slurm_cluster.field(job, "NumCPUs") for job in ids_in(log)} == {"1"}
    limits = Counter(slurm_cluster.field(job, "TimeLimit") for job in ids_in(log))
    assert limits == {"08:00:00": 2, "01:00:00": 2, "00:30:00": 4}
    executed = list(engine.project.glob("data/**/*.ipynb"))
    assert len(executed) == 4 + 2 + 4
    assert all("BLAS threads: 1" in path.read_text() for path in executed)


def test_a_cancelled_job_is_submitted_again_and_a_requeued_one_runs_again(
    addresses, new_engine, local
):
    engine = new_engine("cancelled")
    controller = engine.snakemake("slurm", *OPTIONS, "--until", "measure_group")

    def working() -> list[str]:
        """Jobs whose notebook was started."""
        started = {path.name.split(".")[0] for path in engine.project.glob("data/runs/*/*.log.txt")}
        return list(slurm_cluster.jobs("running")) if len(started) >= 2 else []

    slurm_cluster.wait_for(lambda: len(working()) == 2, "two jobs to work")
    cancelled, requeued = working()
    slurm_cluster.said("scancel", cancelled)
    slurm_cluster.said("scontrol", "requeue", requeued)
    log = engine.finish(controller)
    assert slurm_cluster.jobs()[cancelled] == "CANCELLED"
    assert slurm_cluster.field(requeued, "Restarts") == "1"
    assert log.count("Trying to restart job") == 1 and len(ids_in(log)) == 4 + 2 + 1
    assert slurm_cluster.jobs()[requeued] == "COMPLETED"
    assert_same(engine.outcome(), local)


def test_a_killed_controller_loses_nothing_and_no_run_is_made_twice(addresses, new_engine, local):
    """Its jobs go on, waiting ones too, and the new controller's jobs find what they made."""
    engine, began = new_engine("killed"), time.monotonic()
    command = ["slurm", *OPTIONS, "--until", "measure_group"]
    controller = engine.snakemake(*command)
    slurm_cluster.wait_for(lambda: list(engine.project.glob("data/runs/*/*.json")), "a shard")
    controller.send_signal(signal.SIGKILL)
    controller.wait()
    left = slurm_cluster.jobs("running,pending")
    assert set(left.values()) == {"RUNNING", "PENDING"}, "some of both, for this to mean anything"
    refused = engine.snakemake(*command)
    assert refused.wait(PATIENCE) != 0
    assert "Directory cannot be locked" in engine.log.read_text()
    engine.finish(engine.make("unlock"))
    before, running = engine.records(), slurm_cluster.jobs("running,pending")
    assert before and running, "runs that are there, and jobs that the dead controller left"
    controller, written = engine.snakemake(*command), set(before.items())
    while controller.poll() is None and time.monotonic() < began + PATIENCE:
        written |= set(engine.records().items())
        time.sleep(0.5)
    engine.finish(controller)
    assert set(before.items()) <= set(engine.records().items()), "finished runs were kept"
    assert len(written) == len(engine.records()) == 6, "each run was written once"
    assert_same(engine.outcome(), local)


def test_nothing_of_the_cluster_listens_beyond_this_machine(addresses):
    assert addresses.seen == {"127.0.0.1"}
