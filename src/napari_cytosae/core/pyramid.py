"""A slide too large for memory: its resolutions, each read where it is sliced."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import finalize

import numpy as np

from napari_cytosae.core._level import Level
from napari_cytosae.core._openslide import is_openslide, openslide_levels
from napari_cytosae.core._tiff import is_tiff, tiff_levels
from napari_cytosae.core._zarr import is_zarr, zarr_levels
from napari_cytosae.core.files import sha256_file, sha256_folder
from napari_cytosae.core.images import parsing, read_image, readable, settled_size
from napari_cytosae.core.types import LARGE_PIXELS, Image, PixelSize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    import dask.array as da

    from napari_cytosae.core._level import Levels
    from napari_cytosae.core.types import UInt8Array


_LOOK = 1024
"""Pixels a side by which slides without a file are told apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Pyramid:
    """A slide whose pixels are read where they are looked at.

    Attributes
    ----------
    levels : tuple of Level
        uint8 RGB (H, W, 3) each, sliced ``level[y0:y1, x0:x1]``; the finest first.
    name : str
        File name with extension, or the layer's name.
    pixel_size : PixelSize
        Of the finest level.
    sha256 : str
        Of the file's bytes; without a file, of its shape and some of its pixels.
    notes : tuple of str
        As of `Image`.
    path : Path or None
        The file it is read from; None where its pixels are another's, as a layer's.
    """

    levels: tuple[Level, ...]
    name: str
    pixel_size: PixelSize
    sha256: str
    notes: tuple[str, ...] = ()
    path: Path | None = None

    @classmethod
    def of(cls, levels: Sequence[Level], name: str, size: PixelSize) -> Pyramid:
        """A slide without a file, told from others by a look at its coarsest level."""
        levels = sorted(levels, key=lambda level: -level.shape[0])
        few = cls(tuple(levels[-1:]), name, size, "")
        step = max(1, max(few.shape) // _LOOK)
        digest = hashlib.sha256(repr([level.shape for level in levels]).encode())
        digest.update(few.thinned(step).tobytes())
        return cls(tuple(levels), name, size, digest.hexdigest())

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in px at full resolution."""
        return self.levels[0].shape[:2]

    def thinned(self, step: int) -> UInt8Array:
        """One pixel of each block of `step` x `step`, of the coarsest level that does."""
        height, width = (len(range(step // 2, side, step)) for side in self.shape)
        fine = [level for level in self.levels if level.shape[0] >= height]
        level = fine[-1] if fine else self.levels[0]
        rows, columns = (
            ((np.arange(count) + 0.5) * length / count).astype(int)
            for count, length in zip((height, width), level.shape[:2], strict=True)
        )
        # Strip by strip: the finest level does not fit in memory.
        count = max(1, level.shape[0] * level.shape[1] // LARGE_PIXELS)
        strips = np.array_split(rows, count)
        return np.concatenate(
            [level[r[0] : r[-1] + 1, :][r - r[0]][:, columns] for r in strips if len(r)]
        )

    def as_dask(self) -> list[da.Array]:
        """The levels as lazy dask arrays, as a viewer shows them."""
        import dask.array as da

        return [
            da.from_array(level, chunks=(1024, 1024, 3), asarray=False, name=False)  # type: ignore[no-untyped-call]
            for level in self.levels
        ]


@contextmanager
def open_image(
    path: Path | str, pixel_size: float | None = None
) -> Iterator[Image | Pyramid]:
    """Open an image to be analysed; a slide is read lazily while the block runs.

    An image of at most `LARGE_PIXELS` is read whole. Beyond, OME-TIFF, tiled TIFF and SVS
    (plain or in pyramids), OME-Zarr, and with OpenSlide the scanners' own formats become a
    `Pyramid`; what cannot be read in pieces (PNG, JPEG, 16 bit, palettes) is read whole.

    Parameters
    ----------
    path : path-like
        A file, or the folder of an OME-Zarr image.
    pixel_size : float, optional
        Micrometres a pixel; wins over the file.

    Raises
    ------
    ImageError
        As `read_image`.
    """
    path = Path(path)
    with ExitStack() as stack:
        slide = None
        with parsing(path.name):
            opened = stack.enter_context(_opened(path))
            if opened is not None and _is_large(opened.levels[0].shape):
                slide = _as_pyramid(opened, path, pixel_size)
        yield slide or read_image(path, pixel_size)


def keep_open(path: Path | str) -> Image | Pyramid:
    """`open_image` for as long as one of its levels is held: nobody needs to close it.

    What is large and cannot be read in pieces is a `Pyramid` too, in memory.
    """
    stack = ExitStack()
    image = stack.enter_context(open_image(path))
    holder = _Holder()
    finalize(holder, stack.close)
    slide = as_pyramid(image)
    if slide is None:
        return image
    levels = tuple(replace(level, holder=holder) for level in slide.levels)
    return replace(slide, levels=levels, path=Path(path))


class _Holder:
    """Files are open for as long as one of these is held."""


def _opened(path: Path) -> AbstractContextManager[Levels | None]:
    """Choose the reader by content."""
    if path.is_dir():
        return zarr_levels(path) if is_zarr(path) else nullcontext()
    if is_tiff(readable(path)):
        return tiff_levels(path)
    return openslide_levels(path) if is_openslide(path) else nullcontext()


def as_pyramid(image: Image | Pyramid) -> Pyramid | None:
    """The image as a slide, None where it is small enough to be taken whole."""
    if isinstance(image, Pyramid):
        return image
    if not _is_large(image.shape):
        return None
    levels = (Level(image.rgb, "YXS"),)
    return Pyramid(levels, image.name, image.pixel_size, image.sha256, image.notes)


def _is_large(shape: tuple[int, ...]) -> bool:
    return shape[0] * shape[1] > LARGE_PIXELS


def _as_pyramid(opened: Levels, path: Path, pixel_size: float | None) -> Pyramid:
    size, notes = settled_size(pixel_size, opened.um, opened.um_is_deliberate, path.name)
    sha256 = sha256_folder(path) if path.is_dir() else sha256_file(path)
    return Pyramid(opened.levels, path.name, size, sha256, opened.notes + notes, path)
