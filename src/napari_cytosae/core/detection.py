"""An image, small or large -> its cells, as a long job.

The interface, the command line and `core.pipeline` drive it; it loads no torch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from napari_cytosae.core import segmentation
from napari_cytosae.core._given import kinds_among, measure_slide
from napari_cytosae.core.pyramid import Pyramid, as_pyramid
from napari_cytosae.core.slides import segment_slide
from napari_cytosae.core.types import CytoError, Image, Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from napari_cytosae.core._given import GivenLabels
    from napari_cytosae.core.types import CellKind, Cells, Int32Array, UInt8Array

Whole = TypeVar("Whole", bound="Image | UInt8Array")


def find_cells(
    image: Image | Pyramid | UInt8Array,
    pixel_size: float | None = None,
    kinds: Sequence[CellKind] = ("wbc",),
    *,
    labels: Int32Array | GivenLabels | None = None,
    classes: Mapping[int, str] | None = None,
    single_cell: bool = False,
) -> Generator[Progress, None, Cells]:
    """Find the cells of an image, or take them as they are given.

    Beyond `LARGE_PIXELS` the search goes tile by tile.

    Parameters
    ----------
    image : Image, Pyramid or ndarray of uint8, (H, W, 3)
        The smear, one cell, or a slide.
    pixel_size : float, optional
        In um; overrides what the image says.
    kinds : sequence of {"wbc", "rbc", "platelet"}
        To look for, where the cells are not given.
    labels : ndarray of int, (H, W), optional
        Cells that somebody else outlined: measured, not searched. Of a slide they may
        be read lazily.
    classes : mapping of int to str, optional
        What somebody else called them, by label; those that are no kind of cell are noted.
    single_cell : bool
        The whole image is one cell.

    Yields
    ------
    Progress
        Before the work, and before each of its steps; of a slide after each tile.

    Returns
    -------
    Cells

    Raises
    ------
    ImageError, CytoError
        As the functions of `core.segmentation`, or when a slide is said to be one cell.
    """
    slide = None if isinstance(image, np.ndarray) else as_pyramid(image)
    if slide is not None and labels is None and not single_cell:
        return (yield from segment_slide(slide, pixel_size, kinds))
    known, notes = kinds_among(classes or {})
    if isinstance(image, Pyramid) and labels is not None:
        cells = yield from measure_slide(image, labels, pixel_size, known)
        return replace(cells, notes=notes)
    whole = require_whole(image)
    yield Progress("Segmenting", 0, 0)
    if labels is not None:
        cells = segmentation.measure(whole, np.asarray(labels), pixel_size, known)
        return replace(cells, notes=notes)
    if single_cell:
        return segmentation.single_cell(whole, pixel_size)
    return (yield from segmentation.search(whole, pixel_size, kinds))


def part_of(image: Image | Pyramid, y0: int, x0: int, y1: int, x1: int) -> Image:
    """Rows `y0` to `y1` and columns `x0` to `x1` (half-open), read at full resolution."""
    pixels = image.levels[0] if isinstance(image, Pyramid) else image.rgb
    rgb = np.ascontiguousarray(pixels[y0:y1, x0:x1])
    return Image(rgb, image.name, image.pixel_size, image.sha256)


def require_whole(image: Whole | Pyramid) -> Whole:
    """The image, unless it is a slide.

    Raises
    ------
    CytoError
        For a slide: it is no single cell.
    """
    if isinstance(image, Pyramid):
        raise CytoError(
            f"{image.name} is too large to be one cell: cut out a region of at most "
            "4096 x 4096 px."
        )
    return image
