"""Which cells concepts are ranked by, and against which others; no Qt, no napari."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import numpy.typing as npt

    from napari_cytosae.core.types import Cells, ConceptActivations, Encoded
    from napari_cytosae.patient_session import PatientSession
    from napari_cytosae.session import Session
    from napari_cytosae.session_found import Found
    from napari_cytosae.session_values import Place

    Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The cells of one image that count.

    Attributes
    ----------
    activations : ConceptActivations
        Of all cells of the image.
    shown : ndarray of int64
        Rows of those that count: hidden ones do not, neither here nor as the rest.
    chosen : ndarray of int64
        Those of `shown` that are ranked by; the others are what they are compared with.
    """

    activations: ConceptActivations
    shown: Rows
    chosen: Rows


def parts(session: Session, patients: PatientSession, *, others: bool) -> list[Part]:
    """The cells that the session's scope stands for, and the rest.

    A whole image is compared with the other encoded images, some of its cells with its
    other cells, a patient with all other encoded cells, and examples with all cells that
    the gallery searches (`others`: those of all images).
    """
    scope = session.focus.scope
    if scope == "like":
        return [
            _part(of, rows, _on_image(session.focus.examples, key))
            for key, (of, rows) in searched(session, others=others).items()
        ]
    if scope == "patient":
        return [
            _part(of, _shown(session, of), None if theirs else ())
            for of, theirs in _images_of_patient(session, patients)
        ]
    here = session.found
    found = [_part(here, _shown(session, here), cells_of(session))]
    for key, of in _elsewhere(session).items():
        picked = _on_image(session.focus.selection.elsewhere, key)
        if scope == "image":
            found.append(_part(of, _shown(session, of), ()))
        elif scope == "cells" and picked:
            found.append(_part(of, _shown(session, of), picked))
    return found


def same_cells(some: Sequence[Part], others: Sequence[Part]) -> bool:
    """Whether the same cells count, whichever of them are ranked by."""
    return len(some) == len(others) and all(
        one.activations is other.activations and np.array_equal(one.shown, other.shown)
        for one, other in zip(some, others, strict=True)
    )


def searched(session: Session, *, others: bool) -> dict[str, tuple[Found, Rows]]:
    """The cells that the gallery shows: of the image in front, of all with `others`.

    Examples are among them wherever they lie. By the image's sha256, that in front first.
    """
    result = {}
    front = None if session.image is None else session.image.sha256
    whole = session.encoded_images() if others else {}
    for key, of in session.found_images().items():
        if of.encoded is None or of.cells is None:
            continue
        rows = _shown(session, of)
        if key != front and key not in whole:
            examples = _on_image(session.focus.examples, key)
            rows = rows[np.isin(of.encoded.cell_ids[rows], examples)]
        if key == front or len(rows):
            result[key] = of, rows
    return result


def cells_of(session: Session) -> Collection[int] | None:
    """Ids of the cells of the image that its scope stands for; None: all of them."""
    scope = session.focus.scope
    if scope in ("image", "patient") or session.cells is None:
        return None
    if scope == "like":
        here = "" if session.image is None else session.image.sha256
        return _on_image(session.focus.examples, here)
    if scope == "accepted":
        return {cell for _, cell, said in session.review.here() if said == "accept"}
    if scope in ("wbc", "rbc", "platelet"):
        table = session.cells.table
        return table.loc[table["kind"] == scope, "cell_id"].tolist()
    return session.focus.selection.cell_ids


def _on_image(places: Collection[Place], sha256: str) -> list[int]:
    """Those of some cells that are of one image."""
    return [cell for of, cell in places if of == sha256]


def _elsewhere(session: Session) -> dict[str, Found]:
    """The other images that are encoded completely."""
    whole = session.encoded_images()
    front = None if session.image is None else session.image.sha256
    return {
        key: of
        for key, of in session.found_images().items()
        if key in whole and key != front
    }


def _images_of_patient(
    session: Session, patients: PatientSession
) -> list[tuple[Found, bool]]:
    """All encoded images, and whether each is of the patient that is looked at.

    It is where it was examined as the patient's, or else by its name.
    """
    case = patients.case
    examined = set() if case is None else {image.sha256 for image in case.images}
    names = {image.name for image in patients.images_of(patients.current)}
    found, whole = session.found_images(), session.encoded_images()
    return [
        (found[key], key in examined if case is not None else cells_name(cells) in names)
        for key, (cells, _, _) in whole.items()
    ]


def _part(of: Found, shown: Rows, cell_ids: Collection[int] | None) -> Part:
    """An image of which these cells are ranked by, None: all that count."""
    assert of.encoded is not None
    chosen = shown
    if cell_ids is not None:
        chosen = shown[np.isin(of.encoded.cell_ids[shown], list(cell_ids))]
    return Part(of.encoded.activations, shown, chosen)


def _shown(session: Session, of: Found) -> Rows:
    assert of.cells is not None
    assert of.encoded is not None
    return shown_rows(session, of.cells, of.encoded)


def cells_name(cells: Cells) -> str:
    """Name of the image that cells are of; empty where there are none."""
    return str(cells.table["image"].iat[0]) if len(cells.table) else ""


def shown_rows(session: Session, cells: Cells, encoded: Encoded) -> npt.NDArray[np.int64]:
    """Rows of an image's cells, those that are hidden at the moment left out."""
    hidden = list(session.hidden_cells(cells))
    return np.flatnonzero(~np.isin(encoded.cell_ids, hidden)).astype(np.int64)


def groups_of(
    patients: PatientSession, grouping: str, cells: Cells, encoded: Encoded
) -> list[str]:
    """The group of each encoded cell of an image; empty where it has none."""
    if grouping == "kind":
        kinds = cells.table.set_index("cell_id")["kind"]
        return [str(kind) for kind in kinds.reindex(encoded.cell_ids)]
    name = cells_name(cells)
    if grouping == "patient":
        name = _patient_of(patients, name)
    elif grouping == "diagnosis":
        reading = patients.readings.get(_patient_of(patients, name))
        name = "" if reading is None else reading.predicted
    return [name] * len(encoded)


def _patient_of(patients: PatientSession, name: str) -> str:
    """Whose image of this name is; empty where nobody was said to be."""
    for patient in patients.patients:
        if any(image.name == name for image in patients.images_of(patient)):
            return patient
    return ""
