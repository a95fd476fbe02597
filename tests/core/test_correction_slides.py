"""A slide of 4,500 px, drawn with its truth: cells corrected, and given as outlines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from napari_cytosae.core._given import measure_slide
from napari_cytosae.core._level import Level
from napari_cytosae.core._run import run
from napari_cytosae.core.correction import corrected, cut_out
from napari_cytosae.core.geojson import DrawnOutlines, read_geojson, write_geojson
from napari_cytosae.core.label_blocks import LabelBlocks
from napari_cytosae.core.pyramid import Pyramid
from napari_cytosae.core.types import LARGE_PIXELS, CytoError, PixelSize
from napari_cytosae.synthetic import make_slide

UM, SIDE = 0.2, 4500
EXACT = ["area_px", "centroid_x", "centroid_y", "bbox_y0", "bbox_x1"]


class Watched:
    """Pixels that count what is read of them."""

    def __init__(self, rgb):
        self._rgb = rgb
        self.shape, self.dtype = rgb.shape, rgb.dtype
        self.read = 0

    def __getitem__(self, key):
        part = self._rgb[key]
        self.read += part.shape[0] * part.shape[1]
        return part


@pytest.fixture(scope="module")
def drawn():
    wbc = {"neutrophil": 12, "lymphocyte": 8, "monocyte": 4}
    return make_slide((SIDE, SIDE), UM, 3, wbc=wbc, n_rbc=60, n_platelets=0).render()


@pytest.fixture(scope="module")
def pixels(drawn):
    return Watched(drawn.rgb)


@pytest.fixture(scope="module")
def slide(pixels):
    slide = Pyramid.of([Level(pixels, "YXS")], "slide", PixelSize(UM, "metadata"))
    assert np.prod(slide.shape) > LARGE_PIXELS
    return slide


@pytest.fixture(scope="module")
def cells(drawn, slide):
    found = run(measure_slide(slide, np.asarray(drawn.labels)))
    assert len(found) == 84
    assert isinstance(found.labels, LabelBlocks)
    return found


def edit(slide, cells, box, change):
    """The cells after `change` of a part, and as the same labels of the whole give them."""
    y0, x0, y1, x1 = box
    part = np.asarray(cells.labels[y0:y1, x0:x1])
    change(part)
    fixed = corrected(slide, cells, part, (y0, x0))
    now = fixed.cells
    table, former = (c.table.set_index("cell_id") for c in (now, cells))
    kept = np.setdiff1d(now.table.cell_id, fixed.changed)
    pd.testing.assert_frame_equal(table.loc[kept], former.loc[kept])
    assert not set(fixed.removed) & set(table.index)
    assert now.table.cell_id.tolist() == np.unique(now.labels)[1:].tolist()
    only = np.where(np.isin(now.labels, fixed.changed), now.labels, 0)
    anew = run(measure_slide(slide, only)).table
    pd.testing.assert_frame_equal(
        table.loc[fixed.changed, EXACT], anew.set_index("cell_id")[EXACT]
    )
    wrong = (np.asarray(now.nuclei) > 0) & (np.asarray(now.nuclei) != now.labels)
    assert not wrong.any()
    return fixed


def middle(cells, cell_id):
    """A part that the cell's left half lies in."""
    row = cells.table.set_index("cell_id").loc[cell_id]
    y, x = round(row.centroid_y), round(row.centroid_x)
    return row, (max(0, y - 150), max(0, x - 300), y + 150, x)


@pytest.fixture(scope="module")
def white(cells):
    """Three white cells far from the slide's edges, and their ids."""
    table = cells.table[cells.table.kind == "wbc"]
    inside = table[["centroid_x", "centroid_y"]].apply(lambda c: c.between(400, SIDE - 400))
    return table.cell_id[inside.all(axis=1)].tolist()[:3]


def test_a_cell_cut_by_the_parts_edge_stays_whole(slide, cells, white, pixels):
    row, box = middle(cells, white[0])
    outside = np.asarray(cells.labels[box[0] : box[2], box[3] : box[3] + 200])

    def paint(part):
        line = np.flatnonzero(part[150] == white[0])
        part[145:155, line[0] - 20 : line[0]] = white[0]

    before = pixels.read
    part = np.asarray(cells.labels[box[0] : box[2], box[1] : box[3]])
    paint(part)
    fixed = corrected(slide, cells, part, box[:2])
    # The cell with 30 um around it, not the slide.
    assert pixels.read - before < (row.bbox_x1 - row.bbox_x0 + 400) ** 2
    fixed = edit(slide, cells, box, paint)
    assert fixed.changed.tolist() == [white[0]]
    area = fixed.cells.table.set_index("cell_id").area_px
    assert row.area_px + 150 <= area[white[0]] <= row.area_px + 200
    np.testing.assert_array_equal(
        fixed.cells.labels[box[0] : box[2], box[3] : box[3] + 200], outside
    )
    assert row.area_px == cells.table.set_index("cell_id").area_px[white[0]], "a copy"


def test_ids_are_those_of_the_slide(slide, cells, white):
    """New pieces, and cells painted with an id that is taken elsewhere, get free ones."""
    _, box = middle(cells, white[1])
    last = int(cells.table.cell_id.max())
    elsewhere = white[2]
    assert elsewhere not in np.asarray(cells.labels[box[0] : box[2], box[1] : box[3]])

    def cut_and_add(part):
        line = np.flatnonzero(part[150] == white[1])
        part[:, line[0] + 12 : line[0] + 15][
            part[:, line[0] + 12 : line[0] + 15] == white[1]
        ] = 0
        part[10:40, 10:40] = elsewhere

    fixed = edit(slide, cells, box, cut_and_add)
    assert sorted(fixed.changed) == [white[1], last + 1, last + 2]
    table = fixed.cells.table.set_index("cell_id")
    assert table.area_px[last + 1] == 900
    assert table.bbox_x0[last + 1] == box[1] + 10
    assert table.area_px[white[1]] > table.area_px[last + 2] > 100
    assert table.centroid_x[last + 2] < table.centroid_x[white[1]]
    former = cells.table.set_index("cell_id")
    assert table.area_px[elsewhere] == former.area_px[elsewhere]


def test_ids_of_cells_that_are_gone_are_not_given_again(slide, cells, white):
    last = int(cells.table.cell_id.max())
    y0, x0, y1, x1 = cells.table.set_index("cell_id").loc[
        last, ["bbox_y0", "bbox_x0", "bbox_y1", "bbox_x1"]
    ]
    part = np.asarray(cells.labels[y0:y1, x0:x1])
    one = corrected(slide, cells, np.where(part == last, 0, part), (y0, x0))
    assert one.gone == {last: (y0, x0, y1, x1)}
    _, box = middle(cells, white[1])
    there = np.asarray(one.cells.labels[box[0] : box[2], box[1] : box[3]])
    there[10:40, 10:40] = last
    two = corrected(slide, one.cells, there, box[:2], one.gone)
    assert two.changed.tolist() == [last + 1]
    three = corrected(slide, two.cells, part, (y0, x0), two.gone)
    assert three.changed.tolist() == [last]
    assert not three.gone


def test_what_is_erased_in_a_part_is_gone_there_only(slide, cells, white):
    _, box = middle(cells, white[0])

    def erase(part):
        part[part == white[0]] = 0

    fixed = edit(slide, cells, box, erase)
    assert fixed.changed.tolist() == [white[0]]
    assert fixed.cells.table.set_index("cell_id").bbox_x0[white[0]] == box[3]
    wide = (box[0], box[1], box[2], box[3] + 200)
    gone = edit(slide, cells, wide, erase)
    assert gone.removed.tolist() == [white[0]]
    assert len(gone.cells) == len(cells) - 1


def test_cells_in_a_part_that_is_cut_out_are_whole(cells, white):
    row, box = middle(cells, white[0])
    assert row.bbox_x0 < box[3] < row.bbox_x1
    (y0, x0, y1, x1), labels = cut_out(cells, box)
    assert y0 <= box[0] <= box[2] <= y1
    assert x0 <= box[1]
    assert x1 == row.bbox_x1
    np.testing.assert_array_equal(labels, cells.labels[y0:y1, x0:x1])
    nowhere = (0, 0, 1, 1)
    assert cut_out(cells, nowhere)[0] == nowhere


def test_nothing_edited_measures_nothing(slide, cells, pixels):
    before = pixels.read
    part = np.asarray(cells.labels[1000:2000, 1000:2000])
    fixed = corrected(slide, cells, part, (1000, 1000))
    assert fixed.cells is cells
    assert not len(fixed.changed)
    assert not len(fixed.removed)
    assert pixels.read == before


def test_a_slide_without_a_scale_keeps_its_own(slide, cells, white, drawn):
    unknown = Pyramid.of([Level(drawn.rgb, "YXS")], "slide", PixelSize())
    assert cells.pixel_size.um == UM
    _, box = middle(cells, white[0])
    part = np.asarray(cells.labels[box[0] : box[2], box[1] : box[3]])
    part[10:40, 10:40] = 999
    fixed = corrected(unknown, cells, part, box[:2])
    assert fixed.changed.tolist() == [999]
    assert fixed.cells.pixel_size == cells.pixel_size


def test_parts_that_reach_beyond_the_slide_are_refused(slide, cells):
    with pytest.raises(CytoError, match="shape"):
        corrected(slide, cells, np.zeros((100, 100), np.int32), (SIDE - 50, 0))


def test_outlines_are_drawn_piece_by_piece_and_come_back(slide, cells, tmp_path):
    write_geojson(tmp_path / "cells.geojson", cells, "ab" * 32)
    drawn = DrawnOutlines(read_geojson(tmp_path / "cells.geojson"), slide.shape)
    for y0, x0, y1, x1 in ((0, 0, 300, 4500), (2000, 1990, 2100, 2100)):
        np.testing.assert_array_equal(drawn[y0:y1, x0:x1], cells.labels[y0:y1, x0:x1])
    back = run(measure_slide(slide, drawn))
    np.testing.assert_array_equal(back.labels, cells.labels)
    pd.testing.assert_frame_equal(back.table, cells.table)
