"""Faults of processes: killed, stopped, doubled. Each is real, and each batch is finished after it.

What is finished stays, the same command makes the rest, and the bytes are those of an undisturbed
batch. `make test-faults` runs all and writes down what was lost.
"""

import os
import signal

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.slow]


def test_a_killed_kernel_is_survived_within_the_same_command(new_batch, calm, book):
    batch = new_batch()
    call = batch.start()
    kernel = call.until(batch.training_kernel)
    kept = batch.finished
    kernel.kill()
    call.mark()
    assert "Kernel died" in call.succeed().said
    batch.check(calm(), kept)
    book.note("kernel killed (SIGKILL) while it trained", "job repeated at once", kept, call.since)


def test_a_killed_engine_leaves_a_lock_and_orphans_and_loses_nothing(new_batch, calm, book):
    """One orphan is held until the new engine wants its run: the new kernel waits and finds it."""
    batch = new_batch()
    call = batch.start()
    orphan = call.until(batch.training_kernel)
    kept = batch.finished
    orphan.suspend()
    batch.controller().kill()
    call.fail()
    assert orphan.pid in {one.pid for one in batch.kernels()}
    refused = batch.start().fail()
    assert "Directory cannot be locked" in refused and "--unlock" in refused
    batch.start(target="unlock").succeed()
    again = batch.start()
    wanted = batch.notebook_of(orphan)
    again.until(
        lambda: [k for k in batch.kernels() if k != orphan and batch.notebook_of(k) == wanted]
    )
    orphan.resume()
    again.succeed()
    batch.check(calm(), kept)
    book.note(
        "engine killed (SIGKILL), its jobs go on",
        "refused until `make unlock`",
        kept,
        again.seconds,
    )


def test_ctrl_c_stops_everything_soon_and_leaves_no_lock(new_batch, calm, book):
    batch = new_batch()
    call = batch.start()
    call.until(batch.training_kernel)
    kept = batch.finished
    call.mark()
    os.killpg(call.process.pid, signal.SIGINT)
    call.fail()
    batch.quiet(timeout=20)
    assert not [path for path in batch.left_behind() if "locks" in path]
    again = batch.run()
    batch.check(calm(), kept)
    happened = f"all processes gone after {call.since:.0f} s, no lock"
    book.note("Ctrl-C (SIGINT to the process group)", happened, kept, again.seconds)


def test_a_second_engine_in_the_same_checkout_is_refused_and_harms_nothing(new_batch, calm, book):
    batch = new_batch()
    first = batch.start()
    first.until(batch.training_kernel)
    kept = batch.finished
    assert "Directory cannot be locked" in batch.start().fail()
    first.succeed()
    batch.check(calm(), kept)
    again = batch.run()
    assert "Nothing to be done" in again.said
    book.note(
        "second engine in the same checkout", "refused by the lock, first goes on", kept,
        again.seconds,
    )  # fmt: skip


def test_two_checkouts_with_one_output_both_finish(new_batch, calm, book):
    first = new_batch()
    second = new_batch(output=first.output)
    calls = [first.start(), second.start()]
    for call in calls:
        call.succeed()
    first.check(calm(), {})
    second.check(calm(), {})
    kept = first.finished
    again = [first.run(), second.run()]
    assert all("Nothing to be done" in call.said for call in again)
    assert first.finished == kept, "nothing is trained for the other checkout again"
    longer = max(call.seconds for call in calls)
    book.note("two checkouts, one output, at once", "both finish", {}, longer)


@pytest.mark.quick
def test_two_trainings_of_one_store_make_each_run_once(new_batch, calm, book):
    """Without the engine: `python -m lib.finetune`, twice at once; one of them is then killed."""
    batch = new_batch()
    calls = [batch.start_bare(), batch.start_bare()]
    calls[0].until(lambda: batch.finished)
    kept = batch.finished
    calls[0].process.kill()
    calls[0].fail()
    calls[1].succeed()
    batch.start_bare("lib.groups").succeed()
    batch.check(calm(), kept)
    book.note(
        "two trainings of one store, one killed", "the other makes all runs", kept,
        calls[1].seconds,
    )  # fmt: skip
