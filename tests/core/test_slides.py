from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from napari_cytosae.core._level import Level
from napari_cytosae.core.pyramid import Pyramid
from napari_cytosae.core.segmentation import segment
from napari_cytosae.core.slides import segment_slide, segment_tiles
from napari_cytosae.core.types import CytoError, ImageError, PixelSize
from napari_cytosae.synthetic import make_slide

UM = 0.25


@pytest.fixture(scope="module")
def drawn():
    wbc = {"neutrophil": 6, "lymphocyte": 6, "monocyte": 4, "eosinophil": 4}
    return make_slide((1000, 1200), UM, seed=3, wbc=wbc, n_rbc=400, crowding=0.0).render()


class Watched:
    """Pixels that count what is read of them at once."""

    def __init__(self, rgb):
        self._rgb = rgb
        self.shape = rgb.shape
        self.most = 0

    def __getitem__(self, key):
        part = self._rgb[key]
        self.most = max(self.most, part.shape[0] * part.shape[1])
        return part


def whole(tiles, shape):
    labels, nuclei = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    rows = []
    for part in tiles:
        part.paste(labels, nuclei)
        rows += part.cells.table.to_dict("records")
    return labels, nuclei, rows


def white(rows):
    return np.array(
        [(r["centroid_y"], r["centroid_x"]) for r in rows if r["kind"] == "wbc"]
    )


@pytest.mark.parametrize("tile", [300, 512, 5000])
def test_no_white_cell_is_lost_or_doubled_at_a_seam(drawn, tile):
    shape = drawn.rgb.shape[:2]
    labels, nuclei, rows = whole(segment_tiles(drawn.rgb, UM, tile=tile), shape)
    truth = drawn.table[drawn.table.kind == "wbc"]
    found = white(rows)
    assert len(found) == len(truth) == 20
    centres = truth[["centroid_y", "centroid_x"]].to_numpy()
    distance = np.hypot(*(found[:, None] - centres[None]).transpose(2, 0, 1))
    assert sorted(distance.argmin(axis=0)) == list(range(20))
    assert distance.min(axis=0).max() * UM < 2
    assert [r["cell_id"] for r in rows] == list(range(1, 21))
    for r in rows:
        box = labels[r["bbox_y0"] : r["bbox_y1"], r["bbox_x0"] : r["bbox_x1"]]
        assert np.count_nonzero(box == r["cell_id"]) >= 0.99 * r["area_px"]
        assert np.count_nonzero(nuclei == r["cell_id"]) >= 0.99 * r["nucleus_area_px"]


def test_red_cells_are_as_many_as_without_tiles(drawn):
    kinds = ("wbc", "rbc")
    once = segment(drawn.rgb, UM, kinds)
    *_, rows = whole(segment_tiles(drawn.rgb, UM, kinds, tile=300), drawn.rgb.shape[:2])
    assert len(rows) == pytest.approx(len(once), rel=0.01)


def test_only_a_tile_and_its_margin_is_read_at_once(drawn):
    pixels = Watched(np.tile(drawn.rgb, (2, 2, 1)))
    totals = {(part.done, part.total) for part in segment_tiles(pixels, UM, tile=900)}
    assert totals == {(i, 9) for i in range(1, 10)}
    assert pixels.most <= (900 + 2 * 120) ** 2


def test_dask_is_read_lazily_and_the_scale_is_estimated_once(drawn):
    lazy = da.from_array(drawn.rgb, chunks=(256, 256, 3))
    sizes = [part.cells.pixel_size for part in segment_tiles(lazy, tile=512)]
    assert len(set(sizes)) == 1
    assert sizes[0].source == "estimated"
    assert sizes[0].um == pytest.approx(UM, rel=0.1)


def test_dark_tiles_are_left_out_and_said(drawn):
    rgb = np.zeros((1000, 2400, 3), np.uint8)
    rgb[:, :1200] = drawn.rgb
    parts = list(segment_tiles(rgb, UM, tile=1200))
    assert [bool(part.note) for part in parts] == [False, True]
    assert len(parts[0].cells) == 20
    assert "bright background" in parts[1].note


def test_what_is_no_slide_is_refused(drawn):
    with pytest.raises(ImageError, match="height x width x 3"):
        next(segment_tiles(np.zeros((10, 10), np.uint8)))
    with pytest.raises(ImageError, match="bright background"):
        next(segment_tiles(np.zeros((100, 100, 3), np.uint8)))
    with pytest.raises(CytoError, match="8-bit"):
        next(segment_tiles(np.zeros((100, 100, 3), np.uint16)))
    with pytest.raises(CytoError, match="correct the pixel size"):
        next(segment_tiles(drawn.rgb, PixelSize(2.5, "metadata")))


def test_a_search_can_be_given_up_within_a_tile_and_keeps_no_tile(drawn):
    slide = Pyramid.of([Level(drawn.rgb, "YXS")], "slide", PixelSize(UM, "user"))
    steps = segment_slide(slide, tile=700)
    first = [next(steps) for _ in range(4)]
    assert [(step.done, step.total) for step in first] == [(0, 0), (0, 4), (0, 4), (0, 4)]
    steps.close()
    done = [step.done for step in segment_slide(slide, tile=700)]
    assert done == sorted(done)
    assert all(done.count(i) > 3 for i in range(4))
    assert not any(step.partial for step in first)
