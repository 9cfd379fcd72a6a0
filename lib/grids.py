"""Configuration files: a grid of settings, the seeds of each, and named unions of settings."""

import dataclasses
import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib import paths, seeds, tasks
from lib.config import Setting, check_type
from lib.errors import nearest
from lib.seeds import Seeds

#: Folders beside the groups' tables, so no group may be called so.
KEPT = ("logs", "promoted")
_KEYS = "the keys seeds and grid"


@dataclass(frozen=True)
class Grid:
    """A configuration file: settings, the seeds of each, and named unions of settings."""

    name: str
    settings: list[Setting]
    seeds: list[Seeds]
    crossed: tuple[str, ...]
    seeds_per_job: int
    keep_vectors: bool
    unions: dict[str, list[str]]

    def __post_init__(self) -> None:
        step = check_type("seeds_per_job", self.seeds_per_job, int)
        if step < 1:
            raise ValueError(f"seeds_per_job = {step}; expected at least 1")
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
        rest = [
            tuple((k, str(v)) for k, v in setting.to_dict().items() if k != "learning_rate")
            for setting in self.settings
        ]
        return max(rest.count(one) for one in rest) >= 3

    @property
    def has_classes(self) -> bool:
        """Whether a setting is of a task with classes, and not of regression."""
        return any(
            tasks.get(s.task, s.text_columns, s.label_column).n_classes > 1 for s in self.settings
        )

    def part(self, which: str) -> list[tuple[Setting, list[Seeds]]]:
        """The jobs of machine I of K, from ``"I/K"``: every K-th, each a setting and its seeds."""
        try:
            number, of = (int(word) for word in which.split("/"))
        except ValueError:
            raise ValueError(f"part = {which!r}: write 1/3 for the first of three") from None
        if not 1 <= number <= of:
            raise ValueError(f"part = {which!r}: count from 1 to {of}")
        jobs = [(setting, seeds.read(shard)) for setting in self.settings for shard in self.shards]
        return jobs[number - 1 :: of]

    @property
    def shards(self) -> list[list[str]]:
        """The labels of the seeds, in jobs of ``seeds_per_job``."""
        step, labels = self.seeds_per_job, [one.label for one in self.seeds]
        return [labels[i : i + step] for i in range(0, len(labels), step)]


def _seeds(path: Path, raw: dict[str, Any]) -> list[Seeds]:
    """The runs of each setting: the seeds, or these crossed with the seeds of some streams."""
    streams = raw.get("cross", {})
    for name, values in streams.items():
        if name not in seeds.STREAMS:
            raise ValueError(
                f"{path.name}: cross: no stream {name}: {nearest(name, seeds.STREAMS)}"
            )
        check_type(f"{path.name}: cross: {name}", values, list[int])
    found = seeds.read(raw["seeds"])
    if not streams:
        return found
    check_type(f"{path.name}: seeds", raw["seeds"], list[int])
    return seeds.read([one.label for one in seeds.crossed(raw["seeds"], streams)])


def _find(source: str | Path) -> tuple[Path, str]:
    """The file of a configuration and, behind a slash, the study in it (empty: none is named)."""
    path, study = Path(source), ""
    if path.suffix != ".yaml" and path.parent.name:
        path, study = path.parent, path.name
    if path.suffix != ".yaml":
        path = paths.ROOT / "config" / f"{path}.yaml"
    if not path.exists():
        known = [found.stem for found in (paths.ROOT / "config").glob("*.yaml")]
        raise ValueError(f"no configuration {path}: {nearest(path.stem, known)}")
    return path, study


def mapping(path: Path, expected: str) -> dict[str, Any]:
    """What a YAML file holds, by key; ``ValueError`` if it cannot be read or has no keys."""
    import yaml

    try:
        raw = yaml.load(
            path.read_text(encoding="utf-8"),
            getattr(yaml, "CSafeLoader", yaml.SafeLoader),  # noqa: S506 (both are safe)
        )
    except yaml.MarkedYAMLError as error:
        at = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{path.name}: {at}this is no YAML: {error.problem}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path.name}: cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(raw, dict):
        raise ValueError(f"{path.name}: expected {expected}, found {raw!r}")
    return raw


def check_name(what: str, name: object) -> None:
    """Refuse a name that could not be that of a folder, of a word for the shell, of a wildcard."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(
            f"{what} {name!r}: use letters, digits, dots, hyphens and underscores, and begin with "
            "a letter or a digit"
        )
    if name in KEPT:
        raise ValueError(f"{what} {name!r}: the engine keeps a folder of that name for itself")


def _read(source: str | Path) -> tuple[Path, str, dict[str, Any]]:
    """File, name and contents of a configuration: of the file, or of one of its studies."""
    path, study = _find(source)
    raw = mapping(path, _KEYS)
    if "configurations" in raw:
        raise ValueError(f"{path.name} lists configurations; name one of them")
    if "studies" not in raw:
        if study:
            raise ValueError(f"{path.name} holds one grid, no studies: leave out /{study}")
        return path, path.stem, raw
    studies = check_type(f"{path.name}: studies", raw["studies"], dict)
    if len(raw) > 1:
        raise ValueError(f"{path.name}: beside studies stands {', '.join(set(raw) - {'studies'})}")
    if study not in studies:
        asked = f"no study {study}" if study else f"name one study, like {path.stem}/NAME"
        raise ValueError(f"{path.name}: {asked}: {nearest(study, studies)}")
    return path, study, check_type(f"{path.name}: {study}", studies[study], dict)


def load_grids(source: str | Path) -> list[Grid]:
    """The grids of a configuration: its only one, all of its studies, or those that it names.

    A file with the key ``configurations`` is a list of others, in the order in which to run them.
    Names are names of results, so no two grids may share one.
    """
    path, study = _find(source)
    raw = mapping(path, _KEYS)
    if "configurations" in raw:
        if study or len(raw) > 1:
            raise ValueError(f"{path.name} lists configurations and holds nothing else")
        listed = check_type(f"{path.name}: configurations", raw["configurations"], list[str])
        found = [grid for name in listed for grid in load_grids(name)]
    elif "studies" in raw and not study:
        studies = check_type(f"{path.name}: studies", raw["studies"], dict)
        found = [load_grid(path.parent / path.stem / name) for name in studies]
    else:
        found = [load_grid(source)]
    names = [grid.name for grid in found]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path.name}: two grids are called {', '.join(repeated)}")
    return found


def load_grid(source: str | Path) -> Grid:
    """Read ``config/<name>.yaml`` (by name or path) and check every value in it.

    ``defaults`` holds values of ``Setting`` shared by all; each entry of ``grid`` gives one value
    or a list of values a name and stands for their Cartesian product. ``cross`` gives seeds by
    stream, ``{init: [0, 1], order: [0, 1]}``: every combination is a run, under each base seed.

    A file may hold several grids under ``studies``, each with its own seeds and defaults; one is
    read by ``<name>/<study>`` and goes by the study's name.
    """
    path, grid_name, raw = _read(source)
    kinds = {
        "seeds": list,
        "cross": dict,
        "seeds_per_job": int,
        "keep_vectors": bool,
        "defaults": dict,
        "grid": list[dict],
        "unions": dict,
    }
    for key in raw:
        if key not in kinds:
            raise ValueError(f"{path.name}: unknown key {key}: {nearest(key, kinds)}")
        check_type(f"{path.name}: {key}", raw[key], kinds[key])
    for key in ("seeds", "grid"):
        if not raw.get(key):
            raise ValueError(f"{path.name}: {key} is missing or empty")
    check_name(f"{path.name}: a configuration called", grid_name)
    if grid_name.startswith("reference"):
        raise ValueError(f"{path.name}: names with reference are kept for promoted results")
    names = {spec.name: spec.type for spec in dataclasses.fields(Setting)}
    settings = []
    for entry in raw["grid"]:
        merged = {**raw.get("defaults", {}), **entry}
        for name in merged:
            if name not in names:
                raise ValueError(f"{path.name}: unknown parameter {name}: {nearest(name, names)}")
        axes = {
            name: value if isinstance(value, list) and names[name] is not list[str] else [value]
            for name, value in merged.items()
        }
        for values in itertools.product(*axes.values()):
            try:
                settings.append(Setting(**dict(zip(axes, values, strict=True))))
            except ValueError as error:
                raise ValueError(f"{path.name}: {error}") from None
    ids = [setting.id for setting in settings]
    if repeated := sorted({name for name in ids if ids.count(name) > 1}):
        raise ValueError(f"{path.name}: settings appear twice: {repeated}")
    all_seeds = _seeds(path, raw)
    if not ids:
        raise ValueError(f"{path.name}: grid holds no setting; a list of values is empty")
    unions = raw.get("unions", {})
    for name, members in unions.items():
        check_name(f"{path.name}: union", name)
        if name in ids:
            raise ValueError(f"{path.name}: union {name}: a setting is called that")
        check_type(f"{path.name}: union {name}", members, list[str])
        if not members or len(set(members)) < len(members):
            raise ValueError(f"{path.name}: union {name}: name some settings, each once")
        for member in members:
            if member not in ids:
                raise ValueError(
                    f"{path.name}: union {name}: no setting {member}: {nearest(member, ids)}"
                )
    try:
        return Grid(
            name=grid_name,
            settings=settings,
            seeds=all_seeds,
            crossed=tuple(raw.get("cross", {})),
            seeds_per_job=raw.get("seeds_per_job", len(all_seeds)),
            keep_vectors=raw.get("keep_vectors", False),
            unions=unions,
        )
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
