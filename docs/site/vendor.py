"""JavaScript of others: versions and sha256 are in docs/vendor/vendor.toml, npm fetches it."""

import hashlib
import io
import subprocess
import tarfile
import tempfile
import tomllib
from pathlib import Path

from lib import paths

FOLDER = paths.ROOT / "docs/vendor"


def packages() -> dict[str, dict]:
    """What vendor.toml says: npm package, licence, and the sha256 of each file that is taken."""
    return tomllib.loads((FOLDER / "vendor.toml").read_text())


def fetch(name: str, target: Path) -> None:
    """Write the files of a package into a folder, or raise ValueError before any is written."""
    package = packages()[name]
    with tempfile.TemporaryDirectory() as scratch:
        command = ["npm", "pack", "--silent", "--pack-destination", scratch, package["npm"]]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        archive = next(Path(scratch).glob("*.tgz")).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        contents = {path: files.extractfile(f"package/{path}").read() for path in package["files"]}
    for path, expected in package["files"].items():
        found = hashlib.sha256(contents[path]).hexdigest()
        if found != expected:
            raise ValueError(f"{package['npm']}, {path}: sha256 {found}; expected {expected}")
    for path, content in contents.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_bytes(content)


def fetch_all() -> None:
    """Fetch again what is committed in docs/vendor."""
    for name in packages():
        fetch(name, FOLDER / name)
