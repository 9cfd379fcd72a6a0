"""The profiles of the engine: they plan the same jobs, and start them in the same way.

Slurm's commands are replaced by scripts that write down what they are asked for, so that this runs
anywhere. A real Slurm is started by tests/workflow/test_slurm.py.
"""

import json
import os
import re
import sys

import pytest
from support.batches import Checkout

pytestmark = pytest.mark.slow

GRID = """
seeds: [0, 1]
seeds_per_job: 1
grid: [{backbone: bert-tiny, task: rotten-tomatoes}]
"""
#: What `sbatch` is given last is run at once, or refused; `srun` runs what follows its options.
SCRIPTS = {
    "sbatch": """
        printf '%s\\n' "$@" END >> "$NOTES/sbatch"
        for last; do :; done
        [ -n "$RUN" ] || exit 1
        sh -c "${last#--wrap=}" > "$NOTES/job.log" 2>&1
        echo 1""",
    "srun": """
        printf '%s\\n' "$@" END >> "$NOTES/srun"
        while [ "${1#-}" != "$1" ]; do shift; done
        exec "$@" """,
    "squeue": 'echo "1|FAILED"',
    "scontrol": 'echo "MinJobAge = 300 sec"',
    "sinfo": 'echo "main*"',
    "sacct": "echo mine",
    "sacctmgr": "echo mine",
}
#: Read by every Python as it starts. That of a job notes itself, its arguments and the threads that
#: it is given, and fails.
SITECUSTOMIZE = """
import json, os, sys
if sys.orig_argv[1:3] == ["-m", "papermill"]:
    threads = {name: value for name, value in os.environ.items() if name.endswith("_NUM_THREADS")}
    with open(os.path.join(os.environ["NOTES"], "job"), "a") as notes:
        notes.write(json.dumps([sys.executable, sys.orig_argv[1:], threads]) + "\\n")
    os._exit(1)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return Checkout(tmp_path_factory.mktemp("profiles") / "project", {"config/two.yaml": GRID})


def pretend(folder, scripts):
    """Commands of Slurm that do as the scripts say."""
    folder.mkdir()
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


def test_both_profiles_plan_the_same_jobs(checkout):
    plans = [checkout.engine("two", "--dry-run", profile=name) for name in ("local", "slurm")]
    local, slurm = (call.succeed().planned for call in plans)
    assert local == slurm and local["finetune"] == 2


def test_slurm_is_asked_for_nothing_unless_it_is_to_run_the_jobs(checkout, tmp_path, monkeypatch):
    """Where its controller does not answer, each question takes nine seconds."""
    monkeypatch.delitem(checkout.environment, "SLURM_CONF", raising=False)
    asked = tmp_path / "asked"
    note = f'echo "$SLURM_CONF" >> {asked}\nexit 1'
    pretended = pretend(tmp_path / "bin", {**SCRIPTS, "scontrol": note})
    path = f"{pretended}{os.pathsep}{os.environ['PATH']}"
    checkout.start("make", "-n", "run", f"PY={sys.executable}", CONFIG="two", PATH=path).succeed()
    assert set(asked.read_text().splitlines()) == {"/dev/null"}


@pytest.fixture
def submit(checkout, tmp_path):
    """Calls the engine on the pretended cluster; returns what sbatch, srun and the jobs noted."""
    pretended = pretend(tmp_path / "bin", SCRIPTS)
    (pretended / "sitecustomize.py").write_text(SITECUSTOMIZE)

    def call(*options, name="slurm", run="", seeds_per_job=1):
        notes = tmp_path / f"notes{len(list(tmp_path.iterdir()))}"
        notes.mkdir()
        given = [f"seeds_per_job={seeds_per_job}", "--until", "finetune", "--retries", "0"]
        given += SLURM if name == "slurm" else []
        checkout.engine(
            "two", *given, *options, profile=name,
            PATH=f"{pretended}{os.pathsep}{os.environ['PATH']}", NOTES=str(notes), RUN=run,
            PYTHONPATH=f"{pretended}{os.pathsep}{checkout.project}",
        ).fail()  # fmt: skip
        return {path.name: path.read_text() for path in notes.iterdir()}

    return call


SLURM = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"]


def submissions(notes, command="sbatch"):
    return [text.splitlines() for text in notes[command].split("\nEND\n") if text]


@pytest.mark.skipif(" " in sys.executable, reason="Slurm jobs cannot start there; make refuses")
def test_what_a_node_is_asked_to_run_is_what_runs_locally(submit):
    """The same notebook, parameters and threads; the GPU is asked for on the way."""
    there = submit(run="yes", seeds_per_job=2)
    here = submit(name="local", seeds_per_job=2)
    assert there["job"] == here["job"], there["job.log"][-3000:]
    python, arguments, threads = json.loads(here["job"])
    assert python == sys.executable and "notebooks/jobs/01_finetune.ipynb" in arguments
    assert set(threads.values()) == {"1"} and "OMP_NUM_THREADS" in threads
    [step] = submissions(there, "srun")
    assert "--gpus=1" in step and "--cpus-per-task=1" in step


def test_what_is_said_behind_the_command_is_asked_of_slurm(submit):
    """As the README says it; neither the Snakefile nor the profile is touched."""
    given = "--default-resources slurm_partition=cpu slurm_account=mine --set-resources"
    given = [*given.split(), "finetune:slurm_partition=gpu", "finetune:gpu_model=a100"]
    for job in submissions(submit(*given)):
        options = " ".join(job[:-1])
        assert "-p gpu " in options and "-A mine " in options and "--gpus=a100:1" in options
        assert "-t 240 " in options, "the rule's own resources stand"
    for job in submissions(submit("--set-resources", "finetune:gpu=0")):
        assert not any("gpu" in option for option in job[:-1])
    # Short runs share a job, of one GPU and the time of all.
    [job] = submissions(submit("--group-components", "short=2"))
    options = " ".join(job[:-1])
    assert "--gpus=1" in job and "--cpus-per-task=1" in job and "--requeue" in job
    assert "-t 480 " in options and "--mem 16000 " in options and "-p main " in options
    assert re.search(r"--job-name compendium_[0-9a-f-]{36} ", options)
