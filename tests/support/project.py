"""The project from outside: processes, copies of it, and runs of a setting."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib import paths
from lib.config import Setting

#: A name of a file or folder that a shell would take apart.
HOSTILE = "da ys; touch canary; \"'$(touch canary)`touch canary`&|>"
#: Seconds after which a command hangs; several times what it takes on a busy machine.
PATIENCE = 900


def train_runs(setting: Setting, seeds: Any, **options: Any) -> Any:
    """The run of a setting and a seed, or the runs of several seeds as one program."""
    from lib.training.experiment import finetune
    from lib.training.inputs import prepare_inputs

    return finetune(prepare_inputs(setting), seeds, **options)


def run_python(
    *arguments: str, cwd: Path = paths.ROOT, **environment: str
) -> subprocess.CompletedProcess:
    """Run this Python in a process of its own; output is captured."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        check=False,
    )


def outcome(main: Callable[[list[str]], None], capsys: Any, *arguments: object) -> tuple:
    """Exit code, standard output and error of a command, called in this process."""
    code = 0
    try:
        main([str(one) for one in arguments])
    except SystemExit as error:
        code = error.code
    return code, *capsys.readouterr()


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
