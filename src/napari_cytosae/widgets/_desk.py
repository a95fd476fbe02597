"""The one long job the analyst waits for: shown in the strip, one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.utils import notifications
from qtpy.QtCore import QObject, Signal

from napari_cytosae.core.types import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cytosae.widgets._jobs import Ended, JobError, Jobs, Work
    from napari_cytosae.widgets.status_strip import StatusStrip

_LANE = "work"


class Desk(QObject):
    """Runs the job in front, and says how everything went.

    Signals
    -------
    busy_changed : bool
    """

    busy_changed = Signal(bool)

    def __init__(self, jobs: Jobs, strip: StatusStrip, *, parent: QObject) -> None:
        super().__init__(parent)
        self._jobs = jobs
        self._strip = strip
        self._asked = ""
        strip.cancel_clicked.connect(self.cancel)

    @property
    def busy(self) -> bool:
        """Whether a job is in front."""
        return self._jobs.running(_LANE) is not None

    def run(
        self,
        title: str,
        work: Work,
        on_done: Callable[[Any], str],
        on_stopped: Callable[[tuple[Any, ...], JobError | None], None] | None = None,
        on_partial: Callable[[Any], None] | None = None,
    ) -> None:
        """Run a job in front; while another one is there, say that it has to wait.

        The one in front is never replaced: it may be writing a file.

        Parameters
        ----------
        title : str
            "Encoding"; starts the sentence of an error.
        work : callable
            Returns the generator.
        on_done : callable
            Takes the result; returns what to say about it.
        on_stopped : callable, optional
            Takes the finished pieces of a job that was cancelled (None) or failed.
        on_partial : callable, optional
            Takes a finished piece while the job goes on; not every one is shown.
        """
        running = self._jobs.running(_LANE)
        if running is not None:
            notifications.show_warning(
                f"{running.title} is still going on: wait for it or cancel it, then try "
                "again."
            )
            return

        def ended(end: Ended) -> None:
            self.busy_changed.emit(False)
            if not end.cancelled:
                self._strip.show_message("")
                self.say(on_done(end.value))
                return
            self._strip.show_message(f"{title} was cancelled.")
            if on_stopped is not None:
                on_stopped(end.partials, None)

        def failed(error: JobError) -> None:
            self.busy_changed.emit(False)
            self.fail_job(error)
            if on_stopped is not None:
                on_stopped(error.partials, error)

        def progressed(progress: Progress, seconds_left: float | None) -> None:
            self._show(progress, seconds_left)
            if on_partial is not None and progress.partial is not None:
                on_partial(progress.partial)

        self._strip.show_progress(Progress(title, 0, 0), None)
        self._jobs.run(
            _LANE, title, work, on_ended=ended, on_failed=failed, on_progress=progressed
        )
        self.busy_changed.emit(True)

    def cancel(self) -> None:
        """Stop the job in front after the step it is in."""
        if self.busy:
            self._jobs.cancel(_LANE)
            self._strip.show_cancelling()

    def say(self, text: str) -> None:
        """Say something in the strip, unless a job is shown there."""
        if text and not self.busy:
            self._strip.show_message(text)

    def ask(self, text: str) -> None:
        """Say what is to be done first; it stands until `answered`."""
        if not self.busy:
            self._asked = text
        self.say(text)

    def answered(self, *texts: str) -> None:
        """Take back what was asked, or only one of these; anything else stays."""
        if self._asked in (texts or (self._asked,)):
            if self._asked and self._strip.text == self._asked:
                self._strip.show_message("")
            self._asked = ""

    def fail(self, text: str, details: str = "") -> None:
        """Say what went wrong, in the strip and as a napari notification."""
        if not self.busy:
            self._strip.show_error(text, details)
        notifications.show_error(text)

    def fail_job(self, error: JobError) -> None:
        """Say how a job failed, with its traceback a click away."""
        self.fail(str(error), error.details)

    def add(self, text: str, error: JobError | None) -> None:
        """Add a sentence to what the strip says of a job that was cancelled or failed."""
        if error is None:
            self._strip.show_message(text)
        else:
            self._strip.show_error(f"{error} {text}", error.details)

    def _show(self, progress: Progress, seconds_left: float | None) -> None:
        job = self._jobs.running(_LANE)
        if job is not None and not job.cancelling:
            self._strip.show_progress(progress, seconds_left)
