"""What the dock has done in the background, driven without Qt."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_cytosae.core.correction import corrected
from napari_cytosae.core.images import as_image
from napari_cytosae.core.segmentation import measure
from napari_cytosae.core.types import Image, PixelSize
from napari_cytosae.synthetic import render_smear
from napari_cytosae.widgets._export_tasks import result_folder
from napari_cytosae.widgets._image_tasks import LayerPixels, open_image
from napari_cytosae.widgets._tasks import describe_shapes


def result(steps):
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def image(name, sha256="a"):
    return Image(np.zeros((4, 4, 3), np.uint8), name, PixelSize(), sha256)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("smear.png", "smear"),
        ("smear.ome.tif", "smear.ome"),
        ("a/b v1.5", "a_b v1.5"),
        ("..", "image"),
        ("../../up", "_.._up"),
        ("", "image"),
    ],
)
def test_results_lie_in_the_chosen_folder_under_the_whole_name(tmp_path, name, folder):
    assert result_folder(tmp_path, image(name)) == tmp_path / folder


def test_results_replace_those_of_the_same_image_only(tmp_path):
    for folder, run in (
        ("smear", json.dumps({"inputs": {"smear.tif": "other"}})),
        ("smear_2", "damaged {"),
        ("smear_3", json.dumps({"inputs": {"smear.png": "a"}})),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "run.json").write_text(run)
    assert result_folder(tmp_path, image("smear.png")) == tmp_path / "smear_3"
    assert result_folder(tmp_path, image("smear.png", "b")) == tmp_path / "smear_4"


def test_an_image_from_a_file_has_the_name_of_the_file(tmp_path):
    path = tmp_path / "smear.tif"
    path.write_bytes(b"changed since")
    pixels = np.full((40, 40, 3), 200, np.uint8)
    size = PixelSize(0.1, "layer")
    layer = LayerPixels((pixels,), "my favourite", str(path), size, True)
    assert result(open_image(layer)).name == "smear.tif"


def test_shapes_of_cells_that_stay_are_not_measured_again():
    drawn = render_smear((200, 300), 0.2, 4, wbc={"lymphocyte": 2}, n_rbc=0)
    smear = as_image(drawn.rgb, "a.png", 0.2)
    labels = np.asarray(drawn.labels)
    ids = np.unique(labels)[1:]
    cells = measure(smear, labels)
    first = result(describe_shapes(smear, cells))
    marked = first.assign(lobes=77)
    painted = labels.copy()
    painted[drawn.labels == ids[0]] = 0
    painted[5:25, 5:25] = 50
    fixed = corrected(smear, cells, painted).cells
    again = result(describe_shapes(smear, fixed, (cells, marked)))
    assert again.cell_id.tolist() == fixed.table.cell_id.tolist()
    by_id = again.set_index("cell_id")
    assert by_id.lobes.to_dict() == {int(i): 77 for i in ids[1:]} | {50: 0}
    assert by_id.diameter_um[50] == pytest.approx(2 * np.sqrt(400 / np.pi) * 0.2)
