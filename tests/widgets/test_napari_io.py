"""napari's own Save and Open: cells as GeoJSON, and back into step 2."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from napari.errors import ReaderPluginError

from napari_cytosae._napari_io import get_reader, read_cells, write_cells
from napari_cytosae.core.geojson import CELL_ID
from napari_cytosae.core.types import ImageError


def test_cells_are_saved_by_napari_and_come_back(segmented, viewer, until, tmp_path):
    session, layer = segmented.session, segmented.layers.outlines.layer()
    cells, path = session.cells, tmp_path / "Cells.geojson"
    viewer.layers.selection = {layer}
    assert viewer.layers.save(str(path), selected=True) == [str(path)]
    features = json.loads(path.read_text(encoding="utf-8"))["features"]
    table = cells.table.set_index("cell_id")
    assert len(features) == len(table) == 5
    for feature in features:
        said = feature["properties"]
        row = table.loc[int(said["measurements"][CELL_ID])]
        assert said["classification"]["name"] == row["kind"] == "wbc"
        assert said["measurements"]["area_px"] == row["area_px"]
        assert abs(said["measurements"]["solidity"] - row["solidity"]) < 1e-9
    # Opened by its name, and taken as the cells of the image, with the classes they got.
    for feature, name in zip(features, ("platelet", "Blast"), strict=False):
        feature["properties"]["classification"] = {"name": name}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    (back,) = viewer.open(path, plugin="napari-cytosae")
    assert back.name == "Cells [1]"  # beside the one it was saved from
    assert back.data.shape < session.image.shape  # the last outline ends before the image
    labels = segmented.layers.labels()
    panel = segmented.cells_panel
    panel.labels_chosen.emit([la is back or la == back for la in labels].index(True))
    panel.settings_changed.emit(type(session.settings)(shows="labels"))
    panel.segment_clicked.emit()
    until(lambda: session.cells is not cells and not segmented.desk.busy)
    np.testing.assert_array_equal(session.cells.labels, cells.labels)
    assert session.cells.table["kind"].tolist() == ["platelet", "wbc", "wbc", "wbc", "wbc"]
    assert "Classes that are no kind of cell: 'Blast' (1)" in segmented.strip.text


def test_other_geojson_is_left_to_other_readers(tmp_path):
    square = [[[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]]
    park = {"type": "Polygon", "coordinates": square}
    path = tmp_path / "parks.geojson"
    path.write_text(json.dumps({"type": "Feature", "properties": {}, "geometry": park}))
    assert get_reader(str(path)) is None
    assert get_reader([str(path)]) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "cannot be read as GeoJSON outlines of cells"),
        ("", "cannot be read as GeoJSON outlines of cells"),
        ('{"type": "FeatureCollection", "features": []}', "holds no polygons"),
    ],
)
def test_a_file_that_nobody_can_read_is_told_why(viewer, tmp_path, text, why):
    path = tmp_path / "cells.geojson"
    path.write_text(text)
    with pytest.raises(ReaderPluginError, match=f"cells.geojson {why}"):
        viewer.open(path, plugin=None)  # as File > Open
    assert not viewer.layers


def test_what_was_repainted_keeps_its_kind_and_loses_its_numbers(
    segmented, viewer, tmp_path
):
    layer = segmented.layers.outlines.layer()
    data = layer.data.copy()
    data[data == 2] = 0
    data[:9, :9] = 77
    rows = np.argwhere(data == 3)
    data[tuple(rows[0])] = 0
    features = pd.DataFrame(layer.features)
    painted = viewer.add_labels(data, name="painted", features=features)
    viewer.layers.selection = {painted}
    path = tmp_path / "painted.geojson"
    viewer.layers.save(str(path), selected=True)
    said = {
        int(f["properties"]["measurements"][CELL_ID]): f["properties"]
        for f in json.loads(path.read_text(encoding="utf-8"))["features"]
    }
    assert set(said) == {1, 3, 4, 5, 77}
    assert "classification" not in said[77]
    assert said[77]["measurements"] == {CELL_ID: 77, "area_px": 81}
    assert said[3]["classification"]["name"] == "wbc"
    assert said[3]["measurements"] == {CELL_ID: 3, "area_px": len(rows) - 1}
    assert "solidity" in said[4]["measurements"]


def outline(x, y, side=10):
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
    return {
        "type": "Feature",
        "properties": {"objectType": "detection"},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_stack_is_refused(make_napari_viewer, tmp_path, count):
    viewer = make_napari_viewer()
    stack = np.zeros((count, 12, 15), np.uint8)
    stack[:, 3:6, 3:6] = 4
    layer = viewer.add_labels(stack, name="stack")
    with pytest.raises(ImageError, match="stack is a stack: save one plane"):
        layer.save(str(tmp_path / "x.geojson"), plugin="napari-cytosae")
    assert list(tmp_path.iterdir()) == []
    # A pyramid is one plane.
    levels = [stack[0], stack[0, ::2, ::2]]
    layer = viewer.add_labels(levels, multiscale=True, name="levels")
    layer.save(str(tmp_path / "x.geojson"), plugin="napari-cytosae")
    ((labels, *_),) = read_cells(str(tmp_path / "x.geojson"))
    np.testing.assert_array_equal(labels, stack[0, :6, :6])


def test_features_of_other_plugins_are_no_trouble(tmp_path):
    labels = np.zeros((12, 15), np.int32)
    labels[3:6, 3:6], labels[8:10, 8:10] = 4, 7
    path = tmp_path / "x.geojson"
    features = pd.DataFrame(
        {
            "index": ["4", "seven"],
            "kind": ["tumour", 3],
            "qc": [None, "?"],
            "focus": ["sharp", "?"],
            "solidity": ["0.5", "?"],
            "area_px": [9, 4],
        }
    )
    write_cells(str(path), labels, {"name": "others", "features": features})
    four, seven = (
        f["properties"] for f in json.loads(path.read_text(encoding="utf-8"))["features"]
    )
    assert four["classification"] == {"name": "tumour"}
    assert four["name"] == "cell 4"
    assert four["measurements"] == {CELL_ID: 4, "area_px": 9, "solidity": 0.5}
    assert "classification" not in seven
    write_cells(str(path), labels > 0, {"name": "mask"})
    ((back, *_),) = read_cells(str(path))
    np.testing.assert_array_equal(back, labels[:10, :10] > 0)


def test_outlines_of_a_slide_are_drawn_where_they_are_looked_at(
    make_napari_viewer, tmp_path
):
    path = tmp_path / "slide.geojson"
    path.write_text(json.dumps([outline(59_000, 60_000), outline(3, 5)]), "utf-8-sig")
    assert get_reader(str(path)) is read_cells
    viewer = make_napari_viewer()
    (layer,) = viewer.open(path, plugin="napari-cytosae")
    assert layer.multiscale
    assert layer.data[0].shape == (60_010, 59_010)
    assert max(layer.data[-1].shape) <= 1024
    corner = np.asarray(layer.data[0][-20:, -20:])
    assert corner.sum() == 100
    assert (corner[10:, 10:] == 1).all()
    assert np.asarray(layer.data[0][:20, :20])[5:15, 3:13].min() == 2


@pytest.mark.parametrize(
    ("place", "said"),
    [((-50, -20), "no outline on an image"), ((1e300, 5), "px from the image's corner")],
)
def test_outlines_beside_any_image_are_refused(tmp_path, place, said):
    path = tmp_path / "x.geojson"
    path.write_text(json.dumps([outline(*place)]))
    assert get_reader(str(path)) is read_cells
    with pytest.raises(ImageError, match=said):
        read_cells(str(path))
