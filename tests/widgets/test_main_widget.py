"""The dock from an opened smear to saved results, and whatever may go wrong on the way."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtGui import QFocusEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QSlider,
    QTabBar,
    QWidget,
)

from napari_cytosae import _sample_data, synthetic
from napari_cytosae.core.types import Progress
from napari_cytosae.session_steps import state_of
from napari_cytosae.widgets import _tasks

TICK = (Qt.CheckState.Checked, Qt.ItemDataRole.CheckStateRole)
UNTICK = (Qt.CheckState.Unchecked, Qt.ItemDataRole.CheckStateRole)


def tick(dock, row, how=TICK):
    model = dock.concepts_panel.model
    concept = model.concept_at(row)
    model.setData(model.index(row, 0), *how)
    return concept


def overlays(viewer):
    return [
        layer
        for layer in viewer.layers
        if layer.metadata.get("cytosae", {}).get("role") == "overlay"
    ]


def button(panel, text):
    return next(b for b in panel.findChildren(QPushButton) if b.text() == text)


def test_three_clicks_from_smear_to_overlay(opened, viewer, until, qtbot):
    camera = viewer.scene.camera
    centre, zoom = camera.center, camera.zoom
    button(opened.cells_panel, "Segment").click()
    until(lambda: opened.session.cells is not None)
    n = len(opened.session.cells)
    assert n == 5
    button(opened.cells_panel, f"Encode {n} cells").click()
    until(lambda: opened.concepts_panel.model.rowCount() > 0)
    concept = tick(opened, 0)
    until(lambda: bool(overlays(viewer)))

    (layer,) = overlays(viewer)
    assert layer.name == str(concept)
    assert layer.data.shape == (360, 480)
    top = opened.session.encoded.activations.max[:, [concept]].max()
    assert layer.data.max() == pytest.approx(top, rel=1e-3)  # tokens are kept in float16
    assert (camera.center, camera.zoom) == (centre, zoom)
    assert viewer.layers.selection.active.name == "smear.png"


def test_a_layer_waits_while_the_pointer_rests_on_the_table(encoded, viewer, until, qtbot):
    table, canvas = encoded.concepts_panel.table, encoded.layers
    viewer.window._qt_window.show()
    encoded.go_to_step("concepts")
    before = list(viewer.layers)

    def rest(row):
        qtbot.mouseMove(
            table.viewport(), table.visualRect(table.model().index(row, 1)).center()
        )
        until(lambda: bool(canvas.tagged("waiting")))

    rest(1)
    (waiting,) = canvas.tagged("waiting")
    concept = tick(encoded, 1)
    until(lambda: bool(overlays(viewer)))
    assert overlays(viewer) == [waiting]
    assert waiting.name.startswith(str(concept))
    assert waiting.visible
    assert waiting.data.max() > 0
    tick(encoded, 1, UNTICK)
    assert list(viewer.layers) == before
    # It stays when the pointer leaves and comes back: napari takes long to add one.
    rest(2)
    (waiting,) = canvas.tagged("waiting")
    assert waiting.visible
    table.leaveEvent(QEvent(QEvent.Type.Leave))
    assert not waiting.visible
    rest(1)
    until(lambda: waiting.visible)
    assert canvas.tagged("waiting") == [waiting]
    # The keys rest on rows, too.
    table.leaveEvent(QEvent(QEvent.Type.Leave))
    assert not waiting.visible
    table.setFocus()
    qtbot.keyClick(table, Qt.Key.Key_Down)
    until(lambda: waiting.visible)
    table.setAttribute(Qt.WidgetAttribute.WA_UnderMouse, False)
    table.focusOutEvent(QFocusEvent(QEvent.Type.FocusOut))
    assert not waiting.visible
    # A concept that is chosen elsewhere, as in a window, does not let it wait.
    qtbot.mouseMove(viewer.window._qt_window.menuBar(), QPoint(1, 1))
    table.clearFocus()
    table.select(encoded.concepts_panel.model.concept_at(5))
    qtbot.wait(300)
    assert not waiting.visible
    encoded.session.set_cells(encoded.session.cells, encoded.session.settings)
    assert not canvas.tagged("waiting")


def test_opening_the_dock_loads_neither_torch_nor_skimage():
    code = """
import sys, time
import napari
viewer = napari.Viewer(show=False)
present = set(sys.modules)
before = time.perf_counter()
viewer.window.add_plugin_dock_widget("napari-cytosae", "CytoSAE")
seconds = time.perf_counter() - before
# napari brings some of scikit-image itself.
more = {name.partition(".")[0] for name in set(sys.modules) - present}
assert not more & {"scipy", "skimage"}, more
heavy = {"torch", "timm", "sklearn", "anndata"} & set(sys.modules)
assert not heavy, heavy
assert seconds < 1.5, seconds
viewer.close()
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_sample_opens_from_the_empty_state(dock, viewer, until):
    button(dock.cells_panel, "Open the built-in sample").click()
    until(lambda: dock.session.image is not None)
    assert dock.session.image.name == "Synthetic smear"
    assert dock.session.image.pixel_size.um == pytest.approx(0.1)


def test_an_image_that_was_open_before_the_dock_is_named_and_watched(
    viewer, smear, until, small_models
):
    viewer.add_image(smear[:100], name="first", scale=(0.1, 0.1))
    active = viewer.add_image(smear, name="second", scale=(0.1, 0.1))
    viewer.add_image(smear[:200], name="third", scale=(0.1, 0.1))
    viewer.layers.selection.active = active
    _, dock = viewer.window.add_plugin_dock_widget("napari-cytosae", "CytoSAE")
    until(lambda: dock.session.image is not None)
    assert dock.cells_panel._image.currentText() == "second"
    assert dock.layers.source is active
    active.name = "renamed"
    assert dock.cells_panel._image.currentText() == "renamed"
    viewer.layers.remove(active)
    until(lambda: dock.cells_panel._image.currentText() == "third")
    dock.leave()


def test_background_is_left_out_at_first_and_said(segmented, until):
    panel = segmented.concepts_panel
    panel.encode_clicked.emit()
    until(lambda: panel.model.count > panel.model.rowCount() > 0)
    shown, there = panel.model.rowCount(), panel.model.count
    assert panel._keep.currentText() == "no background"
    assert panel.search.count.text() == f"{shown:,} of {there:,}"
    flags = [
        panel.model.index(row, 3).data(Qt.ItemDataRole.ToolTipRole) for row in range(shown)
    ]
    assert not any("background" in (flag or "") for flag in flags)


def test_another_concept_needs_no_second_pass(encoded, viewer, until, monkeypatch):
    monkeypatch.setattr(
        type(encoded.session.models), "_tokens", lambda *_: pytest.fail("a second pass")
    )
    tick(encoded, 0)
    until(lambda: len(overlays(viewer)) == 1)
    tick(encoded, 1)
    until(lambda: len(overlays(viewer)) == 2)


def test_at_most_four_overlays_and_their_layers_are_reused(encoded, viewer, until):
    for row in range(5):
        tick(encoded, row)
    until(lambda: len(overlays(viewer)) == 4)
    assert "Four concepts are shown already" in encoded.strip.text
    first = encoded.layers.overlays.layer(0)
    shown = encoded.session.overlays.slots[0].concept
    encoded.session.focus.select_concept(encoded.concepts_panel.model.concept_at(5))
    encoded.concepts_panel.slot_chosen.emit(0)
    until(lambda: encoded.layers.overlays.shown_concept(0) != shown)
    assert encoded.layers.overlays.layer(0) is first
    assert len(overlays(viewer)) == 4
    assert not encoded.strip.text
    assert viewer.layers[-1] == first  # though its layer was there before the others


def test_what_is_asked_for_goes_when_it_is_done(encoded, until):
    session, strip = encoded.session, encoded.strip
    for leave in (
        lambda: encoded.go_to_step("models"),
        lambda: session.focus.set_scope("image"),
        lambda: session.focus.set_scope("wbc"),
        lambda: encoded.concepts_panel.search.field.setText("7"),
    ):
        session.focus.set_scope("patient")
        assert "Choose a patient in step 4" in strip.text
        leave()
        until(lambda: not strip.text)
        encoded.go_to_step("concepts")
        session.focus.set_scope("cells")
    # What was said of something else stays.
    encoded.desk.say("Saved it.")
    encoded.go_to_step("cells")
    assert strip.text == "Saved it."


def test_selection_is_one_thing(encoded, viewer, until):
    gallery = encoded.concepts_panel.gallery
    until(lambda: gallery.model().rowCount() > 0)
    cells = encoded.session.cells.table
    cell = cells.iloc[2]
    encoded.layers.clicked.emit(cell.centroid_y, cell.centroid_x, False)
    assert encoded.session.focus.selection.cell_ids == (cell.cell_id,)
    assert encoded.session.focus.scope == "cells"
    assert [i.row() for i in gallery.selectedIndexes()] == [2]
    box = next(layer for layer in viewer.layers if layer.name == "Selected cell")
    y0, x0, y1, x1 = encoded.session.encoded.boxes[2]
    np.testing.assert_allclose(box.data[0].min(axis=0), (y0 - 0.5, x0 - 0.5))
    np.testing.assert_allclose(box.data[0].max(axis=0), (y1 - 0.5, x1 - 0.5))

    gallery.setCurrentIndex(gallery.model().index(4))
    assert encoded.session.focus.selection.cell_ids == (cells.iloc[4].cell_id,)
    encoded.concepts_panel.table.selectRow(3)
    concept = encoded.concepts_panel.model.concept_at(3)
    assert encoded.session.focus.selection.concept == concept


def test_a_cell_and_a_patch_rank_what_fires_there(encoded, until):
    session, model = encoded.session, encoded.concepts_panel.model
    cell = session.cells.table.iloc[1]

    def ranked():
        return {model.concept_at(r): float(model.index(r, 3).data()) for r in (0, 1)}

    image = ranked()
    encoded.layers.clicked.emit(cell.centroid_y, cell.centroid_x, False)
    until(lambda: ranked() != image)
    mean = session.encoded.activations.mean[[1]].toarray()[0]
    best = np.argsort(-mean)[:2]
    assert ranked() == pytest.approx({int(c): mean[c] for c in best}, abs=0.006)

    encoded.layers.clicked.emit(cell.centroid_y, cell.centroid_x, True)
    assert session.focus.scope == "patch"
    before = ranked()
    until(lambda: ranked() != before)
    row, column = session.focus.selection.patch
    y0, x0, y1, x1 = session.encoded.boxes[1]
    crop = session.image.rgb[y0:y1, x0:x1]
    latents = session.models.latents([crop])[0, 1 + 16 * row + column]
    best = np.argsort(-latents)[:2]
    assert ranked() == pytest.approx(
        {int(c): latents[c] for c in best}, rel=0.02, abs=0.006
    )


def test_naming_a_concept_reaches_table_layer_and_file(encoded, viewer, until, tmp_path):
    concept = tick(encoded, 0)
    until(lambda: bool(overlays(viewer)))
    encoded.concepts_panel.overlay._name.setText("azurophilic granules")
    encoded.concepts_panel.overlay._name.editingFinished.emit()
    assert overlays(viewer)[0].name == f"{concept} azurophilic granules"
    model = encoded.concepts_panel.model
    assert model.index(model.row_of(concept), 2).data() == "azurophilic granules"
    encoded.concepts_panel.export_clicked.emit(str(tmp_path / "out"))
    until(lambda: (tmp_path / "out" / "smear" / "concepts.csv").exists())
    table = pd.read_csv(tmp_path / "out" / "smear" / "concepts.csv")
    assert set(table.loc[table.concept == concept, "name"]) == {"azurophilic granules"}


def test_export_writes_the_files_of_the_contract(encoded, viewer, until, tmp_path):
    concept = tick(encoded, 0)
    until(lambda: bool(overlays(viewer)))
    encoded.concepts_panel.export_clicked.emit(str(tmp_path / "out"))
    folder = tmp_path / "out" / "smear"
    until(lambda: folder.exists() and not encoded.desk.busy)
    assert {path.name for path in folder.iterdir()} == {
        "cells.tif",
        "nuclei.tif",
        "cells.csv",
        "concepts.csv",
        f"overlay_{concept}.tif",
        "cells.h5ad",
        "run.json",
    }
    run = json.loads((folder / "run.json").read_text())
    assert run["inputs"] == {"smear.png": encoded.session.image.sha256}
    assert run["note"] == "Research use only. Not for diagnosis."
    assert run["parameters"]["pixel_size_source"] == "layer"
    assert str(folder) in encoded.strip.text


class Slow:
    """`pipeline.encode` that stops before each batch until it is let on."""

    def __init__(self, monkeypatch):
        from napari_cytosae.core import pipeline

        self.gate = threading.Semaphore(0)
        self.waiting = threading.Event()
        original = pipeline.encode

        def encode(models, crops, **options):
            steps = original(models, crops, batch_size=1, **options)
            while True:
                try:
                    step = next(steps)
                except StopIteration as stop:
                    return stop.value
                yield step
                self.waiting.set()
                self.gate.acquire(timeout=10)

        monkeypatch.setattr(pipeline, "encode", encode)


@pytest.fixture
def slow(segmented, until, monkeypatch):
    """An encoding that has finished two cells and waits."""
    segmented.models_panel.load_clicked.emit()
    until(lambda: segmented.session.models is not None)
    slow = Slow(monkeypatch)
    segmented.concepts_panel.encode_clicked.emit()
    for _ in range(2):
        until(slow.waiting.is_set)
        slow.waiting.clear()
        slow.gate.release()
    until(slow.waiting.is_set)
    return slow


def test_cancel_keeps_what_is_done_and_marks_it(slow, segmented, until):
    button(segmented.strip, "Cancel").click()
    slow.gate.release(100)
    until(lambda: segmented.session.encoded is not None and not segmented.desk.busy)
    encoded = segmented.session.encoded
    assert not encoded.complete
    # Two were done, and the batch that was running is finished.
    assert list(encoded.cell_ids) == list(segmented.session.cells.table.cell_id[:3])
    assert "Kept the 3 of 5 cells done" in segmented.strip.text
    assert "!" in segmented.tabs.tabText(2)
    assert segmented.cells_panel._segment.isEnabled()


def test_while_a_job_runs_only_what_conflicts_is_disabled(slow, segmented, until):
    assert "Encoding" in segmented.strip.text
    assert not segmented.cells_panel._segment.isEnabled()
    assert not segmented.models_panel._combo.isEnabled()
    assert segmented.tabs.isEnabled()
    assert segmented.concepts_panel.isEnabled()
    slow.gate.release(100)
    until(lambda: not segmented.desk.busy)
    assert segmented.cells_panel._segment.isEnabled()


def test_deleting_every_layer_mid_run_is_harmless(slow, segmented, viewer, until):
    viewer.layers.clear()
    slow.gate.release(100)
    until(lambda: not segmented.desk.busy)
    assert segmented.session.encoded is None
    assert "dropped" in segmented.strip.text
    assert len(viewer.layers) == 0


def test_closing_the_dock_mid_run_is_harmless(slow, segmented, viewer, qtbot):
    viewer.window.remove_dock_widget(segmented)
    slow.gate.release(100)
    qtbot.wait(300)
    viewer.layers.clear()
    viewer.add_image(np.zeros((8, 8, 3), np.uint8))
    qtbot.wait(50)


def test_closing_the_window_mid_run_ends_the_job(slow, segmented, viewer, until, qtbot):
    viewer.window._qt_window.show()
    until(segmented.isVisible)
    viewer.close()
    assert not segmented.desk.busy
    slow.gate.release(100)
    qtbot.wait(100)
    assert segmented.session.encoded is None


def test_quitting_mid_run_ends_the_job(slow, segmented, qtbot):
    QApplication.instance().aboutToQuit.emit()
    assert not segmented.desk.busy
    slow.gate.release(100)
    qtbot.wait(100)
    assert segmented.session.encoded is None


def test_the_sample_is_drawn_off_the_gui_thread(dock, viewer, until, monkeypatch):
    threads = []
    render = synthetic.render_smear

    def noted(*args, **options):
        threads.append(threading.current_thread())
        return render(*args, **options)

    monkeypatch.setattr(synthetic, "render_smear", noted)
    _sample_data.demo_smear.cache_clear()
    dock.cells_panel.sample_clicked.emit()
    assert dock.desk.busy
    until(lambda: dock.session.image is not None)
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()
    assert [layer.name for layer in viewer.layers] == ["Synthetic smear"]


def test_a_new_image_mid_run_drops_the_stale_result(slow, segmented, viewer, smear, until):
    viewer.add_image(smear[::-1], name="other")
    segmented.cells_panel.image_chosen.emit(1)
    slow.gate.release(100)
    until(lambda: not segmented.desk.busy)
    until(lambda: segmented.session.image is not None)
    assert segmented.session.image.name == "other"
    assert segmented.session.encoded is None


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError("CUDA out of memory"), "Encoding ran out of memory"),
        (ValueError("something odd"), "Encoding failed: something odd"),
    ],
)
def test_errors_reach_the_user_and_unlock_the_dock(
    segmented, until, monkeypatch, error, says
):
    shown = []
    monkeypatch.setattr("napari.utils.notifications.show_error", shown.append)

    def broken(*_):
        yield Progress("Encoding", 0, 5)
        raise error

    monkeypatch.setattr(_tasks, "encode_cells", broken)
    segmented.concepts_panel.encode_clicked.emit()
    until(lambda: says in segmented.strip.text and not segmented.desk.busy)
    assert shown
    assert says in shown[0]
    assert segmented.cells_panel._segment.isEnabled()
    assert not button(segmented.strip, "Details").isHidden()
    assert type(error).__name__ in segmented.strip._details


def test_models_that_do_not_fit_say_so(segmented, until, monkeypatch):
    from napari_cytosae.session_values import ModelChoice

    shown = []
    monkeypatch.setattr("napari.utils.notifications.show_error", shown.append)
    now = segmented.session.choice
    segmented.session.choose(ModelChoice(now.backbone, now.backbone, "cpu"))
    segmented.concepts_panel.encode_clicked.emit()
    until(lambda: bool(shown) and not segmented.desk.busy)
    assert "backbone" in shown[0]
    segmented.session.choose(now)
    segmented.concepts_panel.encode_clicked.emit()
    until(lambda: segmented.session.encoded is not None)


def test_no_cells_and_one_cell(dock, viewer, until):
    blank = np.full((200, 200, 3), 240, np.uint8)
    viewer.add_image(blank, name="blank")
    until(lambda: dock.session.image is not None)
    dock.cells_panel.segment_clicked.emit()
    until(lambda: dock.session.cells is not None or "failed" in dock.strip.text)
    if dock.session.cells is not None:
        assert len(dock.session.cells) == 0
        assert "No cells were found" in dock.cells_panel._count.text()
    dock.cells_panel._ways["single_cell"].click()
    dock.cells_panel.segment_clicked.emit()
    until(lambda: dock.session.cells is not None and len(dock.session.cells) == 1)


def test_hidden_cells_leave_outlines_ranking_and_gallery(encoded, until):
    table = encoded.session.cells.table
    table.loc[table.index[0], "qc"] = "border"
    encoded.session.set_hide_flagged(True)
    fine = [int(i) for i in table.cell_id[table.qc == "ok"]]
    gallery = encoded.concepts_panel.gallery.model()
    until(lambda: [key[-1] for key in gallery.keys_of(range(gallery.rowCount()))] == fine)
    assert list(encoded.session.encoded.cell_ids[encoded.session.rows()]) == fine
    layer = encoded.layers.outlines.layer()
    hidden = int(table.cell_id[0])
    until(lambda: layer.colormap.map(hidden)[3] == 0)
    for cell_id in table.cell_id:
        assert layer.colormap.map(int(cell_id))[3] == (cell_id in fine)


@pytest.mark.parametrize(("patch", "asks"), [(False, "a cell"), (True, "a patch")])
def test_a_hidden_cell_is_not_ranked(encoded, patch, asks):
    table = encoded.session.cells.table
    table.loc[table.index[0], "qc"] = "border"
    cell = table.iloc[0]
    encoded.layers.clicked.emit(cell.centroid_y, cell.centroid_x, patch)
    encoded.session.set_hide_flagged(True)
    assert f"Click {asks}" in encoded.strip.text


def test_what_is_ticked_while_a_job_runs_is_not_what_it_ran_with(
    opened, until, monkeypatch
):
    gate = threading.Event()
    original = _tasks.find_cells

    def waiting(*args):
        gate.wait(10)
        return (yield from original(*args))

    monkeypatch.setattr(_tasks, "find_cells", waiting)
    opened.cells_panel.segment_clicked.emit()
    opened.cells_panel._kinds["rbc"].click()
    gate.set()
    until(lambda: opened.session.cells is not None)
    assert opened.session.found.settings.kinds == ("wbc",)
    assert state_of(opened.session, "cells") == "attention"


def test_labels_corrected_by_hand_are_measured_and_never_overwritten(
    segmented, viewer, until
):
    layer = segmented.layers.outlines.layer()
    layer.data[layer.data == 2] = 0
    layer.refresh()
    corrected = layer.data.copy()
    segmented.cells_panel._ways["labels"].click()
    segmented.cells_panel.segment_clicked.emit()
    until(lambda: len(segmented.session.cells) == 4)
    np.testing.assert_array_equal(segmented.session.cells.labels, corrected)

    layer.data[layer.data == 3] = 0
    segmented.cells_panel._ways["smear"].click()
    segmented.cells_panel.segment_clicked.emit()
    assert "Edits in the layer 'Cells' are not taken over yet" in segmented.strip.text
    assert len(segmented.session.cells) == 4
    segmented.cells_panel.segment_clicked.emit()
    until(lambda: len(segmented.session.cells) == 5)
    until(lambda: segmented.layers.outlines.layer() is not layer)
    assert layer in viewer.layers
    assert not (layer.data == 3).any()


def test_keys_work_on_the_table_and_not_while_typing(encoded, viewer, until, qtbot):
    viewer.window._qt_window.show()
    panel = encoded.concepts_panel
    QApplication.processEvents()
    panel.table.setFocus()
    panel.table.selectRow(0)
    concept = encoded.session.focus.selection.concept
    qtbot.keyClick(panel.table, Qt.Key.Key_Space)
    until(lambda: encoded.session.overlays.slot_of(concept) == 0)
    qtbot.keyClick(panel.table, Qt.Key.Key_3)
    until(lambda: encoded.session.overlays.slot_of(concept) == 2)
    panel.search.field.setFocus()
    qtbot.keyClicks(panel.search.field, "3 n")
    assert panel.search.field.text() == "3 n"
    assert encoded.session.overlays.slot_of(concept) == 2


def test_the_keys_work_wherever_the_focus_is_in_the_dock(encoded, viewer, until, qtbot):
    viewer.window._qt_window.show()
    panel, session = encoded.concepts_panel, encoded.session
    encoded.go_to_step("concepts")
    until(lambda: panel.gallery.model().rowCount() == 5)
    panel.table.selectRow(1)
    concepts = [panel.model.concept_at(row) for row in range(4)]
    until(lambda: session.focus.selection.concept == concepts[1])
    keys, gallery = Qt.Key, panel.gallery

    def cell():
        return session.focus.selection.cell_ids

    # Up and Down are of the table, Left and Right of the gallery, from either.
    qtbot.keyClick(gallery, keys.Key_Down)
    assert session.focus.selection.concept == concepts[2]
    qtbot.keyClick(gallery, keys.Key_Up)
    qtbot.keyClick(panel.table, keys.Key_Up)
    assert session.focus.selection.concept == concepts[0]
    qtbot.keyClick(panel, keys.Key_Down)
    until(lambda: "drive" in panel.below._caption.text())
    order = gallery.model().keys_of(range(2))
    qtbot.keyClick(panel.table, keys.Key_Right)
    assert cell() == (order[0][1],)
    qtbot.keyClick(encoded.tabs, keys.Key_Right)
    assert cell() == (order[1][1],)
    qtbot.keyClick(gallery, keys.Key_Left)
    assert cell() == (order[0][1],)
    # Letters, from the table, the gallery, a check box, the tabs and the dock itself.
    qtbot.keyClick(panel.table, keys.Key_A)
    assert session.review.here() == [(concepts[1], order[0][1], "accept")]
    assert cell() == (order[1][1],)
    qtbot.keyClick(gallery, keys.Key_R)
    assert (concepts[1], order[1][1], "reject") in session.review.here()
    qtbot.keyClick(gallery, keys.Key_S)
    assert session.naming.names.annotation(concepts[1]).star
    qtbot.keyClick(gallery, keys.Key_Space)
    assert session.overlays.slot_of(concepts[1]) == 0
    qtbot.keyClick(panel.below._draw, keys.Key_2)
    assert session.overlays.slot_of(concepts[1]) == 1
    qtbot.keyClick(encoded, keys.Key_4)
    assert session.overlays.slot_of(concepts[1]) == 3
    # With Ctrl or Alt they are the window's; elsewhere and in fields they are typed.
    qtbot.keyClick(gallery, keys.Key_S, Qt.KeyboardModifier.AltModifier)
    qtbot.keyClick(panel.table, keys.Key_1, Qt.KeyboardModifier.ControlModifier)
    assert session.naming.names.annotation(concepts[1]).star
    assert session.overlays.slot_of(concepts[1]) == 3
    encoded.go_to_step("cells")
    qtbot.keyClick(encoded, keys.Key_1)
    qtbot.keyClicks(panel.below.notes._note, "a1 s")
    assert panel.below.notes._note.toPlainText() == "a1 s"
    assert session.overlays.slot_of(concepts[1]) == 3
    encoded.go_to_step("concepts")
    qtbot.keyClick(gallery, keys.Key_N)
    editor = panel.table.findChild(QLineEdit)
    qtbot.keyClicks(editor, "named here")
    qtbot.keyClick(editor, keys.Key_Return)
    until(lambda: session.naming.name_of(concepts[1]) == "named here")


def test_a_name_is_kept_though_a_ranking_comes_at_once(encoded, viewer, until, qtbot):
    viewer.window._qt_window.show()
    panel, session = encoded.concepts_panel, encoded.session
    encoded.go_to_step("concepts")
    panel.table.selectRow(1)
    concept = panel.model.concept_at(1)
    panel.table.edit_name()
    editor = panel.table.findChild(QLineEdit)
    qtbot.keyClicks(editor, "named here")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    panel.model.beginResetModel()
    panel.model.endResetModel()
    until(lambda: session.naming.name_of(concept) == "named here")


def test_every_control_is_explained(dock):
    kinds = (QAbstractButton, QComboBox, QLineEdit, QPlainTextEdit, QAbstractSpinBox)
    kinds += (QSlider, QAbstractItemView)

    def explained(widget):
        while widget is not None and widget is not dock:
            if widget.toolTip():
                return True
            widget = widget.parent()
        return False

    def is_ours(widget):  # not a part that Qt makes of another control
        parts = QComboBox, QLineEdit, QAbstractSpinBox, QTabBar, QAbstractItemView
        above = widget.parent()
        return not isinstance(above, parts) and not isinstance(above.parent(), QComboBox)

    controls = [w for w in dock.findChildren(QWidget) if isinstance(w, kinds)]
    controls = [w for w in controls if is_ours(w)]
    assert len(controls) > 60
    assert [w for w in controls if not explained(w)] == []
    actions = dock.concepts_panel.tools.actions()
    actions += [a for each in actions if each.menu() for a in each.menu().actions()]
    named = [a for a in actions if a.text()]
    assert len(named) > 15
    assert [a.text() for a in named if a.toolTip() == a.text()] == []
