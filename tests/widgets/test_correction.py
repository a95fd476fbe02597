"""Cells corrected by hand on the canvas, and slides that are looked at piece by piece."""

from __future__ import annotations

import gc
from dataclasses import replace
from weakref import ref

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from napari.layers import Labels
from qtpy.QtWidgets import QPushButton

from napari_cytosae.core.correction import Correction
from napari_cytosae.core.label_blocks import LabelBlocks
from napari_cytosae.core.pyramid import Pyramid
from napari_cytosae.core.types import Cells, PixelSize
from napari_cytosae.widgets._layers_correction import write_ids
from napari_cytosae.widgets._tasks import Corrected


def button(panel, text):
    return next(b for b in panel.findChildren(QPushButton) if b.text() == text)


def use_edited(dock, until):
    before = dock.session.cells
    button(dock.cells_panel, "Use edited cells").click()
    until(lambda: dock.session.cells is not before)
    until(lambda: not dock.desk.busy)


def columns_of(layer, cell_id):
    x = np.nonzero((layer.data == cell_id).any(axis=0))[0]
    return x[0], x[-1]


def test_a_cut_cell_becomes_two_and_undo_joins_it_again(encoded, until, monkeypatch):
    dock = encoded
    layer = dock.layers.outlines.layer()
    first, last = columns_of(layer, 2)
    middle = first + (last - first) // 3
    cut = np.nonzero((layer.data == 2) & (np.arange(layer.data.shape[1]) == middle))
    layer.data_setitem(cut, 0)
    assert len(dock.session.cells) == 5
    use_edited(dock, until)
    assert dock.session.cells.table.cell_id.tolist() == [1, 2, 3, 4, 5, 6]
    assert dock.layers.outlines.layer() is layer
    until(lambda: len(layer.features) == 6)
    np.testing.assert_array_equal(layer.data, dock.session.cells.labels)

    # What we renamed is one step with the stroke.
    layer.undo()
    assert not (layer.data == 6).any()
    use_edited(dock, until)
    assert dock.session.cells.table.cell_id.tolist() == [1, 2, 3, 4, 5]
    assert dock.layers.outlines.layer() is layer
    layer.redo()
    use_edited(dock, until)
    assert dock.session.cells.table.cell_id.tolist() == [1, 2, 3, 4, 5, 6]


def test_one_undo_takes_back_one_stroke(segmented, until):
    """Also where ids were given to what an earlier one of several had cut."""
    layer = segmented.layers.outlines.layer()
    untouched = layer.data.copy()
    first, last = columns_of(layer, 2)
    line = np.arange(layer.data.shape[1]) == first + (last - first) // 3
    layer.data_setitem(np.nonzero((layer.data == 2) & line), 0)
    cut = layer.data.copy()
    layer.data_setitem(np.nonzero(layer.data == 4), 0)
    use_edited(segmented, until)
    assert segmented.session.cells.table.cell_id.tolist() == [1, 2, 3, 5, 6]
    layer.undo()
    np.testing.assert_array_equal(layer.data, cut)
    use_edited(segmented, until)
    assert segmented.session.cells.table.cell_id.tolist() == [1, 2, 3, 4, 5, 6]
    layer.undo()
    np.testing.assert_array_equal(layer.data, untouched)
    use_edited(segmented, until)
    assert segmented.session.cells.table.cell_id.tolist() == [1, 2, 3, 4, 5]


def test_a_stroke_made_while_the_cells_are_measured_stays_a_step_of_its_own():
    layer = Labels(np.zeros((4, 6), np.int32))
    layer.data_setitem((np.array([1, 1]), np.array([1, 3])), 2)
    painted = layer.data.copy()
    layer.data_setitem((np.array([3]), np.array([5])), 4)
    pieces = painted.copy()
    pieces[1, 3] = 3
    cells = Cells(pieces, np.zeros_like(pieces), pd.DataFrame(), PixelSize())
    nothing = np.array([], np.int64)
    made = Corrected(
        painted,
        pieces,
        np.nonzero(painted != pieces),
        Correction(cells, np.array([2, 3]), nothing),
    )
    write_ids(layer, made)
    assert (layer.data[1, 1], layer.data[1, 3], layer.data[3, 5]) == (2, 3, 4)
    layer.undo()
    assert (layer.data[1, 3], layer.data[3, 5]) == (2, 4)
    layer.undo()
    np.testing.assert_array_equal(layer.data, painted)
    write_ids(layer, made)
    layer.undo()
    assert not layer.data.any()


def test_the_id_of_a_deleted_cell_is_not_given_to_another(segmented, until):
    """napari's own new label is one above the highest that is left."""
    layer = segmented.layers.outlines.layer()
    place = np.nonzero(layer.data == 5)
    layer.data_setitem(place, 0)
    use_edited(segmented, until)
    layer.selected_label = layer.data.max() + 1
    assert layer.selected_label == 5
    layer.brush_size = 30
    layer.paint((45, 45), 5)
    use_edited(segmented, until)
    cells = segmented.session.cells
    assert cells.table.cell_id.tolist() == [1, 2, 3, 4, 6]
    np.testing.assert_array_equal(layer.data, cells.labels)
    # Undone one by one, down to the cell that was deleted.
    layer.undo()
    use_edited(segmented, until)
    assert segmented.session.cells.table.cell_id.tolist() == [1, 2, 3, 4]
    layer.undo()
    use_edited(segmented, until)
    assert segmented.session.cells.table.cell_id.tolist() == [1, 2, 3, 4, 5]
    assert (segmented.session.cells.labels[place] == 5).all()
    layer.paint((45, 315), layer.data.max() + 1)
    use_edited(segmented, until)
    assert segmented.session.cells.table.cell_id.tolist() == [1, 2, 3, 4, 5, 7]


@pytest.fixture
def cached(monkeypatch):
    monkeypatch.setenv("CYTOSAE_CACHE_MB", "100")


def test_only_the_changed_cell_is_encoded_again(cached, encoded, until, monkeypatch):
    dock = encoded
    layer = dock.layers.outlines.layer()
    former = dock.session.encoded
    layer.data_setitem(np.nonzero(layer.data == 1), 0)
    _, last = columns_of(layer, 4)
    side = np.arange(layer.data.shape[1]) > last - 30
    layer.data_setitem(np.nonzero((layer.data == 4) & side), 0)
    use_edited(dock, until)
    assert dock.session.encoded is None
    models, seen = dock.session.models, []
    original = models.encode_batch

    def counting(crops, *args, **options):
        seen.append(len(crops))
        return original(crops, *args, **options)

    monkeypatch.setattr(models, "encode_batch", counting)
    button(dock.cells_panel, "Encode 4 cells").click()
    until(lambda: dock.session.encoded is not None)
    assert sum(seen) <= 1
    assert dock.session.encoded.cell_ids.tolist() == [2, 3, 4, 5]
    np.testing.assert_array_equal(
        dock.session.encoded.activations.max[[0]].toarray(),
        former.activations.max[[1]].toarray(),
    )


def test_nothing_edited_is_said(segmented, until):
    cells = segmented.session.cells
    button(segmented.cells_panel, "Use edited cells").click()
    until(lambda: "No cell differs" in segmented.strip.text)
    assert segmented.session.cells is cells


def test_cells_that_do_not_touch_are_not_one(segmented, until):
    layer, cells = segmented.layers.outlines.layer(), segmented.session.cells
    layer.data_setitem(np.nonzero(layer.data == 5), 4)
    button(segmented.cells_panel, "Use edited cells").click()
    until(lambda: "cells that do not touch are not one" in segmented.strip.text)
    assert segmented.session.cells is cells
    np.testing.assert_array_equal(layer.data, cells.labels)
    assert not segmented.layers.outlines.edited(cells)


def test_the_brush_begins_with_a_label_that_no_cell_has(segmented, until):
    layer = segmented.layers.outlines.layer()
    until(lambda: layer.selected_label == 6)
    layer.brush_size = 24
    layer.paint((90, 90), layer.selected_label)
    use_edited(segmented, until)
    assert segmented.session.cells.table.cell_id.tolist() == [1, 2, 3, 4, 5, 6]
    assert layer.data[90, 90] == 6
    assert layer.selected_label == 7
    # Who chose a label to go on with keeps it, whatever is only coloured anew.
    layer.selected_label = 3
    segmented.session.set_hide_flagged(True)
    until(lambda: not segmented.desk.busy)
    assert layer.selected_label == 3


def test_a_speck_painted_away_from_its_cell_is_left_out_and_said(segmented, until):
    layer, cells = segmented.layers.outlines.layer(), segmented.session.cells
    layer.data_setitem((np.array([330, 330, 331]), np.array([30, 31, 30])), 1)
    button(segmented.cells_panel, "Use edited cells").click()
    until(lambda: "1 speck of up to 1 um2 left out" in segmented.strip.text)
    assert segmented.session.cells is cells
    np.testing.assert_array_equal(layer.data, cells.labels)


@pytest.fixture
def slide(dock, viewer, smear, until, monkeypatch):
    """The dock with a lazy pyramid of two levels, as a plugin's reader gives it."""
    for module in ("pyramid", "types"):
        monkeypatch.setattr(f"napari_cytosae.core.{module}.LARGE_PIXELS", 50_000)
    monkeypatch.setattr("napari_cytosae.widgets._image_tasks.LARGE_PIXELS", 50_000)
    levels = [da.from_array(smear, chunks=(128, 128, 3)), da.from_array(smear[::2, ::2])]
    viewer.add_image(levels, name="slide", multiscale=True, rgb=True, scale=(0.1, 0.1))
    until(lambda: dock.session.image is not None)
    return dock


def test_a_slide_is_segmented_encoded_and_overlaid_lazily(slide, viewer, until):
    assert isinstance(slide.session.image, Pyramid)
    assert slide.session.image.pixel_size == PixelSize(0.1, "layer")
    slide.cells_panel.segment_clicked.emit()
    until(lambda: slide.layers.outlines.layer() is not None)
    layer = slide.layers.outlines.layer()
    assert layer.multiscale or isinstance(slide.session.cells.labels, LabelBlocks)
    assert len(slide.session.cells) == len(layer.features) == 5
    np.testing.assert_array_equal(layer.scale, (0.1, 0.1))
    slide.cells_panel.encode_clicked.emit()
    until(lambda: slide.session.encoded is not None)
    assert len(slide.session.encoded) == 5
    button(slide.cells_panel, "Use edited cells").click()
    until(lambda: "press 'Correct here'" in slide.strip.text)


def test_a_slide_opened_again_is_not_encoded_again(
    cached, slide, viewer, until, monkeypatch
):
    """Closed, it holds no tokens; its cells, corrected or not, and its verdicts stay."""
    session = slide.session
    slide.cells_panel.segment_clicked.emit()
    until(lambda: slide.layers.outlines.layer() is not None)
    slide.cells_panel.encode_clicked.emit()
    until(lambda: session.encoded is not None and session.encoded.complete)
    former = session.encoded.activations
    tokens, cells = ref(session.encoded.tokens), session.cells
    session.review.judge(3, [2], "accepted")
    layer = slide.layers.source
    levels = list(layer.data)
    viewer.layers.remove(layer)
    until(lambda: session.image is None)
    # The table's job may still be looking at them.
    until(lambda: gc.collect() >= 0 and tokens() is None)

    viewer.add_image(levels, name="slide", multiscale=True, rgb=True, scale=(0.1, 0.1))
    until(lambda: session.image is not None)
    assert session.cells is cells
    assert session.review.here() == [(3, 2, "accepted")]

    def encode_batch(crops, *args, **options):
        raise AssertionError("all of it is in the cache")

    monkeypatch.setattr(session.models, "encode_batch", encode_batch)
    slide.cells_panel.encode_clicked.emit()
    until(lambda: session.encoded is not None and session.encoded.complete)
    assert session.encoded.tokens.shape[0] == 5
    for name in ("n_patches", "max", "mean"):
        again = getattr(session.encoded.activations, name)
        assert (again != getattr(former, name)).nnz == 0


def test_a_labels_layer_of_a_slide_is_taken_as_it_is(slide, viewer, until):
    marks = np.zeros(slide.session.image.shape, np.int32)
    marks[40:90, 30:80], marks[100:140, 60:110] = 11, 4
    viewer.add_labels(marks, name="marks", scale=(0.1, 0.1))
    slide.session.set_settings(replace(slide.session.settings, shows="labels"))
    slide.cells_panel.segment_clicked.emit()
    until(lambda: slide.session.cells is not None)
    assert slide.session.cells.table.cell_id.tolist() == [4, 11]
    assert slide.session.cells.table.area_px.tolist() == [2000, 2500]
    assert isinstance(slide.session.cells.labels, LabelBlocks)


def test_shapes_and_colours_join_the_layers_features(segmented, until):
    layer = segmented.layers.outlines.layer()
    until(lambda: "roundness" in layer.features)
    features = layer.features.set_index("index")
    assert features.kind.tolist() == ["wbc"] * 5
    np.testing.assert_allclose(features.diameter_um, 12, rtol=0.05)
    assert (features.roundness > 0.9).all()
    assert features.lobes.tolist() == [1] * 5
    segmented.session.set_hide_flagged(True)
    until(lambda: "roundness" in segmented.layers.outlines.layer().features)
