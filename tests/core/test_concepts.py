"""Rankings against dense arithmetic, where concepts fire, and names that survive."""

from __future__ import annotations

import json
import time

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from napari_cytosae.core.concepts import (
    PLACES,
    RANKING_COLUMNS,
    ConceptNames,
    flags,
    location,
    mask_fractions,
    patch_ranking,
    ranking,
    summarise,
)
from napari_cytosae.core.types import (
    CELL_COLUMNS,
    Cells,
    ConceptActivations,
    CytoError,
    PixelSize,
)


def make_activations(
    n=12, d=30, seed=0
) -> tuple[np.ndarray, np.ndarray, ConceptActivations]:
    rng = np.random.default_rng(seed)
    mean = (rng.random((n, d)) * (rng.random((n, d)) < 0.4)).astype(np.float32)
    mean[:, 5] = 0.25  # the same in every cell
    mean[:, 6] = 0  # dead
    mean[:, 7] = 0
    mean[3, 7] = 0.01  # in one cell only
    count = np.floor(mean * 20).astype(np.float32)
    activations = ConceptActivations(
        csr_array(count),
        csr_array(mean * 3),
        csr_array(mean),
        csr_array(mean),
        csr_array(mean),
    )
    return mean, count, activations


def test_ranking_of_an_image():
    mean, count, activations = make_activations()
    table = ranking(activations, names={5: "background"})
    assert tuple(table.columns) == RANKING_COLUMNS
    assert set(table["concept"]) == set(np.flatnonzero(mean.sum(axis=0)))
    assert table["here"].is_monotonic_decreasing
    by_id = table.set_index("concept")
    for concept in by_id.index:
        column = mean[:, concept].astype(float)
        assert by_id.loc[concept, "here"] == pytest.approx(column.mean())
        assert by_id.loc[concept, "prevalence"] == (count[:, concept] >= 1).mean()
        expected = column.std() / column.mean()
        assert by_id.loc[concept, "specificity"] == pytest.approx(expected, abs=1e-6)
    assert by_id.loc[5, "name"] == "background"
    assert by_id.loc[5, "specificity"] == 0
    assert by_id.loc[7, "specificity"] == pytest.approx(np.sqrt(12 - 1))


@pytest.mark.parametrize("rows", [[3], [0, 4, 5], np.arange(12) % 3 == 0])
def test_ranking_of_a_selection(rows):
    mean, _, activations = make_activations()
    chosen = np.zeros(12, bool)
    chosen[rows] = True
    table = ranking(activations, rows).set_index("concept")
    assert set(table.index) == set(np.flatnonzero(mean[chosen].sum(axis=0)))
    for concept in table.index:
        column = mean[:, concept].astype(float)
        here, rest = column[chosen].mean(), column[~chosen].mean()
        assert table.loc[concept, "here"] == pytest.approx(here)
        expected = 0 if concept == 5 else (here - rest) / column.std()
        assert table.loc[concept, "specificity"] == pytest.approx(expected, abs=1e-6)
    if len(table) and np.sum(chosen) == 1:
        assert table.loc[7, "specificity"] == pytest.approx(12 / np.sqrt(11))


def test_selecting_all_cells_is_the_image():
    _, _, activations = make_activations()
    summary = summarise(activations)
    whole = ranking(activations, summary=summary)
    pd.testing.assert_frame_equal(whole, ranking(activations, np.arange(12)))


def test_ranking_of_a_patch():
    mean, _, activations = make_activations()
    summary = summarise(activations)
    latents = np.zeros((1, 30), np.float32)
    latents[0, [2, 9, 7]] = 0.5, 3, 0.1
    table = patch_ranking(latents, summary, {9: "granules"})
    assert table["concept"].tolist() == [9, 2, 7]
    assert table["name"].tolist() == ["granules", "", ""]
    expected = (3 - mean[:, 9].mean()) / (mean[:, 9] * 3).std()
    assert table["specificity"].iloc[0] == pytest.approx(expected, rel=1e-5)
    pd.testing.assert_frame_equal(
        table, patch_ranking(latents[0], summary, {9: "granules"})
    )


@pytest.mark.parametrize("n", [0, 1])
def test_none_and_one_cell(n):
    matrix = csr_array(np.full((n, 8), 0.5, np.float32))
    activations = ConceptActivations(*[matrix] * 5)
    table = ranking(activations)
    assert len(table) == 8 * n
    assert tuple(table.columns) == RANKING_COLUMNS
    assert table["specificity"].isna().all()  # there is nothing to differ from
    assert ranking(activations, [0] if n else []).equals(table)


def test_an_empty_selection_ranks_nothing():
    _, _, activations = make_activations()
    assert len(ranking(activations, [])) == 0


def test_full_size_dictionary_is_fast_and_never_dense():
    rng = np.random.default_rng(0)
    n, d, k = 500, 49_152, 1500
    columns = np.sort(rng.integers(0, d // k, (n, k)) + np.arange(k) * (d // k), axis=1)
    data = rng.random(n * k, dtype=np.float32)
    matrix = csr_array((data, columns.ravel(), np.arange(0, n * k + 1, k)), shape=(n, d))
    activations = ConceptActivations(*[matrix] * 5)
    start = time.perf_counter()
    summary = summarise(activations)
    once = time.perf_counter() - start
    start = time.perf_counter()
    for cell in range(20):
        assert len(ranking(activations, [cell], summary=summary)) == k
    each = (time.perf_counter() - start) / 20
    # 0.05 s and 0.002 s on two cores.
    assert once < 2
    assert each < 0.1


def test_flags():
    table = pd.DataFrame(
        {"concept": [4, 8, 2], "prevalence": [0.95, 0.5, 1.0]}, index=[10, 11, 12]
    )
    where = pd.DataFrame({"outside": [0.8, np.nan]}, index=[8, 2])
    mean_acts = np.array([0, 0, np.nan, 0, 0.3, 0, 0, 0, 0.05])
    result = flags(table, 50, where, mean_acts)
    assert result.to_dict() == {
        10: "always-on; high magnitude",
        11: "background",
        12: "always-on",
    }
    assert (flags(table, 5) == "").all()
    assert flags(table.iloc[:0], 50).empty


# --- where they fire ------------------------------------------------------------------


@pytest.fixture
def square_cell() -> Cells:
    """A cell of 32 x 32 px in the middle of 64 x 64, its left half nucleus."""
    labels = np.zeros((64, 64), np.int32)
    labels[16:48, 16:48] = 3
    labels[0:8, 0:8] = 4
    nuclei = np.where(np.arange(64)[None] < 32, labels, 0).astype(np.int32)
    return Cells(labels, nuclei, pd.DataFrame(columns=list(CELL_COLUMNS)), PixelSize())


def test_mask_fractions_are_areas(square_cell):
    boxes = np.array([[0, 0, 64, 64], [16, 16, 48, 48], [-32, -32, 96, 96], [5, 3, 61, 58]])
    fractions = mask_fractions(square_cell, boxes, grid=16)
    assert fractions.shape == (4, 3, 16, 16)
    np.testing.assert_allclose(fractions.sum(axis=1), 1, atol=1e-5)
    for box, part in zip(boxes, fractions, strict=True):
        y0, x0, y1, x1 = box
        patch_area = (y1 - y0) * (x1 - x0) / 256
        here = (slice(max(y0, 0), y1), slice(max(x0, 0), x1))
        nucleus = (square_cell.nuclei[here] > 0).sum()
        rest = (square_cell.labels[here] > 0).sum() - nucleus
        areas = part.sum(axis=(1, 2))[:2] * patch_area
        np.testing.assert_allclose(areas, [nucleus, rest], rtol=1e-4)
    # Crop and patches on whole pixels: a neighbour is a cell too, and not background.
    np.testing.assert_array_equal(fractions[0, :, 0, 0], [1, 0, 0])
    np.testing.assert_array_equal(fractions[0, :, 0, 15], [0, 0, 1])
    np.testing.assert_array_equal(fractions[0, 0, 4:12, 4:8], 1)
    np.testing.assert_array_equal(fractions[0, 1, 4:12, 8:12], 1)


def test_location_of_concepts(square_cell):
    boxes = np.array([[0, 0, 64, 64]])
    fractions = mask_fractions(square_cell, boxes)
    grids = np.zeros((4, 1, 16, 16), np.float32)
    grids[0, 0, 5, 5] = 2  # nucleus
    grids[1, 0, 5, 9] = 3  # cytoplasm ...
    grids[1, 0, 0, 15] = 1  # ... and outside
    grids[2] = 1
    table = location(grids, fractions, [11, 22, 33, 44])
    assert list(table.columns) == [*PLACES, "where"]
    np.testing.assert_allclose(table.loc[11, list(PLACES)].astype(float), [1, 0, 0])
    np.testing.assert_allclose(table.loc[22, list(PLACES)].astype(float), [0, 0.75, 0.25])
    np.testing.assert_allclose(
        table.loc[33, list(PLACES)].astype(float), [0.140625, 0.125, 0.734375]
    )
    assert table.loc[44, list(PLACES)].isna().all()
    assert table["where"].tolist() == ["nucleus 100%", "cytoplasm 75%", "outside 73%", ""]


# --- names ----------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CYTOSAE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_names_are_kept_per_sae_beside_the_shipped_ones(home):
    names = ConceptNames("aaa", {1: "nucleus", 2: "granules"})
    assert names.get(1) == "nucleus"
    assert names.get(9) == ""
    assert names.set(9, "  pale \n\tcentre ") == "pale centre"
    assert names.set(2, "blue granules") == "blue granules"
    again = ConceptNames("aaa", {1: "nucleus", 2: "granules"})
    assert again.as_dict() == {1: "nucleus", 2: "blue granules", 9: "pale centre"}
    assert ConceptNames("bbb").as_dict() == {}
    assert again.set(2, "") == "granules"
    assert again.set(9, "") == ""
    assert ConceptNames("aaa", {2: "granules"}).as_dict() == {2: "granules"}
    assert [(e["concept"], e["old"], e["new"]) for e in again.history()] == [
        (9, "", "pale centre"),
        (2, "", "blue granules"),
        (2, "blue granules", ""),
        (9, "pale centre", ""),
    ]
    assert len(again.history(2)) == 2
    assert [path.name for path in home.iterdir()] == ["concept_names.json"]


def test_setting_the_same_name_writes_nothing(home):
    names = ConceptNames("aaa", {1: "nucleus"})
    names.set(1, "nucleus")
    assert not home.exists()
    names.set(3, "rim")
    before = names.path.stat().st_mtime_ns
    names.set(3, "rim")
    assert names.path.stat().st_mtime_ns == before


def test_two_viewers_keep_each_others_names(home):
    one, two = ConceptNames("aaa"), ConceptNames("aaa")
    one.set(1, "nucleus")
    two.set(2, "rim")
    assert ConceptNames("aaa").as_dict() == {1: "nucleus", 2: "rim"}


def test_names_are_one_printable_line(home):
    names = ConceptNames("aaa")
    assert names.set(1, "a\x00b\x1b[31m\u2028c") == "a b [31m c"
    assert names.set(2, "x" * 500) == "x" * 80
    assert names.set(3, "\u202ereversed") == "reversed"
    assert names.set(4, "=1+1") == "=1+1"
    assert names.set(5, "cafe\u0301 \u6838") == "caf\u00e9 \u6838"
    assert ConceptNames("aaa").get(5) == "caf\u00e9 \u6838"


@pytest.mark.parametrize(
    "content",
    [
        "{not json",
        "[]",
        '{"schema": 99, "names": {}, "history": []}',
        '{"schema": 1, "names": {"aaa": {"x": "y"}}, "history": []}',
        '{"schema": 1, "names": {"aaa": {"1": 5}}, "history": []}',
        '{"schema": 1, "names": {}, "history": [1]}',
        "\x00\x01",
    ],
)
def test_a_damaged_file_is_named_and_never_overwritten(home, content):
    home.mkdir()
    path = home / "concept_names.json"
    good = ConceptNames("aaa")
    path.write_text(content)
    with pytest.raises(CytoError, match="damaged and were left as they are"):
        ConceptNames("aaa")
    with pytest.raises(CytoError, match="damaged"):
        good.set(1, "nucleus")
    assert path.read_text() == content


def test_the_file_is_json_that_people_can_read(home):
    ConceptNames("aaa").set(5, "caf\u00e9")
    content = json.loads((home / "concept_names.json").read_text(encoding="utf-8"))
    assert content["names"] == {"aaa": {"5": "caf\u00e9"}}
    assert content["history"][0]["time"].endswith("+00:00")


def test_the_default_home_is_the_users_data_folder(monkeypatch):
    monkeypatch.delenv("CYTOSAE_HOME", raising=False)
    assert "napari-cytosae" in str(ConceptNames("aaa").path)
