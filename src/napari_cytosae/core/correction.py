"""Cells corrected by hand: what changed is measured again, everything else stays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import ndimage as ndi

from napari_cytosae.core._shape import consecutive
from napari_cytosae.core.segmentation import measure_at, whole_labels
from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from napari_cytosae.core.types import BoolArray, Cells, Image, Int32Array, Int64Array

_CRUMB = 0.05
"""Pieces below this share of a cell's largest are slips of the brush, no cells."""


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """What became of the cells of an image.

    Attributes
    ----------
    cells : Cells
        As corrected.
    changed : ndarray of int64
        Ids that are new or have other pixels than before; the rest was not measured anew.
    removed : ndarray of int64
        Ids that are no longer there.
    """

    cells: Cells
    changed: Int64Array
    removed: Int64Array


def corrected(image: Image, former: Cells, labels: np.ndarray) -> Correction:
    """Take over what was painted, erased, merged, split and deleted in a label image.

    Ids stay with their cells: of a cell that was cut into pieces the one that keeps most of
    its former pixels keeps the id (of a new one the largest), the others get new ids;
    cells that were merged have the id they were painted with. Pieces of less than 5 % of
    the largest stay with their cell.

    Parameters
    ----------
    image : Image
        That both label images belong to.
    former : Cells
        Before; its pixel size is kept.
    labels : ndarray of int, (H, W)
        After; any ids, 0 is background.

    Raises
    ------
    CytoError
        If the labels have another shape than the image or hold other than whole numbers,
        or the image is a slide.
    """
    before = former.labels
    if not isinstance(before, np.ndarray):
        raise CytoError(
            "Cells of a slide cannot be corrected on the whole of it: cut out a region of "
            "at most 4096 x 4096 px."
        )
    after = _pieces_apart(whole_labels(labels, before.shape), before)
    edge = after != before
    touched = np.setdiff1d(np.union1d(before[edge], after[edge]), [0])
    part = np.where(np.isin(after, touched), after, 0).astype(np.int32)
    changed = np.setdiff1d(np.unique(part), [0])
    measured = measure_at(image, part, former.pixel_size)
    kept = former.table[~former.table["cell_id"].isin(touched)]
    tables = [table for table in (kept, measured.table) if len(table)]
    table = pd.concat(tables or [measured.table]).sort_values("cell_id", ignore_index=True)
    nuclei = np.where(part > 0, np.asarray(measured.nuclei), np.asarray(former.nuclei))
    nuclei = np.where(nuclei == after, nuclei, 0).astype(np.int32)
    single = former.single_cell and len(table) == 1
    return Correction(
        replace(former, labels=after, nuclei=nuclei, table=table, single_cell=single),
        changed.astype(np.int64),
        np.setdiff1d(touched, changed).astype(np.int64),
    )


def _pieces_apart(given: Int32Array, before: Int32Array) -> Int32Array:
    """New ids for the pieces of cells that are in more pieces than before."""
    edge = given != before
    touched = np.setdiff1d(given[edge], [0])
    touched = np.union1d(touched, np.setdiff1d(before[edge], [0]))
    ids, own = consecutive(np.where(np.isin(given, touched), given, 0).astype(np.int32))
    after = given.copy()
    fresh = int(max(given.max(initial=0), before.max(initial=0))) + 1
    for i, box in zip(ids.tolist(), ndi.find_objects(own), strict=True):
        pieces = _pieces(given[box] == i)
        former = before == i
        if len(pieces) <= max(1, len(_pieces(former))):
            continue
        pieces.sort(key=lambda piece: (np.sum(piece & former[box]), np.sum(piece)))
        for piece in pieces[:-1]:
            after[box][piece] = fresh
            fresh += 1
    return after


def _pieces(mask: BoolArray) -> list[BoolArray]:
    """Connected pieces that are no crumbs."""
    parts, count = ndi.label(mask, np.ones((3, 3)))
    areas = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    large = np.flatnonzero(areas >= _CRUMB * areas.max(initial=0)) + 1
    return [parts == i for i in large]
