"""White cells: nuclei by their basic dye, then the cytoplasm around each."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi
from skimage.measure import label
from skimage.morphology import convex_hull_image, disk
from skimage.segmentation import watershed

from napari_cytosae.core._distance import distance
from napari_cytosae.core._fragments import CELL_UM2, joined
from napari_cytosae.core._nucleus import LOBE_UM2, refined_nuclei
from napari_cytosae.core._otsu import otsu
from napari_cytosae.core._ray import Ray
from napari_cytosae.core._specks import without_holes
from napari_cytosae.core._split import split
from napari_cytosae.core._window import around, extent, smoothed

if TYPE_CHECKING:
    from napari_cytosae.core._stain import Stain
    from napari_cytosae.core.types import BoolArray, Float32Array, Int32Array

_BASIC_FLOOR = 0.18
"""Least basic-dye density of a nucleus; haemoglobin and its camera errors stay below."""
_NUCLEUS_UM2 = 14.0
"""Smallest nucleus in all its lobes; platelets stay below."""
_NORMAL_NUCLEUS_UM2 = 45.0
_SPREAD_FLOOR = 0.13
"""Least basic-dye density of a burst nucleus, its clumps and gaps smoothed over."""
_SPREAD_NUCLEUS_UM2 = 60.0
"""Smallest nucleus that may be paler than the others in view: a smudge, no platelets."""
_LOBES = 6
"""Most that a nucleus has, but for a few hypersegmented neutrophils."""
_LOBE_GAP_UM = 1.6
_LOBE_GAP = 0.5
"""Share of its width that a lobe reaches out to the next where the scale is unknown."""
_RED_BLUE = 0.42
"""Least blue density of haemoglobin, relative to green; cytoplasm mostly has less."""
_REACH_UM = 8.0
"""Widest cytoplasm, from the nucleus outwards."""


def nucleus_mask(stained: Stain, um: float) -> BoolArray:
    """Pixels rich in basic dye: nuclei, platelets and stain deposits."""
    basic = smoothed(np.where(stained.foreign, 0, stained.basic), 0.3 / um)
    rich = basic[basic > 0.6 * _BASIC_FLOOR]
    if rich.size < 20:
        return np.zeros(basic.shape, bool)
    threshold = max(_BASIC_FLOOR, min(0.35, otsu(rich)))
    mask: BoolArray = basic > threshold
    # Smoothing moves dye but makes none: too little of it in view makes no burst nucleus.
    excess = np.maximum(basic - np.float32(_SPREAD_FLOOR / 2), 0)
    if excess.sum() * um**2 < _SPREAD_FLOOR / 2 * _SPREAD_NUCLEUS_UM2:
        return mask
    # Beside dark nuclei a burst one, spread and pale, stays below what parts those.
    parts, _ = ndi.label(smoothed(basic, 0.9 / um) > _SPREAD_FLOOR)
    pale = np.bincount(parts.ravel()) * um**2 >= _SPREAD_NUCLEUS_UM2
    pale[0] = False
    pale[parts[mask]] = False
    return mask | pale.take(parts)


def nuclear_scale(stained: Stain) -> float | None:
    """Pixel size that gives the nuclei in view a normal area, None where there is none.

    Lobes are taken together when they lie nearer than they are wide, unless they are more
    than one nucleus has: then it is a clump of nuclei.
    """
    mask, near = nuclear_surroundings(stained)
    lobes, count = ndi.label(mask)
    if not near.any():
        return None
    area = np.bincount(lobes.ravel(), minlength=count + 1)[1:]
    _, first = np.unique(lobes[mask], return_index=True)
    group = ndi.label(near)[0][mask][first]
    largest = np.zeros(group.max() + 1)
    np.maximum.at(largest, group, area)
    many = np.bincount(group[area > largest[group] / 4]) > _LOBES
    areas = np.append(np.bincount(group, area)[~many], area[many[group]])
    area = np.median(areas[areas > areas.max() / 3])
    return float(np.sqrt(_NORMAL_NUCLEUS_UM2 / area))


def nuclear_surroundings(stained: Stain) -> tuple[BoolArray, BoolArray]:
    """Nuclei at an unknown scale; and them with what lies nearer than half their width.

    Both are empty where there are but specks.
    """
    mask = nucleus_mask(stained, 0.2)
    near = np.zeros_like(mask)
    lobes, _ = ndi.label(mask)
    areas = np.append(0, np.bincount(lobes.ravel())[1:])
    if areas.max() < 20:
        return near, near
    gaps = _LOBE_GAP * np.sqrt(areas)
    window = around(extent(mask), ceil(gaps.max()))
    away, nearest = ndi.distance_transform_edt(~mask[window], return_indices=True)
    near[window] = away <= gaps[lobes[window][tuple(nearest)]]
    return mask, near


def white_cells(stained: Stain, um: float) -> tuple[Int32Array, Int32Array]:
    """Label white cells and their nuclei.

    Parameters
    ----------
    stained : Stain
        Of the image.
    um : float
        Pixel size, 0.1 to 0.4 um/px for speed and smooth outlines.

    Returns
    -------
    labels, nuclei : ndarray of int32, (H, W)
    """
    seeds = _nuclei(nucleus_mask(stained, um), um)
    if not seeds.any():
        return seeds, seeds.copy()
    labels = joined(_cytoplasm(stained, seeds, um), um)
    return labels, refined_nuclei(stained, labels, seeds > 0, um)


def _nuclei(mask: BoolArray, um: float) -> Int32Array:
    """Seeds: connected lobes, grouped into nuclei."""
    lobes = label(mask)
    areas = np.bincount(lobes.ravel())
    keep = areas * um**2 >= LOBE_UM2
    keep[0] = False
    if not keep.any():
        return np.zeros(mask.shape, np.int32)
    mask = keep.take(lobes)
    gap = _LOBE_GAP_UM / 2 / um
    grown = distance(~mask, gap) <= gap
    groups = label(grown) * mask
    areas = np.bincount(groups.ravel())
    good = areas * um**2 >= _NUCLEUS_UM2
    good[0] = False
    relabel = np.cumsum(good) * good
    nuclei: Int32Array = relabel[groups].astype(np.int32)
    return nuclei


def _cytoplasm(stained: Stain, seeds: Int32Array, um: float) -> Int32Array:
    """Grow each nucleus over what is neither bare glass nor red cell."""
    nucleus = seeds > 0
    # Cells reach no farther, whatever holes are filled.
    away = distance(~nucleus, 1.5 * _REACH_UM / um) * np.float32(um)
    colour = np.stack(
        [smoothed(stained.density[..., c], 0.25 / um) for c in range(3)], axis=-1
    )
    total = np.abs(colour).sum(axis=-1)
    foreground = total > max(0.06, 3 * stained.noise)
    reddish = colour[..., 2] > _RED_BLUE * colour[..., 1]
    far = foreground & reddish & (away > 4) & (stained.basic < 0.25) & ~stained.foreign
    blood = Ray.through(colour[far])
    if blood is not None and blood.direction[1] < 0.06:
        blood = None
    score = np.full(seeds.shape, -9.0, np.float32)
    margin = round(_REACH_UM / um)
    for i, box in enumerate(ndi.find_objects(seeds), 1):
        window = around(box, margin)
        own = distance(seeds[window] != i, _REACH_UM / um) * np.float32(um)
        ring = foreground[window] & (own > 0.3) & (own < 1.5)
        edge = min(0.13, 0.35 * np.median(total[window][ring])) if ring.any() else 0.0
        odds = np.where(total[window] > edge, np.float32(1), np.float32(-1))
        odds[~foreground[window] | (own > _REACH_UM)] = -1
        if blood is not None:
            whole = _within_necks(odds > 0, own, um)
            if whole is not None:
                odds[~whole] = -1
            else:
                odds = np.minimum(odds, _odds(colour[window], own, um, blood, ring))
        score[window] = np.maximum(score[window], odds)
    cell = (score > 0) & ~stained.void | nucleus
    cell = without_holes(cell, 10 / um**2)
    thin = disk(max(1, round(1.3 / um)))
    cell = ndi.binary_opening(cell, thin) | nucleus
    parts, _ = ndi.label(cell)
    nucleated = np.zeros(parts.max() + 1, bool)
    nucleated[parts[nucleus]] = True
    found: Int32Array = watershed(away, seeds, mask=nucleated[parts] & cell)
    return found.astype(np.int32)


def _within_necks(mask: BoolArray, away: Float32Array, um: float) -> BoolArray | None:
    """The part of the foreground around a nucleus if it has the outline of one cell.

    Then hue need not decide, and eosinophilic cytoplasm is not taken for blood.
    """
    parts = split(mask, 0.85, 0.4 / um)
    near = np.bincount(parts[(away < 0.8) & mask], minlength=parts.max() + 1)
    near[0] = 0
    whole = (near * um**2 > 0.5)[parts]
    if not whole.any() or whole.sum() * um**2 > CELL_UM2:
        return None
    return whole if whole.sum() > 0.94 * convex_hull_image(whole).sum() else None


def _odds(
    colour: Float32Array, away: Float32Array, um: float, blood: Ray, ring: BoolArray
) -> Float32Array:
    """Log odds of cytoplasm against red cell, `away` um from the nucleus."""
    prior = np.clip(0.5 * (2.5 - away), -1, 1)
    red = np.minimum(blood.distance(colour), 25)
    clear = ring & (red > 4)
    if clear.sum() > 0.2 * ring.sum():
        ring = clear
    odds: Float32Array = prior
    for _ in range(3):
        own = Ray.through(colour[ring])
        # What is unlike both belongs to the cell: granules, vacuoles.
        like = np.minimum(own.distance(colour), 9) if own else np.float32(9)
        odds = ndi.gaussian_filter(0.5 * (red - like) + prior, 0.4 / um)
        ring = (odds > 0) & (away > 0.3) & (away < 4)
    return odds


def nuclei_within(
    stained: Stain, labels: Int32Array, um: float
) -> tuple[Int32Array, BoolArray]:
    """Nuclei of the given labels 0..n, and which are white cells; ids may have gaps."""
    mask = nucleus_mask(stained, um)
    area = np.bincount(labels[mask], minlength=int(labels.max()) + 1) * um**2
    white = area >= _NUCLEUS_UM2
    white[0] = False
    cells = np.where(white[labels], labels, 0).astype(np.int32)
    return refined_nuclei(stained, cells, mask, um), white
