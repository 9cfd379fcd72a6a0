"""Jobs beside the grids, for the bounds and for validity: what they run, with which values.

A job is one execution of the notebook of its kind; a configuration lists jobs by kind. The tables
of a job are in ``data/results/<configuration>/<job>/``.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from lib import errors
from lib.config import Setting, parameters
from lib.data import tasks


class Kind(NamedTuple):
    """A kind of job: its notebook, and the tables that it writes."""

    notebook: str
    tables: tuple[str, ...]


KINDS = {
    "synthetic": Kind("jobs/04_sweep_synthetic_sets", ("margins", "leave_one_out", "seeds")),
    "heads": Kind(
        "jobs/05_tune_real_heads", ("margins", "leave_one_out", "soft_margin", "seeds", "removal")
    ),
    "certified": Kind("jobs/08_certify_real_heads", ("certificates", "certified")),
    "full": Kind("jobs/06_retrain_without_examples", ("full_tuning", "full_constants")),
    "ways": Kind("jobs/09_shorten_the_way", ("ways",)),
    "tuned": Kind(
        "jobs/07_look_into_stabilized_runs", ("geometry", "removal_runs", "removal_spread")
    ),
    "known": Kind("jobs/03_make_known_differences", ("doses", "subsamples", "unions")),
}
#: Parameters that the engine sets itself.
_GIVEN = ("results", "job")
#: Ranges of the numbers, of one or of each of a list. Parameters that a setting has too (rows,
#: epochs, rates, …) are checked as those of a setting.
RANGES = {
    "n": Field(ge=3), "features": Field(ge=1), "gap": Field(ge=0), "radius": Field(ge=1e-6),
    "sets": Field(ge=1), "steps": Field(ge=1), "shares": Field(ge=1e-9), "runs": Field(ge=2),
    "spread": Field(ge=0), "heads": Field(ge=1), "held_out": Field(ge=1), "seed": Field(ge=0),
    "regularizations": Field(ge=1e-9), "strengths": Field(gt=0), "removals": Field(ge=1),
    "removed": Field(gt=0),
    "examples": Field(ge=2), "longest": Field(ge=3), "start_factors": Field(),
    "rates": Field(ge=1e-9), "fit_steps": Field(ge=0), "fit_rate": Field(ge=0, le=1),
    "seeds": Field(ge=0), "levels": Field(gt=0),
    "margin_rows": Field(ge=3), "noisy_models": Field(ge=1), "copies": Field(ge=3),
    "doses": Field(ge=0), "fractions": Field(ge=1e-9, le=1), "draws": Field(ge=1),
}  # fmt: skip
CHOICES = {
    "loss": Literal["logistic", "exponential"],
    "normalization": Literal["N1", "N2"],
    "pooling": Literal["mean", "first", "last"],
    "scaling": Literal["unit", "centred-unit", "none"],
}
_SETTING: dict[str, Any] = {spec.name: spec.type for spec in dataclasses.fields(Setting)}
_SETTING["methods"] = _SETTING["method"]


@dataclass(frozen=True)
class Job:
    """One execution of the notebook of its kind; what is not in ``parameters`` has its default."""

    name: str
    kind: str
    parameters: dict[str, Any]

    @property
    def spec(self) -> Kind:
        """What its kind runs and writes."""
        return KINDS[self.kind]

    def made_with(self, values: Mapping[str, Any]) -> bool:
        """Whether these are its parameters; one that is not among them had its default."""
        return all(
            self.parameters.get(name, declared.default) == values.get(name, declared.default)
            for name, declared in parameters.declared(self.spec.notebook).items()
            if name not in _GIVEN
        )


@dataclass(frozen=True)
class JobList:
    """A configuration of jobs, each by the name of its folder in the results."""

    name: str
    groups: dict[str, Job]


def load(path: Path, name: str, raw: dict[str, Any]) -> JobList:
    """The jobs of a configuration file, with every name and value in it checked.

    Top level: kinds. Of each kind, ``defaults`` holds parameters shared by its jobs, ``jobs`` the
    jobs by name, each with the parameters that are its own (or nothing).
    """
    values = dict[str, Any] | None
    shape = {"defaults": (values, None), "jobs": (dict[Any, values], ...)}
    errors.check({kind: (dict[str, Any], {}) for kind in KINDS}, raw)
    jobs: dict[str, Job] = {}
    for kind, entry in raw.items():
        with errors.about(kind):
            entry = errors.check(shape, entry)
        for key, own in entry["jobs"].items():
            if str(key) in jobs:
                raise ValueError(f"two jobs are called {key}")
            jobs[str(key)] = _job(path, kind, str(key), (entry["defaults"] or {}) | (own or {}))
    if not jobs:
        raise ValueError("there is no job in it")
    return JobList(name, jobs)


def _job(path: Path, kind: str, name: str, values: dict[str, Any]) -> Job:
    errors.check_name("job", name)
    declared = parameters.declared(KINDS[kind].notebook).items()
    fields = {k: (_type_of(k, *known), known.default) for k, known in declared if k not in _GIVEN}
    if "task" in values:
        values["task"] = tasks.beside(path.parent, values["task"])
    with errors.about(f"job {name}"):
        checked = errors.check(fields, values)
    return Job(name, kind, {parameter: checked[parameter] for parameter in values})


def _type_of(name: str, kind: type, default: Any) -> Any:
    """The declared type in its range; items of a list are like those declared."""
    if kind is list:
        return Annotated[list[_type_of(name, type(default[0]), None)], Field(min_length=1)]
    if name in RANGES:
        return Annotated[kind, RANGES[name]]
    return CHOICES.get(name) or _SETTING[name]
