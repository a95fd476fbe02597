"""Patients, and what their cells were called, are saved in a session and come back."""

from __future__ import annotations

import json

import pytest

from napari_cytosae.patient_session import PatientImage

from .test_patient_cells import predict
from .test_session_slides import forget, reopen, save


@pytest.fixture
def called(encoded, predicted, viewer, until):
    """P of two files, Q of the layer in front, which has no file; cells of both called."""
    patients = predicted.patients
    known = [(image, "P") for image in patients.images_of("P")]
    layer = PatientImage("smear.png", layer=str(predicted.layers.source.unique_id))
    patients.assign([*known, (layer, "Q")])
    predict(predicted, until)
    patients.call([0, 2], "band")
    patients.look_at("Q")
    predict(predicted, until)
    patients.call([1], "monocyte")
    return predicted


def test_patients_and_calls_come_back(called, viewer, until, tmp_path):
    dock, patients = called, called.patients
    files = patients.images_of("P")
    save(dock, tmp_path / "s", until)
    patients.assign([])
    patients._calls.__init__()
    forget(dock, viewer, until)
    reopen(dock, tmp_path / "s")
    until(lambda: patients.patients == ("P", "Q") and not dock.desk.busy, 60_000)
    assert patients.images_of("P") == files
    (image,) = patients.images_of("Q")
    assert image.layer == str(dock.layers.source.unique_id)
    assert patients.current == "Q"
    assert patients.types == {}  # as long as its cells are not known
    predict(dock, until)
    assert patients.types == {1: "monocyte"}
    patients.look_at("P")
    predict(dock, until)
    assert patients.types == {0: "band", 2: "band"}


def test_a_session_of_before_leaves_the_patients(called, viewer, until, tmp_path):
    dock, patients = called, called.patients
    save(dock, tmp_path / "s", until)
    file = tmp_path / "s" / "session.json"
    content = json.loads(file.read_text())
    del content["view"]["patients"]
    file.write_text(json.dumps(content))
    reopen(dock, tmp_path / "s")
    until(lambda: "Opened s" in dock.strip.text and not dock.desk.busy, 60_000)
    assert patients.current == "Q"
    assert patients.types == {1: "monocyte"}
    content["view"]["patients"] = {"assigned": [{"patient": "P"}]}
    file.write_text(json.dumps(content))
    reopen(dock, tmp_path / "s")
    until(lambda: "The session is damaged: KeyError" in dock.strip.text)
