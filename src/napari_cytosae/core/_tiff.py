"""TIFF and OME-TIFF: the one plane of pixels in it, and the size of a pixel."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from tifffile import COMPRESSION, PHOTOMETRIC

from napari_cytosae.core._level import Level, Levels
from napari_cytosae.core._plane import Plane
from napari_cytosae.core._rgb import check_size, is_dark
from napari_cytosae.core.drawn import DRAWN
from napari_cytosae.core.types import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

_UM_PER_UNIT = {
    "pm": 1e-6,
    "å": 1e-4,
    "nm": 1e-3,
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "inch": 25400.0,
    "m": 1e6,
}
_UM_PER_RESOLUTION_UNIT = {2: 25400.0, 3: 10000.0}

_NOT_RGB = {
    PHOTOMETRIC.SEPARATED: "CMYK",
    PHOTOMETRIC.CIELAB: "CIE L*a*b*",
    PHOTOMETRIC.ICCLAB: "ICC L*a*b*",
    PHOTOMETRIC.ITULAB: "ITU L*a*b*",
    PHOTOMETRIC.CFA: "raw sensor",
    PHOTOMETRIC.LOGLUV: "LogLuv",
}
# Only the JPEG family is decoded to RGB by the codec itself.
_PLAIN = {
    COMPRESSION.NONE,
    COMPRESSION.LZW,
    COMPRESSION.ADOBE_DEFLATE,
    COMPRESSION.DEFLATE,
    COMPRESSION.PACKBITS,
}
_MOST_AT_ONCE = 2**24
"""Largest tile or strip (values) that is read for a part of it."""
_RGB_NAMES = [{"r", "red"}, {"g", "green"}, {"b", "blue"}]


def read_tiff(path: Path, max_pixels: int) -> Plane:
    """Read the only plane of a TIFF file, at full resolution.

    Parameters
    ----------
    path : Path
        A TIFF file, by its first bytes.
    max_pixels : int
        Larger images are refused.

    Raises
    ------
    ImageError
        For stacks, separate channels, colour spaces other than RGB, and files cut short.
    """
    with tifffile.TiffFile(path) as tif:
        series = _only_plane(tif, path.name)
        page = series.keyframe
        axes, shape = series.get_axes(squeeze=False), series.get_shape(squeeze=False)
        check_size(page.imagewidth, page.imagelength, max_pixels, path.name)
        _check_whole(series, tif.filehandle.size, path.name)

        pixels = _plane(series.asarray().reshape(shape), axes)
        if page.photometric == PHOTOMETRIC.PALETTE:
            # Colour maps are 16 bit; writers fill them with 257 times the 8-bit value.
            colours: npt.NDArray[np.uint16] = np.asarray(page.colormap).T
            pixels = (colours >> 8).astype(np.uint8)[pixels]
        elif page.bitspersample == 1:
            pixels = pixels.astype(np.uint8) * 255
        if page.photometric == PHOTOMETRIC.MINISWHITE and pixels.dtype.kind in "ub":
            pixels = np.iinfo(pixels.dtype).max - pixels

        if axes.startswith("S") and pixels.dtype == np.uint8 and is_dark(pixels):
            # Three fluorescence channels saved without a word look like planar RGB.
            raise ImageError(
                f"{path.name} has {pixels.shape[2]} dark planes, as fluorescence has: only "
                "brightfield smears are analysed."
            )
        um, deliberate = _pixel_size(tif, page)
        return Plane(pixels, um, deliberate, _orientation(page), _notes(tif))


def is_tiff(path: Path) -> bool:
    """Whether a file is TIFF or BigTIFF, by its first bytes."""
    with path.open("rb") as stream:
        return stream.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@contextmanager
def tiff_levels(path: Path) -> Iterator[Levels | None]:
    """Open the only plane of a TIFF file for reading piece by piece, at all resolutions.

    Parameters
    ----------
    path : Path
        A TIFF file, by its first bytes.

    Yields
    ------
    Levels or None
        None for what cannot be read in pieces as 8-bit RGB or grey: other depths,
        palettes, turned images, one strip of the whole height.

    Raises
    ------
    ImageError
        As `read_tiff`.
    """
    with tifffile.TiffFile(path) as tif:
        series = _only_plane(tif, path.name)
        if not _in_pieces(series.keyframe):
            yield None
            return
        for level in series.levels:
            _check_whole(level, tif.filehandle.size, path.name)
        import zarr

        um, deliberate = _pixel_size(tif, series.keyframe)
        levels = [
            Level(
                zarr.open(series.aszarr(level=i, squeeze=False), mode="r"),
                level.get_axes(squeeze=False),
            )
            for i, level in enumerate(series.levels)
        ]
        yield Levels(tuple(levels), um, deliberate, _notes(tif))


def _only_plane(tif: tifffile.TiffFile, name: str) -> tifffile.TiffPageSeries:
    if not tif.series:
        raise ImageError(f"{name} holds no image: save it again as TIFF.")
    series: tifffile.TiffPageSeries = tif.series[0]
    _check_colours(series.keyframe, name)
    axes, shape = series.get_axes(squeeze=False), series.get_shape(squeeze=False)
    _check_axes(dict(zip(axes, shape, strict=True)), tif, name)
    return series


def _in_pieces(page: tifffile.TiffPage) -> bool:
    return (
        page.dtype == np.uint8
        and page.bitspersample == 8
        and page.photometric not in (PHOTOMETRIC.PALETTE, PHOTOMETRIC.MINISWHITE)
        and _orientation(page) == 1
        and int(np.prod(page.chunks)) <= _MOST_AT_ONCE
    )


def _orientation(page: tifffile.TiffPage) -> int:
    tag = page.tags.get("Orientation")
    return int(tag.value) if tag else 1


def _notes(tif: tifffile.TiffFile) -> tuple[str, ...]:
    notes = [f"first of {len(tif.series)} images"] if len(tif.series) > 1 else []
    if str((tif.imagej_metadata or {}).get("Info", "")).strip() == DRAWN:
        notes.append(DRAWN)
    return tuple(notes)


def _check_colours(page: tifffile.TiffPage, name: str) -> None:
    colours = _NOT_RGB.get(PHOTOMETRIC(page.photometric))
    if page.photometric == PHOTOMETRIC.YCBCR and page.compression in _PLAIN:
        colours = "YCbCr"
    if colours:
        raise ImageError(f"{name} is in {colours} colours: save it as RGB.")


def _check_axes(sizes: dict[str, int], tif: tifffile.TiffFile, name: str) -> None:
    if "Y" not in sizes or "X" not in sizes:
        raise ImageError(f"{name} holds no two-dimensional image: save it as RGB.")
    long = {axis: size for axis, size in sizes.items() if size > 1 and axis not in "YXS"}
    channels = long.pop("C", 1)
    if long:
        count = int(np.prod(list(long.values())))
        raise ImageError(
            f"{name} is a stack of {count} planes: save the one to look at as its own file."
        )
    if channels > 1 and not (channels == 3 and _channels_are_rgb(tif.ome_metadata)):
        raise ImageError(
            f"{name} has {channels} separate channels, as fluorescence has: only "
            "brightfield smears are analysed; if it is one, save it as RGB."
        )


def _channels_are_rgb(ome_xml: str | None) -> bool:
    """Whether the OME channels are named red, green and blue, in that order."""
    if not ome_xml:
        return False
    names = [
        element.get("Name", "").strip().lower()
        for element in ElementTree.fromstring(ome_xml).iter()
        if element.tag.endswith("}Channel")
    ][:3]
    return len(names) == 3 and all(
        name in known for name, known in zip(names, _RGB_NAMES, strict=True)
    )


def _check_whole(series: tifffile.TiffPageSeries, size: int, name: str) -> None:
    """Decoders fill missing strips with zeros without a word."""
    for page in series.pages:
        ends = zip(page.dataoffsets, page.databytecounts, strict=True) if page else ()
        if any(offset + count > size for offset, count in ends):
            raise ImageError(f"{name} is cut short: copy or download it again.")


def _plane(pixels: npt.NDArray[Any], axes: str) -> npt.NDArray[Any]:
    """Drop axes of length one and put the samples last."""
    keep = [axis for axis in axes if axis in "YX" or pixels.shape[axes.index(axis)] > 1]
    pixels = pixels.reshape([pixels.shape[axes.index(axis)] for axis in keep])
    last = [keep.index(axis) for axis in keep if axis in "SC"]
    pixels = pixels.transpose(keep.index("Y"), keep.index("X"), *last)
    # Grey with alpha.
    return pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 2 else pixels


def _pixel_size(
    tif: tifffile.TiffFile, page: tifffile.TiffPage
) -> tuple[float | None, bool]:
    """Micrometres a pixel, and whether whoever wrote it meant the slide."""
    if tif.ome_metadata:
        um = _ome_pixel_size(tif.ome_metadata)
        if um is not None:
            return um, True
    if tif.is_svs and (match := re.search(r"MPP\s*=\s*([\d.]+)", page.description)):
        return float(match[1]), True
    resolution = page.tags.get("XResolution")
    if resolution is None or not all(resolution.value):
        return None, False
    per_unit = resolution.value[0] / resolution.value[1]
    unit = str((tif.imagej_metadata or {}).get("unit", ""))
    if um_per_unit := _UM_PER_UNIT.get(_plain_unit(unit)):
        return um_per_unit / per_unit, True
    tag = page.tags.get("ResolutionUnit")
    um_per_unit = _UM_PER_RESOLUTION_UNIT.get(int(tag.value)) if tag else None
    return (um_per_unit / per_unit, False) if um_per_unit else (None, False)


def _ome_pixel_size(ome_xml: str) -> float | None:
    for element in ElementTree.fromstring(ome_xml).iter():
        if element.tag.endswith("}Pixels"):
            unit = _UM_PER_UNIT.get(_plain_unit(element.get("PhysicalSizeXUnit", "um")))
            size = element.get("PhysicalSizeX")
            return float(size) * unit if size and unit else None
    return None


def _plain_unit(unit: str) -> str:
    """ImageJ escapes the micro sign; there are two of them in Unicode."""
    return re.sub(r"^(\\u00b5|µ|μ)", "u", unit.strip().lower())
