"""The engine on a real Slurm of one node: what is submitted, what is made again, and that the bits
of every run and table are those of a local run. `make test-slurm` installs Slurm and runs this.
"""

import re
import signal
import threading
import time
from collections import Counter

import pytest
from support import slurm_cluster
from support.batches import SMALLEST, Checkout, differences

pytestmark = [
    pytest.mark.slow,
    pytest.mark.slurm,
    pytest.mark.skipif(bool(slurm_cluster.why_not()), reason=str(slurm_cluster.why_not())),
]

#: Without accounting, and asked often: a job here takes seconds.
OPTIONS = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3"]


def ids_in(log: str) -> list[str]:
    """The ids of the jobs that the engine submitted."""
    return re.findall(r"has been submitted with SLURM jobid (\d+)", log)


@pytest.fixture(scope="module")
def addresses():
    """A cluster for the tests of this file, and where it listens, noted every second."""
    seen, over = set(), threading.Event()

    def watch():
        while not over.wait(1):
            seen.update(slurm_cluster.listening())

    slurm_cluster.start()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()
        slurm_cluster.stop()


@pytest.fixture(scope="module")
def new_checkout(addresses, tmp_path_factory, own_file):
    """Makes a copy of the project in which nothing was run yet."""
    files = {"config/smallest.yaml": SMALLEST, "days.csv": own_file.read_text()}
    return lambda: Checkout(tmp_path_factory.mktemp("slurm") / "project", files)


@pytest.fixture(scope="module")
def local(new_checkout):
    """Runs and tables of a local run."""
    checkout = new_checkout()
    checkout.engine("smallest", "--until", "measure_group").succeed()
    return checkout.output


def test_undisturbed_and_with_short_runs_grouped(new_checkout, local):
    """By the commands of the README. Two shards of training are one job with one GPU."""
    checkout = new_checkout()
    given = {"PROFILE": "slurm", "CONFIG": "smallest"}
    checkout.make("run", " ".join([*OPTIONS, "--group-components short=2"]), **given).succeed()
    assert differences(checkout.output, local) == []
    assert (checkout.output / "figures/smallest/90_agreement.svg").exists()
    ids = ids_in((checkout.output / "build/engine.log").read_text())
    assert len(ids) == 2 + 2 + 4
    asked = Counter(slurm_cluster.field(job, "TresPerJob") for job in ids)
    assert asked == {"gres:gpu:1": 2, "": 6}
    assert {slurm_cluster.field(job, "NumCPUs") for job in ids} == {"1"}
    limits = Counter(slurm_cluster.field(job, "TimeLimit") for job in ids)
    assert limits == {"08:00:00": 2, "01:00:00": 2, "00:30:00": 4}
    executed = list(checkout.output.glob("data/**/*.ipynb"))
    assert len(executed) == 4 + 2 + 4
    assert all("BLAS threads: 1" in path.read_text() for path in executed)


def start(checkout):
    """The engine on the cluster, up to the tables."""
    return checkout.engine("smallest", *OPTIONS, "--until", "measure_group", profile="slurm")


def test_a_cancelled_job_is_submitted_again_and_a_requeued_one_runs_again(new_checkout, local):
    checkout = new_checkout()
    call = start(checkout)

    def working() -> list[str]:
        """Jobs whose notebook was started."""
        started = list(checkout.output.glob("data/runs/*/*.log.txt"))
        return list(slurm_cluster.jobs("running")) if len(started) >= 2 else []

    call.until(lambda: len(working()) == 2, pause=0.2)
    cancelled, requeued = working()
    slurm_cluster.said("scancel", cancelled)
    slurm_cluster.said("scontrol", "requeue", requeued)
    log = call.succeed().said
    assert slurm_cluster.jobs()[cancelled] == "CANCELLED"
    assert slurm_cluster.field(requeued, "Restarts") == "1"
    assert log.count("Trying to restart job") == 1 and len(ids_in(log)) == 4 + 2 + 1
    assert slurm_cluster.jobs()[requeued] == "COMPLETED"
    assert differences(checkout.output, local) == []


def test_a_killed_controller_loses_nothing_and_no_run_is_made_twice(new_checkout, local):
    """Its jobs go on, waiting ones too, and the new controller's jobs find what they made."""
    checkout = new_checkout()
    call = start(checkout)
    call.until(lambda: list(checkout.output.glob("data/runs/*/*.json")), pause=0.2)
    call.process.send_signal(signal.SIGKILL)
    call.fail()
    left = slurm_cluster.jobs("running,pending")
    assert set(left.values()) == {"RUNNING", "PENDING"}, "some of both, for this to mean anything"
    assert "Directory cannot be locked" in start(checkout).fail()
    checkout.make("unlock", PROFILE="slurm", CONFIG="smallest").succeed()
    before, running = checkout.finished, slurm_cluster.jobs("running,pending")
    assert before and running, "runs that are there, and jobs that the dead controller left"
    call, written = start(checkout), set(before.items())
    while call.process.poll() is None:
        written |= set(checkout.finished.items())
        time.sleep(0.5)
    call.succeed()
    assert set(before.items()) <= set(checkout.finished.items()), "finished runs were kept"
    assert len(written) == len(checkout.finished) == 6, "each run was written once"
    assert differences(checkout.output, local) == []


def test_nothing_of_the_cluster_listens_beyond_this_machine(addresses):
    assert addresses == {"127.0.0.1"}
