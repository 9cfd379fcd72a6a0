"""A clone in a folder with a space, with what earlier work left: the static tests pass there."""

import subprocess

import pytest
from support.project import copy_project, environment_of, run_python

from lib import paths

STATIC = [f"tests/project/test_{name}.py" for name in ("contents", "environment", "readme")]
STATIC.append("tests/notebooks/test_notebooks.py")
#: Names that patterns would find, of files that nothing can read.
NAMES = ["31_litter.ipynb", "31_litter.svg", "test_litter.py"]
NAMES += [f"litter.{suffix}" for suffix in ("csv", "parquet", "yaml")]


def ignored_folders():
    """A folder for each pattern of .gitignore: the first in the clone, the others all over it."""
    lines = (paths.ROOT / ".gitignore").read_text().splitlines()
    patterns = [line.rstrip("/") for line in lines if line and line[0] not in "#!"]
    for pattern in patterns:
        name = pattern.replace("*", "litter")
        yield name
        if "/" not in pattern:
            yield from (f"{place}/{name}" for place in ("figures", "lib", "notebooks", "tests"))


@pytest.mark.slow
def test_the_static_tests_pass_in_a_clone_full_of_litter(tmp_path):
    clone = copy_project(tmp_path / "new comer" / "clone")
    subprocess.run(["git", "init", "-q"], cwd=clone, check=True)
    for folder in ignored_folders():
        (clone / folder).mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            (clone / folder / name).write_bytes(b"\xff litter")
    static = ["-m", "pytest", "-q", "-m", "not slow", "-k", "not from_any_directory", *STATIC]
    for command in (["-m", "ruff", "check", "."], static):
        done = run_python(*command, cwd=clone, **environment_of(clone))
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
