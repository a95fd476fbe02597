from __future__ import annotations

import numpy as np
import pytest
from skimage.draw import disk, ellipse

from napari_cytosae.core._level import Level
from napari_cytosae.core.features import FEATURE_COLUMNS, cell_features
from napari_cytosae.core.images import as_image
from napari_cytosae.core.pyramid import Pyramid
from napari_cytosae.core.segmentation import measure, segment
from napari_cytosae.core.types import PixelSize
from napari_cytosae.synthetic import render_smear

UM = 0.1


def drawn():
    """A disc with three lobes, an ellipse with one nucleus, and a disc without."""
    rgb = np.full((300, 600, 3), (235, 235, 235), np.uint8)
    labels = np.zeros(rgb.shape[:2], int)
    rgb[disk((150, 100), 60)], labels[disk((150, 100), 60)] = (200, 180, 220), 4
    for y, x in ((125, 85), (125, 118), (170, 100)):
        rgb[disk((y, x), 17)] = (90, 40, 130)
    rgb[ellipse(150, 300, 40, 80)], labels[ellipse(150, 300, 40, 80)] = (180, 200, 230), 9
    rgb[disk((150, 300), 30)] = (100, 50, 140)
    rgb[disk((150, 500), 37)], labels[disk((150, 500), 37)] = (220, 160, 160), 12
    return as_image(rgb, "drawn", UM), labels


def test_features_are_what_was_drawn():
    image, labels = drawn()
    table = cell_features(image, measure(image, labels)).set_index("cell_id")
    assert ("cell_id", *table.columns) == FEATURE_COLUMNS
    assert table.index.tolist() == [4, 9, 12]
    assert table.diameter_um[4] == pytest.approx(12, rel=0.02)
    assert table.diameter_um[12] == pytest.approx(7.4, rel=0.02)
    assert table.nucleus_area_um2[9] == pytest.approx(np.pi * 9, rel=0.05)
    assert table.roundness[4] == pytest.approx(1, abs=0.03)
    # Ramanujan's perimeter of an ellipse with half axes 8 and 4.
    around = np.pi * (3 * 12 - np.sqrt(28 * 20))
    assert table.roundness[9] == pytest.approx(4 * np.pi * 32 * np.pi / around**2, abs=0.04)
    assert table.lobes.tolist() == [3, 1, 0]
    assert table.cytoplasm_colour[9] == "#b4c8e6"
    seen = np.array([int(table.nucleus_colour[9][i : i + 2], 16) for i in (1, 3, 5)])
    assert np.abs(seen - (100, 50, 140)).max() <= 4
    assert table.nucleus_colour[12] == ""
    assert table.cytoplasm_colour[12] == "#dca0a0"


def test_features_of_a_slide_and_without_a_scale():
    image, labels = drawn()
    cells = measure(image, labels)
    slide = Pyramid((Level(image.rgb, "YXS"),), "drawn", PixelSize(), "")
    assert cell_features(slide, cells).equals(cell_features(image, cells))
    unknown = as_image(image.rgb, "drawn")
    table = cell_features(unknown, measure(unknown, labels))
    assert table.diameter_um.isna().all()
    assert table.lobes.tolist() == [3, 1, 0]
    assert len(cell_features(image, measure(image, labels * 0))) == 0


def test_lobes_tell_neutrophils_from_lymphocytes():
    wbc = {"neutrophil": 12, "lymphocyte": 12}
    smear = render_smear((900, 900), UM, 11, wbc=wbc, n_rbc=60, crowding=0.0)
    cells = segment(smear.rgb, UM)
    lobes = cell_features(as_image(smear.rgb, "drawn", UM), cells).lobes.to_numpy()
    at = cells.table[["centroid_y", "centroid_x"]].to_numpy()
    white = smear.table[smear.table.kind == "wbc"]
    true = white[["centroid_y", "centroid_x"]].to_numpy()
    nearest = np.hypot(*(true[:, None] - at[None]).transpose(2, 0, 1)).argmin(axis=1)
    is_round = (white.cell_type == "lymphocyte").to_numpy()
    assert (lobes[nearest[is_round]] == 1).mean() > 0.8
    assert (lobes[nearest[~is_round]] >= 2).mean() > 0.8
