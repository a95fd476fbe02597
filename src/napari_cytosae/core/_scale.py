"""How large a pixel is, told from the red cells in view."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi

from napari_cytosae.core._glass import shrink
from napari_cytosae.core._red import red_mask
from napari_cytosae.core._shape import cut, shapes, touching_share
from napari_cytosae.core._split import split
from napari_cytosae.core._stain import stain
from napari_cytosae.core._white import nuclear_surroundings
from napari_cytosae.core._window import smoothed
from napari_cytosae.core.types import ImageError, PixelSize

if TYPE_CHECKING:
    from napari_cytosae.core._glass import Light
    from napari_cytosae.core._stain import Stain
    from napari_cytosae.core.types import UInt8Array

RED_CELL_UM = 7.5
"""Diameter of a normal red cell on a dried smear."""
_LEAST_PX, _LEAST_MEDIAN_PX = 10, 12
"""Of the diameter. Cells narrower than the first are not counted, so that the median of
those left is too large where it is less than the second."""
_MIN_CELLS, _MIN_SHARE = 3, 0.03
_TOLD_CELLS, _TOLD_SHARE, _TOLD_SPREAD = 5, 0.1, 0.25
"""Less agree by chance: three heaps of cells may be round and of one size."""
_SURE_CELLS = 8
_SURE_SHARE = 0.2
"""Of what lies on the glass; where red cells lie free they are most of it, and specks of a
stain or a sensor a few hundredths."""
_PLAIN_SHARE = 0.35
"""Where less than this are round cells, they may be heaps of cells too small to be seen."""
_ODDS = 4.0
"""Factor by which no blood differs: the largest macrocyte has three times the diameter of
the smallest spherocyte."""
_OVERVIEW_PX = 80_000


@dataclass(frozen=True, slots=True)
class Seen:
    """What the red cells in view tell.

    Attributes
    ----------
    um : float or None
        Pixel size; None where they are too few or too small to measure.
    spread : float or None
        Relative, of their diameters (1.48 MAD).
    count : int
        Round red cells.
    share : float
        Of the area of all that lies on the glass, theirs.
    """

    um: float | None
    spread: float | None
    count: int
    share: float = 0.0

    @property
    def told(self) -> bool:
        """Whether the pixel size may be called known: enough cells agree on it."""
        return (
            self.spread is not None
            and self.spread < _TOLD_SPREAD
            and self.count >= _TOLD_CELLS
            and self.share > _TOLD_SHARE
        )

    @property
    def sure(self) -> bool:
        """Whether they are many, and a good part of what there is: no mere specks."""
        return self.told and self.count >= _SURE_CELLS and self.share > _SURE_SHARE

    @property
    def plain(self) -> bool:
        """Whether they are so good a part that a closer look can tell no more."""
        return self.sure and self.share > _PLAIN_SHARE

    def contradicts(self, stated: float) -> bool:
        """Whether they tell a wholly different pixel size (um), and are sure of it."""
        if self.um is None:
            return False
        return self.sure and not 1 / _ODDS < stated / self.um < _ODDS


def estimate_pixel_size(rgb: UInt8Array) -> PixelSize:
    """Estimate the pixel size from the median diameter of the round red cells in view.

    Parameters
    ----------
    rgb : ndarray of uint8, (H, W, 3)
        The image.

    Returns
    -------
    PixelSize
        Source ``estimated`` with the relative spread of the diameters (1.48 MAD) and the
        number of red cells, or ``unknown`` with `um` None where fewer than five round
        red cells lie free, they differ much, they are less than a tenth of what lies on
        the glass or less than 12 px wide.
    """
    seen = scale_in_view(rgb)
    if not seen.told:
        return PixelSize(source="unknown", n_cells=seen.count)
    return PixelSize(seen.um, "estimated", seen.spread, seen.count)


def scale_in_view(rgb: UInt8Array, light: Light | None = None) -> Seen:
    """What the red cells of an image tell of its pixel size.

    A large field may hold cells too small for its overview, which shows heaps of them at
    best: then ever smaller middles are looked at ever closer, and have to show many cells,
    and less else, to be believed.
    """
    whole = factor = overview_factor(rgb)
    seen = red_cell_scale(stain(shrink(rgb, factor), light), factor)
    while not seen.plain and factor > 1:
        factor //= 2
        middle = tuple(
            slice(
                round(side * (1 - factor / whole) / 2),
                round(side * (1 + factor / whole) / 2),
            )
            for side in rgb.shape[:2]
        )
        try:
            closer = red_cell_scale(stain(shrink(rgb[middle], factor)), factor)
        except ImageError:
            break
        if closer.sure and (not seen.told or closer.share > seen.share):
            seen = closer
    return seen


def overview_factor(rgb: UInt8Array) -> int:
    """Factor to shrink an image by to see its scale: a field of 320 x 240 shows it."""
    return max(1, round(math.sqrt(rgb.shape[0] * rgb.shape[1] / _OVERVIEW_PX)))


def red_cell_scale(stained: Stain, factor: int) -> Seen:
    """What the round red cells of a field, shrunk by `factor`, tell of its pixel size."""
    _, white = nuclear_surroundings(stained)
    mask = red_mask(stained, 1.0, white) & ~stained.void
    ground, count = ndi.label(~mask)
    mask |= ~cut(ground.astype(np.int32), count + 1)[ground]
    labels = split(mask, 0.8, 1.0)
    if not labels.any():
        return Seen(None, None, 0)
    shape = shapes(labels)
    basic = smoothed(stained.basic, 1).ravel()
    mean_basic = np.bincount(labels.ravel(), basic) / np.maximum(shape.area, 1)
    diameter = 2 * np.sqrt(shape.area / np.pi)
    good = (
        ~shape.cut
        & (shape.eccentricity < 0.75)
        & (shape.fullness > 0.94)
        & (mean_basic < 0.12)
        & (diameter > _LEAST_PX)
        & (touching_share(labels) < 0.35)
    )
    good[0] = False
    diameter = diameter[good]
    if len(diameter) >= _MIN_CELLS:
        # Platelets and debris are smaller than red cells by more than any anisocytosis.
        diameter = diameter[diameter > 0.6 * np.percentile(diameter, 80)]
    share = float(np.pi / 4 * np.square(diameter).sum() / np.count_nonzero(labels))
    median = float(np.median(diameter)) if diameter.size else 0.0
    if len(diameter) < _MIN_CELLS or share < _MIN_SHARE or median < _LEAST_MEDIAN_PX:
        return Seen(None, None, len(diameter), share)
    spread = float(1.48 * np.median(np.abs(diameter - median)) / median)
    return Seen(RED_CELL_UM / median / factor, spread, len(diameter), share)
