"""Pyramids of labels that are read, or drawn, where a viewer looks."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cytosae.core._lazy_level import LazyLevel

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cytosae.core.types import Int32Array

    Piece = Callable[[int, int, int], Int32Array]
    """Labels of the piece in a level, a row and a column of pieces."""

PIECE = 512
"""Side in px of what is read at once, and kept."""

_KEPT = 128
"""Pieces of all levels together: 1 MB each, some screens of them."""

_COARSEST = 1024
"""Side in px below which a level needs no coarser one."""


class LabelLevel(LazyLevel):
    """Labels int32 (H, W) of one level, of pieces that are kept for a while.

    Parameters
    ----------
    shape : (int, int)
        Height and width in px.
    level : int
        Its number, from the finest.
    piece : callable
        Reads, or remembers, the labels of a piece; those at the edges are smaller.
    """

    dtype = np.dtype(np.int32)

    def __init__(self, shape: tuple[int, int], level: int, piece: Piece) -> None:
        super().__init__(shape)
        self._level, self._piece = level, piece

    def _region(self, top: int, left: int, bottom: int, right: int) -> Int32Array:
        labels = np.zeros((bottom - top, right - left), np.int32)
        for row in range(top // PIECE, -(-bottom // PIECE)):
            for column in range(left // PIECE, -(-right // PIECE)):
                piece = self._piece(self._level, row, column)
                y, x = row * PIECE, column * PIECE
                part = piece[max(0, top - y) : bottom - y, max(0, left - x) : right - x]
                y, x = max(0, y - top), max(0, x - left)
                labels[y : y + part.shape[0], x : x + part.shape[1]] = part
        return labels


def label_levels(shape: tuple[int, int], thinned: Callable[[int], Any]) -> list[LabelLevel]:
    """Labels of a slide for a viewer, each level half as wide as the one before.

    Parameters
    ----------
    shape : (int, int)
        Of the slide in px.
    thinned : callable
        Takes a step and gives every so-many-th pixel of the labels, read where it is
        sliced; they must not change any more.
    """
    exponent = max(0, int(np.ceil(np.log2(max(shape) / _COARSEST))))
    levels = [thinned(2**level) for level in range(exponent + 1)]

    @lru_cache(maxsize=_KEPT)
    def piece(level: int, row: int, column: int) -> Int32Array:
        height, width = levels[level].shape
        y, x = row * PIECE, column * PIECE
        labels: Int32Array = levels[level][
            y : min(y + PIECE, height), x : min(x + PIECE, width)
        ]
        return labels

    return [LabelLevel(each.shape, number, piece) for number, each in enumerate(levels)]
