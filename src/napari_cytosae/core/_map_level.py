"""One level of an activation map's pyramid, as viewers and numpy read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.core._lazy_level import LazyLevel

if TYPE_CHECKING:
    from napari_cytosae.core.overlay import OverlayMap
    from napari_cytosae.core.types import Float32Array

CHUNK = 256
"""Side in px of the pieces that a viewer should ask for: it asks again at their edges."""

KEPT_PIXELS = 2**21
"""A level of no more is kept: 8 MB, about what a screen shows."""


class MapLevel(LazyLevel):
    """Every `step`-th pixel of a map, float32 (H, W), computed where it is sliced.

    A level that fits on a screen is computed whole and kept, so that nothing is computed
    while the view moves over it.

    Parameters
    ----------
    overlay : OverlayMap
        The map.
    step : int
        Pixels of the slide between two of this level.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, overlay: OverlayMap, step: int) -> None:
        height, width = overlay.shape
        super().__init__((-(-height // step), -(-width // step)))
        self._overlay, self.step = overlay, step
        self.chunks = (CHUNK, CHUNK)
        self._kept: Float32Array | None = None

    def _region(self, top: int, left: int, bottom: int, right: int) -> Float32Array:
        if self.size <= KEPT_PIXELS:
            if self._kept is None:
                self._kept = self._computed(0, 0, *self.shape)
            return self._kept[top:bottom, left:right]
        return self._computed(top, left, bottom, right)

    def _computed(self, top: int, left: int, bottom: int, right: int) -> Float32Array:
        step, (height, width) = self.step, self._overlay.shape
        bottom, right = min(bottom * step, height), min(right * step, width)
        return self._overlay.region(top * step, left * step, bottom, right, step)
