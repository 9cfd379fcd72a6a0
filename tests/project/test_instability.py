"""The command `instability`: its help, its exit codes, and as pip installs it."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import partial

import pytest
import yaml
from support.project import outcome, run_python

from lib import __main__ as command
from lib import paths
from lib.report.command import parser

EXAMPLES = paths.DATA / "examples"
#: What takes a second or more to import, alone or together.
HEAVY = ("numpy", "pandas", "scipy", "matplotlib", "pyarrow", "pydantic", "sklearn", "torch")
#: What pip reads of the project, besides lib.
PACKAGING = (
    "pyproject.toml", "setup.py", "requirements.txt", "README.md", "LICENSE", "LICENSE-TEXT",
)  # fmt: skip


said = partial(outcome, command.main)


def test_help_names_every_command_and_loads_none():
    script = f"""
import contextlib, sys
from lib.__main__ import main
with contextlib.suppress(SystemExit):
    main(["--help"])
print([name for name in {HEAVY} if name in sys.modules])
"""
    done = run_python("-c", script)
    assert all(f"\n{name} " in done.stdout for name in command.COMMANDS), done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("report", ["PATH", "--against", "--gate", "seed0.csv"]),
        ("certificate", ["FEATURES", "--strength", "test_features"]),
        ("seeds-needed", ["RUNS", "--difference D", "--half-width H", "√(2/n)"]),
    ],
)
def test_each_command_has_help_under_its_own_name(capsys, name, words):
    code, out, _ = said(capsys, name, "--help")
    assert code == 0 and out.startswith(f"usage: instability {name} [-h]")
    assert all(word in out for word in words) and set(command.COMMANDS) == {
        "report", "certificate", "seeds-needed"
    }  # fmt: skip


def test_a_command_does_what_its_module_does(capsys, tmp_path):
    module, table = ["-m", "lib.report"], str(EXAMPLES / "predictions.csv")
    done = run_python(*module, table, "--format", "markdown")
    assert said(capsys, "report", table, "--format", "markdown")[:2] == (0, done.stdout)
    done = run_python("-m", "lib.theory", "--help").stdout
    assert done.startswith("usage: python -m lib.theory [-h]")
    code, out, _ = said(
        capsys, "certificate", EXAMPLES / "features.npz", "--strength", 1, "--out", tmp_path
    )
    assert code == 0 and "λ = 1: without any one" in out and (tmp_path / "test_1.csv").exists()


def test_exit_codes_are_those_of_the_commands(capsys, tmp_path):
    absent = tmp_path / "absent.csv"
    for code, *arguments in (
        (2,), (2, "reprot"), (2, "report", absent), (2, "certificate", absent),
        (2, "seeds-needed", absent), (3, "report", absent, "--against", absent, "--gate"),
    ):  # fmt: skip
        found, out, error = said(capsys, *arguments)
        assert found == code and not out and "Traceback" not in error


def test_the_example_for_continuous_integration_has_the_core_and_options_that_exist():
    text = (paths.ROOT / "docs" / "github-action.yml").read_text()
    (step,) = [
        step for step in yaml.safe_load(text)["jobs"]["gate"]["steps"] if "git+" in str(step)
    ]
    assert step["run"].split() == ["pip", "install", '"git+ADDRESS"']
    commands = re.findall(r"^ +instability report (.+?)(?: >>.*| \|\|.*)?$", text, re.M)
    options = [parser().parse_args(line.split()) for line in commands]
    assert [one.gate for one in options] == [False, True]
    assert all((one.path, one.against) == ("candidate", ["baseline"]) for one in options)


def test_what_pip_installs_works_away_from_the_checkout(tmp_path):
    """The package by itself, with the files that are no code; what it needs is here already."""
    project, site = tmp_path / "project", tmp_path / "site"
    shutil.copytree(paths.ROOT / "lib", project / "lib")
    for name in PACKAGING:
        shutil.copy(paths.ROOT / name, project)
    install = ["-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(project)]
    done = run_python(*install)
    if "setuptools" in done.stderr and done.returncode:
        pytest.skip(f"no package index: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr
    scripts = tomllib.loads((project / "pyproject.toml").read_text())["project"]["scripts"]
    assert list(scripts) == ["instability"] == os.listdir(site / "bin")
    for arguments, word in (
        (["report", EXAMPLES / "predictions.csv"], "instability-report/report.html"),
        (["certificate", EXAMPLES / "features.npz"], "written: certificate"),
        (["seeds-needed", EXAMPLES / "predictions.csv"], "You have 5."),
    ):
        done = subprocess.run(
            [sys.executable, site / "bin" / "instability", *arguments],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(site)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0 and word in done.stdout, done.stderr
    assert (tmp_path / "instability-report" / "report.html").exists()
