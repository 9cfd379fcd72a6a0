"""The project from outside: processes, copies of it, and runs of a setting."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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


def git(*arguments: str) -> subprocess.CompletedProcess:
    """Run git on the project; output is captured. An unpacked archive has no repository, so an
    empty one stands in for it, and never one around the folder.
    """
    if shutil.which("git") is None:
        pytest.skip("needs git, which knows what it ignores, and git is not installed")
    with tempfile.TemporaryDirectory() as empty:
        command = ["git"]
        if not (paths.ROOT / ".git").exists():
            subprocess.run(["git", "init", "-q", empty], check=True)
            command += [f"--git-dir={empty}/.git", f"--work-tree={paths.ROOT}"]
        return subprocess.run(
            [*command, *arguments], cwd=paths.ROOT, capture_output=True, text=True, check=False
        )


def project_files(*patterns: str) -> list[Path]:
    """The project's files that match patterns of git (all), without what it ignores."""
    listed = git("ls-files", "-z", "-co", "--exclude-standard", "--", *patterns)
    listed.check_returncode()
    files = [paths.ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in files if path.is_file()]


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
