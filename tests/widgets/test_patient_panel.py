"""Step 4 on a real viewer: assign, predict, understand, go there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow
from qtpy.QtCore import QPointF, Qt
from qtpy.QtWidgets import QFileDialog, QLabel

from napari_cytosae.core._barcode_files import read_barcodes, write_barcodes
from napari_cytosae.core._head_files import write_head
from napari_cytosae.core.concepts import mask_fractions
from napari_cytosae.core.heads import Profiles
from napari_cytosae.core.quality import FACTS
from napari_cytosae.core.types import RESEARCH_USE, PixelSize
from napari_cytosae.patient_session import PatientImage
from napari_cytosae.session_values import ModelChoice
from napari_cytosae.widgets._compare_controller import CompareController
from napari_cytosae.widgets._patient_texts import describe_set
from napari_cytosae.widgets._why_page import WhyPage
from napari_cytosae.widgets.assign_dialog import AssignDialog

from .conftest import LATENTS, make_head


def test_images_are_assigned_by_folder_pattern_and_hand(qtbot, folder):
    dialog = AssignDialog([(PatientImage("open", layer="x"), "")])
    qtbot.addWidget(dialog)
    dialog.add_folder(str(folder))
    dialog.add_folder(str(folder))
    assert [patient for _, patient in dialog.assignment()] == ["", "P", "P", "Q"]
    dialog.pattern.setText("{patient}")
    dialog.name_by_pattern()
    assert [patient for _, patient in dialog.assignment()] == ["open", "1", "2", "1"]
    dialog.pattern.setText("*")
    dialog.name_by_pattern()
    assert "{patient}" in dialog._said.text()
    dialog.name_by_folder()
    assert [patient for _, patient in dialog.assignment()] == ["open", "P", "P", "Q"]
    dialog.table.item(0, 1).setText(" Q ")
    dialog.table.selectRow(1)
    dialog.remove_selected()
    assert [patient for _, patient in dialog.assignment()] == ["Q", "P", "Q"]


def test_nothing_runs_before_images_are_assigned(dock):
    dock.patient_panel.predict_clicked.emit()
    assert "Assign images" in dock.strip.text
    assert not dock.desk.busy


def test_a_prediction_is_shown_with_its_reasons(predicted):
    panel, reading = predicted.patient_panel, predicted.patients.reading
    bars = panel.classes.bars
    assert {bar.text for bar in bars} == {"a", "b", "c"}
    assert sum(bar.end for bar in bars) == pytest.approx(1)
    assert bars[0].key == reading.predicted == predicted.patients.label
    assert "2 images" in panel._about.text()
    assert f"{len(reading.rows)} cells" in panel._about.text()
    steps = panel.why.waterfall.bars
    assert steps[0].text == "mean training patient"
    assert sum(float(bar.value) for bar in steps) == pytest.approx(
        reading.score(reading.predicted), abs=0.005 * len(steps)
    )
    assert RESEARCH_USE in predicted.strip.findChildren(type(panel._about))[-1].text()


def test_images_examined_here_are_in_the_gallery_of_step_3(
    assigned, viewer, folder, until, tmp_path
):
    """Also those that the dock never looked at, as long as they are open."""
    session, below = assigned.session, assigned.concepts_panel.below
    shown = viewer.open(folder / "P" / "1.png", plugin="napari")[0]
    until(lambda: session.image is not None)
    first = session.image.sha256
    assigned.patient_panel.predict_clicked.emit()
    # The dock does not follow to an image that is opened while it works.
    viewer.open(folder / "P" / "2.png", plugin="napari")
    assert assigned.layers.source is shown
    until(lambda: assigned.patients.reading is not None and not assigned.desk.busy)
    images = {image.sha256: image for image in assigned.patients.case.images}
    assert len(images) == 2
    assert assigned.layers.opened.layer(next(k for k in images if k != first)) is not shown
    until(lambda: below._sources.currentData() == "all")
    assert below._sources.currentText() == "all images"
    gallery = below.gallery.model()
    count = sum(len(image.encoded) for image in images.values())
    until(lambda: gallery.rowCount() == count)
    assert {cell.key[0] for cell in gallery._cells} == set(images)
    # A click on one of the other image leads there.
    keys = [cell.key for cell in gallery._cells]
    other = next(row for row, (sha256, _) in enumerate(keys) if sha256 != first)
    assigned.concepts_panel.gallery.setCurrentIndex(gallery.index(other))
    until(lambda: session.image is not None and session.image.sha256 == keys[other][0])
    until(lambda: session.focus.selection.cell_ids == (keys[other][1],))
    assert assigned.layers.source.name == "2"


def test_another_class_is_explained_when_it_is_picked(predicted):
    panel, patients = predicted.patient_panel, predicted.patients
    other = panel.classes.bars[-1].key
    panel.classes.selectRow(2)
    assert patients.label == other
    assert f"{patients.reading.score(other):+.2f}" in panel.why._title.text()
    assert panel.classes.selectionModel().selectedRows()[0].row() == 2


def test_unticking_a_concept_tells_the_score_without_it(predicted):
    page, patients = predicted.patient_panel.why, predicted.patients
    gallery = predicted.patient_panel.gallery
    label, reading = patients.label, patients.reading
    row = 1
    concept = page.waterfall.bars[row].key
    model, tick = page.waterfall.model(), Qt.ItemDataRole.CheckStateRole
    model.setData(model.index(row, 0), Qt.CheckState.Unchecked, tick)
    assert patients.what_if.concepts == {concept}
    scores, _ = reading.without(concepts=[concept])
    assert f"{scores[reading.head.classes.index(label)]:+.2f}" in page._what_if.text()
    assert "counts as in the mean training patient" in page._what_if.text()
    assert page.waterfall.bars[row].counted is False
    gallery.cells_selected.emit((0, 1))
    page.leave_out_clicked.emit()
    assert patients.what_if.cells == {0, 1}
    assert "1 concept and 2 cells" in page._what_if.text()
    gallery.cells_selected.emit(tuple(range(len(reading.rows))))
    page.leave_out_clicked.emit()
    assert patients.what_if.cells == {0, 1}
    assert "one cell must be left" in predicted.strip.text
    page.reset_clicked.emit()
    assert not patients.what_if
    assert not page._what_if.text()


def test_what_it_would_be_is_read_over_the_whole_width(qtbot):
    """Not in what the buttons leave, where it took the room of the waterfall."""
    page = WhyPage()
    qtbot.addWidget(page)
    page.resize(330, 240)
    page.show()
    text = "Without 1 concept and 3 cells: score +4.76 would be +4.56. " * 2
    page.set_what_if(text, left_out=True, selected=3)
    qtbot.waitUntil(lambda: page._reset.isVisible() and page._what_if.width() == 330)
    assert page._what_if.geometry().bottom() < page._reset.geometry().top()
    assert page.waterfall.height() > 120


def test_a_bar_leads_to_cells_and_a_cell_to_its_slide(predicted, viewer, until):
    """Of the image that is not open too."""
    page, patients, session = (
        predicted.patient_panel.why,
        predicted.patients,
        predicted.session,
    )
    gallery = predicted.patient_panel.gallery
    reading = patients.reading
    owners = [reading.case.where(int(row))[0] for row in reading.rows]
    row, concept = next(
        (row, bar.key)
        for row, bar in enumerate(page.waterfall.bars)
        if bar.key is not None and {owners[p] for p in reading.cells_of(bar.key)} == {0, 1}
    )
    page.waterfall.selectRow(row)
    shown = gallery.model()
    assert shown.rowCount() == len(reading.cells_of(concept))
    for index in range(2):
        position = next(
            int(p)
            for p in reading.cells_of(concept)
            if reading.case.where(int(reading.rows[p]))[0] == index
        )
        image = reading.case.images[index]
        inside = reading.case.where(int(reading.rows[position]))[1]
        gallery.cell_activated.emit(position)
        until(
            lambda i=image: session.image is not None and session.image.sha256 == i.sha256
        )
        cell = int(image.encoded.cell_ids[inside])
        until(lambda c=cell: session.focus.selection.cell_ids == (c,))
        assert session.encoded is image.encoded
        assert session.focus.selection.concept == concept
        assert session.overlays.slot_of(concept) is not None
        until(lambda: f"{concept}" in {layer.name for layer in viewer.layers})
    visible = [layer.name for layer in viewer.layers if layer.name.endswith(".png")]
    assert len(visible) == 2
    y0, x0, y1, x1 = image.encoded.boxes[inside]
    camera = getattr(viewer, "scene", viewer).camera
    np.testing.assert_allclose(camera.center[-2:], ((y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2))
    # Under that concept: what was ticked in step 3 lies below it, in its own colour.
    other = next(c for c in range(LATENTS) if session.overlays.slot_of(c) is None)
    session.overlays.show(other)
    until(lambda: viewer.layers[-1].name == session.naming.title_of(other))
    camera.zoom = 500.0
    gallery.cell_activated.emit(position)
    slot = session.overlays.slot_of(concept)
    ours = predicted.layers.overlays.layer(slot)
    until(lambda: viewer.layers[-1] == ours)
    assert ours.colormap.name.startswith(f"cytosae {session.overlays.slots[slot].colour} ")
    assert session.overlays.slot_of(other) != slot
    # And whole: it takes a third of the canvas.
    assert camera.zoom * (x1 - x0) == pytest.approx(min(viewer.canvas.size) / 3)


def test_flagged_cells_are_left_out_when_they_are_hidden(predicted, until):
    patients = predicted.patients
    before = patients.reading
    flagged = int((~before.case.ok).sum())
    predicted.session.set_hide_flagged(True)
    until(lambda: patients.reading not in (None, before))
    assert len(patients.reading.rows) == len(before.rows) - flagged
    assert patients.case is before.case


def test_no_patient_keeps_a_prediction_by_the_other_rule(predicted, until):
    panel, patients = predicted.patient_panel, predicted.patients
    panel.patient_chosen.emit("Q")
    panel.predict_clicked.emit()
    until(lambda: patients.reading is not None and not predicted.desk.busy)
    assert set(patients.readings) == {"P", "Q"}
    predicted.session.set_hide_flagged(True)
    until(lambda: patients.reading is not None and not predicted.desk.busy)
    assert set(patients.readings) == {"Q"}
    panel.patient_chosen.emit("P")
    assert "not yet predicted" in panel._about.text()
    assert patients.case is not None


def test_a_head_that_took_the_place_of_another_is_read(predicted, until, tmp_path):
    panel, patients = predicted.patient_panel, predicted.patients
    before = patients.reading
    write_head(replace(before.head, classes=("x", "y", "z")), tmp_path / "head.json")
    panel.predict_clicked.emit()
    until(lambda: patients.reading is not before and not predicted.desk.busy)
    assert patients.reading.head.classes == ("x", "y", "z")
    assert patients.reading.case is before.case
    write_head(before.head, tmp_path / "head.json")
    panel.head_chosen.emit(str(tmp_path / "head.json"))
    assert patients.reading is None


def test_a_head_of_another_threshold_examines_anew(predicted, until, tmp_path):
    panel, patients = predicted.patient_panel, predicted.patients
    before = patients.reading
    patients.call([0], "blast")
    panel.head_chosen.emit(make_head(tmp_path / "higher.json", threshold=0.4))
    panel.predict_clicked.emit()
    until(lambda: patients.reading is not None and not predicted.desk.busy)
    case = patients.case
    assert case.images[0].encoded.activations.threshold == 0.4
    assert 0 < case.counts.sum() < before.case.counts.sum()
    assert patients.types == {0: "blast"}


def test_a_head_with_cls_is_refused(predicted, until, tmp_path):
    panel = predicted.patient_panel
    panel.head_chosen.emit(make_head(tmp_path / "cls.json", include_cls=True))
    panel.predict_clicked.emit()
    until(lambda: not predicted.desk.busy)
    assert "counts the CLS token too" in predicted.strip.text
    assert predicted.patients.reading is None


def test_what_was_not_checked_is_said(predicted, until, tmp_path):
    head = replace(predicted.patients.head, limit=0.34)
    reading = replace(predicted.patients.reading, head=head)
    reading.table["reason"] = ""
    said = describe_set(reading)
    assert "focus, stain strength, stain hue, reconstruction error not checked" in said
    ranges = dict.fromkeys(FACTS, (-np.inf, np.inf))
    known = replace(reading, head=replace(head, ranges=ranges))
    assert describe_set(known).endswith("In range of the training data.")


def test_another_patient_and_the_export(predicted, until, tmp_path):
    panel, patients = predicted.patient_panel, predicted.patients
    panel.patient_chosen.emit("Q")
    assert patients.reading is None
    assert "not yet predicted" in panel._about.text()
    panel.predict_clicked.emit()
    until(lambda: patients.reading is not None)
    until(lambda: not predicted.desk.busy)
    for what, name in (("why", "why.csv"), ("barcodes", "b.h5ad")):
        panel.export_clicked.emit(what, str(tmp_path / name))
        until(lambda n=name: n in predicted.strip.text and not predicted.desk.busy)
    panel.export_clicked.emit("predictions", str(tmp_path / "predictions.csv"))
    until(lambda: "predictions.csv" in predicted.strip.text)
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert list(table["patient"]) == ["P", "Q"]
    assert list(table.columns)[:5] == ["patient", "predicted", "p_a", "p_b", "p_c"]
    assert (table["note"] == RESEARCH_USE).all()
    np.testing.assert_allclose(table[["p_a", "p_b", "p_c"]].sum(axis=1), 1, atol=1e-12)
    panel.patient_chosen.emit("P")
    assert patients.reading is not None
    reading = patients.reading
    why = pd.read_csv(tmp_path / "why.csv").query("patient == 'P'")
    for label in "abc":
        steps = why[why["class"] == label]
        assert steps["contribution"].sum() == pytest.approx(reading.score(label), abs=1e-5)
        assert steps["total"].iloc[-1] == pytest.approx(reading.score(label), abs=1e-5)
    listed = why[why["concept"].notna()]
    row = listed[listed["cells"] > 0].iloc[0]
    assert row[["nucleus", "cytoplasm", "outside"]].sum() == pytest.approx(1)
    concept = int(row["concept"])
    assert row["patches_per_cell"] == pytest.approx(reading.patches_of(concept).mean())
    assert row["low"] <= row["patches_per_cell"] <= row["high"]
    saved = read_barcodes(tmp_path / "b.h5ad")
    assert saved.patients == ("P", "Q")
    mean = reading.case.counts.toarray().mean(axis=0)
    np.testing.assert_allclose(saved.values.toarray()[0], mean, rtol=1e-6)
    assert saved.low is not None
    assert saved.sae_sha256 == predicted.session.models.sae_info.sha256
    assert list(saved.n_images) == [2, 1]
    hashes = {i.sha256 for r in patients.readings.values() for i in r.case.images}
    assert set(saved.record["inputs"].values()) == hashes
    assert set(saved.record["inputs"]) == {"1.png", "2.png", "1.png (2)"}
    # The second patient's only image is the first one's, turned.
    assert len({content for of in saved.images for content in of}) == 3


def test_a_bar_says_where_in_the_cells_its_concept_is(predicted):
    reading = predicted.patients.reading
    bar, other = (
        next(b for b in predicted.patient_panel.why.waterfall.bars if match(b))
        for match in (lambda b: b.place, lambda b: b.key is None)
    )
    assert not other.place
    table = predicted.patient_panel.why.waterfall
    assert not table.isColumnHidden(3)
    assert table.horizontalHeader().visualIndex(3) == 1
    grids = [
        predicted.session.models.concept_grids(image.encoded, [bar.key])[0]
        for image in reading.case.images
    ]
    masks = [
        mask_fractions(image.cells, image.encoded.boxes, grid.shape[-1])
        for image, grid in zip(reading.case.images, grids, strict=True)
    ]
    totals = sum(
        np.einsum("nyx,npyx->p", grid, mask)
        for grid, mask in zip(grids, masks, strict=True)
    )
    shares = totals / totals.sum()
    best = int(shares.argmax())
    assert bar.place == f"{('nuc', 'cyt', 'out')[best]} {100 * shares[best]:.0f} %"
    assert all(f"{100 * share:.0f} %" in bar.tooltip for share in shares)
    assert f"{reading.patches_of(bar.key).mean():.3g} patches a cell" in bar.tooltip


def test_the_canvas_follows_the_patient(predicted, until, viewer, folder):
    """Or it is said that it does not."""
    panel, patients, session = (
        predicted.patient_panel,
        predicted.patients,
        predicted.session,
    )
    panel.gallery.cell_activated.emit(0)
    until(lambda: session.image is not None and session.image.name == "1.png")
    shown = session.image.sha256
    panel.patient_chosen.emit("Q")
    assert "No image of Q is open: the canvas still shows" in predicted.strip.text
    assert session.image.sha256 == shown
    panel.patient_chosen.emit("P")
    viewer.open(str(folder / "Q" / "1.png"), plugin="napari", rgb=True, name="Q's")
    viewer.layers.selection.active = None
    panel.patient_chosen.emit("Q")
    until(lambda: session.image is not None and session.image.sha256 != shown)
    visible = [layer for layer in viewer.layers if layer.visible and "rgb" in dir(layer)]
    assert [layer.name for layer in visible] == ["Q's"]
    outlines = [la for la in viewer.layers if la.name.startswith("Cells")]
    assert [layer.visible for layer in outlines] == [False]
    panel.patient_chosen.emit("P")
    until(lambda: session.image is not None and session.image.sha256 == shown)
    assert patients.current == "P"
    assert outlines[0].visible


def test_a_head_that_does_not_fit_is_refused_before_the_work(assigned, until, tmp_path):
    panel = assigned.patient_panel
    panel.head_chosen.emit("synthetic")
    panel.predict_clicked.emit()
    until(lambda: not assigned.desk.busy)
    assert "another SAE" in assigned.strip.text
    assert assigned.patients.case is None
    panel.head_chosen.emit(str(tmp_path / "nowhere.json"))
    panel.predict_clicked.emit()
    until(lambda: not assigned.desk.busy)
    assert "nowhere.json cannot be read" in assigned.strip.text


def test_other_models_let_the_prediction_go(predicted):
    from dataclasses import replace

    session = predicted.session
    session.choose(replace(session.choice, precision="float32"))
    assert predicted.patients.reading is None
    assert predicted.patient_panel.pages.isHidden()


def test_cancel_leaves_things_as_they_were(assigned, until):
    assigned.patient_panel.predict_clicked.emit()
    assigned.desk.cancel()
    until(lambda: not assigned.desk.busy)
    assert assigned.patients.reading is None
    assigned.patient_panel.predict_clicked.emit()
    until(lambda: assigned.patients.reading is not None)


def test_cancel_keeps_the_images_that_are_done(assigned, until, monkeypatch):
    from napari_cytosae.core import case

    found = []

    def first_then_cancel(image, **options):
        if found:
            assigned.desk._jobs.cancel("work")
        found.append(image.name)
        return find_cells(image, **options)

    find_cells = case.find_cells
    monkeypatch.setattr(case, "find_cells", first_then_cancel)
    panel, patients, session = (
        assigned.patient_panel,
        assigned.patients,
        assigned.session,
    )
    panel.predict_clicked.emit()
    until(lambda: not assigned.desk.busy)
    assert patients.reading is None
    assert "Kept 1 of 2 images" in assigned.strip.text
    assert panel._about.text() == "2 images, 1 examined, not yet predicted"
    (kept,) = session.encoded_images().values()
    monkeypatch.setattr(case, "find_cells", find_cells)
    panel.predict_clicked.emit()
    until(lambda: patients.reading is not None)
    assert patients.case.images[0].encoded is kept[2]
    assert len(patients.case.images) == 2
    assert patients.examined == 0


def test_a_typed_pixel_size_is_used(predicted, until):
    patients, session, panel = (
        predicted.patients,
        predicted.session,
        predicted.patient_panel,
    )
    before = patients.case.images
    session.type_pixel_size(0.2)  # no image is looked at: says nothing
    assert not session.typed_sizes
    predicted.patient_panel.gallery.cell_activated.emit(0)
    until(lambda: session.encoded is not None)
    sha256 = session.image.sha256
    session.type_pixel_size(0.2)
    panel.predict_clicked.emit()
    until(lambda: patients.case.images is not before)
    until(lambda: not predicted.desk.busy)
    typed = next(image for image in patients.case.images if image.sha256 == sha256)
    others = [image for image in patients.case.images if image.sha256 != sha256]
    assert typed.cells.pixel_size == PixelSize(0.2, "user")
    sides = typed.encoded.boxes[:, 2] - typed.encoded.boxes[:, 0]
    assert sides[0] == round(25 / 0.2)
    assert all(one.encoded in [old.encoded for old in before] for one in others)


def test_a_long_name_is_whole_in_the_tool_tip(predicted):
    head = predicted.patient_panel._head
    name = "a head with a name that is much too long for the narrow dock.json"
    predicted.patient_panel.set_heads([(name, "x")], "x")
    assert head.currentText() == name
    assert head.toolTip().endswith(f": {name}")


def test_a_typed_name_gets_the_ending_of_what_is_saved(predicted, monkeypatch):
    heard = []
    export = predicted.patient_panel._export
    export.chosen.connect(lambda key, path: heard.append((key, path)))
    for typed in ("/x/all", "/x/all.csv", ""):
        monkeypatch.setattr(
            QFileDialog, "getSaveFileName", lambda *_, typed=typed: (typed, "")
        )
        export.menu().actions()[0].trigger()
    assert heard == [("predictions", "/x/all.csv")] * 2


def test_it_fits_a_laptop(predicted):
    assert predicted.patient_panel.minimumSizeHint().width() <= 360


def test_patients_and_classes_are_compared(predicted, until):
    panel, patients = predicted.patient_panel, predicted.patients
    assert "nothing to compare" in panel.compare._said.text()  # this head has no profiles
    panel.patient_chosen.emit("Q")
    panel.predict_clicked.emit()
    until(lambda: patients.reading is not None)
    until(lambda: "FDR 5 %" in panel.compare._said.text())
    bars = panel.compare.differences.bars
    reading, other = patients.readings["Q"], patients.readings["P"]
    concept = bars[0].key
    here = reading.counts.toarray()[:, concept].mean()
    there = other.counts.toarray()[:, concept].mean()
    assert (bars[0].end > 0.5) == (bars[0].value.startswith("+"))
    assert f"{here:.4g} here, {there:.4g} there" in bars[0].tooltip
    # Two patients are compared in other numbers than a patient and a class.
    assert ", in patches a cell; effect" in bars[0].tooltip
    assert panel.compare._plot.toolTip().startswith("Heights: patches a cell.")
    panel.compare.differences.selectRow(0)
    assert patients.concept == concept
    up, down = (curve.getData()[1] for curve in panel.compare._plot.curves)
    assert up.max() == pytest.approx(reading.counts.toarray().mean(axis=0).max(), rel=1e-6)
    assert -down.min() == pytest.approx(other.counts.toarray().mean(axis=0).max(), rel=1e-6)


def test_a_wide_barcode_keeps_its_peaks_and_shows_each_bar_when_zoomed(qtbot):
    from napari_cytosae.widgets._barcode_plot import MOST_BARS, BarcodePlot

    plot = BarcodePlot()
    qtbot.addWidget(plot)
    plot.resize(340, 76)
    k = 49_152
    rng = np.random.default_rng(0)
    here, there = rng.random(k), rng.random(k) * (rng.random(k) < 0.01)
    here[31_234] = 5.0
    plot.set_barcodes(np.arange(k), here, there)
    x, y = plot.curves[0].getData()
    assert len(x) <= 2 * MOST_BARS + 2
    assert y.max() == 5.0
    assert abs(x[y.argmax()] - 31_234) < k / MOST_BARS + 1
    assert plot.curves[1].getData()[1].min() == -there.max()
    plot.getViewBox().setXRange(31_200, 31_300, padding=0)
    x, y = plot.curves[0].getData()
    np.testing.assert_allclose(x[1::2], np.arange(31_200, 31_300))
    np.testing.assert_allclose(y[1::2], here[31_200:31_300])
    plot._show_all()
    assert len(plot.curves[0].getData()[0]) > MOST_BARS


@pytest.fixture
def with_profiles(predicted, until, tmp_path):
    """The patient predicted by a head that keeps barcodes of its classes."""
    rng = np.random.default_rng(1)
    means = rng.dirichlet(np.full(LATENTS, 0.5), 3)
    profiles = Profiles(means, np.full((3, LATENTS), 0.01), np.array([9, 8, 7]))
    head = replace(predicted.patients.head, profiles=profiles)
    write_head(head, tmp_path / "profiles.json")
    predicted.patient_panel.head_chosen.emit(str(tmp_path / "profiles.json"))
    predicted.patient_panel.predict_clicked.emit()
    until(lambda: predicted.patients.reading is not None)
    until(lambda: not predicted.desk.busy)
    return predicted


def choose_other(page, text):
    index = next(i for i in range(page._other.count()) if text in page._other.itemText(i))
    page._other.setCurrentIndex(index)
    page._other.activated.emit(index)


def test_concepts_of_a_disease_lead_to_the_patient_s_cells(with_profiles, until):
    dock = with_profiles
    page, patients = dock.patient_panel.compare, dock.patients
    choose_other(page, "concepts of b")
    until(lambda: "all other classes (16)" in page._said.text())
    means = patients.head.profiles.means
    rest = (9 * means[0] + 7 * means[2]) / 16
    concept = page.differences.bars[0].key
    assert means[1, concept] > rest[concept]
    assert len(page.differences.bars) == min((means[1] > rest).sum(), 200)
    shown = next(
        row
        for row, bar in enumerate(page.differences.bars)
        if len(patients.reading.cells_of(bar.key))
    )
    page.differences.selectRow(shown)
    concept = page.differences.bars[shown].key
    cells = patients.reading.cells_of(concept)
    gallery = dock.patient_panel.gallery
    assert gallery.model().rowCount() == len(cells)
    dock.patient_panel.pages.setCurrentWidget(page)
    first = patients.reading
    dock.patient_panel.patient_chosen.emit("Q")
    dock.patient_panel.predict_clicked.emit()
    until(lambda: patients.reading is not None and not dock.desk.busy)
    dock.patient_panel.pages.setCurrentWidget(page)
    patients.pick(concept)
    own, theirs = patients.reading.cells_of(concept), first.cells_of(concept)
    assert gallery.model().rowCount() == len(own) + len(theirs)
    assert "of 2 patients" in dock.patient_panel._cells.text()
    keys = gallery.model().keys_of(range(gallery.model().rowCount()))
    assert sorted(key for key in keys if key >= 0) == sorted(own)
    # What is left out or called is this patient's; a click leads to the other's slide.
    gallery.cells_selected.emit(keys)
    assert set(patients.selected) == set(own)
    gallery.cell_activated.emit(-1)
    names = {image.sha256 for image in first.case.images}
    until(lambda: dock.session.image is not None and dock.session.image.sha256 in names)
    until(lambda: dock.session.focus.selection.concept == concept)


def test_patients_of_a_file_are_compared_and_mapped(with_profiles, until, tmp_path, qtbot):
    dock = with_profiles
    page, patients = dock.patient_panel.compare, dock.patients
    reading = patients.reading
    own = replace(reading.barcodes, patients=("R",), diagnosis=("b",))
    write_barcodes(own, tmp_path / "others.h5ad")
    page.file_chosen.emit(str(tmp_path / "others.h5ad"))
    until(lambda: "1 patient to compare with" in dock.strip.text)
    assert "which SAE" not in dock.strip.text
    choose_other(page, "barcode of a")
    until(lambda: "is not known from what is kept" in page._said.text())
    assert page._plot.toolTip().startswith("Heights: shares of the barcode.")
    choose_other(page, "patient R (b), from the file")
    until(lambda: "down R" in page._said.text())
    assert page._said.text().startswith("Up P, down R: 0 of")
    page.map_clicked.emit()
    controller = next(c for c in dock._controllers if isinstance(c, CompareController))
    shown = controller._map
    until(lambda: shown._shown is not None)
    names = shown._shown.names
    assert set(names) == {"P", "R (b)", *(f"{name} (mean)" for name in "abc")}
    i, j = names.index("P"), names.index("R (b)")
    assert shown._shown.matrix[i, j] == pytest.approx(1)
    until(shown.isVisible)
    box, scene = shown.box, shown.plot.scene()
    scene.sigMouseMoved.emit(box.mapViewToScene(QPointF(j + 0.5, i + 0.5)))
    assert shown.said.text() == "P and R (b): 1.000"
    unnamed = replace(own, record={})
    write_barcodes(unnamed, tmp_path / "unnamed.h5ad")
    page.file_chosen.emit(str(tmp_path / "unnamed.h5ad"))
    until(lambda: "do not say which SAE they are of" in dock.strip.text)
    k = names.index("c (mean)")
    shown.picked.emit(int(shown._shown.places[i]), int(shown._shown.places[k]))
    until(lambda: "down c (7 training patients)" in page._said.text())
    assert page._other.currentText() == "barcode of c"
    wrong = tmp_path / "wrong.h5ad"
    write_barcodes(replace(own, concepts=own.concepts + 1), wrong)
    page.file_chosen.emit(str(wrong))
    until(lambda: "they are of another SAE" in dock.strip.text)
    # The head does not know its SAE; the patients do.
    assert patients.head.sae_sha256 == ""
    models = own.record["models"]
    other = own.record | {"models": models | {"sae": models["sae"] | {"sha256": "f" * 64}}}
    write_barcodes(replace(own, record=other), wrong)
    page.file_chosen.emit(str(wrong))
    until(lambda: "wrong.h5ad was made with another SAE" in dock.strip.text)


def test_cells_are_called_by_keys_and_the_rest_is_proposed(
    predicted, qtbot, until, tmp_path
):
    panel, patients = predicted.patient_panel, predicted.patients
    panel.pages.setCurrentWidget(panel.count)
    gallery = panel.gallery
    rows = len(patients.reading.rows)
    assert rows >= 7
    panel.count.propose_clicked.emit()
    until(lambda: "Call 3 cells" in predicted.strip.text)
    assert "Select cells below and press the number" in panel.count._said.text()
    gallery.cells_selected.emit((int(gallery.model().cell_at(0)),))
    for key in "111222":
        qtbot.keyClick(gallery, key)
    assert sorted(patients.types.values()) == ["band"] * 3 + ["neutrophil"] * 3
    panel.count.propose_clicked.emit()
    until(lambda: patients.differential is not None)
    found = patients.differential
    assert found.called.sum() == 6
    assert found.p.sum() == pytest.approx(rows)
    assert panel.count.table.bars[0].value.endswith("]")
    first = int(gallery.model().cell_at(0))
    assert not found.called[first]
    # What was called last is left behind: the most doubtful is next.
    assert not any(found.called[cell] for cell in patients.selected)
    panel.count.export_clicked.emit(str(tmp_path / "differential.csv"))
    until(lambda: "Saved in" in predicted.strip.text)
    table = pd.read_csv(tmp_path / "differential.csv")
    assert table["expected"].sum() == pytest.approx(rows)
    cells = pd.read_csv(tmp_path / "differential_cells.csv")
    assert len(cells) == rows
    assert (cells["source"] == "called").sum() == 6
    assert (cells["note"] == RESEARCH_USE).all()
    patients.select((first,))
    qtbot.keyClick(gallery, "8")
    assert "other" in patients.types.values()
    assert patients.differential is None
    # Each call is learned from, without another click.
    until(lambda: patients.differential is not None)
    assert patients.differential.called.sum() == 7
    assert not patients.differential.called[list(patients.selected)].any()
    patients.select((first,))
    qtbot.keyClick(gallery, Qt.Key.Key_Backspace)
    assert "other" not in patients.types.values()
    until(lambda: patients.differential is not None)


def test_a_proposal_is_for_the_patient_and_calls_it_was_made_of(predicted, qtbot, until):
    panel, patients = predicted.patient_panel, predicted.patients
    panel.patient_chosen.emit("Q")
    panel.predict_clicked.emit()
    until(lambda: patients.reading is not None and not predicted.desk.busy)
    panel.patient_chosen.emit("P")
    panel.pages.setCurrentWidget(panel.count)
    rows = patients.reading.rows
    assert len(rows) >= 8
    assert len(patients.readings["Q"].rows) != len(rows)
    patients.call(rows[:3].tolist(), "band")
    patients.call(rows[3:6].tolist(), "blast")
    panel.count.propose_clicked.emit()
    patients.look_at("Q")
    jobs = predicted.desk._jobs
    until(lambda: jobs.running("differential") is None)
    qtbot.wait(50)
    assert patients.current == "Q"
    assert patients.differential is None
    patients.look_at("P")
    panel.count.propose_clicked.emit()
    patients.call([int(rows[6])], "band")
    until(lambda: patients.differential is not None)
    assert patients.differential.called.sum() == 7
    assert patients.differential.proposed(6) == ("band", 1.0)


def test_a_copied_image_is_told_within_a_patient_and_across(assigned, until, folder):
    panel, patients = assigned.patient_panel, assigned.patients
    rgb = np.asarray(Pillow.open(folder / "P" / "1.png"))
    Pillow.fromarray(rgb).save(folder / "P" / "2.png", compress_level=1)
    Pillow.fromarray(rgb).save(folder / "Q" / "1.png", compress_level=2)
    panel.predict_clicked.emit()
    until(lambda: patients.reading is not None and not assigned.desk.busy)
    said = "Image 2 (2.png) shows the same as image 1 (1.png): its cells count twice."
    assert said in assigned.strip.text
    assert panel._about.text().endswith(said)
    assert patients.state == "attention"
    panel.patient_chosen.emit("Q")
    panel.predict_clicked.emit()
    until(lambda: patients.reading is not None and not assigned.desk.busy)
    said = "Image 1 (1.png), of patient Q, shows the same as "
    assert said in assigned.strip.text
    assert panel._about.text().endswith(", of patient P: whose is it?")


def test_a_patient_without_cells_is_told_so_and_nothing_else(assigned, until, folder):
    panel, patients = assigned.patient_panel, assigned.patients
    for name in ("1.png", "2.png"):
        Pillow.new("RGB", (300, 300), (230, 225, 230)).save(folder / "P" / name)
    panel.predict_clicked.emit()
    until(lambda: "No cells were found in the images of P" in assigned.strip.text)
    until(lambda: not assigned.desk.busy)
    assert "goes on" not in assigned.strip.text
    assert patients.examined == 0
    for name in ("1.png", "2.png"):
        (folder / "P" / name).unlink()
    panel.predict_clicked.emit()
    until(lambda: "No image of P can be examined" in assigned.strip.text)
    assert "No cells" not in assigned.strip.text


def test_the_synthetic_patients_try_it_all_out(dock, viewer, until):
    dock.session.choose(ModelChoice())  # the starter
    dock.go_to_step("patient")
    dock.patient_panel.sample_clicked.emit()
    patients = dock.patients
    until(lambda: len(patients.patients) == 2 and not dock.desk.busy, 60_000)
    first, *others = [layer for layer in viewer.layers if layer.name.endswith("smear 1")]
    assert first.visible
    assert viewer.layers.selection.active is first
    assert not any(layer.visible for layer in others)
    dock.patient_panel.predict_clicked.emit()
    until(lambda: patients.reading is not None and not dock.desk.busy, 120_000)
    assert patients.reading.predicted == "synthetic granular"
    assert not patients.reading.reason
    said = [label.text() for label in dock.patient_panel.findChildren(QLabel)]
    assert "Synthetic head, for trying out only." in said
    assert RESEARCH_USE in dock.strip.text
