"""Pretrained models that generate texts: encoder-decoders, and decoders that go on from a prompt.

An encoder such as BERT becomes one by taking it twice (Rothe et al. 2020, *TACL* 8, 264): the
second copy sees only what it has generated so far, and looks at what the first has read. What that
takes, cross-attention, is new, and drawn from the ``init`` stream as a new head is.
"""

from typing import TYPE_CHECKING, Any

from lib.data.examples import NO_TOKEN
from lib.errors import BackboneError
from lib.models import backbones
from lib.models.backbones import Located

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

#: Architectures that can be made to generate texts.
GENERATING = ("bert", "llama", "bart", "t5")


def load_generator(located: Located, init_seed: int) -> tuple["PreTrainedModel", list[str]]:
    """A model that generates texts, in float32, and the names of its newly initialised parameters.

    Its ``generation_config`` names the tokens at which a text begins and ends, and that of padding.

    Raises ``BackboneError`` for an architecture that cannot be made to generate, and for a
    checkpoint that lacks weights of the pretrained model.
    """
    import torch
    from transformers import (
        AutoModel,
        AutoModelForCausalLM,
        AutoModelForSeq2SeqLM,
        EncoderDecoderModel,
        GenerationConfig,
    )

    family, tokenizer = backbones.family_of(located), backbones.load_tokenizer(located)
    if family not in [backbones.FAMILIES[name] for name in GENERATING]:
        raise BackboneError(
            f"{located.path} cannot be made to generate texts; the architectures that can are "
            f"{', '.join(GENERATING)}"
        )
    how = {"attn_implementation": family.attention}
    torch.manual_seed(init_seed)
    try:
        if family.decoder:
            model, new = backbones.load_model(AutoModelForCausalLM, located, **how)
        elif len(family.layers) == 2:
            model, new = backbones.load_model(AutoModelForSeq2SeqLM, located, **how)
        else:
            reader, _ = backbones.load_model(AutoModel, located, add_pooling_layer=False, **how)
            crossed = {"is_decoder": True, "add_cross_attention": True}
            writer, new = backbones.load_model(AutoModelForCausalLM, located, **crossed, **how)
            model = EncoderDecoderModel(encoder=reader, decoder=writer)
            new = [f"decoder.{name}" for name in new]
    except (ImportError, RuntimeError, TypeError, ValueError) as error:
        raise BackboneError(
            f"{located.path} does not load as a model that generates texts: {error}"
        ) from error
    n_layers = len(backbones.layers(model))
    expected = ("crossattention.", "cls.")
    lost = [n for n in new if not any(part in n for part in expected)]
    if lost := [name for name in lost if backbones.depth_of(name, n_layers) <= n_layers]:
        raise BackboneError(f"{located.path} lacks pretrained weights: {', '.join(lost[:3])}, …")
    end = tokenizer.sep_token_id if tokenizer.eos_token is None else tokenizer.eos_token_id
    start = getattr(model.config, "decoder_start_token_id", None)
    if start is None:
        start = end if tokenizer.cls_token is None else tokenizer.cls_token_id
    model.generation_config = GenerationConfig(
        decoder_start_token_id=start, eos_token_id=end, pad_token_id=tokenizer.pad_token_id,
        bos_token_id=start,
    )  # fmt: skip
    return model, new


def _continued(
    model: "PreTrainedModel", inputs: dict[str, "torch.Tensor"], before: "torch.Tensor"
) -> dict[str, "torch.Tensor"]:
    """What a model is given: an encoder the input, and its decoder the tokens before (B, T); a
    decoder both, one behind the other.
    """
    import torch

    given = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    if model.config.is_encoder_decoder:
        return given | {"decoder_input_ids": before}
    mask = torch.cat([given["attention_mask"], torch.ones_like(before)], 1)
    return {
        "input_ids": torch.cat([given["input_ids"], before], 1),
        "attention_mask": mask,
        # The padding between input and text is no place.
        "position_ids": (mask.cumsum(1) - 1).clamp(min=0),
    }


def teacher_forced(
    model: "PreTrainedModel",
    inputs: dict[str, "torch.Tensor"],
    targets: "torch.Tensor",
    *,
    states: bool = False,
) -> tuple["torch.Tensor", "torch.Tensor | None"]:
    """Logits (B, T, V) of each token of ``targets`` (B, T), given those before it; and, if asked
    for, the states (L + 1, B, T, D) of the decoder there.

    ``targets`` have ``NO_TOKEN`` behind their end.
    """
    import torch

    plan, length = model.generation_config, targets.shape[1]
    first = torch.full_like(targets[:, :1], plan.decoder_start_token_id)
    before = torch.cat([first, targets[:, :-1]], 1)
    before = torch.where(before == NO_TOKEN, plan.pad_token_id, before)
    out = model(**_continued(model, inputs, before), output_hidden_states=states)
    layers: Any = None
    if states:
        name = "decoder_hidden_states" if model.config.is_encoder_decoder else "hidden_states"
        layers = torch.stack([state[:, -length:].float() for state in out[name]])
    return out.logits[:, -length:], layers


def generate(
    model: "PreTrainedModel",
    inputs: dict[str, "torch.Tensor"],
    longest: int,
    *,
    uniform: "torch.Tensor | None" = None,
) -> "torch.Tensor":
    """Tokens (B, T ≤ longest) by greedy decoding; or sampled from the model's distribution, where
    ``uniform`` (B, longest) is: random numbers in [0, 1), one a token.

    A sampled token is the first, in the order of the vocabulary, up to which the probabilities add
    up to more than its number. So a text depends on its input and its numbers, and on no other.
    """
    import torch
    from transformers import LogitsProcessorList

    plan = model.generation_config
    given = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    if not model.config.is_encoder_decoder:
        start = torch.full_like(given["input_ids"][:, :1], plan.decoder_start_token_id)
        given = _continued(model, inputs, start)
        del given["position_ids"]  # which are made of the mask
    behind = 1 if model.config.is_encoder_decoder else given["input_ids"].shape[1]

    def drawn(tokens: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores by which the token with the highest is the drawn one."""
        sums = scores.float().softmax(-1).cumsum(-1)
        place = tokens.shape[1] - behind
        found = torch.searchsorted(sums, uniform[:, place, None] * sums[:, -1:], right=True)
        chosen = found.clamp(max=scores.shape[-1] - 1)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)

    out = model.generate(
        **given, max_new_tokens=longest, do_sample=False, num_beams=1, use_cache=True,
        logits_processor=LogitsProcessorList([] if uniform is None else [drawn]),
    )  # fmt: skip
    return out[:, behind:]
