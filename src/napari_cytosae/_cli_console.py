"""What the command line says: errors in one line, progress on a terminal."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from typer.core import TyperGroup

from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from napari_cytosae.core.types import Progress

BAD_INPUT = 2
INTERRUPTED = 130
SHOW_TRACEBACKS = "CYTOSAE_TRACEBACK"
"""Environment variable that lets unexpected errors through, for developers."""

_STARVED = ("out of memory", "can't allocate memory", "not enough memory")
"""What torch's allocators say, in RuntimeErrors."""

_REDRAW_EVERY_S = 0.1
_LOG_EVERY_S = 30.0

T = TypeVar("T")


class OneLineErrors(TyperGroup):
    """Commands that end with one line on stderr and exit code 2, never with a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was typed."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            # Usage errors and exits are typer's own to show; so is a closed pipe.
            if hasattr(error, "exit_code") or isinstance(
                error, typer.Abort | BrokenPipeError
            ):
                raise
            if os.environ.get(SHOW_TRACEBACKS):
                raise
            say(reason(error))
            raise typer.Exit(BAD_INPUT) from None


def say(message: str) -> None:
    """Write one line to stderr."""
    typer.echo(" ".join(message.splitlines()), err=True)


def reason(error: BaseException) -> str:
    """Return one sentence for any error."""
    text = str(error)
    if isinstance(error, CytoError):
        return text
    if isinstance(error, MemoryError) or any(sign in text.lower() for sign in _STARVED):
        return "There is not enough memory: close other programs or use smaller images."
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or text or type(error).__name__}."
    return (
        f"Unexpected {type(error).__name__}: {text or 'no details'} (please report it; "
        f"{SHOW_TRACEBACKS}=1 shows more)."
    )


def drive(
    job: Generator[Progress, None, T],
    label: str = "",
    describe: Callable[[Any], str] | None = None,
) -> T:
    """Run a job to its end and return its result.

    On a terminal a live line with the time left is drawn and wiped; elsewhere, so that
    logs stay readable, a line is written only every half minute.

    Parameters
    ----------
    job : generator of Progress
        As the interface drives it too; closed when the run is interrupted.
    label : str
        Shown before the stage.
    describe : callable, optional
        Says in words what a step's `partial` is.
    """
    live = sys.stderr.isatty()
    every = _REDRAW_EVERY_S if live else _LOG_EVERY_S
    stage, began, first = "", 0.0, 0
    drawn = 0.0 if live else time.monotonic()
    on_screen = False
    try:
        while True:
            step = next(job)
            now = time.monotonic()
            news = step.stage != stage
            if news:
                stage, began, first = step.stage, now, step.done
            if now - drawn < every and not (live and news):
                continue
            drawn = now
            text = f"{label}{_line(step, now - began, first)}"
            if describe is not None and step.partial is not None:
                text += f"; {describe(step.partial)}"
            if live:
                _draw(text)
                on_screen = True
            else:
                say(text)
    except StopIteration as finished:
        return finished.value  # type: ignore[no-any-return]
    finally:
        job.close()
        if on_screen:
            _draw("")


@contextmanager
def finishing_steps() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C wait for the step at work; a second one does not wait.

    Yields
    ------
    callable
        Says whether Ctrl-C has been pressed.
    """
    pressed = []

    def note(*_: object) -> None:
        pressed.append(True)
        signal.signal(signal.SIGINT, former)

    former = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, former)


def duration(seconds: float) -> str:
    """Return a time in words, e.g. ``8 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _line(step: Progress, elapsed: float, first: int) -> str:
    if not step.total:
        return step.stage
    text = f"{step.stage} {step.done} of {step.total} {step.unit}"
    finished = step.done - first
    if finished > 0 and step.done < step.total:
        left = elapsed / finished * (step.total - step.done)
        text += f", {duration(left)} left"
    return text


def _draw(text: str) -> None:
    width = shutil.get_terminal_size().columns - 1
    sys.stderr.write("\r" + text[:width].ljust(width) + ("" if text else "\r"))
    sys.stderr.flush()


def finish(problems: Sequence[str]) -> None:
    """Name what was left out; bad input is exit code 2, the rest being done."""
    for problem in problems:
        say(problem)
    if problems:
        raise typer.Exit(BAD_INPUT)
