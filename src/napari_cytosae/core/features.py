"""What a hematologist reads off a cell beside the table: in um, its lobes, its colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import ndimage as ndi
from skimage.measure import perimeter_crofton

from napari_cytosae.core._split import split
from napari_cytosae.core.crops import pixels_of

if TYPE_CHECKING:
    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import BoolArray, Cells, Image, UInt8Array

FEATURE_COLUMNS = (
    "cell_id",
    "diameter_um",
    "nucleus_area_um2",
    "roundness",
    "lobes",
    "nucleus_colour",
    "cytoplasm_colour",
)
"""Columns of `cell_features`, in order."""

_NECK = 0.7
"""Share of a lobe's radius to which the nucleus narrows between two lobes."""
_RAGGED = 0.04
"""Share of the square root of the area over which an outline is smoothed."""
_LOBE = 0.08
"""Share of the nucleus that is a lobe and no speck of chromatin."""


def cell_features(image: Image | Pyramid, cells: Cells) -> pd.DataFrame:
    """Features of each cell that ``cells.csv`` does not have.

    Parameters
    ----------
    image : Image or Pyramid
        Of the cells; of a slide the boxes of the cells are read.
    cells : Cells
        As found or corrected.

    Returns
    -------
    DataFrame
        `FEATURE_COLUMNS`, one row a cell in the table's order. ``diameter_um`` is that of
        the disc of the cell's area. ``roundness`` is 4 pi area / perimeter**2 of the
        smoothed outline, with Crofton's perimeter: 1 for a disc. ``lobes`` are the parts
        of the nucleus between necks narrower than 0.7 of the wider part (0 without a
        nucleus). Colours are the median of the pixels, as ``#rrggbb``, empty where there
        are none; of a cell without a nucleus the cytoplasm's is the whole cell's.
    """
    rgb = pixels_of(image)
    columns = ["cell_id", "bbox_y0", "bbox_x0", "bbox_y1", "bbox_x1"]
    um = np.nan if cells.pixel_size.um is None else cells.pixel_size.um
    rows = []
    for cell_id, y0, x0, y1, x1 in cells.table[columns].to_numpy(np.int64).tolist():
        box = slice(y0, y1), slice(x0, x1)
        cell = np.asarray(cells.labels[box]) == cell_id
        nucleus = np.asarray(cells.nuclei[box]) == cell_id
        rows.append(
            (
                cell_id,
                2 * np.sqrt(cell.sum() / np.pi) * um,
                nucleus.sum() * um**2,
                _roundness(cell),
                _lobes(nucleus),
                _colour(rgb[box], nucleus),
                _colour(rgb[box], cell & ~nucleus),
            )
        )
    return pd.DataFrame(rows, columns=list(FEATURE_COLUMNS))


def _roundness(cell: BoolArray) -> float:
    # Perimeters follow every pixel of a ragged outline; its shape is what is asked for.
    sigma = _RAGGED * np.sqrt(cell.sum())
    margin = int(4 * sigma) + 1
    smooth = ndi.gaussian_filter(np.pad(cell, margin).astype(np.float32), sigma) > 0.5
    around = perimeter_crofton(smooth, directions=4)
    return float(min(1.0, 4 * np.pi * smooth.sum() / around**2)) if around else np.nan


def _lobes(nucleus: BoolArray) -> int:
    area = int(nucleus.sum())
    if not area:
        return 0
    # The rule is a ratio of widths; smoothing follows the size of the nucleus.
    sigma = 0.02 * np.sqrt(area)
    parts = np.bincount(split(np.pad(nucleus, 1), _NECK, sigma).ravel())[1:]
    return max(1, int((parts >= _LOBE * area).sum()))


def _colour(rgb: UInt8Array, mask: BoolArray) -> str:
    if not mask.any():
        return ""
    red, green, blue = (round(float(value)) for value in np.median(rgb[mask], axis=0))
    return f"#{red:02x}{green:02x}{blue:02x}"
