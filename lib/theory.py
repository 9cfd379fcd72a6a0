"""Jobs beside the grids, for the bounds and for validity: what there is to run, where it goes.

A job is one execution of a job notebook; ``config/theory.yaml`` lists them by kind, ``theory.smk``
runs them. The tables of a job are in ``data/results/<name>/<job>/<table>.parquet``; promoted ones
in ``data/results/reference-<name>``.
"""

import argparse
import dataclasses
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lib import declared, grids, paths, tables
from lib.config import Setting, check_type
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
        (*_BOUNDS, "lib/frozen.py"),
    ),
    "full": Kind(
        "45_retrain_without_examples",
        ("full_tuning", "full_constants"),
        _FULL,
    ),
    "tuned": Kind(
        "46_look_into_stabilized_runs",
        ("geometry", "removal_runs", "removal_spread"),
        (
            *_MARGINS,
            "lib/tuned.py",
            "lib/resampling.py",
            "lib/measures/prediction.py",
        ),
    ),
    "known": Kind(
        "14_make_known_differences",
        ("doses", "subsamples", "unions"),
        (
            "lib/perturbations.py",
            "lib/run_group.py",
            "lib/validity.py",
            "lib/tuned.py",
            "lib/summary.py",
            "lib/resampling.py",
            "lib/measures/performance.py",
            "lib/measures/prediction.py",
        ),
    ),
}
#: Parameters that the engine sets itself.
_GIVEN = ("results", "job")
#: (smallest, largest) of the numbers that the notebooks declare; None: no limit. Those that a
#: setting has too (rows, epochs, rates, …) are in range where they are for a setting.
RANGES = {
    "n": (3, None), "features": (1, None), "gap": (0.0, None), "radius": (1e-6, None),
    "sets": (1, None), "steps": (1, None), "shares": (1e-9, None), "runs": (2, None),
    "spread": (0.0, None), "heads": (1, None), "held_out": (1, None), "seed": (0, None),
    "regularizations": (1e-9, None), "removals": (1, None), "removed": (1e-6, None),
    "examples": (2, None), "longest": (3, None), "start_factors": (None, None),
    "rates": (1e-9, None), "fit_steps": (0, None), "fit_rate": (0.0, 1.0),
    "margin_rows": (3, None), "noisy_models": (1, None), "copies": (3, None), "doses": (0.0, None),
    "fractions": (1e-9, 1.0), "draws": (1, None),
}  # fmt: skip
CHOICES = {
    "loss": ("logistic", "exponential"),
    "normalization": ("N1", "N2"),
    "pooling": ("mean", "first"),
    "scaling": ("unit", "centred-unit", "none"),
}


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
    known = declared.parameters(KINDS[kind].notebook)
    return {name: parameter.kind for name, parameter in known.items()}


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
    known = declared.parameters(KINDS[kind].notebook)
    own = [parameter for parameter in known if parameter not in _GIVEN]
    checked = {}
    for parameter, value in parameters.items():
        if parameter not in own:
            near = nearest(parameter, own)
            raise ValueError(f"{file}: job {name}: unknown parameter {parameter}: {near}")
        try:
            checked[parameter] = _checked(parameter, value, known[parameter])
        except ValueError as error:
            raise ValueError(f"{file}: job {name}: {error}") from None
    defaults = {parameter: known[parameter].default for parameter in own}
    try:
        _check_setting(defaults | checked)
    except ValueError as error:
        raise ValueError(f"{file}: job {name}: {error}") from None
    return Job(name, kind, checked)


def _checked(parameter: str, value: Any, known: declared.Declared) -> Any:
    """The value with the declared type and in range; items of a list are like those declared."""
    kind = list[type(known.default[0])] if known.kind is list else known.kind
    value = check_type(parameter, value, kind)
    if value == []:
        raise ValueError(f"{parameter} is empty; give at least one value")
    low, high = RANGES.get(parameter, (None, None))
    for one in value if isinstance(value, list) else [value]:
        if parameter in CHOICES and one not in CHOICES[parameter]:
            raise ValueError(
                f"{parameter} = {one!r} is unknown: {nearest(one, CHOICES[parameter])}"
            )
        if (low is not None and not one >= low) or (high is not None and not one <= high):
            limit = "…" if high is None else high
            raise ValueError(f"{parameter} = {one!r} is outside [{low}, {limit}]")
    return value


def _check_setting(values: dict[str, Any]) -> None:
    """What a job has in common with a setting is checked as one."""
    names = {spec.name for spec in dataclasses.fields(Setting)}
    common = {name: value for name, value in values.items() if name in names}
    for method in values.get("methods", ["standard"]):
        Setting(**common | {"method": method})


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
