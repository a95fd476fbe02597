"""Cells -> square crops of a fixed physical size; patch grid <-> slide pixels.

A crop fitted to its cell would change the size of the cell in patches, and so its
concepts; single-cell images, which the models were trained on, show a fixed field of view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

import numpy as np

from napari_cytosae.core.types import Cells, Crops, Image, ImageError

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from napari_cytosae.core._level import Level
    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import Int64Array, PixelSizeSource, UInt8Array

    Float64Array = npt.NDArray[np.float64]

FIELD_OF_VIEW_UM = 25.0
"""Side of a crop: that of MLL23 and Matek single-cell images."""

WBC_DIAMETER_UM = 12.5
"""Diameter of a usual white cell on a smear: neutrophils 12-14 um, lymphocytes 8-12 um,
monocytes 14-18 um. Where no pixel size is known, the median white cell in view counts as
this, so the default field of view is two diameters."""


def crop_cells(
    image: Image | Pyramid | npt.NDArray[np.uint8],
    cells: Cells,
    field_of_view_um: float = FIELD_OF_VIEW_UM,
) -> Crops:
    """Cut out one square crop a cell, all of the same side.

    A crop is centred on its cell's bounding box. Where it would reach outside the image it
    is shifted inside, so that all its pixels are real; along a side on which the image is
    smaller than the crop, the image is centred in it and padded with the image's edge
    pixels. For `Cells.single_cell` the whole image, square or not, is the crop.

    Parameters
    ----------
    image : Image, Pyramid or ndarray of uint8, (H, W, 3)
        The smear; the crops of a slide are read when they are asked for.
    cells : Cells
        Of this image.
    field_of_view_um : float
        Side of the crops. Where the pixel size is unknown it is turned into pixels through
        the median diameter of the white cells (of all cells where there are none), taken
        as `WBC_DIAMETER_UM`.

    Returns
    -------
    Crops
        In the order of `cells.table`.

    Raises
    ------
    ImageError
        If the image and the labels differ in size, or the field of view is not positive.
    """
    rgb = pixels_of(image)
    if rgb.shape[:2] != cells.labels.shape:
        raise ImageError(
            f"The image is {rgb.shape[1]} x {rgb.shape[0]} px but the cells are "
            f"{cells.labels.shape[1]} x {cells.labels.shape[0]} px: segment this image."
        )
    if not (np.isfinite(field_of_view_um) and field_of_view_um > 0):
        raise ImageError(f"A field of view of {field_of_view_um} um is impossible.")
    ids = cells.table["cell_id"].to_numpy(dtype=np.int64)
    um, source = cells.pixel_size.um, cells.pixel_size.source
    if cells.single_cell:
        height, width = cells.labels.shape
        boxes = np.tile(np.array([0, 0, height, width], dtype=np.int64), (len(ids), 1))
        field = None if um is None else max(height, width) * um
        whole = rgb if isinstance(rgb, np.ndarray) else rgb[:height, :width]
        return Crops((whole,) * len(ids), boxes, ids, field, source)
    if len(ids) == 0:
        empty = np.empty((0, 4), dtype=np.int64)
        return Crops((), empty, ids, field_of_view_um if um else None, source)
    side, source = crop_side(cells, field_of_view_um)
    boxes = crop_boxes(cells.table, side, cells.labels.shape)
    images = Cuts(rgb, boxes)
    return Crops(images, boxes, ids, field_of_view_um if um else None, source)


def crop_side(cells: Cells, field_of_view_um: float) -> tuple[int, PixelSizeSource]:
    """Side of the crops in px, and what it rests on (``relative`` without a pixel size)."""
    um = cells.pixel_size.um
    if um is not None:
        return max(1, round(field_of_view_um / um)), cells.pixel_size.source
    area = cells.table["area_px"].to_numpy(dtype=float)
    white = cells.table["kind"].to_numpy() == "wbc"
    diameter = 2 * np.sqrt(np.median(area[white] if white.any() else area) / np.pi)
    return max(1, round(field_of_view_um / WBC_DIAMETER_UM * diameter)), "relative"


def crop_boxes(table: pd.DataFrame, side: int, shape: tuple[int, int]) -> Int64Array:
    """Boxes ``y0, x0, y1, x1`` of square crops around the cells of `table`.

    Parameters
    ----------
    table : DataFrame
        With the ``bbox_*`` columns of `CELL_COLUMNS`.
    side : int
        In px.
    shape : (int, int)
        Height and width of the image.

    Returns
    -------
    ndarray of int64, (n, 4)
        Inside the image, but for sides longer than it.
    """
    starts = []
    for axis, length in (("y", shape[0]), ("x", shape[1])):
        low = table[f"bbox_{axis}0"].to_numpy(dtype=np.int64)
        high = table[f"bbox_{axis}1"].to_numpy(dtype=np.int64)
        if side <= length:
            starts.append(np.clip((low + high - side) // 2, 0, length - side))
        else:
            starts.append(np.full(len(table), (length - side) // 2, dtype=np.int64))
    y0, x0 = starts
    return np.stack([y0, x0, y0 + side, x0 + side], axis=1)


def patch_at(
    box: npt.ArrayLike, y: float, x: float, grid: int = 16
) -> tuple[int, int] | None:
    """Patch of a crop that shows the point (y, x) of the slide; inverse of `patch_box`.

    Parameters
    ----------
    box : array_like, (4,)
        Crop on the slide, ``y0, x0, y1, x1``, half-open, square or not.
    y, x : float
        A point in px where pixel ``i`` spans ``[i, i + 1)``; its centre is ``i + 0.5``
        (half a pixel more than a position in napari).
    grid : int
        Patches along one side.

    Returns
    -------
    (row, col) or None
        None outside the crop.
    """
    y0, x0, y1, x1 = (int(edge) for edge in np.asarray(box))
    row = _patch_index(y, y0, y1, grid)
    col = _patch_index(x, x0, x1, grid)
    return None if row is None or col is None else (row, col)


def patch_box(
    box: npt.ArrayLike, row: int, col: int, grid: int = 16
) -> tuple[float, float, float, float]:
    """Edges ``y0, x0, y1, x1`` in px of one patch on the slide; inverse of `patch_at`.

    Pixel ``i`` spans ``[i, i + 1)``; edges of neighbouring patches are the same number.
    """
    y0, x0, y1, x1 = (int(edge) for edge in np.asarray(box))
    return (
        _patch_edge(row, y0, y1, grid),
        _patch_edge(col, x0, x1, grid),
        _patch_edge(row + 1, y0, y1, grid),
        _patch_edge(col + 1, x0, x1, grid),
    )


def patch_edges(start: int, stop: int, grid: int = 16) -> Float64Array:
    """The ``grid + 1`` edges of the patches along one side of a crop, in px."""
    return np.array([_patch_edge(index, start, stop, grid) for index in range(grid + 1)])


def _patch_edge(index: int, start: int, stop: int, grid: int) -> float:
    return start + index * (stop - start) / grid


def _patch_index(position: float, start: int, stop: int, grid: int) -> int | None:
    if not start <= position < stop:
        return None
    index = int((position - start) * grid / (stop - start))
    # The quotient may be rounded across an edge; the edges themselves decide.
    if position < _patch_edge(index, start, stop, grid):
        return index - 1
    return index + (position >= _patch_edge(index + 1, start, stop, grid))


def pixels_of(image: Image | Pyramid | UInt8Array) -> UInt8Array | Level:
    """What RGB pixels are cut out of."""
    if isinstance(image, Image):
        return image.rgb
    return image if isinstance(image, np.ndarray) else image.levels[0]


@dataclass(frozen=True, slots=True, eq=False)
class Cuts(Sequence["UInt8Array"]):
    """Pixels in boxes, cut out (of an array: as views) when they are asked for."""

    pixels: UInt8Array | Level
    boxes: Int64Array

    def __len__(self) -> int:
        return len(self.boxes)

    @overload
    def __getitem__(self, index: int) -> UInt8Array: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[UInt8Array, ...]: ...
    def __getitem__(self, index: int | slice) -> UInt8Array | tuple[UInt8Array, ...]:
        if isinstance(index, slice):
            return tuple(cut(self.pixels, box) for box in self.boxes[index])
        return cut(self.pixels, self.boxes[index])


def cut(pixels: UInt8Array | Level, box: Int64Array) -> UInt8Array:
    """The pixels of a box (of an array: a view), padded only where it reaches outside."""
    height, width = pixels.shape[:2]
    y0, x0, y1, x1 = (int(edge) for edge in box)
    inside = pixels[max(y0, 0) : min(y1, height), max(x0, 0) : min(x1, width)]
    margins = ((max(-y0, 0), max(y1 - height, 0)), (max(-x0, 0), max(x1 - width, 0)))
    if not any(map(any, margins)):
        return inside
    return np.pad(inside, (*margins, (0, 0)), mode="edge")
