"""The Qt binding that the extra `[all]` chooses is sound on this Python."""

from __future__ import annotations

import sys

from qtpy.QtWidgets import QWidget


def test_calls_that_return_none_keep_its_references(qtbot):
    """PySide6 6.12 loses one a call; before Python 3.12 the interpreter dies of it."""
    widget = QWidget()
    qtbot.addWidget(widget)
    before = sys.getrefcount(None)
    for _ in range(500):
        widget.parent()
    assert sys.getrefcount(None) > before - 250 or sys.version_info >= (3, 12)
