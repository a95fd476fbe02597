"""Patch activations of all cells as one map on the slide, computed where it is looked at.

A slide of 20,000 x 20,000 px would need 1.6 GB a concept as an array; here the patch grids
of the cells (1 kB each) are kept, and pixels are filled in on demand.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import tifffile

from napari_cytosae.core.files import atomic_file
from napari_cytosae.core.label_blocks import BLOCK
from napari_cytosae.core.types import LARGE_PIXELS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import dask.array as da
    from scipy.sparse import csc_array, csr_array

    from napari_cytosae.core.types import Float32Array, Int64Array, LabelImage

CHUNK = 512
"""Side in px of the pieces in which a pyramid is computed."""


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
    labels : ndarray of int32, (H, W), optional
        Show a crop's activation only on the pixels of its own cell.
    cell_ids : ndarray of int64, (n,), optional
        Ids in `labels`; needed with it.
    """

    grids: Float32Array
    boxes: Int64Array
    shape: tuple[int, int]
    smooth: bool = False
    labels: LabelImage | None = None
    cell_ids: Int64Array | None = None
    _lit: Int64Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.grids) != len(self.boxes):
            raise ValueError(f"{len(self.grids)} grids for {len(self.boxes)} boxes")
        if self.labels is not None and self.cell_ids is None:
            raise ValueError("labels need cell_ids")
        # A concept fires in few cells: the others are never looked at again.
        lit = np.flatnonzero(self.grids.any(axis=(1, 2)))
        object.__setattr__(self, "_lit", lit)

    @property
    def is_large(self) -> bool:
        """Whether the slide is too large to hold the map as an array."""
        return self.shape[0] * self.shape[1] > LARGE_PIXELS

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
        out = np.zeros((len(rows), len(cols)), dtype=np.float32)
        if out.size == 0:
            return out
        boxes = self.boxes[self._lit]
        seen = (
            (boxes[:, 0] <= rows[-1])
            & (boxes[:, 2] > rows[0])
            & (boxes[:, 1] <= cols[-1])
            & (boxes[:, 3] > cols[0])
        )
        boxes = boxes[seen]
        r = np.searchsorted(rows, boxes[:, 0::2]).tolist()
        c = np.searchsorted(cols, boxes[:, 1::2]).tolist()
        for index, (r0, r1), (c0, c1) in zip(self._lit[seen].tolist(), r, c, strict=True):
            values = self._values(index, rows[r0:r1], cols[c0:c1])
            target = out[r0:r1, c0:c1]
            np.maximum(target, values, out=target)
        return out

    def full(self) -> Float32Array:
        """The map of the whole slide; for slides that are not `is_large`."""
        return self.region(0, 0, *self.shape)

    def pyramid(self, levels: int | None = None) -> list[da.Array]:
        """The map as lazy dask arrays, each half as wide as the one before.

        Parameters
        ----------
        levels : int, optional
            As many as it takes to get below `CHUNK` px by default.
        """
        import dask.array as da

        if levels is None:
            levels = 1 + max(0, int(np.ceil(np.log2(max(self.shape) / CHUNK))))
        return [
            # Not named by content: dask would hash all grids for each level.
            da.from_array(  # type: ignore[no-untyped-call]
                level,
                chunks=CHUNK,
                name=f"overlay-{level.step}-{uuid4().hex}",
                asarray=False,
                meta=np.empty((0, 0), dtype=np.float32),
            )
            for level in (_Level(self, 2**exponent) for exponent in range(levels))
        ]

    def layer_data(self) -> Float32Array | list[da.Array]:
        """What a viewer should show: one array, or a lazy pyramid for a large slide."""
        return self.pyramid() if self.is_large else self.full()

    def _values(self, index: int, rows: Int64Array, cols: Int64Array) -> Float32Array:
        """One crop's activation on some of its pixels."""
        y0, x0, y1, x1 = self.boxes[index].tolist()
        grid = self.grids[index]
        values: Float32Array
        if self.smooth:
            weights = _linear(rows, y0, y1, len(grid)), _linear(cols, x0, x1, len(grid))
            values = weights[0] @ grid @ weights[1].T
        else:
            across = _nearest(cols, x0, x1, len(grid))
            # Rows last: whole rows are copied, which is 25 times faster than pixels.
            values = grid.take(across, axis=1).take(
                _nearest(rows, y0, y1, len(grid)), axis=0
            )
        if self.labels is None or self.cell_ids is None or not values.size:
            return values
        part = self.labels[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
        own = part[np.ix_(rows - rows[0], cols - cols[0])] == self.cell_ids[index]
        values[~own] = 0
        return values


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


@dataclass(frozen=True, slots=True, eq=False)
class _Level:
    """One level of a pyramid, as dask reads it."""

    overlay: OverlayMap
    step: int
    ndim: int = 2
    dtype: np.dtype[np.float32] = field(default_factory=lambda: np.dtype(np.float32))

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.overlay.shape
        return -(-height // self.step), -(-width // self.step)

    def __getitem__(self, key: tuple[slice, slice]) -> Float32Array:
        (r0, r1, _), (c0, c1, _) = (
            part.indices(length) for part, length in zip(key, self.shape, strict=True)
        )
        height, width = self.overlay.shape
        step = self.step
        return self.overlay.region(
            r0 * step, c0 * step, min(r1 * step, height), min(c1 * step, width), step
        )


def _samples(start: int, stop: int, step: int) -> Int64Array:
    """The middle pixel of each block of `step` pixels."""
    return np.minimum(np.arange(start, stop, step, dtype=np.int64) + step // 2, stop - 1)


def _nearest(pixels: Int64Array, start: int, stop: int, grid: int) -> Int64Array:
    """Patch that the centre of each pixel lies in: `crops.patch_at`, in whole numbers."""
    return (2 * (pixels - start) + 1) * grid // (2 * (stop - start))


def _linear(pixels: Int64Array, start: int, stop: int, grid: int) -> Float32Array:
    """Weights (pixels, grid) of linear interpolation between the patches' centres."""
    position = (pixels + 0.5 - start) * grid / (stop - start) - 0.5
    position = np.clip(position, 0, grid - 1)
    below = np.minimum(position.astype(np.int64), max(grid - 2, 0))
    weights = np.zeros((len(pixels), grid), dtype=np.float32)
    index = np.arange(len(pixels))
    weights[index, np.minimum(below + 1, grid - 1)] = position - below
    weights[index, below] += (1 - (position - below)).astype(np.float32)
    return weights
