"""Red cells and platelets: what is left of the foreground without the white cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi
from skimage.filters import threshold_otsu
from skimage.measure import label
from skimage.morphology import reconstruction
from skimage.segmentation import watershed

if TYPE_CHECKING:
    from napari_cytosae.core._stain import Stain
    from napari_cytosae.core.types import BoolArray, Int32Array

_RED_UM2 = (10.0, 150.0)
_PALLOR_UM2 = 25.0
_PLATELET_UM2 = (1.2, 20.0)
_NECK = 0.85
_FINE_NECK = 0.95
"""For regions too large for one cell: cells that overlap have a shallow neck."""
_TOO_LARGE = 1.4
_SINGLE_UM2 = 20.0


def red_mask(stained: Stain, sigma: float) -> BoolArray:
    """Pixels with at least 40 % of the typical haemoglobin; other dark things included.

    `sigma` is the smoothing in pixels.
    """
    density = ndi.gaussian_filter(stained.haemoglobin, sigma)
    typical = density[(stained.basic < 0.25) & ~stained.foreign & ~stained.void]
    typical = typical[(typical > -0.1) & (typical < 0.6)]
    if typical.size < 20 or np.ptp(typical) < 0.03:
        return np.zeros(density.shape, bool)
    middle = float(np.median(typical[typical > threshold_otsu(typical)]))
    return density > max(0.4 * middle, 4 * stained.noise, 0.02)


def split(mask: BoolArray, neck: float, sigma: float) -> Int32Array:
    """Split a mask where it narrows to less than `neck` of both sides' radius.

    Markers are the maxima of the logarithm of the distance map that rise by -log(neck)
    above the saddle, so the rule is the same at every scale.
    """
    distance = ndi.distance_transform_edt(mask).astype(np.float32)
    distance = ndi.gaussian_filter(distance, sigma)
    height = np.log(np.maximum(distance, 0.5))
    dome = reconstruction(height + np.log(neck), height, footprint=np.ones((3, 3)))
    peaks = (ndi.maximum_filter(dome, 3) == dome) & (distance > 2) & mask
    return watershed(-distance, label(peaks), mask=mask).astype(np.int32)


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
    foreign = ndi.binary_opening(stained.foreign, iterations=max(1, round(0.4 / um)))
    foreign = ndi.binary_dilation(foreign, iterations=max(1, round(0.6 / um)))
    other = other | foreign | stained.void
    mask = red_mask(stained, 0.2 / um)
    holes = label(~(mask | other), connectivity=1)
    pallor = np.bincount(holes.ravel()) * um**2 < _PALLOR_UM2
    pallor[0] = False
    mask = (mask | pallor[holes]) & ~other
    mask = ndi.binary_opening(mask, iterations=max(1, round(0.4 / um)))
    labels = split(mask, _NECK, 0.3 / um)
    areas = np.bincount(labels.ravel())
    single = areas[1:][areas[1:] * um**2 > _SINGLE_UM2]
    if not single.size:
        return kept(labels, um, _RED_UM2)
    typical = float(np.median(single))
    large = areas > _TOO_LARGE * typical
    large[0] = False
    finer = split(large[labels], _FINE_NECK, 0.3 / um)
    labels = np.where(finer > 0, finer + labels.max(), labels)
    labels = kept(labels, um, _RED_UM2)
    return _without_slivers(labels, 0.5 * typical)


def _without_slivers(labels: Int32Array, area: float) -> Int32Array:
    """Drop what the image border leaves less than `area` px of: it is not a cell in view."""
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    cut = np.zeros(labels.max() + 1, bool)
    cut[edge] = True
    good = ~cut | (np.bincount(labels.ravel()) >= area)
    good[0] = False
    return (np.cumsum(good) * good)[labels].astype(np.int32)


def platelets(stained: Stain, white: BoolArray, um: float) -> Int32Array:
    """Label platelets: small spots of basic dye outside `white`."""
    basic = ndi.gaussian_filter(stained.basic, 0.3 / um)
    spots = label((basic > 0.08) & ~white & ~stained.foreign)
    strength = ndi.maximum(basic, spots, np.arange(spots.max() + 1))
    spots = np.where(strength > 0.14, np.arange(spots.max() + 1), 0)[spots]
    return kept(spots, um, _PLATELET_UM2)


def kept(labels: Int32Array, um: float, limits: tuple[float, float]) -> Int32Array:
    """The labels whose area in um2 is within the limits, renumbered from 1."""
    areas = np.bincount(labels.ravel()) * um**2
    good = (areas >= limits[0]) & (areas <= limits[1])
    good[0] = False
    return (np.cumsum(good) * good)[labels].astype(np.int32)
