"""How large a pixel is, told from the red cells in view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu

from napari_cytosae.core._stain import shrink, stain
from napari_cytosae.core.types import PixelSize

if TYPE_CHECKING:
    from napari_cytosae.core._stain import Stain
    from napari_cytosae.core.types import BoolArray, Float32Array, Int64Array, UInt8Array

RED_CELL_UM = 7.5
"""Diameter of a normal red cell on a dried smear."""
_MIN_CELLS = 5


def estimate_pixel_size(rgb: UInt8Array) -> PixelSize:
    """Estimate the pixel size from the median diameter of the round red cells in view.

    Parameters
    ----------
    rgb : ndarray of uint8, (H, W, 3)

    Returns
    -------
    PixelSize
        Source ``estimated`` with the relative spread of the diameters (1.48 MAD) and the
        number of red cells, or ``unknown`` with `um` None where fewer than five round
        red cells lie free.
    """
    factor = max(1, max(rgb.shape[:2]) // 640)
    um, spread, count = red_cell_scale(stain(shrink(rgb, factor)))
    if um is None:
        return PixelSize(source="unknown", n_cells=count)
    return PixelSize(um / factor, "estimated", spread, count)


def red_cell_scale(stained: Stain) -> tuple[float | None, float | None, int]:
    """Pixel size (um), relative spread and number of round red cells.

    A red cell may touch others: it counts when the circle inscribed in the foreground
    has background just outside it over most of its way round.
    """
    total = ndi.gaussian_filter(stained.total, 1)
    if np.ptp(total) < 0.05:
        return None, None, 0
    threshold = max(0.05, 0.7 * float(threshold_otsu(np.clip(total, 0, 0.6))))
    mask = ndi.binary_fill_holes(total > threshold)
    basic = ndi.gaussian_filter(stained.basic, 1)
    distance = ndi.distance_transform_edt(mask)
    peaks = peak_local_max(distance, min_distance=5, threshold_abs=4, exclude_border=5)
    radii = distance[tuple(peaks.T)]
    free = _free_share(mask, peaks, radii)
    red = basic[tuple(peaks.T)] < 0.15
    diameter = 2 * radii[(free > 0.6) & red]
    if len(diameter) < _MIN_CELLS:
        return None, None, len(diameter)
    # Platelets and debris are smaller than red cells by more than any anisocytosis.
    largest = np.percentile(diameter, 80)
    diameter = diameter[(diameter > 0.6 * largest) & (diameter < 1.6 * largest)]
    if len(diameter) < _MIN_CELLS:
        return None, None, len(diameter)
    median = float(np.median(diameter))
    spread = float(1.48 * np.median(np.abs(diameter - median)) / median)
    return RED_CELL_UM / median, spread, len(diameter)


def _free_share(mask: BoolArray, peaks: Int64Array, radii: Float32Array) -> Float32Array:
    """Share of the circle 15 % outside each inscribed one that lies on background."""
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    reach = 1.15 * radii[:, None] + 1
    y = np.rint(peaks[:, :1] + reach * np.sin(angles)).astype(int)
    x = np.rint(peaks[:, 1:] + reach * np.cos(angles)).astype(int)
    height, width = mask.shape
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    taken = mask[y.clip(0, height - 1), x.clip(0, width - 1)] | ~inside
    return 1 - taken.mean(axis=1, dtype=np.float32)
