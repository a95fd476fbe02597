"""Colours on the canvas: overlays whose alpha follows activation, outlines of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.utils.colormaps import Colormap, DirectLabelColormap
from napari.utils.colormaps.standardize_color import transform_color

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari_cytosae.core.types import Cells

OUTLINES = {"wbc": "#10217a", "rbc": "#7a1030", "platelet": "#5b0f7a"}
"""Dark, so that they are seen on a bright field and never taken for an overlay."""
FLAGGED_OUTLINE = "#ff8c00"
PREVIEW_OUTLINE = "#00853e"
OUTLINE_PX = 2

_STEP = 1e-6


def overlay_colormap(colour: str, threshold: float = 0.0) -> Colormap:
    """A colour whose alpha rises from 0 at activation 0 to 1 at the end of the scale.

    Up to `threshold`, a fraction (0 to 1) of the scale, nothing is drawn.
    """
    rgb = transform_color(colour)[0, :3]
    threshold = float(np.clip(threshold, 0.0, 1.0 - 2 * _STEP))
    if threshold <= 0.0:
        controls, alpha = [0.0, 1.0], [0.0, 1.0]
    else:
        controls = [0.0, threshold, threshold + _STEP, 1.0]
        alpha = [0.0, 0.0, threshold, 1.0]
    colours = np.column_stack([np.tile(rgb, (len(alpha), 1)), alpha])
    return Colormap(colours, name=f"cytosae {colour} {threshold:.3f}", controls=controls)


def outline_colormap(cells: Cells, hidden: Collection[int] = ()) -> DirectLabelColormap:
    """Outlines by kind of cell, flagged ones apart, hidden ones not drawn.

    Cells that are in the layer but not in the table (just painted) get the first colour.
    """
    colours: dict[int | None, str] = {None: OUTLINES["wbc"], 0: "transparent"}
    table = cells.table
    for cell_id, kind, qc in zip(table["cell_id"], table["kind"], table["qc"], strict=True):
        if cell_id in hidden:
            colours[int(cell_id)] = "transparent"
        elif qc != "ok":
            colours[int(cell_id)] = FLAGGED_OUTLINE
        else:
            colours[int(cell_id)] = OUTLINES.get(str(kind), OUTLINES["wbc"])
    return DirectLabelColormap(color_dict=colours)


def preview_colormap(hidden: Collection[int] = ()) -> DirectLabelColormap:
    """One colour for all cells of a preview, hidden ones not drawn."""
    colours: dict[int | None, str] = {None: PREVIEW_OUTLINE, 0: "transparent"}
    colours |= dict.fromkeys(map(int, hidden), "transparent")
    return DirectLabelColormap(color_dict=colours)
