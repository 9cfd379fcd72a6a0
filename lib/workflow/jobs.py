"""What the Snakefile asks before it plans: which notebooks are to be executed, with what.

Kept apart from it so that the Snakefile holds rules and nothing else, and that this can be tested.
"""

import dataclasses
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lib import paths
from lib.config import Setting, parameters
from lib.config.grids import Grid, load_plans
from lib.config.job_kinds import Job
from lib.errors import nearest
from lib.results import runs, tables
from lib.workflow import status

#: Analysis notebooks: the figure that each draws last, and whether it has something to analyse in
#: a grid.
ANALYSES = {
    "11_measure_scores": ("11_scores", lambda grid: True),
    "40_separate_sources_of_randomness": ("40_components", lambda grid: len(grid.crossed) >= 2),
    "41_diagnose_failed_runs": ("41_ladder", lambda grid: grid.has_ladder),
    "20_measure_predictions": ("20_measures", lambda grid: grid.has_classes),
    "50_measure_representations": ("50_layers", lambda grid: True),
    "21_compare_macro_and_micro": ("21_macro_micro", lambda grid: grid.has_classes),
    "90_paper_figures": ("90_agreement", lambda grid: True),
}


def story(notebook: str) -> str:
    """The notebook as JSON, without the solutions of its exercises: they are about the reference,
    and need not work on other results.
    """
    document = json.loads((paths.ROOT / f"notebooks/{notebook}.ipynb").read_text())
    document["cells"] = [
        cell
        for cell in document["cells"]
        if not {"solution", "check"} & set(cell["metadata"].get("tags", ()))
    ]
    return json.dumps(document)


class Execution(NamedTuple):
    """A notebook with its parameters, the files that it waits for, and those that it makes.

    The last of those it makes says that all is done.
    """

    notebook: str
    parameters: dict[str, Any]
    inputs: list[Path]
    outputs: list[Path]


@dataclass
class Plan:
    """What is to be executed for a configuration.

    Parameters
    ----------
    settings : by id, in the order of the configuration, which is that of training
    shards : by marker, the file that says it is done, the training of a shard of a setting's seeds
    runs : of all shards
    results : by configuration and group or job, what makes its tables
    figures : the last of each analysis that suits a grid
    dropped : by the file that says that a setting's layer vectors were deleted, what it waits for
    """

    settings: dict[str, Setting] = field(default_factory=dict)
    shards: dict[Path, Execution] = field(default_factory=dict)
    runs: list[status.PlannedRun] = field(default_factory=list)
    results: dict[tuple[str, str], Execution] = field(default_factory=dict)
    figures: list[Path] = field(default_factory=list)
    dropped: dict[Path, list[Path]] = field(default_factory=dict)

    def results_of(self, name: str) -> list[Path]:
        """The files that say that the groups or jobs of a configuration are done."""
        return [made.outputs[-1] for key, made in self.results.items() if key[0] == name]

    def promotions(self) -> list[Path]:
        """The files that say that a group was promoted into the reference."""
        return [paths.results(name) / "promoted" / f"{group}.txt" for name, group in self.results]

    def check_notebooks(self) -> None:
        """``ValueError`` if a parameter is not declared by its notebook, with its type."""
        of_settings = {marker.parent: shard for marker, shard in self.shards.items()}
        for made in (*of_settings.values(), *self.results.values()):
            parameters.check(made.notebook, made.parameters)
        for notebook in ANALYSES:
            parameters.check(notebook, {"results": ""})
        parameters.check("jobs/01_finetune", {"device": ""})


def device_option(device: str | None) -> str:
    """What papermill is told about the device, as a part of a shell command; nothing for None."""
    if device is None:
        return ""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        valid = ("auto", "cpu", "cuda", "cuda:1")
        raise ValueError(f"device = {device!r} is unknown: {nearest(device, valid)}")
    return f" -p device {device}"


def load(
    configuration: str,
    *,
    campaign: bool = False,
    seeds_per_job: int | None = None,
    planning: bool = True,
) -> Plan:
    """What is to be executed for a configuration; for a ``campaign``, what the reference lacks.

    ``seeds_per_job`` takes the place of the configuration's own: how runs are split over jobs
    decides nothing about them. Unless a job reads the plan only to be run (``planning`` false), the
    files that the engine goes by are brought up to date: markers of shards, records of jobs that
    have lost a table, notes of promotions.
    """
    plan, kept = Plan(), set()
    for part in load_plans(configuration):
        held = status.referenced(part) if campaign and planning else {}
        groups = {name: group for name, group in part.groups.items() if name not in held}
        if isinstance(part, Grid):
            if seeds_per_job is not None:
                part = dataclasses.replace(part, seeds_per_job=seeds_per_job)
            _add_grid(plan, part, groups, planning)
            kept |= {setting.id for setting in part.settings if part.keep_vectors}
        else:
            _add_jobs(plan, part.name, groups, planning)
    # Vectors go once all groups that a setting is in are measured.
    for folder in dict.fromkeys(marker.parent for marker in plan.shards):
        if folder.name not in kept:
            plan.dropped[folder / "vectors_dropped.txt"] = [
                made.outputs[-1]
                for made in plan.results.values()
                if folder.name in made.parameters.get("setting_ids", ())
            ]
    if planning:
        plan.check_notebooks()
        for path in plan.promotions() if campaign else ():
            path.unlink(missing_ok=True)
    return plan


def _add_grid(plan: Plan, grid: Grid, groups: dict[str, list[str]], planning: bool) -> None:
    plan.settings |= {setting.id: setting for setting in grid.settings}
    place = status.settle if planning else lambda setting, shard: runs.marker(setting.id, shard)
    markers: dict[str, list[Path]] = {}
    for member in dict.fromkeys(one for members in groups.values() for one in members):
        setting, markers[member] = plan.settings[member], []
        for shard in grid.shards:
            marker = place(setting, shard)
            given = {**setting.to_dict(), "seeds": shard}
            plan.shards[marker] = Execution("jobs/01_finetune", given, [], [marker])
            plan.runs += status.planned_runs(setting, shard).values()
            markers[member].append(marker)
    labels, folder = [seeds.label for seeds in grid.seeds], paths.results(grid.name)
    for group, members in groups.items():
        given = {"results": grid.name, "group": group, "setting_ids": members, "seeds": labels}
        inputs = [marker for member in members for marker in markers[member]]
        outputs = [folder / group / f"{table}.parquet" for table in tables.TABLES]
        plan.results[grid.name, group] = Execution("jobs/02_measure_group", given, inputs, outputs)
    drawn = [figure for figure, suits in ANALYSES.values() if suits(grid)]
    plan.figures += [paths.figures(grid.name) / f"{figure}.svg" for figure in drawn]


def _add_jobs(plan: Plan, results: str, jobs: dict[str, Job], planning: bool) -> None:
    for name, job in jobs.items():
        record = paths.results(results) / name / tables.MADE
        given = {**job.parameters, "results": results, "job": name}
        plan.results[results, name] = Execution(job.spec.notebook, given, [], [record])
        if planning and not status.is_whole(results, job):
            record.unlink(missing_ok=True)
