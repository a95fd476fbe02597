from __future__ import annotations

import sys

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from napari_cytosae.core import pyramid
from napari_cytosae.core._level import Level
from napari_cytosae.core.crops import crop_cells
from napari_cytosae.core.detection import find_cells
from napari_cytosae.core.images import as_image, read_image
from napari_cytosae.core.label_blocks import LabelBlocks
from napari_cytosae.core.pipeline import run
from napari_cytosae.core.pyramid import Pyramid, as_pyramid, open_image
from napari_cytosae.core.segmentation import segment
from napari_cytosae.core.types import CytoError, Image, ImageError, PixelSize
from napari_cytosae.synthetic import make_slide

UM = 0.25


@pytest.fixture(scope="module")
def drawn():
    wbc = {"neutrophil": 5, "lymphocyte": 5, "monocyte": 2}
    return make_slide((900, 1100), UM, seed=5, wbc=wbc, n_rbc=300).render()


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch):
    monkeypatch.setattr(pyramid, "LARGE_PIXELS", 100_000)


def write_pyramid(path, rgb, *, um=UM, **options):
    """An OME-TIFF of three levels, as scanners' software writes it."""
    options = {"tile": (256, 256), "compression": "zlib", "photometric": "rgb"} | options
    metadata = {"axes": "YXS", "PhysicalSizeX": um, "PhysicalSizeXUnit": "µm"}
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as tif:
        tif.write(rgb, subifds=2, metadata=metadata, **options)
        for step in (2, 4):
            tif.write(rgb[::step, ::step], subfiletype=1, **options)
    return path


def write_svs(path, rgb):
    """A pyramid with a thumbnail, as Aperio's scanners write it."""
    about = "Aperio Image Library v1\r\n{1}x{0}|AppMag = 40|MPP = 0.25"
    with tifffile.TiffWriter(path) as tif:
        for step, tile in ((1, (256, 256)), (3, None), (4, (256, 256))):
            level = np.ascontiguousarray(rgb[::step, ::step])
            description = about.format(*level.shape[:2])
            options = {} if tile is None else {"tile": tile, "compression": "zlib"}
            tif.write(
                level,
                photometric="rgb",
                metadata=None,
                description=description,
                subfiletype=0,
                **options,
            )
    return path


def same_pixels(slide, rgb):
    assert isinstance(slide, Pyramid)
    assert slide.shape == rgb.shape[:2]
    np.testing.assert_array_equal(slide.levels[0][100:430, 250:777], rgb[100:430, 250:777])
    np.testing.assert_array_equal(slide.levels[0][:5, -7:], rgb[:5, -7:])


def test_ome_tiff_pyramid_is_read_in_pieces(drawn, tmp_path):
    path = write_pyramid(tmp_path / "slide.ome.tif", drawn.rgb)
    with open_image(path) as slide:
        same_pixels(slide, drawn.rgb)
        assert [level.shape[0] for level in slide.levels] == [900, 450, 225]
        np.testing.assert_array_equal(
            slide.levels[2][10:50, 20:90], drawn.rgb[::4, ::4][10:50, 20:90]
        )
        assert slide.pixel_size == PixelSize(UM, "metadata")
        assert slide.sha256 == read_image(path).sha256
        shown = slide.as_dask()
        np.testing.assert_array_equal(
            shown[1][5:9, 5:9].compute(), slide.levels[1][5:9, 5:9]
        )
    with open_image(path, pixel_size=0.3) as slide:
        assert slide.pixel_size == PixelSize(0.3, "user")
        assert slide.notes == ("the file says 0.25 um a pixel, 0.3 um is used",)


def test_aperio_svs_is_read_with_its_pixel_size(drawn, tmp_path):
    with open_image(write_svs(tmp_path / "slide.svs", drawn.rgb)) as slide:
        same_pixels(slide, drawn.rgb)
        assert [level.shape[:2] for level in slide.levels] == [(900, 1100), (225, 275)]
        assert slide.pixel_size == PixelSize(0.25, "metadata")


@pytest.mark.parametrize("tool", ["grey", "alpha", "planar", "strips"])
def test_layouts_of_tiff_become_rgb(drawn, tmp_path, tool):
    rgb, path = drawn.rgb, tmp_path / "slide.tif"
    grey = np.repeat(rgb[:, :, :1], 3, axis=2)
    if tool == "grey":
        tifffile.imwrite(path, rgb[:, :, 0], tile=(256, 256), photometric="minisblack")
    elif tool == "alpha":
        rgba = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
        tifffile.imwrite(path, rgba, tile=(256, 256), photometric="rgb", extrasamples=[2])
    elif tool == "planar":
        planes = np.moveaxis(rgb, 2, 0)
        tifffile.imwrite(path, planes, tile=(256, 256), photometric="rgb", planarconfig=2)
    else:
        tifffile.imwrite(path, rgb, rowsperstrip=64, photometric="rgb", compression="zlib")
    with open_image(path) as slide:
        same_pixels(slide, grey if tool == "grey" else rgb)


@pytest.mark.parametrize("kind", ["png", "16 bit", "palette", "turned"])
def test_what_cannot_be_read_in_pieces_is_read_whole(drawn, tmp_path, kind):
    path = tmp_path / ("slide.png" if kind == "png" else "slide.tif")
    if kind == "png":
        PillowImage.fromarray(drawn.rgb).save(path)
    elif kind == "16 bit":
        tifffile.imwrite(path, drawn.rgb.astype(np.uint16) * 257, photometric="rgb")
    elif kind == "palette":
        PillowImage.fromarray(drawn.rgb).quantize(64).save(path)
    else:
        tifffile.imwrite(
            path, drawn.rgb, photometric="rgb", extratags=[(274, "H", 1, 3, True)]
        )
    with open_image(path) as image:
        assert isinstance(image, Image)
        np.testing.assert_array_equal(image.rgb, read_image(path).rgb)
        slide = as_pyramid(image)
        assert slide is not None
        assert slide.levels[0].array is image.rgb


def test_small_images_are_read_whole(drawn, tmp_path, monkeypatch):
    monkeypatch.undo()
    path = write_pyramid(tmp_path / "field.ome.tif", drawn.rgb)
    with open_image(path) as image:
        assert isinstance(image, Image)
        assert as_pyramid(image) is None


@pytest.mark.parametrize("axes", ["tczyx", "yxc"])
def test_ome_zarr_is_read_in_pieces(drawn, tmp_path, axes):
    zarr = pytest.importorskip("zarr", minversion="3")
    path = tmp_path / "slide.zarr"
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    datasets = []
    for i, step in enumerate((1, 2)):
        rgb = drawn.rgb[::step, ::step]
        array = rgb if axes == "yxc" else np.moveaxis(rgb, 2, 0)[None, :, None]
        group.create_array(str(i), data=np.ascontiguousarray(array))
        scale = [UM * step if axis in "yx" else 1.0 for axis in axes]
        transforms = [{"type": "scale", "scale": scale}]
        datasets.append({"path": str(i), "coordinateTransformations": transforms})
    named = [{"name": a, **({"unit": "micrometer"} if a in "yx" else {})} for a in axes]
    group.attrs["multiscales"] = [{"axes": named, "datasets": datasets}]
    with open_image(path) as slide:
        same_pixels(slide, drawn.rgb)
        assert slide.pixel_size == PixelSize(UM, "metadata")
        first = slide.sha256
    group["0"][..., :3, :3] = 0
    with open_image(path) as slide:
        assert slide.sha256 != first


def test_openslide_reads_what_it_knows(drawn, tmp_path):
    pytest.importorskip("openslide")
    from napari_cytosae.core._openslide import is_openslide, openslide_levels

    path = write_svs(tmp_path / "slide.svs", drawn.rgb)
    assert is_openslide(path)
    with openslide_levels(path) as opened:
        assert opened.um == 0.25
        np.testing.assert_array_equal(
            opened.levels[0][100:430, 250:777], drawn.rgb[100:430, 250:777]
        )
    (tmp_path / "text.txt").write_text("no slide")
    assert not is_openslide(tmp_path / "text.txt")


def test_a_scanners_format_without_openslide_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openslide", None)
    path = tmp_path / "slide.mrxs"
    path.write_bytes(b"\xff\xd8 no JPEG that anyone knows")
    with pytest.raises(ImageError, match=r"\[wsi\]"), open_image(path):
        pass


def test_a_damaged_tile_is_named_not_skipped(drawn, tmp_path):
    path = write_pyramid(tmp_path / "slide.ome.tif", drawn.rgb)
    with tifffile.TiffFile(path) as tif:
        place = tif.pages[0].dataoffsets[6]
    with path.open("r+b") as stream:
        stream.seek(place)
        stream.write(b"\0" * 500)
    with (
        open_image(path) as slide,
        pytest.raises(ImageError, match="read at row"),
    ):
        run(find_cells(slide))


def test_a_file_cut_short_is_refused_at_once(drawn, tmp_path):
    path = write_svs(tmp_path / "slide.svs", drawn.rgb)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match="cut short"), open_image(path):
        pass


# --- the cells of a slide -------------------------------------------------------------


def test_cells_of_a_slide_are_those_of_the_image(drawn, tmp_path):
    path = write_pyramid(tmp_path / "slide.ome.tif", drawn.rgb)
    with open_image(path) as slide:
        steps = list(find_cells(slide))
        cells = run(find_cells(slide))
        whole = segment(drawn.rgb, UM)
        assert len(cells) == len(whole) == 12
        assert isinstance(cells.labels, LabelBlocks)
        assert steps[-1].done == steps[-1].total == 1
        np.testing.assert_array_equal(np.asarray(cells.labels), whole.labels)
        np.testing.assert_array_equal(np.asarray(cells.nuclei), whole.nuclei)
        assert cells.table.area_px.tolist() == whole.table.area_px.tolist()
        lazy, held = crop_cells(slide, cells), crop_cells(drawn.rgb, whole)
        assert len(lazy) == 12
        for one, other in zip(lazy, held, strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(lazy[3:5][1], held[4])


def test_a_large_image_in_memory_goes_tile_by_tile(drawn):
    cells = run(find_cells(as_image(drawn.rgb, "field", UM)))
    assert isinstance(cells.labels, LabelBlocks)
    assert cells.pixel_size == PixelSize(UM, "user")
    assert len(cells) == 12


def test_a_slide_is_not_one_cell(drawn):
    slide = as_pyramid(as_image(drawn.rgb, "field", UM))
    with pytest.raises(CytoError, match="cut out a region"):
        run(find_cells(slide, single_cell=True))


def test_dark_parts_are_left_out_and_said(drawn):
    rgb = np.zeros((900, 5000, 3), np.uint8)
    rgb[:, :1100] = drawn.rgb
    cells = run(find_cells(as_pyramid(as_image(rgb, "field", UM))))
    assert cells.notes == ("2 of 3 tiles left out: no bright background there",)


def test_a_slide_is_thinned_from_a_level_that_will_do(drawn, tmp_path):
    with open_image(write_pyramid(tmp_path / "slide.ome.tif", drawn.rgb)) as slide:
        for step in (1, 2, 3, 7):
            shown = slide.thinned(step)
            assert shown.shape == drawn.rgb[step // 2 :: step, step // 2 :: step].shape
            y, x = shown.shape[0] // 2, shown.shape[1] // 3
            near = drawn.rgb[step * y : step * y + 9, step * x : step * x + 9]
            assert (near == shown[y, x]).all(axis=2).any()


def test_a_cache_that_napari_registers_is_not_used():
    """It fails where two threads compute at once."""
    import dask.array as da
    from dask.callbacks import Callback

    used = []
    level = Level(da.from_array(np.full((8, 8, 3), 7, np.uint8), chunks=4), "YXS")
    with Callback(pretask=lambda *_: used.append(True)):
        assert level[slice(0, 5), slice(0, 8)].sum() == 7 * 5 * 8 * 3
    assert used == []
