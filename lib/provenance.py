"""What made a result: commit, versions, device, and the version of the behaviour that made it."""

import ast
import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from lib import paths

#: Versions of how runs are trained and evaluated, by the kind of backbone. A run counts as done
#: while the version that made it is today's, whatever else changed in the code. Raise a version, to
#: "2", "3", …, when runs come out otherwise: `tests/training/test_behaviour.py` trains with the
#: archived code of the versions named here and fails when they do. The first goes by the digest of
#: its code.
TRAINING_VERSIONS = {"encoder": "b1c8fe2221e9fc23", "decoder": "2"}
#: The same for what runs that generate texts do beside, whatever the backbone.
GENERATION_VERSION = "3"
#: The same for the distances between layer vectors, which cannot be computed again once the vectors
#: are deleted.
DISTANCE_VERSION = "36b91da4219e565e"
#: Code that decides measures, besides that of the distances. It has no version, for measures can be
#: made again at any time, and no more has that of analyses and figures: its digest stands for it.
MEASURING = ("lib/measures", "lib/results")


def training_code(architecture: str, *, generates: bool) -> str:
    """The version of the behaviour that makes runs, as their records hold it.

    ``architecture``: a key of ``TRAINING_VERSIONS``; ``generates``: whether the answers are texts.
    """
    version = TRAINING_VERSIONS[architecture]
    return f"{version}+{GENERATION_VERSION}" if generates else version


def digest(*parts: object) -> str:
    """First 16 hex digits of the sha256 of the parts' canonical JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """sha256 of a file, hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_prose(part: ast.stmt) -> bool:
    return isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)


@functools.cache
def _code(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        cells = [cell for cell in cells if "parameters" not in cell["metadata"].get("tags", [])]
        text = "\n".join("".join(cell["source"]) for cell in cells)
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [part for part in body if not _is_prose(part)]
    return ast.dump(tree)


def code_fingerprint(*names: str) -> str:
    """Digest of notebooks, modules and rooms, by their paths below the root of the project: blind
    to comments, docstrings and layout, and in notebooks to the values of parameters.
    """
    found = [(paths.ROOT / name, sorted((paths.ROOT / name).rglob("*.py"))) for name in names]
    return digest(*(_code(file) for path, files in found for file in files or [path]))


def commit() -> tuple[str, bool]:
    """(commit, dirty): the checkout's commit and whether tracked files differ from it, but for
    notebooks, figures and results, which a run of the analyses rewrites. An archive knows its
    commit (``make archive``, and those of hosts of repositories), but not whether it was changed.
    """
    if not (paths.ROOT / ".git").exists():  # a repository around an archive is another
        with contextlib.suppress(OSError):
            archived = (paths.ROOT / ".git_archival.txt").read_text()
            if found := re.match(r"node: ([0-9a-f]{12})", archived):
                return f"{found[1]} of an archive", False
        return "not a git checkout", False
    what = (".", ":!notebooks", ":!figures", ":!data/results")
    command = ("git", "status", "--porcelain=v2", "--branch", "--untracked-files=no", "--", *what)
    try:
        done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "not a git checkout", False
    head, *lines = done.stdout.splitlines()
    return head.split()[-1][:12], any(not line.startswith("#") for line in lines)


def versions() -> dict[str, str]:
    """Python and the installed packages that can change a number."""
    installed = {"python": platform.python_version()}
    for name in ("torch", "transformers", "numpy", "scipy", "pandas", "scikit-learn"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            installed[name] = metadata.version(name)
    return installed


def made_by() -> dict[str, Any]:
    """Commit, uncommitted changes, versions, processor, system and the code of ``lib``."""
    head, dirty = commit()
    cpus = Path("/proc/cpuinfo")
    name = re.search(r"model name\s*: (.*)", cpus.read_text() if cpus.exists() else "")
    return {
        "commit": head,
        "dirty": dirty,
        "versions": versions(),
        "processor": name[1] if name else platform.processor() or platform.machine(),
        "system": platform.system(),
        "lib": _files_sha256(paths.ROOT / "lib"),
    }


def _files_sha256(folder: Path) -> str:
    """Digest of the files in a folder, by name and contents; what Python compiles is none."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".pyc")
    return digest(*((path.relative_to(folder).as_posix(), file_sha256(path)) for path in files))


def colophon(**parameters: object) -> None:
    """Print what made this notebook, with the digest of the files of committed results that are
    named in its parameters. The last cell of each notebook calls it.
    """
    here = made_by()
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    print(f"commit {here['commit']}{' + uncommitted changes' * here['dirty']}, lib {here['lib']}")
    print(" · ".join(f"{name} {version}" for name, version in here["versions"].items()))
    print(f"{here['system']} {platform.machine()}, {here['processor']}, BLAS threads: {threads}")
    for name, value in parameters.items():
        read = name.endswith("results") and isinstance(value, str) and paths.is_reference(value)
        files = f", files {_files_sha256(paths.results(value))}" if read else ""
        print(f"  {name} = {value!r}{files}")
