"""Where concepts fire: all of them, those in view first, while nothing else runs."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_cytosae.core._location import PLACES, location, mask_fractions
from napari_cytosae.core.types import Progress
from napari_cytosae.core.whereabouts import Locator
from napari_cytosae.widgets import _concept_tasks, concept_table
from napari_cytosae.widgets._concept_columns import HEADERS

KEYS = list(HEADERS)


@pytest.fixture
def panel(encoded, monkeypatch):
    monkeypatch.setattr(_concept_tasks, "LOCATED", 10)
    monkeypatch.setattr(concept_table, "_IN_VIEW", 5)
    return encoded.concepts_panel


def truth(session):
    """Of all concepts that fire, from their whole maps."""
    fires = np.unique(session.encoded.activations.max.indices).tolist()
    grids = session.models.concept_grids(session.encoded, fires)
    masks = mask_fractions(session.cells, session.encoded.boxes, session.models.grid)
    return location(grids, masks, fires)


def listed(panel):
    return {panel.model.concept_at(row) for row in range(panel.model.rowCount())}


def afresh(session):
    """As if nothing had been located yet."""
    session.set_encoded(session.encoded, session.crops, 25.0)


def test_no_background_is_left_once_all_is_located(encoded, panel, until):
    session = encoded.session
    afresh(session)
    panel.model.set_keep("background")
    until(lambda: panel.model.count > 0 and not len(panel.model.unlocated()))
    expected = truth(session)
    assert listed(panel) == set(expected.index[~(expected["outside"] > 0.5)])
    assert 0 < panel.model.rowCount() < panel.model.count
    assert "not located" not in panel.search.count.text()
    # All three shares are said, and are columns.
    concept = panel.model.concept_at(0)
    shares = expected.loc[concept, list(PLACES)].astype(float)
    where = panel.model.index(0, KEYS.index("where"))
    said = ", ".join(f"{place} {share:.0%}" for place, share in shares.items())
    assert where.data(Qt.ItemDataRole.ToolTipRole) == f"Share of its activation: {said}"
    columns = [panel.model.index(0, KEYS.index(place)).data() for place in PLACES]
    assert np.allclose([float(text) for text in columns], shares, atol=0.01)
    panel.table.sortByColumn(KEYS.index("nucleus"), Qt.SortOrder.DescendingOrder)
    kept = expected[~(expected["outside"] > 0.5)]["nucleus"].astype(float)
    assert kept[panel.model.concept_at(0)] == pytest.approx(kept.max())


def test_the_rows_in_view_come_first(encoded, panel, until, monkeypatch):
    session, asked, go = encoded.session, [], threading.Event()
    locate = Locator.locate

    def watched(self, concepts):
        asked.append(list(concepts))
        while not go.wait(0.01):
            yield Progress("Locating", 0, 0)
        return (yield from locate(self, concepts))

    monkeypatch.setattr(Locator, "locate", watched)
    until(lambda: encoded.jobs.running("where") is None)
    afresh(session)
    until(lambda: bool(asked))
    here = session.encoded.activations.mean.toarray().mean(axis=0)
    assert asked[0] == np.argsort(-here, kind="stable")[:5].tolist()
    # Sorted the other way meanwhile, what is in view then is located next.
    panel.table.sortByColumn(KEYS.index("here"), Qt.SortOrder.AscendingOrder)
    until(lambda: len(asked) > 1)
    assert asked[1] == [panel.model.concept_at(row) for row in range(5)]
    go.set()
    until(lambda: not len(panel.model.unlocated()))
    assert set(asked[0]) <= {concept for block in asked[2:] for concept in block}


def test_what_becomes_known_leaves_selection_and_rows_in_view(encoded, panel, until, qtbot):
    session, model, table = encoded.session, panel.model, panel.table
    encoded.go_to_step("concepts")
    until(lambda: not len(model.unlocated()))
    whole = model._rows
    afresh(session)
    encoded.jobs.abandon("where")
    until(lambda: model.rowCount() > 100)
    session.focus.select_concept(model.concept_at(60))
    assert table.currentIndex().row() == 60
    model.set_keep("background")
    table.scrollTo(model.index(40, 0), table.ScrollHint.PositionAtTop)
    shown = set(whole.concept[whole.order("here", descending=True, keep="background")])
    first = next(c for c in map(model.concept_at, range(40, 100)) if c in shown)
    table.scrollTo(model.index(model.row_of(first), 0), table.ScrollHint.PositionAtTop)
    before = model.rowCount()
    model.update_rows(whole)
    assert model.rowCount() < before
    assert table.verticalHeader().count() == model.rowCount()
    kept = session.focus.selection.concept in shown
    row = model.row_of(session.focus.selection.concept) if kept else None
    assert table.currentIndex().row() == (-1 if row is None else row)
    if table.verticalScrollBar().value() < table.verticalScrollBar().maximum():
        assert model.concept_at(table.rowAt(0)) == first


def test_the_selected_row_stays_in_view_when_those_around_it_go(
    encoded, panel, until, viewer
):
    session, model, table = encoded.session, panel.model, panel.table
    viewer.window._qt_window.show()
    encoded.go_to_step("concepts")
    model.set_keep("background")
    until(lambda: not len(model.unlocated()))
    whole = model._rows
    left = [model.concept_at(row) for row in range(model.rowCount())]
    afresh(session)
    encoded.jobs.abandon("where")
    until(lambda: model.rowCount() > len(left))
    everything = [model.concept_at(row) for row in range(model.rowCount())]
    # One that stays, below one that goes: this is the first in view.
    row = next(
        r
        for r in range(60, 150)
        if {*everything[r : r + 2]} & {*left} == {everything[r + 1]}
    )
    session.focus.select_concept(everything[row + 1])
    table.scrollTo(model.index(row, 0), table.ScrollHint.PositionAtTop)
    assert model.concept_at(table.rowAt(0)) == everything[row]
    model.update_rows(whole)
    assert table.currentIndex().row() == left.index(everything[row + 1])
    assert table.viewport().rect().contains(table.visualRect(table.currentIndex()).center())


def test_hidden_cells_do_not_count(encoded, panel, until, tmp_path):
    session, model = encoded.session, panel.model
    session.set_hide_flagged(hide=False)
    until(lambda: not len(model.unlocated()))
    everywhere = session.exploration.where
    session.set_hide_flagged(hide=True)
    rows = session.rows()
    assert 0 < len(rows) < len(session.encoded)
    until(lambda: session.exploration.where is not None and not len(model.unlocated()))
    where = session.exploration.where
    fires = where.index[where["outside"].notna()].tolist()
    grids = session.models.concept_grids(session.encoded, fires)[:, rows]
    masks = mask_fractions(session.cells, session.encoded.boxes[rows], session.models.grid)
    expected = location(grids, masks, fires)[list(PLACES)]
    np.testing.assert_allclose(where.loc[fires, list(PLACES)], expected, atol=1e-5)
    assert not np.allclose(everywhere.loc[fires, list(PLACES)], expected)
    # Nor in a passport: neither as cells that it fires in, nor as their pictures.
    concept = max(fires, key=lambda each: expected.loc[each, "outside"])
    session.focus.select_concept(concept)
    panel.tools.chosen.emit("passport", str(tmp_path / "page"))
    until(lambda: (tmp_path / "page.html").exists())
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    fired = int((grids[fires.index(concept)].max(axis=(1, 2)) > 0).sum())
    assert f"of {len(rows)}</td>" in text
    assert f"of {fired} in which it fires" in text
    for cell in session.hidden_cells():
        assert f"cell {cell}<" not in text
