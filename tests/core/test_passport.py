"""The passport of a concept tells what the numbers elsewhere say."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from napari_cytosae.core._annotation import Annotation
from napari_cytosae.core.class_labels import load_all
from napari_cytosae.core.passport import Passport, passport_page
from napari_cytosae.core.provenance import provenance
from napari_cytosae.core.types import RESEARCH_USE, Crops, Image, PixelSize, SaeInfo


@pytest.fixture
def record():
    rgb = np.zeros((4, 4, 3), np.uint8)
    image = Image(rgb, "smear.tif", PixelSize(), "ab" * 32)
    sae = SaeInfo("cytosae", "relu", 768, 49152, -2, "cd" * 32)
    return provenance([image], {"threshold": 0.2}, sae=sae)


def make_cells() -> tuple[np.ndarray, Crops]:
    rng = np.random.default_rng(0)
    grids = np.zeros((5, 16, 16), np.float32)
    grids[1, 4, 4], grids[3, 2, 2], grids[4, 0, 0] = 0.5, 2, 1
    images = tuple(rng.integers(0, 255, (40, 40, 3)).astype(np.uint8) for _ in range(5))
    boxes = np.zeros((5, 4), np.int64)
    return grids, Crops(images, boxes, np.arange(11, 16), 25.0, "user")


def test_all_of_it_is_on_the_page(record, data_dir):
    grids, crops = make_cells()
    # What the gallery says, not what kept tokens give: 2.004 is 2.00 there, not 2.01.
    strength = grids.max(axis=(1, 2))
    strength[3] = 2.004
    grids[3] *= 1.003
    where = pd.Series({"nucleus": 0.8, "cytoplasm": 0.15, "outside": np.nan, "where": "x"})
    passport = Passport(
        10107,
        Annotation("basophil <granules>", ("granules: basophilic",), "see\npaper", True),
        record,
        pd.Series({"here": 0.123456, "prevalence": 0.4}),
        where,
        grids,
        strength,
        crops.images,
        [f"cell {cell}" for cell in crops.cell_ids],
        load_all(data_dir / "cytosae_published" / "feature_data"),
        [(3422, "also basophil", 0.61)],
        pd.Series({"shift": 0.9, "rotation": 0.8, "stain": 0.95, "stability": 0.8}),
        [{"time": "now", "field": "names", "old": "", "new": "basophil"}],
    )
    text = passport_page(passport)
    for part in (
        "Concept 10107 basophil &lt;granules&gt;",
        "granules: basophilic",
        "see<br>paper",
        "0.123",
        "80%",
        "basophil (MLL23 10/10, Matek 9/10)",
        "<td>BAS</td>",
        "3422",
        "also basophil",
        "0.61",
        "0.95",
        "cd" * 32,
        "ab" * 32,
        RESEARCH_USE,
    ):
        assert part in text, part
    # Cells in the order of their strongest patch; silent ones are not shown.
    assert re.findall(r"cell (\d+): ([\d.]+)<", text) == [
        ("14", "2.00"),
        ("15", "1.00"),
        ("12", "0.50"),
    ]
    assert not re.search(r'(src|href)="(?!data:)', text)


def test_what_is_unknown_is_left_out(record):
    text = passport_page(Passport(5, Annotation(), record))
    assert "Concept 5" in text
    assert "No notes." in text
    for heading in ("Stability", "Similar", "catalogues", "Cells that drive it", "History"):
        assert heading not in text


def test_a_silent_concept_says_so(record):
    grids, _ = make_cells()
    passport = Passport(
        5, Annotation(), record, grids=grids * 0, strength=grids[:, 0, 0] * 0
    )
    assert "It fires in no cell." in passport_page(passport)
