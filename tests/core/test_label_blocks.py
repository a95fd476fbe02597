from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_cytosae.core.export import write_labels
from napari_cytosae.core.label_blocks import LabelBlocks

SHAPE = (700, 1100)


@pytest.fixture
def pair():
    """Label blocks, and the array they should be: random rectangles written in turn."""
    rng = np.random.default_rng(0)
    array, blocks = np.zeros(SHAPE, np.int32), LabelBlocks(SHAPE)
    for label in range(1, 25):
        y, x = (int(rng.integers(0, side - 1)) for side in SHAPE)
        place = (slice(y, y + int(rng.integers(1, 300))), slice(x, x + 200))
        new = np.full(array[place].shape, label * 10**6, np.int32)
        array[place], blocks[place] = new, new
    return blocks, array


def test_what_was_written_is_read(pair):
    blocks, array = pair
    np.testing.assert_array_equal(np.asarray(blocks), array)
    rng = np.random.default_rng(1)
    for _ in range(50):
        (y0, y1), (x0, x1) = (sorted(rng.integers(0, side + 1, 2)) for side in SHAPE)
        for step in (1, 3, 300):
            part = (slice(y0, y1, step), slice(x0, x1, step))
            np.testing.assert_array_equal(blocks[part], array[part])
    for y, x in ((0, 0), (699, 1099), (255, 256), (-1, -2)):
        assert blocks[y, x] == array[y, x]
    np.testing.assert_array_equal(blocks[300, 5:900], array[300, 5:900])
    np.testing.assert_array_equal(blocks[5:600:7, -4], array[5:600:7, -4])
    with pytest.raises(IndexError):
        blocks[700, 0]


def test_labels_taken_away_are_gone(pair):
    blocks, _ = pair
    twin = blocks.copy()
    blocks[:, :] = np.zeros(SHAPE, np.int32)
    assert not np.asarray(blocks).any()
    assert np.asarray(twin).any()


def test_pyramid_halves_and_its_first_level_is_exact(pair):
    blocks, array = pair
    levels = blocks.pyramid()
    assert [level.shape for level in levels] == [(700, 1100), (350, 550)]
    for exponent, level in enumerate(levels):
        step = 2**exponent
        thinned = array[::step, ::step]
        np.testing.assert_array_equal(level, thinned)
        for part in (
            (7,),
            (slice(3, 200, 3), slice(10, 9, -1)),
            (slice(340, 250, -2), slice(500, 530)),
            (Ellipsis, -1),
            (slice(0, 0), slice(None)),
        ):
            np.testing.assert_array_equal(level[part], thinned[part])


def test_what_a_viewer_looks_at_again_is_not_read_again(pair, monkeypatch):
    blocks, array = pair
    finest = blocks.pyramid()[0]
    read = []
    decode = LabelBlocks._read
    monkeypatch.setattr(
        LabelBlocks, "_read", lambda self, at: read.append(at) or decode(self, at)
    )
    first = finest[100:500, 100:600]
    assert read
    read.clear()
    np.testing.assert_array_equal(finest[200:512, 0:700], array[200:512, 0:700])
    np.testing.assert_array_equal(first, array[100:500, 100:600])
    assert not read


def test_written_tile_by_tile_as_others_read_it(pair, tmp_path):
    blocks, array = pair
    write_labels(blocks, tmp_path / "blocks.tif", um=0.25)
    write_labels(array, tmp_path / "array.tif", um=0.25)
    for name in ("blocks", "array"):
        with tifffile.TiffFile(tmp_path / f"{name}.tif") as tif:
            page = tif.pages[0]
            np.testing.assert_array_equal(page.asarray(), array)
            assert page.dtype == np.int32
            assert page.tile == (256, 256)
            assert page.tags["XResolution"].value[0] / page.tags["XResolution"].value[
                1
            ] == pytest.approx(40000)


@pytest.mark.parametrize(
    "options",
    [
        {"tile": (256, 256), "compression": "zlib"},
        {"tile": (64, 96), "compression": "lzw", "predictor": True},
        {"rowsperstrip": 50, "byteorder": ">"},
    ],
)
def test_read_from_a_file_tile_by_tile(pair, tmp_path, options):
    _, array = pair
    order = {key: options.pop(key) for key in ("byteorder",) if key in options}
    with tifffile.TiffWriter(tmp_path / "labels.tif", **order) as tif:
        tif.write(array, **options)
    blocks = LabelBlocks.of_tiff(tmp_path / "labels.tif")
    assert blocks.shape == array.shape
    np.testing.assert_array_equal(np.asarray(blocks), array)


def test_pixels_are_not_read_as_labels(tmp_path):
    tifffile.imwrite(tmp_path / "image.tif", np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(ValueError, match="is no label image of 32 bit"):
        LabelBlocks.of_tiff(tmp_path / "image.tif")


def test_an_empty_slide_takes_no_memory_and_becomes_bigtiff(tmp_path):
    blocks = LabelBlocks((33_000, 33_000))
    blocks[32_000:32_010, 32_000:32_010] = np.full((10, 10), 7, np.int32)
    write_labels(blocks, tmp_path / "cells.tif")
    with tifffile.TiffFile(tmp_path / "cells.tif") as tif:
        assert tif.is_bigtiff
        assert tif.pages[0].shape == blocks.shape
    assert (tmp_path / "cells.tif").stat().st_size < 10 * 2**20
