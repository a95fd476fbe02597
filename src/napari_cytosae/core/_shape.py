"""Size and shape of labels, mostly of all at once from sums over pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import ConvexHull

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_cytosae.core.types import BoolArray, Float64Array, Int32Array


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """Shape of the labels 0..n of one image; row 0 is the background and means nothing.

    Attributes
    ----------
    area : ndarray of float64, (n + 1,)
        In pixels; 0 where a label is absent.
    x, y : ndarray of float64, (n + 1,)
        Centroid.
    eccentricity : ndarray of float64, (n + 1,)
        Of the ellipse with the same second moments, 0 is a circle.
    minor : ndarray of float64, (n + 1,)
        Its minor axis in pixels.
    fullness : ndarray of float64, (n + 1,)
        Area over that ellipse's: 1 for any ellipse, less for a notched or hollow label.
    cut : ndarray of bool, (n + 1,)
        The label reaches the border of the image.
    """

    area: Float64Array
    x: Float64Array
    y: Float64Array
    eccentricity: Float64Array
    minor: Float64Array
    fullness: Float64Array
    cut: BoolArray


def shapes(labels: Int32Array) -> Shapes:
    """Measure the labels of an image (H, W)."""
    count = int(labels.max()) + 1
    row, column = np.nonzero(labels)
    index = labels[row, column]

    def total(weights: npt.ArrayLike | None = None) -> Float64Array:
        return np.bincount(index, weights, minlength=count).astype(np.float64)

    area = total()
    size = np.maximum(area, 1)
    y, x = total(row) / size, total(column) / size
    dy, dx = row - y[index], column - x[index]
    # A pixel is a square, not a point: 1/12 is its own second moment.
    yy, xx, xy = (total(w) / size for w in (dy * dy, dx * dx, dy * dx))
    yy, xx = yy + 1 / 12, xx + 1 / 12
    root = np.sqrt(np.square(xx - yy) / 4 + np.square(xy))
    large, small = (xx + yy) / 2 + root, np.maximum((xx + yy) / 2 - root, 1e-9)
    cut = np.zeros(count, bool)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        cut[side] = True
    return Shapes(
        area=area,
        x=x,
        y=y,
        eccentricity=np.sqrt(1 - small / large),
        minor=4 * np.sqrt(small),
        fullness=area / (4 * np.pi * np.sqrt(large * small)),
        cut=cut,
    )


def solidity(mask: BoolArray) -> float:
    """Share of its convex hull that a mask (h, w) fills.

    The hull is that of the middles of the pixels' sides, so a rectangle has 1.
    """
    ends = []
    for side in (mask, mask.T):
        lines = np.flatnonzero(side.any(axis=1))
        first = side[lines].argmax(axis=1) - 0.5
        last = side.shape[1] - side[lines][:, ::-1].argmax(axis=1) - 0.5
        ends.append((np.tile(lines, 2), np.concatenate([first, last])))
    (y, x), (x_, y_) = ends
    points = np.column_stack([np.concatenate([y, y_]), np.concatenate([x, x_])])
    return min(1.0, float(np.count_nonzero(mask) / ConvexHull(points).volume))


def consecutive(labels: Int32Array) -> tuple[Int32Array, Int32Array]:
    """The ids that occur (n,), and the labels renumbered to 1..n in their order.

    Any ids will do; what counts labels by their number needs as much memory as the
    largest one.
    """
    if labels.max(initial=0) > labels.size:
        ids, index = np.unique(labels, return_inverse=True)
        has_ground = int(ids[0] == 0)
        own = np.asarray(index).reshape(labels.shape) + 1 - has_ground
        return ids[has_ground:], own.astype(np.int32)
    there = np.bincount(labels.ravel()) > 0
    there[0] = False
    return np.flatnonzero(there).astype(np.int32), renumbered(labels, there)


def renumbered(labels: Int32Array, keep: BoolArray) -> Int32Array:
    """The labels for which `keep` (n + 1,) holds, renumbered from 1 in the same order."""
    keep = keep.copy()
    keep[0] = False
    return (np.cumsum(keep) * keep)[labels].astype(np.int32)
