"""One level of an activation map's pyramid, as viewers and numpy read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari_cytosae.core.overlay import OverlayMap
    from napari_cytosae.core.types import Float32Array

CHUNK = 256
"""Side in px of the pieces that a viewer should ask for: it asks again at their edges."""

KEPT_PIXELS = 2**21
"""A level of no more is kept: 8 MB, about what a screen shows."""


class MapLevel:
    """Every `step`-th pixel of a map, float32 (H, W), computed where it is sliced.

    Unlike a dask array it computes on the caller's thread and no more than is asked for:
    what a viewer shows of a map takes milliseconds, less than dask needs to hand it out.
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
    ndim = 2

    def __init__(self, overlay: OverlayMap, step: int) -> None:
        self._overlay, self.step = overlay, step
        height, width = overlay.shape
        self.shape = (-(-height // step), -(-width // step))
        self.chunks = (CHUNK, CHUNK)
        self._kept: Float32Array | None = None

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Float32Array:
        """The pixels under ints and slices, as numpy would give them."""
        parts = key if isinstance(key, tuple) else (key,)
        if Ellipsis in parts:
            at = parts.index(Ellipsis)
            missing = self.ndim - len(parts) + 1
            parts = (*parts[:at], *[slice(None)] * missing, *parts[at + 1 :])
        parts = (*parts, *[slice(None)] * (self.ndim - len(parts)))
        if self.size <= KEPT_PIXELS:
            if self._kept is None:
                self._kept = self._overlay.region(0, 0, *self._overlay.shape, self.step)
            return self._kept[parts]
        rows, columns = (
            range(length)[part] for part, length in zip(parts, self.shape, strict=True)
        )
        (top, bottom), (left, right) = _hull(rows), _hull(columns)
        step, (height, width) = self.step, self._overlay.shape
        region = self._overlay.region(
            top * step,
            left * step,
            min(bottom * step, height),
            min(right * step, width),
            step,
        )
        return region[_within(rows, top), _within(columns, left)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of it, as numpy asks for it."""
        return np.asarray(self[:, :], dtype)


def _hull(pixels: int | range) -> tuple[int, int]:
    """First and one past the last of some pixels."""
    if isinstance(pixels, int):
        return pixels, pixels + 1
    if not pixels:
        return 0, 0
    return min(pixels), max(pixels) + 1


def _within(pixels: int | range, start: int) -> int | slice:
    """The same pixels, counted from `start`."""
    if isinstance(pixels, int):
        return pixels - start
    if not pixels:
        return slice(0, 0)
    stop = pixels.stop - start
    return slice(pixels.start - start, stop if stop >= 0 else None, pixels.step)
