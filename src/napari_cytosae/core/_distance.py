"""How far each pixel of a mask is from the nearest one outside it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_cytosae.core.types import BoolArray, Float32Array

    Int16Array = npt.NDArray[np.int16]

_REACH = 127
"""Largest distance in pixels whose square, twice, an int16 holds."""


def distance(mask: BoolArray, limit: float = np.inf) -> Float32Array:
    """Euclidean distance of each pixel to the nearest False one, in pixels.

    Exact, as of `scipy.ndimage.distance_transform_edt`. Cells are some tens of pixels
    wide: where nothing is farther than `_REACH`, trying each offset along the rows on
    distances along the columns, all pixels at once, takes a fifth of its time.

    Parameters
    ----------
    mask : ndarray of bool, (H, W)
        Should hold a False pixel, unless there is a limit.
    limit : float
        Distances beyond it may be given as any number beyond it.
    """
    if not mask.any():
        return np.zeros(mask.shape, np.float32)
    # Shifts go fastest along the first axis: the columns become rows.
    along = np.ascontiguousarray(np.square(_along_columns(mask)).T)
    square, shifted = along.copy(), np.empty_like(along)
    offset, farthest = 1, min(int(square.max()), limit**2)
    while offset**2 <= farthest and offset < min(_REACH, len(along)):
        np.add(along, np.int16(offset**2), out=shifted)
        np.minimum(square[offset:], shifted[:-offset], out=square[offset:])
        np.minimum(square[:-offset], shifted[offset:], out=square[:-offset])
        offset, farthest = offset + 1, min(int(square.max()), limit**2)
    if farthest >= _REACH**2:
        exact: Float32Array = ndi.distance_transform_edt(mask).astype(np.float32)
        return exact
    root: Float32Array = np.sqrt(np.ascontiguousarray(square.T), dtype=np.float32)
    return root


def _along_columns(mask: BoolArray) -> Int16Array:
    """Distance to the nearest False pixel of the same column, at most `_REACH`."""
    away = np.where(mask, np.int16(_REACH), np.int16(0))
    farther = np.empty(mask.shape[1], np.int16)
    for rows in (away, away[::-1]):
        for before, row in pairwise(rows):
            np.add(before, np.int16(1), out=farther)
            np.minimum(row, farther, out=row)
    return away
