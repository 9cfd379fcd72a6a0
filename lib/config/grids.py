"""Configuration files: grids of settings and the seeds of each, studies, lists of others, jobs."""

import dataclasses
import itertools
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from lib import errors, paths
from lib.config import Setting, job_kinds, seeds
from lib.config.job_kinds import JobList
from lib.config.seeds import Seeds
from lib.data import tasks
from lib.errors import nearest

_GRID = {
    "seeds": (Annotated[list, Field(min_length=1)], ...),
    "cross": (dict[Literal[seeds.STREAMS], list[int]], {}),
    "seeds_per_job": (int, None),
    "keep_vectors": (bool, False),
    "defaults": (dict[str, Any], {}),
    "grid": (Annotated[list[dict[str, Any]], Field(min_length=1)], ...),
    "unions": (dict[Any, list[str]], {}),
}
#: Keys that stand alone in a file.
_ALONE = {"studies": dict[str, dict[str, Any]], "configurations": list[str]}
#: Fields of a setting that hold a list; a list of lists is their values to cross.
_LISTS = {spec.name for spec in dataclasses.fields(Setting) if typing.get_origin(spec.type) is list}


@errors.checked
class Grid:
    """A configuration of settings, the seeds of each, and named unions of settings."""

    name: str
    settings: list[Setting]
    seeds: list[Seeds]
    crossed: tuple[str, ...]
    seeds_per_job: Annotated[int, Field(ge=1)]
    keep_vectors: bool
    unions: dict[str, list[str]]

    def __post_init__(self) -> None:
        step = self.seeds_per_job
        for setting in self.settings:
            if len(self.seeds) > step and step % setting.seeds_per_batch:
                raise ValueError(
                    f"seeds_per_job = {step} is no multiple of seeds_per_batch = "
                    f"{setting.seeds_per_batch}, so batches of seeds would be cut by jobs"
                )

    @property
    def groups(self) -> dict[str, list[str]]:
        """Setting ids by group: each setting is one, and each named union."""
        return {setting.id: [setting.id] for setting in self.settings} | self.unions

    @property
    def has_ladder(self) -> bool:
        """Whether some settings differ in nothing but the learning rate, at three rates or more."""
        rest = [setting.to_dict() | {"learning_rate": None} for setting in self.settings]
        return max(map(rest.count, rest)) >= 3

    @property
    def has_classes(self) -> bool:
        """Whether a setting is of a task with classes, and not of regression."""
        return any(
            tasks.get(s.task, s.text_columns, s.label_column).n_classes > 1 for s in self.settings
        )

    def part(self, which: str) -> list[tuple[Setting, list[Seeds]]]:
        """The jobs of machine I of K, from ``"I/K"``: every K-th, each a setting and its seeds."""
        match = re.fullmatch(r"(\d+)/(\d+)", which)
        number, of = map(int, match.groups()) if match else (0, 0)
        if not 1 <= number <= of:
            raise ValueError(f"part = {which!r}: write 1/3 for the first of three, to 3/3")
        jobs = [(setting, seeds.read(shard)) for setting in self.settings for shard in self.shards]
        return jobs[number - 1 :: of]

    @property
    def shards(self) -> list[list[str]]:
        """The labels of the seeds, in jobs of ``seeds_per_job``."""
        step, labels = self.seeds_per_job, [run.label for run in self.seeds]
        return [labels[i : i + step] for i in range(0, len(labels), step)]


def _find(source: str | Path) -> tuple[Path, str]:
    """The file of a configuration and, behind a slash, the study in it (empty: none is named)."""
    path, study = Path(source), ""
    if path.suffix != ".yaml" and path.parent.name:
        path, study = path.parent, path.name
    if path.suffix != ".yaml":
        path = paths.ROOT / "config" / f"{path}.yaml"
    if not path.exists():
        names = [file.stem for file in (paths.ROOT / "config").glob("*.yaml")]
        raise ValueError(f"no configuration {path}: {nearest(path.stem, names)}")
    return path, study


def _contents(path: Path) -> dict[str, Any]:
    """What a YAML file holds, by key; ``ValueError`` if it cannot be read or has no keys."""
    import yaml

    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        at = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{at}this is no YAML: {error.problem}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(raw, dict):
        raise ValueError(f"expected the keys seeds and grid, or kinds of jobs, found {raw!r}")
    return raw


def _parts(source: str | Path) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    """File, name and contents of each grid or list of jobs that a configuration stands for."""
    path, study = _find(source)
    with errors.about(path.name):
        raw = _contents(path)
        for key in set(_ALONE) & set(raw):
            if others := ", ".join(str(other) for other in raw if other != key):
                raise ValueError(
                    f"beside {key} stands {others}; a file of {key} holds nothing else"
                )
            errors.check({key: (_ALONE[key], ...)}, raw)
        studies = raw.get("studies") or {path.stem: raw}
        if study and "studies" not in raw:
            raise ValueError(f"there are no studies in it: leave out /{study}")
        if study and study not in studies:
            raise ValueError(f"no study {study}: {nearest(study, studies)}")
    for other in raw.get("configurations", ()):
        yield from _parts(other)
    if "configurations" not in raw:
        named = [study] if study else studies
        yield from ((path, name, studies[name]) for name in named)


def load_plans(source: str | Path) -> list[Grid | JobList]:
    """Read ``config/<name>.yaml`` (by name or path) and check every value in it.

    A file holds one of these: a grid (``seeds``, ``grid``, …); several under ``studies``, of which
    ``<name>/<study>`` is one; a list of other ``configurations``, in the order in which to run
    them; or jobs by kind (``lib.config.job_kinds``). Names are names of results, so none may be
    there twice. Tables of one's own are looked for beside the file, then in the working directory.
    """
    parts = list(_parts(source))
    names = [name for _, name, _ in parts]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{source}: two configurations are called {', '.join(repeated)}")
    keys = {*_GRID, *_ALONE, *job_kinds.KINDS}
    plans = []
    for path, name, raw in parts:
        with errors.about(path.name):
            errors.check_name("a configuration called", name)
            if name.startswith("reference"):
                raise ValueError("names with reference are kept for promoted results")
            if raw and not set(raw) & keys:
                key = next(iter(raw))
                raise ValueError(f"unknown parameter {key}: {nearest(key, keys)}")
            load = _grid if set(raw) & set(_GRID) else job_kinds.load
            plans.append(load(path, name, raw))
    return plans


def load_grids(source: str | Path) -> list[Grid]:
    """The grids of a configuration, for those who train; jobs are left out."""
    grids = [plan for plan in load_plans(source) if isinstance(plan, Grid)]
    if not grids:
        raise ValueError(f"{source} holds jobs of notebooks and no grid: `make run` runs them")
    return grids


def _grid(path: Path, name: str, raw: dict[str, Any]) -> Grid:
    """``defaults`` holds values of ``Setting`` shared by all; each entry of ``grid`` gives one
    value or a list of values a name and stands for their Cartesian product. ``cross`` gives seeds
    by stream, ``{init: [0, 1], order: [0, 1]}``: every combination is a run, under each base seed.
    """
    raw, settings = errors.check(_GRID, raw), []
    for entry in raw["grid"]:
        axes = {k: _values(path, k, value) for k, value in (raw["defaults"] | entry).items()}
        points = itertools.product(*axes.values())
        settings += [Setting(**dict(zip(axes, values, strict=True))) for values in points]
    ids = [setting.id for setting in settings]
    if not ids:
        raise ValueError("grid holds no setting; a list of values is empty")
    if repeated := sorted({name for name in ids if ids.count(name) > 1}):
        raise ValueError(f"settings appear twice: {repeated}")
    for union, members in raw["unions"].items():
        _check_union(union, members, ids)
    labels, crossed = raw["seeds"], raw["cross"]
    if crossed:
        base = errors.check({"seeds": (list[int], ...)}, {"seeds": labels})["seeds"]
        labels = [run.label for run in seeds.crossed(base, crossed)]
    return Grid(
        name=name,
        settings=settings,
        seeds=seeds.read(labels),
        crossed=tuple(crossed),
        seeds_per_job=len(labels) if raw["seeds_per_job"] is None else raw["seeds_per_job"],
        keep_vectors=raw["keep_vectors"],
        unions=raw["unions"],
    )


def _check_union(union: Any, members: list[str], ids: list[str]) -> None:
    errors.check_name("union", union)
    with errors.about(f"union {union}"):
        if union in ids:
            raise ValueError("a setting is called that")
        if not members or len(set(members)) < len(members):
            raise ValueError("name some settings, each once")
        if unknown := [member for member in members if member not in ids]:
            raise ValueError(f"no setting {unknown[0]}: {nearest(unknown[0], ids)}")


def _values(path: Path, name: str, value: Any) -> list[Any]:
    """What a name stands for: one value, or those of a list."""
    of_lists = isinstance(value, list) and value and all(isinstance(part, list) for part in value)
    crossed = of_lists if name in _LISTS else isinstance(value, list)
    values = value if crossed else [value]
    return [tasks.beside(path.parent, task) for task in values] if name == "task" else values
