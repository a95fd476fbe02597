"""The cells of the gallery: which, in what order, with what caption; no Qt, no napari."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_cytosae.core.types import Progress
from napari_cytosae.widgets import _scopes
from napari_cytosae.widgets._concept_tasks import some_cells

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Sequence

    import numpy as np
    import numpy.typing as npt
    from scipy.sparse import csr_array

    from napari_cytosae.core.models import Models
    from napari_cytosae.core.types import (
        Cells,
        Crops,
        Encoded,
        Float32Array,
        UInt8Array,
    )
    from napari_cytosae.session import Session
    from napari_cytosae.session_values import Place


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A concept's activation in the patches of one cell, and its scale and colour."""

    grid: Float32Array
    top: float
    colour: str


@dataclass(frozen=True, slots=True, eq=False)
class GalleryImage:
    """An image whose cells may be shown.

    Attributes
    ----------
    name : str
        Said beside each cell; empty for the image that is looked at.
    rows : ndarray of int64
        Rows of `encoded` that may be shown; no others count.
    """

    sha256: str
    name: str
    cells: Cells
    crops: Crops
    encoded: Encoded
    rows: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class GalleryWork:
    """What `fill` needs, read from the session before it starts.

    Attributes
    ----------
    images : sequence of GalleryImage
        That which is looked at first.
    concept : int or None
        Cells that drive it most come first, silent ones are left out; without a concept
        all are shown as they lie there.
    examples : sequence of Place
        Cells of these images; where there are any, all others follow by their likeness to
        these.
    colour : str
        In which `concept` is drawn into the cells; empty where it is not.
    """

    models: Models
    images: Sequence[GalleryImage]
    concept: int | None
    examples: Sequence[Place]
    colour: str


@dataclass(frozen=True, slots=True, eq=False)
class Thumbnail:
    """One cell of the gallery.

    Attributes
    ----------
    key : hashable
        What tells it from all others.
    crop : ndarray of uint8, (h, w, 3), or None
        None where the picture is not here.
    caption : str
        Short, below the picture.
    tooltip : str
    draw : callable or None
        Makes what is laid over the cell; called when it is first seen.
    words : str
        Shown in place of a picture that is not here.
    """

    key: Hashable
    crop: UInt8Array | None
    caption: str = ""
    tooltip: str = ""
    draw: Callable[[], Drawn] | None = None
    words: str = ""


def images_of(session: Session, *, others: bool) -> list[GalleryImage]:
    """The image that is looked at, and the others that are searched, all encoded."""
    assert session.image is not None
    front, shown = session.image.sha256, []
    for sha256, (of, rows) in _scopes.searched(session, others=others).items():
        assert of.cells is not None
        assert of.crops is not None
        assert of.encoded is not None
        name = "" if sha256 == front else _scopes.cells_name(of.cells)
        shown.append(GalleryImage(sha256, name, of.cells, of.crops, of.encoded, rows))
    return shown


def none() -> Generator[Progress, None, tuple[Thumbnail, ...]]:
    """No cells at all."""
    yield Progress("Looking for cells", 0, 0)
    return ()


def fill(work: GalleryWork) -> Generator[Progress, None, tuple[Thumbnail, ...]]:
    """The cells that `work` asks for, in order, each with its caption."""
    yield Progress("Looking for cells", 0, 0)
    import numpy as np

    from napari_cytosae.core.overlay import robust_scale

    starts = np.cumsum([0, *(len(image.encoded) for image in work.images)])
    rows, values = _ordered(work, starts)
    examples = set(work.examples)
    top = 0.0
    if work.concept is not None and work.colour:
        # The scale is that of all cells, shown or not.
        top = robust_scale(_stacked(work, "max", work.concept).tocsc())[1]
    qc = [image.cells.table.set_index("cell_id")["qc"].to_dict() for image in work.images]
    thumbnails = []
    of_image = np.searchsorted(starts, rows, side="right") - 1
    for row, value, number in zip(
        rows.tolist(), values.tolist(), of_image.tolist(), strict=True
    ):
        image, inside = work.images[number], row - int(starts[number])
        cell_id = int(image.encoded.cell_ids[inside])
        caption, tooltip = str(cell_id), f"Cell {cell_id}, {qc[number].get(cell_id, '')}"
        if image.name:
            tooltip = f"{image.name}: {tooltip}"
        if examples:
            example = (image.sha256, cell_id) in examples
            caption = "example" if example else f"{value:.2f}"
            tooltip += "" if example else f"; {value:.0%} like the examples"
        elif work.concept is not None:
            caption, tooltip = f"{value:.2f}", f"{tooltip}; strongest patch {value:.3g}"
        draw = _drawing(work, image.encoded, inside, top) if top else None
        crop = image.crops.images[inside]
        thumbnails.append(Thumbnail((image.sha256, cell_id), crop, caption, tooltip, draw))
    return tuple(thumbnails)


def _ordered(
    work: GalleryWork, starts: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Rows, counted through all images, as they are shown, and what puts them there."""
    import numpy as np

    from napari_cytosae.core.enrichment import enriched, likeness

    there = np.concatenate(
        [start + image.rows for start, image in zip(starts, work.images, strict=False)]
    )
    examples = _rows_of_examples(work, starts)
    if len(examples):
        # Cells that are not shown do not count, as in the table.
        mean, chosen = _stacked(work, "mean")[there], np.isin(there, examples)
        score = likeness(mean, chosen, enriched(mean, chosen))
        values = dict(zip(there.tolist(), score.tolist(), strict=True))
        others = there[~chosen][np.argsort(-score[~chosen], kind="stable")]
        order = np.concatenate([examples, others])
        return order, np.array([values[row] for row in order.tolist()])
    if work.concept is None:
        return there, np.full(len(there), np.nan)
    column = np.asarray(_stacked(work, "max", work.concept).todense())
    strongest = column.ravel()[there].astype(np.float64)
    order = np.argsort(-strongest, kind="stable")
    order = order[strongest[order] > 0]
    return there[order], strongest[order]


def _rows_of_examples(
    work: GalleryWork, starts: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Those of the examples that are shown, in their order, counted through all images."""
    import numpy as np

    rows = {
        (image.sha256, int(image.encoded.cell_ids[row])): int(start) + row
        for start, image in zip(starts, work.images, strict=False)
        for row in image.rows.tolist()
    }
    return np.array([rows[p] for p in work.examples if p in rows], np.int64)


def _stacked(work: GalleryWork, name: str, concept: int | None = None) -> csr_array:
    """One of the statistics of the cells of all images, or one concept's column of it."""
    from scipy import sparse

    parts = [getattr(image.encoded.activations, name) for image in work.images]
    if concept is not None:
        parts = [part[:, [concept]] for part in parts]
    return sparse.csr_array(sparse.vstack(parts, format="csr"))


def _drawing(
    work: GalleryWork, encoded: Encoded, row: int, top: float
) -> Callable[[], Drawn]:
    """How to draw the concept into one cell."""
    concept = work.concept
    assert concept is not None

    def draw() -> Drawn:
        cell = some_cells(encoded, slice(row, row + 1))
        grid = work.models.concept_grids(cell, [concept])[0, 0]
        return Drawn(grid, top, work.colour)

    return draw
