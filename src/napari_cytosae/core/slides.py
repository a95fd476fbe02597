"""A slide too large for memory -> its cells, tile by tile, none lost or doubled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from napari_cytosae.core._run import told_as
from napari_cytosae.core._seams import Seam, own_cells
from napari_cytosae.core._search import search_at
from napari_cytosae.core.crops import pixels_of
from napari_cytosae.core.label_blocks import LabelBlocks
from napari_cytosae.core.morphometry import empty_table, moved
from napari_cytosae.core.settled_scale import settled_scale
from napari_cytosae.core.types import (
    Cells,
    CytoError,
    Image,
    ImageError,
    PixelSize,
    Progress,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import CellKind, UInt8Array

TILE = 2048
"""Side of the part (px) that one tile adds to the slide."""

MARGIN_UM = 30.0
"""How far to look beyond a part: the largest cell is 20 um wide, and what is around it
tells what the glass and the stain look like and decides on its outline."""
_SEAM_UM = 3.0
"""How far two tiles may disagree on the centre of a cell they both see."""
_PROBES = 3
_PROBE = 1024


class Pixels(Protocol):
    """An image that is read where it is sliced: dask, Zarr, a memory map, numpy."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width, 3."""
        ...

    def __getitem__(self, key: tuple[slice, slice]) -> Any:
        """What `numpy.asarray` makes uint8 (h, w, 3) of."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class SlideTile:
    """The cells that one tile adds.

    Attributes
    ----------
    y0, x0 : int
        Where the first pixel of `cells.labels` lies on the slide.
    cells : Cells
        Ids and the positions in the table are those of the slide; label images show the
        tile with its margin and the added cells only, each of them whole.
    done, total : int
        Tiles done with this one, and tiles in all.
    note : str
        Why the tile was left out; empty where it was not.
    """

    y0: int
    x0: int
    cells: Cells
    done: int
    total: int
    note: str = ""

    def paste(self, labels: Any, nuclei: Any) -> None:
        """Add to label images of the whole slide: numpy, a memory map or Zarr, (H, W)."""
        height, width = self.cells.labels.shape
        place = (slice(self.y0, self.y0 + height), slice(self.x0, self.x0 + width))
        for target, added in ((labels, self.cells.labels), (nuclei, self.cells.nuclei)):
            there = np.asarray(target[place])
            target[place] = np.where(there == 0, added, there)


def segment_tiles(
    pixels: Pixels,
    pixel_size: PixelSize | float | None = None,
    kinds: Sequence[CellKind] = ("wbc",),
    *,
    name: str = "slide",
    tile: int = TILE,
) -> Iterator[SlideTile]:
    """Find the cells of a slide, reading one tile after the other.

    Every tile is segmented with a margin, so that whatever has its centre in the tile is
    seen whole; what two tiles see at their seam is taken from the first. All tiles share
    one scale.

    Parameters
    ----------
    pixels : Pixels
        uint8 RGB (H, W, 3), sliced lazily.
    pixel_size : PixelSize or float, optional
        A number is the user's, in um. Without, it is estimated from nine places.
    kinds : sequence of {"wbc", "rbc", "platelet"}
        What to find.
    name : str
        Column ``image`` of the tables.
    tile : int
        Side of a tile in px; memory grows with its square.

    Yields
    ------
    SlideTile
        Row by row; ids count on from tile to tile.

    Raises
    ------
    ImageError
        If the array is no RGB image, or no place on it has a bright background.
    CytoError
        If the pixel size is implausible or at odds with the red cells.
    """
    for step in _tiles(pixels, pixel_size, kinds, name, tile):
        if step.partial is not None:
            yield step.partial


def segment_slide(
    slide: Pyramid,
    pixel_size: float | None = None,
    kinds: Sequence[CellKind] = ("wbc",),
    *,
    tile: int = TILE,
) -> Generator[Progress, None, Cells]:
    """Find the cells of a slide: `segment_tiles`, put together.

    Parameters
    ----------
    slide : Pyramid
        Read at full resolution, once.
    pixel_size : float, optional
        The user's, in um; overrides what the slide says.
    kinds, tile
        As for `segment_tiles`.

    Yields
    ------
    Progress
        After each step of a tile, so that the search can be given up there.

    Returns
    -------
    Cells
        With `LabelBlocks`: memory grows with the cells, not with the slide.

    Raises
    ------
    ImageError, CytoError
        As `segment_tiles`.
    """
    labels, nuclei = LabelBlocks(slide.shape), LabelBlocks(slide.shape)
    tables, left_out, total = [empty_table()], 0, 0
    size = slide.pixel_size
    yield Progress("Segmenting", 0, 0, "tiles")
    for step in _tiles(slide.levels[0], pixel_size or size, kinds, slide.name, tile):
        part: SlideTile | None = step.partial
        if part is not None:
            part.paste(labels, nuclei)
            size, total = part.cells.pixel_size, part.total
            tables += [part.cells.table] if len(part.cells) else []
            left_out += bool(part.note)
        # Not the tile itself: who keeps what was finished would keep the whole slide.
        yield replace(step, partial=None)
    table = pd.concat(tables[1:] or tables, ignore_index=True)
    notes: tuple[str, ...] = ()
    if left_out:
        notes = (f"{left_out} of {total} tiles left out: no bright background there",)
    return Cells(labels, nuclei, table, size, notes=notes)


def _tiles(
    pixels: Pixels,
    pixel_size: PixelSize | float | None,
    kinds: Sequence[CellKind],
    name: str,
    tile: int,
) -> Iterator[Progress]:
    """Work of `segment_tiles`: each step, and after each tile its `SlideTile`."""
    if len(pixels.shape) != 3 or pixels.shape[2] != 3 or 0 in pixels.shape or tile < 1:
        raise ImageError(
            f"{name} has the shape {tuple(pixels.shape)}, not height x width x 3: give its "
            "RGB image at full resolution."
        )
    height, width = pixels.shape[:2]
    size, um = _scale(pixels, pixel_size, name)
    margin, reach = round(MARGIN_UM / um), round(_SEAM_UM / um)
    parts = [
        (y, x, min(y + tile, height), min(x + tile, width))
        for y in range(0, height, tile)
        for x in range(0, width, tile)
    ]
    seam = Seam()
    count = 0
    for done, part in enumerate(parts, 1):
        y0, x0 = max(0, part[0] - margin), max(0, part[1] - margin)
        y1, x1 = min(height, part[2] + margin), min(width, part[3] + margin)
        now = Progress("Segmenting", done - 1, len(parts), "tiles")
        rgb, note = _read(pixels, y0, x0, y1, x1, name), ""
        try:
            found = yield from told_as(now, search_at(rgb, size, um, kinds, name))
        except ImageError as error:
            # Outside the glass, or without light: nothing to find, and no reason to stop.
            note = str(error)
            nothing = np.zeros((y1 - y0, x1 - x0), np.int32)
            found = Cells(nothing, nothing, empty_table(), size)
        seam.forget_above(y0)
        own = own_cells(found, part, (y0, x0), reach, seam)
        cells = _on_slide(found, own, (y0, x0), count)
        added = SlideTile(y0, x0, cells, done, len(parts), note)
        yield replace(now, done=done, partial=added)
        count += len(own)


def scale_of(slide: Image | Pyramid, user: float | None = None) -> tuple[PixelSize, float]:
    """Pixel size of a slide, and the one (um) that size rules use, as `segment_slide`.

    The user's (um) overrides what the slide says.

    Raises
    ------
    ImageError, CytoError
        As `segment_tiles`.
    """
    return _scale(pixels_of(slide), user or slide.pixel_size, slide.name)


def _read(pixels: Pixels, y0: int, x0: int, y1: int, x1: int, name: str) -> UInt8Array:
    rgb: UInt8Array = np.ascontiguousarray(pixels[y0:y1, x0:x1])
    if rgb.dtype != np.uint8:
        raise CytoError(f"{name} holds {rgb.dtype} values: a slide has to be 8-bit RGB.")
    return rgb


def _scale(
    pixels: Pixels, stated: PixelSize | float | None, name: str
) -> tuple[PixelSize, float]:
    """One scale for the slide: as stated, or from places spread over it.

    Of the places that show red cells the middle one counts, of the others the middle one
    of what their nuclei tell.
    """
    user = None if isinstance(stated, PixelSize) else stated
    known = stated if isinstance(stated, PixelSize) else PixelSize()
    seen: list[tuple[PixelSize, float]] = []
    refusal = None
    for y in _spread(pixels.shape[0]):
        for x in _spread(pixels.shape[1]):
            rgb = _read(pixels, y, x, y + _PROBE, x + _PROBE, name)
            try:
                seen.append(settled_scale(rgb, Image(rgb, name, known, ""), user))
            except ImageError as error:
                refusal = error
    if not seen:
        raise refusal or ImageError(f"{name} is empty.")
    told = [item for item in seen if item[0].um is not None] or seen
    told.sort(key=lambda item: (item[1], item[0].seen_um or 0))
    return told[len(told) // 2]


def _spread(length: int) -> list[int]:
    """Starts of up to three probes along one side."""
    last = max(0, length - _PROBE)
    return sorted({round(last * (i + 0.5) / _PROBES) for i in range(_PROBES)})


def _on_slide(found: Cells, own: list[int], origin: tuple[int, int], count: int) -> Cells:
    """The cells `own` with positions and ids (from `count` + 1) of the slide."""
    labels, nuclei = np.asarray(found.labels), np.asarray(found.nuclei)
    new = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    new[own] = np.arange(count + 1, count + 1 + len(own))
    table = found.table[found.table.cell_id.isin(own)].reset_index(drop=True)
    table["cell_id"] = new[table.cell_id].astype(np.int64)
    return Cells(new[labels], new[nuclei], moved(table, *origin), found.pixel_size)
