"""Step 4 and the cells of step 2: corrected ones count, each on its own slide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image as Pillow

from napari_cytosae.core.differential import cell_table
from napari_cytosae.patient_session import PatientImage
from napari_cytosae.widgets.assign_dialog import AssignDialog

from .conftest import make_head
from .test_correction import use_edited


def predict(dock, until):
    until(lambda: not dock.desk.busy)
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


def test_images_of_one_file_name_are_told_apart(
    dock, until, tmp_path, smear, viewer, qtbot
):
    """A cell leads to its own slide, and tables say whose it is."""
    for name, rgb in (("day1", smear), ("day2", smear[::-1])):
        path = tmp_path / "n" / name / "x.png"
        path.parent.mkdir(parents=True)
        Pillow.fromarray(np.ascontiguousarray(rgb)).save(path)
    dialog = AssignDialog([])
    dialog.assigned.connect(dock.patients.assign)
    dialog.add_folder(str(tmp_path / "n"))
    for row in range(2):
        dialog.table.item(row, 1).setText("P")
    dialog.accept()
    dock.patient_panel.head_chosen.emit(make_head(tmp_path / "h.json"))
    dock.go_to_step("patient")
    predict(dock, until)
    patients, session = dock.patients, dock.session
    case = patients.reading.case
    names = ["x.png (day1)", "x.png (day2)"]
    assert [image.name for image in case.images] == names
    hashes = [image.sha256 for image in case.images]
    assert case.record["inputs"] == dict(zip(names, hashes, strict=True))
    for wanted in (1, 0):
        position = next(
            i
            for i, row in enumerate(patients.reading.rows)
            if case.where(int(row))[0] == wanted
        )
        dock.patient_panel.gallery.cell_activated.emit(position)
        until(
            lambda w=wanted: session.image is not None and session.image.sha256 == hashes[w]
        )
        until(lambda: bool(session.focus.selection.cell_ids))
        assert dock.layers.source.source.path.endswith(f"day{wanted + 1}/x.png")
    patients.call(range(3), "band")
    patients.call(range(3, 6), "blast")
    dock.patient_panel.count.propose_clicked.emit()
    until(lambda: patients.differential is not None)
    cells = cell_table(patients.reading, patients.differential)
    assert not cells.duplicated(["image", "cell_id"]).any()
    assert set(cells["image"]) == set(names)


def test_calls_outlive_another_field_of_view_and_another_image(predicted, until, folder):
    patients, session = predicted.patients, predicted.session
    patients.call(range(4), "band")
    before = patients.case
    session.set_settings(replace(session.settings, field_of_view_um=20.0))
    assert patients.reading is None
    predict(predicted, until)
    assert patients.case is not before
    boxes = [case.images[0].encoded.boxes for case in (before, patients.case)]
    sides = [box[0, 2] - box[0, 0] for box in boxes]
    assert sides[1] == round(sides[0] * 20 / 25)
    assert patients.types == dict.fromkeys(range(4), "band")
    known = [(image, "P") for image in patients.images_of("P")]
    image = PatientImage("3.png", str(folder / "Q" / "1.png"))
    patients.assign([(image, "P"), *known])
    predict(predicted, until)
    new = len(patients.case.images[0].encoded)
    assert len(patients.case.images) == 3
    assert patients.types == dict.fromkeys(range(new, new + 4), "band")
    assert "went" not in predicted.strip.text
    # Of those of an image that is taken off the list it is said.
    patients.assign([(image, "P"), *known[1:]])
    predict(predicted, until)
    assert "4 called cells went" in predicted.strip.text


def test_all_patients_are_predicted_and_compared(assigned, until, folder):
    dock, patients = assigned, assigned.patients
    panel = dock.patient_panel
    known = [(image, p) for p in patients.patients for image in patients.images_of(p)]
    Pillow.new("RGB", (300, 300), (230, 225, 230)).save(folder / "empty.png")
    empty = PatientImage("empty.png", str(folder / "empty.png"))
    patients.assign([*known, (empty, "R")])
    assert not panel._predict_all.isHidden()
    panel.predict_all_clicked.emit()
    until(lambda: dock.desk.busy or patients.readings)
    until(lambda: not dock.desk.busy)
    assert set(patients.readings) == {"P", "Q"}
    assert patients.current == "P"
    assert dock.strip.text.startswith("2 of 3 patients predicted. R: No cells were found")
    until(lambda: "FDR 5 %" in panel.compare._said.text())
    case = patients.case_of("Q")
    patients.assign(known)
    panel.predict_all_clicked.emit()
    assert dock.strip.text == "All patients are predicted."
    # With another head both are read again, and nothing is examined anew.
    dock.patient_panel.head_chosen.emit("synthetic")
    assert patients.unread() == ["P", "Q"]
    assert patients.case_of("Q") is case


def test_the_count_says_what_it_shows(predicted, until):
    panel, patients = predicted.patient_panel, predicted.patients
    panel.pages.setCurrentWidget(panel.count)
    assert panel._cells.text() == "Cells, those without a type first:"
    assert "were not parted count as one." in panel.count._said.text()
    table = patients.case.images[0].cells.table
    table.loc[table.index[0], "qc"] = "clump"
    patients.call(range(3), "band")
    assert "1 cell is flagged as clump, each counted as one" in panel.count._said.text()
    patients.call(range(3, 6), "blast")
    panel.count.propose_clicked.emit()
    until(lambda: patients.differential is not None)
    assert panel._cells.text() == "Cells, the most doubtful first:"


def test_a_cell_of_an_image_that_was_closed_is_gone_to(predicted, until):
    """What the models saw of it went with its layer; the case has it still."""
    session, patients = predicted.session, predicted.patients
    look_at_first(predicted, until)
    index, _ = patients.case.where(int(patients.reading.rows[0]))
    image = patients.case.images[index]
    other = next(
        i
        for i, row in enumerate(patients.reading.rows)
        if patients.case.where(int(row))[0] != index
    )
    predicted.patient_panel.gallery.cell_activated.emit(other)
    until(lambda: session.image is not None and session.image.sha256 != image.sha256)
    until(lambda: bool(session.focus.selection.cell_ids))
    session.close_image(image.sha256)
    assert session.found_images()[image.sha256].encoded is None
    predicted.patient_panel.gallery.cell_activated.emit(0)
    until(lambda: session.image is not None and session.image.sha256 == image.sha256)
    until(lambda: bool(session.focus.selection.cell_ids))
    assert session.encoded is image.encoded
    assert patients.outdated == ()
