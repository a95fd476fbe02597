"""What tables say where nothing is known."""

from __future__ import annotations

_MISSING = {"nan", "na", "n/a", "<na>", "none", "null"}
"""In any case of letters."""


def is_missing(text: str) -> bool:
    """Whether a text that is not empty means that nothing is known."""
    return text.strip().lower() in _MISSING
