"""The cells of the gallery: which, in what order, with what caption; no Qt, no napari."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_cytosae.core.types import Progress
from napari_cytosae.widgets._concept_tasks import some_cells

if TYPE_CHECKING:
    from collections.abc import Generator

    import numpy as np
    import numpy.typing as npt

    from napari_cytosae.core.models import Models
    from napari_cytosae.core.types import (
        Cells,
        Crops,
        Encoded,
        Float32Array,
        UInt8Array,
    )

GALLERY_CELLS = 500


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A concept's activation in the patches of one cell, and its scale and colour."""

    grid: Float32Array
    top: float
    colour: str


@dataclass(frozen=True, slots=True, eq=False)
class GalleryWork:
    """What `fill` needs, read from the session before it starts.

    Attributes
    ----------
    rows : ndarray of int64
        Rows of `encoded` to show.
    concept : int or None
        Those that drive it most come first, silent ones are left out; without a concept all
        of `rows` are shown as they lie there.
    examples : ndarray of int64
        Rows of cells; where there are any, all others follow by their likeness to these.
    colour : str
        In which `concept` is drawn into the cells; empty where it is not.
    """

    models: Models
    encoded: Encoded
    crops: Crops
    cells: Cells
    rows: npt.NDArray[np.int64]
    concept: int | None
    examples: npt.NDArray[np.int64]
    colour: str


@dataclass(frozen=True, slots=True, eq=False)
class Thumbnail:
    """One cell of the gallery.

    Attributes
    ----------
    cell_id : int
    crop : ndarray of uint8, (h, w, 3)
    caption : str
        Short, below the picture.
    tooltip : str
    drawn : Drawn or None
        What is laid over the cell.
    """

    cell_id: int
    crop: UInt8Array
    caption: str = ""
    tooltip: str = ""
    drawn: Drawn | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """Result of `fill`.

    Attributes
    ----------
    thumbnails : tuple of Thumbnail
        At most `GALLERY_CELLS`.
    n_cells : int
        Cells there are, shown or not.
    """

    thumbnails: tuple[Thumbnail, ...]
    n_cells: int


def fill(work: GalleryWork) -> Generator[Progress, None, Shelf]:
    """The cells that `work` asks for, in order, each with its caption."""
    yield Progress("Looking for cells", 0, 0)
    rows, values = _ordered(work)
    shown = rows[:GALLERY_CELLS]
    drawn = _drawn(work, shown)
    qc = dict(zip(work.cells.table["cell_id"], work.cells.table["qc"], strict=True))
    thumbnails = []
    for index, (row, value) in enumerate(zip(shown, values, strict=False)):
        cell_id = int(work.encoded.cell_ids[row])
        caption, tooltip = str(cell_id), f"Cell {cell_id}, {qc.get(cell_id, '')}"
        if len(work.examples):
            example = row in work.examples
            caption = "example" if example else f"{value:.2f}"
            tooltip += "" if example else f"; {value:.0%} like the examples"
        elif work.concept is not None:
            caption, tooltip = f"{value:.2f}", f"{tooltip}; strongest patch {value:.3g}"
        thumbnails.append(
            Thumbnail(cell_id, work.crops.images[row], caption, tooltip, drawn[index])
        )
    return Shelf(tuple(thumbnails), len(rows))


def _ordered(work: GalleryWork) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Rows in the order they are shown, and the number that puts them there."""
    import numpy as np

    from napari_cytosae.core.enrichment import enriched, likeness

    activations = work.encoded.activations
    if len(work.examples):
        wanted = enriched(activations.mean, work.examples)
        score = likeness(activations.mean, work.examples, wanted)
        others = np.setdiff1d(work.rows, work.examples)
        others = others[np.argsort(-score[others], kind="stable")]
        order = np.concatenate([work.examples, others])
        return order, score[order]
    if work.concept is None:
        return work.rows, np.full(len(work.rows), np.nan)
    column = activations.max[:, [work.concept]]
    strongest = np.asarray(column.todense()).ravel()[work.rows].astype(np.float64)
    order = np.argsort(-strongest, kind="stable")
    order = order[strongest[order] > 0]
    return work.rows[order], strongest[order]


def _drawn(work: GalleryWork, rows: npt.NDArray[np.int64]) -> list[Drawn | None]:
    """What is laid over the cells in `rows`."""
    if work.concept is None or not work.colour or not len(rows):
        return [None] * len(rows)
    from napari_cytosae.core.overlay import robust_scale

    some = some_cells(work.encoded, rows)
    grids = work.models.concept_grids(some, [work.concept])[0]
    # The scale is that of all cells, shown or not.
    top = robust_scale(work.encoded.activations.max[:, [work.concept]].tocsc())[1]
    return [Drawn(grid, top, work.colour) for grid in grids]
