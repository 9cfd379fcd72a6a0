"""What the Snakefile asks before it plans: which groups are to be made, of which shards of seeds.

Kept apart from it so that the Snakefile holds rules and nothing else, and that this can be tested.
"""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

from lib import paths
from lib.config import Setting, parameters
from lib.config.grids import Grid, load_plans
from lib.config.job_kinds import Job
from lib.errors import nearest
from lib.results import runs, tables
from lib.workflow import status

#: Analysis notebooks and the figure that each draws last.
ANALYSES = {
    "11_separate_sources_of_randomness": "11_components",
    "13_diagnose_failed_runs": "13_ladder",
    "20_measure_scores_and_predictions": "20_measures",
    "21_measure_representations": "21_layers",
    "22_compare_macro_and_micro": "22_macro_micro",
    "50_paper_figures": "50_agreement",
}


def analyses_of(grid: Grid) -> list[str]:
    """The last figure of each analysis that has something to analyse in a grid."""
    suited = {
        "11_components": len(grid.crossed) >= 2,
        "13_ladder": grid.has_ladder,
        "20_measures": grid.has_classes,
        "22_macro_micro": grid.has_classes,
    }
    return [figure for figure in ANALYSES.values() if suited.get(figure, True)]


@dataclass(frozen=True)
class Plan:
    """The jobs of a configuration.

    Parameters
    ----------
    grids : by name
    settings : by id
    groups : by grid and group, the settings of each group that is to be made; by list of jobs and
        job, the job
    markers : by grid and setting, the files that say that a shard of its seeds is trained
    shards : by marker, the labels of its seeds
    analyses : by grid, the figures of the analyses that suit it
    """

    grids: dict[str, Grid]
    settings: dict[str, Setting]
    groups: dict[str, dict[str, list[str] | Job]]
    markers: dict[tuple[str, str], list[Path]]
    shards: dict[Path, list[str]]
    analyses: dict[str, list[str]]

    def worth(self, setting_id: str) -> int:
        """The larger, the earlier a setting stands in the configuration, and is trained."""
        return len(self.settings) - list(self.settings).index(setting_id)

    def origins(self, grid: str, group: str) -> list[str]:
        """What decides the runs of a group; once it changes, the group is measured again."""
        return [status.origin(self.settings[member]) for member in self.groups[grid][group]]

    def tables(self, grid: str, group: str) -> list[Path]:
        """The tables of a group."""
        return [paths.results(grid) / group / f"{table}.parquet" for table in tables.TABLES]

    def result(self, name: str, group: str) -> Path:
        """The file that says that a group is measured, or that a job is done."""
        file = "measures.parquet" if name in self.grids else tables.MADE
        return paths.results(name) / group / file

    def results_of(self, name: str) -> list[Path]:
        """Those files of all groups of a grid or of all jobs of a list."""
        return [self.result(name, group) for group in self.groups[name]]

    def all_results(self) -> list[Path]:
        """All tables of all groups, and the records of all jobs."""
        files = []
        for name, groups in self.groups.items():
            for group in groups:
                measured = name in self.grids
                files += self.tables(name, group) if measured else [self.result(name, group)]
        return files

    def figures(self) -> list[Path]:
        """The last figure of each analysis that suits a grid."""
        return [
            paths.figures(name) / f"{figure}.svg"
            for name, found in self.analyses.items()
            for figure in found
        ]

    def promotions(self) -> list[Path]:
        """The files that say that a group was promoted into the reference."""
        return [
            paths.results(name) / "promoted" / f"{group}.txt"
            for name, groups in self.groups.items()
            for group in groups
        ]

    def dropped(self) -> list[Path]:
        """The files that say that a setting's layer vectors were deleted, where they are to be."""
        kept = {s.id for grid in self.grids.values() if grid.keep_vectors for s in grid.settings}
        trained = dict.fromkeys(setting_id for _, setting_id in self.markers)
        return [paths.RUNS / name / "vectors_dropped.txt" for name in trained if name not in kept]

    def measures_of(self, setting_id: str) -> list[Path]:
        """The tables of measures of all groups that a setting is in."""
        return [
            self.result(grid, group)
            for grid in self.grids
            for group, members in self.groups[grid].items()
            if setting_id in members
        ]


def device_option(device: str | None) -> str:
    """What papermill is told about the device, as a part of a shell command; nothing for None."""
    if device is None:
        return ""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        known = ("auto", "cpu", "cuda", "cuda:1")
        raise ValueError(f"device = {device!r} is unknown: {nearest(device, known)}")
    return f" -p device {device}"


def _check_notebooks(plan: Plan) -> None:
    """Every job's parameters are declared by its notebook, with their types."""
    for setting in plan.settings.values():
        parameters.check("10_finetune", {**setting.to_dict(), "seeds": [], "device": ""})
    measured = {"results": "", "group": "", "setting_ids": [], "seeds": []}
    parameters.check("12_measure_group", measured)
    for notebook in ANALYSES:
        parameters.check(notebook, {"results": ""})


def load(
    configuration: str,
    *,
    campaign: bool = False,
    seeds_per_job: int | None = None,
    planning: bool = True,
) -> Plan:
    """The jobs of a configuration; of a ``campaign``, only what the reference lacks.

    ``seeds_per_job`` takes the place of the configuration's own: how runs are split over jobs
    decides nothing about them. Brings the markers of the shards up to date first, so that runs
    that are there are not planned. A job that reads the plan only to be run (``planning`` false)
    leaves these files alone: another process goes by them.
    """
    plans = {plan.name: plan for plan in load_plans(configuration)}
    grids = {name: plan for name, plan in plans.items() if isinstance(plan, Grid)}
    if seeds_per_job is not None:
        given = {"seeds_per_job": seeds_per_job}
        grids = {name: dataclasses.replace(grid, **given) for name, grid in grids.items()}
    settings = {setting.id: setting for grid in grids.values() for setting in grid.settings}
    groups, markers, shards = {}, {}, {}
    for name, plan in plans.items():
        held = status.referenced(plan) if campaign and planning else {}
        groups[name] = {g: members for g, members in plan.groups.items() if g not in held}
    for name, grid in grids.items():
        for setting_id in dict.fromkeys(one for group in groups[name].values() for one in group):
            markers[name, setting_id] = [
                status.settle(settings[setting_id], shard)
                if planning
                else runs.marker(setting_id, shard)
                for shard in grid.shards
            ]
            shards |= {runs.marker(setting_id, shard): shard for shard in grid.shards}
    analyses = {name: analyses_of(grid) for name, grid in grids.items()}
    plan = Plan(grids, settings, groups, markers, shards, analyses)
    if planning:
        _check_notebooks(plan)
        for name in set(plans) - set(grids):
            for job in groups[name].values():
                status.settle_job(name, job)
        for path in plan.promotions() if campaign else ():
            path.unlink(missing_ok=True)
    return plan
