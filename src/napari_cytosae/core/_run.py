"""A generator of `Progress` -> its result, for callers that do not watch its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_cytosae.core.types import Progress

Result = TypeVar("Result")


def run(job: Generator[Progress, None, Result]) -> Result:
    """Run a long job to its end and return its result; its progress goes unseen."""
    while True:
        try:
            next(job)
        except StopIteration as finished:
            result: Result = finished.value
            return result


def told_as(
    now: Progress, job: Generator[Progress, None, Result]
) -> Generator[Progress, None, Result]:
    """Run a job within a longer one: after each of its steps, how far that one is."""
    while True:
        try:
            next(job)
        except StopIteration as finished:
            result: Result = finished.value
            return result
        yield now
