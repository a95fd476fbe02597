"""The signals that a controller hears of what outlives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Connections:
    """Signals of sessions and canvas, heard until they are closed.

    Parameters
    ----------
    *pairs : tuple of signal and slot
    """

    def __init__(self, *pairs: tuple[Any, Callable[..., Any]]) -> None:
        self._pairs = pairs
        for signal, slot in pairs:
            signal.connect(slot)

    def close(self) -> None:
        """Hear them no more."""
        for signal, slot in self._pairs:
            signal.disconnect(slot)
        self._pairs = ()
