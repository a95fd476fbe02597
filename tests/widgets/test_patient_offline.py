"""Nothing leaves the machine: the panel of step 4 opens no socket."""

from __future__ import annotations

import socket

import pytest


@pytest.fixture
def refused(monkeypatch):
    """Sockets that were asked for; none is given."""
    asked = []

    def refuse(*args, **options):
        asked.append(args)
        raise OSError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    for name in ("create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    return asked


def test_from_the_images_to_the_answer_and_its_reasons(assigned, until, tmp_path, refused):
    dock, panel, patients = assigned, assigned.patient_panel, assigned.patients
    for patient in ("Q", "P"):
        patients.look_at(patient)
        panel.predict_clicked.emit()
        until(lambda: patients.reading is not None and not dock.desk.busy)
    # Why: a concept, its cells, the slide of one of them, and without it.
    concept = next(bar.key for bar in panel.why.waterfall.bars if bar.key is not None)
    panel.why.waterfall.selectRow(
        next(i for i, bar in enumerate(panel.why.waterfall.bars) if bar.key == concept)
    )
    assert patients.concept == concept
    patients.pick(None)
    panel.gallery.cell_activated.emit(0)
    until(lambda: bool(dock.session.focus.selection.cell_ids))
    patients.leave_out(cells=[0])
    assert panel.why._what_if.text()
    # Compare, and the map.
    panel.pages.setCurrentWidget(panel.compare)
    until(lambda: "FDR 5 %" in panel.compare._said.text())
    panel.compare.map_clicked.emit()
    until(lambda: dock.desk._jobs.running("patient map") is None)
    # Count, and what is saved.
    panel.pages.setCurrentWidget(panel.count)
    patients.call(range(3), "band")
    patients.call(range(3, 6), "blast")
    panel.count.propose_clicked.emit()
    until(lambda: patients.differential is not None)
    panel.count.export_clicked.emit(str(tmp_path / "differential.csv"))
    until(lambda: "Saved in" in dock.strip.text)
    for what, name in (("predictions", "p.csv"), ("why", "w.csv"), ("barcodes", "b.h5ad")):
        panel.export_clicked.emit(what, str(tmp_path / name))
        until(lambda n=name: n in dock.strip.text and not dock.desk.busy)
    assert refused == []
