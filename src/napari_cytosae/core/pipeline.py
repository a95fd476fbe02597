"""The long jobs, as generators: progress is yielded, the result returned.

They know nothing of threads: whoever drives one may stop between any two steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cytosae.core import encoded_cells
from napari_cytosae.core._encoder import Encoder
from napari_cytosae.core._run import run as run
from napari_cytosae.core.crops import FIELD_OF_VIEW_UM, crop_cells
from napari_cytosae.core.detection import find_cells
from napari_cytosae.core.types import Crops, CytoError, Encoded, Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from napari_cytosae.core._given import GivenLabels
    from napari_cytosae.core.cache import Cache
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import (
        CellKind,
        Cells,
        Image,
        Int32Array,
        Int64Array,
        UInt8Array,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """The cells of one image, where they were cut out, and what the models see in them."""

    cells: Cells
    crops: Crops
    encoded: Encoded


def encode(
    models: Models,
    crops: Sequence[UInt8Array],
    threshold: float = 0.2,
    batch_size: int | None = None,
    keep_tokens: bool = True,
    cache: Cache | None = None,
) -> Generator[Progress, None, Encoded]:
    """Encode crops a batch at a time; a batch that does not fit in memory is halved.

    Parameters
    ----------
    models : Models
        As `load_models` gives them.
    crops : Crops, or sequence of ndarray of uint8, (h, w, 3)
        RGB, of any size.
    threshold : float
        Activation above which a patch counts.
    batch_size : int, optional
        Cells between two steps; what suits the device by default.
    keep_tokens : bool
        Keep the tokens (0.4 MB a cell), from which any concept's map is quickly made.
    cache : Cache, optional
        Cells that are in it are not encoded again, the others are put in.

    Yields
    ------
    Progress
        After each batch, with the batch's `Encoded` as `partial`.

    Returns
    -------
    Encoded
        All cells, in the order of `crops`.

    Raises
    ------
    ImageError
        A crop that is not uint8 RGB.
    CytoError
        Not enough memory for a single cell, or a threshold or batch size that is none.
    """
    size = models.batch_size if batch_size is None else batch_size
    if not (math.isfinite(threshold) and threshold >= 0 and size >= 1):
        raise CytoError(
            f"A threshold of {threshold} and batches of {size} cells make no sense; use a "
            "threshold from 0 on and batches of at least one cell."
        )
    boxes, cell_ids = _whereabouts(crops)
    encoder = Encoder(models, crops, threshold, keep_tokens, cache)
    parts: list[Encoded] = []
    done = 0
    yield Progress("Encoding", 0, len(crops))
    while done < len(crops):
        try:
            result = encoder.encode(done, size)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
            size = min(size, len(crops) - done)
            if size == 1:
                raise CytoError(
                    "There is not enough memory to encode a single cell; close other "
                    "programs, or use the CPU or a smaller backbone."
                ) from error
            size //= 2
            continue
        cells = slice(done, done + len(result[0]))
        parts.append(Encoded(*result, boxes[cells], cell_ids[cells]))
        done = cells.stop
        yield Progress("Encoding", done, len(crops), partial=parts[-1])
    if not parts:
        nothing = encoded_cells.empty(models.sae_info, threshold)
        tokens = models.tokens([]).astype(np.float16) if keep_tokens else None
        return Encoded(nothing, tokens, None, boxes, cell_ids)
    return encoded_cells.concatenate(parts)


def analyze_image(
    image: Image | Pyramid | UInt8Array,
    models: Models,
    pixel_size: float | None = None,
    kinds: Sequence[CellKind] = ("wbc",),
    *,
    labels: Int32Array | GivenLabels | None = None,
    classes: Mapping[int, str] | None = None,
    single_cell: bool = False,
    field_of_view_um: float = FIELD_OF_VIEW_UM,
    threshold: float = 0.2,
    keep_tokens: bool = True,
    cache: Cache | None = None,
) -> Generator[Progress, None, Analysis]:
    """Find the cells of an image and encode them: `find_cells`, crops, `encode`.

    Parameters
    ----------
    image : Image, Pyramid or ndarray of uint8, (H, W, 3)
        The smear, one cell, or a slide.
    models : Models
        As `load_models` gives them.
    pixel_size, kinds, labels, classes, single_cell
        As for `find_cells`.
    field_of_view_um : float
        Side of the crops.
    threshold, keep_tokens, cache
        As for `encode`.

    Yields
    ------
    Progress
        Of `find_cells`, then of `encode`.

    Returns
    -------
    Analysis
        Without cells in view, of no cells.

    Raises
    ------
    CytoError
        As `find_cells` and `encode`.
    """
    cells = yield from find_cells(
        image, pixel_size, kinds, labels=labels, classes=classes, single_cell=single_cell
    )
    crops = crop_cells(image, cells, field_of_view_um)
    encoded = yield from encode(
        models, crops, threshold, keep_tokens=keep_tokens, cache=cache
    )
    return Analysis(cells, crops, encoded)


def _whereabouts(crops: Sequence[UInt8Array]) -> tuple[Int64Array, Int64Array]:
    """Boxes and ids of crops; of plain arrays, their own extent and 1, 2, ..."""
    if isinstance(crops, Crops):
        return crops.boxes, crops.cell_ids
    boxes = np.zeros((len(crops), 4), np.int64)
    boxes[:, 2:] = [crop.shape[:2] for crop in crops] or np.empty((0, 2))
    return boxes, np.arange(1, len(crops) + 1)


def _out_of_memory(error: BaseException) -> bool:
    # torch's own class covers CUDA only; the CPU's and Metal's allocators say it in words.
    text = str(error).lower()
    return isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or (
        "out of memory" in text or "can't allocate memory" in text
    )
