"""Ghosts: red cells that have lost their haemoglobin, of which a pale rim is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi
from skimage.measure import label

from napari_cytosae.core._shape import consecutive, cut, shapes
from napari_cytosae.core._window import around, dilated, opened, smoothed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_cytosae.core._stain import Stain
    from napari_cytosae.core.types import BoolArray, Int32Array

_PALE = 0.17
"""Share of the haemoglobin of the red cells in view that the rim of a ghost has."""
_RIM = 0.35
"""Least share of a ghost that its rim takes: gaps between cells have none."""
_PIECE = 0.7
"""Of the typical cell's area: what is less, and hollow, is a piece of a rim."""
_HOLLOW = 0.85
"""Fullness of a label up to which it may be a piece of a rim."""
_AREA = (0.5, 1.6)
"""Of the typical cell's area."""
_GAP_UM = 0.8
"""Half of the widest gap in a rim that is closed."""
_ROUND, _ECCENTRICITY = 0.88, 0.8


def with_ghosts(
    stained: Stain, labels: Int32Array, other: BoolArray, um: float, typical: float
) -> Int32Array:
    """Add the ghosts to labelled red cells, a whole one for the pieces of its rim.

    Nothing but its shape tells a ghost from an unevenness of the background, so only what
    is round and as large as a red cell is one.

    Parameters
    ----------
    stained : Stain
        Of the image.
    labels : ndarray of int32, (H, W)
        Red cells, ids 1 to n.
    other : ndarray of bool, (H, W)
        What is no red cell.
    um : float
        Pixel size.
    typical : float
        Area of a red cell in pixels.
    """
    if not labels.any():
        return labels
    density = smoothed(stained.haemoglobin, 0.3 / um)
    floor = max(_PALE * float(np.median(density[labels > 0])), 0.5 * stained.noise)
    shape = shapes(labels)
    piece = (shape.fullness < _HOLLOW) & (shape.area < _PIECE * typical) & ~shape.cut
    taken = dilated((labels > 0) & ~piece[labels], max(1, round(0.3 / um))) | other
    rim = (density > floor) & ~taken
    parts = label(rim).astype(np.int32)
    large = np.bincount(parts.ravel()) > _RIM * _AREA[0] * typical
    large &= ~cut(parts, len(large))
    large[0] = False
    if not large.any():
        return labels
    labels = labels.copy()
    new = len(shape.area)
    boxes = ndi.find_objects(parts)
    for part in np.flatnonzero(large[1:]).tolist():
        window = around(boxes[part], round(3 * _GAP_UM / um))
        for ghost in _outlined(rim[window], taken[window], um, typical):
            inside = labels[window]
            hidden = np.unique(inside[ghost])
            inside[np.isin(inside, hidden[piece[hidden]])] = 0
            inside[ghost] = new
            piece = np.append(piece, False)
            new += 1
    return consecutive(labels)[1]


def _outlined(
    rim: BoolArray, taken: BoolArray, um: float, typical: float
) -> Iterator[BoolArray]:
    """The cells that a rim with its gaps closed encloses, as masks over the window."""
    gap, least = max(1, round(_GAP_UM / um)), max(1, round(0.5 / um))
    inside = label(~(dilated(rim, gap) | taken), connectivity=1)
    # What reaches the side of the window is not enclosed.
    enclosed = ~cut(inside, int(inside.max()) + 1)
    enclosed[0] = False
    whole = rim | (dilated(enclosed[inside], gap) & ~taken)
    found = label(opened(whole, least)).astype(np.int32)
    shape = shapes(found)
    rims = np.bincount(found[rim], minlength=len(shape.area))
    good = (
        ~shape.cut
        & (shape.area > _AREA[0] * typical)
        & (shape.area < _AREA[1] * typical)
        & (shape.fullness > _ROUND)
        & (shape.eccentricity < _ECCENTRICITY)
        & (rims > _RIM * shape.area)
    )
    good[0] = False
    for i in np.flatnonzero(good):
        yield found == i
