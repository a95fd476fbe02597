"""The part of an image that is looked at -> its cells, as a search of the whole finds them.

Scale and light are those of the whole image, settled once; what is around the part is
looked at with it, as for the tiles of a slide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.core._glass import Light, glass_light
from napari_cytosae.core._search import search_at
from napari_cytosae.core.detection import part_of
from napari_cytosae.core.morphometry import moved
from napari_cytosae.core.pyramid import as_pyramid
from napari_cytosae.core.settled_scale import settled_scale
from napari_cytosae.core.slides import MARGIN_UM, scale_of
from napari_cytosae.core.types import Cells, Image

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import CellKind, PixelSize, Progress

Box = tuple[int, int, int, int]
"""``y0, x0, y1, x1`` in pixels of the image, half-open."""

_GRID = 60
"""Parts begin at multiples of it: the search averages blocks of up to six pixels a side,
and these have to be those of the whole image."""


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """What a search settles on the whole image.

    Attributes
    ----------
    size : PixelSize
        Goes to the table.
    um : float
        Pixel size that size rules use, known or relative.
    light : Light or None
        None of a slide, whose tiles have a light each.
    """

    size: PixelSize
    um: float
    light: Light | None


def conditions_of(image: Image | Pyramid) -> Conditions:
    """Settle scale and light of an image as a search of it would.

    Raises
    ------
    ImageError, CytoError
        As `segment` and `segment_slide`.
    """
    slide = as_pyramid(image)
    if slide is not None or not isinstance(image, Image):
        return Conditions(*scale_of(image), None)
    light = glass_light(image.rgb)
    return Conditions(*settled_scale(image.rgb, image, None, light), light)


def preview(
    image: Image | Pyramid, box: Box, kinds: Sequence[CellKind], conditions: Conditions
) -> Generator[Progress, None, Cells]:
    """Find the cells of a part of an image.

    Parameters
    ----------
    image : Image or Pyramid
        That the part is of.
    box : Box
        The part.
    kinds : sequence of {"wbc", "rbc", "platelet"}
        What to find.
    conditions : Conditions
        Of the image.

    Returns
    -------
    Cells
        Those that reach into the part, measured as a whole. Label images and positions
        are those of the part, beyond which cells may reach.
    """
    um, (height, width) = conditions.um, image.shape
    margin = round(MARGIN_UM / um)
    y0, x0 = (max(0, start - margin) // _GRID * _GRID for start in box[:2])
    y1, x1 = min(height, box[2] + margin), min(width, box[3] + margin)
    light = conditions.light
    if light is not None:
        light = _light_within(light, (y0, x0, y1, x1), (height, width))
    rgb = part_of(image, y0, x0, y1, x1).rgb
    found = yield from search_at(rgb, conditions.size, um, kinds, image.name, light)
    here = slice(box[0] - y0, box[2] - y0), slice(box[1] - x0, box[3] - x0)
    labels, nuclei = np.asarray(found.labels)[here], np.asarray(found.nuclei)[here]
    there = found.table["cell_id"].isin(np.unique(labels))
    table = moved(found.table[there].reset_index(drop=True), y0 - box[0], x0 - box[1])
    return Cells(labels.copy(), nuclei.copy(), table, found.pixel_size)


def _light_within(light: Light, box: Box, shape: tuple[int, int]) -> Light:
    """The light of a part: the same surface, over its own rows and columns."""
    (y, down), (x, right) = (
        _middle_and_reach(box[axis], box[axis + 2], shape[axis]) for axis in (0, 1)
    )
    level, across, along, xx, yy, xy = light.terms
    terms = [
        level + across * x + along * y + xx * x**2 + yy * y**2 + xy * x * y,
        (across + 2 * xx * x + xy * y) * right,
        (along + 2 * yy * y + xy * x) * down,
        xx * right**2,
        yy * down**2,
        xy * right * down,
    ]
    return Light(np.stack(terms).astype(np.float32), light.noise)


def _middle_and_reach(start: int, stop: int, length: int) -> tuple[float, float]:
    """Of a part of an axis that goes from -1 to 1 over the pixels of the whole."""
    first, last = (2 * at / max(1, length - 1) - 1 for at in (start, stop - 1))
    return (first + last) / 2, (last - first) / 2
