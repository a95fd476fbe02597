"""A slide, left in its file, comes back with its session: cells, concepts, overlays."""

from __future__ import annotations

import gc
import json

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import tifffile

from napari_cytosae.core.label_blocks import LabelBlocks
from napari_cytosae.core.pyramid import Pyramid, keep_open
from napari_cytosae.session_values import ModelChoice


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch):
    for module in ("core.pyramid", "core.types", "widgets._image_tasks"):
        monkeypatch.setattr(f"napari_cytosae.{module}.LARGE_PIXELS", 50_000)


@pytest.fixture
def slide_file(smear, tmp_path):
    """A pyramid of 0.1 um a pixel, of three levels."""
    path = tmp_path / "slides" / "slide.ome.tif"
    path.parent.mkdir()
    options = {"tile": (64, 64), "compression": "zlib", "photometric": "rgb"}
    about = {"axes": "YXS", "PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "µm"}
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(smear, subifds=2, metadata=about, **options)
        for step in (2, 4):
            tif.write(smear[::step, ::step], subfiletype=1, **options)
    return path


@pytest.fixture
def encoded_slide(dock, viewer, slide_file, until):
    """Opened as the analyst does, all five cells encoded, a concept laid over them."""
    viewer.open(slide_file, plugin="napari")
    until(lambda: dock.session.image is not None)
    assert isinstance(dock.session.image, Pyramid)
    dock.concepts_panel.model.set_keep("all")
    dock.cells_panel.segment_clicked.emit()
    until(lambda: dock.layers.outlines.layer() is not None and not dock.desk.busy)
    dock.cells_panel.encode_clicked.emit()
    until(lambda: dock.concepts_panel.model.rowCount() > 0 and not dock.desk.busy)
    return dock


def save(dock, folder, until):
    dock.concepts_panel.tools.chosen.emit("save", str(folder))
    until(lambda: folder.name in dock.strip.text and not dock.desk.busy)
    return dock.strip.text


def forget(dock, viewer, until):
    viewer.layers.clear()
    until(lambda: dock.session.image is None)
    dock.session.choose(ModelChoice())
    dock.session._images._elsewhere.clear()


def reopen(dock, folder):
    dock.concepts_panel.tools.chosen.emit("open", str(folder))


def test_a_slide_comes_back_from_its_file(
    encoded_slide, viewer, slide_file, smear, until, tmp_path
):
    dock, session = encoded_slide, encoded_slide.session
    concept = dock.concepts_panel.model.concept_at(0)
    session.overlays.show(concept, 1)
    session.focus.select_cells((3,), (2, 4))
    cells, encoded, crops = session.cells, session.encoded, session.crops
    identity = session.image.sha256, session.image.name, session.image.pixel_size
    assert len(cells) == 5
    assert "Saved 1 image in" in save(dock, tmp_path / "s", until)
    assert {path.name for path in (tmp_path / "s" / "1").iterdir()} == {
        *("slide.json", "cells.tif", "nuclei.tif", "cells.csv", "encoded.npz")
    }

    forget(dock, viewer, until)
    reopen(dock, tmp_path / "s")
    until(lambda: session.encoded is not None and not dock.desk.busy, 60_000)
    assert isinstance(session.image, Pyramid)
    assert (session.image.sha256, session.image.name, session.image.pixel_size) == identity
    assert isinstance(session.cells.labels, LabelBlocks)
    for part in ("labels", "nuclei"):
        then, now = (np.asarray(getattr(each, part)) for each in (cells, session.cells))
        np.testing.assert_array_equal(now, then)
        assert len(np.unique(now)) == 6
    pd.testing.assert_frame_equal(session.cells.table, cells.table, check_dtype=False)
    np.testing.assert_array_equal(session.encoded.tokens, encoded.tokens)
    assert session.focus.selection.cell_ids == (3,)
    for now, then in zip(session.crops, crops, strict=True):
        np.testing.assert_array_equal(now, then)

    # It is shown lazily at all its resolutions, where it lay, and read by all later steps.
    source = dock.layers.source
    assert source.multiscale
    assert [level.shape for level in source.data] == [
        *((360, 480, 3), (180, 240, 3), (90, 120, 3))
    ]
    np.testing.assert_allclose(source.scale, (0.1, 0.1))
    np.testing.assert_array_equal(np.asarray(source.data[0]), smear)
    until(lambda: dock.layers.overlays.layer(1) is not None)
    dock.cells_panel.segment_clicked.emit()
    until(lambda: session.cells is not cells and not dock.desk.busy)
    pd.testing.assert_frame_equal(session.cells.table, cells.table, check_dtype=False)
    # Saved once more, from the layer that the session opened.
    assert "Saved 1 image in" in save(dock, tmp_path / "again", until)


def test_a_slide_that_moved_with_its_session_is_found(
    encoded_slide, viewer, slide_file, until, tmp_path
):
    dock, session = encoded_slide, encoded_slide.session
    save(dock, tmp_path / "s", until)
    forget(dock, viewer, until)
    former = slide_file.rename(tmp_path / "elsewhere.tif")
    reopen(dock, tmp_path / "s")
    until(lambda: "is not there any more: put it back" in dock.strip.text)
    assert session.image is None
    # Another slide of that name is not taken for it.
    tifffile.imwrite(slide_file, np.full((400, 400, 3), 200, np.uint8), tile=(64, 64))
    reopen(dock, tmp_path / "s")
    until(lambda: "is another slide than the one that was saved" in dock.strip.text)
    # The right one beside the session is, whatever lies where it was.
    former.rename(tmp_path / slide_file.name)
    reopen(dock, tmp_path / "s")
    until(lambda: session.encoded is not None and not dock.desk.busy, 60_000)
    assert session.image.path == tmp_path / slide_file.name


def test_a_slide_of_another_system_is_found_beside_its_session(
    encoded_slide, viewer, slide_file, until, tmp_path
):
    dock, session = encoded_slide, encoded_slide.session
    save(dock, tmp_path / "s", until)
    forget(dock, viewer, until)
    elsewhere = {"path": f"D:\\Slides\\{slide_file.name}"}
    (tmp_path / "s" / "1" / "slide.json").write_text(json.dumps(elsewhere))
    reopen(dock, tmp_path / "s")
    until(lambda: "is not there any more: put it back" in dock.strip.text)
    slide_file.rename(tmp_path / "s" / slide_file.name)
    reopen(dock, tmp_path / "s")
    until(lambda: session.encoded is not None and not dock.desk.busy, 60_000)
    assert session.image.path == tmp_path / "s" / slide_file.name


def test_the_image_in_front_is_seen_where_others_are_open_already(
    encoded_slide, viewer, slide_file, smear, until, tmp_path
):
    dock, session = encoded_slide, encoded_slide.session
    front = session.image.sha256
    field = viewer.add_image(smear[:200, :200], name="field", scale=(0.1, 0.1))
    until(lambda: session.image is not None and session.image.name == "field")
    dock.image.look_at_image(front)
    until(lambda: session.image is not None and session.image.sha256 == front)
    viewer.layers.move(viewer.layers.index(field), 0)
    field.visible = True
    save(dock, tmp_path / "s", until)
    viewer.layers.move(viewer.layers.index(field), len(viewer.layers))
    reopen(dock, tmp_path / "s")
    until(lambda: "Opened s" in dock.strip.text and not dock.desk.busy, 60_000)
    until(lambda: session.image is not None and session.encoded is not None)
    assert session.image.sha256 == front
    assert dock.layers.source.visible
    assert not field.visible


def test_crops_keep_their_slide_open(slide_file, smear):
    level = keep_open(slide_file).levels[0]
    gc.collect()
    np.testing.assert_array_equal(level[10:20, 30:40], smear[10:20, 30:40])


def test_a_slide_behind_another_image_is_there_when_it_is_looked_at(
    encoded_slide, viewer, smear, until, tmp_path
):
    dock, session = encoded_slide, encoded_slide.session
    slide, sha256 = session.image.name, session.image.sha256
    viewer.add_image(smear[:200, :200], name="field", scale=(0.1, 0.1))
    until(lambda: session.image is not None and session.image.name == "field")
    dock.cells_panel.segment_clicked.emit()
    until(lambda: session.cells is not None and not dock.desk.busy)
    assert "Saved 2 images in" in save(dock, tmp_path / "s", until)
    forget(dock, viewer, until)
    reopen(dock, tmp_path / "s")
    until(lambda: session.cells is not None and not dock.desk.busy, 60_000)
    assert session.image.name == "field"
    # Its cells count in all images, with their pictures, before it is looked at.
    _, crops, encoded = session.encoded_images()[sha256]
    assert [crop.shape for crop in crops] == [(250, 250, 3)] * 5
    assert len(encoded) == 5
    names = [layer.name for layer in dock.layers.images()]
    dock.cells_panel.image_chosen.emit(names.index("slide.ome"))
    until(lambda: session.image is not None and session.image.name == slide)
    assert len(session.encoded) == 5


def test_a_slide_without_a_file_is_said(dock, viewer, smear, until, tmp_path):
    levels = [da.from_array(smear, chunks=(128, 128, 3)), smear[::2, ::2]]
    viewer.add_image(levels, name="piped", multiscale=True, rgb=True, scale=(0.1, 0.1))
    until(lambda: dock.session.image is not None)
    dock.cells_panel.segment_clicked.emit()
    until(lambda: dock.session.cells is not None and not dock.desk.busy)
    dock.concepts_panel.tools.chosen.emit("save", str(tmp_path / "s"))
    until(lambda: "piped is too large" in dock.strip.text)
    assert "without a file of its own" in dock.strip.text
    assert not (tmp_path / "s").exists()
