"""Connects step 4 with the sessions: whose images, which head, the prediction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cytosae.core.types import NoCellsError
from napari_cytosae.session_values import Found
from napari_cytosae.widgets import _patient_tasks
from napari_cytosae.widgets._connections import Connections
from napari_cytosae.widgets._patient_texts import (
    class_bars,
    describe,
    describe_case,
    describe_set,
)
from napari_cytosae.widgets._sentences import counted
from napari_cytosae.widgets.assign_dialog import AssignDialog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import napari

    from napari_cytosae.core.case import CaseImage
    from napari_cytosae.patient_session import PatientSession
    from napari_cytosae.session import Session
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._jobs import JobError
    from napari_cytosae.widgets._patient_layers import PatientLayers
    from napari_cytosae.widgets.patient_panel import PatientPanel

Stamp = tuple[int, int, int]
"""What changes when another file takes the place of one."""

BUILT_IN = "synthetic"
BUILT_IN_NAME = "Synthetic patients (built in)"
SAMPLE = "patients"


class PatientController:
    """Keeps `panel` and `patients` in step, and runs the predictions."""

    def __init__(
        self,
        session: Session,
        patients: PatientSession,
        desk: Desk,
        layers: PatientLayers,
        viewer: napari.Viewer,
        panel: PatientPanel,
        why_not_ready: Callable[[], str],
    ) -> None:
        self._session, self._patients, self._desk = session, patients, desk
        self._layers, self._viewer, self._panel = layers, viewer, panel
        self._why_not_ready = why_not_ready
        self._heads = {BUILT_IN: BUILT_IN_NAME}
        self._head = BUILT_IN
        self._stamp: Stamp | None = None
        panel.assign_clicked.connect(self.open_dialog)
        panel.sample_clicked.connect(self.open_sample)
        panel.predict_clicked.connect(self.predict)
        panel.patient_chosen.connect(patients.look_at)
        panel.head_chosen.connect(self.choose_head)
        panel.class_picked.connect(patients.explain)
        panel.export_clicked.connect(self.export)
        desk.busy_changed.connect(panel.set_busy)
        self._connections = Connections(
            (session.choice_changed, self._forget),
            (session.settings_changed, self._forget),
            (session.hide_flagged_changed, self._read_again),
            (patients.patients_changed, self._show_patients),
            (patients.current_changed, self._show_patients),
            (patients.reading_changed, self._show),
            (patients.label_changed, self._show),
        )
        self._show_heads()
        self._show_patients()

    def close(self) -> None:
        """Leave the sessions."""
        self._connections.close()

    # --- whose images -----------------------------------------------------------------

    def open_dialog(self) -> None:
        """Let the analyst say which image is whose; open images are offered."""
        known = [
            (image, patient)
            for patient in self._patients.patients
            for image in self._patients.images_of(patient)
        ]
        dialog = AssignDialog([*known, *self._layers.images()], parent=self._panel)
        dialog.assigned.connect(self._patients.assign)
        dialog.open()

    def open_sample(self) -> None:
        """Open the smears of the synthetic patients, and assign them."""
        self._desk.run(
            "Drawing the patients", _patient_tasks.draw_patients, self._show_sample
        )

    def _show_sample(self, _: None) -> str:
        self._viewer.open_sample("napari-cytosae", SAMPLE)
        self._patients.assign(self._layers.images())
        first = self._patients.images_of(self._patients.current)[0]
        self._layers.bring_up(first, self._patients.all_images())
        return "Two synthetic patients are open, for trying out only."

    # --- the prediction ---------------------------------------------------------------

    def choose_head(self, reference: str) -> None:
        """Use another head, built in or from a file; loaded with the next prediction."""
        if reference != self._head or self._replaced():
            self._head = reference
            self._heads.setdefault(reference, Path(reference).name)
            self._patients.set_head(None)
            self._show_heads()

    def predict(self) -> None:
        """Examine the patient where that has not been done, and let the head read."""
        session, patients = self._session, self._patients
        patient, head, missing = patients.current, self._head, self._why_not_ready()
        if missing or not patient:
            self._desk.fail(missing or "Assign images to a patient first.")
            return
        sources, absent = [], []
        for image in patients.images_of(patient):
            source = self._layers.pixels(image) or (
                Path(image.path) if image.path else None
            )
            if source is None:
                absent.append(image.name)
            else:
                sources.append(source)
        if absent and patients.case is None:
            self._desk.fail(
                f"{absent[0]} is no longer open: open it again, or take it off the list."
            )
            return
        stamp, replaced = _stamp_of(head), self._replaced()
        loaded = None
        if session.models is not None and session.naming.names is not None:
            loaded = (session.models, session.naming.names)
        work = _patient_tasks.PatientWork(
            patient,
            session.choice,
            loaded,
            head if patients.head is None or replaced else patients.head,
            patients.case,
            sources,
            absent[0] if absent else "",
            session.settings.shows == "single_cell",
            session.settings.field_of_view_um,
            session.encoded_images() if session.models is not None else {},
            dict(session.typed_sizes),
            session.hide_flagged,
            session.spared,
        )

        def done(result: _patient_tasks.Predicted) -> str:
            if session.choice != work.choice or self._head != head:
                return "Models or head were changed meanwhile; the prediction was dropped."
            if session.models is not result.models:
                session.set_models(result.models, result.names)
            self._keep(patient, result.reading.case.images)
            self._stamp = stamp
            patients.set_head(result.reading.head)
            rule = work.leave_out_flagged, work.spared
            if (session.hide_flagged, session.spared) != rule:
                return f"Flagged cells count otherwise now: predict {patient} again."
            patients.set_reading(result.reading)
            problems = result.reading.case.problems
            said = problems[0] if problems else f"{patient}: {describe(result.reading)}"
            copied = patients.copied() if patients.current == patient else []
            return " ".join((said, *copied[:1]))

        def stopped(partials: tuple[Any, ...], error: JobError | None) -> None:
            finished = partials[1:]
            if not finished or session.choice != work.choice:
                return
            if session.models is None:
                session.set_models(*partials[0])
            self._keep(patient, finished)
            if error is not None and issubclass(error.kind, NoCellsError):
                return
            patients.set_examined(patient, len(finished))
            count = counted(len(sources), "image")
            self._desk.add(
                f"Kept {len(finished)} of {count}; Predict goes on from there.", error
            )

        self._desk.run("Predicting", lambda: _patient_tasks.predict(work), done, stopped)

    def export(self, what: str, path: str) -> None:
        """Write predictions, reasons or barcodes of all patients that were predicted."""
        readings = list(self._patients.readings.values())
        names = self._session.naming.as_dict()
        self._desk.run(
            "Exporting",
            lambda: _patient_tasks.export(what, Path(path), readings, names),
            lambda written: f"{counted(len(readings), 'patient')} saved in {written}.",
        )

    def _keep(self, patient: str, images: Sequence[CaseImage]) -> None:
        """Let steps 2 and 3 have what was found, so that an image opens with its cells."""
        session, settings = self._session, self._session.settings
        for image in images:
            assigned = self._patients.images_of(patient)
            named = [one for one in assigned if one.name == image.name]
            if len(named) == 1:
                self._layers.know(named[0], image.sha256)
            size, made = image.cells.pixel_size, (image.crops, image.encoded)
            session.keep(image.sha256, Found(image.cells, settings, size, *made))
            shown = session.image is not None and session.image.sha256 == image.sha256
            if shown and session.cells is None:
                session.set_cells(image.cells, settings)
                session.set_encoded(image.encoded, image.crops, settings.field_of_view_um)

    def _forget(self, _: Any = None) -> None:
        self._patients.forget_cells()

    def _read_again(self, _: Any = None) -> None:
        """Let go what was read by the other rule, of all patients; the cells are kept."""
        shown = self._patients.reading is not None
        self._patients.forget_readings()
        if shown and not self._desk.busy:
            self.predict()

    def _replaced(self) -> bool:
        """Whether the head's file is another one than was read."""
        stamp = _stamp_of(self._head)
        return stamp is not None and stamp != self._stamp

    # --- session -> panel -------------------------------------------------------------

    def _show_heads(self) -> None:
        self._panel.set_heads(
            [(name, reference) for reference, name in self._heads.items()], self._head
        )

    def _show_patients(self, _: Any = None) -> None:
        self._panel.set_patients(self._patients.patients, self._patients.current)

    def _show(self, _: Any = None) -> None:
        patients = self._patients
        reading = patients.reading
        images = patients.images_of(patients.current)
        if reading is None:
            part = f", {patients.examined} examined" if patients.examined else ""
            self._panel.set_about(
                f"{counted(len(images), 'image')}{part}, not yet predicted"
            )
            self._panel.set_result((), "", "", "", found=False)
            return
        self._panel.set_about(describe_case(reading, patients.copied()))
        banner = "Synthetic head, for trying out only." if reading.synthetic else ""
        self._panel.set_result(
            class_bars(reading), patients.label, describe_set(reading), banner, found=True
        )


def _stamp_of(reference: str) -> Stamp | None:
    """Of a head's file; None of the built-in head, and where the file is gone."""
    if reference == BUILT_IN:
        return None
    try:
        found = Path(reference).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
