"""Where pretrained models are: in pinned wheels, on the hub, or in a local folder.

A model is identified by the hash of its files, so this module decides nothing about a run that its
record does not hold: another model in the registry makes no finished run stale.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lib import paths, provenance
from lib.data import assets
from lib.errors import BackboneError, nearest
from lib.models import conversions
from lib.models.backbones import Located, family_of


@dataclass(frozen=True)
class Packaged:
    """A backbone in pinned packages. Where their contents are no model folder, ``convert`` makes
    one of them, which is kept.
    """

    assets: tuple[str, ...]
    convert: Callable[[list[Path], Path], None] | None = None


#: None is a raw masked-LM or language-model checkpoint, so absolute scores do not compare with
#: papers on bert-large or roberta-large.
BACKBONES = {
    # 4.4 M parameters, 2 layers, width 128: BERT-tiny, trained further as a sparse retriever
    "bert-tiny": Packaged(("bert-tiny",)),
    # 17.2 M, 3 layers, width 384: paraphrase-MiniLM-L3-v2, trained further on paraphrases
    "minilm-l3": Packaged(("paraphrase-minilm-l3-onnx", "bert-tiny"), conversions.write_minilm_l3),
    # 22.7 M, 6 layers, width 384: all-MiniLM-L6-v2, trained further contrastively
    "minilm-l6": Packaged(("minilm-l6",)),
    # 109.5 M, 12 layers, width 768: all-mpnet-base-v2, trained further contrastively
    "mpnet-base": Packaged(
        tuple(f"mpnet-base-part{i}" for i in range(1, 6)), conversions.write_mpnet
    ),
    # 134.5 M, 30 layers, width 576: a decoder, SmolLM2-135M-Instruct, dequantised from Q4_1
    "smollm2-135m": Packaged(("smollm2-135m-gguf",), conversions.write_smollm2),
}


def check_name(name: str) -> None:
    """Raise ``ValueError`` with the nearest valid names unless the name can be a backbone."""
    if name not in BACKBONES and "/" not in name and not Path(name).is_dir():
        raise ValueError(
            f"backbone = {name!r} is unknown: {nearest(name, BACKBONES)}, a hub id (org/name), "
            "or a local folder"
        )


def locate(name: str) -> Located:
    """Find or fetch a backbone; downloads, and converts, on first use.

    A hub id without a revision is resolved to the commit it points at now, which the run records.
    Of a folder or a hub id the architecture is checked first, by its name: for one that is not
    known here, transformers would offer to run code that comes with the model.
    """
    check_name(name)
    if name not in BACKBONES:
        is_local = Path(name).is_dir()
        folder = Path(name).resolve() if is_local else _from_hub(name)
        located = Located(str(folder), None if is_local else folder.name, _folder_digest(folder))
        family_of(located)
        return located
    package, sha256 = BACKBONES[name], pinned_sha256(name)
    if package.convert is None:
        return Located(str(assets.contents(*package.assets)), None, sha256)

    def write(folder: Path) -> None:
        package.convert([assets.contents(asset) for asset in package.assets], folder)

    folder = paths.make_once(paths.CACHE / "converted" / f"{name}-{sha256}", write)
    return Located(str(folder), None, sha256)


def _from_hub(name: str) -> Path:
    repository, _, revision = name.partition("@")
    try:
        from huggingface_hub import snapshot_download

        folder = snapshot_download(
            repository,
            revision=revision or None,
            allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model"],
            etag_timeout=10,
        )
    except Exception as error:
        raise BackboneError(
            f"backbone {name!r} could not be read from the hub ({type(error).__name__}). Without "
            f"a network use one that comes with this compendium ({', '.join(BACKBONES)}) or the "
            "path of a local folder."
        ) from error
    return Path(folder)


def _folder_digest(folder: Path) -> str:
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise BackboneError(f"{folder} holds no .safetensors file; other formats are not read")
    files = [*weights, *sorted(folder.glob("*.json")), *sorted(folder.glob("*.txt"))]
    return provenance.digest(*((file.name, provenance.file_sha256(file)) for file in files))


def pinned_sha256(name: str) -> str | None:
    """The hash that identifies a registered backbone, known without fetching it; else None."""
    if name not in BACKBONES:
        return None
    hashes = list(pins(name).values())
    converted = BACKBONES[name].convert is not None
    return provenance.digest(name, hashes, conversions.VERSION) if converted else hashes[0]


def pins(name: str) -> dict[str, str]:
    """The sha256 of the packages that a registered backbone is from, by asset; else none."""
    return assets.pins(*BACKBONES[name].assets) if name in BACKBONES else {}
