"""Whose images are whose, and what cells were called, as a session's file says it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_cytosae.patient_values import PatientImage

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_cytosae.patient_session import PatientSession


@dataclass(frozen=True, slots=True)
class Assigned:
    """An image, and whose it is.

    Attributes
    ----------
    image : PatientImage
    sha256 : str
        Of the image of a layer without a file, whose identity holds for a viewer alone.
    patient : str
    """

    image: PatientImage
    sha256: str
    patient: str


@dataclass(frozen=True, slots=True)
class Called:
    """What a patient's cell was called; sha256, id and outline tell which it is."""

    sha256: str
    cell_id: int
    outline: tuple[float, ...]
    patient: str
    cell_type: str


@dataclass(frozen=True, slots=True)
class PatientsView:
    """Step 4 of a dock.

    Attributes
    ----------
    assigned : tuple of Assigned
    current : str
        The patient looked at.
    calls : tuple of Called
    """

    assigned: tuple[Assigned, ...]
    current: str
    calls: tuple[Called, ...]


def patients_view(
    patients: PatientSession, sha256_of: Callable[[str], str]
) -> PatientsView | None:
    """What there is to keep, if anything; `sha256_of` is given the identity of a layer."""
    assigned = tuple(
        Assigned(image, sha256_of(image.layer) if image.layer else "", patient)
        for patient in patients.patients
        for image in patients.images_of(patient)
    )
    calls = tuple(
        Called(*cell, patient, cell_type)
        for cell, (patient, cell_type) in patients.calls().items()
    )
    return PatientsView(assigned, patients.current, calls) if assigned or calls else None


def read_patients(view: dict[str, Any] | None) -> PatientsView | None:
    """A view from JSON values; `LookupError`, `TypeError` or `ValueError` if damaged."""
    if view is None:
        return None
    return PatientsView(
        tuple(
            Assigned(PatientImage(**a["image"]), str(a["sha256"]), str(a["patient"]))
            for a in view["assigned"]
        ),
        str(view["current"]),
        tuple(
            Called(**called | {"outline": tuple(map(float, called["outline"]))})
            for called in view["calls"]
        ),
    )


def restore_patients(
    patients: PatientSession, view: PatientsView, layer_of: Callable[[str], str]
) -> None:
    """Assign the images again; `layer_of` gives the identity of an image's layer, if any.

    What cells were called is found again with the cells, when they are predicted.
    """
    assigned = [
        (replace(a.image, layer=layer_of(a.sha256) if a.sha256 else ""), a.patient)
        for a in view.assigned
    ]
    patients.keep_calls(
        {(c.sha256, c.cell_id, c.outline): (c.patient, c.cell_type) for c in view.calls}
    )
    patients.assign([(image, of) for image, of in assigned if image.path or image.layer])
    patients.look_at(view.current)
