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

Place = tuple[str, int]
"""A cell of some image: the image's sha256, and the cell's id."""


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
        Rows of `encoded` that may be shown.
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
    examples : ndarray of int64
        Rows of cells of the first image; where there are any, all others follow by their
        likeness to these.
    colour : str
        In which `concept` is drawn into the cells; empty where it is not.
    """

    models: Models
    images: Sequence[GalleryImage]
    concept: int | None
    examples: npt.NDArray[np.int64]
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
    """The image that is looked at, whose cells are encoded, and the other encoded ones."""
    image, cells, crops = session.image, session.cells, session.crops
    encoded = session.encoded
    assert image is not None
    assert cells is not None
    assert crops is not None
    assert encoded is not None
    shown = [GalleryImage(image.sha256, "", cells, crops, encoded, session.rows())]
    if others:
        shown += [
            GalleryImage(
                sha256,
                _scopes.cells_name(of),
                of,
                seen,
                made,
                _scopes.shown_rows(session, of, made),
            )
            for sha256, (of, seen, made) in session.encoded_images().items()
            if sha256 != image.sha256
        ]
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
    examples = set(work.examples.tolist())
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
            example = row in examples
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
    if len(work.examples):
        mean = _stacked(work, "mean")
        score = likeness(mean, work.examples, enriched(mean, work.examples))
        others = np.setdiff1d(there, work.examples)
        others = others[np.argsort(-score[others], kind="stable")]
        order = np.concatenate([work.examples, others])
        return order, score[order]
    if work.concept is None:
        return there, np.full(len(there), np.nan)
    column = np.asarray(_stacked(work, "max", work.concept).todense())
    strongest = column.ravel()[there].astype(np.float64)
    order = np.argsort(-strongest, kind="stable")
    order = order[strongest[order] > 0]
    return there[order], strongest[order]


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
