"""What made a result: commit, versions, device, and the version of the behaviour that made it."""

import ast
import functools
import hashlib
import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from lib import paths

PACKAGES = ("torch", "transformers", "numpy", "scipy", "pandas", "scikit-learn")

#: Versions of how runs are trained and evaluated, by the kind of backbone. A run counts as done
#: while the version that made it is today's, so a change of code that changes no run (a move, a new
#: name, a new option at its default) makes none stale. Raise a version, to "2", "3", …, when runs
#: come out otherwise than before: `tests/test_behaviour.py` trains with the archived code of the
#: versions named here and fails when they do. The first version goes by the digest of its code.
TRAINING_VERSIONS = {"encoder": "b1c8fe2221e9fc23", "decoder": "2"}
#: The same for the distances between layer vectors, which cannot be computed again once the vectors
#: are deleted.
DISTANCE_VERSION = "36b91da4219e565e"
#: The code that decides what tables are made of runs; they can be made again at any time.
MEASURE_CODE = (
    "lib/measures/scoring.py",
    "lib/measures/representation/factors.py",
    "lib/measures/representation/pairs.py",
    "lib/measures/representation/__init__.py",
    "lib/measures/performance.py",
    "lib/measures/prediction.py",
    "lib/measures/intervals.py",
    "lib/measures/summary.py",
    "lib/measures/sample_size.py",
    "lib/results/run_group.py",
    "lib/results/group_tables.py",
    "lib/results/tables.py",
)


def digest(*parts: object) -> str:
    """First 16 hex digits of the sha256 of the parts' canonical JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """sha256 of a file, hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@functools.cache
def _without_prose(source: str) -> str:
    """The code as a syntax tree without docstrings and imports; parsing drops comments."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [
                statement
                for statement in body
                if not isinstance(statement, ast.Import | ast.ImportFrom)
                and not (
                    isinstance(statement, ast.Expr)
                    and isinstance(statement.value, ast.Constant)
                    and isinstance(statement.value.value, str)
                )
            ]
    return ast.dump(tree)


def code_fingerprint(files: tuple[str, ...], root: Path = paths.ROOT) -> str:
    """Digest of Python files (relative to ``root``), blind to comments, docstrings and layout."""
    return digest(*(_without_prose((root / name).read_text()) for name in files))


def notebook_fingerprint(path: Path) -> str:
    """Digest of a notebook's code cells; text, outputs and the parameters' values do not count."""
    cells = json.loads(Path(path).read_text())["cells"]
    code = [
        "".join(cell["source"])
        for cell in cells
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", [])
    ]
    return digest(*(_without_prose(source) for source in code))


def commit() -> tuple[str, bool]:
    """(commit, dirty): the checkout's commit and whether tracked files differ from it.

    Notebooks, figures and results do not count: a run of the analyses rewrites them, and they are
    committed together with what they show.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(paths.ROOT), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        changed = git(
            "status", "--porcelain", "-uno", "--", ".", ":!notebooks", ":!figures", ":!data/results"
        )
        return git("rev-parse", "--short=12", "HEAD"), bool(changed)
    except (OSError, subprocess.CalledProcessError):
        return "not a git checkout", False


def versions() -> dict[str, str]:
    """Python and the installed packages that can change a number."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def library_sha256() -> str:
    """Digest of the files of ``lib`` as they are."""
    files = sorted((paths.ROOT / "lib").rglob("*.py"))
    return digest(*((str(path.relative_to(paths.ROOT)), file_sha256(path)) for path in files))


def machine() -> dict[str, str]:
    """What a result was computed on and by, beyond what decides it: processor, system, code."""
    return {"processor": _processor(), "system": platform.system(), "lib": library_sha256()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def made_by() -> dict[str, object]:
    """Commit, uncommitted changes, versions, processor, system and the code of ``lib``."""
    head, dirty = commit()
    return {"commit": head, "dirty": dirty, "versions": versions(), **machine()}


def results_sha256(name: str) -> str:
    """Digest of the files of committed results, by name and contents."""
    root = paths.results(name)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return digest(*((path.relative_to(root).as_posix(), file_sha256(path)) for path in files))


def colophon(**parameters: object) -> None:
    """Print what made this notebook; the last cell of each notebook calls it.

    Beside committed results named in the parameters stands the digest of their files.
    """
    head, dirty = commit()
    here = machine()
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    lines = [
        f"commit {head}{' + uncommitted changes' if dirty else ''}, lib {here['lib']}",
        " · ".join(f"{name} {version}" for name, version in versions().items()),
        f"{here['system']} {platform.machine()}, {here['processor']}, BLAS threads: {threads}",
    ]
    for name, value in parameters.items():
        read = name.endswith("results") and isinstance(value, str) and paths.is_reference(value)
        lines.append(f"  {name} = {value!r}{f', files {results_sha256(value)}' if read else ''}")
    print("\n".join(lines))
