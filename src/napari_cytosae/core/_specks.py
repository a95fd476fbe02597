"""Specks of a mask, and specks that it lacks: parts too small to mean anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi

if TYPE_CHECKING:
    from napari_cytosae.core.types import BoolArray


def without_specks(mask: BoolArray, area: float) -> BoolArray:
    """The parts of a mask (H, W) of at least `area` pixels."""
    parts, _ = ndi.label(mask)
    large = np.bincount(parts.ravel()) >= area
    large[0] = False
    return large.take(parts)


def without_holes(mask: BoolArray, area: float) -> BoolArray:
    """The mask (H, W) with its holes of less than `area` pixels filled."""
    return ~without_specks(~mask, area)
