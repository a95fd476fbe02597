"""Red cells and platelets: what is left of the foreground without the white cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.measure import label
from skimage.segmentation import watershed

from napari_cytosae.core._white import nucleus_mask

if TYPE_CHECKING:
    from napari_cytosae.core._stain import Stain
    from napari_cytosae.core.types import BoolArray, Int32Array

_RED_UM2 = (12.0, 150.0)
_PLATELET_UM2 = (1.2, 16.0)


def red_cells(stained: Stain, white: BoolArray, um: float) -> Int32Array:
    """Label red cells outside `white`, touching ones split at their necks.

    Parameters
    ----------
    stained : Stain
    white : ndarray of bool, (H, W)
        White cells and platelets, left out.
    um : float

    Returns
    -------
    ndarray of int32, (H, W)
    """
    total = ndi.gaussian_filter(stained.total, 0.2 / um)
    threshold = max(0.06, 0.7 * float(threshold_otsu(np.clip(total, 0, 0.6))))
    mask = (total > threshold) & ~white
    filled = ndi.binary_fill_holes(mask)
    holes = label(filled & ~mask)
    pallor = np.bincount(holes.ravel()) * um**2 < 25
    pallor[0] = False
    mask |= pallor[holes] & ~white
    mask = ndi.binary_opening(mask, iterations=max(1, round(0.4 / um)))
    distance = ndi.gaussian_filter(ndi.distance_transform_edt(mask), 0.4 / um)
    peaks = peak_local_max(
        distance,
        min_distance=max(2, round(2.2 / um)),
        threshold_abs=1.3 / um,
        exclude_border=False,
    )
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = watershed(-distance, markers, mask=mask)
    areas = np.bincount(labels.ravel()) * um**2
    good = (areas >= _RED_UM2[0]) & (areas <= _RED_UM2[1])
    good[0] = False
    return (np.cumsum(good) * good)[labels].astype(np.int32)


def platelets(stained: Stain, white: BoolArray, um: float) -> Int32Array:
    """Label platelets: small spots of basic dye outside `white`."""
    spots = label(nucleus_mask(stained, um) & ~white)
    areas = np.bincount(spots.ravel()) * um**2
    good = (areas >= _PLATELET_UM2[0]) & (areas <= _PLATELET_UM2[1])
    good[0] = False
    return (np.cumsum(good) * good)[spots].astype(np.int32)
