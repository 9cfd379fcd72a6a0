"""A folder that takes a campaign to a machine without network, Jupyter or datasets.

``pack`` writes, for every setting of a configuration, its prepared arrays (tokens, labels, ids; no
text), the unpacked backbones and, if asked, the wheels of the packages that training needs. There,
``COMPENDIUM_BUNDLE`` names the folder. Each file is checked against its sha256 before it is read.

    prepared/<key>.npz   the arrays of one setting's data, and what describes them
    cache/               unpacked backbones, as ``lib.assets`` lays them out
    wheels/              for ``pip install --no-index --find-links``
    contents.json        sha256 of every file but the wheels
"""

import argparse
import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tqdm import tqdm

from lib import assets, backbones, paths, pretrained, provenance, tasks
from lib.batches import Encoded
from lib.config import Setting
from lib.errors import AssetError, argument
from lib.grids import load_grids
from lib.preparation import Prepared, prepare

#: What training and measuring import.
PACKAGES = (
    "torch", "transformers", "peft", "numpy", "scipy", "pandas", "pyarrow", "scikit-learn",
    "pyyaml", "pydantic", "threadpoolctl", "statsmodels", "tqdm", "onnx", "gguf",
)  # fmt: skip
_PARTS = ("train", "validation", "evaluation")
#: Fields of a setting that decide what it trains and evaluates on.
_DATA_FIELDS = (
    "task", "text_columns", "label_column", "train_rows", "subset_seed", "eval_rows",
    "eval_split", "max_length",
)  # fmt: skip


@dataclass(frozen=True)
class Inputs:
    """What a setting is trained on: a backbone, data, and the sha256 of the files they are from."""

    located: pretrained.Located
    data: Prepared
    sources: dict[str, str]


def inputs(setting: Setting, root: Path | None = paths.BUNDLE) -> Inputs:
    """Backbone and data of a setting, from the bundle ``root`` if there is one; else read and
    prepared here, fetched on first use.

    Raises ``AssetError`` if the bundle lacks the data, or holds other files than were packed.
    """
    with assets.recording() as sources:
        located = pretrained.locate(setting.backbone)
        if root:
            return Inputs(located, *_read(root, setting, located.sha256))
        data = prepare(setting, located.sha256, lambda: backbones.load_tokenizer(located))
    if tasks.is_own_file(setting.task):
        sources[setting.task] = provenance.file_sha256(Path(setting.task))
    return Inputs(located, data, sources)


def _key(setting: Setting, tokenizer_sha256: str) -> str:
    return provenance.digest([getattr(setting, name) for name in _DATA_FIELDS], tokenizer_sha256)


def _read(root: Path, setting: Setting, tokenizer_sha256: str) -> tuple[Prepared, dict[str, str]]:
    name = f"prepared/{_key(setting, tokenizer_sha256)}.npz"
    path = root / name
    expected = json.loads((root / "contents.json").read_text()).get(name)
    if expected is None:
        raise AssetError(f"{root} holds no data of {setting.id}; pack it with that setting")
    if not path.exists() or (found := provenance.file_sha256(path)) != expected:
        raise AssetError(f"{path} has sha256 {found if path.exists() else 'none: it is missing'}, "
                         f"expected {expected}: copy the bundle again")  # fmt: skip
    with np.load(path, allow_pickle=False) as stored:
        arrays = {key: stored[key] for key in stored.files}
    said = json.loads(str(arrays.pop("said")))
    sources = said.pop("sources")
    parts: dict[str, Encoded | None] = dict.fromkeys(_PARTS)
    for part in said.pop("parts"):
        values = {
            key.partition("/")[2]: value
            for key, value in arrays.items()
            if key.startswith(f"{part}/")
        }
        parts[part] = Encoded(**values | {"choices": int(values["choices"])})
    described = {
        key: tuple(value) if isinstance(value, list) else value for key, value in said.items()
    }
    return Prepared(**parts, **described), sources


def _write(root: Path, setting: Setting, located: pretrained.Located) -> None:
    target = root / "prepared" / f"{_key(setting, located.sha256)}.npz"
    if target.exists():
        return
    found = inputs(setting, None)
    data = found.data
    said: dict[str, Any] = {
        field.name: getattr(data, field.name)
        for field in dataclasses.fields(Prepared)
        if field.name not in _PARTS
    }
    present = [part for part in _PARTS if getattr(data, part) is not None]
    arrays = {
        f"{part}/{name}": value
        for part in present
        for name, value in vars(getattr(data, part)).items()
    }
    said |= {"sources": found.sources, "parts": present}
    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(target, said=np.array(json.dumps(said)), **arrays)


def pack(configuration: str, root: Path) -> None:
    """Write the prepared data and the backbones of all settings of a configuration to a folder.

    What is there already stays, so that several configurations can share a folder.
    """
    grids = load_grids(configuration)
    settings = {setting.id: setting for grid in grids for setting in grid.settings}
    for setting in tqdm(settings.values(), desc="pack", unit="setting"):
        located = pretrained.locate(setting.backbone)
        source = Path(located.path)
        if not source.is_relative_to(paths.CACHE):
            raise AssetError(
                f"backbone {setting.backbone} is no registered one, so a machine without a network "
                "has to be given it as a local folder"
            )
        inside = Path(
            *source.relative_to(paths.CACHE).parts[: 2 if "converted" in source.parts else 1]
        )
        if not (root / "cache" / inside).exists():
            shutil.copytree(paths.CACHE / inside, root / "cache" / inside)
        _write(root, setting, located)
    files = [path for part in ("prepared", "cache") for path in sorted((root / part).rglob("*"))]
    contents = {
        path.relative_to(root).as_posix(): provenance.file_sha256(path)
        for path in files
        if path.is_file()
    }
    (root / "contents.json").write_text(json.dumps(contents, indent=1) + "\n")


def check(root: Path) -> int:
    """Compare every file of a bundle with its sha256; their number, or ``AssetError``."""
    contents = json.loads((root / "contents.json").read_text())
    for name, expected in tqdm(contents.items(), desc="check", unit="file", leave=False):
        path = root / name
        found = provenance.file_sha256(path) if path.is_file() else "none: it is missing"
        if found != expected:
            raise AssetError(f"{path} has sha256 {found}, expected {expected}: copy it again")
    return len(contents)


def requirements(without: Iterable[str] = ()) -> list[str]:
    """``name==version`` of what training needs and what that needs in turn, as installed here.

    ``without``: packages that the other machine has, which are left out with all that only they
    need: ``torch`` brings gigabytes.
    """
    left_out = {canonicalize_name(name) for name in without}
    found: dict[str, str] = {}
    open_names = list(PACKAGES)
    while open_names:
        name = canonicalize_name(open_names.pop())
        if name in found or name in left_out:
            continue
        found[name] = metadata.version(name).partition("+")[0]
        for line in metadata.requires(name) or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                open_names.append(needed.name)
    return sorted(f"{name}=={version}" for name, version in found.items())


def download_wheels(root: Path, without: Iterable[str] = (), python: str = "") -> None:
    """Put the wheels of ``requirements`` into the folder.

    They are for this platform, or for Linux on x86-64 with the Python of version ``python``.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--dest", str(root / "wheels")]
    if python:
        command += ["--python-version", python, "--implementation", "cp"]
        command += [f"--platform=manylinux_2_{minor}_x86_64" for minor in (28, 27, 17)]
        command += ["--platform=manylinux2014_x86_64"]
    subprocess.run([*command, *requirements(without)], check=True)


def main(arguments: list[str] | None = None) -> None:
    """``python -m lib.bundle pack CONFIG FOLDER``, and ``check FOLDER`` on the other machine."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.bundle", description=__doc__.split("\n")[0]
    )
    actions = parser.add_subparsers(dest="action", required=True)
    packing = actions.add_parser("pack", help="write what a configuration needs to a folder")
    packing.add_argument(
        "config", type=argument(load_grids), help="name in config/ or path of a .yaml file"
    )
    packing.add_argument("folder", type=Path)
    packing.add_argument("--wheels", action="store_true", help="also the packages' wheels")
    packing.add_argument(
        "--without", nargs="+", default=[], metavar="PACKAGE", help="that the other machine has"
    )
    packing.add_argument("--python", default="", help="of the other machine, like 3.12")
    checking = actions.add_parser("check", help="compare every file with its sha256")
    checking.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    if options.action == "pack":
        pack(options.config, options.folder)
        if options.wheels:
            download_wheels(options.folder, options.without, options.python)
    print(f"{options.folder}: {check(options.folder)} files as packed")


if __name__ == "__main__":
    main()
