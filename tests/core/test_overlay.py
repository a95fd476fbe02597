"""The map on the slide: exact to the pixel, lazy, and the same from every side."""

from __future__ import annotations

import time

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from napari_cytosae.core._map_level import MapLevel
from napari_cytosae.core.crops import patch_at, patch_box
from napari_cytosae.core.overlay import OverlayMap, robust_scale, write_tiff
from napari_cytosae.core.types import OutputError


def brute_force(grids, boxes, shape) -> np.ndarray:
    """Pixel by pixel, from the patch geometry alone."""
    result = np.zeros(shape, np.float32)
    for y in range(shape[0]):
        for x in range(shape[1]):
            for grid, box in zip(grids, boxes, strict=True):
                patch = patch_at(box, y + 0.5, x + 0.5, len(grid))
                if patch is not None:
                    result[y, x] = max(result[y, x], grid[patch])
    return result


@pytest.fixture
def overlay() -> OverlayMap:
    rng = np.random.default_rng(0)
    grids = rng.random((4, 16, 16), dtype=np.float32)
    boxes = np.array([[3, 5, 40, 42], [20, 20, 57, 57], [-6, 30, 31, 67], [25, 1, 35, 20]])
    return OverlayMap(grids, boxes, (60, 70))


def test_a_marked_patch_lights_exactly_its_pixels():
    """224 px crop of a 1:1 slide: patch (r, c) is 14 x 14 px."""
    grids = np.zeros((2, 16, 16), np.float32)
    grids[1, 3, 7] = 2.5
    boxes = np.array([[0, 0, 224, 224], [100, 300, 324, 524]])
    full = OverlayMap(grids, boxes, (400, 600)).full()
    expected = np.zeros((400, 600), np.float32)
    expected[100 + 3 * 14 : 100 + 4 * 14, 300 + 7 * 14 : 300 + 8 * 14] = 2.5
    np.testing.assert_array_equal(full, expected)


@pytest.mark.parametrize("box", [(10, 20, 13, 90), (7, 3, 107, 60), (-5, -9, 300, 290)])
def test_patch_box_says_which_pixels_light(box):
    rng = np.random.default_rng(1)
    for row, col in rng.integers(0, 16, (20, 2)):
        grids = np.zeros((1, 16, 16), np.float32)
        grids[0, row, col] = 1
        lit = OverlayMap(grids, np.array([box]), (200, 200)).full() == 1
        y0, x0, y1, x1 = patch_box(box, row, col)
        y, x = np.mgrid[:200, :200] + 0.5
        np.testing.assert_array_equal(lit, (y >= y0) & (y < y1) & (x >= x0) & (x < x1))


def test_full_agrees_with_brute_force(overlay):
    expected = brute_force(overlay.grids, overlay.boxes, overlay.shape)
    np.testing.assert_array_equal(overlay.full(), expected)
    assert overlay.full().dtype == np.float32


@settings(deadline=None)
@given(st.data(), st.sampled_from([False, True]), st.integers(1, 9))
def test_any_region_is_the_same_piece_of_the_whole(data, smooth, step):
    rng = np.random.default_rng(3)
    grids = rng.random((5, 4, 4), dtype=np.float32)
    corner = rng.integers(-20, 60, (5, 2))
    boxes = np.hstack([corner, corner + rng.integers(1, 50, (5, 2))])
    overlay = OverlayMap(grids, boxes, (61, 83), smooth=smooth)
    y0, y1 = sorted(data.draw(st.tuples(*[st.integers(0, 61)] * 2)))
    x0, x1 = sorted(data.draw(st.tuples(*[st.integers(0, 83)] * 2)))
    region = overlay.region(y0, x0, y1, x1, step)
    rows = [min(y + step // 2, y1 - 1) for y in range(y0, y1, step)]
    cols = [min(x + step // 2, x1 - 1) for x in range(x0, x1, step)]
    expected = overlay.full()[np.ix_(rows, cols)]
    np.testing.assert_allclose(region, expected, atol=1e-6)


def test_smooth_interpolates_between_patch_centres():
    grids = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    # Patches of 11 px have a pixel in their very centre.
    overlay = OverlayMap(grids, np.array([[0, 0, 44, 44]]), (44, 44), smooth=True)
    full = overlay.full()
    np.testing.assert_allclose(full[5::11, 5::11], grids[0], atol=1e-5)
    np.testing.assert_allclose(full[5, 5:39], np.linspace(0, 3, 34), atol=1e-5)
    np.testing.assert_allclose(full[5:39, 16], np.linspace(1, 13, 34), atol=1e-5)
    # Beyond the outer centres it stays what it is.
    assert (full[:6, :6] == grids[0, 0, 0]).all()
    assert full.max() == grids.max()


def test_smooth_copes_with_one_patch_and_with_tiny_crops():
    for grid in (1, 2, 16):
        grids = np.ones((1, grid, grid), np.float32)
        for side in (1, 2, 15):
            box = np.array([[2, 2, 2 + side, 2 + side]])
            full = OverlayMap(grids, box, (20, 20), smooth=True).full()
            assert full.sum() == pytest.approx(side**2)


def test_empty_maps():
    nothing = OverlayMap(np.empty((0, 16, 16), np.float32), np.empty((0, 4), int), (30, 40))
    assert not nothing.full().any()
    assert nothing.region(5, 5, 5, 20).shape == (0, 15)
    dark = OverlayMap(
        np.zeros((1, 16, 16), np.float32), np.array([[0, 0, 20, 20]]), (30, 40)
    )
    assert not dark.full().any()
    with pytest.raises(ValueError, match="grids"):
        OverlayMap(np.zeros((2, 16, 16), np.float32), np.zeros((1, 4), int), (30, 40))


def test_pyramid_levels_are_the_map_at_coarser_steps(overlay, monkeypatch):
    monkeypatch.setattr("napari_cytosae.core.overlay.SMALLEST", 16)
    levels = overlay.pyramid()
    assert [level.shape for level in levels] == [(60, 70), (30, 35), (15, 18), (8, 9)]
    for exponent, level in enumerate(levels):
        expected = overlay.region(0, 0, *overlay.shape, 2**exponent)
        np.testing.assert_array_equal(level, expected)


@pytest.mark.parametrize(
    "key",
    [
        np.s_[3:20, 5:],
        np.s_[-9:-2, :-1],
        np.s_[4],
        np.s_[4, 7],
        np.s_[:, -3],
        np.s_[1:25:4, ::3],
        np.s_[::-2, 20:3:-1],
        np.s_[7:2, :],
        np.s_[..., 11:12],
        np.s_[50:900, 3:],
    ],
)
def test_a_level_is_sliced_as_numpy_slices(overlay, key):
    for level in (MapLevel(overlay, 1), MapLevel(overlay, 2)):
        np.testing.assert_array_equal(level[key], np.asarray(level)[key])
        assert len(level) == np.asarray(level).shape[0]
        assert level.size == np.asarray(level).size


@pytest.mark.parametrize("smooth", [False, True])
def test_small_crops_are_painted_as_large_ones(smooth, monkeypatch):
    """At a coarse step crops are painted in runs; one by one they look the same."""
    rng = np.random.default_rng(5)
    corner = rng.integers(-40, 900, (300, 2))
    boxes = np.hstack([corner, corner + rng.integers(1, 120, (300, 2))])
    overlay = OverlayMap(rng.random((300, 7, 7), np.float32), boxes, (901, 877), smooth)
    in_runs = overlay.region(0, 0, 901, 877, 8)
    monkeypatch.setattr("napari_cytosae.core._map_painting._SMALL", 0)
    one_by_one = overlay.region(0, 0, 901, 877, 8)
    assert one_by_one.any()
    np.testing.assert_allclose(in_runs, one_by_one, atol=1e-6)


def test_large_slides_are_lazy_and_fast():
    rng = np.random.default_rng(0)
    side, n = 20_000, 5000
    corner = rng.integers(0, side - 250, (n, 2))
    grids = rng.random((n, 16, 16), dtype=np.float32)
    overlay = OverlayMap(grids, np.hstack([corner, corner + 250]), (side, side))
    levels = overlay.layer_data()
    assert isinstance(levels, list)
    start = time.perf_counter()
    view = levels[0][7000:8000, 9000:10_000]
    overview = np.asarray(levels[-1])
    elapsed = time.perf_counter() - start
    assert view.shape == (1000, 1000)
    assert overview.shape == (313, 313)
    assert overview.any()
    # 0.01 s; pixel by pixel it would be minutes.
    assert elapsed < 5
    small = OverlayMap(grids[:1], overlay.boxes[:1], (1000, 1000))
    assert isinstance(small.layer_data(), np.ndarray)


def test_scale_is_robust_and_shared():
    values = np.zeros((3, 16, 16), np.float32)
    assert robust_scale(values) == (0.0, 1.0)
    values.reshape(-1)[:200] = np.linspace(0.01, 2, 200)
    values[2, 15, 15] = 1000
    low, high = robust_scale(values)
    assert low == 0
    assert 1.9 < high < 3
    assert robust_scale(values, 100) == (0, 1000)
    column = csr_array(np.array([[0.0], [0.5], [2.0], [0.0]], np.float32))
    assert robust_scale(column, 100) == (0, 2)


@pytest.mark.parametrize("smooth", [False, True])
def test_tiff_holds_the_map(overlay, tmp_path, monkeypatch, smooth):
    monkeypatch.setattr("napari_cytosae.core.overlay.BLOCK", 16)
    smoothed = OverlayMap(overlay.grids, overlay.boxes, overlay.shape, smooth)
    path = tmp_path / "overlay_12.tif"
    write_tiff(path, smoothed, um=0.1, metadata={"concept": 12, "name": "nucleus \u00b5"})
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[0]
        assert page.dtype == np.float32
        assert page.is_tiled
        assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert not tif.is_bigtiff
        assert tif.shaped_metadata[0]["name"] == "nucleus \u00b5"
        numerator, denominator = page.tags["XResolution"].value
        assert numerator / denominator == pytest.approx(1e5)
        # What is smoothed is a matrix product, whose last bit may depend on its size.
        np.testing.assert_allclose(
            tif.asarray(), smoothed.full(), rtol=5e-7 if smooth else 0, atol=0
        )


def test_tiff_of_a_huge_slide_is_bigtiff_and_small(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_cytosae.core.overlay.BLOCK", 4096)
    grids = np.ones((1, 16, 16), np.float32)
    overlay = OverlayMap(grids, np.array([[100, 100, 350, 350]]), (33_000, 33_000))
    path = tmp_path / "overlay.tif"
    write_tiff(path, overlay)
    with tifffile.TiffFile(path) as tif:
        assert tif.is_bigtiff
        assert tif.pages[0].shape == (33_000, 33_000)
    assert path.stat().st_size < 20e6


def test_a_failed_tiff_leaves_nothing(overlay, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        write_tiff(tmp_path / "file" / "overlay.tif", overlay)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
