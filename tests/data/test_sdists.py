"""Source distributions: found by pip, fetched unbuilt, hostile ones refused; BIG-bench's tasks."""

import functools
import hashlib
import io
import json
import os
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from lib.data import assets, package_tasks, tasks
from lib.data.assets import Asset
from lib.errors import AssetError, TaskError
from lib.measures.scoring import majority_rate

NAME = "demo_set-1.0.tar.gz"
# Code that would leave a trace: nothing of a source distribution may ever run.
SETUP = b"import pathlib; pathlib.Path('ran.txt').write_text('ran'); raise SystemExit('built')"


def make_sdist(folder, members, links=()):
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / NAME, "w:gz") as archive:
        for name, content in {"demo_set-1.0/setup.py": SETUP, **members}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, kind, target in links:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            archive.addfile(entry)
    return folder / NAME


@pytest.fixture
def register(tmp_path, monkeypatch):
    """Registers an archive as the asset ``demo``; pip sees the folder ``index``, nothing else."""
    monkeypatch.delenv("COMPENDIUM_WHEELS", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.chdir(tmp_path)

    def make(archive, members):
        pinned = hashlib.sha256(archive.read_bytes()).hexdigest()
        asset = Asset(NAME, pinned, members, "none")
        monkeypatch.setitem(assets.ASSETS, "demo", asset)

    return make


MEMBERS = {"demo_set-1.0/a/task.json": b"{}", "demo_set-1.0/b/task.json": b"[]"}


def left_behind(cache):
    return sorted(path.name for path in cache.iterdir() if path.name != ".locks")


def test_pip_finds_it_and_nothing_of_it_runs(register, tmp_path):
    register(make_sdist(tmp_path / "index", MEMBERS), ("demo_set-1.0/a/task.json",))
    folder = assets.fetch("demo", cache=tmp_path / "cache")
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["task.json"]
    assert (folder / "demo_set-1.0/a/task.json").read_bytes() == b"{}"
    assert not list(tmp_path.rglob("ran.txt"))
    assert left_behind(tmp_path / "cache") == [folder.name]


def test_what_no_index_has_is_an_error_that_says_what_to_do(register, tmp_path):
    register(make_sdist(tmp_path / "elsewhere", MEMBERS), ("demo_set-1.0/a/task.json",))
    with pytest.raises(AssetError, match=f"pip finds no {NAME}") as error:
        assets.fetch("demo", cache=tmp_path / "cache")
    assert f"put {NAME} into a folder" in str(error.value)


@pytest.fixture
def index(tmp_path, monkeypatch, register):
    """A package index on this machine whose page links to ``files``, the only one that pip has."""
    page = tmp_path / "served/simple/demo-set/index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<!DOCTYPE html><a href="../../files/{NAME}#sha256={"0" * 64}">{NAME}</a>')
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path / "served")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_FIND_LINKS", "")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
        yield tmp_path / "served/files"
        server.shutdown()


def test_it_is_fetched_from_the_index_that_pip_is_set_up_for(register, index, tmp_path):
    register(make_sdist(index, MEMBERS), ("demo_set-1.0/a/task.json",))
    folder = assets.fetch("demo", cache=tmp_path / "cache")
    assert (folder / "demo_set-1.0/a/task.json").is_file()
    assert not list(tmp_path.rglob("ran.txt"))


def test_a_transfer_that_fails_is_named(register, index, tmp_path):
    register(make_sdist(index, MEMBERS), ("demo_set-1.0/a/task.json",))
    (index / NAME).unlink()
    with pytest.raises(AssetError, match=f"{NAME} could not be downloaded: HTTP Error 404"):
        assets.fetch("demo", cache=tmp_path / "cache")
    assert left_behind(tmp_path / "cache") == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(register, tmp_path, kind):
    (tmp_path / "secret.txt").write_text("secret")
    evil = ("demo_set-1.0/c/task.json", kind, str(tmp_path / "secret.txt"))
    register(make_sdist(tmp_path / "index", MEMBERS, [evil]), ("demo_set-1.0/",))
    with pytest.raises(AssetError, match="c/task.json as a link or device"):
        assets.fetch("demo", cache=tmp_path / "cache")
    assert left_behind(tmp_path / "cache") == []


# --- BIG-bench -----------------------------------------------------------------------------------


def examples(name):
    """Eight invented examples of each task, in its own form."""
    makers = {
        "winowhy": lambda i: (
            f"House {i // 2} was too dark for us. The 'us' refers to cats because reason {i}.",
            ("incorrect", "correct"),
        ),
        "strategyqa": lambda i: (f"Could a fox carry {i} lamps?", ("No", "Yes")),
        "presuppositions": lambda i: (
            f"Sentence 1: Ana: stopped {i}. \nSentence 2: Ana ran.\n\nThe answer is: ",
            ("entailment", "neutral", "contradiction"),
        ),
        "metaphor": lambda i: (f"Day {i // 2} was a feather. <--> It was {i}.", ("False", "True")),
        "vitaminc": lambda i: (
            f"Lake {i // 2}: It has {i} boats: all red.\nClaim: It has boats.",
            ("True", "False", "Neither"),
        ),
    }
    made = []
    for i in range(8):
        text, answers = makers[name](i)
        scores = {answer: int(j == i % len(answers)) for j, answer in enumerate(answers)}
        made.append(
            {"input": text, "target_scores": scores, "comment": {"example_id": str(i // 4)}}
        )
    return made


@pytest.fixture
def invented(register, tmp_path, monkeypatch):
    """The asset ``bigbench`` made of invented examples; ``change`` alters those of a task."""

    def make(change=lambda name, made: made):
        files = {}
        for name, source in package_tasks.BIGBENCH.items():
            content = {"canary": "c", "examples": change(name, examples(name))}
            path = f"bigbench-1.0.0/bigbench/benchmark_tasks/{source.folder}/task.json"
            files[path] = json.dumps(content).encode()
        register(make_sdist(tmp_path / "index", files), tuple(files))
        monkeypatch.setitem(assets.ASSETS, "bigbench", assets.ASSETS["demo"])
        monkeypatch.setattr("lib.paths.CACHE", tmp_path / "cache")

    return make


def test_texts_and_labels_of_each_form(invented):
    invented()
    rows = {}
    for name in package_tasks.BIGBENCH:
        splits = tasks.get(name).read()
        rows[name] = {row["example_id"]: row for part in splits.values() for row in part}
        assert len(rows[name]) == 8
    texts = {name: (part["5"]["text_a"], part["5"]["text_b"]) for name, part in rows.items()}
    assert texts == {
        "winowhy": (
            "House 2 was too dark for us. The 'us' refers to cats because reason 5.", "",
        ),
        "strategyqa": ("Could a fox carry 5 lamps?", ""),
        "presuppositions": ("Ana: stopped 5.", "Ana ran."),
        "metaphor": ("Day 2 was a feather.", "It was 5."),
        "vitaminc": ("Lake 2: It has 5 boats: all red.", "It has boats."),
    }  # fmt: skip
    for name, part in rows.items():
        n = tasks.get(name).n_classes
        assert [part[str(i)]["label"] for i in range(8)] == [i % n for i in range(8)], name


def test_families_are_not_torn_apart(invented):
    invented()
    for name in ("winowhy", "metaphor", "vitaminc"):
        sides = [
            {int(row["example_id"]) // 2 for row in part}
            for part in tasks.get(name).read().values()
        ]
        assert not sides[0] & sides[1] and sides[0] | sides[1] == {0, 1, 2, 3}


@pytest.mark.parametrize(
    "wrong",
    [
        {"input": "no arrow here"},
        {"target_scores": {"True": 1, "False": 1}},
        {"target_scores": {"Maybe": 1}},
    ],
)
def test_an_example_of_another_form_is_named(invented, wrong):
    def change(name, made):
        if name == "metaphor":
            made[3] |= wrong
        return made

    invented(change)
    with pytest.raises(TaskError, match="metaphor_boolean/task.json: example 3 is not of the form"):
        tasks.get("metaphor").read()


SIZES = {  # all rows, as the guide to BIG-bench lists them; majority of the dev split
    "winowhy": (2865, 0.561),
    "strategyqa": (2290, 0.536),
    "presuppositions": (735, 0.413),
    "metaphor": (680, 0.613),
    "vitaminc": (54_668, 0.499),
}
PAIRS = {"presuppositions", "metaphor", "vitaminc"}


@pytest.mark.skipif(
    not assets.folder_of("bigbench").is_dir(),
    reason="BIG-bench is not in the cache; reading one of its tasks downloads 358 MB",
)
@pytest.mark.parametrize("name", SIZES)
def test_the_real_tasks_have_their_sizes_and_leak_no_family(name):
    task = tasks.get(name)
    splits = task.read()
    assert sum(map(len, splits.values())) == SIZES[name][0]
    labels = np.array([row["label"] for row in splits["dev"]])
    assert majority_rate(labels) == pytest.approx(SIZES[name][1], abs=5e-4)
    for rows in splits.values():
        assert {row["label"] for row in rows} == set(range(task.n_classes))
        assert all(row["text_a"] and bool(row["text_b"]) == (name in PAIRS) for row in rows)
    first = [{row["text_a"] for row in rows} for rows in splits.values()]
    assert not first[0] & first[1]
