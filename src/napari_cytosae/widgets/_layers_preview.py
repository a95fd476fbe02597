"""The Labels layer that previews the cells of what the canvas shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels
from psygnal import Signal

from napari_cytosae.widgets._colours import preview_colormap
from napari_cytosae.widgets._layer_facts import TAG, role_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_cytosae.core.types import Cells
    from napari_cytosae.widgets._layers import CanvasLayers

SIDE_PX = 1500
"""Most that is previewed of each side: a second of work."""
_CONTOUR_PX = 2

Box = tuple[int, int, int, int]
"""``y0, x0, y1, x1`` in pixels of the source image, half-open."""


class PreviewLayer:
    """Our preview, and what the canvas shows of the source image.

    Signals
    -------
    view_moved
        The camera moved, while watched.
    deleted
        The analyst took the layer away.
    """

    view_moved = Signal()
    deleted = Signal()

    def __init__(self, canvas: CanvasLayers, viewer: ViewerModel) -> None:
        self._canvas, self._viewer = canvas, viewer
        self._watched = False
        canvas.removed.connect(self._on_removed)

    def close(self) -> None:
        """Hear nothing more of layers and camera."""
        self.watch(False)
        self._canvas.removed.disconnect(self._on_removed)

    def watch(self, on: bool) -> None:
        """Announce the camera's moves, or do not."""
        if on == self._watched:
            return
        self._watched = on
        events = self._viewer.scene.camera.events
        for event in (events.center, events.zoom):
            (event.connect if on else event.disconnect)(self._on_camera)

    def box(self) -> Box | None:
        """What of the source image is in view, at most `SIDE_PX` a side in the middle.

        None where nothing of it is; of a slide in a pyramid, of which napari then keeps
        what it drew last, the nearest part of that.
        """
        source = self._canvas.source
        if source is None:
            return None
        corners = source.corner_pixels[:, -2:].astype(float)
        shape = source.data[0].shape if source.multiscale else source.data.shape
        if source.multiscale:
            # They are those of the level that is drawn.
            corners *= np.asarray(source.downsample_factors)[source.data_level][-2:]
        last = shape[:2] if source.rgb else shape[-2:]
        low = np.maximum(corners[0].round().astype(int), 0)
        high = np.minimum(corners[1].round().astype(int) + 1, last)
        world = np.zeros(source.ndim)
        world[-2:] = self._viewer.scene.camera.center[-2:]
        middle = np.asarray(source.world_to_data(world))[-2:].round().astype(int)
        start = np.clip(middle - SIDE_PX // 2, low, np.maximum(low, high - SIDE_PX))
        end = np.minimum(start + SIDE_PX, high)
        if (end - start).min() <= 1:
            return None
        return int(start[0]), int(start[1]), int(end[0]), int(end[1])

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
            layer.contour = _CONTOUR_PX
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

    def _on_camera(self, event: object = None) -> None:
        self.view_moved.emit()

    def _on_removed(self, layer: Layer, by_us: bool) -> None:
        if role_of(layer).get("role") == "preview" and not by_us:
            self.deleted.emit()
