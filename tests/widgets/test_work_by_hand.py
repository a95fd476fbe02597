"""What was corrected by hand is neither replaced nor left out without a word."""

from __future__ import annotations

import json
from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest

from napari_cytosae.widgets._sentences import counts_of, describe_found

ONCE_MORE = "These cells were corrected by hand: press Segment once more to replace them."


def delete(dock, cell_id):
    """With napari's own tools."""
    layer = dock.layers.outlines.layer()
    layer.data_setitem(np.nonzero(layer.data == cell_id), 0)


@pytest.fixture
def corrected(segmented, until):
    """With four of the five cells left."""
    delete(segmented, 2)
    segmented.cells_panel.correction.use_edited_clicked.emit()
    until(lambda: len(segmented.session.cells) == 4 and not segmented.desk.busy)
    return segmented


def test_cells_corrected_by_hand_are_replaced_at_the_second_press(corrected, until):
    session, press = corrected.session, corrected.cells_panel._segment.click
    press()
    assert corrected.strip.text == ONCE_MORE
    assert not corrected.desk.busy
    assert len(session.cells) == 4
    press()
    until(lambda: len(session.cells) == 5 and not corrected.desk.busy)
    # Nobody's work: once is enough.
    found = session.cells
    press()
    until(lambda: session.cells is not found and not corrected.desk.busy)


def test_a_deleted_layer_of_corrected_cells_is_laid_out_again(corrected, viewer, until):
    cells, layer = corrected.session.cells, corrected.layers.outlines.layer()
    until(lambda: "lobes" in layer.features)
    viewer.layers.remove(layer)
    assert corrected.layers.outlines.layer() is None
    corrected.cells_panel.correction.use_edited_clicked.emit()
    assert "laid over the image again" in corrected.strip.text
    until(lambda: corrected.layers.outlines.layer() is not None)
    again = corrected.layers.outlines.layer()
    assert again is not layer
    assert corrected.session.cells is cells
    np.testing.assert_array_equal(again.data, cells.labels)
    until(lambda: "lobes" in again.features)
    # What is painted there is taken over.
    delete(corrected, 3)
    corrected.cells_panel.correction.use_edited_clicked.emit()
    until(lambda: corrected.session.cells.table.cell_id.tolist() == [1, 4, 5])


def test_the_warning_is_for_the_cells_it_was_given_for(corrected, viewer, smear, until):
    session, panel = corrected.session, corrected.cells_panel
    panel._segment.click()
    assert corrected.strip.text == ONCE_MORE
    viewer.add_image(smear[::-1].copy(), name="other", scale=(0.1, 0.1))
    until(lambda: session.image is not None and session.image.name == "other")
    panel.image_chosen.emit(0)
    until(lambda: session.cells is not None)
    panel._segment.click()
    assert corrected.strip.text == ONCE_MORE
    assert len(session.cells) == 4


def test_a_session_remembers_that_cells_were_corrected(corrected, until, tmp_path):
    dock, tools = corrected, corrected.concepts_panel.tools
    (gone,) = dock.session.found.gone.values()
    tools.chosen.emit("save", str(tmp_path / "s"))
    until(lambda: "Saved" in dock.strip.text and not dock.desk.busy)
    for _ in range(2):
        dock.cells_panel._segment.click()
    until(lambda: len(dock.session.cells) == 5 and not dock.desk.busy)
    tools.chosen.emit("open", str(tmp_path / "s"))
    until(lambda: len(dock.session.cells) == 4 and not dock.desk.busy)
    assert dock.session.found.gone == {2: gone}
    assert dock.session.found.as_parameters()["cells_removed"] == 1
    dock.cells_panel._segment.click()
    assert dock.strip.text == ONCE_MORE


def test_results_say_what_was_corrected_by_hand(corrected, until, tmp_path):
    dock, panel = corrected, corrected.concepts_panel
    layer = dock.layers.outlines.layer()
    layer.data_setitem(np.nonzero(layer.data == 3), 0)
    layer.data_setitem((np.repeat(np.arange(9), 9), np.tile(np.arange(9), 9)), 77)
    dock.cells_panel.correction.use_edited_clicked.emit()
    until(lambda: dock.session.found.gone.keys() == {2, 3} and not dock.desk.busy)
    dock.cells_panel.encode_clicked.emit()
    until(lambda: dock.session.encoded is not None and panel.model.rowCount() > 0)
    panel.tools.set_extras(["report"])
    panel.export_clicked.emit(str(tmp_path))
    until(lambda: (tmp_path / "smear" / "run.json").exists(), 60_000)
    made = json.loads((tmp_path / "smear" / "run.json").read_text())["parameters"]
    assert made["cells"] == "segmentation, corrected by hand"
    counts = made["cells_added"], made["cells_changed"], made["cells_removed"]
    assert counts == (1, 0, 2)
    stored = anndata.read_h5ad(tmp_path / "smear" / "cells.h5ad").uns["cytosae"]
    assert stored["parameters"]["cells"] == "segmentation, corrected by hand"
    said = "found by segmentation, corrected by hand (1 added, 0 changed, 2 removed)"
    assert said in (tmp_path / "smear" / "report.html").read_text(encoding="utf-8")
    dock.session.focus.select_concept(panel.model.concept_at(0))
    panel.tools.chosen.emit("passport", str(tmp_path / "p.html"))
    until(lambda: (tmp_path / "p.html").exists(), 60_000)
    assert said in (tmp_path / "p.html").read_text(encoding="utf-8")


def test_edits_not_taken_over_are_not_left_out_by_encode(segmented, until):
    session, panel = segmented.session, segmented.cells_panel
    delete(segmented, 2)
    panel.encode_clicked.emit()
    assert segmented.strip.text == (
        "Edits in the layer 'Cells' are not taken over yet: press 'Use edited cells' in "
        "step 2 first."
    )
    assert not segmented.desk.busy
    assert segmented.tabs.currentIndex() == 1
    panel.correction.use_edited_clicked.emit()
    until(lambda: len(session.cells) == 4 and not segmented.desk.busy)
    panel.encode_clicked.emit()
    until(lambda: session.encoded is not None)
    assert session.encoded.cell_ids.tolist() == [1, 3, 4, 5]


def test_edits_just_measured_are_encoded_at_once(segmented, until):
    """Though their outlines are not drawn anew yet."""
    session, panel = segmented.session, segmented.cells_panel
    delete(segmented, 2)
    panel._ways["labels"].click()
    session.cells_changed.connect(lambda _: panel.encode_clicked.emit())
    panel.segment_clicked.emit()
    until(lambda: session.encoded is not None)
    assert session.encoded.cell_ids.tolist() == [1, 3, 4, 5]


def test_one_of_a_thing_is_said_as_one(segmented):
    session = segmented.session
    table = session.cells.table.assign(kind=["wbc", "rbc", "rbc", "platelet", "platelet"])
    cells = replace(session.cells, table=table)
    assert counts_of(cells) == "1 WBC, 2 RBC, 2 platelets"
    cells = replace(cells, table=pd.DataFrame(table[:4]))
    assert counts_of(cells) == "1 WBC, 2 RBC, 1 platelet"
    one = replace(cells, table=pd.DataFrame(table[:1]))
    assert describe_found(session.image, one, None) == "smear.png: 1 cell, not encoded yet."


def test_one_cell_drives(segmented, until):
    delete(segmented, 2)
    layer = segmented.layers.outlines.layer()
    layer.data_setitem(np.nonzero(layer.data > 1), 0)
    segmented.cells_panel.correction.use_edited_clicked.emit()
    until(lambda: len(segmented.session.cells) == 1 and not segmented.desk.busy)
    segmented.concepts_panel.model.set_keep("all")
    segmented.cells_panel.encode_clicked.emit()
    model = segmented.concepts_panel.model
    until(lambda: model.rowCount() > 0 and not segmented.desk.busy)
    segmented.session.focus.select_concept(model.concept_at(0))
    text = segmented.concepts_panel.below
    until(lambda: "1 cell drives " in _texts(text))


def _texts(widget):
    from qtpy.QtWidgets import QLabel

    return " ".join(each.text() for each in widget.window().findChildren(QLabel))
