"""Keep today's code as the archive of a version: ``python tests/behaviour/archive.py 2``."""

import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def archive(version: str) -> Path:
    """Write ``<version>.zip`` beside this file: ``lib`` with the tables that it reads, the texts of
    the course, and the runner as it is now.
    """
    target = HERE / f"{version}.zip"
    if target.exists():
        sys.exit(f"{target.name} is there; an archived version never changes")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as stored:
        read = [ROOT / "data/course/boats.csv", *(ROOT / "lib").rglob("*.toml")]
        for path in sorted([*(ROOT / "lib").rglob("*.py"), *read]):
            stored.writestr(_entry(path.relative_to(ROOT).as_posix()), path.read_bytes())
        stored.writestr(_entry("runner.py"), (HERE / "runner.py").read_bytes())
    return target


def _entry(name: str) -> zipfile.ZipInfo:
    """The same bytes whenever and by whomever it is written."""
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tests/behaviour/archive.py VERSION")
    print(archive(sys.argv[1]))
