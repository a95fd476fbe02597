"""Jobs: every error arrives, cancelling keeps what is done, stale results are dropped."""

from __future__ import annotations

import gc
import threading
import time

import pytest
from qtpy.QtCore import QThreadPool

from napari_cytosae.core.types import ImageError, Progress
from napari_cytosae.widgets._jobs import Ended, JobError, Jobs


class Listener:
    """Collects what a job says, on which thread."""

    def __init__(self):
        self.ended, self.failed, self.progress, self.threads = [], [], [], set()

    def callbacks(self):
        return {
            "on_ended": self._on(self.ended),
            "on_failed": self._on(self.failed),
            "on_progress": lambda progress, left: self.progress.append((progress, left)),
        }

    def _on(self, heard):
        def callback(value):
            self.threads.add(threading.current_thread())
            heard.append(value)

        return callback


@pytest.fixture
def jobs(qtbot):
    jobs = Jobs()
    yield jobs
    jobs.close()


def raising(error, after=0):
    def work():
        for done in range(after):
            yield Progress("Working", done + 1, 5, partial=done)
        raise error
        yield

    return work


def counting(n, pause=0.0, stop=None):
    def work():
        for done in range(1, n + 1):
            if stop is not None:
                stop.wait(5)
            time.sleep(pause)
            yield Progress("Working", done, n, partial=done)
        return "all"

    return work


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "ran out of memory"),
        (
            RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
            "Encoding failed: mat1",
        ),
        (MemoryError(), "ran out of memory"),
        (ImageError("This image is empty; open another one."), "This image is empty; open"),
        (KeyError("qc"), "Encoding failed: 'qc'"),
    ],
)
def test_every_error_arrives(qtbot, jobs, error, says):
    heard = Listener()
    jobs.run("work", "Encoding", raising(error, after=2), **heard.callbacks())
    qtbot.waitUntil(lambda: bool(heard.failed), timeout=3000)
    (failure,) = heard.failed
    assert isinstance(failure, JobError)
    assert says in str(failure)
    assert type(error).__name__ in failure.details
    assert failure.partials == (0, 1)
    assert heard.ended == []
    assert jobs.running("work") is None


def test_the_result_comes_back_on_the_gui_thread(qtbot, jobs):
    heard = Listener()
    seen = []

    def work():
        seen.append(threading.current_thread())
        yield Progress("Working", 1, 1)
        return 42

    jobs.run("work", "Counting", work, **heard.callbacks())
    qtbot.waitUntil(lambda: bool(heard.ended), timeout=3000)
    assert heard.ended == [Ended(42, cancelled=False, partials=())]
    assert heard.threads == {threading.main_thread()}
    assert seen[0] is not threading.main_thread()


def test_cancel_ends_within_one_step_and_keeps_what_is_done(qtbot, jobs):
    heard = Listener()
    closed = []

    def work():
        try:
            yield from counting(1000, pause=0.02)()
        finally:
            closed.append(True)

    jobs.run("work", "Counting", work, **heard.callbacks())
    qtbot.waitUntil(lambda: len(heard.progress) >= 2, timeout=3000)
    began = time.monotonic()
    jobs.cancel("work")
    qtbot.waitUntil(lambda: bool(heard.ended), timeout=3000)
    assert time.monotonic() - began < 0.5
    (ended,) = heard.ended
    assert ended.cancelled
    assert ended.value is None
    assert list(ended.partials) == list(range(1, len(ended.partials) + 1))
    assert 2 <= len(ended.partials) < 1000
    assert closed == [True]


def test_what_was_cancelled_in_its_last_step_brings_nothing(qtbot, jobs):
    heard = Listener()
    running, gate = threading.Event(), threading.Event()

    def work():
        yield Progress("Working", 0, 0)
        running.set()
        gate.wait(5)
        return "unwanted"

    jobs.run("work", "Segmenting", work, **heard.callbacks())
    assert running.wait(3)
    jobs.cancel("work")
    gate.set()
    qtbot.waitUntil(lambda: bool(heard.ended), timeout=3000)
    assert heard.ended == [Ended(None, cancelled=True, partials=())]


def test_a_newer_job_in_the_same_lane_drops_the_older_result(qtbot, jobs):
    older, newer = Listener(), Listener()
    gate = threading.Event()
    jobs.run("overlay", "Drawing", counting(2, stop=gate), **older.callbacks())
    jobs.run("overlay", "Drawing", counting(1), **newer.callbacks())
    gate.set()
    qtbot.waitUntil(lambda: bool(newer.ended), timeout=3000)
    qtbot.wait(200)
    assert (older.ended, older.failed) == ([], [])


def test_closing_mid_run_is_harmless(qtbot):
    jobs = Jobs()
    heard = Listener()
    running = threading.Event()
    done = threading.Event()

    def work():
        try:
            for i in range(1000):
                running.set()
                time.sleep(0.01)
                yield Progress("Working", i, 1000)
        finally:
            done.set()

    jobs.run("work", "Counting", work, **heard.callbacks())
    assert running.wait(3)
    jobs.close()
    jobs.deleteLater()
    assert done.wait(3)
    qtbot.wait(50)
    assert (heard.ended, heard.failed) == ([], [])


def test_seconds_left_follow_the_pace(qtbot, jobs):
    heard = Listener()
    jobs.run("work", "Counting", counting(20, pause=0.06), **heard.callbacks())
    qtbot.waitUntil(lambda: bool(heard.ended), timeout=5000)
    left = [(p.done, seconds) for p, seconds in heard.progress if seconds is not None]
    assert heard.progress[0][1] is None
    for done, seconds in left:
        assert seconds == pytest.approx((20 - done) * 0.06, rel=0.5)


def test_a_flood_of_steps_does_not_flood_the_gui(qtbot, jobs):
    heard = Listener()
    began = time.monotonic()
    jobs.run("work", "Counting", counting(5000), **heard.callbacks())
    qtbot.waitUntil(lambda: bool(heard.ended), timeout=5000)
    assert len(heard.ended[0].partials) == 5000
    assert len(heard.progress) <= 2 + (time.monotonic() - began) / 0.05


class Knot:
    """Garbage that only a collection finds, and that tells which thread did."""

    def __init__(self, died):
        self.me, self.died = self, died

    def __del__(self):
        self.died.append(threading.current_thread())


def test_garbage_is_collected_on_the_gui_thread_alone(qtbot, jobs):
    heard = Listener()
    died = []

    def work():
        for step in range(40):
            # Many times what sets off an automatic collection.
            kept = [Knot(died) for _ in range(3000)]
            del kept
            time.sleep(0.02)
            yield Progress("Working", step, 40)

    assert gc.isenabled()
    jobs.run("work", "Counting", work, **heard.callbacks())
    qtbot.waitUntil(lambda: bool(heard.ended), timeout=5000)
    assert len(died) > 3000
    assert set(died) == {threading.main_thread()}
    assert gc.isenabled()


def test_nothing_of_a_job_outlives_it(qtbot, jobs):
    from napari_cytosae.widgets._jobs import Job

    heard = Listener()
    before = set(threading.enumerate())
    jobs.run("work", "Counting", counting(3), **heard.callbacks())
    jobs.run("other", "Counting", raising(ValueError("no")), **heard.callbacks())
    qtbot.waitUntil(lambda: bool(heard.ended and heard.failed), timeout=3000)
    assert set(threading.enumerate()) <= before
    assert not Job._running


def test_a_short_job_does_not_wait_behind_long_ones(qtbot, jobs):
    gate, done = threading.Event(), []
    threads = QThreadPool.globalInstance().maxThreadCount()

    def long():
        gate.wait(10)
        yield Progress("long", 0, 0)

    def short():
        yield Progress("short", 0, 0)

    def run(lane, work):
        jobs.run(lane, lane, work, on_ended=lambda _: done.append(lane), on_failed=print)

    for n in range(threads + 1):
        run(f"long {n}", long)
    run("short", short)
    qtbot.waitUntil(lambda: done == ["short"])
    gate.set()
    qtbot.waitUntil(lambda: len(done) == threads + 2)


def test_an_idle_job_goes_on_only_while_no_other_runs(jobs, qtbot):
    idle, other, go = Listener(), Listener(), threading.Event()
    jobs.run("other", "Other", counting(3, stop=go), **other.callbacks())
    jobs.run("idle", "Idle", counting(5), idle=True, **idle.callbacks())
    qtbot.wait(200)
    assert not idle.progress
    assert not idle.ended
    go.set()
    qtbot.waitUntil(lambda: bool(idle.ended))
    assert other.ended
    assert idle.ended[0].partials == (1, 2, 3, 4, 5)
    # Waiting, it can be stopped.
    go.clear()
    jobs.run("other", "Other", counting(3, stop=go), **other.callbacks())
    jobs.run("idle", "Idle", counting(5), idle=True, **idle.callbacks())
    jobs.cancel("idle")
    qtbot.waitUntil(lambda: len(idle.ended) == 2)
    assert idle.ended[1].cancelled
    go.set()
