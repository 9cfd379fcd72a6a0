"""What all runs of a setting start from: looked up, read and checked once, then handed down."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from lib import provenance
from lib.config import Setting
from lib.data.examples import DataSpec, Prepared, prepare
from lib.measures import generation
from lib.models import backbones, pretrained
from lib.models.backbones import Located
from lib.models.methods import parse_method
from lib.models.stabilizers import Method


@dataclass(frozen=True)
class RunInputs:
    """A setting with its backbone, its data and its methods by name."""

    setting: Setting
    located: Located
    data: Prepared
    methods: dict[str, Method]

    @property
    def sources(self) -> dict[str, str]:
        """The sha256 of the files that backbone and data are from, as far as they are pinned or
        yours.
        """
        return pretrained.pins(self.setting.backbone) | self.data.sources

    @property
    def origin(self) -> dict[str, str]:
        """What decides runs beside setting and seeds, as their records hold it."""
        architecture = backbones.architecture_of(self.located)
        return {
            "architecture": architecture,
            "code": provenance.training_code(architecture, generates=self.data.task.generates),
            "data_sha256": self.data.sha256,
            "backbone_sha256": self.located.sha256,
        }


def prepare_inputs(setting: Setting) -> RunInputs:
    """Backbone, data and methods of a setting; weights and texts are fetched on first use.

    Raises ``ValueError`` for texts longer than the backbone takes and for a method that cannot do
    the task or the depth, and what ``locate`` and ``prepare`` raise.
    """
    methods = parse_method(setting.method)
    located = pretrained.locate(setting.backbone)
    n_layers, longest = backbones.dimensions(located)
    if longest and setting.max_length > longest:
        raise ValueError(
            f"max_length = {setting.max_length}, but {setting.backbone} takes {longest}"
        )
    fields = (field.name for field in dataclasses.fields(DataSpec))
    spec = DataSpec(**{name: getattr(setting, name) for name in fields})
    tokenizer = partial(backbones.load_tokenizer, located)
    data = prepare(spec, located.sha256, tokenizer)
    if data.task.generates:
        _check_generating(setting, methods)
    for method in methods.values():
        method.check(data.task.n_classes, data.train.choices, n_layers)
    return RunInputs(setting, located, data, methods)


def _check_generating(setting: Setting, methods: Iterable[str]) -> None:
    """``ValueError`` for what only classifiers can do, and where no texts can be scored."""
    if not generation.installed():
        raise ValueError(
            f"the answers of {setting.task} are texts, and what scores them is not installed: "
            'pip install ".[generation]"'
        )
    if refused := sorted({"head", "mhloss", "mmr", "surt"} & set(methods)):
        raise ValueError(
            f"method = {setting.method!r}: {refused[0]} is for classifiers, and the answers of "
            f"{setting.task} are texts"
        )
    for name, usual in (("seeds_per_batch", 1), ("evals_per_epoch", 0)):
        if getattr(setting, name) != usual:
            raise ValueError(
                f"{name} = {getattr(setting, name)} is for classifiers, and the answers of "
                f"{setting.task} are texts: set it to {usual}"
            )
