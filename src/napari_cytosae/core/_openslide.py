"""Scanners' own formats, through OpenSlide where it is installed."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cytosae.core._level import Level, Levels
from napari_cytosae.core.types import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_cytosae.core.types import UInt8Array


def is_openslide(path: Path) -> bool:
    """Whether OpenSlide is here and knows the file's format."""
    try:
        import openslide
    except (ImportError, OSError):  # the module without its library
        return False
    return openslide.OpenSlide.detect_format(str(path)) is not None


@contextmanager
def openslide_levels(path: Path) -> Iterator[Levels]:
    """Open a slide for reading, at all its resolutions.

    Raises
    ------
    ImageError
        If OpenSlide cannot open it.
    """
    import openslide

    try:
        slide = openslide.OpenSlide(str(path))
    except openslide.OpenSlideError as error:
        raise ImageError(f"{path.name} cannot be opened by OpenSlide: {error}.") from error
    with slide:
        stated = slide.properties.get(openslide.PROPERTY_NAME_MPP_X)
        levels = [Level(_Regions(slide, i), "YXS") for i in range(slide.level_count)]
        yield Levels(tuple(levels), float(stated) if stated else None)


@dataclass(frozen=True, slots=True, eq=False)
class _Regions:
    """One resolution of an OpenSlide, sliced like an array of RGB."""

    slide: Any
    level: int

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        return np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, int, int]:
        width, height = self.slide.level_dimensions[self.level]
        return height, width, 3

    def __getitem__(self, key: tuple[slice, slice, slice]) -> UInt8Array:
        (y0, y1, _), (x0, x1, _) = (
            part.indices(length) for part, length in zip(key, self.shape[:2], strict=False)
        )
        scale = self.slide.level_downsamples[self.level]
        place = (round(x0 * scale), round(y0 * scale))
        pixels = np.asarray(self.slide.read_region(place, self.level, (x1 - x0, y1 - y0)))
        # What was not scanned is transparent black; glass is what it stands for.
        rgb: UInt8Array = np.where(pixels[..., 3:] > 0, pixels[..., :3], np.uint8(255))
        return rgb
