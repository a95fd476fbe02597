"""The Labels layer in which a part of a slide's cells is corrected by hand.

A slide's own cells are a lazy pyramid, which napari cannot edit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels
from psygnal import Signal

from napari_cytosae.widgets._colours import OUTLINE_PX, outline_colormap
from napari_cytosae.widgets._layer_facts import (
    TAG,
    Box,
    let_go,
    merge_features,
    pick_new_label,
    role_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari.layers import Layer

    from napari_cytosae.core.types import Cells, Int32Array
    from napari_cytosae.widgets._layers import CanvasLayers
    from napari_cytosae.widgets._tasks import Corrected


class CorrectionLayer:
    """Our layer for corrections of the source image's cells.

    Signals
    -------
    changed
        The layer came or went.
    """

    changed = Signal()

    def __init__(self, canvas: CanvasLayers) -> None:
        self._canvas = canvas
        canvas.removed.connect(self._on_removed)

    def close(self) -> None:
        """Hear nothing more of layers."""
        self._canvas.removed.disconnect(self._on_removed)

    def layer(self) -> Labels | None:
        """The layer, or None."""
        found = next(iter(self._canvas.of_source("correction")), None)
        return found if isinstance(found, Labels) else None

    def box(self) -> Box | None:
        """What of the source image the layer covers; None without one, or with a stack."""
        layer = self.layer()
        if layer is None or layer.data.ndim != 2:
            return None
        (y, x), (height, width) = role_of(layer)["offset"], layer.data.shape
        return y, x, y + height, x + width

    def edited(self) -> bool:
        """Whether there is something in the layer that the cells do not have yet."""
        layer = self.layer()
        return layer is not None and not np.array_equal(layer.data, role_of(layer)["shown"])

    def open(
        self, cells: Cells, box: Box, labels: Int32Array, hidden: Collection[int] = ()
    ) -> Labels:
        """Show `labels`, those of `cells` in `box`, ready to be painted in."""
        self.remove()
        tag = {
            "role": "correction",
            "source": self._canvas.source_id(),
            "offset": box[:2],
            "cells": cells,
            "shown": labels.copy(),
        }
        layer = Labels(labels, name="Correction", opacity=0.9, metadata={TAG: tag})
        layer.contour = OUTLINE_PX
        pick_new_label(layer, cells.table)
        self._canvas.place(layer)
        self._canvas.add(layer, select=True)
        self.dress(cells, hidden)
        self.changed.emit()
        return layer

    def adopt(self, layer: Labels, made: Corrected) -> None:
        """Take `layer` for a part of the cells made of what was painted in it."""
        layer.metadata[TAG] |= {"cells": made.correction.cells, "shown": made.labels}
        write_ids(layer, made)
        pick_new_label(layer, made.correction.cells.table)

    def dress(self, cells: Cells, hidden: Collection[int] = ()) -> None:
        """Colours and features for the cells in view of the layer.

        A layer that was cut out of other cells is taken away, or where it was painted in,
        left to the analyst.
        """
        layer, box = self.layer(), self.box()
        if layer is None or box is None:
            return
        if role_of(layer)["cells"] is not cells:
            if self.edited():
                let_go(layer)
                self.changed.emit()
            else:
                self.remove()
            return
        here = replace(cells, table=cells.reaching_into(box))
        layer.features = merge_features(layer.features, here.table)
        layer.colormap = outline_colormap(here, hidden)

    def remove(self) -> None:
        """Take the layer away."""
        layer = self.layer()
        if layer is not None:
            self._canvas.remove(layer)

    def _on_removed(self, layer: Layer, by_us: bool) -> None:
        if role_of(layer).get("role") == "correction":
            self.changed.emit()


def write_ids(layer: Labels, made: Corrected) -> None:
    """Write the ids of the cells where others were painted in a layer.

    It is one step with the last stroke, so that one undo takes back both; what was painted
    meanwhile stays a step of its own.
    """
    if not made.renamed[0].size:
        return
    # napari joins steps itself only while a mouse button is held.
    steps = getattr(layer, "_undo_history", [])
    joins = len(steps) > 0 and np.array_equal(layer.data, made.painted)
    layer.data_setitem(made.renamed, made.labels[made.renamed])
    if joins:
        ours = steps.pop()
        steps.append([*steps.pop(), *ours])
