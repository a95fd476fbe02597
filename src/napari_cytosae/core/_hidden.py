"""What lies over a smear: pen, pointer, scale bar, text; and the cells it hides in part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi
from skimage.morphology import convex_hull_image

from napari_cytosae.core._shape import shapes
from napari_cytosae.core._stain import GREY
from napari_cytosae.core._window import around, dilated, extent, opened, smoothed

if TYPE_CHECKING:
    from napari_cytosae.core._stain import Stain
    from napari_cytosae.core.types import BoolArray, Int32Array

_LARGEST = 1.35
"""Of the typical cell's area, what one cell may have whose hidden part is guessed."""
_CONVEX = 0.93
"""Least share of its convex hull that a cell fills once what is hidden is filled."""


def hidden_mask(stained: Stain, um: float) -> BoolArray:
    """Pixels below pen, pointer, text and dust, and below the blurred rim around these.

    They are grey however faint, unless the cells are; or have a colour that no dye gives.
    """
    foreign = stained.foreign
    if not stained.colourless:
        foreign = foreign | _grey(stained, 0.3 / um)
    return dilated(opened(foreign, max(1, round(0.4 / um))), max(1, round(0.6 / um)))


def _grey(stained: Stain, sigma: float) -> BoolArray:
    """What is denser than glass and as dense in red and blue, smoothed by `sigma` px."""
    red, green, blue = np.moveaxis(stained.density, -1, 0)
    dark = smoothed(green, sigma)
    least = np.float32(GREY) * dark
    grey: BoolArray = (smoothed(red, sigma) > least) & (dark > max(0.04, 4 * stained.noise))
    # Blood lets red light through: what is left to look at is little, if anything.
    if grey.any():
        wide = around(extent(grey), int(4 * sigma + 0.5))
        grey[wide] &= smoothed(blue[wide], sigma) > least[wide]
    return grey


def completed(labels: Int32Array, hidden: BoolArray, typical: float) -> Int32Array:
    """Join the pieces that something hides the middle of, and fill what it hides.

    Parameters
    ----------
    labels : ndarray of int32, (H, W)
        Cells, and pieces of cells, outside `hidden`.
    hidden : ndarray of bool, (H, W)
        What cannot be seen.
    typical : float
        Area of a cell in pixels: pieces are of one if it is convex and no larger than one.

    Returns
    -------
    ndarray of int32, (H, W)
        A cell has the id of one of its pieces; those of the others are free.
    """
    if not hidden.any() or not labels.any():
        return labels
    touched = np.unique(labels[dilated(hidden, 2)])
    touched = touched[touched > 0]
    if not touched.size:
        return labels
    labels = labels.copy()
    shape = shapes(labels)
    place = np.column_stack([shape.y, shape.x])[touched]
    apart = np.hypot(*(place[:, None] - place[None]).transpose(2, 0, 1))
    near = np.argwhere(np.triu(apart < 2 * np.sqrt(typical / np.pi)))
    near = near[np.argsort(-apart[tuple(near.T)], kind="stable")[::-1]]
    boxes = ndi.find_objects(labels)
    root = np.arange(len(boxes) + 1)
    # Pieces of one cell before single ones: those are filled as far as they reach.
    for pair in sorted(touched[near].tolist(), key=lambda ends: ends[0] == ends[1]):
        ids = np.unique(root[pair])
        if len(ids) < len(set(pair)):
            continue
        box = _around([boxes[i - 1] for i in ids])
        inside = labels[box]
        pieces = np.isin(inside, ids)
        if pieces.sum() > _LARGEST * typical:
            continue
        free = hidden[box] & (inside == 0)
        if len(ids) == 1 and not free.any():
            continue
        hull = convex_hull_image(pieces)
        whole = pieces | (hull & free)
        if whole.sum() > _LARGEST * typical or whole.sum() < _CONVEX * hull.sum():
            continue
        inside[whole] = ids[0]
        boxes[ids[0] - 1] = box
        root[np.isin(root, ids)] = ids[0]
    return labels


def _around(boxes: list[tuple[slice, ...]]) -> tuple[slice, ...]:
    return tuple(
        slice(min(b[axis].start for b in boxes), max(b[axis].stop for b in boxes))
        for axis in range(2)
    )
