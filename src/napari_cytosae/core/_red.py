"""Red cells and platelets: what is left of the foreground without the white cells."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi
from skimage.measure import label

from napari_cytosae.core._border import share_in_view
from napari_cytosae.core._ghosts import with_ghosts
from napari_cytosae.core._hidden import completed, hidden_mask
from napari_cytosae.core._otsu import otsu
from napari_cytosae.core._shape import renumbered, shapes
from napari_cytosae.core._split import divide, split
from napari_cytosae.core._window import around, maximum, opened, smoothed

if TYPE_CHECKING:
    from napari_cytosae.core._stain import Stain
    from napari_cytosae.core.types import BoolArray, Float32Array, Int32Array, Int64Array

_SAMPLE = 50_000
"""Pixels, at least, of which it is told how dense red cells are."""
_PALE = 0.2
"""Share of the typical haemoglobin that the palest red cell in view still has."""
_HALF_TONE = 0.35
"""Where the outline of a blurred cell runs, as a share of its density."""
_BLUR = 4
"""How far the blur of a cell reaches, in the smoothing's standard deviations."""
_RED_UM2 = (10.0, 1e9)
_PALLOR_UM2 = 25.0
_PLATELET_UM2 = (1.2, 20.0)
_SPOT = 0.1
"""Least basic-dye density of a platelet."""
_FILLED = 0.5
"""Least share of a given platelet that has it: who outlines one by hand is generous."""
_RING_UM = (0.4, 1.2)
"""Around a spot that may be a platelet, where one would see the red cell it lies in."""
_NECK = 0.85
_FINE_NECK = 0.95
"""For regions too large for one cell: cells that overlap have a shallow neck."""
_TOO_LARGE = 1.25
_ROUND, _ECCENTRICITY = 0.95, 0.75
"""Fullness and eccentricity of cells that lie singly: they tell what one measures."""
_FEW = 3
"""Of those: where there are fewer, all that is larger than a speck tells it."""
_NORMAL_UM2 = (32.0, 60.0)
_SINGLE_UM2 = 20.0
_IN_VIEW = 2 / 3
"""Share of a cell that the border of the image has to leave for it to be one in view: most
of it, well clear of the half that a neighbouring field might count as well."""
_HEAPS = 10.0
"""Where half of the blood lies in regions of this many cells' area, the pixel size must be
wrong, and what looks like heaps are single cells."""


def red_mask(stained: Stain, sigma: float, white: BoolArray) -> BoolArray:
    """Pixels denser than glass, and than the blur around something denser.

    Other dark things than red cells are in it too.

    Parameters
    ----------
    stained : Stain
        Of the image.
    sigma : float
        Smoothing in pixels.
    white : ndarray of bool, (H, W)
        White cells, or about where they are: they do not tell how dense red cells are.
    """
    density = smoothed(stained.haemoglobin, sigma)
    typical = density[(stained.basic < 0.25) & ~stained.foreign & ~stained.void & ~white]
    typical = typical[(typical > -0.1) & (typical < 0.6)]
    if typical.size < 20 or np.ptp(typical) < 0.03:
        return np.zeros(density.shape, bool)
    typical = typical[:: max(1, typical.size // _SAMPLE)]
    middle = float(np.median(typical[typical > otsu(typical)]))
    grain = _grain(stained.haemoglobin, sigma)
    floor = max(_PALE * middle, 2 * stained.noise, 3 * grain, 0.015)
    near = maximum(density, round(_BLUR * sigma))
    return density > np.maximum(floor, _HALF_TONE * np.minimum(near, middle))


def _grain(plane: Float32Array, sigma: float) -> float:
    """Standard deviation of what smoothing leaves of the noise of single pixels.

    That is the difference of neighbours, of which most lie both on the same thing; a
    Gaussian divides white noise by 2 sqrt(pi) sigma.
    """
    steps = np.abs(np.diff(plane[::16], axis=1))
    alone = 1.4826 * float(np.median(steps)) / np.sqrt(2) if steps.size else 0.0
    return float(alone / max(1.0, 2 * np.sqrt(np.pi) * sigma))


def red_cells(stained: Stain, other: BoolArray, um: float) -> Int32Array:
    """Label red cells, touching ones split at their necks.

    Parameters
    ----------
    stained : Stain
        Of the image.
    other : ndarray of bool, (H, W)
        White cells and platelets, left out.
    um : float
        Pixel size.

    Returns
    -------
    ndarray of int32, (H, W)
    """
    hidden = hidden_mask(stained, um)
    other = other | hidden | stained.void
    mask = red_mask(stained, 0.2 / um, other)
    holes = label(~(mask | other), connectivity=1)
    pallor = np.bincount(holes.ravel()) * um**2 < _PALLOR_UM2
    pallor[0] = False
    mask = (mask | pallor.take(holes)) & ~other
    mask = opened(mask, max(1, round(0.4 / um)))
    labels = split(mask, _NECK, 0.3 / um)
    areas = np.bincount(labels.ravel())
    single = areas[1:][areas[1:] * um**2 > _SINGLE_UM2]
    if not single.size:
        return kept(labels, um, _RED_UM2)
    typical = _typical_area(labels, single, um)
    large = areas > _TOO_LARGE * typical
    large[0] = False
    finer = split(large.take(labels), _FINE_NECK, 0.3 / um)
    heaps = np.sort(single)
    if heaps[np.searchsorted(heaps.cumsum(), heaps.sum() / 2)] < _HEAPS * typical:
        finer = divide(finer, typical)
    labels = np.where(finer > 0, finer + labels.max(), labels)
    labels = completed(labels, hidden & ~stained.void, typical)
    labels = kept(labels, um, _RED_UM2)
    labels = renumbered(labels, share_in_view(labels, typical) >= _IN_VIEW)
    return with_ghosts(stained, labels, other, um, typical)


def _typical_area(labels: Int32Array, single: Int64Array, um: float) -> float:
    """Area in pixels of a red cell of this view, as far as it is a normal one's."""
    shape = shapes(labels)
    free = ~shape.cut & (shape.fullness > _ROUND) & (shape.eccentricity < _ECCENTRICITY)
    free &= shape.area * um**2 > _SINGLE_UM2
    free[0] = False
    median = float(np.median(shape.area[free] if free.sum() >= _FEW else single))
    return min(max(median, _NORMAL_UM2[0] / um**2), _NORMAL_UM2[1] / um**2)


def platelets(stained: Stain, white: BoolArray, um: float) -> Int32Array:
    """Label platelets: small round spots of basic dye outside white and red cells.

    What looks like one inside a red cell is a refractile spot or an inclusion, and a thin
    crescent on its rim is chromatic aberration.
    """
    basic = smoothed(stained.basic, 0.3 / um)
    spots = label((basic > _SPOT) & ~white & ~stained.foreign)
    spots = kept(spots, um, _PLATELET_UM2)
    return renumbered(spots, _look_like_platelets(spots, basic, stained, white, um))


def platelets_among(
    stained: Stain, labels: Int32Array, white: BoolArray, um: float
) -> BoolArray:
    """Which of the given labels 0..n `platelets` would find; ids may have gaps.

    They are little more than the spot that is in them.
    """
    basic = smoothed(stained.basic, 0.3 / um)
    rich = (basic > _SPOT) & ~white & ~stained.foreign
    count = int(labels.max()) + 1
    spot = np.bincount(labels[rich], minlength=count)
    low, high = _PLATELET_UM2
    found = (spot * um**2 >= low) & (spot * um**2 <= high)
    found &= spot >= _FILLED * np.bincount(labels.ravel(), minlength=count)
    found[0] = False
    spots = renumbered(np.where(rich, labels, 0).astype(np.int32), found)
    found[found] = _look_like_platelets(spots, basic, stained, white, um)[1:]
    return found


def _look_like_platelets(
    spots: Int32Array, basic: Float32Array, stained: Stain, white: BoolArray, um: float
) -> BoolArray:
    """Which of the spots 0..n of basic dye, of the right size, are platelets."""
    if not spots.any():
        return np.zeros(1, bool)
    shape = shapes(spots)
    inside = spots > 0
    # The background is left out: what is measured is sorted first.
    strength = ndi.maximum(basic[inside], spots[inside], np.arange(len(shape.area)))
    good = (
        (strength > 0.16)
        & (shape.fullness > 0.88)
        & (shape.minor * um > 1.1)
        # The corner of a nucleus that the image border cuts is no platelet.
        & ~(shape.cut & (strength > 0.4))
    )
    good[0] = False
    if good.any():
        red = red_mask(stained, 0.3 / um, white)
        boxes = ndi.find_objects(spots)
        for i in np.flatnonzero(good).tolist():
            good[i] = _share_on_red(i, spots, boxes[i - 1], red, um) < 0.65
    return good


def _share_on_red(
    i: int, spots: Int32Array, box: tuple[slice, ...], red: BoolArray, um: float
) -> float:
    """Share of red cell in the ring around spot `i`, as far as no other spot is nearer."""
    # What is nearer to a pixel of the ring lies within twice its width.
    window = around(box, ceil(2 * _RING_UM[1] / um))
    own = spots[window]
    away, nearest = ndi.distance_transform_edt(own == 0, return_indices=True)
    ring = (away * um > _RING_UM[0]) & (away * um < _RING_UM[1])
    ring &= own[tuple(nearest)] == i
    return float(red[window][ring].mean()) if ring.any() else 0.0


def kept(labels: Int32Array, um: float, limits: tuple[float, float]) -> Int32Array:
    """The labels whose area in um2 is within the limits, renumbered from 1."""
    areas = np.bincount(labels.ravel()) * um**2
    return renumbered(labels, (areas >= limits[0]) & (areas <= limits[1]))
