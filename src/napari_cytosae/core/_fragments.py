"""White cells that were found in parts -> whole ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi
from skimage.morphology import convex_hull_image
from skimage.segmentation import relabel_sequential

from napari_cytosae.core._shape import touching, touching_share
from napari_cytosae.core._window import around

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_cytosae.core.types import Int32Array

CELL_UM2 = 330.0
"""Largest white cell on a smear: a monocyte or blast spread to 20 um."""
_CONVEX = 0.92
"""Least share of its convex hull that one cell fills where two labels are joined."""
_FREE = 1 / 3
"""Share of an outline that may border on other cells: in a clump any two neighbours look
convex."""


def joined(labels: Int32Array, um: float) -> Int32Array:
    """Join neighbours that together have the convex outline of one cell.

    Lobes of one nucleus may lie apart; two cells that touch have a neck between them.

    Parameters
    ----------
    labels : ndarray of int32, (H, W)
        White cells 1..n, each in one piece.
    um : float
        Pixel size.

    Returns
    -------
    ndarray of int32, (H, W)
        Ids 1..m.
    """
    parts = _Parts(labels, um)
    for group in parts.groups():
        # All of a group before its pairs: three sectors of a disc are convex only together.
        if len(group) > 2 and parts.join(group):
            continue
        for first in group:
            last = first
            while later := [part for part in parts.near[first] if part > last]:
                last = min(later)
                parts.join((first, last))
    sequential: Int32Array = relabel_sequential(parts.labels)[0].astype(np.int32)
    return sequential


class _Parts:
    """Labels of which some are joined, and what is known of each."""

    def __init__(self, labels: Int32Array, um: float) -> None:
        self.labels = labels.copy()
        self._area = np.bincount(labels.ravel()) * um**2
        self._boxes = dict(enumerate(ndi.find_objects(labels), 1))
        self.near: dict[int, set[int]] = {part: set() for part in self._boxes}
        here, there = touching(labels)
        both = (here > 0) & (there > 0)
        for pair in set(zip(here[both].tolist(), there[both].tolist(), strict=True)):
            self.near[pair[0]].add(pair[1])

    def groups(self) -> Iterator[list[int]]:
        """Those that lie together, where they are more than one."""
        left = {part for part, near in self.near.items() if near}
        while left:
            group, new = set[int](), {left.pop()}
            while new:
                group |= new
                new = set().union(*(self.near[part] for part in new)) - group
            left -= group
            yield sorted(group)

    def join(self, parts: Sequence[int]) -> bool:
        """Make one of them, should it look like one cell."""
        if self._area[list(parts)].sum() > CELL_UM2:
            return False
        rows, columns = (
            slice(min(side.start for side in sides), max(side.stop for side in sides))
            for sides in zip(*(self._boxes[part] for part in parts), strict=True)
        )
        seen = self.labels[around((rows, columns), 1)]
        union = np.isin(seen, parts)
        # 1 is the union, 2 what else there is.
        if touching_share(np.where(union, 1, 2 * (seen > 0)).astype(np.int32))[1] > _FREE:
            return False
        if union.sum() <= _CONVEX * convex_hull_image(union).sum():
            return False
        kept, *gone = sorted(parts)
        seen[union] = kept
        self._boxes[kept] = rows, columns
        self._area[kept] = self._area[list(parts)].sum()
        others = set[int]().union(*(self.near[part] for part in parts)) - set(parts)
        self.near |= {part: set() for part in gone} | {kept: others}
        for part in others:
            self.near[part] = self.near[part] - set(gone) | {kept}
        return True
