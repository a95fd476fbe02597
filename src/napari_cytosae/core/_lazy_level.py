"""One level of an image pyramid that is made where it is sliced."""

from __future__ import annotations

from typing import Any

import numpy as np


class LazyLevel:
    """Pixels (H, W) that a viewer and numpy slice, and that a subclass makes by regions.

    Unlike those of a dask array they are made on the caller's thread and no more than are
    asked for: what a viewer shows takes milliseconds, less than dask needs to hand it out,
    and the cache that napari registers with dask fails where two threads compute at once.

    Parameters
    ----------
    shape : (int, int)
        Height and width in px.
    """

    dtype: np.dtype[Any]
    ndim = 2

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray[Any, Any]:
        """The pixels under ints and slices, as numpy would give them."""
        parts = key if isinstance(key, tuple) else (key,)
        if Ellipsis in parts:
            at = parts.index(Ellipsis)
            missing = self.ndim - len(parts) + 1
            parts = (*parts[:at], *[slice(None)] * missing, *parts[at + 1 :])
        parts = (*parts, *[slice(None)] * (self.ndim - len(parts)))
        rows, columns = (
            range(length)[part] for part, length in zip(parts, self.shape, strict=True)
        )
        (top, bottom), (left, right) = _hull(rows), _hull(columns)
        region = self._region(top, left, bottom, right)
        return region[_within(rows, top), _within(columns, left)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of it, as numpy asks for it."""
        return np.asarray(self[:, :], dtype)

    def _region(self, top: int, left: int, bottom: int, right: int) -> np.ndarray[Any, Any]:
        """Pixels (bottom - top, right - left); may be empty, never beyond the level."""
        raise NotImplementedError


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
