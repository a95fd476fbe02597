"""The pixel size of an image, settled: stated, estimated or relative to what is seen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.core import _scale, _white
from napari_cytosae.core._glass import shrink
from napari_cytosae.core._shape import consecutive
from napari_cytosae.core._stain import stain
from napari_cytosae.core.types import CytoError, Image, PixelSize

if TYPE_CHECKING:
    from napari_cytosae.core._glass import Light
    from napari_cytosae.core.types import Int32Array, UInt8Array

_NORMAL_CELL_UM2 = 110.0
"""Of a white cell on a smear, 12 um wide."""


def settled_scale(
    rgb: UInt8Array,
    image: Image | UInt8Array,
    user: float | None,
    light: Light | None = None,
) -> tuple[PixelSize, float]:
    """Pixel size to report, and the one (um) that size rules use.

    The `light` through the glass is found where it is not known.

    Raises
    ------
    CytoError
        If the pixel size is implausible or at odds with the red cells in view.
    """
    size = stated(image, user)
    if size.um is not None and not 0.01 <= size.um <= 5:
        whose = "" if size.source == "user" else f" ({size.source})"
        raise CytoError(
            f"A pixel size of {size.um:g} um{whose} is implausible for a smear (0.01 to 5 "
            "um expected): check the unit."
        )
    seen = _scale.scale_in_view(rgb, light)
    if size.um is not None:
        if seen.um is not None and seen.contradicts(size.um):
            width = _scale.RED_CELL_UM * size.um / seen.um
            raise CytoError(
                f"At {size.um:g} um a pixel the {seen.count} red cells in view would be "
                f"{width:.2g} um wide: correct the pixel size (about {seen.um:.2g} um "
                "fits) or leave it out."
            )
        return replace(size, seen_um=seen.um if seen.sure else None), size.um
    if seen.um is not None and seen.told:
        return PixelSize(seen.um, "estimated", seen.spread, seen.count), seen.um
    return PixelSize(None, "relative", None, seen.count), _relative_scale(rgb, seen)


def scale_for_sizes(image: Image | UInt8Array, size: PixelSize) -> float:
    """Pixel size (um) that size rules use: of `size`, or relative to what is in view."""
    if size.um is not None:
        return size.um
    rgb = image.rgb if isinstance(image, Image) else image
    return _relative_scale(rgb, _scale.scale_in_view(rgb))


def stated(image: Image | UInt8Array, user: float | None) -> PixelSize:
    """The pixel size that the user (um), or else the image says; unknown without."""
    if user is not None:
        return PixelSize(float(user), "user")
    return image.pixel_size if isinstance(image, Image) else PixelSize()


def scale_of_cells(labels: Int32Array) -> float:
    """Pixel size (um) that gives given cells the area of a normal white cell."""
    areas = np.bincount(consecutive(labels)[1].ravel())[1:]
    return float(np.sqrt(_NORMAL_CELL_UM2 / np.median(areas))) if areas.size else 0.15


def _relative_scale(rgb: UInt8Array, seen: _scale.Seen) -> float:
    """Pixel size (um) that size rules use where the true one cannot be told.

    Red cells too few to tell it come nearer to it than nuclei, which differ more.
    """
    if seen.um is not None:
        return seen.um
    factor = _scale.overview_factor(rgb)
    return (_white.nuclear_scale(stain(shrink(rgb, factor))) or 0.15) / factor
