"""Every kind of image a lab may have: handled with a note, or refused with one sentence."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from napari_cytosae.core.images import as_image, read_image
from napari_cytosae.core.types import ImageError, PixelSize


@pytest.fixture
def rgb() -> np.ndarray:
    """A bright field with detail in each channel; not square, no symmetry."""
    rng = np.random.default_rng(0)
    image = rng.integers(180, 256, (40, 60, 3), dtype=np.uint8)
    image[5:15, 10:30] = (90, 20, 140)
    return image


def refused(call, *args, **kwargs) -> str:
    with pytest.raises(ImageError) as caught:
        call(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


# --- files that are read exactly ------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_plain_rgb_is_exact(rgb, tmp_path, suffix):
    path = tmp_path / f"smear{suffix}"
    PillowImage.fromarray(rgb).save(path)
    image = read_image(path)
    np.testing.assert_array_equal(image.rgb, rgb)
    assert image.rgb.dtype == np.uint8
    assert image.rgb.flags.c_contiguous
    assert image.name == path.name
    assert image.notes == ()
    assert image.pixel_size == PixelSize()
    assert image.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_real_images_are_what_other_readers_see(data_dir):
    lzw = data_dir / "cytosae_published" / "19-6574.PAP.PB~E.1-1232.TIF"
    np.testing.assert_array_equal(read_image(lzw).rgb, tifffile.imread(lzw)[..., :3])
    jpeg = min((data_dir / "bccd" / "images").glob("*.jpg"))
    with PillowImage.open(jpeg) as opened:
        np.testing.assert_array_equal(read_image(jpeg).rgb, np.asarray(opened))


def test_the_content_decides_not_the_suffix(rgb, tmp_path):
    path = tmp_path / "really_a_png.tif"
    PillowImage.fromarray(rgb).save(path, "PNG")
    np.testing.assert_array_equal(read_image(path).rgb, rgb)


@pytest.mark.parametrize("compression", ["lzw", "zlib", "packbits", None])
@pytest.mark.parametrize("layout", ["strips", "tiles", "planar"])
def test_tiff_layouts(rgb, tmp_path, compression, layout):
    path = tmp_path / "smear.tif"
    kwargs = {"tile": (16, 16)} if layout == "tiles" else {"rowsperstrip": 7}
    stored, planar = rgb, "contig"
    if layout == "planar":
        stored, planar = np.moveaxis(rgb, -1, 0), "separate"
    tifffile.imwrite(
        path,
        stored,
        photometric="rgb",
        planarconfig=planar,
        compression=compression,
        **kwargs,
    )
    np.testing.assert_array_equal(read_image(path).rgb, rgb)


def test_large_slide_gets_past_the_bomb_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(PillowImage, "MAX_IMAGE_PIXELS", 100)
    path = tmp_path / "slide.png"
    PillowImage.new("RGB", (300, 200), (250, 250, 250)).save(path)
    assert read_image(path).rgb.shape == (200, 300, 3)
    assert PillowImage.MAX_IMAGE_PIXELS == 100


def test_absurd_size_is_refused_before_decoding(rgb, tmp_path, monkeypatch):
    path = tmp_path / "smear.png"
    PillowImage.fromarray(rgb).save(path)
    monkeypatch.setattr("napari_cytosae.core.images.MAX_PIXELS", 1000)
    assert "60 x 40 px, too large" in refused(read_image, path)
    path = tmp_path / "smear.tif"
    tifffile.imwrite(path, rgb)
    assert "60 x 40 px, too large" in refused(read_image, path)


# --- conversions ----------------------------------------------------------------------


def test_alpha_is_dropped(rgb, tmp_path):
    alpha = np.linspace(0, 255, 60, dtype=np.uint8)[None].repeat(40, 0)
    rgba = np.dstack([rgb, alpha])
    for suffix in (".png", ".tif"):
        path = tmp_path / f"smear{suffix}"
        PillowImage.fromarray(rgba).save(path)
        image = read_image(path)
        np.testing.assert_array_equal(image.rgb, rgb)
        assert image.notes == ("alpha dropped",)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_grey_is_replicated(rgb, tmp_path, suffix):
    path = tmp_path / f"grey{suffix}"
    PillowImage.fromarray(rgb[:, :, 0]).save(path)
    image = read_image(path)
    assert image.rgb.shape == (40, 60, 3)
    assert (image.rgb == image.rgb[:, :, :1]).all()
    assert any("grey" in note for note in image.notes)
    if suffix != ".jpg":
        np.testing.assert_array_equal(image.rgb[:, :, 0], rgb[:, :, 0])


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_palette_colours_are_looked_up(rgb, tmp_path, suffix):
    indexed = PillowImage.fromarray(rgb).quantize(64)
    path = tmp_path / f"palette{suffix}"
    indexed.save(path)
    np.testing.assert_array_equal(read_image(path).rgb, np.asarray(indexed.convert("RGB")))


def test_palette_with_transparency(rgb, tmp_path):
    indexed = PillowImage.fromarray(rgb).quantize(64)
    path = tmp_path / "palette.png"
    indexed.save(path, transparency=bytes([0, 128, 255]))
    np.testing.assert_array_equal(read_image(path).rgb, np.asarray(indexed.convert("RGB")))


def test_one_bit_images_are_black_and_white(tmp_path):
    bits = np.indices((40, 60)).sum(0) % 2 == 0
    for suffix in (".png", ".bmp", ".tif"):
        path = tmp_path / f"bits{suffix}"
        PillowImage.fromarray(bits).save(path)
        np.testing.assert_array_equal(read_image(path).rgb[:, :, 1], bits * 255)


def test_white_is_zero_is_inverted(rgb, tmp_path):
    path = tmp_path / "inverted.tif"
    tifffile.imwrite(path, 255 - rgb[:, :, 0], photometric="miniswhite")
    np.testing.assert_array_equal(read_image(path).rgb[:, :, 0], rgb[:, :, 0])


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_sixteen_bit_is_scaled_by_the_depth_in_use(rgb, tmp_path, bits):
    white = 2**bits - 1
    deep = np.rint(rgb / 255 * white).astype(np.uint16)
    deep[0, 0] = white
    expected = np.rint(deep * (255 / white))
    path = tmp_path / "deep.tif"
    tifffile.imwrite(path, deep, photometric="rgb")
    image = read_image(path)
    np.testing.assert_array_equal(image.rgb, expected)
    np.testing.assert_array_equal(image.rgb[1:], rgb[1:])
    assert image.notes == (
        f"uint16 values scaled to 8 bit (0..{white}, {bits} bits in use)",
    )


def test_sixteen_bit_png_keeps_all_its_bits(rgb, tmp_path):
    import imagecodecs

    deep = rgb.astype(np.uint16) * 16  # 12 bits in use
    deep[0, 0] = 4095
    path = tmp_path / "deep.png"
    path.write_bytes(imagecodecs.png_encode(deep))
    image = read_image(path)
    np.testing.assert_array_equal(image.rgb, np.rint(deep * (255 / 4095)))
    grey = tmp_path / "grey.png"
    grey.write_bytes(imagecodecs.png_encode(deep[:, :, 0].copy()))
    np.testing.assert_array_equal(read_image(grey).rgb[:, :, 2], image.rgb[:, :, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_floats_of_both_ranges(rgb, tmp_path, dtype):
    unit = as_image((rgb / 255).astype(dtype))
    np.testing.assert_array_equal(unit.rgb, rgb)
    assert any("0..1 scaled" in note for note in unit.notes)
    wide = as_image(rgb.astype(dtype))
    np.testing.assert_array_equal(wide.rgb, rgb)
    path = tmp_path / "float.tif"
    tifffile.imwrite(path, (rgb / 255).astype(np.float32), photometric="rgb")
    np.testing.assert_array_equal(read_image(path).rgb, rgb)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_orientation_is_applied(tmp_path, orientation, suffix):
    # Smooth, so that JPEG keeps it.
    y, x = np.mgrid[:64, :96]
    upright = np.stack([y * 3, x * 2, (x + y) // 2 + 100], axis=-1).astype(np.uint8)
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned{suffix}"
    PillowImage.fromarray(upright).save(path, exif=exif)
    with PillowImage.open(path) as opened:
        from PIL import ImageOps

        expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    image = read_image(path)
    np.testing.assert_array_equal(image.rgb, expected)
    assert bool(image.notes) == (orientation > 1)


def test_arrays_share_memory_where_nothing_changes(rgb):
    image = as_image(rgb, "layer", 0.1)
    assert np.shares_memory(image.rgb, rgb)
    assert image.pixel_size == PixelSize(0.1, "user")
    assert as_image(rgb.copy()).sha256 == image.sha256
    assert as_image(rgb[:, ::-1]).sha256 != image.sha256
    layer = PixelSize(0.2, "layer")
    assert as_image(rgb, pixel_size=layer).pixel_size is layer


@pytest.mark.parametrize(
    "shape", [(1, 40, 60, 3), (1, 1, 40, 60), (40, 60, 1), (1, 40, 60)]
)
def test_axes_of_length_one_are_removed(shape):
    assert as_image(np.full(shape, 200, np.uint8)).rgb.shape == (40, 60, 3)


def test_dark_background_is_remarked_upon(rgb):
    assert any("dark" in note for note in as_image(rgb // 8).notes)


# --- pixel size -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "unit", "um"),
    [(0.25, "µm", 0.25), (110, "nm", 0.11), (1e-4, "mm", 0.1), (2.5e-5, "cm", 0.25)],
)
def test_pixel_size_from_ome(rgb, tmp_path, size, unit, um):
    path = tmp_path / "smear.ome.tif"
    metadata = {"axes": "YXS", "PhysicalSizeX": size, "PhysicalSizeXUnit": unit}
    tifffile.imwrite(path, rgb, photometric="rgb", metadata=metadata)
    image = read_image(path)
    assert image.pixel_size.um == pytest.approx(um)
    assert image.pixel_size.source == "metadata"
    assert image.notes == ()


def test_ome_without_unit_means_micrometres(rgb, tmp_path):
    path = tmp_path / "smear.ome.tif"
    metadata = {"axes": "YXS", "PhysicalSizeX": 0.3}
    tifffile.imwrite(path, rgb, photometric="rgb", metadata=metadata)
    assert read_image(path).pixel_size == PixelSize(0.3, "metadata")


def test_pixel_size_from_aperio(rgb, tmp_path):
    path = tmp_path / "slide.svs"
    description = "Aperio Image Library v11\n60x40 [0,0 60x40] |AppMag = 40|MPP = 0.2521"
    tifffile.imwrite(path, rgb, tile=(16, 16), description=description, metadata=None)
    assert read_image(path).pixel_size == PixelSize(0.2521, "metadata")


def test_pixel_size_from_imagej(rgb, tmp_path):
    path = tmp_path / "smear.tif"
    tifffile.imwrite(
        path, rgb, imagej=True, resolution=(8, 8), metadata={"unit": "um", "axes": "YXS"}
    )
    assert read_image(path).pixel_size == PixelSize(0.125, "metadata")


@pytest.mark.parametrize(
    ("per_unit", "unit", "um"),
    [(100_000, "CENTIMETER", 0.1), (254_000, "INCH", 0.1), (72, "INCH", None)],
)
def test_pixel_size_from_resolution_tags(rgb, tmp_path, per_unit, unit, um):
    path = tmp_path / "smear.tif"
    tifffile.imwrite(path, rgb, resolution=(per_unit, per_unit), resolutionunit=unit)
    image = read_image(path)
    assert image.pixel_size.um == (pytest.approx(um) if um else None)
    assert image.pixel_size.source == ("metadata" if um else "unknown")
    # A dpi of 72 is on every second file: nothing to tell.
    assert image.notes == ()


def test_implausible_size_in_the_file_is_noted_and_not_used(rgb, tmp_path):
    path = tmp_path / "smear.ome.tif"
    metadata = {"axes": "YXS", "PhysicalSizeX": 250.0, "PhysicalSizeXUnit": "µm"}
    tifffile.imwrite(path, rgb, photometric="rgb", metadata=metadata)
    image = read_image(path)
    assert image.pixel_size == PixelSize()
    assert "250 um in the file is implausible" in image.notes[0]


def test_the_user_wins(rgb, tmp_path):
    path = tmp_path / "smear.tif"
    tifffile.imwrite(path, rgb, resolution=(1e5, 1e5), resolutionunit="CENTIMETER")
    image = read_image(path, pixel_size=0.2)
    assert image.pixel_size == PixelSize(0.2, "user")
    assert image.notes == ("the file says 0.1 um a pixel, 0.2 um is used",)
    assert "unusual" in read_image(path, pixel_size=5).notes[0]
    for impossible in (0, -1, float("nan"), float("inf")):
        assert "impossible" in refused(read_image, path, pixel_size=impossible)


# --- OME-Zarr -------------------------------------------------------------------------


def write_zarr(path, array, axes, version=2, scale=0.25, unit="micrometer"):
    zarr = pytest.importorskip("zarr", minversion="3")
    group = zarr.open_group(str(path), mode="w", zarr_format=version)
    stored = group.create_array(
        "0", shape=array.shape, dtype=array.dtype, chunks=array.shape
    )
    stored[...] = array
    multiscales = [
        {
            "axes": [
                {"name": a, "unit": unit} if a in "zyx" else {"name": a} for a in axes
            ],
            "datasets": [
                {
                    "path": "0",
                    "coordinateTransformations": [
                        {
                            "type": "scale",
                            "scale": [scale if a in "yx" else 1 for a in axes],
                        }
                    ],
                }
            ],
        }
    ]
    attributes = {"multiscales": multiscales}
    group.attrs.update(attributes if version == 2 else {"ome": attributes})
    return path


@pytest.mark.parametrize("version", [2, 3])
def test_ome_zarr(rgb, tmp_path, version):
    stored = np.moveaxis(rgb, -1, 0)[None, :, None]
    path = write_zarr(tmp_path / "slide.zarr", stored, "tczyx", version)
    image = read_image(path)
    np.testing.assert_array_equal(image.rgb, rgb)
    assert image.pixel_size == PixelSize(0.25, "metadata")
    assert image.notes == ("three channels taken as red, green and blue",)
    assert image.sha256 == as_image(rgb).sha256
    grey = write_zarr(tmp_path / "grey.zarr", rgb[:, :, 0], "yx", version, 250, "nanometer")
    image = read_image(grey)
    np.testing.assert_array_equal(image.rgb[:, :, 1], rgb[:, :, 0])
    assert image.pixel_size.um == pytest.approx(0.25)


def test_ome_zarr_that_is_no_smear(rgb, tmp_path, monkeypatch):
    dark = np.moveaxis(rgb // 10, -1, 0)
    path = write_zarr(tmp_path / "fluorescence.zarr", dark, "cyx")
    assert "3 separate channels" in refused(read_image, path)
    path = write_zarr(tmp_path / "stack.zarr", dark, "zyx")
    assert "stack of 3 planes" in refused(read_image, path)
    import zarr

    path = tmp_path / "plate.zarr"
    zarr.open_group(str(path), mode="w")
    assert "holds no OME-Zarr image" in refused(read_image, path)
    monkeypatch.setitem(sys.modules, "zarr", None)
    assert "napari-cytosae[wsi]" in refused(read_image, path)


# --- refusals -------------------------------------------------------------------------


def test_missing_folder_and_empty(tmp_path):
    assert "does not exist" in refused(read_image, tmp_path / "no.png")
    assert "is a folder" in refused(read_image, tmp_path)
    empty = tmp_path / "empty.png"
    empty.touch()
    assert "empty (0 bytes)" in refused(read_image, empty)


@pytest.mark.parametrize(
    "content",
    [b"II*\0", b"MM\0*\0\0\0\x08", b"\x89PNG\r\n\x1a\n", b"BM", b"\xff\xd8\xff\xe0"],
)
def test_headers_without_an_image(tmp_path, content):
    path = tmp_path / "header.bin"
    path.write_bytes(content)
    assert "header.bin" in refused(read_image, path)


def test_not_an_image(tmp_path):
    path = tmp_path / "notes.png"
    path.write_text("these are not pixels")
    assert "not a PNG, JPEG, BMP or TIFF" in refused(read_image, path)
    gif = tmp_path / "moving.gif"
    PillowImage.new("L", (20, 20)).save(gif)
    assert "not a PNG, JPEG, BMP or TIFF" in refused(read_image, gif)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".lzw.tif"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_files(tmp_path, suffix, share):
    rng = np.random.default_rng(1)
    noisy = rng.integers(0, 256, (80, 90, 3), dtype=np.uint8)
    path = tmp_path / f"cut{suffix}"
    if suffix == ".lzw.tif":
        tifffile.imwrite(path, noisy, compression="lzw", rowsperstrip=10)
    else:
        PillowImage.fromarray(noisy).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "cut short" in refused(read_image, path)


def test_damaged_bytes_never_escape_as_other_errors(data_dir, tmp_path, capfd, caplog):
    """Flip bytes all over real files: an image or an ImageError, and not a word more."""
    rng = np.random.default_rng(2)
    sources = [
        data_dir / "cytosae_published" / "19-6574.PAP.PB~E.1-1232.TIF",
        min((data_dir / "bccd" / "images").glob("*.jpg")),
        min((data_dir / "wbc_segmentation" / "dataset1").glob("*_mask.png")),
    ]
    for source in sources:
        content = source.read_bytes()
        for _ in range(25):
            damaged = np.frombuffer(content, np.uint8).copy()
            ends = np.r_[np.arange(300), np.arange(-300, 0)]
            where = rng.choice(ends, 12)
            damaged[where] = rng.integers(0, 256, 12)
            path = tmp_path / source.name
            path.write_bytes(damaged.tobytes())
            with contextlib.suppress(ImageError):
                assert read_image(path).rgb.dtype == np.uint8
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_fluorescence_channels_are_refused(tmp_path):
    channels = np.random.default_rng(0).integers(0, 4000, (4, 40, 60), dtype=np.uint16)
    path = tmp_path / "fluorescence.ome.tif"
    tifffile.imwrite(path, channels, metadata={"axes": "CYX"}, photometric="minisblack")
    assert "4 separate channels" in refused(read_image, path)
    tifffile.imwrite(path, channels[:3], metadata={"axes": "CYX"}, photometric="minisblack")
    assert "3 separate channels" in refused(read_image, path)
    imagej = tmp_path / "composite.tif"
    tifffile.imwrite(imagej, channels[:3], imagej=True, metadata={"axes": "CYX"})
    assert "3 separate channels" in refused(read_image, imagej)
    assert "separate channels" in refused(as_image, channels)
    assert "separate channels" in refused(as_image, channels[:2].transpose(1, 2, 0))


def test_dark_planar_rgb_is_taken_for_fluorescence(tmp_path):
    """What a plain ``imwrite`` of three channels looks like."""
    dark = np.random.default_rng(0).poisson(3, (3, 40, 60)).astype(np.uint8)
    path = tmp_path / "channels.tif"
    tifffile.imwrite(path, dark, photometric="rgb", planarconfig="separate")
    assert "fluorescence" in refused(read_image, path)


def test_channels_named_red_green_blue_are_rgb(rgb, tmp_path):
    path = tmp_path / "smear.ome.tif"
    metadata = {"axes": "CYX", "Channel": {"Name": ["Red", "Green", "Blue"]}}
    tifffile.imwrite(
        path, np.moveaxis(rgb, -1, 0), metadata=metadata, photometric="minisblack"
    )
    np.testing.assert_array_equal(read_image(path).rgb, rgb)


@pytest.mark.parametrize("axes", ["ZYX", "TYX", "ZYXS"])
def test_stacks_are_refused(tmp_path, axes):
    shape = (5, 40, 60, 3)[: len(axes)]
    path = tmp_path / "stack.ome.tif"
    photometric = "rgb" if axes.endswith("S") else "minisblack"
    stack = np.full(shape, 200, np.uint8)
    tifffile.imwrite(path, stack, metadata={"axes": axes}, photometric=photometric)
    assert "stack of 5 planes" in refused(read_image, path)
    pages = tmp_path / "pages.tif"
    tifffile.imwrite(pages, stack, photometric=photometric)
    assert "stack of 5 planes" in refused(read_image, pages)
    assert "stack" in refused(as_image, stack if stack.ndim == 4 else stack[None, :, None])


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((0, 0, 3), np.uint8), "empty"),
        (np.zeros((5, 0), np.uint8), "empty"),
        (np.float32(3), "empty"),
        (np.zeros((1, 1, 3), np.uint8), "too small"),
        (np.zeros((7, 300, 3), np.uint8), "too small"),
        (np.zeros((40, 60), bool), "mask"),
        (np.zeros((40, 60, 3), complex), "not brightness"),
        (np.full((40, 60), -1, np.int16), "negative"),
        (np.full((40, 60), 70_000, np.int32), "over 16 bits"),
        (np.full((40, 60, 3), np.nan), "NaN"),
        (np.full((40, 60, 3), np.inf), "NaN or infinite"),
        (np.full((40, 60, 3), -0.5), "negative"),
        (np.full((40, 60, 3), 4000.0), "neither 0..1 nor 0..255"),
        (np.full((40, 60), "a"), "not brightness"),
    ],
)
def test_arrays_that_are_no_smear(array, reason):
    assert reason in refused(as_image, array, "layer")


def test_colour_spaces_that_are_not_rgb(tmp_path):
    path = tmp_path / "print.tif"
    PillowImage.new("CMYK", (40, 60)).save(path)
    assert "CMYK" in refused(read_image, path)
    jpeg = tmp_path / "print.jpg"
    PillowImage.new("CMYK", (40, 60), (0, 0, 0, 0)).save(jpeg)
    assert (read_image(jpeg).rgb == 255).all()


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    from pathlib import Path

    path = tmp_path / "smear.png"
    PillowImage.new("RGB", (40, 60)).save(path)

    def denied(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert "cannot be read: Permission denied" in refused(read_image, path)


def test_reading_leaves_no_file_open(rgb, tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    for name in ("a.png", "b.tif"):
        PillowImage.fromarray(rgb).save(folder / name)
        read_image(folder / name)
    shutil.rmtree(folder)
    assert not folder.exists()
