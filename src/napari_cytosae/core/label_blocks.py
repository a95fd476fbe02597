"""A label image of a slide, kept in compressed blocks and read where it is sliced."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from napari_cytosae.core._label_level import label_levels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_cytosae.core._label_level import LabelLevel
    from napari_cytosae.core.types import Int32Array

BLOCK = 256
"""Side in px of a block, and of the tiles of a TIFF file."""


class LabelBlocks:
    """Labels of a slide (H, W), int32; 0 where nothing has been written.

    Blocks are the zlib-compressed tiles of a TIFF file, and those without a label are not
    kept: 20,000 x 20,000 px, 1.6 GB as an array, take some MB.

    Parameters
    ----------
    shape : (int, int)
        Height and width in px.
    """

    dtype = np.dtype(np.int32)
    ndim = 2

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._blocks: dict[tuple[int, int], bytes] = {}

    def __getitem__(self, key: tuple[Any, Any]) -> Any:
        """Labels of a pixel, a line or a region, int32."""
        sides = [range(length)[part] for part, length in zip(key, self.shape, strict=True)]
        rows, columns = (
            range(side, side + 1) if isinstance(side, int) else side for side in sides
        )
        found = np.zeros((len(rows), len(columns)), np.int32)
        for block, (r, y), (c, x) in _pieces(rows, columns):
            if block in self._blocks:
                found[r, c] = self._read(block)[y, x]
        return found[tuple(0 if isinstance(side, int) else slice(None) for side in sides)]

    def __setitem__(self, key: tuple[slice, slice], labels: Int32Array) -> None:
        rows, columns = (
            range(length)[part] for part, length in zip(key, self.shape, strict=True)
        )
        for block, (r, y), (c, x) in _pieces(rows, columns):
            new = labels[r, c]
            if block not in self._blocks and not new.any():
                continue
            pixels = self._read(block)
            pixels[y, x] = new
            self._blocks[block] = zlib.compress(pixels.tobytes(), 1)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of it, as numpy asks for it: 4 bytes a pixel."""
        return np.asarray(self[:, :], dtype)

    def copy(self) -> LabelBlocks:
        """The same labels, to be changed apart from these."""
        twin = LabelBlocks(self.shape)
        twin._blocks = dict(self._blocks)
        return twin

    def tiles(self) -> Iterator[bytes]:
        """The compressed tiles of a TIFF file, row by row."""
        empty = zlib.compress(bytes(4 * BLOCK * BLOCK))
        for row in range(-(-self.shape[0] // BLOCK)):
            for column in range(-(-self.shape[1] // BLOCK)):
                yield self._blocks.get((row, column), empty)

    @classmethod
    def of_tiff(cls, path: Path) -> LabelBlocks:
        """The labels in a TIFF file, of which one tile at a time is decoded.

        Raises
        ------
        ValueError
            If it does not hold one plane of int32.
        """
        with tifffile.TiffFile(path) as tif:
            page = tif.pages.first
            if page.dtype != cls.dtype or page.samplesperpixel != 1:
                raise ValueError(f"{path.name} is no label image of 32 bit")
            blocks = cls((page.imagelength, page.imagewidth))
            for labels, (*_, top, left, _), (_, height, width, _) in page.segments():
                if labels is not None:
                    part = slice(top, top + height), slice(left, left + width)
                    blocks[part] = labels.reshape(labels.shape[-3:-1])[:height, :width]
        return blocks

    def pyramid(self) -> list[LabelLevel]:
        """For a viewer, each level half as wide as the one before."""
        return label_levels(self.shape, lambda step: _Thinned(self, step))

    def _read(self, block: tuple[int, int]) -> Int32Array:
        held = self._blocks.get(block)
        if held is None:
            return np.zeros((BLOCK, BLOCK), np.int32)
        flat = np.frombuffer(bytearray(zlib.decompress(held)), np.int32)
        return flat.reshape(BLOCK, BLOCK)


class _Thinned:
    """Every `step`-th pixel of label blocks."""

    def __init__(self, blocks: LabelBlocks, step: int) -> None:
        self._blocks, self._step = blocks, step
        height, width = blocks.shape
        self.shape = (-(-height // step), -(-width // step))

    def __getitem__(self, key: tuple[slice, slice]) -> Any:
        step = self._step
        rows, columns = (slice(p.start * step, p.stop * step, step) for p in key)
        return self._blocks[rows, columns]


def _pieces(
    rows: range, columns: range
) -> Iterator[tuple[tuple[int, int], tuple[slice, slice], tuple[slice, slice]]]:
    """Blocks under a region, and along each axis the slice of the region and the block."""
    for row, r, y in _along(rows):
        for column, c, x in _along(columns):
            yield (row, column), (r, y), (c, x)


def _along(pixels: range) -> Iterator[tuple[int, slice, slice]]:
    """Blocks that some of the ascending `pixels` lie in, and where, in both counts."""
    start, step = 0, pixels.step
    while start < len(pixels):
        block, first = divmod(pixels[start], BLOCK)
        count = min(len(pixels) - start, -(-(BLOCK - first) // step))
        yield (
            block,
            slice(start, start + count),
            slice(first, first + (count - 1) * step + 1, step),
        )
        start += count
