"""Step 4 and the cells of step 2: corrected ones count, each on its own slide."""

from __future__ import annotations

import numpy as np
from PIL import Image as Pillow

from napari_cytosae.widgets.assign_dialog import AssignDialog

from .test_correction import use_edited


def predict(dock, until):
    dock.patient_panel.predict_clicked.emit()
    until(lambda: not dock.desk.busy)


def look_at_first(dock, until):
    """Go to the first cell's slide; its outlines."""
    dock.patient_panel.gallery.cell_activated.emit(0)
    until(lambda: dock.session.encoded is not None and not dock.desk.busy)
    until(lambda: dock.layers.outlines.layer() is not None)
    return dock.layers.outlines.layer()


def erase(layer, cell_id):
    layer.data_setitem(np.nonzero(layer.data == cell_id), 0)


def test_cells_corrected_by_hand_are_predicted(predicted, until):
    panel, patients, session = (
        predicted.patient_panel,
        predicted.patients,
        predicted.session,
    )
    before = patients.reading
    layer = look_at_first(predicted, until)
    gone, *kept = session.cells.table["cell_id"].tolist()
    erase(layer, gone)
    predict(predicted, until)
    assert "not taken over yet" in predicted.strip.text
    assert patients.reading is before

    use_edited(predicted, until)
    assert patients.reading is before
    assert patients.outdated == (session.image.name,)
    assert patients.state == "attention"
    assert panel._about.text().endswith("were changed since: predict again.")
    # A cell that is no more leads nowhere, and takes the correction back by no means.
    corrected = session.cells
    panel.gallery.cell_activated.emit(0)
    assert "predict again" in predicted.strip.text
    assert session.cells is corrected

    predict(predicted, until)
    after = patients.reading
    assert len(after.rows) == len(before.rows) - 1
    here = next(i for i in after.case.images if i.sha256 == session.image.sha256)
    assert here.cells is corrected
    assert here.encoded is session.encoded
    assert list(here.encoded.cell_ids) == kept
    assert session.found.by_hand
    assert patients.outdated == ()
    assert "changed since" not in panel._about.text()
    other = next(i for i in after.case.images if i is not here)
    assert other.encoded in [image.encoded for image in before.case.images]


def test_what_was_said_of_cells_elsewhere_outlives_a_prediction(predicted, until):
    """Verdicts, and that they were corrected by hand."""
    session = predicted.session
    layer = look_at_first(predicted, until)
    sha256 = session.image.sha256
    erase(layer, int(session.cells.table["cell_id"].iloc[-1]))
    use_edited(predicted, until)
    session.review.judge(3, [int(session.cells.table["cell_id"].iloc[0])], "accept")
    reading = predicted.patients.reading
    other = next(
        i for i, row in enumerate(reading.rows) if reading.case.where(int(row))[0] == 1
    )
    predicted.patient_panel.gallery.cell_activated.emit(other)
    until(lambda: session.image is not None and session.image.sha256 != sha256)
    predict(predicted, until)
    found = session.found_images()[sha256]
    assert found.by_hand
    assert len(found.verdicts) == 1
    assert found.encoded is not None


def test_folders_of_one_name_are_two_patients(qtbot, tmp_path, smear):
    for name in ("AML/001/a", "control/001/b", "AML/002/day1/c", "control/003/day1/d"):
        path = tmp_path / "m" / f"{name}.png"
        path.parent.mkdir(parents=True)
        Pillow.fromarray(smear).save(path)
    dialog = AssignDialog([])
    qtbot.addWidget(dialog)
    dialog.add_folder(str(tmp_path / "m"))
    whole = ["AML/001", "AML/002/day1", "control/001", "control/003/day1"]
    assert [patient for _, patient in dialog.assignment()] == whole
    said = "Folders of one name lie in different ones: AML/001 is called by both."
    assert said in dialog._said.text()
    dialog.pattern.setText("{patient}")
    dialog.name_by_pattern()
    dialog.name_by_folder()
    assert [patient for _, patient in dialog.assignment()] == whole
    assert dialog._said.text().startswith("4 of 4 images follow it.")
    assert said in dialog._said.text()
    # A second folder that has such a patient is asked about.
    other = tmp_path / "n" / "control" / "003" / "day1" / "e.png"
    for path in (other, tmp_path / "n" / "AML" / "003" / "day1" / "f.png"):
        path.parent.mkdir(parents=True)
        Pillow.fromarray(smear).save(path)
    dialog.add_folder(str(tmp_path / "n"))
    assert dialog._said.text().endswith(
        "control/003/day1 was on the list before: is it the same patient?"
    )
