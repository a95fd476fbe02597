"""Size and shape of labels, mostly of all at once from sums over pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_cytosae.core.types import BoolArray, Float64Array, Int32Array, Int64Array


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
    runs = _runs(labels)

    def total(weights: npt.ArrayLike) -> Float64Array:
        sums: Float64Array = np.bincount(runs.label, weights, count).astype(np.float64)
        return sums

    length = runs.stop - runs.start
    area = total(length)
    size = np.maximum(area, 1)
    # Counted from a pixel of the label itself, squares stay small and their sums exact.
    row, column = np.zeros(count, np.int64), np.zeros(count, np.int64)
    row[runs.label[::-1]], column[runs.label[::-1]] = runs.row[::-1], runs.start[::-1]
    below = runs.row - row[runs.label]
    start, stop = runs.start - column[runs.label], runs.stop - column[runs.label]
    beside = (stop * (stop - 1) - start * (start - 1)) // 2
    y, x = total(below * length) / size, total(beside) / size
    # A pixel is a square, not a point: 1/12 is its own second moment.
    yy = total(below * below * length) / size - y * y + 1 / 12
    xx = total(_squares(stop) - _squares(start)) / size - x * x + 1 / 12
    xy = total(below * beside) / size - x * y
    root = np.sqrt(np.square(xx - yy) / 4 + np.square(xy))
    large, small = (xx + yy) / 2 + root, np.maximum((xx + yy) / 2 - root, 1e-9)
    return Shapes(
        area=area,
        x=column + x,
        y=row + y,
        eccentricity=np.sqrt(1 - small / large),
        minor=4 * np.sqrt(small),
        fullness=area / (4 * np.pi * np.sqrt(large * small)),
        cut=cut(labels, count),
    )


def cut(labels: Int32Array, count: int) -> BoolArray:
    """Which of the labels 0..count - 1 reach the border of the image (H, W)."""
    reached = np.zeros(count, bool)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        reached[side] = True
    return reached


def touching(labels: Int32Array) -> tuple[Int32Array, Int32Array]:
    """Labels on both sides of each pixel side where they differ, once from each, (m,)."""
    here: list[Int32Array] = []
    there: list[Int32Array] = []
    for first, second in ((labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1])):
        edge = first != second
        ends = first[edge], second[edge]
        here += ends
        there += ends[::-1]
    return np.concatenate(here), np.concatenate(there)


def touching_share(labels: Int32Array) -> Float64Array:
    """Share of the outline of each label 0..n that borders on another label, (n + 1,)."""
    count = int(labels.max()) + 1
    here, there = touching(labels)
    outline = np.bincount(here, minlength=count)
    shared = np.bincount(here[there > 0], minlength=count)
    return shared / np.maximum(outline, 1)


def solidity(labels: Int32Array) -> Float64Array:
    """Share of its convex hull that each label 0..n of an image (H, W) fills.

    The hull is that of the middles of the pixels' sides, so a rectangle has 1. That of
    the background means nothing.
    """
    count = int(labels.max()) + 1
    along, across = _runs(labels), _runs(labels.T)
    # All in half pixels, in whole numbers.
    label = np.concatenate([along.label, along.label, across.label, across.label])
    x = np.concatenate([2 * along.start - 1, 2 * along.stop - 1, *[2 * across.row] * 2])
    y = np.concatenate([*[2 * along.row] * 2, 2 * across.start - 1, 2 * across.stop - 1])
    order = np.argsort((label * (2 * labels.shape[1] + 1) + x) * (2 * len(labels) + 1) + y)
    points = label[order], x[order], y[order]
    hull = (_under(_chain(*points, 1), count) - _under(_chain(*points, -1), count)) / 4
    area = np.bincount(along.label, along.stop - along.start, minlength=count)
    return np.minimum(1.0, area / np.maximum(hull, 0.5))


Points = tuple["Int64Array", "Int64Array", "Int64Array"]
"""Label, x and y of points, sorted by them."""


def _chain(label: Int64Array, x: Int64Array, y: Int64Array, side: int) -> Points:
    """The corners of the convex hulls on the side of larger y (1) or smaller y (-1).

    A point that does not stand out between its neighbours is no corner, whether these are
    or not: all of them go at once, for all labels, until none is left.
    """
    while True:
        x0, x1, x2 = x[:-2], x[1:-1], x[2:]
        y0, y1, y2 = y[:-2], y[1:-1], y[2:]
        out = side * ((y1 - y0) * (x2 - x0) - (x1 - x0) * (y2 - y0)) > 0
        keep = np.ones(len(x), bool)
        keep[1:-1] = out | (label[:-2] != label[2:])
        if keep.all():
            return label, x, y
        label, x, y = label[keep], x[keep], y[keep]


def _under(points: Points, count: int) -> Float64Array:
    """Area between the line through the points of each label and y = 0."""
    label, x, y = points
    strips = np.diff(x) * (y[1:] + y[:-1]) / 2
    strips = np.where(label[1:] == label[:-1], strips, 0.0)
    areas: Float64Array = np.bincount(label[1:], strips, count).astype(np.float64)
    return areas


@dataclass(frozen=True, slots=True, eq=False)
class _Runs:
    """Unbroken stretches of a label along the rows of an image, each (n,) of int64."""

    label: Int64Array
    row: Int64Array
    start: Int64Array
    stop: Int64Array


def _runs(labels: Int32Array) -> _Runs:
    height, width = labels.shape
    change = np.ones((height, width + 1), bool)
    np.not_equal(labels[:, 1:], labels[:, :-1], out=change[:, 1:-1])
    row, start = np.divmod(np.flatnonzero(change)[:-1], width + 1)
    stop = np.append(start[1:], width)
    inside = start < width
    row, start, stop = row[inside], start[inside], stop[inside]
    label = labels[row, start]
    there = np.flatnonzero(label)
    return _Runs(label[there].astype(np.int64), row[there], start[there], stop[there])


def _squares(number: Int64Array) -> Int64Array:
    """Sum of the squares of the whole numbers below each."""
    squares: Int64Array = (number - 1) * number * (2 * number - 1) // 6
    return squares


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
    found: Int32Array = np.flatnonzero(there).astype(np.int32)
    return found, labels if there[1:].all() else renumbered(labels, there)


def renumbered(labels: Int32Array, keep: BoolArray) -> Int32Array:
    """The labels for which `keep` (n + 1,) holds, renumbered from 1 in the same order."""
    keep = keep.copy()
    keep[0] = False
    new: Int32Array = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return new.take(labels)
