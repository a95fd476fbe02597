"""Crops of a fixed physical size, and the patch grid as an exact map of the slide."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cytosae.core.crops import (
    WBC_DIAMETER_UM,
    crop_boxes,
    crop_cells,
    patch_at,
    patch_box,
    patch_edges,
)
from napari_cytosae.core.types import CELL_COLUMNS, Cells, Image, ImageError, PixelSize


def make_cells(
    shape, circles, pixel_size=None, kinds=None, single_cell=False
) -> tuple[np.ndarray, Cells]:
    """Discs as cells on an image whose every pixel tells where it is."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    rgb = np.stack([y % 256, x % 256, (y // 256) * 16 + x // 256], axis=-1).astype(np.uint8)
    labels = np.zeros(shape, np.int32)
    rows = []
    for index, (cy, cx, radius) in enumerate(circles):
        disc = (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
        labels[disc] = index + 1
        ys, xs = np.nonzero(disc)
        rows.append(
            {
                "image": "smear.png",
                "cell_id": index + 1,
                "kind": kinds[index] if kinds else "wbc",
                "bbox_x0": xs.min(),
                "bbox_y0": ys.min(),
                "bbox_x1": xs.max() + 1,
                "bbox_y1": ys.max() + 1,
                "area_px": disc.sum(),
            }
        )
    table = pd.DataFrame(rows, columns=list(CELL_COLUMNS))
    size = PixelSize(pixel_size, "user") if pixel_size else PixelSize()
    return rgb, Cells(labels, np.zeros_like(labels), table, size, single_cell)


def test_crops_are_of_one_physical_size_centred_on_the_cell():
    rgb, cells = make_cells((400, 600), [(200, 300, 40), (150, 450, 20)], pixel_size=0.1)
    crops = crop_cells(rgb, cells)
    assert [crop.shape for crop in crops] == [(250, 250, 3)] * 2
    assert crops.field_of_view_um == 25.0
    assert crops.pixel_size_source == "user"
    np.testing.assert_array_equal(crops.cell_ids, [1, 2])
    for crop, (y0, x0, y1, x1) in zip(crops, crops.boxes, strict=True):
        np.testing.assert_array_equal(crop, rgb[y0:y1, x0:x1])
    # A disc around (200, 300) has the bounding box [160, 241) x [260, 341).
    np.testing.assert_array_equal(crops.boxes[0], [75, 175, 325, 425])


def test_field_of_view_follows_the_pixel_size():
    for um, side in ((0.1, 250), (0.125, 200), (0.07, 357)):
        rgb, cells = make_cells((400, 600), [(200, 300, 20)], pixel_size=um)
        assert crop_cells(rgb, cells)[0].shape == (side, side, 3)
        assert crop_cells(rgb, cells, 12.5)[0].shape[0] == round(12.5 / um)


def test_crops_at_the_border_are_shifted_inside():
    corners = [(0, 0, 10), (399, 599, 10), (5, 300, 10), (200, 599, 10)]
    rgb, cells = make_cells((400, 600), corners, pixel_size=0.25)
    crops = crop_cells(rgb, cells)
    boxes = crops.boxes.tolist()
    assert boxes[0] == [0, 0, 100, 100]
    assert boxes[1] == [300, 500, 400, 600]
    assert boxes[2][::2] == [0, 100]
    assert boxes[3][1::2] == [500, 600]
    for crop, (y0, x0, y1, x1) in zip(crops, boxes, strict=True):
        np.testing.assert_array_equal(crop, rgb[y0:y1, x0:x1])


def test_an_image_smaller_than_the_crop_is_padded_around():
    rgb, cells = make_cells((100, 400), [(50, 200, 20)], pixel_size=0.1)
    crops = crop_cells(rgb, cells)
    np.testing.assert_array_equal(crops.boxes, [[-75, 75, 175, 325]])
    crop = crops[0]
    assert crop.shape == (250, 250, 3)
    np.testing.assert_array_equal(crop[75:175], rgb[:, 75:325])
    np.testing.assert_array_equal(crop[:75], np.repeat(rgb[:1, 75:325], 75, axis=0))


def test_a_single_cell_image_is_its_own_crop():
    rgb, cells = make_cells((90, 130), [(45, 60, 20)], pixel_size=0.1, single_cell=True)
    crops = crop_cells(rgb, cells)
    assert crops[0] is rgb
    np.testing.assert_array_equal(crops.boxes, [[0, 0, 90, 130]])
    assert crops.field_of_view_um == pytest.approx(13.0)


def test_without_a_pixel_size_the_white_cells_are_the_ruler():
    circles = [(200, 150, 30), (200, 300, 40), (200, 450, 50), (100, 50, 9), (300, 50, 9)]
    kinds = ["wbc", "wbc", "wbc", "rbc", "rbc"]
    rgb, cells = make_cells((400, 600), circles, kinds=kinds)
    crops = crop_cells(rgb, cells)
    assert crops.pixel_size_source == "relative"
    assert crops.field_of_view_um is None
    # The median white cell, 80 px across, counts as 12.5 um: 25 um are two of it.
    assert crops[0].shape[0] == pytest.approx(2 * 80, abs=2)
    assert crop_cells(rgb, cells, 3 * WBC_DIAMETER_UM)[0].shape[0] == pytest.approx(
        240, abs=3
    )
    red_only = [("rbc", 9)] * 5
    rgb, cells = make_cells((400, 600), circles, kinds=[kind for kind, _ in red_only])
    assert crop_cells(rgb, cells)[0].shape[0] == pytest.approx(2 * 60, abs=2)


def test_no_cells_no_crops():
    rgb, cells = make_cells((100, 100), [])
    crops = crop_cells(rgb, cells)
    assert len(crops) == 0
    assert crops.boxes.shape == (0, 4)
    assert crops[:2] == ()


def test_images_and_cells_that_do_not_fit():
    rgb, cells = make_cells((100, 120), [(50, 50, 9)], pixel_size=0.1)
    with pytest.raises(ImageError, match="120 x 100 px"):
        crop_cells(rgb[:, :50], cells)
    for field in (0, -1, float("nan")):
        with pytest.raises(ImageError, match="impossible"):
            crop_cells(rgb, cells, field)
    image = Image(rgb, "smear.png", PixelSize(), "")
    assert len(crop_cells(image, cells)) == 1


def test_crops_do_not_copy_the_slide():
    rgb, cells = make_cells((400, 600), [(200, 300, 20)], pixel_size=0.25)
    assert np.shares_memory(crop_cells(rgb, cells)[0], rgb)


# --- geometry, for any box ------------------------------------------------------------

boxes = st.tuples(
    st.integers(-3000, 30_000),
    st.integers(-3000, 30_000),
    st.integers(1, 4000),
    st.integers(1, 4000),
).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
grids = st.integers(1, 37)


@settings(deadline=None)
@given(boxes, grids, st.data())
def test_every_point_lies_in_its_patch(box, grid, data):
    y0, x0, y1, x1 = box
    y = data.draw(st.floats(y0, y1, exclude_max=True))
    x = data.draw(st.floats(x0, x1, exclude_max=True))
    row, col = patch_at(box, y, x, grid)
    assert 0 <= row < grid
    assert 0 <= col < grid
    top, left, bottom, right = patch_box(box, row, col, grid)
    assert top <= y < bottom
    assert left <= x < right


@settings(deadline=None)
@given(boxes, grids, st.data())
def test_every_patch_is_found_from_its_corner_and_centre(box, grid, data):
    row, col = data.draw(st.tuples(*[st.integers(0, grid - 1)] * 2))
    top, left, bottom, right = patch_box(box, row, col, grid)
    assert patch_at(box, top, left, grid) == (row, col)
    assert patch_at(box, (top + bottom) / 2, (left + right) / 2, grid) == (row, col)
    below = np.nextafter(bottom, -np.inf), np.nextafter(right, -np.inf)
    assert patch_at(box, *below, grid) == (row, col)


@settings(deadline=None)
@given(boxes, grids)
def test_patches_tile_the_crop(box, grid):
    y0, _, y1, _ = box
    edges = patch_edges(y0, y1, grid)
    assert edges[0] == y0
    assert edges[-1] == y1
    assert (np.diff(edges) > 0).all()
    for row in range(grid):
        top, _, bottom, _ = patch_box(box, row, 0, grid)
        assert (top, bottom) == (edges[row], edges[row + 1])


@settings(deadline=None)
@given(boxes)
def test_outside_the_crop_is_no_patch(box):
    y0, x0, y1, x1 = box
    before = np.nextafter(y0, -np.inf)
    for y, x in ((before, x0), (y1, x0), (y0, x1), (y0, np.nextafter(x0, -np.inf))):
        assert patch_at(box, y, x) is None


@settings(deadline=None)
@given(
    st.integers(1, 500),
    st.integers(50, 700),
    st.integers(50, 700),
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(1, 60), st.integers(1, 60)),
        min_size=1,
        max_size=5,
    ),
)
def test_boxes_hold_the_cell_and_stay_inside(side, height, width, cells):
    table = pd.DataFrame(
        [
            {
                "bbox_y0": int(v * (height - h - 1)) if h < height else 0,
                "bbox_x0": int(u * (width - w - 1)) if w < width else 0,
                "bbox_y1": min(height, int(v * (height - h - 1)) + h),
                "bbox_x1": min(width, int(u * (width - w - 1)) + w),
            }
            for v, u, h, w in cells
        ]
    ).clip(lower=0)
    result = crop_boxes(table, side, (height, width))
    assert (result[:, 2:] - result[:, :2] == side).all()
    for axis, length in enumerate((height, width)):
        low, high = result[:, axis], result[:, axis + 2]
        if side <= length:
            assert (low >= 0).all()
            assert (high <= length).all()
        else:
            assert (low <= 0).all()
            assert (high >= length).all()
        name = "yx"[axis]
        start, stop = table[f"bbox_{name}0"], table[f"bbox_{name}1"]
        fits = (stop - start) <= min(side, length)
        assert (low[fits] <= start[fits]).all()
        assert (high[fits] >= stop[fits]).all()
