"""Image files and arrays -> uint8 RGB, with the pixel size and where it came from."""

from __future__ import annotations

import hashlib
import logging
import math
import warnings
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from napari_cytosae.core._plane import Plane
from napari_cytosae.core._rgb import check_size, to_rgb
from napari_cytosae.core._tiff import is_tiff, read_tiff
from napari_cytosae.core._zarr import is_zarr, read_zarr
from napari_cytosae.core.files import sha256_file
from napari_cytosae.core.types import Image, ImageError, PixelSize

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt
    from PIL.ImageFile import ImageFile

    from napari_cytosae.core.types import UInt8Array

SLIDE_SUFFIXES = (".svs", ".ndpi", ".scn", ".bif", ".mrxs")
"""Scanners' own formats; the last needs OpenSlide."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", *SLIDE_SUFFIXES)
"""What a file dialog or a folder search should offer (`.ome.tif` is among them)."""

PLAUSIBLE_UM = (0.02, 2.0)
"""Pixel sizes (um) at which a blood cell is something to look at."""

MAX_PIXELS = 2**30
"""Above this (32768 x 32768) an image does not belong in memory."""

_SAME_SIZE = 0.05
"""Relative difference up to which the user and the file mean the same."""

_PNG = b"\x89PNG\r\n\x1a\n"
_ORIENTATION = 0x0112


def read_image(path: Path | str, pixel_size: float | None = None) -> Image:
    """Read PNG, JPEG, BMP, TIFF, OME-TIFF or OME-Zarr as uint8 RGB.

    The format is told by the content, not by the name; OME-Zarr needs the extra ``[wsi]``.
    The orientation tag is applied. The pixel size comes from `pixel_size`, else from OME,
    Aperio, ImageJ or (where plausible) TIFF resolution tags; otherwise it is unknown.

    Parameters
    ----------
    path : path-like
        One file, or the folder of an OME-Zarr image.
    pixel_size : float, optional
        Micrometres a pixel; wins over the file.

    Returns
    -------
    Image
        `Image.notes` says what had to be changed; `Image.sha256` is the file's
        (of a folder: of the pixels).

    Raises
    ------
    ImageError
        If the file is missing, damaged, not an image, or not a brightfield image.
    """
    path = Path(path)
    sha256 = "" if path.is_dir() else sha256_file(readable(path))
    with parsing(path.name):
        plane = _read(path)
        pixels = _upright(plane.pixels, plane.orientation)
        rgb, rgb_notes = to_rgb(pixels, path.name)
    notes = plane.notes
    if plane.orientation > 1:
        notes += ("turned upright as its orientation tag says",)
    size, size_notes = settled_size(pixel_size, plane.um, plane.um_is_deliberate, path.name)
    notes += rgb_notes + size_notes
    return Image(rgb, path.name, size, sha256 or _digest(rgb), notes)


def as_image(
    array: npt.ArrayLike,
    name: str = "image",
    pixel_size: PixelSize | float | None = None,
) -> Image:
    """Take an array as an image.

    Parameters
    ----------
    array : array_like
        (H, W), (H, W, 3) or (H, W, 4) of any number type; see `to_rgb`.
    name : str
        File name or layer name; goes to the tables.
    pixel_size : PixelSize or float, optional
        A number is the user's micrometres a pixel.

    Returns
    -------
    Image
        Shares memory with `array` where that is uint8 RGB already.

    Raises
    ------
    ImageError
        If the array is not a brightfield image.
    """
    rgb, notes = to_rgb(array, name)
    if isinstance(pixel_size, PixelSize):
        size = pixel_size
    else:
        size, size_notes = settled_size(pixel_size, None, False, name)
        notes += size_notes
    return Image(rgb, name, size, _digest(rgb), notes)


@contextmanager
def parsing(name: str) -> Iterator[None]:
    """Say in one sentence what is wrong with the file `name` that is read in the block."""
    try:
        with _quiet_parsers():
            yield
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f"{name} is too large for this machine's memory.") from error
    except Exception as error:  # parsers of damaged bytes raise nearly anything
        raise ImageError(
            f"{name} is damaged or cut short: copy or download it again."
        ) from error


@contextmanager
def _quiet_parsers() -> Iterator[None]:
    """Hold back what Pillow warns of and tifffile logs about odd metadata.

    Of a file that can be read only the pixels matter, and of one that cannot the user gets
    one sentence.
    """
    thread = get_ident()

    def is_elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != thread

    logger = logging.getLogger("tifffile")
    logger.addFilter(is_elsewhere)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeFilter(is_elsewhere)


def _digest(rgb: UInt8Array) -> str:
    """Hex sha256 of the pixels, where there is no file."""
    digest = hashlib.sha256(repr(rgb.shape).encode())
    digest.update(rgb.data)
    return digest.hexdigest()


def readable(path: Path) -> Path:
    """The path of a file that is there, may be read, and holds something."""
    try:
        with path.open("rb") as stream:
            is_empty = not stream.read(1)
    except FileNotFoundError as error:
        raise ImageError(f"{path} does not exist: check the path.") from error
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror or error}.") from error
    if is_empty:
        raise ImageError(f"{path.name} is empty (0 bytes): copy or download it again.")
    return path


def _read(path: Path) -> Plane:
    """Choose the reader by content."""
    if path.is_dir():
        if not is_zarr(path):
            raise ImageError(f"{path} is a folder: give the image files in it.")
        return read_zarr(path, MAX_PIXELS)
    if is_tiff(path):
        return read_tiff(path, MAX_PIXELS)
    with path.open("rb") as stream:
        head = stream.read(32)
    return _read_plain(path, head)


def _read_plain(path: Path, head: bytes) -> Plane:
    """Read a PNG, JPEG or BMP."""
    # The format classes, not Image.open: that refuses slides of more than 179 million
    # pixels, by a limit that can only be changed for the whole process.
    opener: type[ImageFile]
    if head.startswith(_PNG):
        opener = PngImageFile
    elif head.startswith(b"\xff\xd8\xff"):
        opener = JpegImageFile
    elif head.startswith(b"BM"):
        opener = BmpImageFile
    else:
        if path.suffix.lower() in SLIDE_SUFFIXES:
            raise ImageError(
                f"{path.name} is a slide scanner's own format: install what reads it with "
                "pip install 'napari-cytosae[wsi]'."
            )
        raise ImageError(f"{path.name} is not a PNG, JPEG, BMP or TIFF image.")
    with opener(path) as image:
        check_size(image.width, image.height, MAX_PIXELS, path.name)
        orientation = int(image.getexif().get(_ORIENTATION, 1))
        if opener is PngImageFile and head[24] == 16:
            # Pillow keeps only the high byte of 16-bit colour.
            pixels = imagecodecs.png_decode(path.read_bytes())
            return Plane(pixels, orientation=orientation)
        mode = _mode(image)
        # Converting to the mode it has would copy a whole slide.
        converted = image if image.mode == mode else image.convert(mode)
        return Plane(np.asarray(converted), orientation=orientation)


def _mode(image: ImageFile) -> str:
    """The Pillow mode that keeps what the file holds."""
    if image.mode in ("1", "L", "LA"):
        return "L"
    # Transparent palette entries have no RGB of their own until alpha is there too.
    return "RGBA" if image.mode == "RGBA" or "transparency" in image.info else "RGB"


def _upright(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Apply the EXIF / TIFF orientation 1..8; anything else is taken as upright."""
    turned = pixels.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else pixels
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return turned


def settled_size(
    user: float | None, stated: float | None, deliberate: bool, name: str
) -> tuple[PixelSize, tuple[str, ...]]:
    """The size to use, and what is odd about it.

    A `stated` size that nobody wrote deliberately (a dpi tag) is not worth a note.
    """
    low, high = PLAUSIBLE_UM
    if user is not None:
        if not (math.isfinite(user) and user > 0):
            raise ImageError(
                f"A pixel size of {user} um for {name} is impossible: give micrometres a "
                "pixel, for example 0.1."
            )
        notes = []
        if not low <= user <= high:
            notes.append(f"pixel size {user:g} um is unusual for a smear")
        plausible = stated is not None and low <= stated <= high
        if stated is not None and plausible and abs(user / stated - 1) > _SAME_SIZE:
            notes.append(f"the file says {stated:g} um a pixel, {user:g} um is used")
        return PixelSize(float(user), "user"), tuple(notes)
    if stated is not None and low <= stated <= high:
        return PixelSize(stated, "metadata"), ()
    if stated is not None and deliberate:
        note = f"pixel size {stated:g} um in the file is implausible for a smear: not used"
        return PixelSize(), (note,)
    return PixelSize(), ()
