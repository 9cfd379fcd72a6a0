"""One list of dependencies, kept in step; and the environment file as pip would install it."""

import ast
import itertools
import re
import subprocess
import sys
import tomllib

import yaml
from support.project import project_files

from lib import paths

PYPROJECT = (paths.ROOT / "pyproject.toml").read_text()
PROJECT = tomllib.loads(PYPROJECT)["project"]
EXTRAS = PROJECT["optional-dependencies"]
#: All that the project asks for itself.
DIRECT = [*PROJECT["dependencies"], *itertools.chain(*EXTRAS.values())]


def lines_of(name):
    lines = (paths.ROOT / name).read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def names(lines):
    return {re.match(r"[A-Za-z0-9_.-]+", line)[0].lower().replace("_", "-") for line in lines}


def test_the_environment_is_the_core_and_every_extra_with_pins():
    environment = yaml.safe_load((paths.ROOT / "environment.yml").read_text())
    python, pip, section = environment["dependencies"]
    assert pip == "pip"
    assert section["pip"] == ["-r requirements.txt", "-c constraints.txt"]
    assert f">={python.removeprefix('python=')}" == PROJECT["requires-python"]
    assert lines_of("requirements.txt") == [f"-e .[{','.join(EXTRAS)}]"]
    assert "-r requirements.txt -c constraints.txt" in (paths.ROOT / "Makefile").read_text()


def test_every_requirement_says_who_uses_it_and_is_pinned():
    explained = re.findall(r'^    "(.+)",  # \S', PYPROJECT, re.M)
    assert set(DIRECT) <= set(explained) and len(names(DIRECT)) == len(DIRECT), "each once"
    pins = lines_of("constraints.txt")
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in pins), "exact, no local tags"
    assert names(DIRECT) <= names(pins)


def test_no_list_names_a_host_or_a_folder():
    for name in ("requirements.txt", "constraints.txt", "environment.yml", "pyproject.toml"):
        text = (paths.ROOT / name).read_text()
        assert "://" not in text and " @ " not in text


def test_every_import_is_a_direct_dependency():
    provided = {"sklearn": "scikit-learn", "yaml": "pyyaml", "procrustes": "qc-procrustes"}
    provided |= {"cka": "pytorch-cka", "IPython": "ipython"}
    imported = set()
    for path in project_files("lib/**/*.py", "tests/**/*.py", "benchmarks/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
    ours = {"lib", "benchmarks", "support"}
    third_party = imported - sys.stdlib_module_names - ours
    assert {provided.get(name, name.replace("_", "-")) for name in third_party} <= names(DIRECT)


def test_every_room_of_lib_is_installed_and_not_ignored():
    done = subprocess.run(["git", "check-ignore", "lib"], cwd=paths.ROOT, check=False)
    assert done.returncode == 1
    declared = tomllib.loads(PYPROJECT)["tool"]["setuptools"]
    assert declared["packages"]["find"] == {"include": ["lib*"]}
    folders = {path.parent for path in project_files("lib/**/*.py")}
    assert all((folder / "__init__.py").is_file() for folder in folders)
