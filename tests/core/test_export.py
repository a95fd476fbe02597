"""The files of the contract, read back by the programs people use."""

from __future__ import annotations

import csv
import json

import anndata
import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy.sparse import csr_array, issparse

from napari_cytosae.core.export import (
    concepts_frame,
    provenance,
    result_folders,
    to_anndata,
    write_csv,
    write_results,
)
from napari_cytosae.core.overlay import OverlayMap
from napari_cytosae.core.types import (
    CELL_COLUMNS,
    CONCEPT_COLUMNS,
    RESEARCH_USE,
    BackboneInfo,
    Cells,
    ConceptActivations,
    Encoded,
    Image,
    OutputError,
    PixelSize,
    SaeInfo,
)

D_SAE = 49_152


def make_cells(n: int) -> Cells:
    labels = np.zeros((50, 80), np.int32)
    nuclei = labels.copy()
    rows = []
    for index in range(n):
        cell_id = 3 * index + 2
        y, x = 5 + 10 * index, 7 + 12 * index
        labels[y : y + 8, x : x + 9] = cell_id
        nuclei[y + 2 : y + 5, x + 2 : x + 5] = cell_id
        rows.append(
            (
                "smear, 1.png", cell_id, "wbc", x + 4.0, y + 3.5, x, y, x + 9, y + 8, 72,
                np.nan if index == 0 else 0.72, 9, 0.125, 0.1, 0.99, index == 0, 0.5,
                "ok" if index else "touches border; small", 0.1, "user",
            )
        )  # fmt: skip
    table = pd.DataFrame(rows, columns=list(CELL_COLUMNS))
    if not n:
        table = make_cells(1).table.iloc[:0]
    return Cells(labels, nuclei, table, PixelSize(0.1, "user"))


def make_encoded(cells: Cells, seed: int = 0) -> tuple[np.ndarray, Encoded]:
    rng = np.random.default_rng(seed)
    n = len(cells)
    maximum = np.zeros((n, D_SAE), np.float32)
    for row in maximum:
        row[rng.integers(0, D_SAE, 40)] = rng.random(40)
    count = np.where(maximum > 0.2, np.ceil(maximum * 50), 0).astype(np.float32)
    parts = [
        csr_array(part) for part in (count, maximum, maximum / 7, maximum / 8, maximum)
    ]
    boxes = np.tile(np.array([0, 0, 20, 20]), (n, 1))
    ids = cells.table["cell_id"].to_numpy(np.int64)
    activations = ConceptActivations(*parts, threshold=0.2, sae_sha256="5ae")
    return maximum, Encoded(activations, None, None, boxes, ids)


@pytest.fixture
def record():
    image = Image(np.zeros((8, 8, 3), np.uint8), "smear, 1.png", PixelSize(), "1ma9e")
    backbone = BackboneInfo("starter", 192, 6, 3, 14, 224, "bac4")
    sae = SaeInfo("starter", "topk", 192, D_SAE, -2, "5ae", k=16)
    parameters = {"threshold": 0.2, "pixel_size": None, "kinds": ("wbc",), "device": "cpu"}
    return provenance([image], parameters, backbone, sae)


def test_every_file_of_the_contract(tmp_path, record):
    cells = make_cells(3)
    maximum, encoded = make_encoded(cells)
    shown = int(np.flatnonzero(maximum[0])[0])
    grids = np.random.default_rng(0).random((3, 16, 16), dtype=np.float32)
    overlay = OverlayMap(grids, encoded.boxes, cells.labels.shape)
    folder = write_results(
        tmp_path / "smear", cells, record, encoded, {shown: "nucleus"}, {shown: overlay}
    )
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [
            "cells.tif",
            "nuclei.tif",
            "cells.csv",
            "concepts.csv",
            f"overlay_{shown}.tif",
            "cells.h5ad",
            "run.json",
        ]
    )
    for name, expected in (("cells.tif", cells.labels), ("nuclei.tif", cells.nuclei)):
        stored = tifffile.imread(folder / name)
        assert stored.dtype == np.int32
        np.testing.assert_array_equal(stored, expected)
    stored = tifffile.imread(folder / f"overlay_{shown}.tif")
    np.testing.assert_array_equal(stored, overlay.full())
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert run["note"] == RESEARCH_USE
    assert run["models"]["sae"] == {"name": "starter", "sha256": "5ae", "source": ""}
    assert run["inputs"] == {"smear, 1.png": "1ma9e"}
    assert run["parameters"]["pixel_size"] is None
    assert run["parameters"]["kinds"] == ["wbc"]


def test_cells_csv_to_the_letter(tmp_path, record):
    cells = make_cells(2)
    folder = write_results(tmp_path / "smear", cells, record)
    content = (folder / "cells.csv").read_bytes()
    lines = content.decode("utf-8").split("\n")
    assert lines[0] == ",".join(CELL_COLUMNS)
    assert lines[1] == (
        '"smear, 1.png",2,wbc,11.0,8.5,7,5,16,13,72,,9,0.125,0.1,0.99,true,0.5,'
        "touches border; small,0.1,user"
    )
    assert lines[2].split(",")[11] == "0.72"
    assert ",false," in lines[2]
    assert lines[3:] == [""]
    assert b"\r" not in content
    assert not content.startswith(b"\xef\xbb\xbf")
    # Segmentation alone writes these and nothing else.
    names = {path.name for path in folder.iterdir()}
    assert names == {"cells.tif", "nuclei.tif", "cells.csv", "run.json"}


def test_concepts_csv_has_a_row_a_cell_and_concept(tmp_path, record):
    cells = make_cells(3)
    maximum, encoded = make_encoded(cells)
    names = {int(np.flatnonzero(maximum[1] > 0.2)[0]): 'with "quotes", and \u00b5'}
    folder = write_results(tmp_path / "smear", cells, record, encoded, names)
    table = pd.read_csv(folder / "concepts.csv")
    assert tuple(table.columns) == CONCEPT_COLUMNS
    expected = {
        (int(encoded.cell_ids[row]), int(concept))
        for row, concept in zip(*np.nonzero(maximum > 0.2), strict=True)
    }
    assert set(zip(table["cell_id"], table["concept"], strict=True)) == expected
    assert len(table) == len(expected)
    rows = np.searchsorted(encoded.cell_ids, table["cell_id"])
    values = maximum[rows, table["concept"]]
    np.testing.assert_allclose(table["max"], values, rtol=1e-6)
    np.testing.assert_allclose(table["mean"], values / 7, rtol=1e-6)
    np.testing.assert_array_equal(table["n_patches"], np.ceil(values * 50))
    with (folder / "concepts.csv").open(newline="", encoding="utf-8") as stream:
        named = [row for row in csv.DictReader(stream) if row["name"]]
    assert named[0]["name"] == 'with "quotes", and \u00b5'


def test_h5ad_reads_back(tmp_path, record):
    cells = make_cells(3)
    maximum, encoded = make_encoded(cells)
    folder = write_results(tmp_path / "smear", cells, record, encoded, {7: "nucleus"})
    data = anndata.read_h5ad(folder / "cells.h5ad")
    assert data.shape == (3, D_SAE)
    for matrix in (data.X, data.layers["max"], data.layers["mean"]):
        assert issparse(matrix)
        assert matrix.format == "csr"
        assert matrix.dtype == np.float32
    np.testing.assert_array_equal(data.layers["max"].toarray(), maximum)
    np.testing.assert_allclose(data.layers["mean"].toarray(), maximum / 7)
    assert list(data.obs_names) == ["2", "5", "8"]
    assert list(data.obs.columns) == list(CELL_COLUMNS)
    assert data.obs["cell_id"].tolist() == [2, 5, 8]
    assert list(data.var_names[[0, 7, -1]]) == ["0", "7", str(D_SAE - 1)]
    assert data.var["name"].iloc[7] == "nucleus"
    assert data.var["name"].iloc[8] == ""
    np.testing.assert_array_equal(data.obsm["spatial"][0], [11.0, 8.5])
    uns = data.uns["cytosae"]
    assert uns["models"]["sae"]["sha256"] == "5ae"
    assert uns["note"] == RESEARCH_USE
    assert uns["parameters"]["threshold"] == 0.2
    assert uns["inputs"]["smear, 1.png"] == "1ma9e"
    assert data.obs["touches_border"].tolist() == [True, False, False]


def test_no_cells_is_a_result(tmp_path, record):
    cells = make_cells(0)
    _, encoded = make_encoded(cells)
    overlay = OverlayMap(np.empty((0, 16, 16), np.float32), encoded.boxes, (50, 80))
    folder = write_results(tmp_path / "empty", cells, record, encoded, None, {4: overlay})
    assert (folder / "cells.csv").read_text() == ",".join(CELL_COLUMNS) + "\n"
    assert (folder / "concepts.csv").read_text() == ",".join(CONCEPT_COLUMNS) + "\n"
    assert not tifffile.imread(folder / "overlay_4.tif").any()
    data = anndata.read_h5ad(folder / "cells.h5ad")
    assert data.shape == (0, D_SAE)
    assert list(data.obs.columns) == list(CELL_COLUMNS)
    assert data.obsm["spatial"].shape == (0, 2)


def test_a_cancelled_run_exports_what_it_has(tmp_path, record):
    cells = make_cells(4)
    _, encoded = make_encoded(cells)
    part = slice(1, 3)
    matrices = encoded.activations
    kept = ConceptActivations(
        *(getattr(matrices, name)[part] for name in
          ("n_patches", "max", "mean", "mean_with_cls", "cls"))
    )  # fmt: skip
    partial = Encoded(kept, None, None, encoded.boxes[part], encoded.cell_ids[part], False)
    folder = write_results(tmp_path / "part", cells, record, partial)
    assert len(pd.read_csv(folder / "cells.csv")) == 4
    assert set(pd.read_csv(folder / "concepts.csv")["cell_id"]) == {5, 8}
    assert list(anndata.read_h5ad(folder / "cells.h5ad").obs_names) == ["5", "8"]


def test_a_new_run_replaces_its_own_folder_only(tmp_path, record):
    cells = make_cells(1)
    _, encoded = make_encoded(cells)
    folder = write_results(tmp_path / "smear", cells, record, encoded)
    write_results(folder, cells, record)
    assert not (folder / "concepts.csv").exists()
    foreign = tmp_path / "raw"
    foreign.mkdir()
    write_results(foreign, cells, record)
    (tmp_path / "data").mkdir()
    precious = tmp_path / "data" / "slide.tif"
    precious.touch()
    with pytest.raises(OutputError, match="not results of this program"):
        write_results(precious.parent, cells, record)
    assert precious.exists()
    with pytest.raises(OutputError, match="is a file"):
        write_results(precious, cells, record)


def test_a_failure_leaves_the_former_results(tmp_path, record, monkeypatch):
    cells = make_cells(1)
    folder = write_results(tmp_path / "smear", cells, record)
    before = (folder / "run.json").read_bytes()

    def full_disk(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("napari_cytosae.core.export.write_csv", full_disk)
    with pytest.raises(OutputError, match="No space left"):
        write_results(folder, cells, record)
    assert (folder / "run.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["smear"]


def test_folders_of_equal_stems(tmp_path):
    images = ["a/x.png", "b/x.tif", "x_2.png", "X.jpg", "y.ome.tif", "c/x.png"]
    names = [folder.name for folder in result_folders(tmp_path, images)]
    assert names == ["x", "x_2", "x_2_2", "X_3", "y.ome", "x_4"]
    assert len({name.casefold() for name in names}) == len(names)


def test_csv_of_odd_values(tmp_path):
    frame = pd.DataFrame(
        {
            "text": ["=1+1", "line\nbreak", "\u6838, \u00e9"],
            "flag": [True, False, True],
            "number": [1e-12, np.nan, 123456789.125],
            "single": np.array([0.1, 2, np.nan], np.float32),
        }
    )
    write_csv(frame, tmp_path / "odd.csv")
    with (tmp_path / "odd.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    assert rows[1:] == [
        ["=1+1", "true", "1e-12", "0.1"],
        ["line\nbreak", "false", "", "2.0"],
        ["\u6838, \u00e9", "true", "123456789.125", ""],
    ]
    assert frame["flag"].dtype == bool


def test_real_cells_end_to_end(data_dir, tmp_path, record):
    """The segmentation's own table goes through every file."""
    from napari_cytosae.core.images import read_image
    from napari_cytosae.core.segmentation import segment

    image = read_image(data_dir / "bccd" / "images" / "BloodImage_00006.jpg")
    cells = segment(image)
    assert len(cells) >= 1
    _, encoded = make_encoded(cells)
    folder = write_results(tmp_path / "bccd", cells, record, encoded)
    table = pd.read_csv(folder / "cells.csv")
    pd.testing.assert_frame_equal(
        table, cells.table.reset_index(drop=True), check_dtype=False, rtol=1e-12
    )
    assert table["touches_border"].dtype == bool
    pd.testing.assert_frame_equal(
        pd.read_csv(folder / "concepts.csv", keep_default_na=False),
        concepts_frame(cells, encoded),
        check_dtype=False,
    )
    assert to_anndata(cells, encoded, record).n_obs == len(cells)
