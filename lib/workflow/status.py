"""What is done of a configuration and what is missing: for `make status`, and for the engine.

A run is done while its record says that it was made as it would be made now: the same setting,
seeds and version of the training, from the same pinned files. That is looked up in its
``run.json``, or in the table of runs of a committed reference; no data are read and nothing is
downloaded for it.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from lib import paths, provenance
from lib.config import Setting
from lib.config.grids import Grid, load_plans
from lib.config.job_kinds import Job, JobList
from lib.config.seeds import Seeds, read
from lib.data import assets, tasks
from lib.errors import argument
from lib.models import pretrained
from lib.results import runs, tables


def _now(source: str) -> str | None:
    """What a file that runs were made from must hash to now; None if it is gone or unknown."""
    if source in assets.ASSETS:
        return assets.ASSETS[source].sha256
    if tasks.is_own_file(source) and Path(source).is_file():
        return provenance.file_sha256(Path(source))
    return None


def is_current(record: dict[str, Any], setting: Setting, seeds: Seeds, batch: list[Seeds]) -> bool:
    """Whether a run with this record would be made the same way now.

    What only reading the data can tell is left to ``benchmarks.verify``: whether files of your own
    behind a registered task, or a hub repository named without a revision, have changed.
    """
    now = {"code": provenance.TRAINING_VERSIONS[_architecture(record)]}
    expected = runs.fingerprint(setting, seeds, batch, record | now)
    pinned = pretrained.pinned_sha256(setting.backbone)
    return (
        record["fingerprint"] == expected
        and pinned in (None, record["backbone_sha256"])
        and all(_now(source) == sha256 for source, sha256 in record["sources"].items())
    )


def _architecture(record: dict[str, Any]) -> str:
    """``encoder`` or ``decoder``; the oldest records do not say it, but name the new weights."""
    new = record["newly_initialised"]
    names = new.split() if isinstance(new, str) else new
    decoder = any(name.startswith("score.") for name in names)
    return record.get("architecture", "decoder" if decoder else "encoder")


def origin(setting: Setting) -> str:
    """Digest of what decides a setting's runs beside setting and seeds: versions, pinned files."""
    own = _now(setting.task) if tasks.is_own_file(setting.task) else None
    versions = provenance.TRAINING_VERSIONS
    return provenance.digest(versions, pretrained.pinned_sha256(setting.backbone), own)


def batches(setting: Setting, labels: Iterable[str]) -> dict[str, tuple[Seeds, list[Seeds]]]:
    """By label, the seeds of a run and those of all runs that are one program with it."""
    found, step = read(list(labels)), setting.seeds_per_batch
    cut = [found[i : i + step] for i in range(0, len(found), step)]
    return {seeds.label: (seeds, batch) for batch in cut for seeds in batch}


def stored(setting: Setting, labels: Iterable[str]) -> dict[str, dict[str, Any]]:
    """By label, the records of the setting's runs that the store has and that are current."""
    found = {}
    for label, (seeds, batch) in batches(setting, labels).items():
        record = runs.record_of(runs.folder(setting.id, label))
        if record and "sources" in record and is_current(record, setting, seeds, batch):
            found[label] = record
    return found


def settle(setting: Setting, labels: list[str]) -> Path:
    """Make the marker of a shard say what is true, and return its path; it may not exist.

    A shard is trained while all its runs are stored, current, and have their layer vectors. So
    runs that came from another machine, or in shards of another size, count without a job.
    """
    path = runs.marker(setting.id, labels)
    there = path.exists()
    if not there and not path.parent.is_dir():
        return path
    records = stored(setting, labels)
    whole = [label in records and (path.parent / label / "mean.npy").exists() for label in labels]
    if not all(whole):
        # One that was written since the runs were looked at is right: another engine's job did.
        if there:
            path.unlink(missing_ok=True)
    elif not path.exists():
        runs.write_marker(setting.id, [records[label] for label in labels])
    return path


def has_job(results: str, job: Job) -> bool:
    """Whether results hold the tables of a job, made with its parameters.

    The oldest committed records do not name the parameters; there the tables are enough.
    """
    folder, packed = paths.results(results) / job.name, tables.packed(results)
    if not (_is_whole(folder, job) if folder.is_dir() else job.name in packed):
        return False
    record = tables.records(results)[job.name]
    if "parameters" not in record:
        return paths.is_reference(results)
    return job.made_with(record["parameters"])


def settle_job(results: str, job: Job) -> None:
    """Delete the record of a job that has lost a table, so that the engine makes it again."""
    folder = paths.results(results) / job.name
    if not _is_whole(folder, job):
        (folder / tables.MADE).unlink(missing_ok=True)


def _is_whole(folder: Path, job: Job) -> bool:
    return all((folder / f"{table}.parquet").exists() for table in job.spec.tables)


def referenced(plan: Grid | JobList) -> dict[str, Any]:
    """What the reference of a grid or of a list of jobs holds: by group, the table of its runs; by
    job, the job.

    A group is current if all its runs are, and its distances are of today's version.
    """
    reference = paths.reference_of(plan.name)
    if isinstance(plan, JobList):
        return {name: job for name, job in plan.groups.items() if has_job(reference, job)}
    settings = {setting.id: setting for setting in plan.settings}
    records, labels = tables.records(reference), [seeds.label for seeds in plan.seeds]
    by_group = dict(iter(tables.stacked(reference, "runs").groupby("group"))) if records else {}
    held = {}
    for group, members in plan.groups.items():
        if records.get(group, {}).get("distance_code") != provenance.DISTANCE_VERSION:
            continue
        table = by_group[group]
        rows = {(row["setting_id"], row["seed_label"]): row for row in table.to_dict("records")}
        if _all_current(rows, [settings[member] for member in members], labels):
            held[group] = table
    return held


def _all_current(
    rows: dict[tuple[str, str], dict[str, Any]], members: list[Setting], labels: list[str]
) -> bool:
    if set(rows) != {(setting.id, label) for setting in members for label in labels}:
        return False
    for setting in members:
        for label, (seeds, batch) in batches(setting, labels).items():
            row = rows[setting.id, label]
            record = {**row, "sources": json.loads(row["sources"])}
            if not is_current(record, setting, seeds, batch):
                return False
    return True


def standing_of_jobs(plan: JobList) -> pd.DataFrame:
    """A row a job: whether the results and the reference hold it, and whether neither does."""
    jobs = plan.groups.values()
    table = pd.DataFrame([{"job": job.name, "kind": job.kind} for job in jobs])
    table.insert(0, "configuration", plan.name)
    table["stored"] = [has_job(plan.name, job) for job in jobs]
    table["reference"] = table["job"].isin(referenced(plan))
    return table.assign(missing=~(table["stored"] | table["reference"]))


def standing(grid: Grid, *, with_reference: bool = True) -> pd.DataFrame:
    """A row a setting: runs wanted, in the store, in the reference, failed of those, missing, and
    the seconds of one core that a run took (the mean of those there are) and that are left.

    A setting without any run yet is given the mean of the configuration's others.
    """
    held = referenced(grid) if with_reference else {}
    labels, rows = [seeds.label for seeds in grid.seeds], []
    for setting in grid.settings:
        here = pd.DataFrame(list(stored(setting, labels).values()))
        there = held.get(setting.id, pd.DataFrame())
        known = pd.concat([part for part in (there, here) if len(part)] or [pd.DataFrame()])
        if len(known):
            known = known.drop_duplicates("seed_label")
        rows.append(
            {
                "configuration": grid.name,
                "setting": setting.id,
                "runs": len(labels),
                "stored": len(here),
                "reference": len(there),
                "failed": int((known["status"] != "ok").sum()) if len(known) else 0,
                "missing": len(labels) - len(known),
                "seconds_a_run": known["wall_s"].mean() if len(known) else float("nan"),
            }
        )
    table = pd.DataFrame(rows)
    typical = table["seconds_a_run"].fillna(table["seconds_a_run"].mean())
    return table.assign(seconds_left=typical * table["missing"])


def report(table: pd.DataFrame, cores: int, *, only_missing: bool = False) -> str:
    """The table of ``standing`` as text, with totals and the time left on so many cores."""
    shown = table[table["missing"] > 0] if only_missing else table
    shown = shown.drop(columns=["seconds_left"]).round({"seconds_a_run": 1})
    lines = [shown.to_string(index=False, na_rep="?")] if len(shown) else []
    total = table[["runs", "missing", "failed"]].sum()
    left = table["seconds_left"].sum(min_count=1)
    time = "unknown: no run has been timed" if pd.isna(left) else duration(left / cores)
    lines.append(
        f"{total['runs'] - total['missing']} of {total['runs']} runs done, "
        f"{total['failed']} of them failed; {total['missing']} missing"
        + (f", time left on {cores} cores: {time}" if total["missing"] else "")
    )
    return "\n".join(lines)


def duration(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 1:
        return "under a minute"
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def main(arguments: list[str] | None = None) -> None:
    """``python -m lib.workflow.status CONFIG``: what is done, failed and missing, and the time
    left.
    """
    parser = argparse.ArgumentParser(
        prog="python -m lib.workflow.status", description="What is done of a configuration."
    )
    parser.add_argument(
        "config", type=argument(load_plans), help="name in config/ or path of a .yaml file"
    )
    parser.add_argument("--cores", type=int, default=2, help="for the time left (default 2)")
    parser.add_argument("--missing", action="store_true", help="only what is missing")
    options = parser.parse_args(arguments)
    plans = load_plans(options.config)
    if lists := [standing_of_jobs(plan) for plan in plans if isinstance(plan, JobList)]:
        table = pd.concat(lists, ignore_index=True)
        shown = table[table["missing"]] if options.missing else table
        if len(shown):
            print(shown.to_string(index=False))
        missing = table["missing"].sum()
        print(f"{len(table) - missing} of {len(table)} jobs done; {missing} missing")
    if rows := [standing(grid) for grid in plans if isinstance(grid, Grid)]:
        table = pd.concat(rows, ignore_index=True)
        print(report(table, options.cores, only_missing=options.missing))


if __name__ == "__main__":
    main()
