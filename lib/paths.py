"""Where things are, and how they are written: whole or not at all, each by one process at a time.

Absolute, from this file: a notebook finds them from any working directory.

Environment variables redirect what is written and fetched, never the committed results:

COMPENDIUM_CACHE   downloads and tokenised data (default ``data/raw``); can be shared by checkouts
COMPENDIUM_OUTPUT  runs, results and figures (default: this checkout); tests point it elsewhere
"""

import contextlib
import errno
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data"
PUBLISHED = DATA / "published"
#: Promoted results: ``reference``, ``reference-ladder``, …
COMMITTED = DATA / "results"

OUTPUT = Path(os.environ.get("COMPENDIUM_OUTPUT") or ROOT).resolve()
CACHE = Path(os.environ.get("COMPENDIUM_CACHE") or DATA / "raw").resolve()
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
    return OUTPUT / "figures" / ("" if is_reference(name) else name)


def space_left() -> str:
    """A sentence on the room left for output if it is short (below 1 GiB), else nothing."""
    existing = next(path for path in (OUTPUT, *OUTPUT.parents) if path.exists())
    free = shutil.disk_usage(existing).free // 2**20
    return f"only {free} MiB are free in {OUTPUT}" if free < 1024 else ""


@contextmanager
def lock(target: Path) -> Iterator[None]:
    """Hold a file or folder while it is made; whoever wants to make it too says so and waits.

    The lock ends with its process, however that ends; what such a process left half-written beside
    the target is deleted. On a file system without locks nobody waits: two processes may make the
    same, and both then move it into place.
    """
    from filelock import FileLock, Timeout

    locks = target.parent / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    held = FileLock(locks / target.name, fallback_to_soft=False)
    try:
        try:
            held.acquire(blocking=False)
        except Timeout:
            print(f"waiting for another process that makes {target}", file=sys.stderr, flush=True)
            held.acquire()
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
            raise
    else:
        for left in target.parent.glob(f".{target.name}-{'[0-9a-f]' * 32}*"):
            _delete(left)
    try:
        yield
    finally:
        held.release()


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """An empty folder to fill, which then becomes ``target``, as ``atomic_file`` does it."""
    with atomic_file(target) as fresh:
        fresh.mkdir()
        yield fresh


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """A path to write to, which then becomes ``target`` in place of what is there.

    Whole or not at all: after an error nothing of it stays, and ``target`` is as it was. Of two
    processes that write the same, the later stays.
    """
    fresh, stale = _scratch(target), _scratch(target)
    try:
        yield fresh
        _sync(fresh)
        while True:
            try:
                os.replace(fresh, target)
                break
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            # Another process may just have moved it.
            with contextlib.suppress(FileNotFoundError):
                os.replace(target, stale)
            _delete(stale)
    finally:
        _delete(fresh)
        _delete(stale)


def make_once(target: Path, write: Callable[[Path], object]) -> Path:
    """The folder ``target``; if it is not there, ``write`` fills an empty one, of several
    processes that ask at once in one of them. If it fails, nothing stays.
    """
    if not target.is_dir():
        with lock(target):
            if not target.is_dir():
                with atomic_folder(target) as fresh:
                    write(fresh)
    return target


def _scratch(target: Path) -> Path:
    """A path beside ``target`` that nobody else has, of the form that ``lock`` deletes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.with_name(f".{target.name}-{uuid.uuid4().hex}{target.suffix}")


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until the disk holds a file, or the files of a folder: else a power cut can leave a
    folder in its place with empty files in it.
    """
    for file in [path, *path.rglob("*")]:
        if file.is_file():
            with open(file, "rb") as stream:
                os.fsync(stream.fileno())
