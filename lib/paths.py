"""Where things are. Absolute, from this file: a notebook finds them from any working directory.

Environment variables redirect what is written and fetched, never what is committed:

COMPENDIUM_CACHE   downloads and tokenised data (default ``data/raw``); can be shared by checkouts
COMPENDIUM_OUTPUT  runs, results and figures (default: this checkout); tests point it elsewhere
COMPENDIUM_BUNDLE  a folder made by ``lib.bundle`` for a machine without network; its ``cache`` then
                   takes the place of ``data/raw``
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data"
PUBLISHED = DATA / "reference"
#: Promoted results: ``reference``, ``reference-ladder``, …
COMMITTED = DATA / "results"

OUTPUT = Path(os.environ.get("COMPENDIUM_OUTPUT") or ROOT).resolve()
BUNDLE = Path(os.environ["COMPENDIUM_BUNDLE"]) if os.environ.get("COMPENDIUM_BUNDLE") else None
CACHE = Path(
    os.environ.get("COMPENDIUM_CACHE") or (BUNDLE / "cache" if BUNDLE else DATA / "raw")
).resolve()
RUNS = OUTPUT / "data" / "runs"


def is_reference(name: str) -> bool:
    """Whether results of this name are committed: ``reference``, ``reference-<configuration>``."""
    return name.split("-")[0] == "reference"


def reference_of(name: str) -> str:
    """Name of the committed results of a configuration; those of ``quick`` are ``reference``."""
    return "reference" if name == "quick" else f"reference-{name}"


def results(name: str) -> Path:
    """Folder of the results of a configuration; those called reference are the committed ones."""
    return COMMITTED / name if is_reference(name) else OUTPUT / "data" / "results" / name


def figures(name: str) -> Path:
    """Folder of the figures of a configuration; the references draw into ``figures`` itself."""
    return ROOT / "figures" if is_reference(name) else OUTPUT / "figures" / name


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """An empty folder that takes the place of ``target``, whole, once the block has filled it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        fresh = Path(scratch) / "fresh"
        fresh.mkdir()
        yield fresh
        if target.exists():
            os.replace(target, Path(scratch) / "stale")
        os.replace(fresh, target)


def space_left() -> str:
    """A sentence on the room left for output if it is short (below 1 GiB), else nothing.

    For the end of a failed command: what a job had to say goes to the disk that may be full.
    """
    place = next(path for path in (OUTPUT, *OUTPUT.parents) if path.exists())
    free = shutil.disk_usage(place).free // 2**20
    return f"only {free} MiB are free in {OUTPUT}" if free < 1024 else ""
