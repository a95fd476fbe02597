"""What lies on the glass: dye planes and ground truth of one tile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.synthetic.stain import Dye, Stain

if TYPE_CHECKING:
    from napari_cytosae.core.types import Float32Array, Int32Array

_FAR = np.float32(-1e3)


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a tile that one cell may touch.

    Attributes
    ----------
    area : (slice, slice)
        Rows and columns of the tile.
    y, x : ndarray of float32, (h, 1) and (1, w)
        um from the cell's centre.
    """

    area: tuple[slice, slice]
    y: Float32Array
    x: Float32Array


@dataclass(slots=True, eq=False)
class Canvas:
    """A tile while it is drawn.

    Attributes
    ----------
    pixel_size : float
        um of a stored pixel.
    factor : int
        Odd number of samples along a stored pixel.
    origin : (int, int)
        First stored row and column on the slide.
    shape : (int, int)
        Stored rows and columns.
    dyes : ndarray of float32, (5, h * factor, w * factor)
    labels, nuclei : ndarray of int32, (h * factor, w * factor)
    white : ndarray of float32, (h * factor, w * factor)
        Depth below the outline of the nearest white cell, um: red cells make room.
    """

    pixel_size: float
    factor: int
    origin: tuple[int, int]
    shape: tuple[int, int]
    dyes: Float32Array = field(init=False)
    labels: Int32Array = field(init=False)
    nuclei: Int32Array = field(init=False)
    white: Float32Array = field(init=False)

    def __post_init__(self) -> None:
        fine = (self.shape[0] * self.factor, self.shape[1] * self.factor)
        self.dyes = np.zeros((len(Dye), *fine), np.float32)
        self.labels = np.zeros(fine, np.int32)
        self.nuclei = np.zeros(fine, np.int32)
        self.white = np.full(fine, _FAR)

    @property
    def sample(self) -> float:
        """Distance between samples, um."""
        return self.pixel_size / self.factor

    def window(self, y: float, x: float, reach: float) -> Window | None:
        """The samples within `reach` um of a point of the slide; None where none is."""
        spans, axes = [], []
        for centre, first, size in zip((y, x), self.origin, self.shape, strict=True):
            # The middle sample of stored pixel i lies at i * pixel_size.
            zero = first * self.factor - self.factor // 2
            low = int(np.floor((centre - reach) / self.sample)) - zero
            high = int(np.ceil((centre + reach) / self.sample)) - zero + 1
            low, high = max(low, 0), min(high, size * self.factor)
            if low >= high:
                return None
            spans.append(slice(low, high))
            position = (np.arange(low, high, dtype=np.float64) + zero) * self.sample
            axes.append((position - centre).astype(np.float32))
        return Window((spans[0], spans[1]), axes[0][:, None], axes[1][None, :])

    def everything(self) -> Window:
        """The whole tile, positions counted from the slide's first pixel."""
        axes = []
        for first, size in zip(self.origin, self.shape, strict=True):
            index = np.arange(size * self.factor) + first * self.factor - self.factor // 2
            axes.append((index * self.sample).astype(np.float32))
        return Window((slice(None), slice(None)), axes[0][:, None], axes[1][None, :])

    def add(self, window: Window, dye: Dye, amount: Float32Array) -> None:
        """Lay an amount of dye over a window."""
        self.dyes[dye][window.area] += amount

    def stored(self, plane: Int32Array) -> Int32Array:
        """The label of each stored pixel's centre."""
        middle = self.factor // 2
        return np.ascontiguousarray(plane[middle :: self.factor, middle :: self.factor])

    def density(self, stain: Stain) -> Float32Array:
        """Optical density in red, green and blue; (3, h * factor, w * factor)."""
        density = np.zeros((3, *self.dyes.shape[1:]), np.float32)
        # Summed in fixed order: BLAS rounds differently for another tile shape.
        for plane, absorbance in zip(self.dyes, stain.absorbance, strict=True):
            for channel, coefficient in zip(density, absorbance, strict=True):
                channel += plane * np.float32(coefficient)
        return density
