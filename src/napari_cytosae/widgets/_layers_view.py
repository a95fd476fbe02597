"""What the canvas shows of the source image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_cytosae.widgets._layer_facts import Box
    from napari_cytosae.widgets._layers import CanvasLayers

SIDE_PX = 1500
"""Most of each side that is previewed, a second of work, or corrected at once."""

_CELL_PX_ON_SCREEN = 60
_SHARE = 1 / 3
"""Of the canvas that a cell takes which was too small or too large."""


class View:
    """The camera over the source image.

    Signals
    -------
    moved
        The camera moved, while watched.
    """

    moved = Signal()

    def __init__(self, canvas: CanvasLayers, viewer: ViewerModel) -> None:
        self._canvas, self._viewer = canvas, viewer
        self._watched = False

    def close(self) -> None:
        """Hear nothing more of the camera."""
        self.watch(False)

    def watch(self, on: bool) -> None:
        """Announce the camera's moves, or do not."""
        if on == self._watched:
            return
        self._watched = on
        events = self._viewer.scene.camera.events
        for event in (events.center, events.zoom):
            (event.connect if on else event.disconnect)(self._on_camera)

    def bring_up(self) -> None:
        """Let the source image be seen with its outlines: smears over it are hidden.

        So are the outlines of all others, which would be taken for its own. Nothing is
        touched where it is seen already.
        """
        canvas, source = self._canvas, self._canvas.source
        if source is None:
            return
        images, own = canvas.images(), canvas.of_source("cells")
        over = [
            *(
                layer
                for layer in images[images.index(source) + 1 :]
                if layer.rgb or canvas.opened.images_of(layer)
            ),
            *(outlines for outlines in canvas.tagged("cells") if outlines not in own),
        ]
        if source.visible and not any(layer.visible for layer in over):
            return
        for layer in over:
            layer.visible = False
        for layer in (source, *own):
            layer.visible = True
        # What the layer controls and the status bar tell is of the image that is seen.
        if canvas.preferred_image() in over:
            canvas.select(source)

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

    def go_to(self, y: float, x: float, size: float, share: float = _SHARE) -> None:
        """Bring a place of the source image into view.

        The zoom stays unless what is `size` px large would be tiny, or not seen whole; then
        it takes this share of the canvas.
        """
        source = self._canvas.source
        if source is None:
            return
        above = [0.0] * (source.ndim - 2)
        here = np.asarray(source.data_to_world((*above, y, x)))
        edge = np.asarray(source.data_to_world((*above, y, x + size)))
        camera = self._viewer.scene.camera
        camera.center = tuple(here[-2:])
        on_screen = float(np.linalg.norm(edge - here)) * camera.zoom
        room = float(min(self._viewer.canvas.size))
        if on_screen > 0 and not _CELL_PX_ON_SCREEN <= on_screen <= room:
            camera.zoom *= share * room / on_screen

    def camera(self) -> tuple[float, float, float] | None:
        """What the middle of the canvas shows, as ``y, x`` of the source, and its zoom.

        The zoom is in px of the screen by pixel; None without a source.
        """
        source, camera = self._canvas.source, self._viewer.scene.camera
        if source is None:
            return None
        world = np.zeros(source.ndim)
        world[-2:] = camera.center[-2:]
        y, x = np.asarray(source.world_to_data(world), float)[-2:].tolist()
        return y, x, float(camera.zoom) * self._pixel(y, x)

    def set_camera(self, y: float, x: float, zoom: float) -> None:
        """Show what `camera` said."""
        source, camera = self._canvas.source, self._viewer.scene.camera
        if source is None or not zoom > 0:
            return
        camera.center = tuple(self._world(y, x)[-2:])
        camera.zoom = zoom / self._pixel(y, x)

    def _world(self, y: float, x: float) -> np.ndarray:
        source = self._canvas.source
        assert source is not None
        return np.asarray(source.data_to_world((*[0.0] * (source.ndim - 2), y, x)), float)

    def _pixel(self, y: float, x: float) -> float:
        """Length of a pixel of the source in the world."""
        return float(np.linalg.norm(self._world(y, x + 1) - self._world(y, x)))

    def _on_camera(self, event: object = None) -> None:
        self.moved.emit()
