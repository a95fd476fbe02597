"""Cells of a slide corrected by hand: a part of them is laid over it and merged back."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from qtpy.QtWidgets import QLabel, QPushButton

from napari_cytosae.core.label_blocks import LabelBlocks
from napari_cytosae.core.types import LARGE_PIXELS
from napari_cytosae.synthetic import make_slide


@pytest.fixture
def viewer(make_napari_viewer):
    """Shown: what is in view is only known once it has been drawn."""
    return make_napari_viewer(show=True)


@pytest.fixture
def slide(dock, viewer, smear, until, monkeypatch):
    """The dock with a slide of five cells; at most 200 px are corrected at once."""
    for module in ("core.pyramid", "core.types", "widgets._image_tasks"):
        monkeypatch.setattr(f"napari_cytosae.{module}.LARGE_PIXELS", 50_000)
    monkeypatch.setattr("napari_cytosae.widgets._layers_view.SIDE_PX", 200)
    levels = [da.from_array(smear, chunks=(128, 128, 3)), smear[::2, ::2]]
    viewer.add_image(levels, name="slide", multiscale=True, rgb=True, scale=(0.1, 0.1))
    until(lambda: dock.session.image is not None)
    dock.cells_panel.segment_clicked.emit()
    until(lambda: dock.layers.outlines.layer() is not None and not dock.desk.busy)
    assert isinstance(dock.session.cells.labels, LabelBlocks)
    look_at(dock, viewer, (18, 40), 20)
    return dock


def look_at(dock, viewer, centre, zoom):
    viewer.scene.camera.center, viewer.scene.camera.zoom = centre, zoom


def button(dock, text):
    panel = dock.cells_panel
    return next(b for b in panel.findChildren(QPushButton) if b.text() == text)


def correct_here(dock, until, qtbot):
    qtbot.wait(600)  # the view has to be drawn
    button(dock, "Correct here").click()
    until(lambda: dock.layers.correction.layer() is not None and not dock.desk.busy)
    return dock.layers.correction.layer()


def use_edited(dock, until):
    before = dock.session.cells
    button(dock, "Use edited cells").click()
    until(lambda: dock.session.cells is not before)
    until(lambda: not dock.desk.busy)


def outlined(dock):
    """What the layer 'Cells' shows, at full resolution."""
    layer = dock.layers.outlines.layer()
    return np.asarray(layer.data[0] if layer.multiscale else layer.data)


def without(labels, box):
    rest = np.array(labels)
    rest[box[0] : box[2], box[1] : box[3]] = 0
    return rest


def test_the_dock_says_how(slide, until):
    said = [label.text() for label in slide.cells_panel.findChildren(QLabel)]
    assert any("zoom in, press Correct here" in text for text in said)
    button(slide, "Use edited cells").click()
    until(lambda: "press 'Correct here'" in slide.strip.text)


def test_the_part_in_view_is_painted_merged_and_undone(slide, viewer, until, qtbot):
    former = slide.session.cells
    layer = correct_here(slide, until, qtbot)
    box = slide.layers.correction.box()
    y0, x0, y1, x1 = box
    assert x0 > 0, "only a part is in view"
    assert viewer.layers.selection.active == layer
    assert layer.editable
    assert layer.selected_label == 6
    assert layer not in slide.layers.labels()
    np.testing.assert_array_equal(layer.data, former.labels[y0:y1, x0:x1])
    np.testing.assert_allclose(
        layer.data_to_world((3, 4)), slide.layers.source.data_to_world((y0 + 3, x0 + 4))
    )
    until(lambda: not (outlined(slide) != without(former.labels, box)).any())

    # With napari's own tools: a new cell, one deleted.
    layer.paint((100, x1 - x0 - 20), layer.selected_label)
    areas = former.table.set_index("cell_id").area_px
    whole = next(i for i in areas.index if (layer.data == i).sum() == areas[i])
    layer.fill(np.argwhere(layer.data == whole)[0], 0)
    use_edited(slide, until)
    cells = slide.session.cells
    assert sorted(cells.table.cell_id) == sorted({1, 2, 3, 4, 5, 6} - {int(whole)})
    assert slide.layers.correction.layer() is layer
    assert not slide.layers.correction.edited()
    np.testing.assert_array_equal(np.asarray(cells.labels)[y0:y1, x0:x1], layer.data)
    kept = cells.table[cells.table.cell_id < 6].set_index("cell_id")
    pd.testing.assert_frame_equal(kept, former.table.set_index("cell_id").loc[kept.index])
    until(lambda: 6 in set(layer.features["index"]))

    layer.undo()
    layer.undo()
    use_edited(slide, until)
    np.testing.assert_array_equal(slide.session.cells.labels, former.labels)
    assert slide.session.cells.table.cell_id.tolist() == [1, 2, 3, 4, 5]

    # One layer outlines the cells, whatever was opened and corrected.
    assert [each.name for each in slide.layers.labels()] == ["Cells"]
    assert [each.name for each in viewer.layers] == ["slide", "Cells", "Correction"]
    viewer.layers.remove(layer)
    until(lambda: not (outlined(slide) != np.asarray(former.labels)).any())
    assert [each.name for each in viewer.layers] == ["slide", "Cells"]


def test_the_part_made_a_stack_is_refused_in_a_sentence(slide, until, qtbot):
    layer, cells = correct_here(slide, until, qtbot), slide.session.cells
    layer.data = np.stack([layer.data] * 2)
    button(slide, "Use edited cells").click()
    assert slide.strip.text.startswith("The layer 'Correction' is a stack by now: delete")
    assert slide.session.cells is cells


def test_a_cell_that_the_views_edge_cuts_is_whole_in_the_layer(slide, viewer, until, qtbot):
    former = slide.session.cells
    table = former.table.set_index("cell_id")
    row = table.loc[table.centroid_x.idxmax()]
    look_at(slide, viewer, (row.centroid_y / 10, row.centroid_x / 10 - 10), 20)
    qtbot.wait(600)
    _, x0, _, x1 = slide.layers.view.box()
    assert x1 - x0 == 200
    assert row.bbox_x0 < x1 < row.bbox_x1, "the view's edge cuts the cell"
    layer = correct_here(slide, until, qtbot)
    assert slide.layers.correction.box()[3] >= row.bbox_x1
    assert np.count_nonzero(layer.data == row.name) == row.area_px
    layer.data_setitem(np.nonzero(layer.data == row.name), 0)
    use_edited(slide, until)
    assert row.name not in set(slide.session.cells.table.cell_id)
    layer.undo()
    use_edited(slide, until)
    np.testing.assert_array_equal(slide.session.cells.labels, former.labels)


def test_nothing_painted_is_lost(slide, viewer, until, qtbot):
    layer = correct_here(slide, until, qtbot)
    layer.data_setitem((np.array([3]), np.array([3])), 6)
    button(slide, "Correct here").click()
    until(lambda: "would be lost" in slide.strip.text)
    assert slide.layers.correction.layer() is layer
    # Other cells come: what was painted in is left to the analyst, else it goes.
    slide.cells_panel.segment_clicked.emit()
    assert "Edits in the layer 'Correction' are not taken over yet" in slide.strip.text
    assert slide.layers.correction.layer() is layer
    slide.cells_panel.segment_clicked.emit()
    until(lambda: slide.layers.correction.layer() is None and not slide.desk.busy)
    assert layer in viewer.layers
    assert layer in slide.layers.labels()
    until(lambda: not (outlined(slide) != np.asarray(slide.session.cells.labels)).any())
    other = correct_here(slide, until, qtbot)
    slide.cells_panel.segment_clicked.emit()
    until(lambda: other not in viewer.layers)


def test_a_real_slide_is_corrected_and_only_that_is_encoded_again(
    dock, viewer, until, qtbot, monkeypatch
):
    """4,200 px, segmented tile by tile; nothing is set to make it a slide."""
    monkeypatch.setenv("CYTOSAE_CACHE_MB", "100")
    wbc = {"neutrophil": 10, "lymphocyte": 8}
    drawn = make_slide((4200, 4200), 0.2, 5, wbc=wbc, n_rbc=150, n_platelets=0).render()
    assert np.prod(drawn.rgb.shape[:2]) > LARGE_PIXELS
    levels = [da.from_array(drawn.rgb, chunks=(1024, 1024, 3)), drawn.rgb[::4, ::4]]
    viewer.add_image(levels, name="slide", multiscale=True, rgb=True, scale=(0.2, 0.2))
    until(lambda: dock.session.image is not None, timeout=120_000)
    dock.cells_panel.segment_clicked.emit()
    until(lambda: dock.layers.outlines.layer() is not None, timeout=300_000)
    until(lambda: not dock.desk.busy)
    former = dock.session.cells
    assert len(former) == 18
    dock.cells_panel.encode_clicked.emit()
    until(lambda: dock.session.encoded is not None, timeout=120_000)
    encoded = dock.session.encoded

    row = former.table.iloc[(former.table.centroid_x - 2100).abs().argmin()]
    look_at(dock, viewer, (row.centroid_y / 5, row.centroid_x / 5), 12)
    layer = correct_here(dock, until, qtbot)
    y0, x0, y1, x1 = dock.layers.correction.box()
    assert max(y1 - y0, x1 - x0) <= 1500 + 200
    ys, xs = np.nonzero(layer.data == row.cell_id)
    right = xs > xs.min() + (xs.max() - xs.min()) * 2 // 3
    layer.data_setitem((ys[right], xs[right]), 0)
    use_edited(dock, until)
    assert dock.session.cells.table.cell_id.tolist() == former.table.cell_id.tolist()
    until(lambda: dock.session.encoded is None)

    models, seen = dock.session.models, []
    original = models.encode_batch

    def counting(crops, *args, **options):
        seen.append(len(crops))
        return original(crops, *args, **options)

    monkeypatch.setattr(models, "encode_batch", counting)
    button(dock, "Encode 18 cells").click()
    until(lambda: dock.session.encoded is not None, timeout=120_000)
    assert sum(seen) == 1
    others = dock.session.encoded.cell_ids != row.cell_id
    np.testing.assert_array_equal(
        dock.session.encoded.activations.max[others].toarray(),
        encoded.activations.max[others].toarray(),
    )
