"""Whether a concept means the same when nothing that matters has changed.

The user's own cells are cut out a little beside, turned, and stained a little differently,
and encoded again: a concept that answers to such changes is named with care.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_cytosae.core.crops import cut, pixels_of
from napari_cytosae.core.types import CytoError, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from scipy.sparse import csr_array

    from napari_cytosae.core._level import Level
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import Crops, Float64Array, Image, UInt8Array

CHANGES = ("shift", "rotation", "stain")
"""What is done to the cells, in order."""

MAX_CELLS = 64
"""Cells that suffice to tell."""

SHIFT = 0.5
"""Of a patch: as far from the patches' grid as can be."""

ROTATION_DEGREES = 10.0
STAIN = 0.05
"""Change of the amount of each stain, as in Tellez et al. 2018 (light HED)."""


def measure_stability(
    models: Models, image: Image | Pyramid, crops: Crops, cells: int = MAX_CELLS
) -> Generator[Progress, None, pd.DataFrame]:
    """Encode changed cells, and compare how much of each concept is in each cell.

    Parameters
    ----------
    models : Models
        As `load_models` gives them.
    image : Image or Pyramid
        The smear: a shifted crop shows what is really there.
    crops : Crops
        Of its cells.
    cells : int
        As many are used, evenly spread over them.

    Yields
    ------
    Progress
        After each batch of cells.

    Returns
    -------
    DataFrame
        Index ``concept``, those that fire in the cells used; one column for each of
        `CHANGES` and ``stability``, the smallest of them. A number is
        1 - sum |a - b| / sum (a + b) over the cells, with a and b the mean activation over
        the patches before and after (Bray and Curtis 1957): 1 where nothing changes, 0
        where the concept is never found again in the same cell.

    Raises
    ------
    CytoError
        If there are no cells.
    """
    if not len(crops):
        raise CytoError("There are no cells to measure a concept's stability on.")
    chosen = np.unique(np.linspace(0, len(crops) - 1, min(cells, len(crops))).astype(int))
    steps: list[Callable[[int], UInt8Array]] = [
        lambda i: crops.images[i],
        lambda i: shifted(pixels_of(image), crops.boxes[i], models.grid),
        lambda i: rotated(crops.images[i]),
        lambda i: restained(crops.images[i], seed=i),
    ]
    total = len(steps) * len(chosen)
    done = 0
    means = []
    yield Progress("Stability", 0, total)
    for step in steps:
        parts = []
        for start in range(0, len(chosen), models.batch_size):
            batch = [step(int(i)) for i in chosen[start : start + models.batch_size]]
            parts.append(models.encode(batch).mean)
            done += len(batch)
            yield Progress("Stability", done, total)
        means.append(_stacked(parts))
    before = means[0]
    concept = np.unique(before.indices[before.data > 0])
    table = pd.DataFrame(
        {
            name: agreement(before, after)[concept]
            for name, after in zip(CHANGES, means[1:], strict=True)
        },
        index=pd.Index(concept, name="concept"),
    )
    table["stability"] = table.min(axis=1)
    return table


def agreement(before: csr_array, after: csr_array) -> Float64Array:
    """1 - sum |a - b| / sum (a + b) of each column, (d_sae,); NaN where both are 0."""
    difference = abs(before - after).sum(axis=0)
    total = (before + after).sum(axis=0)
    result = np.full(before.shape[1], np.nan)
    np.divide(total - difference, total, out=result, where=total > 0)
    return result


def shifted(pixels: UInt8Array | Level, box: np.ndarray, grid: int) -> UInt8Array:
    """What a crop shows that lies half a patch further to the right and below."""
    y0, x0, y1, x1 = (int(edge) for edge in box)
    down, right = (max(1, round(SHIFT * side / grid)) for side in (y1 - y0, x1 - x0))
    return cut(pixels, np.array([y0 + down, x0 + right, y1 + down, x1 + right]))


def rotated(crop: UInt8Array, degrees: float = ROTATION_DEGREES) -> UInt8Array:
    """A crop turned about its centre, mirrored at its edges."""
    from skimage.transform import rotate

    turned = rotate(crop, degrees, mode="reflect", preserve_range=True)
    return np.asarray(np.rint(turned), dtype=np.uint8)


def restained(crop: UInt8Array, amount: float = STAIN, seed: int = 0) -> UInt8Array:
    """A crop with a little more or less of each stain.

    The stains are separated as in Ruifrok and Johnston 2001, but without cutting off what
    is negative there, so that an amount of 0 changes nothing.
    """
    from skimage.color import hed_from_rgb, rgb_from_hed

    factor = 1 + np.random.default_rng(seed).choice([-amount, amount], 3)
    density = -np.log((crop.astype(np.float64) + 1) / 256)
    changed = density @ hed_from_rgb * factor @ rgb_from_hed
    return np.asarray(np.rint(np.clip(256 * np.exp(-changed) - 1, 0, 255)), dtype=np.uint8)


def _stacked(parts: Sequence[csr_array]) -> csr_array:
    from scipy.sparse import csr_array, vstack

    return csr_array(vstack(parts))
