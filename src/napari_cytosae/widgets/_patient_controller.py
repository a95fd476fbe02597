"""Connects step 4 with the sessions: whose images, what is shown and saved of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cytosae.widgets import _patient_tasks
from napari_cytosae.widgets._connections import Connections
from napari_cytosae.widgets._patient_texts import (
    class_bars,
    describe_case,
    describe_outdated,
    describe_set,
)
from napari_cytosae.widgets._sentences import counted
from napari_cytosae.widgets.assign_dialog import AssignDialog

if TYPE_CHECKING:
    import napari

    from napari_cytosae.patient_session import PatientSession
    from napari_cytosae.session import Session
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._patient_layers import PatientLayers
    from napari_cytosae.widgets.patient_panel import PatientPanel

SAMPLE = "patients"


class PatientController:
    """Keeps `panel` and `patients` in step."""

    def __init__(
        self,
        session: Session,
        patients: PatientSession,
        desk: Desk,
        layers: PatientLayers,
        viewer: napari.Viewer,
        panel: PatientPanel,
    ) -> None:
        self._session, self._patients, self._desk = session, patients, desk
        self._layers, self._viewer, self._panel = layers, viewer, panel
        panel.assign_clicked.connect(self.open_dialog)
        panel.sample_clicked.connect(self.open_sample)
        panel.patient_chosen.connect(patients.look_at)
        panel.class_picked.connect(patients.explain)
        panel.export_clicked.connect(self.export)
        desk.busy_changed.connect(panel.set_busy)
        self._connections = Connections(
            (patients.patients_changed, self._show_patients),
            (patients.current_changed, self._show_patients),
            (patients.reading_changed, self._show),
            (patients.label_changed, self._show),
            (patients.outdated_changed, self._show),
        )
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

    def export(self, what: str, path: str) -> None:
        """Write predictions, reasons or barcodes of all patients that were predicted."""
        readings = list(self._patients.readings.values())
        names = self._session.naming.as_dict()
        self._desk.run(
            "Exporting",
            lambda: _patient_tasks.export(what, Path(path), readings, names),
            lambda written: f"{counted(len(readings), 'patient')} saved in {written}.",
        )

    # --- session -> panel -------------------------------------------------------------

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
        outdated = describe_outdated(patients.outdated)
        about = describe_case(reading, patients.copied())
        self._panel.set_about(f"{about}. {outdated}" if outdated else about)
        banner = "Synthetic head, for trying out only." if reading.synthetic else ""
        self._panel.set_result(
            class_bars(reading), patients.label, describe_set(reading), banner, found=True
        )
