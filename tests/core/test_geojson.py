"""Outlines go to QuPath and come back as the same pixels."""

from __future__ import annotations

import json
from dataclasses import replace
from uuid import UUID

import numpy as np
import pytest

import napari_cytosae as cyto
from napari_cytosae.core.detection import find_cells
from napari_cytosae.core.geojson import (
    CELL_ID,
    DrawnOutlines,
    draw_outlines,
    read_geojson,
    write_geojson,
)
from napari_cytosae.core.pipeline import run
from napari_cytosae.core.pyramid import Level, Pyramid
from napari_cytosae.core.segmentation import measure
from napari_cytosae.core.types import Image, ImageError, PixelSize


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    labels = np.zeros((60, 90), np.int32)
    y, x = np.mgrid[:60, :90]
    labels[np.hypot(y - 20, x - 22) < 14] = 3
    labels[np.hypot(y - 20, x - 22) < 4] = 0  # a hole
    labels[40:50, 50:70] = 8
    labels[50:55, 70:75] = 8  # only a corner touches
    labels[0:12, 80:90] = 5  # at the image's corner
    labels[30, 40] = 9  # one pixel
    return labels


@pytest.fixture(scope="module")
def cells(labels):
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 255, (*labels.shape, 3)).astype(np.uint8)
    return measure(Image(rgb, "a.png", PixelSize(0.2, "user"), "ab" * 32), labels)


def test_the_same_pixels_come_back(cells, tmp_path):
    write_geojson(tmp_path / "cells.geojson", cells, "ab" * 32)
    outlines = read_geojson(tmp_path / "cells.geojson")
    np.testing.assert_array_equal(draw_outlines(outlines, cells.labels.shape), cells.labels)
    assert {o.kind for o in outlines} == set(cells.table["kind"])


def test_real_outlines_come_back(data_dir, tmp_path):
    image = cyto.read_image(sorted((data_dir / "bccd").rglob("*.jpg"))[0])
    cells = cyto.segment(image, kinds=("wbc", "rbc"))
    assert len(cells) > 5
    write_geojson(tmp_path / "cells.geojson", cells, image.sha256)
    back = draw_outlines(read_geojson(tmp_path / "cells.geojson"), cells.labels.shape)
    np.testing.assert_array_equal(back, cells.labels)


def test_what_qupath_needs_is_there(cells, tmp_path):
    path = tmp_path / "cells.geojson"
    more = {"12 granules": [np.nan, *range(1, len(cells))]}
    write_geojson(path, cells, "ab" * 32, more)
    content = json.loads(path.read_text())
    assert content["type"] == "FeatureCollection"
    ids = [UUID(feature["id"]) for feature in content["features"]]
    assert len(set(ids)) == len(cells) == 4
    first, second = content["features"][:2]
    table = cells.table
    assert first["properties"]["objectType"] == "detection"
    assert first["properties"]["classification"]["name"] == table["kind"].iloc[0]
    measured = first["properties"]["measurements"]
    assert measured[CELL_ID] == 3
    assert measured["area_um2"] == pytest.approx(table["area_um2"].iloc[0])
    assert "12 granules" not in measured
    assert second["properties"]["measurements"]["12 granules"] == 1
    # Pixels are counted from the corner: the cell in it starts at (80, 0), ends at 90, 12.
    ring = np.array(second["geometry"]["coordinates"][0])
    assert ring.min(axis=0) == pytest.approx([80, 0], abs=0.5)
    assert ring.max(axis=0) == pytest.approx([90, 12], abs=0.5)
    np.testing.assert_array_equal(ring[0], ring[-1])
    # The same cell, the same id; another image's cell another one.
    write_geojson(path, cells, "ab" * 32)
    assert json.loads(path.read_text())["features"][0]["id"] == str(ids[0])
    write_geojson(path, cells, "cd" * 32)
    assert json.loads(path.read_text())["features"][0]["id"] != str(ids[0])


def square(x, y, side, **properties) -> dict:
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def test_what_was_edited_elsewhere_is_read(tmp_path):
    path = tmp_path / "edited.geojson"
    line = {"type": "LineString", "coordinates": [[0, 0], [9, 9]]}
    objects = [
        square(2, 3, 4, measurements={CELL_ID: 6}),
        square(10, 3, 4, measurements={CELL_ID: 6}),  # split in two
        square(20, 3, 4, measurements=[{"name": CELL_ID, "value": 2.0}]),
        square(28, -2, 10, classification={"name": "Tumor"}),  # new, reaches outside
        square(500, 500, 4, classification={"names": ["wbc", "odd"]}),  # wholly outside
        {"type": "Feature", "geometry": line, "properties": {}},
    ]
    path.write_text(json.dumps(objects))
    outlines = read_geojson(path)
    assert [o.cell_id for o in outlines] == [6, 6, 2, None, None]
    assert [o.kind for o in outlines[2:]] == ["", "Tumor", "wbc: odd"]
    labels = draw_outlines(outlines, (20, 32))
    expected = np.zeros((20, 32), np.int32)
    expected[3:7, 2:6] = 6
    expected[3:7, 10:14] = 7
    expected[3:7, 20:24] = 2
    expected[0:8, 28:32] = 8
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize(
    "content",
    [
        *("{", "[1]", '{"features": []}', '{"features": 5}', "5"),
        '{"geometry": {"type": "Polygon", "coordinates": []}}',
        '{"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}}',
        '{"geometry": {"type": "Polygon", "coordinates": [[[0], [1], [2]]]}}',
        '{"geometry": {"type": "Polygon", "coordinates": [[[0, NaN], [9, 9], [9, 0]]]}}',
        '{"geometry": {"type": "MultiPolygon", "coordinates": [[[0, 1], [9, 9]]]}}',
    ],
)
def test_what_is_no_geojson_is_said(tmp_path, content):
    path = tmp_path / "x.geojson"
    path.write_text(content)
    with pytest.raises(ImageError, match=r"x\.geojson (cannot be read|holds no polygons)"):
        read_geojson(path)
    with pytest.raises(ImageError, match="no file"):
        read_geojson(tmp_path / "y.geojson")


def test_what_programs_of_windows_write_is_read(tmp_path):
    path = tmp_path / "bom.geojson"
    path.write_text(json.dumps(square(2, 3, 4)), encoding="utf-8-sig")
    assert len(read_geojson(path)) == 1


@pytest.mark.parametrize("number", ["Infinity", "NaN", "1e300", "0.5", "-3", "3000000000"])
def test_a_number_that_no_cell_can_have_is_not_kept(tmp_path, number):
    path = tmp_path / "x.geojson"
    objects = [square(0, 0, 4, measurements={CELL_ID: "?"}), square(5, 0, 2)]
    path.write_text(json.dumps(objects).replace('"?"', number))
    outlines = read_geojson(path)
    assert [o.cell_id for o in outlines] == [None, None]
    assert np.unique(draw_outlines(outlines, (5, 8))).tolist() == [0, 1, 2]


def test_a_part_without_area_is_left_out(tmp_path):
    path = tmp_path / "x.geojson"
    each = square(0, 0, 4)
    each["geometry"]["coordinates"].append([])
    whole, hole = each["geometry"]["coordinates"]
    parts = {"type": "MultiPolygon", "coordinates": [[], [whole, hole], [[[9, 9]]]]}
    path.write_text(json.dumps([each, {"geometry": parts}, {"geometry": None}]))
    outlines = read_geojson(path)
    assert [[len(polygon) for polygon in o.polygons] for o in outlines] == [[1], [1]]
    assert (draw_outlines(outlines, (4, 4)) == 2).all()


def test_a_thinned_drawing_is_the_drawing_thinned(cells, tmp_path):
    write_geojson(tmp_path / "cells.geojson", cells, "ab" * 32)
    outlines = read_geojson(tmp_path / "cells.geojson")
    for step in (1, 2, 3, 7):
        drawn = DrawnOutlines(outlines, cells.labels.shape, step)
        thinned = cells.labels[::step, ::step]
        assert drawn.shape == thinned.shape
        np.testing.assert_array_equal(drawn[:, :], thinned)


def test_classes_that_we_have_no_colour_for_go_along(cells, tmp_path):
    other = replace(cells, table=cells.table.assign(kind="tumour"))
    write_geojson(tmp_path / "x.geojson", other, "ab" * 32)
    said = json.loads((tmp_path / "x.geojson").read_text())["features"][0]["properties"]
    assert said["classification"] == {"name": "tumour"}
    assert {o.kind for o in read_geojson(tmp_path / "x.geojson")} == {"tumour"}


def test_the_class_that_qupath_gave_is_the_kind(cells, labels, tmp_path):
    path = tmp_path / "x.geojson"
    write_geojson(path, cells, "ab" * 32)
    content = json.loads(path.read_text())
    said = {3: "Platelet", 5: "wbc: reactive", 8: "tumour", 9: ""}
    for feature in content["features"]:
        name = said[feature["properties"]["measurements"][CELL_ID]]
        feature["properties"]["classification"] = {"names": name.split(": ")}
    # Two more of one cell's id: the new cell has a class of its own.
    twin = {**square(0, 55, 4, measurements={CELL_ID: 3})}
    twin["properties"]["classification"] = {"name": "rbc"}
    path.write_text(json.dumps([*content["features"], twin]))
    drawn = DrawnOutlines(read_geojson(path), labels.shape)
    assert drawn.classes == {3: "Platelet", 5: "wbc: reactive", 8: "tumour", 10: "rbc"}
    rgb = np.full((*labels.shape, 3), 240, np.uint8)
    image = Image(rgb, "a.png", PixelSize(0.2, "user"), "")
    slide = Pyramid((Level(rgb, "YXS"),), "a.png", image.pixel_size, "", ())
    for source, given in ((image, drawn[:, :]), (slide, drawn)):
        table = run(find_cells(source, labels=given)).table
        told = dict(zip(table["cell_id"], table["kind"], strict=True))
        assert set(told.values()) == {"rbc"}
        found = run(find_cells(source, labels=given, classes=drawn.classes))
        kinds = dict(zip(found.table["cell_id"], found.table["kind"], strict=True))
        assert kinds == told | {3: "platelet", 5: "wbc"}
        assert found.notes == (
            "classes that are no kind of cell: 'tumour' (1); the kind of these was told "
            "from the image, known ones are wbc, rbc, platelet",
        )
