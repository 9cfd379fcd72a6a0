"""Shared fixtures: a task of invented sentences, and a copy of the project to run or change."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import faults_support

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TQDM_DISABLE"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
# Where a test calls make, it is the outermost, also when `make test` runs the tests.
os.environ["MAKELEVEL"] = "0"
os.environ["MAKEFLAGS"] = ""
# As in the Snakefile.
os.environ["JUPYTER_PATH"] = f"{sys.prefix}/share/jupyter"

from lib import paths
from lib.config import Setting

pytest.register_assert_rewrite("faults_support")
# A busy machine fails no test.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


#: Seconds after which a command hangs; several times what it takes on a busy machine.
PATIENCE = 900
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


def train_runs(setting: Setting, seeds: Any, **options: Any) -> Any:
    """The run of a setting and a seed, or the runs of several seeds as one program."""
    from lib.training.experiment import finetune
    from lib.training.inputs import prepare_inputs

    return finetune(prepare_inputs(setting), seeds, **options)


def run_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run this Python in a process of its own; output is captured."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=paths.ROOT,
        env={**os.environ, **environment},
        check=False,
    )


def project_files(*patterns: str) -> list[Path]:
    """The project's files that match patterns of git (all), without what it ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *patterns],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [paths.ROOT / name for name in listed if (paths.ROOT / name).is_file()]


def copy_project(target: Path) -> Path:
    """A copy of the project's files (without runs and downloads) that a test may change."""
    for path in project_files():
        copied = target / path.relative_to(paths.ROOT)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copied)
    return target


def environment_of(project: Path) -> dict[str, str]:
    """Environment of processes that work in a copy of the project, with our downloads."""
    changed = {"PYTHONPATH": project, "COMPENDIUM_CACHE": paths.CACHE, "COMPENDIUM_OUTPUT": project}
    return {**os.environ, **{name: str(folder) for name, folder in changed.items()}}


@pytest.fixture(scope="session")
def tiny_hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of randomly initialised models, one a family, saved as the hub lays them out."""
    import tiny_models

    root = tmp_path_factory.mktemp("models")
    for family in tiny_models.FAMILIES:
        tiny_models.save(family, root / family)
    return root


@pytest.fixture(scope="session")
def invented_datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GLUE and SuperGLUE of invented rows, in the layout and the schemas of the hub."""
    import hub_layout

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
def book() -> Iterator["faults_support.Book"]:
    """What the fault tests found, written to the file that FAULTS_TABLE names."""
    from faults_support import Book

    book = Book()
    yield book
    if os.environ.get("FAULTS_TABLE"):
        book.write(Path(os.environ["FAULTS_TABLE"]))


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory, own_file: Path) -> Callable[..., Path]:
    """The output of a batch of the fault tests without a fault; each grid is run once."""
    from faults_support import GRID, undisturbed

    outputs: dict[str, Path] = {}

    def output_of(grid: str = GRID, files: dict[str, str] | None = None, **options: Any) -> Path:
        if grid not in outputs:
            folder = tmp_path_factory.mktemp("calm")
            outputs[grid] = undisturbed(folder, own_file, grid, files, **options)
        return outputs[grid]

    return output_of


@pytest.fixture
def new_batch(tmp_path: Path, own_file: Path) -> Iterator[Callable[..., "faults_support.Batch"]]:
    """Make batches for the fault tests; what they leave running is ended with the test."""
    from faults_support import Batch

    made: list[Batch] = []

    def make(*arguments: Any, **options: Any) -> Batch:
        made.append(Batch(tmp_path / f"batch{len(made)}", own_file, *arguments, **options))
        return made[-1]

    yield make
    for batch in made:
        batch.kill_all()
