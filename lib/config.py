"""Typed settings and strict checks: a misspelt or mistyped parameter is an error, never a shrug.

papermill runs on silently with a parameter that does not exist, and YAML reads ``2e-5`` as text.
Everything that comes from outside (a notebook's parameters cell, a grid file) passes through here
before anything is trained.
"""

import dataclasses
import re
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib import pretrained, provenance, tasks
from lib.errors import nearest
from lib.methods import canonical, parse_method

#: The fields of the first version of a setting. They are in every identity; a newer one counts only
#: where it is not at its default, so that it renames no setting that there was before it.
FIRST_FIELDS = (
    "backbone", "task", "text_columns", "label_column", "method", "train_rows", "subset_seed",
    "eval_rows", "eval_split", "evals_per_epoch", "optimizer", "schedule", "learning_rate",
    "epochs", "batch_size", "max_length", "warmup", "weight_decay", "max_grad_norm", "dropout",
    "precision", "seeds_per_batch",
)  # fmt: skip
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
        ``llrd+mixout(p=0.2)`` (``lib.methods``); values that a method prescribes replace those
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
        methods = parse_method(self.method)
        object.__setattr__(self, "method", canonical(self.method))
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
        pretrained.check_name(self.backbone)

    @property
    def id(self) -> str:
        """A readable folder name, unique by a digest of ``identity``."""
        task = Path(self.task).stem if self.task.endswith((".csv", ".parquet")) else self.task
        words = (Path(self.backbone.rstrip("/")).name, task, self.method)
        slug = "_".join(re.sub(r"[^A-Za-z0-9.-]+", "-", word) for word in words)
        rows = self.train_rows or "all"
        return f"{slug}_lr{self.learning_rate:g}_n{rows}_{provenance.digest(self.identity())[:8]}"

    def identity(self) -> dict[str, Any]:
        """The fields that tell settings apart: the first ones, and newer ones not at default."""
        defaults = {spec.name: spec.default for spec in dataclasses.fields(self)}
        return {
            name: value
            for name, value in self.to_dict().items()
            if name in FIRST_FIELDS or value != defaults[name]
        }

    def to_dict(self) -> dict[str, Any]:
        """All fields by name, as JSON can hold them."""
        return dataclasses.asdict(self)
