"""Pretrained models as classifiers: architectures, tokenisers, and which weights are new.

``lib.models.generators`` loads them as models that generate texts.

Where their files are is ``lib.models.pretrained``. Weights are read from safetensors only and no
code of a model repository is ever run.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.errors import BackboneError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Located:
    """Where a backbone's files are, and the hash that identifies its weights and tokeniser."""

    path: str
    revision: str | None
    sha256: str


@dataclass(frozen=True)
class Family:
    """Where an architecture keeps its parts, as dotted paths: ``layers`` from the encoder (or from
    what holds encoder and decoder, a path each), the others from the classifier, which there is
    none of where ``output`` is empty. ``attention``: the fastest implementation that it has.
    """

    layers: tuple[str, ...]
    output: str = ""
    pooler: str | None = None
    decoder: bool = False
    attention: str = "sdpa"


_ROBERTA = Family(("encoder.layer",), "classifier.out_proj", "classifier.dense")
#: By ``model_type`` of the configuration.
FAMILIES = {
    "bert": Family(("encoder.layer",), "classifier", "bert.pooler.dense"),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    # Its relative-position bias is added to the attention scores: there is only the plain form.
    "mpnet": Family(
        ("encoder.layer",), "classifier.out_proj", "classifier.dense", attention="eager"
    ),
    "llama": Family(("layers",), "score", decoder=True),
    "bart": Family(("encoder.layers", "decoder.layers")),
    "t5": Family(("encoder.block", "decoder.block"), attention="eager"),
    # Two BERTs, the second of which looks at what the first has read.
    "encoder-decoder": Family(("encoder.encoder.layer", "decoder.bert.encoder.layer")),
}


def _configuration(located: Located) -> dict[str, Any]:
    path = Path(located.path) / "config.json"
    if not path.is_file():
        raise BackboneError(f"{located.path} holds no config.json")
    config = json.loads(path.read_text())
    if (kind := config.get("model_type")) not in FAMILIES:
        raise BackboneError(
            f"{located.path} is a model of the architecture {kind!r}; supported: "
            f"{', '.join(FAMILIES)}"
        )
    return config


def family_of(located: Located) -> Family:
    """The architecture's entry in ``FAMILIES``; ``BackboneError`` where it has none."""
    return FAMILIES[_configuration(located)["model_type"]]


def architecture_of(located: Located) -> str:
    """``encoder`` or ``decoder``, the keys of ``provenance.TRAINING_VERSIONS``."""
    return "decoder" if family_of(located).decoder else "encoder"


def dimensions(located: Located) -> tuple[int, int | None]:
    """The number of layers, and the longest input in tokens where there is a limit."""
    config = _configuration(located)
    longest = config.get("max_position_embeddings")
    if longest and config["model_type"] in ("roberta", "xlm-roberta", "mpnet"):
        # Their positions are counted from behind the number of the padding token.
        longest -= config.get("pad_token_id", 1) + 1
    # BART and T5 call it otherwise; it is that of the encoder.
    names = ("num_hidden_layers", "encoder_layers", "num_layers")
    return next(config[name] for name in names if name in config), longest


def load_tokenizer(located: Located) -> Any:
    """The backbone's own fast tokeniser, with a pad token and with something between two texts.

    Both are missing from many decoders. Padding is masked by length, so an existing token can
    stand for it: the end of text, else the unknown token. The end of text also separates a pair,
    whose texts would otherwise run into each other.
    """
    from tokenizers.processors import Sequence, TemplateProcessing
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(located.path, local_files_only=True)
    spare = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        if spare is None:
            raise BackboneError(
                f"the tokeniser in {located.path} has no token for padding, for the end of a text "
                "or for unknown words: set pad_token in its tokenizer_config.json"
            )
        tokenizer.pad_token = spare
    alone = tokenizer("a")["input_ids"] + tokenizer("b")["input_ids"]
    if tokenizer("a", "b")["input_ids"] == alone and (end := tokenizer.eos_token) is not None:
        template = TemplateProcessing(
            single="$A", pair=f"$A {end} $B", special_tokens=[(end, tokenizer.eos_token_id)]
        )
        backend = tokenizer.backend_tokenizer
        before = backend.post_processor
        backend.post_processor = Sequence([before, template]) if before else template
    return tokenizer


def load_model(kind: Any, located: Located, **options: Any) -> tuple["PreTrainedModel", list[str]]:
    """A model of one of transformers' ``Auto`` classes, in float32, and the names of the parameters
    that the checkpoint lacks.
    """
    import torch
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model, report = kind.from_pretrained(
        located.path,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        dtype=torch.float32,
        output_loading_info=True,
        **options,
    )
    return model, sorted(report["missing_keys"])


def load_classifier(
    located: Located, n_classes: int, init_seed: int
) -> tuple["PreTrainedModel", list[str]]:
    """The pretrained model under a new head of ``n_classes`` outputs (1: regression), in float32.

    Everything the checkpoint lacks (the classifier, and for some backbones the pooler) is drawn
    from the ``init`` stream. Returns the model and the names of the newly initialised parameters.
    A decoder classifies from the last token that is not padding.

    Raises ``BackboneError`` for an architecture that is not supported, and for a checkpoint that
    lacks weights of the pretrained model.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    family = family_of(located)
    if not family.output:
        raise BackboneError(f"{located.path} generates texts, and is no classifier")
    # Pooling looks for the last token that is not padding, so it has to know the batches' own.
    padding = {"pad_token_id": load_tokenizer(located).pad_token_id} if family.decoder else {}
    torch.manual_seed(init_seed)
    try:
        model, new = load_model(
            AutoModelForSequenceClassification,
            located,
            num_labels=n_classes,
            problem_type="regression" if n_classes == 1 else "single_label_classification",
            attn_implementation=family.attention,
            **padding,
        )
    except (ImportError, RuntimeError, ValueError) as error:
        raise BackboneError(
            f"{located.path} does not load as a classifier of {n_classes} outputs: {error}"
        ) from error
    # Padding is masked and gets no gradient anyway. But where a decoder pads with a token that also
    # ends or parts texts, that token would never learn; and vmap would freeze it in one seed only.
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            module.padding_idx = None
    n_layers = len(layers(model))
    if lost := [name for name in new if depth_of(name, n_layers) <= n_layers]:
        raise BackboneError(f"{located.path} lacks pretrained weights: {', '.join(lost[:3])}, …")
    return model, new


def encoder(model: "PreTrainedModel") -> "torch.nn.Module":
    """The pretrained part of a classifier: ``model.bert``, ``model.roberta``, ``model.model``…; of
    a model that generates texts, what holds encoder and decoder.
    """
    return getattr(model, model.base_model_prefix, model)


def layers(model: "PreTrainedModel") -> "torch.nn.ModuleList":
    """The L transformer layers, first to last; those of a decoder behind those of its encoder."""
    import torch

    paths = FAMILIES[model.config.model_type].layers
    return torch.nn.ModuleList(
        layer for path in paths for layer in encoder(model).get_submodule(path)
    )


def output_layer(
    model: "PreTrainedModel",
) -> tuple["torch.nn.Module", str, "torch.nn.Linear"]:
    """The linear layer that gives the logits, the module that holds it and its name there.

    So that it can be replaced: ``setattr(parent, name, other)``.
    """
    parent, _, name = FAMILIES[model.config.model_type].output.rpartition(".")
    holder = model.get_submodule(parent)
    return holder, name, getattr(holder, name)


def pooler_of(model: "PreTrainedModel") -> "torch.nn.Linear | None":
    """The dense layer between encoder and output, None for decoders.

    BERT's pooler, the first layer of RoBERTa's and MPNet's head. New in most checkpoints, but not
    in all: the names that ``load_classifier`` returns say so.
    """
    path = FAMILIES[model.config.model_type].pooler
    return model.get_submodule(path) if path else None


def set_dropout(model: "torch.nn.Module", p: float) -> None:
    """Give every dropout of a model the probability ``p``, that of attention included."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = p
        elif hasattr(module, "attention_dropout"):
            module.attention_dropout = p


def merge_adapters(model: "torch.nn.Module") -> None:
    """Add low-rank updates to the matrices that they update, so that a model is an ordinary one."""
    for module in model.modules():
        if hasattr(module, "lora_A") and not module.merged:
            module.merge()


def takes_types(model: "PreTrainedModel") -> bool:
    """Whether a model tells the texts of a pair apart; RoBERTa's table of types has one row."""
    return getattr(model.config, "type_vocab_size", 0) > 1


def additive_mask(model: "PreTrainedModel", mask: "torch.Tensor") -> "torch.Tensor":
    """What is added to the attention scores, (B, 1, T, T), from a mask (B, T) of 0 and 1.

    transformers makes it too, but asks first whether the mask is all ones, for which a GPU would
    have to be waited for, and which cannot be asked under vmap.
    """
    import torch

    seen = mask[:, None, None, :].bool().expand(-1, 1, mask.shape[1], -1)
    if FAMILIES[model.config.model_type].decoder:
        position = torch.arange(mask.shape[1], device=mask.device)
        seen = seen & (position <= position[:, None])
    return torch.where(seen, 0.0, torch.finfo(torch.float32).min)


def last_token(states: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
    """(…, B, D) of states (…, B, T, D): of the last token that the mask (B, T) does not hide,
    whichever side is padded.
    """
    import torch

    position = torch.arange(mask.shape[-1], device=mask.device)
    last = (mask * position).argmax(-1)[:, None, None]
    return states.gather(-2, last.expand(*states.shape[:-2], 1, states.shape[-1]))[..., 0, :]


def parts(n_layers: int) -> list[str]:
    """Names of the parts of a model by depth: embeddings, layer1 … layerL, head."""
    return ["embeddings", *(f"layer{i}" for i in range(1, n_layers + 1)), "head"]


def depth_of(name: str, n_layers: int) -> int:
    """How deep a parameter lies, from its name: 0 embeddings, 1…L layers, L + 1 pooler and head.

    MPNet's position bias, which all layers share, counts as 0; a decoder's last norm as L. Of a
    model with an encoder, the first half of the layers is that of the encoder. Works for the names
    that adapters add. Raises ``ValueError`` for a name that fits none of these.
    """
    words = name.split(".")
    if "relative_attention_bias" in words:
        return 0
    if layer := re.search(r"(?:^|\.)(?:block|layers?)\.(\d+)\.", name):
        below = n_layers // 2 if "decoder" in words[: words.index(layer[1])] else 0
        return below + int(layer[1]) + 1
    if any(word.startswith("embed") or word in ("shared", "layernorm_embedding") for word in words):
        return 0
    if {"norm", "final_layer_norm"} & set(words):
        return n_layers
    if {"pooler", "classifier", "score", "cls", "lm_head"} & set(words):
        return n_layers + 1
    raise ValueError(f"name = {name!r} belongs to no embedding, layer, pooler or head known here")
