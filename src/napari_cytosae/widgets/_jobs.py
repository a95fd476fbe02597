"""The only place that creates threads: runs the generators of `core` for the dock.

Why not `superqt` workers: they swallow ``RuntimeError``, which torch's out-of-memory and
shape errors are; they exchange ``warnings.showwarning`` for the whole process, and two
that overlap leave the one of a worker that is gone; and a pool that all of napari shares
lets a short job wait behind long ones.
"""

from __future__ import annotations

import threading
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from qtpy.QtCore import QCoreApplication, QObject, QTimer, Signal

from napari_cytosae.core.types import CytoError, Progress
from napari_cytosae.widgets._quiet import (
    collect_young,
    hold_collections,
    release_collections,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Work = Callable[[], Generator[Progress, None, Any]]

_REPORT_EVERY_S = 0.05
_COLLECT_EVERY_MS = 200
_IDLE_S = 0.05


class JobError(Exception):
    """A job that failed.

    Attributes
    ----------
    details : str
        The traceback.
    partials : tuple
        `Progress.partial` of the steps that were finished before.
    kind : type
        Of what was raised; the exception itself would hold on to all that the job held.
    """

    def __init__(
        self,
        message: str,
        details: str = "",
        partials: tuple[Any, ...] = (),
        kind: type[BaseException] = Exception,
    ):
        super().__init__(message)
        self.details = details
        self.partials = partials
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job that did not fail ended.

    Attributes
    ----------
    value : object
        What its generator returned; None where it was cancelled.
    cancelled : bool
    partials : tuple
        `Progress.partial` of the finished steps.
    """

    value: Any
    cancelled: bool
    partials: tuple[Any, ...]


def describe(error: BaseException, title: str) -> str:
    """One sentence for the analyst: what happened, to what, and what to do."""
    if isinstance(error, CytoError):
        return str(error)
    text = str(error)
    starved = ("out of memory", "can't allocate memory", "not enough memory")
    if isinstance(error, MemoryError) or any(sign in text.lower() for sign in starved):
        return (
            f"{title} ran out of memory; close other programs, choose another device in "
            "step 1, or analyse fewer cells."
        )
    reason = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return f"{title} failed: {reason}"


def _drive(
    work: Work,
    title: str,
    cancelled: threading.Event,
    report: Callable[[Progress], None],
    wait: Callable[[], None],
) -> Ended | JobError:
    """Run a core generator to its end; runs in the job's thread."""
    partials: list[Any] = []
    reported = 0.0
    held: Progress | None = None
    try:
        steps = work()
        wait()
        while not cancelled.is_set():
            try:
                progress = next(steps)
            except StopIteration as stop:
                # A job of one step cannot stop early; its result is dropped instead.
                late = cancelled.is_set()
                if held is not None and not late:
                    report(held)
                value = None if late else stop.value
                return Ended(value, cancelled=late, partials=tuple(partials))
            if progress.partial is not None:
                partials.append(progress.partial)
            held = progress
            if time.monotonic() - reported >= _REPORT_EVERY_S:
                reported, held = time.monotonic(), None
                report(progress)
            wait()
        steps.close()
    except Exception as error:
        return JobError(
            describe(error, title), traceback.format_exc(), tuple(partials), type(error)
        )
    return Ended(None, cancelled=True, partials=tuple(partials))


class Job(QObject):
    """One run of a generator; lives on the GUI thread.

    Signals are emitted on the GUI thread. Exactly one of `ended` and `failed` follows,
    unless the job was abandoned: then neither.
    """

    progressed = Signal(object, object)
    """Progress, and seconds left or None."""
    ended = Signal(object)
    failed = Signal(object)

    _reported = Signal(object)
    _over = Signal(object)
    _running: ClassVar[set[Job]] = set()
    _quiet: ClassVar[threading.Event] = threading.Event()
    """Set while all that runs is idle jobs."""

    def __init__(self, work: Work, title: str, *, idle: bool = False) -> None:
        super().__init__()
        self.title = title
        self._idle = idle
        self._cancelled = threading.Event()
        self._abandoned = False
        self._first: tuple[float, int] | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), name=title)
        self._reported.connect(self._on_progress)
        self._over.connect(self._on_over)
        self._sweep = QTimer(self)
        self._sweep.timeout.connect(collect_young)

    def start(self) -> None:
        """Start the job at once, however many others run."""
        # Its thread may outlive the dock, and Qt objects must die on the GUI thread: the
        # job lives until its thread has ended.
        Job._running.add(self)
        Job._listen()
        hold_collections()
        self._sweep.start(_COLLECT_EVERY_MS)
        self._thread.start()

    def _run(self, work: Work) -> None:
        self._over.emit(
            _drive(work, self.title, self._cancelled, self._reported.emit, self._wait)
        )

    def _wait(self) -> None:
        """Between two steps, let the others go first; runs in the job's thread."""
        while self._idle and not (Job._quiet.wait(_IDLE_S) or self._cancelled.is_set()):
            pass

    @staticmethod
    def _listen() -> None:
        if all(job._idle for job in Job._running):
            Job._quiet.set()
        else:
            Job._quiet.clear()

    def cancel(self) -> None:
        """Stop after the step that is running; `ended` follows with what is finished."""
        self._cancelled.set()

    def abandon(self) -> None:
        """Stop, and hear nothing more of it."""
        self._abandoned = True
        self._cancelled.set()

    @property
    def cancelling(self) -> bool:
        """Whether the job has been asked to stop."""
        return self._cancelled.is_set()

    def _on_progress(self, progress: Progress) -> None:
        if not self._abandoned:
            self.progressed.emit(progress, self._seconds_left(progress))

    def _on_over(self, outcome: Ended | JobError) -> None:
        self._thread.join()
        release_collections()
        Job._running.discard(self)
        Job._listen()
        self.deleteLater()
        if not self._abandoned:
            (self.ended if isinstance(outcome, Ended) else self.failed).emit(outcome)

    def _seconds_left(self, progress: Progress) -> float | None:
        # The first step includes the loading of the models, so the clock starts after it.
        now = time.monotonic()
        if progress.total <= 0 or progress.done <= 0:
            return None
        if self._first is None or progress.done <= self._first[1]:
            self._first = (now, progress.done)
            return None
        began, before = self._first
        pace = (now - began) / (progress.done - before)
        return pace * max(0, progress.total - progress.done)


class Jobs(QObject):
    """Runs at most one job a lane.

    A job in a lane that is taken replaces the one before: that one is abandoned, so its
    result, should it still come, is dropped.
    """

    def __init__(self, *, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._lanes: dict[str, Job] = {}
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.close)

    def run(
        self,
        lane: str,
        title: str,
        work: Work,
        *,
        on_ended: Callable[[Ended], None],
        on_failed: Callable[[JobError], None],
        on_progress: Callable[[Progress, float | None], None] | None = None,
        idle: bool = False,
    ) -> Job:
        """Start a job; the callbacks run on the GUI thread.

        Parameters
        ----------
        lane : str
            At most one job runs in each.
        title : str
            Starts the sentence of an error: "Encoding".
        work : callable
            Returns the generator; called, like all of its steps, in the worker's thread,
            so it must have read every widget and layer before.
        on_ended : callable
            Takes `Ended`.
        on_failed : callable
            Takes `JobError`.
        on_progress : callable, optional
            Takes `Progress`, and the seconds left or None.
        idle : bool
            Go on only while no other job runs that is not idle itself.
        """
        former = self._lanes.pop(lane, None)
        if former is not None:
            former.abandon()
        job = Job(work, title, idle=idle)

        def leave() -> None:
            if self._lanes.get(lane) is job:
                del self._lanes[lane]

        def ended(result: Ended) -> None:
            leave()
            on_ended(result)

        def failed(error: JobError) -> None:
            leave()
            on_failed(error)

        job.ended.connect(ended)
        job.failed.connect(failed)
        if on_progress is not None:
            job.progressed.connect(on_progress)
        self._lanes[lane] = job
        job.start()
        return job

    def running(self, lane: str) -> Job | None:
        """The job of a lane, or None."""
        return self._lanes.get(lane)

    def cancel(self, lane: str) -> None:
        """Ask the job of a lane to stop; what it finished is kept."""
        if lane in self._lanes:
            self._lanes[lane].cancel()

    def abandon(self, lane: str) -> None:
        """Stop the job of a lane, and hear nothing more of it."""
        job = self._lanes.pop(lane, None)
        if job is not None:
            job.abandon()

    def close(self) -> None:
        """Abandon everything: the dock is going away."""
        for lane in tuple(self._lanes):
            self.abandon(lane)
