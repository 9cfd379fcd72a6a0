"""One list of dependencies, kept in step; and the environment file as pip would install it."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
import yaml
from support.project import copy_project, project_files

from lib import paths


def requirement_lines(name):
    lines = (paths.ROOT / name).read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def names(lines):
    return {re.match(r"[A-Za-z0-9_.-]+", line)[0].lower().replace("_", "-") for line in lines}


def test_environment_delegates_to_the_two_lists():
    environment = yaml.safe_load((paths.ROOT / "environment.yml").read_text())
    python, pip, section = environment["dependencies"]
    assert pip == "pip"
    assert section["pip"] == ["-r requirements.txt", "-c constraints.txt", "-e ."]
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["project"]
    assert f">={python.removeprefix('python=')}" == project["requires-python"]
    assert project["dynamic"] == ["dependencies"]


def test_every_requirement_says_who_uses_it_and_is_pinned():
    direct = requirement_lines("requirements.txt")
    assert all(re.search(r"  # \S", line) for line in direct)
    pins = requirement_lines("constraints.txt")
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in pins), "exact, no local tags"
    assert names(direct) <= names(pins)


def test_no_list_names_a_host_or_a_folder():
    for name in ("requirements.txt", "constraints.txt", "environment.yml", "pyproject.toml"):
        text = (paths.ROOT / name).read_text()
        assert "://" not in text and " @ " not in text


def test_every_import_is_a_direct_dependency():
    provided = {"sklearn": "scikit-learn", "yaml": "pyyaml", "procrustes": "qc-procrustes"}
    provided |= {"cka": "pytorch-cka", "IPython": "ipython"}
    direct = names(requirement_lines("requirements.txt"))
    imported = set()
    for path in project_files("lib/**/*.py", "tests/**/*.py", "benchmarks/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
    ours = {"lib", "benchmarks", "support"}
    third_party = imported - sys.stdlib_module_names - ours
    assert {provided.get(name, name.replace("_", "-")) for name in third_party} <= direct


def test_the_folder_lib_is_not_ignored():
    done = subprocess.run(["git", "check-ignore", "lib"], cwd=paths.ROOT, check=False)
    assert done.returncode == 1


@pytest.mark.slow
def test_the_pip_section_resolves_to_the_pins(tmp_path):
    """What conda would hand to pip in an empty environment; `make` installs from the same lists."""
    project = copy_project(tmp_path / "project")
    environment = yaml.safe_load((project / "environment.yml").read_text())
    (project / "section.txt").write_text("\n".join(environment["dependencies"][-1]["pip"]) + "\n")
    plan = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run"]
    plan += ["--ignore-installed", "--report", str(tmp_path / "plan.json"), "-r", "section.txt"]
    done = subprocess.run(
        [sys.executable, *plan], cwd=project, capture_output=True, text=True, check=False
    )
    if done.returncode and "connection broken by" in done.stderr:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr[-3000:]
    planned = {
        one["metadata"]["name"].lower().replace("_", "-"): one["metadata"]["version"].split("+")[0]
        for one in json.loads((tmp_path / "plan.json").read_text())["install"]
    }
    planned.pop("finetuning-instability")
    assert names(requirement_lines("requirements.txt")) <= set(planned)
    lines = (line.split("==") for line in requirement_lines("constraints.txt"))
    pins = {name.lower().replace("_", "-"): version for name, version in lines}
    planned.pop("setuptools", None)  # which `make lock` leaves to pip
    assert planned == {name: pins[name] for name in planned}


@pytest.mark.slow
def test_what_is_installed_is_found_from_any_folder(tmp_path):
    """From the checkout that was installed, which need not be this one."""
    script = (
        "import torch, transformers, datasets, papermill, nbval, snakemake, jupyterlab, seaborn\n"
        "import lib; from lib import measures, plots; from lib.training import finetune\n"
        "print(lib.__file__)\n"
    )
    elsewhere = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=tmp_path, env=elsewhere, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    installed = metadata.distribution("finetuning-instability").read_text("direct_url.json")
    checkout = url2pathname(urlsplit(json.loads(installed)["url"]).path)
    assert done.stdout.strip() == f"{checkout}/lib/__init__.py"
