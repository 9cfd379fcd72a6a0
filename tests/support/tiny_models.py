"""Randomly initialised models of every supported family, saved as the hub lays them out."""

import shutil
import string
from pathlib import Path

import numpy as np
import torch
import transformers as hf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from lib.data.examples import Encoded

LAYERS, WIDTH = 3, 32
FAMILIES = ("bert", "roberta", "xlm-roberta", "mpnet", "llama")
#: Those that can be made to generate texts, and two that do nothing else.
GENERATING = ("bert", "llama", "bart", "t5")
SENTENCES = [
    "the soup was warm and kind in the north",
    "a dull and hasty little boat by the mill",
    "we liked the calm river near the old gate",
    "we feared the wild river under the bridge on the hill",
]
#: So that every word can be spelt, if in many pieces.
LETTERS = string.ascii_lowercase + string.digits
_SPECIAL = {
    "bert": dict(pad="[PAD]", unk="[UNK]", cls="[CLS]", sep="[SEP]", mask="[MASK]"),
    "roberta": dict(cls="<s>", pad="<pad>", sep="</s>", unk="<unk>", mask="<mask>"),
    "llama": dict(unk="<unk>", bos="<s>", eos="</s>"),
}
_SPECIAL |= {"xlm-roberta": _SPECIAL["roberta"], "mpnet": _SPECIAL["roberta"] | {"unk": "[UNK]"}}


def tokenizer(family: str) -> hf.PreTrainedTokenizerFast:
    """A real tokeniser with the special tokens of the family, the same in every process: of word
    pieces from a given list, since training those breaks ties at random, else trained.

    That of ``llama`` adds no special token and has none for padding, as decoders' often do.
    """
    special = _SPECIAL[family]
    tokens = list(special.values())
    if family in ("bert", "mpnet"):
        words = sorted({word for sentence in SENTENCES for word in sentence.split()} - set(LETTERS))
        spelt = [*tokens, *LETTERS, *(f"##{letter}" for letter in LETTERS), *words]
        vocabulary = {piece: i for i, piece in enumerate(spelt)}
        made = Tokenizer(models.WordPiece(vocabulary, unk_token=special["unk"]))
        made.normalizer = normalizers.BertNormalizer()
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    else:
        made = Tokenizer(models.BPE(unk_token=special["unk"]))
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=tokens)
        made.train_from_iterator([*SENTENCES, LETTERS, LETTERS[::-1]], trainer)
    if "cls" in special:
        start, end = special["cls"], special["sep"]
        second = f"$B:1 {end}:1" if family == "bert" else f"{end} $B {end}"
        made.post_processor = processors.TemplateProcessing(
            single=f"{start} $A {end}",
            pair=f"{start} $A {end} {second}",
            special_tokens=[(token, tokens.index(token)) for token in (start, end)],
        )
    roles = {f"{role}_token": token for role, token in special.items()}
    return hf.PreTrainedTokenizerFast(tokenizer_object=made, **roles)


def save(family: str, folder: Path, *, head: bool = True, pooler: bool = False) -> Path:
    """A tiny model and its tokeniser in ``folder``; ``head``: with its language-model head."""
    words = tokenizer(family)
    shape = {
        "vocab_size": len(words),
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 66,
        # Large enough that what a text says changes the logits by far more than rounding does.
        "initializer_range": 0.3,
    }
    if family == "llama":
        kind = hf.AutoModelForCausalLM
        shape |= {"num_key_value_heads": 1, "tie_word_embeddings": True}
    else:
        kind = hf.AutoModelForMaskedLM
        shape |= {"pad_token_id": words.pad_token_id}
    config = hf.AutoConfig.for_model(family, **shape)
    torch.manual_seed(0)
    if head:
        model = kind.from_config(config)
    else:
        model = hf.AutoModel.from_config(config, add_pooling_layer=pooler)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def save_seq2seq(kind: str, folder: Path) -> Path:
    """A tiny BART or T5 with a tokeniser that has the special tokens that it needs."""
    words = tokenizer("roberta")
    torch.manual_seed(0)
    ends = {"pad_token_id": words.pad_token_id, "eos_token_id": words.sep_token_id}
    shape = {"vocab_size": len(words), "d_model": WIDTH, **ends}
    if kind == "bart":
        config = hf.BartConfig(
            **shape, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
            decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, init_std=0.3,
            max_position_embeddings=80, bos_token_id=words.cls_token_id,
            decoder_start_token_id=words.sep_token_id,
        )  # fmt: skip
        model = hf.BartForConditionalGeneration(config)
    else:
        config = hf.T5Config(
            **shape, num_layers=2, num_heads=2, d_kv=16, d_ff=64, initializer_factor=2.0,
            decoder_start_token_id=words.pad_token_id,
        )  # fmt: skip
        model = hf.T5ForConditionalGeneration(config)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def cache_as_hub(folder: Path, cache: Path, name: str, revision: str) -> None:
    """Put a model folder where the hub's client caches ``org/name`` at a revision."""
    root = cache / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, root / "snapshots" / revision)
    (root / "refs").mkdir()
    (root / "refs/main").write_text(revision)


def bert_on_texts(lengths: list[int], labels: list[int]) -> tuple[torch.nn.Module, Encoded]:
    """A BERT of 1,700 weights with a head of two classes, and texts of random tokens."""
    config = hf.BertConfig(
        vocab_size=40, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=20, num_labels=2,
    )  # fmt: skip
    torch.manual_seed(0)
    return hf.BertForSequenceClassification(config).eval(), Encoded(
        tokens=np.random.default_rng(0).integers(1, 40, sum(lengths)).astype(np.int32),
        types=np.zeros(sum(lengths), np.int8),
        starts=np.cumsum([0, *lengths]),
        labels=np.array(labels),
        example_ids=np.array([str(i) for i in range(len(lengths))]),
        pad_id=np.array(0),
    )
