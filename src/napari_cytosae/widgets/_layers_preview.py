"""The Labels layer that previews the cells of what the canvas shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels
from psygnal import Signal

from napari_cytosae.widgets._colours import OUTLINE_PX, preview_colormap
from napari_cytosae.widgets._layer_facts import TAG, Box, role_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari.layers import Layer

    from napari_cytosae.core.types import Cells
    from napari_cytosae.widgets._layers import CanvasLayers


class PreviewLayer:
    """Our preview.

    Signals
    -------
    deleted
        The analyst took the layer away.
    """

    deleted = Signal()

    def __init__(self, canvas: CanvasLayers) -> None:
        self._canvas = canvas
        canvas.removed.connect(self._on_removed)

    def close(self) -> None:
        """Hear nothing more of layers."""
        self._canvas.removed.disconnect(self._on_removed)

    def layer(self) -> Labels | None:
        """The layer, or None."""
        found = next(iter(self._canvas.tagged("preview")), None)
        return found if isinstance(found, Labels) else None

    def show(self, cells: Cells, box: Box, hidden: Collection[int] = ()) -> None:
        """Outline the cells of a box of the source image; `hidden` ones are not drawn."""
        layer = self.layer()
        labels = np.asarray(cells.labels)
        tag = {"role": "preview", "source": self._canvas.source_id(), "offset": box[:2]}
        if layer is None:
            layer = Labels(labels, name="Preview", opacity=1.0, metadata={TAG: tag})
            layer.contour = OUTLINE_PX
            layer.editable = False
            layer.colormap = preview_colormap(hidden)
            self._canvas.place(layer)
            self._canvas.add(layer)
            return
        layer.metadata[TAG] = tag
        layer.data = labels
        layer.colormap = preview_colormap(hidden)
        self._canvas.place(layer)

    def remove(self) -> None:
        """Take the preview away."""
        layer = self.layer()
        if layer is not None:
            self._canvas.remove(layer)

    def _on_removed(self, layer: Layer, by_us: bool) -> None:
        if role_of(layer).get("role") == "preview" and not by_us:
            self.deleted.emit()
