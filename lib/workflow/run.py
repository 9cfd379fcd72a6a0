"""``make run`` for a person: the engine works quietly, one line says how far it is, a table what
came out.

The engine's own words go to a file; how far it is shows in the run store and in the tables.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from lib import paths
from lib.config import Setting
from lib.config.grids import Grid, load_plans
from lib.config.job_kinds import JobList
from lib.config.seeds import Seeds
from lib.errors import argument
from lib.results import runs, tables
from lib.workflow import jobs, status

#: Seconds between two looks, and between two lines where no terminal can rewrite one.
LOOK, LINE = 1.0, 60.0
NEXT = "notebooks/20_measure_scores_and_predictions.ipynb"
DONE = "all runs, tables and figures are there"


class Progress:
    """How far a configuration is: its runs, the tables of its groups and jobs, its figures."""

    def __init__(self, plans: list[Grid | JobList], *, campaign: bool) -> None:
        self.began = time.monotonic()
        grids = [plan for plan in plans if isinstance(plan, Grid)]
        held = {plan.name: status.referenced(plan) if campaign else {} for plan in plans}
        self.waiting = dict(self._missing(grids, held))
        self.at_first = len(self.waiting)
        self.n_runs = sum(len(grid.settings) * len(grid.seeds) for grid in grids)
        self.results = [
            paths.results(plan.name) / group / tables.MADE
            for plan in plans
            for group in plan.groups
            if group not in held[plan.name]
        ]
        self.figures = [
            paths.figures(grid.name) / f"{figure}.svg"
            for grid in grids
            for figure in ([] if campaign else jobs.analyses_of(grid))
        ]
        self.last = ""

    @staticmethod
    def _missing(
        grids: list[Grid], held: dict[str, dict[str, pd.DataFrame]]
    ) -> Iterator[tuple[Path, tuple[Setting, Seeds, list[Seeds]]]]:
        for grid in grids:
            labels = [seeds.label for seeds in grid.seeds]
            for setting in grid.settings:
                if setting.id in held[grid.name]:
                    continue
                done = status.stored(setting, labels)
                for label, (seeds, batch) in status.batches(setting, labels).items():
                    if label not in done:
                        yield runs.folder(setting.id, label), (setting, seeds, batch)

    def line(self) -> str:
        """In a line: runs done, the last score, the time left; then tables, then figures."""
        for folder, (setting, seeds, batch) in list(self.waiting.items()):
            record = runs.record_of(folder)
            if record and status.is_current(record, setting, seeds, batch):
                del self.waiting[folder]
                score = record["status"] if record["score"] is None else f"{record['score']:.3f}"
                words = setting.id.rpartition("_")[0].replace("_", " ")
                self.last = f"; last: {words} {seeds.label}, {record['metric']} {score}"
        if self.waiting:
            done = self.at_first - len(self.waiting)
            elapsed = time.monotonic() - self.began
            left = status.duration(elapsed / done * len(self.waiting)) if done else "not known yet"
            n_done = self.n_runs - len(self.waiting)
            return f"training: {n_done} of {self.n_runs} runs{self.last}; time left: {left}"
        for doing, files in (("measuring", self.results), ("drawing", self.figures)):
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
    measures = tables.read(name, "measures").query("subset == 'all'")
    labels, rows = tables.group_labels(name), []
    for group, part in tables.read(name, "runs").groupby("group", sort=False):
        of_group = measures[measures["group"] == group].set_index("measure")
        value = of_group["value"]
        row = {
            "setting": labels[group],
            "runs": len(part),
            "failed": int((part["status"] != "ok").sum()),
            "score": f"{value.get('mean', float('nan')):.3f} ± {value.get('sd', float('nan')):.3f}",
        }
        if "disagreement" in value:
            apart = of_group.loc["disagreement"]
            row["disagreement"] = f"{apart['value']:.3f} [{apart['low']:.3f}, {apart['high']:.3f}]"
        rows.append(row)
    return pd.DataFrame(rows).fillna("–")


def _shown(path: Path) -> str:
    """A path as one would type it."""
    return os.path.relpath(path)


def main(arguments: list[str] | None = None) -> None:
    """``python -m lib.workflow.run CONFIG -- ENGINE OPTIONS``, which is what `make run` calls."""
    parser = argparse.ArgumentParser(prog="python -m lib.workflow.run", description=__doc__)
    parser.add_argument("config", type=argument(load_plans), help="name in config/, or path")
    parser.add_argument("--campaign", action="store_true", help="only what the reference lacks")
    parser.add_argument("engine", nargs="*", help="options of the engine, behind --")
    options = parser.parse_args(arguments)
    plans = load_plans(options.config)
    log = paths.OUTPUT / "build/engine.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "snakemake", *options.engine]
    progress = Progress(plans, campaign=options.campaign)
    print(progress.line(), flush=True)
    with open(log, "w") as stream:
        engine = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
        try:
            failed = follow(engine, progress)
        except KeyboardInterrupt:
            engine.wait()
            sys.exit("\nstopped; the same command goes on where it was")
    if failed:
        words = log.read_text(errors="replace").splitlines()
        print(*words[-40:], sep="\n", file=sys.stderr)
        sys.exit(f"something failed; above is the end of {_shown(log)}. Finished runs stay: once "
                 "the cause is gone, the same command makes the rest")  # fmt: skip
    if options.campaign:
        return
    for plan in plans:
        if isinstance(plan, Grid) and any(file.exists() for file in progress.results):
            print(outcome(plan.name).to_string(index=False))
            print(f"figures: {_shown(paths.figures(plan.name))}; what they show: {NEXT}")
        print(f"tables: {_shown(paths.results(plan.name))}")


if __name__ == "__main__":
    main()
