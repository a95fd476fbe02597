"""What the command line says: errors in one line, progress on a terminal."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from typer.core import TyperGroup

from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_cytosae.core.types import Progress

BAD_INPUT = 2
INTERRUPTED = 130
SHOW_TRACEBACKS = "CYTOSAE_TRACEBACK"
"""Environment variable that lets unexpected errors through, for developers."""

_REDRAW_EVERY_S = 0.1

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
    typer.echo(" ".join(message.split()), err=True)


def reason(error: BaseException) -> str:
    """Return one sentence for any error."""
    text = str(error)
    if isinstance(error, CytoError):
        return text
    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        return "There is not enough memory: close other programs or use smaller images."
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or text or type(error).__name__}."
    return (
        f"Unexpected {type(error).__name__}: {text or 'no details'} (please report it; "
        f"{SHOW_TRACEBACKS}=1 shows more)."
    )


def drive(job: Generator[Progress, None, T], label: str = "") -> T:
    """Run a job to its end and return its result.

    On a terminal a live line with the time left is drawn and wiped; elsewhere nothing is
    written, so that logs stay readable.

    Parameters
    ----------
    job : generator of Progress
        As the interface drives it too.
    label : str
        Shown before the stage.
    """
    live = sys.stderr.isatty()
    stage, began, first = "", 0.0, 0
    drawn = 0.0
    try:
        while True:
            step = next(job)
            if not live:
                continue
            now = time.monotonic()
            if step.stage != stage:
                stage, began, first = step.stage, now, step.done
            elif now - drawn < _REDRAW_EVERY_S and step.done < step.total:
                continue
            drawn = now
            _draw(f"{label}{_line(step, now - began, first)}")
    except StopIteration as finished:
        return finished.value  # type: ignore[no-any-return]
    finally:
        if live and drawn:
            _draw("")


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
