"""Typed settings and strict checks: a misspelt or mistyped parameter is an error, never a shrug.

papermill runs on silently with a parameter that does not exist, and YAML reads ``2e-5`` as text.
Everything that comes from outside (a notebook's parameters cell, a grid file) passes through here
before anything is trained.
"""

import dataclasses
import itertools
import re
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib import backbones, paths, provenance, seeds, stabilizers, tasks
from lib.errors import nearest
from lib.seeds import Seeds

_CHOICES = {
    "optimizer": ("adamw", "adamw-no-bias-correction", "sgd", "adafactor"),
    "schedule": ("linear", "cosine", "constant"),
    "eval_split": ("dev", "test-half"),
    "precision": ("float32", "bfloat16"),
}
_RANGES = {  # name: (smallest, largest), both allowed
    "train_rows": (0, None),
    "subset_seed": (0, None),
    "eval_rows": (0, None),
    "evals_per_epoch": (0, None),
    "learning_rate": (0.0, 1.0),
    "epochs": (1, None),
    "batch_size": (1, None),
    "max_length": (8, 4096),
    "warmup": (0.0, 1.0),
    "weight_decay": (0.0, 1.0),
    "max_grad_norm": (0.0, None),
    "seeds_per_batch": (1, None),
}


def check_type(name: str, value: Any, kind: Any) -> Any:
    """``value`` as ``kind`` (int, float, str, bool, list or list of those), or a ``ValueError``.

    An integer is accepted as a float; nothing else is converted.
    """
    if kind is float and type(value) is int:
        return float(value)
    base = typing.get_origin(kind) or kind
    if type(value) is not base:
        hint = ""
        if base in (int, float) and isinstance(value, str) and re.fullmatch(r"[\d.eE+-]+", value):
            hint = f"; YAML reads this as text: write {float(value):.1e}" if base is float else ""
        raise ValueError(
            f"{name} = {value!r} is {type(value).__name__}, expected {base.__name__}{hint}"
        )
    for item_kind in typing.get_args(kind):
        value = [check_type(f"{name}[{i}]", item, item_kind) for i, item in enumerate(value)]
    return value


def check_parameters(namespace: dict[str, Any]) -> dict[str, Any]:
    """Check a notebook's parameters; call it as ``check_parameters(globals())`` below their cell.

    Every parameter is declared in the tagged cell as ``name: type = literal``. Whatever papermill
    injected must have a declared name and the declared type.

    Returns the parameters by name. Raises ``ValueError`` naming the parameter, its value and the
    nearest valid names.
    """
    declared: dict[str, Any] = namespace.get("__annotations__", {})
    injected = {
        name
        for name, value in namespace.items()
        if not name.startswith("_")
        and name not in {"In", "Out", "exit", "quit", "open", "get_ipython"}
        and not isinstance(value, types.ModuleType)
        and not callable(value)
    }
    # papermill starts a fresh kernel; a reader who runs the cell again has variables of the story.
    first_time = not namespace.get("_parameters_were_checked")
    namespace["_parameters_were_checked"] = True
    for name in sorted(injected - set(declared)) if first_time else ():
        raise ValueError(f"unknown parameter {name}: {nearest(name, declared)}")
    checked = {name: check_type(name, namespace[name], kind) for name, kind in declared.items()}
    namespace.update(checked)
    return checked


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Everything that defines a fine-tuning but its seed. Defaults: Du & Nguyen, as released.

    Parameters
    ----------
    backbone : registered name, hub id (``org/name`` or ``org/name@revision``) or local folder
    task : registered name, or the path of a CSV or Parquet file of your own
    text_columns, label_column : the columns of such a file; one text column, or two for pairs
    method : ``standard``, or stabilizers by name with their parameters, joined by ``+``, like
        ``llrd+mixout(p=0.2)`` (``lib.stabilizers``); values that a method prescribes replace those
        given here
    train_rows, subset_seed : a fixed nested subset of the training rows; 0 rows means all
    eval_rows : at most so many evaluation examples, a fixed subset; 0 means all
    eval_split : ``dev``, or ``test-half``: the half of the development set left over when the
        other half selects checkpoints (Du & Nguyen, released code)
    evals_per_epoch : 0 keeps the last checkpoint; otherwise the validation half is looked at so
        many times an epoch and the best checkpoint kept
    optimizer, schedule : ``adamw``, ``adamw-no-bias-correction``, ``sgd`` (momentum 0.9) or
        ``adafactor``; ``linear`` or ``cosine`` decay to 0, or ``constant``
    learning_rate, epochs, batch_size, max_length : the peak; examples; tokens
    warmup : share of the steps over which the rate rises linearly
    weight_decay : of all weights but biases and LayerNorm
    max_grad_norm : gradients are clipped to this global norm; 0 means not at all
    dropout : probability of the backbone's dropouts; −1 means its own
    seeds_per_batch : so many seeds are trained as one program, each with its own initialisation
        and order; dropout is then drawn for all of them together, so who is trained together is
        part of a run's fingerprint
    precision : ``float32``, or ``bfloat16`` autocast
    """

    backbone: str = "bert-tiny"
    task: str = "stsb-binary"
    text_columns: list[str] = field(default_factory=lambda: ["text"])
    label_column: str = "label"
    method: str = "standard"
    train_rows: int = 0
    subset_seed: int = 0
    eval_rows: int = 1000
    eval_split: str = "dev"
    evals_per_epoch: int = 0
    optimizer: str = "adamw"
    schedule: str = "linear"
    learning_rate: float = 2e-5
    epochs: int = 5
    batch_size: int = 16
    max_length: int = 128
    warmup: float = 0.1
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    dropout: float = -1.0
    precision: str = "float32"
    seeds_per_batch: int = 1

    def __post_init__(self) -> None:
        check_type("method", self.method, str)
        methods = stabilizers.parse(self.method)
        object.__setattr__(self, "method", stabilizers.canonical(self.method))
        for method in methods.values():
            for name, value in method.prescribed().items():
                object.__setattr__(self, name, value)
        for spec in dataclasses.fields(self):
            value = check_type(spec.name, getattr(self, spec.name), spec.type)
            object.__setattr__(self, spec.name, value)
            if spec.name in _CHOICES and value not in _CHOICES[spec.name]:
                raise ValueError(
                    f"{spec.name} = {value!r} is unknown: {nearest(value, _CHOICES[spec.name])}"
                )
            low, high = _RANGES.get(spec.name, (None, None))
            below, above = low is not None and not value >= low, high is not None and value > high
            if below or above:
                raise ValueError(f"{spec.name} = {value!r} is outside [{low}, {high or '…'}]")
        if self.dropout != -1 and not 0 <= self.dropout < 1:
            raise ValueError(f"dropout = {self.dropout!r}: give a probability below 1, or -1")
        if self.seeds_per_batch > 1 and self.optimizer == "adafactor":
            raise ValueError(
                "adafactor looks at whole matrices, so several seeds cannot be one program: "
                "set seeds_per_batch = 1"
            )
        if self.learning_rate == 0:
            raise ValueError("learning_rate = 0.0 trains nothing; give a positive rate")
        if self.evals_per_epoch and self.eval_split == "dev":
            raise ValueError(
                f"evals_per_epoch = {self.evals_per_epoch} selects a checkpoint on half of the "
                'development set; measuring on all of it would leak. Set eval_split = "test-half".'
            )
        tasks.check_name(self.task)
        backbones.check_name(self.backbone)

    @property
    def id(self) -> str:
        """A readable folder name, unique by a digest of all fields."""
        task = Path(self.task).stem if self.task.endswith((".csv", ".parquet")) else self.task
        words = (Path(self.backbone.rstrip("/")).name, task, self.method)
        slug = "_".join(re.sub(r"[^A-Za-z0-9.-]+", "-", word) for word in words)
        rows = self.train_rows or "all"
        return f"{slug}_lr{self.learning_rate:g}_n{rows}_{provenance.digest(self.to_dict())[:8]}"

    def to_dict(self) -> dict[str, Any]:
        """All fields by name, as JSON can hold them."""
        return dataclasses.asdict(self)


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


def _read(source: str | Path) -> tuple[Path, str, dict[str, Any]]:
    """File, name and contents of a configuration: of the file, or of one of its studies."""
    import yaml

    path, study = _find(source)
    raw = yaml.safe_load(path.read_text())
    if not isinstance(raw, dict):
        raise ValueError(f"{path.name}: expected the keys seeds and grid, found {raw!r}")
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
    step = raw.get("seeds_per_job", len(all_seeds))
    if step < 1:
        raise ValueError(f"{path.name}: seeds_per_job = {step}; expected at least 1")
    if not ids:
        raise ValueError(f"{path.name}: grid holds no setting; a list of values is empty")
    for setting in settings:
        if len(all_seeds) > step and step % setting.seeds_per_batch:
            raise ValueError(
                f"{path.name}: seeds_per_job = {step} is no multiple of seeds_per_batch = "
                f"{setting.seeds_per_batch}, so batches of seeds would be cut by jobs"
            )
    unions = raw.get("unions", {})
    for name, members in unions.items():
        for member in members:
            if member not in ids:
                raise ValueError(
                    f"{path.name}: union {name}: no setting {member}: {nearest(member, ids)}"
                )
    return Grid(
        name=grid_name,
        settings=settings,
        seeds=all_seeds,
        crossed=tuple(raw.get("cross", {})),
        seeds_per_job=step,
        keep_vectors=raw.get("keep_vectors", False),
        unions=unions,
    )
