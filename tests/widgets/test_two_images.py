"""A second image: which one is looked at, shown, and painted in."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtWidgets import QLabel

from napari_cytosae._napari_io import write_cells


@pytest.fixture
def files(smear, tmp_path):
    """Two smears on disk."""
    from skimage.io import imsave

    paths = [str(tmp_path / name) for name in ("first.png", "second.png")]
    for path, pixels in zip(paths, (smear, smear[:, ::-1]), strict=True):
        imsave(path, pixels)
    return paths


def said(dock):
    """The texts of step 2 that are not hidden."""
    labels = dock.cells_panel.findChildren(QLabel)
    return " ".join(each.text() for each in labels if not each.isHidden())


def looks_at(dock, name):
    return dock.session.image is not None and dock.session.image.name == name


def test_an_image_that_is_opened_is_looked_at_and_the_former_comes_back(
    dock, viewer, files, until
):
    session, combo = dock.session, dock.cells_panel._image
    viewer.open(files[0], plugin="napari")
    until(lambda: looks_at(dock, "first.png"))
    dock.cells_panel.segment_clicked.emit()
    until(lambda: session.cells is not None and not dock.desk.busy)
    dock.cells_panel.encode_clicked.emit()
    until(lambda: session.encoded is not None and not dock.desk.busy)
    cells, encoded = session.cells, session.encoded

    viewer.open(files[1], plugin="napari")
    assert dock.layers.source is viewer.layers["second"]
    assert combo.currentText() == "second"
    until(lambda: looks_at(dock, "second.png"))
    assert session.cells is None
    assert "not segmented yet" in dock.strip.text
    dock.cells_panel.segment_clicked.emit()
    until(lambda: session.cells is not None and not dock.desk.busy)
    first, second = (c.table.centroid_x.min() for c in (cells, session.cells))
    assert abs(first - second) > 30, "the cells are those of the mirrored smear"

    # Chosen in step 2, the former is on screen again: what lies over it is hidden.
    viewer.layers["first"].visible = False
    viewer.layers.selection.active = viewer.layers["second"]
    combo.setCurrentIndex(combo.findText("first"))
    until(lambda: looks_at(dock, "first.png"))
    assert session.cells is cells
    assert session.encoded is encoded
    assert viewer.layers["first"].visible
    assert not viewer.layers["second"].visible
    assert viewer.layers.selection.active is viewer.layers["first"]
    assert f"{len(cells)} cells, {len(encoded)} encoded." in dock.strip.text


def test_what_is_opened_while_a_job_runs_is_said(opened, viewer, smear, until):
    dock = opened
    dock.cells_panel.segment_clicked.emit()
    assert dock.desk.busy
    viewer.add_image(smear[::-1].copy(), name="later", scale=(0.1, 0.1))
    assert dock.layers.source is viewer.layers["smear.png"]
    assert "later was opened meanwhile: choose it here" in said(dock)
    until(lambda: dock.session.cells is not None and not dock.desk.busy)
    assert looks_at(dock, "smear.png")
    dock.cells_panel.image_chosen.emit(1)
    until(lambda: looks_at(dock, "later"))
    assert "opened meanwhile" not in said(dock)


def test_a_stack_that_is_opened_is_not_followed(segmented, viewer):
    cells = segmented.session.cells
    viewer.add_image(np.zeros((4, 30, 40)), name="stack")
    assert segmented.layers.source is viewer.layers["smear.png"]
    assert segmented.session.cells is cells


def test_the_layer_to_paint_in_is_named_as_napari_names_it(segmented, viewer, smear, until):
    dock = segmented
    assert "paint in the layer 'Cells'," in said(dock)
    viewer.add_image(smear[::-1].copy(), name="other", scale=(0.1, 0.1))
    until(lambda: looks_at(dock, "other"))
    dock.cells_panel.segment_clicked.emit()
    until(lambda: "Cells [1]" in viewer.layers)
    assert "paint in the layer 'Cells [1]'," in said(dock)
    dock.layers.outlines.layer().name = "mine"
    assert "paint in the layer 'mine'," in said(dock)
    assert "the layer 'mine'" in dock.cells_panel.correction._edited.toolTip()


def test_without_a_labels_layer_the_image_shows_a_smear(segmented, viewer, smear, until):
    panel = segmented.cells_panel
    panel._ways["labels"].click()
    assert panel._segment.text() == "Measure"
    viewer.layers.clear()
    viewer.add_image(smear, name="new", scale=(0.1, 0.1))
    until(lambda: looks_at(segmented, "new"))
    assert panel._ways["smear"].isChecked()
    assert panel._segment.text() == "Segment"
    assert panel._preview.isVisibleTo(panel)


def test_outlines_from_a_file_are_measured_and_said_in_sentences(
    segmented, viewer, until, tmp_path
):
    path = str(tmp_path / "theirs.geojson")
    layer = segmented.layers.outlines.layer()
    write_cells(path, layer.data, {"features": layer.features, "scale": layer.scale})
    viewer.open(path, plugin="napari-cytosae")
    panel, former = segmented.cells_panel, segmented.session.cells
    panel._labels.setCurrentIndex(panel._labels.findText("theirs"))
    panel._ways["labels"].click()
    panel.segment_clicked.emit()
    until(lambda: segmented.session.cells is not former and not segmented.desk.busy)
    assert ". The layer theirs lies elsewhere on the canvas; " in segmented.strip.text
    assert segmented.strip.text.startswith("5 WBC")
