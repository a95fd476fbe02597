"""Where concepts fire, block by block: the same as from their whole maps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from napari_cytosae.core import whereabouts
from napari_cytosae.core._location import PLACES, location, mask_fractions
from napari_cytosae.core.models import Models
from napari_cytosae.core.pipeline import run
from napari_cytosae.core.types import CELL_COLUMNS, Cells, PixelSize
from napari_cytosae.core.whereabouts import Locator, locate


@pytest.fixture(scope="module")
def seen():
    """Five cells of noise, encoded by the starter, and their masks."""
    import napari_cytosae as cyto
    from napari_cytosae.core import pipeline

    models = cyto.load_models(device="cpu", precision="float32")
    assert isinstance(models, Models)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (64, 320, 3)).astype(np.uint8)
    image[:, 100:220] = (150, 90, 170)
    boxes = np.array([[0, x, 64, x + 64] for x in range(0, 320, 64)])
    crops = [image[y0:y1, x0:x1] for y0, x0, y1, x1 in boxes]
    encoded = run(pipeline.encode(models, crops))
    labels = np.zeros((64, 320), np.int32)
    for cell, (y0, x0, _, _) in enumerate(boxes, 1):
        labels[y0 + 12 : y0 + 52, x0 + 12 : x0 + 52] = cell
    nuclei = np.where(np.arange(320)[None] % 64 < 32, labels, 0).astype(np.int32)
    cells = Cells(labels, nuclei, pd.DataFrame(columns=list(CELL_COLUMNS)), PixelSize())
    from dataclasses import replace

    return models, replace(encoded, boxes=boxes), cells


def test_blocks_say_what_whole_maps_say(seen, monkeypatch):
    models, encoded, cells = seen
    fires = np.unique(encoded.activations.max.indices).tolist()
    assert len(fires) > 20
    grids = models.concept_grids(encoded, fires)
    expected = location(grids, mask_fractions(cells, encoded.boxes, models.grid), fires)
    monkeypatch.setattr(whereabouts, "BLOCK", 7)
    found = run(locate(models, [(encoded, cells)], fires))
    np.testing.assert_allclose(found[list(PLACES)], expected[list(PLACES)], atol=1e-5)
    assert found["where"].tolist() == expected["where"].tolist()
    assert found["outside"].between(0.05, 0.95).any()
    # Twice the same cells are the same shares; asked for again, the masks are known.
    again = Locator(models, [(encoded, cells)] * 2)
    for _ in range(2):
        twice = run(again.locate(fires[:9]))
        np.testing.assert_allclose(twice[list(PLACES)], found[list(PLACES)][:9], atol=1e-5)


def test_cells_that_do_not_count_are_left_out(seen):
    models, encoded, cells = seen
    fires = np.unique(encoded.activations.max.indices).tolist()
    rows = np.array([0, 3])
    part = [(encoded, cells)]
    found = run(Locator(models, part, [rows]).locate(fires))
    grids = models.concept_grids(encoded, fires)[:, rows]
    masks = mask_fractions(cells, encoded.boxes[rows], models.grid)
    expected = location(grids, masks, fires)
    np.testing.assert_allclose(found[list(PLACES)], expected[list(PLACES)], atol=1e-5)
    assert not np.allclose(found["outside"], run(locate(models, part, fires))["outside"])


def test_a_step_holds_few_activations(seen, monkeypatch):
    from napari_cytosae.core import encoding

    models, encoded, cells = seen
    held = []
    weighted = encoding.weighted_sum

    def watched(read, tokens, gates, weights, device):
        held.append(len(tokens))
        return weighted(read, tokens, gates, weights, device)

    monkeypatch.setattr(encoding, "weighted_sum", watched)
    monkeypatch.setattr(encoding, "SUMMED", 2 * 256 * 40)
    steps = list(locate(models, [(encoded, cells)], range(40)))
    assert held == [2, 2, 1]
    assert [step.done for step in steps] == [0, 16, 32, 40]
