"""Overlays as OME-TIFF, a channel a concept, at the slide's scale, with a pyramid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from PIL import ImageColor

from napari_cytosae.core.files import atomic_file
from napari_cytosae.core.label_blocks import BLOCK
from napari_cytosae.core.overlay import SMALLEST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from napari_cytosae.core._panel import FigureConcept
    from napari_cytosae.core.types import Float32Array


def write_ome(
    path: Path | str, shown: Sequence[FigureConcept], um: float | None = None
) -> None:
    """Write activation maps as float32 channels ``<id> <name>`` of one OME-TIFF.

    Parameters
    ----------
    path : path-like
        Ends in ``.ome.tif``; replaced only when the new file is complete.
    shown : sequence of FigureConcept
        At least one, all on the same slide; their colours are the channels'.
    um : float, optional
        Micrometres a pixel.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    height, width = shown[0].overlay.shape
    steps = [1]
    while max(height, width) / steps[-1] > 2 * SMALLEST:
        steps.append(2 * steps[-1])
    metadata: dict[str, Any] = {
        "axes": "CYX",
        "Channel": {
            "Name": [each.title for each in shown],
            "Color": [_ome_colour(each.colour) for each in shown],
        },
    }
    if um:
        metadata |= {
            "PhysicalSizeX": um,
            "PhysicalSizeY": um,
            "PhysicalSizeXUnit": "\N{MICRO SIGN}m",
            "PhysicalSizeYUnit": "\N{MICRO SIGN}m",
        }
    bigtiff = height * width * 4 * len(shown) * 4 / 3 > 2**32 - 2**25
    with (
        atomic_file(path) as temporary,
        tifffile.TiffWriter(temporary, ome=True, bigtiff=bigtiff) as writer,
    ):
        for level, step in enumerate(steps):
            size = -(-height // step), -(-width // step)
            writer.write(
                _tiles(shown, step),
                shape=(len(shown), *size),
                dtype=np.float32,
                photometric="minisblack",
                tile=(BLOCK, BLOCK),
                compression="zlib",
                subifds=len(steps) - 1 if level == 0 else None,
                subfiletype=1 if level else None,
                metadata=metadata if level == 0 else None,
                resolution=(1e4 / um / step, 1e4 / um / step) if um else None,
                resolutionunit="CENTIMETER" if um else None,
            )


def _tiles(shown: Sequence[FigureConcept], step: int) -> Iterator[Float32Array]:
    """The tiles of all channels, row by row, one at a time."""
    height, width = shown[0].overlay.shape
    side = BLOCK * step
    for each in shown:
        for y in range(0, height, side):
            for x in range(0, width, side):
                bottom, right = min(y + side, height), min(x + side, width)
                yield each.overlay.region(y, x, bottom, right, step)


def _ome_colour(colour: str) -> int:
    """RGBA as the signed 32-bit number of OME."""
    red, green, blue = ImageColor.getrgb(colour)[:3]
    return int(np.array([255, blue, green, red], np.uint8).view("<i4")[0])
