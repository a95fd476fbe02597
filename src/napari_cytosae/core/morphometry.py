"""Label images -> the table of cells: place, size, shape, focus, quality."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import ndimage as ndi
from skimage.measure import regionprops_table

from napari_cytosae.core.types import CELL_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_cytosae.core.types import CellKind, Float32Array, Int32Array, PixelSize

_PROPERTIES = ("label", "area", "bbox", "centroid", "eccentricity", "solidity")
_DTYPES = {
    "image": "object",
    "cell_id": "int64",
    "kind": "object",
    "centroid_x": "float64",
    "centroid_y": "float64",
    "bbox_x0": "int64",
    "bbox_y0": "int64",
    "bbox_x1": "int64",
    "bbox_y1": "int64",
    "area_px": "int64",
    "area_um2": "float64",
    "nucleus_area_px": "int64",
    "nc_ratio": "float64",
    "eccentricity": "float64",
    "solidity": "float64",
    "touches_border": "bool",
    "focus": "float64",
    "qc": "object",
    "pixel_size_um": "float64",
    "pixel_size_source": "object",
}


def cell_table(
    density: Float32Array,
    labels: Int32Array,
    nuclei: Int32Array,
    kinds: Mapping[int, CellKind],
    pixel_size: PixelSize,
    um: float,
    name: str,
) -> pd.DataFrame:
    """Table of cells with `CELL_COLUMNS`, one row a label, in the order of the ids.

    Parameters
    ----------
    density : ndarray of float32, (H, W)
        Optical density, for the focus.
    labels, nuclei : ndarray of int32, (H, W)
        Same ids.
    kinds : mapping of int to CellKind
    pixel_size : PixelSize
        As written to the table; areas in um2 are empty where `um` is None.
    um : float
        Pixel size that size rules use, known or relative.
    name : str
        Column ``image``.
    """
    if not labels.any():
        return empty_table()
    found = regionprops_table(labels, properties=_PROPERTIES)
    ids = found["label"]
    height, width = labels.shape
    area = found["area"].astype(np.int64)
    nucleus = np.bincount(nuclei.ravel(), minlength=ids.max() + 1)[ids]
    border = (
        (found["bbox-0"] == 0)
        | (found["bbox-1"] == 0)
        | (found["bbox-2"] == height)
        | (found["bbox-3"] == width)
    )
    focus = edge_sharpness(density, labels, um)
    table = pd.DataFrame(
        {
            "image": name,
            "cell_id": ids,
            "kind": [kinds[int(i)] for i in ids],
            "centroid_x": found["centroid-1"],
            "centroid_y": found["centroid-0"],
            "bbox_x0": found["bbox-1"],
            "bbox_y0": found["bbox-0"],
            "bbox_x1": found["bbox-3"],
            "bbox_y1": found["bbox-2"],
            "area_px": area,
            "area_um2": area * pixel_size.um**2 if pixel_size.um else np.nan,
            "nucleus_area_px": nucleus,
            "nc_ratio": nucleus / area,
            "eccentricity": found["eccentricity"],
            "solidity": np.minimum(found["solidity"], 1.0),
            "touches_border": border,
            "focus": focus,
            "qc": ["border" if b else "ok" for b in border],
            "pixel_size_um": np.nan if pixel_size.um is None else pixel_size.um,
            "pixel_size_source": pixel_size.source,
        }
    )
    return table[list(CELL_COLUMNS)].astype(_DTYPES)


def empty_table() -> pd.DataFrame:
    """Table without cells: the right columns and dtypes."""
    return pd.DataFrame({name: pd.Series(dtype=_DTYPES[name]) for name in CELL_COLUMNS})


def edge_sharpness(density: Float32Array, labels: Int32Array, um: float) -> Float32Array:
    """Steepest edges of each cell in 1/um: gradient of the density over its range.

    A knife edge seen through a Gaussian blur of sigma s um has a steepness of
    ``0.4 / s``, whatever the stain and the light: 1 and more is sharp.
    """
    smooth = ndi.gaussian_filter(density, 1.0)
    slope = np.hypot(*np.gradient(smooth)) / um
    values = []
    for i, box in enumerate(ndi.find_objects(labels), 1):
        if box is None:
            continue
        own = labels[box] == i
        low, high = np.percentile(smooth[box], (2, 98))
        steep = np.percentile(slope[box][own], 95)
        values.append(steep / max(high - low, 0.05))
    return np.asarray(values, np.float32)
