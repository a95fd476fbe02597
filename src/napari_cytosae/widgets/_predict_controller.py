"""Connects the prediction with the sessions: which head reads which cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cytosae.core.assignment import told_apart
from napari_cytosae.core.types import NoCellsError
from napari_cytosae.session_found import Found
from napari_cytosae.widgets import _patient_tasks
from napari_cytosae.widgets._connections import Connections
from napari_cytosae.widgets._patient_texts import describe, describe_went
from napari_cytosae.widgets._sentences import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_cytosae.core.case import CaseImage, Known
    from napari_cytosae.patient_session import PatientSession
    from napari_cytosae.session import Session
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._jobs import JobError
    from napari_cytosae.widgets._patient_layers import PatientLayers
    from napari_cytosae.widgets._patient_tasks import PatientWork, Predicted, Predictions
    from napari_cytosae.widgets.patient_panel import PatientPanel

Stamp = tuple[int, int, int]
"""What changes when another file takes the place of one."""

BUILT_IN = "synthetic"
BUILT_IN_NAME = "Synthetic patients (built in)"


class PredictController:
    """Runs the predictions, and knows when they hold no more."""

    def __init__(
        self,
        session: Session,
        patients: PatientSession,
        desk: Desk,
        layers: PatientLayers,
        panel: PatientPanel,
        why_not_ready: Callable[[], str],
    ) -> None:
        self._session, self._patients, self._desk = session, patients, desk
        self._layers, self._panel = layers, panel
        self._why_not_ready = why_not_ready
        self._heads = {BUILT_IN: BUILT_IN_NAME}
        self._head = BUILT_IN
        self._stamp: Stamp | None = None
        panel.predict_clicked.connect(self.predict)
        panel.predict_all_clicked.connect(self.predict_all)
        panel.head_chosen.connect(self.choose_head)
        self._connections = Connections(
            (session.choice_changed, self._forget),
            (session.settings_changed, self._forget),
            (session.hide_flagged_changed, self._read_again),
            (session.cells_changed, self._compare_cells),
            (session.encoded_changed, self._compare_cells),
            (session.kept, self._compare_cells),
        )
        self._show_heads()

    def close(self) -> None:
        """Leave the sessions."""
        self._connections.close()

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
        stamp, work = _stamp_of(head), self._work(patient)
        if work.absent and work.case is None:
            self._desk.fail(
                f"{work.absent} is no longer open: open it again, or take it off the list."
            )
            return

        def done(result: Predicted) -> str:
            return self._take(work, head, stamp, result)

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
            count = counted(len(work.sources), "image")
            self._desk.add(
                f"Kept {len(finished)} of {count}; Predict goes on from there.", error
            )

        self._desk.run("Predicting", lambda: _patient_tasks.predict(work), done, stopped)

    def predict_all(self) -> None:
        """Predict all patients that are not predicted, or were before their cells changed.

        The one looked at comes last, so that it is compared with all others.
        """
        patients, head, missing = self._patients, self._head, self._why_not_ready()
        todo = sorted(patients.unread(), key=lambda patient: patient == patients.current)
        if missing or not todo:
            (self._desk.fail if missing else self._desk.say)(
                missing or "All patients are predicted."
            )
            return
        stamp, works = _stamp_of(head), [self._work(patient) for patient in todo]
        of = counted(len(works), "patient")
        work_of = dict(zip(todo, works, strict=True))

        def take(results: Sequence[Predicted]) -> list[str]:
            return [
                self._take(work_of[one.reading.case.patient], head, stamp, one)
                for one in results
            ]

        def done(result: Predictions) -> str:
            said, count = take(result.predicted), len(result.predicted)
            of_all = (
                f"{count} of {of} predicted." if count < len(works) else f"{of} predicted."
            )
            last = said[-1] if len(said) == 1 else ""
            return " ".join(filter(None, (of_all, *result.problems[:1], last)))

        def stopped(partials: tuple[Any, ...], error: JobError | None) -> None:
            results = [one for one in partials if isinstance(one, _patient_tasks.Predicted)]
            if results:
                take(results)
                kept = f"Kept {len(results)} of {of}; Predict all goes on from there."
                self._desk.add(kept, error)

        self._desk.run(
            "Predicting", lambda: _patient_tasks.predict_all(works), done, stopped
        )

    def _take(
        self, work: PatientWork, head: str, stamp: Stamp | None, result: Predicted
    ) -> str:
        """Keep a prediction, where it is still wanted; what to say of it."""
        session, patients, reading = self._session, self._patients, result.reading
        if session.choice != work.choice or self._head != head:
            return "Models or head were changed meanwhile; the prediction was dropped."
        if session.models is not result.models:
            session.set_models(result.models, result.names)
        self._keep(work.patient, reading.case.images)
        self._stamp = stamp
        patients.set_head(reading.head)
        rule = work.leave_out_flagged, work.spared
        if (session.hide_flagged, session.spared) != rule:
            return f"Flagged cells count otherwise now: predict {work.patient} again."
        went = patients.set_reading(reading)
        problems = reading.case.problems
        said = problems[0] if problems else f"{work.patient}: {describe(reading)}"
        copied = patients.copied() if patients.current == work.patient else []
        return " ".join(filter(None, (said, *copied[:1], describe_went(went))))

    def _work(self, patient: str) -> PatientWork:
        """What a prediction needs to know."""
        session, patients = self._session, self._patients
        sources, absent = [], []
        images = patients.images_of(patient)
        for image in images:
            source = self._layers.pixels(image) or (
                Path(image.path) if image.path else None
            )
            if source is None:
                absent.append(image.name)
            else:
                sources.append(source)
        loaded = None
        if session.models is not None and session.naming.names is not None:
            loaded = (session.models, session.naming.names)
        anew = patients.head is None or self._replaced()
        return _patient_tasks.PatientWork(
            patient,
            session.choice,
            loaded,
            self._head if anew or patients.head is None else patients.head,
            patients.case_of(patient),
            sources,
            told_apart([image.path or image.name for image in images]),
            absent[0] if absent else "",
            session.settings.shows == "single_cell",
            session.settings.field_of_view_um,
            self._known(),
            dict(session.typed_sizes),
            session.hide_flagged,
            session.spared,
        )

    def _known(self) -> dict[str, Known]:
        """The cells of steps 2 and 3 that count as they are, by the image's sha256."""
        shows = self._session.settings.shows
        found = self._session.found_images()
        known = {sha256: one.cells_to_count(shows) for sha256, one in found.items()}
        return {sha256: cells for sha256, cells in known.items() if cells is not None}

    def _compare_cells(self, _: Any = None) -> None:
        """See whether what was predicted is still about the cells that are there."""
        self._patients.compare_cells(self._known())

    def _keep(self, patient: str, images: Sequence[CaseImage]) -> None:
        """Let steps 2 and 3 have what was found, so that an image opens with its cells."""
        session, settings = self._session, self._session.settings
        assigned, there = self._patients.images_of(patient), session.found_images()
        for image in images:
            self._layers.know(assigned[image.number], image.sha256)
            size, made = image.cells.pixel_size, (image.crops, image.encoded)
            found = Found(image.cells, settings, size, *made)
            former = there.get(image.sha256)
            if former is not None and former.cells is image.cells:
                found = former.seen(*made, settings.field_of_view_um)
            session.keep(image.sha256, found)
            if session.image is None or session.image.sha256 != image.sha256:
                continue
            if session.cells is None:
                session.set_cells(image.cells, settings)
            if session.cells is image.cells and session.encoded is not image.encoded:
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

    def _show_heads(self) -> None:
        self._panel.set_heads(
            [(name, reference) for reference, name in self._heads.items()], self._head
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
