"""The live preview: the cells of what the canvas shows, where they lie, and no more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_cytosae.core.pyramid import Pyramid
from napari_cytosae.core.segmentation import segment
from napari_cytosae.core.types import Image, PixelSize
from napari_cytosae.widgets import _tasks
from napari_cytosae.widgets._colours import PREVIEW_OUTLINE
from napari_cytosae.widgets._layers_view import SIDE_PX

KINDS = ("wbc", "rbc")


@pytest.fixture
def viewer(make_napari_viewer):
    """Shown: what is in view is only known once it has been drawn."""
    return make_napari_viewer(show=True)


@pytest.fixture
def calls(monkeypatch):
    """The boxes that were segmented."""
    boxes = []
    real = _tasks.preview_cells

    def counted(image, box, *rest):
        boxes.append(box)
        return real(image, box, *rest)

    monkeypatch.setattr(_tasks, "preview_cells", counted)
    return boxes


@pytest.fixture
def turned(dock, viewer, smear, until):
    """The smear, scaled, moved and turned by 30 degrees, and looked at closely."""
    layer = viewer.add_image(
        smear, name="smear.png", scale=(0.1, 0.1), translate=(5, 7), rotate=30, units="um"
    )
    until(lambda: dock.session.image is not None)
    dock.session.set_settings(replace(dock.session.settings, kinds=KINDS))
    viewer.scene.camera.center = tuple(layer.data_to_world((130, 200)))
    viewer.scene.camera.zoom = 25
    return dock


def text(dock):
    return dock.cells_panel._preview_text.text()


def press(dock):
    dock.cells_panel._preview.click()


def shown(dock):
    return dock.layers.preview.layer()


def same_as_segment_finds_there(dock, box):
    y0, x0, y1, x1 = box
    wanted, layer = segment(dock.session.image, kinds=KINDS), shown(dock)
    np.testing.assert_array_equal(layer.data > 0, wanted.labels[y0:y1, x0:x1] > 0)
    there = np.unique(wanted.labels[y0:y1, x0:x1])
    for cell_id in there[there > 0]:
        inside = wanted.labels[y0:y1, x0:x1] == cell_id
        own = layer.data == layer.data[inside][0]
        np.testing.assert_array_equal(inside, own)
    for y, x in ((0, 0), (11, 3), (y1 - y0 - 1, x1 - x0 - 1)):
        np.testing.assert_allclose(
            layer.data_to_world((y, x)),
            dock.layers.source.data_to_world((y + y0, x + x0)),
            atol=1e-9,
        )
    return wanted.table.set_index("cell_id").kind[there[there > 0]].value_counts()


def test_the_cells_in_view_are_those_that_segment_finds_there_and_lie_on_it(
    turned, smear, calls, until
):
    press(turned)
    until(lambda: shown(turned) is not None)
    counts = same_as_segment_finds_there(turned, calls[-1])
    assert calls[-1] != (0, 0, *smear.shape[:2]), "only a part is in view"
    assert counts["wbc"] >= 1
    assert text(turned).startswith(
        f"Preview: {counts['wbc']} WBC, {counts['rbc']} RBC in view"
    )
    assert np.allclose(
        shown(turned).colormap.map(counts["wbc"]),
        [int(PREVIEW_OUTLINE[i : i + 2], 16) / 255 for i in (1, 3, 5)] + [1],
    )
    assert shown(turned) not in turned.layers.labels()
    assert turned.session.cells is None, "nothing is kept"


def test_it_follows_camera_settings_and_source(turned, viewer, smear, calls, until):
    press(turned)
    until(lambda: shown(turned) is not None)
    layer, first = shown(turned), calls[-1]
    for x in (210, 250, 310):  # moves one after the other are one
        viewer.scene.camera.center = tuple(turned.layers.source.data_to_world((150, x)))
    until(lambda: role(layer)["offset"] != first[:2])
    assert len(calls) == 2
    assert shown(turned) is layer
    same_as_segment_finds_there(turned, calls[-1])
    turned.layers.source.rotate = 75
    until(lambda: len(calls) >= 2)
    y, x = role(layer)["offset"]
    np.testing.assert_allclose(
        layer.data_to_world((4, 9)), turned.layers.source.data_to_world((y + 4, x + 9))
    )
    turned.cells_panel._kinds["rbc"].click()
    until(lambda: "RBC" not in text(turned))
    assert "WBC in view" in text(turned)


def role(layer):
    return layer.metadata["cytosae"]


def test_flagged_cells_are_hidden_where_they_are_to_be(turned, until):
    press(turned)
    until(lambda: "flagged" in text(turned))
    assert shown(turned).colormap.color_dict.keys() == {None, 0}
    turned.session.set_hide_flagged(True)
    until(lambda: "hidden" in text(turned))
    flagged = int(text(turned).split("; ")[1].split(" ")[0])
    assert len(shown(turned).colormap.color_dict) == 2 + flagged


def test_nothing_is_done_while_it_is_off(turned, viewer, calls, until, qtbot):
    def stir():
        viewer.scene.camera.zoom *= 1.1
        turned.cells_panel._kinds["platelet"].click()
        turned.cells_panel.pixel_size_edited.emit(0.11)
        turned.cells_panel.pixel_size_edited.emit(0.1)
        qtbot.wait(600)

    before = len(viewer.scene.camera.events.zoom.callbacks)
    stir()
    assert not calls
    press(turned)
    until(lambda: shown(turned) is not None)
    press(turned)
    assert shown(turned) is None
    assert text(turned) == ""
    done = len(calls)
    stir()
    assert len(calls) == done
    assert len(viewer.scene.camera.events.zoom.callbacks) == before


@pytest.mark.parametrize("end", ["segment", "delete", "one cell"])
def test_it_ends_with_a_real_run_and_with_its_layer(turned, viewer, end, until):
    press(turned)
    until(lambda: shown(turned) is not None)
    if end == "segment":
        turned.cells_panel._segment.click()
    elif end == "delete":
        viewer.layers.remove(shown(turned))
    else:
        turned.cells_panel._ways["single_cell"].click()
    assert shown(turned) is None
    assert not turned.cells_panel._preview.isChecked()
    if end == "segment":
        until(lambda: turned.layers.outlines.layer() is not None)
        assert shown(turned) is None


def test_of_a_large_view_the_middle(dock, viewer, smear, calls, until):
    """Of a slide in a pyramid, which is drawn at a coarser level, the finest is read."""
    tiled = np.tile(smear, (12, 9, 1))
    levels = [tiled, tiled[::4, ::4]]
    viewer.add_image(levels, name="slide", multiscale=True, scale=(0.1, 0.1))
    until(lambda: dock.session.image is not None)
    slide = dock.session.image
    assert isinstance(slide, Pyramid)
    dock.session.set_image(replace(slide, pixel_size=PixelSize(0.1, "user")))
    press(dock)
    until(lambda: shown(dock) is not None, timeout=60_000)
    y0, x0, y1, x1 = calls[-1]
    assert (y1 - y0, x1 - x0) == (SIDE_PX, SIDE_PX)
    centre = dock.layers.source.world_to_data(viewer.scene.camera.center[-2:])
    np.testing.assert_allclose([(y0 + y1) / 2, (x0 + x1) / 2], centre, atol=1)
    # With 30 um around, as a tile of the slide is searched.
    top, left = (y0 - 300) // 60 * 60, (x0 - 300) // 60 * 60
    tile = Image(tiled[top : y1 + 300, left : x1 + 300], "a", PixelSize(0.1, "user"), "")
    same = segment(tile).labels[y0 - top : y1 - top, x0 - left : x1 - left]
    np.testing.assert_array_equal(shown(dock).data, same)


def test_where_nothing_of_the_image_is_in_view_it_says_so(turned, viewer, until):
    press(turned)
    until(lambda: shown(turned) is not None)
    viewer.scene.camera.center = (-9e3, -9e3)
    until(lambda: "nothing of the image" in text(turned))
    assert shown(turned) is None


def test_a_wrong_pixel_size_is_said_in_the_panel(dock, viewer, smear, until):
    viewer.add_image(np.tile(smear, (2, 2, 1)), name="smear")
    until(lambda: dock.session.image is not None)
    press(dock)
    until(lambda: shown(dock) is not None)
    dock.cells_panel.pixel_size_edited.emit(2.0)
    until(lambda: "correct the pixel size" in text(dock))
    assert shown(dock) is None
