"""Search by example over several images, and what a ranking compares with."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from scipy import sparse

from napari_cytosae.core.encoded_cells import concatenate_activations
from napari_cytosae.core.enrichment import compare, enriched, likeness
from napari_cytosae.widgets.concept_model import HEADERS

KEYS = list(HEADERS)


@pytest.fixture
def two(encoded, viewer, smear, until):
    """Two images encoded, the second in front, and the gallery of both."""
    session, panel = encoded.session, encoded.concepts_panel
    first = session.image.sha256
    viewer.add_image(smear[:, ::-1].copy(), name="mirrored.png", scale=(0.1, 0.1))
    until(lambda: session.image is not None and session.image.sha256 != first)
    encoded.cells_panel.segment_clicked.emit()
    until(lambda: session.cells is not None and not encoded.desk.busy)
    encoded.cells_panel.encode_clicked.emit()
    until(lambda: session.encoded is not None and not encoded.desk.busy)
    until(lambda: len(keys(panel)) == 10)
    return encoded


def keys(panel):
    return [cell.key for cell in panel.gallery.model()._cells]


def shown(panel):
    """The gallery: each cell and its caption."""
    return [(cell.key, cell.caption) for cell in panel.gallery.model()._cells]


def ctrl_click(gallery, row):
    index = gallery.model().index(row)
    gallery.scrollTo(index)
    held = Qt.KeyboardModifier.ControlModifier
    place = gallery.visualRect(index).center()
    QTest.mouseClick(gallery.viewport(), Qt.MouseButton.LeftButton, held, place)


def expected_order(session, examples):
    """The gallery's cells and captions, from the definitions."""
    found = session.encoded_images()
    mean = sparse.csr_array(
        sparse.vstack([e.activations.mean for _, _, e in found.values()])
    )
    places = [(key, int(i)) for key, (_, _, e) in found.items() for i in e.cell_ids]
    rows = [places.index(each) for each in examples]
    score = likeness(mean, rows, enriched(mean, rows))
    captions = {place: f"{value:.2f}" for place, value in zip(places, score, strict=True)}
    return captions | dict.fromkeys(examples, "example")


def test_examples_stay_when_a_hit_of_another_image_is_looked_at(two, until):
    session, panel = two.session, two.concepts_panel
    second = session.image.sha256
    ids = [int(i) for i in session.encoded.cell_ids[:2]]
    session.focus.select_cells(ids)
    panel.scope_chosen.emit("like")
    examples = tuple((second, i) for i in ids)
    expected = expected_order(session, examples)
    until(lambda: dict(shown(panel)) == expected)
    order = keys(panel)
    until(lambda: panel.model.rowCount() > 0)
    listed = [panel.model.concept_at(row) for row in range(panel.model.rowCount())]

    hit = next(row for row, key in enumerate(order) if key[0] != second)
    panel.gallery.setCurrentIndex(panel.gallery.model().index(hit))
    until(lambda: session.image is not None and session.image.sha256 != second)
    until(lambda: session.focus.selection.cell_ids == (order[hit][1],))
    assert session.focus.scope == "like"
    assert session.focus.examples == examples
    until(lambda: keys(panel) == order and dict(shown(panel)) == expected)
    until(lambda: panel.model.rowCount() == len(listed))
    assert [panel.model.concept_at(row) for row in range(len(listed))] == listed
    # With the cells of this image alone, the examples elsewhere still come first.
    panel.below._sources.setCurrentIndex(panel.below._sources.findData("image"))
    panel.below._sources.activated.emit(panel.below._sources.currentIndex())
    front = session.image.sha256
    until(lambda: len(keys(panel)) == 7)
    assert keys(panel)[:2] == list(examples)
    assert {key[0] for key in keys(panel)[2:]} == {front}
    # They go when their image is closed.
    two.image.look_at_image(front)
    session.close_image(second)
    assert session.focus.examples == ()
    assert session.focus.scope == "image"


def test_examples_are_picked_from_several_images(two, viewer, until):
    session, panel = two.session, two.concepts_panel
    viewer.window._qt_window.show()
    two.go_to_step("concepts")
    second = session.image.sha256
    panel.gallery.setCurrentIndex(panel.gallery.model().index(0))
    order = keys(panel)
    assert order[0][0] == second
    other = next(row for row, key in enumerate(order) if key[0] != second)
    ctrl_click(panel.gallery, 1)
    ctrl_click(panel.gallery, other)
    assert session.image.sha256 == second  # the picks stay where they were made
    picked = (order[0], order[1], order[other])
    assert session.focus.picked == picked
    assert panel.gallery.selected() == picked
    panel.scope_chosen.emit("like")
    assert session.focus.examples == picked
    expected = expected_order(session, picked)
    until(lambda: dict(shown(panel)) == expected)
    assert [caption for _, caption in shown(panel)[:3]] == ["example"] * 3


def test_ctrl_click_on_the_slide_picks_one_more_cell_and_one_less(encoded):
    session = encoded.session
    table = session.cells.table.set_index("cell_id")
    ids = [int(i) for i in session.encoded.cell_ids[:2]]
    for cell in ids:
        encoded.layers.picked.emit(*table.loc[cell, ["centroid_y", "centroid_x"]])
    assert session.focus.selection.cell_ids == tuple(ids)
    assert session.focus.scope == "cells"
    encoded.layers.picked.emit(*table.loc[ids[0], ["centroid_y", "centroid_x"]])
    assert session.focus.selection.cell_ids == (ids[1],)
    encoded.layers.picked.emit(1.0, 1.0)  # on the ground
    assert session.focus.selection.cell_ids == (ids[1],)


def column(panel, key):
    """A column of the table as numbers, by concept."""
    model, number = panel.model, KEYS.index(key)
    return {
        model.concept_at(row): model.index(row, number).data()
        for row in range(model.rowCount())
    }


def test_an_image_is_compared_with_the_other_images(two, until):
    session, panel = two.session, two.concepts_panel
    session.focus.set_scope("image")
    parts = [e.activations for _, _, e in session.encoded_images().values()]
    joined = concatenate_activations(parts)
    # Mirrored cells are much alike: made different, so that the FDR says something.
    rows = np.arange(len(parts[0]))
    expected = compare(joined.mean, rows)["fdr"]
    assert expected.notna().any()
    until(lambda: any(column(panel, "fdr").values()))
    dense = joined.mean.toarray()
    here, rest = dense[rows].mean(axis=0), dense[len(rows) :].mean(axis=0)
    effect = (here - rest) / np.maximum(dense.std(axis=0), 1e-12)
    for concept, text in list(column(panel, "specificity").items())[:40]:
        assert float(text) == pytest.approx(effect[concept], abs=0.01)
    for concept, text in list(column(panel, "fdr").items())[:40]:
        assert float(text) == pytest.approx(expected[concept], abs=0.006)


def test_hidden_cells_are_not_what_others_are_compared_with(encoded, until):
    session, panel = encoded.session, encoded.concepts_panel
    session.cells.table["qc"] = ["ok", "ok", "blurred", "ok", "ok"]
    ok = (session.cells.table["qc"] == "ok").to_numpy()
    kept = session.encoded.activations.mean.toarray()[ok].astype(np.float64)
    session.set_hide_flagged(True)
    here = kept.mean(axis=0)
    spread = kept.std(axis=0) / np.maximum(here, 1e-12)

    def as_expected(key, values):
        said = column(panel, key)
        return bool(said) and all(
            abs(float(text) - values[concept]) < 0.01
            for concept, text in said.items()
            if 0.01 < abs(values[concept]) < 900
        )

    until(lambda: as_expected("specificity", spread))
    assert as_expected("here", here)
    present = (session.encoded.activations.n_patches.toarray()[ok] >= 1).mean(axis=0)
    assert as_expected("prevalence", present)
    # Nor the rest of a selection.
    session.focus.select_cells([int(session.encoded.cell_ids[ok][0])])
    session.focus.set_scope("cells")
    effect = (kept[0] - kept[1:].mean(axis=0)) / np.maximum(kept.std(axis=0), 1e-12)
    until(lambda: as_expected("specificity", effect))
    assert as_expected("here", kept[0])
