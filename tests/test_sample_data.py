"""File > Open Sample: what the person gets."""

from __future__ import annotations

import time

import numpy as np

from napari_cytosae import _sample_data


def test_the_demo_smear_shows_all_main_types_and_is_quick():
    start = time.perf_counter()
    smear = _sample_data.demo_smear()
    seconds = time.perf_counter() - start
    counts = smear.table.kind.value_counts()
    white = smear.table[smear.table.kind == "wbc"].cell_type.value_counts().to_dict()
    assert smear.rgb.shape == (768, 1024, 3)
    assert smear.pixel_size == 0.1
    assert white == _sample_data.DEMO_WBC
    assert 75 <= counts["rbc"] <= 110
    assert counts["platelet"] >= 5
    assert seconds < 10  # about 1 s alone on one core


def test_the_sample_is_one_plain_image_layer_with_its_pixel_size():
    (layer,) = _sample_data.smear()
    pixels, settings, kind = layer
    assert kind == "image"
    assert pixels.dtype == np.uint8
    assert settings["metadata"]["cytosae"] == {"pixel_size_um": 0.1, "synthetic": True}
    assert "scale" not in settings


def test_the_ground_truth_sample_adds_cells_and_nuclei():
    image, cells, nuclei = _sample_data.smear_with_ground_truth()
    assert [layer[2] for layer in (image, cells, nuclei)] == ["image", "labels", "labels"]
    assert set(cells[1]["features"]["index"]) == set(np.unique(cells[0])) - {0}
    assert cells[0].shape == nuclei[0].shape == image[0].shape[:2]
