"""Label images -> the table of cells: place, size, shape, focus, quality."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import ndimage as ndi

from napari_cytosae.core._shape import consecutive, shapes, solidity, touching_share
from napari_cytosae.core._window import smoothed
from napari_cytosae.core.types import CELL_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_cytosae.core.types import (
        BoolArray,
        CellKind,
        Float32Array,
        Float64Array,
        Int32Array,
        PixelSize,
    )

_CLUMP_UM2 = {"wbc": 330.0, "rbc": 80.0, "platelet": 25.0}
"""Largest single cell: a blast spread to 20 um, a macrocyte of 10 um."""
_AMONG = 0.5
"""Share of its outline that a white cell has in common with others in a clump."""
_SMUDGE_UM2 = 60.0
_BURST = 0.65
"""Share of the other nuclei's median density that a burst and spread one has left."""
_NAKED_UM = 0.6
"""Mean width of the cytoplasm below which it is but the blur of the nucleus."""
_BLURRED = 0.5
_OVERSTAINED = 1.3
_UNDERSTAINED = 0.15
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
        Optical density of green light, 0 on glass.
    labels, nuclei : ndarray of int32, (H, W)
        Same ids.
    kinds : mapping of int to CellKind
        Kind of each id.
    pixel_size : PixelSize
        As written to the table; areas in um2 are empty where its `um` is None.
    um : float
        Pixel size that size rules use, known or relative.
    name : str
        Column ``image``.
    """
    if not labels.any():
        return empty_table()
    ids, labels = consecutive(labels)
    nuclei = np.where(nuclei > 0, labels, 0)
    shape = shapes(labels)
    boxes = ndi.find_objects(labels)
    cells = [labels[box] == i for i, box in enumerate(boxes, 1)]
    rows, columns = zip(*boxes, strict=True)
    area = shape.area[1:]
    kind = [kinds[i] for i in ids.tolist()]
    nuclear = np.bincount(nuclei.ravel(), minlength=len(ids) + 1)[1:]
    pixel_um = np.nan if pixel_size.um is None else pixel_size.um
    values = {
        "image": name,
        "cell_id": ids,
        "kind": kind,
        "centroid_x": shape.x[1:],
        "centroid_y": shape.y[1:],
        "bbox_x0": [side.start for side in columns],
        "bbox_y0": [side.start for side in rows],
        "bbox_x1": [side.stop for side in columns],
        "bbox_y1": [side.stop for side in rows],
        "area_px": area,
        "area_um2": area * pixel_um**2,
        "nucleus_area_px": nuclear,
        "nc_ratio": nuclear / area,
        "eccentricity": shape.eccentricity[1:],
        "solidity": solidity(labels)[1:],
        "touches_border": shape.cut[1:],
        "focus": edge_sharpness(density, cells, boxes, um),
        "qc": "",
        "pixel_size_um": pixel_um,
        "pixel_size_source": pixel_size.source,
    }
    # Typed as arrays: pandas takes longer to cast the columns than all shapes take.
    typed = {name: np.asarray(values[name], _DTYPES[name]) for name in CELL_COLUMNS}
    table = pd.DataFrame({name: np.broadcast_to(c, len(ids)) for name, c in typed.items()})
    stain, rims = np.full((2, len(ids)), np.nan)
    for i, (cell, box) in enumerate(zip(cells, boxes, strict=True)):
        nucleus = nuclei[box] == i + 1 if nuclear[i] else np.zeros_like(cell)
        if nuclear[i]:
            stain[i] = np.median(density[box][nucleus])
        if kind[i] == "wbc":
            rims[i] = _rim(cell, nucleus) * um
    among = np.zeros(len(ids))
    if kind.count("wbc") > 1:
        white = np.append(False, table.kind == "wbc")
        shared = touching_share(np.where(white, np.arange(len(white)), 0)[labels])
        among[: len(shared) - 1] = shared[1:]
    table["qc"] = quality(table, stain, rims, among, um)
    return table


def _rim(cell: BoolArray, nucleus: BoolArray) -> float:
    """Mean width in pixels of what surrounds the nucleus of a cell."""
    outline = cell & ~ndi.binary_erosion(cell)
    return float(np.sum(cell & ~nucleus) / np.sum(outline))


def empty_table() -> pd.DataFrame:
    """Table without cells: the right columns and dtypes."""
    return pd.DataFrame({name: pd.Series(dtype=_DTYPES[name]) for name in CELL_COLUMNS})


def moved(table: pd.DataFrame, y: int, x: int) -> pd.DataFrame:
    """The table of a part of an image, with positions of the image it begins in at y, x."""
    shifts = {
        f"{column}_{axis}{end}": start
        for axis, start in (("y", y), ("x", x))
        for column, end in (("centroid", ""), ("bbox", "0"), ("bbox", "1"))
    }
    return table.assign(**{name: table[name] + by for name, by in shifts.items()})


def edge_sharpness(
    density: Float32Array,
    cells: Sequence[BoolArray],
    boxes: Sequence[tuple[slice, ...]],
    um: float,
) -> list[float]:
    """Steepest edges of each cell in 1/um: gradient of the density over its range.

    An edge seen through a Gaussian blur of standard deviation s um has a steepness of
    ``1 / (s sqrt(2 pi))``, 0.4 / s, whatever the stain and the light: 1 is sharp, 0.5 is
    blurred over 0.8 um. The 95th percentile over the cell and the central 96 % of the
    density in its box make it robust against specks. 0 for cells under 3 px.

    Parameters
    ----------
    density : ndarray of float32, (H, W)
        Optical density.
    cells : sequence of ndarray of bool, (h, w)
        The pixels of each cell in its box.
    boxes : sequence of (slice, slice)
        Rows and columns.
    um : float
        Pixel size.
    """
    if min(density.shape) < 2:
        return [0.0] * len(cells)
    smooth = smoothed(density, 1)
    slopes = np.hypot(*np.gradient(smooth))
    found = []
    for cell, box in zip(cells, boxes, strict=True):
        if min(cell.shape) < 3:
            found.append(0.0)
            continue
        values = np.sort(smooth[box], axis=None)
        extent = _percentile(values, 98) - _percentile(values, 2)
        steepest = _percentile(np.sort(slopes[box][cell]), 95) / um
        found.append(steepest / max(extent, 0.05))
    return found


def _percentile(ordered: Float32Array, share: float) -> float:
    """`np.percentile` of values that are in order."""
    at = share / 100 * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return float(ordered[low] + (at - low) * float(ordered[high] - ordered[low]))


def quality(
    table: pd.DataFrame,
    stain: Float64Array,
    rim_um: Float64Array,
    among: Float64Array,
    um: float,
) -> list[str]:
    """Reasons against each cell, joined by ``; ``, or ``ok``.

    ``border``: cut by the edge of the image. ``out of focus``: see `edge_sharpness`.
    ``clump``: larger than one cell can be, or so deep among white cells that its outline is
    theirs. ``smudge``: a nucleus without cytoplasm and
    without an outline of its own, or far paler than the others in view.
    ``overstained``, ``understained``: no detail left in the nucleus, or hardly any dye.

    Parameters
    ----------
    table : DataFrame
        Columns ``kind``, ``area_px``, ``solidity``, ``touches_border`` and ``focus``.
    stain : ndarray of float64, (n,)
        Median green density of each nucleus, NaN where there is none.
    rim_um : ndarray of float64, (n,)
        Mean width of the cytoplasm of each white cell, in um.
    among : ndarray of float64, (n,)
        Share of each white cell's outline that borders on other white cells.
    um : float
        Pixel size.
    """
    white = (table.kind == "wbc").to_numpy()
    area = table.area_px.to_numpy() * um**2
    limit = table.kind.map(_CLUMP_UM2).to_numpy()
    # A share of the area would not do: the rim that blur leaves is long where ragged.
    naked = (rim_um < _NAKED_UM) & (table.solidity < 0.9).to_numpy()
    nuclei = stain[white & ~np.isnan(stain)]
    burst = stain < _BURST * np.median(nuclei) if len(nuclei) >= 3 else white & False
    flags = {
        "border": table.touches_border.to_numpy(),
        "out of focus": (table.focus < _BLURRED).to_numpy(),
        "clump": (area > limit) | (among > _AMONG),
        "smudge": white & (naked | burst) & (area > _SMUDGE_UM2),
        "overstained": white & (stain > _OVERSTAINED),
        "understained": white & (stain < _UNDERSTAINED),
    }
    return [
        "; ".join(flag for flag, hit in flags.items() if hit[i]) or "ok"
        for i in range(len(table))
    ]
