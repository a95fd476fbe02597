"""Images that a program has drawn: what is made of them says so, wherever it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cytosae.core.types import RESEARCH_USE

if TYPE_CHECKING:
    from collections.abc import Iterable

DRAWN = "drawn by a program, for trying out only"
"""Of `Image.notes`; the built-in samples and the files of `demo` have it."""

SYNTHETIC = f"Synthetic patients, for trying out only. {RESEARCH_USE}"
"""Note of barcodes of drawn images and of a head trained on them, and of all exports."""

_MARK = "drawn:"


def marked(content: str, notes: Iterable[str]) -> str:
    """The hash of an image's content, which tells a drawn one."""
    return f"{_MARK}{content}" if DRAWN in notes else content


def is_drawn(content: str) -> bool:
    """Whether a hash is that of a drawn image."""
    return content.startswith(_MARK)
