"""Pages of `core.html` as files: as they are, or printed as PDF with Qt."""

from __future__ import annotations

import os
import re
from pathlib import Path

from napari_cytosae.core.files import atomic_file
from napari_cytosae.core.types import CytoError, OutputError

_A_ROW = 5
"""Pictures side by side on a page."""

_STYLE = """
body { font-size: 9pt } h1 { font-size: 15pt } h2 { font-size: 11pt; margin-top: 14px }
td, th { padding-right: 12px } figcaption, code { font-size: 8pt } .note { color: #a04000 }
"""
"""For Qt, which knows a small part of CSS."""


def write_page(path: Path | str, page: str) -> None:
    """Write a page, as PDF where the file is called so, else as HTML; whole or not at all.

    Raises
    ------
    CytoError
        If a PDF is wanted and there is no Qt.
    OutputError
        If it cannot be written.
    """
    with atomic_file(path) as temporary:
        if Path(path).suffix.lower() == ".pdf":
            _print(temporary, page)
        else:
            temporary.write_text(page, encoding="utf-8")


def _print(path: Path, page: str) -> None:
    try:
        from qtpy.QtCore import QThreadPool
        from qtpy.QtGui import QGuiApplication
    except ImportError as error:  # qtpy's own are ImportErrors, too
        raise CytoError(
            "A PDF needs Qt: pip install 'napari-cytosae[all]', or save the page as .html "
            "and print it."
        ) from error
    application = QGuiApplication.instance()
    if application is None:
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        application = QGuiApplication([])
    # A document is laid out with timers, which Qt has only in threads of its own.
    pool = QThreadPool()
    pool.start(lambda: _lay_out(path, _simplified(page)))
    pool.waitForDone()
    if not path.stat().st_size:  # Qt only prints why
        raise OutputError(
            "The PDF could not be written: make room on the disk, or save it as .html and "
            "print that."
        )


def _lay_out(path: Path, html: str) -> None:
    from qtpy.QtCore import QMarginsF
    from qtpy.QtGui import QPageSize, QPdfWriter, QTextDocument

    document = QTextDocument()
    document.setDefaultStyleSheet(_STYLE)
    document.setHtml(html)
    writer = QPdfWriter(str(path))
    writer.setTitle(document.metaInformation(QTextDocument.MetaInformation.DocumentTitle))
    writer.setPageSize(QPageSize(QPageSize.PageSizeId.A4))
    # The document has margins of 2 cm of its own.
    writer.setPageMargins(QMarginsF(0, 0, 0, 0))
    document.print_(writer)


def _simplified(page: str) -> str:
    """The page without what Qt does not know: its style, and pictures side by side."""
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.S)
    return re.sub(r'<div class="pictures">(.*?)</div>', _in_rows, body, flags=re.S)


def _in_rows(pictures: re.Match[str]) -> str:
    figures = re.findall(r"<figure>(.*?)</figure>", pictures[1], flags=re.S)
    cells = [
        f"<td>{figure.replace('<figcaption>', '<br>').replace('</figcaption>', '')}</td>"
        for figure in figures
    ]
    rows = ["".join(cells[i : i + _A_ROW]) for i in range(0, len(cells), _A_ROW)]
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"
