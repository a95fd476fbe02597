"""Our layers on the canvas: where they lie, whose they are, what they leave alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from napari.layers import Image, Labels

from napari_cytosae.core.types import Cells, PixelSize
from napari_cytosae.session_values import Overlay
from napari_cytosae.widgets._colours import overlay_colormap
from napari_cytosae.widgets._layer_facts import layer_pixel_size, merge_features
from napari_cytosae.widgets._layers import CanvasLayers


@pytest.fixture
def source(viewer):
    return viewer.add_image(
        np.full((60, 80, 3), 200, np.uint8),
        name="smear",
        scale=(0.2, 0.1),
        translate=(5, 7),
        rotate=30,
        affine=[[1, 0.1, 3], [0, 1, 4], [0, 0, 1]],
    )


@pytest.fixture
def canvas(viewer, source):
    canvas = CanvasLayers(viewer)
    canvas.set_source(source)
    yield canvas
    canvas.close()


@pytest.fixture
def cells():
    labels = np.zeros((60, 80), np.int32)
    labels[10:20, 10:20] = 3
    labels[30:40, 40:60] = 8
    table = pd.DataFrame(
        {
            "image": "smear",
            "cell_id": [3, 8],
            "kind": ["wbc", "rbc"],
            "area_px": [100.0, 200.0],
            "qc": ["ok", "border"],
        }
    )
    return Cells(labels, np.zeros_like(labels), table, PixelSize())


def prepared(canvas, cells, hidden=()):
    """What the worker does."""
    results = []

    def drain(steps):
        results.append((yield from steps))

    list(drain(canvas.outlines.work(cells, hidden)()))
    return results[0]


def outline(canvas, cells, hidden=()):
    """What the worker and then the GUI thread do."""
    assert canvas.outlines.show(prepared(canvas, cells, hidden))


def same_place(layer, source):
    for point in ((0, 0), (59, 0), (13, 71)):
        np.testing.assert_allclose(layer.data_to_world(point), source.data_to_world(point))


def test_everything_lies_where_the_source_lies_and_follows_it(canvas, source, cells):
    outline(canvas, cells)
    canvas.overlays.show(0, "12", np.ones((60, 80), np.float32), 2.0, Overlay(12, "cyan"))
    canvas.show_selection([(0, 0, 10, 10)])
    ours = [layer for layer in canvas._viewer.layers if layer is not source]
    assert len(ours) == 3
    for layer in ours:
        same_place(layer, source)
    for moved, value in (
        ("translate", (50, 60)),
        ("scale", (0.4, 0.4)),
        ("rotate", 75),
        ("shear", [0.3]),
        ("affine", np.eye(3)),
        ("units", ("um", "um")),
    ):
        setattr(source, moved, value)
        for layer in ours:
            same_place(layer, source)
            assert layer.units == source.units


def test_the_hover_shows_the_row_of_the_label_under_the_cursor(canvas, cells):
    outline(canvas, cells)
    layer = canvas.outlines.layer()
    assert list(layer.features["index"]) == [3, 8]
    assert "area_px: 200.0" in layer.get_status((35, 50))["value"] or any(
        "200" in text for text in layer._get_properties((35, 50))
    )


def test_columns_of_other_plugins_are_kept_and_stay_with_their_cell(canvas, cells):
    outline(canvas, cells)
    layer = canvas.outlines.layer()
    layer.features = layer.features.assign(theirs=["x", "y"])
    fewer = Cells(
        np.where(cells.labels == 8, 8, 0).astype(np.int32),
        cells.nuclei,
        cells.table[cells.table.cell_id == 8].assign(area_px=7.0),
        cells.pixel_size,
    )
    outline(canvas, fewer)
    layer = canvas.outlines.layer()
    assert layer.features.to_dict("records")[0]["theirs"] == "y"
    assert layer.features.to_dict("records")[0]["area_px"] == 7.0


def test_merging_into_a_layer_without_an_index():
    present = pd.DataFrame({"foo": [1, 2]})
    merged = merge_features(present, pd.DataFrame({"cell_id": [4], "qc": ["ok"]}))
    assert merged.to_dict("records") == [{"index": 4, "qc": "ok"}]


def test_layers_of_others_and_the_active_one_are_left_alone(viewer, canvas, cells):
    foreign = viewer.add_labels(np.ones((60, 80), int), name="Cells")
    same_name = viewer.add_image(np.zeros((60, 80)), name="12")
    before = {layer: layer._get_state() for layer in (foreign, same_name)}
    viewer.layers.selection.active = foreign
    outline(canvas, cells)
    canvas.overlays.show(0, "12", np.ones((60, 80), np.float32), 2.0, Overlay(12, "cyan"))
    canvas.overlays.remove(0)
    assert viewer.layers.selection.active is foreign
    assert foreign in viewer.layers
    assert same_name in viewer.layers
    np.testing.assert_array_equal(foreign.data, before[foreign]["data"])
    assert canvas.outlines.layer() is not foreign
    assert [layer.name for layer in canvas.images()] == ["smear", "12"]


def test_a_renamed_layer_is_found_and_a_deleted_one_made_anew(viewer, canvas, cells):
    outline(canvas, cells)
    layer = canvas.outlines.layer()
    layer.name = "my favourites"
    outline(canvas, cells)
    assert canvas.outlines.layer() is layer
    viewer.layers.remove(layer)
    outline(canvas, cells)
    assert canvas.outlines.layer().name == "Cells"


def test_what_is_painted_while_other_cells_are_outlined_is_kept(viewer, canvas, cells):
    outline(canvas, cells)
    painted = canvas.outlines.layer()
    other = replace(cells, labels=np.roll(cells.labels, 5, 0))
    ready = prepared(canvas, other)
    painted.data_setitem((np.array([50]), np.array([70])), 99)
    assert not canvas.outlines.show(ready)
    outline(canvas, other)
    assert painted in viewer.layers
    assert painted.data[50, 70] == 99
    assert canvas.outlines.layer() is not painted
    np.testing.assert_array_equal(canvas.outlines.layer().data, other.labels)


def test_corrected_cells_stay_the_ones_that_are_outlined(canvas, cells):
    outline(canvas, cells)
    layer = canvas.outlines.layer()
    layer.data_setitem((np.array([50]), np.array([70])), 99)
    outline(canvas, cells, hidden=[3])
    assert canvas.outlines.layer() is layer
    assert layer.data[50, 70] == 99
    assert layer.colormap.map(3)[3] == 0


def test_a_deleted_overlay_is_announced_once_and_ours_not(viewer, canvas):
    deleted = []
    canvas.overlays.deleted.connect(deleted.append)
    for slot in (0, 1):
        canvas.overlays.show(
            slot, str(slot), np.ones((60, 80), np.float32), 1.0, Overlay(slot, "cyan")
        )
    canvas.overlays.remove(0)
    assert deleted == []
    viewer.layers.remove(canvas.overlays.layer(1))
    assert deleted == [1]


def test_restyling_in_napari_comes_back_and_ours_does_not_echo(canvas):
    heard = []
    canvas.overlays.restyled.connect(lambda *change: heard.append(change))
    overlay = Overlay(5, "lime")
    canvas.overlays.show(2, "5", np.ones((60, 80), np.float32), 1.0, overlay)
    canvas.overlays.style(2, Overlay(5, "lime", opacity=0.2))
    assert heard == []
    assert not canvas.overlays.layer(2).colorbar.visible
    canvas.overlays.style(2, Overlay(5, "lime", opacity=0.2, bar=True))
    assert canvas.overlays.layer(2).colorbar.visible
    canvas.overlays.layer(2).opacity = 0.9
    assert heard == [(2, True, 0.9)]


def test_a_large_slide_is_a_pyramid_and_the_layer_changes_kind(canvas):
    import dask.array as da

    levels = [da.zeros((4096, 4096), chunks=512), da.zeros((2048, 2048), chunks=512)]
    canvas.overlays.show(0, "1", levels, 1.0, Overlay(1, "cyan"))
    assert canvas.overlays.layer(0).multiscale
    canvas.overlays.show(0, "2", np.ones((60, 80), np.float32), 1.0, Overlay(2, "cyan"))
    assert not canvas.overlays.layer(0).multiscale
    assert canvas.overlays.shown_concept(0) == 2


def test_a_layer_that_waits_takes_the_next_concept(viewer, canvas, source):
    lit = np.zeros((60, 80), np.float32)
    lit[10, 20] = 2.0
    gone = []
    canvas.overlays.deleted.connect(gone.append)
    for colour in ("cyan", "lime"):
        canvas.overlays.expect(np.zeros((60, 80), np.float32), Overlay(-1, colour))
    (waiting,) = (layer for layer in viewer.layers if layer is not source)
    # Drawn ahead, so that the first frame with a concept takes no longer than the next.
    assert waiting.visible
    assert waiting.colormap.name == overlay_colormap("lime").name
    assert not waiting.data.any()
    canvas.overlays.rest()
    assert not waiting.visible
    assert canvas.images() == [source]
    assert canvas.tagged("overlay") == []
    viewer.add_image(np.ones((60, 80)), name="later")
    canvas.overlays.show(3, "12 granules", lit, 2.0, Overlay(12, "lime", opacity=0.4))
    assert canvas.overlays.layer(3) is waiting
    assert [layer.name for layer in viewer.layers] == ["smear", "later", "12 granules"]
    assert waiting.metadata["cytosae"] == {
        "role": "overlay",
        "slot": 3,
        "concept": 12,
        "source": source.unique_id,
    }
    anew = CanvasLayers(viewer)
    anew.set_source(source)
    anew.overlays.show(0, "12 granules", lit, 2.0, Overlay(12, "lime", opacity=0.4))
    for what in ("visible", "opacity", "contrast_limits", "interpolation2d", "blending"):
        assert getattr(waiting, what) == getattr(anew.overlays.layer(0), what)
    assert waiting.colormap.name == anew.overlays.layer(0).colormap.name
    assert waiting.get_value(source.data_to_world((10, 20)), world=True) == 2.0
    same_place(waiting, source)
    anew.close()
    heard = []
    canvas.overlays.restyled.connect(lambda *change: heard.append(change))
    waiting.visible = False
    assert heard == [(3, False, 0.4)]
    assert gone == []


@pytest.mark.parametrize("selected", [True, False])
def test_a_layer_that_waits_is_not_selected(viewer, canvas, source, selected):
    viewer.layers.selection = {source} if selected else set()
    canvas.overlays.expect(np.zeros((60, 80), np.float32), Overlay(-1, "cyan"))
    assert viewer.layers.selection == ({source} if selected else set())
    canvas.overlays.show(0, "12", np.ones((60, 80), np.float32), 2.0, Overlay(12, "cyan"))
    assert viewer.layers.selection == ({source} if selected else set())


def test_a_layer_that_waits_may_go_at_any_time(viewer, canvas, source):
    gone = []
    canvas.overlays.deleted.connect(gone.append)
    zeros = np.zeros((60, 80), np.float32)
    canvas.overlays.expect(zeros, Overlay(-1, "cyan"))
    canvas.overlays.dismiss()
    assert list(viewer.layers) == [source]
    canvas.overlays.expect(zeros, Overlay(-1, "cyan"))
    viewer.layers.remove(viewer.layers[-1])
    canvas.overlays.show(0, "12", np.ones((60, 80), np.float32), 2.0, Overlay(12, "cyan"))
    assert [layer.name for layer in viewer.layers] == ["smear", "12"]
    # One that waits for maps of another kind is of no use.
    canvas.overlays.expect([zeros, zeros[::2, ::2]], Overlay(-1, "cyan"))
    canvas.overlays.show(1, "13", np.ones((60, 80), np.float32), 2.0, Overlay(13, "lime"))
    assert not canvas.overlays.layer(1).multiscale
    canvas.overlays.expect(zeros, Overlay(-1, "cyan"))
    canvas.close()
    assert [layer.name for layer in viewer.layers] == ["smear", "12", "13"]
    assert gone == []


def test_alpha_follows_activation_and_is_zero_at_zero():
    alpha = overlay_colormap("cyan").map(np.array([0.0, 0.25, 1.0]))
    np.testing.assert_allclose(alpha[:, 3], (0, 0.25, 1), atol=1e-6)
    np.testing.assert_allclose(alpha[:, :3], [(0, 1, 1)] * 3, atol=1e-6)
    thresholded = overlay_colormap("cyan", 0.5).map(np.array([0.4, 0.6, 1.0]))
    np.testing.assert_allclose(thresholded[:, 3], (0, 0.6, 1), atol=1e-4)
    assert overlay_colormap("cyan", 1.0).map(np.array([0.9]))[0, 3] == 0


@pytest.mark.parametrize(
    ("scale", "units", "um"),
    [
        ((1, 1), None, None),
        ((0.25, 0.25), None, 0.25),
        ((250, 250), "nm", 0.25),
        ((0.25, 0.25), "um", 0.25),
        ((0.25, 0.5), "um", None),
        ((400, 400), None, None),
    ],
)
def test_pixel_size_of_a_layer(scale, units, um):
    pair = None if units is None else (units, units)
    layer = Image(np.zeros((9, 9)), scale=scale, units=pair)
    assert layer_pixel_size(layer) == (None if um is None else pytest.approx(um))


class Event:
    """A mouse event, as napari hands it to a callback."""

    button, modifiers = 1, ()

    def __init__(self, kind, pos, position, modifiers=()):
        self.type, self.pos, self.position = kind, pos, position
        self.modifiers = modifiers


def click(canvas, source, point, *, move=0, modifiers=()):
    world = source.data_to_world(point)
    press = Event("mouse_press", (100, 100), world, modifiers)
    gesture = canvas._pointer._on_drag(canvas._viewer, press)
    next(gesture, None)
    if move:
        press.type, press.pos = "mouse_move", (100 + move, 100)
        next(gesture, None)
    press.type = "mouse_release"
    next(gesture, None)


def test_a_click_is_in_pixels_of_the_source_and_a_drag_is_none(canvas, source, viewer):
    heard = []
    canvas.clicked.connect(lambda *place: heard.append(place))
    click(canvas, source, (12, 34))
    click(canvas, source, (12, 34), modifiers=("Shift",))
    click(canvas, source, (12, 34), move=30)
    assert [pytest.approx(place) for place in heard] == [(12, 34, False), (12, 34, True)]
    labels = viewer.add_labels(np.zeros((60, 80), int))
    labels.mode = "paint"
    viewer.layers.selection.active = labels
    click(canvas, source, (12, 34))
    assert len(heard) == 2


def test_a_cell_is_brought_into_view_as_large_as_it_can_be_looked_at(viewer):
    """A pixel may be a thousandth of what it was in the image before."""
    viewer.canvas.size = (480, 600)
    layer = viewer.add_image(np.zeros((300, 400, 3), np.uint8), scale=(0.1, 0.1))
    canvas, camera = CanvasLayers(viewer), viewer.scene.camera
    canvas.set_source(layer)
    for zoom, after in ((1.0, 32.0), (500.0, 32.0), (20.0, 20.0), (96.0, 96.0)):
        camera.zoom = zoom
        canvas.view.go_to(100.0, 200.0, 50.0)  # 5 um
        np.testing.assert_allclose(camera.center[-2:], (10.0, 20.0))
        assert camera.zoom == pytest.approx(after)
    camera.zoom = 500.0
    canvas.view.go_to(150.0, 200.0, 400.0, 0.9)
    assert camera.zoom == pytest.approx(0.9 * 480 / 40)
    canvas.close()


def test_closing_leaves_no_listener(viewer, source):
    inserted = len(viewer.layers.events.inserted.callbacks)
    listeners = {n: len(e.callbacks) for n, e in source.events.emitters.items()}
    canvas = CanvasLayers(viewer)
    canvas.set_source(source)
    canvas.close()
    assert len(viewer.layers.events.inserted.callbacks) == inserted
    assert {n: len(e.callbacks) for n, e in source.events.emitters.items()} == listeners
    assert not any("_on_drag" in str(c) for c in viewer.mouse_drag_callbacks)
    viewer.add_layer(Labels(np.zeros((4, 4), int)))
