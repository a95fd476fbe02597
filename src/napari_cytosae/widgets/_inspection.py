"""What is under the cursor: the concepts of one patch; no Qt, no napari."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.core.types import Progress
from napari_cytosae.widgets._concept_tasks import some_cells

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_cytosae.core.models import Models
    from napari_cytosae.core.types import Encoded, Float32Array, UInt8Array

CONCEPTS_SHOWN = 5


@dataclass(frozen=True, slots=True, eq=False)
class CellMaps:
    """All concepts that fire in one cell.

    Attributes
    ----------
    cell_id : int
    concepts : list of int
    grids : ndarray of float32, (k, grid, grid)
    """

    cell_id: int
    concepts: list[int]
    grids: Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """One patch.

    Attributes
    ----------
    cell_id, row, column : int
    concepts : tuple of (concept, title, activation)
        The strongest first; titles are HTML.
    crop : ndarray of uint8, (h, w, 3)
        The cell.
    grid : ndarray of float32, (grid, grid), or None
        Map of the strongest concept.
    top : float
        Its strongest activation in the cell.
    """

    cell_id: int
    row: int
    column: int
    concepts: tuple[tuple[int, str, float], ...]
    crop: UInt8Array
    grid: Float32Array | None
    top: float


def cell_maps(
    models: Models, encoded: Encoded, row: int
) -> Generator[Progress, None, CellMaps]:
    """Maps of every concept that fires in the cell in `row`."""
    yield Progress("Looking at a cell", 0, 1)
    present = encoded.activations.max[[row]].indices.tolist()
    grids = np.zeros((0, models.grid, models.grid), np.float32)
    if present:
        grids = models.concept_grids(some_cells(encoded, slice(row, row + 1)), present)[
            :, 0
        ]
    return CellMaps(int(encoded.cell_ids[row]), present, grids)


def inspect(
    maps: CellMaps, patch: tuple[int, int], crop: UInt8Array, title_of: Callable[[int], str]
) -> Inspection:
    """The strongest concepts of one patch."""
    values = maps.grids[:, patch[0], patch[1]]
    order = np.argsort(-values, kind="stable")[:CONCEPTS_SHOWN]
    found = [int(i) for i in order if values[i] > 0]
    concepts = tuple(
        (maps.concepts[i], escape(title_of(maps.concepts[i])), float(values[i]))
        for i in found
    )
    grid = maps.grids[found[0]] if found else None
    top = float(grid.max()) if grid is not None else 1.0
    return Inspection(maps.cell_id, *patch, concepts, crop, grid, top)
