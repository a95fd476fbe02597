"""Filling pixels of an activation map from the patch grids of the crops that cover them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_cytosae.core.types import Float32Array, Int64Array

_SMALL = 16 * 16
"""Pixels of a crop up to which crops are painted in runs: one by one, Python is slower."""

_RUN = 1024
"""Crops painted at once."""


def paint(
    rows: Int64Array,
    columns: Int64Array,
    grids: Float32Array,
    boxes: Int64Array,
    smooth: bool,
) -> Float32Array:
    """Activation of the pixels ``rows x columns``: the maximum of all crops over each.

    Parameters
    ----------
    rows, columns : ndarray of int64, (h,) and (w,)
        Ascending.
    grids : ndarray of float32, (n, grid, grid)
        Patch activations, >= 0.
    boxes : ndarray of int64, (n, 4)
        The crops, ``y0, x0, y1, x1``.
    smooth : bool
        Interpolate linearly between the centres of the patches.

    Returns
    -------
    ndarray of float32, (h, w)
        0 outside the crops.
    """
    out = np.zeros((len(rows), len(columns)), np.float32)
    r = np.searchsorted(rows, boxes[:, 0::2])
    c = np.searchsorted(columns, boxes[:, 1::2])
    covered = np.flatnonzero((r[:, 0] < r[:, 1]) & (c[:, 0] < c[:, 1]))
    pixels = (np.diff(r) * np.diff(c))[:, 0]
    for start in range(0, len(covered), _RUN):
        some = covered[start : start + _RUN]
        if pixels[some].max() <= _SMALL:
            _paint_many(
                out, rows, columns, grids[some], boxes[some], r[some], c[some], smooth
            )
            continue
        for index in some.tolist():
            (r0, r1), (c0, c1) = r[index].tolist(), c[index].tolist()
            y0, x0, y1, x1 = boxes[index].tolist()
            grid, size = grids[index], grids.shape[1]
            if smooth:
                across = _linear(columns[c0:c1], x0, x1, size)
                values = _linear(rows[r0:r1], y0, y1, size) @ grid @ across.T
            else:
                # Rows last: whole rows are copied, which is 25 times faster than pixels.
                values = grid.take(_nearest(columns[c0:c1], x0, x1, size), axis=1)
                values = values.take(_nearest(rows[r0:r1], y0, y1, size), axis=0)
            target = out[r0:r1, c0:c1]
            np.maximum(target, values, out=target)
    return out


def _paint_many(
    out: Float32Array,
    rows: Int64Array,
    columns: Int64Array,
    grids: Float32Array,
    boxes: Int64Array,
    r: Int64Array,
    c: Int64Array,
    smooth: bool,
) -> None:
    """Paint small crops at once; ``r`` and ``c`` (n, 2) are their places in `out`."""
    size = grids.shape[1]
    # Smaller ones repeat their last pixel, which does not change a maximum.
    down = np.minimum(r[:, :1] + np.arange(np.diff(r).max()), r[:, 1:] - 1)
    across = np.minimum(c[:, :1] + np.arange(np.diff(c).max()), c[:, 1:] - 1)
    y0, x0, y1, x1 = (boxes[:, edge, None] for edge in range(4))
    if smooth:
        left = _linear(rows[down], y0, y1, size)
        right = _linear(columns[across], x0, x1, size).transpose(0, 2, 1)
        values: np.ndarray = left @ grids @ right
    else:
        row = _nearest(rows[down], y0, y1, size)
        column = _nearest(columns[across], x0, x1, size)
        first = np.arange(len(grids))[:, None] * size + row
        values = grids.take(first[:, :, None] * size + column[:, None, :])
    places = down[:, :, None] * out.shape[1] + across[:, None, :]
    np.maximum.at(out.reshape(-1), places.ravel(), values.ravel())


def _nearest(
    pixels: Int64Array, start: Int64Array | int, stop: Int64Array | int, grid: int
) -> Int64Array:
    """Patch that the centre of each pixel lies in: `crops.patch_at`, in whole numbers."""
    return (2 * (pixels - start) + 1) * grid // (2 * (stop - start))


def _linear(
    pixels: Int64Array, start: Int64Array | int, stop: Int64Array | int, grid: int
) -> Float32Array:
    """Weights (..., pixels, grid) of interpolation between the patches' centres."""
    position = (pixels + 0.5 - start) * grid / (stop - start) - 0.5
    position = np.clip(position, 0, grid - 1)[..., None]
    # The hat of each patch: 1 at its centre, 0 at its neighbours'.
    away = np.abs(position - np.arange(grid))
    weights: Float32Array = np.maximum(0, 1 - away).astype(np.float32)
    return weights
