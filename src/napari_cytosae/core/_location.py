"""In which part of the cell a concept fires: masks seen on the patch grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_cytosae.core.crops import patch_edges

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_cytosae.core.types import Cells, Float32Array, Float64Array, Int64Array

PLACES = ("nucleus", "cytoplasm", "outside")
"""Parts of a crop, seen from its own cell; neighbouring cells are outside."""


def mask_fractions(cells: Cells, boxes: Int64Array, grid: int = 16) -> Float32Array:
    """How much of each patch is nucleus, and how much the rest of a cell.

    Of any cell that was found, the crop's own or a neighbour in it: what fires in the red
    cells around a white one is not background where red cells were looked for.

    Parameters
    ----------
    cells : Cells
        With the masks.
    boxes : ndarray of int64, (n, 4)
        Crops on the slide.
    grid : int
        Patches along one side.

    Returns
    -------
    ndarray of float32, (n, 3, grid, grid)
        Shares of the patch's area in the order of `PLACES`; they add up to 1. Parts of a
        patch beyond the image are outside.
    """
    result = np.zeros((len(boxes), len(PLACES), grid, grid), dtype=np.float32)
    height, width = cells.labels.shape
    for index, box in enumerate(boxes):
        y0, x0, y1, x1 = (int(edge) for edge in box)
        part = (slice(max(y0, 0), min(y1, height)), slice(max(x0, 0), min(x1, width)))
        down = _coverage(y0, y1, part[0], grid)
        across = _coverage(x0, x1, part[1], grid)
        nucleus = down @ (np.asarray(cells.nuclei[part]) > 0).astype(np.float32) @ across.T
        cell = down @ (np.asarray(cells.labels[part]) > 0).astype(np.float32) @ across.T
        result[index] = nucleus, cell - nucleus, 1 - cell
    return np.clip(result, 0, 1, out=result)


def location(
    grids: Float32Array, fractions: Float32Array, concepts: npt.ArrayLike
) -> pd.DataFrame:
    """Where concepts fire: in the nucleus, in the cytoplasm, or outside the cells.

    Parameters
    ----------
    grids : ndarray of float32, (k, n, grid, grid)
        Patch activations of k concepts in n cells.
    fractions : ndarray of float32, (n, 3, grid, grid)
        Of `mask_fractions`.
    concepts : array_like of int, (k,)
        Ids of the concepts.

    Returns
    -------
    DataFrame
        Index concept; columns `PLACES`, shares of the concept's total activation that add
        up to 1 (empty where it does not fire), and ``where``, for example
        ``nucleus 82 %``.
    """
    return shares_table(totals(grids, fractions), concepts)


def totals(grids: Float32Array, fractions: Float32Array) -> Float64Array:
    """Activation of each concept in each of `PLACES`, over the cells, (k, 3)."""
    found: Float64Array = np.einsum("kngh,npgh->kp", grids, fractions, optimize=True)
    return found.astype(np.float64)


def shares_table(found: Float64Array, concepts: npt.ArrayLike) -> pd.DataFrame:
    """`totals`, of any number of images, as `location` says them."""
    sums = found.sum(axis=1, keepdims=True)
    shares = np.divide(found, sums, out=np.full_like(found, np.nan), where=sums > 0)
    table = pd.DataFrame(
        shares, index=pd.Index(np.asarray(concepts), name="concept"), columns=list(PLACES)
    )
    table["where"] = [
        "" if np.isnan(row).any() else f"{PLACES[int(row.argmax())]} {row.max():.0%}"
        for row in shares
    ]
    return table


def _coverage(start: int, stop: int, part: slice, grid: int) -> Float32Array:
    """Share (grid, pixels of `part`) of each patch's length that each pixel covers."""
    edges = patch_edges(start, stop, grid)
    pixels = np.arange(part.start, part.stop)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    share: Float32Array = np.clip(overlap, 0, None).astype(np.float32) * grid
    return share / np.float32(stop - start)
