"""The head that comes with the package: trained on synthetic patients, for trying out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_cytosae.core._head_files import read_head
from napari_cytosae.core.drawn import SYNTHETIC

if TYPE_CHECKING:
    from napari_cytosae.core.heads import Head

__all__ = ["NAME", "PATH", "SYNTHETIC", "is_synthetic", "open_head"]

PATH = Path(__file__).parents[1] / "starter" / "synthetic_head.json"
"""Made by ``scripts/synthetic_head.py`` from the starter model."""

NAME = "synthetic"
"""What ``--head`` and the panel call it."""


def open_head(reference: str | Path) -> Head:
    """A head by its file, or the built-in one by `NAME`.

    Raises
    ------
    CheckpointError
        As `read_head`.
    """
    return read_head(PATH if str(reference) == NAME else reference)


def is_synthetic(head: Head) -> bool:
    """Whether a head was trained on patients that were drawn."""
    return head.about.get("note") == SYNTHETIC
