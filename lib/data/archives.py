"""Files taken out of wheels (zip) and source distributions (tar), hostile archives refused."""

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from lib.errors import AssetError

#: Nothing taken out here has more files; an archive may declare millions of empty ones.
MAX_FILES = 10_000


def unpack(archive: Path, members: tuple[str, ...], target: Path, *, limit: int) -> None:
    """Extract the listed members into the folder ``target``; a trailing slash takes a folder.

    Raises ``AssetError`` for a member that is not there, is no plain file or has a path outside the
    archive, for members of more than ``limit`` bytes or more than ``MAX_FILES`` files together, and
    for a damaged archive. No member gives more bytes than it declares. What was extracted by then
    is the caller's to delete.
    """
    target.mkdir(exist_ok=True)
    total, count, missing = 0, 0, set(members)
    try:
        for name, size, plain, open_file in tqdm(
            _files(archive), desc=f"unpack {archive.name}", unit="file", leave=False
        ):
            asked = [m for m in members if name == m or (m.endswith("/") and name.startswith(m))]
            if not asked:
                continue
            missing.difference_update(asked)
            total, count = total + size, count + 1
            inside = PurePosixPath(name)
            if inside.is_absolute() or ".." in inside.parts:
                raise AssetError(f"{archive.name} holds a path outside itself: {name}")
            if not plain:
                raise AssetError(f"{archive.name} holds {name} as a link or device, not as a file")
            if total > limit:
                raise AssetError(f"{archive.name} would unpack to more than {limit:,} bytes")
            if count > MAX_FILES:
                raise AssetError(f"{archive.name} would unpack to more than {MAX_FILES:,} files")
            path = target / inside
            path.parent.mkdir(parents=True, exist_ok=True)
            with open_file() as source, open(path, "wb") as sink:
                shutil.copyfileobj(source, sink)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise AssetError(f"{archive.name} is damaged: {error}") from error
    if missing:
        raise AssetError(f"{archive.name} holds no {', '.join(sorted(missing))}")


def _files(path: Path) -> Iterator[tuple[str, int, bool, Callable[[], IO[bytes]]]]:
    """By file: its path inside, its size unpacked, whether it is a plain file, how to open it."""
    if path.name.endswith(".tar.gz"):
        # In one pass: going back in a compressed tar file decompresses it from the start.
        with tarfile.open(path, "r|gz") as archive:
            for info in archive:
                if not info.isdir():
                    yield info.name, info.size, info.isreg(), partial(archive.extractfile, info)
    else:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    plain = not stat.S_ISLNK(info.external_attr >> 16)
                    yield info.filename, info.file_size, plain, partial(archive.open, info)
