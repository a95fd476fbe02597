"""Where the analyst points and clicks on the source image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari.components import ViewerModel

    from napari_cytosae.widgets._layers import CanvasLayers

_CLICK_PX = 4


class Pointer:
    """The mouse on a viewer's canvas; `canvas` announces what it does."""

    def __init__(self, canvas: CanvasLayers, viewer: ViewerModel) -> None:
        self._canvas, self._viewer = canvas, viewer
        viewer.mouse_drag_callbacks.append(self._on_drag)
        viewer.mouse_move_callbacks.append(self._on_move)

    def close(self) -> None:
        """Leave the mouse."""
        if self._on_drag in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._on_drag)
        if self._on_move in self._viewer.mouse_move_callbacks:
            self._viewer.mouse_move_callbacks.remove(self._on_move)

    def _on_move(self, viewer: ViewerModel, event: Any) -> None:
        source = self._canvas.source
        if source is not None:
            y, x = source.world_to_data(event.position)[-2:]
            self._canvas.hovered.emit(float(y), float(x))

    def _on_drag(self, viewer: ViewerModel, event: Any) -> Generator[None, None, None]:
        source = self._canvas.source
        if event.button != 1 or source is None:
            return
        active = viewer.layers.selection.active
        if active is not None and str(active.mode) != "pan_zoom":
            return
        start = np.asarray(event.pos, dtype=float)
        held = {str(getattr(m, "name", m)) for m in event.modifiers}
        yield
        while event.type == "mouse_move":
            if np.abs(np.asarray(event.pos) - start).max() > _CLICK_PX:
                return
            yield
        y, x = source.world_to_data(event.position)[-2:]
        if "Control" in held:
            self._canvas.picked.emit(float(y), float(x))
        else:
            self._canvas.clicked.emit(float(y), float(x), "Shift" in held)
