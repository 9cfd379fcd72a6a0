"""Writing: whole or not at all, whatever fails when; and one at a time, whoever dies."""

import errno
import fcntl
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib import paths

OURS, DEAD = "0123456789abcdef" * 2, "0" * 32


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".locks")


def write(target, text):
    with paths.atomic_folder(target) as folder:
        (folder / "inside").mkdir()
        (folder / "inside/a").write_text(text)


def test_a_folder_takes_the_place_of_the_one_before_as_a_whole(tmp_path):
    target = tmp_path / "there/lr0.001_a"
    write(target, "old")
    (target / "more").write_text("of before")
    write(target, "new")
    assert names(target) == ["inside"] and (target / "inside/a").read_text() == "new"
    assert names(target.parent) == [target.name]


@pytest.mark.parametrize("way", [paths.atomic_folder, paths.atomic_file])
def test_after_an_error_nothing_stays_and_what_was_there_is_as_it_was(tmp_path, way):
    def inside(path):
        return path / "a" if path.is_dir() else path

    target = tmp_path / "more/made.npz"
    for before in ([], ["made.npz"]):
        with pytest.raises(OSError, match="disk full"), way(target) as fresh:
            assert fresh.parent == target.parent and fresh.suffix == ".npz"
            inside(fresh).write_text("half")
            raise OSError("disk full")
        assert names(target.parent) == before
        assert not before or inside(target).read_text() == "old"
        with way(target) as fresh:
            inside(fresh).write_text("old")


def test_writers_of_one_folder_do_not_disturb_each_other(tmp_path):
    """As where there are no locks: eight threads replace a folder; readers see whole ones."""
    target = tmp_path / "made"

    def again(number):
        for _ in range(20):
            write(target, f"{number}" * 1000)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(again, range(8)))
    text = (target / "inside/a").read_text()
    assert len(text) == 1000 and len(set(text)) == 1
    assert names(tmp_path) == ["made"]


def test_of_many_processes_one_makes_it_and_nobody_waits_for_the_dead(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from lib import paths\n"
        "def write(folder):\n"
        "    print('held', flush=True); time.sleep(float(sys.argv[2]))\n"
        "    (folder / 'a').write_text('whole')\n"
        "made = paths.make_once(Path(sys.argv[1]), write)\n"
        "assert (made / 'a').read_text() == 'whole'"
    )

    def start(name, seconds):
        command = [sys.executable, "-c", script, str(tmp_path / name), seconds]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=paths.ROOT, text=True, **pipes)

    first = start("seed0", "60")
    assert first.stdout.readline() == "held\n"
    waiting = [start("seed0", "0") for _ in range(3)]
    assert start("seed1", "0").communicate(timeout=60)[0] == "held\n", "another is free"
    for process in waiting:
        assert process.stderr.readline().startswith("waiting for another process that makes")
    assert [process.poll() for process in waiting] == [None] * 3, "the same is not"
    first.kill()
    said = [process.communicate(timeout=60)[0] for process in waiting]
    assert sorted(said) == ["", "", "held\n"] and {p.returncode for p in waiting} == {0}
    first.wait()


def test_what_a_killed_process_left_is_deleted_by_the_next_that_holds_the_lock(tmp_path):
    left = tmp_path / f"demo/.seed1-{DEAD}"
    other = tmp_path / f"demo/.seed1-init0-{DEAD}"
    for folder in (left, other):
        folder.mkdir(parents=True)
        (folder / "logits.npy").write_bytes(b"half")
    file = tmp_path / f"demo/.seed1-{DEAD}.json"
    file.write_text("half")
    with paths.lock(tmp_path / "demo/seed1"):
        assert not left.exists() and not file.exists() and other.exists()


@pytest.mark.parametrize("answer", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_on_a_file_system_without_locks_nobody_waits_or_deletes(tmp_path, monkeypatch, answer):
    def flock(*_):
        raise OSError(answer, os.strerror(answer))

    monkeypatch.setattr(fcntl, "flock", flock)
    theirs = tmp_path / f".made-{OURS}"
    theirs.mkdir()
    if answer == errno.EIO:  # that of a broken disk
        with pytest.raises(OSError, match="Input/output"), paths.lock(tmp_path / "made"):
            pass
        return
    with paths.lock(tmp_path / "made"), paths.lock(tmp_path / "made"):
        assert theirs.is_dir(), "its process may be alive"
