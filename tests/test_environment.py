"""One list of dependencies, kept in step; and the environment file installed for real."""

import ast
import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from conftest import copy_project

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
    provided["cka"] = "pytorch-cka"
    direct = names(requirement_lines("requirements.txt"))
    imported = set()
    for path in [*paths.ROOT.glob("lib/**/*.py"), *paths.ROOT.glob("tests/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
    ours = {"lib", *(path.stem for path in paths.ROOT.glob("tests/*.py"))}
    third_party = imported - sys.stdlib_module_names - ours
    assert {provided.get(name, name.replace("_", "-")) for name in third_party} <= direct


def test_the_folder_lib_is_not_ignored():
    done = subprocess.run(["git", "check-ignore", "lib"], cwd=paths.ROOT, check=False)
    assert done.returncode == 1


@pytest.mark.slow
def test_the_pip_section_installs_into_a_fresh_environment(tmp_path):
    """What conda would hand to pip, in an empty environment of its own."""
    project = copy_project(tmp_path / "project")
    python = tmp_path / "fresh/bin/python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "fresh"], check=True)
    environment = yaml.safe_load((project / "environment.yml").read_text())
    section = environment["dependencies"][-1]["pip"]
    (project / "section.txt").write_text("\n".join(section) + "\n")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*install, "-r", "section.txt"], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    script = (
        "import torch, transformers, datasets, papermill, nbval, snakemake, jupyterlab, seaborn\n"
        "from lib import finetune, measures, plots; print(lib.__file__)\n"
    ).replace("print", "import lib; print")
    done = subprocess.run(
        [python, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == str(project / "lib/__init__.py")
