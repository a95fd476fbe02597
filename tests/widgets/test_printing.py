"""Pages printed as PDF, beside a dock whose jobs run in Python's threads."""

from __future__ import annotations

import threading

import pytest
from qtpy.QtPdf import QPdfDocument

from napari_cytosae.core.types import OutputError
from napari_cytosae.widgets._printing import write_page

PAGE = (
    "<html><head><title>Concept 7</title></head><body><h1>Concept 7</h1>"
    + "<p>Azurophilic granules.</p>" * 300
    + "</body></html>"
)


def test_a_job_prints_without_a_word_from_qt(qtbot, qtlog, capfd, tmp_path):
    path = tmp_path / "page.pdf"
    job = threading.Thread(target=write_page, args=(path, PAGE))
    job.start()
    qtbot.waitUntil(lambda: not job.is_alive())
    printed = QPdfDocument()
    assert printed.load(str(path)) == QPdfDocument.Error.None_
    words = "".join(printed.getAllText(page).text() for page in range(printed.pageCount()))
    assert printed.pageCount() > 1
    assert words.count("Azurophilic granules.") == 300
    # To whichever handler Qt's messages go: napari's prints them.
    assert [record.message for record in qtlog.records] == []
    assert capfd.readouterr().err == ""


def test_where_nothing_can_be_written_the_former_page_stays(qtbot, tmp_path):
    resource = pytest.importorskip("resource")  # not on Windows
    path = tmp_path / "page.pdf"
    write_page(path, PAGE)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(OutputError, match="make room on the disk"):
            write_page(path, PAGE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["page.pdf"]
