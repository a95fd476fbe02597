"""The row of kept cells: what it says, and that clearing clears."""

from __future__ import annotations

import numpy as np
from qtpy.QtWidgets import QLabel, QPushButton

from napari_cytosae.core.cache import KeptCell, open_cache
from napari_cytosae.session import Session
from napari_cytosae.widgets._cache_controller import CacheController
from napari_cytosae.widgets._desk import Desk
from napari_cytosae.widgets._jobs import Jobs
from napari_cytosae.widgets.cache_row import CacheRow
from napari_cytosae.widgets.status_strip import StatusStrip


def text(row: CacheRow) -> str:
    return row.findChild(QLabel).text()


def controlled(qtbot) -> tuple[CacheRow, CacheController]:
    row, strip = CacheRow(), StatusStrip()
    jobs = Jobs(parent=row)
    for widget in (row, strip):
        qtbot.addWidget(widget)
    desk = Desk(jobs, strip, parent=row)
    return row, CacheController(Session(), desk, jobs, row)


def test_kept_cells_are_counted_and_cleared(qtbot, monkeypatch, tmp_path):
    monkeypatch.setenv("CYTOSAE_CACHE_MB", "100")
    monkeypatch.setenv("CYTOSAE_HOME", str(tmp_path))
    cell = KeptCell(np.arange(3, dtype=np.int32), np.ones((5, 3), np.float32), None, None)
    for key in "ab":
        open_cache().write(key, cell)
    row, controller = controlled(qtbot)
    button = row.findChild(QPushButton)
    qtbot.waitUntil(lambda: text(row) == "2 cells, 0 MB")
    assert button.isEnabled()
    button.click()
    qtbot.waitUntil(lambda: text(row) == "none")
    assert not button.isEnabled()
    assert not list((tmp_path / "encoded").iterdir())
    # Cells that were encoded meanwhile are counted.
    open_cache().write("c", cell)
    controller._session.encoded_changed.emit(None)
    qtbot.waitUntil(lambda: text(row) == "1 cell, 0 MB")
    controller.close()


def test_a_cache_that_is_off(qtbot):
    row, controller = controlled(qtbot)
    qtbot.waitUntil(lambda: text(row) == "none: CYTOSAE_CACHE_MB is 0")
    assert not row.findChild(QPushButton).isEnabled()
    controller.close()
