"""In which part of the cells concepts fire, over the cells of any number of images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.core._location import PLACES, mask_fractions, shares_table, totals
from napari_cytosae.core.types import Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import pandas as pd

    from napari_cytosae.core.models import Models
    from napari_cytosae.core.types import Cells, Encoded

_VALUES = 8_000_000
"""Of maps that are held at a time."""


def locate(
    models: Models, parts: Sequence[tuple[Encoded, Cells]], concepts: Sequence[int]
) -> Generator[Progress, None, pd.DataFrame]:
    """Where concepts fire, a few at a time, so that their maps never take much memory.

    Parameters
    ----------
    models : Models
        That encoded the cells.
    parts : sequence of (Encoded, Cells)
        Each image's cells, with their tokens, and its masks.
    concepts : sequence of int
        At least one.

    Yields
    ------
    Progress
        In concepts of all images.

    Returns
    -------
    DataFrame
        Of `concepts.location`, over all cells.
    """
    total = len(parts) * len(concepts)
    yield Progress("Locating", 0, total, "concepts")
    found = np.zeros((len(concepts), len(PLACES)))
    for index, (encoded, cells) in enumerate(parts):
        masks = mask_fractions(cells, encoded.boxes, models.grid)
        values = max(1, len(encoded) * models.grid**2)
        at_once = max(1, min(64, _VALUES // values))
        for start in range(0, len(concepts), at_once):
            some = concepts[start : start + at_once]
            grids = models.concept_grids(encoded, some)
            found[start : start + len(some)] += totals(grids, masks)
            done = index * len(concepts) + start + len(some)
            yield Progress("Locating", done, total, "concepts")
    return shares_table(found, concepts)
