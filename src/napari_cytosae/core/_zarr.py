"""OME-Zarr: the plane of an image folder, the size of a pixel, and labels of cells."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cytosae.core._level import Level, Levels
from napari_cytosae.core._plane import Plane
from napari_cytosae.core._rgb import check_size, is_dark
from napari_cytosae.core.types import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_AS_RGB = "three channels taken as red, green and blue"
_UM_PER_UNIT = {"nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "meter": 1e6}


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr group, of version 2 or 3."""
    return any((path / name).is_file() for name in (".zgroup", "zarr.json"))


def read_zarr(path: Path, max_pixels: int) -> Plane:
    """Read the only plane of an OME-Zarr image, at full resolution.

    Parameters
    ----------
    path : Path
        Folder of the image group (OME-NGFF 0.4 or 0.5).
    max_pixels : int
        Larger images are refused.

    Raises
    ------
    ImageError
        Without the extra ``[wsi]``, and for stacks, fluorescence channels and groups that
        are not an image.
    """
    stored = _image(path)
    sizes = stored.sizes
    check_size(sizes["x"], sizes["y"], max_pixels, path.name)
    index = tuple(slice(None) if axis in "cyx" else 0 for axis in stored.axes)
    pixels = np.asarray(stored.arrays[0][index])
    if sizes.get("c", 1) == 1:
        return Plane(pixels.reshape(sizes["y"], sizes["x"]), stored.um)
    # NGFF has no colour images: bright 8-bit triples are what scanners' RGB becomes.
    planes = [axis for axis in stored.axes if axis in "cyx"]
    pixels = np.moveaxis(pixels, planes.index("c"), -1)
    if pixels.shape[2] != 3 or pixels.dtype != np.uint8 or is_dark(pixels):
        raise _channels(path, pixels.shape[2])
    return Plane(pixels, stored.um, notes=(_AS_RGB,))


@contextmanager
def zarr_levels(path: Path) -> Iterator[Levels | None]:
    """Open the only plane of an OME-Zarr image for reading piece by piece.

    Yields
    ------
    Levels or None
        None where it is not 8 bit.

    Raises
    ------
    ImageError
        As `read_zarr`; whether channels are dark is told by the coarsest level.
    """
    stored = _image(path)
    if stored.arrays[0].dtype != np.uint8:
        yield None
        return
    levels = [Level(array, "".join(stored.axes).upper()) for array in stored.arrays]
    channels = stored.sizes.get("c", 1)
    if channels == 1:
        yield Levels(tuple(levels), stored.um)
        return
    height, width = (min(side, 1024) for side in levels[-1].shape[:2])
    if channels != 3 or is_dark(levels[-1][:height, :width]):
        raise _channels(path, channels)
    yield Levels(tuple(levels), stored.um, notes=(_AS_RGB,))


@dataclass(frozen=True, slots=True, eq=False)
class ZarrLabels:
    """The label image (H, W) of an OME-Zarr folder, read where it is sliced.

    Attributes
    ----------
    array : array-like of int
    axes : str
        A letter an axis; of others than ``y`` and ``x`` there is one plane.
    """

    array: Any
    axes: str

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        sizes = dict(zip(self.axes, self.array.shape, strict=True))
        return sizes["y"], sizes["x"]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the labels."""
        dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        return dtype

    @property
    def ndim(self) -> int:
        """2."""
        return 2

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray[Any, Any]:
        """Labels of a region."""
        inside = dict(zip("yx", key, strict=True))
        return np.asarray(self.array[tuple(inside.get(axis, 0) for axis in self.axes)])


def zarr_labels(path: Path) -> ZarrLabels:
    """The labels in an OME-Zarr folder: of the label image itself, or of its image.

    Raises
    ------
    ImageError
        Without the extra ``[wsi]``; where there are no labels or several, and for stacks.
    """
    group = _group(path)
    inside = _inside(group.get("labels", group)).get("labels")
    if inside is not None:
        folder = path / "labels" if "labels" in group else path
        if len(inside) != 1:
            raise ImageError(
                f"{path} holds {len(inside)} label images ({', '.join(map(str, inside))}): "
                f"give the folder of one, {folder}/NAME."
            )
        path = folder / str(inside[0])
    stored = _image(path)
    if stored.sizes.get("c", 1) > 1:
        raise ImageError(f"{path} has channels: cell labels are one number a pixel.")
    return ZarrLabels(stored.arrays[0], "".join(stored.axes))


@dataclass(frozen=True, slots=True, eq=False)
class _Stored:
    """The arrays of an OME-Zarr image, the finest first."""

    arrays: list[Any]
    axes: list[str]
    um: float | None

    @property
    def sizes(self) -> dict[str, int]:
        return dict(zip(self.axes, self.arrays[0].shape, strict=True))


def _group(path: Path) -> Any:
    try:
        import zarr
    except ImportError as error:
        raise ImageError(
            f"{path.name} is OME-Zarr: install what reads it with "
            "pip install 'napari-cytosae[wsi]'."
        ) from error
    return zarr.open_group(str(path), mode="r")


def _inside(group: Any) -> dict[str, Any]:
    """What OME-Zarr says of a group, in version 0.4 or 0.5."""
    attributes = dict(group.attrs)
    said: dict[str, Any] = attributes.get("ome", attributes)
    return said


def _image(path: Path) -> _Stored:
    """Open an image group that holds one plane."""
    group = _group(path)
    multiscales = _inside(group).get("multiscales")
    if not multiscales:
        raise ImageError(
            f"{path.name} holds no OME-Zarr image: give the image's own folder."
        )
    axes = [axis["name"] for axis in multiscales[0]["axes"]]
    datasets = multiscales[0]["datasets"]
    arrays = [group[level["path"]] for level in datasets]
    stored = _Stored(arrays, axes, _um(multiscales[0]["axes"], datasets[0]))
    planes = int(np.prod([n for axis, n in stored.sizes.items() if axis not in "cyx"]))
    if planes > 1:
        raise ImageError(
            f"{path.name} is a stack of {planes} planes: save the one to look at as its "
            "own file."
        )
    return stored


def _channels(path: Path, count: int) -> ImageError:
    return ImageError(
        f"{path.name} has {count} separate channels, as fluorescence has: "
        "only brightfield smears are analysed."
    )


def _um(axes: list[dict[str, Any]], level: dict[str, Any]) -> float | None:
    x = [axis["name"] for axis in axes].index("x")
    unit = _UM_PER_UNIT.get(axes[x].get("unit", ""))
    for transform in level.get("coordinateTransformations", ()):
        if transform.get("type") == "scale" and unit:
            return float(transform["scale"][x]) * unit
    return None
