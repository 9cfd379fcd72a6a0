"""Where pretrained models are: in pinned wheels, on the hub, or in a local folder.

A model is identified by the hash of its files, so this module decides nothing about a run that its
record does not hold: another model in the registry makes no finished run stale.
"""

from pathlib import Path

from lib import provenance
from lib.data import assets
from lib.errors import BackboneError, nearest
from lib.models import conversions
from lib.models.backbones import Located, family_of

#: From pinned packages. None is a raw masked-LM or language-model checkpoint, so absolute scores do
#: not compare with papers on bert-large or roberta-large.
BACKBONES = (
    # 4.4 M parameters, 2 layers, width 128: BERT-tiny, trained further as a sparse retriever
    "bert-tiny",
    # 17.2 M, 3 layers, width 384: paraphrase-MiniLM-L3-v2, trained further on paraphrases
    "minilm-l3",
    # 22.7 M, 6 layers, width 384: all-MiniLM-L6-v2, trained further contrastively
    "minilm-l6",
    # 109.5 M, 12 layers, width 768: all-mpnet-base-v2, trained further contrastively
    "mpnet-base",
    # 134.5 M, 30 layers, width 576: a decoder, SmolLM2-135M-Instruct, dequantised from Q4_1
    "smollm2-135m",
)


def check_name(name: str) -> None:
    """Raise ``ValueError`` with the nearest valid names unless the name can be a backbone."""
    if name not in BACKBONES and "/" not in name and not Path(name).is_dir():
        raise ValueError(
            f"backbone = {name!r} is unknown: {nearest(name, BACKBONES)}, a hub id (org/name), "
            "or a local folder"
        )


def locate(name: str) -> Located:
    """Find or fetch a backbone; downloads on first use.

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
    if name in conversions.CONVERSIONS:
        return conversions.fetch(name)
    return Located(str(assets.contents(name)), None, assets.ASSETS[name].sha256)


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
    if name in conversions.CONVERSIONS:
        return conversions.CONVERSIONS[name].sha256
    return assets.ASSETS[name].sha256 if name in BACKBONES else None


def pins(name: str) -> dict[str, str]:
    """The sha256 of the packages that a registered backbone is from, by asset; else none."""
    conversion = conversions.CONVERSIONS.get(name)
    return assets.pins(*(conversion.assets if conversion else [name]))
