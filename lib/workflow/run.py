"""``make run`` for a person: the engine works quietly, one line says how far it is, a table what
came out.

The engine's own words go to a file; how far it is shows in the run store and in the tables.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from lib import paths
from lib.measures import Interval
from lib.results import tables
from lib.workflow import jobs, status

#: Seconds between two looks, and between two lines where no terminal can rewrite one.
LOOK, LINE = 1.0, 60.0
NEXT = "notebooks/20_measure_scores_and_predictions.ipynb"
DONE = "all runs, tables and figures are there"


class Progress:
    """How far a plan is: its runs, the tables of its groups and jobs, ``figures``."""

    def __init__(self, plan: jobs.Plan, figures: list[Path]) -> None:
        self.began = time.monotonic()
        self.waiting = [run for run in plan.runs if not run.stored()]
        self.n_runs, self.at_first = len(plan.runs), len(self.waiting)
        results = [made.outputs[-1] for made in plan.results.values()]
        self.files, self.last = {"measuring": results, "drawing": figures}, ""

    def line(self) -> str:
        """In a line: runs done, the last score, the time left; then tables, then figures."""
        for run in list(self.waiting):
            if record := run.stored():
                self.waiting.remove(run)
                score = record["status"] if record["score"] is None else f"{record['score']:.3f}"
                words = run.setting.id.rpartition("_")[0].replace("_", " ")
                self.last = f"; last: {words} {run.seeds.label}, {record['metric']} {score}"
        if self.waiting:
            done = self.at_first - len(self.waiting)
            elapsed = time.monotonic() - self.began
            left = status.duration(elapsed / done * len(self.waiting)) if done else "not known yet"
            n_done = self.n_runs - len(self.waiting)
            return f"training: {n_done} of {self.n_runs} runs{self.last}; time left: {left}"
        for doing, files in self.files.items():
            n_done = sum(file.exists() for file in files)
            if n_done < len(files):
                return f"{doing}: {n_done} of {len(files)} done"
        return DONE


def follow(engine: subprocess.Popen, progress: Progress) -> int:
    """Show one line until the engine ends; its exit status."""
    terminal, shown = sys.stdout.isatty(), time.monotonic()
    while engine.poll() is None:
        if terminal:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{progress.line()[:width]:{width}}", end="", flush=True)
        elif time.monotonic() - shown >= LINE:
            shown = time.monotonic()
            print(progress.line(), flush=True)
        time.sleep(LOOK)
    if terminal:
        print("\r\033[K", end="")
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
    progress = Progress(plan, [] if campaign else plan.figures)
    print(progress.line(), flush=True)
    with open(log, "w") as stream:
        command = [sys.executable, "-m", "snakemake", *engine]
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
        try:
            failed = follow(process, progress)
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
