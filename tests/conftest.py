"""Shared fixtures: a task of invented sentences, and a copy of the project to run or change."""

import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from support.batches import Batch

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TQDM_DISABLE"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
# Where a test calls make, it is the outermost, also when `make test` runs the tests.
os.environ["MAKELEVEL"] = "0"
os.environ["MAKEFLAGS"] = ""
os.environ.pop("ARGS", None)
# As in the Snakefile.
os.environ["JUPYTER_PATH"] = f"{sys.prefix}/share/jupyter"

from lib.config import Setting

pytest.register_assert_rewrite("support.batches", "support.notebooks")
# A busy machine fails no test.
# Cases are the same in every run of one version of the code, so that whoever tests it sees what we
# saw; HYPOTHESIS=search looks for new ones.
for name, same in (("same cases", True), ("search", False)):
    settings.register_profile(
        name, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=same
    )
settings.load_profile(os.environ.get("HYPOTHESIS", "same cases"))


GOOD = ["the soup was warm and kind", "a bright and patient little boat", "we liked the calm river"]
BAD = ["the soup was cold and mean", "a dull and hasty little boat", "we feared the wild river"]
PLACES = ["in the north", "by the mill", "near the old gate", "under the bridge", "on the hill"]


@pytest.fixture(scope="session")
def own_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of 120 invented sentences in two classes, 40 of them for development."""
    draw = random.Random(0)
    lines = ["text,label,split"]
    for i in range(120):
        label = i % 2
        sentence = f"{draw.choice(GOOD if label else BAD)} {draw.choice(PLACES)} on day {i}"
        lines.append(f"{sentence},{'good' if label else 'bad'},{'dev' if i >= 80 else 'train'}")
    path = tmp_path_factory.mktemp("own") / "days.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def tiny(own_file: Path) -> Setting:
    """A setting that trains in about a second."""
    return Setting(task=str(own_file), epochs=2, learning_rate=1e-3, max_length=32)


@pytest.fixture(scope="session")
def located():
    """Where bert-tiny is."""
    from lib.models import pretrained

    return pretrained.locate("bert-tiny")


@pytest.fixture
def inputs(tiny: Setting):
    """What the runs of ``tiny`` start from."""
    from lib.training.inputs import prepare_inputs

    return prepare_inputs(tiny)


@pytest.fixture
def data(inputs):
    """The task of ``tiny`` in the tokens of bert-tiny."""
    return inputs.data


@pytest.fixture(scope="session")
def tiny_hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of randomly initialised models, one a family, saved as the hub lays them out."""
    from support import tiny_models

    root = tmp_path_factory.mktemp("models")
    for family in tiny_models.FAMILIES:
        tiny_models.save(family, root / family)
    for family in set(tiny_models.GENERATING) - set(tiny_models.FAMILIES):
        tiny_models.save_seq2seq(family, root / family)
    return root


@pytest.fixture(scope="session")
def invented_datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GLUE and SuperGLUE of invented rows, in the layout and the schemas of the hub."""
    from support import hub_layout

    return hub_layout.write(tmp_path_factory.mktemp("datasets"))


@pytest.fixture
def hub(invented_datasets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tasks are read from the invented layout; what ``datasets`` converts goes to a scratch."""
    import datasets

    monkeypatch.setenv("HUB_DATASETS", str(invented_datasets))
    monkeypatch.delenv("GLUE_DIR", raising=False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "converted")
    return invented_datasets


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory, own_file: Path) -> Callable[..., Path]:
    """The output of a batch of the fault tests without a fault; each grid is run once."""
    from support.batches import GRID, undisturbed

    outputs: dict[str, Path] = {}

    def output_of(grid: str = GRID, files: dict[str, str] | None = None, **options: Any) -> Path:
        if grid not in outputs:
            folder = tmp_path_factory.mktemp("calm")
            outputs[grid] = undisturbed(folder, own_file, grid, files, **options)
        return outputs[grid]

    return output_of


@pytest.fixture
def new_batch(tmp_path: Path, own_file: Path) -> Iterator[Callable[..., "Batch"]]:
    """Make batches for the fault tests; what they leave running is ended with the test."""
    from support.batches import Batch

    made: list[Batch] = []

    def make(*arguments: Any, **options: Any) -> Batch:
        made.append(Batch(tmp_path / f"batch{len(made)}", own_file, *arguments, **options))
        return made[-1]

    yield make
    for batch in made:
        batch.kill_all()
