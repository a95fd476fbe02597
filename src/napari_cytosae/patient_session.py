"""State of step 4: patients and their images, what a head says, what if.

Like `session`, it knows neither Qt nor napari, and changes only through its methods.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_cytosae.patient_calls import Calls
from napari_cytosae.patient_values import PatientImage, WhatIf

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_cytosae.core.case import Case, Known
    from napari_cytosae.core.differential import Differential
    from napari_cytosae.core.heads import Head
    from napari_cytosae.core.reading import Reading
    from napari_cytosae.patient_calls import CellKey
    from napari_cytosae.session_values import StepState

__all__ = ["PatientImage", "PatientSession", "WhatIf"]


class PatientSession:
    """Patients, their images, the head, and what it says of the patient looked at."""

    patients_changed = Signal()
    current_changed = Signal(str)
    head_changed = Signal(object)
    reading_changed = Signal(object)
    outdated_changed = Signal(object)
    others_changed = Signal()
    label_changed = Signal(str)
    what_if_changed = Signal(object)
    concept_changed = Signal(object)
    selected_changed = Signal(object)
    types_changed = Signal()
    differential_changed = Signal(object)

    def __init__(self) -> None:
        self._images: dict[str, tuple[PatientImage, ...]] = {}
        self._current = ""
        self._head: Head | None = None
        self._cases: dict[str, Case] = {}
        self._readings: dict[str, Reading] = {}
        self._examined: dict[str, int] = {}
        self._outdated: dict[str, tuple[str, ...]] = {}
        self._label = ""
        self._what_if = WhatIf()
        self._concept: int | None = None
        self._selected: tuple[int, ...] = ()
        self._calls = Calls()
        self._differential: Differential | None = None

    # --- patients ---------------------------------------------------------------------

    @property
    def patients(self) -> tuple[str, ...]:
        """All that have images, in the order they were assigned."""
        return tuple(self._images)

    @property
    def current(self) -> str:
        """The patient looked at; empty before there is one."""
        return self._current

    def images_of(self, patient: str) -> tuple[PatientImage, ...]:
        """A patient's images."""
        return self._images.get(patient, ())

    def all_images(self) -> tuple[PatientImage, ...]:
        """The images of all patients."""
        return tuple(image for of in self._images.values() for image in of)

    def assign(self, assigned: Sequence[tuple[PatientImage, str]]) -> None:
        """Say whose images these are; what is known of a patient whose images change goes.

        The images given replace all that were assigned before.
        """
        images: dict[str, list[PatientImage]] = {}
        for image, patient in assigned:
            if patient:
                images.setdefault(patient, []).append(image)
        new = {patient: tuple(of) for patient, of in images.items()}
        for patient in [p for p in self._images if new.get(p) != self._images[p]]:
            self._let_go(patient)
        self._images = new
        self.patients_changed.emit()
        if self._current not in new:
            self._current = next(iter(new), "")
        self._look()

    def look_at(self, patient: str) -> None:
        """Look at another patient."""
        if patient in self._images and patient != self._current:
            self._current = patient
            self._look()

    # --- what is known of them --------------------------------------------------------

    @property
    def head(self) -> Head | None:
        """The classifier, once one is loaded."""
        return self._head

    @property
    def case(self) -> Case | None:
        """The present patient's cells, once they are examined."""
        return self.case_of(self._current)

    def case_of(self, patient: str) -> Case | None:
        """A patient's cells, once they are examined."""
        return self._cases.get(patient)

    @property
    def reading(self) -> Reading | None:
        """What the head says of the present patient."""
        return self._readings.get(self._current)

    @property
    def readings(self) -> Mapping[str, Reading]:
        """What it says of each patient it has read."""
        return self._readings

    @property
    def examined(self) -> int:
        """Images of the present patient that were done when the work was stopped."""
        return self._examined.get(self._current, 0)

    def unread(self) -> list[str]:
        """Patients that are to be predicted, or again."""
        return [p for p in self._images if p not in self._readings or p in self._outdated]

    @property
    def outdated(self) -> tuple[str, ...]:
        """Images of the present patient whose cells are others than were read."""
        return self._outdated.get(self._current, ())

    def compare_cells(self, known: Mapping[str, Known]) -> None:
        """Note which patients' cells are others by now, and encoded anew."""
        new = {p: case.outdated_by(known) for p, case in self._cases.items()}
        new = {patient: names for patient, names in new.items() if names}
        if new != self._outdated:
            self._outdated = new
            self.outdated_changed.emit(self.outdated)

    def set_examined(self, patient: str, images: int) -> None:
        """Note how far a patient was examined when the work was stopped."""
        if patient in self._images:
            self._examined[patient] = images
            self._look()

    def set_head(self, head: Head | None) -> None:
        """Use another head; what the former one said is let go, the cells are kept."""
        if head is self._head:
            return
        self._head = head
        self._readings = {}
        self.head_changed.emit(head)
        self._look()

    def set_reading(self, reading: Reading) -> int:
        """Keep what the head says of a patient; how many called cells are others now."""
        case, patient, went = reading.case, reading.case.patient, 0
        if patient not in self._images or reading.head is not self._head:
            return went
        former = self._cases.get(patient)
        if former is not case:
            if former is not None:
                self._calls.set_aside(former)
            went = self._calls.take_up(case)
        self._examined.pop(patient, None)
        self._outdated.pop(patient, None)
        self._cases[patient] = case
        self._readings[patient] = reading
        if patient == self._current:
            self._look()
        else:
            self.others_changed.emit()
        return went

    def forget_readings(self) -> None:
        """Let go what the head said of all patients; the cells are kept."""
        if self._readings:
            self._readings = {}
            self._look()

    def forget_cells(self) -> None:
        """Other models or settings: nothing that was examined holds any more."""
        if self._cases or self._examined:
            for patient in self._images:
                self._let_go(patient)
            self._look()

    def _let_go(self, patient: str) -> None:
        """Forget a patient's cells; what they were called is set aside."""
        case = self._cases.pop(patient, None)
        if case is not None:
            self._calls.set_aside(case)
        self._readings.pop(patient, None)
        self._examined.pop(patient, None)
        self._outdated.pop(patient, None)

    def copied(self) -> list[str]:
        """A sentence for each image of the present patient that another one shows too."""
        case = self.case
        if case is None:
            return []
        from napari_cytosae.core._copies import copies_in

        return copies_in(case, [one for one in self._cases.values() if one is not case])

    @property
    def state(self) -> StepState:
        """Done or to do; attention: no answer, or images that are missing or copied."""
        reading = self.reading
        if reading is None:
            return "todo"
        doubtful = self.outdated or reading.reason or reading.case.problems
        return "attention" if doubtful or self.copied() else "done"

    # --- the explanation --------------------------------------------------------------

    @property
    def label(self) -> str:
        """The class that is explained."""
        return self._label

    def explain(self, label: str) -> None:
        """Explain another class."""
        if label != self._label:
            self._label = label
            self.label_changed.emit(label)

    @property
    def what_if(self) -> WhatIf:
        """What is left out to see what then."""
        return self._what_if

    def leave_out(
        self, concepts: Iterable[int] | None = None, cells: Iterable[int] | None = None
    ) -> None:
        """Leave out these concepts or cells, and no others; None keeps what is left out."""
        new = self._what_if
        if concepts is not None:
            new = replace(new, concepts=frozenset(concepts))
        if cells is not None:
            new = replace(new, cells=frozenset(cells))
        if new != self._what_if:
            self._what_if = new
            self.what_if_changed.emit(new)

    @property
    def concept(self) -> int | None:
        """The concept whose cells are looked at."""
        return self._concept

    def pick(self, concept: int | None) -> None:
        """Look at the cells of another concept."""
        if concept != self._concept:
            self._concept = concept
            self.concept_changed.emit(concept)

    @property
    def selected(self) -> tuple[int, ...]:
        """Positions, in `Reading.rows`, of the cells that are selected."""
        return self._selected

    def select(self, positions: Iterable[int]) -> None:
        """Select cells."""
        new = tuple(positions)
        if new != self._selected:
            self._selected = new
            self.selected_changed.emit(new)

    # --- the differential -------------------------------------------------------------

    @property
    def types(self) -> Mapping[int, str]:
        """What the analyst called the present patient's cells: row of the case -> type."""
        return self._calls.of(self._current)

    def call(self, rows: Iterable[int], cell_type: str) -> None:
        """Say what cells of the present patient are; an empty type takes it back."""
        self._calls.call(self._current, rows, cell_type)
        self._differential = None
        self.types_changed.emit()
        self.differential_changed.emit(None)

    def calls(self) -> Mapping[CellKey, tuple[str, str]]:
        """What the cells of all patients were called: cell -> patient, type."""
        return self._calls.everything(self._cases.values())

    def keep_calls(self, calls: Mapping[CellKey, tuple[str, str]]) -> None:
        """Take up `calls` of before, for patients as soon as their cells are known."""
        self._calls.keep(calls)

    @property
    def differential(self) -> Differential | None:
        """What was proposed from the calls; None once they have changed."""
        return self._differential

    def set_differential(self, found: Differential) -> None:
        """Keep what was proposed."""
        self._differential = found
        self.differential_changed.emit(found)

    def _look(self) -> None:
        """Announce the present patient, nothing left out and its own class explained.

        `reading_changed` stands for all that hangs on the reading: who listens to it shows
        everything anew, once.
        """
        reading = self.reading
        self._what_if, self._concept, self._selected = WhatIf(), None, ()
        self._differential = None
        self._label = "" if reading is None else reading.predicted
        self.current_changed.emit(self._current)
        self.reading_changed.emit(reading)
