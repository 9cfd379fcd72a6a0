"""``make run`` for a person: the engine works quietly, a bar says how far it is, a table what came
out.

The engine's own words go to a file; how far it is shows in the run store and in the tables.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from lib import paths
from lib.measures import Interval
from lib.results import tables
from lib.workflow import jobs

#: Seconds between two looks at how far it is, and between two bars where none can be rewritten.
LOOK, BARS = 1.0, 60.0
NEXT = "notebooks/11_measure_scores.ipynb"


def follow(engine: subprocess.Popen, plan: jobs.Plan, figures: list[Path]) -> int:
    """Show how many of the plan's runs are there, and the last one's score, then how many of its
    tables and of ``figures``, until the engine ends; its exit status.
    """
    often = {"mininterval": 0.1 if sys.stderr.isatty() else BARS, "miniters": 1}
    waiting, n_runs = [run for run in plan.runs if not run.stored()], len(plan.runs)
    count = {"total": n_runs, "initial": n_runs - len(waiting), "unit": "run"}
    with tqdm(desc="training", disable=not waiting, **count, **often) as bar:
        while waiting and engine.poll() is None:
            for run, record in [(run, run.stored()) for run in waiting]:
                if record:
                    waiting.remove(run)
                    score = record["status"] if record["score"] is None else record["score"]
                    words = run.setting.id.rpartition("_")[0].replace("_", " ")
                    last = f"{words} {run.seeds.label}, {record['metric']}"
                    bar.set_postfix({last: score}, refresh=False)
                    bar.update()
            time.sleep(LOOK)
    files, running = [*(made.outputs[-1] for made in plan.results.values()), *figures], True
    with tqdm(desc="tables and figures", total=len(files), unit="file", **often) as bar:
        while running:
            running = engine.poll() is None
            bar.update(sum(file.exists() for file in files) - bar.n)
            time.sleep(LOOK * running)
    return engine.returncode


def outcome(name: str) -> pd.DataFrame:
    """A row a group: runs, failed runs, mean score ± SD, disagreement with its interval."""
    chosen = "subset == 'all' and measure in ['mean', 'sd', 'disagreement']"
    measures = tables.read(name, "measures").query(chosen)
    labels, rows = tables.group_labels(name), []
    for group, part in tables.read(name, "runs").groupby("group", sort=False):
        of_group = measures[measures["group"] == group].set_index("measure")
        mean, sd = of_group["value"].reindex(["mean", "sd"])
        row = {"setting": labels[group], "runs": len(part)}
        row |= {"failed": (part["status"] != "ok").sum(), "score": f"{mean:.3f} ± {sd:.3f}"}
        if "disagreement" in of_group.index:
            apart = of_group.loc["disagreement"]
            row["disagreement"] = Interval(*apart[["value", "low", "high"]], len(part)).text()
        rows.append(row)
    return pd.DataFrame(rows).fillna("–")


def run(plan: jobs.Plan, engine: list[str], *, campaign: bool) -> None:
    """Execute a plan by Snakemake with these options, and show how far it is and what came out."""
    log = paths.OUTPUT / "build/engine.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w") as stream:
        command = [sys.executable, "-m", "snakemake", *engine]
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
        try:
            failed = follow(process, plan, [] if campaign else plan.figures)
        except KeyboardInterrupt:
            process.wait()
            sys.exit("\nstopped; the same command goes on where it was")
    if failed:
        words = log.read_text(errors="replace").splitlines()
        print(*words[-40:], sep="\n", file=sys.stderr)
        sys.exit(f"something failed; above is the end of {os.path.relpath(log)}. Finished runs "
                 "stay: once the cause is gone, the same command makes the rest")  # fmt: skip
    for name in [] if campaign else dict.fromkeys(name for name, _ in plan.results):
        drawn = paths.figures(name)
        made = any(file.exists() for file in plan.results_of(name))
        if made and any(figure.parent == drawn for figure in plan.figures):
            print(outcome(name).to_string(index=False))
            print(f"figures: {os.path.relpath(drawn)}; what they show: {NEXT}")
        print(f"tables: {os.path.relpath(paths.results(name))}")
