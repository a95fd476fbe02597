"""Which tile a cell at a seam belongs to: seen by two, it is added once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_cytosae.core.types import BoolArray, Cells

_SAME = 0.3
"""Share of the smaller of two outlines in common that makes them one cell."""


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """A cell's pixels in its box, `y0`, `x0` on the slide."""

    y0: int
    x0: int
    mask: BoolArray

    def is_same(self, other: Outline) -> bool:
        y0, x0 = max(self.y0, other.y0), max(self.x0, other.x0)
        y1 = min(self.y0 + self.mask.shape[0], other.y0 + other.mask.shape[0])
        x1 = min(self.x0 + self.mask.shape[1], other.x0 + other.mask.shape[1])
        if y0 >= y1 or x0 >= x1:
            return False
        mine, its = (
            cell.mask[y0 - cell.y0 : y1 - cell.y0, x0 - cell.x0 : x1 - cell.x0]
            for cell in (self, other)
        )
        smaller = min(np.count_nonzero(self.mask), np.count_nonzero(other.mask))
        return bool(np.count_nonzero(mine & its) > _SAME * smaller)


@dataclass(slots=True, eq=False)
class Seam:
    """Outlines of the cells added near the seams that tiles to come will see, too."""

    outlines: list[Outline] = field(default_factory=list)

    def forget_above(self, y: int) -> None:
        self.outlines = [o for o in self.outlines if o.y0 + o.mask.shape[0] > y]

    def add(self, outline: Outline) -> bool:
        """Whether the cell is a new one."""
        if any(outline.is_same(other) for other in self.outlines):
            return False
        self.outlines.append(outline)
        return True


def own_cells(
    found: Cells,
    part: tuple[int, int, int, int],
    origin: tuple[int, int],
    reach: int,
    seam: Seam,
) -> list[int]:
    """Ids of the cells that the tile adds: centred in its part and not there yet."""
    own: list[int] = []
    table = found.table
    ids = table.cell_id.to_numpy(np.int64)
    centres = table[["centroid_y", "centroid_x"]].to_numpy(float) + origin
    boxes = table[["bbox_y0", "bbox_x0", "bbox_y1", "bbox_x1"]].to_numpy(np.int64)
    for i, (y, x), box in zip(ids.tolist(), centres, boxes.tolist(), strict=True):
        inside = min(y - part[0], part[2] - y, x - part[1], part[3] - x)
        if inside < -reach:
            continue
        if inside <= reach:
            y0, x0, y1, x1 = box
            mask: BoolArray = found.labels[y0:y1, x0:x1] == i
            if not seam.add(Outline(y0 + origin[0], x0 + origin[1], mask)):
                continue
        own.append(i)
    return own
