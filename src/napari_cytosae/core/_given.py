"""Cells of a slide that somebody else outlined, measured where they lie."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd
from scipy import ndimage as ndi

from napari_cytosae.core._level import read
from napari_cytosae.core._shape import consecutive
from napari_cytosae.core.label_blocks import LabelBlocks
from napari_cytosae.core.morphometry import empty_table, moved
from napari_cytosae.core.segmentation import measure_at, whole_labels
from napari_cytosae.core.slides import MARGIN_UM, TILE, scale_of
from napari_cytosae.core.types import CELL_KINDS, Cells, CytoError, Image, Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import CellKind

Box = tuple[int, int, int, int]


def kinds_among(
    classes: Mapping[int, str],
) -> tuple[dict[int, CellKind], tuple[str, ...]]:
    """Kinds of cells by the classes that somebody gave them, and a note of the others.

    Of a class of several parts, like QuPath's ``wbc: reactive``, the first counts.
    """
    known: dict[int, CellKind] = {}
    others: Counter[str] = Counter()
    for cell_id, said in classes.items():
        name = said.partition(":")[0].strip().lower()
        kind = next((kind for kind in CELL_KINDS if kind == name), None)
        if kind is not None:
            known[cell_id] = kind
        elif said:
            others[said] += 1
    if not others:
        return known, ()
    listed = ", ".join(f"{said!r} ({count})" for said, count in others.most_common())
    return known, (
        f"classes that are no kind of cell: {listed}; the kind of these was told from the "
        f"image, known ones are {', '.join(CELL_KINDS)}",
    )


class GivenLabels(Protocol):
    """A label image (H, W) that is read where it is sliced: numpy, dask, Zarr."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Height and width."""
        ...

    def __getitem__(self, key: tuple[slice, slice]) -> object:
        """What `numpy.asarray` makes whole numbers (h, w) of."""
        ...


def measure_slide(
    slide: Pyramid,
    labels: GivenLabels,
    pixel_size: float | None = None,
    kinds: Mapping[int, CellKind] | None = None,
    *,
    tile: int = TILE,
) -> Generator[Progress, None, Cells]:
    """Measure the given cells of a slide; ids and pixels are kept.

    The labels are read once, tile by tile, and the slide only where there are cells.

    Parameters
    ----------
    slide : Pyramid
        Read at full resolution.
    labels : array-like of int, (H, W)
        Of the slide at full resolution, 0 is background.
    pixel_size : float, optional
        In um.
    kinds : mapping of int to CellKind, optional
        Of cells whose kind is known; that of the others is told from the image.
    tile : int
        Side of a tile in px; memory grows with its square.

    Yields
    ------
    Progress
        After each tile that was read, then after each that was measured.

    Raises
    ------
    CytoError
        If the labels have another shape than the slide or hold other than whole numbers,
        or if one of them is spread over more than a tile can hold.
    """
    if tuple(labels.shape) != slide.shape:
        raise CytoError(
            f"The labels have shape {tuple(labels.shape)}, the slide {slide.shape}: give "
            "them at the slide's full resolution."
        )
    kept, boxes = yield from _read(labels, slide.shape, tile)
    size, um = scale_of(slide, pixel_size)
    margin = round(MARGIN_UM / um)
    groups: dict[tuple[int, int], list[int]] = {}
    for i, (y0, x0, y1, x1) in boxes.items():
        if max(y1 - y0, x1 - x0) > tile:
            raise CytoError(
                f"Label {i} is spread over {x1 - x0} x {y1 - y0} px: give each cell an id "
                "of its own."
            )
        groups.setdefault(((y0 + y1) // 2 // tile, (x0 + x1) // 2 // tile), []).append(i)
    nuclei, tables = LabelBlocks(slide.shape), [empty_table()]
    for done, place in enumerate(sorted(groups), 1):
        ids = groups[place]
        y0, x0 = (max(0, min(boxes[i][axis] for i in ids) - margin) for axis in (0, 1))
        y1, x1 = (max(boxes[i][axis] for i in ids) + margin for axis in (2, 3))
        where = slice(y0, min(y1, slide.shape[0])), slice(x0, min(x1, slide.shape[1]))
        rgb = np.ascontiguousarray(slide.levels[0][where])
        own = np.where(np.isin(kept[where], ids), kept[where], 0).astype(np.int32)
        found = measure_at(Image(rgb, slide.name, size, ""), own, size, um, known=kinds)
        nuclei[where] = np.where(own > 0, np.asarray(found.nuclei), nuclei[where])
        tables.append(moved(found.table, y0, x0))
        yield Progress("Measuring", done, len(groups), "tiles")
    table = pd.concat(tables[1:] or tables).sort_values("cell_id", ignore_index=True)
    return Cells(kept, nuclei, table, size)


def _read(
    labels: GivenLabels, shape: tuple[int, int], tile: int
) -> Generator[Progress, None, tuple[LabelBlocks, dict[int, Box]]]:
    """The labels in memory, compressed, and the box of each."""
    kept, boxes = LabelBlocks(shape), dict[int, Box]()
    corners = [(y, x) for y in range(0, shape[0], tile) for x in range(0, shape[1], tile)]
    for done, (y, x) in enumerate(corners, 1):
        where = slice(y, min(y + tile, shape[0])), slice(x, min(x + tile, shape[1]))
        found = read(labels[where])
        part = whole_labels(found, found.shape)
        kept[where] = part
        ids, own = consecutive(part)
        for i, (rows, columns) in zip(ids.tolist(), ndi.find_objects(own), strict=True):
            box = (y + rows.start, x + columns.start, y + rows.stop, x + columns.stop)
            known = boxes.get(i, box)
            boxes[i] = (
                min(box[0], known[0]),
                min(box[1], known[1]),
                max(box[2], known[2]),
                max(box[3], known[3]),
            )
        yield Progress("Reading the labels", done, len(corners), "tiles")
    return kept, boxes
