"""How large models and tasks are, known without having them.

Shapes of models are those of their configurations; sizes of hub tasks those that the hub publishes.
What could not be counted here is marked: ``derived`` from published bytes, or ``assumed``.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lib import tasks
from lib.config import Setting
from lib.errors import nearest


@dataclass(frozen=True)
class Shape:
    """What the number of weights and of operations of a Transformer follows from.

    ``key_width``: of keys and values together with all their heads, where it is not the width;
    ``decoder``: the Llama architecture: no biases, three matrices in the feed-forward part, no
    pooler; else BERT's, or with ``types`` 1 RoBERTa's, with one dense layer before the output.
    ``position_bias``: weights of a table of relative positions that all layers share.
    """

    layers: int
    width: int
    inner: int
    vocabulary: int
    positions: int = 512
    types: int = 2
    key_width: int = 0
    decoder: bool = False
    position_bias: int = 0

    @property
    def matrices(self) -> int:
        """Weights of the layers that every token is multiplied with."""
        keys = self.key_width or self.width
        attention = 2 * self.width * self.width + 2 * self.width * keys
        return self.layers * (attention + (3 if self.decoder else 2) * self.width * self.inner)

    def parameters(self, outputs: int = 2) -> int:
        """Weights of the classifier with that many outputs, its head included."""
        d = self.width
        if self.decoder:
            return self.vocabulary * d + self.matrices + (2 * self.layers + 1) * d + d * outputs
        embeddings = (self.vocabulary + self.positions + self.types + 2) * d + self.position_bias
        biases_and_norms = self.layers * (9 * d + self.inner)
        head = d * d + d + d * outputs + outputs
        return embeddings + self.matrices + biases_and_norms + head

    def forward(self, tokens: float, outputs: int = 2) -> float:
        """Floating-point operations of a forward pass of one sequence: two for each weight that a
        token is multiplied with, and the products of queries, keys and values.
        """
        attention = 4 * self.layers * tokens**2 * self.width
        head = 2 * self.width * ((0 if self.decoder else self.width) + outputs)
        return 2 * self.matrices * tokens + attention + head


#: Registered models: as in their files (tested). Hub models: their config.json on the hub at the
#: revision named; Llama's is behind a licence and was read in public copies of it.
MODELS = {
    "bert-tiny": Shape(2, 128, 512, 30522),
    "minilm-l3": Shape(3, 384, 1536, 30522),
    "minilm-l6": Shape(6, 384, 1536, 30522),
    "mpnet-base": Shape(12, 768, 3072, 30527, 514, 0, position_bias=32 * 12),
    "smollm2-135m": Shape(30, 576, 1536, 49152, key_width=192, decoder=True),
    "google-bert/bert-large-uncased": Shape(24, 1024, 4096, 30522),  # 33c3980
    "FacebookAI/roberta-large": Shape(24, 1024, 4096, 50265, 514, 1),  # 8ac184f
    "FacebookAI/roberta-base": Shape(12, 768, 3072, 50265, 514, 1),
    "meta-llama/Llama-3.2-3B": Shape(28, 3072, 8192, 128256, key_width=1024, decoder=True),
}


def shape_of(backbone: str) -> Shape:
    """The shape of a backbone: of the table, or of a local folder's configuration.

    Raises ``ValueError`` for a hub id that is not in the table, since nothing is downloaded.
    """
    name = backbone.partition("@")[0]
    if name in MODELS:
        return MODELS[name]
    file = Path(backbone) / "config.json"
    if not file.is_file():
        raise ValueError(f"the size of {backbone} is not known: {nearest(name, MODELS)}")
    raw = json.loads(file.read_text())
    heads, width = raw["num_attention_heads"], raw["hidden_size"]
    return Shape(
        layers=raw["num_hidden_layers"],
        width=width,
        inner=raw["intermediate_size"],
        vocabulary=raw["vocab_size"],
        positions=raw.get("max_position_embeddings", 512),
        types=0 if raw["model_type"] == "mpnet" else raw.get("type_vocab_size", 2),
        key_width=raw.get("num_key_value_heads", heads) * (raw.get("head_dim") or width // heads),
        decoder=raw["model_type"] == "llama",
        position_bias=32 * heads if raw["model_type"] == "mpnet" else 0,
    )


class Size(NamedTuple):
    """Rows of a task's splits, mean tokens of a sequence, and sequences of an example."""

    train: int
    dev: int
    tokens: float
    how: str = "counted"
    sequences: int = 1


#: Bytes of English text to a token of BERT's uncased vocabulary: counted on 16 tasks, 4.3 to 5.1.
BYTES_PER_TOKEN = 4.6
#: Bytes of a row that are no text: a label and an index, and for each column of text an offset.
_ROW, _COLUMN = 12, 4


def tokens_from_bytes(n_bytes: int, rows: int, columns: int, *, other: int = 0) -> float:
    """Mean tokens of a row, from the published bytes of a split; ``other``: of further columns."""
    text = n_bytes / rows - _ROW - _COLUMN * columns - other
    return text / BYTES_PER_TOKEN + min(columns, 2) + 1


def _derived(train: int, dev: int, n_bytes: int, columns: int, **how: int) -> Size:
    return Size(train, dev, tokens_from_bytes(n_bytes, train, columns, **how), "derived")


#: Counted: with bert-tiny's tokeniser, on at most 3,000 training rows. Derived: from ``num_bytes``
#: of the training split in dataset_infos.json of huggingface/datasets at commit 040102f.
TASKS = {
    "stsb": Size(5749, 1500, 27.7),
    "stsb-binary": Size(5749, 1500, 27.7),
    "boolq": Size(9427, 3270, 138.9),
    "privacyqa": Size(8725, 2198, 47.6),
    "rotten-tomatoes": Size(8484, 2121, 26.7),
    "amazon": Size(2920, 690, 22.6),
    "nyt": Size(4003, 943, 24.9),
    "trec": Size(5452, 500, 13.4),
    "sarcasm": Size(22898, 5716, 14.7),
    "winowhy": Size(2325, 540, 43.5),
    "strategyqa": Size(1831, 459, 14.3),
    "presuppositions": Size(592, 143, 67.3),
    "metaphor": Size(543, 137, 22.4),
    "cola": Size(8551, 1043, 11.2),
    "mrpc": Size(3668, 408, 53.1),
    "rte": Size(2490, 277, 70.2),
    "wnli": Size(635, 71, 37.1),
    "sst2": _derived(67349, 872, 4715283, 1),
    "qqp": _derived(363846, 40430, 50901116, 2),
    "mnli": _derived(392702, 9815, 74865118, 2),
    "mnli-mm": _derived(392702, 9832, 74865118, 2),
    "qnli": _derived(104743, 5463, 25677924, 2),
    "cb": _derived(250, 56, 87218, 2),
    "wic": _derived(5428, 638, 665183, 3, other=16),
    "wsc": _derived(554, 104, 89883, 3, other=8),
    "multirc": _derived(27243, 4848, 46213579, 3, other=12),
    # Premise, alternatives and the question that is put between them, at thirty bytes each.
    "copa": Size(400, 100, 22.0, "assumed", 2),
    # A row a candidate: 12 a question, and passage and query of 1,150 of the 1,779 bytes published.
    "record": Size(12 * 100730, 12 * 10000, 253.0, "assumed"),
}


def size_of(setting: Setting) -> Size:
    """The size of a setting's task; a user's own table is read, its tokens derived from bytes.

    Raises ``ValueError`` for a task of which nothing is known.
    """
    if setting.task in TASKS:
        return TASKS[setting.task]
    if not tasks.is_own_file(setting.task):
        raise ValueError(f"the size of {setting.task} is not known: {nearest(setting.task, TASKS)}")
    splits = tasks.get(setting.task, setting.text_columns, setting.label_column).read()
    rows = splits["train"]
    text = sum(len((row["text_a"] + row["text_b"]).encode()) for row in rows) / len(rows)
    tokens = text / BYTES_PER_TOKEN + len(setting.text_columns) + 1
    return Size(len(rows), len(splits["dev"]), tokens, "derived")
