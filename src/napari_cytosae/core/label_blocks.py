"""A label image of a slide, kept in compressed blocks and read where it is sliced."""

from __future__ import annotations

import zlib
from itertools import product
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import dask.array as da

    from napari_cytosae.core.types import Int32Array

BLOCK = 256
"""Side in px of a block, and of the tiles of a TIFF file."""

_SHOWN = 1024
"""Side in px below which a level of a pyramid needs no coarser one, and of its chunks."""


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
    def of_tiles(cls, shape: tuple[int, int], tiles: Iterable[bytes]) -> LabelBlocks:
        """What `tiles` came from.

        Raises
        ------
        ValueError
            If they are not those of an image of this shape.
        """
        blocks = cls(shape)
        rows, columns = (range(-(-length // BLOCK)) for length in shape)
        for block, tile in zip(product(rows, columns), tiles, strict=True):
            pixels = zlib.decompress(tile)
            if len(pixels) != 4 * BLOCK * BLOCK:
                raise ValueError("a tile has another size")
            if np.frombuffer(pixels, np.int32).any():
                blocks._blocks[block] = tile
        return blocks

    def pyramid(self) -> list[da.Array]:
        """Lazy dask arrays for a viewer, each half as wide as the one before."""
        return lazy_levels(self.shape, lambda step: _Thinned(self, step))

    def _read(self, block: tuple[int, int]) -> Int32Array:
        held = self._blocks.get(block)
        if held is None:
            return np.zeros((BLOCK, BLOCK), np.int32)
        flat = np.frombuffer(bytearray(zlib.decompress(held)), np.int32)
        return flat.reshape(BLOCK, BLOCK)


def lazy_levels(shape: tuple[int, int], thinned: Callable[[int], Any]) -> list[da.Array]:
    """Labels of a slide as dask arrays, each half as wide as the one before.

    Parameters
    ----------
    shape : (int, int)
        Of the slide in px.
    thinned : callable
        Takes a step and gives every so-many-th pixel of the labels, read where sliced.
    """
    import dask.array as da

    exponent = max(0, int(np.ceil(np.log2(max(shape) / _SHOWN))))
    return [
        da.from_array(  # type: ignore[no-untyped-call]
            thinned(2**level),
            chunks=_SHOWN,
            name=f"labels-{level}-{uuid4().hex}",
            asarray=False,
            meta=np.empty((0, 0), np.int32),
        )
        for level in range(exponent + 1)
    ]


class _Thinned:
    """Every `step`-th pixel of label blocks, as dask reads it."""

    dtype = LabelBlocks.dtype
    ndim = 2

    def __init__(self, blocks: LabelBlocks, step: int) -> None:
        self._blocks, self._step = blocks, step
        height, width = blocks.shape
        self.shape = (-(-height // step), -(-width // step))

    def __getitem__(self, key: tuple[Any, Any]) -> Any:
        step = self._step
        y, x = (
            side * step
            if isinstance(side, int)
            else slice(side.start * step, side.stop * step, side.step * step)
            for side in (
                range(length)[part] for part, length in zip(key, self.shape, strict=True)
            )
        )
        return self._blocks[y, x]


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
