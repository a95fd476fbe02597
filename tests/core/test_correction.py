from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage as ndi
from skimage.draw import disk

from napari_cytosae.core import pipeline
from napari_cytosae.core.cache import Cache
from napari_cytosae.core.correction import corrected
from napari_cytosae.core.crops import crop_cells
from napari_cytosae.core.images import as_image, read_image
from napari_cytosae.core.label_blocks import LabelBlocks
from napari_cytosae.core.loading import load_models
from napari_cytosae.core.segmentation import measure, segment
from napari_cytosae.core.types import Cells, CytoError, PixelSize
from napari_cytosae.synthetic import render_smear

UM = 0.2


@pytest.fixture(scope="module")
def image():
    wbc = {"neutrophil": 3, "lymphocyte": 3, "monocyte": 2}
    return as_image(render_smear((500, 700), UM, 4, wbc=wbc, n_rbc=40).rgb, "a.png", UM)


@pytest.fixture(scope="module")
def cells(image):
    found = segment(image)
    assert len(found) == 8
    return found


def place(cells, cell_id):
    row = cells.table.set_index("cell_id").loc[cell_id]
    return slice(row.bbox_y0, row.bbox_y1), slice(row.bbox_x0, row.bbox_x1)


def check(image, former, fixed):
    """Whatever was done: rows of untouched cells stay, the others are as measured anew."""
    now = fixed.cells
    assert now.table.cell_id.tolist() == np.unique(now.labels)[1:].tolist()
    assert now.pixel_size == former.pixel_size
    kept = np.setdiff1d(now.table.cell_id, fixed.changed)
    before = former.table.set_index("cell_id").loc[kept]
    pd.testing.assert_frame_equal(now.table.set_index("cell_id").loc[kept], before)
    anew = measure(image, now.labels)
    np.testing.assert_array_equal(now.labels, anew.labels)
    pd.testing.assert_frame_equal(
        now.table.set_index("cell_id").loc[fixed.changed],
        anew.table.set_index("cell_id").loc[fixed.changed],
    )
    inside = now.nuclei > 0
    np.testing.assert_array_equal(now.nuclei[inside], now.labels[inside])
    for cell_id in kept:
        np.testing.assert_array_equal(now.nuclei == cell_id, former.nuclei == cell_id)


def test_nothing_edited_measures_nothing(image, cells, monkeypatch):
    fixed = corrected(image, cells, cells.labels.astype(np.uint64))
    assert not len(fixed.changed)
    assert not len(fixed.removed)
    pd.testing.assert_frame_equal(fixed.cells.table, cells.table)
    np.testing.assert_array_equal(fixed.cells.nuclei, cells.nuclei)


def test_a_painted_rim_changes_one_cell(image, cells):
    labels = cells.labels.copy()
    rows, columns = place(cells, 3)
    labels[rows, columns.stop : columns.stop + 4] = 3
    fixed = corrected(image, cells, labels)
    assert fixed.changed.tolist() == [3]
    check(image, cells, fixed)
    area = fixed.cells.table.set_index("cell_id").area_px
    assert area[3] > cells.table.set_index("cell_id").area_px[3]


def test_a_cell_cut_in_two_keeps_its_id_on_the_larger_piece(image, cells):
    labels = cells.labels.copy()
    rows, columns = place(cells, 2)
    cut = columns.start + round(0.3 * (columns.stop - columns.start))
    labels[rows, cut : cut + 2] = 0
    fixed = corrected(image, cells, labels)
    assert fixed.changed.tolist() == [2, 9]
    check(image, cells, fixed)
    table = fixed.cells.table.set_index("cell_id")
    assert table.area_px[2] > table.area_px[9] > 100
    assert table.centroid_x[9] < cut < table.centroid_x[2]


def test_merged_painted_over_deleted_and_new_cells(image, cells):
    labels = cells.labels.copy()
    labels[labels == 5] = 4
    labels[labels == 6] = 0
    # Both pieces of a merged cell lie apart, as before in two cells.
    y, x = (int(cells.table.centroid_y[0]), int(cells.table.centroid_x[0]))
    labels[y - 3 : y + 3, x - 3 : x + 3] = 40
    fixed = corrected(image, cells, labels)
    check(image, cells, fixed)
    assert 6 in fixed.removed
    assert 40 in fixed.changed
    assert 1 in fixed.changed


def test_touching_cells_painted_with_one_id_are_one(image, cells):
    labels = cells.labels.copy()
    rows, columns = place(cells, 7)
    middle = (columns.start + columns.stop) // 2
    half = labels[rows, middle : columns.stop]
    half[half == 7] = 90
    two = corrected(image, cells, labels)
    assert set(two.changed) == {7, 90}
    back = two.cells.labels.copy()
    back[back == 90] = 7
    one = corrected(image, two.cells, back)
    assert one.changed.tolist() == [7]
    assert one.removed.tolist() == [90]
    assert one.cells.table.area_px.tolist() == cells.table.area_px.tolist()


def test_a_platelet_stays_one_whatever_is_painted_and_a_nucleus_makes_a_white_cell(
    data_dir,
):
    smear = read_image(data_dir / "bccd" / "images" / "BloodImage_00038.jpg")
    found = segment(smear, kinds=("wbc", "rbc", "platelet"))
    kinds = found.table.set_index("cell_id").kind
    white, plate = (int(kinds.index[kinds == kind][-1]) for kind in ("wbc", "platelet"))
    labels = found.labels.copy()
    # Far wider than the spot: by itself it would be no platelet.
    labels[ndi.binary_dilation(labels == plate, iterations=12) & (labels == 0)] = plate
    assert measure(smear, labels).table.set_index("cell_id").kind[plate] == "rbc"
    fixed = corrected(smear, found, labels)
    assert fixed.changed.tolist() == [plate]
    assert fixed.cells.table.set_index("cell_id").kind[plate] == "platelet"
    bare = np.where(found.nuclei == white, 0, found.labels)
    without = corrected(smear, found, bare).cells
    assert without.table.set_index("cell_id").kind[white] != "wbc"
    back = corrected(smear, without, found.labels).cells
    assert back.table.set_index("cell_id").kind[white] == "wbc"


def test_ids_are_given_once(image, cells):
    """A cell that comes back to its place has its id again, no other cell has it."""
    labels = cells.labels.copy()
    labels[labels == 8] = 0
    one = corrected(image, cells, labels)
    assert list(one.gone) == [8]
    elsewhere = one.cells.labels.copy()
    elsewhere[:30, :30] = 8
    two = corrected(image, one.cells, elsewhere, gone=one.gone)
    assert two.changed[-1] == 9
    assert 8 not in two.cells.labels
    check(image, one.cells, two)
    back = np.where(cells.labels == 8, 8, two.cells.labels)
    three = corrected(image, two.cells, back, gone=two.gone)
    assert three.changed.tolist() == [8]
    assert not three.gone
    # Pieces and new cells get ids above all that were ever given.
    none = corrected(image, three.cells, np.zeros_like(labels), gone=three.gone)
    assert sorted(none.gone) == list(range(1, 10))
    last = np.zeros_like(labels)
    last[place(cells, 3)] = 1
    anew = corrected(image, none.cells, last, gone=none.gone)
    assert anew.changed.tolist() == [10]


def test_a_piece_has_the_id_it_had(image, cells):
    """Also where it is painted with that of the cell it was cut from, as after an undo."""
    labels = cells.labels.copy()
    rows, columns = place(cells, 2)
    cut = columns.start + round(0.3 * (columns.stop - columns.start))
    labels[rows, cut : cut + 2] = 0
    two = corrected(image, cells, labels)
    assert two.changed.tolist() == [2, 9]
    labels[labels == 5] = 0
    fixed = corrected(image, two.cells, labels)
    assert fixed.changed.size == 0
    assert fixed.removed.tolist() == [5]
    assert np.count_nonzero(fixed.cells.labels == 9) > 100


def test_an_id_moved_elsewhere_is_a_new_cell(image, cells):
    labels = np.where(cells.labels == 3, 0, cells.labels)
    labels[place(cells, 6)] = 3
    fixed = corrected(image, cells, labels)
    assert 9 in fixed.changed
    assert {3, 6} <= set(fixed.removed)
    assert {3, 6} <= set(fixed.gone)


def test_crumbs_of_the_eraser_are_no_cells(image, cells):
    labels = cells.labels.copy()
    rows, columns = place(cells, 2)
    middle = (rows.start + rows.stop) // 2
    left = columns.start + int(np.flatnonzero(labels[middle, columns] == 2)[0])
    labels[rows, left + 1] = 0
    fixed = corrected(image, cells, labels)
    assert fixed.changed.tolist() == [2]


@pytest.mark.parametrize("um", [UM, None])
def test_what_is_painted_away_from_its_cell_is_one_of_its_own(image, cells, um):
    """A disc of 1 um with the label of a white cell: a platelet, far below 5 % of it."""
    image = replace(image, pixel_size=PixelSize(um, "user" if um else "relative"))
    cells = replace(cells, pixel_size=image.pixel_size)
    free = ndi.distance_transform_edt(np.pad(cells.labels[1:-1, 1:-1] == 0, 1))
    y, x = np.unravel_index(free.argmax(), free.shape)
    dot = disk((y, x), 5)
    labels = cells.labels.copy()
    labels[dot] = 1
    assert len(dot[0]) < 0.05 * np.count_nonzero(cells.labels == 1)
    fixed = corrected(image, cells, labels)
    assert fixed.changed.tolist() == [9]
    assert (fixed.cells.labels[dot] == 9).all()
    assert fixed.specks == 0

    # Smaller than any cell: left out, on glass and in another cell, and counted.
    labels = cells.labels.copy()
    labels[y : y + 3, x : x + 3] = 1
    there = (
        cells.table.set_index("cell_id").loc[7, ["centroid_y", "centroid_x"]].astype(int)
    )
    labels[there.centroid_y, there.centroid_x : there.centroid_x + 2] = 1
    fixed = corrected(image, cells, labels)
    assert (fixed.changed.size, fixed.removed.size, fixed.specks) == (0, 0, 2)
    np.testing.assert_array_equal(fixed.cells.labels, cells.labels)


def test_all_cells_deleted(image, cells):
    fixed = corrected(image, cells, np.zeros_like(cells.labels))
    assert len(fixed.cells) == 0
    assert fixed.removed.tolist() == list(range(1, 9))
    assert fixed.cells.table.dtypes.equals(cells.table.dtypes)


def test_labels_that_do_not_fit_are_refused(image, cells):
    with pytest.raises(CytoError, match="shape"):
        corrected(image, cells, cells.labels[:100])
    with pytest.raises(CytoError, match="whole numbers"):
        corrected(image, cells, cells.labels - 1)
    blocks = LabelBlocks(cells.labels.shape)
    slide = Cells(blocks, blocks, cells.table, cells.pixel_size)
    with pytest.raises(CytoError, match="cut out a region"):
        corrected(image, slide, cells.labels)


# --- encoding what changed ------------------------------------------------------------


@pytest.fixture(scope="module")
def models(weights):
    backbone, sae = weights / "vit.safetensors", weights / "sae.safetensors"
    return load_models(backbone, sae, device="cpu", precision="float32")


def test_only_what_is_cut_out_anew_is_encoded(image, cells, models, tmp_path, monkeypatch):
    cache = Cache(tmp_path, 10**9)
    pipeline.run(pipeline.encode(models, crop_cells(image, cells), cache=cache))
    labels = cells.labels.copy()
    # Near the border crops are shifted inside: their boxes may stay the same.
    offset = cells.table[["centroid_y", "centroid_x"]] - np.array(labels.shape) / 2
    inner = int(cells.table.cell_id[np.hypot(*offset.to_numpy().T).argmin()])
    labels[labels == 1 + inner % 8] = 0
    rows, columns = place(cells, inner)
    labels[rows, columns.start : columns.start + 20] = 0
    fixed = corrected(image, cells, labels)
    crops = crop_cells(image, fixed.cells)
    seen = []
    original = models.encode_batch

    def counting(batch, *args, **options):
        seen.append(len(batch))
        return original(batch, *args, **options)

    monkeypatch.setattr(models, "encode_batch", counting)
    again = pipeline.run(pipeline.encode(models, crops, cache=cache))
    assert seen == [1]
    anew = pipeline.run(pipeline.encode(models, crops))
    assert again.cell_ids.tolist() == anew.cell_ids.tolist()
    np.testing.assert_allclose(
        again.activations.max.toarray(), anew.activations.max.toarray(), atol=1e-4
    )
