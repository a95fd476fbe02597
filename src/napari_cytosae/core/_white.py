"""White cells: nuclei by their basic dye, then the cytoplasm around each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi
from skimage.filters import threshold_otsu
from skimage.measure import label
from skimage.morphology import disk
from skimage.segmentation import watershed

if TYPE_CHECKING:
    from napari_cytosae.core._stain import Stain
    from napari_cytosae.core.types import BoolArray, CellKind, Int32Array

_BASIC_FLOOR = 0.18
"""Least basic-dye density of a nucleus; haemoglobin and its camera errors stay below."""
_NUCLEUS_UM2 = 14.0
"""Smallest nucleus in all its lobes; platelets stay below."""
_LOBE_UM2 = 2.0
_LOBE_GAP_UM = 1.6
_REACH_UM = 7.0
"""Widest cytoplasm, from the nucleus outwards."""


def nucleus_mask(stained: Stain, um: float) -> BoolArray:
    """Pixels rich in basic dye: nuclei, platelets and stain deposits."""
    basic = ndi.gaussian_filter(stained.basic, 0.3 / um)
    rich = basic[basic > 0.6 * _BASIC_FLOOR]
    if rich.size < 20:
        return np.zeros(basic.shape, bool)
    threshold = max(_BASIC_FLOOR, min(0.35, float(threshold_otsu(rich))))
    return basic > threshold


def nuclear_scale(stained: Stain) -> float | None:
    """Pixel size that makes the nuclei in view 8 um wide, None where there is none."""
    regions = label(nucleus_mask(stained, 0.2))
    areas = np.bincount(regions.ravel())[1:]
    if not len(areas) or areas.max() < 20:
        return None
    large = areas[areas > areas.max() / 3]
    return float(8.0 / (2 * np.sqrt(np.median(large) / np.pi)))


def white_cells(stained: Stain, um: float) -> tuple[Int32Array, Int32Array]:
    """Label white cells and their nuclei.

    Parameters
    ----------
    stained : Stain
    um : float
        Pixel size, 0.1 to 0.4 um/px for speed and smooth outlines.

    Returns
    -------
    labels, nuclei : ndarray of int32, (H, W)
    """
    mask = nucleus_mask(stained, um)
    seeds = _nuclei(mask, um)
    labels = _cytoplasm(stained, seeds, um)
    nuclei = np.where(seeds > 0, seeds, 0)
    for i, box in enumerate(ndi.find_objects(labels), 1):
        if box is None:
            continue
        own = labels[box] == i
        density = stained.nuclear[box]
        inside = density[own]
        threshold = float(threshold_otsu(inside))
        seed = (seeds[box] == i) & own
        level = 0.55 * np.median(density[seed]) if seed.any() else threshold
        fine = own & (density > max(threshold, level))
        nuclei[box][own] = 0
        nuclei[box][fine] = i
    return labels, nuclei


def _nuclei(mask: BoolArray, um: float) -> Int32Array:
    """Seeds: connected lobes, grouped into nuclei."""
    lobes = label(mask)
    areas = np.bincount(lobes.ravel())
    keep = areas * um**2 >= _LOBE_UM2
    keep[0] = False
    mask = keep[lobes]
    grown = ndi.distance_transform_edt(~mask) <= _LOBE_GAP_UM / 2 / um
    groups = label(grown) * mask
    areas = np.bincount(groups.ravel())
    good = areas * um**2 >= _NUCLEUS_UM2
    good[0] = False
    relabel = np.cumsum(good) * good
    return relabel[groups].astype(np.int32)


def _cytoplasm(stained: Stain, seeds: Int32Array, um: float) -> Int32Array:
    """Grow each nucleus over the foreground that is not coloured like a red cell."""
    if not seeds.any():
        return seeds
    distance = ndi.distance_transform_edt(seeds == 0).astype(np.float32) * np.float32(um)
    total = ndi.gaussian_filter(stained.total, 0.2 / um)
    basic = ndi.gaussian_filter(stained.basic, 0.3 / um)
    foreground = total > max(0.08, 4 * stained.noise)
    reddish = foreground & (distance > 3) & (basic < 0.12)
    ring = foreground & (distance < 1) & (seeds == 0)
    red_level = float(np.median(basic[reddish])) if reddish.sum() > 50 else -1.0
    ring_level = float(np.median(basic[ring])) if ring.any() else 0.2
    limit = red_level + 0.4 * (ring_level - red_level) if red_level > -1 else -1.0
    cell = foreground & (basic > limit) & (distance < _REACH_UM) | (seeds > 0)
    cell = ndi.binary_opening(cell, disk(max(1, round(0.6 / um)))) | (seeds > 0)
    cell = ndi.binary_fill_holes(cell)
    labels = watershed(distance, seeds, mask=cell)
    return labels.astype(np.int32)


def nuclei_within(
    stained: Stain, labels: Int32Array, um: float
) -> tuple[Int32Array, dict[int, CellKind]]:
    """Nucleus inside each given cell, and from it the kind of each."""
    mask = nucleus_mask(stained, um)
    nuclei = np.where(mask, labels, 0).astype(np.int32)
    area = np.bincount(nuclei.ravel(), minlength=int(labels.max()) + 1) * um**2
    whole = np.bincount(labels.ravel()) * um**2
    kinds: dict[int, CellKind] = {}
    for i in np.flatnonzero(whole[1:]) + 1:
        if area[i] >= _NUCLEUS_UM2:
            kinds[int(i)] = "wbc"
        else:
            kinds[int(i)] = "platelet" if whole[i] < 12 and area[i] > 0 else "rbc"
    is_white = np.array([kinds.get(i) == "wbc" for i in range(len(whole))])
    return np.where(is_white[nuclei], nuclei, 0).astype(np.int32), kinds
