"""Patch activations of all cells as one map on the slide, computed where it is looked at.

A slide of 20,000 x 20,000 px would need 1.6 GB a concept as an array; here the patch grids
of the cells (1 kB each) are kept, and pixels are filled in on demand.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from napari_cytosae.core._map_level import MapLevel
from napari_cytosae.core._map_painting import paint
from napari_cytosae.core.files import atomic_file
from napari_cytosae.core.label_blocks import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from scipy.sparse import csc_array, csr_array

    from napari_cytosae.core.types import Float32Array, Int64Array

ARRAY_PIXELS = 1024 * 1024
"""A map of more is not held as an array: the screen shows less of it, and sooner."""

SMALLEST = 512
"""Side in px below which a level of a pyramid needs no coarser one."""


@dataclass(frozen=True, slots=True, eq=False)
class OverlayMap:
    """One concept's activation on the slide, float32, 0 outside the crops.

    A pixel shows the patch that its centre lies in; where crops overlap, the maximum.

    Attributes
    ----------
    grids : ndarray of float32, (n, grid, grid)
        Patch activations of each crop, >= 0.
    boxes : ndarray of int64, (n, 4)
        The crops on the slide, ``y0, x0, y1, x1``; may reach outside it.
    shape : (int, int)
        Height and width of the slide in px.
    smooth : bool
        Interpolate linearly between the centres of the patches of a crop.
    """

    grids: Float32Array
    boxes: Int64Array
    shape: tuple[int, int]
    smooth: bool = False
    _lit: Int64Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.grids) != len(self.boxes):
            raise ValueError(f"{len(self.grids)} grids for {len(self.boxes)} boxes")
        # A concept fires in few cells: the others are never looked at again.
        lit = np.flatnonzero(self.grids.any(axis=(1, 2)))
        object.__setattr__(self, "_lit", lit)

    def region(self, y0: int, x0: int, y1: int, x1: int, step: int = 1) -> Float32Array:
        """Activation of the pixels ``[y0, y1) x [x0, x1)`` of the slide.

        Parameters
        ----------
        y0, x0, y1, x1 : int
            Half-open, inside the slide.
        step : int
            Show only the middle pixel of each block of `step` x `step` (a smaller last
            block: its last pixel).

        Returns
        -------
        ndarray of float32, (ceil((y1 - y0) / step), ceil((x1 - x0) / step))
        """
        rows, cols = _samples(y0, y1, step), _samples(x0, x1, step)
        if not (len(rows) and len(cols)):
            return np.zeros((len(rows), len(cols)), np.float32)
        boxes = self.boxes[self._lit]
        seen = (
            (boxes[:, 0] <= rows[-1])
            & (boxes[:, 2] > rows[0])
            & (boxes[:, 1] <= cols[-1])
            & (boxes[:, 3] > cols[0])
        )
        return paint(rows, cols, self.grids[self._lit[seen]], boxes[seen], self.smooth)

    def full(self) -> Float32Array:
        """The map of the whole slide: 4 bytes a pixel."""
        return self.region(0, 0, *self.shape)

    def pyramid(self) -> list[MapLevel]:
        """The map at every pixel, every second, every fourth, ..., computed where sliced.

        The last level is the first of at most `SMALLEST` px.
        """
        exponent = max(0, math.ceil(math.log2(max(self.shape) / SMALLEST)))
        return [MapLevel(self, 2**level) for level in range(exponent + 1)]

    def layer_data(self) -> Float32Array | list[MapLevel]:
        """What a viewer should show: one array, or a lazy pyramid above `ARRAY_PIXELS`."""
        large = self.shape[0] * self.shape[1] > ARRAY_PIXELS
        return self.pyramid() if large else self.full()


def empty_map(shape: tuple[int, int]) -> OverlayMap:
    """A map of no cells on a slide of this height and width in px."""
    return OverlayMap(np.zeros((0, 1, 1), np.float32), np.zeros((0, 4), np.int64), shape)


def robust_scale(
    activations: Float32Array | csr_array | csc_array, percentile: float = 99.5
) -> tuple[float, float]:
    """Limits of a colour scale that is the same for all cells.

    Parameters
    ----------
    activations : ndarray or sparse array
        Patch grids of all cells, or one concept's column of `ConceptActivations.max`.
    percentile : float
        Of the positive values; a single outlier does not make all else pale.

    Returns
    -------
    (float, float)
        ``(0, vmax)``; ``(0, 1)`` where nothing fires.
    """
    values: Any = activations if isinstance(activations, np.ndarray) else activations.data
    values = values[values > 0]
    return 0.0, float(np.percentile(values, percentile)) if values.size else 1.0


def write_tiff(
    path: Path | str,
    overlay: OverlayMap,
    um: float | None = None,
    metadata: dict[str, Any] | None = None,
) -> None:
    """Write a map as tiled, zlib-compressed float32 TIFF, never holding all of it.

    Parameters
    ----------
    path : path-like
        Replaced only when the new file is complete.
    overlay : OverlayMap
        The map; one tile of it is computed at a time.
    um : float, optional
        Micrometres a pixel, for the resolution tags.
    metadata : dict, optional
        JSON values for the image description.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    height, width = overlay.shape
    with atomic_file(path) as temporary:
        tifffile.imwrite(
            temporary,
            _encoded_tiles(overlay),
            shape=overlay.shape,
            dtype=np.float32,
            photometric="minisblack",
            tile=(BLOCK, BLOCK),
            compression="zlib",
            # The compressed size is not known before; random maps hardly shrink.
            bigtiff=height * width * 4 > 2**32 - 2**25,
            resolution=(1e4 / um, 1e4 / um) if um else None,
            resolutionunit="CENTIMETER" if um else None,
            metadata={"axes": "YX", **(metadata or {})},
        )


def _encoded_tiles(overlay: OverlayMap) -> Iterator[bytes]:
    """The tiles of a TIFF file, row by row; most are empty and compressed only once."""
    height, width = overlay.shape
    empty = zlib.compress(bytes(4 * BLOCK * BLOCK))
    for y in range(0, height, BLOCK):
        for x in range(0, width, BLOCK):
            part = overlay.region(y, x, min(y + BLOCK, height), min(x + BLOCK, width))
            if not part.any():
                yield empty
                continue
            tile = np.zeros((BLOCK, BLOCK), dtype="<f4")
            tile[: part.shape[0], : part.shape[1]] = part
            yield zlib.compress(tile.tobytes())


def _samples(start: int, stop: int, step: int) -> Int64Array:
    """The middle pixel of each block of `step` pixels."""
    return np.minimum(np.arange(start, stop, step, dtype=np.int64) + step // 2, stop - 1)
