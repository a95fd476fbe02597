"""OME-Zarr: the full-resolution plane of an image folder, and the size of a pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cytosae.core._plane import Plane
from napari_cytosae.core._rgb import check_size, is_dark
from napari_cytosae.core.types import ImageError

if TYPE_CHECKING:
    from pathlib import Path

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
    try:
        import zarr
    except ImportError as error:
        raise ImageError(
            f"{path.name} is OME-Zarr: install what reads it with "
            "pip install 'napari-cytosae[wsi]'."
        ) from error
    group: Any = zarr.open_group(str(path), mode="r")
    attributes = dict(group.attrs)
    multiscales = attributes.get("ome", attributes).get("multiscales")
    if not multiscales:
        raise ImageError(
            f"{path.name} holds no OME-Zarr image: give the image's own folder."
        )
    axes = [axis["name"] for axis in multiscales[0]["axes"]]
    level = multiscales[0]["datasets"][0]
    array = group[level["path"]]
    sizes = dict(zip(axes, array.shape, strict=True))
    planes = int(np.prod([size for axis, size in sizes.items() if axis not in "cyx"]))
    if planes > 1:
        raise ImageError(
            f"{path.name} is a stack of {planes} planes: save the one to look at as its "
            "own file."
        )
    check_size(sizes["x"], sizes["y"], max_pixels, path.name)
    pixels = np.asarray(array[tuple(slice(None) if axis in "cyx" else 0 for axis in axes)])
    um = _um(multiscales[0]["axes"], level)
    if sizes.get("c", 1) == 1:
        return Plane(pixels.reshape(sizes["y"], sizes["x"]), um)
    # NGFF has no colour images: bright 8-bit triples are what scanners' RGB becomes.
    pixels = np.moveaxis(pixels, [axis for axis in axes if axis in "cyx"].index("c"), -1)
    if pixels.shape[2] != 3 or pixels.dtype != np.uint8 or is_dark(pixels):
        raise ImageError(
            f"{path.name} has {pixels.shape[2]} separate channels, as fluorescence has: "
            "only brightfield smears are analysed."
        )
    return Plane(pixels, um, notes=("three channels taken as red, green and blue",))


def _um(axes: list[dict[str, Any]], level: dict[str, Any]) -> float | None:
    x = [axis["name"] for axis in axes].index("x")
    unit = _UM_PER_UNIT.get(axes[x].get("unit", ""))
    for transform in level.get("coordinateTransformations", ()):
        if transform.get("type") == "scale" and unit:
            return float(transform["scale"][x]) * unit
    return None
