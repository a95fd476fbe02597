from __future__ import annotations

import dask.array as da
import numpy as np
import pandas as pd
import pytest

from napari_cytosae.core._given import measure_slide
from napari_cytosae.core._level import Level
from napari_cytosae.core._run import run
from napari_cytosae.core.label_blocks import LabelBlocks
from napari_cytosae.core.pyramid import Pyramid
from napari_cytosae.core.segmentation import measure
from napari_cytosae.core.types import CytoError, PixelSize
from napari_cytosae.synthetic import render_smear

UM = 0.2


@pytest.fixture(scope="module")
def drawn():
    return render_smear((700, 900), pixel_size=UM, seed=5)


@pytest.fixture(scope="module")
def slide(drawn):
    return Pyramid.of([Level(drawn.rgb, "YXS")], "slide", PixelSize(UM, "metadata"))


@pytest.mark.parametrize("dtype", [np.int32, np.uint16])
def test_given_cells_are_measured_tile_by_tile_as_on_the_whole(drawn, slide, dtype):
    labels = np.asarray(drawn.labels) * 3
    lazy = da.from_array(labels.astype(dtype), chunks=256)
    found = run(measure_slide(slide, lazy, tile=300))
    assert isinstance(found.labels, LabelBlocks)
    np.testing.assert_array_equal(np.asarray(found.labels), labels)
    whole = measure(drawn.rgb, labels, UM)
    exact = ["cell_id", "area_px", "centroid_x", "bbox_y1", "touches_border", "area_um2"]
    pd.testing.assert_frame_equal(found.table[exact], whole.table[exact])
    assert (found.table.kind == whole.table.kind).mean() > 0.98
    assert set(found.table.pixel_size_source) == {"metadata"}
    same = np.count_nonzero((np.asarray(found.nuclei) > 0) & (whole.nuclei > 0))
    assert same > 0.95 * np.count_nonzero(whole.nuclei)
    wrong = (np.asarray(found.nuclei) > 0) & (np.asarray(found.nuclei) != labels)
    assert not wrong.any()


def test_labels_that_cannot_be_a_slides_are_refused(slide):
    small = np.zeros((10, 10), np.int32)
    with pytest.raises(CytoError, match="full resolution"):
        run(measure_slide(slide, small))
    spread = np.zeros(slide.shape, np.int32)
    spread[0, 0] = spread[-1, -1] = 7
    with pytest.raises(CytoError, match="Label 7 is spread over 900 x 700 px"):
        run(measure_slide(slide, spread, tile=300))
    halves = np.full(slide.shape, 0.5)
    with pytest.raises(CytoError, match="whole numbers"):
        run(measure_slide(slide, halves))


def test_no_given_cells_are_a_result(slide):
    found = run(measure_slide(slide, np.zeros(slide.shape, np.int32)))
    assert not len(found)
    assert not np.asarray(found.labels).any()
