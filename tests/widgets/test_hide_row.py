"""For which reasons cells are hidden: chosen in step 2, and everywhere the same."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_cytosae.widgets._scopes import shown_rows


@pytest.fixture
def flagged(encoded):
    """Encoded cells, three of the five flagged."""
    table = encoded.session.cells.table
    table["qc"] = ["ok", "border", "smudge; border", "ok", "out of focus"]
    return encoded


def untick(dock, reason):
    dock.cells_panel.hiding._actions[reason].trigger()


def in_gallery(dock):
    model = dock.concepts_panel.gallery.model()
    return sorted(key[-1] for key in model.keys_of(range(model.rowCount())))


def test_the_chosen_reasons_hide_in_outlines_ranking_and_gallery(flagged, until):
    session, row = flagged.session, flagged.cells_panel.hiding
    assert row._reasons.text() == "for any reason"
    row._hide.click()
    assert session.hidden_cells() == {2, 3, 5}
    until(lambda: in_gallery(flagged) == [1, 4])
    untick(flagged, "border")
    assert row._reasons.text() == "for 5 reasons"
    assert session.hidden_cells() == {3, 5}
    until(lambda: in_gallery(flagged) == [1, 2, 4])
    encoded = session.encoded
    assert encoded.cell_ids[session.rows()].tolist() == [1, 2, 4]
    rows = shown_rows(session, session.cells, encoded)
    np.testing.assert_array_equal(rows, session.rows())
    layer = flagged.layers.outlines.layer()
    until(lambda: layer.colormap.map(2)[3] == 1)
    assert [layer.colormap.map(i)[3] for i in (3, 5)] == [0, 0]
    # One click shows all again, and the choice is kept.
    row._hide.click()
    until(lambda: in_gallery(flagged) == [1, 2, 3, 4, 5])
    assert session.spared == {"border"}


def test_without_hiding_a_choice_changes_nothing(flagged):
    heard = []
    flagged.session.hide_flagged_changed.connect(heard.append)
    untick(flagged, "smudge")
    assert flagged.session.hidden_cells() == frozenset()
    assert heard == []


def test_the_menu_stays_open_while_reasons_are_ticked(flagged, qtbot):
    menu = flagged.cells_panel.hiding._menu
    menu.popup(flagged.mapToGlobal(flagged.rect().center()))
    qtbot.waitUntil(menu.isVisible)
    for reason in ("border", "clump"):
        place = menu.actionGeometry(flagged.cells_panel.hiding._actions[reason]).center()
        qtbot.mouseMove(menu, place)
        qtbot.mouseClick(menu, Qt.MouseButton.LeftButton, pos=place)
        assert menu.isVisible()
    assert flagged.session.spared == {"border", "clump"}
    menu.close()


def test_a_session_remembers_the_reasons(flagged, until, tmp_path):
    tools, session = flagged.concepts_panel.tools, flagged.session
    untick(flagged, "border")
    session.set_hide_flagged(True)
    tools.chosen.emit("save", str(tmp_path / "s"))
    until(lambda: "Saved" in flagged.strip.text and not flagged.desk.busy)
    session.set_spared(())
    assert flagged.cells_panel.hiding._reasons.text() == "for any reason"
    tools.chosen.emit("open", str(tmp_path / "s"))
    until(lambda: session.spared == {"border"} and not flagged.desk.busy)
    assert flagged.cells_panel.hiding._reasons.text() == "for 5 reasons"
    assert session.hidden_cells() == {3, 5}
