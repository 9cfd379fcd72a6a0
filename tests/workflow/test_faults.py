"""Faults of processes: killed, stopped, doubled. Each is real, and each batch is finished after it.

What is finished stays, the same command makes the rest, and the bytes are those of an undisturbed
batch. All of them, a quarter of an hour and some only as root; data/benchmarks/faults.md says what
became of each when they were last made:

    make test ARGS="-m faults -n 0 -rs"
"""

import os
import signal

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.fixture
def struck(new_batch):
    """A batch, its command, the kernel that is at its second run, and what is finished."""
    batch = new_batch()
    call = batch.run()
    return batch, call, call.until(batch.training_kernel), batch.finished


def test_a_killed_kernel_is_survived_within_the_same_command(struck, calm):
    batch, call, kernel, kept = struck
    kernel.kill()
    assert "Kernel died" in call.succeed().said
    batch.check(calm(), kept)


def test_a_killed_engine_leaves_a_lock_and_orphans_and_loses_nothing(struck, calm):
    """One orphan is held until the new engine wants its run: the new kernel waits and finds it."""
    batch, call, orphan, kept = struck
    orphan.suspend()
    call.process.kill()
    call.fail()
    assert orphan.pid in {one.pid for one in batch.kernels()}
    refused = batch.run().fail()
    assert "Directory cannot be locked" in refused and "--unlock" in refused
    batch.make("unlock", CONFIG="faulty").succeed()
    again = batch.run()
    wanted = batch.notebook_of(orphan)
    again.until(
        lambda: [k for k in batch.kernels() if k != orphan and batch.notebook_of(k) == wanted]
    )
    orphan.resume()
    again.succeed()
    batch.check(calm(), kept)


def test_ctrl_c_stops_everything_soon_and_leaves_no_lock(new_batch, calm):
    """Of `make run`, as a terminal sends it: to all of its processes."""
    batch = new_batch()
    call = batch.make("run", "--until measure_group", CONFIG="faulty")
    call.until(batch.training_kernel)
    kept = batch.finished
    os.killpg(call.process.pid, signal.SIGINT)
    assert "the same command goes on where it was" in call.fail()
    batch.quiet()
    assert len(batch.finished) <= len(kept) + 2, "the two that were about to be written"
    assert not [path for path in batch.left_behind() if "locks" in path]
    batch.run().succeed()
    batch.check(calm(), kept)


def test_a_second_engine_in_the_same_checkout_is_refused_and_harms_nothing(struck, calm):
    batch, first, _, kept = struck
    assert "Directory cannot be locked" in batch.run().fail()
    first.succeed()
    batch.check(calm(), kept)
    assert batch.run().succeed().planned == {}


def test_two_checkouts_with_one_output_both_finish(new_batch, calm):
    first = new_batch()
    both = first, new_batch(output=first.output)
    for call in [batch.run() for batch in both]:
        call.succeed()
    for batch in both:
        batch.check(calm(), {})
    kept = first.finished
    assert [batch.run().succeed().planned for batch in both] == [{}, {}]
    assert first.finished == kept, "nothing is trained for the other checkout again"


@pytest.mark.quick
def test_two_trainings_of_one_store_make_each_run_once(new_batch, calm):
    """Without the engine: `python -m lib.training`, twice at once; one of them is then killed."""
    batch = new_batch()
    calls = [batch.train(), batch.train()]
    calls[0].until(lambda: batch.finished)
    kept = batch.finished
    calls[0].process.kill()
    calls[0].fail()
    calls[1].succeed()
    batch.measure()
    batch.check(calm(), kept)


#: Enough examples that writing a run takes a while.
WIDE = """
seeds: [0, 1, 2, 3, 4, 5]
keep_vectors: true
defaults: {task: wide.csv, epochs: 1, max_length: 32, train_rows: 32, eval_rows: 0}
grid: [{learning_rate: 1.0e-3}]
"""


@pytest.mark.quick
def test_a_training_killed_while_it_writes_a_run_leaves_no_half_of_it(new_batch, calm):
    places = ["in the north", "by the mill", "near the old gate", "under the bridge", "on the hill"]
    lines = [
        f"the {'warm' if i % 2 else 'cold'} soup {places[i % 5]} on day {i},{i % 2},"
        f"{'train' if i < 32 else 'dev'}"
        for i in range(3000)
    ]
    files = {"wide.csv": "\n".join(["text,label,split", *lines]) + "\n"}
    batch = new_batch(WIDE, files=files)
    call = batch.train()
    half = call.until(
        lambda: batch.finished and list(batch.output.glob("data/runs/*/.seed*-*")), pause=0
    )
    call.process.kill()
    call.fail()
    kept = batch.finished
    assert half[0].exists() and half[0].name[1:].split("-")[0] not in str(kept)
    batch.train().succeed()
    batch.check(calm(WIDE, files, measured=False), kept)
