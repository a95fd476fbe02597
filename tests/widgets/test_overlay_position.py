"""A mark in the image lights up on the canvas exactly where it lies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication

from napari_cytosae.core.crops import crop_cells, patch_box
from napari_cytosae.core.overlay import OverlayMap
from napari_cytosae.core.types import Cells, PixelSize
from napari_cytosae.session_values import Overlay
from napari_cytosae.widgets._layers import CanvasLayers
from napari_cytosae.widgets._quiet import preload_torch

PLACES = {
    "plain": {},
    "scaled": {"scale": (0.25, 0.1), "translate": (30, -12)},
    "turned": {"scale": (0.1, 0.1), "rotate": 33, "translate": (5, 7)},
    "sheared": {"scale": (0.2, 0.3), "rotate": -100, "shear": [0.4]},
    "affine": {"scale": (2, 1), "affine": [[0.8, -0.7, 3], [0.5, 0.9, -4], [0, 0, 1]]},
    "mirrored": {"scale": (-0.5, 0.5), "affine": [[0, 1, 0], [1, 0, 0], [0, 0, 1]]},
}

CASES = {
    # Shape of the image; box of the cell, None for the whole image; the marked patch.
    "inside": ((320, 400), (140, 160, 180, 190), (3, 12)),
    "corner": ((320, 400), (0, 0, 20, 24), (0, 0)),
    "far corner": ((320, 400), (300, 390, 320, 400), (15, 15)),
    "right border": ((320, 400), (100, 370, 140, 400), (9, 15)),
    "wider than high": ((144, 240), None, (2, 13)),
    "higher than wide": ((496, 80), None, (15, 1)),
    "crop beyond the image": ((120, 400), (40, 200, 80, 240), (2, 8)),
}


@pytest.fixture(autouse=True)
def torch_first():
    preload_torch()


def marked(case):
    """A black image with one white patch, its crop, and the pixels of the patch."""
    shape, bbox, patch = CASES[case]
    labels = np.zeros(shape, np.int32)
    y0, x0, y1, x1 = bbox or (0, 0, *shape)
    labels[y0:y1, x0:x1] = 1
    table = pd.DataFrame({"cell_id": [1], "kind": ["wbc"], "qc": ["ok"]})
    for name, edge in zip(
        ("bbox_y0", "bbox_x0", "bbox_y1", "bbox_x1"), (y0, x0, y1, x1), strict=True
    ):
        table[name] = edge
    size = PixelSize(0.1, "user")
    cells = Cells(labels, labels, table, size, single_cell=bbox is None)
    rgb = np.zeros((*shape, 3), np.uint8)
    # 16 um at 0.1 um a pixel: 160 px, 10 px a patch.
    (box,) = crop_cells(rgb, cells, 16.0).boxes
    # Whole pixels in all cases, so that the patch can be painted.
    edges = np.array(patch_box(box, *patch))
    top, left, bottom, right = edges.astype(int)
    assert (edges == (top, left, bottom, right)).all()
    rgb[top:bottom, left:right] = 255
    return rgb, crop_cells(rgb, cells, 16.0), (top, left, bottom, right)


def brightness(crops):
    """Patch activations of a model that sees brightness, in the models' own pixels."""
    from napari_cytosae.core.backbone import preprocess

    pixels = preprocess(list(crops)).numpy().mean(axis=1)
    patches = pixels.reshape(len(pixels), 16, 14, 16, 14).mean(axis=(2, 4))
    bright = patches - patches.min()
    return np.where(bright > 0.5 * bright.max(), bright, 0).astype(np.float32)


def overlaid(viewer, case, place):
    rgb, crops, mark = marked(case)
    source = viewer.add_image(rgb, rgb=True, **PLACES[place])
    canvas = CanvasLayers(viewer)
    canvas.set_source(source)
    data = OverlayMap(brightness(crops), crops.boxes, rgb.shape[:2]).layer_data()
    overlay = Overlay(5, "#ffffff", opacity=1.0)
    canvas.overlays.show(0, "5", data, 1e-3, overlay)
    return canvas, source, canvas.overlays.layer(0), mark


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES)
def test_in_world_coordinates(case, place):
    placed = overlaid(ViewerModel(), case, place)
    canvas, source, layer, (top, left, bottom, right) = placed
    inside = [(top, left), (top, right - 1), (bottom - 1, left), (bottom - 1, right - 1)]
    outside = [(top - 1, left), (bottom, left), (top, left - 1), (top, right)]
    height, width = source.data.shape[:2]
    rng = np.random.default_rng(0)
    anywhere = rng.integers(0, (height, width), (40, 2)).tolist()
    for y, x in (*inside, *outside, *anywhere):
        if not (0 <= y < height and 0 <= x < width):
            continue
        world = source.data_to_world((y, x))
        value = layer.get_value(world, world=True)
        lit = top <= y < bottom and left <= x < right
        assert (value > 0) == lit, (y, x, value)
        assert (source.get_value(world, world=True) == 255).all() == lit
    canvas.close()


def pictured(viewer, layer):
    """Where the canvas is bright while one layer alone is shown."""
    for each in viewer.layers:
        each.visible = each is layer
    QApplication.processEvents()
    picture = viewer.screenshot(canvas_only=True, flash=False)
    return picture[..., :3].min(axis=-1) > 128


@pytest.mark.parametrize("lazy", [False, True])
def test_on_screen(make_napari_viewer, monkeypatch, lazy):
    """The mark and its overlay, pictured one after the other, are the same pixels."""
    if lazy:
        monkeypatch.setattr("napari_cytosae.core.overlay.ARRAY_PIXELS", 0)
        monkeypatch.setattr("napari_cytosae.core.overlay.SMALLEST", 64)
    viewer = make_napari_viewer(show=True)
    for case in ("inside", "wider than high", "crop beyond the image"):
        for place in PLACES:
            viewer.layers.clear()
            canvas, source, layer, edges = overlaid(viewer, case, place)
            assert layer.multiscale == lazy
            top, left, bottom, right = edges
            centre = source.data_to_world(((top + bottom - 1) / 2, (left + right - 1) / 2))
            border = source.data_to_world(((top + bottom - 1) / 2, right - 0.5))
            viewer.scene.camera.center = centre
            viewer.scene.camera.zoom = 40 / np.linalg.norm(np.subtract(border, centre))
            # The canvas changes its size as napari shows its controls.
            pictured(viewer, source)
            mark, lit = pictured(viewer, source), pictured(viewer, layer)
            assert 1000 < mark.sum() < 0.5 * mark.size, (case, place)
            shared = (mark & lit).sum() / (mark | lit).sum()
            assert shared > 0.98, (case, place, shared)
            canvas.close()
