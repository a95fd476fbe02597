"""In which part of the cells concepts fire, over the cells of any number of images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.core._location import PLACES, mask_fractions, shares_table
from napari_cytosae.core.types import Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import pandas as pd

    from napari_cytosae.core.models import Models
    from napari_cytosae.core.types import Cells, Encoded, Float32Array, Int64Array

BLOCK = 1024
"""Concepts that are located in one pass over the tokens."""


class Locator:
    """Locates concepts block by block; the masks are seen once.

    Parameters
    ----------
    models : Models
        That encoded the cells.
    parts : sequence of (Encoded, Cells)
        Each image's cells, with their tokens, and its masks.
    shown : sequence of ndarray of int64, optional
        Of each image, rows of the cells that count; all by default.
    """

    def __init__(
        self,
        models: Models,
        parts: Sequence[tuple[Encoded, Cells]],
        shown: Sequence[Int64Array] | None = None,
    ) -> None:
        self._models, self._parts, self._shown = models, parts, shown
        self._masks: dict[int, Float32Array] = {}

    def locate(self, concepts: Sequence[int]) -> Generator[Progress, None, pd.DataFrame]:
        """Where concepts fire: one pass over the tokens for each `BLOCK` of them.

        Their maps are summed up a few cells at a time, and never take much memory.

        Yields
        ------
        Progress
            In concepts of all images, several times a second.

        Returns
        -------
        DataFrame
            Of `concepts.location`, over all cells.
        """
        total = len(self._parts) * len(concepts)
        yield Progress("Locating", 0, total, "concepts")
        found = np.zeros((len(concepts), len(PLACES)))
        done = 0
        for start in range(0, len(concepts), BLOCK):
            some = concepts[start : start + BLOCK]
            for index, (encoded, _) in enumerate(self._parts):
                masks = self._masks_of(index)
                sums = self._models.weighted_sums(encoded, some, masks)
                for seen, part in sums:
                    found[start : start + len(some)] += part
                    share = done + len(some) * seen // len(encoded)
                    yield Progress("Locating", share, total, "concepts")
                done += len(some)
        return shares_table(found, concepts)

    def _masks_of(self, index: int) -> Float32Array:
        if index not in self._masks:
            encoded, cells = self._parts[index]
            grid = self._models.grid
            if self._shown is None:
                masks = mask_fractions(cells, encoded.boxes, grid)
            else:
                # What has no place is not counted.
                rows = self._shown[index]
                masks = np.zeros((len(encoded), len(PLACES), grid, grid), np.float32)
                masks[rows] = mask_fractions(cells, encoded.boxes[rows], grid)
            self._masks[index] = masks
        return self._masks[index]


def locate(
    models: Models, parts: Sequence[tuple[Encoded, Cells]], concepts: Sequence[int]
) -> Generator[Progress, None, pd.DataFrame]:
    """Where at least one concept fires: `Locator`, used once."""
    return (yield from Locator(models, parts).locate(concepts))
