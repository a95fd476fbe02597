"""Outlines of cells as polygons, and the label image that they are drawn as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.core._label_level import label_levels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_cytosae.core._label_level import LabelLevel
    from napari_cytosae.core.types import Float64Array, Int32Array


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """One object of a GeoJSON file.

    Attributes
    ----------
    polygons : tuple of tuple of ndarray of float64, (n, 2)
        Each polygon's outer ring, then its holes; x, y in px from the image's corner.
    cell_id : int or None
        As it was exported.
    kind : str
        Its classification, empty where it has none.
    object_type : str
        ``detection``, ``cell``, ``annotation``; empty where QuPath's property is missing.
    """

    polygons: tuple[tuple[Float64Array, ...], ...]
    cell_id: int | None
    kind: str
    object_type: str = ""


class DrawnOutlines:
    """Outlines as a label image (H, W), int32, that is drawn where it is sliced.

    A pixel belongs to an outline that its centre lies in; where outlines overlap, the
    later one wins. They keep their ids; new ones, and those whose id was given twice
    (cells that were split), get the next free numbers.

    Parameters
    ----------
    outlines : sequence of Outline
        Of `read_geojson`.
    shape : (int, int)
        Of the image.
    step : int
        Only every so-many-th pixel of the image, from the first on, is there.

    Attributes
    ----------
    classes : dict of int to str
        Of the cells that were given one.
    """

    dtype = np.dtype(np.int32)
    ndim = 2

    def __init__(
        self, outlines: Sequence[Outline], shape: tuple[int, int], step: int = 1
    ) -> None:
        self.shape = -(-shape[0] // step), -(-shape[1] // step)
        self.classes: dict[int, str] = {}
        self._numbers: list[int] = []
        self._polygons: list[tuple[Float64Array, ...]] = []
        taken: set[int] = set()
        following = max((o.cell_id or 0 for o in outlines), default=0) + 1
        for outline in outlines:
            number = outline.cell_id
            if number is None or number in taken:
                number, following = following, following + 1
            taken.add(number)
            if outline.kind:
                self.classes[number] = outline.kind
            # The centre of a pixel stays the centre of one.
            self._polygons += [
                tuple((ring - 0.5) / step + 0.5 for ring in polygon)
                for polygon in outline.polygons
            ]
            self._numbers += [number] * len(outline.polygons)
        # Of each polygon the columns and rows around it, x before y.
        self._low = np.array(
            [np.floor(outer.min(axis=0)) for outer, *_ in self._polygons], np.int64
        ).reshape(-1, 2)
        self._high = np.array(
            [np.ceil(outer.max(axis=0)) for outer, *_ in self._polygons], np.int64
        ).reshape(-1, 2)

    def reach_image(self) -> bool:
        """Whether one of them, at least, lies on the image."""
        height, width = self.shape
        inside = (self._low < (width, height)) & (self._high > 0)
        return bool(inside.all(axis=1).any())

    def box(self) -> tuple[int, int, int, int]:
        """``x0, y0, x1, y1`` around all of them, on the image or not."""
        (x0, y0), (x1, y1) = self._low.min(axis=0).tolist(), self._high.max(axis=0).tolist()
        return x0, y0, x1, y1

    def __getitem__(self, key: tuple[slice, slice]) -> Int32Array:
        """Labels of a region; both slices of step 1."""
        from skimage.draw import polygon

        rows, columns = (
            range(length)[part] for part, length in zip(key, self.shape, strict=True)
        )
        labels = np.zeros((len(rows), len(columns)), np.int32)
        corner = np.array([columns.start, rows.start])
        lows = np.maximum(self._low, corner)
        highs = np.minimum(self._high, [columns.stop, rows.stop])
        for i in np.flatnonzero((highs > lows).all(axis=1)).tolist():
            # Only what is around the polygon: outlines are many, images large.
            low, high = lows[i], highs[i]
            inside = np.zeros((high - low)[::-1], bool)
            outer, *holes = self._polygons[i]
            for ring, value in ((outer, True), *((hole, False) for hole in holes)):
                x, y = (ring - low - 0.5).T
                inside[polygon(y, x, inside.shape)] = value
            (x0, y0), (x1, y1) = low - corner, high - corner
            labels[y0:y1, x0:x1][inside] = self._numbers[i]
        return labels


def draw_outlines(outlines: Sequence[Outline], shape: tuple[int, int]) -> Int32Array:
    """Outlines as a label image (H, W): all of `DrawnOutlines`."""
    return DrawnOutlines(outlines, shape)[:, :]


def outline_pyramid(
    outlines: Sequence[Outline], shape: tuple[int, int]
) -> list[LabelLevel]:
    """Outlines as a label image of a slide, drawn where a viewer looks."""
    return label_levels(shape, lambda step: DrawnOutlines(outlines, shape, step))
