"""One list of dependencies, kept in step; and the environment file as pip would install it."""

import ast
import re
import sys
import tomllib

import yaml
from support.project import git, project_files

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
    assert project["dynamic"] == ["dependencies", "optional-dependencies"]


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
    provided |= {"websocket": "websocket-client"}
    direct = names(requirement_lines("requirements.txt"))
    imported = set()
    for path in project_files("lib/**/*.py", "tests/**/*.py", "benchmarks/*.py", "docs/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
    ours = {"lib", "benchmarks", "support", "docs"}
    third_party = imported - sys.stdlib_module_names - ours
    assert {provided.get(name, name.replace("_", "-")) for name in third_party} <= direct


def test_every_room_of_lib_is_installed_and_not_ignored():
    assert git("check-ignore", "lib").returncode == 1
    declared = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert declared["packages"]["find"] == {"include": ["lib*"]}
    folders = {path.parent for path in project_files("lib/**/*.py")}
    assert all((folder / "__init__.py").is_file() for folder in folders)
