"""Pinned packages: every way in which a file can be wrong, with real files and real processes."""

import functools
import io
import os
import tarfile
import threading
import zipfile
import zlib
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lib import paths, provenance
from lib.data import archives, assets
from lib.errors import AssetError

WHEEL, SDIST = "demo_asset-1.0-py3-none-any.whl", "demo_asset-1.0.tar.gz"
FILES = {
    "demo/a.txt": b"one",
    "demo/b.txt": b"two",
    # Code that would leave a trace: nothing of a source distribution may ever run.
    "demo_asset-1.0/setup.py": b"open('ran.txt', 'w').close(); raise SystemExit('built')",
    "demo_asset-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: demo-asset\nVersion: 1.0\n",
    "demo_asset-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n",
    "demo_asset-1.0.dist-info/RECORD": b"",
}


def pack(path: Path, files: dict[str, bytes]) -> Path:
    """A wheel or, by its name, a source distribution; a kind of tar entry is a link or a device."""
    path.parent.mkdir(parents=True, exist_ok=True)
    special = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE)
    if path.name == WHEEL:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                entry = zipfile.ZipInfo(name)
                entry.external_attr = (0o120777 << 16) if content in special else 0
                archive.writestr(entry, content)
    else:
        with tarfile.open(path, "w:gz") as archive:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                if content in special:
                    entry.type, entry.linkname, content = content, "/etc/passwd", b""
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return path


@pytest.fixture
def register(tmp_path, monkeypatch):
    """Registers an archive as the asset ``demo``; pip sees the folder ``index``, nothing else."""
    monkeypatch.setenv("COMPENDIUM_WHEELS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.chdir(tmp_path)

    def make(archive, *members):
        asset = assets.Asset(archive.name, provenance.file_sha256(archive), members, "none")
        monkeypatch.setitem(assets.ASSETS, "demo", asset)

    return make


@pytest.fixture(params=[WHEEL, SDIST])
def demo(tmp_path, register, request):
    """A registered asset whose file lies in ``COMPENDIUM_WHEELS``."""
    archive = pack(tmp_path / "wheels" / request.param, FILES)
    register(archive, "demo/a.txt")
    return archive


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache in which, once the test is over, nothing is but what was fetched whole."""
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    yield tmp_path / "cache"
    left = [path for path in (tmp_path / "cache").iterdir() if path.name != ".locks"]
    assert left in ([], [assets.folder_of("demo")])
    assert not left or [path.name for path in left[0].rglob("*") if path.is_file()] == ["a.txt"]
    assert not [*tmp_path.rglob("escaped.txt"), *tmp_path.rglob("ran.txt")]


def test_takes_only_the_listed_members_and_only_once(demo, cache, monkeypatch):
    monkeypatch.setattr(assets, "MAX_UNPACKED_BYTES", 3)  # what is not taken counts for nothing
    monkeypatch.setattr(archives, "MAX_FILES", 1)
    folder = assets.fetch("demo")
    assert (folder / "demo/a.txt").read_bytes() == b"one"
    demo.unlink()
    assert assets.fetch("demo") == folder


@pytest.mark.parametrize("damage", ["truncated", "tampered"])
def test_damaged_file_is_refused(demo, cache, damage):
    content = demo.read_bytes()
    tampered = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
    demo.write_bytes(content[:-20] if damage == "truncated" else tampered)
    found = provenance.file_sha256(demo)
    with pytest.raises(AssetError, match="truncated or not the pinned file") as error:
        assets.fetch("demo")
    for detail in (demo.name, found, assets.ASSETS["demo"].sha256, "COMPENDIUM_WHEELS"):
        assert detail in str(error.value)
    assert not list(cache.glob("demo*"))


def test_missing_and_offline_is_an_error_that_says_what_to_do(demo, cache):
    demo.unlink()
    with pytest.raises(AssetError, match=f"put {demo.name} into a folder") as error:
        assets.fetch("demo")
    assert demo.name == WHEEL or f"pip finds no {SDIST}" in str(error.value)


def test_a_second_source_with_the_right_hash_is_used(demo, cache, tmp_path):
    """The folder holds another file; pip finds the right one elsewhere, and builds nothing."""
    pack(tmp_path / "index" / demo.name, FILES)
    demo.write_bytes(b"another file")
    assert (assets.fetch("demo") / "demo/a.txt").read_bytes() == b"one"


@pytest.mark.parametrize("is_there", [True, False])
def test_it_is_fetched_from_the_index_that_pip_is_set_up_for(
    register, cache, tmp_path, monkeypatch, is_there
):
    """A package index on this machine, the only one that pip has."""
    page = tmp_path / "served/simple/demo-asset/index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<!DOCTYPE html><a href="../../files/{SDIST}#sha256={"0" * 64}">{SDIST}</a>')
    archive = pack(tmp_path / "served/files" / SDIST, FILES)
    register(archive, "demo/a.txt")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path / "served")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_FIND_LINKS", "")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
        if is_there:
            assets.fetch("demo")
        else:
            archive.unlink()
            with pytest.raises(AssetError, match=f"{SDIST} could not be downloaded: HTTP.* 404"):
                assets.fetch("demo")
        server.shutdown()
    assert bool(list(cache.glob("demo*"))) == is_there


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"demo/../../escaped.txt": b"out"}, "path outside itself: demo/../../escaped"),
        ({"/tmp/escaped.txt": b"out"}, "path outside itself: /tmp/escaped"),
        ({"demo/x": tarfile.SYMTYPE}, "demo/x as a link or device"),
        ({"demo/x": tarfile.LNKTYPE}, "demo/x as a link or device"),
        ({"demo/x": tarfile.CHRTYPE}, "demo/x as a link or device"),
        ({"demo/x": bytes(51)}, "more than 50 bytes"),
        ({f"demo/{i}": b"" for i in range(21)}, "more than 20 files"),
        ({"demo": b""}, "holds no /tmp/, demo/"),
    ],
)
def test_hostile_archives_are_refused(demo, register, cache, monkeypatch, files, message):
    monkeypatch.setattr(assets, "MAX_UNPACKED_BYTES", 50)
    monkeypatch.setattr(archives, "MAX_FILES", 20)
    register(pack(demo, files), "demo/", "/tmp/")
    with pytest.raises(AssetError, match=message):
        assets.fetch("demo")
    assert not list(cache.glob("demo*"))


@pytest.mark.parametrize("crc", [zlib.crc32(bytes(100)), 0])
def test_a_member_that_is_larger_than_it_declares_gives_no_more(tmp_path, crc):
    with zipfile.ZipFile(tmp_path / WHEEL, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big", bytes(2**24))
        archive.infolist()[0].file_size, archive.infolist()[0].CRC = 100, crc
    if crc:
        archives.unpack(tmp_path / WHEEL, ("big",), tmp_path / "out", limit=100)
    else:
        with pytest.raises(AssetError, match=f"{WHEEL} is damaged: Bad CRC-32"):
            archives.unpack(tmp_path / WHEEL, ("big",), tmp_path / "out", limit=100)
    assert (tmp_path / "out/big").stat().st_size <= 100


def test_unknown_asset_names_the_nearest():
    with pytest.raises(AssetError, match="did you mean minilm-l6"):
        assets.fetch("minilm-l7")


def test_only_safe_formats_are_taken_out():
    for asset in assets.ASSETS.values():
        unsafe = (".pt", ".bin", ".pkl", ".pickle", ".py")
        assert not any(member.endswith(unsafe) for member in asset.members)
