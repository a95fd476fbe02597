"""One mask over things that touch -> a label for each."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi
from scipy.cluster.vq import kmeans2
from skimage.measure import label
from skimage.segmentation import watershed

from napari_cytosae.core._distance import distance
from napari_cytosae.core._shape import solidity
from napari_cytosae.core._window import around, extent, maximum, smoothed

if TYPE_CHECKING:
    from napari_cytosae.core.types import BoolArray, Float32Array, Int32Array

_HEAP = 40
_ROUND = 0.975
"""Share of its convex hull that one thing fills, and two that overlap do not."""


def split(mask: BoolArray, neck: float, sigma: float) -> Int32Array:
    """Split a mask where it narrows to less than `neck` of the wider side's radius.

    Every maximum of the distance map starts a part; then parts are joined, those with the
    widest passage first, unless the passage is a neck. The rule is a ratio of widths, the
    same at every scale.

    Parameters
    ----------
    mask : ndarray of bool, (H, W)
        What is to be split.
    neck : float
        Share of the radius, below 1.
    sigma : float
        Smoothing of the distance map in pixels: rougher outlines make false maxima.
    """
    labels = np.zeros(mask.shape, np.int32)
    if not mask.any():
        return labels
    # Nothing is lost within a box whose margin is as wide as the smoothing reaches.
    box = around(extent(mask), ceil(4 * sigma) + 1)
    labels[box] = _split(mask[box], neck, sigma)
    return labels


def _split(mask: BoolArray, neck: float, sigma: float) -> Int32Array:
    inside = smoothed(distance(mask), sigma)
    peaks = (maximum(inside, 1) == inside) & (inside > 2) & mask
    seeds = label(peaks).astype(np.int32)
    parts = _flooded(inside, seeds, mask)
    height = np.zeros(seeds.max() + 1, np.float32)
    height[seeds[peaks]] = inside[peaks]
    return _joined(parts, height, _saddles(parts, inside), neck)


def _flooded(inside: Float32Array, seeds: Int32Array, mask: BoolArray) -> Int32Array:
    """Each pixel's seed, downhill from it; most regions hold but one and need no search."""
    regions, count = ndi.label(mask)
    at = np.nonzero(seeds)
    region, seed = regions[at], seeds[at]
    first, last = np.full(count + 1, seeds.size, np.int32), np.zeros(count + 1, np.int32)
    np.minimum.at(first, region, seed)
    np.maximum.at(last, region, seed)
    parts: Int32Array = np.where(first == last, first, np.int32(0)).take(regions)
    shared = (first < last).take(regions)
    if shared.any():
        parts += watershed(-inside, seeds, mask=shared)
    return parts


def _saddles(parts: Int32Array, inside: Float32Array) -> list[tuple[float, int, int]]:
    """Half the width of the widest passage between neighbours, the widest first."""
    # In one line, with a column of background between the rows.
    line, depth = (np.pad(plane, ((0, 0), (0, 1))).ravel() for plane in (parts, inside))
    row = parts.shape[1] + 1
    pairs: list[Int32Array] = []
    widths: list[Float32Array] = []
    for step in (1, row, row + 1, row - 1):
        here = np.flatnonzero(line[step:] != line[:-step])
        a, b = line[here], line[here + step]
        both = (a > 0) & (b > 0)
        here, a, b = here[both], a[both], b[both]
        pairs.append(np.stack([np.minimum(a, b), np.maximum(a, b)], axis=1))
        widths.append(np.minimum(depth[here], depth[here + step]))
    pair, width = np.concatenate(pairs), np.concatenate(widths)
    order = np.lexsort((-width, pair[:, 1], pair[:, 0]))
    pair, width = pair[order], width[order]
    first = np.ones(len(pair), bool)
    first[1:] = (np.diff(pair, axis=0) != 0).any(axis=1)
    rows = zip(width[first].tolist(), *pair[first].T.tolist(), strict=True)
    return sorted(rows, reverse=True)


def _joined(
    parts: Int32Array,
    height: Float32Array,
    saddles: list[tuple[float, int, int]],
    neck: float,
) -> Int32Array:
    root = np.arange(len(height))

    def find(i: int) -> int:
        while root[i] != i:
            i = root[i]
        return i

    for width, *ends in saddles:
        low, high = sorted(map(find, ends), key=lambda i: (height[i], -i))
        if width > neck * height[high]:
            root[low] = high
    final = np.array([find(i) for i in range(len(root))])
    return np.unique(final, return_inverse=True)[1].astype(np.int32).take(parts)


def divide(labels: Int32Array, area: float) -> Int32Array:
    """Divide each region of k things' area, where no neck shows, into k compact parts.

    Heaps of more than 40 are left whole, for the quality flag to name. What is convex is
    one large thing.
    """
    labels = labels.copy()
    areas = np.bincount(labels.ravel())
    new = len(areas)
    counts = np.round(areas / area).astype(np.intp)
    heaps = np.flatnonzero((counts >= 2) & (counts <= _HEAP))
    heaps = heaps[heaps > 0]
    if not heaps.size:
        return labels
    boxes = ndi.find_objects(labels)
    for i in heaps[solidity(labels)[heaps] <= _ROUND]:
        box, count = boxes[i - 1], counts[i]
        points = np.argwhere(labels[box] == i)
        _, part = kmeans2(points.astype(float), count, minit="++", seed=0, iter=8)
        labels[box][tuple(points[part > 0].T)] = new + part[part > 0]
        new += count
    return labels
