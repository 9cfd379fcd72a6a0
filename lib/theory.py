"""Jobs that hold the bounds against measurements: what there is to run, and where it goes.

A job is one execution of a job notebook; ``config/theory.yaml`` lists them by kind, ``theory.smk``
runs them. The tables of a job are in ``data/results/<name>/<job>/<table>.parquet``; promoted ones
in ``data/results/reference-<name>``.
"""

import argparse
import ast
import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lib import grids, paths, provenance, tables
from lib.config import check_type
from lib.errors import argument, nearest

_BOUNDS = tuple(
    f"lib/bounds/{name}.py"
    for name in (
        "assumptions", "quadratic", "head", "margin", "problems", "descent",
        "tuning", "sweeps", "starts",
    )
)  # fmt: skip


_MARGINS = tuple(
    f"lib/bounds/{name}.py" for name in ("assumptions", "head", "margin", "sweeps", "tuning")
)
_FULL = tuple(
    f"lib/bounds/{name}.py"
    for name in (
        "assumptions", "quadratic", "curvature", "network", "retraining", "full_tuning",
        "retraining_study",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A kind of job: its notebook, the tables that it writes, and the code that decides them."""

    notebook: str
    tables: tuple[str, ...]
    code: tuple[str, ...]


KINDS = {
    "synthetic": Kind(
        "43_sweep_synthetic_sets",
        ("margins", "leave_one_out", "seeds"),
        (*_BOUNDS, "lib/bounds/draws.py"),
    ),
    "heads": Kind(
        "44_tune_real_heads",
        ("margins", "leave_one_out", "soft_margin", "seeds", "removal"),
        (*_BOUNDS, "lib/frozen.py", *provenance.TRAINING_CODE),
    ),
    "full": Kind(
        "45_retrain_without_examples",
        ("full_tuning", "full_constants"),
        (*_FULL, *provenance.TRAINING_CODE),
    ),
    "tuned": Kind(
        "46_look_into_stabilized_runs",
        ("geometry", "removal_runs", "removal_spread"),
        (
            *_MARGINS,
            "lib/tuned.py",
            "lib/resampling.py",
            "lib/measures/prediction.py",
            *provenance.TRAINING_CODE,
        ),
    ),
}
#: Parameters that the engine sets itself.
_GIVEN = ("results", "job")
_TYPES = {"int": int, "float": float, "str": str, "bool": bool, "list": list}


@dataclass(frozen=True)
class Job:
    """One execution of the notebook of its kind; what is not in ``parameters`` has its default."""

    name: str
    kind: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """A configuration file of jobs."""

    name: str
    jobs: tuple[Job, ...]

    def of(self, kind: str) -> list[Job]:
        """The jobs of one kind."""
        return [job for job in self.jobs if job.kind == kind]


def notebook_path(kind: str) -> Path:
    """The notebook that does the jobs of a kind."""
    return paths.ROOT / "notebooks" / f"{KINDS[kind].notebook}.ipynb"


def declared_parameters(kind: str) -> dict[str, type]:
    """Names and types of the parameters that the notebook of a kind declares."""
    cells = json.loads(notebook_path(kind).read_text())["cells"]
    tagged = (cell for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    body = ast.parse("".join(next(tagged)["source"])).body
    return {
        statement.target.id: _TYPES[statement.annotation.id]
        for statement in body
        if isinstance(statement, ast.AnnAssign)
    }


def load_plan(source: str | Path) -> Plan:
    """Read ``config/<name>.yaml`` (by name or path) and check every name and type in it.

    Top level: kinds. Of each kind, ``defaults`` holds parameters shared by its jobs, ``jobs`` the
    jobs by name, each with the parameters that are its own (or nothing).
    """
    path = Path(source)
    if path.suffix != ".yaml":
        path = paths.ROOT / "config" / f"{path}.yaml"
    if not path.exists():
        known = [found.stem for found in (paths.ROOT / "config").glob("*.yaml")]
        raise ValueError(f"no configuration {path}: {nearest(path.stem, known)}")
    if path.stem.startswith("reference"):
        raise ValueError(f"{path.name}: names with reference are kept for promoted results")
    grids.check_name(f"{path.name}: a configuration called", path.stem)
    raw = grids.mapping(path, "kinds of jobs")
    jobs = [job for kind, entry in raw.items() for job in _jobs(path.name, kind, entry)]
    if not jobs:
        raise ValueError(f"{path.name}: there is no job in it")
    names = [job.name for job in jobs]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path.name}: jobs of two kinds are called {', '.join(repeated)}")
    return Plan(path.stem, tuple(jobs))


def _jobs(file: str, kind: str, entry: Any) -> list[Job]:
    if kind not in KINDS:
        raise ValueError(f"{file}: unknown kind {kind}: {nearest(kind, KINDS)}")
    entry = check_type(f"{file}: {kind}", entry, dict)
    for key in entry:
        if key not in ("defaults", "jobs"):
            raise ValueError(f"{file}: {kind}: {key}: {nearest(key, ('defaults', 'jobs'))}")
    shared = check_type(f"{file}: {kind}: defaults", entry.get("defaults") or {}, dict)
    named = check_type(f"{file}: {kind}: jobs", entry.get("jobs"), dict)
    return [_job(file, kind, str(name), {**shared, **(own or {})}) for name, own in named.items()]


def _job(file: str, kind: str, name: str, parameters: dict[str, Any]) -> Job:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", name):
        raise ValueError(f"{file}: job {name!r}: use letters, digits, dots and hyphens")
    grids.check_name(f"{file}: job", name)
    declared = declared_parameters(kind)
    own = [parameter for parameter in declared if parameter not in _GIVEN]
    checked = {}
    for parameter, value in parameters.items():
        if parameter not in own:
            near = nearest(parameter, own)
            raise ValueError(f"{file}: job {name}: unknown parameter {parameter}: {near}")
        try:
            checked[parameter] = check_type(parameter, value, declared[parameter])
        except ValueError as error:
            raise ValueError(f"{file}: job {name}: {error}") from None
    return Job(name, kind, checked)


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


def promote(plan: Plan) -> list[str]:
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
        type=argument(load_plan),
        nargs="?",
        default="theory",
        help="name in config/, or path",
    )
    for job in promote(load_plan(parser.parse_args().config)):
        print(f"promoted {job}")
