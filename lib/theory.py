"""The tables of the jobs of ``lib.job_kinds``: written, read and promoted.

They are in ``data/results/<name>/<job>/<table>.parquet``; promoted ones in
``data/results/reference-<name>``.
"""

import argparse
import shutil
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from lib import grids, paths, tables
from lib.errors import argument
from lib.job_kinds import KINDS, JobList


def save(results: str, job: str, made: dict[str, pd.DataFrame]) -> Path:
    """Write the tables of a job; its folder is replaced as a whole. Never into a reference."""
    if paths.is_reference(results):
        raise ValueError(f"results = {results!r} is made by promoting, never directly")
    return tables.save_tables(results, job, made)


def read(results: str, table: str, jobs: Iterable[str] = ()) -> pd.DataFrame:
    """One table of all jobs that have it, or of the named ones, with a column ``job``."""
    root = paths.results(results)
    found = sorted(root.glob(f"*/{table}.parquet"))
    wanted = set(jobs) or {file.parent.name for file in found}
    files = [file for file in found if file.parent.name in wanted]
    if missing := wanted - {file.parent.name for file in files}:
        raise FileNotFoundError(f"no {table} of {', '.join(sorted(missing))} in {root}")
    if not files:
        raise FileNotFoundError(f"no {table} in {root}; `make theory` makes it")
    frames = [pd.read_parquet(file) for file in files]
    for file, frame in zip(files, frames, strict=True):
        frame.insert(0, "job", file.parent.name)
    return pd.concat(frames, ignore_index=True)


def promote(plan: JobList) -> list[str]:
    """Copy the results of a plan into ``reference-<name>``, which then holds these jobs alone."""
    source, target = paths.results(plan.name), f"reference-{plan.name}"
    files = {
        job.name: [source / job.name / f"{table}.parquet" for table in KINDS[job.kind].tables]
        for job in plan.jobs
    }
    for name, parts in files.items():
        if not all(file.exists() for file in parts):
            raise FileNotFoundError(f"no results of {name} in {source}; `make theory` makes them")
    for name, parts in files.items():
        tables.save_tables(target, name, {file.stem: pd.read_parquet(file) for file in parts})
    for folder in paths.results(target).iterdir():
        if folder.is_dir() and folder.name not in files:
            shutil.rmtree(folder)
    return sorted(files)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m lib.theory", description="Theory jobs.")
    parser.add_argument("action", choices=["promote"], help="copy results into the reference")
    parser.add_argument(
        "config",
        type=argument(grids.load),
        nargs="?",
        default="theory",
        help="name in config/, or path",
    )
    for plan in grids.load(parser.parse_args().config):
        for job in promote(plan):
            print(f"promoted {job}")
