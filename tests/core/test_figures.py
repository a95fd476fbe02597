"""Figures hold what the numbers say: colour where concepts fire, bars of right length."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image as PillowImage
from PIL import ImageColor, ImageDraw

from napari_cytosae.core._drawing import (
    MAX_ALPHA,
    background_colour,
    blend,
    colour_bar,
    outlines,
    scale_bar,
    text,
)
from napari_cytosae.core.figures import (
    OVERLAY_COLOURS,
    FigureConcept,
    overlay_figure,
    overview_figure,
    save_png,
)
from napari_cytosae.core.overlay import OverlayMap
from napari_cytosae.core.types import CELL_COLUMNS, Cells, Crops, Image, PixelSize

FIELD = (240, 230, 235)


def make_image(shape=(600, 900), um=0.1) -> Image:
    rgb = np.full((*shape, 3), FIELD, np.uint8)
    size = PixelSize(um, "user") if um else PixelSize()
    return Image(rgb, "smear.png", size, "")


def make_cells(image: Image, boxes) -> Cells:
    labels = np.zeros(image.rgb.shape[:2], np.int32)
    rows = []
    for index, (y0, x0, y1, x1) in enumerate(boxes):
        labels[y0:y1, x0:x1] = index + 1
        rows.append({"cell_id": index + 1, "kind": "wbc", "qc": "ok" if index else "small"})
    table = pd.DataFrame(rows, columns=list(CELL_COLUMNS))
    return Cells(labels, np.zeros_like(labels), table, image.pixel_size)


def one_patch(image: Image, colour=OVERLAY_COLOURS[0], name="nucleus") -> FigureConcept:
    """Fires in one patch: rows 200 to 220, columns 400 to 420 of the slide."""
    grids = np.zeros((1, 10, 10), np.float32)
    grids[0, 5, 5] = 3.0
    boxes = np.array([[100, 300, 300, 500]])
    return FigureConcept(
        12, name, OverlayMap(grids, boxes, image.rgb.shape[:2]), 3.0, colour
    )


def test_alpha_follows_activation():
    rgb = np.full((1, 5, 3), FIELD, np.uint8)
    activation = np.array([[0, 0.5, 1, 2, 40]], np.float32)
    mixed = blend(rgb, activation, "#00e5ff", 2.0).astype(float)
    cyan, field = np.array([0, 229, 255]), np.array(FIELD)
    for pixel, share in zip(mixed[0], [0, 0.25, 0.5, 1, 1], strict=True):
        alpha = share * MAX_ALPHA
        np.testing.assert_allclose(pixel, field * (1 - alpha) + cyan * alpha, atol=0.51)
    np.testing.assert_array_equal(mixed[0, 0], FIELD)
    assert (rgb == FIELD).all()


def test_overlay_figure_lights_the_patch_and_nothing_else():
    image = make_image()
    figure = np.asarray(overlay_figure(image, one_patch(image))).astype(int)
    # 900 px wide: shown one to one, below a head of 64 px and beside a margin of 24.
    slide = figure[64 : 64 + 600, 24 : 24 + 900]
    full = np.array([0, 229, 255]) * MAX_ALPHA + np.array(FIELD) * (1 - MAX_ALPHA)
    np.testing.assert_allclose(
        slide[203:217, 403:417], np.broadcast_to(full, (14, 14, 3)), atol=2
    )
    lit = np.abs(slide - FIELD).sum(axis=2) > 20
    lit[540:, 600:] = False  # the scale bar
    ys, xs = np.nonzero(lit)
    assert (ys.min(), ys.max() + 1, xs.min(), xs.max() + 1) == (200, 220, 400, 420)


@pytest.mark.parametrize(
    ("width", "um"), [(900, 0.1), (640, 0.062), (1600, 0.9), (300, 0.5)]
)
def test_scale_bar_is_as_long_as_it_says(width, um, monkeypatch):
    written = []

    def note(*args, **kwargs):
        written.append(args[2])
        return 0.0

    monkeypatch.setattr("napari_cytosae.core._drawing.text", note)
    picture = PillowImage.new("RGB", (width, width // 2), FIELD)
    scale_bar(picture, um)
    length = float(written[0].removesuffix(" um"))
    black = (np.asarray(picture) == 0).all(axis=2)
    assert black.sum(axis=1).max() == round(length / um)
    assert 0.1 < black.sum(axis=1).max() / width < 0.3


@pytest.mark.parametrize(("shape", "um"), [((900, 300), 0.1), ((600, 500), None)])
def test_no_note_lies_over_the_colour_scale(shape, um):
    scales = []
    for size in (shape, (600, 900)):
        image = make_image(size, um)
        concept = replace(one_patch(make_image()), vmax=0.0123)
        figure = np.asarray(overlay_figure(image, concept))
        side = min(max(*size, 800), 1600)
        below = 64 + round(size[0] * min(side / size[0], side / size[1]))
        scales.append(figure[below : below + 48, 24 : 24 + 370])
        # The note is whole: its letters end where the picture does.
        dark = (figure[below:, 200:].max(axis=2) < 200).any(axis=0)
        assert 200 + np.flatnonzero(dark).max() < figure.shape[1] - 20
    np.testing.assert_array_equal(*scales)


def test_unknown_pixel_size_has_no_bar():
    image = make_image(um=None)
    figure = overlay_figure(image, one_patch(image))
    slide = np.asarray(figure)[64 : 64 + 600, 24 : 24 + 900]
    assert not (slide == 0).all(axis=2).any()
    with_bar = make_image()
    slide = np.asarray(overlay_figure(with_bar, one_patch(with_bar)))[64:664, 24:924]
    assert (slide == 0).all(axis=2).any()


def test_cells_are_outlined_flagged_ones_apart():
    image = make_image()
    cells = make_cells(image, [(50, 50, 120, 120), (400, 100, 480, 200)])
    dark = one_patch(image)
    figure = np.asarray(overlay_figure(image, dark, cells))[64:664, 24:924]
    np.testing.assert_array_equal(figure[50, 80], ImageColor.getrgb("#ff8c00"))
    np.testing.assert_array_equal(figure[400, 150], ImageColor.getrgb("#10217a"))
    np.testing.assert_array_equal(figure[440, 150], FIELD)
    np.testing.assert_array_equal(figure[45, 80], FIELD)


def test_outlines_lie_inside_the_cells():
    labels = np.zeros((20, 20), np.int32)
    labels[5:12, 5:12] = 1
    labels[12:18, 5:12] = 2
    edge = outlines(labels, 2)
    assert not edge[labels == 0].any()
    assert edge[5:7, 5:12].all()
    assert not edge[7:10, 7:10].any()
    # Touching cells are told apart from both sides.
    assert edge[10:14, 5:12].all()


def test_outlines_do_not_wrap_around_the_image():
    labels = np.ones((20, 20), np.int32)
    labels[:, 15:] = 0
    assert not outlines(labels, 2)[:, :12].any()


@pytest.mark.parametrize("shape", [(60, 90), (288, 288), (5000, 3000), (600, 100)])
def test_figures_of_any_size_of_image(shape):
    image = make_image(shape)
    shown = one_patch(image)
    figure = overlay_figure(image, shown)
    assert 600 < max(figure.size) < 1800
    cells = make_cells(image, [])
    no_crops = Crops((), np.empty((0, 4), np.int64), np.empty(0, np.int64), None, "unknown")
    ranking = pd.DataFrame(columns=["concept", "name", "here", "prevalence", "specificity"])
    overview = overview_figure(image, cells, no_crops, ranking, [])
    assert 600 < max(overview.size) < 2200


def test_overview_shows_the_cells_that_drive_each_concept(tmp_path):
    image = make_image()
    boxes = np.array([[0, 0, 160, 160], [200, 300, 360, 460], [420, 700, 580, 860]])
    image.rgb[420:580, 700:860] = (120, 40, 160)
    cells = make_cells(image, boxes)
    crops = Crops(
        tuple(image.rgb[y0:y1, x0:x1] for y0, x0, y1, x1 in boxes),
        boxes,
        np.array([1, 2, 3]),
        16.0,
        "user",
    )
    grids = np.zeros((3, 16, 16), np.float32)
    grids[2, 8, 8] = 5  # the purple cell alone
    overlay = OverlayMap(grids, boxes, image.rgb.shape[:2])
    shown = [FigureConcept(12, "auer rod " * 20, overlay, 5.0, "#ffe600")]
    ranking = pd.DataFrame(
        {
            "concept": [12, 48_000],
            "name": ["auer rod " * 20, ""],
            "here": [0.5, 0.1],
            "prevalence": [1 / 3, 1.0],
            "specificity": [1.4, 0.0],
        }
    )
    figure = overview_figure(image, cells, crops, ranking, shown, "starter")
    save_png(figure, tmp_path / "overview.png")
    with PillowImage.open(tmp_path / "overview.png") as stored:
        assert stored.size == figure.size
    right = np.asarray(figure)[:, -660:].astype(int)
    purple = (np.abs(right - (120, 40, 160)).sum(axis=2) < 6).sum()
    field = (np.abs(right - FIELD).sum(axis=2) < 6).sum()
    assert purple > 5000
    # The other two cells, in which it does not fire, are not in its gallery.
    assert field < 1000
    assert (
        figure.tobytes()
        == overview_figure(image, cells, crops, ranking, shown, "starter").tobytes()
    )


def test_text_is_cut_to_its_room():
    picture = PillowImage.new("RGB", (600, 40), "white")
    draw = ImageDraw.Draw(picture)
    used = text(draw, (0, 0), "a very long name of a concept " * 9, 20, "black", width=200)
    assert used <= 200
    assert not (np.asarray(picture)[:, 204:] < 255).any()
    assert text(draw, (0, 0), "short", 20, "black", width=200) < 100


@pytest.mark.parametrize("fonts", [(), ("DejaVuSans.ttf",)])
def test_letters_beyond_ascii(monkeypatch, fonts):
    """With no system font they are spelled plainly rather than as boxes."""
    from napari_cytosae.core import _drawing

    monkeypatch.setattr(_drawing, "_SYSTEM_FONTS", fonts)
    _drawing._font.cache_clear()
    picture = PillowImage.new("RGB", (300, 40), "white")
    assert text(ImageDraw.Draw(picture), (0, 0), "caf\u00e9 \u00b5", 20, "black") > 30
    _drawing._font.cache_clear()


def test_colour_bar_ends_in_the_colour():
    picture = PillowImage.new("RGB", (300, 40), "white")
    colour_bar(picture, (50, 10, 250, 30), "#ff00c8", FIELD, 1.25, "black")
    bar = np.asarray(picture)[20, 51:249].astype(int)
    np.testing.assert_allclose(bar[0], FIELD, atol=3)
    full = np.array([255, 0, 200]) * MAX_ALPHA + np.array(FIELD) * (1 - MAX_ALPHA)
    np.testing.assert_allclose(bar[-1], full, atol=3)


def test_background_is_the_empty_field(data_dir):
    from napari_cytosae.core.images import read_image

    rgb = np.full((100, 100, 3), FIELD, np.uint8)
    rgb[:60] = (150, 60, 120)
    assert background_colour(rgb) == FIELD
    real = read_image(min((data_dir / "bccd" / "images").glob("*.jpg"))).rgb
    assert min(background_colour(real)) > 150
