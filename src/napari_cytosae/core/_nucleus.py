"""The nucleus of a white cell whose outline is known, told from cytoplasm and granules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi
from skimage.morphology import disk

from napari_cytosae.core._otsu import otsu
from napari_cytosae.core._specks import without_holes, without_specks
from napari_cytosae.core._window import smoothed

if TYPE_CHECKING:
    from napari_cytosae.core._stain import Stain
    from napari_cytosae.core.types import BoolArray, Float32Array, Int32Array

LOBE_UM2 = 2.0
"""Smallest lobe of a nucleus."""
_HOLE_UM2 = 2.0
_CONTRASTS = np.array([(1, 1, -1.2), (1, 0, -0.3), (0, 1, 0)], np.float32)
"""Weights of red, green and blue density: each dims another cytoplasm. Haemoglobin and
brownish eosin go with the blue, bright eosin absorbs no red, azure B little green."""
_GRANULE_UM = 0.8
"""Radius of what may be one coarse granule; a nucleus is wider."""
_CLUSTER_UM = 1.0
"""Radius of granules side by side, which Otsu's threshold leaves at a nucleus."""
_GRANULAR = 0.15
"""Share of the dark pixels that granules take in a basophil; filaments and corners of a
nucleus, which are as narrow, take less."""


def refined_nuclei(
    stained: Stain, labels: Int32Array, seeds: BoolArray, um: float
) -> Int32Array:
    """Nucleus of each cell: the denser class of its own pixels (Otsu).

    Parameters
    ----------
    stained : Stain
        Of the image.
    labels : ndarray of int32, (H, W)
        White cells; ids may have gaps.
    seeds : ndarray of bool, (H, W)
        Pixels surely rich in basic dye.
    um : float
        Pixel size.

    Returns
    -------
    ndarray of int32, (H, W)
        Same ids, nuclei only.
    """
    nuclei = np.zeros_like(labels)
    for i, box in enumerate(ndi.find_objects(labels), 1):
        if box is None:
            continue  # type: ignore[unreachable]  # ids may have gaps
        own = labels[box] == i
        density = _best_contrast(stained.density[box], own, um)
        dense = _without_granules(own & (density > otsu(density[own])), density, own, um)
        core = density[seeds[box] & own]
        if core.size:
            # A naked nucleus has no second class to part from.
            bulk = own & (density > 0.6 * np.median(core))
            if bulk.sum() > 0.93 * own.sum():
                dense = bulk
        dense = without_holes(dense, _HOLE_UM2 / um**2) & own
        nuclei[box][without_specks(dense, LOBE_UM2 / um**2)] = i
    return nuclei


def _best_contrast(colour: Float32Array, own: BoolArray, um: float) -> Float32Array:
    """The contrast that parts the pixels of a cell best, smoothed, over its box (H, W)."""
    densities = [smoothed(colour @ weights, 0.25 / um) for weights in _CONTRASTS]
    best: Float32Array = max(densities, key=lambda density: _separability(density[own]))
    return best


def _separability(values: Float32Array) -> float:
    """Share of the variance that lies between Otsu's classes, 0 to 1.

    N. Otsu, A threshold selection method from gray-level histograms, IEEE Trans. SMC 9
    (1979) 62-66: eta, equation 19.
    """
    upper = values > otsu(values)
    share = upper.mean()
    if not 0 < share < 1:
        return 0.0
    apart = values[upper].mean() - values[~upper].mean()
    return float(share * (1 - share) * apart**2 / values.var())


def _without_granules(
    dense: BoolArray, density: Float32Array, own: BoolArray, um: float
) -> BoolArray:
    """The dense class where granules are levelled, should they be much of it."""
    grain = disk(max(1, round(_GRANULE_UM / um)))
    ground = np.where(own, density, density[own].min())
    smooth = ndi.grey_opening(ground, footprint=grain)
    nucleus: BoolArray = own & (smooth > otsu(smooth[own]))
    if (dense & ~nucleus).sum() <= _GRANULAR * dense.sum():
        return dense
    compact = ndi.binary_opening(nucleus, disk(max(1, round(_CLUSTER_UM / um))))
    return compact if compact.any() else nucleus
