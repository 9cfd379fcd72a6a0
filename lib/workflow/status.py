"""What is done of a configuration and what is missing: for `make status`, and for the engine.

A run is done while its record says that it was made as it would be made now: the same setting,
seeds and version of the training, from the same pinned files. That is looked up in its
``run.json``, or in the table of runs of a committed reference; no data are read and nothing is
downloaded for it.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from lib import paths, provenance
from lib.config import Setting
from lib.config.grids import Grid
from lib.config.job_kinds import Job, JobList
from lib.config.seeds import Seeds, read
from lib.data import assets, tasks
from lib.models import pretrained
from lib.results import runs, tables


class PlannedRun(NamedTuple):
    """A run that is asked for; ``batch``: the seeds of all runs that are one program with it."""

    setting: Setting
    seeds: Seeds
    batch: list[Seeds]

    def is_current(self, record: dict[str, Any]) -> bool:
        """Whether a run with this record would be made the same way now.

        What only reading the data can tell is left to ``benchmarks.verify``: whether files of your
        own behind a registered task, or a hub repository named without a revision, have changed.
        """
        # The oldest records, all of encoders, do not say it: NaN where they are packed with others.
        told = record.get("architecture")
        architecture = told if isinstance(told, str) else "encoder"
        generates = tasks.generates(self.setting.task)
        now = {"code": provenance.training_code(architecture, generates=generates)}
        expected = runs.fingerprint(self.setting, self.seeds, self.batch, record | now)
        pinned = pretrained.pinned_sha256(self.setting.backbone)
        return (
            record["fingerprint"] == expected
            and pinned in (None, record["backbone_sha256"])
            and all(_now(source) == sha256 for source, sha256 in record["sources"].items())
        )

    def stored(self) -> dict[str, Any] | None:
        """The run's record, if the store has it and it is current."""
        record = runs.record_of(runs.folder(self.setting.id, self.seeds.label))
        return record if record and "sources" in record and self.is_current(record) else None


def planned_runs(setting: Setting, labels: Iterable[str]) -> dict[str, PlannedRun]:
    """By label, the runs of a setting; those of ``seeds_per_batch`` neighbours are one program."""
    programs = runs.programs(setting, read(list(labels)))
    return {run.label: PlannedRun(setting, run, batch) for batch in programs for run in batch}


def _now(source: str) -> str | None:
    """What a file that runs were made from must hash to now; None if it is gone or unknown."""
    if source in assets.ASSETS:
        return assets.ASSETS[source].sha256
    table = tasks.table_of(source)
    return provenance.file_sha256(table) if table and table.is_file() else None


def origin(setting: Setting) -> str:
    """Digest of what decides a setting's runs beside setting and seeds: versions, pinned files."""
    own = _now(setting.task) if tasks.table_of(setting.task) else None
    parts = [provenance.TRAINING_VERSIONS, pretrained.pinned_sha256(setting.backbone), own]
    if tasks.generates(setting.task):
        parts.append(provenance.GENERATION_VERSION)
    return provenance.digest(*parts)


def settle(setting: Setting, labels: list[str]) -> Path:
    """Make the marker of a shard say what is true, and return its path; it may not exist.

    A shard is trained while all its runs are stored, current, and have their layer vectors. So
    runs that came from another machine, or in shards of another size, count without a job.
    """
    path = runs.marker(setting.id, labels)
    there = path.exists()
    records = [run.stored() for run in planned_runs(setting, labels).values()]
    whole = all(records) and all((path.parent / one / "mean.npy").exists() for one in labels)
    if whole and not path.exists():
        runs.write_marker(setting.id, records)
    # One that was written since the runs were looked at is right: another engine's job did.
    if there and not whole:
        path.unlink(missing_ok=True)
    return path


def has_job(results: str, job: Job) -> bool:
    """Whether results hold the tables of a job, made with its parameters.

    The oldest committed records do not name the parameters; there the tables are enough.
    """
    record = tables.records(results).get(job.name)
    in_folder = (paths.results(results) / job.name).is_dir()
    if record is None or (in_folder and not is_whole(results, job)):
        return False
    if "parameters" in record:
        return job.made_with(record["parameters"])
    return paths.is_reference(results)


def is_whole(results: str, job: Job) -> bool:
    """Whether the folder of a job holds all tables of its kind."""
    folder = paths.results(results) / job.name
    return all((folder / f"{table}.parquet").exists() for table in job.spec.tables)


def referenced(plan: Grid | JobList) -> dict[str, Any]:
    """What the reference of a grid or of a list of jobs holds: by group, the records of its runs by
    setting and seed; by job, the job.

    A group is current if all its runs are, and its distances are of today's version.
    """
    reference = paths.reference_of(plan.name)
    if isinstance(plan, JobList):
        return {name: job for name, job in plan.groups.items() if has_job(reference, job)}
    records, labels = tables.records(reference), [seeds.label for seeds in plan.seeds]
    by_group = dict(iter(tables.read_stored(reference, "runs").groupby("group"))) if records else {}
    planned = {setting.id: planned_runs(setting, labels) for setting in plan.settings}
    held = {}
    for group, members in plan.groups.items():
        if records.get(group, {}).get("distance_code") != provenance.DISTANCE_VERSION:
            continue
        rows = {
            (row["setting_id"], row["seed_label"]): {**row, "sources": json.loads(row["sources"])}
            for row in by_group[group].to_dict("records")
        }
        wanted = {(one, label): run for one in members for label, run in planned[one].items()}
        same = rows.keys() == wanted.keys()
        if same and all(run.is_current(rows[key]) for key, run in wanted.items()):
            held[group] = rows
    return held


def standing(plan: Grid | JobList) -> pd.DataFrame:
    """What there is of a configuration, in its results (``stored``) and in the reference.

    Of a list of jobs, a row a job; ``missing`` from both. Of a grid, a row a setting: runs wanted,
    stored, in the reference, failed of those, missing, and the seconds of one core that a run took
    (the mean of those there are) and that are left. A setting without any run yet is given the
    mean of the configuration's others.
    """
    held, rows = referenced(plan), []
    if isinstance(plan, JobList):
        for name, job in plan.groups.items():
            row = {"configuration": plan.name, "job": name, "kind": job.kind}
            rows.append(row | {"stored": has_job(plan.name, job), "reference": name in held})
        table = pd.DataFrame(rows)
        return table.assign(missing=~(table["stored"] | table["reference"]))
    labels = [seeds.label for seeds in plan.seeds]
    for setting in plan.settings:
        records = {label: run.stored() for label, run in planned_runs(setting, labels).items()}
        here = {(setting.id, label): record for label, record in records.items() if record}
        known = here | (there := held.get(setting.id, {}))
        failed = sum(record["status"] != "ok" for record in known.values())
        seconds = [record["wall_s"] for record in known.values()]
        row = {"configuration": plan.name, "setting": setting.id, "runs": len(labels)}
        row |= {"stored": len(here), "reference": len(there), "failed": failed}
        row |= {"missing": len(labels) - len(known), "seconds_a_run": pd.Series(seconds).mean()}
        rows.append(row)
    table = pd.DataFrame(rows)
    typical = table["seconds_a_run"].fillna(table["seconds_a_run"].mean())
    return table.assign(seconds_left=typical * table["missing"])


def report(table: pd.DataFrame, cores: int, *, only_missing: bool = False) -> str:
    """Tables of ``standing`` of one kind as text, with totals and the time left on so many cores
    (of jobs it is not known).
    """
    shown = table[table["missing"] > 0] if only_missing else table
    shown = shown.drop(columns="seconds_left", errors="ignore").round({"seconds_a_run": 1})
    lines = [shown.to_string(index=False, na_rep="?")] if len(shown) else []
    missing, failed, time = table["missing"].sum(), "", ""
    wanted, what = (table["runs"].sum(), "runs") if "runs" in table else (len(table), "jobs")
    if what == "runs":
        failed = f", {table['failed'].sum()} of them failed"
        left = table["seconds_left"].sum(min_count=1)
        known = "unknown: no run has been timed" if pd.isna(left) else duration(left / cores)
        time = f", time left on {cores} cores: {known}" if missing else ""
    lines.append(f"{wanted - missing} of {wanted} {what} done{failed}; {missing} missing{time}")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """About how long, in words."""
    if seconds < 60:
        return "under a minute"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
