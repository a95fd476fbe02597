"""Stability against plain arithmetic, its changes on pixels, and decoder neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.spatial.distance import braycurtis

import napari_cytosae as cyto
from napari_cytosae.core.pipeline import run
from napari_cytosae.core.stability import (
    CHANGES,
    agreement,
    measure_stability,
    restained,
    rotated,
    shifted,
)
from napari_cytosae.core.types import Crops, CytoError, Image, PixelSize


@pytest.fixture(scope="module")
def models(weights):
    return cyto.load_models(
        weights / "vit.safetensors", weights / "sae.safetensors", "cpu", "float32"
    )


@pytest.fixture(scope="module")
def smear():
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 230, (20, 24, 3))
    rgb = np.kron(coarse, np.ones((8, 8, 1))).astype(np.uint8)
    image = Image(rgb, "smear.png", PixelSize(0.1, "user"), "0" * 64)
    corners = np.array([[0, 0], [30, 40], [60, 100], [96, 128]])
    boxes = np.concatenate([corners, corners + 64], axis=1)
    images = tuple(rgb[y0:y1, x0:x1] for y0, x0, y1, x1 in boxes)
    return image, Crops(images, boxes, np.arange(1, 5), 6.4, "user")


def test_agreement_is_bray_curtis_of_each_concept():
    rng = np.random.default_rng(1)
    a, b = (rng.random((9, 30)) * (rng.random((9, 30)) < 0.4) for _ in range(2))
    a[:, 3], b[:, 3] = 0, 0
    a[:, 4] = b[:, 4]
    a[:, 5], b[:, 5] = 1, 0
    got = agreement(csr_array(a), csr_array(b))
    assert np.isnan(got[3])
    assert got[4] == 1
    assert got[5] == 0
    for concept in set(range(30)) - {3}:
        expected = 1 - braycurtis(a[:, concept], b[:, concept])
        assert got[concept] == pytest.approx(expected, abs=1e-9)


def test_changed_cells_are_encoded_and_compared(models, smear):
    image, crops = smear
    table = run(measure_stability(models, image, crops))
    assert list(table.columns) == [*CHANGES, "stability"]
    turned = models.encode([rotated(crop) for crop in crops.images]).mean.toarray()
    before = models.encode(crops).mean.toarray()
    assert table.index.tolist() == np.flatnonzero(before.any(axis=0)).tolist()
    for concept in table.index[:10]:
        expected = 1 - braycurtis(before[:, concept], turned[:, concept])
        assert table.loc[concept, "rotation"] == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(table["stability"], table[list(CHANGES)].min(axis=1))
    assert table.stack().between(0, 1).all()


def test_a_concept_that_nothing_changes_is_stable(models, smear):
    image, crops = smear
    blank = np.full_like(image.rgb, 200)
    same = Image(blank, "blank.png", image.pixel_size, "1" * 64)
    empty = Crops(
        tuple(blank[:64, :64] for _ in range(4)), crops.boxes, crops.cell_ids, 6.4, "user"
    )
    table = run(measure_stability(models, same, empty))
    np.testing.assert_allclose(table[["shift", "rotation"]], 1, atol=1e-5)


def test_few_cells_are_used_and_none_is_said(models, smear):
    image, crops = smear
    job = measure_stability(models, image, crops, cells=2)
    assert next(job).total == 2 * 4
    nothing = Crops((), np.empty((0, 4), np.int64), np.empty(0, np.int64), 25.0, "user")
    with pytest.raises(CytoError, match="no cells"):
        run(measure_stability(models, image, nothing))


def test_the_changes_are_small_and_on_real_pixels(smear):
    image, crops = smear
    moved = shifted(image.rgb, crops.boxes[1], 16)
    np.testing.assert_array_equal(moved, image.rgb[32:96, 42:106])
    at_edge = shifted(image.rgb, crops.boxes[3], 16)
    assert at_edge.shape == (64, 64, 3)
    turned = rotated(crops.images[1], 90)
    np.testing.assert_array_equal(turned, np.rot90(crops.images[1]))
    stained = restained(crops.images[1], seed=3).astype(int) - crops.images[1]
    assert 0 < np.abs(stained).mean() < 12
    np.testing.assert_array_equal(restained(crops.images[1], 0.0), crops.images[1])


def test_similar_concepts_are_the_decoders_neighbours(models):
    decoder = models._sae.W_dec.numpy()
    unit = decoder / np.linalg.norm(decoder, axis=1, keepdims=True)
    cosine = unit @ unit[7]
    order = [int(i) for i in np.argsort(-cosine) if i != 7][:5]
    found = models.similar_concepts(7, 5)
    assert [concept for concept, _ in found] == order
    np.testing.assert_allclose([c for _, c in found], cosine[order], rtol=1e-5)
    with pytest.raises(CytoError, match="no concept 64"):
        models.similar_concepts(64)
