"""The cells of the gallery: which, in what order, with what caption; no Qt, no napari."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_cytosae.core.types import Progress

if TYPE_CHECKING:
    from collections.abc import Generator

    import numpy as np
    import numpy.typing as npt

    from napari_cytosae.core.types import Cells, Crops, Encoded, UInt8Array

GALLERY_CELLS = 500


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
    """

    cell_id: int
    crop: UInt8Array
    caption: str = ""
    tooltip: str = ""


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


def fill(
    encoded: Encoded,
    crops: Crops,
    cells: Cells,
    rows: npt.NDArray[np.int64],
    concept: int | None,
) -> Generator[Progress, None, Shelf]:
    """The cells in `rows`, those that drive `concept` most first, silent ones left out.

    Without a concept, all of them as they lie in `rows`.
    """
    import numpy as np

    yield Progress("Looking for cells", 0, 0)
    strongest = np.full(len(rows), np.nan)
    if concept is not None:
        column = encoded.activations.max[:, [concept]]
        strongest = np.asarray(column.todense()).ravel()[rows]
        order = np.argsort(-strongest, kind="stable")
        order = order[strongest[order] > 0]
        rows, strongest = rows[order], strongest[order]
    qc = dict(zip(cells.table["cell_id"], cells.table["qc"], strict=True))
    thumbnails = []
    for row, top in zip(rows[:GALLERY_CELLS], strongest, strict=False):
        cell_id = int(encoded.cell_ids[row])
        caption, tooltip = str(cell_id), f"Cell {cell_id}, {qc.get(cell_id, '')}"
        if concept is not None:
            caption, tooltip = f"{top:.2f}", f"{tooltip}; strongest patch {top:.3g}"
        thumbnails.append(Thumbnail(cell_id, crops.images[row], caption, tooltip))
    return Shelf(tuple(thumbnails), len(rows))
