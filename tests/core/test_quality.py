"""How a patient was imaged, and when that is unlike the training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from scipy.sparse import csr_array

from napari_cytosae._sample_data import demo_smear
from napari_cytosae.core import heads
from napari_cytosae.core._barcode_files import read_barcodes, write_barcodes
from napari_cytosae.core._head_files import read_head, write_head
from napari_cytosae.core.case import examine
from napari_cytosae.core.images import as_image
from napari_cytosae.core.loading import load_models
from napari_cytosae.core.patients import Barcodes
from napari_cytosae.core.pipeline import encode, run
from napari_cytosae.core.quality import FACTS, ranges, strangeness, summary


@pytest.fixture(scope="module")
def models():
    return load_models(device="cpu", precision="float32")


@pytest.fixture(scope="module")
def sharp():
    return demo_smear().rgb


def facts(models, rgb):
    case = run(examine(models, "P", [as_image(rgb, "smear")], pixel_size=0.1))
    return summary(case.facts)


def test_blur_and_stain_are_measured(models, sharp):
    as_it_is = facts(models, sharp)
    blurred = facts(models, ndimage.gaussian_filter(sharp, (4, 4, 0)))
    assert blurred[0] < 0.5 * as_it_is[0]
    pale = (255 - (255 - sharp.astype(float)) * 0.5).astype(np.uint8)
    faded = facts(models, pale)
    assert faded[1] < 0.6 * as_it_is[1]
    assert np.isfinite(as_it_is).all()


def test_what_the_sae_leaves_unexplained(models, sharp):
    crops = [sharp[:224, :224], sharp[200:424, 300:524]]
    encoded = run(encode(models, crops))
    found = models.reconstruction_error(encoded)
    tokens = models.tokens(crops)[:, 1::17].astype(np.float64)
    latents = models.latents(crops)[:, 1::17].astype(np.float64)
    sae = models._sae
    rest = tokens - latents @ sae.W_dec.numpy() - sae.b_dec.numpy()
    whole = tokens - sae.b_dec.numpy()
    expected = (rest**2).sum(axis=(1, 2)) / (whole**2).sum(axis=(1, 2))
    np.testing.assert_allclose(found, expected, rtol=0.02)
    noise = np.random.default_rng(0).integers(0, 255, (2, 224, 224, 3), dtype=np.uint8)
    strange = models.reconstruction_error(run(encode(models, list(noise))))
    assert strange.min() > found.max()


def test_ranges_and_what_lies_outside():
    rng = np.random.default_rng(0)
    known = ranges(rng.normal((10, 0.3, 0.4, 0.2), 0.01, (50, 4)))
    assert set(known) == set(FACTS)
    assert strangeness(np.array([10, 0.3, 0.4, 0.2]), known) == []
    said = strangeness(np.array([9.5, np.nan, 0.9, 0.2]), known)
    assert len(said) == 2
    assert said[0].startswith("focus 9.5 below")
    assert said[1].startswith("stain hue 0.9 above")
    assert ranges(np.full((9, 4), np.nan)) == {}


def test_they_go_through_files_to_the_answer(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.gamma(5, 1, (16, 30)).astype(np.float32)
    values[8:, :4] *= 5
    many = np.full(16, 60.0)
    measured = rng.normal((10, 0.3, 0.4, 0.2), 0.01, (16, 4))
    names = tuple(f"p{i}" for i in range(16))
    table = Barcodes(
        names,
        csr_array(values),
        np.arange(30),
        many,
        many,
        many / 60,
        tuple("a" * 8 + "b" * 8),
        facts=measured,
    )
    write_barcodes(table, tmp_path / "b.h5ad")
    read = read_barcodes(tmp_path / "b.h5ad")
    np.testing.assert_allclose(read.facts, measured)
    head, _ = run(heads.train(read, repeats=1))
    write_head(head, tmp_path / "h.json")
    head = read_head(tmp_path / "h.json")
    assert "focus" not in " ".join(heads.predict(head, read)["reason"])
    other = measured.copy()
    other[2, 3] = 0.9
    said = heads.predict(head, replace(read, facts=other))
    assert said["abstained"][2]
    assert "reconstruction error 0.9 above" in said["reason"][2]
    assert "reconstruction" not in said["reason"][1]
