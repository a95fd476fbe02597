"""Cells corrected by hand: what changed is measured again, everything else stays."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import ndimage as ndi

from napari_cytosae.core._shape import consecutive
from napari_cytosae.core.detection import part_of
from napari_cytosae.core.morphometry import moved
from napari_cytosae.core.segmentation import measure_at, whole_labels
from napari_cytosae.core.settled_scale import scale_for_sizes
from napari_cytosae.core.slides import MARGIN_UM, scale_of
from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import (
        BoolArray,
        Cells,
        Image,
        Int32Array,
        Int64Array,
        LabelImage,
    )

Box = tuple[int, int, int, int]
"""``y0, x0, y1, x1`` in pixels of the image, half-open."""

_ANYWHERE: Box = (0, 0, 2**31, 2**31)
_CRUMB = 0.05
"""Pieces below this share of a cell's largest, beside it, are slips of the brush."""
_BESIDE_UM = 1.0
_SPECK_UM2 = 1.0
"""Area up to which what was painted away from its cell is a slip: no cell is smaller."""


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
    gone : mapping of int to Box
        Where the cells lay that this and former corrections removed: no other cell gets
        their ids.
    specks : int
        How many were left out: too small for a cell, and away from the one whose id they
        were painted with.
    """

    cells: Cells
    changed: Int64Array
    removed: Int64Array
    gone: Mapping[int, Box] = field(default_factory=dict)
    specks: int = 0


def cut_out(cells: Cells, box: Box) -> tuple[Box, Int32Array]:
    """The labels (h, w) of a part, and where it lies.

    It is `box`, grown so that the cells in it are whole: what is done to one of them there
    can be undone there.
    """
    table = cells.reaching_into(box)
    ends = table[["bbox_y0", "bbox_x0", "bbox_y1", "bbox_x1"]].to_numpy(np.int64)
    ends = np.vstack([ends, box])
    (y0, x0), (y1, x1) = ends[:, :2].min(axis=0).tolist(), ends[:, 2:].max(axis=0).tolist()
    return (y0, x0, y1, x1), np.asarray(cells.labels[y0:y1, x0:x1])


def corrected(
    image: Image | Pyramid,
    former: Cells,
    labels: np.ndarray,
    corner: tuple[int, int] | None = None,
    gone: Mapping[int, Box] | None = None,
) -> Correction:
    """Take over what was painted, erased, merged, split and deleted in a label image.

    Ids stay with their cells: of a cell that was cut into pieces the one that keeps most of
    its former pixels keeps the id (of a new one the largest), the others get new ids;
    cells that were merged have the id they were painted with. Pieces of less than 5 % of
    the largest stay with their cell where they lie beside it; away from it they are cells
    of their own, or left out up to 1 um2. An id that was another cell's elsewhere is not
    taken: the cell gets a new one. A removed cell that comes back to its place, as by undo,
    has its own again. Red cells and platelets stay what they are, unless they get a
    nucleus.

    Parameters
    ----------
    image : Image or Pyramid
        That the cells belong to; of a slide what lies around the changed cells is read.
    former : Cells
        Before; its pixel size is kept.
    labels : ndarray of int, (h, w)
        After; any ids, 0 is background.
    corner : (int, int), optional
        Row and column of the image where `labels`, a part of it, begin; without, they are
        of the whole image. Cells that the part's edges cut keep what lies outside.
    gone : mapping of int to Box, optional
        That of the correction before.

    Raises
    ------
    CytoError
        If the labels have another shape than the image, reach beyond it or hold other than
        whole numbers; if they are of the whole of a slide.
    """
    known = {**(gone or {}), **_boxes(former.table)}
    if corner is None:
        if not isinstance(former.labels, np.ndarray):
            raise CytoError(
                "Cells of a slide are not corrected on the whole of it: cut out a region."
            )
        box = (0, 0, *former.labels.shape)
        um = scale_for_sizes(part_of(image, *box), former.pixel_size)
        given = whole_labels(labels, former.labels.shape)
        given = _own_ids(given, former.labels, (0, 0), known)
    else:
        um = former.pixel_size.um or scale_of(image)[1]
        margin = round(MARGIN_UM / um)
        box, given = _with_surroundings(former, labels, corner, margin, known)
    here = slice(box[0], box[2]), slice(box[1], box[3])
    before = np.asarray(former.labels[here])
    after, specks = _pieces_apart(given, before, max(known, default=0), um)
    touched = _changed_ids(before, after)
    if not len(touched):
        return Correction(former, touched, touched, gone or {}, specks)
    part = np.where(np.isin(after, touched), after, 0).astype(np.int32)
    changed = np.setdiff1d(np.unique(part), [0])
    was = dict(zip(former.table["cell_id"], former.table["kind"], strict=True))
    shown = part_of(image, *box)
    measured = measure_at(shown, part, former.pixel_size, um, former=was)
    kept = former.table[~former.table["cell_id"].isin(touched)]
    found = moved(measured.table, *box[:2])
    tables = [table for table in (kept, found) if len(table)]
    table = pd.concat(tables or [found]).sort_values("cell_id", ignore_index=True)
    nuclei = np.where(part > 0, np.asarray(measured.nuclei), former.nuclei[here])
    nuclei = np.where(nuclei == after, nuclei, 0).astype(np.int32)
    cells = replace(
        former,
        labels=_written(former.labels, here, after),
        nuclei=_written(former.nuclei, here, nuclei),
        table=table,
        single_cell=former.single_cell and len(table) == 1,
    )
    removed = np.setdiff1d(touched, changed).astype(np.int64)
    there = set(table["cell_id"].tolist())
    left = {i: place for i, place in known.items() if i not in there}
    return Correction(cells, changed.astype(np.int64), removed, left, specks)


def _boxes(table: pd.DataFrame) -> dict[int, Box]:
    """Where each cell lies."""
    columns = ["cell_id", "bbox_y0", "bbox_x0", "bbox_y1", "bbox_x1"]
    rows = table[columns].to_numpy(np.int64).tolist()
    return {i: (y0, x0, y1, x1) for i, y0, x0, y1, x1 in rows}


def _written(labels: LabelImage, where: tuple[slice, slice], new: Int32Array) -> LabelImage:
    """A copy with other labels in one place."""
    twin = labels.copy()
    twin[where] = new
    return twin


def _with_surroundings(
    former: Cells,
    labels: np.ndarray,
    corner: tuple[int, int],
    margin: int,
    known: Mapping[int, Box],
) -> tuple[Box, Int32Array]:
    """Where the cells lie that were changed in a part, with a margin; the labels there."""
    (y, x), (height, width) = corner, labels.shape
    part = slice(y, y + height), slice(x, x + width)
    before = np.asarray(former.labels[part])
    given = _own_ids(whole_labels(labels, before.shape), before, corner, known)
    ids = _changed_ids(before, given)
    if not len(ids):
        return (y, x, y + height, x + width), given
    # Of a cell that the part's edge cuts, the whole.
    table = former.table[former.table["cell_id"].isin(ids)]
    painted = np.argwhere(np.isin(given, ids)) + corner
    low = np.vstack([table[["bbox_y0", "bbox_x0"]].to_numpy(), painted]).min(axis=0)
    high = np.vstack([table[["bbox_y1", "bbox_x1"]].to_numpy(), painted + 1]).max(axis=0)
    y0, x0 = np.maximum(low - margin, 0).tolist()
    y1, x1 = np.minimum(high + margin, former.labels.shape).tolist()
    after = _written(former.labels, part, given)
    return (y0, x0, y1, x1), np.asarray(after[y0:y1, x0:x1])


def _own_ids(
    given: Int32Array, before: Int32Array, corner: tuple[int, int], known: Mapping[int, Box]
) -> Int32Array:
    """New ids for cells that were painted with that of one elsewhere, there or gone.

    napari's own next label is one above the highest in the layer.
    """
    edge = given != before
    ids = np.setdiff1d(given[edge], [0])
    # Those that kept a pixel are where they were.
    ids = ids[~np.isin(ids, given[~edge])]
    own, fresh = given, 1 + max(max(known, default=0), int(given.max(initial=0)))
    for i in ids.tolist():
        place = given == i
        y, x = np.argwhere(place).mean(axis=0) + corner
        y0, x0, y1, x1 = known.get(i, _ANYWHERE)
        if not (y0 <= y < y1 and x0 <= x < x1):
            own = np.where(place, np.int32(fresh), own)
            fresh += 1
    return own


def _changed_ids(before: Int32Array, after: Int32Array) -> Int64Array:
    """Ids that have other pixels than before, or had."""
    edge = after != before
    ids = np.setdiff1d(np.union1d(before[edge], after[edge]), [0])
    return ids.astype(np.int64)


def _pieces_apart(
    given: Int32Array, before: Int32Array, last: int, um: float
) -> tuple[Int32Array, int]:
    """Other ids for the pieces of cells in more pieces than before, specks left out.

    A piece of what was another cell has that one's again, as after an undo, unless it is
    taken; the others get new ids above `last`. The specks are counted.
    """
    touched = _changed_ids(before, given)
    boxes, former_boxes = _boxes_in(given, touched), _boxes_in(before, touched)
    after, taken, specks = given.copy(), {0, *np.unique(given).tolist()}, 0
    fresh = int(max(given.max(initial=0), before.max(initial=0), last)) + 1
    for i, box in boxes.items():
        pieces, small = _pieces(given[box] == i, um)
        own = before[box] == i
        former, known = 0, False
        if i in former_boxes:
            parts, slips = _pieces(before[former_boxes[i]] == i, um)
            former, known = len(parts), len(slips) > 0
        for speck in small:
            # What was given in that form stays as it is.
            if not (known and (speck & own).any()):
                there = before[box][speck]
                stays = np.isin(there, list(taken)) & (there != i)
                after[box][speck] = np.where(stays, there, 0)
                specks += 1
        if len(pieces) <= max(1, former):
            continue
        pieces.sort(key=lambda piece: (np.sum(piece & own), np.sum(piece)))
        for piece in pieces[:-1]:
            there, counts = np.unique(before[box][piece], return_counts=True)
            was = int(there[counts.argmax()])
            if was in taken:
                was, fresh = fresh, fresh + 1
            after[box][piece] = was
            taken.add(was)
    return after, specks


def _boxes_in(labels: Int32Array, ids: Int64Array) -> dict[int, tuple[slice, ...]]:
    """Where those of the ids lie that are there."""
    there, own = consecutive(np.where(np.isin(labels, ids), labels, 0).astype(np.int32))
    return dict(zip(there.tolist(), ndi.find_objects(own), strict=True))


def _pieces(mask: BoolArray, um: float) -> tuple[list[BoolArray], list[BoolArray]]:
    """Connected pieces of a cell, and specks; crumbs beside a piece are neither."""
    parts, count = ndi.label(mask, np.ones((3, 3)))
    areas = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    large = areas >= _CRUMB * areas.max(initial=0)
    speck = np.zeros(count, bool)
    if not large.all():
        away = ndi.distance_transform_edt(~np.append(False, large)[parts])
        apart = ndi.minimum(away, parts, np.arange(count) + 1) > _BESIDE_UM / um
        speck = ~large & apart & (areas * um**2 <= _SPECK_UM2)
        large |= apart & ~speck
    pieces, specks = (
        [parts == i for i in np.flatnonzero(which) + 1] for which in (large, speck)
    )
    return pieces, specks
