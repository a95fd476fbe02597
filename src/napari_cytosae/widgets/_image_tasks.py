"""A layer of the viewer -> the image that is analysed; a generator, no Qt, no napari."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cytosae.core.drawn import DRAWN
from napari_cytosae.core.types import LARGE_PIXELS, CytoError, Progress

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import Image, PixelSize


@dataclass(frozen=True, slots=True, eq=False)
class LayerPixels:
    """What a layer holds, read on the GUI thread before a task starts.

    Attributes
    ----------
    levels : tuple of array
        The finest first; but one where it is no pyramid.
    name : str
    path : str or None
        The file it came from.
    size : PixelSize
        By the layer's metadata or scale.
    rgb : bool
        Whether the last axis is colour; a layer shows it as rows or columns otherwise.
    known : Image or Pyramid or None
        What it was read as before, with the file's name and sha256.
    drawn : bool
        A built-in sample.
    """

    levels: tuple[Any, ...]
    name: str
    path: str | None
    size: PixelSize
    rgb: bool
    known: Image | Pyramid | None = None
    drawn: bool = False


def open_image(pixels: LayerPixels) -> Generator[Progress, None, Image | Pyramid]:
    """The layer as an `Image`, with its pixel size and where that came from.

    Beyond `LARGE_PIXELS` it is a `Pyramid`, of which nothing is read before it is needed.

    A layer that still shows its file as it is on disk is that file: same name, same
    sha256 and same metadata as the command line would see.
    """
    import numpy as np

    from napari_cytosae.core._level import read
    from napari_cytosae.core.images import as_image, read_image

    yield Progress("Reading", 0, 0, "images")
    if pixels.known is not None:
        # What an analyst typed can be taken back; the session remembers it.
        typed = pixels.known.pixel_size.source == "user"
        return replace(pixels.known, pixel_size=pixels.size) if typed else pixels.known
    name = pixels.name if pixels.path is None else Path(pixels.path).name
    finest = pixels.levels[0]
    if not pixels.rgb and len(finest.shape) > 2:
        sides = " x ".join(map(str, finest.shape))
        raise CytoError(
            f"{name} is a stack of {sides} without colour; "
            "choose a flat layer, or add it again as an RGB image if an axis is colour."
        )
    if finest.shape[0] * finest.shape[1] > LARGE_PIXELS and finest.dtype == np.uint8:
        return _slide(pixels, name)
    image = as_image(read(finest), name)
    if pixels.drawn:
        image = replace(image, notes=(*image.notes, DRAWN))
    if pixels.path is not None and Path(pixels.path).is_file():
        try:
            on_disk = read_image(pixels.path)
        except CytoError:
            on_disk = None
        if on_disk is not None and np.array_equal(on_disk.rgb, image.rgb):
            image = on_disk
    yield Progress("Reading", 1, 2, "images")
    if image.pixel_size.um is None and pixels.size.um is not None:
        return replace(image, pixel_size=pixels.size)
    if image.pixel_size.um is None:
        from napari_cytosae.core.segmentation import estimate_pixel_size

        try:
            return replace(image, pixel_size=estimate_pixel_size(image.rgb))
        except CytoError:
            # No smear to measure on; the image may still be one cell, or have labels.
            return image
    return image


def _slide(pixels: LayerPixels, name: str) -> Pyramid:
    """A layer too large to be copied; its file says what the layer does not."""
    from napari_cytosae.core._level import Level
    from napari_cytosae.core.pyramid import Pyramid, open_image
    from napari_cytosae.core.slides import scale_of

    axes = "YXS" if pixels.rgb else "YX"
    slide = Pyramid.of([Level(level, axes) for level in pixels.levels], name, pixels.size)
    if pixels.path is not None and Path(pixels.path).exists():
        try:
            with open_image(pixels.path) as on_disk:
                if on_disk.shape == slide.shape:
                    size = on_disk.pixel_size if on_disk.pixel_size.um else pixels.size
                    path = Path(pixels.path)
                    slide = replace(
                        slide, pixel_size=size, sha256=on_disk.sha256, path=path
                    )
        except CytoError:
            pass  # not the layer's file after all
    if slide.pixel_size.um is not None:
        return slide
    try:
        return replace(slide, pixel_size=scale_of(slide)[0])
    except CytoError:
        return slide
