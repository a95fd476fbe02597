"""Layers that are no smear, or oddly made: one sentence, or the right pixels."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cytosae.session_steps import state_of


@pytest.mark.parametrize(
    ("data", "options", "says"),
    [
        (np.zeros((5, 60, 80), np.uint8), {}, "stack of 5 x 60 x 80"),
        (np.zeros((5, 60, 80, 3), np.uint8), {}, "stack of images (5 x 60 x 80 x 3)"),
        (np.zeros((60, 80, 3), np.uint8), {"rgb": False}, "stack of 60 x 80 x 3"),
        (np.zeros((4, 60, 80), np.float32), {}, "stack of 4 x 60 x 80"),
        (np.full((60, 80), np.nan), {}, "NaN"),
        (np.full((60, 80, 3), np.inf), {}, "NaN or infinite"),
    ],
    ids=["stack", "rgb stack", "not rgb", "fluorescence", "nan", "inf"],
)
def test_what_is_no_smear_is_refused_in_a_sentence(
    dock, viewer, smear, until, data, options, says
):
    viewer.add_image(data, name="odd", contrast_limits=(0, 1), **options)
    until(lambda: "odd" in dock.strip.text)
    assert says in dock.strip.text
    assert dock.session.image is None
    assert not dock.cells_panel._segment.isEnabled()
    viewer.add_image(smear, name="smear.png", scale=(0.1, 0.1))
    dock.cells_panel.image_chosen.emit(1)
    until(lambda: dock.session.image is not None)
    assert dock.session.image.name == "smear.png"


@pytest.mark.parametrize(
    "convert",
    [
        lambda smear: smear[..., 0],
        lambda smear: np.dstack([smear, np.full(smear.shape[:2], 255, np.uint8)]),
        lambda smear: smear.astype(np.uint16) * 257,
        lambda smear: smear / 255.0,
    ],
    ids=["grey", "rgba", "16-bit", "float"],
)
def test_other_kinds_of_pixels_are_the_same_smear(dock, viewer, smear, until, convert):
    viewer.add_image(convert(smear), name="smear", scale=(0.1, 0.1))
    until(lambda: dock.session.image is not None)
    rgb = dock.session.image.rgb
    assert rgb.shape == smear.shape
    wanted = smear if convert(smear).ndim == 3 else np.dstack([smear[..., 0]] * 3)
    assert np.abs(rgb.astype(int) - wanted).max() <= 1


@pytest.mark.parametrize(
    "data",
    [
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((60, 80), bool),
        np.full((60, 80, 3), 255, np.uint8),
    ],
    ids=["1x1", "bool", "white"],
)
def test_an_image_without_cells_is_no_error_of_the_program(dock, viewer, until, data):
    viewer.add_image(data, name="nothing")
    until(lambda: dock.session.image is not None or "nothing" in dock.strip.text)
    if dock.session.image is not None:
        dock.cells_panel.segment_clicked.emit()
        until(lambda: dock.session.cells is not None or dock.strip.text.endswith("."))
        until(lambda: not dock.desk.busy)
    assert "failed" not in dock.strip.text
    assert "Traceback" not in dock.strip.text


def test_labels_that_lie_elsewhere_are_taken_and_said(segmented, viewer, until):
    labels = np.zeros(segmented.session.image.rgb.shape[:2], np.uint16)
    labels[20:80, 100:170] = 7
    viewer.add_labels(labels, name="theirs", translate=(3, 0))
    panel = segmented.cells_panel
    panel.labels_chosen.emit([la.name for la in segmented.layers.labels()].index("theirs"))
    panel._ways["labels"].click()
    panel.segment_clicked.emit()
    until(lambda: len(segmented.session.cells) == 1)
    assert "theirs lies elsewhere on the canvas" in segmented.strip.text


def test_labels_of_another_size_are_refused(segmented, viewer, until):
    viewer.add_labels(np.ones((10, 10), np.uint8), name="theirs")
    panel = segmented.cells_panel
    panel.labels_chosen.emit([la.name for la in segmented.layers.labels()].index("theirs"))
    panel._ways["labels"].click()
    panel.segment_clicked.emit()
    until(lambda: "shape (10, 10)" in segmented.strip.text)
    assert len(segmented.session.cells) == 5


def test_a_stack_of_labels_is_refused_in_a_sentence(segmented, viewer, until):
    layer, cells = segmented.layers.outlines.layer(), segmented.session.cells
    panel = segmented.cells_panel
    viewer.add_labels(np.stack([layer.data] * 3), name="stack")
    panel._labels.setCurrentIndex(panel._labels.findText("stack"))
    panel._ways["labels"].click()
    panel.segment_clicked.emit()
    until(lambda: "(3, 360, 480), the image (360, 480): give" in segmented.strip.text)
    layer.data = np.stack([layer.data] * 3)
    panel.correction.use_edited_clicked.emit()
    assert segmented.strip.text == (
        "The layer 'Cells' is a stack by now: delete it, and correct the cells in a layer "
        "of one plane."
    )
    assert segmented.session.cells is cells


def test_a_pixel_size_that_the_red_cells_contradict_is_asked_about(opened, until):
    session, panel = opened.session, opened.cells_panel
    doubt = "The red cells in view fit about 0.1 um a pixel: check the pixel size (0.3 um"
    session.type_pixel_size(0.3)
    panel.segment_clicked.emit()
    until(lambda: session.cells is not None and not opened.desk.busy)
    assert doubt in opened.strip.text
    assert doubt in panel._count.text()
    session.type_pixel_size(0.1)
    former = session.cells
    panel.segment_clicked.emit()
    until(lambda: session.cells is not former and not opened.desk.busy)
    assert "check the pixel size" not in opened.strip.text + panel._count.text()


def test_moved_layers_are_still_the_ones_that_are_listed(dock, viewer, smear, until):
    first = viewer.add_image(smear, name="first", scale=(0.1, 0.1))
    viewer.add_image(smear[:200], name="second", scale=(0.1, 0.1))
    until(lambda: dock.session.image is not None)
    assert dock.layers.source is first
    viewer.layers.move(1, 0)
    combo = dock.cells_panel._image
    assert [combo.itemText(i) for i in range(2)] == ["second", "first"]
    assert combo.currentText() == "first"
    dock.cells_panel.image_chosen.emit(0)
    until(lambda: dock.session.image is not None and dock.session.image.name == "second")


def test_no_other_labels_slip_in_for_the_chosen_ones(segmented, viewer, until):
    shape = segmented.session.image.rgb.shape[:2]
    for name, ids in (("A", 1), ("B", 2)):
        labels = np.zeros(shape, int)
        labels[20:80, 100:170] = 1
        labels[100:160, 100:170] = ids
        viewer.add_labels(labels, name=name)
    panel = segmented.cells_panel
    listed = [panel._labels.itemText(i) for i in range(3)]
    panel.labels_chosen.emit(listed.index("A"))
    viewer.layers.remove(segmented.layers.outlines.layer())
    assert panel._labels.currentText() == "A"
    panel._ways["labels"].click()
    viewer.layers.remove(viewer.layers["A"])
    assert panel._labels.currentText() == ""
    panel.segment_clicked.emit()
    assert "Choose the Labels layer" in segmented.strip.text


# --- the pixel size ---------------------------------------------------------------------


def test_a_layer_scaled_later_has_another_pixel_size(segmented, viewer, until):
    assert segmented.session.image.pixel_size.source == "layer"
    assert state_of(segmented.session, "cells") == "done"
    viewer.layers["smear.png"].scale = (0.2, 0.2)
    size = segmented.session.image.pixel_size
    assert (size.um, size.source) == (0.2, "layer")
    assert state_of(segmented.session, "cells") == "attention"
    viewer.layers["smear.png"].units = ("nm", "nm")
    assert segmented.session.image.pixel_size.um == pytest.approx(0.0002)
    viewer.layers["smear.png"].units = ("pixel", "pixel")
    viewer.layers["smear.png"].scale = (1, 1)
    until(lambda: segmented.session.image is not None)
    assert segmented.session.image.pixel_size.source == "estimated"


def test_a_layer_scaled_while_it_is_read_has_its_new_pixel_size(dock, viewer, smear, until):
    viewer.add_image(smear, name="smear.png", scale=(0.1, 0.1)).scale = (0.2, 0.2)
    until(lambda: dock.session.image is not None)
    assert dock.session.image.pixel_size.um == 0.2


def test_a_typed_pixel_size_stays_with_its_image_until_it_is_taken_back(
    segmented, viewer, smear, until
):
    panel, session = segmented.cells_panel, segmented.session
    panel.pixel_size_edited.emit(0.3)
    assert (session.image.pixel_size.um, session.image.pixel_size.source) == (0.3, "user")
    assert state_of(session, "cells") == "attention"
    viewer.layers["smear.png"].scale = (0.2, 0.2)
    assert session.image.pixel_size.um == 0.3

    viewer.add_image(smear[:200], name="other.png", scale=(0.1, 0.1))
    panel.image_chosen.emit(1)
    until(lambda: session.image is not None and session.image.name == "other.png")
    assert session.image.pixel_size.source == "layer"
    panel.image_chosen.emit(0)
    until(lambda: session.image is not None and session.image.name == "smear.png")
    assert session.image.pixel_size.um == 0.3

    panel.pixel_size_edited.emit(0)
    until(lambda: session.image is not None and session.image.pixel_size.um == 0.2)
    assert state_of(session, "cells") == "attention"
    viewer.layers["smear.png"].scale = (0.1, 0.1)
    assert state_of(session, "cells") == "done"
