"""Images in, one folder of results each out: what ``segment`` and ``analyze`` share."""

from __future__ import annotations

import math
import os
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from napari_cytosae._cli_console import (
    BAD_INPUT,
    SHOW_TRACEBACKS,
    drive,
    duration,
    reason,
    say,
)
from napari_cytosae.core.types import (
    LARGE_PIXELS,
    CheckpointError,
    ImageError,
    OccupiedError,
    OutputError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from napari_cytosae.core._given import GivenLabels
    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import Cells, Image, Progress

T = TypeVar("T")

_GIVE_LABELS = (
    "give a TIFF like the cells.tif of 'segment', an OME-Zarr label image, or GeoJSON"
)


def find_images(given: Sequence[Path]) -> list[Path]:
    """Replace folders by the images right in them, sorted by name.

    A folder that is an image itself (OME-Zarr) stays, and so does one without images,
    which is named when it is read.
    """
    found: list[Path] = []
    for path in given:
        inside = []
        if path.is_dir() and not _is_image(path):
            inside = sorted(entry for entry in path.iterdir() if _is_image(entry))
        found += inside or [path]
    return found


def each_image(
    given: Sequence[Path],
    output: Path,
    pixel_size: float | None,
    prepare: Callable[[], T],
    work: Callable[[Image | Pyramid, Path, T], Generator[Progress, None, Cells]],
) -> None:
    """Do every image; a bad one is named and skipped.

    Folders of results go to stdout, what there is to say to stderr.

    Parameters
    ----------
    given : sequence of Path
        Images and folders.
    output : Path
        Folder of the folders of results.
    pixel_size : float or None
        The user's um a pixel.
    prepare : callable
        Called once, when the first image has been read; what it raises ends the run.
    work : callable
        Does one image: the image, the folder of its results, what `prepare` returned.

    Raises
    ------
    CytoError
        Where no other image would fare better.
    typer.Exit
        With 2, at the end, if an image was skipped.
    """
    from napari_cytosae.core.doubts import scale_doubt
    from napari_cytosae.core.export import result_folders

    images = find_images(given)
    context: T
    prepared, skipped = False, 0
    for number, (path, folder) in enumerate(
        zip(images, result_folders(output, images), strict=True), 1
    ):
        count = f"[{number}/{len(images)}] " if len(images) > 1 else ""
        began = time.monotonic()
        with ExitStack() as stack:
            try:
                image = stack.enter_context(opened(path, pixel_size))
            except Exception as error:
                skipped += skip(path, error)
                continue
            if not prepared:
                context, prepared = prepare(), True
            try:
                cells = drive(work(image, folder, context), f"{count}{path.name}: ")
            except OccupiedError as error:
                skipped += skip(path, error)
                continue
            except (CheckpointError, OutputError):
                raise
            except Exception as error:
                skipped += skip(path, error)
                continue
        typer.echo(folder)
        for note in cells.notes:
            say(f"{path.name}: {note}.")
        doubt = scale_doubt(cells)
        if doubt:
            say(f"{path.name}: {doubt}.")
        if not len(cells):
            say(f"{path.name}: no cells were found; the tables hold their header only.")
        elif len(images) > 1:
            took = duration(time.monotonic() - began)
            say(f"{count}{path.name}: {_counted(len(cells), 'cell')}, {took}")
    if skipped:
        if len(images) > 1:
            say(f"{skipped} of {len(images)} images were skipped.")
        raise typer.Exit(BAD_INPUT)


def read_labels(path: Path) -> npt.NDArray[np.int32] | GivenLabels:
    """Read a label image as somebody drew or corrected it; that of a slide lazily.

    Parameters
    ----------
    path : Path
        A TIFF; the folder of an OME-Zarr label image, or of an image with one.

    Raises
    ------
    ImageError
        If it is missing, neither of these, or holds no whole numbers of one plane.
    """
    import numpy as np

    if not path.exists():
        raise ImageError(f"There is no file {path}: check the path.")
    try:
        labels: Any = _zarr_labels(path) if path.is_dir() else _tiff_labels(path)
    except ImageError:
        raise
    except Exception as error:  # parsers of damaged bytes raise nearly anything
        kind = "OME-Zarr" if path.is_dir() else "a TIFF"
        raise ImageError(
            f"{path} cannot be read as {kind} of cell labels: {_GIVE_LABELS}."
        ) from error
    if labels.ndim != 2 or labels.dtype.kind not in "uib":
        raise ImageError(
            f"{path} holds {labels.dtype} values of shape {labels.shape}: cell labels are "
            f"whole numbers, one for each pixel of the image; {_GIVE_LABELS}."
        )
    if not isinstance(labels, np.ndarray):
        # Its numbers are checked as they are read.
        lazy: GivenLabels = labels
        return lazy
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < 2**31:
        raise ImageError(f"{path} holds cell ids below 0 or above 2,147,483,647.")
    whole: npt.NDArray[np.int32] = labels.astype(np.int32)
    return whole


def _tiff_labels(path: Path) -> Any:
    """Labels of a TIFF; of a slide read where they are looked at."""
    import numpy as np
    import tifffile

    with tifffile.TiffFile(path) as tif:
        large = math.prod(tif.series[0].shape) > LARGE_PIXELS
    return _LabelFile(path) if large else np.squeeze(tifffile.imread(path))


def _zarr_labels(path: Path) -> Any:
    """Labels of OME-Zarr; of a slide read where they are looked at."""
    from napari_cytosae.core._zarr import zarr_labels

    labels = zarr_labels(path)
    height, width = labels.shape
    return labels if height * width > LARGE_PIXELS else labels[0:height, 0:width]


class _LabelFile:
    """The finest level of a TIFF, opened and read where it is sliced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._opened() as labels:
            self.shape, self.dtype, self.ndim = labels.shape, labels.dtype, labels.ndim

    def __getitem__(self, key: tuple[slice, slice]) -> Any:
        with self._opened() as labels:
            return labels[key]

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        import tifffile
        import zarr

        with tifffile.imread(self._path, aszarr=True, level=0) as store:
            yield zarr.open(store, mode="r")


def _is_image(path: Path) -> bool:
    from napari_cytosae.core._zarr import is_zarr
    from napari_cytosae.core.images import IMAGE_SUFFIXES

    if path.name.startswith("."):
        return False
    return is_zarr(path) if path.is_dir() else path.suffix.lower() in IMAGE_SUFFIXES


@contextmanager
def opened(path: Path, pixel_size: float | None) -> Iterator[Image | Pyramid]:
    """Open an image for as long as it is worked on.

    Raises
    ------
    ImageError
        If it cannot be read, or a folder holds none.
    """
    from napari_cytosae.core.pyramid import open_image

    if path.is_dir() and not _is_image(path):
        raise ImageError(f"{path} holds no images (PNG, JPEG, BMP, TIFF or OME-Zarr).")
    with open_image(path, pixel_size) as image:
        # Tables are UTF-8, which file names need not be: b"\xfc" becomes "\\xfc".
        name = os.fsencode(image.name).decode(errors="backslashreplace")
        yield replace(image, name=name)


def skip(path: Path, error: Exception) -> int:
    """Say what is wrong with an image, naming it once; count it."""
    if os.environ.get(SHOW_TRACEBACKS):
        raise error
    text = reason(error)
    say(text if path.name in text else f"{path}: {text}")
    return 1


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
