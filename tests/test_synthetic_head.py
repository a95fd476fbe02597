"""The built-in head: of the starter, marked as synthetic wherever it goes."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cytosae._sample_data import DEMO_PATIENTS, demo_patients
from napari_cytosae.core import case, reading
from napari_cytosae.core.builtin_head import NAME, PATH, SYNTHETIC, open_head
from napari_cytosae.core.images import as_image
from napari_cytosae.core.loading import load_models
from napari_cytosae.core.pipeline import run
from napari_cytosae.synthetic.patients import CELLS, SUBTYPES, patient_slides


@pytest.fixture(scope="module")
def models():
    return load_models(device="cpu")


def test_it_is_of_the_starter(models):
    head = open_head(NAME)
    assert head.sae_sha256 == models.sae_info.sha256, (
        "the starter has changed: run scripts/synthetic_head.py"
    )
    assert set(head.classes) == set(SUBTYPES)
    assert head.about["scores"]["overall"]["weighted F1"][0] > 0.6


def test_it_says_synthetic(models):
    text = PATH.read_text(encoding="utf-8")
    assert SYNTHETIC in text
    assert all(name.startswith("synthetic ") for name in SUBTYPES)
    assert PATH.stat().st_size < 3_000_000


def test_patients_are_the_same_every_time_and_differ():
    first, again = (next(patient_slides("synthetic small", 5)) for _ in range(2))
    assert first.cells == again.cells
    assert first.stain == again.stain
    assert next(patient_slides("synthetic small", 6)).stain != first.stain
    white = [cell for cell in first.cells if cell.kind == "wbc"]
    assert len(white) == CELLS
    assert any(cell.cell_type == "small_blast" for cell in white)
    control = [c.cell_type for s in patient_slides("synthetic control", 5) for c in s.cells]
    assert not any("blast" in cell_type for cell_type in control)


def test_the_samples_are_read_as_what_they_are(models):
    for patient, subtype in DEMO_PATIENTS.items():
        images = [
            as_image(s.rgb, f"{i}")
            for i, (p, s) in enumerate(demo_patients())
            if p == patient
        ]
        examined = run(case.examine(models, patient, images))
        said = run(reading.read(open_head(NAME), examined))
        assert said.predicted == subtype
        assert said.synthetic
        assert "ynthetic" in said.table["note"].item()
        assert np.isfinite(said.changes).all()
