"""`make archive`: the files of a commit, the same bytes each time, of use where there is no git."""

import json
import os
import shutil
import subprocess
import tomllib
import zipfile

import pytest
import yaml
from support.project import copy_project, environment_of, run_python

from lib import paths

SAYS = """
import json
from lib import paths, provenance
from support.project import project_files
made = provenance.made_by()
files = sorted(path.relative_to(paths.ROOT).as_posix() for path in project_files())
print(json.dumps({"commit": made["commit"], "lib": made["lib"], "files": files}))
"""


def git(folder, *arguments):
    who = ("-c", "user.name=t", "-c", "user.email=t@t")
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout


def make(folder, **environment):
    """Call `make archive`; the archive and what was said."""
    environment = {**os.environ, **environment}
    done = subprocess.run(
        ["make", "archive"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (archive,) = folder.glob("build/*.zip")
    return archive, done.stdout + done.stderr


def says(folder):
    """What the code in a folder knows of its commit, of `lib` and of its files."""
    environment = environment_of(folder)
    environment["PYTHONPATH"] += f"{os.pathsep}{folder / 'tests'}"
    done = run_python("-c", SAYS, cwd=folder, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    if shutil.which("git") is None:
        pytest.skip("an archive is made by git, and git is not installed")
    clone = copy_project(tmp_path_factory.mktemp("archived") / "clone")
    # An archive that these tests run in names its commit, which the file of a checkout does not.
    (clone / ".git_archival.txt").write_text("node: $Format:%H$\n")
    git(clone, "init", "-q")
    git(clone, "add", "--all")
    git(clone, "commit", "-q", "-m", "all")
    return clone


@pytest.mark.slow
def test_an_archive_says_its_commit_and_holds_the_files_of_it(checkout, tmp_path):
    archive, said = make(checkout)
    commit = git(checkout, "rev-parse", "HEAD").strip()
    assert f"commit {commit}" in said and "uncommitted" not in said
    # Around the unpacked folder is another repository, with a commit and rules of its own.
    around = tmp_path / "a repository"
    around.mkdir()
    git(around, "init", "-q")
    (around / ".gitignore").write_text("*\n")
    git(around, "commit", "-q", "--allow-empty", "-m", "another")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(around)
    unpacked = around / archive.stem
    tracked = sorted(filter(None, git(checkout, "ls-files", "-z").split("\0")))
    before, after = says(checkout), says(unpacked)
    assert before["commit"] == commit[:12]
    assert after["commit"] == f"{commit[:12]} of an archive"
    assert before["files"] == after["files"] == tracked
    assert before["lib"] == after["lib"]
    for name in set(tracked) - {".git_archival.txt"}:
        assert (unpacked / name).read_bytes() == (checkout / name).read_bytes(), name

    plan = run_python(
        "-m", "lib.workflow", "status", "quick", cwd=unpacked, **environment_of(unpacked)
    )
    assert plan.returncode == 0, plan.stderr
    promote = ("-m", "lib.workflow", "promote", "quick", "some", "--commit")
    refused = run_python(*promote, cwd=unpacked, **environment_of(unpacked))
    assert refused.returncode == 2 and "is no git checkout" in refused.stderr
    again = subprocess.run(["make", "archive"], cwd=unpacked, capture_output=True, text=True)
    assert again.returncode != 0 and "no git checkout" in again.stderr


@pytest.mark.slow
def test_an_archive_of_a_commit_is_always_the_same_bytes(checkout):
    first = make(checkout, TZ="Asia/Tokyo")[0].read_bytes()
    os.utime(checkout / "README.md", (1, 1))
    (checkout / "lib/measures/untracked.py").touch()
    readme = (checkout / "README.md").read_text()
    (checkout / "README.md").write_text(readme + "changed")
    archive, said = make(checkout, TZ="America/New_York")
    (checkout / "README.md").write_text(readme)
    (checkout / "lib/measures/untracked.py").unlink()
    assert "uncommitted changes are left out" in said
    assert archive.read_bytes() == first


def test_the_version_is_the_same_in_both_files_that_have_one():
    cited = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["project"]
    assert cited["version"] == project["version"]


def test_this_checkout_or_archive_knows_what_it_is():
    text = (paths.ROOT / ".git_archival.txt").read_text()
    assert ("$Format" in text) == (paths.ROOT / ".git").exists()
