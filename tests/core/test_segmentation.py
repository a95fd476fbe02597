from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image as PillowImage
from scipy import ndimage as ndi
from skimage.measure import regionprops_table
from skimage.segmentation import expand_labels

from napari_cytosae.core import _red, segmentation
from napari_cytosae.core._level import Level
from napari_cytosae.core._split import divide
from napari_cytosae.core._stain import stain
from napari_cytosae.core.doubts import scale_doubt
from napari_cytosae.core.images import read_image
from napari_cytosae.core.morphometry import edge_sharpness
from napari_cytosae.core.pyramid import Pyramid
from napari_cytosae.core.segmentation import (
    estimate_pixel_size,
    measure,
    search,
    segment,
    single_cell,
)
from napari_cytosae.core.slides import scale_of
from napari_cytosae.core.types import (
    CELL_COLUMNS,
    CELL_KINDS,
    CytoError,
    Image,
    ImageError,
    PixelSize,
)
from napari_cytosae.synthetic import render_smear
from napari_cytosae.synthetic.patients import patient_slides

GLASS = (225, 228, 222)
BLOOD = (205, 160, 150)
CYTOPLASM = (190, 190, 215)
NUCLEUS = (95, 50, 140)


def disc(shape, y, x, radius):
    yy, xx = np.ogrid[: shape[0], : shape[1]]
    return (yy - y) ** 2 + (xx - x) ** 2 <= radius**2


def field(um=0.2, white=((60, 70),), red=(), shape=(240, 320), seed=0):
    """A smear drawn in um: white cells 12 um wide with an 8 um nucleus, red ones 7.5 um."""
    rgb = np.empty((*shape, 3), np.float32)
    rgb[:] = GLASS
    for y, x in red:
        rgb[disc(shape, y, x, 3.75 / um)] = BLOOD
    for y, x in white:
        rgb[disc(shape, y, x, 6 / um)] = CYTOPLASM
        rgb[disc(shape, y, x, 4 / um)] = NUCLEUS
    rgb = ndi.gaussian_filter(rgb, (0.7, 0.7, 0))
    noise = np.random.default_rng(seed).normal(0, 2, rgb.shape)
    return np.clip(rgb + noise, 0, 255).astype(np.uint8)


def grid(um=0.2, shape=(240, 320), gap=11.0):
    """Centres of red cells `gap` um apart, away from the border."""
    step, first = gap / um, 6 / um
    return [
        (y, x)
        for y in np.arange(first, shape[0] - first, step)
        for x in np.arange(first, shape[1] - first, step)
    ]


def dice(found, truth):
    return 2 * np.count_nonzero(found & truth) / (found.sum() + truth.sum())


def check_contract(cells, image):
    assert cells.labels.shape == cells.nuclei.shape == image.shape[:2]
    assert cells.labels.dtype == cells.nuclei.dtype == np.int32
    assert tuple(cells.table.columns) == CELL_COLUMNS
    ids = np.unique(cells.labels)
    assert cells.table.cell_id.tolist() == ids[ids > 0].tolist()
    inside = cells.nuclei > 0
    np.testing.assert_array_equal(cells.nuclei[inside], cells.labels[inside])
    area = np.bincount(cells.labels.ravel())[cells.table.cell_id]
    assert cells.table.area_px.tolist() == area.tolist()


# --- what is known because it was drawn -----------------------------------------------


def test_white_cell_and_its_nucleus_are_outlined():
    rgb = field(white=[(60, 70), (150, 200)])
    cells = segment(rgb, pixel_size=0.2)
    check_contract(cells, rgb)
    assert len(cells) == 2
    assert (
        dice(cells.labels > 0, disc(rgb.shape, 60, 70, 30) | disc(rgb.shape, 150, 200, 30))
        > 0.96
    )
    assert (
        dice(cells.nuclei > 0, disc(rgb.shape, 60, 70, 20) | disc(rgb.shape, 150, 200, 20))
        > 0.96
    )
    np.testing.assert_allclose(cells.table.centroid_x, [70, 200], atol=0.5)
    np.testing.assert_allclose(cells.table.centroid_y, [60, 150], atol=0.5)
    np.testing.assert_allclose(cells.table.area_um2, np.pi * 36, rtol=0.06)
    np.testing.assert_allclose(cells.table.nc_ratio, (4 / 6) ** 2, rtol=0.1)
    assert (cells.table.qc == "ok").all()
    assert cells.table.pixel_size_source.tolist() == ["user", "user"]


def test_white_cell_is_parted_from_the_red_cell_it_touches():
    red = [*grid(gap=14), (90, 120)]
    red = [(y, x) for y, x in red if np.hypot(y - 60, x - 80) > 49]
    rgb = field(white=[(60, 80)], red=red)
    rgb[disc(rgb.shape, 103, 101, 19) & ~disc(rgb.shape, 60, 80, 30)] = BLOOD
    cells = segment(rgb, pixel_size=0.2)
    assert len(cells) == 1
    assert dice(cells.labels > 0, disc(rgb.shape, 60, 80, 30)) > 0.93


def test_lobes_are_one_cell_and_touching_cells_are_two():
    rgb = field(white=[], shape=(160, 320))
    lobed = disc(rgb.shape, 80, 80, 32)
    rgb[lobed] = CYTOPLASM
    for y, x in ((65, 68), (65, 92), (98, 80)):
        rgb[disc(rgb.shape, y, x, 10)] = NUCLEUS
    for x in (200, 258):
        rgb[disc(rgb.shape, 80, x, 30)] = CYTOPLASM
        rgb[disc(rgb.shape, 80, x, 20)] = NUCLEUS
    cells = segment(rgb, pixel_size=0.2)
    assert len(cells) == 3
    np.testing.assert_allclose(cells.table.centroid_x, [80, 200, 258], atol=2.5)


def test_kinds_are_told_apart_and_asked_for():
    centres = [(y, x) for y, x in grid() if np.hypot(y - 60, x - 70) > 60]
    rgb = field(red=centres)
    rgb[disc(rgb.shape, 200, 300, 7)] = (150, 120, 200)
    cells = segment(rgb, pixel_size=0.2, kinds=("wbc", "rbc", "platelet"))
    check_contract(cells, rgb)
    assert cells.table.kind.value_counts().to_dict() == {
        "rbc": len(centres),
        "wbc": 1,
        "platelet": 1,
    }
    assert cells.table.kind.iloc[0] == "wbc"
    red = segment(rgb, pixel_size=0.2, kinds=("rbc",))
    assert len(red) == len(centres)
    assert not red.nuclei.any()


def test_touching_red_cells_are_split():
    centres = [
        *grid(gap=15),
    ]
    pairs = [(y, x + 34) for y, x in centres if x + 60 < 320]
    rgb = field(white=[], red=centres + pairs)
    cells = segment(rgb, pixel_size=0.2, kinds=("rbc",))
    assert len(cells) == len(centres) + len(pairs)


@pytest.mark.parametrize("um", [0.04, 0.08, 0.2, 0.35, 0.5])
def test_scale_is_told_from_red_cells(um):
    shape = tuple(int(np.clip(side / um, 160, 1200)) for side in (45, 60))
    rgb = field(um, white=[], red=grid(um, shape), shape=shape)
    size = estimate_pixel_size(rgb)
    assert size.source == "estimated"
    assert size.um == pytest.approx(um, rel=0.1)
    assert size.spread < 0.1
    assert size.n_cells >= 6


def test_pale_stain_hides_neither_the_scale_nor_the_white_cells():
    smear = next(iter(patient_slides("synthetic control", seed=2))).render()
    cells = segment(smear.rgb)
    assert cells.pixel_size.um == pytest.approx(smear.pixel_size, rel=0.1)
    assert len(cells) >= 0.9 * (smear.table.kind == "wbc").sum()


def test_one_large_round_cell_is_whole_and_two_over_each_other_are_not():
    y, x = np.mgrid[:80, :120]
    disc = np.hypot(y - 40, x - 40) < 30
    pair = disc | (np.hypot(y - 40, x - 80) < 30)
    for mask, count in ((disc, 1), (pair, 2)):
        parts = divide(mask.astype(np.int32), mask.sum() / 2.2)
        assert len(np.unique(parts[mask])) == count


@pytest.mark.parametrize("um", [0.25, 0.5])
def test_scale_is_told_where_cells_are_too_small_for_the_overview(um):
    shape = (720, 960)
    size = estimate_pixel_size(field(um, white=[], red=grid(um, shape), shape=shape))
    assert size.um == pytest.approx(um, rel=0.1)
    assert size.n_cells >= 8


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("um", "shape"),
    [
        (0.04, (1000, 1300)),
        (0.1, (360, 480)),
        (0.25, (360, 480)),
        (0.4, (480, 640)),
        (0.5, (480, 640)),
    ],
)
def test_scale_of_a_drawn_smear_is_told_within_a_tenth(um, shape, seed):
    size = estimate_pixel_size(render_smear(shape, um, seed).rgb)
    assert size.source == "estimated"
    assert size.um == pytest.approx(um, rel=0.1)
    assert size.n_cells >= 5


def test_scale_of_cells_too_small_to_be_told_apart_is_not_told():
    for seed in range(3):
        rgb = render_smear((240, 320), 1.0, seed).rgb
        assert estimate_pixel_size(rgb).source == "unknown"


@pytest.mark.parametrize("count", [2, 4])
def test_scale_cannot_be_told_from_a_few_red_cells(count):
    rgb = field(red=[(60, 160), (150, 220), (170, 60), (60, 60)][:count], white=[])
    assert estimate_pixel_size(rgb) == PixelSize(None, "unknown", None, count)
    cells = segment(rgb, kinds=("rbc",))
    assert cells.table.pixel_size_source.tolist() == ["relative"] * count
    assert cells.table.area_um2.isna().all()


def test_scale_is_told_from_five_red_cells():
    red = [(60, 160), (150, 220), (170, 60), (60, 60), (60, 260)]
    size = estimate_pixel_size(field(red=red, white=[]))
    assert size.um == pytest.approx(0.2, rel=0.05)
    assert size.n_cells == 5


def test_scale_is_unknown_without_red_cells_and_sizes_are_relative():
    rgb = field(white=[(60, 60)], shape=(120, 120))
    assert estimate_pixel_size(rgb) == PixelSize(None, "unknown", None, 0)
    cells = segment(rgb)
    assert len(cells) == 1
    assert dice(cells.labels > 0, disc(rgb.shape, 60, 60, 30)) > 0.93
    assert cells.table.pixel_size_source.tolist() == ["relative"]
    assert cells.table.pixel_size_um.isna().all()
    assert cells.table.area_um2.isna().all()


def test_pixel_size_of_the_image_is_used_and_the_users_wins():
    rgb = field()
    image = Image(rgb, "a.png", PixelSize(0.2, "metadata"), "0")
    assert segment(image).pixel_size == PixelSize(0.2, "metadata")
    assert segment(image, pixel_size=0.25).pixel_size == PixelSize(0.25, "user")
    assert segment(image).table.image.tolist() == ["a.png"]


# --- quality --------------------------------------------------------------------------


def test_sharpness_is_that_of_a_gaussian_edge():
    x = np.arange(200.0)
    for blur in (2.0, 4.0, 8.0):
        edge = ndi.gaussian_filter1d(np.where(x < 100, 0.0, 1.0), blur)
        edge = np.repeat(edge[None], 40, axis=0).astype(np.float32)
        band = np.zeros(edge.shape, bool)
        band[:, 99:101] = True
        expected = 1 / (np.hypot(blur, 1) * 0.1 * np.sqrt(2 * np.pi))
        found = edge_sharpness(edge, [band], [np.s_[:, :]], um=0.1)
        assert found == [pytest.approx(expected, rel=0.06)]


def test_border_blur_clump_and_stain_are_flagged():
    rgb = field(white=[(0, 70), (150, 200)])
    assert segment(rgb, pixel_size=0.2).table.qc.tolist() == ["border", "ok"]
    blurred = ndi.gaussian_filter(rgb, (6, 6, 0))
    assert "out of focus" in segment(blurred, pixel_size=0.2).table.qc.iloc[1]
    labels = disc(rgb.shape, 120, 160, 100).astype(int)
    assert "clump" in measure(rgb, labels, pixel_size=0.2).table.qc.iloc[0]
    pale = rgb.copy()
    pale[disc(rgb.shape, 150, 200, 20)] = (120, 178, 222)
    assert "understained" in segment(pale, pixel_size=0.2).table.qc.iloc[1]
    dark = rgb.copy()
    dark[disc(rgb.shape, 150, 200, 20)] = (20, 4, 40)
    assert "overstained" in segment(dark, pixel_size=0.2).table.qc.iloc[1]


def test_smudge_is_a_naked_ragged_nucleus():
    rgb = field(white=[(60, 70)])
    ragged = np.zeros(rgb.shape[:2], bool)
    for angle in np.linspace(0, 2 * np.pi, 7)[:-1]:
        for away in range(0, 42, 4):
            y, x = 150 + away * np.sin(angle), 200 + away * np.cos(angle)
            ragged |= disc(rgb.shape, y, x, 9)
    rgb[ragged] = NUCLEUS
    table = measure(rgb, np.where(ragged, 1, 0), pixel_size=0.2).table
    assert table.nc_ratio[0] > 0.95
    assert table.solidity[0] < 0.9
    assert table.qc.tolist() == ["smudge"]
    # Found by itself it has a rim of blur.
    table = segment(rgb, pixel_size=0.2).table
    assert table.nc_ratio[1] < 0.85
    assert table.qc.tolist() == ["ok", "smudge"]


def test_drawn_smudge_cells_are_flagged_and_whole_cells_are_not():
    wbc = {"smudge_cell": 8, "lymphocyte": 8, "neutrophil": 8}
    smear = render_smear((1000, 1000), 0.1, 3, wbc=wbc, n_rbc=0, crowding=0.0)
    cells = segment(smear.rgb, pixel_size=0.1)
    is_smudge = cells.table.qc.str.contains("smudge")
    at = cells.table[["centroid_y", "centroid_x"]].to_numpy()
    white = smear.table[smear.table.kind == "wbc"]
    true = white[["centroid_y", "centroid_x"]].to_numpy()
    nearest = np.hypot(*(true[:, None] - at[None]).transpose(2, 0, 1)).argmin(axis=1)
    drawn = (white.cell_type == "smudge_cell").to_numpy()
    assert not is_smudge.to_numpy()[nearest[~drawn]].any()
    assert is_smudge.to_numpy()[nearest[drawn]].mean() >= 0.5


# --- labels from elsewhere ------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint16, np.float64])
def test_labels_are_taken_as_they_are(dtype):
    rgb = field(white=[(60, 70), (150, 200)])
    labels = np.zeros(rgb.shape[:2], dtype)
    labels[disc(rgb.shape, 60, 70, 30)] = 7
    labels[disc(rgb.shape, 150, 200, 30)] = 200
    labels[200:210, 20:30] = 200
    cells = measure(rgb, labels, pixel_size=0.2)
    check_contract(cells, rgb)
    np.testing.assert_array_equal(cells.labels, labels)
    assert cells.table.cell_id.tolist() == [7, 200]
    solid = regionprops_table(np.where(labels == 7, 1, 0), properties=["solidity"])
    assert cells.table.solidity[0] == pytest.approx(solid["solidity"][0], abs=0.01)
    assert cells.table.kind.tolist() == ["wbc", "wbc"]
    assert dice(cells.nuclei == 7, disc(rgb.shape, 60, 70, 20)) > 0.95


def test_huge_ids_cost_no_memory():
    rgb = field(white=[(60, 70), (150, 200)])
    labels = np.zeros(rgb.shape[:2], np.int64)
    labels[disc(rgb.shape, 60, 70, 30)] = 2**31 - 1
    labels[disc(rgb.shape, 150, 200, 30)] = 5
    cells = measure(rgb, labels, pixel_size=0.2)
    assert cells.table.cell_id.tolist() == [5, 2**31 - 1]
    assert set(np.unique(cells.nuclei)) == {0, 5, 2**31 - 1}


@pytest.mark.parametrize(
    ("labels", "word"),
    [
        (np.zeros((5, 5), int), "shape"),
        (np.full((240, 320), 0.5), "whole numbers"),
        (np.full((240, 320), np.nan), "whole numbers"),
        (np.full((240, 320), -1), "whole numbers"),
        (np.full((240, 320), "a"), "whole numbers"),
        (np.full((240, 320), 2**40), "whole numbers"),
    ],
)
def test_labels_that_cannot_be_are_refused(labels, word):
    with pytest.raises(CytoError, match=word):
        measure(field(), labels)


def test_measuring_no_cells_gives_the_empty_table():
    rgb = field()
    cells = measure(rgb, np.zeros(rgb.shape[:2], int))
    check_contract(cells, rgb)
    full = segment(rgb).table
    assert len(full) == 1
    pd.testing.assert_series_equal(cells.table.dtypes, full.dtypes)


def test_single_cell_outlines_the_middle_one_or_takes_all():
    rgb = field(white=[(60, 60), (5, 118)], shape=(120, 120))
    cells = single_cell(rgb)
    assert cells.single_cell
    assert cells.table.cell_id.tolist() == [1]
    assert dice(cells.labels == 1, disc(rgb.shape, 60, 60, 30)) > 0.93
    empty = np.full((30, 50, 3), 220, np.uint8)
    cells = single_cell(empty)
    assert (cells.labels == 1).all()
    assert not cells.nuclei.any()


# --- bad input ------------------------------------------------------------------------


def bad_images():
    rng = np.random.default_rng(0)
    smear = field(red=grid(), white=[])
    pen = np.full((240, 320, 3), 225, np.uint8)
    for offset in range(-4, 5):
        line = np.arange(20, 220)
        pen[line, line + 40 + offset] = (25, 30, 30)
    bordered = np.zeros((300, 400, 3), np.uint8)
    bordered[30:270, 40:360] = smear
    clump = np.full((240, 320, 3), 225, np.uint8)
    clump[10:230, 10:310] = BLOOD
    return {
        "glass": np.full((240, 320, 3), 225, np.uint8),
        "noisy glass": rng.normal(222, 3, (240, 320, 3)).astype(np.uint8),
        "pen": pen,
        "black border": bordered,
        "clump": clump,
        "all blood": np.full((64, 64, 3), BLOOD, np.uint8),
        "one pixel": np.full((1, 1, 3), 200, np.uint8),
        "line": np.full((1, 50, 3), 200, np.uint8),
        "tiny": smear[:3, :2],
        "white": np.full((32, 32, 3), 255, np.uint8),
        "random": rng.integers(0, 256, (240, 320, 3), dtype=np.uint8),
    }


@pytest.mark.parametrize("name", bad_images())
def test_what_holds_no_white_cell_gives_none(name):
    rgb = bad_images()[name]
    cells = segment(rgb)
    check_contract(cells, rgb)
    assert len(cells) <= (3 if name == "random" else 0)
    every = segment(rgb, kinds=("wbc", "rbc", "platelet"))
    check_contract(every, rgb)
    assert len(every) < 150


def test_black_border_does_not_change_what_is_found():
    bordered = bad_images()["black border"]
    inner = segment(bordered[30:270, 40:360], pixel_size=0.2, kinds=("rbc",))
    outer = segment(bordered, pixel_size=0.2, kinds=("rbc",))
    assert len(outer) == len(inner) > 15


@pytest.mark.parametrize("which", ["black", "inverted", "fluorescence"])
def test_what_is_no_brightfield_is_refused(which):
    rgb = field(red=grid())
    images = {
        "black": np.zeros_like(rgb),
        "inverted": 255 - rgb,
        "fluorescence": np.where(rgb[..., :1] < 150, [30, 220, 60], [2, 4, 3]),
    }
    image = images[which].astype(np.uint8)
    with pytest.raises(ImageError, match="bright background"):
        segment(image)
    # What the sentence advises goes on.
    labels = np.zeros(rgb.shape[:2], np.int32)
    labels[disc(rgb.shape, 60, 70, 30)] = 7
    labels[disc(rgb.shape, 150, 200, 24)] = 9
    for um, area_um2 in ((None, np.nan), (0.2, np.count_nonzero(labels == 7) * 0.04)):
        cells = measure(image, labels, um)
        assert cells.table.cell_id.tolist() == [7, 9]
        assert cells.table.kind.tolist() == ["wbc", "wbc"]
        np.testing.assert_allclose(cells.table.area_um2[0], area_um2)
        assert not np.asarray(cells.nuclei).any()
        assert "no brightfield smear" in cells.notes[0]
        whole = single_cell(image, um)
        assert len(whole) == 1
        assert whole.labels.all()


def test_the_negative_of_a_smear_is_refused_whatever_its_glass(data_dir):
    """Sparse, crowded, dim, yellow: what is even and bright in it are cells."""
    names = [
        *(f"chula_rbc/images/{n}.jpg" for n in (147, 101, 57, 1)),
        *(f"bccd/images/BloodImage_{n}.jpg" for n in ("00002", "00034", "00272")),
        *(f"wbc_segmentation/dataset1/{n}.png" for n in ("205", "222")),
        "wbc_segmentation/dataset2/001.png",
    ]
    for name in names:
        rgb = read_image(data_dir / name).rgb
        stain(rgb.astype(np.float32))
        with pytest.raises(ImageError, match="invert a negative"):
            segment(255 - rgb, kinds=("wbc", "rbc", "platelet"))


@pytest.mark.parametrize(("cells", "crowding"), [(60, 0.0), (160, 0.5)])
def test_a_crowded_smear_is_not_taken_for_a_negative(cells, crowding):
    smear = render_smear((500, 500), 0.1, 3, wbc={}, n_rbc=cells // 2, crowding=crowding)
    assert len(segment(smear.rgb, pixel_size=0.1, kinds=("rbc",))) > 10


@pytest.mark.parametrize("form", ["palette", "grey", "alpha"])
def test_a_png_of_another_form_gives_the_same_cells_or_none(tmp_path, form):
    centres = [c for c in grid() if np.hypot(c[0] - 60, c[1] - 70) > 60]
    picture = PillowImage.fromarray(field(red=centres))
    path = tmp_path / "field.png"
    if form == "palette":
        picture.quantize(64, dither=PillowImage.Dither.NONE).save(path)
    else:
        picture.convert("L" if form == "grey" else "RGBA").save(path)
    cells = segment(read_image(path), pixel_size=0.2, kinds=("wbc", "rbc"))
    if form == "grey":
        # Without colour nothing tells a nucleus from dirt.
        assert len(cells) <= len(centres) + 1
        assert "open the colour image" in " ".join(cells.notes)
    else:
        assert not cells.notes
        assert cells.table.kind.value_counts().to_dict() == {"rbc": len(centres), "wbc": 1}


def test_a_giant_clump_of_white_cells_is_one_flag_not_a_crowd():
    rgb = field(white=[])
    rgb[disc(rgb.shape, 120, 160, 100)] = NUCLEUS
    cells = segment(rgb, pixel_size=0.2)
    assert len(cells) <= 3
    assert cells.table.qc.str.contains("clump").all()


def clump(size, radius):
    """White cells 11 um wide, side by side on a disc, at 0.25 um a pixel; how many."""
    rng = np.random.default_rng(0)
    steps = np.stack(np.mgrid[-12:13, -12:13], axis=-1).reshape(-1, 2)
    centres = size / 2 + 38 * steps + rng.normal(0, 3, (len(steps), 2))
    centres = centres[np.hypot(*(centres - size / 2).T) < radius]
    rgb = np.full((size, size, 3), (232, 226, 232), float)
    for colour, reach in (((200, 180, 215), 22), ((100, 65, 145), 14)):
        for y, x in centres:
            rgb[disc(rgb.shape, y, x, reach)] = colour
    rgb = ndi.gaussian_filter(rgb + rng.normal(0, 3, rgb.shape), (1.2, 1.2, 0))
    return rgb.clip(0, 255).astype(np.uint8), len(centres)


@pytest.mark.parametrize("um", [0.25, None])
def test_white_cells_of_a_clump_are_told_apart_and_flagged(um):
    rgb, count = clump(700, 260)
    cells = segment(rgb, um)
    assert count > 140
    assert 0.85 * count < len(cells) <= count
    # What lies at the rim of the clump, or at a gap in it, has an outline of its own.
    inner = np.hypot(cells.table.centroid_y - 350, cells.table.centroid_x - 350) < 180
    assert cells.table.qc[inner].str.contains("clump").mean() > 0.85


@pytest.mark.parametrize("fill", [255, 243, 0])
def test_what_was_not_scanned_changes_no_cell(fill):
    wbc = {"neutrophil": 3, "lymphocyte": 3, "monocyte": 2}
    rgb = render_smear((600, 700), 0.25, seed=3, wbc=wbc, n_rbc=120).rgb
    alone = segment(rgb, 0.25, ("wbc", "rbc")).table
    filled = np.full((600, 1200, 3), fill, np.uint8)
    filled[:, :700] = rgb
    table = segment(filled, 0.25, ("wbc", "rbc")).table
    assert (table.centroid_x < 700).all()
    assert abs(len(table) - len(alone)) <= 0.02 * len(alone)
    white, those = table[table.kind == "wbc"], alone[alone.kind == "wbc"]
    assert len(white) == len(those)
    assert white.area_um2.median() == pytest.approx(those.area_um2.median(), rel=0.03)
    assert white.nc_ratio.median() == pytest.approx(those.nc_ratio.median(), rel=0.03)


def test_glass_too_bright_to_have_noise_is_no_fill(data_dir):
    for name in ("286", "290", "293", "297"):
        path = data_dir / "wbc_segmentation" / "dataset1" / f"{name}.png"
        truth = np.asarray(
            PillowImage.open(path.with_name(f"{name}_mask.png")).convert("L")
        )
        assert dice(single_cell(read_image(path)).labels > 0, truth > 0) > 0.9, name


def test_a_real_field_beside_a_fill_keeps_its_cells(data_dir):
    rgb = read_image(data_dir / "chula_rbc" / "images" / "57.jpg").rgb.copy()
    counts = []
    for fill in (0, 255):
        rgb[:, 400:] = fill
        counts.append(len(segment(rgb, kinds=("rbc",))))
    assert counts[0] == counts[1] > 20


@pytest.mark.parametrize("um", [1.0, 0.3, None])
def test_grain_is_no_red_cell(um):
    rng = np.random.default_rng(1)
    grain = rng.normal(220, 12, (1500, 1500, 1)) + rng.normal(0, 4, (1500, 1500, 3))
    assert len(segment(grain.clip(0, 255).astype(np.uint8), um, ("wbc", "rbc"))) == 0


def test_a_search_can_be_given_up_between_its_steps(monkeypatch):
    late = []
    original = _red.red_cells
    monkeypatch.setattr(_red, "red_cells", lambda *a: late.append(1) or original(*a))
    rgb = render_smear((300, 300), pixel_size=0.2, seed=1).rgb
    steps = search(rgb, 0.2, ("wbc", "rbc"))
    assert [next(steps).done for _ in range(3)] == [0, 1, 2]
    steps.close()
    assert not late
    assert len(segment(rgb, 0.2, ("wbc", "rbc")))
    assert late == [1]


def test_wrong_arguments_are_refused():
    rgb = field()
    with pytest.raises(CytoError, match="implausible"):
        segment(rgb, pixel_size=20)
    with pytest.raises(CytoError, match="implausible"):
        segment(rgb, pixel_size=float("nan"))
    typed = Image(rgb, "a.png", PixelSize(100.0, "user"), sha256="a")
    for find in (segment, single_cell):
        with pytest.raises(CytoError, match="implausible"):
            find(typed)
    with pytest.raises(CytoError, match="implausible"):
        measure(typed, np.ones(rgb.shape[:2], int))
    with pytest.raises(CytoError, match="'lymphocyte'"):
        segment(rgb, kinds=("lymphocyte",))
    with pytest.raises(CytoError, match="choose"):
        segment(rgb, kinds=())
    with pytest.raises(ImageError, match="uint8 RGB"):
        segment(rgb[..., 0])
    with pytest.raises(ImageError, match="uint8 RGB"):
        segment(np.zeros((0, 5, 3), np.uint8))


@pytest.mark.parametrize("wrong", [0.02, 2.0])
@pytest.mark.parametrize("stated_by", ["user", "metadata"])
def test_pixel_size_wrong_by_ten_is_refused_with_the_one_that_fits(wrong, stated_by):
    rgb = field(red=[c for c in grid() if np.hypot(c[0] - 60, c[1] - 70) > 60])
    image = Image(rgb, "a.png", PixelSize(wrong, "metadata"), "0")
    with pytest.raises(CytoError, match=r"about 0\.2 um fits"):
        segment(image) if stated_by == "metadata" else segment(rgb, pixel_size=wrong)


@pytest.mark.parametrize("seed", [0, 1])
def test_specks_among_white_cells_are_not_taken_for_red_cells(seed):
    """Nine of 1.2 um once refused the right pixel size, and told a wrong one (0.63)."""
    smear = render_smear(
        pixel_size=0.1, seed=seed, wbc={"neutrophil": 6}, n_rbc=0, n_platelets=0
    )
    rgb = smear.rgb.copy()
    free = [
        (y, x)
        for y in range(290, 500, 70)
        for x in range(400, 640, 70)
        if not smear.labels[y - 15 : y + 15, x - 15 : x + 15].any()
    ]
    assert len(free) >= 8
    for y, x in free[:9]:
        rgb[disc(rgb.shape, y, x, 6)] = BLOOD
    assert len(segment(rgb, pixel_size=0.1)) == 6
    assert estimate_pixel_size(rgb).um is None


def test_wrong_pixel_size_that_nothing_contradicts_gives_flags_not_crowds():
    rgb = field(white=[(60, 70), (150, 200)], red=[(40, 200), (60, 260)])
    assert len(segment(rgb, pixel_size=0.02, kinds=("wbc", "rbc"))) == 0
    cells = segment(rgb, pixel_size=2.0, kinds=("wbc", "rbc"))
    assert 0 < len(cells) < 100
    assert (cells.table.qc != "ok").all()


def test_a_wrong_pixel_size_is_doubted_where_nearly_all_cells_are_flagged(data_dir):
    rgb = read_image(data_dir / "bccd" / "images" / "BloodImage_00000.jpg").rgb
    kinds = ("wbc", "rbc", "platelet")
    wrong, own = segment(rgb, 1.0, kinds), segment(rgb, kinds=kinds)
    doubt = scale_doubt(wrong)
    assert doubt.startswith(
        "Nearly all cells are flagged: check the pixel size (1 um, user)"
    )
    assert scale_doubt(replace(own, pixel_size=PixelSize(0.1, "user"))) == ""


def test_a_pixel_size_at_which_no_cell_is_in_view_is_doubted(data_dir):
    folder = data_dir / "bccd" / "images"
    for name in ("BloodImage_00000", "BloodImage_00065", "BloodImage_00140"):
        cells = segment(read_image(folder / f"{name}.jpg"), 0.01, CELL_KINDS)
        assert scale_doubt(cells) == (
            "The image is 6.4 um wide at 0.01 um a pixel (user): check the pixel size"
        )
    cells = segment(read_image(folder / "BloodImage_00000.jpg"), 0.08, CELL_KINDS)
    assert scale_doubt(cells) == ""
    cut = replace(cells, table=cells.table[cells.table.qc == "border"])
    assert scale_doubt(cut) == "No cell is whole: check the pixel size (0.08 um, user)"


@pytest.mark.parametrize("um", [0.03, 0.05, 0.16, 0.35])
def test_a_stated_pixel_size_is_doubted_where_the_red_cells_tell_another(um):
    rgb = render_smear((900, 1200), 0.1, seed=3).rgb
    cells = segment(rgb, um)
    doubt = scale_doubt(cells)
    assert f"check the pixel size ({um} um, user)" in doubt
    assert cells.pixel_size.seen_um == pytest.approx(0.1, rel=0.1)
    assert doubt.startswith(
        f"The red cells in view fit about {cells.pixel_size.seen_um:.2g} um a pixel"
    )
    # What microcytes and macrocytes may explain is believed.
    believed = replace(cells.pixel_size, um=0.08)
    well = replace(cells, table=cells.table.assign(qc="ok"), pixel_size=believed)
    assert scale_doubt(well) == ""
    slide = Pyramid.of([Level(rgb, "YXS")], "slide", PixelSize(um, "metadata"))
    size, _ = scale_of(slide)
    assert "The red cells in view fit" in scale_doubt(replace(cells, pixel_size=size))


# --- real smears ----------------------------------------------------------------------


@pytest.fixture
def boxes(data_dir):
    return pd.read_csv(data_dir / "bccd" / "annotations.csv")


@pytest.mark.parametrize("number", ["00034", "00065", "00204", "00318"])
def test_bccd_white_cells_are_found_once(data_dir, boxes, number):
    name = f"BloodImage_{number}.jpg"
    cells = segment(read_image(data_dir / "bccd" / "images" / name))
    truth = boxes[(boxes.image == name) & (boxes.label == "WBC")]
    assert len(cells) == len(truth)
    for box in truth.itertuples():
        inside = cells.table.centroid_x.between(
            box.xmin, box.xmax
        ) & cells.table.centroid_y.between(box.ymin, box.ymax)
        assert inside.sum() == 1


def test_scales_of_two_sets_agree_with_the_boxes_and_with_each_other(data_dir, boxes):
    """What a field tells is what its experts' boxes tell, and stays so when resampled."""
    fields = [
        read_image(data_dir / "chula_rbc" / "images" / f"{n}.jpg") for n in (1, 36, 72)
    ]
    chula = np.median([estimate_pixel_size(field.rgb).um for field in fields])
    red = boxes[boxes.label == "RBC"]
    red = red.assign(side=np.sqrt((red.xmax - red.xmin) * (red.ymax - red.ymin)))
    whole = red[(red.xmin > 1) & (red.ymin > 1) & (red.xmax < 639) & (red.ymax < 479)]
    told, boxed = [], []
    for number in ("00248", "00272", "00351", "00378", "00407"):
        name = f"BloodImage_{number}.jpg"
        picture = PillowImage.open(data_dir / "bccd" / "images" / name).convert("RGB")
        um = estimate_pixel_size(np.asarray(picture)).um
        told.append(um)
        boxed.append(7.5 / whole[whole.image == name].side.median())
        # As if it had been taken by the other set's camera.
        size = tuple(round(side * um / chula) for side in picture.size)
        coarser = estimate_pixel_size(np.asarray(picture.resize(size)))
        assert coarser.um == pytest.approx(chula, rel=0.1), name
    # Boxes are drawn around the cells, with some air.
    assert 1 < np.median(np.divide(told, boxed)) < 1.1
    assert np.std(told) < 0.05 * np.mean(told)


def test_three_heaps_of_red_cells_of_one_size_do_not_tell_the_scale(data_dir):
    image = read_image(data_dir / "bccd" / "images" / "BloodImage_00030.jpg")
    assert estimate_pixel_size(image.rgb) == PixelSize(None, "unknown", None, 3)


@pytest.mark.parametrize("number", [1, 54, 72, 83, 139])
def test_chula_fields_without_white_cells_stay_without(data_dir, number):
    image = read_image(data_dir / "chula_rbc" / "images" / f"{number}.jpg")
    assert len(segment(image)) <= 1
    assert estimate_pixel_size(image.rgb).um == pytest.approx(0.19, rel=0.15)


@pytest.mark.parametrize(
    ("folder", "names", "nucleus", "white"),
    [
        ("dataset1", ("001", "041", "118", "190", "230"), 0.90, 0.90),
        ("dataset2", ("005", "019", "040", "068", "083"), 0.93, 0.90),
    ],
)
def test_expert_masks_are_met(data_dir, folder, names, nucleus, white):
    within = []
    for name in names:
        path = data_dir / "wbc_segmentation" / folder / f"{name}.png"
        truth = np.asarray(
            PillowImage.open(path.with_name(f"{name}_mask.png")).convert("L")
        )
        image = read_image(path)
        cells = single_cell(image)
        assert dice(cells.nuclei > 0, truth == 2) > nucleus, name
        assert dice(cells.labels > 0, truth > 0) > white, name
        given = measure(image, truth > 0)
        assert given.table.kind.tolist() == ["wbc"]
        within.append(dice(given.nuclei > 0, truth == 2))
    assert np.mean(within) > 0.93


@pytest.mark.parametrize("number", ["00038", "00229", "00365", "00385"])
def test_cells_measured_in_their_own_labels_stay_what_they_are(data_dir, number):
    image = read_image(data_dir / "bccd" / "images" / f"BloodImage_{number}.jpg")
    found = segment(image, kinds=("wbc", "rbc", "platelet"))
    assert (found.table.kind == "platelet").sum() >= 2
    again = measure(image, found.labels)
    assert again.table.kind.tolist() == found.table.kind.tolist()


def test_a_platelet_outlined_with_a_wide_margin_is_one_and_a_small_red_cell_is_none(
    data_dir,
):
    image = read_image(data_dir / "bccd" / "images" / "BloodImage_00385.jpg")
    found = segment(image, kinds=("rbc", "platelet"))
    kinds = found.table.set_index("cell_id").kind
    wide = expand_labels(found.labels, 2)
    drawn = np.where(np.isin(wide, kinds.index[kinds == "platelet"]), wide, 0)
    assert set(measure(image, drawn).table.kind) == {"platelet"}
    # The middle of a red cell, as small as a platelet.
    area = found.table.set_index("cell_id").area_um2
    red = area.index[(kinds == "rbc") & (area > 30)]
    inner = ndi.distance_transform_edt(found.labels > 0) * found.pixel_size.um > 1.5
    cores = np.where(inner & np.isin(found.labels, red), found.labels, 0)
    table = measure(image, cores).table
    assert (table.area_um2 < 20).any()
    assert set(table.kind) == {"rbc"}


def test_real_cells_lose_focus_with_blur(data_dir):
    image = read_image(data_dir / "bccd" / "images" / "BloodImage_00034.jpg")
    cells = segment(image, pixel_size=0.08)
    focus = []
    for blur_um in (0.0, 0.3, 0.6, 1.2):
        blurred = ndi.gaussian_filter(image.rgb, (blur_um / 0.08, blur_um / 0.08, 0))
        table = measure(blurred, cells.labels, pixel_size=0.08).table
        focus.append(table.focus.to_numpy())
    assert (np.diff(focus, axis=0) < 0).all()
    assert (focus[0] > 0.6).all()
    assert (focus[3] < 0.5).all()


@pytest.mark.parametrize(
    ("name", "um"),
    [
        ("bccd/images/BloodImage_00065.jpg", 0.08),
        ("bccd/images/BloodImage_00204.jpg", 0.08),
        ("bccd/images/BloodImage_00272.jpg", 0.08),
        ("chula_rbc/images/57.jpg", 0.18),
        ("chula_rbc/images/1.jpg", 0.18),
        ("wbc_segmentation/dataset2/019.png", 0.08),
    ],
)
def test_cells_of_every_set_lose_focus_with_blur(data_dir, name, um):
    image = read_image(data_dir / name)
    cells = segment(image, um, ("wbc", "rbc"))
    focus = []
    for blur in (0.0, 0.3, 0.6, 1.2):
        blurred = ndi.gaussian_filter(image.rgb, (blur / um, blur / um, 0))
        focus.append(measure(blurred, cells.labels, um).table.focus)
    assert (np.diff(focus, axis=0) < 0).mean() > 0.95
    medians = np.median(focus, axis=1)
    assert medians[0] > 0.8
    # An edge between flat sides would keep so much; a cell loses range besides.
    edge = 0.4 / np.hypot(0.4 / medians[0], 1.2)
    assert 0.85 * edge < medians[3] < 0.5


def test_lzw_single_cell_is_found(data_dir):
    image = read_image(data_dir / "cytosae_published" / "19-6574.PAP.PB~E.1-1232.TIF")
    cells = single_cell(image)
    assert cells.table.kind.tolist() == ["wbc"]
    assert 0.2 < np.count_nonzero(cells.labels) / cells.labels.size < 0.5
    assert segmentation.segment(image).table.cell_id.tolist() == [1]
