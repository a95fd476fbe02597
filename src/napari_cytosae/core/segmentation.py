"""Smear -> cells: white cells with nuclei, red cells, platelets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.core import _scale
from napari_cytosae.core._glass import glass_light
from napari_cytosae.core._run import run
from napari_cytosae.core._search import finish, nuclei_at, search_at
from napari_cytosae.core._shape import consecutive
from napari_cytosae.core.crops import FIELD_OF_VIEW_UM
from napari_cytosae.core.settled_scale import (
    scale_for_sizes,
    scale_of_cells,
    settled_scale,
    stated,
)
from napari_cytosae.core.types import (
    CELL_KINDS,
    CellKind,
    Cells,
    CytoError,
    Image,
    ImageError,
    PixelSize,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from napari_cytosae.core.types import Int32Array, Progress, UInt8Array

__all__ = ["estimate_pixel_size", "measure", "search", "segment", "single_cell"]

_NO_STAIN = (
    "the image is no brightfield smear: the cells were taken for white cells and measured "
    "without nuclei"
)

estimate_pixel_size = _scale.estimate_pixel_size


def segment(
    image: Image | UInt8Array,
    pixel_size: float | None = None,
    kinds: Sequence[CellKind] = ("wbc",),
) -> Cells:
    """Find the cells of a smear.

    Parameters
    ----------
    image : Image or ndarray of uint8, (H, W, 3)
        The smear.
    pixel_size : float, optional
        In um; overrides what the image says. Without either it is estimated from the red
        cells in view, and where these are too few, sizes are relative to what is in view.
    kinds : sequence of {"wbc", "rbc", "platelet"}
        What to find.

    Returns
    -------
    Cells
        Ids 1..n: white cells first, then red cells, then platelets.

    Raises
    ------
    ImageError
        If the image is no brightfield smear.
    CytoError
        If a kind is unknown, or the pixel size implausible or at odds with the red cells.
    """
    return run(search(image, pixel_size, kinds))


def search(
    image: Image | UInt8Array,
    pixel_size: float | None = None,
    kinds: Sequence[CellKind] = ("wbc",),
) -> Generator[Progress, None, Cells]:
    """`segment`, step by step: between two of them the search can be given up."""
    _check_kinds(kinds)
    rgb, name = _unpack(image)
    light = glass_light(rgb)
    size, um = settled_scale(rgb, image, pixel_size, light)
    return (yield from search_at(rgb, size, um, kinds, name, light))


def measure(
    image: Image | UInt8Array,
    labels: np.ndarray,
    pixel_size: float | None = None,
    kinds: Mapping[int, CellKind] | None = None,
) -> Cells:
    """Measure cells that somebody else outlined; ids and pixels are kept.

    Where the image is no brightfield smear, they are measured without nuclei, and a note
    of the cells says so.

    Parameters
    ----------
    image : Image or ndarray of uint8, (H, W, 3)
        The smear.
    labels : ndarray of int, (H, W)
        0 is background; ids may have gaps and disjoint parts.
    pixel_size : float, optional
        In um.
    kinds : mapping of int to CellKind, optional
        Of cells whose kind is known; that of the others is told from the image.

    Raises
    ------
    CytoError
        If the labels have another shape than the image or hold other than whole numbers.
    """
    rgb, _ = _unpack(image)
    given = whole_labels(labels, rgb.shape[:2])
    try:
        size, um = settled_scale(rgb, image, pixel_size)
    except ImageError:
        size = stated(image, pixel_size)
        um = size.um or scale_of_cells(given)
    return measure_at(image, given, size, um, known=kinds)


def measure_at(
    image: Image | UInt8Array,
    labels: Int32Array,
    size: PixelSize,
    um: float | None = None,
    *,
    former: Mapping[int, CellKind] | None = None,
    known: Mapping[int, CellKind] | None = None,
) -> Cells:
    """Measure given cells at a scale that is settled, see `measure`.

    Parameters
    ----------
    image : Image or ndarray of uint8, (H, W, 3)
        The smear.
    labels : ndarray of int32, (H, W)
        As `whole_labels` returns them.
    size : PixelSize
        Goes to the table.
    um : float, optional
        Pixel size that size rules use; by default that of `size`, and where it has none
        relative to what is in view.
    former : mapping of int to CellKind, optional
        What cells were so far, by their id. They stay it, unless they have the nucleus of
        a white cell now, or had.
    known : mapping of int to CellKind, optional
        Kinds that are not told from the image.
    """
    rgb, name = _unpack(image)
    ids, own = consecutive(labels)
    um = um or scale_for_sizes(image, size)
    notes: tuple[str, ...] = ()
    try:
        nuclei, kinds = nuclei_at(rgb, own, um)
    except ImageError:
        nuclei, kinds = np.zeros_like(own), dict.fromkeys(range(1, len(ids) + 1), "wbc")
        notes = (_NO_STAIN,)
    for i, cell_id in enumerate(ids.tolist(), 1):
        was = (former or {}).get(cell_id, "wbc")
        if "wbc" not in (was, kinds[i]):
            kinds[i] = was
        kinds[i] = (known or {}).get(cell_id, kinds[i])
    cells = finish(rgb, own, nuclei, kinds, size, um, name)
    table = cells.table.assign(cell_id=ids.astype(np.int64))
    nuclei = np.where(nuclei > 0, labels, 0).astype(np.int32)
    return Cells(labels, nuclei, table, size, notes=notes)


def single_cell(image: Image | UInt8Array, pixel_size: float | None = None) -> Cells:
    """Take the whole image as the crop of one cell.

    The white cell nearest to the centre is outlined; where none is found the whole image
    is the cell.

    Parameters
    ----------
    image : Image or ndarray of uint8, (H, W, 3)
        The smear.
    pixel_size : float, optional
        In um.
    """
    rgb, name = _unpack(image)
    cells = None
    try:
        size, um = settled_scale(rgb, image, pixel_size)
        cells = segment(image, pixel_size)
    except ImageError:
        size = stated(image, pixel_size)
        um = size.um or FIELD_OF_VIEW_UM / max(rgb.shape[:2])
    labels = np.ones(rgb.shape[:2], np.int32)
    nuclei = np.zeros_like(labels)
    if cells is not None and len(cells):
        centre = (np.array(rgb.shape[:2]) - 1) / 2
        offset = cells.table[["centroid_y", "centroid_x"]].to_numpy() - centre
        nearest = int(cells.table.cell_id.iloc[np.hypot(*offset.T).argmin()])
        labels = (np.asarray(cells.labels) == nearest).astype(np.int32)
        nuclei = (np.asarray(cells.nuclei) == nearest).astype(np.int32)
    return finish(rgb, labels, nuclei, {1: "wbc"}, size, um, name, single=True)


def _unpack(image: Image | UInt8Array) -> tuple[UInt8Array, str]:
    rgb = image.rgb if isinstance(image, Image) else np.asarray(image)
    name = image.name if isinstance(image, Image) else "image"
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ImageError(
            f"Expected a uint8 RGB image of shape (H, W, 3), got {rgb.dtype} "
            f"{rgb.shape}: pass it through napari_cytosae.core.images.as_image first."
        )
    return rgb, name


def _check_kinds(kinds: Sequence[CellKind]) -> None:
    unknown = [kind for kind in kinds if kind not in CELL_KINDS]
    if unknown or not kinds:
        raise CytoError(
            f"Unknown kind of cell {', '.join(map(repr, unknown)) or '(none)'}: choose "
            f"from {', '.join(CELL_KINDS)}."
        )


def whole_labels(labels: np.ndarray, shape: tuple[int, ...]) -> Int32Array:
    """Labels of any number type as int32.

    Raises
    ------
    CytoError
        If they have another shape than `shape` or hold other than whole numbers.
    """
    labels = np.asarray(labels)
    if labels.shape != shape:
        raise CytoError(
            f"The labels have shape {labels.shape}, the image {shape}: give those of this "
            "image, one for each of its pixels."
        )
    if labels.dtype.kind not in "biuf" or not np.isfinite(labels).all():
        raise CytoError("The labels are not whole numbers: choose an integer label image.")
    whole = labels.astype(np.int64)
    if not np.array_equal(whole, labels) or whole.min() < 0 or whole.max() > 2**31 - 1:
        raise CytoError(
            "The labels are not whole numbers from 0 to 2147483647: choose an integer "
            "label image with 0 for the background."
        )
    return whole.astype(np.int32)
