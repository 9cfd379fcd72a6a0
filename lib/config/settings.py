"""Typed settings and strict checks: a misspelt or mistyped parameter is an error, never a shrug.

papermill runs on silently with a parameter that does not exist, and YAML reads ``2e-5`` as text.
Everything that comes from outside (a notebook's parameters cell, a grid file) passes through here
before anything is trained.
"""

import dataclasses
import json
import re
import types
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from lib import errors, provenance
from lib.data import tasks
from lib.models import pretrained
from lib.models.methods import canonical, parse_method

#: The fields of the first version of a setting. They are in every identity; a newer one counts only
#: where it is not at its default, so that it renames no setting that there was before it.
FIRST_FIELDS = (
    "backbone", "task", "text_columns", "label_column", "method", "train_rows", "subset_seed",
    "eval_rows", "eval_split", "evals_per_epoch", "optimizer", "schedule", "learning_rate",
    "epochs", "batch_size", "max_length", "warmup", "weight_decay", "max_grad_norm", "dropout",
    "precision", "seeds_per_batch",
)  # fmt: skip
_Count = Annotated[int, Field(ge=0)]
_Number = Annotated[int, Field(ge=1)]
_Share = Annotated[float, Field(ge=0, le=1)]


def check_parameters(namespace: dict[str, Any]) -> dict[str, Any]:
    """Check a notebook's parameters; call it as ``check_parameters(globals())`` below their cell.

    Every parameter is declared in the tagged cell as ``name: type = literal``. Whatever papermill
    injected must have a declared name and the declared type.

    Returns the parameters by name. Raises ``ValueError`` naming the parameter, its value and the
    nearest valid names.
    """
    declared: dict[str, Any] = namespace.get("__annotations__", {})
    names = list(declared)
    # papermill starts a fresh kernel; a reader who runs the cell again has variables of the story.
    if "_parameters_were_checked" not in namespace:
        names += sorted(
            name
            for name, value in namespace.items()
            if not (name.startswith("_") or name in (*declared, "In", "Out"))
            and not (callable(value) or isinstance(value, types.ModuleType))
        )
    namespace["_parameters_were_checked"] = True
    fields = {name: (kind, ...) for name, kind in declared.items()}
    checked = errors.check(fields, {name: namespace[name] for name in names})
    namespace.update(checked)
    return checked


@errors.checked
class Setting:
    """Everything that defines a fine-tuning but its seed. Defaults: Du & Nguyen, as released.

    ``docs/methods.md`` says what each field is. Values that a method prescribes replace those given
    here.
    """

    backbone: Annotated[str, errors.passing(pretrained.check_name)] = "bert-tiny"
    task: Annotated[str, errors.passing(tasks.check_name)] = "stsb-binary"
    text_columns: list[str] = field(default_factory=lambda: ["text"])
    label_column: str = "label"
    method: Annotated[str, errors.passing(parse_method)] = "standard"
    train_rows: _Count = 0
    subset_seed: _Count = 0
    eval_rows: _Count = 1000
    eval_split: Literal["dev", "test-half"] = "dev"
    evals_per_epoch: _Count = 0
    optimizer: Literal["adamw", "adamw-no-bias-correction", "sgd", "adafactor"] = "adamw"
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 2e-5
    epochs: _Number = 5
    batch_size: _Number = 16
    max_length: Annotated[int, Field(ge=8, le=4096)] = 128
    warmup: _Share = 0.1
    weight_decay: _Share = 0.01
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    dropout: Annotated[float, Field(ge=-1, lt=1)] = -1.0
    precision: Literal["float32", "bfloat16"] = "float32"
    seeds_per_batch: _Number = 1
    pooled_token: Literal["auto", "first", "last"] = "auto"  # noqa: S105

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", canonical(self.method))
        for method in parse_method(self.method).values():
            for name, value in method.prescribed().items():
                object.__setattr__(self, name, value)
        if -1 < self.dropout < 0:
            raise ValueError(f"dropout = {self.dropout!r}: give a probability below 1, or -1")
        if self.seeds_per_batch > 1 and self.optimizer == "adafactor":
            raise ValueError(
                "adafactor looks at whole matrices, so several seeds cannot be one program: "
                "set seeds_per_batch = 1"
            )
        if self.evals_per_epoch and self.eval_split == "dev":
            raise ValueError(
                f"evals_per_epoch = {self.evals_per_epoch} selects a checkpoint on half of the "
                'development set; measuring on all of it would leak. Set eval_split = "test-half".'
            )

    @property
    def id(self) -> str:
        """A readable folder name, unique by a digest of ``identity``."""
        task = Path(self.task).stem if tasks.is_own_file(self.task) else self.task
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


def to_row(setting: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a setting (``Setting.to_dict``) as a table holds them: lists as JSON."""
    return {k: json.dumps(v) if isinstance(v, list) else v for k, v in setting.items()}


def from_row(row: Mapping[str, Any]) -> Setting:
    """The setting of a row of a table of runs; a field that the row lacks has its default."""
    names = [spec.name for spec in dataclasses.fields(Setting) if spec.name in row]
    return Setting(**{n: json.loads(row[n]) if n == "text_columns" else row[n] for n in names})
