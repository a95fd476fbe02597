"""What is under the cursor: the concepts of one patch; no Qt, no napari."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.core.types import Progress
from napari_cytosae.session_values import OVERLAY_COLOURS
from napari_cytosae.widgets._concept_tasks import some_cells

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

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
class ShownMap:
    """The concept that is drawn over the cell, its map, and the colour.

    Attributes
    ----------
    title : str
    grid : ndarray of float32, (grid, grid)
    top : float
        Its strongest activation in the cell.
    colour : str
    """

    title: str
    grid: Float32Array
    top: float
    colour: str


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
    shown : ShownMap or None
        None where none fires in the patch, and the selected one not in the cell.
    """

    cell_id: int
    row: int
    column: int
    concepts: tuple[tuple[int, str, float], ...]
    crop: UInt8Array
    shown: ShownMap | None


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
    maps: CellMaps,
    patch: tuple[int, int],
    crop: UInt8Array,
    title_of: Callable[[int], str],
    selected: int | None,
    colours: Mapping[int, str],
) -> Inspection:
    """The strongest concepts of one patch, and a map on the whole cell.

    It is that of the selected concept where that fires in the cell, else of the patch's
    strongest, and in the colour that the concept has over the slide.
    """
    values = maps.grids[:, patch[0], patch[1]]
    order = np.argsort(-values, kind="stable")[:CONCEPTS_SHOWN]
    found = [int(i) for i in order if values[i] > 0]
    concepts = tuple(
        (maps.concepts[i], escape(title_of(maps.concepts[i])), float(values[i]))
        for i in found
    )
    shown = None
    if selected in maps.concepts:
        shown = maps.concepts.index(selected)
    elif found:
        shown = found[0]
    if shown is None:
        return Inspection(maps.cell_id, *patch, concepts, crop, None)
    concept, grid = maps.concepts[shown], maps.grids[shown]
    colour = colours.get(concept, OVERLAY_COLOURS[0])
    drawn = ShownMap(title_of(concept), grid, float(grid.max()) or 1.0, colour)
    return Inspection(maps.cell_id, *patch, concepts, crop, drawn)
