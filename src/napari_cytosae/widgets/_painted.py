"""Where the cells of an image are corrected by hand, and what was not taken over yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cytosae.core.label_blocks import LabelBlocks

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_cytosae.core.types import Cells
    from napari_cytosae.widgets._layers import CanvasLayers
    from napari_cytosae.widgets._layers_cells import CellOutlines
    from napari_cytosae.widgets._layers_correction import CorrectionLayer


def of_slide(cells: Cells) -> bool:
    """Whether the cells are those of a slide, which are corrected part by part."""
    return isinstance(cells.labels, LabelBlocks)


def painted_in(layers: CanvasLayers, cells: Cells) -> CellOutlines | CorrectionLayer:
    """What the cells are painted in: their outlines, or of a slide a part of them."""
    return layers.correction if of_slide(cells) else layers.outlines


def edits_left(layers: CanvasLayers, cells: Cells) -> Labels | None:
    """The layer in which something was painted that the cells do not have, or None."""
    slide = of_slide(cells)
    edited = layers.correction.edited() if slide else layers.outlines.edited(cells)
    return painted_in(layers, cells).layer() if edited else None
