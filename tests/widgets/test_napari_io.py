"""napari's own Save and Open: cells as GeoJSON, and back into step 2."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from napari_cytosae._napari_io import get_reader
from napari_cytosae.core.geojson import CELL_ID


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
    # Opened by its name, and taken as the cells of the image.
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


def test_other_geojson_is_left_to_other_readers(tmp_path):
    square = [[[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]]
    park = {"type": "Polygon", "coordinates": square}
    path = tmp_path / "parks.geojson"
    path.write_text(json.dumps({"type": "Feature", "properties": {}, "geometry": park}))
    assert get_reader(str(path)) is None
    path.write_text("{")
    assert get_reader(str(path)) is None
    assert get_reader([str(path)]) is None


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
