"""Drawn smears: deterministic, true to their ground truth and to the cells' sizes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from napari_cytosae.synthetic import (
    COMPARTMENTS,
    WBC_TYPES,
    Camera,
    Stain,
    make_slide,
    render_cell,
    render_smear,
)

MAIN = ("neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil")


def _digest(*arrays):
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()


def _types(smear):
    return smear.table[smear.table.kind == "wbc"].cell_type.value_counts().to_dict()


def test_same_seed_same_pixels_and_another_seed_another_smear():
    one, two = (render_smear((160, 200), seed=3, wbc={"neutrophil": 1}) for _ in range(2))
    other = render_smear((160, 200), seed=4, wbc={"neutrophil": 1})
    assert _digest(one.rgb, one.labels, one.nuclei) == _digest(
        two.rgb, two.labels, two.nuclei
    )
    assert _digest(one.rgb) != _digest(other.rgb)


def test_ground_truth_is_complete_and_consistent():
    wbc = {"neutrophil": 2, "lymphocyte": 1, "eosinophil": 1}
    smear = render_smear((512, 640), seed=5, wbc=wbc, n_rbc=30, n_platelets=6)
    assert smear.rgb.dtype == np.uint8
    assert smear.rgb.shape == (512, 640, 3)
    assert smear.labels.dtype == smear.nuclei.dtype == np.int32
    assert _types(smear) == wbc
    assert set(np.unique(smear.labels)) - {0} == set(smear.table.cell_id)
    white = smear.table[smear.table.kind == "wbc"]
    assert set(np.unique(smear.nuclei)) - {0} == set(white.cell_id)
    inside = smear.nuclei > 0
    np.testing.assert_array_equal(smear.labels[inside], smear.nuclei[inside])
    for row in white.itertuples():
        y, x = np.nonzero(smear.labels == row.cell_id)
        assert np.hypot(y.mean() - row.centroid_y, x.mean() - row.centroid_x) < 12
        assert min(y.min(), x.min()) > 0
        assert y.max() < 511
        assert x.max() < 639


def test_asked_numbers_of_cells_are_drawn():
    smear = render_smear((768, 1024), seed=6, wbc={}, n_rbc=80, n_platelets=0)
    red = smear.table[smear.table.kind == "rbc"]
    h, w = smear.labels.shape
    inside = red.centroid_x.between(0, w) & red.centroid_y.between(0, h)
    assert set(smear.table.kind) == {"rbc"}
    # One may lie hidden under others; those with their centre outside come on top.
    assert 78 <= inside.sum() <= 80
    assert 5 < (~inside).sum() < 30


@pytest.mark.parametrize("pixel_size", [0.04, 0.1, 0.25, 0.5])
def test_sizes_in_um_hold_at_every_pixel_size(pixel_size):
    side = 48.0
    shape = (round(side / pixel_size),) * 2
    smear = render_smear(
        shape, pixel_size, seed=7, wbc={"monocyte": 1}, n_rbc=9, n_platelets=0, crowding=0
    )
    area = np.bincount(smear.labels.ravel()) * pixel_size**2
    diameters = {
        row.cell_id: (2 * np.sqrt(area[row.cell_id] / np.pi), row.diameter_um)
        for row in smear.table.itertuples()
        if 6 < row.centroid_x * pixel_size < side - 6
        and 6 < row.centroid_y * pixel_size < side - 6
    }
    assert len(diameters) >= 4
    for drawn, placed in diameters.values():
        assert drawn == pytest.approx(placed, rel=0.12)


def test_normal_red_cells_measure_7_5_um_within_6_percent():
    slide = make_slide((2000, 2000), seed=8)
    red = [cell.diameter for cell in slide.cells if cell.cell_type == "discocyte"]
    assert np.median(red) == pytest.approx(7.5, rel=0.02)
    assert np.std(red) / np.mean(red) == pytest.approx(0.06, abs=0.02)


def test_the_same_pixels_come_out_whichever_tiles_a_slide_is_cut_into():
    camera = Camera(
        quality=80, sharpen=0.6, gradient=(0.05, -0.03), noise=2.0, lateral=(0.1, -0.05)
    )
    stain = Stain(precipitate=5.0, refraction=0.1)
    slide = make_slide((300, 340), 0.12, 9, {"monocyte": 1}, stain=stain, camera=camera)
    whole = slide.render()
    for y0, x0, y1, x1 in [(0, 0, 150, 170), (37, 101, 190, 340), (150, 0, 300, 333)]:
        rgb, labels, nuclei = slide.region(y0, x0, y1, x1)
        area = (slice(y0, y1), slice(x0, x1))
        np.testing.assert_array_equal(rgb, whole.rgb[area])
        np.testing.assert_array_equal(labels, whole.labels[area])
        np.testing.assert_array_equal(nuclei, whole.nuclei[area])


@pytest.mark.parametrize("cell_type", WBC_TYPES)
def test_a_cell_lies_in_the_middle_of_its_crop_in_any_style(cell_type):
    for seed in range(3):
        cell = render_cell(cell_type, seed, size=128)
        assert cell.rgb.shape == (128, 128, 3)
        assert cell.labels[64, 64] == 1
        assert cell.cell_type == cell_type
        mine = cell.compartments[cell.labels == 1]
        nucleus = np.mean(mine == COMPARTMENTS.index("nucleus"))
        assert set(np.unique(mine)) <= {3, 4}
        assert 0.1 < nucleus < 0.97


def _colours(cell_type, seeds=range(8)):
    """Mean optical density (red, green, blue) of cytoplasm and nucleus."""
    plasma, nuclei = [], []
    for seed in seeds:
        cell = render_cell(
            cell_type,
            seed,
            160,
            20.0,
            Stain(),
            Camera(light=(1, 1, 1), vignette=0, noise=0),
        )
        density = -np.log10(np.maximum(cell.rgb, 1) / 255)
        own = cell.labels == 1
        plasma.append(density[own & (cell.compartments == 3)].mean(0))
        nuclei.append(density[own & (cell.compartments == 4)].mean(0))
    return np.mean(plasma, 0), np.mean(nuclei, 0)


def test_cells_take_the_dyes_a_hematologist_expects():
    plasma, nuclei = {}, {}
    for cell_type in MAIN:
        plasma[cell_type], nuclei[cell_type] = _colours(cell_type)
    for cell_type in ("neutrophil", "lymphocyte", "monocyte"):
        assert nuclei[cell_type].sum() > 2 * plasma[cell_type].sum()
    # Blue cytoplasm loses red light first, pink and orange lose green.
    red_to_green = {name: density[0] / density[1] for name, density in plasma.items()}
    assert min(red_to_green["lymphocyte"], red_to_green["monocyte"]) > 0.9
    assert red_to_green["neutrophil"] < 0.65
    assert red_to_green["eosinophil"] < 0.4
    assert plasma["eosinophil"][1] > 1.8 * plasma["neutrophil"][1]
    assert plasma["basophil"].sum() > 1.5 * plasma["neutrophil"].sum()


def test_lymphocytes_are_small_and_full_and_monocytes_large():
    def measure(cell_type):
        sizes, ratios = [], []
        for seed in range(12):
            cell = render_cell(cell_type, seed, 128, 25.0)
            own = cell.labels == 1
            sizes.append(2 * np.sqrt(own.sum() / np.pi) * cell.pixel_size)
            ratios.append(np.mean(cell.compartments[own] == 4))
        return np.mean(sizes), np.mean(ratios)

    small, full = measure("lymphocyte")
    large, open_ = measure("monocyte")
    assert 7.5 < small < 10.5 < 14.5 < large < 19
    assert full > 0.6 > open_


def test_an_unknown_type_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"no cell type 'plasmodium'.*neutrophil"):
        render_cell("plasmodium", 0)
    with pytest.raises(ValueError, match="no cell type"):
        render_smear((64, 64), wbc={"plasmodium": 1})
